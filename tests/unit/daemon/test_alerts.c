/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>

#include "daemon/alerts.h"

static char said[2048];
static unsigned nr;

static void say(void *ctx, const char *text)
{
    cr_assert_null(ctx);
    nr++;
    strncat(said, text, sizeof(said) - strlen(said) - 2);
    strncat(said, "\n", 2);
}

static const char *tell(const struct tier_info *i, const struct tier_dev_info *d, uint32_t devs)
{
    said[0] = '\0';
    nr = 0;
    alerts_tell(i, d, devs, say, NULL);
    return said;
}

Test(alerts, nothing_wrong_is_no_alert)
{
    struct tier_info i = {.capacity_bytes = 1000, .capacity_used_bytes = 10};
    struct tier_dev_info d[2] = {{.path = "/dev/a"}, {.path = "/dev/b"}};

    cr_assert_str_empty(tell(&i, d, 2));
}

Test(alerts, full_is_more_than_getting_full)
{
    struct tier_info i = {.capacity_bytes = 1000, .capacity_used_bytes = 300, .capacity_reserved_bytes = 700};

    tell(&i, NULL, 0);
    cr_assert_not_null(strstr(said, "the pool is full: writes to new places are refused; 300 B used + 700 B reserved"), "%s", said);
    cr_assert_null(strstr(said, "getting"));
    i.capacity_reserved_bytes--;
    cr_assert_not_null(strstr(tell(&i, NULL, 0), "getting full, above 95 %"), "%s", said);
    cr_assert_null(strstr(said, "add capacity"));
}

Test(alerts, an_accepted_loss_has_a_date)
{
    struct tier_info i = {.capacity_bytes = 1000, .loss_wall_ns = UINT64_C(1792771200) * NS_PER_S};

    cr_assert_not_null(strstr(tell(&i, NULL, 0), "accepted on 2026-10-23 16:00 UTC: "), "%s", said);
    cr_assert_not_null(strstr(said, "firnctl loss clear\n"), "%s", said);
}

Test(alerts, every_cause_is_one_sentence)
{
    struct tier_info i = {.capacity_bytes = 1000, .capacity_used_bytes = 850, .damaged_blocks = 3, .alert = "a word of the pool",
                          .read_only_why = "no writes"};
    struct tier_dev_info d[3] = {{.path = "/dev/a", .failed = true}, {.path = "/dev/b"}, {.path = "/dev/c", .degraded = true}};
    const char *text = tell(&i, d, 3);

    cr_assert_eq(nr, 6, "%s", text);
    cr_assert_not_null(strstr(text, "a word of the pool\n"));
    cr_assert_eq(strstr(text, "no writes\n"), text, "the worst comes first");
    cr_assert_not_null(strstr(text, "the pool is getting full, above 80 %"), "%s", text);
    cr_assert_not_null(strstr(text, "device /dev/a is failed\n"));
    cr_assert_not_null(strstr(text, "device /dev/c is degraded\n"));
    cr_assert_not_null(strstr(text, "3 blocks of 4 KiB cannot be read"), "%s", text);
    cr_assert_null(strstr(text, "/dev/b"));
    i.damaged_more = true;
    cr_assert_not_null(strstr(tell(&i, d, 3), "more than 3 blocks"), "%s", said);
}
