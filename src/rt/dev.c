/* SPDX-License-Identifier: Apache-2.0 */
/* dev.c: the checked wrapper around every device, and the straight-line forms.
 *
 * A request's way: checked, stamped, put on the in-flight list; the implementation works; dev_io_done() takes it off the
 * list, counts, shows it to the observer, and calls back.
 * Failures: once a flush or a DSYNC write has failed, nobody knows what the device kept, so nothing that promises
 * durability succeeds on this dev again, not even what was in flight then.
 */
#include "rt/dev.h"

#include "rt/metrics.h"
#include "rt/priv.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

void dev_init(struct dev *d, const struct dev_ops *ops, struct env *env, const char *path)
{
    memset(d, 0, sizeof(*d));
    d->ops = ops;
    d->env = env;
    snprintf(d->path, sizeof(d->path), "%s", path);
    list_init(&d->inflight);
    list_init(&d->left);
}

static void check_iov(const struct dev *d, const struct dev_io *io)
{
    uint64_t sum = 0;

    assert(io->iovcnt > 0 && (uint32_t)io->iovcnt <= d->caps.iov_max);
    for (int i = 0; i < io->iovcnt; i++) {
        assert((uintptr_t)io->iov[i].iov_base % d->caps.align_bytes == 0);
        assert(io->iov[i].iov_len % d->caps.block_bytes == 0);
        sum += io->iov[i].iov_len;
    }
    assert(sum == io->len_bytes);
}

static void check_range(const struct dev *d, const struct dev_io *io)
{
    assert(io->len_bytes > 0);
    assert(io->off_bytes % d->caps.block_bytes == 0);
    assert(io->len_bytes % d->caps.block_bytes == 0);
    assert(io->off_bytes < d->caps.size_bytes && io->len_bytes <= d->caps.size_bytes - io->off_bytes);
}

static void done_task(struct env_task *task)
{
    struct dev_io *io = container_of(task, struct dev_io, priv.task);

    dev_io_done(io->priv.dev, io, io->err);
}

void dev_io_done_later(struct dev *d, struct dev_io *io, int err)
{
    io->err = err;
    io->priv.task.fn = done_task;
    env_defer(d->env, &io->priv.task);
}

static void dev_submit(struct dev *d, struct dev_io *io, enum dev_op op)
{
    assert(io->cb != NULL);
    io->err = 0;
    io->priv.op = op;
    io->priv.dev = d;
    io->priv.done_bytes = 0;
    io->priv.task.queued = false;
    io->priv.start_ns = env_now_ns(d->env);
    io->priv.start_still_ns = env_still_ns(d->env);
    list_push_back(&d->inflight, &io->priv.node);
    figure_add(&d->stats.in_flight, 1);
    if (d->failed && (op == DEV_WRITE || op == DEV_FLUSH))
        dev_io_done_later(d, io, -FIRN_E_DEVICE_FAILED);
    else
        d->ops->submit(d, io);
}

void dev_read(struct dev *d, struct dev_io *io)
{
    check_range(d, io);
    check_iov(d, io);
    assert(io->flags == 0);
    dev_submit(d, io, DEV_READ);
}

void dev_write(struct dev *d, struct dev_io *io)
{
    check_range(d, io);
    check_iov(d, io);
    assert((io->flags & ~(unsigned)DEV_DSYNC) == 0);
    dev_submit(d, io, DEV_WRITE);
}

void dev_flush(struct dev *d, struct dev_io *io)
{
    io->len_bytes = 0;
    io->flags = 0;
    dev_submit(d, io, DEV_FLUSH);
}

void dev_discard(struct dev *d, struct dev_io *io)
{
    check_range(d, io);
    io->flags = 0;
    dev_submit(d, io, DEV_DISCARD);
}

void dev_close(struct dev *d)
{
    if (!list_empty(&d->left) || (d->gave_up && !list_empty(&d->inflight))) {
        d->closing = true;
        return;
    }
    assert(list_empty(&d->inflight) && d->stats.in_flight == 0);
    d->ops->close(d);
}

static bool promises_durability(const struct dev_io *io)
{
    return io->priv.op == DEV_FLUSH || (io->priv.op == DEV_WRITE && (io->flags & DEV_DSYNC) != 0);
}

void dev_io_done(struct dev *d, struct dev_io *io, int err)
{
    enum dev_op op = io->priv.op;

    assert(err <= 0 && op < DEV_OP_NR && io->priv.dev == d && d->stats.in_flight > 0);
    if (promises_durability(io)) {
        if (err == 0 && d->failed)
            err = -FIRN_E_DEVICE_FAILED;
        if (err != 0)
            __atomic_store_n(&d->failed, true, __ATOMIC_RELAXED);
    }
    io->err = err;
    list_remove(&io->priv.node);
    figure_sub(&d->stats.in_flight, 1);
    figure_add(&d->stats.ops[op], 1);
    if (err)
        figure_add(&d->stats.errors[op], 1);
    else
        figure_add(&d->stats.bytes[op], io->len_bytes);
    if (d->latency[op] != NULL)
        metric_observe_ns(d->latency[op], env_now_ns(d->env) - io->priv.start_ns);
    if (d->observer != NULL)
        d->observer(d, io);
    io->cb(io);
}

uint64_t dev_oldest_ns(const struct dev *d)
{
    const struct dev_io *io = list_first(&d->inflight, struct dev_io, priv.node);
    uint64_t heard_ns = env_heard_ns(d->env), from_ns;

    if (io == NULL)
        return 0;
    from_ns = io->priv.start_ns + (env_still_ns(d->env) - io->priv.start_still_ns);
    return heard_ns < from_ns ? 0 : heard_ns - from_ns;
}

/* ---- straight-line forms ---------------------------------------------------------------------------------------- */

struct sync_io {
    struct dev_io io;
    struct iovec  iov;
    bool          done;
};

static void sync_cb(struct dev_io *io)
{
    container_of(io, struct sync_io, io)->done = true;
}

static int sync_wait(struct dev *d, struct sync_io *s)
{
    while (!s->done) {
        int err = env_run_once(d->env);

        if (err && !s->done)
            return -FIRN_E_STOPPED; /* the env promises that the request never completes: its memory may go */
    }
    return s->io.err;
}

/* A request with memory of its own, for the device may keep it. */
struct patient {
    struct dev_io    io;
    struct iovec     iov;
    struct env_timer timer;
    struct env_task  task;
    bool             done, late;
    bool             left;       /* to the device: nobody waits */
};

static void patient_free(struct patient *p)
{
    free(p->iov.iov_base);
    free(p);
}

/* Not within the callback: the implementation may still look at its dev. */
static void patient_gone(struct env_task *task)
{
    struct patient *p = container_of(task, struct patient, task);
    struct dev *d = p->io.priv.dev;

    patient_free(p);
    if (d->closing)
        dev_close(d);
}

static void patient_cb(struct dev_io *io)
{
    struct patient *p = container_of(io, struct patient, io);

    p->done = true;
    if (p->left) {
        p->task = (struct env_task){.fn = patient_gone};
        env_defer(io->priv.dev->env, &p->task);
    }
}

/* Its answer may be there, and not heard of yet: the process stood still. */
static void patient_late(struct env_timer *t)
{
    struct patient *p = container_of(t, struct patient, timer);
    struct dev *d = p->io.priv.dev;

    p->late = dev_oldest_ns(d) >= d->patience_ns;
    if (!p->late)
        env_timer_arm(d->env, t, env_now_ns(d->env) + 10 * NS_PER_MS);
}

static int patient_wait(struct dev *d, struct patient *p)
{
    int err = 0;

    p->timer.fn = patient_late;
    env_timer_arm(d->env, &p->timer, env_now_ns(d->env) + d->patience_ns);
    while (!p->done && !p->late && !err)
        err = env_run_once(d->env);
    if (env_timer_armed(&p->timer))
        env_timer_cancel(d->env, &p->timer);
    if (p->done)
        return p->io.err;
    return err ? -FIRN_E_STOPPED : -ETIMEDOUT;
}

static struct patient *patient_new(size_t len_bytes)
{
    struct patient *p = calloc(1, sizeof(*p));

    if (!p)
        return NULL;
    p->iov = (struct iovec){aligned_alloc(BLOCK_BYTES, ROUND_UP(MAX(len_bytes, (size_t)1), (size_t)BLOCK_BYTES)), len_bytes};
    if (p->iov.iov_base)
        return p;
    free(p);
    return NULL;
}

/* From and to: what is written, and where to put what is read; or NULL. */
static int run_patient(struct dev *d, void (*submit)(struct dev *d, struct dev_io *io), struct dev_io *what, const void *from, void *to)
{
    struct patient *p;
    int err;

    if (d->gave_up)
        return -ETIMEDOUT;
    p = patient_new(what->len_bytes);
    if (!p)
        return -ENOMEM;
    if (from != NULL)
        memcpy(p->iov.iov_base, from, what->len_bytes);
    p->io = *what;
    p->io.iov = what->len_bytes > 0 ? &p->iov : NULL;
    p->io.iovcnt = what->len_bytes > 0;
    p->io.cb = patient_cb;
    submit(d, &p->io);
    err = patient_wait(d, p);
    if (err == -ETIMEDOUT && !p->done) {
        p->left = d->gave_up = true;
        return err;
    }
    if (!err && to != NULL)
        memcpy(to, p->iov.iov_base, what->len_bytes);
    patient_free(p);
    return err;
}

void dev_forgive(struct dev *d)
{
    list_for_each_safe(n, tmp, &d->inflight) {
        struct dev_io *io = list_entry(n, struct dev_io, priv.node);

        if (io->cb != patient_cb || !container_of(io, struct patient, io)->left)
            continue;
        list_remove(n);
        list_push_back(&d->left, n);
    }
    d->gave_up = false;
}

void dev_drop_left(struct dev *d)
{
    struct list *lists[] = {&d->inflight, &d->left};

    for (size_t i = 0; i < ARRAY_LEN(lists); i++)
        list_for_each_safe(n, tmp, lists[i]) {
            struct dev_io *io = list_entry(n, struct dev_io, priv.node);

            if (io->cb != patient_cb || !container_of(io, struct patient, io)->left)
                continue;
            list_remove(n);
            figure_sub(&d->stats.in_flight, 1);
            patient_free(container_of(io, struct patient, io));
        }
}

static int run_loyal(struct dev *d, void (*submit)(struct dev *d, struct dev_io *io), const struct dev_io *what, void *buf)
{
    struct sync_io s = {.iov = {buf, what->len_bytes}, .io = *what};

    s.io.iov = buf != NULL ? &s.iov : NULL;
    s.io.iovcnt = buf != NULL;
    s.io.cb = sync_cb;
    submit(d, &s.io);
    return sync_wait(d, &s);
}

int dev_read_sync(struct dev *d, uint64_t off_bytes, void *buf, size_t len_bytes)
{
    struct dev_io what = {.off_bytes = off_bytes, .len_bytes = len_bytes};

    return d->patience_ns ? run_patient(d, dev_read, &what, NULL, buf) : run_loyal(d, dev_read, &what, buf);
}

int dev_write_sync(struct dev *d, uint64_t off_bytes, const void *buf, size_t len_bytes, unsigned flags)
{
    struct dev_io what = {.off_bytes = off_bytes, .len_bytes = len_bytes, .flags = flags};

    return d->patience_ns ? run_patient(d, dev_write, &what, buf, NULL) : run_loyal(d, dev_write, &what, (void *)(uintptr_t)buf);
}

int dev_flush_sync(struct dev *d)
{
    struct dev_io what = {0};

    return d->patience_ns ? run_patient(d, dev_flush, &what, NULL, NULL) : run_loyal(d, dev_flush, &what, NULL);
}
