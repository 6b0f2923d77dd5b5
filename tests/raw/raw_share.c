/* SPDX-License-Identifier: Apache-2.0 */
/* raw_share.c: what hosts of some volumes do, or leave undone, does not stop the others of the reactor. A volume under a cap has thousands
 * of requests waiting, or a host never reads what it asked for, on one volume or on several: another volume goes on at once. And what
 * waits for a cap is answered in the end, whatever it is, cut, or called back when its volume goes.
 */
#include <fcntl.h>
#include <sys/resource.h>

#include "daemon/blk_limit.h"
#include "raw.h"

#define VOLUMES 8
#define BIG     (512u * 1024)
#define BLOCKS  (BIG / 4096)
#define PROMPT_MS 1000u

struct vol {
    char              nqn[64];
    struct blk       *ram;
    struct blk_limit *limit;
    struct subsys    *s;
    sem_t             gone;
};

static struct raw_srv srv;
static struct vol vol[VOLUMES];
static uint8_t pattern[BIG];
struct caps { struct vol *v; uint64_t iops, bandwidth; };

static void volume_new(void *arg)
{
    struct caps *c = arg;
    const char *any[] = {"*"};
    struct subsys_params p = {.serial = "1"};

    snprintf(c->v->nqn, sizeof(c->v->nqn), "nqn.2026-11.io.firn:raw:v%d", (int)(c->v - vol));
    memcpy(p.nqn, c->v->nqn, sizeof(c->v->nqn));
    if (blk_ram_new(srv.env[0], 4096, (uint64_t)RAW_BLOCKS * 4096, &c->v->ram) != 0 ||
        blk_limit_new(c->v->ram, c->iops, c->bandwidth, &c->v->limit) != 0)
        abort();
    blk_limit_start(c->v->limit);
    p.blk = blk_limit_blk(c->v->limit);
    raw_check(subsys_add(srv.target, &p, &c->v->s) == 0 && subsys_set_hosts(c->v->s, any, 1) == 0, "%s", c->v->nqn);
}

static struct vol *volume(int i, uint64_t iops, uint64_t bandwidth)
{
    raw_on_env(srv.env[0], volume_new, &(struct caps){&vol[i], iops, bandwidth});
    return &vol[i];
}

static void set_caps(void *arg)
{
    struct caps *c = arg;

    blk_limit_set(c->v->limit, c->iops, c->bandwidth);
}

static void removed(void *ctx) { sem_post(ctx); }
static void volume_remove(void *arg)
{
    struct vol *v = arg;

    subsys_remove(v->s, removed, &v->gone);
}
static void volume_free(void *arg)
{
    struct vol *v = arg;

    blk_limit_stop(v->limit);
    blk_limit_free(v->limit);
    blk_ram_free(v->ram);
}

static void volume_drop(struct vol *v)
{
    uint64_t start = raw_now_ms();

    sem_init(&v->gone, 0, 0);
    raw_on_env(srv.env[0], volume_remove, v);
    sem_wait(&v->gone);
    raw_check(raw_now_ms() - start < PROMPT_MS, "%s is gone in %lu ms", v->nqn, (unsigned long)(raw_now_ms() - start));
    raw_on_env(srv.env[0], volume_free, v);
}

static struct raw_conn admin_of(const struct vol *v)
{
    struct raw_connect p = {.sqsize = 31, .cattr = CATTR_SQ_FLOW_OFF, .subnqn = v->nqn};

    return raw_admin(&srv, false, false, &p);
}

/* A host that never reads has a small receive buffer. */
static struct raw_conn queue_of(const struct vol *v, const struct raw_conn *a, uint16_t qid, int rcvbuf)
{
    struct raw_conn q = {.fd = raw_open_rcvbuf(&srv, rcvbuf)};
    struct raw_connect p = {.qid = qid, .cntlid = a->cntlid, .sqsize = 127, .cattr = CATTR_SQ_FLOW_OFF, .subnqn = v->nqn};

    raw_check(raw_ic(&q) && raw_status(raw_connect(&q, &p)) == 0, "queue %u of %s", qid, v->nqn);
    return q;
}

static void ask(const struct raw_conn *q, uint8_t opc, uint16_t from, uint16_t nr, uint32_t bytes, bool in_capsule)
{
    static uint8_t pdu[16384];

    for (uint16_t i = from; i < from + nr; i++) {
        struct nvme_sqe sqe = raw_io(opc, i, i % 8u * BLOCKS, bytes / 4096, bytes, in_capsule);

        if (!raw_send(q->fd, pdu, raw_capsule(pdu, &sqe, pattern, in_capsule ? bytes : 0, false, false)))
            return;
    }
}

/* A write of each kind, and reads, one after the other: the longest took so long. */
static uint64_t longest_of(const struct vol *v, uint32_t rounds)
{
    struct raw_conn a = admin_of(v), q = queue_of(v, &a, 1, 0);
    struct nvme_sqe in = raw_io(IO_WRITE, 1, 0, 2, 8192, true), wr = raw_io(IO_WRITE, 2, 0, BLOCKS, BIG, false);
    struct nvme_sqe rd = raw_io(IO_READ, 3, 0, BLOCKS, BIG, false), small = raw_io(IO_READ, 4, 0, 1, 4096, false);
    static uint8_t buf[BIG];
    uint64_t worst = 0, at = raw_now_ms(), now;
    bool ok = true;

    for (uint32_t i = 0; i < 4 * rounds && ok; i++, at = now) {
        switch (i % 4) {
        case 0: ok = raw_status(raw_cmd(&q, &in, pattern, 8192)) == 0; break;
        case 1: ok = raw_write_r2t(&q, &wr, pattern, BIG, BIG) == 0; break;
        case 2: ok = raw_read_cmd(&q, &rd, buf, BIG) == 0; break;
        case 3: ok = raw_read_cmd(&q, &small, buf, 4096) == 0; break;
        }
        now = raw_now_ms();
        worst = MAX(worst, now - at);
    }
    close(q.fd);
    close(a.fd);
    return ok ? worst : UINT64_MAX;
}

static void goes_on(const struct vol *v, const char *while_what)
{
    uint64_t worst = longest_of(v, 4);

    raw_check(worst < PROMPT_MS, "%s: %ld ms", while_what, (long)worst);
}

/* ---- caps ------------------------------------------------------------------------------------------------------------- */

#define QUEUES 16

/* Two capped volumes whose hosts ask for all that their queues take, and one without a cap. */
static void under_a_cap(uint64_t iops, uint64_t bandwidth, uint8_t opc, uint32_t bytes, bool in_capsule, const char *what)
{
    struct vol *capped[2] = {volume(0, iops, bandwidth), volume(1, iops, bandwidth)}, *other = volume(2, 0, 0);
    struct raw_conn a[2], q[2][QUEUES];
    struct nvme_sqe identify = raw_sqe(ADMIN_IDENTIFY, 5, 1);
    uint8_t page[4096];

    identify.sgl.length = to_le32(sizeof(page));
    for (int v = 0; v < 2; v++) {
        a[v] = admin_of(capped[v]);
        for (uint16_t i = 0; i < QUEUES; i++) {
            q[v][i] = queue_of(capped[v], &a[v], (uint16_t)(i + 1), 0);
            fcntl(q[v][i].fd, F_SETFL, O_NONBLOCK); /* what the target does not read yet is left */
            ask(&q[v][i], opc, 0, 127, bytes, in_capsule);
        }
    }
    usleep(500000);
    goes_on(other, what);
    raw_check(raw_read_cmd(&a[0], &identify, page, sizeof(page)) == 0, "%s: the volume's own host may ask for Identify", what);
    for (int v = 0; v < 2; v++) {
        for (int i = 0; i < QUEUES; i++)
            close(q[v][i].fd);
        close(a[v].fd);
        volume_drop(capped[v]);
    }
    volume_drop(other);
}

/* Reads what comes in till nr commands are answered; R2Ts are served. False: not in time. */
static bool answered(const struct raw_conn *q, uint32_t nr, uint32_t ms)
{
    static uint8_t buf[BIG + 256], out[BIG + 256];
    uint64_t end = raw_now_ms() + ms;
    struct pollfd p = {.fd = q->fd, .events = POLLIN};

    while (nr > 0 && raw_now_ms() < end) {
        const struct pdu_r2t *r = (const void *)buf;
        const struct pdu_capsule_resp *resp = (const void *)buf;

        if (poll(&p, 1, 100) == 0)
            continue;
        if (raw_pdu(q->fd, buf, sizeof(buf)) == 0)
            return false;
        if (r->common.type == PDU_R2T)
            raw_send(q->fd, out, raw_h2c(out, from_le16(r->cccid), from_le16(r->ttag), 0, pattern, from_le32(r->r2tl), true, false,
                false));
        else if (r->common.type == PDU_C2H_DATA)
            nr--;
        else
            nr -= resp->common.type == PDU_CAPSULE_RESP && resp->cqe.status.raw == 0;
    }
    return nr == 0;
}

#define KINDS 7
static uint16_t ask_of_each_kind(const struct raw_conn *q, uint16_t each)
{
    ask(q, IO_WRITE, 0, each, 8192, true);
    ask(q, IO_WRITE, 100, each, BIG, false);
    ask(q, IO_READ, 200, each, BIG, false);
    ask(q, IO_READ, 300, each, 4096, false);
    ask(q, IO_COMPARE, 400, each, 8192, true);
    for (uint16_t i = 0; i < each; i++) {
        struct nvme_sqe zero = raw_io(IO_WRITE_ZEROES, (uint16_t)(500 + i), 3000, 8, 0, false);
        struct nvme_sqe verify = raw_io(IO_VERIFY, (uint16_t)(600 + i), 0, BLOCKS, 0, false);
        uint8_t pdu[128];

        raw_send(q->fd, pdu, raw_capsule(pdu, &zero, NULL, 0, false, false));
        raw_send(q->fd, pdu, raw_capsule(pdu, &verify, NULL, 0, false, false));
    }
    return (uint16_t)(KINDS * each);
}

/* Of every kind some; the cap is kept, and none of them waits for ever. */
static void every_kind_has_its_turn(void)
{
    struct vol *v = volume(0, 50, 0);
    struct raw_conn a = admin_of(v), q = queue_of(v, &a, 1, 0);
    uint64_t start = raw_now_ms(), took;
    uint16_t nr = ask_of_each_kind(&q, 10);

    raw_check(answered(&q, nr, 10000), "all %u are answered", nr);
    took = raw_now_ms() - start; /* 5 at once, then one each 20 ms */
    raw_check(took + 50 >= (nr - 5u) * 20 && took < (nr - 5u) * 20 + 1500, "%u requests at 50 a second took %lu ms", nr,
        (unsigned long)took);
    close(q.fd);
    close(a.fd);
    volume_drop(v);
}

static void caps_change_while_some_wait(void)
{
    struct vol *v = volume(0, 1, 0);
    struct raw_conn a = admin_of(v), q = queue_of(v, &a, 1, 0);
    uint64_t start = raw_now_ms();
    uint16_t nr = ask_of_each_kind(&q, 10);

    usleep(100000);
    raw_on_env(srv.env[0], set_caps, &(struct caps){v, 0, 0});
    raw_check(answered(&q, nr, 5000) && raw_now_ms() - start < PROMPT_MS, "without the cap all go");
    raw_on_env(srv.env[0], set_caps, &(struct caps){v, 0, 10 * BIG});
    nr = ask_of_each_kind(&q, 4);
    raw_check(answered(&q, nr, 10000), "a new one lets all go in time");
    raw_on_env(srv.env[0], set_caps, &(struct caps){v, 1, 0});
    ask_of_each_kind(&q, 10);
    usleep(50000);
    close(q.fd);
    q = queue_of(v, &a, 2, 0);
    raw_on_env(srv.env[0], set_caps, &(struct caps){v, 1000, 0});
    raw_check(answered(&q, ask_of_each_kind(&q, 2), 5000), "what was cut while it waited is not in the way");
    raw_on_env(srv.env[0], set_caps, &(struct caps){v, 1, 0});
    ask_of_each_kind(&q, 10);
    usleep(50000);
    volume_drop(v); /* while they wait */
    close(q.fd);
    close(a.fd);
}

/* ---- hosts that do not read -------------------------------------------------------------------------------------------- */

#define DEAF 9

static void deaf_hosts(int nr)
{
    static struct raw_conn a[VOLUMES], q[VOLUMES][DEAF];
    struct vol *other = volume(VOLUMES - 1, 0, 0);

    for (int i = 0; i < nr; i++) {
        a[i] = admin_of(volume(i, 0, 0));
        for (uint16_t k = 0; k < DEAF; k++) {
            q[i][k] = queue_of(&vol[i], &a[i], (uint16_t)(k + 1), 4096);
            ask(&q[i][k], IO_READ, 0, 100, BIG, false);
        }
    }
    usleep(300000);
    goes_on(other, nr == 1 ? "a host does not read" : "several hosts do not read");
    for (int i = 0; i < nr; i++) {
        for (int k = 0; k < DEAF; k++)
            close(q[i][k].fd);
        close(a[i].fd);
        volume_drop(&vol[i]);
    }
    volume_drop(other);
}

/* Anybody may ask discovery: hundreds of these never read their answers, so that many sends never end. */
#define STRANGERS 600

static bool enough_descriptors(void)
{
    struct rlimit rl = {0};

    getrlimit(RLIMIT_NOFILE, &rl);
    rl.rlim_cur = rl.rlim_max;
    setrlimit(RLIMIT_NOFILE, &rl);
    return rl.rlim_cur >= 2 * STRANGERS + 200;
}

/* Identify, nr times. */
static void ask_who(int fd, uint16_t nr)
{
    struct nvme_sqe sqe = raw_sqe(ADMIN_IDENTIFY, 0, 0);
    uint8_t pdu[128];

    sqe.sgl.length = to_le32(4096);
    sqe.cdw10 = to_le32(1);
    for (uint16_t k = 0; k < nr; k++) {
        sqe.cid = to_le16(k);
        raw_send(fd, pdu, raw_capsule(pdu, &sqe, NULL, 0, false, false));
    }
}

static void deaf_strangers(void)
{
    static int fds[STRANGERS];
    struct vol *other = volume(0, 0, 0);
    struct raw_connect p = {.sqsize = 31, .subnqn = DISCOVERY_NQN, .cattr = CATTR_SQ_FLOW_OFF};

    for (int i = 0; i < STRANGERS; i++) {
        struct raw_conn c = {.fd = raw_open_rcvbuf(&srv, 2048)};

        fds[i] = c.fd;
        raw_check(raw_ic(&c) && raw_status(raw_connect(&c, &p)) == 0 && raw_status(raw_property_set(&c, PROP_CC, 0x460001)) == 0,
            "stranger %d", i);
    }
    for (int i = 0; i < STRANGERS; i++)
        ask_who(fds[i], 31);
    usleep(500000);
    goes_on(other, "strangers do not read");
    for (int i = 0; i < STRANGERS; i++)
        close(fds[i]);
    volume_drop(other);
}

int main(void)
{
    raw_fill(pattern, sizeof(pattern), 7);
    raw_start(&srv);
    under_a_cap(0, 1 << 20, IO_READ, BIG, false, "reads under a cap of bandwidth");
    under_a_cap(2, 0, IO_WRITE, 8192, true, "in-capsule writes under a cap of requests");
    under_a_cap(2, 0, IO_READ, 4096, false, "short reads under a cap of requests");
    under_a_cap(2, 0, IO_WRITE, BIG, false, "large writes under a cap of requests");
    every_kind_has_its_turn();
    caps_change_while_some_wait();
    deaf_hosts(1);
    deaf_hosts(VOLUMES - 1);
    if (enough_descriptors())
        deaf_strangers();
    raw_check(raw_works(&srv, true, true), "the target works");
    raw_stop(&srv);
    return raw_end();
}
