/* SPDX-License-Identifier: Apache-2.0 */
/* net_host.c: a small NVMe/TCP host in the simulated network.
 *
 * 1. Admin connection: ICReq, Connect, enable; I/O connection: ICReq, Connect with the controller's id.
 * 2. A slot's request becomes a command: data in the capsule when it is small (by chance), else on the target's R2T.
 * 3. When a connection breaks both are given up and made anew. Until the new association is granted nobody knows what
 *    became of the commands of the old one: then, not earlier, their writes are in doubt and over (the fence).
 */
#include "tools/sim/net_host.h"

#include <stdio.h>
#include <stdlib.h>

#define CID_ADMIN 0xf000u

static void host_connect(struct net_host *h);
static void host_retry(struct sim_event *ev);

/* ---- bytes ---- */

static void hq_sent(struct net_io *io);

void hq_flush(struct hq *q)
{
    if (q->tx_busy || q->closing || q->tx_sent == q->tx_len)
        return;
    if (q->tx_sent != 0) {
        memmove(q->tx_buf, q->tx_buf + q->tx_sent, q->tx_len - q->tx_sent);
        q->tx_len -= q->tx_sent;
        q->tx_sent = 0;
    }
    q->tx_iov = (struct iovec){q->tx_buf, q->tx_len};
    q->tx = (struct net_io){.iov = &q->tx_iov, .iovcnt = 1, .cb = hq_sent};
    q->tx_busy = true;
    q->tx_sent = q->tx_len;
    net_send(q->conn, &q->tx);
}

static void hq_sent(struct net_io *io)
{
    struct hq *q = container_of(io, struct hq, tx);

    q->tx_busy = false;
    if (q->closing)
        return;
    if (io->res < 0)
        net_host_broke(q, "send failed");
    else
        hq_flush(q);
}

static void hq_recv(struct hq *q);

static void hq_received(struct net_io *io)
{
    struct hq *q = container_of(io, struct hq, rx);

    if (q->closing)
        return;
    if (io->res <= 0) {
        net_host_broke(q, io->res == 0 ? "closed by the target" : "receive failed");
        return;
    }
    q->rx_len += (uint32_t)io->res;
    while (!q->closing && hq_take_pdu(q))
        ;
    if (!q->closing)
        hq_recv(q);
}

static void hq_recv(struct hq *q)
{
    q->rx_iov = (struct iovec){q->rx_buf + q->rx_len, HQ_RX_BYTES - q->rx_len};
    q->rx = (struct net_io){.iov = &q->rx_iov, .iovcnt = 1, .cb = hq_received};
    net_recv(q->conn, &q->rx);
}

/* ---- connections ---- */

static void hq_open(struct hq *q)
{
    struct world *w = q->h->w;
    struct sim_net_opts o = {.small_pieces = sim_chance(w->sim, 300000) ? 300000 : 0};
    struct net_conn *far;
    uint32_t env = (uint32_t)sim_below(w->sim, w->plan.envs);

    if (sim_chance(w->sim, 100000))
        o.delay_max_ns = 5 * NS_PER_MS;
    sim_pipe_new(w->sim, w->envs[0], w->envs[env], &o, &q->pipe, &q->conn, &far);
    w->pipes = realloc(w->pipes, (w->nr_pipes + 1) * sizeof(struct sim_pipe *));
    assert(w->pipes != NULL);
    w->pipes[w->nr_pipes++] = q->pipe;
    q->state = HQ_IC;
    q->closing = q->closed = q->tx_busy = false;
    q->rx_len = q->tx_len = q->tx_sent = 0;
    q->dgst = (uint8_t)(sim_chance(w->sim, 500000) ? sim_below(w->sim, 4) : 0);
    target_accept(w->target, env, far, false);
    hq_recv(q);
    hq_send_icreq(q);
}

static void hq_closed(void *ctx)
{
    struct hq *q = ctx;

    q->closed = true;
    q->conn = NULL;
}

static void hq_close(struct hq *q)
{
    if (q->state == HQ_NONE || q->closing)
        return;
    q->closing = true;
    q->state = HQ_DEAD;
    net_close(q->conn, hq_closed, q);
}

void net_host_broke(struct hq *q, const char *why)
{
    struct net_host *h = q->h;

    world_say(h->w, "%s %s connection broke: %s", h->vol->params.name, q->admin ? "admin" : "I/O", why);
    h->up = false;
    h->broken = true;
    hq_close(&h->q[0]);
    hq_close(&h->q[1]);
    if (!h->down)
        sim_at(h->w->sim, &h->retry, sim_now_ns(h->w->sim) + sim_between(h->w->sim, 1000, 2 * NS_PER_MS));
}

static bool hq_gone(const struct hq *q) { return q->state == HQ_NONE || q->closed; }

static void host_retry(struct sim_event *ev)
{
    struct net_host *h = container_of(ev, struct net_host, retry);

    if (!hq_gone(&h->q[0]) || !hq_gone(&h->q[1])) {
        sim_at(h->w->sim, &h->retry, sim_now_ns(h->w->sim) + 100 * NS_PER_US);
        return;
    }
    host_connect(h);
}

static void host_connect(struct net_host *h)
{
    h->q[0].state = h->q[1].state = HQ_NONE;
    hq_open(&h->q[0]);
}

/* The new association stands: whatever the old one held is over. */
static void host_settle(struct net_host *h)
{
    if (!h->broken)
        return;
    h->broken = false;
    for (uint32_t cid = 1; cid <= WORLD_SLOTS; cid++) {
        struct slot *s = h->slot[cid];

        if (s == NULL)
            continue;
        h->slot[cid] = NULL;
        s->io.err = -ECONNRESET;
        s->again = s->io.op == BLK_WRITE ? s->vol : NULL;
        traffic_complete(s);
    }
}

/* ---- commands ---- */

static void send_connect(struct hq *q)
{
    static struct fabrics_connect_data d;
    struct fabrics_connect c = {.opc = OPC_FABRICS, .flags = 0x40, .fctype = FC_CONNECT, .cid = to_le16(CID_ADMIN),
                                .cattr = CATTR_SQ_FLOW_OFF};

    c.sgl = (struct nvme_sgl){.length = to_le32(sizeof(d)), .type = SGL_OFFSET};
    c.qid = to_le16(q->admin ? 0 : 1);
    c.sqsize = to_le16(q->admin ? 31 : WORLD_SLOTS);
    memset(&d, 0, sizeof(d));
    memset(d.hostid, 0x5a, sizeof(d.hostid));
    d.hostid[0] = (uint8_t)(q->h->vol - q->h->w->vol);
    d.cntlid = to_le16(q->admin ? 0xffff : q->h->cntlid);
    snprintf(d.subnqn, sizeof(d.subnqn), "nqn.2026-11.io.firn:sim:%s", q->h->vol->params.name);
    snprintf(d.hostnqn, sizeof(d.hostnqn), "%s", q->h->hostnqn);
    q->state = HQ_CONNECT;
    hq_send_capsule(q, &c, &d, sizeof(d));
}

static void send_enable(struct hq *q)
{
    struct fabrics_property p = {.opc = OPC_FABRICS, .flags = 0x40, .fctype = FC_PROPERTY_SET, .cid = to_le16(CID_ADMIN),
                                 .ofst = to_le32(PROP_CC), .value = to_le64(CC_EN | 6u << 16 | 4u << 20)};

    q->state = HQ_ENABLE;
    hq_send_capsule(q, &p, NULL, 0);
}

static void fill_rw(struct nvme_sqe *e, const struct slot *s, uint8_t opc)
{
    e->opc = opc;
    e->cdw10 = to_le32((uint32_t)s->unit);
    e->cdw11 = to_le32((uint32_t)(s->unit >> 32));
    e->cdw12 = to_le32((uint32_t)s->nr - 1);
}

static void send_command(struct net_host *h, struct slot *s, uint16_t cid)
{
    struct nvme_sqe e = {.flags = 0x40, .cid = to_le16(cid), .nsid = to_le32(1)};
    struct nvme_dsm_range range = {.nlb = to_le32((uint32_t)s->nr), .slba = to_le64(s->unit)};
    uint32_t bytes = (uint32_t)s->nr * s->vol->params.lba_bytes;
    bool inside = s->io.op == BLK_WRITE && bytes <= IN_CAPSULE_BYTES && sim_chance(h->w->sim, 700000);
    const void *data = inside ? s->buf : NULL;
    uint32_t capsule = inside ? bytes : 0;

    switch (s->io.op) {
    case BLK_READ:
        fill_rw(&e, s, IO_READ);
        break;
    case BLK_WRITE:
        fill_rw(&e, s, IO_WRITE);
        break;
    case BLK_WRITE_ZEROES:
        fill_rw(&e, s, IO_WRITE_ZEROES);
        bytes = 0;
        break;
    case BLK_DISCARD:
        e.opc = IO_DSM;
        e.cdw11 = to_le32(DSM_AD);
        data = &range;
        bytes = capsule = sizeof(range);
        break;
    case BLK_FLUSH:
    case BLK_OP_NR:
        e.opc = IO_FLUSH;
        bytes = 0;
        break;
    }
    e.sgl = (struct nvme_sgl){.length = to_le32(bytes), .type = capsule != 0 ? SGL_OFFSET : SGL_TRANSPORT};
    hq_send_capsule(&h->q[1], &e, data, capsule);
}

void net_host_submit(struct net_host *h, struct slot *s)
{
    uint16_t cid = (uint16_t)(s - s->w->slot + 1);

    assert(h->slot[cid] == NULL);
    h->slot[cid] = s;
    s->sent = h->up;
    if (h->up)
        send_command(h, s, cid);
}

static void host_up(struct net_host *h)
{
    h->up = true;
    for (uint16_t cid = 1; cid <= WORLD_SLOTS; cid++) {
        if (h->slot[cid] == NULL)
            continue;
        h->slot[cid]->sent = true;
        send_command(h, h->slot[cid], cid);
    }
}

static void command_done(struct net_host *h, uint16_t cid, uint16_t status)
{
    struct slot *s = cid >= 1 && cid <= WORLD_SLOTS ? h->slot[cid] : NULL;

    if (s == NULL || !s->sent) {
        world_fail(h->w, "%s: an answer to command %u that was not sent", h->vol->params.name, cid);
        return;
    }
    h->slot[cid] = NULL;
    s->io.err = status == 0 ? 0 : -EIO;
    if (status != 0)
        world_say(h->w, "%s: command %u answered status 0x%x", h->vol->params.name, cid, status);
    traffic_complete(s);
}

/* ---- PDUs ---- */

static void got_resp(struct hq *q, const uint8_t *hdr)
{
    struct net_host *h = q->h;
    struct pdu_capsule_resp p;
    uint16_t status;

    memcpy(&p, hdr, sizeof(p));
    status = (uint16_t)(from_le16(p.cqe.status) >> 1);
    if (q->state == HQ_LIVE) {
        command_done(h, from_le16(p.cqe.cid), status);
    } else if (status != 0) {
        net_host_broke(q, "refused");
    } else if (q->state == HQ_CONNECT && q->admin) {
        h->cntlid = (uint16_t)from_le64(p.cqe.result);
        host_settle(h);
        send_enable(q);
    } else if (q->state == HQ_ENABLE) {
        q->state = HQ_LIVE;
        hq_open(&h->q[1]);
    } else if (q->state == HQ_CONNECT) {
        q->state = HQ_LIVE;
        host_up(h);
    }
}

static void got_data(struct hq *q, const uint8_t *hdr, const uint8_t *data, uint32_t bytes)
{
    struct net_host *h = q->h;
    struct pdu_c2h_data p;
    struct slot *s;
    uint16_t cid;

    memcpy(&p, hdr, sizeof(p));
    cid = from_le16(p.cccid);
    s = cid >= 1 && cid <= WORLD_SLOTS ? h->slot[cid] : NULL;
    if (s == NULL || s->io.op != BLK_READ || from_le32(p.datal) != bytes ||
        (uint64_t)from_le32(p.datao) + bytes > s->nr * s->vol->params.lba_bytes) {
        world_fail(h->w, "%s: data for command %u that did not ask for it", h->vol->params.name, cid);
        return;
    }
    memcpy(s->buf + from_le32(p.datao), data, bytes);
    if (p.common.flags & PDU_SUCCESS)
        command_done(h, cid, 0);
}

static void got_r2t(struct hq *q, const uint8_t *hdr)
{
    struct net_host *h = q->h;
    struct pdu_r2t p;
    uint32_t off, end, n;
    struct slot *s;
    uint16_t cid;

    memcpy(&p, hdr, sizeof(p));
    cid = from_le16(p.cccid);
    off = from_le32(p.r2to);
    end = off + from_le32(p.r2tl);
    s = cid >= 1 && cid <= WORLD_SLOTS ? h->slot[cid] : NULL;
    if (s == NULL || s->io.op != BLK_WRITE || end > s->nr * s->vol->params.lba_bytes || end <= off) {
        world_fail(h->w, "%s: an R2T for command %u that has no such data", h->vol->params.name, cid);
        return;
    }
    for (; off < end; off += n) {
        n = MIN(end - off, q->h2c_max);
        if (n > 512 && sim_chance(h->w->sim, 300000))
            n = (uint32_t)sim_between(h->w->sim, 1, n / 512) * 512;
        hq_send_h2c(q, cid, from_le16(p.ttag), s->buf, off, n, off + n == end);
    }
}

void net_host_pdu(struct hq *q, const uint8_t *hdr, const uint8_t *data, uint32_t data_bytes)
{
    switch ((enum pdu_type)hdr[0]) {
    case PDU_ICRESP: {
        struct pdu_icresp p;

        memcpy(&p, hdr, sizeof(p));
        q->dgst = p.dgst & q->dgst;
        q->h2c_max = MAX(from_le32(p.maxh2cdata), 4096u);
        send_connect(q);
        return;
    }
    case PDU_CAPSULE_RESP:
        got_resp(q, hdr);
        return;
    case PDU_C2H_DATA:
        got_data(q, hdr, data, data_bytes);
        return;
    case PDU_R2T:
        got_r2t(q, hdr);
        return;
    case PDU_C2H_TERM_REQ:
        world_fail(q->h->w, "the target ended a proper connection: FES %u", hdr[8]);
        return;
    case PDU_ICREQ:
    case PDU_H2C_TERM_REQ:
    case PDU_CAPSULE_CMD:
    case PDU_H2C_DATA:
        break;
    }
    world_fail(q->h->w, "the target sent a PDU of type %u", hdr[0]);
}

/* ---- life ---- */

static int host_add_subsys(struct world *w, struct vol *v)
{
    struct subsys_params p = {.blk = v->blk, .single_host = true};
    const char *any = "*";
    int err;

    snprintf(p.nqn, sizeof(p.nqn), "nqn.2026-11.io.firn:sim:%s", v->params.name);
    snprintf(p.serial, sizeof(p.serial), "0123456789abcdef0123");
    memset(&p.uuid, 1 + (int)(v - w->vol), sizeof(p.uuid));
    err = subsys_add(w->target, &p, &v->subsys);
    return err != 0 ? err : subsys_set_hosts(v->subsys, &any, 1);
}

struct net_host *net_host_new(struct world *w, struct vol *v)
{
    struct net_host *h = calloc(1, sizeof(*h));

    assert(h != NULL);
    if (host_add_subsys(w, v) != 0)
        world_fail(w, "%s cannot be exported", v->params.name);
    h->w = w;
    h->vol = v;
    h->retry.fn = host_retry;
    snprintf(h->hostnqn, sizeof(h->hostnqn), "nqn.2014-08.org.nvmexpress:uuid:sim-%u", (unsigned)(v - w->vol));
    for (int i = 0; i < 2; i++) {
        h->q[i] = (struct hq){.h = h, .admin = i == 0};
        h->q[i].rx_buf = malloc(HQ_RX_BYTES);
        h->q[i].tx_buf = malloc(HQ_TX_BYTES);
        assert(h->q[i].rx_buf != NULL && h->q[i].tx_buf != NULL);
    }
    host_connect(h);
    return h;
}

static void host_free(struct net_host *h)
{
    sim_cancel(h->w->sim, &h->retry);
    for (int i = 0; i < 2; i++) {
        free(h->q[i].rx_buf);
        free(h->q[i].tx_buf);
    }
    free(h);
}

void net_world_start(struct world *w)
{
    struct target_opts o = {.envs = w->envs, .nr_envs = w->plan.envs, .discovery_traddr = "127.0.0.1", .port = 4420,
                            .connections_max = 256, .data_buffers = 256};
    int err = target_new(&o, &w->target);

    if (err != 0)
        world_fail(w, "no target: %s", err_text(err));
    else
        target_set_bugs(w->target, &w->bugs.export);
}

void net_world_stop(struct world *w)
{
    for (uint32_t i = 0; i < WORLD_VOLUMES; i++) {
        if (w->vol[i].host == NULL)
            continue;
        w->vol[i].host->down = true;
        sim_cancel(w->sim, &w->vol[i].host->retry);
    }
}

void net_world_gone(struct world *w)
{
    assert(sim_crashed(w->sim));
    for (uint32_t i = 0; i < WORLD_VOLUMES; i++) {
        if (w->vol[i].host != NULL)
            host_free(w->vol[i].host);
        w->vol[i].host = NULL;
        w->vol[i].subsys = NULL;
    }
    for (uint32_t i = 0; i < w->nr_pipes; i++)
        sim_pipe_free(w->pipes[i]);
    free(w->pipes);
    w->pipes = NULL;
    w->nr_pipes = 0;
    target_abandon(w->target);
    w->target = NULL;
}

void net_host_mischief(struct net_host *h)
{
    struct hq *q = &h->q[sim_below(h->w->sim, 2)];

    if (q->state == HQ_NONE || q->closing || !sim_pipe_alive(q->pipe))
        return;
    switch (sim_below(h->w->sim, 3)) {
    case 0:
        sim_pipe_cut_after(q->pipe, sim_between(h->w->sim, 1, 20000));
        return;
    case 1:
        sim_pipe_half_open(q->pipe, false); /* the target does not know */
        return;
    default:
        sim_pipe_cut_after(q->pipe, sim_between(h->w->sim, 1, 200));
        return;
    }
}
