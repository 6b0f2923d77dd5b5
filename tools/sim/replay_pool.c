/* SPDX-License-Identifier: Apache-2.0 */
/* replay_pool.c: a pool for a replay.
 *
 * 1. Media of the sizes that SSD and span ask for; a pool is formatted and its volume made on them, in no time.
 * 2. The pool is closed; from then on the metadata says that the volume is full (prefill.h).
 * 3. It is opened again, on models over the same media. When that is done the models begin anew: cold SSD, head at 0.
 * 4. Each command that reaches a medium is counted, and written into the log of commands.
 * 5. At the end everything is destaged; that counts. The engine's own walk proves the books.
 * Failures: none is simulated; one that comes all the same ends the replay with its words.
 */
#include "tools/sim/replay_pool.h"

#include "base/limits.h"
#include "rt/dev_model.h"

#include <inttypes.h>
#include <stdlib.h>

#define VOLUME_NAME "replay"
#define SEED        1u
#define COMMIT_NS   (100 * NS_PER_US) /* a metadata commit: two durable writes of a few pages */
#define STAGE_BYTES_MIN (256 * KIB)
#define STAGE_BYTES_MAX (16 * MIB)
/* A record is never cut in two by a segment's end. In segments of the sizes that a configuration may name that leaves a hundredth of
 * them unused; in those of a replay, whose SSD is small, records of half a segment would leave a third. */
#define RECORDS_FIT 8u
#define PATIENCE_NS (100 * 24 * 3600 * NS_PER_S)

/* ---- sizes ---- */

uint32_t replay_segment_bytes(const struct replay_opts *o)
{
    uint64_t bytes = ROUND_DOWN(o->ssd_bytes / REPLAY_SEGMENTS_AIM, (uint64_t)BLOCK_BYTES);
    uint64_t few = MIN(ROUND_DOWN(o->ssd_bytes / REPLAY_SEGMENTS_LEAST, (uint64_t)BLOCK_BYTES), (uint64_t)REPLAY_SEGMENT_BYTES);

    if (o->tune->segment_bytes != 0)
        return o->tune->segment_bytes;
    return (uint32_t)MIN(MAX(MAX(bytes, few), (uint64_t)SEGMENT_BYTES_MIN), (uint64_t)SEGMENT_BYTES_MAX);
}

uint64_t replay_ssd_min(const struct replay_opts *o)
{
    struct segpool_geometry geo;
    uint32_t segment = replay_segment_bytes(o);
    uint64_t nr = 1;

    while (segpool_plan(2 * LABEL_AREA_BYTES + nr * segment, segment, BLOCK_BYTES, 1, &geo) != 0)
        nr++;
    return nr * segment;
}

static uint64_t hdd_bytes(const struct replay_pool *p)
{
    uint64_t regions = 2 * LABEL_AREA_BYTES + prefill_extents_a_dev(&p->prefill) / REGION_EXTENTS * REGION_BYTES;

    uint64_t ring = (uint64_t)ring_plan(regions, 0, 1) * DESC_BYTES;

    return regions + ring + ROUND_UP(ring / 256, MIB); /* the ring of a device that is longer by its ring is a little longer */
}

/* ---- commands ---- */

static uint64_t span_bytes(const struct replay_pool *p) { return p->volume_bytes / p->o->nr_hdd; }

/* An HDD's commands reach it in the order in which the model serves them: the same cost, again, for the use that it is of. */
static void count_use(struct replay_dev *d, bool write, uint64_t off, uint64_t len)
{
    uint64_t base = ring_offset(ring_plan(hdd_bytes(d->pool), 0, 1)), seeks = 0;
    bool described = off < base || (off - base) % REGION_BYTES < DESC_TABLE_BYTES;
    enum score_use use = !write ? SCORE_READ : described ? SCORE_DESCRIBE : SCORE_DESTAGE;

    d->pool->score->use_ns[d->pool->flushing][use] +=
        dev_model_hdd_cost_ns(ROUND_UP(span_bytes(d->pool), GIB), &d->head_bytes, write, off, len, &seeks);
}

static void saw_command(void *ctx, enum dev_op op, uint64_t off, uint64_t len)
{
    struct replay_dev *d = ctx;
    struct score_dev *s = d->kind == 'S' ? &d->pool->score->ssd : &d->pool->score->hdd;

    if (op == DEV_WRITE) {
        s->writes++;
        s->write_bytes += len;
    } else {
        s->reads++;
        s->read_bytes += len;
    }
    if (d->kind == 'H')
        count_use(d, op == DEV_WRITE, off, len);
    if (d->oplog != NULL)
        fprintf(d->oplog, "%c,%c,%" PRIu64 ",%" PRIu64 "\n", d->kind, op == DEV_WRITE ? 'W' : 'R', off, len);
}

/* ---- seams ---- */

static int open_dev(void *ctx, struct env *env, const struct tier_dev_opts *dev, const struct dev_open_opts *opts,
                    struct dev **out, char why[static 256])
{
    struct replay_pool *p = ctx;
    struct replay_dev *d = NULL;
    struct dev_model_params params = {.scale = 1, .span_bytes = span_bytes(p)};
    struct dev *below;
    int err;

    (void)opts;
    for (uint32_t i = 0; i < p->nr_devs; i++)
        if (strcmp(p->dev[i].path, dev->path) == 0)
            d = &p->dev[i];
    assert(d != NULL);
    err = media_open(d->media, env, d->path, &below);
    if (err == 0 && p->modelled) {
        assert(d->model == NULL);
        params.hdd = d->kind == 'H';
        err = dev_model_new(below, &params, &d->model);
        d->below = below;
        below = err == 0 ? d->model : below;
    }
    *out = below;
    if (err != 0)
        snprintf(why, 256, "%.16s: %s", d->path, err_text(err));
    return err;
}

static int open_meta(void *ctx, const char *path, bool create, bool read_only, struct meta **out, char why[static 256])
{
    struct replay_pool *p = ctx;
    struct meta *under;
    int err = sim_meta_open(p->store, &under);

    (void)path;
    (void)create;
    (void)read_only;
    if (err != 0) {
        snprintf(why, 256, "metadata: %s", err_text(err));
        return err;
    }
    prefill_open(&p->prefill, under, out);
    return 0;
}

/* ---- the machine ---- */

static void make_devs(struct replay_pool *p)
{
    p->nr_devs = 1 + p->o->nr_hdd;
    for (uint32_t i = 0; i < p->nr_devs; i++) {
        struct replay_dev *d = &p->dev[i];

        d->pool = p;
        d->kind = i == 0 ? 'S' : 'H';
        snprintf(d->path, sizeof(d->path), i == 0 ? "ssd" : "hdd%u", i - 1);
        d->media = media_new(i == 0 ? 2 * LABEL_AREA_BYTES + p->o->ssd_bytes : hdd_bytes(p));
        d->oplog = p->o->oplog[i == 0 ? 0 : i - 1];
    }
}

/* A thirty-second of the SSD, so that RAM does not do the cache's work; what a configuration says if that is less. */
static uint64_t stage_bytes(const struct replay_opts *o)
{
    uint64_t most = MIN(MAX(o->ssd_bytes / 32, STAGE_BYTES_MIN), STAGE_BYTES_MAX);

    return o->tune->stage_bytes == 0 ? most : MIN(o->tune->stage_bytes, most);
}

static void fill_opts(struct replay_pool *p)
{
    struct tier_opts *t = &p->topts;

    *t = *p->o->tune;
    snprintf(t->pool_name, sizeof(t->pool_name), "replay");
    snprintf(t->meta_path, sizeof(t->meta_path), "metadata");
    t->nr_devs = p->nr_devs;
    memset(t->devs, 0, sizeof(t->devs));
    for (uint32_t i = 0; i < p->nr_devs; i++) {
        t->devs[i].role = i == 0 ? TIER_JOURNAL : TIER_CAPACITY;
        t->devs[i].media = i == 0 ? TIER_MEDIA_SSD : TIER_MEDIA_HDD;
        snprintf(t->devs[i].path, sizeof(t->devs[i].path), "%s", p->dev[i].path);
    }
    t->segment_bytes = p->score->segment_bytes = replay_segment_bytes(p->o);
    t->stage_bytes = stage_bytes(p->o);
    t->nr_shards = 1;
    t->ring_bytes = 0;
    t->force = false;
    t->journal_pmem = t->buffered = t->accept_loss = false;
    t->io_deadline_ns = PATIENCE_NS; /* a long queue in front of a disk is no fault here */
    t->seams = (struct tier_seams){.dev_open = open_dev, .meta_open = open_meta, .ctx = p};
    t->envs = &p->env;
    t->nr_envs = 1;
}

/* ---- waiting ---- */

struct waited { bool done; int err; uint64_t volume_id; };

static bool is_done(void *ctx) { return ((struct waited *)ctx)->done; }
static void done(void *ctx) { ((struct waited *)ctx)->done = true; }

static int wait_for(struct replay_pool *p, struct waited *w, const char *what, char why[static 256])
{
    int err = sim_run_until(p->sim, is_done, w, PATIENCE_NS);

    err = err ? err : w->err;
    if (err != 0)
        snprintf(why, 256, "%s: %s", what, err == -EAGAIN ? "nothing is left that could happen" : err_text(err));
    return err;
}

static void volume_made(void *ctx, int err, struct blk *blk, const struct volume_info *info)
{
    struct waited *w = ctx;

    (void)blk;
    w->done = true;
    w->err = err;
    w->volume_id = info == NULL ? 0 : info->id;
}

/* ---- the pool ---- */

static int stop(struct replay_pool *p, char why[static 256])
{
    struct waited w = {0};
    int err;

    tier_stop(p->tier, done, &w);
    err = wait_for(p, &w, "stop", why);
    tier_close(p->tier);
    p->tier = NULL;
    for (uint32_t i = 0; i < p->nr_devs; i++)
        p->dev[i].model = p->dev[i].below = NULL;
    return err;
}

static int make_volume(struct replay_pool *p, char why[static 256])
{
    struct volume_params params = {.name = VOLUME_NAME, .size_bytes = p->volume_bytes, .lba_bytes = BLOCK_BYTES};
    struct waited w = {0};
    struct meta *under;
    int err = tier_open(&p->topts, &p->tier, why);

    if (err != 0)
        return err;
    tier_volume_create(p->tier, &params, volume_made, &w);
    err = wait_for(p, &w, "making the volume", why);
    if (err == 0)
        err = stop(p, why);
    if (err == 0)
        err = sim_meta_open(p->store, &under);
    if (err != 0)
        return err;
    err = prefill_arm(&p->prefill, under, w.volume_id);
    under->ops->close(under);
    return err;
}

int replay_pool_open(struct replay_pool *p, const struct replay_opts *o, struct score *score, char why[static 256])
{
    struct volume_info info;
    int err;

    *p = (struct replay_pool){.o = o, .score = score, .volume_bytes = ROUND_UP(o->trace->end_bytes, GIB)};
    why[0] = '\0';
    p->sim = sim_new(SEED);
    p->env = sim_env_new(p->sim);
    p->store = sim_meta_store_new(p->sim);
    sim_meta_faults(p->store)->latency_min_ns = sim_meta_faults(p->store)->latency_max_ns = COMMIT_NS;
    prefill_init(&p->prefill, o->trace, p->volume_bytes, o->nr_hdd);
    make_devs(p);
    fill_opts(p);
    err = tier_format(&p->topts, why);
    if (err == 0)
        err = make_volume(p, why);
    p->modelled = true;
    if (err == 0)
        err = tier_open(&p->topts, &p->tier, why);
    if (err == 0)
        err = tier_volume_get(p->tier, VOLUME_NAME, &info, &p->blk);
    if (err != 0 && why[0] == '\0')
        snprintf(why, 256, "the pool cannot be made: %s", err_text(err));
    return err;
}

static void measure_requests(struct replay_pool *p)
{
    struct segpool_geometry geo = {.segment_bytes = p->topts.segment_bytes};

    p->io_blocks[0] = p->blk->max_io_bytes / BLOCK_BYTES;
    p->io_blocks[1] = MIN(p->io_blocks[0], MAX(geo.segment_bytes / RECORDS_FIT / BLOCK_BYTES, 1u));
}

static bool devs_idle(void *ctx)
{
    struct replay_pool *p = ctx;

    for (uint32_t i = 0; i < p->nr_devs; i++)
        if (p->dev[i].model->stats.in_flight != 0)
            return false;
    return true;
}

int replay_pool_count(struct replay_pool *p, char why[static 256])
{
    int err = sim_run_until(p->sim, devs_idle, p, PATIENCE_NS);

    if (err != 0) {
        snprintf(why, 256, "the pool does not come to rest: %s", err_text(err));
        return err;
    }
    for (uint32_t i = 0; i < p->nr_devs; i++) {
        dev_model_restart(p->dev[i].model);
        p->dev[i].head_bytes = 0;
        media_watch_set(p->dev[i].media, saw_command, &p->dev[i]);
    }
    tier_stats_get(p->tier, &p->stats0);
    tier_journal_stats_get(p->tier, &p->journal0);
    measure_requests(p);
    return 0;
}

static void fill_score(struct replay_pool *p)
{
    struct score *s = p->score;
    struct tier_stats t;
    struct journal_stats j;
    uint64_t saved;

    tier_stats_get(p->tier, &t);
    tier_journal_stats_get(p->tier, &j);
    s->blocks_missed = t.read_miss_blocks - p->stats0.read_miss_blocks;
    s->blocks_in_ram = t.stage_hit_blocks - p->stats0.stage_hit_blocks;
    s->write_waits = t.write_waits - p->stats0.write_waits;
    s->destaged_blocks = t.destage_blocks - p->stats0.destage_blocks;
    s->bridged_blocks = t.destage_bridged - p->stats0.destage_bridged;
    s->described_bytes = t.descriptor_bytes - p->stats0.descriptor_bytes;
    s->ssd_host_bytes = j.host_bytes - p->journal0.host_bytes;
    saved = MIN(t.reclaim_saved_blocks - p->stats0.reclaim_saved_blocks, t.fill_blocks - p->stats0.fill_blocks) * BLOCK_BYTES;
    s->ssd_moved_bytes = j.moved_bytes - p->journal0.moved_bytes + saved;
    s->ssd_fill_bytes = (t.fill_blocks - p->stats0.fill_blocks) * BLOCK_BYTES - saved;
    s->meta_batches = p->prefill.batches;
    s->meta_pages = p->prefill.pages;
    for (uint32_t i = 0; i < p->nr_devs; i++) {
        struct score_dev *d = i == 0 ? &s->ssd : &s->hdd;

        d->busy_ns += dev_model_busy_ns(p->dev[i].model);
        d->seeks += dev_model_seeks(p->dev[i].model);
    }
}

int replay_pool_flush(struct replay_pool *p, char why[static 256])
{
    struct waited w = {0};
    uint64_t began_ns = sim_now_ns(p->sim);
    int err;

    p->flushing = true;
    tier_drain(p->tier, true, done, &w);
    err = wait_for(p, &w, "the final flush", why);
    if (err != 0)
        return err;
    p->score->flush_ns = sim_now_ns(p->sim) - began_ns;
    fill_score(p);
    for (uint32_t i = 0; i < p->nr_devs; i++)
        media_watch_set(p->dev[i].media, NULL, NULL);
    tier_verify(p->tier);
    return stop(p, why);
}

/* After a failure requests may be under way: they end with the machine, unanswered. */
static void forget_requests(struct dev *d)
{
    if (d == NULL)
        return;
    list_init(&d->inflight);
    list_init(&d->left);
    d->stats.in_flight = 0;
}

void replay_pool_close(struct replay_pool *p)
{
    if (!sim_crashed(p->sim))
        sim_crash(p->sim);
    for (uint32_t i = 0; i < p->nr_devs; i++) {
        forget_requests(p->dev[i].model);
        forget_requests(p->dev[i].below);
    }
    if (p->tier != NULL)
        tier_close(p->tier);
    sim_env_free(p->env);
    for (uint32_t i = 0; i < p->nr_devs; i++)
        media_free(p->dev[i].media);
    sim_meta_store_free(p->store);
    prefill_fini(&p->prefill);
    sim_free(p->sim);
}
