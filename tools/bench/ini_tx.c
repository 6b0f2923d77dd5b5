/* SPDX-License-Identifier: Apache-2.0 */
/* ini_tx.c: the outgoing half: capsules, H2CData and the batches they go out in.
 *
 * One batch is built while the other is being sent, so a pass of the loop costs one sendmsg however many commands it
 * starts. Headers lie in the batch; adjacent ones share an iovec. Data is not copied.
 */
#include "ini.h"

#include "base/crc32c.h"

#include <errno.h>
#include <stdlib.h>

static void set_state(struct ini_cmd *c, enum ini_state to)
{
    static const bool may[INI_STATE_NR][INI_STATE_NR] = {
        [INI_IDLE] = {[INI_SENT] = true},
        [INI_SENT] = {[INI_IDLE] = true},
    };

    assert(may[c->priv.state][to]);
    c->priv.state = to;
}

static void batch_reset(struct ini_batch *b)
{
    b->nr_iov = b->hdr_used = 0;
    b->bytes = 0;
    b->last_is_hdr = false;
}

/* Room for n more header bytes, zeroed; the caller has checked batch_room(). */
static uint8_t *batch_hdr(struct ini_batch *b, uint32_t n)
{
    uint8_t *at = b->hdr + b->hdr_used;

    assert(b->hdr_used + n <= INI_BATCH_HDRS);
    memset(at, 0, n);
    if (b->last_is_hdr) {
        b->iov[b->nr_iov - 1].iov_len += n;
    } else {
        assert(b->nr_iov < INI_BATCH_IOVS);
        b->iov[b->nr_iov++] = (struct iovec){.iov_base = at, .iov_len = n};
    }
    b->hdr_used += n;
    b->bytes += n;
    b->last_is_hdr = true;
    return at;
}

static void batch_data(struct ini_batch *b, void *data, uint32_t n)
{
    assert(b->nr_iov < INI_BATCH_IOVS);
    b->iov[b->nr_iov++] = (struct iovec){.iov_base = data, .iov_len = n};
    b->bytes += n;
    b->last_is_hdr = false;
}

static bool batch_room(const struct ini_batch *b)
{
    return b->nr_iov + 4 <= INI_BATCH_IOVS && b->hdr_used + 512 <= INI_BATCH_HDRS;
}

static void put_icreq(struct ini *q)
{
    struct pdu_ic *ic = (struct pdu_ic *)(void *)batch_hdr(q->build, sizeof(*ic));

    ic->ch = (struct pdu_ch){.type = PDU_ICREQ, .hlen = sizeof(*ic), .plen = to_le32(sizeof(*ic))};
    ic->dgst = (uint8_t)((q->opts.hdgst ? 1 : 0) | (q->opts.ddgst ? 2 : 0));
    ic->max = to_le32(0); /* one R2T a command at a time */
}

int ini_init(struct ini *q, const struct ini_opts *opts)
{
    assert(opts->depth >= 1 && opts->depth <= INI_DEPTH_MAX);
    memset(q, 0, sizeof(*q));
    q->opts = *opts;
    q->batches = malloc(2 * sizeof(*q->batches));
    if (q->batches == NULL)
        return -ENOMEM;
    q->build = &q->batches[0];
    batch_reset(&q->batches[0]);
    batch_reset(&q->batches[1]);
    for (uint32_t i = 0; i < opts->depth; i++)
        q->free_cid[q->nr_free++] = (uint16_t)(opts->depth - 1 - i);
    q->head_want = sizeof(struct pdu_ch);
    put_icreq(q);
    return 0;
}

void ini_fini(struct ini *q)
{
    assert(q->outstanding == 0);
    free(q->batches);
    q->batches = NULL;
}

bool ini_has_room(const struct ini *q)
{
    return q->nr_free > 0 && batch_room(q->build) && q->h2c_head == NULL;
}

/* Header digest and padding after hdr_bytes of a PDU with data; returns the data offset it set. */
static uint8_t finish_header(struct ini *q, uint8_t *pdu, uint32_t hdr_bytes, uint32_t data_bytes)
{
    struct pdu_ch *ch = (struct pdu_ch *)(void *)pdu;
    uint32_t align = (q->cpda + 1u) * 4, pdo = hdr_bytes + (q->opts.hdgst ? PDU_DIGEST_BYTES : 0), plen = pdo;

    if (data_bytes) {
        pdo = ROUND_UP(pdo, align);
        ch->pdo = (uint8_t)pdo;
        plen = pdo + data_bytes + (q->opts.ddgst ? PDU_DIGEST_BYTES : 0);
        if (q->opts.ddgst)
            ch->flags |= PDU_F_DDGST;
    }
    ch->hlen = (uint8_t)hdr_bytes;
    ch->plen = to_le32(plen);
    if (q->opts.hdgst) {
        le32 crc;

        ch->flags |= PDU_F_HDGST;
        crc = to_le32(crc32c(0, pdu, hdr_bytes));
        memcpy(pdu + hdr_bytes, &crc, sizeof(crc));
    }
    return (uint8_t)pdo;
}

static uint32_t header_room(const struct ini *q, uint32_t hdr_bytes, bool data)
{
    uint32_t n = hdr_bytes + (q->opts.hdgst ? PDU_DIGEST_BYTES : 0);

    return data ? ROUND_UP(n, (q->cpda + 1u) * 4) : n;
}

static void put_data(struct ini *q, uint8_t *data, uint32_t len)
{
    batch_data(q->build, data, len);
    if (q->opts.ddgst) {
        le32 crc = to_le32(crc32c(0, data, len));

        memcpy(batch_hdr(q->build, sizeof(crc)), &crc, sizeof(crc));
    }
}

void ini_submit(struct ini *q, struct ini_cmd *c)
{
    struct pdu_cmd *pdu;
    uint32_t room;

    assert(q->ready && ini_has_room(q) && c->done != NULL);
    assert(c->dir == INI_NO_DATA || c->len > 0);
    memset(&c->priv, 0, offsetof(typeof(c->priv), h2c_next));
    c->priv.h2c_next = NULL;
    set_state(c, INI_SENT);
    c->sqe.cid = to_le16(q->free_cid[--q->nr_free]);
    q->by_cid[from_le16(c->sqe.cid)] = c;
    q->outstanding++;
    c->sqe.flags = SQE_F_SGL;
    c->priv.in_capsule = c->dir == INI_WRITE && c->len <= q->opts.in_capsule_max;
    if (c->dir != INI_NO_DATA) {
        c->sqe.sgl_len = to_le32(c->len);
        c->sqe.sgl_id = c->priv.in_capsule ? SGL_IN_CAPSULE : SGL_TRANSPORT;
    }
    room = header_room(q, sizeof(*pdu), c->priv.in_capsule);
    pdu = (struct pdu_cmd *)(void *)batch_hdr(q->build, room);
    pdu->ch.type = PDU_CMD;
    pdu->sqe = c->sqe;
    finish_header(q, (uint8_t *)pdu, sizeof(*pdu), c->priv.in_capsule ? c->len : 0);
    if (c->priv.in_capsule) {
        put_data(q, c->data, c->len);
        c->priv.moved = c->len;
    }
}

/* One H2CData PDU of a command's grant. */
static void put_h2c(struct ini *q, struct ini_cmd *c)
{
    uint32_t len = MIN(c->priv.h2c_end - c->priv.h2c_off, q->maxh2cdata), off = c->priv.h2c_off;
    struct pdu_data *pdu = (struct pdu_data *)(void *)batch_hdr(q->build, header_room(q, sizeof(*pdu), true));

    pdu->ch.type = PDU_H2C_DATA;
    pdu->ch.flags = off + len == c->priv.h2c_end ? PDU_F_LAST : 0;
    pdu->cccid = c->sqe.cid;
    pdu->ttag = to_le16(c->priv.ttag);
    pdu->datao = to_le32(off);
    pdu->datal = to_le32(len);
    finish_header(q, (uint8_t *)pdu, sizeof(*pdu), len);
    put_data(q, c->data + off, len);
    c->priv.h2c_off += len;
}

static void pump_grants(struct ini *q)
{
    while (q->h2c_head && batch_room(q->build)) {
        struct ini_cmd *c = q->h2c_head;

        put_h2c(q, c);
        if (c->priv.h2c_off < c->priv.h2c_end)
            continue;
        q->h2c_head = c->priv.h2c_next;
        if (q->h2c_head == NULL)
            q->h2c_tail = NULL;
        c->priv.h2c_next = NULL;
    }
}

void ini_grant(struct ini *q, struct ini_cmd *c)
{
    if (q->h2c_tail)
        q->h2c_tail->priv.h2c_next = c;
    else
        q->h2c_head = c;
    q->h2c_tail = c;
    pump_grants(q);
}

struct ini_batch *ini_take_batch(struct ini *q)
{
    if (q->flying || q->build->bytes == 0)
        return NULL;
    q->flying = q->build;
    q->build = q->flying == &q->batches[0] ? &q->batches[1] : &q->batches[0];
    batch_reset(q->build);
    pump_grants(q);
    return q->flying;
}

void ini_sent(struct ini *q)
{
    assert(q->flying != NULL);
    q->flying = NULL;
}

void ini_finish(struct ini *q, struct ini_cmd *c, uint16_t status, uint64_t result)
{
    uint16_t cid = from_le16(c->sqe.cid);

    assert(q->by_cid[cid] == c);
    q->by_cid[cid] = NULL;
    q->free_cid[q->nr_free++] = cid;
    q->outstanding--;
    set_state(c, INI_IDLE);
    c->status = status;
    c->result = result;
    c->done(c);
}

void ini_lose_all(struct ini *q)
{
    q->h2c_head = q->h2c_tail = NULL;
    q->rx_cmd = NULL;
    q->ready = false; /* done() must not submit here again */
    for (uint32_t cid = 0; cid < q->opts.depth; cid++)
        if (q->by_cid[cid])
            ini_finish(q, q->by_cid[cid], INI_STATUS_LOST, 0);
}

size_t ini_term_req(const struct ini *q, uint8_t buf[static PDU_TERM_MAX])
{
    struct pdu_term *t = (struct pdu_term *)(void *)buf;
    uint32_t cause = MIN(q->head_have, PDU_TERM_MAX - (uint32_t)sizeof(*t));

    memset(buf, 0, PDU_TERM_MAX);
    t->ch = (struct pdu_ch){.type = PDU_H2C_TERM, .hlen = sizeof(*t), .plen = to_le32((uint32_t)sizeof(*t) + cause)};
    t->fes = to_le16(q->fes);
    memcpy(buf + sizeof(*t), q->head, cause);
    return sizeof(*t) + cause;
}
