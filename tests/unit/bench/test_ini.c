/* SPDX-License-Identifier: Apache-2.0 */
/* The initiator's queue, fed bytes by hand: what a target may not send ends it, in any cut of the stream. */
#include "../../../tools/bench/ini.h"

#include "base/crc32c.h"

#include <criterion/criterion.h>
#include <stdlib.h>

static uint32_t ended;
static uint16_t last_status;

static void on_done(struct ini_cmd *c)
{
    ended++;
    last_status = c->status;
}

struct bytes { uint8_t b[65536]; uint32_t n; };

static void add(struct bytes *to, const void *p, uint32_t n)
{
    memcpy(to->b + to->n, p, n);
    to->n += n;
}

static struct ini *start(bool hdgst, bool ddgst)
{
    struct ini_opts o = {.depth = 8, .hdgst = hdgst, .ddgst = ddgst, .in_capsule_max = 8192};
    struct pdu_ic ic = {.ch = {.type = PDU_ICRESP, .hlen = 128, .plen = to_le32(128)}, .max = to_le32(16384)};
    struct ini *q = malloc(sizeof(*q));

    ic.dgst = (uint8_t)(hdgst | ddgst << 1);
    cr_assert_eq(ini_init(q, &o), 0);
    cr_assert_eq(ini_take_batch(q)->bytes, 128);
    ini_sent(q);
    cr_assert_eq(ini_rx_bytes(q, (const uint8_t *)&ic, sizeof(ic)), 0);
    cr_assert(q->ready);
    return q;
}

static uint16_t submit(struct ini *q, struct ini_cmd *c, enum ini_dir dir, uint8_t *data, uint32_t len)
{
    *c = (struct ini_cmd){.dir = dir, .data = data, .len = len, .done = on_done};
    ini_submit(q, c);
    return from_le16(c->sqe.cid);
}

static struct pdu_data c2h(uint16_t cid, uint32_t off, uint32_t len, uint8_t flags)
{
    return (struct pdu_data){.ch = {.type = PDU_C2H_DATA, .flags = flags, .hlen = 24, .pdo = 24, .plen = to_le32(24 + len)},
                             .cccid = to_le16(cid), .datao = to_le32(off), .datal = to_le32(len)};
}

static struct pdu_rsp rsp(uint16_t cid, uint16_t status)
{
    return (struct pdu_rsp){.ch = {.type = PDU_RSP, .hlen = 24, .plen = to_le32(24)},
                            .cqe = {.cid = to_le16(cid), .status = to_le16((uint16_t)(status << 1))}};
}

static struct pdu_r2t r2t(uint16_t cid, uint32_t off, uint32_t len)
{
    return (struct pdu_r2t){.ch = {.type = PDU_R2T, .hlen = 24, .plen = to_le32(24)}, .cccid = to_le16(cid),
                            .ttag = to_le16(9), .r2to = to_le32(off), .r2tl = to_le32(len)};
}

static void stop(struct ini *q)
{
    ini_lose_all(q);
    ini_fini(q);
    free(q);
}

Test(ini, a_read_survives_every_cut_of_the_stream)
{
    static uint8_t payload[4096], got[4096];

    for (uint32_t i = 0; i < sizeof(payload); i++)
        payload[i] = (uint8_t)(i * 7);
    for (uint32_t cut = 1; cut < 4200; cut += cut < 40 ? 1 : 397) {
        struct ini *q = start(true, true);
        struct bytes s = {.n = 0};
        struct ini_cmd c;
        uint16_t cid = submit(q, &c, INI_READ, got, 4096);
        struct pdu_data d = c2h(cid, 0, 4096, PDU_F_HDGST | PDU_F_DDGST | PDU_F_LAST | PDU_F_SUCCESS);
        le32 crc;

        d.ch.pdo = 32; /* four bytes of padding behind the digest */
        d.ch.plen = to_le32(32 + 4096 + 4);
        add(&s, &d, 24);
        crc = to_le32(crc32c(0, &d, 24));
        add(&s, &crc, 4);
        add(&s, "\0\0\0\0", 4);
        add(&s, payload, 4096);
        crc = to_le32(crc32c(0, payload, 4096));
        add(&s, &crc, 4);
        ended = 0;
        memset(got, 0, sizeof(got));
        for (uint32_t at = 0; at < s.n; at += cut)
            cr_assert_eq(ini_rx_bytes(q, s.b + at, MIN(cut, s.n - at)), 0, "cut %u: %s", cut, q->fault);
        cr_assert_eq(ended, 1);
        cr_assert_eq(memcmp(got, payload, 4096), 0);
        stop(q);
    }
}

Test(ini, small_writes_ride_in_the_capsule_and_large_ones_wait_for_r2t)
{
    static uint8_t data[65536];
    struct ini *q = start(false, false);
    struct ini_cmd small, large;
    struct ini_batch *b;
    struct pdu_r2t r;

    submit(q, &small, INI_WRITE, data, 8192);
    r = r2t(submit(q, &large, INI_WRITE, data, 65536), 0, 40000);
    b = ini_take_batch(q);
    cr_assert_eq(b->bytes, 72 + 8192 + 72);
    ini_sent(q);
    cr_assert_eq(ini_rx_bytes(q, (uint8_t *)&r, sizeof(r)), 0);
    b = ini_take_batch(q);
    cr_assert_eq(b->bytes, 3 * 24 + 40000, "three PDUs of at most MAXH2CDATA");
    cr_assert_eq(((struct pdu_data *)b->iov[0].iov_base)->ch.flags, 0);
    cr_assert_eq(((struct pdu_data *)b->iov[4].iov_base)->ch.flags, PDU_F_LAST);
    stop(q);
}

#define REFUSED(q, pdu, why_fes)                                                                        \
    do {                                                                                                \
        cr_assert_neq(ini_rx_bytes(q, (const uint8_t *)&(pdu), sizeof(pdu)), 0, "must be refused");     \
        cr_assert_eq((q)->fes, why_fes, "%s", (q)->fault);                                              \
        cr_assert_neq((q)->fault[0], 0);                                                                \
        stop(q);                                                                                        \
    } while (0)

static uint8_t room[65536];
static struct ini *one(enum ini_dir dir, uint32_t len, uint16_t *cid)
{
    static struct ini_cmd c;
    struct ini *q = start(false, false);

    *cid = submit(q, &c, dir, room, len);
    return q;
}

Test(ini, refuses_answers_to_commands_that_do_not_exist)
{
    uint16_t cid;
    struct ini *q = one(INI_READ, 4096, &cid);
    struct pdu_rsp r = rsp((uint16_t)(cid + 1), 0);

    REFUSED(q, r, FES_HEADER);
    q = one(INI_READ, 4096, &cid);
    r = rsp(60000, 0);
    REFUSED(q, r, FES_HEADER);
    q = one(INI_WRITE, 65536, &cid);
    struct pdu_data d = c2h(cid, 0, 4096, PDU_F_LAST);
    REFUSED(q, d, FES_HEADER);
    q = one(INI_READ, 4096, &cid);
    struct pdu_r2t t = r2t(cid, 0, 4096);
    REFUSED(q, t, FES_HEADER);
}

Test(ini, refuses_data_outside_the_command)
{
    uint16_t cid;
    struct ini *q = one(INI_READ, 4096, &cid);
    struct pdu_data d = c2h(cid, 4096, 4096, PDU_F_LAST);

    REFUSED(q, d, FES_RANGE);
    q = one(INI_READ, 4096, &cid);
    d = c2h(cid, 0, 8192, PDU_F_LAST);
    REFUSED(q, d, FES_RANGE);
    q = one(INI_READ, 4096, &cid);
    d = c2h(cid, 0, UINT32_MAX - 20, PDU_F_LAST);
    REFUSED(q, d, FES_RANGE);
    q = one(INI_READ, 4096, &cid);
    d = c2h(cid, 0, 0, PDU_F_LAST);
    REFUSED(q, d, FES_RANGE);
    q = one(INI_WRITE, 65536, &cid);
    struct pdu_r2t t = r2t(cid, 0, 65537);
    REFUSED(q, t, FES_RANGE);
    q = one(INI_WRITE, 65536, &cid);
    t = r2t(cid, 4096, 4096);
    REFUSED(q, t, FES_RANGE);
}

Test(ini, refuses_success_that_comes_too_early)
{
    uint16_t cid;
    struct ini *q = one(INI_READ, 4096, &cid);
    struct pdu_rsp r = rsp(cid, 0);
    struct pdu_data d;

    REFUSED(q, r, FES_SEQUENCE);
    q = one(INI_WRITE, 65536, &cid);
    r = rsp(cid, 0);
    REFUSED(q, r, FES_SEQUENCE);
    q = one(INI_READ, 4096, &cid);
    d = c2h(cid, 0, 4096, PDU_F_SUCCESS);
    REFUSED(q, d, FES_HEADER);
    q = one(INI_READ, 8192, &cid);
    d = c2h(cid, 0, 4096, PDU_F_SUCCESS | PDU_F_LAST);
    REFUSED(q, d, FES_SEQUENCE);
    q = one(INI_READ, 4096, &cid);
    q->opts.sq_flow = true;
    d = c2h(cid, 0, 4096, PDU_F_SUCCESS | PDU_F_LAST);
    REFUSED(q, d, FES_HEADER);
}

Test(ini, refuses_headers_that_lie_about_lengths_and_flags)
{
    static const struct { uint8_t type, flags, hlen, pdo; uint32_t plen; uint8_t fes; } bad[] = {
        {PDU_CMD, 0, 72, 0, 72, FES_HEADER},        {0x55, 0, 24, 0, 24, FES_HEADER},
        {PDU_RSP, 0, 23, 0, 24, FES_HEADER},        {PDU_RSP, 0, 24, 0, 25, FES_HEADER},
        {PDU_RSP, 0, 24, 24, 24, FES_HEADER},       {PDU_RSP, PDU_F_HDGST, 24, 0, 24, FES_HEADER},
        {PDU_RSP, PDU_F_LAST, 24, 0, 24, FES_HEADER}, {PDU_R2T, 0, 24, 0, UINT32_MAX, FES_HEADER},
        {PDU_ICRESP, 0, 128, 0, 128, FES_SEQUENCE}, {PDU_C2H_TERM, 0, 24, 0, 153, FES_HEADER},
        {PDU_C2H_TERM, 0, 24, 0, 23, FES_HEADER},
    };

    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct pdu_ch ch = {bad[i].type, bad[i].flags, bad[i].hlen, bad[i].pdo, to_le32(bad[i].plen)};
        uint16_t cid;
        struct ini *q = one(INI_READ, 4096, &cid);

        REFUSED(q, ch, bad[i].fes);
    }
}

Test(ini, refuses_wrong_digests)
{
    struct ini_cmd c;
    struct ini *q = start(true, false);
    struct pdu_rsp r = rsp(submit(q, &c, INI_NO_DATA, NULL, 0), 0);
    uint8_t buf[28] = {0};

    r.ch.flags = PDU_F_HDGST;
    r.ch.plen = to_le32(28);
    memcpy(buf, &r, 24);
    REFUSED(q, buf, FES_HDGST);
}

Test(ini, a_term_pdu_ends_the_queue_with_its_reason)
{
    uint16_t cid;
    struct ini *q = one(INI_READ, 4096, &cid);
    struct pdu_term t = {.ch = {.type = PDU_C2H_TERM, .hlen = 24, .plen = to_le32(24)}, .fes = to_le16(2)};

    ended = 0;
    cr_assert_neq(ini_rx_bytes(q, (uint8_t *)&t, sizeof(t)), 0);
    cr_assert_eq(q->fes, 0, "not our finding");
    ini_lose_all(q);
    cr_assert_eq(ended, 1);
    cr_assert_eq(last_status, INI_STATUS_LOST);
    ini_fini(q);
    free(q);
}

Test(ini, term_request_carries_the_offending_header_and_no_more)
{
    uint16_t cid;
    struct ini *q = one(INI_READ, 4096, &cid);
    struct pdu_ch ch = {.type = 0x44, .hlen = 255, .plen = to_le32(7)};
    uint8_t buf[PDU_TERM_MAX];
    struct pdu_term t;
    size_t n;

    ini_rx_bytes(q, (uint8_t *)&ch, sizeof(ch));
    n = ini_term_req(q, buf);
    memcpy(&t, buf, sizeof(t));
    cr_assert_eq(n, 24 + 8);
    cr_assert_eq(t.ch.type, PDU_H2C_TERM);
    cr_assert_eq(from_le32(t.ch.plen), n);
    cr_assert_eq(memcmp(buf + 24, &ch, 8), 0);
    stop(q);
}
