/* SPDX-License-Identifier: Apache-2.0 */
/* oracle.c: the sets of legal values; see oracle.h. */
#include "oracle.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

int oracle_init(struct oracle *o, const uint8_t nguid[static 16], uint32_t unit_bytes, uint64_t nr_units)
{
    void *mem;

    memset(o, 0, sizeof(*o));
    if (nr_units == 0 || nr_units > (UINT64_C(1) << 40))
        return -EINVAL;
    mem = mmap(NULL, nr_units * sizeof(struct oracle_unit), PROT_READ | PROT_WRITE,
               MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (mem == MAP_FAILED)
        return -ENOMEM;
    o->units = mem;
    memcpy(o->nguid, nguid, sizeof(o->nguid));
    o->unit_bytes = unit_bytes;
    o->nr_units = nr_units;
    return 0;
}

void oracle_fini(struct oracle *o)
{
    if (o->units)
        munmap(o->units, o->nr_units * sizeof(struct oracle_unit));
    free(o->maybes);
    memset(o, 0, sizeof(*o));
}

static struct oracle_unit *unit_at(const struct oracle *o, uint64_t unit)
{
    assert(unit < o->nr_units);
    return &o->units[unit];
}

static int maybe_add(struct oracle *o, struct oracle_unit *u, uint64_t id)
{
    uint32_t i;

    if (o->maybes_free) {
        i = o->maybes_free - 1;
        o->maybes_free = o->maybes[i].next;
    } else {
        if (o->maybes_nr == o->maybes_cap) {
            uint32_t cap = o->maybes_cap ? o->maybes_cap * 2 : 4096;
            struct oracle_maybe *more = realloc(o->maybes, (size_t)cap * sizeof(*more));

            if (more == NULL)
                return -ENOMEM;
            o->maybes = more;
            o->maybes_cap = cap;
        }
        i = o->maybes_nr++;
    }
    o->maybes[i] = (struct oracle_maybe){.id = id, .next = u->maybes};
    u->maybes = i + 1;
    return 0;
}

static void maybes_clear(struct oracle *o, struct oracle_unit *u)
{
    while (u->maybes) {
        uint32_t i = u->maybes - 1;

        u->maybes = o->maybes[i].next;
        o->maybes[i].next = o->maybes_free;
        o->maybes_free = i + 1;
    }
}

bool oracle_try_read(struct oracle *o, uint64_t unit, uint32_t nr)
{
    for (uint32_t i = 0; i < nr; i++)
        if (unit_at(o, unit + i)->writing || unit_at(o, unit + i)->readers == UINT16_MAX)
            return false;
    for (uint32_t i = 0; i < nr; i++)
        unit_at(o, unit + i)->readers++;
    return true;
}

void oracle_end_read(struct oracle *o, uint64_t unit, uint32_t nr)
{
    for (uint32_t i = 0; i < nr; i++) {
        assert(unit_at(o, unit + i)->readers > 0);
        unit_at(o, unit + i)->readers--;
    }
}

bool oracle_can_write(const struct oracle *o, uint64_t unit, uint32_t nr)
{
    for (uint32_t i = 0; i < nr; i++)
        if (unit_at(o, unit + i)->writing || unit_at(o, unit + i)->readers)
            return false;
    return true;
}

int oracle_begin_write(struct oracle *o, uint64_t unit, uint32_t nr, uint64_t id)
{
    for (uint32_t i = 0; i < nr; i++) {
        struct oracle_unit *u = unit_at(o, unit + i);
        int err = maybe_add(o, u, id);

        if (err)
            return err;
        u->writing = true;
        u->touched = true;
    }
    return 0;
}

void oracle_acked(struct oracle *o, uint64_t unit, uint32_t nr, uint64_t id)
{
    for (uint32_t i = 0; i < nr; i++) {
        struct oracle_unit *u = unit_at(o, unit + i);

        maybes_clear(o, u);
        u->sure = id;
        u->writing = false;
        u->touched = true;
    }
}

void oracle_unacked(struct oracle *o, uint64_t unit, uint32_t nr)
{
    for (uint32_t i = 0; i < nr; i++)
        unit_at(o, unit + i)->writing = false;
}

void oracle_observed(struct oracle *o, uint64_t unit, uint64_t id)
{
    struct oracle_unit *u = unit_at(o, unit);

    maybes_clear(o, u);
    u->sure = id;
}

/* The legal id that looks like what was found, or false. All zeroing writes look alike: the latest of them counts. */
static bool find_legal(const struct oracle *o, const struct oracle_unit *u, bool zeros, uint64_t id, uint64_t *legal)
{
    for (uint32_t i = u->maybes; i; i = o->maybes[i - 1].next) {
        uint64_t m = o->maybes[i - 1].id;

        if (zeros ? (m & WRITE_ID_ZERO) != 0 : m == id) {
            *legal = m;
            return true;
        }
    }
    *legal = u->sure;
    if (zeros)
        return (u->sure & WRITE_ID_ZERO) != 0 || u->sure == WRITE_ID_NONE;
    return u->sure == id;
}

static enum oracle_verdict judge_stamp(struct oracle *o, const struct oracle_unit *u, uint64_t unit,
                                       const struct stamp *s, uint64_t *legal)
{
    if (memcmp(s->nguid, o->nguid, sizeof(s->nguid)) != 0 || s->unit != unit) {
        *legal = s->write_id;
        return ORACLE_FOREIGN;
    }
    if (s->log_id == o->log_id && s->write_id != WRITE_ID_NONE && find_legal(o, u, false, s->write_id, legal))
        return ORACLE_OK;
    if (u->sure == WRITE_ID_NONE && !o->fresh) { /* left by an earlier use of the volume that this log knows nothing of */
        *legal = WRITE_ID_NONE;
        return ORACLE_OK;
    }
    *legal = s->write_id; /* for the report: what was found instead */
    if (s->log_id != o->log_id)
        return ORACLE_OTHER;
    return s->write_id < (u->sure & ~WRITE_ID_ZERO) ? ORACLE_STALE : ORACLE_UNKNOWN;
}

static enum oracle_verdict judge(struct oracle *o, const struct oracle_unit *u, uint64_t unit, const void *buf,
                                 uint64_t *legal)
{
    struct stamp s;

    switch (stamp_read(buf, o->unit_bytes, &s)) {
    case STAMP_ZEROS: return find_legal(o, u, true, 0, legal) ? ORACLE_OK : ORACLE_LOST;
    case STAMP_WHOLE: return judge_stamp(o, u, unit, &s, legal);
    case STAMP_TORN: return ORACLE_TORN;
    case STAMP_ALIEN: break;
    }
    *legal = WRITE_ID_NONE;
    return u->sure == WRITE_ID_NONE && !o->fresh ? ORACLE_OK : ORACLE_ALIEN;
}

enum oracle_verdict oracle_judge(struct oracle *o, uint64_t unit, const void *buf, bool *collapsed, uint64_t *seen)
{
    struct oracle_unit *u = unit_at(o, unit);
    uint64_t legal = WRITE_ID_NONE;
    enum oracle_verdict v;

    assert(!u->writing);
    v = judge(o, u, unit, buf, &legal);
    *collapsed = v == ORACLE_OK && u->maybes != 0;
    *seen = v == ORACLE_LOST ? WRITE_ID_NONE : legal;
    if (*collapsed)
        oracle_observed(o, unit, legal);
    o->verdicts[v]++;
    return v;
}

const char *oracle_verdict_text(enum oracle_verdict v)
{
    switch (v) {
    case ORACLE_OK: return "ok";
    case ORACLE_STALE: return "an older version than the last acknowledged one";
    case ORACLE_LOST: return "zeros where a write was acknowledged";
    case ORACLE_TORN: return "no whole version";
    case ORACLE_FOREIGN: return "bytes of another place or volume";
    case ORACLE_ALIEN: return "bytes that were never written";
    case ORACLE_UNKNOWN: return "a version that was never submitted, or was superseded before";
    case ORACLE_OTHER: return "a write of another run, which this log does not know";
    case ORACLE_VERDICT_NR: break;
    }
    return "?";
}

uint64_t oracle_violations(const struct oracle *o)
{
    uint64_t sum = 0;

    for (uint32_t v = ORACLE_OK + 1; v < ORACLE_VERDICT_NR; v++)
        sum += o->verdicts[v];
    return sum;
}
