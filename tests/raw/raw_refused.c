/* SPDX-License-Identifier: Apache-2.0 */
/* raw_refused.c: hosts that may not in and never close what they opened, more of them than there are connections: each is told why, and
 * whether to try again, its stream ends behind that, and it takes nothing from the host that may.
 */
#include "raw.h"

#define CROWD 100
#define LIMIT 24

static void deny(void *arg)
{
    const char *hosts[] = {RAW_HOST};

    if (subsys_set_hosts(((struct raw_srv *)arg)->subsys, hosts, 1) != 0)
        abort();
}

static void turned_away(uint32_t reactors, const struct raw_connect *p, uint16_t status, const char *what)
{
    struct raw_srv s = {.nr = reactors, .opts = {.connections_max = LIMIT}};
    struct target_stats st;
    struct raw_conn c[CROWD];
    uint64_t start = raw_now_ms();
    int told = 0, ended = 0;

    raw_start(&s);
    raw_on_env(s.env[0], deny, &s);
    for (int i = 0; i < CROWD; i++) {
        c[i] = (struct raw_conn){.fd = raw_open(&s), .hd = i % 2 == 0};
        told += raw_ic(&c[i]) && raw_connect(&c[i], p).status == status;
    }
    raw_check(told == CROWD, "%s: %d of %d told", what, told, CROWD);
    for (int i = 0; i < CROWD; i++)
        ended += raw_at_end(c[i].fd);
    raw_check(ended == CROWD, "%s: %d streams ended", what, ended);
    raw_check(raw_works(&s, false, false), "%s: the host that may works beside them", what);
    raw_check(raw_now_ms() - start < 4000, "%s: it took %lu ms", what, (unsigned long)(raw_now_ms() - start));
    for (int i = 0; i < 1000; i++) {
        target_stats_get(s.target, &st);
        if (st.connections == 0)
            break;
        usleep(1000);
    }
    raw_check(st.connections == 0, "%s: %lu left", what, (unsigned long)st.connections);
    raw_check(st.connections_refused == CROWD, "%s: %lu refused", what, (unsigned long)st.connections_refused);
    for (int i = 0; i < CROWD; i++)
        close(c[i].fd);
    raw_stop(&s);
}

int main(void)
{
    struct raw_connect stranger = {.sqsize = 31, .hostnqn = "nqn.2014-08.org.nvmexpress:uuid:stranger", .hostid = 7};
    struct raw_connect lost = {.sqsize = 31, .subnqn = "nqn.2026-11.io.firn:raw:none"};
    struct raw_connect late = {.qid = 1, .sqsize = 31, .cntlid = 77};

    turned_away(1, &stranger, ST_CONNECT_HOST | STATUS_DNR, "a host not on the list");
    turned_away(2, &stranger, ST_CONNECT_HOST | STATUS_DNR, "a host not on the list, on the volume's reactor");
    turned_away(2, &lost, ST_CONNECT_PARAM, "a subsystem that is not there");
    turned_away(2, &late, ST_CONNECT_PARAM, "a controller that is not there");
    return raw_end();
}
