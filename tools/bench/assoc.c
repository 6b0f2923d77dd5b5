/* SPDX-License-Identifier: Apache-2.0 */
/* assoc.c: see assoc.h. */
#include "assoc.h"

#include "base/err.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define ASSOC_PAGE 4096u

struct exec { struct ini_cmd *cmd; bool done; };

static __thread struct exec *exec_now; /* the one blocking command of this thread */

static void exec_done(struct ini_cmd *c)
{
    assert(exec_now != NULL && exec_now->cmd == c);
    exec_now->done = true;
}

/* One command on a queue, blocking. 0 with c->status, or negative. */
static int exec_on(struct conn *conn, struct ini_cmd *c, uint64_t timeout_ns)
{
    struct exec x = {.cmd = c};
    uint64_t deadline = clock_ns() + timeout_ns;
    int err = conn_wait(conn, &conn->q.ready, deadline);

    if (err)
        return err;
    c->done = exec_done;
    exec_now = &x;
    ini_submit(&conn->q, c);
    err = conn_wait(conn, &x.done, deadline);
    if (err && !x.done) {
        conn->dead = true; /* the command is ours, on our stack: it must end before we return */
        conn_close(conn);
    }
    exec_now = NULL;
    return err;
}

static int explain(struct conn *conn, const char *step, int err, uint16_t status, char why[static 256])
{
    if (err)
        snprintf(why, 256, "%s: %.200s", step, err == -ETIMEDOUT || !conn->why[0] ? err_text(err) : conn->why);
    else
        snprintf(why, 256, "%s: status type %u code 0x%02x%s", step, (status >> 8) & 7, status & 0xff,
                 (status & 0x7ff) == 0x182 ? " (invalid parameters: is there such a subsystem?)" : "");
    return err ? err : -EACCES;
}

/* Connect's status 0x184 has two causes, and the target does not say which. */
static int explain_refused(const char *host, char why[static 256])
{
    bool longer = strlen(host) > 75;

    snprintf(why, 256, "connect (0x184): host %.75s%s is not on the list (firnctl host allow VOLUME %.75s), or another host is connected",
             host, longer ? "..." : "", longer ? "HOSTNQN" : host);
    return -EACCES;
}

static int queue_connect(struct assoc *a, struct conn *conn, uint16_t qid, uint32_t depth, char why[static 256])
{
    struct ini_cmd c = {.dir = INI_WRITE, .data = a->page, .len = sizeof(struct connect_data)};
    struct connect_data *d = (struct connect_data *)(void *)a->page;
    int err;

    memset(d, 0, sizeof(*d));
    memcpy(d->hostid, a->opts.hostid, sizeof(d->hostid));
    d->cntlid = to_le16(qid == 0 ? 0xffff : a->cntlid);
    memcpy(d->subnqn, a->opts.subnqn, sizeof(a->opts.subnqn));
    memcpy(d->hostnqn, a->opts.hostnqn, sizeof(a->opts.hostnqn));
    c.sqe.opcode = OP_FABRICS;
    c.sqe.nsid = to_le32(FAB_CONNECT);
    c.sqe.cdw10 = to_le32((uint32_t)qid << 16); /* RECFMT 0 */
    c.sqe.cdw11 = to_le32((depth - 1) | (a->opts.sq_flow ? 0 : CATTR_NO_SQ_FLOW << 16));
    c.sqe.cdw12 = to_le32(qid == 0 ? a->opts.kato_ms : 0);
    err = exec_on(conn, &c, a->opts.timeout_ns);
    if (!err && (c.status & 0x7ff) == 0x184)
        return explain_refused(a->opts.hostnqn, why);
    if (err || c.status)
        return explain(conn, qid == 0 ? "connect (admin queue)" : "connect (I/O queue)", err, c.status, why);
    if (qid == 0)
        a->cntlid = (uint16_t)(c.result & 0xffff);
    else if ((c.result & 0xffff) != a->cntlid) {
        snprintf(why, 256, "I/O queue %u answered with controller %u, expected %u", qid, (unsigned)(c.result & 0xffff),
                 a->cntlid);
        return -EPROTO;
    }
    return 0;
}

int assoc_admin(struct assoc *a, struct ini_cmd *c, char why[static 256])
{
    int err = exec_on(&a->admin, c, a->opts.timeout_ns);

    return err ? explain(&a->admin, "admin command", err, 0, why) : 0;
}

int assoc_io(struct assoc *a, uint32_t queue, struct ini_cmd *c, char why[static 256])
{
    int err;

    assert(queue < a->nr_io);
    err = exec_on(&a->io[queue], c, a->opts.timeout_ns);
    return err ? explain(&a->io[queue], "I/O command", err, 0, why) : 0;
}

static int property_get(struct assoc *a, uint32_t off, bool wide, uint64_t *out, char why[static 256])
{
    struct ini_cmd c = {.sqe = {.opcode = OP_FABRICS,
                                .nsid = to_le32(FAB_PROPERTY_GET),
                                .cdw10 = to_le32(wide ? 1 : 0),
                                .cdw11 = to_le32(off)}};
    int err = exec_on(&a->admin, &c, a->opts.timeout_ns);

    if (err || c.status)
        return explain(&a->admin, "property get", err, c.status, why);
    *out = c.result;
    return 0;
}

static int property_set(struct assoc *a, uint32_t off, uint32_t value, char why[static 256])
{
    struct ini_cmd c = {.sqe = {.opcode = OP_FABRICS,
                                .nsid = to_le32(FAB_PROPERTY_SET),
                                .cdw11 = to_le32(off),
                                .cdw12 = to_le32(value)}};
    int err = exec_on(&a->admin, &c, a->opts.timeout_ns);

    return err || c.status ? explain(&a->admin, "property set", err, c.status, why) : 0;
}

static int enable(struct assoc *a, char why[static 256])
{
    uint64_t deadline = clock_ns() + a->opts.timeout_ns, csts = 0;
    int err = property_get(a, PROP_CAP, true, &a->cap, why);

    if (!err)
        err = property_set(a, PROP_CC, CC_ENABLE, why);
    while (!err) {
        err = property_get(a, PROP_CSTS, false, &csts, why);
        if (err || (csts & 1))
            break;
        if ((csts & 2) || clock_ns() > deadline) {
            snprintf(why, 256, "controller does not become ready: CSTS 0x%llx", (unsigned long long)csts);
            return -ETIMEDOUT;
        }
        usleep(1000);
    }
    return err;
}

static int identify(struct assoc *a, uint32_t cns, uint32_t nsid, char why[static 256])
{
    struct ini_cmd c = {.sqe = {.opcode = OP_ADMIN_IDENTIFY, .nsid = to_le32(nsid), .cdw10 = to_le32(cns)},
                        .dir = INI_READ,
                        .data = a->page,
                        .len = ASSOC_PAGE};
    int err = exec_on(&a->admin, &c, a->opts.timeout_ns);

    return err || c.status ? explain(&a->admin, "identify", err, c.status, why) : 0;
}

static uint64_t get_le(const uint8_t *p, uint32_t n)
{
    uint64_t v = 0;

    while (n-- > 0)
        v = v << 8 | p[n];
    return v;
}

static void text_field(char *out, const uint8_t *in, uint32_t n)
{
    memcpy(out, in, n);
    out[n] = '\0';
    while (n > 0 && out[n - 1] == ' ')
        out[--n] = '\0';
}

static int learn_controller(struct assoc *a, char why[static 256])
{
    const uint8_t *p = a->page;
    uint32_t ioccsz, mdts;
    int err = identify(a, IDENTIFY_CTRL, 0, why);

    if (err)
        return err;
    text_field(a->ns.serial, p + 4, 20);
    text_field(a->ns.model, p + 24, 40);
    text_field(a->ns.firmware, p + 64, 8);
    mdts = p[77];
    ioccsz = (uint32_t)get_le(p + 1792, 4);
    a->ns.volatile_cache = p[525] & 1;
    a->ns.can_trim = get_le(p + 520, 2) & (1u << 2);
    a->ns.can_zero = get_le(p + 520, 2) & (1u << 3);
    a->ns.mdts_bytes = mdts == 0 || mdts > 19 ? UINT32_MAX : 4096u << mdts;
    a->ns.mqes = (uint32_t)(a->cap & 0xffff) + 1;
    if (get_le(p + 78, 2) != a->cntlid || ioccsz < 4 || ioccsz > (1u << 20) || (get_le(p + 536, 4) & 3) == 0) {
        snprintf(why, 256, "identify controller: CNTLID %u (connected to %u), IOCCSZ %u, SGLS 0x%x", (unsigned)get_le(p + 78, 2),
                 a->cntlid, ioccsz, (unsigned)get_le(p + 536, 4));
        return -EPROTO;
    }
    a->ns.in_capsule_bytes = MIN(ioccsz * 16 - 64, a->opts.in_capsule_cap);
    return 0;
}

static int learn_namespace(struct assoc *a, char why[static 256])
{
    const uint8_t *p = a->page;
    uint32_t format, shift;
    int err = identify(a, IDENTIFY_NS, 1, why);

    if (err)
        return err;
    a->ns.size_lba = get_le(p, 8);
    format = p[26] & 0xf;
    shift = p[128 + 4 * format + 2];
    memcpy(a->ns.nguid, p + 104, 16);
    if (a->ns.size_lba == 0 || format > p[25] || shift < 9 || shift > 12 || get_le(p + 128 + 4 * format, 2) != 0) {
        snprintf(why, 256, "identify namespace: %llu blocks of 2^%u bytes, format %u of %u",
                 (unsigned long long)a->ns.size_lba, shift, format, p[25] + 1);
        return -EPROTO;
    }
    a->ns.lba_bytes = 1u << shift;
    return 0;
}

static int ask_for_queues(struct assoc *a, char why[static 256])
{
    uint32_t nr = a->opts.all_queues ? a->opts.all_queues : a->opts.io_queues;
    struct ini_cmd c = {.sqe = {.opcode = OP_ADMIN_SET_FEATURES,
                                .cdw10 = to_le32(FEAT_QUEUES),
                                .cdw11 = to_le32((nr - 1) | (nr - 1) << 16)}};
    int err = assoc_admin(a, &c, why);

    if (!err && c.status)
        err = explain(&a->admin, "set number of queues", 0, c.status, why);
    if (!err && (c.result & 0xffff) + 1 < nr) {
        snprintf(why, 256, "the target grants %u I/O queues, asked for %u", (unsigned)(c.result & 0xffff) + 1, nr);
        err = -ERANGE;
    }
    return err;
}

static int open_io_queues(struct assoc *a, char why[static 256])
{
    struct ini_opts o = {.hdgst = a->opts.hdgst, .ddgst = a->opts.ddgst, .sq_flow = a->opts.sq_flow};
    int err = 0;

    o.depth = MIN(a->opts.depth, a->ns.mqes);
    for (uint32_t i = 0; i < a->opts.io_queues && !err; i++) {
        /* Connect's data goes into the capsule too: the fabric guarantees 8192 bytes for it before IOCCSZ counts. */
        o.in_capsule_max = 8192;
        err = conn_open(&a->io[i], a->loop, a->opts.host, a->opts.port, &o, a->opts.timeout_ns, why);
        if (err)
            break;
        a->nr_io = i + 1;
        err = queue_connect(a, &a->io[i], (uint16_t)(a->opts.first_queue + i + 1), MIN(MAX(o.depth + 1, 2u), a->ns.mqes), why);
        if (!err)
            a->io[i].q.opts.in_capsule_max = a->ns.in_capsule_bytes;
    }
    return err;
}

struct assoc_ctrl assoc_ctrl_of(const struct assoc *a)
{
    return (struct assoc_ctrl){.cntlid = a->cntlid, .cap = a->cap, .ns = a->ns};
}

/* Admin queue, controller, namespace. */
static int open_ctrl(struct assoc *a, char why[static 256])
{
    const struct assoc_opts *opts = &a->opts;
    struct ini_opts admin = {.depth = ASSOC_ADMIN_DEPTH, .hdgst = opts->hdgst, .ddgst = opts->ddgst,
                             .sq_flow = opts->sq_flow, .in_capsule_max = 8192};
    int err = conn_open(&a->admin, a->loop, opts->host, opts->port, &admin, opts->timeout_ns, why);

    if (!err)
        err = queue_connect(a, &a->admin, 0, 32, why);
    if (!err)
        err = enable(a, why);
    if (!err && !opts->discovery)
        err = learn_controller(a, why);
    if (!err && !opts->discovery)
        err = learn_namespace(a, why);
    if (!err && !opts->discovery)
        err = ask_for_queues(a, why);
    return err;
}

static int join_ctrl(struct assoc *a)
{
    a->admin.fd = -1;
    a->cntlid = a->opts.leader->cntlid;
    a->cap = a->opts.leader->cap;
    a->ns = a->opts.leader->ns;
    return 0;
}

int assoc_open(struct assoc *a, struct loop *l, const struct assoc_opts *opts, char why[static 256])
{
    int err;

    assert(opts->io_queues <= ASSOC_IO_MAX && opts->depth >= 1);
    memset(a, 0, sizeof(*a));
    a->loop = l;
    a->opts = *opts;
    a->page = aligned_alloc(4096, ASSOC_PAGE);
    if (a->page == NULL) {
        snprintf(why, 256, "out of memory");
        return -ENOMEM;
    }
    err = opts->leader ? join_ctrl(a) : open_ctrl(a, why);
    if (!err && !opts->discovery)
        err = open_io_queues(a, why);
    a->keep_alive_next_ns = clock_ns() + opts->kato_ms * NS_PER_MS / 2;
    if (err)
        assoc_close(a, false);
    return err;
}

static void close_one(struct assoc *a, struct conn *c)
{
    a->pdus_rx += c->q.pdus_rx;
    a->r2ts += c->q.r2ts;
    a->success_flags += c->q.success_flags;
    conn_close(c);
}

void assoc_close(struct assoc *a, bool polite)
{
    char why[256];

    for (uint32_t i = 0; i < a->nr_io; i++)
        close_one(a, &a->io[i]);
    if (polite && !a->admin.dead && a->admin.rx)
        (void)!property_set(a, PROP_CC, CC_ENABLE | CC_SHUTDOWN, why);
    close_one(a, &a->admin);
    free(a->page);
    a->page = NULL;
    a->nr_io = 0;
}

bool assoc_dead(const struct assoc *a, const char **why, bool *protocol_fault)
{
    const struct conn *dead = a->admin.dead ? &a->admin : NULL;

    for (uint32_t i = 0; i < a->nr_io; i++)
        if (a->io[i].dead && (dead == NULL || a->io[i].protocol_fault))
            dead = &a->io[i];
    if (dead == NULL)
        return false;
    *why = dead->why;
    *protocol_fault = dead->protocol_fault;
    return true;
}

static void keep_alive_done(struct ini_cmd *c)
{
    struct assoc *a = container_of(c, struct assoc, keep_alive);

    a->keep_alive_busy = false;
    if (c->status == 0 || c->status == INI_STATUS_LOST || a->admin.dead)
        return;
    a->admin.dead = true;
    snprintf(a->admin.why, sizeof(a->admin.why), "keep alive failed with status 0x%x", c->status);
}

void assoc_tick(struct assoc *a)
{
    if (a->opts.leader != NULL || a->opts.kato_ms == 0 || a->loop->now_ns < a->keep_alive_next_ns || a->admin.dead)
        return;
    a->keep_alive_next_ns = a->loop->now_ns + a->opts.kato_ms * NS_PER_MS / 2;
    if (a->keep_alive_busy || !ini_has_room(&a->admin.q))
        return;
    memset(&a->keep_alive, 0, sizeof(a->keep_alive));
    a->keep_alive.sqe.opcode = OP_ADMIN_KEEP_ALIVE;
    a->keep_alive.done = keep_alive_done;
    a->keep_alive_busy = true;
    ini_submit(&a->admin.q, &a->keep_alive);
    conn_kick(&a->admin);
}

/* A UUID-shaped id that stays the same for a host name, so that a reconnect is seen as the same host. */
void hostid_of(const char *hostnqn, uint32_t salt, uint8_t out[static 16])
{
    uint64_t a = UINT64_C(0xcbf29ce484222325) + salt, b = ~a;

    for (const char *p = hostnqn; *p; p++) {
        a = (a ^ (uint8_t)*p) * UINT64_C(0x100000001b3);
        b = (b + (uint8_t)*p) * UINT64_C(0x9e3779b97f4a7c15);
    }
    memcpy(out, &a, 8);
    memcpy(out + 8, &b, 8);
    out[6] = (uint8_t)((out[6] & 0x0f) | 0x40);
    out[8] = (uint8_t)((out[8] & 0x3f) | 0x80);
}
