/* SPDX-License-Identifier: Apache-2.0 */
/* worker.c: the loop around the requests: pace, end, reconnect, drain. See worker.h. */
#include "worker.h"

#include "base/err.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

volatile bool worker_interrupted;

static void fail(struct worker *w, int err, const char *text)
{
    if (w->err)
        return;
    w->err = err;
    snprintf(w->why, sizeof(w->why), "%.250s", text);
}

static void fail_lost(struct worker *w, int err, const char *when, const char *cause)
{
    char text[256];

    snprintf(text, sizeof(text), "the connection was lost %s: %.180s", when, cause);
    w->lost |= w->err == 0;
    fail(w, err, text);
}

static void pin(const struct worker *w)
{
    cpu_set_t set;

    if (w->o->cpu < 0)
        return;
    CPU_ZERO(&set);
    CPU_SET((unsigned)w->o->cpu + w->index, &set);
    (void)sched_setaffinity(0, sizeof(set), &set); /* a CPU that is not ours: run anywhere */
}

static bool leads(const struct worker *w) { return w->share != NULL && w->index == 0; }
static bool follows(const struct worker *w) { return w->share != NULL && w->index != 0; }

/* One try. A follower waits for the leader first, for up to wait_ns. */
static int open_assoc(struct worker *w, uint64_t timeout_ns, uint64_t wait_ns, char why[static 256])
{
    struct assoc_opts ao;
    int err;

    opts_assoc(w->o, w->index, &ao);
    ao.timeout_ns = MIN(ao.timeout_ns, timeout_ns);
    if (follows(w)) {
        uint32_t generation = share_join(w->share, w->generation, wait_ns, &w->joined);

        if (generation == 0) {
            snprintf(why, 256, "thread 0, which has the admin queue, is not connected");
            return -ENOTCONN;
        }
        w->generation = generation;
        ao.leader = &w->joined;
    }
    err = assoc_open(&w->assoc, &w->loop, &ao, why);
    if (!err && leads(w))
        w->generation = share_publish(w->share, &w->assoc);
    return err;
}

int worker_connect(struct worker *w)
{
    char why[256] = "";
    int err;

    pin(w);
    err = loop_init(&w->loop, w->o->poll, why);
    if (!err)
        err = open_assoc(w, w->o->timeout_ns, w->o->timeout_ns, why);
    if (err && leads(w))
        share_end(w->share); /* the others need not wait */
    if (err) {
        fail(w, err, why);
        return err;
    }
    w->assoc_open = true;
    w->ns = w->assoc.ns;
    return 0;
}

static void slots_init(struct worker *w, uint32_t buf_bytes)
{
    uint64_t noise = UINT64_C(0x243f6a8885a308d3) + w->index;

    for (uint64_t i = 0; i + 8 <= w->mem_bytes && !w->oracle_used; i += 8) {
        noise = noise * UINT64_C(6364136223846793005) + 1442695040888963407u;
        memcpy(w->mem + i, &noise, 8);
    }
    for (uint32_t i = 0; i < w->nr_slots; i++) {
        struct slot *s = &w->slots[i];

        s->w = w;
        s->queue = i / w->assoc.io[0].q.opts.depth;
        s->buf = w->mem + (size_t)i * buf_bytes;
        s->next_free = w->free_slots[s->queue];
        w->free_slots[s->queue] = s;
    }
}

int worker_prepare(struct worker *w, uint64_t begin_bytes, uint64_t end_bytes)
{
    uint32_t buf_bytes = ROUND_UP(MAX(w->o->bs_bytes, w->sweep ? 65536u : 0u), 4096u);

    w->nr_slots = w->assoc.nr_io * w->assoc.io[0].q.opts.depth;
    w->mem_bytes = (uint64_t)w->nr_slots * buf_bytes;
    w->slots = calloc(w->nr_slots, sizeof(*w->slots));
    w->single = calloc(w->nr_slots, sizeof(*w->single));
    w->mem = mmap(NULL, w->mem_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (w->slots == NULL || w->single == NULL || w->mem == MAP_FAILED) {
        if (w->mem == MAP_FAILED)
            w->mem = NULL;
        fail(w, -ENOMEM, "out of memory");
        return -ENOMEM;
    }
    slots_init(w, buf_bytes);
    gen_init(&w->gen, w->o, w->oracle_used ? &w->oracle : NULL, begin_bytes, end_bytes, w->o->seed + w->index * 7919u + w->run);
    w->gen.sweep = w->sweep;
    w->gen.single = w->single;
    w->gen.cap_single = w->nr_slots;
    for (uint32_t i = 0; i < GEN_OP_NR; i++)
        hist_init(&w->st.lat[i]);
    return 0;
}

static void close_assoc(struct worker *w, bool polite)
{
    if (!w->assoc_open)
        return;
    assoc_close(&w->assoc, polite);
    w->assoc_open = false;
    w->st.pdus_rx += w->assoc.pdus_rx;
    w->st.r2ts += w->assoc.r2ts;
    w->st.success_flags += w->assoc.success_flags;
}

static bool same_namespace(struct worker *w)
{
    const struct ns_info *now = &w->assoc.ns;

    return memcmp(now->nguid, w->ns.nguid, 16) == 0 && now->lba_bytes == w->ns.lba_bytes &&
           now->size_lba >= w->ns.size_lba && now->mqes >= w->ns.mqes;
}

/* Builds the association again. 0, or negative when --reconnect's time is over. */
static int reconnect(struct worker *w)
{
    uint64_t lost_ns = clock_ns(), outage;
    char why[256] = "";
    int err;

    do {
        if (follows(w))
            share_lost(w->share, w->generation);
        err = open_assoc(w, 5 * NS_PER_S, 100 * NS_PER_MS, why);
        if (!err)
            break;
        usleep(5000);
    } while (clock_ns() - lost_ns < w->o->reconnect_ns && !worker_interrupted);
    if (err) {
        if (!worker_interrupted) /* told to stop during an outage: everything is settled as a maybe */
            fail_lost(w, err, "and did not come back within --reconnect", why);
        return err;
    }
    w->assoc_open = true;
    if (!same_namespace(w)) {
        fail(w, -EPROTO, "after the reconnect the namespace is another one");
        return -EPROTO;
    }
    outage = clock_ns() - lost_ns;
    w->st.reconnects++;
    w->st.outage_sum_ns += outage;
    w->st.outage_max_ns = MAX(w->st.outage_max_ns, outage);
    w->loop.now_ns = clock_ns();
    return 0;
}

/* Looks for a dead connection and does what --reconnect says. False: the run is over. */
static bool survive(struct worker *w)
{
    const char *why;
    bool protocol_fault;
    char text[256];

    if (!assoc_dead(&w->assoc, &why, &protocol_fault)) {
        if (!leads(w) || !share_is_over(w->share, w->generation))
            return true;
        why = "another thread lost its connection";
        protocol_fault = false;
    }
    snprintf(text, sizeof(text), "%s", why);
    if (protocol_fault) {
        w->st.protocol_faults++;
        fprintf(stderr, "firn-bench: the target broke the protocol: %s\n", text);
    }
    close_assoc(w, false);
    assert(w->inflight == 0);
    if (w->o->reconnect_ns == 0 && protocol_fault) {
        fail(w, -ECONNRESET, text);
        return false;
    }
    if (w->o->reconnect_ns == 0) {
        fail_lost(w, -ECONNRESET, "in the middle of the run", text);
        return false;
    }
    return !worker_interrupted && reconnect(w) == 0;
}

static void check_timeouts(struct worker *w)
{
    for (uint32_t i = 0; i < w->nr_slots; i++) {
        struct slot *s = &w->slots[i];

        if (s->busy && w->loop.now_ns > s->start_ns + w->o->timeout_ns && !w->assoc.io[s->queue].dead) {
            w->assoc.io[s->queue].dead = true;
            snprintf(w->assoc.io[s->queue].why, 256, "no answer within the timeout");
        }
    }
}

static bool quota_left(const struct worker *w)
{
    if (w->quota_ops && w->started_ops >= w->quota_ops)
        return false;
    return !w->quota_bytes || w->started_bytes < w->quota_bytes;
}

static bool pace_allows(const struct worker *w, uint64_t begin_ns)
{
    uint64_t due;

    if (w->o->rate == 0)
        return true;
    due = (uint64_t)((double)(w->loop.now_ns - begin_ns) * (double)w->o->rate / (double)w->o->threads / 1e9) + 1;
    return w->started_ops < due;
}

static void fill_queues(struct worker *w, uint64_t begin_ns)
{
    if (w->o->idle && !w->sweep)
        return;
    for (uint32_t q = 0; q < w->assoc.nr_io; q++)
        while (quota_left(w) && pace_allows(w, begin_ns) && worker_start_one(w, q))
            ;
}

static void send_all(struct worker *w)
{
    int err = acklog_flush(&w->log);

    if (err)
        fail(w, err, "the acknowledgement log cannot be written");
    for (uint32_t q = 0; q < w->assoc.nr_io; q++)
        conn_kick(&w->assoc.io[q]);
    assoc_tick(&w->assoc);
}

static void begin_measuring(struct worker *w)
{
    w->measuring = true;
    w->st.begin_ns = w->loop.now_ns;
    w->st.cpu_ns = thread_cpu_ns();
}

static bool ended(const struct worker *w, uint64_t begin_ns)
{
    if (w->stop || w->err || worker_interrupted || (gen_swept(&w->gen) && w->inflight == 0))
        return true;
    if (!w->sweep && w->o->time_ns && w->loop.now_ns >= begin_ns + w->o->warmup_ns + w->o->time_ns)
        return true;
    return !quota_left(w);
}

static uint64_t next_wake(const struct worker *w)
{
    uint64_t step = w->o->rate ? NS_PER_S / MAX(w->o->rate, (uint64_t)1) : 100 * NS_PER_MS;

    return w->loop.now_ns + MIN(MAX(step, 20 * NS_PER_US), (w->o->idle ? 1000 : 100) * NS_PER_MS);
}

/* One turn: fill (unless draining), send, wait, look for timeouts and dead connections. */
static bool turn(struct worker *w, uint64_t begin_ns, bool draining, uint64_t *timeouts_due_ns)
{
    w->loop.now_ns = clock_ns();
    if (!draining)
        fill_queues(w, begin_ns);
    send_all(w);
    loop_pass(&w->loop, next_wake(w));
    if (w->loop.now_ns >= *timeouts_due_ns) {
        check_timeouts(w);
        *timeouts_due_ns = w->loop.now_ns + 100 * NS_PER_MS;
        if (w->progress)
            progress_tick(w->progress, w->loop.now_ns, w->st.units_judged);
    }
    return survive(w);
}

void worker_run(struct worker *w)
{
    uint64_t begin_ns = clock_ns(), timeouts_due_ns = 0;
    bool alive = true;

    w->loop.now_ns = begin_ns;
    while (alive && !ended(w, begin_ns)) {
        if (!w->measuring && w->loop.now_ns >= begin_ns + w->o->warmup_ns)
            begin_measuring(w);
        alive = turn(w, begin_ns, false, &timeouts_due_ns);
    }
    w->st.end_ns = clock_ns();
    while (alive && w->inflight > 0 && (!w->err || w->assoc_open))
        alive = turn(w, begin_ns, true, &timeouts_due_ns);
    if (!w->o->time_ns || w->sweep)
        w->st.end_ns = clock_ns();
    w->st.cpu_ns = thread_cpu_ns() - w->st.cpu_ns;
    if (acklog_flush(&w->log))
        fail(w, -EIO, "the acknowledgement log cannot be written");
    while (alive && leads(w) && share_has_others(w->share)) /* their queues are gone with the admin queue */
        alive = turn(w, begin_ns, true, &timeouts_due_ns);
    close_assoc(w, w->err == 0);
}

void worker_leave(struct worker *w)
{
    if (leads(w))
        share_end(w->share);
    else if (follows(w))
        share_leave(w->share);
}

void worker_disconnect(struct worker *w)
{
    close_assoc(w, true);
}

void worker_fini(struct worker *w)
{
    assert(!w->assoc_open);
    if (w->loop.ring.ring_fd > 0)
        loop_fini(&w->loop);
    if (w->mem)
        munmap(w->mem, w->mem_bytes);
    free(w->slots);
    free(w->single);
    oracle_fini(&w->oracle);
}
