/* SPDX-License-Identifier: Apache-2.0 */
/* A toy owner of a log: sixty-four blocks, no HDD, reclaim by moving what is live. Crashed at random, what was
 * acknowledged must be there; with a bug planted in the log, it must turn out not to be.
 */
#include "base/crc32c.h"
#include "journal/journal.h"
#include "tools/sim/sim.h"

#include <criterion/criterion.h>
#include <stdlib.h>

#define BLOCKS   64u
#define SEGMENTS 10u
#define SEGMENT  (256u * 1024u)
#define WRITERS  6u
#define LAYER    5u

struct toy;

struct toy_req {
    struct toy *t;
    struct journal_append a;
    struct iovec iov;
    uint8_t *buf;
    uint32_t csum;
    uint64_t version;
    bool busy;
};

struct toy_block { uint64_t version, seq; struct journal_loc loc; uint64_t acked, newest; };

struct toy {
    struct sim *sim;
    struct env *env;
    struct sim_disk *disk;
    struct dev *dev;
    struct segpool_geometry geo;
    struct segpool *pool;
    struct journal *j;
    struct journal_events ev;
    struct toy_block b[BLOCKS];
    struct toy_req w[WRITERS], mover;
    uint64_t freed[SEGMENTS], epoch[SEGMENTS]; /* freed: what metadata would hold: survives */
    bool sealed[SEGMENTS];
    uint32_t victim;                           /* being emptied; UINT32_MAX: none */
    uint64_t versions, acks;
    bool wrong;
};

static uint64_t toy_freed(void *ctx, uint32_t seg) { return ((struct toy *)ctx)->freed[seg]; }
static void toy_opened(void *ctx, uint32_t seg, enum journal_stream st, uint64_t epoch)
{
    (void)st;
    ((struct toy *)ctx)->epoch[seg] = epoch;
    ((struct toy *)ctx)->sealed[seg] = false;
}
static void toy_sealed(void *ctx, uint32_t seg, uint64_t lo, uint64_t hi)
{
    (void)lo;
    (void)hi;
    ((struct toy *)ctx)->sealed[seg] = true;
}
static void toy_wanted(void *ctx) { (void)ctx; }
static void toy_failed(void *ctx, int err)
{
    (void)err;
    ((struct toy *)ctx)->wrong = true;
}
static uint64_t toy_commit_no(void *ctx)
{
    (void)ctx;
    return 0;
}

static void fill(struct toy_req *r, uint64_t version)
{
    for (uint32_t i = 0; i < BLOCK_BYTES; i += 8)
        memcpy(r->buf + i, &version, 8);
    r->version = version;
    r->csum = block_csum(r->buf, LAYER, r->a.lba);
    r->iov = (struct iovec){r->buf, BLOCK_BYTES};
    r->a.iov = &r->iov;
    r->a.iovcnt = 1;
    r->a.csum = &r->csum;
    r->a.layer = LAYER;
    r->a.nblocks = 1;
    r->a.type = JOURNAL_WRITE;
    r->busy = true;
}

static void enter(struct toy *t, uint64_t lba, uint64_t seq, uint64_t version, struct journal_loc loc)
{
    if (seq >= t->b[lba].seq)
        t->b[lba] = (struct toy_block){version, seq, loc, t->b[lba].acked, t->b[lba].newest};
}

static void toy_write(struct toy_req *r);

static void write_done(struct journal_append *a)
{
    struct toy_req *r = container_of(a, struct toy_req, a);
    struct toy *t = r->t;

    r->busy = false;
    if (a->err != 0) {
        t->wrong = true;
        return;
    }
    enter(t, a->lba, a->seq, r->version, a->loc);
    t->b[a->lba].acked = MAX(t->b[a->lba].acked, r->version);
    t->acks++;
    toy_write(r);
}

static void toy_write(struct toy_req *r)
{
    struct toy *t = r->t;

    r->a.lba = sim_below(t->sim, BLOCKS);
    fill(r, ++t->versions);
    t->b[r->a.lba].newest = r->version;
    r->a.stream = JOURNAL_HOST;
    r->a.cb = write_done;
    journal_append(t->j, &r->a);
}

/* ---- reclaim: moves live blocks of the oldest sealed segment one at a time, then frees it ---- */

static uint32_t oldest_sealed(const struct toy *t)
{
    uint32_t best = UINT32_MAX;

    for (uint32_t i = 0; i < SEGMENTS; i++)
        if (t->sealed[i] && (best == UINT32_MAX || t->epoch[i] < t->epoch[best]))
            best = i;
    return best;
}

static void move_done(struct journal_append *a)
{
    struct toy_req *r = container_of(a, struct toy_req, a);

    r->busy = false;
    if (a->err != 0)
        r->t->wrong = true;
    else
        enter(r->t, a->lba, a->seq, r->version, a->loc);
}

static void reclaim(struct toy *t)
{
    struct toy_req *r = &t->mover;

    if (r->busy)
        return;
    if (t->victim == UINT32_MAX && segpool_free_nr(t->pool) <= 3)
        t->victim = oldest_sealed(t);
    if (t->victim == UINT32_MAX)
        return;
    for (uint32_t lba = 0; lba < BLOCKS; lba++) {
        if (t->b[lba].version == 0 || t->b[lba].loc.segment != t->victim)
            continue;
        r->a.lba = lba;
        r->a.seq = t->b[lba].seq;
        fill(r, t->b[lba].version);
        r->a.stream = JOURNAL_MOVES;
        r->a.cb = move_done;
        journal_append(t->j, &r->a);
        return;
    }
    t->freed[t->victim] = t->epoch[t->victim];
    t->sealed[t->victim] = false;
    journal_segment_free(t->j, t->victim);
    t->victim = UINT32_MAX;
}

/* ---- start ---- */

static int replayed(void *ctx, const struct journal_record *rec)
{
    struct toy *t = ctx;

    for (uint64_t i = 0; i < rec->nblocks; i++) {
        struct journal_loc loc = {rec->loc.segment, rec->loc.unit + (uint32_t)i * JOURNAL_UNITS_PER_BLOCK};

        if (rec->layer != LAYER || rec->lba + i >= BLOCKS)
            t->wrong = true;
        else if (rec->seq >= t->b[rec->lba + i].seq)
            enter(t, rec->lba + i, rec->seq, 1, loc);
    }
    return 0;
}

static int damaged(void *ctx, const struct journal_damage *d)
{
    (void)d;
    ((struct toy *)ctx)->wrong = true;
    return 0;
}

static void segment_seen(void *ctx, uint32_t seg, const struct segment_info *info)
{
    ((struct toy *)ctx)->epoch[seg] = info->epoch;
    ((struct toy *)ctx)->sealed[seg] = true;
}

static void check_blocks(struct toy *t)
{
    static _Alignas(4096) uint8_t buf[BLOCK_BYTES];

    for (uint32_t lba = 0; lba < BLOCKS && !t->wrong; lba++) {
        struct toy_block *b = &t->b[lba];
        uint64_t off = t->geo.base_bytes + (uint64_t)b->loc.segment * SEGMENT + b->loc.unit * JOURNAL_UNIT_BYTES, v = 0;

        if (b->version != 0 && dev_read_sync(t->dev, off, buf, BLOCK_BYTES) != 0)
            return;
        if (b->version != 0)
            memcpy(&v, buf, 8);
        if (v < b->acked || v > b->newest)
            t->wrong = true;
        b->version = b->acked = v; /* read once: it must stay */
    }
}

static int toy_start(struct toy *t, const struct journal_bugs *bugs)
{
    const struct journal_replay_ops ops = {t, replayed, damaged, segment_seen};
    const struct journal_opts opts = {.group_bytes_max = 16384, .groups_in_flight = 1 + (uint32_t)sim_below(t->sim, 3)};
    struct journal_replay_report rep;
    int err;

    t->env = sim_env_new(t->sim);
    t->victim = UINT32_MAX;
    memset(t->sealed, 0, sizeof(t->sealed));
    for (uint32_t i = 0; i < BLOCKS; i++)
        t->b[i].version = t->b[i].seq = 0;
    cr_assert_eq(sim_dev_open(t->disk, t->env, &t->dev), 0);
    t->ev = (struct journal_events){.ctx = t, .segment_opened = toy_opened, .segment_sealed = toy_sealed, .space_wanted = toy_wanted,
                                    .failed = toy_failed, .meta_commit_no = toy_commit_no};
    err = segpool_open(t->dev, &t->geo, toy_freed, t, &t->pool);
    err = err ? err : journal_new(t->env, t->dev, t->pool, &opts, &t->ev, &t->j);
    if (err == 0)
        journal_set_bugs(t->j, bugs);
    err = err ? err : journal_replay(t->j, &ops, &rep);
    return err ? err : journal_open(t->j);
}

static void toy_gone(struct toy *t)
{
    if (t->j != NULL)
        journal_abandon(t->j);
    if (t->pool != NULL)
        segpool_close(t->pool);
    dev_close(t->dev);
    sim_env_free(t->env);
    t->j = NULL;
    t->pool = NULL;
    t->mover.busy = false;
    for (uint32_t i = 0; i < WRITERS; i++)
        t->w[i].busy = false;
    sim_reboot(t->sim);
}

static void toy_boot(struct toy *t, const struct journal_bugs *bugs)
{
    if (sim_chance(t->sim, 300000))
        sim_crash_in_events(t->sim, sim_between(t->sim, 1, 60)); /* in recovery */
    if (toy_start(t, bugs) == 0) {
        check_blocks(t);
        if (!sim_crashed(t->sim))
            sim_crash_in_events(t->sim, sim_between(t->sim, 1, 6000));
        for (uint32_t i = 0; i < WRITERS; i++)
            toy_write(&t->w[i]);
        while (sim_step(t->sim) == 0 && !t->wrong)
            reclaim(t);
    } else if (!sim_crashed(t->sim)) {
        t->wrong = true;
    }
    if (!sim_crashed(t->sim))
        sim_crash(t->sim);
    toy_gone(t);
}

/* Runs a seed; true: something that was acknowledged is not there, or something else is wrong. */
static bool toy_run(uint64_t seed, const struct journal_bugs *bugs, uint64_t *acks)
{
    struct sim *s = sim_new(seed);
    struct sim_disk_opts o = {.size_bytes = 2 * MIB + SEGMENTS * SEGMENT, .block_bytes = 512, .torn_bytes = 512};
    struct toy *t = calloc(1, sizeof(*t));
    bool wrong;

    t->sim = s;
    t->disk = sim_disk_new(s, "j", &o);
    cr_assert_eq(segpool_plan(o.size_bytes, SEGMENT, seed % 2 ? 512 : 4096, 1, &t->geo), 0);
    for (uint32_t i = 0; i < WRITERS + 1; i++) {
        struct toy_req *r = i < WRITERS ? &t->w[i] : &t->mover;

        r->t = t;
        r->buf = aligned_alloc(4096, BLOCK_BYTES);
    }
    for (int boot = 0; boot < 5 && !t->wrong; boot++)
        toy_boot(t, bugs);
    wrong = t->wrong || sim_violation_text(s) != NULL;
    *acks += t->acks;
    for (uint32_t i = 0; i < WRITERS; i++)
        free(t->w[i].buf);
    free(t->mover.buf);
    sim_disk_free(t->disk);
    sim_free(s);
    free(t);
    return wrong;
}

Test(toy_journal, acknowledged_blocks_survive_crashes, .timeout = 120)
{
    static const struct journal_bugs none;
    uint64_t acks = 0;

    for (uint64_t seed = 1; seed <= 60; seed++)
        cr_assert(!toy_run(seed, &none, &acks), "seed %llu", (unsigned long long)seed);
    cr_assert_gt(acks, 20000);
}

static uint64_t seeds_until_wrong(const struct journal_bugs *bugs)
{
    uint64_t acks = 0;

    for (uint64_t seed = 1; seed <= 200; seed++)
        if (toy_run(seed, bugs, &acks))
            return seed;
    return 0;
}

Test(toy_journal, planted_bugs_are_seen, .timeout = 120)
{
    const struct journal_bugs early = {.ack_before_durable = true}, fence = {.skip_fence = true}, seq = {.moved_gets_new_seq = true};

    cr_assert_neq(seeds_until_wrong(&early), 0);
    cr_assert_neq(seeds_until_wrong(&fence), 0);
    cr_assert_neq(seeds_until_wrong(&seq), 0);
}
