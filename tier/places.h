/* SPDX-License-Identifier: Apache-2.0 */
/* places.h: segments of places for copies, from the log and back; their tables (places.c). */
#ifndef FIRN_TIER_PLACES_H
#define FIRN_TIER_PLACES_H

#include "base/pool.h"
#include "rt/dev.h"
#include "tier/admit.h"
#include "tier/index.h"
#include "tier/quota.h"
#include "tier/slot_table.h"
#include "tier/slots.h"
#include "tier/stage.h"
#include "tier/tier.h"

struct fill;
struct shard;

#define TABLE_WRITES 4u
struct table_write { struct dev_io io; struct iovec iov; struct shard *s; char *buf; uint32_t segment, page; bool busy; };

struct places {
    struct slots slots;
    struct slot_table table;
    struct admit admit;
    struct admit_rules rules;
    struct admit_rules read_rules; /* of volumes that are hardly written */
    struct quota quota;
    struct pool fills;
    struct fill *cur;            /* not full yet, not written yet: within one call only */
    uint32_t nr_lent;            /* frames that fills are reading */
    uint32_t asks;               /* copies that went, or found no place */
    uint32_t closing, cursor;    /* segment that is given back to the log, place that is dropped next; INDEX_NONE */
    uint64_t log_took_ns;        /* when the log took its last segment */
    struct {
        bool     off;            /* given up until the next start (places_dev.c) */
        uint32_t read_errors;
    } area[SEGMENT_AREAS_MAX];   /* as the segment pool numbers them */
    uint32_t leave_from;         /* from this one on there may be segments of an area that is off, to be emptied; INDEX_NONE: none */
    bool     wants_segment;      /* of the log, if one is cheap to empty */
    uint64_t table_look_ns;      /* old pages may be due then; UINT64_MAX: none changed */
    char    *table_bufs;
    struct table_write table_write[TABLE_WRITES];
};

int      places_init(struct shard *s);
void     places_fini(struct shard *s);
void     places_retune(struct shard *s);                  /* what is worth a place, as s->t has it now */
uint32_t places_segments(const struct shard *s);          /* that may hold copies, of all shards */
uint32_t places_possible(const struct shard *s);          /* free segments that copies could take now, of this shard's part */
uint64_t places_base(const struct shard *s);              /* places that there are, and those that these could become */
/* As slots_take(), or slots_take_free() for what is SPARE; takes another segment if places are short, and segments are not. */
uint32_t places_take(struct shard *s, uint32_t layer, enum fill_kind kind);
void     places_ask(struct shard *s);                     /* what is worth a free place found none */
void     places_opened(void *ctx, uint32_t segment, uint64_t epoch, int err);
void     places_put(struct shard *s, struct index_entry *n, uint32_t id, unsigned flags); /* a copy is in its place: n, without where */
void     places_drop(struct shard *s, uint32_t id);       /* the copy is bad, or not wanted */
void     places_wanted(void *ctx);                        /* another shard has less than its share of segments */
bool     places_may_release(const struct shard *s);
void     places_release(struct shard *s, uint32_t segment); /* gives it back to the pool, as soon as nobody reads it */
bool     places_step(struct shard *s);                    /* true: more to do at once */
uint64_t places_look_ns(const struct shard *s);           /* when to call it again */
bool     places_busy(const struct shard *s);              /* something is in flight */
bool     places_roomy(const struct shard *s);             /* what is used fits: a third of all segments, or more, hold nothing valid */
/* As a log segment's; not looked at closely if it cannot be more than beat. */
double   places_victim_score(const struct shard *s, uint32_t segment, double beat);
void     places_verify(struct shard *s);

/* places_table.c */
void     places_tables_step(struct shard *s);             /* writes pages that are due */
static inline bool places_tables_due(const struct places *p, uint64_t now_ns) { return p->table.due_nr > 0 || now_ns >= p->table_look_ns; }
bool     places_tables_full(const struct places *p);      /* as many are under way as may be */
bool     places_table_in_flight(const struct places *p, uint32_t segment); /* a page of it is; INDEX_NONE: of any */
void     places_stop(struct shard *s, uint32_t turns);    /* straight-line: what of the tables was not written; turns: shard.h */

/* places_dev.c: devices of copies that fail */
bool     places_usable(const struct shard *s, uint32_t segment); /* its device answers, and was not given up */
bool     places_given_up(const struct shard *s, uint32_t segment); /* its device was */
bool     places_any_usable(const struct shard *s);        /* some device that copies may go to */
void     places_write_failed(struct shard *s, uint32_t segment, int err); /* of a place, or of what its segment says of itself */
void     places_read_failed(struct shard *s, uint32_t segment, int err);
void     places_hangs(struct shard *s, uint32_t segment); /* a start, or a stop, has waited for its device */
uint32_t places_leave_next(struct shard *s);

/* recover_places.c: what the last run left in slot segments; straight-line, after replay. 0; -FIRN_E_STOPPED, -ENOMEM */
int      places_recover(struct shard *s);

#endif
