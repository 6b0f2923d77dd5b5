/* SPDX-License-Identifier: Apache-2.0 */
/* Caps: a blk_limit over a RAM blk lets through what the caps allow, in order, and passes resizes on. */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "daemon/blk_limit.h"
#include "rt/reactor.h"

#define IOS 64

static struct reactor *r;
static struct env *env;
static struct blk *ram;
static struct blk_limit *l;
static struct blk_io ios[IOS];
static struct iovec iov;
static unsigned done, order[IOS];

static void on_done(struct blk_io *io)
{
    cr_assert_eq(io->err, 0);
    order[done++] = (unsigned)(io - ios);
}

static void setup(uint64_t iops, uint64_t bandwidth)
{
    struct reactor_opts o = {.cpu = -1};
    char why[256];

    cr_assert_eq(reactor_new(&o, &r, why), 0, "%s", why);
    env = reactor_env(r);
    cr_assert_eq(blk_ram_new(env, 4096, MIB, &ram), 0);
    cr_assert_eq(blk_limit_new(ram, iops, bandwidth, &l), 0);
    blk_limit_start(l);
    iov = (struct iovec){aligned_alloc(4096, 4096), 4096};
    memset(iov.iov_base, 1, 4096);
    done = 0;
}

static void teardown_all(void)
{
    blk_limit_stop(l);
    blk_limit_free(l);
    blk_ram_free(ram);
    reactor_free(r);
    free(iov.iov_base);
}

static void submit(unsigned i, enum blk_op op)
{
    ios[i] = (struct blk_io){.op = op, .lba = 0, .nlb = op == BLK_FLUSH ? 0 : 1, .iov = op == BLK_FLUSH ? NULL : &iov,
                             .iovcnt = op == BLK_FLUSH ? 0 : 1, .cb = on_done};
    blk_submit(blk_limit_blk(l), &ios[i]);
}

/* Runs until nr are done; the time it took in ms. */
static uint64_t run_until(unsigned nr)
{
    uint64_t begin = env_now_ns(env);

    while (done < nr)
        env_run_once(env);
    return (env_now_ns(env) - begin) / NS_PER_MS;
}

Test(limit, no_caps_hold_nothing_back)
{
    setup(0, 0);
    for (unsigned i = 0; i < IOS; i++)
        submit(i, BLK_WRITE);
    cr_assert_lt(run_until(IOS), 100);
    cr_assert_eq(blk_limit_blk(l)->in_flight, 0);
    teardown_all();
}

Test(limit, iops_are_kept_and_order_too)
{
    uint64_t ms;

    setup(100, 0); /* a burst of 10, then one each 10 ms */
    for (unsigned i = 0; i < 40; i++)
        submit(i, BLK_WRITE);
    ms = run_until(40);
    cr_assert(ms >= 250 && ms < 1500, "%llu ms", (unsigned long long)ms);
    for (unsigned i = 0; i < 40; i++)
        cr_assert_eq(order[i], i);
    cr_assert_eq(ram->in_flight, 0);
    teardown_all();
}

Test(limit, bandwidth_is_kept)
{
    uint64_t ms;

    setup(0, 40 * 4096); /* 4 blocks at once, then one each 25 ms */
    for (unsigned i = 0; i < 16; i++)
        submit(i, BLK_READ);
    ms = run_until(16);
    cr_assert(ms >= 230 && ms < 1500, "%llu ms", (unsigned long long)ms);
    teardown_all();
}

Test(limit, lifted_caps_let_all_go)
{
    setup(1, 0);
    for (unsigned i = 0; i < 20; i++)
        submit(i, BLK_WRITE);
    run_until(1);
    blk_limit_set(l, 0, 0);
    cr_assert_lt(run_until(20), 100);
    teardown_all();
}

static unsigned cancels;
static void on_end(struct blk_io *io)
{
    cancels += io->err == -FIRN_E_CANCELED;
    cr_assert(io->err == 0 || io->err == -FIRN_E_CANCELED);
    done++;
}

Test(limit, what_waits_can_be_called_back_and_what_was_passed_on_cannot)
{
    setup(1, 0);
    for (unsigned i = 0; i < 20; i++) {
        submit(i, BLK_WRITE);
        ios[i].cb = on_end;
    }
    cr_assert_eq(ram->in_flight, 1);
    for (unsigned i = 0; i < 20; i++)
        blk_cancel(blk_limit_blk(l), &ios[i]);
    blk_cancel(blk_limit_blk(l), &ios[7]); /* again: it is on its way */
    cr_assert_eq(done, 0, "never from inside the call");
    cr_assert_lt(run_until(20), 100);
    cr_assert_eq(cancels, 19);
    cr_assert_eq(blk_limit_blk(l)->in_flight, 0);
    teardown_all();
}

/* A blk below that begins nothing. */
static struct blk_io *asked[IOS];
static unsigned nr_asked;
static void keep(struct blk *b, struct blk_io *io) { (void)b; (void)io; }
static void note_cancel(struct blk *b, struct blk_io *io)
{
    cr_assert_eq(io->priv.blk, b);
    asked[nr_asked++] = io;
}

Test(limit, the_blk_below_is_asked_for_what_was_passed_on)
{
    static const struct blk_ops keeps = {.name = "keeps", .submit = keep, .cancel = note_cancel};
    const struct blk_ops *were;

    setup(20, 0); /* a burst of 2 */
    were = ram->ops;
    ram->ops = &keeps;
    nr_asked = cancels = 0;
    for (unsigned i = 0; i < 6; i++) {
        submit(i, BLK_WRITE);
        ios[i].cb = on_end;
    }
    cr_assert_eq(ram->in_flight, 2);
    for (unsigned i = 0; i < 6; i++)
        blk_cancel(blk_limit_blk(l), &ios[i]);
    cr_assert_eq(nr_asked, 2);
    cr_assert(asked[0] == &ios[0] && asked[1] == &ios[1]);
    run_until(4);
    cr_assert_eq(cancels, 4);
    blk_io_done(ram, &ios[0], -FIRN_E_CANCELED);
    blk_io_done(ram, &ios[1], 0);
    cr_assert_eq(cancels, 5);
    cr_assert_eq(done, 6);
    ram->ops = were;
    teardown_all();
}

static unsigned told;
static void on_event(struct blk_watch *w, enum blk_event ev)
{
    (void)w;
    told += ev == BLK_EVENT_RESIZED;
}

Test(limit, resizes_reach_the_watchers_above)
{
    struct blk_watch w = {.cb = on_event};

    setup(0, 0);
    blk_watch_add(blk_limit_blk(l), &w);
    ram->size_lba += 10;
    blk_notify(ram, BLK_EVENT_RESIZED);
    cr_assert_eq(told, 1);
    cr_assert_eq(blk_limit_blk(l)->size_lba, ram->size_lba);
    ram->size_lba -= 10;
    blk_watch_remove(&w);
    teardown_all();
}

Test(limit, flushes_pay_nothing)
{
    setup(1, 0);
    for (unsigned i = 0; i < 20; i++)
        submit(i, BLK_FLUSH);
    cr_assert_lt(run_until(20), 100);
    teardown_all();
}

/* ---- who asks before it takes buffers ------------------------------------------------------------------------------------ */

static unsigned worth_asking;
static void on_begin(struct blk_watch *w, enum blk_event ev)
{
    (void)w;
    worth_asking += ev == BLK_EVENT_MAY_BEGIN;
}
static struct blk_watch begin_watch = {.cb = on_begin};

static void setup_asking(uint64_t iops, uint64_t bandwidth)
{
    setup(iops, bandwidth);
    worth_asking = 0;
    blk_watch_add(blk_limit_blk(l), &begin_watch);
}

static bool ask(uint64_t request_bytes) { return blk_may_begin(blk_limit_blk(l), 1, request_bytes); }

static void teardown_asking(void)
{
    blk_watch_remove(&begin_watch);
    teardown_all();
}

Test(limit, without_a_cap_everything_may_begin)
{
    setup_asking(0, 0);
    for (unsigned i = 0; i < 1000; i++)
        cr_assert(ask(MIB));
    teardown_asking();
}

Test(limit, who_asks_is_held_to_the_cap_and_told_when_to_ask_again)
{
    uint64_t begin;
    unsigned begun = 0;

    setup_asking(100, 0);
    begin = env_now_ns(env);
    while (begun < 40) { /* 10 at once, then one each 10 ms */
        unsigned told_before = worth_asking;

        if (ask(4096)) {
            begun++;
            continue;
        }
        cr_assert_eq(worth_asking, told_before, "never from inside the question");
        while (worth_asking == told_before)
            env_run_once(env);
    }
    cr_assert(env_now_ns(env) - begin >= 250 * NS_PER_MS && env_now_ns(env) - begin < 1500 * NS_PER_MS);
    teardown_asking();
}

Test(limit, what_was_paid_for_does_not_wait_and_does_not_pay_again)
{
    setup_asking(0, 40 * 4096);
    for (unsigned i = 0; i < 4; i++)
        cr_assert(ask(4096));
    cr_assert_not(ask(4096));
    for (unsigned i = 0; i < 4; i++) {
        ios[i] = (struct blk_io){.op = BLK_WRITE, .nlb = 1, .iov = &iov, .iovcnt = 1, .paid = true, .cb = on_done};
        blk_submit(blk_limit_blk(l), &ios[i]);
    }
    submit(4, BLK_FLUSH);
    cr_assert_eq(ram->in_flight, 5);
    cr_assert_lt(run_until(5), 20);
    while (worth_asking == 0)
        env_run_once(env);
    cr_assert(ask(4096));
    teardown_asking();
}

/* Who waits in the line of the blk goes first: it holds buffers. */
Test(limit, who_did_not_ask_is_passed_on_before_others_may_begin)
{
    setup_asking(20, 0);
    for (unsigned i = 0; i < 4; i++) /* 2 go */
        submit(i, BLK_WRITE);
    cr_assert_not(ask(4096));
    while (worth_asking == 0)
        env_run_once(env);
    cr_assert_eq(done, 4);
    cr_assert(ask(4096));
    teardown_asking();
}

Test(limit, a_lifted_cap_is_told_of)
{
    setup_asking(1, 0);
    cr_assert(ask(4096));
    cr_assert_not(ask(4096));
    blk_limit_set(l, 0, 0);
    cr_assert_eq(worth_asking, 1);
    cr_assert(ask(4096));
    blk_limit_set(l, 1, 0); /* no asker waits: no event is owed */
    cr_assert_eq(worth_asking, 1);
    teardown_asking();
}
