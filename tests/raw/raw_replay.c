/* SPDX-License-Identifier: Apache-2.0 */
/* raw_replay.c: a host that lost its connection sends its commands again.
 *
 * One at a time: each kind of command is sent, the connection is cut before its answer was read, the host comes back and sends
 * it 0 to 3 times more; every repeat is answered as the first would have been, and the blocks are as if it had been
 * carried out once (or, without a repeat, once or not at all). Then whole sequences: what was not answered is sent again, in order.
 */
#include "raw.h"

#define LBA    512u   /* first block of the range that is played with */
#define BLOCKS 4u
#define BYTES  (BLOCKS * 4096u)

static struct raw_srv srv;
static uint8_t before[BYTES], written[BYTES], zeroes[BYTES], now[BYTES];

struct kind {
    const char    *name;
    uint8_t        opc;
    enum { NO_DATA, CAPSULE, R2T, TO_HOST } data;
    uint32_t       nlb;
    const uint8_t *makes;  /* what the range is afterwards; NULL: as before */
};
static const struct kind kinds[] = {
    {"write in a capsule", IO_WRITE, CAPSULE, 2, written},
    {"write by R2T", IO_WRITE, R2T, BLOCKS, written},
    {"write zeroes", IO_WRITE_ZEROES, NO_DATA, BLOCKS, zeroes},
    {"deallocate", IO_DSM, CAPSULE, BLOCKS, zeroes},
    {"flush", IO_FLUSH, NO_DATA, 1, NULL},
    {"read", IO_READ, TO_HOST, BLOCKS, NULL},
    {"compare", IO_COMPARE, CAPSULE, 2, NULL},
    {"verify", IO_VERIFY, NO_DATA, BLOCKS, NULL},
};

struct host { struct raw_conn a, q; };

static bool come_back(struct host *h)
{
    h->a = raw_admin(&srv, false, false, NULL);
    h->q = h->a.fd >= 0 ? raw_ioq(&srv, &h->a, 1, false, false) : (struct raw_conn){.fd = -1};
    return h->q.fd >= 0;
}

static void leave(struct host *h, bool reset)
{
    struct linger l = {.l_onoff = 1};

    if (reset) {
        setsockopt(h->q.fd, SOL_SOCKET, SO_LINGER, &l, sizeof(l));
        setsockopt(h->a.fd, SOL_SOCKET, SO_LINGER, &l, sizeof(l));
    }
    close(h->q.fd);
    close(h->a.fd);
}

static struct nvme_sqe sqe_of(const struct kind *k, uint16_t cid, uint32_t *bytes)
{
    struct nvme_sqe sqe;

    *bytes = k->opc == IO_DSM ? (uint32_t)sizeof(struct nvme_dsm_range) : k->data == NO_DATA ? 0 : k->nlb * 4096;
    sqe = raw_io(k->opc, cid, LBA, k->nlb, *bytes, k->data == CAPSULE);
    if (k->opc == IO_DSM) {
        sqe.cdw10 = to_le32(0);
        sqe.cdw11 = to_le32(DSM_AD);
        sqe.cdw12 = to_le32(0);
    }
    return sqe;
}

static const void *data_of(const struct kind *k)
{
    static struct nvme_dsm_range range;

    range = (struct nvme_dsm_range){.nlb = to_le32(k->nlb), .slba = to_le64(LBA)};
    if (k->opc == IO_DSM)
        return &range;
    return k->opc == IO_COMPARE ? before : written;
}

/* Sends it, and the data that it is asked for, and does not read how it ended. */
static bool send_only(const struct raw_conn *q, const struct kind *k)
{
    static uint8_t pdu[BYTES + 256];
    uint32_t bytes;
    struct nvme_sqe sqe = sqe_of(k, 1, &bytes);
    const struct pdu_r2t *r = (const void *)pdu;
    bool in_capsule = k->data == CAPSULE;

    if (!raw_send(q->fd, pdu, raw_capsule(pdu, &sqe, in_capsule ? data_of(k) : NULL, in_capsule ? bytes : 0, false, false)))
        return false;
    if (k->data != R2T)
        return true;
    return raw_pdu(q->fd, pdu, 256) != 0 && r->common.type == PDU_R2T &&
           raw_send(q->fd, pdu, raw_h2c(pdu, 1, from_le16(r->ttag), 0, data_of(k), bytes, true, false, false));
}

static uint16_t carry_out(const struct raw_conn *q, const struct kind *k)
{
    static uint8_t back[BYTES];
    uint32_t bytes;
    struct nvme_sqe sqe = sqe_of(k, 2, &bytes);

    switch (k->data) {
    case TO_HOST:
        return raw_read_cmd(q, &sqe, back, bytes);
    case R2T:
        return raw_write_r2t(q, &sqe, data_of(k), bytes, 4096);
    case CAPSULE:
        return raw_status(raw_cmd(q, &sqe, data_of(k), bytes));
    case NO_DATA:
        return raw_status(raw_cmd(q, &sqe, NULL, 0));
    }
    return 0xffff;
}

static bool read_all(const struct raw_conn *q)
{
    struct nvme_sqe rd = raw_io(IO_READ, 3, LBA, BLOCKS, BYTES, false);

    return raw_read_cmd(q, &rd, now, BYTES) == 0;
}

static void each_kind(const struct kind *k, int repeats, bool reset)
{
    static const struct kind fill = {"fill", IO_WRITE, R2T, BLOCKS, NULL};
    struct nvme_sqe wr;
    struct host h;
    uint32_t bytes, part = k->nlb * 4096;
    bool as_after, as_before;

    raw_check(come_back(&h), "%s: a host", k->name);
    wr = sqe_of(&fill, 9, &bytes);
    raw_check(raw_write_r2t(&h.q, &wr, before, bytes, bytes) == 0, "%s: the range is filled", k->name);
    raw_check(send_only(&h.q, k), "%s: sent", k->name);
    leave(&h, reset);
    raw_check(come_back(&h), "%s: back again", k->name);
    for (int i = 0; i < repeats; i++) {
        uint16_t status = carry_out(&h.q, k);

        raw_check(status == 0, "%s, repeat %d: %03x", k->name, i, status);
    }
    raw_check(read_all(&h.q), "%s: read", k->name);
    as_before = memcmp(now, before, BYTES) == 0;
    as_after = k->makes ? memcmp(now, k->makes, part) == 0 && memcmp(now + part, before + part, BYTES - part) == 0 : as_before;
    raw_check(as_after || (repeats == 0 && as_before), "%s, %d repeats: the blocks are neither", k->name, repeats);
    leave(&h, false);
}

/* ---- sequences ---------------------------------------------------------------------------------------------------------- */

#define STEPS 24u

/* Step i writes block i * 7 % BLOCKS with its own bytes, or zeroes it. */
static void step_fill(uint8_t *b, uint32_t round, uint32_t i)
{
    if (i % 5 == 4)
        memset(b, 0, 4096);
    else
        raw_fill(b, 4096, round * 100 + i + 1);
}

static uint32_t block_of(uint32_t i) { return i * 7 % BLOCKS; }

static bool send_step(const struct raw_conn *q, uint32_t round, uint32_t i)
{
    static uint8_t pdu[8192], data[4096];
    bool zero = i % 5 == 4;
    struct nvme_sqe sqe = raw_io(zero ? IO_WRITE_ZEROES : IO_WRITE, (uint16_t)i, LBA + block_of(i), 1, zero ? 0 : 4096, !zero);

    step_fill(data, round, i);
    return raw_send(q->fd, pdu, raw_capsule(pdu, &sqe, zero ? NULL : data, zero ? 0 : 4096, false, false));
}

/* One command after the other; a host without an answer stops there. How many were answered. */
static uint32_t send_steps(const struct raw_conn *q, uint32_t round, uint32_t first, uint32_t until)
{
    uint32_t i = first;

    while (i < until && send_step(q, round, i) && raw_status(raw_resp(q)) == 0)
        i++;
    return i;
}

/* The connection is cut behind step `cut`, sent and not answered; then everything from there on, `repeats` times. */
static void sequence(uint32_t round, uint32_t cut, int repeats)
{
    static uint8_t want[4096];
    uint32_t bad = 0;
    struct host h;

    raw_check(come_back(&h) && send_steps(&h.q, round, 0, cut) == cut && send_step(&h.q, round, cut), "the first %u", cut);
    leave(&h, round & 1);
    for (int k = 0; k < repeats; k++) {
        raw_check(come_back(&h) && send_steps(&h.q, round, cut, STEPS) == STEPS, "from %u on", cut);
        leave(&h, k & 1);
    }
    raw_check(come_back(&h) && read_all(&h.q), "read");
    for (uint32_t b = 0; b < BLOCKS; b++) {
        uint32_t last = STEPS - 1;

        while (block_of(last) != b)
            last--;
        step_fill(want, round, last);
        bad += memcmp(now + b * 4096, want, 4096) != 0;
    }
    raw_check(bad == 0, "cut at %u, %d repeats: %u blocks are not what came last", cut, repeats, bad);
    leave(&h, false);
}

int main(void)
{
    uint32_t round = 0;

    srv.single_host = true;
    srv.nr = 2;
    raw_start(&srv);
    raw_fill(before, BYTES, 1);
    raw_fill(written, BYTES, 2);
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        for (int repeats = 0; repeats <= 3; repeats++)
            for (int reset = 0; reset < 2; reset++)
                each_kind(&kinds[i], repeats, reset);
    for (uint32_t cut = 0; cut < STEPS; cut += 5)
        for (int repeats = 1; repeats <= 3; repeats++)
            sequence(++round, cut, repeats);
    raw_check(raw_works(&srv, true, true), "the target works");
    raw_stop(&srv);
    return raw_end();
}
