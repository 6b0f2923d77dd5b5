/* SPDX-License-Identifier: Apache-2.0 */
#include "fake_dev.h"
#include "rt/blk.h"

#include <criterion/criterion.h>
#include <stdlib.h>

static char a[4 * BLOCK_BYTES] __attribute__((aligned(4096))), b[4 * BLOCK_BYTES] __attribute__((aligned(4096)));
static struct fake_env env;
static struct blk *ram;
static int done;

static void cb(struct blk_io *io) { (void)io, done++; }

/* Submits and runs the loop; the error. */
static int run(enum blk_op op, uint64_t lba, uint32_t nlb, struct iovec *iov, int iovcnt)
{
    struct blk_io io = {.op = op, .lba = lba, .nlb = nlb, .iov = iov, .iovcnt = iovcnt, .cb = cb};

    done = 0;
    blk_submit(ram, &io);
    cr_assert_eq(done, 0, "no callback from inside the call");
    cr_assert_eq(ram->in_flight, 1u);
    fake_env_run(&env);
    cr_assert_eq(done, 1);
    cr_assert_eq(ram->in_flight, 0u);
    return io.err;
}

static void ram_open(uint32_t lba_bytes)
{
    fake_env_init(&env);
    cr_assert_eq(blk_ram_new(&env.env, lba_bytes, MIB, &ram), 0);
}

Test(blk, ram_keeps_what_is_written)
{
    struct iovec out[2] = {{a, BLOCK_BYTES}, {a + 2 * BLOCK_BYTES, BLOCK_BYTES}}, in = {b, 3 * BLOCK_BYTES};

    ram_open(4096);
    memset(a, 'x', BLOCK_BYTES);
    memset(a + 2 * BLOCK_BYTES, 'y', BLOCK_BYTES);
    cr_assert_eq(run(BLK_WRITE, 254, 2, out, 2), 0);
    cr_assert_eq(run(BLK_READ, 253, 3, &in, 1), 0);
    cr_assert(b[0] == 0 && b[BLOCK_BYTES] == 'x' && b[2 * BLOCK_BYTES - 1] == 'x' && b[3 * BLOCK_BYTES - 1] == 'y');
    cr_assert_eq(run(BLK_FLUSH, 0, 0, NULL, 0), 0);
    blk_ram_free(ram);
}

Test(blk, ram_zeroes_ranges_that_are_no_whole_pages)
{
    struct iovec out = {a, 4 * BLOCK_BYTES}, in = {b, 4 * BLOCK_BYTES};

    for (int i = 0; i < 40; i += 3) { /* 512-byte units: ragged ends, and ranges inside one page */
        uint32_t first = (uint32_t)i % 32, nlb = MIN(32 - first, (uint32_t)i / 2 + 1);

        ram_open(512);
        memset(a, 'z', sizeof(a));
        cr_assert_eq(run(BLK_WRITE, 0, 32, &out, 1), 0);
        cr_assert_eq(run(i % 2 ? BLK_DISCARD : BLK_WRITE_ZEROES, first, nlb, NULL, 0), 0);
        cr_assert_eq(run(BLK_READ, 0, 32, &in, 1), 0);
        for (uint32_t k = 0; k < 32 * 512; k++)
            cr_assert_eq(b[k], k / 512 >= first && k / 512 < first + nlb ? 0 : 'z');
        blk_ram_free(ram);
    }
}

Test(blk, bad_requests_are_answered_not_asserted_on)
{
    struct iovec one = {a, BLOCK_BYTES}, odd = {a + 8, BLOCK_BYTES}, ragged[2] = {{a, 512}, {b, BLOCK_BYTES - 512}}, many[9];
    uint32_t crc = 0;
    struct blk_io with_crc = {.op = BLK_WRITE, .nlb = 8, .iov = &one, .iovcnt = 1, .crc = &crc, .cb = cb};

    ram_open(4096);
    for (int i = 0; i < 9; i++)
        many[i] = one;
    cr_assert_eq(run(BLK_READ, 256, 1, &one, 1), -FIRN_E_RANGE);
    cr_assert_eq(run(BLK_READ, UINT64_MAX, 1, &one, 1), -FIRN_E_RANGE);
    cr_assert_eq(run(BLK_WRITE_ZEROES, 1, UINT32_MAX, NULL, 0), -FIRN_E_RANGE);
    cr_assert_eq(run(BLK_DISCARD, 255, 2, NULL, 0), -FIRN_E_RANGE);
    cr_assert_eq(run(BLK_READ, 0, 0, &one, 1), -FIRN_E_INVALID);
    cr_assert_eq(run(BLK_READ, 0, 2, &one, 1), -FIRN_E_INVALID);
    cr_assert_eq(run(BLK_READ, 0, 1, &one, 0), -FIRN_E_INVALID);
    cr_assert_eq(run(BLK_READ, 0, 9, many, 9), -FIRN_E_INVALID);
    cr_assert_eq(run(BLK_WRITE, 0, 1, &odd, 1), -FIRN_E_INVALID);
    cr_assert_eq(run(BLK_WRITE, 0, 1, ragged, 2), -FIRN_E_INVALID);
    cr_assert_eq(run(BLK_WRITE, 0, 200, &one, 1), -FIRN_E_INVALID, "more than one request may move");
    cr_assert_eq(run((enum blk_op)77, 0, 1, &one, 1), -FIRN_E_INVALID);
    blk_ram_free(ram);
    ram_open(512);
    blk_submit(ram, &with_crc);
    fake_env_run(&env);
    cr_assert_eq(with_crc.err, -FIRN_E_INVALID, "checksums are of 4 KiB blocks");
    blk_ram_free(ram);
    cr_assert_eq(blk_ram_new(&env.env, 4096, 4095, &ram), -FIRN_E_INVALID);
}

struct watcher { struct blk_watch w; struct blk_watch *also_removes; int told; };

static void told(struct blk_watch *w, enum blk_event ev)
{
    struct watcher *me = container_of(w, struct watcher, w);

    cr_assert_eq(ev, BLK_EVENT_RESIZED);
    me->told++;
    if (me->also_removes != NULL) {
        blk_watch_remove(w);
        blk_watch_remove(me->also_removes);
    }
}

Test(blk, watchers_may_leave_while_they_are_told)
{
    struct watcher w[4];

    ram_open(4096);
    for (int i = 0; i < 4; i++) {
        w[i] = (struct watcher){.w = {.cb = told}};
        blk_watch_add(ram, &w[i].w);
    }
    w[1].also_removes = &w[2].w;
    blk_notify(ram, BLK_EVENT_RESIZED);
    cr_assert(w[0].told == 1 && w[1].told == 1 && w[2].told == 0 && w[3].told == 1);
    blk_notify(ram, BLK_EVENT_RESIZED);
    cr_assert(w[0].told == 2 && w[1].told == 1 && w[2].told == 0 && w[3].told == 2);
    blk_ram_free(ram);
}
