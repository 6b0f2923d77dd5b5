/* SPDX-License-Identifier: Apache-2.0 */
#include "fake_dev.h"
#include "rt/dev_model.h"
#include "rt/metrics.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>

static char page[4 * BLOCK_BYTES] __attribute__((aligned(4096)));

struct req { struct dev_io io; struct iovec iov; int done; uint64_t at_ns; };

static void req_cb(struct dev_io *io)
{
    struct req *q = container_of(io, struct req, io);

    q->done++;
    q->at_ns = env_now_ns(io->priv.dev->env);
}

static struct dev_io *req(struct req *q, uint64_t off, size_t len, unsigned flags)
{
    *q = (struct req){.iov = {page, len}, .io = {.off_bytes = off, .len_bytes = len, .iovcnt = 1, .flags = flags, .cb = req_cb}};
    q->io.iov = &q->iov;
    return &q->io;
}

/* ---- the wrapper --------------------------------------------------------------------------------------------------- */

static struct fake_env env;
static struct fake_dev fake;

static void setup(void)
{
    fake_env_init(&env);
    fake_dev_init(&fake, &env.env, MIB);
}

Test(dev, counts_and_knows_the_oldest, .init = setup)
{
    struct metric_hist h = {0};
    struct req a, b;

    fake.dev.latency[DEV_READ] = &h;
    cr_assert_eq(dev_oldest_ns(&fake.dev), 0u);
    dev_read(&fake.dev, req(&a, 0, BLOCK_BYTES, 0));
    env.now_ns += 500;
    dev_read(&fake.dev, req(&b, BLOCK_BYTES, BLOCK_BYTES, 0));
    env.now_ns += 2000;
    cr_assert_eq(dev_oldest_ns(&fake.dev), 2500u);
    fake_dev_end(&fake, 0);
    cr_assert_eq(dev_oldest_ns(&fake.dev), 2000u);
    fake_dev_end(&fake, -EIO);
    cr_assert(a.done == 1 && b.done == 1 && a.io.err == 0 && b.io.err == -EIO);
    cr_assert_eq(fake.dev.stats.ops[DEV_READ], 2u);
    cr_assert_eq(fake.dev.stats.errors[DEV_READ], 1u);
    cr_assert_eq(fake.dev.stats.bytes[DEV_READ], BLOCK_BYTES);
    cr_assert_eq(h.sum_ns, 4500u);
    cr_assert(!fake.dev.failed, "a failed read says nothing about durability");
    dev_close(&fake.dev);
    cr_assert(fake.closed);
}

static void nothing_durable_after(bool flush_fails)
{
    struct req bad, in_flight, w, f, r;

    if (flush_fails)
        dev_flush(&fake.dev, req(&bad, 0, 0, 0));
    else
        dev_write(&fake.dev, req(&bad, 0, BLOCK_BYTES, DEV_DSYNC));
    dev_flush(&fake.dev, req(&in_flight, 0, 0, 0));
    fake_dev_end(&fake, -EIO);
    cr_assert(bad.io.err == -EIO && fake.dev.failed);
    fake_dev_end(&fake, 0);
    cr_assert_eq(in_flight.io.err, -FIRN_E_DEVICE_FAILED, "a flush in flight may not claim what the failed one lost");
    dev_write(&fake.dev, req(&w, 0, BLOCK_BYTES, 0));
    dev_flush(&fake.dev, req(&f, 0, 0, 0));
    cr_assert(w.done == 0 && f.done == 0 && fake.nr == 0, "later, and never reaching the device");
    fake_env_run(&env);
    cr_assert(w.io.err == -FIRN_E_DEVICE_FAILED && f.io.err == -FIRN_E_DEVICE_FAILED);
    dev_read(&fake.dev, req(&r, 0, BLOCK_BYTES, 0));
    fake_dev_end(&fake, 0);
    cr_assert_eq(r.io.err, 0, "reads go on");
    dev_close(&fake.dev);
}

Test(dev, nothing_is_durable_after_a_failed_flush, .init = setup) { nothing_durable_after(true); }
Test(dev, nothing_is_durable_after_a_failed_dsync_write, .init = setup) { nothing_durable_after(false); }

Test(dev, a_failed_plain_write_is_not_final, .init = setup)
{
    struct req a, b;

    dev_write(&fake.dev, req(&a, 0, BLOCK_BYTES, 0));
    fake_dev_end(&fake, -EIO);
    dev_write(&fake.dev, req(&b, 0, BLOCK_BYTES, DEV_DSYNC));
    fake_dev_end(&fake, 0);
    cr_assert(a.io.err == -EIO && b.io.err == 0);
}

Test(dev, sync_forms_give_up_when_the_loop_ends, .init = setup)
{
    cr_assert_eq(dev_read_sync(&fake.dev, 0, page, BLOCK_BYTES), -FIRN_E_STOPPED);
}

static int seen;
static void observe(struct dev *d, const struct dev_io *io) { seen += d->observer_ctx == page && io->priv.op == DEV_DISCARD; }

Test(dev, the_observer_sees_completions, .init = setup)
{
    struct req a;

    fake.dev.observer = observe;
    fake.dev.observer_ctx = page;
    dev_discard(&fake.dev, req(&a, 0, 8 * BLOCK_BYTES, 0));
    cr_assert_eq(seen, 0);
    fake_dev_end(&fake, 0);
    cr_assert(seen == 1 && a.done == 1);
}

#define REFUSED(name, ...)                                       \
    Test(dev, refuses_##name, .init = setup, .signal = SIGABRT) \
    {                                                            \
        struct req q;                                            \
        __VA_ARGS__;                                             \
    }
REFUSED(an_odd_offset, dev_read(&fake.dev, req(&q, 512, BLOCK_BYTES, 0)))
REFUSED(an_odd_length, dev_read(&fake.dev, req(&q, 0, 512, 0)))
REFUSED(no_length, dev_read(&fake.dev, req(&q, 0, 0, 0)))
REFUSED(bytes_past_the_end, dev_write(&fake.dev, req(&q, MIB - BLOCK_BYTES, 2 * BLOCK_BYTES, 0)))
REFUSED(a_start_past_the_end, dev_write(&fake.dev, req(&q, MIB, BLOCK_BYTES, 0)))
REFUSED(an_unaligned_buffer, req(&q, 0, BLOCK_BYTES, 0); q.iov.iov_base = page + 512; dev_read(&fake.dev, &q.io))
REFUSED(a_wrong_sum, req(&q, 0, BLOCK_BYTES, 0); q.io.len_bytes = 2 * BLOCK_BYTES; dev_read(&fake.dev, &q.io))
REFUSED(dsync_reads, dev_read(&fake.dev, req(&q, 0, BLOCK_BYTES, DEV_DSYNC)))
REFUSED(closing_with_a_request_in_flight, dev_read(&fake.dev, req(&q, 0, BLOCK_BYTES, 0)); dev_close(&fake.dev))

/* ---- the model ----------------------------------------------------------------------------------------------------- */

Test(dev_model, hdd_costs_are_the_published_ones)
{
    uint64_t head = 0, seeks = 0;

    /* no gap: overhead and transfer */
    cr_assert_eq(dev_model_hdd_cost_ns(GIB, &head, false, 0, 200000, &seeks), 1100000u);
    cr_assert(head == 200000 && seeks == 0);
    /* a gap of 200,000 bytes is passed over in 1 ms */
    cr_assert_eq(dev_model_hdd_cost_ns(GIB, &head, true, 400000, 200000, &seeks), 2100000u);
    cr_assert_eq(seeks, 0u);
    /* from 600,000 a quarter of the span on: half the stroke */
    cr_assert_eq(dev_model_hdd_cost_ns(GIB, &head, false, 600000 + GIB / 4, 4096, &seeks),
                 (uint64_t)llround((0.10 + 0.23 + 13.44 / 2 + 4.16 + 4096 / 200e3) * 1e6));
    cr_assert_eq(seeks, 1u);
    /* back by as much, writing */
    head = GIB / 4;
    cr_assert_eq(dev_model_hdd_cost_ns(GIB - 5, &head, true, 0, 4096, &seeks),
                 (uint64_t)llround((0.10 + 0.32 + 14.78 / 2 + 4.16 + 4096 / 200e3) * 1e6));
    cr_assert_eq(seeks, 2u);
    /* a gap just above 512 KiB is sought over; further than the span counts as the span */
    head = 0;
    dev_model_hdd_cost_ns(64 * GIB, &head, false, 524288, 4096, &seeks);
    cr_assert_eq(seeks, 2u);
    head = 0;
    dev_model_hdd_cost_ns(64 * GIB, &head, false, 524289, 4096, &seeks);
    cr_assert_eq(seeks, 3u);
    head = 0;
    cr_assert_eq(dev_model_hdd_cost_ns(GIB, &head, false, 9 * GIB, 200000, &seeks),
                 (uint64_t)llround((0.10 + 0.23 + 13.44 + 4.16 + 1) * 1e6));
}

Test(dev_model, ssd_costs_are_the_published_ones)
{
    cr_assert_eq(dev_model_ssd_cost_ns(false, 3200000), 1085000u);
    cr_assert_eq(dev_model_ssd_cost_ns(true, 1050000), 1020000u);
    cr_assert_eq(dev_model_ssd_cost_ns(false, 4096), 86280u);
}

Test(dev_model, a_write_that_goes_on_waits_for_the_platter)
{
    uint64_t head = MIB, turn_ns = 60 * UINT64_C(1000000000) / 7200, one_ns = 100000 + 4096 * 5;

    cr_assert_eq(dev_model_hdd_turn_cost_ns(0, &head, MIB, BLOCK_BYTES), turn_ns - 100000 + one_ns, "just missed");
    cr_assert_eq(head, MIB + BLOCK_BYTES);
    cr_assert_eq(dev_model_hdd_turn_cost_ns(3000000, &head, head, BLOCK_BYTES), turn_ns - 3100000 + one_ns);
    cr_assert_eq(dev_model_hdd_turn_cost_ns(6 * turn_ns + 2 + 3000000, &head, head, BLOCK_BYTES), turn_ns - 3100000 + one_ns,
                 "turns later");
    cr_assert_eq(dev_model_hdd_turn_cost_ns(100000, &head, head + 100000, BLOCK_BYTES), 300000 + one_ns, "it is still to come");
}

static struct dev *model(struct dev_model_params p)
{
    struct dev *d = NULL;

    cr_assert_eq(dev_model_new(&fake.dev, &p, &d), 0);
    return d;
}

Test(dev_model, only_an_idle_disk_has_turned_on, .init = setup)
{
    struct dev *d = model((struct dev_model_params){.hdd = true, .turns = true, .scale = 1});
    uint64_t one_ns = 100000 + 4096 * 5, turn_ns = 60 * UINT64_C(1000000000) / 7200, t0, came_ns, busy_ns;
    struct req q[4];

    fake_env_advance(&env, env.now_ns + turn_ns);
    t0 = env.now_ns;
    dev_write(d, req(&q[0], MIB / 2, BLOCK_BYTES, 0)); /* somewhere */
    fake_dev_end(&fake, 0);
    fake_env_advance(&env, t0 + 10 * turn_ns);
    t0 = q[0].at_ns;
    fake_env_advance(&env, env.now_ns + 1);
    came_ns = env.now_ns, busy_ns = dev_model_busy_ns(d);
    dev_write(d, req(&q[1], MIB / 2 + BLOCK_BYTES, BLOCK_BYTES, 0)); /* goes on there, late */
    dev_write(d, req(&q[2], MIB / 2 + 2 * BLOCK_BYTES, BLOCK_BYTES, 0)); /* and waits already when that ends */
    fake_dev_end(&fake, 0);
    fake_env_advance(&env, env.now_ns + turn_ns);
    fake_dev_end(&fake, 0);
    fake_env_advance(&env, env.now_ns + turn_ns);
    cr_assert_leq((q[1].at_ns - t0 - BLOCK_BYTES * 5 + 50) % turn_ns, 100u, "a number of turns after the write before it");
    cr_assert_eq(dev_model_busy_ns(d) - busy_ns - (q[1].at_ns - came_ns), one_ns);
    fake_env_advance(&env, env.now_ns + turn_ns);
    t0 = env.now_ns;
    dev_read(d, req(&q[3], MIB / 2 + 3 * BLOCK_BYTES, BLOCK_BYTES, 0));
    fake_dev_end(&fake, 0);
    fake_env_advance(&env, env.now_ns + turn_ns);
    cr_assert_eq(q[3].at_ns - t0, one_ns, "reads have the disk's look-ahead");
    dev_close(d);
}

Test(dev_model, an_hdd_serves_one_after_the_other_in_order, .init = setup)
{
    struct dev *d = model((struct dev_model_params){.hdd = true, .scale = 1});
    uint64_t t0 = env.now_ns, one_ns = 100000 + 4096 * 5;
    struct req q[3], f;

    cr_assert(d->caps.rotational);
    for (unsigned i = 0; i < 3; i++)
        dev_write(d, req(&q[i], i * BLOCK_BYTES, BLOCK_BYTES, 0));
    dev_flush(d, req(&f, 0, 0, 0));
    for (unsigned i = 0; i < 3; i++) {
        cr_assert_eq(fake.nr, 1u, "the device below gets one at a time");
        fake_dev_end(&fake, i == 1 ? -EIO : 0);
        cr_assert_eq(q[i].done, 0, "its time is not over");
        fake_env_advance(&env, t0 + (i + 1) * one_ns + 50);
        cr_assert_eq(q[i].done, 1);
        cr_assert_eq(q[i].at_ns, t0 + (i + 1) * one_ns, "a late look at the clock does not slow the device");
    }
    cr_assert_eq(q[1].io.err, -EIO);
    fake_env_advance(&env, env.now_ns + 10);
    cr_assert_eq(f.done, 0);
    fake_dev_end(&fake, 0);
    cr_assert(f.done == 1 && f.io.err == 0);
    cr_assert_eq(dev_model_busy_ns(d), 3 * one_ns);
    cr_assert_eq(dev_model_seeks(d), 0u);
    dev_close(d);
    cr_assert(fake.closed);
}

Test(dev_model, parts_of_one_disk_share_its_head, .init = setup)
{
    struct dev_model_disk disk = {0};
    struct fake_dev behind;
    struct dev *log = model((struct dev_model_params){.hdd = true, .scale = 1, .disk = &disk}), *data;
    struct req q[3];
    uint64_t ns[3] = {100000 + 4096 * 5, 0, 0}, head = 4096, seeks = 0, t0 = env.now_ns;
    const struct dev_model_params params = {.hdd = true, .scale = 1, .disk = &disk};

    fake_dev_init(&behind, &env.env, GIB);
    cr_assert_eq(dev_model_new(&behind.dev, &params, &data), 0);
    cr_assert_eq(disk.span_bytes, fake.dev.caps.size_bytes + GIB);
    dev_write(log, req(&q[0], 0, BLOCK_BYTES, 0));
    dev_read(data, req(&q[1], 0, BLOCK_BYTES, 0));
    fake_dev_end(&fake, 0);
    fake_dev_end(&behind, 0);
    ns[1] = dev_model_hdd_cost_ns(disk.span_bytes, &head, false, fake.dev.caps.size_bytes, BLOCK_BYTES, &seeks);
    fake_env_advance(&env, t0 + NS_PER_S);
    cr_assert_eq(q[0].at_ns - t0, ns[0]);
    cr_assert_eq(q[1].at_ns - t0, ns[0] + ns[1], "after the other's request, and from where that left the head");
    dev_write(log, req(&q[2], BLOCK_BYTES, BLOCK_BYTES, 0));
    fake_dev_end(&fake, 0);
    ns[2] = dev_model_hdd_cost_ns(disk.span_bytes, &head, true, BLOCK_BYTES, BLOCK_BYTES, &seeks);
    t0 = env.now_ns;
    fake_env_advance(&env, t0 + NS_PER_S);
    cr_assert_eq(q[2].at_ns - t0, ns[2], "the log's next place is not under the head any more");
    cr_assert_eq(dev_model_seeks(log) + dev_model_seeks(data), seeks);
    dev_close(data);
    dev_close(log);
}

Test(dev_model, restarted_it_is_as_new, .init = setup)
{
    struct dev *d = model((struct dev_model_params){.hdd = true, .scale = 1});
    struct req q;

    for (unsigned round = 0; round < 2; round++) {
        uint64_t t0 = env.now_ns;

        dev_write(d, req(&q, 4 * BLOCK_BYTES, BLOCK_BYTES, 0));
        fake_dev_end(&fake, 0);
        fake_env_advance(&env, t0 + NS_PER_S);
        cr_assert_eq(q.done, 1);
        cr_assert_eq(q.at_ns - t0, 100000 + 5 * 5 * 4096, "the head passes over four blocks");
        cr_assert_eq(dev_model_busy_ns(d), 100000u + 5 * 5 * 4096);
        dev_model_restart(d);
        cr_assert_eq(dev_model_busy_ns(d), 0u);
        cr_assert_eq(dev_model_seeks(d), 0u);
    }
    dev_close(d);
}

Test(dev_model, an_ssd_overlaps_latencies_up_to_its_ways, .init = setup)
{
    struct dev *d = model((struct dev_model_params){.scale = 0.5, .ways = 2});
    uint64_t t0 = env.now_ns;
    struct req q[3];

    for (unsigned i = 0; i < 3; i++)
        dev_read(d, req(&q[i], i * BLOCK_BYTES, BLOCK_BYTES, 0));
    cr_assert_eq(fake.nr, 2u);
    fake_dev_end(&fake, 0);
    fake_dev_end(&fake, 0);
    fake_env_advance(&env, t0 + 100000);
    cr_assert_eq(q[0].at_ns, t0 + 43140);
    cr_assert_eq(q[1].at_ns, t0 + 43780);
    cr_assert(q[2].done == 0 && fake.nr == 1);
    fake_dev_end(&fake, 0);
    cr_assert_eq(q[2].done, 1, "time was over before the device below was done");
    dev_close(d);
}
