/* SPDX-License-Identifier: Apache-2.0 */
/* Sparse media keep every byte, and take RAM only for those that are not zero. */
#include "tools/sim/media.h"

#include "tools/sim/sim.h"

#include <criterion/criterion.h>
#include <stdlib.h>

#define SIZE (4 * TIB)

static _Alignas(4096) uint8_t out[64 * 1024], in[64 * 1024];
static struct sim *s;
static struct env *e;
static struct media *m;
static struct dev *d;

static void begin(void)
{
    s = sim_new(1);
    e = sim_env_new(s);
    m = media_new(SIZE);
    cr_assert_eq(media_open(m, e, "m", &d), 0);
}

static void end(void)
{
    dev_close(d);
    media_free(m);
    sim_env_free(e);
    sim_free(s);
}

static void fill(uint8_t seed)
{
    for (size_t i = 0; i < sizeof(out); i++)
        out[i] = (uint8_t)(seed + i * 31 + i / 4096);
}

Test(media, never_written_bytes_are_zeros, .init = begin, .fini = end)
{
    static const uint8_t zeros[8192];

    memset(in, 1, sizeof(in));
    cr_assert_eq(dev_read_sync(d, SIZE - 8192, in, 8192), 0);
    cr_assert_eq(memcmp(in, zeros, 8192), 0);
    cr_assert_eq(media_kept_bytes(m), 0u);
}

Test(media, parts_of_pages_are_merged, .init = begin, .fini = end)
{
    static uint8_t want[64 * 1024];

    for (unsigned round = 0; round < 200; round++) {
        uint64_t off = sim_below(s, 100) * 512, len = (1 + sim_below(s, 27)) * 512;

        fill((uint8_t)round);
        if (round % 5 == 4)
            memset(out, 0, sizeof(out));
        cr_assert_eq(dev_write_sync(d, TIB - 8192 + off, out, len, 0), 0);
        memcpy(want + off, out, len);
        cr_assert_eq(dev_read_sync(d, TIB - 8192, in, sizeof(in)), 0);
        cr_assert_eq(memcmp(in, want, sizeof(in)), 0, "round %u", round);
    }
}

struct waited { struct dev_io io; bool done; };
static void done(struct dev_io *io) { container_of(io, struct waited, io)->done = true; }
static bool is_done(void *ctx) { return ((struct waited *)ctx)->done; }

Test(media, many_buffers_make_one_request, .init = begin, .fini = end)
{
    struct iovec iov[3] = {{out, 512}, {out + 4096, 8192}, {out + 20480, 3584}};
    struct waited w = {.io = {.off_bytes = 512, .len_bytes = 12288, .iov = iov, .iovcnt = 3, .cb = done}};

    fill(9);
    dev_write(d, &w.io);
    cr_assert_not(w.done, "not from inside the call");
    cr_assert_eq(sim_run_until(s, is_done, &w, NS_PER_S), 0);
    cr_assert_eq(dev_read_sync(d, 512, in, 12288), 0);
    cr_assert_eq(memcmp(in, out, 512), 0);
    cr_assert_eq(memcmp(in + 512, out + 4096, 8192), 0);
    cr_assert_eq(memcmp(in + 512 + 8192, out + 20480, 3584), 0);
}

Test(media, stamped_blocks_take_little, .init = begin, .fini = end)
{
    memset(out, 0, sizeof(out));
    for (unsigned b = 0; b < 16; b++)
        memset(out + b * 4096, 7, 24);
    for (unsigned i = 0; i < 100; i++)
        cr_assert_eq(dev_write_sync(d, i * sizeof(out), out, sizeof(out), 0), 0);
    cr_assert_eq(media_kept_bytes(m), 1600u * 24u);
    memset(out, 0, sizeof(out));
    cr_assert_eq(dev_write_sync(d, 0, out, sizeof(out), 0), 0);
    cr_assert_eq(media_kept_bytes(m), 1584u * 24u, "zeros give it back");
}

static enum dev_op seen_op[8];
static uint64_t seen_off[8];
static unsigned nr_seen;

static void see(void *ctx, enum dev_op op, uint64_t off, uint64_t len)
{
    (void)ctx;
    (void)len;
    seen_op[nr_seen] = op;
    seen_off[nr_seen++] = off;
}

Test(media, reads_and_writes_are_seen_in_order, .init = begin, .fini = end)
{
    media_watch_set(m, see, NULL);
    cr_assert_eq(dev_write_sync(d, 4096, out, 4096, DEV_DSYNC), 0);
    cr_assert_eq(dev_flush_sync(d), 0);
    cr_assert_eq(dev_read_sync(d, 0, in, 4096), 0);
    media_watch_set(m, NULL, NULL);
    cr_assert_eq(dev_read_sync(d, 0, in, 4096), 0);
    cr_assert_eq(nr_seen, 2u);
    cr_assert(seen_op[0] == DEV_WRITE && seen_off[0] == 4096 && seen_op[1] == DEV_READ && seen_off[1] == 0);
}
