/* SPDX-License-Identifier: Apache-2.0 */
/* pool.c: a pool from open to close.
 *
 * Open, in a straight line: devices and labels; metadata; segments and space; volumes; then each shard replays its log.
 * What the metadata and the logs say of each other is judged: either may have been rolled back by a device that lied
 * about a flush. Until all shards have been judged nothing is written. A loss that was accepted is settled: the next start
 * finds them agreed. Then the logs are repaired and opened, labels move on to the next generation, and deletions that a crash
 * cut short are finished.
 * Stop: control requests end, shards drain, seal their logs on their own threads, and the answer comes on envs[0].
 * Failures: open undoes itself; what is wrong stands in `why`, with the device or path it is about.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "tier/pool.h"

/* ---- open ---- */

static int open_devices(struct tier *t, char why[static 256])
{
    int err = pool_devs_open(&t->devs, &t->opts, POOL_WRITE, why);

    if (!err)
        err = pool_labels_read(&t->devs, why);
    if (err)
        return err;
    t->loss = pool_devs_old(&t->devs);
    t->nr_shards = t->devs.dev[0].label.nr_shards;
    return pool_devs_spread(&t->devs, MIN(t->opts.nr_envs, t->nr_shards), why);
}

static int open_space(struct tier *t, char why[static 256])
{
    struct segpool_geometry geo = pool_geometry(&t->devs.dev[0].label);
    int err = pool_slots_check(&t->devs, &geo, why);

    if (!err)
        err = pool_freed_epochs(t->meta, geo.nr_segments, &t->freed_epochs, why);
    if (err)
        return err;
    err = segpool_open(t->devs.dev[0].on[0], &geo, pool_freed_epoch, t->freed_epochs, &t->segpool);
    if (!err)
        segpool_forget_slots(t->segpool, t->pool.copies_epoch);
    if (!err)
        err = pool_areas_add(&t->devs, t->segpool);
    if (!err)
        err = pool_cold_new(&t->devs, &t->cold);
    if (err && why[0] == '\0')
        snprintf(why, 256, "the segments of \"%.120s\" cannot be read: %.80s", t->devs.dev[0].opts.path, err_text(err));
    return err;
}

static int open_shard(struct tier *t, uint32_t no, char why[static 256])
{
    uint32_t env = no % t->opts.nr_envs;
    struct shard_opts o = {.tier = &t->opts, .no = no, .env = t->envs[env], .segpool = t->segpool,
                           .journal_dev = t->devs.dev[0].on[env], .nr_capacity = t->devs.nr_capacity, .cold = t->cold,
                           .flush_turns = &t->flush_turns, .turns = &t->turns, .meta = t->meta};
    int err;

    for (uint32_t i = 0; i < t->devs.nr; i++)
        if (t->devs.dev[i].opts.role == TIER_CAPACITY)
            o.capacity[t->devs.dev[i].index] = t->devs.dev[i].on[env];
    for (uint32_t a = 1; a < segpool_areas(t->segpool); a++)
        o.areas[a - 1] = pool_area_dev(&t->devs, a, env);
    err = shard_new(&o, &t->shards[no]);
    if (err)
        snprintf(why, 256, "shard %u cannot be made: %.80s", no, err_text(err));
    return err;
}

/* accept_loss turns a verdict into a loud line and an alert that stays. */
static PRINTF_LIKE(3, 4) int rolled_back(struct tier *t, char why[static 256], const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(why, 256, fmt, ap);
    va_end(ap);
    if (!t->opts.accept_loss)
        return -FIRN_E_ROLLED_BACK;
    log_error("acknowledged data is missing; opened because loss was accepted", "why=\"%s\"", why);
    memcpy(t->alert, why, sizeof(t->alert));
    t->loss = true;
    why[0] = '\0';
    return 0;
}

/* commit_no: what the metadata held when it was opened, before recovery could add to it. */
static int judge_shard(struct tier *t, uint32_t no, uint64_t commit_no, uint64_t durable_seq, char why[static 256])
{
    const struct journal_replay_report *r = &t->reports[no];
    int err = 0;

    if (r->meta_commit_no_max > commit_no)
        err = rolled_back(t, why, "metadata \"%.90s\" is at batch %llu, the journal saw batch %llu: it was rolled back",
                          t->opts.meta_path, (unsigned long long)commit_no, (unsigned long long)r->meta_commit_no_max);
    if (!err && durable_seq > r->seq_max)
        err = rolled_back(t, why, "the journal of shard %u ends at %llu, the metadata knows of %llu: writes are missing", no,
                          (unsigned long long)r->seq_max, (unsigned long long)durable_seq);
    return err;
}

static int shard_durable_seq(struct tier *t, uint32_t no, uint64_t *seq)
{
    struct meta_key key = meta_key_shard(no);
    uint8_t buf[META_VALUE_MAX];
    struct shard_rec rec = {0};
    uint32_t len = 0;
    int err = t->meta->ops->get_sync(t->meta, &key, buf, &len);

    if (err == -FIRN_E_NOT_FOUND)
        err = 0;
    else if (!err)
        err = shard_rec_decode(buf, len, &rec);
    *seq = rec.durable_seq;
    return err;
}

/* Nobody has asked for the damaged blocks yet; the operator hears of them now. */
static void report_damage(struct tier *t, uint32_t no)
{
    const struct journal_replay_report *r = &t->reports[no];

    if (r->groups_corrupt + r->blocks_bad == 0)
        return;
    log_error("the log is damaged", "shard=%u groups=%llu newest_blocks=%llu", no, (unsigned long long)r->groups_corrupt,
              (unsigned long long)r->blocks_bad);
    if (t->alert[0] == '\0')
        snprintf(t->alert, sizeof(t->alert), "the log of shard %u is damaged: %llu groups of acknowledged writes, and %llu blocks of the "
                 "newest, are not what was written; after a power failure: the journal device may call writes safe that are not", no,
                 (unsigned long long)r->groups_corrupt, (unsigned long long)r->blocks_bad);
}

/* What the next create may give away. The log may name layers that the metadata never heard of: a new volume that got such an
 * id would have the bytes of the lost one. Extents of others may describe themselves on their devices: each lost batch made
 * one volume at most. */
static uint64_t ids_lost(const struct tier *t, uint64_t layer_max, uint64_t batches_lost)
{
    return MAX(batches_lost, layer_max < t->pool.next_layer_id ? 0 : layer_max + 1 - t->pool.next_layer_id);
}

static void copies_forget(struct tier *t)
{
    segpool_forget_slots(t->segpool, t->pool.copies_epoch);
    for (uint32_t i = 0; i < t->nr_shards; i++)
        shard_forget_copies(t->shards[i]);
}

/* A loss was accepted: later starts shall still tell. If the metadata was rolled back, from here on it is so no more: batches are
 * numbered on from the highest that the log names, and ids behind those that may have been given away. The map may be older than
 * the bytes on the devices: those fail their checksums then, but copies of what they were would not, so none counts any more. One batch,
 * before anything else is committed. */
static int loss_settle(struct tier *t, uint64_t commit_no, uint64_t layer_max)
{
    uint8_t value[POOL_REC_BYTES];
    struct meta_op op = {.key = meta_key_pool(), .value = value};
    uint64_t seen = commit_no, lost;

    for (uint32_t i = 0; i < t->nr_shards; i++)
        seen = MAX(seen, t->reports[i].meta_commit_no_max);
    lost = ids_lost(t, layer_max, seen - commit_no);
    if (lost == 0 && !t->loss)
        return 0;
    if (pool_copies_epoch(t->segpool, &t->pool.copies_epoch) != 0)
        return -FIRN_E_CORRUPT;
    if (seen > NUMBER_START_MAX || lost > NEXT_ID_MAX || MAX(t->pool.next_layer_id, t->pool.next_volume_id) > NEXT_ID_MAX - lost)
        return -FIRN_E_CORRUPT;
    t->pool.next_layer_id += lost;
    t->pool.next_volume_id += lost;
    if (t->loss)
        t->pool.loss_wall_ns = MAX(env_wall_ns(t->envs[0]), UINT64_C(1));
    op.value_len = pool_rec_encode(&t->pool, value);
    t->meta->ops->number_from(t->meta, seen);
    if (lost > 0)
        log_warn("what lost metadata numbered is left out", "batches=%llu next_volume=%llu next_layer=%llu",
                 (unsigned long long)(seen - commit_no), (unsigned long long)t->pool.next_volume_id,
                 (unsigned long long)t->pool.next_layer_id);
    copies_forget(t);
    return t->meta->ops->commit_sync(t->meta, &op, 1);
}

static int recover_shards(struct tier *t, char why[static 256])
{
    uint64_t commit_no = meta_commit_no(t->meta), layer_max = 0;
    int err = 0;

    for (uint32_t i = 0; i < t->nr_shards && !err; i++) {
        err = shard_load(t->shards[i], why);
        if (err && why[0] == '\0')
            snprintf(why, 256, "shard %u cannot be recovered: %.120s", i, err_text(err));
    }
    if (err)
        return err;
    for (uint32_t i = 0; i < t->nr_shards; i++) {
        uint64_t durable_seq;

        err = shard_durable_seq(t, i, &durable_seq);
        if (err) {
            snprintf(why, 256, "metadata \"%.120s\": the record of shard %u: %.60s", t->opts.meta_path, i, err_text(err));
            return err;
        }
        err = shard_recover(t->shards[i], &t->reports[i], &layer_max, why);
        if (err && why[0] == '\0')
            snprintf(why, 256, "shard %u cannot be recovered: %.120s", i, err_text(err));
        if (!err)
            err = judge_shard(t, i, commit_no, durable_seq, why);
        if (err)
            return err;
        t->loss |= t->reports[i].groups_unnamed > 0; /* recovery ends there unless that is accepted */
        report_damage(t, i);
    }
    err = loss_settle(t, commit_no, layer_max);
    for (uint32_t i = 0; i < t->nr_shards && !err; i++)
        err = shard_open_log(t->shards[i]);
    for (uint32_t i = 0; i < t->nr_shards && !err; i++)
        err = shard_marks_commit(t->shards[i], false);
    for (uint32_t i = 0; i < t->nr_shards && !err; i++)
        shard_heat_load(t->shards[i]);
    return err;
}

static int open_steps(struct tier *t, char why[static 256])
{
    int err = open_devices(t, why);

    if (!err)
        err = pool_meta_open(&t->opts, false, false, &t->meta, why);
    if (!err)
        err = pool_meta_match(&t->devs, t->meta, &t->pool, why);
    if (!err)
        pool_say_ignored(&t->devs, t->meta);
    if (!err)
        err = open_space(t, why);
    for (uint32_t i = 0; i < t->nr_shards && !err; i++)
        err = open_shard(t, i, why);
    if (!err)
        err = tier_volumes_load(t, why);
    if (!err)
        err = recover_shards(t, why);
    if (!err)
        err = tier_measure(t);
    if (!err)
        err = pool_labels_renew(&t->devs, why);
    if (!err)
        cold_set_generation(t->cold, t->devs.dev[0].label.generation);
    return err ? err : tier_deletions_finish(t, why);
}

static void open_log(const struct tier *t)
{
    struct journal_replay_report sum = {0};

    for (uint32_t i = 0; i < t->nr_shards; i++) {
        sum.segments += t->reports[i].segments;
        sum.records += t->reports[i].records;
        sum.blocks += t->reports[i].blocks;
        sum.groups_torn += t->reports[i].groups_torn;
        sum.groups_corrupt += t->reports[i].groups_corrupt;
    }
    log_info("pool open", "pool=%s shards=%u volumes=%u segments=%llu records=%llu blocks=%llu torn=%llu corrupt=%llu",
             t->pool.name, t->nr_shards, t->nr_vols, (unsigned long long)sum.segments, (unsigned long long)sum.records,
             (unsigned long long)sum.blocks, (unsigned long long)sum.groups_torn, (unsigned long long)sum.groups_corrupt);
}

int tier_open(const struct tier_opts *opts, struct tier **out, char why[static 256])
{
    struct tier *t = calloc(1, sizeof(*t));
    int err;

    why[0] = '\0';
    if (t == NULL)
        return -ENOMEM;
    list_init(&t->requests);
    t->opts = *opts;
    if (opts->nr_envs >= 1 && opts->nr_envs <= REACTORS_MAX)
        memcpy(t->envs, opts->envs, opts->nr_envs * sizeof(t->envs[0]));
    t->opts.envs = t->envs;
    err = open_steps(t, why);
    if (err) {
        if (why[0] == '\0')
            snprintf(why, 256, "the pool cannot be opened: %s", err_text(err));
        tier_close(t);
        return err;
    }
    for (uint32_t i = 0; i < t->nr_shards; i++)
        shard_start(t->shards[i]);
    open_log(t);
    *out = t;
    return 0;
}

/* The metadata thread ends first: what it still has to say goes to envs that will not run any more. */
void tier_close(struct tier *t)
{
    if (t == NULL)
        return;
    if (t->meta != NULL)
        t->meta->ops->close(t->meta);
    for (uint32_t i = 0; i < t->nr_shards; i++)
        if (t->shards[i] != NULL)
            shard_free(t->shards[i]);
    tier_requests_drop(t);
    for (uint32_t i = 0; i < t->nr_vols; i++)
        volume_free(t->vols[i]);
    free(t->vols);
    if (t->segpool != NULL)
        segpool_close(t->segpool);
    cold_free(t->cold);
    pool_devs_close(&t->devs);
    free(t->freed_epochs);
    free(t->commit_hist);
    free(t->dev_hist);
    free(t);
}

/* ---- one thing on every shard, then one answer on envs[0] ---- */

static void step_post(struct shard_step *s, struct env *env, env_task_fn *fn)
{
    s->task = (struct env_task){.fn = fn};
    env_post(env, &s->task);
}

static void steps_post(struct tier *t, bool last);

static void step_home(struct env_task *task)
{
    struct shard_step *s = container_of(task, struct shard_step, task);
    struct tier *t = s->t;

    assert(t->steps_left > 0);
    t->stop_err = t->stop_err != 0 ? t->stop_err : s->err;
    if (--t->steps_left > 0)
        return;
    if (!t->steps_last)
        steps_post(t, true);
    else
        t->steps_cb(t->steps_ctx);
}

static void step_seal(struct env_task *task)
{
    struct shard_step *s = container_of(task, struct shard_step, task);
    uint32_t turns = (s->t->nr_shards + s->t->opts.nr_envs - 1) / s->t->opts.nr_envs;
    int err = shard_stop(s->t->shards[s->no], turns), cause, failed = shard_failed(s->t->shards[s->no], &cause);

    s->err = failed != 0 ? cause : err;
    if (s->err)
        log_error("shard stopped with an error", "shard=%u error=\"%s\"", s->no, err_text(s->err));
    step_post(s, s->t->envs[0], step_home);
}

static void step_drained(void *ctx)
{
    struct shard_step *s = ctx;

    if (s->t->steps_seal && s->t->steps_last)
        step_post(s, tier_shard_env(s->t, s->no), step_seal);
    else
        step_post(s, s->t->envs[0], step_home);
}

static void step_drain(struct env_task *task)
{
    struct shard_step *s = container_of(task, struct shard_step, task);

    shard_drain(s->t->shards[s->no], s->t->steps_destage_all, step_drained, s);
}

/* Twice: a shard that has drained may have to free log segments for another one that has not. The second time nobody's
 * appends wait, and drained means idle. */
static void steps_post(struct tier *t, bool last)
{
    t->steps_last = last;
    t->steps_left = t->nr_shards;
    for (uint32_t i = 0; i < t->nr_shards; i++) {
        t->steps[i] = (struct shard_step){.t = t, .no = i};
        step_post(&t->steps[i], tier_shard_env(t, i), step_drain);
    }
}

static void steps_begin(struct tier *t, bool destage_all, bool seal, void (*cb)(void *ctx), void *ctx)
{
    assert(t->steps_left == 0);
    t->steps_destage_all = destage_all;
    t->steps_seal = seal;
    t->steps_cb = cb;
    t->steps_ctx = ctx;
    steps_post(t, false);
}

static void drained(void *ctx)
{
    struct tier *t = ctx;
    void (*cb)(void *) = t->drain_cb;
    void *cb_ctx = t->drain_ctx;

    t->drain_cb = NULL;
    cb(cb_ctx);
    tier_stop_go_on(t);
}

void tier_drain(struct tier *t, bool destage_all, void (*cb)(void *ctx), void *ctx)
{
    assert(!t->stopping && t->drain_cb == NULL);
    t->drain_cb = cb;
    t->drain_ctx = ctx;
    steps_begin(t, destage_all, false, drained, t);
}

void tier_stop_go_on(struct tier *t)
{
    if (!t->stopping || t->stop_begun || t->ctl_in_flight > 0 || t->steps_left > 0)
        return;
    t->stop_begun = true;
    steps_begin(t, false, true, t->stop_cb, t->stop_ctx);
}

int tier_stop_err(const struct tier *t) { return t->stop_err != 0 ? t->stop_err : meta_failed(t->meta); }

void tier_stop(struct tier *t, void (*cb)(void *ctx), void *ctx)
{
    assert(!t->stopping);
    t->stopping = true;
    t->stop_cb = cb;
    t->stop_ctx = ctx;
    tier_stop_go_on(t);
}
