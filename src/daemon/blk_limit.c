/* SPDX-License-Identifier: Apache-2.0 */
/* blk_limit.c: see blk_limit.h.
 *
 * A request that may go at once is handed to the blk below as it is: its completion never comes back here. Only what
 * must wait is kept, on a list through the request itself. Buckets hold tokens scaled by NS_PER_S, so that a rate of r a
 * second earns r a nanosecond and nothing is lost to rounding. A bucket may go into debt by one request: a request
 * larger than the bucket would else never go.
 * Who asks before it submits (blk_may_begin()) pays with the answer and waits elsewhere: here it would wait with its buffers. It
 * is told when the answer would be another one.
 */
#include "daemon/blk_limit.h"

#include <stdlib.h>

#define BURST_NS (NS_PER_S / 10)

struct bucket {
    uint64_t rate;      /* a second; 0: no cap */
    __int128 level;     /* tokens * NS_PER_S; below 0: in debt */
};

struct blk_limit {
    struct blk       blk;
    struct blk      *below;
    struct blk_watch watch;
    struct bucket    ios, bytes;
    uint64_t         filled_ns; /* when the buckets were last filled */
    struct list      waiting;   /* of blk_io.priv.node, in order of arrival: who did not ask */
    bool             asked;     /* and was told no: BLK_EVENT_MAY_BEGIN is owed */
    struct env_timer timer;
};

static __int128 bucket_full(const struct bucket *b)
{
    return (__int128)MAX(b->rate / (NS_PER_S / BURST_NS), 1u) * (__int128)NS_PER_S;
}

static void bucket_fill(struct bucket *b, uint64_t ns)
{
    __int128 full = bucket_full(b);

    b->level += (__int128)b->rate * (__int128)ns;
    if (b->level > full)
        b->level = full;
}

/* ns until the bucket is out of debt; 0: a request may go. */
static uint64_t bucket_wait_ns(const struct bucket *b)
{
    if (b->rate == 0 || b->level > 0)
        return 0;
    return (uint64_t)(-b->level / (__int128)b->rate) + 1;
}

static void bucket_pay(struct bucket *b, uint64_t tokens)
{
    if (b->rate != 0)
        b->level -= (__int128)tokens * (__int128)NS_PER_S;
}

static void fill(struct blk_limit *l)
{
    uint64_t now = env_now_ns(l->blk.env);

    bucket_fill(&l->ios, now - l->filled_ns);
    bucket_fill(&l->bytes, now - l->filled_ns);
    l->filled_ns = now;
}

/* Zeroing moves no bytes: it pays as one operation. */
static uint64_t cost_bytes(const struct blk_limit *l, const struct blk_io *io)
{
    return io->op == BLK_READ || io->op == BLK_WRITE ? (uint64_t)io->nlb * l->blk.lba_bytes : 0;
}

/* From here on the request is the other blk's. */
static void pass(struct blk_limit *l, struct blk_io *io)
{
    assert(l->blk.in_flight > 0);
    l->blk.in_flight--;
    blk_submit(l->below, io);
}

static uint64_t wait_ns(const struct blk_limit *l) { return MAX(bucket_wait_ns(&l->ios), bucket_wait_ns(&l->bytes)); }

static bool try_pay(struct blk_limit *l, uint64_t ios, uint64_t bytes)
{
    if (wait_ns(l) > 0)
        return false;
    bucket_pay(&l->ios, ios);
    bucket_pay(&l->bytes, bytes);
    return true;
}

static bool try_pass(struct blk_limit *l, struct blk_io *io)
{
    if (io->op != BLK_FLUSH && !try_pay(l, 1, cost_bytes(l, io)))
        return false;
    pass(l, io);
    return true;
}

static void wait_for_tokens(struct blk_limit *l) { env_timer_arm(l->blk.env, &l->timer, l->filled_ns + wait_ns(l)); }

static void run_waiting(struct blk_limit *l)
{
    fill(l);
    while (!list_empty(&l->waiting)) {
        struct blk_io *io = list_first(&l->waiting, struct blk_io, priv.node);

        list_remove(&io->priv.node);
        if (!try_pass(l, io)) {
            list_push_front(&l->waiting, &io->priv.node);
            wait_for_tokens(l);
            return;
        }
    }
    if (l->asked && wait_ns(l) > 0) {
        wait_for_tokens(l);
        return;
    }
    env_timer_cancel(l->blk.env, &l->timer);
    if (l->asked) {
        l->asked = false;
        blk_notify(&l->blk, BLK_EVENT_MAY_BEGIN);
    }
}

static void on_timer(struct env_timer *t)
{
    run_waiting(container_of(t, struct blk_limit, timer));
}

static void limit_submit(struct blk *b, struct blk_io *io)
{
    struct blk_limit *l = container_of(b, struct blk_limit, blk);

    if (io->paid || (list_empty(&l->waiting) && (!b->holds_back || io->op == BLK_FLUSH))) {
        pass(l, io);
        return;
    }
    list_push_back(&l->waiting, &io->priv.node);
    if (!env_timer_armed(&l->timer)) /* so nobody that asked waits: no event from here */
        run_waiting(l);
}

static bool limit_may_begin(struct blk *b, uint64_t ios, uint64_t bytes)
{
    struct blk_limit *l = container_of(b, struct blk_limit, blk);

    fill(l);
    if (list_empty(&l->waiting) && try_pay(l, ios, bytes))
        return true;
    l->asked = true;
    if (!env_timer_armed(&l->timer))
        wait_for_tokens(l);
    return false;
}

static void canceled(struct env_task *task)
{
    struct blk_io *io = container_of(task, struct blk_io, priv.task);

    blk_io_done(io->priv.blk, io, -FIRN_E_CANCELED);
}

/* What was passed on is the other blk's, as priv.blk says, and may wait there. */
static void limit_cancel(struct blk *b, struct blk_io *io)
{
    struct blk_limit *l = container_of(b, struct blk_limit, blk);

    if (io->priv.blk != b) {
        blk_cancel(l->below, io);
        return;
    }
    if (list_empty(&io->priv.node)) /* its answer is on its way */
        return;
    list_remove(&io->priv.node);
    io->priv.task.fn = canceled;
    env_defer(b->env, &io->priv.task);
}

static const struct blk_ops limit_ops = {
    .name = "limit", .submit = limit_submit, .cancel = limit_cancel, .may_begin = limit_may_begin,
};

static void on_event(struct blk_watch *w, enum blk_event ev)
{
    struct blk_limit *l = container_of(w, struct blk_limit, watch);

    l->blk.size_lba = l->below->size_lba;
    blk_notify(&l->blk, ev);
}

int blk_limit_new(struct blk *below, uint64_t iops, uint64_t bandwidth, struct blk_limit **out)
{
    struct blk_limit *l = calloc(1, sizeof(*l));

    if (!l)
        return -FIRN_E_NO_RESOURCES;
    blk_init(&l->blk, &limit_ops, below->env, below->lba_bytes, below->size_lba);
    l->blk.max_io_bytes = below->max_io_bytes;
    l->below = below;
    l->timer.fn = on_timer;
    l->watch.cb = on_event;
    l->ios.rate = iops;
    l->bytes.rate = bandwidth;
    l->blk.holds_back = iops != 0 || bandwidth != 0;
    l->ios.level = bucket_full(&l->ios);
    l->bytes.level = bucket_full(&l->bytes);
    list_init(&l->waiting);
    list_init(&l->watch.node);
    *out = l;
    return 0;
}

struct blk *blk_limit_blk(struct blk_limit *l)
{
    return &l->blk;
}

void blk_limit_start(struct blk_limit *l)
{
    l->filled_ns = env_now_ns(l->blk.env);
    l->blk.size_lba = l->below->size_lba;
    blk_watch_add(l->below, &l->watch);
}

void blk_limit_set(struct blk_limit *l, uint64_t iops, uint64_t bandwidth)
{
    fill(l);
    l->ios = (struct bucket){.rate = iops, .level = l->ios.level};
    l->bytes = (struct bucket){.rate = bandwidth, .level = l->bytes.level};
    bucket_fill(&l->ios, 0);
    bucket_fill(&l->bytes, 0);
    l->blk.holds_back = iops != 0 || bandwidth != 0;
    env_timer_cancel(l->blk.env, &l->timer);
    run_waiting(l);
}

void blk_limit_stop(struct blk_limit *l)
{
    assert(list_empty(&l->waiting));
    env_timer_cancel(l->blk.env, &l->timer);
    blk_watch_remove(&l->watch);
}

void blk_limit_free(struct blk_limit *l)
{
    free(l);
}
