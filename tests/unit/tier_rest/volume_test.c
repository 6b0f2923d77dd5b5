/* SPDX-License-Identifier: Apache-2.0 */
/* A pool from open to close on a simulated machine: its volumes, and a crash at every event of their control. */
#include "rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "journal/journal.h"
#include "rt/metrics.h"
#include "tier/volume.h"
#include "tools/sim/disk.h"

static void begin(void) { small_machine(5); }

TestSuite(volumes, .init = begin, .fini = off_machine, .timeout = 120);

static void boot(void)
{
    envs[0] = sim_env_new(sim);
    envs[1] = sim_env_new(sim);
}

static int wait_for(struct answer *a)
{
    cr_assert_not(a->done, "never from inside the call");
    return answer_of(a);
}

static struct volume_params params(const char *name, uint64_t size)
{
    struct volume_params p = {.size_bytes = size, .lba_bytes = 4096};

    snprintf(p.name, sizeof(p.name), "%s", name);
    return p;
}

static struct answer create(const char *name, uint64_t size)
{
    struct volume_params p = params(name, size);
    struct answer a = {0};

    tier_volume_create(tier, &p, answered, &a);
    wait_for(&a);
    return a;
}

static _Alignas(4096) uint8_t bytes[8][4096];

struct io { struct blk_io io; struct iovec iov; bool done; };
static void io_done(struct blk_io *io) { ((struct io *)io->ctx)->done = true; }

/* More than a shard takes at once (ios_per_shard): those that wait can be called back. */
Test(volumes, what_a_volume_has_not_begun_is_called_back)
{
    static struct io r[100];
    unsigned canceled = 0;
    struct answer a;

    open_pool();
    a = create("db", MIB);
    cr_assert_eq(a.err, 0);
    for (unsigned i = 0; i < ARRAY_LEN(r); i++) {
        r[i] = (struct io){.iov = {bytes[0], 4096}};
        r[i].io = (struct blk_io){.op = BLK_WRITE, .lba = i, .nlb = 1, .iov = &r[i].iov, .iovcnt = 1, .cb = io_done, .ctx = &r[i]};
        blk_submit(a.blk, &r[i].io);
    }
    for (unsigned i = 0; i < ARRAY_LEN(r); i++)
        blk_cancel(a.blk, &r[i].io);
    for (unsigned i = 0; i < ARRAY_LEN(r); i++) {
        run_until(&r[i].done);
        canceled += r[i].io.err == -FIRN_E_CANCELED;
    }
    cr_assert_eq(canceled, ARRAY_LEN(r), "no group of the log has been built yet");
    close_pool();
    check_is(0);
}

Test(volumes, a_volume_and_its_bytes_are_there_after_a_restart)
{
    struct answer a;

    open_pool();
    a = create("db", 5 * MIB + 1);
    cr_assert_eq(a.err, 0);
    cr_assert_eq(a.info.p.size_bytes, 6 * MIB, "rounded up to whole extents");
    memset(bytes[0], 0xab, 4096);
    cr_assert_eq(do_io(a.blk, BLK_WRITE, 7, 1, bytes[0]), 0);
    close_pool();
    check_is(0);
    open_pool();
    memset(bytes[1], 0, 4096);
    cr_assert_eq(do_io(volume("db"), BLK_READ, 7, 1, bytes[1]), 0);
    cr_assert_eq(memcmp(bytes[0], bytes[1], 4096), 0);
    close_pool();
}

Test(volumes, creating_again_gives_the_same_one_or_says_it_exists)
{
    struct answer first, again, other;

    open_pool();
    first = create("db", 4 * MIB);
    again = create("db", 4 * MIB);
    other = create("db", 8 * MIB);
    cr_assert_eq(again.err, 0);
    cr_assert_eq(again.info.id, first.info.id);
    cr_assert_eq(other.err, -FIRN_E_EXISTS);
    cr_assert_eq(create("Bad", MIB).err, -FIRN_E_INVALID);
    cr_assert_eq(create("zero", 0).err, -FIRN_E_INVALID);
    cr_assert_eq(create("huge", VOLUME_BYTES_MAX + 1).err, -FIRN_E_INVALID);
    close_pool();
}

Test(volumes, two_requests_for_one_volume_do_not_mix)
{
    struct volume_params p = params("db", 4 * MIB);
    struct answer a = {0}, b = {0};

    open_pool();
    tier_volume_create(tier, &p, answered, &a);
    tier_volume_create(tier, &p, answered, &b);
    cr_assert_eq(wait_for(&b), -FIRN_E_IN_USE);
    if (!a.done)
        wait_for(&a);
    cr_assert_eq(a.err, 0);
    close_pool();
}

Test(volumes, lists_are_sorted_and_paged_and_shards_evenly_used)
{
    struct volume_info *v = calloc(10, sizeof(*v));
    char name[16];

    open_pool();
    for (int i = 9; i >= 0; i--) {
        snprintf(name, sizeof(name), "v%d", i);
        cr_assert_eq(create(name, MIB).err, 0);
    }
    cr_assert_eq(tier_volume_list(tier, "", v, 4), 4);
    cr_assert_str_eq(v[3].p.name, "v3");
    cr_assert_eq(tier_volume_list(tier, "v3", v, 10), 6);
    cr_assert_str_eq(v[0].p.name, "v4");
    cr_assert_neq(v[0].shard, v[1].shard);
    free(v);
    close_pool();
}

struct watcher { struct blk_watch w; unsigned resized; };
static void watched(struct blk_watch *w, enum blk_event ev)
{
    container_of(w, struct watcher, w)->resized += ev == BLK_EVENT_RESIZED;
}

static uint64_t cpu_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

/* /metrics asks for them in pieces, on reactor 0: the last piece must not cost a walk over all. */
Test(volumes, a_page_costs_the_same_wherever_it_is)
{
    struct volume_info *v = calloc(4, sizeof(*v));
    uint64_t start, first, last;
    char name[32];

    open_pool();
    for (unsigned i = 0; i < 2000; i++) {
        snprintf(name, sizeof(name), "a-name-as-long-as-pvc-%04u", i);
        cr_assert_eq(create(name, MIB).err, 0);
    }
    cr_assert_eq(tier_volume_list(tier, "a-name-as-long-as-pvc-1997x", v, 4), 2, "after a name that is not there");
    cr_assert_str_eq(v[0].p.name, "a-name-as-long-as-pvc-1998");
    cr_assert_eq(tier_volume_list(tier, "b", v, 4), 0);
    start = cpu_ns();
    for (unsigned i = 0; i < 1000; i++)
        tier_volume_list(tier, "", v, 1);
    first = cpu_ns() - start;
    start = cpu_ns();
    for (unsigned i = 0; i < 1000; i++)
        tier_volume_list(tier, "a-name-as-long-as-pvc-1998", v, 1);
    last = cpu_ns() - start;
    cr_assert_lt(last, 10 * first, "%lu ns and %lu ns", (unsigned long)(last / 1000), (unsigned long)(first / 1000));
    free(v);
    close_pool();
}

Test(volumes, growing_is_seen_by_watchers_and_shrinking_refused)
{
    struct watcher w = {.w.cb = watched};
    struct answer a = {0}, b = {0}, c = {0};

    open_pool();
    blk_watch_add(create("db", 4 * MIB).blk, &w.w);
    tier_volume_resize(tier, "db", 9 * MIB, answered, &a);
    cr_assert_eq(wait_for(&a), 0);
    cr_assert_eq(w.resized, 1);
    cr_assert_eq(volume("db")->size_lba, 9 * MIB / 4096);
    cr_assert_eq(do_io(volume("db"), BLK_READ, 8 * MIB / 4096, 1, bytes[0]), 0);
    tier_volume_resize(tier, "db", 4 * MIB, answered, &b);
    cr_assert_eq(wait_for(&b), -FIRN_E_INVALID);
    tier_volume_resize(tier, "none", 4 * MIB, answered, &c);
    cr_assert_eq(wait_for(&c), -FIRN_E_NOT_FOUND);
    blk_watch_remove(&w.w);
    close_pool();
    open_pool();
    cr_assert_eq(volume("db")->size_lba, 9 * MIB / 4096);
    close_pool();
}

Test(volumes, hosts_and_caps_are_kept)
{
    const char *hosts[] = {"nqn.a", "nqn.b", "nqn.c"}, *bad[] = {"has blank"};
    struct volume_params p = {.iops = 500, .tier = VOLUME_HDD, .bandwidth = 9};
    struct volume_info *info = calloc(1, sizeof(*info));
    struct answer a = {0}, b = {0}, c = {0}, d = {0};

    open_pool();
    create("db", MIB);
    tier_volume_set_hosts(tier, "db", hosts, 3, answered, &a);
    cr_assert_eq(wait_for(&a), 0);
    tier_volume_set_hosts(tier, "db", hosts + 1, 1, answered, &b);
    cr_assert_eq(wait_for(&b), 0);
    tier_volume_set_hosts(tier, "db", bad, 1, answered, &c);
    cr_assert_eq(wait_for(&c), -FIRN_E_INVALID);
    tier_volume_set(tier, "db", VOLUME_F_IOPS | VOLUME_F_TIER, &p, answered, &d);
    cr_assert_eq(wait_for(&d), 0);
    close_pool();
    check_is(0);
    open_pool();
    cr_assert_eq(tier_volume_get(tier, "db", info, NULL), 0);
    cr_assert_eq(info->nr_hosts, 1);
    cr_assert_str_eq(info->hosts[0], "nqn.b");
    cr_assert(info->p.iops == 500 && info->p.tier == VOLUME_HDD && info->p.bandwidth == 0);
    free(info);
    close_pool();
}

Test(volumes, a_deleted_volume_gives_its_space_back_and_its_id_is_not_used_again)
{
    struct tier_info before, after;
    struct answer a, gone = {0}, again;

    open_pool();
    tier_info_get(tier, &before);
    a = create("db", 16 * MIB);
    write_some(a.blk, 50);
    drain_pool();
    tier_info_get(tier, &after);
    cr_assert_gt(after.capacity_used_bytes, before.capacity_used_bytes);
    tier_volume_delete(tier, "db", answered, &gone);
    cr_assert_eq(wait_for(&gone), 0);
    tier_info_get(tier, &after);
    cr_assert_eq(after.capacity_used_bytes, before.capacity_used_bytes);
    cr_assert_eq(after.capacity_reserved_bytes, before.capacity_reserved_bytes);
    again = create("db", 16 * MIB);
    cr_assert_neq(again.info.id, a.info.id);
    memset(bytes[0], 1, 4096);
    cr_assert_eq(do_io(again.blk, BLK_READ, 0, 1, bytes[0]), 0);
    cr_assert(bytes[0][0] == 0 && bytes[0][4095] == 0, "a new volume reads as zeros");
    close_pool();
    check_is(0);
}

static void crash_and_reboot(void)
{
    tier_close(tier);
    tier = NULL;
    sim_env_free(envs[0]);
    sim_env_free(envs[1]);
    sim_reboot(sim);
    boot();
}

/* Creates and deletes while the machine may stop between any two events: whole or absent, and nothing leaks. */
Test(volumes, a_crash_leaves_a_volume_whole_or_absent)
{
    unsigned cut = 0, finished = 0;

    for (unsigned step = 1; step < 60; step++) {
        struct volume_params p = params("b", 4 * MIB);
        struct answer made = {0}, gone = {0};
        struct volume_info *v = calloc(4, sizeof(*v));
        uint32_t nr;
        struct blk *b;

        off_machine();
        small_machine(100 + step);
        open_pool();
        create("a", 4 * MIB);
        write_some(volume("a"), 10);
        drain_pool();
        sim_crash_in_events(sim, step * 2);
        tier_volume_create(tier, &p, answered, &made);
        tier_volume_delete(tier, "a", answered, &gone);
        if (sim_run_until(sim, flag_up, &gone.done, 100 * NS_PER_S) == 0 && !sim_crashed(sim))
            sim_crash(sim);
        cut += !made.done || !gone.done;
        finished += made.done && gone.done;
        crash_and_reboot();
        open_pool();
        nr = tier_volume_list(tier, "", v, 4);
        for (uint32_t i = 0; i < nr; i++)
            cr_assert(strcmp(v[i].p.name, "a") == 0 || strcmp(v[i].p.name, "b") == 0);
        cr_assert(!gone.done || gone.err || tier_volume_get(tier, "a", NULL, NULL) == -FIRN_E_NOT_FOUND);
        cr_assert(!made.done || made.err || tier_volume_get(tier, "b", NULL, &b) == 0);
        free(v);
        close_pool();
        check_is(0);
    }
    cr_assert_gt(cut, 5);
    cr_assert_gt(finished, 5);
}

/* Of what it left in flight nobody would hear the end: the reactors that have driven the start get new rings for their threads. What is
 * dirty beside the volume would be destaged at once. */
Test(volumes, a_start_that_finishes_a_deletion_asks_nothing_else_of_devices)
{
    const char *names[] = {"a", "b", "c"};
    unsigned resumed = 0;

    for (unsigned step = 1; step < 40; step++) {
        struct volume_info info;
        struct answer gone = {0};
        struct tier_stats st;

        off_machine();
        small_machine(300 + step);
        opts.dirty_start_pct = 1;
        open_pool();
        for (unsigned i = 0; i < ARRAY_LEN(names); i++) {
            create(names[i], 8 * MIB);
            write_some(volume(names[i]), 100);
        }
        sim_crash_in_events(sim, step * 2);
        tier_volume_delete(tier, "a", answered, &gone);
        if (sim_run_until(sim, flag_up, &gone.done, 100 * NS_PER_S) == 0 && !sim_crashed(sim))
            sim_crash(sim);
        crash_and_reboot();
        open_pool();
        resumed += !gone.done && tier_volume_get(tier, "a", &info, NULL) == -FIRN_E_NOT_FOUND;
        tier_stats_get(tier, &st);
        cr_assert_eq(st.destage_blocks, 0);
        for (uint32_t i = 0; i < opts.nr_devs; i++)
            cr_assert(list_empty(&sim_machine_disk(&machine, opts.devs[i].path)->inflight), "step %u: %s", step, opts.devs[i].path);
        close_pool();
    }
    cr_assert_gt(resumed, 5);
}

Test(volumes, a_stopping_pool_takes_no_more_requests)
{
    struct volume_params p = params("late", MIB);
    struct answer a = {0};
    bool stopped = false;

    open_pool();
    tier_stop(tier, raise_flag, &stopped);
    tier_volume_create(tier, &p, answered, &a);
    cr_assert_eq(wait_for(&a), -FIRN_E_STOPPED);
    run_until(&stopped);
    tier_close(tier);
}

Test(volumes, a_failed_metadata_commit_is_answered_and_leaves_no_volume)
{
    struct volume_params set = {.iops = 5};
    struct answer a = {0};
    struct volume_info *v = calloc(4, sizeof(*v));

    open_pool();
    cr_assert_eq(create("kept", MIB).err, 0);
    sim_meta_faults(machine.store)->fail_nth = 1;
    cr_assert_lt(create("lost", MIB).err, 0);
    cr_assert_eq(tier_volume_get(tier, "lost", NULL, NULL), -FIRN_E_NOT_FOUND);
    tier_volume_set(tier, "kept", VOLUME_F_IOPS, &set, answered, &a);
    cr_assert_lt(wait_for(&a), 0, "a failed commit is final");
    cr_assert_eq(tier_volume_get(tier, "kept", v, NULL), 0);
    cr_assert_eq(v->p.iops, 0);
    free(v);
    sim_crash(sim);
    crash_and_reboot();
    sim_meta_heal(machine.store);
    sim_meta_faults(machine.store)->fail_nth = 0;
    open_pool();
    cr_assert_eq(tier_volume_get(tier, "kept", NULL, NULL), 0);
    cr_assert_eq(tier_volume_get(tier, "lost", NULL, NULL), -FIRN_E_NOT_FOUND);
    close_pool();
}

/* The second commit from here fails: a change made of two would be left half done. */
Test(volumes, a_change_of_size_and_caps_is_one_batch)
{
    struct volume_params both = {.size_bytes = 9 * MIB, .iops = 500};
    struct volume_info *info = calloc(1, sizeof(*info));
    struct answer a = {0}, b = {0};

    open_pool();
    create("db", 4 * MIB);
    sim_meta_faults(machine.store)->fail_nth = 2;
    tier_volume_set(tier, "db", VOLUME_F_SIZE | VOLUME_F_IOPS, &both, answered, &a);
    cr_assert_eq(wait_for(&a), 0);
    cr_assert(a.info.p.size_bytes == 9 * MIB && a.info.p.iops == 500);
    cr_assert_eq(volume("db")->size_lba, 9 * MIB / 4096);
    both = (struct volume_params){.size_bytes = 12 * MIB, .iops = 600};
    tier_volume_set(tier, "db", VOLUME_F_SIZE | VOLUME_F_IOPS, &both, answered, &b);
    cr_assert_lt(wait_for(&b), 0);
    sim_crash(sim);
    crash_and_reboot();
    sim_meta_heal(machine.store);
    sim_meta_faults(machine.store)->fail_nth = 0;
    open_pool();
    cr_assert_eq(tier_volume_get(tier, "db", info, NULL), 0);
    cr_assert(info->p.size_bytes == 9 * MIB && info->p.iops == 500, "whole or not at all");
    free(info);
    close_pool();
}

static int set_tier(const char *name, enum volume_tier to, uint64_t size)
{
    struct volume_params p = {.tier = to, .size_bytes = size};
    struct answer a = {0};

    tier_volume_set(tier, name, VOLUME_F_TIER | (size != 0 ? VOLUME_F_SIZE : 0u), &p, answered, &a);
    return wait_for(&a);
}

Test(volumes, half_of_a_shards_log_may_be_pinned)
{
    struct volume_info *info = calloc(1, sizeof(*info));
    struct volume_params p = params("pinned", 2 * MIB);
    struct tier_info t;
    struct answer a = {0};

    opts.nr_shards = 1;
    opts.force = true;
    cr_assert_eq(tier_format(&opts, why), 0, "%s", why);
    open_pool();
    tier_info_get(tier, &t);
    cr_assert_eq(t.pin_max_bytes, t.journal_bytes / 2);
    opts.pin_pct = 20;
    close_pool();
    open_pool();
    p.tier = VOLUME_SSD;
    tier_volume_create(tier, &p, answered, &a);
    cr_assert_eq(wait_for(&a), 0);
    create("db", 3 * MIB);
    cr_assert_eq(set_tier("db", VOLUME_SSD, 9 * MIB), -FIRN_E_NO_SPACE, "its new size counts");
    cr_assert_eq(tier_volume_get(tier, "db", info, NULL), 0);
    cr_assert(info->p.tier == VOLUME_AUTO && info->p.size_bytes == 3 * MIB, "all of it or nothing");
    cr_assert_eq(set_tier("db", VOLUME_SSD, 0), 0);
    cr_assert_eq(set_tier("db", VOLUME_SSD, 0), 0, "as it is");
    p = params("more", 4 * MIB);
    p.tier = VOLUME_SSD;
    a = (struct answer){0};
    tier_volume_create(tier, &p, answered, &a);
    cr_assert_eq(wait_for(&a), -FIRN_E_NO_SPACE);
    cr_assert_eq(set_tier("pinned", VOLUME_HDD, 0), 0);
    a = (struct answer){0};
    tier_volume_create(tier, &p, answered, &a);
    cr_assert_eq(wait_for(&a), 0, "what is no longer pinned makes room");
    close_pool();
    opts.pin_pct = 8; /* less than before */
    open_pool();
    cr_assert_eq(tier_volume_get(tier, "more", info, NULL), 0);
    cr_assert_eq(info->p.tier, VOLUME_SSD, "what was asked for is kept");
    cr_assert_eq(set_tier("more", VOLUME_SSD, 0), -FIRN_E_NO_SPACE, "but does not hold");
    free(info);
    close_pool();
}

Test(volumes, an_idle_volume_is_small)
{
    cr_assert_leq(sizeof(struct volume), 1024u);
}

Test(volumes, figures_of_the_log_and_its_device_follow_the_writes)
{
    struct journal_stats before, after;
    struct metric_hist commits, writes;
    struct blk *b;

    open_pool();
    cr_assert_eq(create("a", 8 * MIB).err, 0);
    b = volume("a");
    tier_journal_stats_get(tier, &before);
    for (unsigned i = 0; i < 5; i++)
        cr_assert_eq(do_io(b, BLK_WRITE, i, 1, bytes[0]), 0);
    tier_journal_stats_get(tier, &after);
    cr_assert_eq(after.records - before.records, 5u);
    cr_assert_eq(after.host_bytes - before.host_bytes, 5u * 4096);
    tier_commit_hist_get(tier, &commits);
    cr_assert_eq(commits.count, after.groups_host + after.groups_moves, "one observation a group");
    tier_dev_hist_get(tier, 0, DEV_WRITE, &writes);
    cr_assert_geq(writes.count, commits.count);
    close_pool();
}

static bool device_degraded(unsigned i)
{
    struct tier_dev_info d[2];

    cr_assert_eq(tier_dev_info_get(tier, d, 2), 2u);
    return d[i].degraded;
}

Test(volumes, a_device_that_refuses_a_destage_shows_as_degraded)
{
    bool drained = false;

    open_pool();
    cr_assert_eq(create("a", 8 * MIB).err, 0);
    cr_assert_eq(do_io(volume("a"), BLK_WRITE, 0, 1, bytes[0]), 0);
    cr_assert_not(device_degraded(1));
    sim_disk_fail_nth(sim_machine_disk(&machine, "hdd-0"), DEV_WRITE, 1, 1);
    tier_drain(tier, true, raise_flag, &drained);
    run_until(&drained);
    cr_assert(device_degraded(1));
    cr_assert_not(device_degraded(0), "the journal's device is well");
    close_pool();
}
