/* SPDX-License-Identifier: Apache-2.0 */
/* gen.c: see gen.h. */
#include "gen.h"

const char *gen_op_name(enum gen_op op)
{
    static const char *const names[GEN_OP_NR] = {"read", "write", "trim", "zero", "flush"};

    return names[op];
}

#define SWEEP_BYTES      (64u * 1024u)
#define NEIGHBOURS_BYTES (64u * 1024u) /* about as popular as each other, with --zipf */

void gen_init(struct gen *g, const struct bench_opts *o, struct oracle *oracle, uint64_t begin_bytes, uint64_t end_bytes,
              uint64_t seed)
{
    *g = (struct gen){.o = o, .oracle = oracle, .begin_bytes = begin_bytes, .end_bytes = end_bytes,
                      .cursor_bytes = begin_bytes, .rng = seed * UINT64_C(0x9e3779b97f4a7c15) + 1};
    assert(begin_bytes < end_bytes);
    if (o->zipf_pct)
        zipf_init(&g->zipf, MAX((end_bytes - begin_bytes) / o->bs_bytes, (uint64_t)1), o->zipf_pct / 100.0,
                  MAX(NEIGHBOURS_BYTES / o->bs_bytes, 1u));
}

uint64_t gen_random(struct gen *g)
{
    uint64_t x = g->rng += UINT64_C(0x9e3779b97f4a7c15);

    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

static enum gen_op pick_op(struct gen *g)
{
    uint32_t dice;

    if (g->o->rw == RW_READ)
        return GEN_READ;
    if (g->o->rw == RW_MIXED && gen_random(g) % 100 < g->o->read_pct)
        return GEN_READ;
    if (g->o->trim_pct == 0 && g->o->zero_pct == 0)
        return GEN_WRITE;
    dice = (uint32_t)(gen_random(g) % 100);
    if (dice < g->o->trim_pct)
        return GEN_TRIM;
    return dice < g->o->trim_pct + g->o->zero_pct ? GEN_ZERO : GEN_WRITE;
}

static bool claim(struct gen *g, enum gen_op op, uint64_t off_bytes, uint32_t len)
{
    uint32_t unit_bytes, nr;

    if (g->oracle == NULL)
        return true;
    unit_bytes = g->oracle->unit_bytes;
    nr = len / unit_bytes;
    if (op == GEN_READ)
        return oracle_try_read(g->oracle, off_bytes / unit_bytes, nr);
    return oracle_can_write(g->oracle, off_bytes / unit_bytes, nr);
}

void gen_again_singly(struct gen *g, uint64_t unit, uint32_t nr)
{
    assert(g->nr_single < g->cap_single); /* no read of several begins while one is left */
    g->single[g->nr_single++] = (struct gen_range){.unit = unit, .nr = nr};
}

static bool next_single(struct gen *g, struct gen_req *out)
{
    struct gen_range *r = &g->single[g->nr_single - 1];
    uint32_t ub = g->oracle->unit_bytes;

    if (!claim(g, GEN_READ, r->unit * ub, ub))
        return false;
    *out = (struct gen_req){.op = GEN_READ, .off_bytes = r->unit * ub, .len_bytes = ub};
    r->unit++;
    if (--r->nr == 0)
        g->nr_single--;
    return true;
}

static bool next_sweep(struct gen *g, struct gen_req *out)
{
    uint32_t ub = g->oracle->unit_bytes;
    uint64_t u = g->cursor_bytes / ub, end = g->end_bytes / ub;
    uint32_t nr = 0;

    if (g->nr_single > 0)
        return next_single(g, out);
    while (u < end && !g->oracle->units[u].touched)
        u++;
    g->cursor_bytes = u * ub;
    while (u + nr < end && g->oracle->units[u + nr].touched && (nr + 1) * ub <= SWEEP_BYTES)
        nr++;
    if (nr == 0)
        return false;
    if (!claim(g, GEN_READ, u * ub, nr * ub))
        return false;
    *out = (struct gen_req){.op = GEN_READ, .off_bytes = u * ub, .len_bytes = nr * ub};
    g->cursor_bytes = (u + nr) * ub;
    return true;
}

bool gen_swept(const struct gen *g)
{
    return g->sweep && g->cursor_bytes >= g->end_bytes && g->nr_single == 0;
}

static uint64_t next_bits(void *gen)
{
    return gen_random(gen);
}

static uint64_t pick_place(struct gen *g)
{
    uint64_t places = (g->end_bytes - g->begin_bytes) / g->o->bs_bytes;

    return g->o->zipf_pct ? zipf_next(&g->zipf, next_bits, g) : gen_random(g) % places;
}

bool gen_next(struct gen *g, struct gen_req *out)
{
    uint32_t bs = g->o->bs_bytes;
    enum gen_op op;

    if (g->sweep)
        return next_sweep(g, out);
    if (g->o->flush_every && g->writes >= g->o->flush_every) {
        g->writes = 0;
        *out = (struct gen_req){.op = GEN_FLUSH};
        return true;
    }
    op = pick_op(g);
    for (int tries = 0; tries < 8; tries++) {
        uint64_t off = g->o->random ? g->begin_bytes + pick_place(g) * bs : g->cursor_bytes;

        if (claim(g, op, off, bs)) {
            *out = (struct gen_req){.op = op, .off_bytes = off, .len_bytes = bs};
            g->cursor_bytes = off + 2 * (uint64_t)bs > g->end_bytes ? g->begin_bytes : off + bs;
            g->writes += op != GEN_READ;
            return true;
        }
        if (!g->o->random)
            break;
    }
    return false;
}
