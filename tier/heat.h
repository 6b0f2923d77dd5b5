/* SPDX-License-Identifier: Apache-2.0 */
/* heat.h: how much each 4 MiB of a layer is read and written, lately.
 *
 * A request adds 1 to the cell, or the two cells, that it touches, however long it is; heat halves every half-life. So heat that
 * stays at 1.44 h, with h the half-life, is one request a h. Decay is computed when a cell is looked at: nothing runs by the clock.
 *   read, write: all requests; half-life of an hour by default.
 *   use: reads and writes of at most 64 KiB, 24 times slower. It says where an extent should live: what is streamed once a night
 *   is no reason for a fast disk.
 * Time is the shard's heat clock: seconds during which the pool was open (heat_meta.c). What was off has not cooled down.
 *
 * 24 bytes for 4 MiB: an eighth of the extents' nodes. Half floats, in 8 bytes, would lose every touch of a cell above 2048.
 * The table is a cache: when a bucket is full its coldest cell makes room. Heat decides what is done first and where, never
 * what is read: losing all of it loses nothing.
 *
 * Pure memory, reserved at start: no clock, no I/O. One thread.
 */
#ifndef FIRN_TIER_HEAT_H
#define FIRN_TIER_HEAT_H

#include "base/limits.h"

#define HEAT_CELL_BYTES  (UINT64_C(4) << 20)
#define HEAT_CELL_BLOCKS (uint32_t)(HEAT_CELL_BYTES / BLOCK_BYTES)
#define HEAT_CELL_EXTENTS (uint32_t)(HEAT_CELL_BYTES / EXTENT_BYTES)
#define HEAT_CELL_BITS   26u             /* cells of a layer */
#define HEAT_WAYS        8u
#define HEAT_SMALL_BYTES (64u * 1024u)   /* what is longer does not count as use */
#define HEAT_USE_SLOWER  24u             /* half-lives of read and write in one of use */
#define HEAT_MIN         0.015625f       /* colder is cold: 0 */
#define HEAT_MAX         2147483648.0f
#define HEAT_CLOCK_MAX   UINT32_C(0x7fffffff) /* s: 68 years */
static_assert(VOLUME_BYTES_MAX / HEAT_CELL_BYTES == UINT64_C(1) << HEAT_CELL_BITS, "cells of the largest volume");

struct heat_value { float read, write, use; };

struct heat_cell {
    uint32_t layer;              /* index; 0: free */
    uint32_t no : HEAT_CELL_BITS;
    uint32_t changed : 1;        /* since heat_note_saved() */
    uint32_t at_s;               /* heat clock of v */
    struct heat_value v;
};

struct heat {
    struct heat_cell *cell;      /* buckets of HEAT_WAYS */
    uint32_t nr_buckets;         /* a power of two */
    uint32_t half_life_s;
    uint64_t nr_changed;
};

/* What is left of v after dt_s. */
float    heat_decay(float v, uint32_t dt_s, uint32_t half_life_s);

int      heat_init(struct heat *h, uint64_t nr_cells, uint32_t half_life_s); /* 0, -ENOMEM */
void     heat_fini(struct heat *h);
void     heat_touch(struct heat *h, uint32_t now_s, uint32_t layer, uint64_t block, uint32_t nblocks, bool write);
struct heat_value heat_get(const struct heat *h, uint32_t now_s, uint32_t layer, uint32_t no); /* zeros: cold */
/* As a record says; dropped where everything around is hotter. */
void     heat_put(struct heat *h, uint32_t layer, uint32_t no, uint32_t at_s, const struct heat_value *v);
/* Drops the layer's among *budget cells from *cursor on; true: that was the last of them. */
bool     heat_forget(struct heat *h, uint32_t layer, uint64_t *cursor, uint32_t *budget);
/* Looks at *budget cells from *cursor on: the first that has changed, or NULL, when the cursor is at the end or the budget spent. */
const struct heat_cell *heat_next_changed(const struct heat *h, uint64_t *cursor, uint32_t *budget);
void     heat_note_saved(struct heat *h, uint32_t layer, uint32_t no);
static inline uint64_t heat_nr_cells(const struct heat *h) { return (uint64_t)h->nr_buckets * HEAT_WAYS; }

#endif
