/* SPDX-License-Identifier: Apache-2.0 */
/* damage.h: blocks that hosts could not be given: said in the log within bounds, each remembered once, forgotten when mended.
 *
 * One table a shard, on its env; nr and full may be read by any thread. Layers are the shard's indices, never 0.
 */
#ifndef FIRN_TIER_DAMAGE_H
#define FIRN_TIER_DAMAGE_H

#include "rt/dev.h"
#include "tier/volume.h"

#define DAMAGE_BITS 12u
#define DAMAGE_MAX  4096u        /* places a shard remembers: 72 KiB */

enum damage_kind {
    DAMAGE_CHECKSUM,             /* the bytes are not those that were written */
    DAMAGE_UNREADABLE,           /* the device's error */
    DAMAGE_LOST,                 /* index or map say so */
    DAMAGE_DEVICE,               /* gone or hanging: the block itself may be well, and is not remembered */
};

struct damage_run {              /* neighbouring blocks that one read could not have */
    enum damage_kind kind;
    uint32_t nblocks;            /* 0: none */
    uint64_t block;
    const struct dev *dev;       /* NULL: LOST */
    uint64_t off_bytes;          /* on dev */
    int      err;
};

struct damage_place { uint64_t block; uint32_t layer; uint16_t next; }; /* layer 0: free */

struct damage {
    struct damage_place place[DAMAGE_MAX + 1]; /* [1..] */
    uint16_t bucket[1u << DAMAGE_BITS], free, touched;
    uint32_t nr;
    bool     full;               /* since the start there were more than are remembered */
    uint32_t lines;              /* written since window_ns */
    uint64_t window_ns, suppressed;
};
static_assert(DAMAGE_MAX <= UINT16_MAX, "a place's number fits a link");

void damage_note(struct damage *d, uint32_t layer, uint64_t block); /* once a block, however often it is met */
void damage_mended(struct damage *d, uint32_t layer, uint64_t block, uint32_t nblocks);
void damage_forget_layer(struct damage *d, uint32_t layer);

/* Does next go on where u ends, for the same reason? */
bool damage_joins(const struct damage_run *u, const struct damage_run *next);
/* One line, or one more that was suppressed. v: NULL if it is being deleted. */
void damage_say(struct damage *d, uint64_t now_ns, const struct volume *v, const struct damage_run *u);

#endif
