/* SPDX-License-Identifier: Apache-2.0 */
/* raw_owed.c: a host that asks to write and does not send its data holds buffers of everybody: it is cut after the send timeout, counted
 * from the grant, however it dawdles; one that sends in time is not, however long it had to wait for buffers of ours.
 */
#include "raw.h"

#define TIMEOUT_MS 2000u
#define BIG        (512u * 1024)
#define SHARE      16 /* commands of BIG bytes: one queue's share of the chunks, and here its whole volume's */
#define OTHER_HOST "nqn.2014-08.org.nvmexpress:uuid:other"

static uint8_t pattern[BIG];

struct pair { struct raw_conn a, q; };

static struct pair join(const struct raw_srv *s, const char *hostnqn)
{
    struct raw_connect p = {.sqsize = 31, .hostnqn = hostnqn, .cattr = CATTR_SQ_FLOW_OFF};
    struct raw_connect io = {.qid = 1, .sqsize = 127, .hostnqn = hostnqn, .cattr = CATTR_SQ_FLOW_OFF};
    struct pair h = {.a = raw_admin(s, false, false, &p), .q = {.fd = raw_open(s)}};

    io.cntlid = h.a.cntlid;
    raw_check(h.a.fd >= 0 && raw_ic(&h.q) && raw_status(raw_connect(&h.q, &io)) == 0, "%s joins", hostnqn);
    return h;
}

static void leave(struct pair *h)
{
    close(h->q.fd);
    close(h->a.fd);
}

static bool alive(const struct raw_conn *admin)
{
    struct nvme_sqe ka = raw_sqe(ADMIN_KEEP_ALIVE, 1, 0);

    return raw_status(raw_cmd(admin, &ka, NULL, 0)) == 0;
}

static void ask(const struct raw_conn *q, uint16_t cid, uint32_t len)
{
    struct nvme_sqe wr = raw_io(IO_WRITE, cid, cid * (BIG / 4096), len / 4096, len, false);
    uint8_t pdu[128];

    raw_check(raw_send(q->fd, pdu, raw_capsule(pdu, &wr, NULL, 0, false, false)), "write %u is asked for", cid);
}

static struct pdu_r2t granted(const struct raw_conn *q)
{
    struct pdu_r2t r = {0};

    raw_check(raw_pdu(q->fd, &r, sizeof(r)) == sizeof(r) && r.common.type == PDU_R2T, "an R2T");
    return r;
}

static uint16_t pay(const struct raw_conn *q, const struct pdu_r2t *r)
{
    static uint8_t pdu[BIG + 128];

    raw_send(q->fd, pdu, raw_h2c(pdu, from_le16(r->cccid), from_le16(r->ttag), 0, pattern, from_le32(r->r2tl), true, false, false));
    return raw_status(raw_resp(q));
}

static bool readable(int fd, int ms)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};

    return poll(&p, 1, ms) == 1;
}

static void cut_in_time(uint64_t start, const char *what)
{
    uint64_t took = raw_now_ms() - start;

    raw_check(took + 100 >= TIMEOUT_MS && took < TIMEOUT_MS + 1500, "%s: cut after %lu ms", what, (unsigned long)took);
}

/* It holds every large chunk that its volume may have and says all the while that it is there. */
static void who_never_sends(const struct raw_srv *s)
{
    struct pair bad = join(s, RAW_HOST), good = join(s, OTHER_HOST);
    struct nvme_sqe rd = raw_io(IO_READ, 9, 0, 16, 65536, false);
    uint64_t start = raw_now_ms();
    static uint8_t pdu[65536 + 128];

    for (uint16_t i = 0; i < SHARE; i++)
        ask(&bad.q, i, BIG);
    for (int i = 0; i < SHARE; i++)
        granted(&bad.q);
    raw_send(good.q.fd, pdu, raw_capsule(pdu, &rd, NULL, 0, false, false));
    while (!readable(good.q.fd, 200) && raw_now_ms() - start < 3 * TIMEOUT_MS)
        raw_check(alive(&bad.a), "it is there");
    cut_in_time(start, "no data");
    raw_check(readable(good.q.fd, 0) && raw_pdu(good.q.fd, pdu, sizeof(pdu)) > 65536, "the other host's read is answered");
    raw_check(readable(bad.q.fd, 0) && raw_at_end(bad.q.fd), "the debtor's queue has ended");
    raw_check(alive(&bad.a), "its controller has not");
    leave(&bad);
    leave(&good);
}

/* A byte now and then of n, which are never all sent, till the stream ends. */
static void dribble(const struct raw_conn *q, const uint8_t *pdu, uint32_t n, const char *what)
{
    uint64_t start = raw_now_ms();
    uint32_t at = 100; /* the header and some data */

    raw_send(q->fd, pdu, at);
    for (; at < n - 1 && !readable(q->fd, 50) && raw_now_ms() - start < 3 * TIMEOUT_MS; at++)
        raw_send(q->fd, pdu + at, 1);
    cut_in_time(start, what);
    raw_check(readable(q->fd, 0) && raw_at_end(q->fd), "%s: the end", what);
}

static void who_dribbles(const struct raw_srv *s)
{
    static uint8_t pdu[8192];
    struct pair h = join(s, RAW_HOST);
    struct nvme_sqe in = raw_io(IO_WRITE, 3, 0, 1, 4096, true), bad = in;
    struct pdu_r2t r;

    ask(&h.q, 1, 4096);
    r = granted(&h.q);
    dribble(&h.q, pdu, raw_h2c(pdu, 1, from_le16(r.ttag), 0, pattern, 4096, true, false, false), "H2CData");
    leave(&h);
    h = join(s, RAW_HOST);
    dribble(&h.q, pdu, raw_capsule(pdu, &in, pattern, 4096, false, false), "in the capsule");
    leave(&h);
    h = join(s, RAW_HOST);
    bad.opc = 0x7f;
    dribble(&h.q, pdu, raw_capsule(pdu, &bad, pattern, 4096, false, false), "of a command that is refused");
    leave(&h);
}

/* Slow by less than the timeout, over and over, for longer than it. */
static void who_sends_in_time(const struct raw_srv *s)
{
    struct pair h = join(s, RAW_HOST);

    for (uint16_t i = 0; i < 4; i++) {
        struct pdu_r2t r;

        ask(&h.q, i, BIG);
        r = granted(&h.q);
        usleep((TIMEOUT_MS - 700) * 1000);
        raw_check(pay(&h.q, &r) == 0, "a late write %u", i);
    }
    leave(&h);
}

/* What one waits for chunks that another holds is not counted against it. */
static void who_had_to_wait(const struct raw_srv *s)
{
    struct pair first = join(s, RAW_HOST), second = join(s, OTHER_HOST);
    struct pdu_r2t r[SHARE], late;

    for (uint16_t i = 0; i < SHARE; i++)
        ask(&first.q, i, BIG);
    for (int i = 0; i < SHARE; i++)
        r[i] = granted(&first.q);
    ask(&second.q, 0, BIG);
    raw_check(!readable(second.q.fd, (int)TIMEOUT_MS - 600), "no chunks for the second");
    for (int i = 0; i < SHARE; i++)
        raw_check(pay(&first.q, &r[i]) == 0, "the first pays");
    late = granted(&second.q);
    usleep((TIMEOUT_MS - 600) * 1000);
    raw_check(pay(&second.q, &late) == 0, "the second has its time from its grant on");
    leave(&first);
    leave(&second);
}

int main(void)
{
    struct raw_srv s = {.opts = {.data_buffers = 4 * SHARE * (BIG / 65536), .send_timeout_ns = TIMEOUT_MS * NS_PER_MS}};

    raw_fill(pattern, sizeof(pattern), 3);
    raw_start(&s);
    who_never_sends(&s);
    who_dribbles(&s);
    who_sends_in_time(&s);
    who_had_to_wait(&s);
    raw_check(raw_works(&s, true, true), "the target works");
    raw_stop(&s);
    return raw_end();
}
