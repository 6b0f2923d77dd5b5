/* SPDX-License-Identifier: Apache-2.0 */
/* The peers' models on traces small enough to reckon by hand. Costs in ms: a seek over part x of the disk is 0.23 + 13.44 sqrt(x) + 4.16
 * for reads, 0.32 + 14.78 sqrt(x) + 4.16 for writes; each request 0.1; 4 KiB of transfer 0.02048. */
#include "tools/sim/peer.h"

#include "base/limits.h"
#include "tools/sim/gen.h"

#include <criterion/criterion.h>
#include <math.h>

#define ROOM  (64 * BLOCK_BYTES) /* the least that a model takes */
#define NEXT  0.12048            /* ms: a block that follows the one before it */

static struct trace t;
static struct peer_score s;

static void end(void) { trace_free(&t); }

static void add(int64_t t_us, bool write, uint64_t block, uint32_t blocks)
{
    trace_add(&t, t_us, write, block * BLOCK_BYTES, blocks * BLOCK_BYTES);
}

static void run(enum peer_kind k)
{
    if (t.run == NULL)
        trace_index(&t);
    peer_run(k, &t, ROOM, false, &s);
}

static double busy_ms(void) { return (double)s.hdd_busy_ns / 1e6; }

static double seek(bool write, double blocks)
{
    double part = blocks * BLOCK_BYTES / (double)GIB;

    return write ? 0.32 + 14.78 * sqrt(part) + 4.16 : 0.23 + 13.44 * sqrt(part) + 4.16;
}

Test(peer, a_disk_alone_pays_for_each_request, .fini = end)
{
    add(-1, false, 1000, 1);
    add(-1, true, 1001, 1);
    add(-1, true, 0, 1);
    run(PEER_HDD);
    cr_assert_float_eq(busy_ms(), 3 * NEXT + seek(false, 1000) + seek(true, 1002), 1e-5);
    cr_assert_float_eq(s.mean_ns * 3 / 1e6, busy_ms(), 1e-5);
    cr_assert(s.hdd_reads == 1 && s.hdd_writes == 2 && s.hdd_seeks == 2 && s.ssd_write_bytes == 0 && s.blocks_hit == 0);
}

Test(peer, the_least_recently_used_leaves, .fini = end)
{
    for (uint64_t i = 0; i < 64; i++)
        add(-1, false, 1000 * i, 1);
    add(-1, false, 0, 1);     /* a hit: 0 is the newest now */
    add(-1, false, 70000, 1); /* takes the room of 1000 */
    add(-1, false, 0, 1);
    add(-1, false, 1000, 1);
    run(PEER_WTLRU);
    cr_assert_eq(s.blocks_hit, 2u);
    cr_assert_eq(s.hdd_reads, 66u);
    cr_assert_eq(s.ssd_write_bytes, 66u * BLOCK_BYTES);
}

Test(peer, write_through_waits_for_the_disk_and_write_back_does_not, .fini = end)
{
    add(-1, true, 5000, 1);
    run(PEER_WTLRU);
    cr_assert_float_eq(s.mean_ns / 1e6, NEXT + seek(true, 5000), 1e-5);
    cr_assert_eq(s.ssd_write_bytes, (uint64_t)BLOCK_BYTES);
    run(PEER_OCF);
    cr_assert_float_eq(s.mean_ns / 1e6, 0.020 + 4096 / 1050e3, 1e-5);
    cr_assert_eq(s.ssd_write_bytes, 2u * BLOCK_BYTES); /* and its header */
    cr_assert_float_eq(busy_ms(), NEXT + seek(true, 5000), 1e-5); /* the final flush counts */
}

Test(peer, dirt_is_written_once_in_address_order, .fini = end)
{
    for (unsigned i = 0; i < 3; i++) {
        add(-1, true, 12, 1);
        add(-1, true, 10, 1);
        add(-1, true, 11, 1);
    }
    run(PEER_BCACHE);
    cr_assert_eq(s.hdd_writes, 1u);
    cr_assert_eq(s.hdd_write_bytes, 3u * BLOCK_BYTES);
    cr_assert_eq(s.ssd_write_bytes, 18u * BLOCK_BYTES);
}

Test(peer, a_rest_is_used_down_to_a_tenth, .fini = end)
{
    for (unsigned i = 0; i < 10; i++)
        add(0, true, 100 * i, 1);
    add(10000000, true, 0, 1);
    run(PEER_BCACHE);
    cr_assert_eq(s.hdd_writes, 11u); /* 4 of them while it rested; block 0 once more for it was written again */
    run(PEER_OCF);
    cr_assert_eq(s.hdd_writes, 10u); /* nothing was old enough */
}

Test(peer, ocf_takes_what_is_old_after_a_long_rest, .fini = end)
{
    for (unsigned i = 0; i < 10; i++)
        add(0, true, 100 * i, 1);
    add(200 * 1000000, true, 0, 1);
    run(PEER_OCF);
    cr_assert_eq(s.hdd_writes, 11u);
}

Test(peer, long_streams_pass, .fini = end)
{
    for (unsigned i = 0; i < 80; i++)
        add(-1, true, 16 * i, 16); /* 64 KiB each */
    run(PEER_BCACHE);
    cr_assert_eq(s.ssd_write_bytes, 63u * 17 * BLOCK_BYTES); /* the 64th completes 4 MiB */
    cr_assert_eq(s.hdd_write_bytes, 80u * 65536);
}

Test(peer, too_much_dirt_passes, .fini = end)
{
    for (unsigned i = 0; i < 50; i++)
        add(0, true, 100 * i, 1);
    run(PEER_BCACHE);
    cr_assert_eq(s.ssd_write_bytes, 45u * 2 * BLOCK_BYTES); /* 44 are 70 % */
    cr_assert_eq(s.hdd_writes, 50u);
}

Test(peer, large_lines_are_filled_whole, .fini = end)
{
    add(-1, false, 160, 1);
    add(-1, false, 175, 1); /* of the same 64 KiB */
    add(-1, false, 176, 1);
    run(PEER_BC64K);
    cr_assert_eq(s.blocks_hit, 1u);
    cr_assert_eq(s.hdd_read_bytes, 2u * 65536);
    cr_assert_eq(s.ssd_write_bytes, 2u * 65536);
}

Test(peer, times_that_no_disk_can_follow, .fini = end)
{
    for (unsigned i = 0; i < 100; i++)
        add(i, false, i * 2000 % 262144, 1);
    trace_index(&t);
    cr_assert(peer_too_dense(&t));
    trace_free(&t);
    t = (struct trace){0};
    for (unsigned i = 0; i < 100; i++)
        add(i * 20000, false, i * 2000 % 262144, 1);
    trace_index(&t);
    cr_assert_not(peer_too_dense(&t));
    trace_free(&t);
    t = (struct trace){0};
    add(-1, false, 5, 1);
    trace_index(&t);
    cr_assert_not(peer_too_dense(&t));
}

/* ---- made traces ---- */

Test(gen, the_same_words_give_the_same_trace)
{
    for (int k = 0; k < GEN_KIND_NR; k++) {
        struct trace a = {0}, b = {0}, c = {0};
        size_t same = 0;

        gen_trace((enum gen_kind)k, 7, 5000, &a);
        gen_trace((enum gen_kind)k, 7, 5000, &b);
        gen_trace((enum gen_kind)k, 8, 5000, &c);
        cr_assert_eq(a.nr, 5000u);
        cr_assert_eq(b.nr, 5000u);
        for (size_t i = 0; i < a.nr; i++) {
            cr_assert(a.req[i].t_us == b.req[i].t_us && a.req[i].off_bytes == b.req[i].off_bytes &&
                      a.req[i].len_bytes == b.req[i].len_bytes && a.req[i].write == b.req[i].write);
            cr_assert(a.req[i].len_bytes > 0 && (i == 0 || a.req[i].t_us >= a.req[i - 1].t_us));
            same += a.req[i].off_bytes == c.req[i].off_bytes;
        }
        cr_assert_lt(same, 4500u, "%s: the seed changes little", gen_kind_name((enum gen_kind)k));
        trace_free(&a);
        trace_free(&b);
        trace_free(&c);
    }
}

Test(gen, popular_places_come_up_often, .fini = end)
{
    uint64_t half;

    gen_trace(GEN_ZIPF, 1, 60000, &t);
    trace_index(&t);
    half = t.blocks / 2 * BLOCK_BYTES;
    peer_run(PEER_WTLRU, &t, half, false, &s);
    cr_assert_gt((double)s.blocks_hit / (double)s.blocks_read, 0.55);
    cr_assert(!peer_too_dense(&t));
}

Test(gen, traces_with_times_leave_a_disk_some_rest)
{
    for (int k = GEN_OLTP; k <= GEN_COMPACTION; k++) {
        struct trace a = {0};

        gen_trace((enum gen_kind)k, 1, 60000, &a);
        trace_index(&a);
        cr_assert(!peer_too_dense(&a) && a.req[a.nr - 1].t_us > 0, "%s", gen_kind_name((enum gen_kind)k));
        trace_free(&a);
    }
}
