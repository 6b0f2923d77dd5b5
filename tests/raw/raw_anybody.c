/* SPDX-License-Identifier: Apache-2.0 */
/* raw_anybody.c: what a crowd on the discovery subsystem, where anybody may connect, takes from hosts that have a volume: no large
 * chunk, no slot that waits for data, a part of the connections, a part of the slots of event requests.
 */
#include "raw.h"

#define CROWD 40
#define BIG   (64u * 1024)

static struct raw_conn join_discovery(const struct raw_srv *s, int i)
{
    char name[64];
    struct raw_connect p = {.sqsize = 31, .hostnqn = name, .subnqn = DISCOVERY_NQN, .kato_ms = 60000};

    snprintf(name, sizeof(name), "nqn.2014-08.org.nvmexpress:uuid:anybody-%d", i);
    return raw_admin(s, false, false, &p);
}

static struct nvme_sqe set_behavior(uint16_t cid, bool in_capsule)
{
    struct nvme_sqe sqe = raw_sqe(ADMIN_SET_FEATURES, cid, 0);

    sqe.cdw10 = to_le32(FID_HOST_BEHAVIOR);
    sqe.sgl.length = to_le32(512);
    sqe.sgl.type = in_capsule ? SGL_OFFSET : SGL_TRANSPORT;
    return sqe;
}

static bool reads(const struct raw_conn *q)
{
    static uint8_t back[BIG];
    struct nvme_sqe rd = raw_io(IO_READ, 1, 0, BIG / 4096, BIG, false);

    return raw_read_cmd(q, &rd, back, BIG) == 0;
}

/* Each asks to send data and would never send it: more of them than there are chunks, and than there are slots for. */
static void promises_of_data(void)
{
    struct raw_srv s = {.opts = {.data_buffers = 16, .commands = 64, .queue_depth = 32}};
    struct raw_conn a, q, d[CROWD];
    struct raw_connect p = {.qid = 1, .sqsize = 31};
    uint8_t data[512] = {1}, pdu[128];
    int refused = 0;

    raw_start(&s);
    a = raw_admin(&s, false, false, NULL);
    p.cntlid = a.cntlid;
    q = (struct raw_conn){.fd = raw_open(&s)};
    raw_check(raw_ic(&q) && raw_status(raw_connect(&q, &p)) == 0 && reads(&q), "a host with a volume");
    for (int i = 0; i < CROWD; i++) {
        struct nvme_sqe set = set_behavior(7, false);

        d[i] = join_discovery(&s, i);
        raw_check(d[i].fd >= 0, "discovery host %d of %d", i, CROWD);
        raw_send(d[i].fd, pdu, raw_capsule(pdu, &set, NULL, 0, false, false));
    }
    for (int i = 0; i < 16; i++)
        raw_check(reads(&q), "its read %d beside them", i);
    for (int i = 0; i < CROWD; i++)
        refused += raw_status(raw_resp(&d[i])) == ST_FEATURE_NOT_CHANGEABLE;
    raw_check(refused == CROWD, "%d of %d told at once that this cannot be set there", refused, CROWD);
    raw_check(raw_status(raw_cmd(&d[0], &(struct nvme_sqe[]){set_behavior(8, true)}[0], data, 512)) == ST_FEATURE_NOT_CHANGEABLE,
        "nor with the data in the capsule");
    raw_check(raw_status(raw_cmd(&a, &(struct nvme_sqe[]){set_behavior(8, true)}[0], data, 512)) == 0, "a volume's host can");
    for (int i = 0; i < CROWD; i++)
        close(d[i].fd);
    close(q.fd);
    close(a.fd);
    raw_stop(&s);
}

static bool alive(const struct raw_conn *c)
{
    struct nvme_sqe ka = raw_sqe(ADMIN_KEEP_ALIVE, 99, 0);

    return c->fd >= 0 && raw_status(raw_cmd(c, &ka, NULL, 0)) == 0;
}

/* An eighth of the connections, and who is turned away then is told so by the end of the stream. */
static void a_part_of_the_connections(void)
{
    struct raw_srv s = {.opts = {.connections_max = CROWD * 4}};
    struct raw_conn d[CROWD];
    struct target_stats st;
    int in = 0;

    raw_start(&s);
    for (int i = 0; i < CROWD; i++) {
        d[i] = join_discovery(&s, i);
        in += d[i].fd >= 0;
    }
    raw_check(in == CROWD * 4 / 8, "%d of %d let in", in, CROWD);
    target_stats_get(s.target, &st);
    raw_check(st.connections_refused == (uint64_t)(CROWD - in), "%lu refused", (unsigned long)st.connections_refused);
    raw_check(raw_works(&s, false, false), "a host with a volume works");
    for (int i = 0; i < CROWD; i++)
        if (d[i].fd >= 0) {
            raw_check(alive(&d[i]), "who is in stays");
            close(d[i].fd);
        }
    do {
        usleep(10000);
        target_stats_get(s.target, &st);
    } while (st.connections != 0);
    d[0] = join_discovery(&s, 0);
    raw_check(alive(&d[0]), "there is room again");
    close(d[0].fd);
    raw_stop(&s);
}

/* 64 slots: an eighth for event requests of discovery; a volume's host still gets its four. */
static void a_part_of_the_event_requests(void)
{
    struct raw_srv s = {.opts = {.commands = 64, .queue_depth = 32}};
    struct raw_conn a, d[CROWD];
    struct nvme_sqe ka = raw_sqe(ADMIN_KEEP_ALIVE, 77, 0);
    struct raw_answer r;
    uint8_t pdu[128];
    int refused = 0;

    raw_start(&s);
    for (int i = 0; i < CROWD; i++) {
        d[i] = join_discovery(&s, i);
        for (uint16_t k = 0; k < 4; k++) {
            struct nvme_sqe ev = raw_sqe(ADMIN_ASYNC_EVENT, k, 0);

            raw_send(d[i].fd, pdu, raw_capsule(pdu, &ev, NULL, 0, false, false));
        }
        raw_send(d[i].fd, pdu, raw_capsule(pdu, &ka, NULL, 0, false, false));
        while ((r = raw_resp(&d[i])).ok && r.cid != 77)
            refused += raw_status(r) == ST_AER_LIMIT;
        raw_check(r.ok && r.cid == 77, "discovery host %d is answered", i);
    }
    raw_check(refused == CROWD * 4 - 64 / 8, "%d of %d refused", refused, CROWD * 4);
    a = raw_admin(&s, false, false, NULL);
    for (uint16_t k = 0; k < 4; k++) {
        struct nvme_sqe ev = raw_sqe(ADMIN_ASYNC_EVENT, k, 0);

        raw_send(a.fd, pdu, raw_capsule(pdu, &ev, NULL, 0, false, false));
    }
    r = raw_cmd(&a, &ka, NULL, 0);
    raw_check(r.ok && r.cid == 77, "the four of a volume's host stay: answer to %u", r.cid);
    for (int i = 0; i < CROWD; i++)
        close(d[i].fd);
    close(a.fd);
    raw_stop(&s);
}

int main(void)
{
    promises_of_data();
    a_part_of_the_connections();
    a_part_of_the_event_requests();
    return raw_end();
}
