/* SPDX-License-Identifier: Apache-2.0 */
/* net_pdu.c: the PDUs that a host sends and receives, with digests as agreed. */
#include "tools/sim/net_host.h"

#include "base/crc32c.h"

static void put(struct hq *q, const void *bytes, uint32_t len)
{
    assert(q->tx_len + len <= HQ_TX_BYTES);
    memcpy(q->tx_buf + q->tx_len, bytes, len);
    q->tx_len += len;
}

static void put_digest(struct hq *q, const void *bytes, uint32_t len)
{
    le32 d = to_le32(crc32c(0, bytes, len));

    put(q, &d, sizeof(d));
}

/* Common header, header digest, payload, data digest; hdr begins with struct pdu_common, flags beyond digests set. */
static void put_pdu(struct hq *q, void *hdr, uint32_t hlen, const void *data, uint32_t bytes)
{
    struct pdu_common *c = hdr;
    bool hd = (q->dgst & DGST_HEADER) != 0, dd = (q->dgst & DGST_DATA) != 0 && bytes != 0;

    c->hlen = (uint8_t)hlen;
    c->flags = (uint8_t)(c->flags | (hd ? PDU_HDGSTF : 0) | (dd ? PDU_DDGSTF : 0));
    c->pdo = (uint8_t)(bytes == 0 ? 0 : hlen + (hd ? DGST_BYTES : 0));
    c->plen = to_le32(hlen + (hd ? DGST_BYTES : 0) + bytes + (dd ? DGST_BYTES : 0));
    put(q, hdr, hlen);
    if (hd)
        put_digest(q, hdr, hlen);
    if (bytes != 0)
        put(q, data, bytes);
    if (dd)
        put_digest(q, data, bytes);
}

void hq_send_icreq(struct hq *q)
{
    struct pdu_icreq p = {.common = {.type = PDU_ICREQ}, .dgst = q->dgst};
    uint8_t agreed = q->dgst;

    q->dgst = 0; /* digests begin behind the ICResp */
    put_pdu(q, &p, sizeof(p), NULL, 0);
    q->dgst = agreed;
    hq_flush(q);
}

void hq_send_capsule(struct hq *q, const void *sqe, const void *data, uint32_t bytes)
{
    struct pdu_capsule_cmd p = {.common = {.type = PDU_CAPSULE_CMD}};

    memcpy(&p.sqe, sqe, sizeof(p.sqe));
    put_pdu(q, &p, sizeof(p), data, bytes);
    hq_flush(q);
}

void hq_send_h2c(struct hq *q, uint16_t cid, uint16_t ttag, const uint8_t *data, uint32_t off, uint32_t len, bool last)
{
    struct pdu_h2c_data p = {.common = {.type = PDU_H2C_DATA, .flags = last ? PDU_LAST : 0},
                             .cccid = to_le16(cid), .ttag = to_le16(ttag), .datao = to_le32(off), .datal = to_le32(len)};

    put_pdu(q, &p, sizeof(p), data + off, len);
    hq_flush(q);
}

/* ---- in ---- */

static bool digest_ok(const uint8_t *bytes, uint32_t len, const uint8_t *digest)
{
    le32 d;

    memcpy(&d, digest, sizeof(d));
    return crc32c(0, bytes, len) == from_le32(d);
}

/* Bytes of payload, or -1: the PDU contradicts itself. */
static int64_t payload_of(const struct hq *q, const struct pdu_common *c)
{
    uint32_t plen = from_le32(c->plen), data_end = plen - ((c->flags & PDU_DDGSTF) ? DGST_BYTES : 0);
    uint32_t head = c->hlen + ((c->flags & PDU_HDGSTF) ? DGST_BYTES : 0u);
    const uint8_t *p = q->rx_buf;

    if (plen < head || data_end < head || (c->pdo != 0 && c->pdo < head) || c->pdo > data_end)
        return -1;
    if ((c->flags & PDU_HDGSTF) && !digest_ok(p, c->hlen, p + c->hlen))
        return -1;
    if (c->pdo == 0)
        return plen == head ? 0 : -1;
    if ((c->flags & PDU_DDGSTF) && !digest_ok(p + c->pdo, data_end - c->pdo, p + data_end))
        return -1;
    return data_end - c->pdo;
}

bool hq_take_pdu(struct hq *q)
{
    struct pdu_common c;
    int64_t bytes;
    uint32_t plen;

    if (q->rx_len < sizeof(c))
        return false;
    memcpy(&c, q->rx_buf, sizeof(c));
    plen = from_le32(c.plen);
    if (plen < sizeof(c) || plen > HQ_RX_BYTES) {
        net_host_broke(q, "a PDU of impossible length");
        world_fail(q->h->w, "the target sent a PDU of %u bytes", plen);
        return false;
    }
    if (q->rx_len < plen)
        return false;
    bytes = payload_of(q, &c);
    if (bytes < 0) {
        net_host_broke(q, "a bad PDU");
        world_fail(q->h->w, "the target sent a PDU of type %u that contradicts itself", c.type);
        return false;
    }
    net_host_pdu(q, q->rx_buf, q->rx_buf + c.pdo, (uint32_t)bytes);
    if (q->state == HQ_DEAD || q->state == HQ_NONE)
        return false;
    memmove(q->rx_buf, q->rx_buf + plen, q->rx_len - plen);
    q->rx_len -= plen;
    return true;
}
