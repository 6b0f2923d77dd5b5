/* SPDX-License-Identifier: Apache-2.0 */
/* raw_slots.c: more commands than there are slots, and more data than a queue's share, while everybody has to wait.
 *
 * Hosts send all their capsules before the first byte of H2CData: what ends a command lies behind capsules that find no slot.
 * Everything must be answered nonetheless, and event requests, which may stay for ever, must leave slots to others.
 */
#include "raw.h"

#define QUEUES 12
#define DEPTH  32
#define WRITES 31
#define LEN    16384u
#define BIG    (512u * 1024)

static uint8_t pattern[BIG];

struct host { struct raw_conn c; uint32_t answers, errors, r2ts; uint16_t ttag[WRITES + DEPTH], cid[WRITES + DEPTH]; };

static void ask_one(struct host *h, uint16_t cid, uint32_t len)
{
    struct nvme_sqe wr = raw_io(IO_WRITE, cid, cid * 4u, len / 4096, len, false);
    uint8_t pdu[128];

    raw_send(h->c.fd, pdu, raw_capsule(pdu, &wr, NULL, 0, false, false));
}

static void ask(struct host *h, uint32_t nr, uint32_t len)
{
    for (uint16_t i = 0; i < nr; i++)
        ask_one(h, i, len);
}

/* A capsule of each queue, and again, so that all of them have some slots when there are no more. */
static void ask_in_turn(struct host *h)
{
    for (uint16_t i = 0; i < WRITES; i++) {
        for (int k = 0; k < QUEUES; k++)
            ask_one(&h[k], i, LEN);
        usleep(2000);
    }
}

/* Everything the target has to say within ms; R2Ts are kept. False: the stream ended. */
static bool hear(struct host *h, int ms)
{
    struct pollfd p = {.fd = h->c.fd, .events = POLLIN};
    uint8_t buf[128];

    while (poll(&p, 1, ms) == 1) {
        const struct pdu_r2t *r = (const void *)buf;
        const struct pdu_capsule_resp *resp = (const void *)buf;

        if (raw_pdu(h->c.fd, buf, sizeof(buf)) == 0)
            return false;
        if (r->common.type == PDU_R2T && h->r2ts < ARRAY_LEN(h->ttag)) {
            h->cid[h->r2ts] = from_le16(r->cccid);
            h->ttag[h->r2ts++] = from_le16(r->ttag);
        } else {
            h->errors += resp->common.type != PDU_CAPSULE_RESP || resp->cqe.status.raw != 0;
            h->answers++;
        }
    }
    return true;
}

static void pay(struct host *h, uint32_t len)
{
    static uint8_t pdu[BIG + 128];

    for (uint32_t i = 0; i < h->r2ts; i++)
        raw_send(h->c.fd, pdu, raw_h2c(pdu, h->cid[i], h->ttag[i], 0, pattern, len, true, false, false));
    h->r2ts = 0;
}

static void capsules_before_data(const struct raw_srv *s)
{
    static struct host h[QUEUES];
    struct raw_conn a = raw_admin(s, false, false, NULL);
    uint32_t left = QUEUES;
    uint64_t start = raw_now_ms();

    for (uint16_t i = 0; i < QUEUES; i++) {
        struct raw_connect p = {.qid = (uint16_t)(i + 1), .cntlid = a.cntlid, .sqsize = DEPTH - 1, .cattr = CATTR_SQ_FLOW_OFF};

        h[i].c = (struct raw_conn){.fd = raw_open(s)};
        raw_check(raw_ic(&h[i].c) && raw_status(raw_connect(&h[i].c, &p)) == 0, "queue %d", i);
    }
    ask_in_turn(h);
    poll(NULL, 0, 200); /* all that can be read is read */
    while (left > 0 && raw_now_ms() - start < 15000) {
        left = 0;
        for (int i = 0; i < QUEUES; i++) {
            if (!hear(&h[i], 2))
                raw_check(false, "queue %d ended", i);
            pay(&h[i], LEN);
            left += h[i].answers < WRITES;
        }
    }
    for (int i = 0; i < QUEUES; i++) {
        raw_check(h[i].answers == WRITES && h[i].errors == 0, "queue %d: %u of %u answers, %u errors", i, h[i].answers, WRITES,
            h[i].errors);
        close(h[i].c.fd);
    }
    close(a.fd);
}

/* A host that is cut in the middle of that gives back what was promised to it. */
static void cut_while_waiting(const struct raw_srv *s)
{
    struct raw_conn a = raw_admin(s, false, false, NULL);
    struct host h[QUEUES] = {0};

    for (uint16_t i = 0; i < QUEUES; i++) {
        struct raw_connect p = {.qid = (uint16_t)(i + 1), .cntlid = a.cntlid, .sqsize = DEPTH - 1, .cattr = CATTR_SQ_FLOW_OFF};

        h[i].c = (struct raw_conn){.fd = raw_open(s)};
        raw_check(raw_ic(&h[i].c) && raw_status(raw_connect(&h[i].c, &p)) == 0, "queue %d", i);
    }
    ask_in_turn(h);
    poll(NULL, 0, 100);
    for (int i = 0; i < QUEUES; i++)
        close(h[i].c.fd);
    close(a.fd);
}

static struct nvme_sqe event_request(uint16_t cid) { return raw_sqe(ADMIN_ASYNC_EVENT, cid, 0); }

static void events_leave_slots(const struct raw_srv *s)
{
    enum { NR = 40 };
    struct raw_conn a[NR];
    struct nvme_sqe ka = raw_sqe(ADMIN_KEEP_ALIVE, 77, 0);
    uint8_t pdu[128];
    int alive = 0;

    for (int i = 0; i < NR; i++) {
        char name[64];
        struct raw_connect p = {.sqsize = 31, .hostnqn = name, .subnqn = DISCOVERY_NQN, .kato_ms = 60000};

        snprintf(name, sizeof(name), "nqn.2014-08.org.nvmexpress:uuid:asker-%d", i);
        a[i] = raw_admin(s, false, false, &p);
        for (uint16_t k = 0; k < 4; k++) {
            struct nvme_sqe ev = event_request(k);

            raw_send(a[i].fd, pdu, raw_capsule(pdu, &ev, NULL, 0, false, false));
        }
    }
    poll(NULL, 0, 100);
    for (int i = 0; i < NR; i++) {
        struct raw_answer r;

        raw_send(a[i].fd, pdu, raw_capsule(pdu, &ka, NULL, 0, false, false));
        do
            r = raw_resp(&a[i]); /* refused event requests come first */
        while (r.ok && r.cid != 77);
        alive += r.ok && r.status == 0;
        close(a[i].fd);
    }
    raw_check(alive == NR, "%d of %d answered beside 4 event requests each", alive, NR);
}

static void few_slots(void)
{
    struct raw_srv s = {.opts = {.commands = 64, .queue_depth = DEPTH}};

    raw_start(&s);
    capsules_before_data(&s);
    cut_while_waiting(&s);
    capsules_before_data(&s);
    events_leave_slots(&s);
    capsules_before_data(&s);
    raw_stop(&s);
}

/* Two queues hold all large chunks of their volume; a third asks for twice its share meanwhile, and must not
 * get more than its share at once. */
static void a_share_is_a_share_while_waiting(void)
{
    struct raw_srv s = {.opts = {.data_buffers = 1024}};
    static struct host h[3];
    struct raw_conn a;

    raw_start(&s);
    a = raw_admin(&s, false, false, NULL);
    for (uint16_t i = 0; i < 3; i++) {
        h[i].c = raw_ioq(&s, &a, (uint16_t)(i + 1), false, false);
        ask(&h[i], i < 2 ? 16 : 31, BIG);
        hear(&h[i], 100);
        raw_check(h[i].r2ts == (i < 2 ? 16u : 0u), "queue %d: %u R2Ts", i, h[i].r2ts);
    }
    for (int i = 0; i < 2; i++) {
        pay(&h[i], BIG);
        hear(&h[i], 500);
        raw_check(h[i].answers == 16 && h[i].errors == 0, "queue %d: %u answers", i, h[i].answers);
    }
    hear(&h[2], 300);
    raw_check(h[2].r2ts == 16, "%u R2Ts of 512 KiB for a share of 8 MiB", h[2].r2ts);
    for (int i = 0; i < 2; i++) {
        pay(&h[2], BIG);
        hear(&h[2], 500);
    }
    raw_check(h[2].answers == 31 && h[2].errors == 0, "%u answers in the end", h[2].answers);
    for (int i = 0; i < 3; i++)
        close(h[i].c.fd);
    close(a.fd);
    raw_stop(&s);
}

int main(void)
{
    raw_fill(pattern, sizeof(pattern), 5);
    few_slots();
    a_share_is_a_share_while_waiting();
    return raw_end();
}
