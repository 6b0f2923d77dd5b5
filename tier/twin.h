/* SPDX-License-Identifier: Apache-2.0 */
/* twin.h: second places of extents, for streams of writes that go past the log (twin.c). */
#ifndef FIRN_TIER_TWIN_H
#define FIRN_TIER_TWIN_H

#include "tier/bits.h"
#include "tier/mover.h"
#include "tier/priv.h"

#define TWINS_MAX    128u        /* so much of streams in MiB is not committed at a time; a number fits extent.twin */
struct twin {                    /* a second place of an extent, that the log's PLACED records name and no batch does yet */
    uint32_t x;                  /* EXTENT_NONE: free */
    struct extent_place place;
    bool     closed;             /* nothing more is written there */
    bool     given;              /* planted bug: it is another's already */
    uint16_t live;               /* entries of the index whose blocks lie there */
    uint32_t writes;             /* under way, until their records are answered */
    uint32_t reads;              /* in flight there */
    uint64_t seq_max;            /* of records that name it; 0: none does */
    uint64_t used[CAPTURE_WORDS];   /* blocks that were written, or begun: none is written twice */
    uint32_t record[EXTENT_BLOCKS]; /* of live entries: the segment that holds the record */
};

int      twins_init(struct shard *s, uint32_t log_segments);
void     twins_fini(struct shard *s);
uint32_t twins_segments(uint32_t segment_bytes);          /* of the index, for all of them */
static inline struct twin *twin_of(const struct shard *s, const struct extent *e) { return e->twin == 0 ? NULL : &s->twins[e->twin - 1]; }
static inline bool twin_is_read(const struct shard *s, const struct extent *e) { return e->twin != 0 && twin_of(s, e)->reads > 0; }
static inline bool in_twin_segment(const struct shard *s, uint32_t segment) { return segment >= s->twin_segment; }
static inline bool in_twin(const struct shard *s, uint32_t id)
{
    return !index_is_virtual(&s->ix, id) && in_twin_segment(s, id / s->ix.slots_per_segment);
}
/* A new one for an extent without one; NULL: none is free, or no room on a device. */
struct twin *twin_new(struct shard *s, uint32_t x);
struct twin *twin_found(struct shard *s, uint32_t x, struct extent_place p); /* at a start; NULL: the place is another's, or none is left */
/* n without where; segment: the record's. */
void     twin_put(struct shard *s, struct twin *t, const struct index_entry *n, uint32_t segment);
void     twin_gone(struct shard *s, uint32_t id);         /* the entry is no more */
struct journal_loc twin_loc(const struct shard *s, const struct twin *t, uint32_t in_extent); /* of the index */
uint64_t twin_offset(const struct shard *s, struct journal_loc loc, uint16_t *dev); /* where it lies */
uint32_t twin_block(const struct shard *s, const struct twin *t, uint32_t in_extent, uint64_t *seq); /* of a live entry: its checksum */
/* So many live entries from there on have one seq, and their record in that segment. */
uint32_t twin_run(const struct shard *s, const struct twin *t, uint32_t in_extent, uint32_t segment);
void     twin_record_moved(struct shard *s, uint32_t layer, const struct journal_append *a, uint32_t from);
int      twin_capture(struct lane *l, struct job *job);
/* The extent's place is about to be given back, and may be the twin. */
void     twin_reads_given(struct shard *s, uint32_t x, struct extent_place p);
void     twin_settle(struct shard *s, uint32_t x, struct extent_place given); /* gives it back if nothing can name it any more */
void     twin_drop(struct shard *s, uint32_t x);          /* of an extent that is no more */
void     twin_read_done(struct shard *s, uint32_t x, struct extent_place p);
void     twins_press(struct shard *s);                    /* they are short */
void     twins_verify(const struct shard *s, uint32_t *placed); /* adds to placed, by segment */

#endif
