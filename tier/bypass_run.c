/* SPDX-License-Identifier: Apache-2.0 */
/* bypass_run.c: how blocks of streams get to a capacity device: in trains of long strokes, while hosts do not read there.
 *
 * 1. What is to be written queues by device, in the order of its places. One train is under way at a time; meanwhile the queue grows, so
 *    the busier the device, the longer the next train.
 * 2. A train sets out when no host has read there for POLICY_IDLE_NS, as destage does, or when the oldest of the queue has waited for
 *    WAIT_NS; with the device's turn, which the shard's lane there lends, and when the device's budget allows it (mover_turn.c).
 * 3. It begins at the first place behind the head and takes what follows, over gaps that the head passes sooner than it seeks: what comes
 *    in one stroke is one command. It takes the device no longer than TRAIN_NS, or a tenth of what its oldest part has waited.
 * 4. When all of it is written the device is flushed, as soon as it is this shard's turn to (flush_turn.h); then its parts are durable,
 *    and the turn goes back, unless the next train can set out.
 * Failures: a command or flush that fails, or a flush of anybody that failed since the train began: its parts are the log's, who takes
 * them from the host's memory. A device that hangs: so is all that queues; what it has in its hands waits for it.
 */
#include <errno.h>
#include <stdlib.h>

#include "rt/dev_model.h"
#include "tier/bypass.h"
#include "tier/mover.h"

/* A train that goes out between two reads costs a way each: cphy-vm at 10 % took 181 s of the disk with 20 ms and 156 with 200; what
 * goes past the log is the same. */
#define WAIT_NS      (200 * NS_PER_MS)
#define TRAIN_NS     (20 * NS_PER_MS)  /* as a train of destages */
#define TRAIN_MAX_NS (200 * NS_PER_MS)
#define WAITED_PART  10u
#define LOOK_NS      (100 * NS_PER_MS)
#define GAP_BYTES    (512 * KIB)       /* an HDD passes it in 2.6 ms: no seek is so short */
static_assert(BYPASS_IOVS >= BLK_IOV_MAX, "any part fits a train");

int bypass_init(struct shard *s)
{
    s->bypass_dev = calloc(s->o.nr_capacity, sizeof(*s->bypass_dev));
    if (s->bypass_dev == NULL)
        return -ENOMEM;
    for (uint16_t d = 0; d < s->o.nr_capacity; d++) {
        struct bypass_dev *b = &s->bypass_dev[d];

        b->s = s;
        list_init(&b->queue);
        list_init(&b->ages);
        list_init(&b->train);
        for (uint32_t i = 0; i < BYPASS_TRAIN; i++)
            b->io[i].of = b;
    }
    return pool_init(&s->bypasses, sizeof(struct bypass), 16, MAX(s->t.ios_per_shard * POLICY_SHARE_PCT / 100, 1u));
}

void bypass_fini(struct shard *s)
{
    free(s->bypass_dev);
    s->bypass_dev = NULL;
}

static uint16_t dev_no(const struct bypass_dev *b) { return (uint16_t)(b - b->s->bypass_dev); }
static struct lane *lane_of(const struct bypass_dev *b) { return &b->s->lanes[dev_no(b)]; }
static uint64_t dev_step(struct bypass_dev *b);

static void parts_done(struct list *parts, bool durable)
{
    struct list *n;

    while ((n = list_pop_front(parts)) != NULL)
        bypass_part_done(list_entry(n, struct bypass_part, node), durable);
}

/* Others' turn comes after this shard's time; what hosts wait for in the log goes first, too. */
static void train_over(struct bypass_dev *b, bool durable)
{
    struct lane *l = lane_of(b);
    struct list parts;

    list_init(&parts);
    list_splice_back(&parts, &b->train);
    b->state = BYPASS_REST;
    parts_done(&parts, durable);
    lane_turn_back(l);
    if (l->turn == TURN_HELD && !(lane_writes(l) && lane_waited_for(l)))
        (void)dev_step(b);
    lane_turn_rest(l);
    shard_kick(b->s);
}

/* ---- flush ---- */

static void flushed(struct dev_io *io)
{
    struct bypass_dev *b = container_of(io, struct bypass_dev, flush);
    struct shard *s = b->s;
    uint16_t dev = dev_no(b);

    if (io->err != 0) {
        cold_flush_failed(s->o.cold, dev);
        shard_degrade(s, dev, io->err);
    }
    flush_turn_give(s->o.flush_turns, dev);
    train_over(b, cold_flush_failures(s->o.cold, dev) == b->flush_failures);
}

static void flush_step(struct bypass_dev *b)
{
    struct shard *s = b->s;
    uint16_t dev = dev_no(b);
    struct dev *d = shard_capacity(s, dev);

    if (!dev_usable(s, d)) {
        train_over(b, false);
        return;
    }
    if (!flush_turn_take(s->o.flush_turns, dev))
        return;
    b->state = BYPASS_FLUSH;
    b->flush = (struct dev_io){.cb = flushed};
    dev_flush(d, &b->flush);
}

/* ---- write ---- */

static void written(struct dev_io *io)
{
    struct bypass_dev *b = container_of(io, struct bypass_io, io)->of;
    struct shard *s = b->s;
    uint16_t dev = dev_no(b);

    if (io->err != 0) {
        b->failed = true;
        shard_degrade(s, dev, io->err);
    }
    turn_charge(turn_of(s, dev), env_now_ns(s->env), io->len_bytes, s->t.mover_bandwidth, s->t.mover_iops);
    if (--b->in_flight > 0)
        return;
    if (b->failed || s->bugs.placed_before_durable) {
        train_over(b, !b->failed);
        return;
    }
    b->state = BYPASS_WRITTEN;
    flush_step(b);
    shard_kick(s);
}

/* ---- a train ---- */

struct train {
    struct bypass_dev *b;
    const struct dev *d;
    struct dev_io *io;           /* the last one; NULL: none yet */
    uint32_t iovs;               /* of all */
    uint64_t head_bytes;         /* behind it */
    uint64_t ns, most_ns;        /* what it takes an HDD, and may */
};

/* The first one behind the head, else the first of all: a stream that goes on goes on. But not for ever: if another one has waited so much
 * longer, that one. (Where the stream behind the head went on, and had all entries of the pool that came free, the other one
 * waited until it ended.) */
static struct bypass_part *first_part(const struct bypass_dev *b, uint64_t head_bytes)
{
    struct bypass_part *oldest = list_first(&b->ages, struct bypass_part, age), *p = list_first(&b->queue, struct bypass_part, node);

    list_for_each(n, &b->queue) {
        if (list_entry(n, struct bypass_part, node)->off_bytes < head_bytes)
            continue;
        p = list_entry(n, struct bypass_part, node);
        break;
    }
    return p->since_ns > oldest->since_ns + WAIT_NS ? oldest : p;
}

static uint64_t end_of(const struct dev_io *io) { return io->off_bytes + io->len_bytes; }

static bool joins(const struct train *t, const struct bypass_part *p)
{
    return t->io != NULL && end_of(t->io) == p->off_bytes && (uint32_t)(t->io->iovcnt + p->iovcnt) <= t->d->caps.iov_max;
}

/* What joins the command before it costs its transfer alone. */
static uint64_t part_ns(const struct train *t, const struct bypass_part *p)
{
    uint64_t head = t->head_bytes, at = p->off_bytes, seeks = 0, size = t->d->caps.size_bytes;
    uint64_t ns = dev_model_hdd_cost_ns(size, &head, true, p->off_bytes, (uint64_t)p->n * BLOCK_BYTES, &seeks);

    return joins(t, p) ? ns - dev_model_hdd_cost_ns(size, &at, true, p->off_bytes, 0, &seeks) : ns;
}

/* The first one always does. */
static bool train_takes(struct train *t, const struct bypass_part *p)
{
    uint64_t ns = t->ns + part_ns(t, p);

    if (t->io != NULL && (ns > t->most_ns || p->off_bytes > end_of(t->io) + GAP_BYTES || t->iovs + (uint32_t)p->iovcnt > BYPASS_IOVS ||
                          (!joins(t, p) && t->b->nr_ios == BYPASS_TRAIN)))
        return false;
    t->ns = ns;
    t->head_bytes = p->off_bytes + (uint64_t)p->n * BLOCK_BYTES;
    return true;
}

static void train_add(struct train *t, struct bypass_part *p)
{
    struct bypass_dev *b = t->b;

    if (!joins(t, p)) {
        t->io = &b->io[b->nr_ios++].io;
        *t->io = (struct dev_io){.off_bytes = p->off_bytes, .iov = b->iov + t->iovs, .cb = written};
    }
    memcpy(b->iov + t->iovs, p->iov, (size_t)p->iovcnt * sizeof(*p->iov));
    t->iovs += (uint32_t)p->iovcnt;
    t->io->iovcnt += p->iovcnt;
    t->io->len_bytes += (uint64_t)p->n * BLOCK_BYTES;
    list_remove(&p->node);
    list_remove(&p->age);
    list_push_back(&b->train, &p->node);
}

static void train_begin(struct bypass_dev *b)
{
    struct shard *s = b->s;
    uint16_t dev = dev_no(b);
    struct turn *turn = turn_of(s, dev);
    uint64_t waited = env_now_ns(s->env) - list_first(&b->ages, struct bypass_part, age)->since_ns;
    struct train t = {.b = b, .d = shard_capacity(s, dev), .head_bytes = figure_get(&turn->head_bytes),
                      .most_ns = MIN(MAX(TRAIN_NS, waited / WAITED_PART), TRAIN_MAX_NS)};
    struct bypass_part *p = first_part(b, t.head_bytes);

    b->nr_ios = 0;
    b->failed = false;
    while (p != NULL && train_takes(&t, p)) {
        struct list *next = p->node.next;

        train_add(&t, p);
        p = next == &b->queue ? NULL : list_entry(next, struct bypass_part, node);
    }
    b->state = BYPASS_WRITE;
    b->flush_failures = cold_flush_failures(s->o.cold, dev);
    turn_head_to(turn, end_of(t.io));
    b->in_flight = b->nr_ios;
    for (uint32_t i = 0, n = b->nr_ios; i < n; i++)
        dev_write(shard_capacity(s, dev), &b->io[i].io);
}

/* ---- when ---- */

void bypass_queue(struct shard *s, struct bypass_part *p, uint16_t dev, uint64_t off_bytes)
{
    struct bypass_dev *b = &s->bypass_dev[dev];
    struct list *before = b->queue.prev;

    p->off_bytes = off_bytes;
    p->since_ns = s->bypass_last_ns = env_now_ns(s->env);
    while (before != &b->queue && list_entry(before, struct bypass_part, node)->off_bytes > off_bytes) /* streams come at their ends */
        before = before->prev;
    list_add_between(&p->node, before, before->next);
    list_push_back(&b->ages, &p->age);
    shard_kick(s);
}

static void give_up(struct bypass_dev *b)
{
    struct list parts;

    list_init(&parts);
    list_splice_back(&parts, &b->queue);
    list_init(&b->ages);
    parts_done(&parts, false);
}

/* When a train may set out, but for its turn; 0: now. */
static uint64_t due_at(const struct bypass_dev *b)
{
    const struct turn *t = turn_of(b->s, dev_no(b));
    uint64_t now = env_now_ns(b->s->env), at = list_first(&b->ages, struct bypass_part, age)->since_ns + WAIT_NS;
    uint64_t quiet = figure_get(&t->fg_last_ns) + POLICY_IDLE_NS;

    if (now >= at || (figure_get(&t->fg) == 0 && now >= quiet))
        return 0;
    return figure_get(&t->fg) > 0 ? at : MIN(at, quiet);
}

static uint64_t dev_step(struct bypass_dev *b)
{
    struct shard *s = b->s;
    uint64_t now = env_now_ns(s->env), at;

    if (b->state == BYPASS_WRITTEN)
        flush_step(b);
    if (b->state == BYPASS_WRITTEN)
        return now + NS_PER_MS;
    if (list_empty(&b->queue))
        return UINT64_MAX;
    if (!dev_usable(s, shard_capacity(s, dev_no(b))) || s->degraded[dev_no(b)]) {
        give_up(b);
        return UINT64_MAX;
    }
    if (b->state != BYPASS_REST)
        return now + LOOK_NS; /* or it hangs some time: then the log takes what queues */
    at = due_at(b);
    if (at != 0)
        return at;
    if (!lane_turn_lend(lane_of(b)))
        return MAX(now + NS_PER_MS, lane_budget_ns(lane_of(b)));
    train_begin(b);
    return UINT64_MAX;
}

bool bypass_has_time(const struct shard *s, uint16_t dev) { return lane_budget_ns(&s->lanes[dev]) <= env_now_ns(s->env) + WAIT_NS; }

void bypass_turn(struct shard *s, uint16_t dev) { (void)dev_step(&s->bypass_dev[dev]); }

uint64_t bypass_step(struct shard *s)
{
    uint64_t next = UINT64_MAX;

    for (uint16_t d = 0; d < s->o.nr_capacity; d++) {
        uint64_t at = dev_step(&s->bypass_dev[d]);

        next = MIN(next, at);
    }
    return next;
}
