/* SPDX-License-Identifier: Apache-2.0 */
/* dev_sim.c: requests to a simulated disk: when they finish, and what goes wrong with them.
 *
 * 1. At submission chance decides how long the request takes and whether it fails, is lost, goes astray or hangs.
 * 2. When its time has come it touches the medium (so that a buffer changed in flight is seen) and completes.
 * 3. What is in flight when the machine crashes is crash.c's. What a start or a process leaves behind goes on to the medium all the same,
 *    from bytes of its own, and nobody hears of it: not the handle, which stays as it was left, as a dev of a real device does.
 */
#include "tools/sim/dev_sim.h"

#include "base/crc32c.h"

#include <stdio.h>
#include <stdlib.h>

static uint32_t iov_crc(const struct dev_io *io)
{
    uint32_t crc = 0;

    for (int i = 0; i < io->iovcnt; i++)
        crc = crc32c(crc, io->iov[i].iov_base, io->iov[i].iov_len);
    return crc;
}

/* ---- deciding ---- */

static uint64_t draw_latency(struct sim_disk *d, struct sim_req *r)
{
    struct sim *s = d->sim;

    if (sim_chance(s, d->faults.hung)) {
        r->hung = true;
        sim_fault_fired(s, SIM_HUNG);
        sim_fault_mattered(s, SIM_HUNG);
        return UINT64_MAX;
    }
    if (sim_chance(s, d->faults.stalled)) {
        sim_fault_fired(s, SIM_STALLED);
        sim_fault_mattered(s, SIM_STALLED);
        return sim_between(s, NS_PER_S, 10 * NS_PER_S);
    }
    if (sim_chance(s, d->faults.delayed)) {
        sim_fault_fired(s, SIM_DELAYED);
        sim_fault_mattered(s, SIM_DELAYED);
        return sim_between(s, NS_PER_MS, 50 * NS_PER_MS);
    }
    return sim_between(s, d->opts.latency_min_ns, d->opts.latency_max_ns);
}

static bool draw_error(struct sim_disk *d, enum dev_op op)
{
    const uint32_t rate[DEV_OP_NR] = {[DEV_READ] = d->faults.eio_read, [DEV_WRITE] = d->faults.eio_write,
                                      [DEV_FLUSH] = d->faults.eio_flush, [DEV_DISCARD] = d->faults.eio_discard};

    if (d->fail[op].in > 1) {
        d->fail[op].in--;
    } else if (d->fail[op].in == 1) {
        if (d->fail[op].count != UINT32_MAX && --d->fail[op].count == 0)
            d->fail[op].in = 0;
        return true;
    }
    return sim_chance(d->sim, rate[op]);
}

static int draw_fate(struct sim_disk *d, struct sim_req *r)
{
    static const enum sim_fault class_of[DEV_OP_NR] = {[DEV_READ] = SIM_EIO_READ, [DEV_WRITE] = SIM_EIO_WRITE,
                                                       [DEV_FLUSH] = SIM_EIO_FLUSH, [DEV_DISCARD] = SIM_EIO_WRITE};
    enum dev_op op = r->io->priv.op;
    enum sim_fault f = d->faults.gone ? SIM_DEVICE_GONE : class_of[op];

    if (d->faults.gone || draw_error(d, op)) {
        sim_fault_fired(d->sim, f);
        sim_fault_mattered(d->sim, f);
        return -EIO;
    }
    if (op == DEV_WRITE && sim_chance(d->sim, d->faults.lost_write)) {
        r->lost = true;
        sim_fault_fired(d->sim, SIM_LOST_WRITE);
    } else if (op == DEV_WRITE && sim_chance(d->sim, d->faults.misdirected_write)) {
        r->misdirected = true;
        sim_fault_fired(d->sim, SIM_MISDIRECTED_WRITE);
    } else if (op == DEV_READ && sim_chance(d->sim, d->faults.misdirected_read)) {
        r->misdirected = true;
        sim_fault_fired(d->sim, SIM_MISDIRECTED_READ);
    }
    return 0;
}

/* Anywhere else on the device, mostly where something lies. */
static uint64_t draw_elsewhere(struct sim_disk *d, const struct dev_io *io)
{
    uint64_t last = d->opts.size_bytes - io->len_bytes, off = io->off_bytes;

    for (int tries = 0; tries < 8 && off < io->off_bytes + io->len_bytes && io->off_bytes < off + io->len_bytes; tries++) {
        if (tries > 4 || !sim_chance(d->sim, 800000) || !sim_disk_pick_written(d, 0, last, &off))
            off = sim_below(d->sim, last + 1);
        off = MIN(ROUND_DOWN(off, d->opts.block_bytes), last);
    }
    return off;
}

/* ---- doing ---- */

static void iov_gather(uint8_t *to, const struct dev_io *io)
{
    for (int i = 0; i < io->iovcnt; i++) {
        memcpy(to, io->iov[i].iov_base, io->iov[i].iov_len);
        to += io->iov[i].iov_len;
    }
}

/* The disk's own, for one request at a time: they come and go within a step. */
static uint8_t *bounce(struct sim_disk *d, const struct dev_io *io)
{
    if (io->len_bytes > d->bounce_bytes) {
        free(d->bounce);
        d->bounce = malloc(io->len_bytes);
        assert(d->bounce != NULL);
        d->bounce_bytes = io->len_bytes;
    }
    return d->bounce;
}

static int do_read(struct sim_disk *d, struct sim_req *r)
{
    struct dev_io *io = r->io;
    uint8_t *buf = bounce(d, io), *from = buf;
    int err = disk_read(d, io->off_bytes, buf, io->len_bytes);

    if (r->misdirected) {
        uint32_t right = crc32c(0, buf, io->len_bytes);

        err = disk_read(d, r->elsewhere, buf, io->len_bytes);
        if (crc32c(0, buf, io->len_bytes) != right)
            sim_fault_mattered(d->sim, SIM_MISDIRECTED_READ);
    }
    for (int i = 0; i < io->iovcnt && err == 0; i++) {
        memcpy(io->iov[i].iov_base, from, io->iov[i].iov_len);
        from += io->iov[i].iov_len;
    }
    return err;
}

static void do_write(struct sim_disk *d, struct sim_req *r)
{
    struct dev_io *io = r->io;
    bool durable = (io->flags & DEV_DSYNC) != 0;
    uint8_t *buf = bounce(d, io);

    iov_gather(buf, io);
    if (crc32c(0, buf, io->len_bytes) != r->crc)
        sim_violation(d->sim, "%s: a buffer changed while its write at %llu was in flight", d->name,
                      (unsigned long long)io->off_bytes);
    if (r->misdirected) {
        disk_write_lost(d, io->off_bytes, buf, io->len_bytes, durable, SIM_MISDIRECTED_WRITE);
        disk_write_foreign(d, r->elsewhere, buf, io->len_bytes);
    } else if (r->lost) {
        disk_write_lost(d, io->off_bytes, buf, io->len_bytes, durable, SIM_LOST_WRITE);
    } else {
        disk_write(d, io->off_bytes, buf, io->len_bytes, durable);
    }
}

static void do_discard(struct sim_disk *d, const struct dev_io *io)
{
    uint8_t *noise = bounce(d, io);

    for (size_t i = 0; i < io->len_bytes; i += 8) {
        uint64_t z = sim_rand(d->sim);

        memcpy(noise + i, &z, 8);
    }
    disk_write(d, io->off_bytes, noise, io->len_bytes, false);
    sim_fault_fired(d->sim, SIM_GARBAGE);
    sim_fault_mattered(d->sim, SIM_GARBAGE);
}

static int carry_out(struct sim_disk *d, struct sim_req *r)
{
    if (r->err != 0) {
        if (r->io->priv.op == DEV_FLUSH)
            disk_flush_failed(d, r->seq);
        return r->err;
    }
    switch (r->io->priv.op) {
    case DEV_READ:
        return do_read(d, r);
    case DEV_WRITE:
        do_write(d, r);
        return 0;
    case DEV_FLUSH:
        disk_flush(d, r->seq);
        return 0;
    case DEV_DISCARD:
        do_discard(d, r->io);
        return 0;
    case DEV_OP_NR:
        break;
    }
    assert(false); /* no such operation */
    return -EINVAL;
}

static void request_due(struct sim_event *ev)
{
    struct sim_req *r = container_of(ev, struct sim_req, ev);
    struct sim_dev *sd = r->sd;
    struct sim_disk *d = r->disk;
    struct dev_io *io = r->io;
    int err = carry_out(d, r);

    if (d->inflight.next != &r->node) {
        sim_fault_fired(d->sim, SIM_REORDERED);
        sim_fault_mattered(d->sim, SIM_REORDERED);
    }
    sim_trace_mix(d->sim, (io->off_bytes << 3) ^ io->len_bytes ^ ((uint64_t)io->priv.op << 60) ^ (uint64_t)(err != 0));
    list_remove(&r->node);
    sim_req_free(r);
    if (sd != NULL)
        dev_io_done(&sd->dev, io, err);
}

void sim_req_free(struct sim_req *r)
{
    free(r->own_iov.iov_base);
    free(r);
}

static void req_own(struct sim_req *r)
{
    bool bytes = r->io->priv.op == DEV_READ || r->io->priv.op == DEV_WRITE;

    r->own = *r->io;
    if (bytes) {
        r->own_iov = (struct iovec){calloc(1, r->io->len_bytes), r->io->len_bytes};
        assert(r->own_iov.iov_base != NULL);
        r->own.iov = &r->own_iov;
        r->own.iovcnt = 1;
    }
    if (r->io->priv.op == DEV_WRITE)
        iov_gather(r->own_iov.iov_base, r->io);
    r->io = &r->own;
    r->sd = NULL;
}

void sim_disk_unheard(struct sim_disk *d)
{
    list_for_each(n, &d->inflight) {
        struct sim_req *r = list_entry(n, struct sim_req, node);

        if (r->sd != NULL)
            req_own(r);
        if (!r->hung && r->ev.heap_pos == 0) /* a process that ended: its devices go on */
            sim_at(d->sim, &r->ev, d->sim->now_ns + sim_between(d->sim, 0, NS_PER_S));
    }
    list_for_each_safe(n, tmp, &d->devs) { /* closed, and waiting for that */
        struct sim_dev *sd = list_entry(n, struct sim_dev, node);

        if (sd->dev.closing)
            sim_dev_forget(sd);
    }
}

/* ---- the dev ---- */

static void dev_sim_submit(struct dev *dev, struct dev_io *io)
{
    struct sim_dev *sd = container_of(dev, struct sim_dev, dev);
    struct sim_disk *d = sd->disk;
    struct sim_req *r;
    uint64_t latency;

    if (d->sim->crashed) { /* closing code that tries: it never completes, and nobody waits for it */
        sim_dev_forget(sd);
        return;
    }
    r = calloc(1, sizeof(*r));
    assert(r != NULL);
    r->ev.fn = request_due;
    r->disk = d;
    r->sd = sd;
    r->io = io;
    r->seq = d->write_seq;
    r->err = draw_fate(d, r);
    if (r->misdirected)
        r->elsewhere = draw_elsewhere(d, io);
    if (io->priv.op == DEV_WRITE)
        r->crc = iov_crc(io);
    for (int i = 0; io->priv.op == DEV_READ && i < io->iovcnt; i++)
        memset(io->iov[i].iov_base, 0xa5, io->iov[i].iov_len); /* who looks too early sees no data */
    list_push_back(&d->inflight, &r->node);
    latency = draw_latency(d, r);
    if (!r->hung)
        sim_at(d->sim, &r->ev, d->sim->now_ns + latency);
    if (io->priv.op == DEV_WRITE)
        sim_saw_write(d->sim);
}

void sim_dev_forget(struct sim_dev *sd)
{
    dev_drop_left(&sd->dev);
    list_init(&sd->dev.inflight);
    list_init(&sd->dev.left);
    sd->dev.stats.in_flight = 0;
    sd->dev.failed = false; /* so that what comes still arrives here and is dropped */
    if (sd->dev.closing)
        sd->dev.ops->close(&sd->dev);
}

static void dev_sim_close(struct dev *dev)
{
    struct sim_dev *sd = container_of(dev, struct sim_dev, dev);

    list_for_each(n, &sd->disk->inflight) {
        if (list_entry(n, struct sim_req, node)->sd == sd)
            sim_violation(sd->disk->sim, "%s: closed with a request in flight", sd->disk->name);
    }
    list_remove(&sd->node);
    free(sd);
}

static const struct dev_ops dev_sim_ops = {.name = "sim", .submit = dev_sim_submit, .close = dev_sim_close};

int sim_dev_open(struct sim_disk *d, struct env *env, struct dev **out)
{
    struct sim_dev *sd;

    assert(sim_of_env(env) == d->sim);
    if (d->faults.gone)
        return -ENXIO;
    sd = calloc(1, sizeof(*sd));
    assert(sd != NULL);
    sd->disk = d;
    dev_init(&sd->dev, &dev_sim_ops, env, d->name);
    sd->dev.caps = (struct dev_caps){
        .size_bytes = d->opts.size_bytes,
        .block_bytes = d->opts.block_bytes,
        .align_bytes = d->opts.block_bytes,
        .iov_max = 1024,
        .byte_addressable = d->opts.torn_bytes < SECTOR_BYTES,
        .rotational = d->opts.rotational,
        .discard = true,
    };
    list_push_back(&d->devs, &sd->node);
    *out = &sd->dev;
    return 0;
}
