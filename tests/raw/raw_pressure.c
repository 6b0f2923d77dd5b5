/* SPDX-License-Identifier: Apache-2.0 */
/* raw_pressure.c: a target with chunks for one large command at a time. Four queues ask for far more than that at once, by
 * R2T, in capsules and by reads; everything must be answered, once, with the right bytes, and nothing may lock up.
 */
#include "raw.h"

#define QUEUES 4
#define WRITES 24
#define LEN    (256u * 1024)
#define SMALL  8192u

struct host { struct raw_conn c; uint32_t answers, r2ts, errors; };

static uint8_t pattern[LEN];

static void ask(struct host *h, uint32_t qi)
{
    static uint8_t pdu[SMALL + 128];

    for (uint16_t i = 0; i < WRITES; i++) {
        struct nvme_sqe big = raw_io(IO_WRITE, i, (uint64_t)qi * 64, LEN / 4096, LEN, false);
        struct nvme_sqe in = raw_io(IO_WRITE, (uint16_t)(100 + i), 512 + (uint64_t)qi * 2, SMALL / 4096, SMALL, true);

        raw_send(h->c.fd, pdu, raw_capsule(pdu, &big, NULL, 0, false, false));
        raw_send(h->c.fd, pdu, raw_capsule(pdu, &in, pattern, SMALL, false, false));
    }
}

/* One PDU of the target's: an R2T is answered at once. */
static bool serve(struct host *h)
{
    static uint8_t pdu[LEN + 128];
    uint8_t buf[128];
    const struct pdu_r2t *r = (const void *)buf;
    const struct pdu_capsule_resp *resp = (const void *)buf;

    if (raw_pdu(h->c.fd, buf, sizeof(buf)) == 0)
        return false;
    if (r->common.type == PDU_R2T) {
        uint32_t n = raw_h2c(pdu, from_le16(r->cccid), from_le16(r->ttag), 0, pattern, LEN, true, false, false);

        h->r2ts++;
        return raw_send(h->c.fd, pdu, n);
    }
    h->errors += resp->common.type != PDU_CAPSULE_RESP || resp->cqe.status.raw != 0;
    h->answers++;
    return true;
}

static void writes(const struct raw_srv *s, const struct raw_conn *a)
{
    struct host h[QUEUES] = {0};
    struct pollfd p[QUEUES];
    uint64_t start = raw_now_ms();
    uint32_t left = QUEUES;

    for (uint16_t i = 0; i < QUEUES; i++) {
        h[i].c = raw_ioq(s, a, (uint16_t)(i + 1), false, false);
        p[i] = (struct pollfd){.fd = h[i].c.fd, .events = POLLIN};
        ask(&h[i], i);
    }
    while (left > 0 && raw_now_ms() - start < 20000) {
        poll(p, QUEUES, 1000);
        for (int i = 0; i < QUEUES; i++) {
            if (!(p[i].revents & POLLIN) || h[i].answers == 2 * WRITES)
                continue;
            if (!serve(&h[i]) || h[i].answers == 2 * WRITES)
                left--;
        }
    }
    for (int i = 0; i < QUEUES; i++) {
        raw_check(h[i].answers == 2 * WRITES && h[i].r2ts == WRITES && h[i].errors == 0, "queue %d: %u answers, %u R2Ts, %u errors",
            i, h[i].answers, h[i].r2ts, h[i].errors);
        close(h[i].c.fd);
    }
}

static void reads(const struct raw_srv *s, const struct raw_conn *a)
{
    struct raw_conn q = raw_ioq(s, a, 9, false, false);
    static uint8_t buf[LEN + 256];
    uint32_t good = 0;

    for (uint16_t i = 0; i < 64; i++) {
        struct nvme_sqe rd = raw_io(IO_READ, i, 0, LEN / 4096, LEN, false);

        raw_send(q.fd, buf, raw_capsule(buf, &rd, NULL, 0, false, false));
    }
    for (int i = 0; i < 64; i++) {
        const struct pdu_c2h_data *d = (const void *)buf;

        if (raw_pdu(q.fd, buf, sizeof(buf)) != LEN + 24 || d->common.type != PDU_C2H_DATA)
            break;
        good += memcmp(buf + 24, pattern, LEN) == 0;
    }
    raw_check(good == 64, "%u of 64 reads", good);
    close(q.fd);
}

/* Asks for a write of n bytes by R2T, and says whether the R2T came. */
static bool ask_write(const struct raw_conn *q, uint16_t cid, uint32_t n)
{
    struct nvme_sqe wr = raw_io(IO_WRITE, cid, 0, n / 4096, n, false);
    uint8_t pdu[128];

    return raw_send(q->fd, pdu, raw_capsule(pdu, &wr, NULL, 0, false, false));
}

static bool granted(const struct raw_conn *q, struct pdu_r2t *r)
{
    return raw_pdu(q->fd, r, sizeof(*r)) == sizeof(*r) && r->common.type == PDU_R2T;
}

static bool give(const struct raw_conn *q, const struct pdu_r2t *r, uint32_t n)
{
    static uint8_t pdu[LEN + 128];

    return raw_send(q->fd, pdu, raw_h2c(pdu, from_le16(r->cccid), from_le16(r->ttag), 0, pattern, n, true, false, false)) &&
           raw_status(raw_resp(q)) == 0;
}

/* Two queues hold nearly all large chunks and owe their data; before it each sends a Compare in a capsule. Would that wait
 * for large chunks, both queues would stop reading what alone can free them. */
static void compare_in_capsule(const struct raw_srv *s, const struct raw_conn *a)
{
    static uint8_t pdu[SMALL + 128], out[LEN + 128];
    struct raw_conn q[2] = {raw_ioq(s, a, 1, false, false), raw_ioq(s, a, 2, false, false)};
    struct nvme_sqe cmp = raw_io(IO_COMPARE, 7, 0, SMALL / 4096, SMALL, true);
    struct pdu_r2t r[2];

    for (int i = 0; i < 2; i++)
        raw_check(ask_write(&q[i], 1, LEN) && granted(&q[i], &r[i]), "queue %d has its chunks", i);
    for (int i = 0; i < 2; i++) {
        raw_send(q[i].fd, pdu, raw_capsule(pdu, &cmp, pattern, SMALL, false, false));
        raw_send(q[i].fd, out, raw_h2c(out, 1, from_le16(r[i].ttag), 0, pattern, LEN, true, false, false));
    }
    for (int i = 0; i < 2; i++) {
        struct raw_answer one = raw_resp(&q[i]), two = raw_resp(&q[i]);

        raw_check(one.ok && two.ok && one.status == 0 && two.status == 0, "queue %d: %04x %04x", i, one.status, two.status);
        close(q[i].fd);
    }
}

/* The first in the line for chunks leaves: those behind it, for whom there is enough, must not wait for another event. */
static void first_in_line_leaves(const struct raw_srv *s, const struct raw_conn *a)
{
    struct raw_conn holder = raw_ioq(s, a, 3, false, false), big = raw_ioq(s, a, 4, false, false), next = raw_ioq(s, a, 5, false, false);
    struct pdu_r2t held, r;
    struct pollfd p = {.fd = next.fd, .events = POLLIN};

    raw_check(ask_write(&holder, 1, LEN) && granted(&holder, &held), "the holder has its chunks");
    ask_write(&big, 1, 2 * LEN);
    poll(NULL, 0, 100);
    ask_write(&next, 1, 4096);
    raw_check(poll(&p, 1, 200) == 0, "the next waits its turn");
    close(big.fd);
    raw_check(poll(&p, 1, 3000) == 1 && granted(&next, &r) && give(&next, &r, 4096), "and has it when the first is gone");
    raw_check(give(&holder, &held, LEN), "the holder is well");
    close(holder.fd);
    close(next.fd);
}

int main(void)
{
    struct raw_srv s = {.opts.data_buffers = 1};
    struct raw_conn a;

    raw_start(&s);
    raw_fill(pattern, sizeof(pattern), 3);
    a = raw_admin(&s, false, false, NULL);
    writes(&s, &a);
    reads(&s, &a);
    compare_in_capsule(&s, &a);
    first_in_line_leaves(&s, &a);
    close(a.fd);
    raw_check(raw_works(&s, true, true), "the target works");
    raw_stop(&s);
    return raw_end();
}
