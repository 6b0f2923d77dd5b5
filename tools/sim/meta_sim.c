/* SPDX-License-Identifier: Apache-2.0 */
/* meta_sim.c: the contract of tier/meta.h in memory.
 *
 * 1. A sorted table of records lives in the store and survives crashes.
 * 2. Commits and gets stand in one queue; one is carried out at a time, after a while; its callback comes a little later.
 * 3. At a crash a prefix of the queue is carried out all the same, each batch whole, and nobody is told.
 * Failures: a planned failure of a commit is final, as the contract says; a rotten record is -FIRN_E_CORRUPT, or NULL in a
 * scan, until the key is put again.
 */
#include "tools/sim/priv.h"

#include <stdio.h>
#include <stdlib.h>

struct record { struct meta_key key; bool rotten; uint32_t len; uint8_t value[]; };

struct meta_sim;

struct sim_meta_store {
    struct sim           *sim;
    struct record       **records;  /* in the order of keys */
    uint32_t              nr, cap;
    uint64_t              commit_no;
    struct sim_meta_faults faults;
    struct meta_sim      *open;
    struct sim_crash_hook hook;
};

/* One waiting commit or get; the other pointer is NULL. */
struct job {
    struct list          node;
    struct meta_batch   *batch;
    struct meta_get_req *get;
};

struct meta_sim {
    struct meta            meta;
    struct sim_meta_store *store;
    struct list            queue;    /* of job.node */
    struct sim_event       next;     /* carries out the first; armed while there is one */
    bool                   failed;
    uint64_t               unheard;  /* carried out, callback not yet run */
};

/* ---- the table ---- */

static int key_cmp(const struct meta_key *a, const struct meta_key *b)
{
    int c = memcmp(a->b, b->b, MIN(a->len, b->len));

    return c != 0 ? c : (int)a->len - (int)b->len;
}

/* First record whose key is not below k. */
static uint32_t lower_bound(const struct sim_meta_store *ms, const struct meta_key *k)
{
    uint32_t lo = 0, hi = ms->nr;

    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;

        if (key_cmp(&ms->records[mid]->key, k) < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static struct record *record_find(const struct sim_meta_store *ms, const struct meta_key *k)
{
    uint32_t at = lower_bound(ms, k);

    return at < ms->nr && key_cmp(&ms->records[at]->key, k) == 0 ? ms->records[at] : NULL;
}

static void record_remove(struct sim_meta_store *ms, const struct meta_key *k)
{
    uint32_t at = lower_bound(ms, k);

    if (at == ms->nr || key_cmp(&ms->records[at]->key, k) != 0)
        return;
    free(ms->records[at]);
    ms->nr--;
    memmove(&ms->records[at], &ms->records[at + 1], (ms->nr - at) * sizeof(struct record *));
}

static void record_put(struct sim_meta_store *ms, const struct meta_op *op)
{
    struct record *r = malloc(sizeof(*r) + op->value_len);
    uint32_t at;

    assert(r != NULL);
    assert(op->value_len <= META_VALUE_MAX && op->key.len <= META_KEY_MAX && op->key.len > 0);
    record_remove(ms, &op->key);
    r->key = op->key;
    r->rotten = false;
    r->len = op->value_len;
    memcpy(r->value, op->value, op->value_len);
    if (ms->nr == ms->cap) {
        ms->cap = ms->cap == 0 ? 64 : ms->cap * 2;
        ms->records = realloc(ms->records, ms->cap * sizeof(struct record *));
        assert(ms->records != NULL);
    }
    at = lower_bound(ms, &op->key);
    memmove(&ms->records[at + 1], &ms->records[at], (ms->nr - at) * sizeof(struct record *));
    ms->records[at] = r;
    ms->nr++;
}

static int record_get(const struct sim_meta_store *ms, const struct meta_key *k, void *buf, uint32_t *len)
{
    const struct record *r = record_find(ms, k);

    if (r == NULL)
        return -FIRN_E_NOT_FOUND;
    if (r->rotten) {
        sim_fault_mattered(ms->sim, SIM_META_ROT);
        return -FIRN_E_CORRUPT;
    }
    memcpy(buf, r->value, r->len);
    *len = r->len;
    return 0;
}

static void batch_apply(struct sim_meta_store *ms, const struct meta_op *ops, uint32_t nr)
{
    for (uint32_t i = 0; i < nr; i++) {
        if (ops[i].value == NULL)
            record_remove(ms, &ops[i].key);
        else
            record_put(ms, &ops[i]);
    }
    ms->commit_no++;
}

/* ---- the queue ---- */

static struct meta_sim *meta_sim_of(struct meta *m) { return container_of(m, struct meta_sim, meta); }

static void arm_next(struct meta_sim *mm)
{
    struct sim_meta_store *ms = mm->store;
    const struct sim_meta_faults *f = &ms->faults;
    uint64_t lo = f->latency_max_ns == 0 ? 50 * NS_PER_US : f->latency_min_ns;
    uint64_t hi = f->latency_max_ns == 0 ? 2 * NS_PER_MS : f->latency_max_ns;
    struct job *first = list_first(&mm->queue, struct job, node);

    if (first == NULL || mm->next.heap_pos != 0)
        return;
    sim_at(ms->sim, &mm->next, ms->sim->now_ns + (first->get != NULL ? sim_between(ms->sim, 1000, 20000)
                                                                     : sim_between(ms->sim, lo, hi)));
}

static void batch_heard(struct env_task *t)
{
    struct meta_batch *b = container_of(t, struct meta_batch, priv.task);

    b->cb(b);
}

static void get_heard(struct env_task *t)
{
    struct meta_get_req *r = container_of(t, struct meta_get_req, priv.task);

    r->cb(r);
}

static bool commit_fails(struct meta_sim *mm)
{
    struct sim_meta_store *ms = mm->store;

    if (!mm->failed && ms->faults.fail_nth != 0 && --ms->faults.fail_nth == 0) {
        mm->failed = true;
        sim_fault_fired(ms->sim, SIM_META_FAIL);
        sim_fault_mattered(ms->sim, SIM_META_FAIL);
    }
    return mm->failed;
}

static int commit_now(struct meta_sim *mm, const struct meta_op *ops, uint32_t nr)
{
    if (commit_fails(mm))
        return -FIRN_E_META;
    batch_apply(mm->store, ops, nr);
    sim_trace_mix(mm->store->sim, mm->store->commit_no ^ ((uint64_t)nr << 32));
    return 0;
}

static void job_due(struct sim_event *ev)
{
    struct meta_sim *mm = container_of(ev, struct meta_sim, next);
    struct job *j = list_first(&mm->queue, struct job, node);

    assert(j != NULL);
    list_remove(&j->node);
    if (j->batch != NULL) {
        j->batch->err = commit_now(mm, j->batch->ops, j->batch->nr);
        j->batch->commit_no = mm->store->commit_no;
        j->batch->priv.task.fn = batch_heard;
        env_post(j->batch->env, &j->batch->priv.task);
    } else {
        j->get->err = record_get(mm->store, &j->get->key, j->get->buf, &j->get->len);
        j->get->priv.task.fn = get_heard;
        env_post(j->get->env, &j->get->priv.task);
    }
    free(j);
    arm_next(mm);
}

static void job_add(struct meta_sim *mm, struct meta_batch *b, struct meta_get_req *r)
{
    struct job *j;

    if (mm->store->sim->crashed)
        return;
    j = calloc(1, sizeof(*j));
    assert(j != NULL);
    j->batch = b;
    j->get = r;
    list_push_back(&mm->queue, &j->node);
    arm_next(mm);
}

/* ---- the verbs ---- */

static void meta_sim_commit(struct meta *m, struct meta_batch *b)
{
    assert(b->cb != NULL && b->env != NULL);
    b->priv.task.queued = false;
    job_add(meta_sim_of(m), b, NULL);
}

static void meta_sim_get(struct meta *m, struct meta_get_req *r)
{
    assert(r->cb != NULL && r->env != NULL);
    r->priv.task.queued = false;
    job_add(meta_sim_of(m), NULL, r);
}

static int meta_sim_get_sync(struct meta *m, const struct meta_key *key, void *buf, uint32_t *len)
{
    struct meta_sim *mm = meta_sim_of(m);

    return mm->store->sim->crashed ? -FIRN_E_STOPPED : record_get(mm->store, key, buf, len);
}

struct sync_commit { struct sim_event ev; bool done; };

static void sync_commit_due(struct sim_event *ev) { container_of(ev, struct sync_commit, ev)->done = true; }
static bool sync_commit_done(void *ctx) { return ((struct sync_commit *)ctx)->done; }
static bool queue_empty(void *ctx) { return list_empty(&((struct meta_sim *)ctx)->queue); }

/* May crash before or after the batch is there, never between. */
static int meta_sim_commit_sync(struct meta *m, const struct meta_op *ops, uint32_t nr)
{
    struct meta_sim *mm = meta_sim_of(m);
    struct sim *s = mm->store->sim;
    struct sync_commit wait = {.ev.fn = sync_commit_due};
    int err;

    if (s->crashed)
        return -FIRN_E_STOPPED;
    err = sim_run_until(s, queue_empty, mm, UINT64_MAX / 2); /* batches are applied in order of the calls */
    for (int half = 0; half < 2 && err == 0; half++) {
        wait.done = false;
        sim_at(s, &wait.ev, s->now_ns + sim_between(s, 10000, 500000));
        err = sim_run_until(s, sync_commit_done, &wait, UINT64_MAX / 2);
        if (err == 0 && half == 0)
            err = commit_now(mm, ops, nr);
    }
    sim_cancel(s, &wait.ev);
    return err;
}

static bool has_prefix(const struct meta_key *k, const struct meta_key *prefix)
{
    return k->len >= prefix->len && memcmp(k->b, prefix->b, prefix->len) == 0;
}

static int meta_sim_scan_sync(struct meta *m, const struct meta_key *prefix,
                              int (*fn)(void *ctx, const struct meta_key *key, const void *value, uint32_t len), void *ctx)
{
    struct sim_meta_store *ms = meta_sim_of(m)->store;

    if (ms->sim->crashed)
        return -FIRN_E_STOPPED;
    for (uint32_t i = lower_bound(ms, prefix); i < ms->nr && has_prefix(&ms->records[i]->key, prefix); i++) {
        struct record *r = ms->records[i];
        int err = fn(ctx, &r->key, r->rotten ? NULL : r->value, r->rotten ? 0 : r->len);

        if (r->rotten)
            sim_fault_mattered(ms->sim, SIM_META_ROT);
        if (err != 0)
            return err;
    }
    return 0;
}

static uint64_t meta_sim_commit_no(const struct meta *m)
{
    return container_of(m, const struct meta_sim, meta)->store->commit_no;
}

static void meta_sim_number_from(struct meta *m, uint64_t commit_no)
{
    struct sim_meta_store *ms = meta_sim_of(m)->store;

    ms->commit_no = MAX(ms->commit_no, commit_no);
}

static void meta_sim_close(struct meta *m)
{
    struct meta_sim *mm = meta_sim_of(m);
    struct sim *s = mm->store->sim;

    if (!s->crashed)
        sim_run_until(s, queue_empty, mm, UINT64_MAX / 2);
    while (!list_empty(&mm->queue)) {
        struct job *j = list_entry(list_pop_front(&mm->queue), struct job, node);

        free(j);
    }
    sim_cancel(s, &mm->next);
    mm->store->open = NULL;
    free(mm);
}

static const struct meta_ops meta_sim_ops = {
    .name = "sim",
    .commit = meta_sim_commit,
    .get = meta_sim_get,
    .get_sync = meta_sim_get_sync,
    .commit_sync = meta_sim_commit_sync,
    .scan_sync = meta_sim_scan_sync,
    .commit_no = meta_sim_commit_no,
    .number_from = meta_sim_number_from,
    .close = meta_sim_close,
};

/* ---- the store ---- */

static void store_crashed(struct sim_crash_hook *h)
{
    struct sim_meta_store *ms = container_of(h, struct sim_meta_store, hook);
    bool keep = true;

    if (ms->open == NULL)
        return;
    sim_cancel(ms->sim, &ms->open->next);
    while (!list_empty(&ms->open->queue)) {
        struct job *j = list_entry(list_pop_front(&ms->open->queue), struct job, node);

        if (j->batch != NULL) {
            keep = keep && !ms->open->failed && sim_chance(ms->sim, 600000);
            if (keep)
                batch_apply(ms, j->batch->ops, j->batch->nr);
            sim_fault_fired(ms->sim, keep ? SIM_META_BATCH_KEPT : SIM_META_BATCH_LOST);
            sim_fault_mattered(ms->sim, keep ? SIM_META_BATCH_KEPT : SIM_META_BATCH_LOST);
        }
        free(j);
    }
}

struct sim_meta_store *sim_meta_store_new(struct sim *s)
{
    struct sim_meta_store *ms = calloc(1, sizeof(*ms));

    assert(ms != NULL);
    ms->sim = s;
    ms->hook.fn = store_crashed;
    sim_crash_hook_add(s, &ms->hook);
    return ms;
}

void sim_meta_store_free(struct sim_meta_store *ms)
{
    assert(ms->open == NULL);
    sim_crash_hook_remove(&ms->hook);
    for (uint32_t i = 0; i < ms->nr; i++)
        free(ms->records[i]);
    free(ms->records);
    free(ms);
}

struct sim_meta_faults *sim_meta_faults(struct sim_meta_store *ms) { return &ms->faults; }
uint64_t sim_meta_records(const struct sim_meta_store *ms) { return ms->nr; }

bool sim_meta_rot(struct sim_meta_store *ms, char tag)
{
    uint32_t start = ms->nr == 0 ? 0 : (uint32_t)sim_below(ms->sim, ms->nr);

    for (uint32_t i = 0; i < ms->nr; i++) {
        struct record *r = ms->records[(start + i) % ms->nr];

        if (r->key.b[0] != (uint8_t)tag || r->rotten)
            continue;
        r->rotten = true;
        sim_fault_fired(ms->sim, SIM_META_ROT);
        return true;
    }
    return false;
}

uint32_t sim_meta_count(const struct sim_meta_store *ms, char tag)
{
    uint32_t nr = 0;

    for (uint32_t i = 0; i < ms->nr; i++)
        nr += ms->records[i]->key.b[0] == (uint8_t)tag;
    return nr;
}

uint32_t sim_meta_drop(struct sim_meta_store *ms, char tag)
{
    uint32_t nr = 0;

    for (uint32_t i = ms->nr; i-- > 0;)
        if (ms->records[i]->key.b[0] == (uint8_t)tag) {
            struct meta_key k = ms->records[i]->key;

            record_remove(ms, &k);
            nr++;
        }
    return nr;
}

void sim_meta_heal(struct sim_meta_store *ms)
{
    for (uint32_t i = 0; i < ms->nr; i++)
        ms->records[i]->rotten = false;
    ms->faults.fail_nth = 0;
}

int sim_meta_open(struct sim_meta_store *ms, struct meta **out)
{
    struct meta_sim *mm;

    if (ms->open != NULL)
        return -FIRN_E_BUSY;
    mm = calloc(1, sizeof(*mm));
    assert(mm != NULL);
    mm->meta.ops = &meta_sim_ops;
    mm->store = ms;
    list_init(&mm->queue);
    mm->next.fn = job_due;
    ms->open = mm;
    *out = &mm->meta;
    return 0;
}
