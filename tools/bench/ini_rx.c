/* SPDX-License-Identifier: Apache-2.0 */
/* ini_rx.c: the incoming half: a bounded parser that believes nothing.
 *
 * Bytes arrive in any cut. A PDU is: common header (8 bytes), specific header (its length fixed by the type), header
 * digest, padding, data, data digest. Headers are gathered in q->head and judged whole before any data byte is taken;
 * data goes straight from the receive buffer into the command's buffer.
 */
#include "ini.h"

#include "base/crc32c.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

static int fault(struct ini *q, enum pdu_fes fes, const char *fmt, ...) PRINTF_LIKE(3, 4);
static int fault(struct ini *q, enum pdu_fes fes, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(q->fault, sizeof(q->fault), fmt, ap);
    va_end(ap);
    q->fes = (uint8_t)fes;
    return -EPROTO;
}

static uint32_t hdgst_bytes(const struct ini *q, uint8_t type)
{
    bool plain = type == PDU_ICRESP || type == PDU_C2H_TERM;

    return q->opts.hdgst && !plain ? PDU_DIGEST_BYTES : 0;
}

/* Header length that the type demands; 0: a target may not send this type. */
static uint32_t hlen_of(uint8_t type)
{
    switch (type) {
    case PDU_ICRESP: return sizeof(struct pdu_ic);
    case PDU_C2H_TERM: return sizeof(struct pdu_term);
    case PDU_RSP: return sizeof(struct pdu_rsp);
    case PDU_C2H_DATA: return sizeof(struct pdu_data);
    case PDU_R2T: return sizeof(struct pdu_r2t);
    default: return 0;
    }
}

static int check_ch(struct ini *q)
{
    const struct pdu_ch *ch = (const struct pdu_ch *)(const void *)q->head;
    uint32_t hlen = hlen_of(ch->type), plen = from_le32(ch->plen), whole;

    if (hlen == 0)
        return fault(q, FES_HEADER, "PDU type 0x%02x may not come from a target", ch->type);
    if ((ch->type == PDU_ICRESP) == q->ready && ch->type != PDU_C2H_TERM)
        return fault(q, FES_SEQUENCE, "PDU type 0x%02x at the wrong time", ch->type);
    if (ch->hlen != hlen)
        return fault(q, FES_HEADER, "type 0x%02x: HLEN %u, must be %u", ch->type, ch->hlen, hlen);
    whole = hlen + hdgst_bytes(q, ch->type);
    if (ch->type == PDU_C2H_TERM ? plen < PDU_TERM_MIN || plen > PDU_TERM_MAX : ch->type != PDU_C2H_DATA && plen != whole)
        return fault(q, FES_HEADER, "type 0x%02x: PLEN %u, must be %u", ch->type, plen, whole);
    if (ch->type != PDU_C2H_DATA && ch->pdo != 0)
        return fault(q, FES_HEADER, "type 0x%02x: PDO %u without data", ch->type, ch->pdo);
    if (hdgst_bytes(q, ch->type) ? !(ch->flags & PDU_F_HDGST) : (ch->flags & PDU_F_HDGST) != 0)
        return fault(q, FES_HEADER, "type 0x%02x: HDGSTF does not fit what was agreed", ch->type);
    if (ch->type != PDU_C2H_DATA && (ch->flags & ~PDU_F_HDGST) != 0)
        return fault(q, FES_HEADER, "type 0x%02x: flags 0x%02x", ch->type, ch->flags);
    q->head_want = ch->type == PDU_C2H_TERM ? plen : whole;
    return 0;
}

static int on_icresp(struct ini *q)
{
    const struct pdu_ic *ic = (const struct pdu_ic *)(const void *)q->head;
    uint8_t asked = (uint8_t)((q->opts.hdgst ? 1 : 0) | (q->opts.ddgst ? 2 : 0));

    if (from_le16(ic->pfv) != 0)
        return fault(q, FES_UNSUPPORTED, "ICResp: PFV %u", from_le16(ic->pfv));
    if (ic->pda > 31)
        return fault(q, FES_HEADER, "ICResp: CPDA %u, at most 31", ic->pda);
    if (ic->dgst != asked)
        return fault(q, FES_UNSUPPORTED, "ICResp: digests 0x%x, asked for 0x%x", ic->dgst, asked);
    if (from_le32(ic->max) < 4096 || from_le32(ic->max) % 4 != 0)
        return fault(q, FES_HEADER, "ICResp: MAXH2CDATA %u", from_le32(ic->max));
    q->cpda = ic->pda;
    q->maxh2cdata = from_le32(ic->max);
    q->ready = true;
    return 0;
}

static int on_term(struct ini *q)
{
    const struct pdu_term *t = (const struct pdu_term *)(const void *)q->head;

    snprintf(q->fault, sizeof(q->fault), "the target sent C2HTermReq: FES %u, FEI %u", from_le16(t->fes),
             from_le32(t->fei));
    q->fes = 0;
    return -EPROTO;
}

/* The one lookup of a target's CCCID or CID. */
static struct ini_cmd *cmd_by_cid(struct ini *q, uint16_t cid)
{
    return cid < q->opts.depth ? q->by_cid[cid] : NULL;
}

static int on_rsp(struct ini *q)
{
    const struct nvme_cqe *cqe = &((const struct pdu_rsp *)(const void *)q->head)->cqe;
    struct ini_cmd *c = cmd_by_cid(q, from_le16(cqe->cid));
    uint16_t status = from_le16(cqe->status) >> 1;

    if (c == NULL)
        return fault(q, FES_HEADER, "CapsuleResp for cid %u, which is not outstanding", from_le16(cqe->cid));
    if (status == 0 && c->dir != INI_NO_DATA && c->priv.moved != c->len)
        return fault(q, FES_SEQUENCE, "success for cid %u after %u of %u data bytes", from_le16(cqe->cid), c->priv.moved,
                     c->len);
    if (status == 0 && c->priv.h2c_off != c->priv.h2c_end)
        return fault(q, FES_SEQUENCE, "success for cid %u before its data was sent", from_le16(cqe->cid));
    if (c->priv.h2c_off != c->priv.h2c_end)
        return fault(q, FES_SEQUENCE, "cid %u ended inside a grant", from_le16(cqe->cid));
    ini_finish(q, c, status, from_le64(cqe->result));
    return 0;
}

static int on_r2t(struct ini *q)
{
    const struct pdu_r2t *r = (const struct pdu_r2t *)(const void *)q->head;
    struct ini_cmd *c = cmd_by_cid(q, from_le16(r->cccid));
    uint32_t off = from_le32(r->r2to), len = from_le32(r->r2tl);

    if (c == NULL || c->dir != INI_WRITE || c->priv.in_capsule)
        return fault(q, FES_HEADER, "R2T for cid %u, which has no data to give", from_le16(r->cccid));
    if (c->priv.h2c_off != c->priv.h2c_end)
        return fault(q, FES_LIMIT, "second R2T for cid %u while one is open; MAXR2T is 1", from_le16(r->cccid));
    if (len == 0 || off != c->priv.moved || (uint64_t)off + len > c->len)
        return fault(q, FES_RANGE, "R2T %u+%u for cid %u: expected offset %u, length within %u", off, len,
                     from_le16(r->cccid), c->priv.moved, c->len);
    q->r2ts++;
    c->priv.ttag = from_le16(r->ttag);
    c->priv.moved = off + len;
    c->priv.h2c_off = off;
    c->priv.h2c_end = off + len;
    ini_grant(q, c);
    return 0;
}

static int check_c2h_shape(struct ini *q, const struct pdu_data *d)
{
    uint32_t off = d->ch.pdo, len = from_le32(d->datal), want;
    uint8_t allowed = PDU_F_HDGST | PDU_F_DDGST | PDU_F_LAST | PDU_F_SUCCESS;

    want = off + len + (q->opts.ddgst ? PDU_DIGEST_BYTES : 0);
    if (len == 0 || len > (UINT32_C(1) << 24))
        return fault(q, FES_RANGE, "C2HData: DATAL %u", len);
    if (off < sizeof(*d) + hdgst_bytes(q, PDU_C2H_DATA) || off % 4 != 0)
        return fault(q, FES_HEADER, "C2HData: PDO %u", off);
    if (from_le32(d->ch.plen) != want)
        return fault(q, FES_HEADER, "C2HData: PLEN %u, must be %u", from_le32(d->ch.plen), want);
    if (((d->ch.flags & PDU_F_DDGST) != 0) != q->opts.ddgst || (d->ch.flags & ~allowed) != 0)
        return fault(q, FES_HEADER, "C2HData: flags 0x%02x", d->ch.flags);
    if ((d->ch.flags & PDU_F_SUCCESS) && !(d->ch.flags & PDU_F_LAST))
        return fault(q, FES_HEADER, "C2HData: SUCCESS without LAST");
    if ((d->ch.flags & PDU_F_SUCCESS) && q->opts.sq_flow)
        return fault(q, FES_HEADER, "C2HData: SUCCESS although SQ flow control is on");
    return 0;
}

static int on_c2h(struct ini *q)
{
    const struct pdu_data *d = (const struct pdu_data *)(const void *)q->head;
    struct ini_cmd *c = cmd_by_cid(q, from_le16(d->cccid));
    uint32_t off = from_le32(d->datao), len = from_le32(d->datal);
    int err = check_c2h_shape(q, d);

    if (err)
        return err;
    if (c == NULL || c->dir != INI_READ || c->priv.read_last)
        return fault(q, FES_HEADER, "C2HData for cid %u, which expects none", from_le16(d->cccid));
    if (off != c->priv.moved || (uint64_t)off + len > c->len)
        return fault(q, FES_RANGE, "C2HData %u+%u for cid %u: expected offset %u, length within %u", off, len,
                     from_le16(d->cccid), c->priv.moved, c->len);
    c->priv.read_last = (d->ch.flags & PDU_F_LAST) != 0;
    if (c->priv.read_last && off + len != c->len && (d->ch.flags & PDU_F_SUCCESS))
        return fault(q, FES_SEQUENCE, "SUCCESS for cid %u after %u of %u bytes", from_le16(d->cccid), off + len, c->len);
    q->rx_cmd = c;
    q->rx_data = len;
    q->rx_crc = 0;
    q->rx_pad = d->ch.pdo - (uint32_t)sizeof(*d) - hdgst_bytes(q, PDU_C2H_DATA);
    q->rx = q->rx_pad ? INI_RX_PAD : INI_RX_DATA;
    return 0;
}

/* The whole header is in q->head. */
static int on_header(struct ini *q)
{
    const struct pdu_ch *ch = (const struct pdu_ch *)(const void *)q->head;
    le32 crc;
    int err;

    q->pdus_rx++;
    if (hdgst_bytes(q, ch->type)) {
        memcpy(&crc, q->head + ch->hlen, sizeof(crc));
        if (from_le32(crc) != crc32c(0, q->head, ch->hlen))
            return fault(q, FES_HDGST, "type 0x%02x: header digest is wrong", ch->type);
    }
    q->rx = INI_RX_CH;
    switch (ch->type) {
    case PDU_ICRESP: err = on_icresp(q); break;
    case PDU_C2H_TERM: err = on_term(q); break;
    case PDU_RSP: err = on_rsp(q); break;
    case PDU_R2T: err = on_r2t(q); break;
    default: err = on_c2h(q); break;
    }
    if (!err) {
        q->head_have = q->rx == INI_RX_CH ? 0 : q->head_have;
        q->head_want = sizeof(struct pdu_ch);
    }
    return err;
}

/* C2HData is whole: it may end its command. */
static void end_c2h(struct ini *q)
{
    const struct pdu_ch *ch = (const struct pdu_ch *)(const void *)q->head;
    struct ini_cmd *c = q->rx_cmd;
    bool success = (ch->flags & PDU_F_SUCCESS) != 0;

    q->rx_cmd = NULL;
    q->rx = INI_RX_CH;
    q->head_have = 0;
    if (success) {
        q->success_flags++;
        ini_finish(q, c, 0, 0);
    }
}

static size_t take_data(struct ini *q, const uint8_t *buf, size_t n)
{
    struct ini_cmd *c = q->rx_cmd;
    uint32_t take = (uint32_t)MIN(n, (size_t)q->rx_data);

    if (c->data)
        memcpy(c->data + c->priv.moved, buf, take);
    if (q->opts.ddgst)
        q->rx_crc = crc32c(q->rx_crc, buf, take);
    c->priv.moved += take;
    q->rx_data -= take;
    if (q->rx_data == 0) {
        if (q->opts.ddgst)
            q->rx = INI_RX_DDGST;
        else
            end_c2h(q);
    }
    return take;
}

/* The digest's bytes are gathered behind the header, which stays for end_c2h(). */
static int take_ddgst(struct ini *q, const uint8_t *buf, size_t n, size_t *used)
{
    uint32_t base = sizeof(struct pdu_data) + hdgst_bytes(q, PDU_C2H_DATA), take;
    le32 crc;

    take = (uint32_t)MIN(n, (size_t)(base + PDU_DIGEST_BYTES - q->head_have));
    memcpy(q->head + q->head_have, buf, take);
    q->head_have += take;
    *used = take;
    if (q->head_have < base + PDU_DIGEST_BYTES)
        return 0;
    memcpy(&crc, q->head + base, sizeof(crc));
    if (from_le32(crc) != q->rx_crc)
        return fault(q, FES_HDGST, "C2HData: data digest is wrong");
    end_c2h(q);
    return 0;
}

static int take_header(struct ini *q, const uint8_t *buf, size_t n, size_t *used)
{
    uint32_t take = (uint32_t)MIN(n, (size_t)(q->head_want - q->head_have));
    int err;

    assert(q->head_want <= sizeof(q->head));
    memcpy(q->head + q->head_have, buf, take);
    q->head_have += take;
    *used = take;
    if (q->head_have < q->head_want)
        return 0;
    if (q->rx == INI_RX_PSH)
        return on_header(q);
    err = check_ch(q);
    q->rx = INI_RX_PSH;
    return err;
}

int ini_rx_bytes(struct ini *q, const uint8_t *buf, size_t n)
{
    int err = 0;

    while (n > 0 && !err) {
        size_t used = 0;

        switch (q->rx) {
        case INI_RX_CH:
        case INI_RX_PSH:
            err = take_header(q, buf, n, &used);
            break;
        case INI_RX_PAD:
            used = MIN(n, (size_t)q->rx_pad);
            q->rx_pad -= (uint32_t)used;
            if (q->rx_pad == 0)
                q->rx = INI_RX_DATA;
            break;
        case INI_RX_DATA:
            used = take_data(q, buf, n);
            break;
        case INI_RX_DDGST:
            err = take_ddgst(q, buf, n, &used);
            break;
        case INI_RX_NR:
            assert(false);
        }
        buf += used;
        n -= used;
    }
    return err;
}
