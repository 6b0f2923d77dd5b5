/* SPDX-License-Identifier: Apache-2.0 */
/* oracle.c: versions of units and the rule of which may be read. */
#include "tools/sim/oracle.h"

#include "base/crc32c.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define NEVER UINT64_MAX
#define READS_MAX 256u
#define STAMP_MAGIC 0x70617473u

struct version {
    uint64_t id;        /* step at which its write began; 0: the zeros a volume is born with */
    uint64_t done;      /* step at which it ended; NEVER: under way */
    uint64_t settled;   /* step from which it can no longer come: done, or for a failed write the next crash */
    uint64_t dead_from; /* reads that begin at or after this step must not return it */
    bool     zeros;
    bool     one_block; /* its write lay in one 4 KiB block: there whole or not at all */
};

struct unit { struct version *v; uint16_t nr, cap; };

struct oracle {
    uint64_t     tag, step, units;
    uint32_t     unit_bytes;
    struct unit *u;
    uint64_t     reads[READS_MAX]; /* steps at which reads under way began; 0: free place */
};

struct stamp {          /* first bytes of a unit; the rest is noise made from them */
    uint32_t crc;       /* of the unit's bytes after this field */
    uint32_t magic;
    uint64_t tag, unit, version;
};

/* ---- bytes ---- */

static void stamp_fill(uint64_t tag, uint64_t unit, uint64_t version, uint8_t *buf, uint32_t bytes)
{
    struct stamp st = {0, STAMP_MAGIC, tag, unit, version};
    uint64_t z = (tag * UINT64_C(0x9e3779b97f4a7c15)) ^ (unit << 24) ^ version ^ UINT64_C(0xd1b54a32d192ed03);

    memcpy(buf, &st, sizeof(st));
    for (uint32_t at = sizeof(st); at < bytes; at += 8) {
        z ^= z << 13;
        z ^= z >> 7;
        z ^= z << 17;
        memcpy(buf + at, &z, 8);
    }
    st.crc = crc32c(0, buf + 4, bytes - 4);
    memcpy(buf, &st.crc, 4);
}

enum look { LOOK_ZEROS, LOOK_STAMP, LOOK_GARBAGE };

static enum look stamp_read(const uint8_t *buf, uint32_t bytes, struct stamp *st)
{
    memcpy(st, buf, sizeof(*st));
    if (st->magic == STAMP_MAGIC && st->crc == crc32c(0, buf + 4, bytes - 4))
        return LOOK_STAMP;
    return buf[0] == 0 && memcmp(buf, buf + 1, bytes - 1) == 0 ? LOOK_ZEROS : LOOK_GARBAGE;
}

/* ---- versions of a unit ---- */

static uint64_t oldest_read(const struct oracle *o)
{
    uint64_t min = NEVER;

    for (uint32_t i = 0; i < READS_MAX; i++)
        if (o->reads[i] != 0)
            min = MIN(min, o->reads[i]);
    return min;
}

static void unit_prune(struct unit *u, uint64_t horizon)
{
    uint16_t kept = 0;

    for (uint16_t i = 0; i < u->nr; i++)
        if (u->v[i].dead_from > horizon)
            u->v[kept++] = u->v[i];
    u->nr = kept;
}

static void unit_push(struct unit *u, struct version v)
{
    if (u->nr == u->cap) {
        u->cap = (uint16_t)(u->cap == 0 ? 4 : u->cap * 2);
        u->v = realloc(u->v, u->cap * sizeof(*u->v));
        assert(u->v != NULL);
    }
    u->v[u->nr++] = v;
}

static void unit_add(struct oracle *o, struct unit *u, struct version v)
{
    if (u->v == NULL)
        unit_push(u, (struct version){.id = 0, .done = 0, .settled = 0, .dead_from = NEVER, .zeros = true});
    else if (u->nr == u->cap)
        unit_prune(u, MIN(oldest_read(o), o->step) - 1);
    unit_push(u, v);
}

static struct version *unit_find(struct unit *u, uint64_t id)
{
    for (uint16_t i = 0; i < u->nr; i++)
        if (u->v[i].id == id)
            return &u->v[i];
    return NULL;
}

struct oracle *oracle_new(uint64_t tag, uint32_t unit_bytes, uint64_t units)
{
    struct oracle *o = calloc(1, sizeof(*o));

    assert(o != NULL);
    o->tag = tag;
    o->step = 1;
    o->unit_bytes = unit_bytes;
    oracle_grow(o, units);
    return o;
}

void oracle_free(struct oracle *o)
{
    for (uint64_t i = 0; i < o->units; i++)
        free(o->u[i].v);
    free(o->u);
    free(o);
}

void oracle_grow(struct oracle *o, uint64_t units)
{
    assert(units >= o->units);
    o->u = realloc(o->u, MAX(units, 1u) * sizeof(*o->u));
    assert(o->u != NULL);
    memset(o->u + o->units, 0, (units - o->units) * sizeof(*o->u));
    o->units = units;
}

uint64_t oracle_units(const struct oracle *o) { return o->units; }

/* ---- writes ---- */

uint64_t oracle_write_begin(struct oracle *o, uint64_t unit, uint64_t nr, bool zeros)
{
    uint64_t id = ++o->step, per_block = BLOCK_BYTES / o->unit_bytes;
    bool one = unit / per_block == (unit + nr - 1) / per_block;

    assert(nr > 0 && unit + nr <= o->units);
    for (uint64_t i = unit; i < unit + nr; i++)
        unit_add(o, &o->u[i], (struct version){id, NEVER, NEVER, NEVER, zeros, one});
    return id;
}

void oracle_fill(const struct oracle *o, uint64_t version, uint64_t unit, uint64_t nr, void *buf)
{
    for (uint64_t i = 0; i < nr; i++)
        stamp_fill(o->tag, unit + i, version, (uint8_t *)buf + i * o->unit_bytes, o->unit_bytes);
}

void oracle_write_end(struct oracle *o, uint64_t version, uint64_t unit, uint64_t nr, enum oracle_end end)
{
    uint64_t now = ++o->step;

    for (uint64_t i = unit; i < unit + nr; i++) {
        struct unit *u = &o->u[i];
        struct version *mine = unit_find(u, version);

        if (mine != NULL)
            mine->done = now;
        if (mine != NULL && end != ORACLE_FAILED)
            mine->settled = now;
        for (uint16_t k = 0; k < u->nr && end == ORACLE_ACKED; k++)
            if (u->v[k].done < version)
                u->v[k].dead_from = MIN(u->v[k].dead_from, now);
    }
}

void oracle_crash(struct oracle *o)
{
    uint64_t now = ++o->step;

    for (uint64_t i = 0; i < o->units; i++)
        for (uint16_t k = 0; k < o->u[i].nr; k++) {
            o->u[i].v[k].done = MIN(o->u[i].v[k].done, now);
            o->u[i].v[k].settled = MIN(o->u[i].v[k].settled, now);
        }
    memset(o->reads, 0, sizeof(o->reads));
    ++o->step;
}

/* ---- reads ---- */

uint64_t oracle_read_begin(struct oracle *o)
{
    uint64_t now = ++o->step;

    for (uint32_t i = 0; i < READS_MAX; i++) {
        if (o->reads[i] == 0) {
            o->reads[i] = now;
            return now;
        }
    }
    assert(false); /* more reads under way than the driver has slots */
    return 0;
}

void oracle_read_end(struct oracle *o, uint64_t begun)
{
    for (uint32_t i = 0; i < READS_MAX; i++)
        if (o->reads[i] == begun)
            o->reads[i] = 0;
}

static void say_versions(const struct unit *u, char *buf, size_t len)
{
    size_t at = 0;

    buf[0] = '\0';
    for (uint16_t i = 0; i < u->nr && at + 48 < len; i++) {
        const struct version *v = &u->v[i];

        at += (size_t)snprintf(buf + at, len - at, " %" PRIu64 "%s%s%s", v->id, v->zeros ? "z" : "",
                               v->done == NEVER ? "?" : "", v->dead_from == NEVER ? "" : "!");
    }
}

/* What stands in the unit is known now: whatever had ended before the read began and is something else is dead. */
static void unit_saw(struct unit *u, uint64_t begun, uint64_t now, bool zeros, uint64_t id)
{
    for (uint16_t k = 0; k < u->nr; k++) {
        struct version *v = &u->v[k];
        bool same = zeros ? v->zeros : v->id == id;

        if (!same && v->settled < begun)
            v->dead_from = MIN(v->dead_from, now);
    }
}

static int unit_check(struct oracle *o, uint64_t begun, uint64_t unit, const uint8_t *buf, uint64_t *seen, char why[static 256])
{
    struct unit *u = &o->u[unit];
    struct stamp st;
    enum look look = stamp_read(buf, o->unit_bytes, &st);
    char known[160];
    bool ok = u->v == NULL && look == LOOK_ZEROS;

    *seen = look == LOOK_STAMP ? st.version : 0;
    for (uint16_t k = 0; k < u->nr && !ok; k++) {
        const struct version *v = &u->v[k];

        ok = v->dead_from > begun && (look == LOOK_ZEROS ? v->zeros
             : look == LOOK_STAMP && !v->zeros && st.tag == o->tag && st.unit == unit && st.version == v->id);
    }
    if (ok) {
        unit_saw(u, begun, o->step, look == LOOK_ZEROS, *seen);
        return 0;
    }
    say_versions(u, known, sizeof(known));
    if (look == LOOK_STAMP)
        snprintf(why, 256, "volume tag %" PRIu64 " unit %" PRIu64 ": read tag %" PRIu64 " unit %" PRIu64 " version %" PRIu64
                 "; known:%s", o->tag, unit, st.tag, st.unit, st.version, known);
    else
        snprintf(why, 256, "volume tag %" PRIu64 " unit %" PRIu64 ": read %s; known:%s", o->tag, unit,
                 look == LOOK_ZEROS ? "zeros" : "garbage", known);
    return -EIO;
}

/* Does what was seen surely come from before the write `id`? Zeros may be any of the unit's versions of zeros. */
static bool saw_older(struct unit *u, uint64_t seen, uint64_t id)
{
    bool found = false;

    for (uint16_t k = 0; k < u->nr; k++) {
        const struct version *v = &u->v[k];

        if (seen == 0 ? !v->zeros : v->id != seen)
            continue;
        if (v->done >= id)
            return false;
        found = true;
    }
    return found;
}

/* A write within one block that had ended before the read began is there in all its units or in none. */
static int block_check(struct oracle *o, uint64_t begun, uint64_t unit, uint64_t nr, const uint64_t *seen, char why[static 256])
{
    for (uint64_t i = 0; i < nr; i++) {
        const struct version *w = seen[i] == 0 ? NULL : unit_find(&o->u[unit + i], seen[i]);

        if (w == NULL || !w->one_block || w->settled >= begun)
            continue;
        for (uint64_t k = 0; k < nr; k++) {
            struct unit *u = &o->u[unit + k];

            if (unit_find(u, w->id) != NULL && saw_older(u, seen[k], w->id)) {
                snprintf(why, 256, "volume tag %" PRIu64 " unit %" PRIu64 ": version %" PRIu64 " is there, but unit %" PRIu64
                         " of the same write still holds %" PRIu64, o->tag, unit + i, w->id, unit + k, seen[k]);
                return -EIO;
            }
        }
    }
    return 0;
}

int oracle_read_check(struct oracle *o, uint64_t begun, uint64_t unit, uint64_t nr, const void *buf, char why[static 256])
{
    uint64_t per_block = BLOCK_BYTES / o->unit_bytes;

    oracle_read_end(o, begun);
    ++o->step;
    for (uint64_t i = 0, n; i < nr; i += n) {
        uint64_t seen[BLOCK_BYTES / 512];
        int err = 0;

        n = MIN(nr - i, per_block - (unit + i) % per_block);
        for (uint64_t k = 0; k < n && err == 0; k++)
            err = unit_check(o, begun, unit + i + k, (const uint8_t *)buf + (i + k) * o->unit_bytes, &seen[k], why);
        if (err == 0)
            err = block_check(o, begun, unit + i, n, seen, why);
        if (err != 0)
            return err;
    }
    return 0;
}
