/* SPDX-License-Identifier: Apache-2.0 */
/* pdu.c: the PDU parser (pdu.h).
 *
 * A PDU: the first 8 bytes are judged as soon as they are there (type, state, HLEN, flags, PLEN, PDO), so that nothing
 * longer than its type allows is ever gathered; the rest of the header and its digest follow; then the digest and the
 * content are checked and the header's event goes out; then payload spans; then END.
 * A header that lies whole in the caller's bytes is read in place; one that is split is gathered in hdr.
 * Failures: each check names its FES and FEI; p->state becomes PDU_ST_ERROR and stays.
 */
#include "export/pdu.h"

#include "base/crc32c.h"

void pdu_init(struct pdu_parser *p, uint32_t in_capsule_max, uint32_t h2c_max)
{
    memset(p, 0, sizeof(*p));
    p->need = sizeof(struct pdu_common);
    p->in_capsule_max = in_capsule_max;
    p->h2c_max = h2c_max;
}

void pdu_ic_done(struct pdu_parser *p, uint8_t dgst)
{
    assert(!p->ic_done);
    p->ic_done = true;
    p->hdgst = (dgst & DGST_HEADER) != 0;
    p->ddgst = (dgst & DGST_DATA) != 0;
}

static uint32_t hdgst_bytes(const struct pdu_parser *p) { return p->hdgst ? DGST_BYTES : 0; }
static uint32_t ddgst_bytes(const struct pdu_parser *p) { return p->ddgst ? DGST_BYTES : 0; }

static bool fault(struct pdu_fault *f, uint16_t fes, uint32_t fei)
{
    *f = (struct pdu_fault){.fes = fes, .fei = fei};
    return false;
}

#define FIELD(type, member) ((uint32_t)offsetof(struct type, member))
#define COMMON(member)      FIELD(pdu_common, member)

/* Type and state: what may come now. */
static bool check_type(const struct pdu_parser *p, uint8_t type, struct pdu_fault *f)
{
    switch (type) {
    case PDU_H2C_TERM_REQ:
        return true;
    case PDU_ICREQ:
        return p->ic_done ? fault(f, FES_SEQUENCE, 0) : true;
    case PDU_CAPSULE_CMD:
        return p->ic_done ? true : fault(f, FES_SEQUENCE, 0);
    case PDU_H2C_DATA:
        return p->ic_done && p->connected ? true : fault(f, FES_SEQUENCE, 0);
    default:
        return fault(f, FES_HEADER_FIELD, COMMON(type));
    }
}

static uint32_t hlen_of(uint8_t type)
{
    switch (type) {
    case PDU_ICREQ:       return sizeof(struct pdu_icreq);
    case PDU_CAPSULE_CMD: return sizeof(struct pdu_capsule_cmd);
    default:              return sizeof(struct pdu_h2c_data); /* H2CData, H2CTermReq */
    }
}

static bool check_flags(const struct pdu_parser *p, const struct pdu_common *c, bool has_data)
{
    bool digests = c->type == PDU_CAPSULE_CMD || c->type == PDU_H2C_DATA;
    bool hd = (c->flags & PDU_HDGSTF) != 0, dd = (c->flags & PDU_DDGSTF) != 0;

    if (!digests)
        return !hd && !dd;
    if (hd != p->hdgst || (dd && !p->ddgst))
        return false;
    return dd == p->ddgst || !has_data;
}

/* PLEN and PDO of the two types that carry data: head is HLEN + HDGST. */
static bool check_data_lengths(const struct pdu_parser *p, const struct pdu_common *c, uint32_t head, struct pdu_fault *f)
{
    uint64_t plen = from_le32(c->plen);
    uint64_t floor = (uint64_t)head + ddgst_bytes(p); /* a PDU with data is longer */

    if (c->type == PDU_CAPSULE_CMD && plen == head)
        return true;
    if (plen <= floor)
        return fault(f, FES_HEADER_FIELD, COMMON(plen));
    if (c->type == PDU_CAPSULE_CMD && plen > floor + p->in_capsule_max)
        return fault(f, FES_HEADER_FIELD, COMMON(plen));
    if (c->type == PDU_H2C_DATA && plen > floor + p->h2c_max)
        return fault(f, FES_LIMIT_EXCEEDED, 0);
    if (c->pdo != head)
        return fault(f, FES_HEADER_FIELD, COMMON(pdo));
    return true;
}

/* The first 8 bytes. On success *need is how many bytes header and digest have. */
static bool check_common(const struct pdu_parser *p, const struct pdu_common *c, uint32_t *need, struct pdu_fault *f)
{
    uint32_t plen = from_le32(c->plen), hlen = hlen_of(c->type);
    uint32_t head = hlen + hdgst_bytes(p);

    if (!check_type(p, c->type, f))
        return false;
    *need = hlen;
    if (c->type == PDU_H2C_TERM_REQ)
        return true; /* never answered: its own faults do not matter */
    if (c->hlen != hlen)
        return fault(f, FES_HEADER_FIELD, COMMON(hlen));
    if (!check_flags(p, c, c->type == PDU_H2C_DATA || plen != head))
        return fault(f, FES_HEADER_FIELD, COMMON(flags));
    if (c->type == PDU_ICREQ)
        return plen == hlen ? true : fault(f, FES_HEADER_FIELD, COMMON(plen));
    *need = head;
    return check_data_lengths(p, c, head, f);
}

static bool check_hdgst(const struct pdu_parser *p, const uint8_t *hdr, struct pdu_fault *f)
{
    const struct pdu_common *c = (const void *)hdr;
    le32 got;

    if (!p->hdgst || c->type == PDU_ICREQ || c->type == PDU_H2C_TERM_REQ)
        return true;
    memcpy(&got, hdr + c->hlen, sizeof(got));
    if (from_le32(got) == crc32c(0, hdr, c->hlen))
        return true;
    return fault(f, FES_HEADER_DIGEST, from_le32(got));
}

static bool read_icreq(const uint8_t *hdr, struct pdu_event *ev)
{
    const struct pdu_icreq *ic = (const void *)hdr;

    if (from_le16(ic->pfv) != 0)
        return fault(&ev->fault, FES_UNSUPPORTED, FIELD(pdu_icreq, pfv));
    if (ic->hpda > HPDA_MAX)
        return fault(&ev->fault, FES_HEADER_FIELD, FIELD(pdu_icreq, hpda));
    if (ic->dgst & ~(DGST_HEADER | DGST_DATA))
        return fault(&ev->fault, FES_HEADER_FIELD, FIELD(pdu_icreq, dgst));
    ev->type = PDU_EV_ICREQ;
    ev->ic.hpda = ic->hpda;
    ev->ic.dgst = ic->dgst;
    ev->ic.maxr2t = from_le32(ic->maxr2t);
    return true;
}

static bool read_capsule(struct pdu_parser *p, const uint8_t *hdr, struct pdu_event *ev)
{
    const struct pdu_capsule_cmd *c = (const void *)hdr;
    uint32_t head = (uint32_t)sizeof(*c) + hdgst_bytes(p), plen = from_le32(c->common.plen);

    ev->type = PDU_EV_CAPSULE;
    ev->sqe = &c->sqe;
    p->data_digest = p->ddgst && plen != head;
    p->data_left = plen - head - (p->data_digest ? DGST_BYTES : 0);
    ev->data_bytes = p->data_left;
    return true;
}

static bool read_h2c_data(struct pdu_parser *p, const uint8_t *hdr, struct pdu_event *ev)
{
    const struct pdu_h2c_data *d = (const void *)hdr;
    uint64_t datal = from_le32(d->datal);
    uint64_t whole = d->common.pdo + datal + ddgst_bytes(p);

    if (datal == 0 || datal % 4 != 0)
        return fault(&ev->fault, FES_HEADER_FIELD, FIELD(pdu_h2c_data, datal));
    if (datal > p->h2c_max)
        return fault(&ev->fault, FES_LIMIT_EXCEEDED, 0);
    if (whole != from_le32(d->common.plen))
        return fault(&ev->fault, FES_HEADER_FIELD, COMMON(plen));
    ev->type = PDU_EV_H2C_DATA;
    ev->h2c = (struct pdu_h2c){.cccid = from_le16(d->cccid), .ttag = from_le16(d->ttag), .datao = from_le32(d->datao),
                               .datal = (uint32_t)datal, .last = (d->common.flags & PDU_LAST) != 0};
    p->data_digest = p->ddgst;
    p->data_left = (uint32_t)datal;
    ev->data_bytes = p->data_left;
    return true;
}

static bool read_term(const uint8_t *hdr, struct pdu_event *ev)
{
    const struct pdu_term_req *t = (const void *)hdr;

    ev->type = PDU_EV_TERM;
    ev->fault = (struct pdu_fault){.fes = from_le16(t->fes), .fei = from_le32(t->fei)};
    return true;
}

static bool read_content(struct pdu_parser *p, const uint8_t *hdr, struct pdu_event *ev)
{
    switch (hdr[0]) {
    case PDU_ICREQ:       return read_icreq(hdr, ev);
    case PDU_CAPSULE_CMD: return read_capsule(p, hdr, ev);
    case PDU_H2C_DATA:    return read_h2c_data(p, hdr, ev);
    default:              return read_term(hdr, ev);
    }
}

/* The header's bytes are whole at hdr. */
static bool header_done(struct pdu_parser *p, const uint8_t *hdr, struct pdu_event *ev)
{
    if (!check_hdgst(p, hdr, &ev->fault) || !read_content(p, hdr, ev))
        return false;
    ev->hdr = hdr;
    ev->hdr_bytes = hlen_of(hdr[0]);
    p->have = 0;
    p->need = sizeof(struct pdu_common);
    p->data_crc = 0;
    p->data_done = 0;
    p->dgst_have = 0;
    if (p->data_left)
        p->state = PDU_ST_DATA;
    return true;
}

static void fatal(struct pdu_parser *p, const uint8_t *hdr, uint32_t have, struct pdu_event *ev)
{
    memmove(p->hdr, hdr, have);
    p->have = have;
    p->state = PDU_ST_ERROR;
    p->fault = ev->fault;
    ev->type = PDU_EV_ERROR;
}

void pdu_fail(struct pdu_parser *p, const struct pdu_event *ev, struct pdu_fault f)
{
    struct pdu_event err = {.fault = f};

    assert(p->state != PDU_ST_ERROR);
    fatal(p, ev->hdr, ev->hdr_bytes, &err);
}

static size_t step_in_place(struct pdu_parser *p, const uint8_t *buf, size_t len, uint32_t need, struct pdu_event *ev)
{
    assert(need <= len);
    if (!header_done(p, buf, ev))
        fatal(p, buf, need, ev);
    return need;
}

/* Gathers up to `need` header bytes in hdr; the first 8 are judged before more are taken. */
static size_t step_gather(struct pdu_parser *p, const uint8_t *buf, size_t len, struct pdu_event *ev)
{
    size_t took = 0;

    for (;;) {
        size_t n = MIN(len - took, p->need - p->have);

        memcpy(p->hdr + p->have, buf + took, n);
        p->have += (uint32_t)n;
        took += n;
        if (p->have < p->need) {
            ev->type = PDU_EV_MORE;
            return took;
        }
        if (p->have > sizeof(struct pdu_common))
            break;
        if (!check_common(p, (const void *)p->hdr, &p->need, &ev->fault)) {
            fatal(p, p->hdr, p->have, ev);
            return took;
        }
        assert(p->need > p->have && p->need <= PDU_HDR_MAX);
    }
    if (!header_done(p, p->hdr, ev))
        fatal(p, p->hdr, p->have, ev);
    return took;
}

static size_t step_header(struct pdu_parser *p, const uint8_t *buf, size_t len, struct pdu_event *ev)
{
    uint32_t need;

    if (p->have != 0 || len < sizeof(struct pdu_common))
        return step_gather(p, buf, len, ev);
    if (!check_common(p, (const void *)buf, &need, &ev->fault)) {
        fatal(p, buf, sizeof(struct pdu_common), ev);
        return sizeof(struct pdu_common);
    }
    if (len < need)
        return step_gather(p, buf, len, ev);
    return step_in_place(p, buf, len, need, ev);
}

void pdu_took(struct pdu_parser *p, const void *bytes, size_t n)
{
    assert(p->state == PDU_ST_DATA && n <= p->data_left);
    if (p->data_digest)
        p->data_crc = crc32c(p->data_crc, bytes, n);
    p->data_left -= (uint32_t)n;
    p->data_done += (uint32_t)n;
    if (p->data_left == 0)
        p->state = PDU_ST_DDGST;
}

static size_t step_data(struct pdu_parser *p, const uint8_t *buf, size_t len, struct pdu_event *ev)
{
    size_t n = MIN(len, p->data_left);

    if (p->data_digest)
        n = MIN(n, BLOCK_BYTES - p->data_done % BLOCK_BYTES);
    if (n == 0) {
        ev->type = PDU_EV_MORE;
        return 0;
    }
    pdu_took(p, buf, n);
    ev->type = PDU_EV_DATA;
    ev->bytes = buf;
    ev->len = n;
    return n;
}

static size_t step_ddgst(struct pdu_parser *p, const uint8_t *buf, size_t len, struct pdu_event *ev)
{
    size_t n = p->data_digest ? MIN(len, DGST_BYTES - p->dgst_have) : 0;
    le32 got;

    if (n)
        memcpy(p->dgst + p->dgst_have, buf, n);
    p->dgst_have += (uint32_t)n;
    if (p->data_digest && p->dgst_have < DGST_BYTES) {
        ev->type = PDU_EV_MORE;
        return n;
    }
    memcpy(&got, p->dgst, sizeof(got));
    ev->type = PDU_EV_END;
    ev->digest_ok = !p->data_digest || from_le32(got) == p->data_crc;
    p->state = PDU_ST_HEADER;
    return n;
}

size_t pdu_step(struct pdu_parser *p, const uint8_t *buf, size_t len, struct pdu_event *ev)
{
    switch (p->state) {
    case PDU_ST_HEADER:
        return step_header(p, buf, len, ev);
    case PDU_ST_DATA:
        return step_data(p, buf, len, ev);
    case PDU_ST_DDGST:
        return step_ddgst(p, buf, len, ev);
    case PDU_ST_ERROR:
    case PDU_ST_NR:
        break;
    }
    ev->type = PDU_EV_ERROR;
    ev->fault = p->fault;
    return 0;
}

bool pdu_h2c_check(const struct pdu_h2c *h, const struct pdu_r2t_state *r, struct pdu_fault *f)
{
    if (!r)
        return fault(f, FES_HEADER_FIELD, FIELD(pdu_h2c_data, ttag));
    if (h->cccid != r->cid)
        return fault(f, FES_HEADER_FIELD, FIELD(pdu_h2c_data, cccid));
    if (h->datao != r->next)
        return fault(f, FES_SEQUENCE, 0);
    if ((uint64_t)h->datao + h->datal > r->end)
        return fault(f, FES_OUT_OF_RANGE, 0);
    if (h->last != ((uint64_t)h->datao + h->datal == r->end))
        return fault(f, FES_SEQUENCE, 0);
    return true;
}
