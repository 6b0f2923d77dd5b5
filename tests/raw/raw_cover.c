/* SPDX-License-Identifier: Apache-2.0 */
/* raw_cover.c: writes that wait for a cap keep no slots from others. Every queue of a capped volume has writes whose data is to be asked
 * for, and the queues together have more entries than there are slots: were all of these promised to them while they wait, nothing
 * else on the reactor could go on. In the end each write is answered, and one that is cut just as it gets the
 * word leaves nothing behind.
 */
#include <pthread.h>

#include "daemon/blk_limit.h"
#include "raw.h"

#define NQN    "nqn.2026-11.io.firn:raw:capped"
#define QUEUES 16
#define DEPTH  128u
#define SLOTS  (4 * DEPTH) /* four queues' promise is all */
#define WRITES 4u          /* of each queue: with one a second, a minute's worth */
#define LEN    16384u
#define BIG    (512u * 1024)
#define PROMPT_MS 5000u

static struct raw_srv srv = {.opts.commands = SLOTS};
static struct { struct blk *ram; struct blk_limit *limit; struct subsys *s; sem_t gone; } vol;
static uint8_t pattern[BIG];

static void volume_new(void *arg)
{
    const char *any[] = {"*"};
    struct subsys_params p = {.nqn = NQN, .serial = "1"};

    (void)arg;
    if (blk_ram_new(srv.env[0], 4096, (uint64_t)RAW_BLOCKS * 4096, &vol.ram) != 0 || blk_limit_new(vol.ram, 1, 0, &vol.limit) != 0)
        abort();
    blk_limit_start(vol.limit);
    p.blk = blk_limit_blk(vol.limit);
    raw_check(subsys_add(srv.target, &p, &vol.s) == 0 && subsys_set_hosts(vol.s, any, 1) == 0, "the capped volume");
}

static void cap(void *arg) { blk_limit_set(vol.limit, *(const uint64_t *)arg, 0); }
static void set_cap(uint64_t iops) { raw_on_env(srv.env[0], cap, &iops); }

static void removed(void *ctx) { sem_post(ctx); }
static void volume_remove(void *arg)
{
    (void)arg;
    subsys_remove(vol.s, removed, &vol.gone);
}
static void volume_free(void *arg)
{
    (void)arg;
    blk_limit_stop(vol.limit);
    blk_limit_free(vol.limit);
    blk_ram_free(vol.ram);
}

/* ---- the host of the capped volume: it sends what it is asked for --------------------------------------------------------- */

static struct {
    struct raw_conn a, q[QUEUES];
    pthread_t thread;
    uint32_t  answers, errors; /* atomic */
    bool      stop;            /* atomic */
} host;

static void hear(const struct raw_conn *q)
{
    static uint8_t out[LEN + 256];
    uint8_t buf[128];
    const struct pdu_r2t *r = (const void *)buf;
    const struct pdu_capsule_resp *resp = (const void *)buf;

    if (raw_pdu(q->fd, buf, sizeof(buf)) != 0 && r->common.type == PDU_R2T) {
        raw_send(q->fd, out, raw_h2c(out, from_le16(r->cccid), from_le16(r->ttag), 0, pattern, from_le32(r->r2tl), true, false, false));
        return;
    }
    __atomic_fetch_add(&host.errors, resp->common.type != PDU_CAPSULE_RESP || resp->cqe.status.raw != 0, __ATOMIC_SEQ_CST);
    __atomic_fetch_add(&host.answers, 1, __ATOMIC_SEQ_CST);
}

static void *host_run(void *arg)
{
    struct pollfd p[QUEUES];

    (void)arg;
    while (!__atomic_load_n(&host.stop, __ATOMIC_SEQ_CST)) {
        for (int i = 0; i < QUEUES; i++)
            p[i] = (struct pollfd){.fd = host.q[i].fd, .events = POLLIN};
        if (poll(p, QUEUES, 50) <= 0)
            continue;
        for (int i = 0; i < QUEUES; i++)
            if (p[i].revents)
                hear(&host.q[i]);
    }
    return NULL;
}

static void host_connect(void)
{
    struct raw_connect p = {.sqsize = 31, .cattr = CATTR_SQ_FLOW_OFF, .subnqn = NQN};

    host.a = raw_admin(&srv, false, false, &p);
    p.cntlid = host.a.cntlid;
    p.sqsize = DEPTH - 1;
    for (uint16_t i = 0; i < QUEUES; i++) {
        host.q[i].fd = raw_open(&srv);
        p.qid = (uint16_t)(i + 1);
        raw_check(raw_ic(&host.q[i]) && raw_status(raw_connect(&host.q[i], &p)) == 0, "queue %d", i);
    }
}

static void host_asks(void)
{
    uint8_t pdu[128];

    host.answers = host.errors = 0;
    for (uint16_t k = 0; k < WRITES; k++) {
        for (int i = 0; i < QUEUES; i++) {
            struct nvme_sqe wr = raw_io(IO_WRITE, k, k * 4u, LEN / 4096, LEN, false);

            raw_send(host.q[i].fd, pdu, raw_capsule(pdu, &wr, NULL, 0, false, false));
        }
    }
}

static void host_listens(void)
{
    host.stop = false;
    if (pthread_create(&host.thread, NULL, host_run, NULL) != 0)
        abort();
}

static void host_is_deaf(void)
{
    __atomic_store_n(&host.stop, true, __ATOMIC_SEQ_CST);
    pthread_join(host.thread, NULL);
}

static void host_leaves(void)
{
    for (int i = 0; i < QUEUES; i++)
        close(host.q[i].fd);
    close(host.a.fd);
}

/* ---- the other volume ------------------------------------------------------------------------------------------------------- */

/* A Connect, a write of each kind and reads, one after the other. */
static void the_other_goes_on(const char *while_what)
{
    static uint8_t buf[BIG];
    uint64_t start = raw_now_ms(), took;
    struct raw_conn a = raw_admin(&srv, false, false, NULL), q = raw_ioq(&srv, &a, 1, false, false);
    struct nvme_sqe in = raw_io(IO_WRITE, 1, 0, 2, 8192, true), wr = raw_io(IO_WRITE, 2, 0, BIG / 4096, BIG, false);
    struct nvme_sqe rd = raw_io(IO_READ, 3, 0, BIG / 4096, BIG, false);
    bool ok = true;

    for (int i = 0; i < 4 && ok; i++)
        ok = raw_status(raw_cmd(&q, &in, pattern, 8192)) == 0 && raw_write_r2t(&q, &wr, pattern, BIG, BIG) == 0 &&
             raw_read_cmd(&q, &rd, buf, BIG) == 0 && memcmp(buf, pattern, BIG) == 0;
    took = raw_now_ms() - start;
    raw_check(ok && took < PROMPT_MS, "%s, the other volume goes on: %d, %lu ms", while_what, ok, (unsigned long)took);
    close(q.fd);
    close(a.fd);
}

/* ---- what happens --------------------------------------------------------------------------------------------------------- */

static void all_are_answered(void)
{
    for (int i = 0; i < 1000 && __atomic_load_n(&host.answers, __ATOMIC_SEQ_CST) < QUEUES * WRITES; i++)
        usleep(5000);
    host_is_deaf();
    raw_check(host.answers == QUEUES * WRITES && host.errors == 0, "all are answered: %u, %u errors", host.answers, host.errors);
}

static void they_keep_no_slots(void)
{
    host_connect();
    host_listens();
    host_asks();
    usleep(200000);
    the_other_goes_on("while writes wait for a cap");
    raw_check(__atomic_load_n(&host.answers, __ATOMIC_SEQ_CST) < QUEUES * WRITES / 2, "the cap is kept");
    set_cap(0);
    all_are_answered();
}

static void no_cap(struct env_task *task)
{
    (void)task;
    blk_limit_set(vol.limit, 0, 0);
}

/* Its host loses its right, and before the connections have ended all that wait get the word. */
static void cut_with_the_word(void *arg)
{
    static struct env_task next = {.fn = no_cap}; /* behind the one that cuts */
    const char *any[] = {"*"};

    (void)arg;
    raw_check(subsys_set_hosts(vol.s, any, 0) == 0, "the host has no right");
    env_post(srv.env[0], &next);
}

static void right_again(void *arg)
{
    const char *any[] = {"*"};

    (void)arg;
    raw_check(subsys_set_hosts(vol.s, any, 1) == 0, "and has it again");
}

static void they_are_cut(void)
{
    set_cap(1);
    host_asks();
    usleep(200000);
    raw_on_env(srv.env[0], cut_with_the_word, NULL);
    for (int i = 0; i < QUEUES; i++)
        raw_check(raw_at_end(host.q[i].fd), "queue %d is cut", i);
    host_leaves();
    raw_on_env(srv.env[0], right_again, NULL);
    host_connect();
    the_other_goes_on("after some were cut");
    host_listens();
    host_asks();
    all_are_answered();
}

int main(void)
{
    raw_fill(pattern, sizeof(pattern), 7);
    raw_start(&srv);
    raw_on_env(srv.env[0], volume_new, NULL);
    they_keep_no_slots();
    they_are_cut();
    host_leaves();
    sem_init(&vol.gone, 0, 0);
    raw_on_env(srv.env[0], volume_remove, NULL);
    sem_wait(&vol.gone);
    raw_on_env(srv.env[0], volume_free, NULL);
    raw_check(raw_works(&srv, true, true), "the target works");
    raw_stop(&srv);
    return raw_end();
}
