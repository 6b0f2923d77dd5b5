/* SPDX-License-Identifier: Apache-2.0 */
/* index.h: where the newest bytes of a block lie in the log: (layer, block) -> slot.
 *
 * A slot is a place for one block of payload in a log segment; slot id = segment * slots a segment + unit / 8 (blocks never
 * overlap, so no two share an id). What a slot holds stands in four arrays (18 bytes a slot); a two-choice bucketized
 * cuckoo hash of slot ids (64-byte buckets of 12) finds it: 5.5 bytes a slot at 97 % load. Both are reserved at start for all
 * segments of the pool, which its shards share; resident are pages of segments that are the shard's, and a hash of the size that
 * the shard's entries once had.
 * Entries without payload (a zeroed part of an extent, a damaged block) lie in virtual slots with ids above all others.
 *
 * Pure memory: no I/O, no clock. Nothing is allocated after index_new(). One thread.
 */
#ifndef FIRN_TIER_INDEX_H
#define FIRN_TIER_INDEX_H

#include "base/limits.h"
#include "base/types.h"

#define INDEX_NONE       UINT32_MAX
#define INDEX_VIRTUAL_MAX (1u << 20)                           /* entries without payload */
#define INDEX_BEHIND_MAX (1u << 17)                            /* of the following: behind all segments (twin.c) */
#define INDEX_PHYS_MAX   (UINT32_MAX - 2u - INDEX_VIRTUAL_MAX) /* those with: numbers are of 32 bits, so just below 16 TiB */
#define INDEX_LAYER_BITS 20  /* layer indices, 1.. */
#define INDEX_BLOCK_BITS 36
#define INDEX_REF_MAX    3u
#define INDEX_SEQ_MAX    ((UINT64_C(1) << SEQ_BITS) - 1)

enum index_flags {          /* the low three bits of the flag byte hold unit % 8; bits 4 and 5 of slots with payload count uses */
    INDEX_DIRTY   = 1 << 3, /* the map does not have it yet */
    INDEX_ZERO    = 1 << 4, /* virtual: reads as zeros */
    INDEX_DAMAGED = 1 << 5, /* virtual: its newest bytes are lost; reads fail */
    INDEX_KEPT    = 1 << 6, /* with DIRTY: the map has it, but a destage that began may have spoilt what the device has */
    INDEX_OVER    = 1 << 6, /* in a place (slots.h), where nothing is ever dirty: the ring of the small queue had no room for it */
    INDEX_MAIN    = 1 << 7, /* in a place: it has left the small queue */
};

struct index_entry {        /* one slot, unpacked */
    uint32_t layer;         /* layer index */
    uint64_t block;
    uint64_t seq;
    uint32_t csum;          /* 0 in virtual slots */
    uint32_t segment;       /* where the payload lies, or the record without payload */
    uint32_t unit;          /* in units of 512 bytes from the segment's start; 0 in virtual slots */
    unsigned flags;         /* enum index_flags */
};

struct index_bucket;

struct index {
    uint64_t *key_flags;    /* layer 20 | block 36 | flags 8; 0: empty slot */
    uint32_t *csum;         /* virtual slots: the segment of the record */
    uint32_t *seq_lo;       /* free virtual slots: the next free one */
    uint16_t *seq_hi;
    struct index_bucket *buckets;
    uint32_t *seg_live;     /* entries a segment holds, virtual ones included */
    uint32_t *seg_dirty;    /* of them dirty */
    uint32_t nr_buckets, nr_segments, slots_per_segment;
    uint32_t old_buckets;   /* while the hash grows or shrinks: as many as it had; else 0 */
    uint32_t sweep;         /* of those, how far that has come: down to it if it grows, up to it if it shrinks */
    uint32_t min_buckets, max_buckets;
    uint32_t parts;         /* indexes that share the segments, with this one */
    bool    *seg_paged;     /* its slots may be resident */
    uint64_t nr_paged;
    size_t   page_bytes;    /* the machine's */
    uint32_t nr_phys;       /* slots with payload: ids below this */
    uint32_t nr_behind;     /* the last of the segments, which stand for none of the log: twin.c; the owner's to set */
    uint32_t nr_virtual, virtual_used, virtual_touched, virtual_free;
    uint64_t nr_entries, nr_dirty, nr_kept; /* kept: of the dirty */
    uint64_t seed;          /* of the hash: a host cannot aim at one bucket */
    uint64_t walk;          /* state of the kicks: deterministic */
    uint32_t stash[64];     /* entries that found no place after many kicks; nearly always empty */
    uint32_t stash_nr;
    size_t   mem_bytes;     /* address space reserved */
};

/* segment_units: a segment's size in units of 512 bytes. parts: indexes that share the segments, this one included.
 * 0, -ENOMEM, -FIRN_E_INVALID (more than 2^32 slots). */
int  index_init(struct index *ix, uint32_t nr_segments, uint32_t segment_units, uint32_t nr_virtual, uint32_t parts, uint64_t seed);
void index_fini(struct index *ix);

uint32_t index_find(const struct index *ix, uint32_t layer, uint64_t block); /* slot id or INDEX_NONE */
void     index_get(const struct index *ix, uint32_t id, struct index_entry *out);
bool     index_slot_used(const struct index *ix, uint32_t id);
static inline bool index_is_virtual(const struct index *ix, uint32_t id) { return id >= ix->nr_phys; }
uint32_t index_slot_id(const struct index *ix, uint32_t segment, uint32_t unit);
uint64_t index_seq(const struct index *ix, uint32_t id);
unsigned index_flags_of(const struct index *ix, uint32_t id);

/* Puts e in place of `old` (what index_find() said for the same block: INDEX_NONE to insert). Returns the new id.
 * Virtual kinds need a free virtual slot: see index_virtual_free(); replacing a virtual entry by a virtual one reuses it. */
uint32_t index_put(struct index *ix, uint32_t old, const struct index_entry *e);
void     index_remove(struct index *ix, uint32_t id);
void     index_set_kept(struct index *ix, uint32_t id);  /* a clean entry with payload becomes DIRTY | KEPT */
void     index_set_clean(struct index *ix, uint32_t id);
/* How often an entry with payload was used, up to INDEX_REF_MAX: 0 when it is put. It lies in the word that a lookup has just read. */
uint32_t index_ref(const struct index *ix, uint32_t id);  /* virtual: 0 */
void     index_ref_add(struct index *ix, uint32_t id);    /* virtual: nothing */
void     index_ref_set(struct index *ix, uint32_t id, uint32_t ref);
/* Gives a clean entry with payload one of INDEX_OVER, INDEX_MAIN, or 0, in place of what it had of them. */
void     index_set_queue(struct index *ix, uint32_t id, unsigned queue);
/* Two words of a slot with payload that is not used: whoever hands out such slots keeps there what it needs. */
struct index_spare { uint32_t *next, *state; };
struct index_spare index_spare(struct index *ix, uint32_t id);
static inline uint32_t index_virtual_free(const struct index *ix) { return ix->nr_virtual - ix->virtual_used; }

/* Nothing lies in the segment, and it is about to be anybody's: its memory is given back if others share the segments. */
void     index_segment_left(struct index *ix, uint32_t segment);
uint64_t index_bytes(const struct index *ix); /* resident; from any thread */
void     index_verify(const struct index *ix); /* asserts counters and that every used slot is found; full walk */

#endif
