/* SPDX-License-Identifier: Apache-2.0 */
/* bypass_run.c: how blocks of streams get to a capacity device: in long strokes, while hosts do not read there.
 *
 * 1. What is to be written queues by device. One run is under way at a time; meanwhile the queue grows, so the busier the device, the
 *    longer the next run.
 * 2. A run begins when no host has read there for POLICY_IDLE_NS, as destage does, or when the oldest of the queue has waited for
 *    WAIT_NS: at the first place behind the head, and goes on as long as what follows on the device is there, too.
 * 3. It is written, then the device is flushed when it is this shard's turn (flush_turn.h), then its parts are durable.
 * Failures: a write or flush that fails, or a flush of anybody that failed since the run began: its parts are the log's, who takes them
 * from the host's memory. A device that hangs: so is all that queues; what it has in its hands waits for it.
 */
#include "tier/priv.h"

/* A run that goes out between two reads costs a way each: cphy-vm at 10 % needs 181 s of the disk with 20 ms and 156 with 200; what goes
 * past the log is the same. */
#define WAIT_NS (200 * NS_PER_MS)

int bypass_init(struct shard *s)
{
    for (uint16_t d = 0; d < CAPACITY_DEVS_MAX; d++) {
        s->bypass_dev[d].s = s;
        list_init(&s->bypass_dev[d].queue);
        list_init(&s->bypass_dev[d].run);
    }
    return pool_init(&s->bypasses, sizeof(struct bypass), 16, MIN(BYPASSES_MAX, MAX(s->t.ios_per_shard / 4, 1u)));
}

static void parts_done(struct list *parts, bool durable)
{
    struct list *n;

    while ((n = list_pop_front(parts)) != NULL)
        bypass_part_done(list_entry(n, struct bypass_part, node), durable);
}

static void run_over(struct bypass_dev *b, bool durable)
{
    struct list parts;

    list_init(&parts);
    list_splice_back(&parts, &b->run);
    b->state = BYPASS_REST;
    parts_done(&parts, durable);
    shard_kick(b->s);
}

/* ---- flush ---- */

static void flushed(struct dev_io *io)
{
    struct bypass_dev *b = container_of(io, struct bypass_dev, io);
    struct shard *s = b->s;
    uint16_t dev = (uint16_t)(b - s->bypass_dev);

    if (io->err != 0) {
        cold_flush_failed(s->o.cold, dev);
        shard_degrade(s, dev, io->err);
    }
    flush_turn_give(s->o.flush_turns, dev);
    run_over(b, cold_flush_failures(s->o.cold, dev) == b->flush_failures);
}

static void flush_step(struct bypass_dev *b, uint16_t dev)
{
    struct shard *s = b->s;
    struct dev *d = shard_capacity(s, dev);

    if (!dev_usable(s, d)) {
        run_over(b, false);
        return;
    }
    if (!flush_turn_take(s->o.flush_turns, dev))
        return;
    b->state = BYPASS_FLUSH;
    b->io = (struct dev_io){.cb = flushed};
    dev_flush(d, &b->io);
}

/* ---- write ---- */

static void written(struct dev_io *io)
{
    struct bypass_dev *b = container_of(io, struct bypass_dev, io);
    uint16_t dev = (uint16_t)(b - b->s->bypass_dev);

    if (io->err != 0)
        shard_degrade(b->s, dev, io->err);
    if (io->err != 0 || b->s->bugs.placed_before_durable) {
        run_over(b, io->err == 0);
        return;
    }
    b->state = BYPASS_WRITTEN;
    flush_step(b, dev);
    shard_kick(b->s);
}

static struct bypass_part *part_at(const struct bypass_dev *b, uint64_t off_bytes)
{
    list_for_each(n, &b->queue)
        if (list_entry(n, struct bypass_part, node)->off_bytes == off_bytes)
            return list_entry(n, struct bypass_part, node);
    return NULL;
}

/* The first one behind the head; else the first of all. */
static struct bypass_part *next_part(const struct bypass_dev *b, uint64_t head_bytes)
{
    struct bypass_part *behind = NULL, *first = NULL;

    list_for_each(n, &b->queue) {
        struct bypass_part *p = list_entry(n, struct bypass_part, node);

        if (first == NULL || p->off_bytes < first->off_bytes)
            first = p;
        if (p->off_bytes >= head_bytes && (behind == NULL || p->off_bytes < behind->off_bytes))
            behind = p;
    }
    return behind != NULL ? behind : first;
}

static void run_begin(struct bypass_dev *b, uint16_t dev)
{
    struct shard *s = b->s;
    struct dev *d = shard_capacity(s, dev);
    struct bypass_part *p = next_part(b, figure_get(&turn_of(s, dev)->head_bytes));
    int max = (int)MIN(BYPASS_IOVS, d->caps.iov_max), nr = 0;

    b->io = (struct dev_io){.off_bytes = p->off_bytes, .iov = b->iov, .cb = written};
    for (; p != NULL && nr + p->iovcnt <= max; p = part_at(b, b->io.off_bytes + b->io.len_bytes)) {
        list_remove(&p->node);
        list_push_back(&b->run, &p->node);
        memcpy(b->iov + nr, p->iov, (size_t)p->iovcnt * sizeof(*p->iov));
        nr += p->iovcnt;
        b->io.len_bytes += (uint64_t)p->n * BLOCK_BYTES;
    }
    b->io.iovcnt = nr;
    b->state = BYPASS_WRITE;
    b->flush_failures = cold_flush_failures(s->o.cold, dev);
    turn_head_to(turn_of(s, dev), b->io.off_bytes + b->io.len_bytes);
    dev_write(d, &b->io);
}

/* ---- when ---- */

void bypass_queue(struct shard *s, struct bypass_part *p, uint16_t dev, uint64_t off_bytes)
{
    p->off_bytes = off_bytes;
    p->since_ns = s->bypass_last_ns = env_now_ns(s->env);
    list_push_back(&s->bypass_dev[dev].queue, &p->node);
    shard_kick(s);
}

static uint64_t dev_step(struct bypass_dev *b, uint16_t dev)
{
    struct shard *s = b->s;
    const struct turn *t = turn_of(s, dev);
    uint64_t now = env_now_ns(s->env), at, quiet;

    if (b->state == BYPASS_WRITTEN)
        flush_step(b, dev);
    if (b->state == BYPASS_WRITTEN)
        return now + NS_PER_MS;
    if (list_empty(&b->queue))
        return UINT64_MAX;
    if (!dev_usable(s, shard_capacity(s, dev)) || s->degraded[dev]) {
        struct list parts;

        list_init(&parts);
        list_splice_back(&parts, &b->queue);
        parts_done(&parts, false);
        return UINT64_MAX;
    }
    if (b->state != BYPASS_REST)
        return UINT64_MAX;
    at = list_first(&b->queue, struct bypass_part, node)->since_ns + WAIT_NS;
    quiet = figure_get(&t->fg_last_ns) + POLICY_IDLE_NS;
    if (now < at && (figure_get(&t->fg) > 0 || now < quiet))
        return figure_get(&t->fg) > 0 ? at : MIN(at, quiet);
    run_begin(b, dev);
    return UINT64_MAX;
}

uint64_t bypass_step(struct shard *s)
{
    uint64_t next = UINT64_MAX;

    for (uint16_t d = 0; d < s->o.nr_capacity; d++) {
        uint64_t at = dev_step(&s->bypass_dev[d], d);

        next = MIN(next, at);
    }
    return next;
}
