/* SPDX-License-Identifier: Apache-2.0 */
/* raw_cut.c: a session of 40 PDUs on an I/O queue, cut after every byte, and sent one byte at a time; with digests, and without.
 *
 * Blocks carry the number of the session that wrote them, then bytes that follow from it: after each cut every block
 * must be whole, of this session or of an earlier one. A cut ends in a reset or in an orderly close, in turn.
 */
#include "raw.h"

#define LBA     512u
#define BLOCKS  16u
#define R2T_LEN 1024u

struct session {
    struct raw_conn c;
    uint64_t budget, sent; /* bytes that may still go out; that did */
    uint32_t id, pdus;
    bool     one_by_one, cut;
};

static void fill_block(uint8_t *b, uint32_t id)
{
    raw_fill(b, LBA, id);
    memcpy(b, &id, sizeof(id));
}

static bool block_whole(const uint8_t *b, uint32_t newest)
{
    static const uint8_t zero[LBA];
    uint8_t want[LBA];
    uint32_t id;

    memcpy(&id, b, sizeof(id));
    if (id == 0)
        return memcmp(b, zero, LBA) == 0;
    fill_block(want, id);
    return id <= newest && memcmp(b, want, LBA) == 0;
}

static bool out(struct session *s, const void *bytes, uint64_t n)
{
    uint64_t part = MIN(n, s->budget - s->sent), step = s->one_by_one ? 1 : part;

    for (uint64_t at = 0; at < part; at += step)
        if (!raw_send(s->c.fd, (const char *)bytes + at, step))
            return false;
    s->sent += part;
    s->pdus++;
    s->cut = part < n || s->sent == s->budget;
    return !s->cut;
}

static bool do_write(struct session *s, uint16_t cid, uint32_t lba)
{
    uint8_t data[LBA], pdu[LBA + 128];
    struct nvme_sqe sqe = raw_io(IO_WRITE, cid, lba, 1, LBA, true);

    fill_block(data, s->id);
    return out(s, pdu, raw_capsule(pdu, &sqe, data, LBA, s->c.hd, s->c.dd)) && raw_status(raw_resp(&s->c)) == 0;
}

static bool do_read(struct session *s, uint16_t cid, uint32_t lba)
{
    uint8_t pdu[LBA + 256];
    struct nvme_sqe sqe = raw_io(IO_READ, cid, lba, 1, LBA, false);
    const struct pdu_c2h_data *d = (const void *)pdu;

    if (!out(s, pdu, raw_capsule(pdu, &sqe, NULL, 0, s->c.hd, s->c.dd)) || raw_pdu(s->c.fd, pdu, sizeof(pdu)) == 0)
        return false;
    return d->common.type == PDU_C2H_DATA && block_whole(pdu + d->common.pdo, s->id);
}

static bool do_r2t_write(struct session *s, uint16_t cid, uint32_t lba)
{
    uint8_t data[R2T_LEN], pdu[R2T_LEN + 128];
    struct nvme_sqe sqe = raw_io(IO_WRITE, cid, lba, 2, R2T_LEN, false);
    struct pdu_r2t *r = (void *)pdu;
    uint16_t ttag;

    fill_block(data, s->id);
    fill_block(data + LBA, s->id);
    if (!out(s, pdu, raw_capsule(pdu, &sqe, NULL, 0, s->c.hd, s->c.dd)) || raw_pdu(s->c.fd, pdu, sizeof(pdu)) == 0 ||
            r->common.type != PDU_R2T)
        return false;
    ttag = from_le16(r->ttag);
    for (uint32_t off = 0; off < R2T_LEN; off += LBA)
        if (!out(s, pdu, raw_h2c(pdu, cid, ttag, off, data + off, LBA, off + LBA == R2T_LEN, s->c.hd, s->c.dd)))
            return false;
    return raw_status(raw_resp(&s->c)) == 0;
}

static bool do_flush(struct session *s, uint16_t cid)
{
    struct nvme_sqe sqe = raw_sqe(IO_FLUSH, cid, 1);
    uint8_t pdu[128];

    return out(s, pdu, raw_capsule(pdu, &sqe, NULL, 0, s->c.hd, s->c.dd)) && raw_status(raw_resp(&s->c)) == 0;
}

static bool begin(struct session *s, const struct raw_conn *admin, uint16_t qid)
{
    struct raw_connect p = {.qid = qid, .cntlid = admin->cntlid, .sqsize = 31, .cattr = CATTR_SQ_FLOW_OFF};
    struct pdu_icreq ic;
    struct pdu_icresp r;
    uint8_t pdu[2048];

    raw_icreq(&ic, (uint8_t)((s->c.hd ? DGST_HEADER : 0) | (s->c.dd ? DGST_DATA : 0)));
    if (!out(s, &ic, sizeof(ic)) || !raw_recv(s->c.fd, &r, sizeof(r)))
        return false;
    return out(s, pdu, raw_connect_pdu(pdu, &p, s->c.hd, s->c.dd)) && raw_status(raw_resp(&s->c)) == 0;
}

/* ICReq, Connect, then 38 PDUs: six writes, nine reads, seven flushes, four writes by R2T of four PDUs less one. */
static bool play(struct session *s, const struct raw_conn *admin, uint16_t qid)
{
    uint16_t cid = 0;

    if (!begin(s, admin, qid))
        return false;
    for (uint32_t i = 0; i < 6; i++, cid = (uint16_t)(cid + 3))
        if (!do_write(s, cid, i) || !do_read(s, (uint16_t)(cid + 1), i) || !do_flush(s, (uint16_t)(cid + 2)))
            return false;
    for (uint32_t i = 0; i < 6; i++, cid++)
        if (!do_r2t_write(s, cid, 6 + i % 5 * 2))
            return false;
    return do_read(s, 100, 6) && do_flush(s, 101);
}

static void check_blocks(const struct raw_conn *q, uint32_t newest, uint64_t at)
{
    static uint8_t all[BLOCKS * LBA];
    struct nvme_sqe rd = raw_io(IO_READ, 1, 0, BLOCKS, sizeof(all), false);
    bool whole = raw_read_cmd(q, &rd, all, sizeof(all)) == 0;

    for (uint32_t i = 0; whole && i < BLOCKS; i++)
        whole = block_whole(all + i * LBA, newest);
    raw_check(whole, "blocks after a cut at byte %lu", (unsigned long)at);
}

static void end_with(int fd, bool reset)
{
    struct linger l = {.l_onoff = 1};

    if (reset)
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, sizeof(l));
    close(fd);
}

/* The queue id of a connection that was cut is free again once the target has drained it. */
static bool play_at(struct raw_srv *srv, struct session *s, const struct raw_conn *admin, uint64_t budget, bool dgst)
{
    uint32_t id = s->id + 1;
    bool ok = false;

    for (int tries = 0; tries < 200; tries++) {
        *s = (struct session){.c = {.fd = raw_open(srv), .hd = dgst, .dd = dgst}, .budget = budget, .id = id,
                .one_by_one = s->one_by_one};
        ok = play(s, admin, (uint16_t)(2 + id % 14));
        end_with(s->c.fd, id & 1);
        if (ok || s->cut)
            return ok;
        usleep(1000);
    }
    return ok;
}

static void cuts(struct raw_srv *srv, bool dgst)
{
    struct raw_conn admin = raw_admin(srv, false, false, NULL), q = raw_ioq(srv, &admin, 1, false, false);
    struct session s = {.id = 0};
    uint64_t whole;

    raw_check(play_at(srv, &s, &admin, UINT64_MAX, dgst) && s.pdus >= 40, "a whole session: %u PDUs", s.pdus);
    whole = s.sent;
    for (uint64_t at = 0; at < whole; at++) {
        raw_check(!play_at(srv, &s, &admin, at, dgst) && s.cut, "cut at %lu", (unsigned long)at);
        check_blocks(&q, s.id, at);
    }
    s.one_by_one = true;
    raw_check(play_at(srv, &s, &admin, UINT64_MAX, dgst), "one byte at a time");
    check_blocks(&q, s.id, whole);
    close(q.fd);
    close(admin.fd);
}

/* On a server of its own: blocks that another round left would look newer than any session of this one. */
static void round_of(bool dgst)
{
    struct raw_srv srv = {.lba_bytes = LBA};
    uint64_t start = raw_now_ms();

    raw_start(&srv);
    cuts(&srv, dgst);
    raw_stop(&srv);
    printf("%s digests: %lu ms\n", dgst ? "with" : "without", (unsigned long)(raw_now_ms() - start));
}

int main(void)
{
    round_of(true);
    round_of(false);
    return raw_end();
}
