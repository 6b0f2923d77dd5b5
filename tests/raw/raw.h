/* SPDX-License-Identifier: Apache-2.0 */
/* raw.h: a target in this process on a loopback port, and a host that speaks bytes to it through plain sockets.
 *
 * The target runs on a reactor thread over RAM; tests run on the main thread with blocking sockets and short timeouts.
 * Every expectation counts as one test; raw_end() prints the closing line that tests/run adds up.
 */
#ifndef FIRN_TESTS_RAW_H
#define FIRN_TESTS_RAW_H

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <semaphore.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/crc32c.h"
#include "base/log.h"
#include "export/export.h"
#include "export/spec.h"
#include "rt/blk.h"
#include "rt/reactor.h"

#define RAW_HOST "nqn.2014-08.org.nvmexpress:uuid:11111111-2222-3333-4444-555555555555"
#define RAW_SUB  "nqn.2026-11.io.firn:raw:ram"
#define RAW_BLOCKS 4096u

static int raw_passed, raw_failed;

static inline void PRINTF_LIKE(2, 3) raw_check(bool ok, const char *fmt, ...)
{
    va_list ap;

    raw_passed += ok;
    raw_failed += !ok;
    if (ok)
        return;
    printf("FAIL: ");
    va_start(ap, fmt);
    vprintf(fmt, ap);
    va_end(ap);
    printf("\n");
}

static inline int raw_end(void)
{
    printf("%d passed, %d failed, 0 skipped\n", raw_passed, raw_failed);
    fflush(stdout);
    return raw_failed != 0;
}

static inline uint64_t raw_now_ms(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static inline uint64_t raw_rss_kib(void)
{
    FILE *f = fopen("/proc/self/statm", "r");
    unsigned long size = 0, rss = 0;

    if (!f || fscanf(f, "%lu %lu", &size, &rss) != 2)
        abort();
    fclose(f);
    return rss * 4;
}

/* A request of one blk, on its way through another, on their thread. */
struct raw_passed { struct blk_io io; struct blk *b; struct blk_io *outer; };

static inline void raw_passed_done(struct blk_io *io)
{
    struct raw_passed *p = container_of(io, struct raw_passed, io);
    struct blk *b = p->b;
    struct blk_io *outer = p->outer;
    int err = io->err;

    free(p);
    blk_io_done(b, outer, err);
}

static inline void raw_pass(struct blk *b, struct blk_io *io, struct blk *to)
{
    struct raw_passed *p = calloc(1, sizeof(*p));

    if (!p)
        abort();
    p->b = b;
    p->outer = io;
    p->io = (struct blk_io){.op = io->op, .lba = io->lba, .nlb = io->nlb, .iov = io->iov, .iovcnt = io->iovcnt, .cb = raw_passed_done};
    blk_submit(to, &p->io);
}

/* ---- the server ----------------------------------------------------------------------------------------------------- */

struct raw_srv {
    struct reactor      *reactor[2];
    struct env          *env[2];
    uint32_t             nr;       /* reactors */
    struct blk          *ram, *blk; /* blk: what is exported; ram, or a test's wrapper around it */
    struct target       *target;
    struct subsys       *subsys;
    struct net_listener *listener;
    struct target_opts   opts;
    uint16_t             port;
    uint32_t             lba_bytes;
    bool                 single_host;
    struct blk        *(*wrap)(struct blk *ram);
};

struct raw_call { struct env_task task; void (*fn)(void *arg); void *arg; sem_t done; };

static inline void raw_call_run(struct env_task *task)
{
    struct raw_call *c = container_of(task, struct raw_call, task);

    c->fn(c->arg);
    sem_post(&c->done);
}

/* Runs fn on env's thread and waits for it. */
static inline void raw_on_env(struct env *env, void (*fn)(void *arg), void *arg)
{
    struct raw_call c = {.task.fn = raw_call_run, .fn = fn, .arg = arg};

    sem_init(&c.done, 0, 0);
    env_post(env, &c.task);
    while (sem_wait(&c.done) != 0)
        ;
    sem_destroy(&c.done);
}

static inline void raw_accept(void *ctx, struct net_conn *conn)
{
    target_accept(((struct raw_srv *)ctx)->target, 0, conn, false);
}

/* On env[0]; the blk's home is the last env, so that with two, connections move. */
static inline void raw_setup(void *arg)
{
    struct raw_srv *s = arg;
    const char *hosts[] = {"*"};
    char why[256];
    struct subsys_params p = {.nqn = RAW_SUB, .serial = "0123456789abcdef0123", .blk = s->blk, .single_host = s->single_host};

    memset(p.uuid.b, 0xab, sizeof(p.uuid.b));
    s->opts.envs = s->env;
    s->opts.nr_envs = s->nr;
    if (target_new(&s->opts, &s->target) != 0 || subsys_add(s->target, &p, &s->subsys) != 0 ||
        subsys_set_hosts(s->subsys, hosts, 1) != 0 || net_listen(s->env[0], "127.0.0.1", 0, raw_accept, s, &s->listener, why) != 0)
        abort();
    s->port = net_listener_port(s->listener);
}

static inline void raw_start(struct raw_srv *s)
{
    char why[256];

    setvbuf(stdout, NULL, _IOLBF, 0);
    log_set_level(LOG_LEVEL_WARN);
    s->nr = s->nr ? s->nr : 1;
    for (uint32_t i = 0; i < s->nr; i++) {
        struct reactor_opts o = {.cpu = -1, .index = i};

        if (reactor_new(&o, &s->reactor[i], why) != 0) {
            printf("skip: %s\n", why);
            exit(77);
        }
        s->env[i] = reactor_env(s->reactor[i]);
    }
    if (blk_ram_new(s->env[s->nr - 1], s->lba_bytes ? s->lba_bytes : 4096, (uint64_t)RAW_BLOCKS * 4096, &s->ram) != 0)
        abort();
    s->blk = s->wrap ? s->wrap(s->ram) : s->ram;
    for (uint32_t i = 0; i < s->nr; i++)
        reactor_start_thread(s->reactor[i]);
    raw_on_env(s->env[0], raw_setup, s);
}

static inline void raw_stopped(void *ctx) { sem_post(ctx); }
struct raw_stop { struct raw_srv *s; sem_t sem; };
static inline void raw_stop_target(void *arg)
{
    struct raw_stop *st = arg;

    net_listener_close(st->s->listener);
    target_stop(st->s->target, raw_stopped, &st->sem);
}
static inline void raw_remove_subsys(void *arg)
{
    struct raw_stop *st = arg;

    subsys_remove(st->s->subsys, raw_stopped, &st->sem);
}

/* What follows raw_stop_target(). */
static inline void raw_stop_rest(struct raw_srv *s, struct raw_stop *st)
{
    sem_wait(&st->sem);
    raw_on_env(s->env[0], raw_remove_subsys, st);
    sem_wait(&st->sem);
    for (uint32_t i = s->nr; i-- > 0;) { /* the first is posted to by the others: last */
        reactor_stop(s->reactor[i]);
        reactor_join(s->reactor[i]);
    }
    target_free(s->target);
    blk_ram_free(s->ram);
    for (uint32_t i = 0; i < s->nr; i++)
        reactor_free(s->reactor[i]);
}

static inline void raw_stop(struct raw_srv *s)
{
    struct raw_stop st = {.s = s};

    sem_init(&st.sem, 0, 0);
    raw_on_env(s->env[0], raw_stop_target, &st);
    raw_stop_rest(s, &st);
}

/* ---- the host: bytes ---------------------------------------------------------------------------------------------------- */

static inline int raw_open_rcvbuf(const struct raw_srv *s, int rcvbuf)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(s->port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct timeval tv = {.tv_sec = 4};
    int mss = 536; /* small segments: nor does the other end's send buffer grow */

    if (rcvbuf) {
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &rcvbuf, sizeof(rcvbuf));
        setsockopt(fd, IPPROTO_TCP, TCP_MAXSEG, &mss, sizeof(mss));
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
    if (connect(fd, (struct sockaddr *)&a, sizeof(a)) != 0) {
        perror("connect");
        abort();
    }
    return fd;
}
static inline int raw_open(const struct raw_srv *s) { return raw_open_rcvbuf(s, 0); }

/* With SO_RCVTIMEO the kernel does not restart a call that its own notifications interrupt. */
static inline ssize_t raw_recv_some(int fd, void *buf, size_t n)
{
    ssize_t k;

    do
        k = recv(fd, buf, n, 0);
    while (k < 0 && errno == EINTR);
    return k;
}

static inline bool raw_send(int fd, const void *buf, size_t n)
{
    for (ssize_t k; n > 0; buf = (const char *)buf + k, n -= (size_t)k) {
        do
            k = send(fd, buf, n, MSG_NOSIGNAL);
        while (k < 0 && errno == EINTR);
        if (k <= 0)
            return false;
    }
    return true;
}

static inline bool raw_recv(int fd, void *buf, size_t n)
{
    for (ssize_t k; n > 0; buf = (char *)buf + k, n -= (size_t)k) {
        k = raw_recv_some(fd, buf, n);
        if (k <= 0)
            return false;
    }
    return true;
}

/* Everything up to the end of the stream is read and dropped; false: it did not end in time. */
static inline bool raw_at_end(int fd)
{
    char buf[4096];
    ssize_t k;

    while ((k = raw_recv_some(fd, buf, sizeof(buf))) > 0)
        ;
    return k == 0 || errno == ECONNRESET;
}

/* One PDU into buf (cap bytes); its length, or 0 at the end of the stream. */
static inline uint32_t raw_pdu(int fd, void *buf, uint32_t cap)
{
    struct pdu_common *c = buf;
    uint32_t plen;

    if (!raw_recv(fd, c, sizeof(*c)))
        return 0;
    plen = from_le32(c->plen);
    if (plen < sizeof(*c) || plen > cap || !raw_recv(fd, c + 1, plen - sizeof(*c)))
        return 0;
    return plen;
}

/* ---- the host: PDUs ------------------------------------------------------------------------------------------------------- */

struct raw_conn { int fd; bool hd, dd; uint16_t cntlid; };

static inline void raw_seal(uint8_t *pdu, uint32_t hlen)
{
    le32 crc = to_le32(crc32c(0, pdu, hlen));

    memcpy(pdu + hlen, &crc, sizeof(crc));
}

/* A command capsule with in-capsule data, digests included; returns its length. */
static inline uint32_t raw_capsule(uint8_t *out, const struct nvme_sqe *sqe, const void *data, uint32_t n, bool hd, bool dd)
{
    struct pdu_capsule_cmd *c = (void *)out;
    uint32_t head = (uint32_t)sizeof(*c) + (hd ? 4 : 0), plen = head + n + (n && dd ? 4 : 0);
    le32 crc = to_le32(n ? crc32c(0, data, n) : 0);

    c->common = (struct pdu_common){.type = PDU_CAPSULE_CMD, .hlen = sizeof(*c), .pdo = (uint8_t)(n ? head : 0), .plen = to_le32(plen)};
    c->common.flags = (uint8_t)((hd ? PDU_HDGSTF : 0) | (n && dd ? PDU_DDGSTF : 0));
    c->sqe = *sqe;
    if (hd)
        raw_seal(out, sizeof(*c));
    if (n)
        memcpy(out + head, data, n);
    if (n && dd)
        memcpy(out + head + n, &crc, sizeof(crc));
    return plen;
}

static inline uint32_t raw_h2c(uint8_t *out, uint16_t cid, uint16_t ttag, uint32_t off, const void *data, uint32_t n,
        bool last, bool hd, bool dd)
{
    struct pdu_h2c_data *d = (void *)out;
    uint32_t head = (uint32_t)sizeof(*d) + (hd ? 4 : 0), plen = head + n + (dd ? 4 : 0);
    le32 crc = to_le32(crc32c(0, data, n));

    memset(d, 0, sizeof(*d));
    d->common = (struct pdu_common){.type = PDU_H2C_DATA, .hlen = sizeof(*d), .pdo = (uint8_t)head, .plen = to_le32(plen)};
    d->common.flags = (uint8_t)((hd ? PDU_HDGSTF : 0) | (dd ? PDU_DDGSTF : 0) | (last ? PDU_LAST : 0));
    d->cccid = to_le16(cid);
    d->ttag = to_le16(ttag);
    d->datao = to_le32(off);
    d->datal = to_le32(n);
    if (hd)
        raw_seal(out, sizeof(*d));
    memcpy(out + head, data, n);
    if (dd)
        memcpy(out + head + n, &crc, sizeof(crc));
    return plen;
}

static inline void raw_icreq(struct pdu_icreq *ic, uint8_t dgst)
{
    memset(ic, 0, sizeof(*ic));
    ic->common = (struct pdu_common){.type = PDU_ICREQ, .hlen = sizeof(*ic), .plen = to_le32(sizeof(*ic))};
    ic->dgst = dgst;
}

static inline bool raw_ic(struct raw_conn *c)
{
    uint8_t dgst = (uint8_t)((c->hd ? DGST_HEADER : 0) | (c->dd ? DGST_DATA : 0));
    struct pdu_icreq ic;
    struct pdu_icresp r;

    raw_icreq(&ic, dgst);
    return raw_send(c->fd, &ic, sizeof(ic)) && raw_recv(c->fd, &r, sizeof(r)) && r.common.type == PDU_ICRESP && r.dgst == dgst &&
           from_le32(r.maxh2cdata) >= 4096;
}

struct raw_connect { uint16_t qid, cntlid, sqsize; uint32_t kato_ms; uint8_t cattr; const char *hostnqn, *subnqn; uint8_t hostid; };

static inline uint32_t raw_connect_pdu(uint8_t *out, const struct raw_connect *p, bool hd, bool dd)
{
    struct fabrics_connect f = {.opc = OPC_FABRICS, .flags = 0x40, .fctype = FC_CONNECT, .cattr = p->cattr};
    struct fabrics_connect_data d = {.cntlid = to_le16(p->qid ? p->cntlid : (p->cntlid ? p->cntlid : 0xffff))};

    f.sgl = (struct nvme_sgl){.length = to_le32(sizeof(d)), .type = SGL_OFFSET};
    f.qid = to_le16(p->qid);
    f.sqsize = to_le16(p->sqsize);
    f.kato = to_le32(p->kato_ms);
    memset(d.hostid, p->hostid ? p->hostid : 1, sizeof(d.hostid));
    strcpy(d.hostnqn, p->hostnqn ? p->hostnqn : RAW_HOST);
    strcpy(d.subnqn, p->subnqn ? p->subnqn : RAW_SUB);
    return raw_capsule(out, (const void *)&f, &d, sizeof(d), hd, dd);
}

struct raw_answer { bool ok; uint16_t status, cid; uint32_t result; uint16_t sqhd; };

static inline struct raw_answer raw_resp(const struct raw_conn *c)
{
    uint8_t buf[256];
    struct pdu_capsule_resp *r = (void *)buf;
    uint32_t n = raw_pdu(c->fd, buf, sizeof(buf));

    if (n != sizeof(*r) + (c->hd ? 4u : 0) || r->common.type != PDU_CAPSULE_RESP)
        return (struct raw_answer){.ok = false};
    return (struct raw_answer){.ok = true, .status = from_le16(r->cqe.status) >> 1, .cid = from_le16(r->cqe.cid),
                               .result = (uint32_t)from_le64(r->cqe.result), .sqhd = from_le16(r->cqe.sqhd)};
}

static inline struct raw_answer raw_connect(struct raw_conn *c, const struct raw_connect *p)
{
    uint8_t buf[2048];
    uint32_t n = raw_connect_pdu(buf, p, c->hd, c->dd);
    struct raw_answer a = {.ok = false};

    if (raw_send(c->fd, buf, n))
        a = raw_resp(c);
    if (a.ok && a.status == 0)
        c->cntlid = (uint16_t)a.result;
    return a;
}

/* Status without Do Not Retry; 0xffff: no answer. */
static inline uint16_t raw_status(struct raw_answer a) { return a.ok ? (uint16_t)(a.status & ~STATUS_DNR) : 0xffff; }

static inline struct raw_answer raw_cmd(const struct raw_conn *c, const struct nvme_sqe *sqe, const void *data, uint32_t n)
{
    uint8_t *buf = malloc(n + 128);
    struct raw_answer a = {.ok = false};

    if (raw_send(c->fd, buf, raw_capsule(buf, sqe, data, n, c->hd, c->dd)))
        a = raw_resp(c);
    free(buf);
    return a;
}

static inline struct nvme_sqe raw_sqe(uint8_t opc, uint16_t cid, uint32_t nsid)
{
    struct nvme_sqe sqe = {.opc = opc, .flags = 0x40, .cid = to_le16(cid), .nsid = to_le32(nsid), .sgl.type = SGL_TRANSPORT};

    return sqe;
}

static inline struct nvme_sqe raw_io(uint8_t opc, uint16_t cid, uint64_t lba, uint32_t nlb, uint32_t bytes, bool in_capsule)
{
    struct nvme_sqe sqe = raw_sqe(opc, cid, 1);

    sqe.sgl.type = in_capsule ? SGL_OFFSET : SGL_TRANSPORT;
    sqe.sgl.length = to_le32(bytes);
    sqe.cdw10 = to_le32((uint32_t)lba);
    sqe.cdw11 = to_le32((uint32_t)(lba >> 32));
    sqe.cdw12 = to_le32(nlb - 1);
    return sqe;
}

/* A command whose answer is data: into out; SUCCESS flag or a response capsule behind it. */
static inline uint16_t raw_read_cmd(const struct raw_conn *c, const struct nvme_sqe *sqe, void *out, uint32_t n)
{
    uint8_t *buf = malloc(n + 256);
    struct pdu_c2h_data *d = (void *)buf;
    uint32_t k = raw_capsule(buf, sqe, NULL, 0, c->hd, c->dd), plen;
    uint16_t status = 0xffff;

    if (!raw_send(c->fd, buf, k) || (plen = raw_pdu(c->fd, buf, n + 256)) == 0)
        goto out;
    if (d->common.type == PDU_CAPSULE_RESP) {
        status = (uint16_t)(from_le16(((struct pdu_capsule_resp *)(void *)buf)->cqe.status) >> 1 & ~STATUS_DNR);
        goto out;
    }
    if (d->common.type != PDU_C2H_DATA || from_le32(d->datal) != n || plen != d->common.pdo + n + (c->dd ? 4u : 0))
        goto out;
    if (c->dd) {
        le32 crc;

        memcpy(&crc, buf + d->common.pdo + n, 4);
        if (from_le32(crc) != crc32c(0, buf + d->common.pdo, n))
            goto out;
    }
    memcpy(out, buf + d->common.pdo, n);
    status = (d->common.flags & PDU_SUCCESS) ? 0 : raw_status(raw_resp(c));
out:
    free(buf);
    return status;
}

/* A write by R2T; the data in PDUs of step bytes. */
static inline uint16_t raw_write_r2t(const struct raw_conn *c, const struct nvme_sqe *sqe, const void *data, uint32_t n, uint32_t step)
{
    uint8_t *buf = malloc(n + 256);
    struct pdu_r2t *r = (void *)buf;
    uint16_t status = 0xffff, ttag;

    if (!raw_send(c->fd, buf, raw_capsule(buf, sqe, NULL, 0, c->hd, c->dd)) || raw_pdu(c->fd, buf, 256) == 0 || r->common.type != PDU_R2T)
        goto out;
    ttag = from_le16(r->ttag);
    for (uint32_t off = 0; off < n; off += step) {
        uint32_t part = MIN(step, n - off);

        if (!raw_send(c->fd, buf, raw_h2c(buf, from_le16(sqe->cid), ttag, off, (const char *)data + off, part,
                off + part == n, c->hd, c->dd)))
            goto out;
    }
    status = raw_status(raw_resp(c));
out:
    free(buf);
    return status;
}

static inline struct raw_answer raw_property_set(const struct raw_conn *c, uint32_t ofst, uint64_t v)
{
    struct fabrics_property p = {.opc = OPC_FABRICS, .flags = 0x40, .cid = to_le16(900), .fctype = FC_PROPERTY_SET};

    p.ofst = to_le32(ofst);
    p.value = to_le64(v);
    return raw_cmd(c, (const void *)&p, NULL, 0);
}

/* IC, admin Connect, enable. */
static inline struct raw_conn raw_admin(const struct raw_srv *s, bool hd, bool dd, const struct raw_connect *p)
{
    struct raw_conn c = {.fd = raw_open(s), .hd = hd, .dd = dd};
    struct raw_connect def = {.sqsize = 31, .cattr = CATTR_SQ_FLOW_OFF};

    if (!raw_ic(&c) || raw_status(raw_connect(&c, p ? p : &def)) != 0 || raw_status(raw_property_set(&c, PROP_CC, 0x460001)) != 0) {
        close(c.fd);
        c.fd = -1;
    }
    return c;
}

static inline struct raw_conn raw_ioq(const struct raw_srv *s, const struct raw_conn *admin, uint16_t qid, bool hd, bool dd)
{
    struct raw_conn c = {.fd = raw_open(s), .hd = hd, .dd = dd};
    struct raw_connect p = {.qid = qid, .cntlid = admin->cntlid, .sqsize = 127, .cattr = CATTR_SQ_FLOW_OFF};

    if (!raw_ic(&c) || raw_status(raw_connect(&c, &p)) != 0) {
        close(c.fd);
        c.fd = -1;
    }
    return c;
}

static inline void raw_fill(void *buf, uint32_t n, uint32_t seed)
{
    uint32_t x = seed * 2654435761u + 1;

    for (uint32_t i = 0; i < n; i++) {
        x = x * 1664525u + 1013904223u;
        ((uint8_t *)buf)[i] = (uint8_t)(x >> 24);
    }
}

/* A write and a read back of it on a fresh association: the target is well. */
static inline bool raw_works(const struct raw_srv *s, bool hd, bool dd)
{
    struct raw_conn a = raw_admin(s, hd, dd, NULL), q = {.fd = -1};
    uint8_t w[4096], r[4096];
    struct nvme_sqe wr = raw_io(IO_WRITE, 1, 77, 1, 4096, true), rd = raw_io(IO_READ, 2, 77, 1, 4096, false);
    bool ok = false;
    static uint32_t seed;

    if (a.fd >= 0)
        q = raw_ioq(s, &a, 1, hd, dd);
    if (q.fd >= 0) {
        raw_fill(w, sizeof(w), ++seed);
        ok = raw_status(raw_cmd(&q, &wr, w, sizeof(w))) == 0 && raw_read_cmd(&q, &rd, r, sizeof(r)) == 0 && memcmp(w, r, sizeof(w)) == 0;
        close(q.fd);
    }
    if (a.fd >= 0)
        close(a.fd);
    return ok;
}

#endif
