/* SPDX-License-Identifier: Apache-2.0 */
/* mock.c: see mock.h. Replies gather in a buffer that goes out before the thread would block. */
#include "mock.h"

#include "base/crc32c.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define MOCK_CONNS 256
#define MOCK_BUF   (2u << 20)

struct mock {
    struct mock_opts o;
    int              listener;
    uint16_t         port;
    uint8_t         *mem;
    pthread_t        acceptor;
    pthread_mutex_t  lock;
    int              fds[MOCK_CONNS];
    pthread_t        threads[MOCK_CONNS];
    uint32_t         nr;
    bool             stopping;
    uint64_t         writes, commands, datas;
};

struct peer {
    struct mock *m;
    int          fd;
    uint8_t     *in, *out;
    uint32_t     in_at, in_end, out_len;
    bool         hdgst, ddgst, enabled, gone;
    uint16_t     qid;
    struct { struct nvme_sqe sqe; uint8_t *buf; uint32_t len, have, granted; } wait[1024];
};

static void flush_out(struct peer *p)
{
    uint32_t at = 0;

    while (at < p->out_len && !p->gone) {
        ssize_t n = send(p->fd, p->out + at, p->out_len - at, MSG_NOSIGNAL);

        if (n <= 0)
            p->gone = true;
        else
            at += (uint32_t)n;
    }
    p->out_len = 0;
}

static void put(struct peer *p, const void *buf, uint32_t n)
{
    if (p->out_len + n > MOCK_BUF)
        flush_out(p);
    memcpy(p->out + p->out_len, buf, n);
    p->out_len += n;
}

static bool take(struct peer *p, void *to, uint32_t n)
{
    uint8_t *at = to;

    while (n > 0 && !p->gone) {
        uint32_t some = MIN(n, p->in_end - p->in_at);

        memcpy(at, p->in + p->in_at, some);
        p->in_at += some;
        at += some;
        n -= some;
        if (n > 0) {
            ssize_t got;

            flush_out(p);
            got = recv(p->fd, p->in, MOCK_BUF, 0);
            if (got <= 0) {
                p->gone = true;
                return false;
            }
            p->in_at = 0;
            p->in_end = (uint32_t)got;
        }
    }
    return !p->gone;
}

static void put_pdu(struct peer *p, struct pdu_ch *ch, uint32_t hlen, const void *data, uint32_t len)
{
    uint32_t dg = p->hdgst ? 4 : 0;
    le32 crc;

    ch->hlen = (uint8_t)hlen;
    ch->pdo = (uint8_t)(len ? hlen + dg : 0);
    ch->flags |= (uint8_t)((p->hdgst ? PDU_F_HDGST : 0) | (len && p->ddgst ? PDU_F_DDGST : 0));
    ch->plen = to_le32(hlen + dg + len + (len && p->ddgst ? 4 : 0));
    put(p, ch, hlen);
    if (p->hdgst) {
        crc = to_le32(crc32c(0, ch, hlen));
        put(p, &crc, 4);
    }
    if (len) {
        put(p, data, len);
        if (p->ddgst) {
            bool lie = p->m->o.lie == MOCK_BAD_DDGST && __atomic_add_fetch(&p->m->datas, 1, __ATOMIC_RELAXED) % 64 == 0;

            crc = to_le32(crc32c(0, data, len) ^ (lie ? 1u : 0u));
            put(p, &crc, 4);
        }
    }
}

static void respond(struct peer *p, const struct nvme_sqe *sqe, uint16_t status, uint64_t result)
{
    struct pdu_rsp r = {.ch = {.type = PDU_RSP}, .cqe = {.result = to_le64(result), .cid = sqe->cid}};

    r.cqe.status = to_le16((uint16_t)(status << 1));
    put_pdu(p, &r.ch, sizeof(r), NULL, 0);
}

static void send_data(struct peer *p, const struct nvme_sqe *sqe, const uint8_t *data, uint32_t len, bool io)
{
    bool success = io && p->m->o.success_flag;
    uint32_t lie = io && p->m->o.lie == MOCK_SHORT_READ ? 4096 : 0;

    for (uint32_t off = 0; off < len;) {
        uint32_t n = MIN(len - off, 128u * 1024u);
        struct pdu_data d = {.ch = {.type = PDU_C2H_DATA}, .cccid = sqe->cid, .datao = to_le32(off + lie),
                             .datal = to_le32(n)};

        if (off + n == len)
            d.ch.flags = (uint8_t)(PDU_F_LAST | (success ? PDU_F_SUCCESS : 0));
        put_pdu(p, &d.ch, sizeof(d), data + off, n);
        off += n;
    }
    if (!success)
        respond(p, sqe, 0, 0);
}

static void put_le(uint8_t *p, uint64_t v, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        p[i] = (uint8_t)(v >> (8 * i));
}

static void identify(struct peer *p, const struct nvme_sqe *sqe)
{
    uint8_t page[4096] = {0};

    if (from_le32(sqe->cdw10) == IDENTIFY_CTRL) {
        memcpy(page + 4, "0123456789abcdef0123", 20);
        memset(page + 24, ' ', 48);
        memcpy(page + 24, "Mock", 4);
        page[77] = 7; /* 512 KiB */
        put_le(page + 78, 1, 2);
        put_le(page + 520, 0xc, 2);
        put_le(page + 536, 1, 4);
        put_le(page + 1792, (p->m->o.in_capsule_bytes + 64) / 16, 4);
    } else {
        put_le(page, p->m->o.size_bytes / p->m->o.lba_bytes, 8);
        memcpy(page + 104, "mock-namespace-1", 16);
        page[128 + 2] = p->m->o.lba_bytes == 512 ? 9 : 12;
    }
    send_data(p, sqe, page, sizeof(page), false);
}

static void admin(struct peer *p, const struct nvme_sqe *sqe)
{
    uint32_t prop = from_le32(sqe->cdw11);

    if (sqe->opcode == OP_FABRICS && from_le32(sqe->nsid) == FAB_PROPERTY_GET) {
        respond(p, sqe, 0, prop == PROP_CAP ? 127 | 1 << 16 | 20 << 24 : p->enabled);
    } else if (sqe->opcode == OP_FABRICS) {
        p->enabled = true;
        respond(p, sqe, 0, 0);
    } else if (sqe->opcode == OP_ADMIN_IDENTIFY) {
        identify(p, sqe);
    } else if (sqe->opcode == OP_ADMIN_SET_FEATURES) {
        respond(p, sqe, 0, 63 | 63 << 16);
    } else {
        respond(p, sqe, 0, 0);
    }
}

static uint64_t byte_of(const struct peer *p, const struct nvme_sqe *sqe)
{
    return (from_le32(sqe->cdw10) | (uint64_t)from_le32(sqe->cdw11) << 32) * p->m->o.lba_bytes;
}

static void finish_write(struct peer *p, const struct nvme_sqe *sqe, const uint8_t *data, uint32_t len)
{
    struct mock *m = p->m;
    bool lie = __atomic_add_fetch(&m->writes, 1, __ATOMIC_RELAXED) % 64 == 0;
    uint64_t at = byte_of(p, sqe);

    if (sqe->opcode == OP_DSM) {
        struct dsm_range r;

        memcpy(&r, data, sizeof(r));
        if (m->o.lie != MOCK_DROP_ZEROES)
            memset(m->mem + from_le64(r.slba) * m->o.lba_bytes, 0, (size_t)from_le32(r.nlb) * m->o.lba_bytes);
        respond(p, sqe, 0, 0);
        return;
    }
    if (lie && m->o.lie == MOCK_TEAR_WRITE)
        len /= 2;
    if (lie && m->o.lie == MOCK_MISDIRECT)
        at = (at + len) % m->o.size_bytes;
    if (!(lie && m->o.lie == MOCK_DROP_WRITE) && at + len <= m->o.size_bytes)
        memcpy(m->mem + at, data, len);
    respond(p, sqe, 0, 0);
}

static void ask(struct peer *p, uint16_t cid)
{
    uint32_t n = MIN(p->wait[cid].len - p->wait[cid].have, p->m->o.r2t_bytes);
    struct pdu_r2t r = {.ch = {.type = PDU_R2T}, .cccid = to_le16(cid), .ttag = to_le16((uint16_t)(cid ^ 0x55)),
                        .r2to = to_le32(p->wait[cid].have), .r2tl = to_le32(n)};

    p->wait[cid].granted = p->wait[cid].have + n;
    put_pdu(p, &r.ch, sizeof(r), NULL, 0);
}

static void io(struct peer *p, const struct nvme_sqe *sqe, const uint8_t *data, uint32_t len)
{
    uint16_t cid = from_le16(sqe->cid);
    uint32_t want = from_le32(sqe->sgl_len);

    bool lie = __atomic_add_fetch(&p->m->commands, 1, __ATOMIC_RELAXED) % 500 == 0;

    if (lie && (p->m->o.lie == MOCK_CUT || p->m->o.lie == MOCK_MUTE)) {
        p->gone = p->m->o.lie == MOCK_CUT;
        return;
    }
    if (sqe->opcode == OP_READ) {
        send_data(p, sqe, p->m->mem + byte_of(p, sqe), want, true);
    } else if (sqe->opcode == OP_WRITE_ZEROES) {
        if (p->m->o.lie != MOCK_DROP_ZEROES)
            memset(p->m->mem + byte_of(p, sqe), 0, ((from_le32(sqe->cdw12) & 0xffff) + 1) * (size_t)p->m->o.lba_bytes);
        respond(p, sqe, 0, 0);
    } else if (sqe->opcode == OP_FLUSH) {
        respond(p, sqe, 0, 0);
    } else if (len) {
        finish_write(p, sqe, data, len);
    } else {
        p->wait[cid].sqe = *sqe;
        p->wait[cid].buf = realloc(p->wait[cid].buf, want);
        p->wait[cid].len = want;
        p->wait[cid].have = 0;
        ask(p, cid);
    }
}

static void h2c(struct peer *p, const struct pdu_data *d, const uint8_t *data, uint32_t len)
{
    uint16_t cid = from_le16(d->cccid);

    if (cid >= 1024 || from_le16(d->ttag) != (cid ^ 0x55) || from_le32(d->datao) != p->wait[cid].have ||
        len != from_le32(d->datal) || p->wait[cid].have + len > p->wait[cid].granted ||
        ((d->ch.flags & PDU_F_LAST) != 0) != (p->wait[cid].have + len == p->wait[cid].granted)) {
        p->gone = true;
        return;
    }
    memcpy(p->wait[cid].buf + p->wait[cid].have, data, len);
    p->wait[cid].have += len;
    if (p->wait[cid].have == p->wait[cid].len)
        finish_write(p, &p->wait[cid].sqe, p->wait[cid].buf, p->wait[cid].len);
    else if (d->ch.flags & PDU_F_LAST)
        ask(p, cid);
}

static void capsule(struct peer *p, const struct nvme_sqe *sqe, const uint8_t *data, uint32_t len)
{
    if (sqe->opcode == OP_FABRICS && from_le32(sqe->nsid) == FAB_CONNECT) {
        p->qid = (uint16_t)(from_le32(sqe->cdw10) >> 16);
        respond(p, sqe, 0, 1);
    } else if (p->qid == 0) {
        admin(p, sqe);
    } else {
        io(p, sqe, data, len);
    }
}

/* One PDU from the host; digests must be right. */
static bool one_pdu(struct peer *p, uint8_t *buf)
{
    struct pdu_ch *ch = (struct pdu_ch *)(void *)buf;
    uint32_t plen, dg = p->hdgst ? 4 : 0, len;
    le32 crc;

    if (!take(p, buf, 8))
        return false;
    plen = from_le32(ch->plen);
    if (plen < 8 || plen > MOCK_BUF || !take(p, buf + 8, plen - 8))
        return false;
    memcpy(&crc, buf + ch->hlen, 4);
    if (p->hdgst && from_le32(crc) != crc32c(0, buf, ch->hlen))
        return false;
    len = ch->pdo ? plen - ch->pdo - (p->ddgst ? 4 : 0) : 0;
    if (len && p->ddgst) {
        memcpy(&crc, buf + ch->pdo + len, 4);
        if (from_le32(crc) != crc32c(0, buf + ch->pdo, len))
            return false;
    }
    if (ch->type == PDU_CMD && ch->hlen == 72 && plen >= 72 + dg)
        capsule(p, &((struct pdu_cmd *)(void *)buf)->sqe, buf + ch->pdo, len);
    else if (ch->type == PDU_H2C_DATA && ch->hlen == 24)
        h2c(p, (struct pdu_data *)(void *)buf, buf + ch->pdo, len);
    else
        return false;
    return !p->gone;
}

static bool handshake(struct peer *p)
{
    struct pdu_ic ic;

    if (!take(p, &ic, sizeof(ic)) || ic.ch.type != PDU_ICREQ)
        return false;
    p->hdgst = ic.dgst & 1;
    p->ddgst = ic.dgst & 2;
    ic.ch.type = PDU_ICRESP;
    ic.pda = 0;
    ic.max = to_le32(64 * 1024);
    put(p, &ic, sizeof(ic));
    return true;
}

struct born { struct mock *m; int fd; };

static void *peer_main(void *arg)
{
    struct born *b = arg;
    struct peer *p = calloc(1, sizeof(*p));
    uint8_t *buf = malloc(MOCK_BUF);

    p->m = b->m;
    p->fd = b->fd;
    free(b);
    p->in = malloc(MOCK_BUF);
    p->out = malloc(MOCK_BUF);
    if (handshake(p))
        while (one_pdu(p, buf))
            ;
    flush_out(p);
    shutdown(p->fd, SHUT_RDWR);
    for (uint32_t i = 0; i < 1024; i++)
        free(p->wait[i].buf);
    free(p->in);
    free(p->out);
    free(buf);
    free(p);
    return NULL;
}

static void *accept_main(void *arg)
{
    struct mock *m = arg;
    int fd, one = 1;

    while ((fd = accept(m->listener, NULL, NULL)) >= 0) {
        struct born *b = malloc(sizeof(*b));

        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
        *b = (struct born){.m = m, .fd = fd};
        pthread_mutex_lock(&m->lock);
        assert(m->nr < MOCK_CONNS);
        m->fds[m->nr] = fd;
        pthread_create(&m->threads[m->nr++], NULL, peer_main, b);
        pthread_mutex_unlock(&m->lock);
    }
    return NULL;
}

struct mock *mock_start(const struct mock_opts *opts)
{
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(sa);
    struct mock *m = calloc(1, sizeof(*m));
    int rc;

    m->o = *opts;
    m->mem = calloc(1, opts->size_bytes);
    pthread_mutex_init(&m->lock, NULL);
    m->listener = socket(AF_INET, SOCK_STREAM, 0);
    rc = bind(m->listener, (struct sockaddr *)&sa, len) || listen(m->listener, 64) ||
         getsockname(m->listener, (struct sockaddr *)&sa, &len);
    assert(rc == 0);
    m->port = ntohs(sa.sin_port);
    pthread_create(&m->acceptor, NULL, accept_main, m);
    return m;
}

uint16_t mock_port(const struct mock *m) { return m->port; }
uint8_t *mock_memory(struct mock *m) { return m->mem; }

void mock_cut(struct mock *m)
{
    pthread_mutex_lock(&m->lock);
    for (uint32_t i = 0; i < m->nr; i++)
        shutdown(m->fds[i], SHUT_RDWR);
    pthread_mutex_unlock(&m->lock);
}

void mock_stop(struct mock *m)
{
    shutdown(m->listener, SHUT_RDWR);
    pthread_join(m->acceptor, NULL);
    mock_cut(m);
    for (uint32_t i = 0; i < m->nr; i++) {
        pthread_join(m->threads[i], NULL);
        close(m->fds[i]);
    }
    close(m->listener);
    free(m->mem);
    free(m);
}
