/* SPDX-License-Identifier: Apache-2.0 */
/* final_test.c: the metadata says when its marks of the log are final, and a start goes by that where the journal's device cannot be read.
 * Shard 0 has a volume, shard 1 none. */
#include "rig.h"

#include <stdio.h>

#include "tier/format.h"
#include "tier/meta.h"

#define SEGMENTS 38u

static void begin(void)
{
    on_machine(5, 2);
    dev_add("journal", TIER_JOURNAL, (SEGMENTS + 2) * MIB);
    dev_add("hdd-0", TIER_CAPACITY, 70 * MIB);
    format_pool();
    open_pool();
    put(volume_make("db", 4 * MIB), 3, 0x5a);
}

TestSuite(final, .init = begin, .fini = off_machine, .timeout = 60);

static void crash(void)
{
    if (!sim_crashed(sim))
        sim_crash(sim);
    if (tier != NULL)
        tier_close(tier);
    tier = NULL;
    for (unsigned i = 0; i < 2; i++)
        sim_env_free(envs[i]);
    sim_reboot(sim);
    for (unsigned i = 0; i < 2; i++)
        envs[i] = sim_env_new(sim);
}

static struct shard_rec record(uint32_t shard, bool change, bool final)
{
    struct meta_key key = meta_key_shard(shard);
    uint8_t value[META_VALUE_MAX];
    struct shard_rec rec;
    struct meta *m;
    uint32_t len;

    cr_assert_eq(sim_meta_open(machine.store, &m), 0);
    cr_assert_eq(m->ops->get_sync(m, &key, value, &len), 0);
    cr_assert_eq(shard_rec_decode(value, len, &rec), 0);
    rec.marks_final = change ? final : rec.marks_final;
    if (change)
        cr_assert_eq(m->ops->commit_sync(m, &(struct meta_op){.key = key, .value = value,
                                                              .value_len = shard_rec_encode(&rec, value)}, 1), 0);
    m->ops->close(m);
    return rec;
}

static bool is_final(uint32_t shard) { return record(shard, false, false).marks_final; }

/* Where the last segment begins, which nobody has used. */
static void blind_spot(void)
{
    sim_disk_latent(sim_machine_disk(&machine, "journal"), MIB + (SEGMENTS - 1) * (uint64_t)MIB, 8192);
}

static uint64_t losses(char *text, size_t len)
{
    struct tier_check_report report;
    struct strbuf out;

    strbuf_init(&out);
    cr_assert_eq(tier_check(&opts, TIER_CHECK_QUICK, &out, &report, why), 0, "%s", why);
    snprintf(text, len, "%s", strbuf_str(&out));
    strbuf_fini(&out);
    return report.losses;
}

Test(final, marks_are_from_the_stop_to_the_end_of_the_next_start)
{
    crash();
    cr_expect_not(is_final(0), "writes may have followed");
    open_pool();
    close_pool();
    for (uint32_t i = 0; i < 2; i++)
        cr_expect(is_final(i), "shard %u", i);
    open_pool();
    crash();
    for (uint32_t i = 0; i < 2; i++)
        cr_expect_not(is_final(i), "shard %u", i);
    open_pool();
    expect(volume("db"), 3, 0x5a);
    close_pool();
}

/* Any number of starts may be cut off: what one has judged the next one takes from the metadata. */
Test(final, a_start_that_is_cut_off_leaves_them_so_until_it_serves)
{
    bool whole = false;

    close_pool();
    blind_spot();
    for (uint64_t n = 1; !whole; n++) {
        int err;

        sim_crash_in_events(sim, n);
        err = tier_open(&opts, &tier, why);
        sim_crash_in_events(sim, 0);
        whole = !sim_crashed(sim);
        cr_assert(err == 0 || (!whole && err == -FIRN_E_STOPPED), "event %llu: %s (%s)", (unsigned long long)n, err_text(err), why);
        tier = err == 0 ? tier : NULL;
        if (!whole)
            crash();
    }
    expect(volume("db"), 3, 0x5a);
    close_pool();
}

Test(final, a_segment_that_cannot_be_read_is_no_matter_after_a_stop)
{
    char text[2000];

    close_pool();
    blind_spot();
    cr_assert_eq(losses(text, sizeof(text)), 0u, "%s", text);
    open_pool();
    expect(volume("db"), 3, 0x5a);
    crash();
    open_pool(); /* it has a segment with room again */
    expect(volume("db"), 3, 0x5a);
    close_pool();
}

/* As a crash would leave it, behind a full segment. */
Test(final, without_them_the_start_is_refused_and_says_that_perhaps_nothing_is_lost)
{
    char text[2000];

    close_pool();
    record(0, true, false);
    blind_spot();
    cr_assert_geq(losses(text, sizeof(text)), 1u);
    cr_assert_not_null(strstr(text, "segment 37 of the journal cannot be read where the log of shard 0 may go on"), "%s", text);
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(tier_open(&opts, &tier, why), -FIRN_E_ROLLED_BACK);
        cr_assert_not_null(strstr(why, "cannot read segment 37 where the log of shard 0 may go on"), "%s", why);
        cr_assert_not_null(strstr(why, "or nothing"), "%s", why);
    }
    opts.accept_loss = true;
    open_pool();
    expect(volume("db"), 3, 0x5a);
    crash();
    opts.accept_loss = false;
    open_pool();
    close_pool();
}

Test(final, a_shard_without_a_volume_has_nothing_to_lose)
{
    char text[2000];

    close_pool();
    record(1, true, false);
    blind_spot();
    cr_expect_eq(losses(text, sizeof(text)), 0u, "%s", text);
    open_pool();
    expect(volume("db"), 3, 0x5a);
    close_pool();
}
