/* SPDX-License-Identifier: Apache-2.0 */
/* raw_again.c: a host whose I/O connection ended comes back under the same queue identifier while the blk still has commands of the
 * old one: it is let in when that has ended, or told that it may try again. If the old one is not even being read, because its volume
 * is shut, it ends all the same.
 */
#include <fcntl.h>

#include "raw.h"

#define BIG     (512u * 1024)
#define WAIT_MS 2000u

/* ---- a blk that keeps writes until it is told to let go ----------------------------------------------------------------- */

static struct { struct blk blk; struct blk *ram; struct list held; bool holding; uint32_t nr; } hold;

static void let_io_go(struct blk_io *io)
{
    hold.blk.in_flight--;
    blk_submit(hold.ram, io);
}

static void hold_submit(struct blk *b, struct blk_io *io)
{
    (void)b;
    if (!hold.holding || io->op != BLK_WRITE) {
        let_io_go(io);
        return;
    }
    list_push_back(&hold.held, &io->priv.node);
    __atomic_fetch_add(&hold.nr, 1, __ATOMIC_SEQ_CST);
}

static bool hold_may_begin(struct blk *b, uint64_t ios, uint64_t bytes)
{
    (void)b;
    (void)ios;
    (void)bytes;
    return false;
}

static const struct blk_ops hold_ops = {.name = "hold", .submit = hold_submit, .may_begin = hold_may_begin};

static struct blk *wrap(struct blk *ram)
{
    blk_init(&hold.blk, &hold_ops, ram->env, ram->lba_bytes, ram->size_lba);
    hold.ram = ram;
    list_init(&hold.held);
    return &hold.blk;
}

static void keep(void *arg)
{
    (void)arg;
    hold.holding = true;
}
static void let_go(void *arg)
{
    struct list *n;

    (void)arg;
    hold.holding = false;
    while ((n = list_pop_front(&hold.held)) != NULL)
        let_io_go(list_entry(n, struct blk_io, priv.node));
}

static void shut(void *arg)
{
    (void)arg;
    hold.blk.holds_back = true;
}

static void open_again(void *arg)
{
    (void)arg;
    hold.blk.holds_back = false;
    blk_notify(&hold.blk, BLK_EVENT_MAY_BEGIN);
}

/* ---- the host ------------------------------------------------------------------------------------------------------------- */

static const uint8_t data[8192];

/* Connect, without waiting for the answer. */
static struct raw_conn ask_to_join(const struct raw_srv *s, const struct raw_conn *a, uint16_t qid)
{
    struct raw_conn q = {.fd = raw_open(s)};
    struct raw_connect p = {.qid = qid, .cntlid = a->cntlid, .sqsize = 127, .cattr = CATTR_SQ_FLOW_OFF};
    uint8_t buf[2048];

    raw_check(raw_ic(&q) && raw_send(q.fd, buf, raw_connect_pdu(buf, &p, false, false)), "Connect of queue %u is sent", qid);
    return q;
}

static bool readable(const struct raw_conn *q, int ms)
{
    struct pollfd p = {.fd = q->fd, .events = POLLIN};

    return poll(&p, 1, ms) == 1;
}

static bool writes(const struct raw_conn *q)
{
    struct nvme_sqe wr = raw_io(IO_WRITE, 9, 7, 1, 4096, true);

    return raw_status(raw_cmd(q, &wr, data, 4096)) == 0;
}

/* A write of a queue that is then cut, kept in the blk. */
static void leave_a_write(const struct raw_srv *s, const struct raw_conn *a, uint16_t qid)
{
    struct raw_conn q = raw_ioq(s, a, qid, false, false);
    struct nvme_sqe wr = raw_io(IO_WRITE, 1, 0, 1, 4096, true);
    uint32_t before = __atomic_load_n(&hold.nr, __ATOMIC_SEQ_CST);
    uint8_t pdu[8192];

    raw_on_env(hold.ram->env, keep, NULL);
    raw_send(q.fd, pdu, raw_capsule(pdu, &wr, data, 4096, false, false));
    for (int i = 0; i < 2000 && __atomic_load_n(&hold.nr, __ATOMIC_SEQ_CST) == before; i++)
        usleep(1000);
    raw_check(__atomic_load_n(&hold.nr, __ATOMIC_SEQ_CST) == before + 1, "the blk has a write");
    close(q.fd);
}

static void waits_for_the_old_one(const struct raw_srv *s, const struct raw_conn *a)
{
    struct raw_conn q, later;
    struct raw_answer r;

    leave_a_write(s, a, 1);
    q = ask_to_join(s, a, 1);
    raw_check(!readable(&q, 300), "not while the blk has a write of the old one");
    later = ask_to_join(s, a, 1);
    raw_check(raw_at_end(q.fd), "of two tries the last one waits");
    raw_on_env(hold.ram->env, let_go, NULL);
    r = raw_resp(&later);
    raw_check(r.ok && r.status == 0 && writes(&later), "then it is in: %04x", r.status);
    close(q.fd);
    close(later.fd);
}

static void waits_in_vain(const struct raw_srv *s, const struct raw_conn *a)
{
    struct raw_conn q;
    struct raw_answer r;
    uint64_t start, took;

    leave_a_write(s, a, 2);
    start = raw_now_ms();
    q = ask_to_join(s, a, 2);
    r = raw_resp(&q);
    took = raw_now_ms() - start;
    raw_check(r.ok && r.status == ST_CONNECT_PARAM, "told to try again: %04x", r.status);
    raw_check(took + 100 >= WAIT_MS && took < WAIT_MS + 1500, "after %lu ms", (unsigned long)took);
    raw_check(raw_at_end(q.fd), "and its stream ends");
    close(q.fd);
    raw_on_env(hold.ram->env, let_go, NULL);
    q = ask_to_join(s, a, 2);
    r = raw_resp(&q);
    raw_check(r.ok && r.status == 0 && writes(&q), "then it is in: %04x", r.status);
    close(q.fd);
}

/* The old one lives on: it stays, and works. */
static void the_old_one_lives(const struct raw_srv *s, const struct raw_conn *a)
{
    struct raw_conn old = raw_ioq(s, a, 3, false, false), q = ask_to_join(s, a, 3);
    struct raw_answer r = raw_resp(&q);

    raw_check(r.ok && r.status == ST_CONNECT_PARAM, "a second queue of its number is refused: %04x", r.status);
    raw_check(writes(&old), "the first works");
    close(q.fd);
    close(old.fd);
}

#define FULL 8 /* queues: more data in capsules than a volume's share of small chunks */

/* Most hosts reset the connection; an orderly end is seen if all that is before it fitted into the socket. */
static void leave(const struct raw_conn *q, bool reset)
{
    struct linger now = {.l_onoff = 1, .l_linger = 0};

    if (reset)
        setsockopt(q->fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
    close(q->fd);
}

/* Nothing of the volume goes on, and its queues are not read any more. */
static void the_old_one_is_not_read(const struct raw_srv *s)
{
    struct raw_conn a = raw_admin(s, false, false, NULL), q[FULL];
    uint8_t pdu[sizeof(data) + 128];

    raw_on_env(hold.ram->env, shut, NULL);
    for (uint16_t i = 0; i < FULL; i++) {
        q[i] = ask_to_join(s, &a, (uint16_t)(i + 1));
        raw_check(raw_status(raw_resp(&q[i])) == 0, "queue %u", i + 1u);
        fcntl(q[i].fd, F_SETFL, O_NONBLOCK); /* what is not read is left */
        for (uint16_t k = 0; k < (i < FULL - 1 ? 127 : 4); k++) {
            struct nvme_sqe wr = raw_io(IO_WRITE, k, k * 2u, 2, sizeof(data), true);

            if (!raw_send(q[i].fd, pdu, raw_capsule(pdu, &wr, data, sizeof(data), false, false)))
                break;
        }
    }
    usleep(300000);
    for (int i = FULL; i-- > 0;) {
        struct raw_answer r;

        leave(&q[i], i < FULL - 1);
        q[i] = ask_to_join(s, &a, (uint16_t)(i + 1));
        r = raw_resp(&q[i]);
        raw_check(r.ok && r.status == 0, "queue %d is in again: %04x", i + 1, r.status);
    }
    raw_on_env(hold.ram->env, open_again, NULL);
    for (int i = 0; i < FULL; i++) {
        raw_check(writes(&q[i]), "queue %d works", i + 1);
        close(q[i].fd);
    }
    close(a.fd);
}

/* Its controller goes while it waits, or it goes itself. */
static void ends_while_it_waits(const struct raw_srv *s)
{
    struct raw_conn a = raw_admin(s, false, false, NULL), q;
    struct raw_answer r;

    leave_a_write(s, &a, 1);
    q = ask_to_join(s, &a, 1);
    usleep(50000);
    close(q.fd);
    q = ask_to_join(s, &a, 1);
    usleep(50000);
    close(a.fd);
    r = raw_resp(&q);
    raw_check(raw_status(r) == ST_CONNECT_PARAM, "there is no controller any more: %04x", r.status);
    raw_on_env(hold.ram->env, let_go, NULL);
    close(q.fd);
}

/* As hosts do it: large reads in flight, the connection is dropped, and set up again at once. */
static void again_and_again(const struct raw_srv *s, const struct raw_conn *a)
{
    int in = 0;

    for (int i = 0; i < 20; i++) {
        struct raw_conn q = raw_ioq(s, a, 4, false, false);

        in += q.fd >= 0;
        for (uint16_t k = 0; k < 16 && q.fd >= 0; k++) {
            struct nvme_sqe rd = raw_io(IO_READ, k, k * 16u, BIG / 4096, BIG, false);
            uint8_t pdu[128];

            raw_send(q.fd, pdu, raw_capsule(pdu, &rd, NULL, 0, false, false));
        }
        close(q.fd);
    }
    raw_check(in == 20, "%d of 20 let in", in);
}

int main(void)
{
    for (uint32_t nr = 1; nr <= 2; nr++) {
        struct raw_srv s = {.nr = nr, .wrap = wrap};
        struct raw_conn a;

        raw_start(&s);
        a = raw_admin(&s, false, false, NULL);
        again_and_again(&s, &a);
        waits_for_the_old_one(&s, &a);
        waits_in_vain(&s, &a);
        the_old_one_lives(&s, &a);
        close(a.fd);
        the_old_one_is_not_read(&s);
        ends_while_it_waits(&s);
        raw_check(raw_works(&s, true, true), "the target works");
        raw_stop(&s);
    }
    return raw_end();
}
