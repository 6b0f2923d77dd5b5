/* SPDX-License-Identifier: Apache-2.0 */
/* The simulated machine keeps the contracts of env.h, dev.h and meta.h, and its crashes do what they claim. */
#include "tools/sim/sim.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>

static _Alignas(4096) uint8_t buf_a[8192], buf_b[8192];

/* ---- clock and tasks ---- */

static int order[8], order_nr;
struct numbered { struct env_task task; struct env_timer timer; int no; };

static void task_note(struct env_task *t) { order[order_nr++] = container_of(t, struct numbered, task)->no; }
static void timer_note(struct env_timer *t) { order[order_nr++] = container_of(t, struct numbered, timer)->no; }

Test(sim_env, tasks_run_in_order_and_never_at_once)
{
    struct sim *s = sim_new(7);
    struct env *e = sim_env_new(s);
    struct numbered n[3] = {{.no = 1}, {.no = 2}, {.no = 3}};

    for (int i = 0; i < 3; i++) {
        n[i].task.fn = task_note;
        env_defer(e, &n[i].task);
    }
    cr_assert_eq(order_nr, 0);
    while (sim_step(s) == 0)
        ;
    cr_assert_eq(order_nr, 3);
    cr_assert(order[0] == 1 && order[1] == 2 && order[2] == 3);
    sim_env_free(e);
    sim_free(s);
}

Test(sim_env, timers_fire_by_deadline_once_and_can_move)
{
    struct sim *s = sim_new(8);
    struct env *e = sim_env_new(s);
    struct numbered n[3] = {{.no = 1}, {.no = 2}, {.no = 3}};
    uint64_t t0 = env_now_ns(e);

    for (int i = 0; i < 3; i++) {
        n[i].timer.fn = timer_note;
        env_timer_arm(e, &n[i].timer, t0 + (uint64_t)(10 - i) * NS_PER_MS);
    }
    env_timer_arm(e, &n[2].timer, t0 + 60 * NS_PER_MS);
    cr_assert(env_timer_armed(&n[1].timer));
    env_timer_cancel(e, &n[1].timer);
    cr_assert(!env_timer_armed(&n[1].timer));
    while (sim_step(s) == 0)
        ;
    cr_assert_eq(order_nr, 2);
    cr_assert(order[0] == 1 && order[1] == 3);
    cr_assert_geq(env_now_ns(e), t0 + 60 * NS_PER_MS);
    sim_env_free(e);
    sim_free(s);
}

Test(sim_env, waiting_for_nothing_is_stuck_not_a_hang)
{
    struct sim *s = sim_new(9);
    struct env *e = sim_env_new(s);

    cr_assert_eq(env_run_once(e), -FIRN_E_STOPPED);
    cr_assert(sim_stuck(s));
    sim_env_free(e);
    sim_free(s);
}

/* ---- devices ---- */

struct rig { struct sim *s; struct env *e; struct sim_disk *disk; struct dev *d; };

static struct rig rig_new(uint64_t seed, uint32_t torn)
{
    struct sim_disk_opts o = {.size_bytes = 8 * MIB, .block_bytes = 512, .torn_bytes = torn};
    struct rig r = {.s = sim_new(seed)};

    r.e = sim_env_new(r.s);
    r.disk = sim_disk_new(r.s, "d", &o);
    cr_assert_eq(sim_dev_open(r.disk, r.e, &r.d), 0);
    return r;
}

static void rig_free(struct rig *r)
{
    dev_close(r->d);
    sim_env_free(r->e);
    sim_disk_free(r->disk);
    sim_free(r->s);
}

Test(sim_dev, a_durable_write_survives_every_crash)
{
    for (uint64_t seed = 1; seed <= 50; seed++) {
        struct rig r = rig_new(seed, 512);

        memset(buf_a, (int)seed, sizeof(buf_a));
        memset(buf_b, 0xee, sizeof(buf_b));
        cr_assert_eq(dev_write_sync(r.d, 4096, buf_b, 8192, 0), 0);
        cr_assert_eq(dev_write_sync(r.d, 4096, buf_a, 8192, DEV_DSYNC), 0);
        sim_crash(r.s);
        sim_disk_peek(r.disk, 4096, buf_b, 8192);
        cr_assert_eq(memcmp(buf_a, buf_b, 8192), 0);
        rig_free(&r);
    }
}

/* Over many seeds an unflushed write is seen whole, gone, and torn at exactly the unit asked for. */
static void count_fates(uint32_t torn, int fate[3])
{
    for (uint64_t seed = 1; seed <= 200; seed++) {
        struct rig r = rig_new(seed, torn);
        int kept = 0;

        memset(buf_a, 0x11, sizeof(buf_a));
        cr_assert_eq(dev_write_sync(r.d, 0, buf_a, 8192, 0), 0);
        sim_crash(r.s);
        sim_disk_peek(r.disk, 0, buf_b, 8192);
        for (uint32_t at = 0; at < 8192; at += torn) {
            for (uint32_t i = 1; i < torn; i++)
                cr_assert_eq(buf_b[at + i], buf_b[at], "a unit is whole");
            kept += buf_b[at] == 0x11;
        }
        fate[kept == 0 ? 0 : kept == (int)(8192 / torn) ? 2 : 1]++;
        rig_free(&r);
    }
}

Test(sim_dev, an_unflushed_write_may_be_there_gone_or_torn)
{
    int at_8[3] = {0}, at_64[3] = {0}, at_512[3] = {0}, at_4096[3] = {0};

    count_fates(8, at_8); /* persistent memory */
    count_fates(64, at_64);
    count_fates(512, at_512);
    count_fates(4096, at_4096);
    for (int i = 0; i < 3; i++) {
        cr_assert_gt(at_8[i], 10);
        cr_assert_gt(at_64[i], 10);
        cr_assert_gt(at_512[i], 10);
        cr_assert_gt(at_4096[i], 10);
    }
}

Test(sim_dev, a_flush_makes_older_writes_durable_unless_it_lies)
{
    int lost = 0;

    for (uint64_t seed = 1; seed <= 60; seed++) {
        struct rig r = rig_new(seed, 4096);
        bool lies = seed > 30;

        sim_disk_faults(r.disk)->lying_flush = lies;
        memset(buf_a, 0x22, sizeof(buf_a));
        cr_assert_eq(dev_write_sync(r.d, 8192, buf_a, 8192, 0), 0);
        cr_assert_eq(dev_flush_sync(r.d), 0);
        sim_crash(r.s);
        sim_disk_peek(r.disk, 8192, buf_b, 8192);
        if (!lies)
            cr_assert_eq(memcmp(buf_a, buf_b, 8192), 0);
        else
            lost += memcmp(buf_a, buf_b, 8192) != 0;
        rig_free(&r);
    }
    cr_assert_gt(lost, 5);
}

Test(sim_dev, rot_latent_lost_and_misdirected_show_on_read_and_heal)
{
    struct rig r = rig_new(3, 512);

    memset(buf_a, 0x33, 4096);
    cr_assert_eq(dev_write_sync(r.d, 2 * MIB, buf_a, 4096, DEV_DSYNC), 0);
    sim_disk_rot(r.disk, 2 * MIB + 512);
    cr_assert_eq(dev_read_sync(r.d, 2 * MIB, buf_b, 4096), 0);
    cr_assert_neq(memcmp(buf_a, buf_b, 4096), 0);
    cr_assert_eq(memcmp(buf_a, buf_b, 512), 0, "only that sector");
    sim_disk_heal(r.disk);
    cr_assert_eq(dev_read_sync(r.d, 2 * MIB, buf_b, 4096), 0);
    cr_assert_eq(memcmp(buf_a, buf_b, 4096), 0);

    sim_disk_latent(r.disk, 2 * MIB, 512);
    cr_assert_eq(dev_read_sync(r.d, 2 * MIB, buf_b, 4096), -EIO);
    cr_assert_eq(dev_write_sync(r.d, 2 * MIB, buf_a, 512, DEV_DSYNC), 0);
    cr_assert_eq(dev_read_sync(r.d, 2 * MIB, buf_b, 4096), 0, "a write of the sector repairs it");

    sim_disk_faults(r.disk)->lost_write = 1000000;
    memset(buf_a, 0x44, 4096);
    cr_assert_eq(dev_write_sync(r.d, 2 * MIB, buf_a, 4096, DEV_DSYNC), 0);
    sim_disk_faults(r.disk)->lost_write = 0;
    cr_assert_eq(dev_read_sync(r.d, 2 * MIB, buf_b, 4096), 0);
    cr_assert_eq(buf_b[0], 0x33);
    sim_disk_heal(r.disk);
    cr_assert_eq(dev_read_sync(r.d, 2 * MIB, buf_b, 4096), 0);
    cr_assert_eq(buf_b[0], 0x44);

    sim_disk_faults(r.disk)->misdirected_write = 1000000;
    memset(buf_a, 0x55, 4096);
    cr_assert_eq(dev_write_sync(r.d, 2 * MIB, buf_a, 4096, DEV_DSYNC), 0);
    sim_disk_faults(r.disk)->misdirected_write = 0;
    cr_assert_eq(dev_read_sync(r.d, 2 * MIB, buf_b, 4096), 0);
    cr_assert_eq(buf_b[4095], 0x44);
    rig_free(&r);
}

static int done_nr, done_err;
static void count_done(struct dev_io *io)
{
    done_nr++;
    done_err = io->err;
}

Test(sim_dev, a_hung_request_finishes_only_when_healed)
{
    struct rig r = rig_new(4, 512);
    struct iovec iov = {buf_a, 4096};
    struct dev_io io = {.len_bytes = 4096, .iov = &iov, .iovcnt = 1, .cb = count_done};

    sim_disk_faults(r.disk)->hung = 1000000;
    dev_read(r.d, &io);
    cr_assert_eq(sim_run_for(r.s, 3600 * NS_PER_S), 0);
    cr_assert_eq(done_nr, 0);
    cr_assert_geq(dev_oldest_ns(r.d), 3600 * NS_PER_S);
    sim_disk_heal(r.disk);
    cr_assert_eq(sim_run_for(r.s, NS_PER_S), 0);
    cr_assert_eq(done_nr, 1);
    rig_free(&r);
}

/* As with a reactor whose ring was exchanged: what was left to the device reaches the medium. */
Test(sim_dev, what_a_start_left_behind_ends_unheard)
{
    struct rig r = rig_new(14, 512);

    sim_disk_faults(r.disk)->stalled = 1000000; /* 1 to 10 s */
    r.d->patience_ns = NS_PER_MS;
    memset(buf_a, 0x66, 4096);
    cr_assert_eq(dev_write_sync(r.d, MIB, buf_a, 4096, DEV_DSYNC), -ETIMEDOUT);
    memset(buf_a, 0x77, 4096);
    sim_ends_unheard(r.s);
    sim_disk_peek(r.disk, MIB, buf_b, 4096);
    cr_assert_neq(buf_b[0], 0x66);
    cr_assert_eq(sim_run_for(r.s, 20 * NS_PER_S), 0);
    sim_disk_peek(r.disk, MIB, buf_b, 4096);
    cr_assert(buf_b[0] == 0x66 && buf_b[4095] == 0x66);
    cr_assert_null(sim_violation_text(r.s));
    cr_assert(r.d->gave_up && r.d->stats.in_flight == 1);
    cr_assert_geq(dev_oldest_ns(r.d), 19 * NS_PER_S);
    dev_close(r.d);
    sim_crash(r.s);
    sim_env_free(r.e);
    sim_disk_free(r.disk);
    sim_free(r.s);
}

/* The next one finds it written, sooner or later. */
Test(sim_dev, so_does_what_a_process_left_behind)
{
    struct rig r = rig_new(15, 512);

    sim_disk_faults(r.disk)->hung = 1000000;
    r.d->patience_ns = NS_PER_MS;
    memset(buf_a, 0x66, 4096);
    cr_assert_eq(dev_write_sync(r.d, MIB, buf_a, 4096, DEV_DSYNC), -ETIMEDOUT);
    dev_close(r.d);
    sim_env_free(r.e);
    sim_reboot(r.s);
    r.e = sim_env_new(r.s);
    cr_assert_eq(sim_dev_open(r.disk, r.e, &r.d), 0);
    cr_assert_eq(sim_run_for(r.s, 20 * NS_PER_S), 0);
    sim_disk_peek(r.disk, MIB, buf_b, 4096);
    cr_assert_neq(buf_b[0], 0x66);
    sim_disk_heal(r.disk);
    cr_assert_eq(sim_run_for(r.s, NS_PER_S), 0);
    sim_disk_peek(r.disk, MIB, buf_b, 4096);
    cr_assert_eq(buf_b[0], 0x66);
    rig_free(&r);
}

Test(sim_dev, the_nth_request_fails_as_often_as_asked)
{
    struct rig r = rig_new(5, 512);
    const int want[] = {0, 0, -EIO, -EIO, 0};

    sim_disk_fail_nth(r.disk, DEV_READ, 3, 2);
    for (size_t i = 0; i < ARRAY_LEN(want); i++)
        cr_assert_eq(dev_read_sync(r.d, 0, buf_a, 512), want[i]);
    rig_free(&r);
}

Test(sim_dev, a_buffer_that_changes_in_flight_is_a_violation)
{
    struct rig r = rig_new(6, 512);
    struct iovec iov = {buf_a, 4096};
    struct dev_io io = {.len_bytes = 4096, .iov = &iov, .iovcnt = 1, .cb = count_done};

    dev_write(r.d, &io);
    buf_a[17] ^= 1;
    cr_assert_eq(sim_run_for(r.s, NS_PER_S), 0);
    cr_assert_eq(done_nr, 1);
    cr_assert_eq(done_err, 0);
    cr_assert_not_null(sim_violation_text(r.s));
    rig_free(&r);
}

/* ---- metadata ---- */

static int heard;
static void batch_heard(struct meta_batch *b)
{
    cr_assert_eq(b->err, 0);
    heard++;
}

static struct meta_key key_of(uint8_t n) { return (struct meta_key){.len = 2, .b = {'E', n}}; }

static int count_keys(void *ctx, const struct meta_key *key, const void *value, uint32_t len)
{
    (void)key;
    (void)value;
    (void)len;
    ++*(int *)ctx;
    return 0;
}

/* Ten batches of two keys, a crash somewhere: what is there is a prefix, whole batches, and all that were heard. */
static void crash_among_batches(uint64_t seed, int *most, int *unheard_kept)
{
    struct sim *s = sim_new(seed);
    struct env *e = sim_env_new(s);
    struct sim_meta_store *ms = sim_meta_store_new(s);
    struct meta_op ops[10][2];
    struct meta_batch b[10];
    struct meta_key all = {.len = 1, .b = {'E'}};
    struct meta *m;
    int there = 0;

    heard = 0;
    cr_assert_eq(sim_meta_open(ms, &m), 0);
    for (int i = 0; i < 10; i++) {
        for (int k = 0; k < 2; k++)
            ops[i][k] = (struct meta_op){key_of((uint8_t)(2 * i + k)), "v", 1};
        b[i] = (struct meta_batch){.ops = ops[i], .nr = 2, .env = e, .cb = batch_heard};
        meta_commit(m, &b[i]);
    }
    sim_crash_in_events(s, sim_between(s, 1, 20));
    while (sim_step(s) == 0)
        ;
    m->ops->close(m);
    sim_reboot(s);
    cr_assert_eq(sim_meta_open(ms, &m), 0);
    cr_assert_eq(m->ops->scan_sync(m, &all, count_keys, &there), 0);
    cr_assert_eq(there % 2, 0, "whole batches");
    for (int i = 0; i < there; i++) {
        uint8_t v[META_VALUE_MAX];
        uint32_t len;
        struct meta_key k = key_of((uint8_t)i);

        cr_assert_eq(m->ops->get_sync(m, &k, v, &len), 0, "a prefix");
    }
    cr_assert_eq(meta_commit_no(m), (uint64_t)there / 2);
    cr_assert_geq(there / 2, heard, "what was heard is there");
    *most = MAX(*most, heard);
    *unheard_kept += there / 2 > heard;
    m->ops->close(m);
    sim_env_free(e);
    sim_meta_store_free(ms);
    sim_free(s);
}

Test(sim_meta, a_crash_keeps_a_prefix_of_whole_batches)
{
    int most = 0, unheard_kept = 0;

    for (uint64_t seed = 1; seed <= 100; seed++)
        crash_among_batches(seed, &most, &unheard_kept);
    cr_assert_gt(most, 3);
    cr_assert_gt(unheard_kept, 10);
}

Test(sim_meta, a_rotten_record_is_corrupt_until_put_again)
{
    struct sim *s = sim_new(2);
    struct sim_meta_store *ms = sim_meta_store_new(s);
    struct meta_op op = {key_of(1), "value", 5};
    uint8_t v[META_VALUE_MAX];
    uint32_t len;
    struct meta *m;

    cr_assert_eq(sim_meta_open(ms, &m), 0);
    cr_assert_eq(m->ops->get_sync(m, &op.key, v, &len), -FIRN_E_NOT_FOUND);
    cr_assert_eq(m->ops->commit_sync(m, &op, 1), 0);
    cr_assert(sim_meta_rot(ms, 'E'));
    cr_assert_eq(m->ops->get_sync(m, &op.key, v, &len), -FIRN_E_CORRUPT);
    cr_assert_eq(m->ops->commit_sync(m, &op, 1), 0);
    cr_assert_eq(m->ops->get_sync(m, &op.key, v, &len), 0);
    cr_assert(len == 5 && memcmp(v, "value", 5) == 0);
    m->ops->close(m);
    sim_meta_store_free(ms);
    sim_free(s);
}
