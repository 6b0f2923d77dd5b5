/* SPDX-License-Identifier: Apache-2.0 */
/* oracle.h: what a reader may legally find in every unit of a namespace.
 *
 * For each unit: the last acknowledged write, and the later writes that were submitted and never acknowledged. A read
 * must return one of them, whole. What a read returned once must not disappear: the set collapses to it.
 * A unit has at most one write in flight, and no read beside it: the load generator asks oracle_try_*() first. So an
 * acknowledgement settles a unit: older unacknowledged writes belong to dead associations, which the target has fenced.
 *
 * One thread. Pure but for memory: fed by the load generator, or by replaying the acknowledgement log.
 */
#ifndef FIRN_BENCH_ORACLE_H
#define FIRN_BENCH_ORACLE_H

#include "stamp.h"

#define WRITE_ID_NONE UINT64_C(0)
#define WRITE_ID_ZERO (UINT64_C(1) << 63) /* flag in an id: that write made zeros and left no stamp */

enum oracle_verdict {
    ORACLE_OK,
    ORACLE_STALE,    /* an older write than the last acknowledged one */
    ORACLE_LOST,     /* zeros where a write was acknowledged */
    ORACLE_TORN,     /* no whole write */
    ORACLE_FOREIGN,  /* another volume's or another place's unit */
    ORACLE_ALIEN,    /* bytes that nobody wrote */
    ORACLE_UNKNOWN,  /* a stamp for a write that was not submitted there */
    ORACLE_OTHER,    /* a stamp of another log: an overwrite this one knows nothing of, or a version from before it */
    ORACLE_VERDICT_NR
};

struct oracle_unit {
    uint64_t sure;      /* id of the last acknowledged write; WRITE_ID_NONE: nothing acknowledged yet */
    uint32_t maybes;    /* head of the list of unacknowledged ids, index + 1; 0: none */
    uint16_t readers;   /* reads in flight */
    bool     writing : 1;    /* a write is in flight; its id is a maybe */
    bool     touched : 1;    /* a write was ever submitted */
    bool     unreadable : 1; /* a sweep's read of it alone failed */
};

struct oracle_maybe { uint64_t id; uint32_t next; };

struct oracle {
    uint8_t              nguid[16];
    uint32_t             unit_bytes;
    uint64_t             nr_units;
    uint64_t             log_id;     /* in the stamps of this log's writes */
    bool                 fresh;      /* the volume was empty when the log began: untouched units read as zeros */
    struct oracle_unit  *units;      /* reserved whole, resident where touched */
    struct oracle_maybe *maybes;
    uint32_t             maybes_nr, maybes_cap, maybes_free; /* free list head, index + 1 */
    uint64_t             verdicts[ORACLE_VERDICT_NR];
};

int  oracle_init(struct oracle *o, const uint8_t nguid[static 16], uint32_t unit_bytes, uint64_t nr_units);
void oracle_fini(struct oracle *o);

bool oracle_try_read(struct oracle *o, uint64_t unit, uint32_t nr);   /* false: a write is in flight there */
void oracle_end_read(struct oracle *o, uint64_t unit, uint32_t nr);
bool oracle_can_write(const struct oracle *o, uint64_t unit, uint32_t nr);
int  oracle_begin_write(struct oracle *o, uint64_t unit, uint32_t nr, uint64_t id); /* 0 or -ENOMEM */
void oracle_acked(struct oracle *o, uint64_t unit, uint32_t nr, uint64_t id);
void oracle_unacked(struct oracle *o, uint64_t unit, uint32_t nr);    /* failed or lost: stays a maybe */
/* A read returned id for a unit: nothing else may be returned from now on. */
void oracle_observed(struct oracle *o, uint64_t unit, uint64_t id);

/* Judges bytes that a read returned. OK with *collapsed set: the unit had several legal values and has one now; the
 * caller logs it. *seen is the id found (WRITE_ID_NONE when there is none). */
enum oracle_verdict oracle_judge(struct oracle *o, uint64_t unit, const void *buf, bool *collapsed, uint64_t *seen);
const char *oracle_verdict_text(enum oracle_verdict v);
uint64_t oracle_violations(const struct oracle *o);

#endif
