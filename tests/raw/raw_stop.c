/* SPDX-License-Identifier: Apache-2.0 */
/* raw_stop.c: a target that stops finishes what it has accepted: every write that a blk holds is answered when the blk lets go, and
 * only then the stream ends. It ends without a reset, whatever the host has sent since, or sends still; but a host that never
 * closes does not hold up the stop.
 */
#include "raw.h"

#include <inttypes.h>
#include <pthread.h>

#define WRITES 48

/* ---- a blk that holds writes until it is told to let go: all on the env's thread, but for nr_held -------------------------- */

struct hold {
    struct blk  blk;
    struct blk *ram;
    struct list held;
    uint32_t    nr_held; /* atomic */
};
static struct hold hold;

static void hold_submit(struct blk *b, struct blk_io *io)
{
    (void)b;
    if (io->op != BLK_WRITE) {
        raw_pass(&hold.blk, io, hold.ram);
        return;
    }
    list_push_back(&hold.held, &io->priv.node);
    __atomic_fetch_add(&hold.nr_held, 1, __ATOMIC_SEQ_CST);
}

static const struct blk_ops hold_ops = {.name = "hold", .submit = hold_submit};

static struct blk *hold_wrap(struct blk *ram)
{
    hold.ram = ram;
    list_init(&hold.held);
    blk_init(&hold.blk, &hold_ops, ram->env, ram->lba_bytes, ram->size_lba);
    return &hold.blk;
}

static void let_go(void *arg)
{
    struct list *n;

    (void)arg;
    while ((n = list_pop_front(&hold.held)) != NULL)
        raw_pass(&hold.blk, container_of(n, struct blk_io, priv.node), hold.ram);
}

static uint32_t nr_held(void) { return __atomic_load_n(&hold.nr_held, __ATOMIC_SEQ_CST); }

/* ---- the stop --------------------------------------------------------------------------------------------------------- */

static bool readable(int fd, int ms)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};

    return poll(&p, 1, ms) == 1;
}

/* Writes in capsules and one by R2T, all in the blk. */
static void fill_blk(const struct raw_conn *q)
{
    static uint8_t data[65536], pdu[65536 + 128];
    struct nvme_sqe big = raw_io(IO_WRITE, WRITES - 1, 1000, 16, 65536, false);
    struct pdu_r2t r = {0};

    raw_fill(data, sizeof(data), 7);
    for (uint16_t i = 0; i < WRITES - 1; i++) {
        struct nvme_sqe wr = raw_io(IO_WRITE, i, i, 1, 4096, true);

        raw_send(q->fd, pdu, raw_capsule(pdu, &wr, data, 4096, false, false));
    }
    raw_send(q->fd, pdu, raw_capsule(pdu, &big, NULL, 0, false, false));
    raw_check(raw_pdu(q->fd, &r, sizeof(r)) == sizeof(r) && r.common.type == PDU_R2T, "an R2T");
    raw_send(q->fd, pdu, raw_h2c(pdu, WRITES - 1, from_le16(r.ttag), 0, data, sizeof(data), true, false, false));
    for (int i = 0; i < 4000 && nr_held() < WRITES; i++)
        usleep(1000);
    raw_check(nr_held() == WRITES, "%u of %d writes in the blk", nr_held(), WRITES);
}

static void send_late(const struct raw_conn *q, uint16_t cid)
{
    static uint8_t data[4096], pdu[4096 + 128];
    struct nvme_sqe wr = raw_io(IO_WRITE, cid, cid, 1, sizeof(data), true);

    raw_check(raw_send(q->fd, pdu, raw_capsule(pdu, &wr, data, sizeof(data), false, false)), "late write %u", cid);
    usleep(20000);
}

/* Reading says so, and writing goes on, until the host closes. */
static void ends_without_reset(const struct raw_conn *q)
{
    char byte;
    int err = -1;
    socklen_t len = sizeof(err);
    ssize_t k = recv(q->fd, &byte, 1, 0);

    raw_check(k == 0, "the end of the stream: %zd", k);
    for (uint16_t i = 0; i < 3; i++)
        send_late(q, 100 + i);
    raw_check(getsockopt(q->fd, SOL_SOCKET, SO_ERROR, &err, &len) == 0 && err == 0, "no reset: %d", err);
}

/* The host's side of a stop that is under way. */
static void hears_all(const struct raw_srv *s, const struct raw_conn *a, const struct raw_conn *q)
{
    bool seen[WRITES] = {false};
    struct raw_answer r;
    int answered = 0;

    raw_check(!readable(q->fd, 300) && !readable(a->fd, 0), "neither an answer nor an end while the blk holds them");
    send_late(q, 64);
    send_late(q, 65);
    raw_on_env(s->env[s->nr - 1], let_go, NULL);
    while ((r = raw_resp(q)).ok) {
        raw_check(r.status == 0 && r.cid < WRITES && !seen[r.cid % WRITES], "write %u: status %x", r.cid, r.status);
        seen[r.cid % WRITES] = true;
        answered++;
    }
    raw_check(answered == WRITES, "%d of %d answered", answered, WRITES);
    ends_without_reset(q);
    close(q->fd);
    ends_without_reset(a);
    close(a->fd);
}

static void stop_finishes_what_was_accepted(uint32_t reactors)
{
    struct raw_srv s = {.nr = reactors, .wrap = hold_wrap};
    struct raw_stop st = {.s = &s};
    struct raw_conn a, q;

    hold.nr_held = 0;
    raw_start(&s);
    a = raw_admin(&s, false, false, NULL);
    q = raw_ioq(&s, &a, 1, false, false);
    fill_blk(&q);
    sem_init(&st.sem, 0, 0);
    raw_on_env(s.env[0], raw_stop_target, &st);
    hears_all(&s, &a, &q);
    raw_stop_rest(&s, &st);
}

static void *talk(void *arg)
{
    static const char junk[65536];

    while (raw_send(*(const int *)arg, junk, sizeof(junk)))
        ;
    return NULL;
}

/* The I/O queue's stream is given a second, then the admin queue's; the limit of a queue's commands would be five. */
static void stop_does_not_wait_for_hosts(uint32_t reactors)
{
    struct raw_srv s = {.nr = reactors};
    struct raw_stop st = {.s = &s};
    struct raw_conn a, q;
    pthread_t talker;
    uint64_t began;

    raw_start(&s);
    a = raw_admin(&s, false, false, NULL);
    q = raw_ioq(&s, &a, 1, false, false);
    sem_init(&st.sem, 0, 0);
    began = raw_now_ms();
    raw_on_env(s.env[0], raw_stop_target, &st);
    raw_check(raw_at_end(q.fd), "the end of the stream");
    if (pthread_create(&talker, NULL, talk, &q.fd) != 0)
        abort();
    raw_stop_rest(&s, &st);
    raw_check(raw_now_ms() - began < 4500, "%" PRIu64 " ms for a host that never closes", raw_now_ms() - began);
    pthread_join(talker, NULL); /* cut */
    close(q.fd);
    close(a.fd);
}

int main(void)
{
    stop_finishes_what_was_accepted(1);
    stop_finishes_what_was_accepted(2);
    stop_does_not_wait_for_hosts(1);
    stop_does_not_wait_for_hosts(2);
    return raw_end();
}
