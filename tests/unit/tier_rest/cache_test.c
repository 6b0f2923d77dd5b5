/* SPDX-License-Identifier: Apache-2.0 */
/* cache_test.c: a pool whose SSDs of clean copies come and go, on a simulated machine: what it takes, refuses, says and promises. */
#include "rig.h"

#include <stdio.h>

#define CACHE 2u                 /* in opts.devs; one more behind it */

static void begin(void)
{
    on_machine(7, 2);
    dev_add("journal", TIER_JOURNAL, 40 * MIB);
    dev_add("hdd", TIER_CAPACITY, 70 * MIB);
    dev_add("cache-0", TIER_CACHE, 18 * MIB);
    dev_add("cache-1", TIER_CACHE, 10 * MIB);
    format_pool();
}

TestSuite(cache, .init = begin, .fini = off_machine, .timeout = 60);

static struct sim_disk *disk(unsigned i) { return sim_machine_disk(&machine, opts.devs[CACHE + i].path); }
static void away(unsigned i, bool gone) { sim_disk_faults(disk(i))->gone = gone; }

/* A start waits for it as long as for any request, once, and goes on without it. */
Test(cache, one_that_hangs_at_the_start_is_left_out)
{
    struct tier_dev_info info[4];
    uint64_t began;

    opts.io_deadline_ns = 5 * NS_PER_S;
    sim_disk_faults(disk(0))->hung = 1000000;
    began = sim_now_ns(sim);
    open_pool();
    cr_assert_lt(sim_now_ns(sim) - began, 7 * NS_PER_S);
    cr_assert_eq(tier_dev_info_get(tier, info, 4), 4);
    cr_assert(info[CACHE].missing && !info[CACHE + 1].missing);
    close_pool();
    sim_disk_heal(disk(0));
    sim_run_for(sim, NS_PER_S); /* what was caught in it is given back */
    open_pool();
    cr_assert_eq(tier_dev_info_get(tier, info, 4), 4);
    cr_assert_not(info[CACHE].missing);
    close_pool();
}

static int create(const char *name, struct volume_share min)
{
    struct volume_params p = {.size_bytes = 4 * MIB, .lba_bytes = 4096, .policy.cache_min = min};
    struct answer a = {0};

    snprintf(p.name, sizeof(p.name), "%s", name);
    tier_volume_create(tier, &p, answered, &a);
    return answer_of(&a);
}

static int set(const char *name, unsigned mask, const struct volume_params *p)
{
    struct answer a = {0};

    tier_volume_set(tier, name, mask, p, answered, &a);
    return answer_of(&a);
}

static const char *state_of(unsigned i)
{
    static struct tier_dev_info d[4];

    cr_assert_eq(tier_dev_info_get(tier, d, 4), 4);
    cr_assert_eq(d[CACHE + i].role, TIER_CACHE);
    return tier_dev_state(&d[CACHE + i]);
}

Test(cache, each_that_is_there_is_used_and_each_that_is_not_is_told_of)
{
    open_pool();
    cr_assert_str_eq(state_of(0), "ok");
    cr_assert_str_eq(state_of(1), "ok");
    close_pool();
    away(1, true);
    open_pool();
    cr_assert_str_eq(state_of(0), "ok");
    cr_assert_str_eq(state_of(1), "missing");
    cr_assert_eq(create("a", (struct volume_share){0}), 0);
    close_pool();
    away(0, true);
    for (unsigned i = 0; i < 4; i++) { /* generations go on meanwhile */
        open_pool();
        cr_assert_str_eq(state_of(0), "missing");
        close_pool();
    }
    away(0, false);
    away(1, false);
    open_pool();
    cr_assert_str_eq(state_of(0), "ok");
    cr_assert_str_eq(state_of(1), "ok");
    close_pool();
}

/* What was promised a volume of the places cannot be kept then; nothing else is refused for it. */
Test(cache, a_device_that_is_away_hinders_no_volume)
{
    const struct volume_params tier_hdd = {.tier = VOLUME_HDD}, max = {.policy.cache_max = {.bytes = 1 * MIB}};

    open_pool();
    cr_assert_eq(create("a", (struct volume_share){.pct = 40}), 0);
    cr_assert_eq(create("b", (struct volume_share){.bytes = 6 * MIB}), 0);
    cr_assert_eq(set("a", VOLUME_F_CACHE_MAX, &max), -FIRN_E_INVALID, "less than its least");
    close_pool();
    away(0, true);
    away(1, true);
    open_pool();
    cr_assert_eq(set("a", VOLUME_F_TIER, &tier_hdd), 0);
    cr_assert_eq(set("b", VOLUME_F_TIER, &tier_hdd), 0);
    cr_assert_eq(create("c", (struct volume_share){0}), 0);
    cr_assert_eq(create("d", (struct volume_share){0}), 0);
    cr_assert_eq(create("e", (struct volume_share){.bytes = 1 * MIB}), -FIRN_E_RANGE, "there is nothing to promise");
    close_pool();
}

Test(cache, one_whose_label_cannot_be_read_is_left_out_and_one_without_a_label_is_refused)
{
    static char zeros[MIB];
    uint64_t end_off = sim_disk_size(disk(0)) - MIB;

    sim_disk_faults(disk(0))->eio_read = 1000000;
    open_pool();
    cr_assert_str_eq(state_of(0), "missing");
    close_pool();
    sim_disk_heal(disk(0));
    sim_disk_poke(disk(0), 0, zeros, MIB);
    sim_disk_poke(disk(0), end_off, zeros, MIB);
    cr_assert_eq(tier_open(&opts, &tier, why), -FIRN_E_FOREIGN);
    cr_assert(strstr(why, "--add-cache") != NULL, "%s", why);
    cr_assert_eq(tier_cache_add(&opts, why), 0, "%s", why);
    open_pool();
    cr_assert_str_eq(state_of(0), "ok");
    close_pool();
}

/* A crash at every event of it: the pool opens without the new device, or with it, or says what to do again. */
Test(cache, taking_one_in_is_whole_or_done_again)
{
    unsigned refused = 0, whole = 0;

    for (uint64_t n = 1; whole == 0; n++) {
        static char zeros[MIB];
        int err;

        cr_assert_lt(n, 500);
        sim_disk_poke(disk(0), 0, zeros, MIB); /* a new one, as far as anybody can tell */
        sim_disk_poke(disk(0), sim_disk_size(disk(0)) - MIB, zeros, MIB);
        sim_crash_in_events(sim, n);
        err = tier_cache_add(&opts, why);
        sim_crash_in_events(sim, 0);
        whole = !sim_crashed(sim);
        cr_assert(err == 0 || !whole, "%s", why);
        if (!whole) {
            sim_env_free(envs[0]);
            sim_env_free(envs[1]);
            sim_reboot(sim);
            envs[0] = sim_env_new(sim);
            envs[1] = sim_env_new(sim);
        }
        err = tier_open(&opts, &tier, why);
        if (err == 0) {
            close_pool();
            continue;
        }
        cr_assert(strstr(why, "--add-cache") != NULL || strstr(why, "damaged") != NULL, "%s", why);
        refused++;
        opts.force = true;
        cr_assert_eq(tier_cache_add(&opts, why), 0, "%s", why);
        opts.force = false;
        open_pool();
        close_pool();
    }
    cr_assert_gt(refused, 3);
}

Test(cache, sixteen_others_may_come_and_go)
{
    for (unsigned i = 0; i < 20; i++) {
        char path[32];

        snprintf(path, sizeof(path), "cache-x%u", i % 3);
        snprintf(opts.devs[CACHE].path, sizeof(opts.devs[CACHE].path), "%s", path);
        cr_assert_eq(tier_cache_add(&opts, why), 0, "%s", why);
        open_pool();
        cr_assert_str_eq(state_of(0), "ok");
        close_pool();
    }
}

Test(cache, one_that_is_too_small_or_has_larger_blocks_is_refused)
{
    snprintf(opts.devs[CACHE].path, sizeof(opts.devs[CACHE].path), "small");
    opts.devs[CACHE].size_bytes = 2 * MIB + MIB / 2;
    cr_assert_eq(tier_cache_add(&opts, why), -FIRN_E_INVALID);
    cr_assert(strstr(why, "needs at least 3 MiB") != NULL, "%s", why);
}
