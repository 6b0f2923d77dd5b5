/* SPDX-License-Identifier: Apache-2.0 */
/* A sequential stream from or to an HDD runs at 90 % or more of what the modelled disk gives. */
#include "yard.h"

#define DISK_RATE 200e6 /* bytes a second: dev_model.c */

static struct yard y;

TestSuite(stream, .timeout = 60);

static void open_yard(uint32_t nr_shards, uint64_t log_bytes)
{
    yard_open(&y, &(struct yard_opts){.nr_shards = nr_shards, .nr_hdd = 1, .nr_vols = nr_shards,
                                      .hdd_bytes = 4032 * MIB, .log_bytes = log_bytes,
                                      .vol_bytes = 800 * MIB, .tune = {.segment_bytes = 1 << 20}});
}

/* Longer than the log is large: what the disk takes is what the host can write. */
static void stream_to(uint32_t nr_shards, uint32_t len_bytes, double part)
{
    struct yard_host h[4];
    uint64_t from;
    double rate;

    open_yard(nr_shards, nr_shards * 192 * MIB);
    for (uint32_t i = 0; i < nr_shards; i++) {
        h[i] = (struct yard_host){.yard = &y, .vol = i, .write = true, .ordered = true, .len_bytes = len_bytes,
                                  .within_bytes = y.o.vol_bytes};
        yard_host_start(&h[i]);
    }
    sim_run_for(y.sim, 3 * NS_PER_S / 2);
    from = y.dev[1].written_bytes;
    sim_run_for(y.sim, 2 * NS_PER_S);
    rate = (double)(y.dev[1].written_bytes - from) / 2;
    cr_expect_geq(rate, part * DISK_RATE, "%u streams, %u KiB each: %.1f MB/s", nr_shards, len_bytes / 1024, rate / 1e6);
    for (uint32_t i = 0; i < nr_shards; i++)
        yard_host_stop(&h[i]);
    yard_close(&y);
}

Test(stream, one_to_the_disk) { stream_to(1, 512 * KIB, 0.9); }
Test(stream, one_to_the_disk_by_the_mebibyte) { stream_to(1, MIB, 0.9); }
/* The head goes from one to the other, after 32 MiB at most, for hosts wait on all of them. */
Test(stream, four_to_the_disk_from_as_many_shards) { stream_to(4, 512 * KIB, 0.85); }

static void stream_from(uint32_t len_bytes)
{
    struct yard_host h;
    double rate;

    open_yard(1, 64 * MIB);
    for (uint64_t off = 0; off < y.o.vol_bytes; off += 512 * KIB)
        yard_io(&y, 0, BLK_WRITE, off, 512 * KIB);
    yard_drain(&y, true);
    h = (struct yard_host){.yard = &y, .ordered = true, .len_bytes = len_bytes, .within_bytes = 700 * MIB};
    yard_host_start(&h);
    sim_run_for(y.sim, NS_PER_S / 10);
    h.nr = 0;
    sim_run_for(y.sim, 2 * NS_PER_S);
    rate = (double)h.nr * len_bytes / 2;
    cr_expect_geq(rate, 0.9 * DISK_RATE, "%u KiB each: %.1f MB/s", len_bytes / 1024, rate / 1e6);
    yard_host_stop(&h);
    yard_close(&y);
}

Test(stream, from_the_disk_by_the_mebibyte) { stream_from(MIB); }
Test(stream, from_the_disk_in_large_reads) { stream_from(512 * KIB); }
Test(stream, from_the_disk_in_small_reads) { stream_from(64 * KIB); }
