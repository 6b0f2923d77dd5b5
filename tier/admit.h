/* SPDX-License-Identifier: Apache-2.0 */
/* admit.h: which blocks that were read from capacity devices are worth a place on the SSD.
 *
 * A table remembers chunks of 64 KiB for a turn: as many misses as the cache has chunks. A chunk that is missed again within it is
 * worth all of its 16 blocks (those that share a chunk are used together more often than not). So is, alone, a block that was
 * asked for before: missed, asked for again while it was in RAM, or evicted before anybody read it. Rules may want blocks alone, or let
 * those of the chunk come along that were asked for before, lately, though not now. Streams are worth nothing.
 *
 * Where rules want blocks alone each is remembered by itself (its neighbours do not keep it in mind), and a turn is as many blocks,
 * missed or written, as the cache has that are not dirty: what would fill that once. Time goes in half turns: what was asked for in
 * this one or the one before counts. Nothing is forgotten while places are free; once copies displace each other, what RAM is asked for
 * says nothing.
 *
 * A guard sees copies go. If most go unread, the cache is too small for what it is asked to hold, and it asks for one more touch,
 * until fewer do: what stays then is used.
 *
 * Of a volume that is hardly written it also learns whether its blocks are used together or again (struct admit_use): where nearly all
 * that comes back within a turn is a chunk's other blocks, a chunk is worth those others, and not what is asked for now: that has had its
 * use. With `along` it is worth them at its first miss. Then one chunk in ADMIT_SAMPLE goes on as before, and shows when that ends.
 *
 * Pure memory: no clock, no I/O. 12 bytes for 3 blocks of cache, reserved at start. One thread.
 */
#ifndef FIRN_TIER_ADMIT_H
#define FIRN_TIER_ADMIT_H

#include "base/limits.h"

#define CHUNK_BLOCKS      16u
#define ADMIT_TOUCHES_MAX 4u
#define ADMIT_AGAIN_NEVER 5u     /* nothing because it was asked for in RAM */
#define ADMIT_TURNS_MAX   255u
#define ADMIT_WAYS        16u
#define ADMIT_SAMPLE      16u
#define ADMIT_TURN_UNIT   (UINT64_C(1) << 40)

struct admit_entry {
    uint32_t hash_touches;       /* hash 30 | misses of the chunk 2, which stop at 3 */
    uint32_t asked;              /* 2 bits a block: how often it was asked for; they stop at 3 */
    union {
        uint16_t chunk_at;       /* when misses were counted last, in 256ths of a turn */
        uint16_t before;         /* blocks alone: those that were asked for in the half turn before asked_at's, and not since */
    };
    uint16_t asked_at;           /* when blocks were, in 256ths of a turn; blocks alone: in which half turn the entry was looked at last */
};

struct admit {
    struct admit_entry *entry;   /* buckets of ADMIT_WAYS, the one used last first; all zeros: none */
    uint32_t nr_buckets;
    uint64_t seed;
    uint64_t turn, misses;       /* misses a turn; misses so far */
    uint64_t blocks;             /* of the cache; */
    uint64_t room;               /* the caller's: of those, what is not dirty; at least 1 */
    uint64_t passed;             /* blocks alone: turns so far, in parts of ADMIT_TURN_UNIT */
    bool     full;               /* the caller's: copies displace each other */
};

struct admit_rules {             /* of the pool, or of one volume */
    bool     by_block;           /* a chunk that is missed again is worth no more than its blocks */
    bool     along;              /* by_block: with a block that is missed again those of its chunk come that were asked for before */
    uint32_t touches_min;        /* 1..ADMIT_TOUCHES_MAX: the misses that it takes, the admitting one included */
    uint32_t again;              /* asks, the first one included, that make a block in RAM worth a place; blocks alone: while not full */
    uint32_t asked_turns;        /* so long what a block was asked for counts, if the table has room; at most 255 */
    uint64_t stream_blocks;      /* nothing of a stream that is longer */
    uint32_t window;             /* evictions after which the guard decides */
    uint32_t touches;            /* the guard's: touches_min .. ADMIT_TOUCHES_MAX */
    uint32_t nr_read, nr_unread; /* evictions in this window */
};

struct admit_use {               /* of a volume; all zeros: nothing is known */
    uint32_t all, near, same;    /* misses that were counted; of them of blocks beside such as had been missed within a turn, and of such */
    bool     chunks;             /* blocks are used together, hardly again */
};

struct admit_fill { uint16_t fill, main; }; /* blocks of the chunk, a bit each; main: of them those that were asked for before */

int  admit_init(struct admit *ad, uint64_t cache_blocks, uint64_t seed); /* 0, -ENOMEM */
void admit_fini(struct admit *ad);
/* Of set: by_block, along, touches_min, again, asked_turns, stream_blocks; 0 of the last four: 2, 3, 1, 4 MiB.
 * Also while the table is in use: then the guard begins anew. */
void admit_rules_init(struct admit_rules *r, uint64_t cache_blocks, const struct admit_rules *set);

/* Blocks of a chunk were missed: neither SSD nor RAM had them. have: blocks of the chunk that the SSD has. stream_blocks: length so far
 * of the stream that the request belongs to. use: NULL: the rules alone count. */
struct admit_fill admit_miss(struct admit *ad, const struct admit_rules *r, struct admit_use *use, uint32_t layer, uint64_t chunk,
                             uint16_t asked, uint16_t have, uint64_t stream_blocks);
/* Blocks were written that the same cache holds. */
void admit_written(struct admit *ad, uint32_t nblocks);
/* Would a miss now be worth the whole chunk? Changes nothing. */
bool admit_wants_chunk(const struct admit *ad, const struct admit_rules *r, const struct admit_use *use, uint32_t layer, uint64_t chunk,
                       uint64_t stream_blocks);
/* Blocks were asked for that RAM had, and the SSD had not. */
struct admit_fill admit_again(struct admit *ad, const struct admit_rules *r, struct admit_use *use, uint32_t layer, uint64_t chunk,
                              uint16_t asked, uint64_t stream_blocks);
/* A clean copy was evicted; read: somebody had used it. */
void admit_evicted(struct admit *ad, struct admit_rules *r, uint32_t layer, uint64_t block, bool read);
static inline uint64_t admit_bytes(const struct admit *ad)
{
    return (uint64_t)ad->nr_buckets * ADMIT_WAYS * sizeof(struct admit_entry);
}

#endif
