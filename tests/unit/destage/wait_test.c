/* SPDX-License-Identifier: Apache-2.0 */
/* A foreground read waits for one train of runs at most, whichever shards destage to its device (turn.h). */
#include "yard.h"

#define SHARDS 4u
#define TRAIN_MS 20.0
/* A read's own time on the model at its worst: command, the longest way, half a turn, what is fetched with it. */
#define READ_MS (0.1 + 0.23 + 13.44 + 4.16 + 128.0 * 1024 / 200e3)

static struct yard y;

TestSuite(wait, .timeout = 120);

static void hosts_init(struct yard_host *w, uint32_t nr, uint32_t len_bytes, uint64_t within_bytes, bool ordered)
{
    for (uint32_t i = 0; i < nr; i++) {
        w[i] = (struct yard_host){.yard = &y, .vol = i % y.o.nr_vols, .write = true, .len_bytes = len_bytes, .ordered = ordered,
                                  .within_bytes = within_bytes, .seed = i + 1};
        yard_host_start(&w[i]);
    }
}

/* Four shards write all that the disk can take and more, while one host reads what only the disk has. */
static void read_beside(uint32_t write_bytes, bool ordered)
{
    struct yard_host w[2 * SHARDS], r;
    uint64_t destaged, events;

    yard_open(&y, &(struct yard_opts){.nr_shards = SHARDS, .nr_hdd = 1, .nr_vols = SHARDS, .hdd_bytes = 1008 * MIB, .log_bytes = 64 * MIB,
                                      .vol_bytes = 224 * MIB, .tune = {.segment_bytes = 1 << 20, .stage_bytes = MIB}});
    yard_fill(&y, 64 * KIB);
    hosts_init(w, 2 * SHARDS, write_bytes, 100 * MIB, ordered);
    sim_run_for(y.sim, NS_PER_S);
    destaged = y.dev[1].written_bytes;
    r = (struct yard_host){.yard = &y, .vol = 0, .len_bytes = BLOCK_BYTES, .from_bytes = 110 * MIB, .within_bytes = 100 * MIB,
                           .stride_bytes = EXTENT_BYTES, .seed = 9,
                           .pause_ns = 7 * NS_PER_MS};
    events = sim_events_run(y.sim);
    yard_host_start(&r);
    sim_run_for(y.sim, 10 * NS_PER_S);
    events = sim_events_run(y.sim) - events;
    yard_host_stop(&r);
    for (uint32_t i = 0; i < 2 * SHARDS; i++)
        yard_host_stop(&w[i]);
    cr_expect_gt(r.nr, 200, "%llu reads", (unsigned long long)r.nr);
    cr_expect_gt(y.dev[1].written_bytes - destaged, (ordered ? 300 : 16) * MIB, "destage at full load: %llu MiB",
                 (unsigned long long)((y.dev[1].written_bytes - destaged) / MIB));
    cr_expect_gt(y.dev[1].writes_at_once, 1, "runs go out together");
    cr_expect_leq((double)y.dev[1].longest_write_ns / 1e6, TRAIN_MS + 0.1, "a train of %.1f ms",
                  (double)y.dev[1].longest_write_ns / 1e6);
    cr_expect_leq((double)r.longest_ns / 1e6, TRAIN_MS + READ_MS + 1, "%.1f ms", (double)r.longest_ns / 1e6);
    events /= MAX(r.nr, UINT64_C(1));
    cr_expect_lt(events, ordered ? 620 : 70, "%llu events a read: shards look again and again at what has not changed",
                 (unsigned long long)events);
    yard_close(&y);
}

Test(wait, a_read_waits_for_one_train_of_all_shards_that_destage_streams) { read_beside(256 * KIB, true); }
Test(wait, a_read_waits_for_one_train_of_all_shards_that_destage_here_and_there) { read_beside(16 * KIB, false); }
