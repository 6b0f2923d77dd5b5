/* SPDX-License-Identifier: Apache-2.0 */
/* raw_time.c: what ends when nobody speaks or reads: Connect timeout, Keep Alive, a slow reader; and fences: a second host is
 * refused, a host that comes back waits for its old writes, hosts that lose their right are cut.
 */
#include "raw.h"

/* ---- a blk that holds writes until it is told to let go ------------------------------------------------------------------ */

struct hold {
    struct blk    blk;
    struct blk   *ram;
    struct list   held;
    bool          holding;
    uint32_t      nr_held, landed; /* landed: writes let go */
    uint32_t      sums, bad_sums;  /* blocks whose checksum came along, rightly or not */
};
static struct hold hold;

static void hold_submit(struct blk *b, struct blk_io *io);
static const struct blk_ops hold_ops = {.name = "hold", .submit = hold_submit};

static void check_sums(const struct blk_io *io)
{
    uint32_t k = 0;

    for (int i = 0; i < io->iovcnt; i++)
        for (size_t off = 0; off < io->iov[i].iov_len; off += BLOCK_BYTES, k++) {
            bool bad = io->crc == NULL || io->crc[k] != crc32c(0, (const char *)io->iov[i].iov_base + off, BLOCK_BYTES);

            __atomic_fetch_add(&hold.sums, 1, __ATOMIC_SEQ_CST);
            __atomic_fetch_add(&hold.bad_sums, bad, __ATOMIC_SEQ_CST);
        }
}

static void hold_submit(struct blk *b, struct blk_io *io)
{
    (void)b;
    if (io->op == BLK_WRITE)
        check_sums(io);
    if (hold.holding && io->op == BLK_WRITE) {
        list_push_back(&hold.held, &io->priv.node);
        __atomic_fetch_add(&hold.nr_held, 1, __ATOMIC_SEQ_CST);
        return;
    }
    raw_pass(&hold.blk, io, hold.ram);
}

static struct blk *hold_wrap(struct blk *ram)
{
    hold.ram = ram;
    list_init(&hold.held);
    blk_init(&hold.blk, &hold_ops, ram->env, ram->lba_bytes, ram->size_lba);
    return &hold.blk;
}

static void hold_on(void *arg) { hold.holding = arg != NULL; }

static void let_go(void *arg)
{
    struct list *n;

    (void)arg;
    hold.holding = false;
    while ((n = list_pop_front(&hold.held)) != NULL) {
        __atomic_fetch_sub(&hold.nr_held, 1, __ATOMIC_SEQ_CST);
        hold.landed++;
        raw_pass(&hold.blk, container_of(n, struct blk_io, priv.node), hold.ram);
    }
}

static uint32_t get(const uint32_t *v) { return __atomic_load_n(v, __ATOMIC_SEQ_CST); }

static void wait_held(uint32_t nr)
{
    for (int i = 0; i < 2000 && __atomic_load_n(&hold.nr_held, __ATOMIC_SEQ_CST) < nr; i++)
        usleep(1000);
}

/* ---- fences ------------------------------------------------------------------------------------------------------------------- */

static bool readable(int fd, int ms)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};

    return poll(&p, 1, ms) == 1;
}

static void connect_waits_for_old_writes(struct raw_srv *s)
{
    static uint8_t old[4096], new[4096], back[4096], pdu[8192];
    struct raw_connect p = {.sqsize = 31};
    struct raw_conn a = raw_admin(s, false, false, &p), q = raw_ioq(s, &a, 1, false, false), b = {.fd = raw_open(s)}, bq;
    struct nvme_sqe wr = raw_io(IO_WRITE, 1, 5, 1, 4096, true), rd = raw_io(IO_READ, 2, 5, 1, 4096, false);

    memset(old, 'o', sizeof(old));
    memset(new, 'n', sizeof(new));
    raw_on_env(s->env[0], hold_on, s);
    raw_send(q.fd, pdu, raw_capsule(pdu, &wr, old, sizeof(old), false, false));
    wait_held(1);
    raw_check(raw_ic(&b) && raw_send(b.fd, pdu, raw_connect_pdu(pdu, &p, false, false)), "the same host comes back");
    raw_check(raw_at_end(a.fd) && raw_at_end(q.fd), "its old queues are cut");
    raw_check(!readable(b.fd, 300), "no answer while an old write is in flight");
    raw_on_env(s->env[0], let_go, NULL);
    struct raw_answer r = raw_resp(&b);
    raw_check(raw_status(r) == 0 && r.result != a.cntlid && hold.landed == 1, "then it is let in");
    b.cntlid = (uint16_t)r.result;
    raw_check(raw_status(raw_property_set(&b, PROP_CC, 0x460001)) == 0, "enable");
    bq = raw_ioq(s, &b, 1, false, false);
    raw_check(raw_status(raw_cmd(&bq, &wr, new, sizeof(new))) == 0, "a newer write");
    raw_check(raw_read_cmd(&bq, &rd, back, sizeof(back)) == 0 && memcmp(back, new, sizeof(back)) == 0, "and it stays");
    close(bq.fd);
    close(b.fd);
    close(a.fd);
    close(q.fd);
}

/* While a device hangs, a host tries again and again: only its last try waits. */
static void the_last_try_waits(struct raw_srv *s)
{
    static uint8_t data[4096], pdu[8192];
    struct raw_connect p = {.sqsize = 31};
    struct raw_conn a = raw_admin(s, false, false, &p), q = raw_ioq(s, &a, 1, false, false), b[3];
    struct nvme_sqe wr = raw_io(IO_WRITE, 1, 5, 1, 4096, true);

    raw_on_env(s->env[0], hold_on, s);
    raw_send(q.fd, pdu, raw_capsule(pdu, &wr, data, sizeof(data), false, false));
    wait_held(1);
    for (int i = 0; i < 3; i++) {
        b[i] = (struct raw_conn){.fd = raw_open(s)};
        raw_check(raw_ic(&b[i]) && raw_send(b[i].fd, pdu, raw_connect_pdu(pdu, &p, false, false)), "try %d", i);
        raw_check(!readable(b[i].fd, 200), "try %d waits", i);
        if (i > 0)
            raw_check(raw_at_end(b[i - 1].fd), "try %d is over", i - 1);
    }
    raw_on_env(s->env[0], let_go, NULL);
    raw_check(raw_status(raw_resp(&b[2])) == 0, "the last one is let in");
    for (int i = 0; i < 3; i++)
        close(b[i].fd);
    close(a.fd);
    close(q.fd);
}

static void wait_no_controllers(const struct raw_srv *s)
{
    for (int i = 0; i < 3000 && subsys_controllers(s->subsys) != 0; i++)
        usleep(1000);
    raw_check(subsys_controllers(s->subsys) == 0, "controllers gone");
}

static void second_host_is_refused(struct raw_srv *s)
{
    struct raw_connect p = {.sqsize = 31}, other = {.sqsize = 31, .hostnqn = "nqn.2014-08.org.nvmexpress:uuid:other", .hostid = 7};
    struct raw_conn a = raw_admin(s, false, false, &p), b = {.fd = raw_open(s)};
    struct raw_answer r;

    raw_check(raw_ic(&b), "ICResp");
    r = raw_connect(&b, &other);
    raw_check(raw_status(r) == ST_CONNECT_HOST && !(r.status & STATUS_DNR), "another host: %03x", r.status);
    close(b.fd);
    close(a.fd);
    wait_no_controllers(s);
    b = raw_admin(s, false, false, &other);
    raw_check(b.fd >= 0, "welcome once the first has left");
    close(b.fd);
    wait_no_controllers(s);
}

static uint32_t csts(const struct raw_conn *a)
{
    struct fabrics_property p = {.opc = OPC_FABRICS, .flags = 0x40, .cid = to_le16(901), .fctype = FC_PROPERTY_GET};
    struct raw_answer r;

    p.ofst = to_le32(PROP_CSTS);
    r = raw_cmd(a, (const void *)&p, NULL, 0);
    return r.ok && r.status == 0 ? r.result : ~0u;
}

/* CC.EN to 0: I/O queues end, and CSTS.RDY stays until what they had in a blk has landed. */
static void a_reset_ends_io_queues(struct raw_srv *s)
{
    static uint8_t old[4096], new[4096], back[4096], pdu[8192];
    struct raw_conn a = raw_admin(s, false, false, NULL), q = raw_ioq(s, &a, 1, false, false), idle = raw_ioq(s, &a, 2, false, false), late;
    struct nvme_sqe wr = raw_io(IO_WRITE, 1, 5, 1, 4096, true), rd = raw_io(IO_READ, 2, 5, 1, 4096, false);
    struct nvme_sqe ev = raw_sqe(ADMIN_ASYNC_EVENT, 3, 0);
    struct raw_answer r;

    memset(old, 'o', sizeof(old));
    memset(new, 'n', sizeof(new));
    raw_on_env(s->env[0], hold_on, s);
    raw_send(a.fd, pdu, raw_capsule(pdu, &ev, NULL, 0, false, false));
    raw_send(q.fd, pdu, raw_capsule(pdu, &wr, old, sizeof(old), false, false));
    wait_held(1);
    r = raw_property_set(&a, PROP_CC, 0x460000);
    raw_check(r.ok && r.cid == 3 && raw_status(r) == ST_ABORT_REQUESTED, "the event request is aborted: %04x", r.status);
    raw_check(raw_status(raw_resp(&a)) == 0, "the reset is answered");
    raw_check(raw_at_end(q.fd) && raw_at_end(idle.fd), "I/O queues are cut");
    raw_check(csts(&a) == CSTS_RDY, "ready stays while an old write is in flight");
    raw_check(raw_status(raw_property_set(&a, PROP_CC, 0x460001)) == ST_COMMAND_SEQUENCE, "and it cannot be enabled");
    late = raw_ioq(s, &a, 2, false, false);
    raw_check(late.fd < 0, "nor joined");
    raw_on_env(s->env[0], let_go, NULL);
    for (int i = 0; i < 1000 && csts(&a) != 0; i++)
        usleep(1000);
    raw_check(csts(&a) == 0, "then it is not ready");
    raw_check(raw_status(raw_property_set(&a, PROP_CC, 0x460001)) == 0 && csts(&a) == CSTS_RDY, "enabled again");
    q = raw_ioq(s, &a, 1, false, false);
    raw_check(raw_status(raw_cmd(&q, &wr, new, sizeof(new))) == 0, "a write");
    raw_check(raw_read_cmd(&q, &rd, back, sizeof(back)) == 0 && memcmp(back, new, sizeof(back)) == 0, "and it stays");
    close(idle.fd);
    close(q.fd);
    close(a.fd);
}

struct hosts { struct raw_srv *s; const char *names[2]; uint32_t nr; };
static void set_hosts(void *arg)
{
    struct hosts *h = arg;

    raw_check(subsys_set_hosts(h->s->subsys, h->names, h->nr) == 0, "set hosts");
}

static struct raw_srv *bug_srv;
static void set_bugs(void *arg) { target_set_bugs(bug_srv->target, arg); }

/* The two planted bugs do what the checks above would catch. */
static void planted_bugs_show(struct raw_srv *s)
{
    static uint8_t data[4096], pdu[8192];
    struct export_bugs early = {.complete_before_blk = true}, unfenced = {.skip_association_fence = true}, none = {0};
    struct raw_connect p = {.sqsize = 31};
    struct raw_conn a = raw_admin(s, false, false, &p), q = raw_ioq(s, &a, 1, false, false), b = {.fd = raw_open(s)};
    struct nvme_sqe wr = raw_io(IO_WRITE, 1, 6, 1, 4096, true);

    bug_srv = s;
    raw_on_env(s->env[0], hold_on, s);
    raw_on_env(s->env[0], set_bugs, &early);
    raw_check(raw_status(raw_cmd(&q, &wr, data, sizeof(data))) == 0, "answered");
    wait_held(1);
    raw_check(get(&hold.nr_held) == 1, "while the blk holds it");
    raw_on_env(s->env[0], set_bugs, &unfenced);
    raw_check(raw_ic(&b) && raw_send(b.fd, pdu, raw_connect_pdu(pdu, &p, false, false)), "the same host comes back");
    raw_check(raw_status(raw_resp(&b)) == 0 && get(&hold.nr_held) == 1, "let in while its old write is in flight");
    raw_on_env(s->env[0], let_go, NULL);
    raw_on_env(s->env[0], set_bugs, &none);
    close(a.fd);
    close(b.fd);
    close(q.fd);
    wait_no_controllers(s);
}

/* In capsules and by R2T, in PDUs that end at blocks and that do not, with and without digests. */
static void every_block_comes_with_its_sum(struct raw_srv *s)
{
    static uint8_t data[MDTS_BYTES];
    static const uint32_t sizes[] = {4096, 8192, 69632, MDTS_BYTES}, steps[] = {4096, 65536, 65540, 5000, MDTS_BYTES};
    uint32_t want = 0;

    raw_fill(data, sizeof(data), 11);
    __atomic_store_n(&hold.sums, 0, __ATOMIC_SEQ_CST);
    for (int dd = 0; dd < 2; dd++) {
        struct raw_connect p = {.sqsize = 31};
        struct raw_conn a = raw_admin(s, false, dd, &p), q = raw_ioq(s, &a, 1, false, dd);

        for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
            uint32_t n = sizes[i];
            struct nvme_sqe in = raw_io(IO_WRITE, 1, 9, n / 4096, n, true), r2t = raw_io(IO_WRITE, 2, 9, n / 4096, n, false);

            if (n <= IN_CAPSULE_BYTES) {
                raw_check(raw_status(raw_cmd(&q, &in, data, n)) == 0, "in-capsule write");
                want += n / 4096;
            }
            for (size_t k = 0; k < ARRAY_LEN(steps); k++, want += n / 4096)
                raw_check(raw_write_r2t(&q, &r2t, data, n, steps[k]) == 0, "write %u by %u", n, steps[k]);
        }
        close(q.fd);
        close(a.fd);
        wait_no_controllers(s);
    }
    raw_check(get(&hold.sums) == want && get(&hold.bad_sums) == 0, "%u blocks of %u, %u bad sums", get(&hold.sums),
        want, get(&hold.bad_sums));
}

static void rights(struct raw_srv *s)
{
    struct raw_connect p = {.sqsize = 31}, gone = {.sqsize = 31, .subnqn = "nqn.2026-11.io.firn:raw:none"};
    struct raw_conn a = raw_admin(s, false, false, &p), b = {.fd = raw_open(s)}, c = {.fd = raw_open(s)};
    struct hosts none = {.s = s}, any = {.s = s, .names = {"nqn.x", "*"}, .nr = 2};
    struct raw_answer r;

    raw_on_env(s->env[0], set_hosts, &none);
    raw_check(raw_at_end(a.fd), "a host that lost its right is cut");
    raw_check(raw_ic(&b), "ICResp");
    r = raw_connect(&b, &p);
    raw_check(r.status == (ST_CONNECT_HOST | STATUS_DNR), "no host is allowed by default: %03x", r.status);
    raw_check(raw_ic(&c), "ICResp");
    r = raw_connect(&c, &gone);
    raw_check(raw_status(r) == ST_CONNECT_PARAM && r.result == 0x10100, "unknown subsystem: %03x %x", r.status, r.result);
    raw_on_env(s->env[0], set_hosts, &any);
    close(a.fd);
    close(b.fd);
    close(c.fd);
}

/* ---- timeouts --------------------------------------------------------------------------------------------------------------------- */

static void silent_connections_are_cut(struct raw_srv *s)
{
    uint64_t start = raw_now_ms(), took;
    struct raw_conn c = {.fd = raw_open(s)};
    int none = raw_open(s);

    raw_check(raw_ic(&c), "ICResp");
    raw_check(raw_at_end(none), "no ICReq");
    raw_check(raw_at_end(c.fd), "no Connect");
    took = raw_now_ms() - start;
    raw_check(took >= 450 && took < 3000, "after %lu ms", (unsigned long)took);
    close(none);
    close(c.fd);
}

static void keep_alive_expires(struct raw_srv *s)
{
    struct raw_connect p = {.sqsize = 31, .kato_ms = 1000};
    struct nvme_sqe ka = raw_sqe(ADMIN_KEEP_ALIVE, 1, 0);
    uint64_t start = raw_now_ms(), took;
    struct raw_conn a = raw_admin(s, false, false, &p), q = raw_ioq(s, &a, 1, false, false);

    for (int i = 0; i < 4; i++) {
        usleep(400000);
        raw_check(raw_status(raw_cmd(&a, &ka, NULL, 0)) == 0, "alive");
    }
    raw_check(raw_at_end(q.fd) && raw_at_end(a.fd), "cut");
    took = raw_now_ms() - start;
    raw_check(took >= 2500 && took < 6000, "after %lu ms", (unsigned long)took);
    close(q.fd);
    close(a.fd);
    wait_no_controllers(s);
}

static void stand_still(void *arg)
{
    usleep(*(const useconds_t *)arg);
}

/* The reactor stands still for longer than the host may be silent; the host is not, but nobody listens. */
static void unheard_is_not_silent(struct raw_srv *s)
{
    struct raw_connect p = {.sqsize = 31, .kato_ms = 1000};
    struct nvme_sqe ka = raw_sqe(ADMIN_KEEP_ALIVE, 1, 0);
    struct raw_conn a = raw_admin(s, false, false, &p);
    useconds_t us = 3500000;
    struct raw_call still = {.task.fn = raw_call_run, .fn = stand_still, .arg = &us};
    uint8_t pdu[256];

    sem_init(&still.done, 0, 0);
    env_post(s->env[s->nr - 1], &still.task);
    for (uint16_t i = 0; i < 6; i++) {
        ka.cid = to_le16(i);
        raw_check(raw_send(a.fd, pdu, raw_capsule(pdu, &ka, NULL, 0, false, false)), "a sign of life");
        usleep(500000);
    }
    while (sem_wait(&still.done) != 0)
        ;
    for (int i = 0; i < 6; i++)
        raw_check(raw_status(raw_resp(&a)) == 0, "answer %d of 6 after standing still", i + 1);
    sem_destroy(&still.done);
    close(a.fd);
    wait_no_controllers(s);
}

/* Without Keep Alive a silent host may stay on its volume, but not on discovery; one that asks may stay there too. */
static void silence_without_keep_alive(struct raw_srv *s)
{
    struct raw_connect disc = {.sqsize = 31, .subnqn = DISCOVERY_NQN};
    struct raw_conn a = raw_admin(s, false, false, NULL), d = raw_admin(s, false, false, &disc);
    struct nvme_sqe ka = raw_sqe(ADMIN_KEEP_ALIVE, 1, 0);
    uint64_t start = raw_now_ms(), took;

    for (int i = 0; i < 4; i++) {
        usleep(400000);
        raw_check(raw_status(raw_cmd(&d, &ka, NULL, 0)) == 0, "discovery is there for who asks");
    }
    raw_check(raw_at_end(d.fd), "discovery ends");
    took = raw_now_ms() - start;
    raw_check(took >= 2500 && took < 4500, "after %lu ms", (unsigned long)took);
    raw_check(raw_status(raw_cmd(&a, &ka, NULL, 0)) == 0, "the volume's host is still there");
    close(d.fd);
    close(a.fd);
    wait_no_controllers(s);
}

static void slow_reader_is_cut(struct raw_srv *s)
{
    struct raw_connect p = {.sqsize = 31}, io = {.qid = 1, .sqsize = 127};
    struct raw_conn a = raw_admin(s, false, false, &p), q = {.fd = raw_open_rcvbuf(s, 4096)};
    uint64_t start = raw_now_ms();
    uint8_t pdu[128];

    io.cntlid = a.cntlid;
    raw_check(raw_ic(&q) && raw_status(raw_connect(&q, &io)) == 0, "an I/O queue with a small window");
    for (uint16_t i = 0; i < 127; i++) { /* 63 MiB that nobody reads */
        struct nvme_sqe rd = raw_io(IO_READ, i, 0, 128, MDTS_BYTES, false);

        raw_send(q.fd, pdu, raw_capsule(pdu, &rd, NULL, 0, false, false));
    }
    for (int i = 0; i < 10; i++) {
        struct nvme_sqe ka = raw_sqe(ADMIN_KEEP_ALIVE, 1, 0);

        raw_check(raw_status(raw_cmd(&a, &ka, NULL, 0)) == 0, "the admin queue works meanwhile");
        usleep(100000);
    }
    while (raw_now_ms() - start < 8000) {
        struct tcp_info ti;
        socklen_t n = sizeof(ti);

        getsockopt(q.fd, IPPROTO_TCP, TCP_INFO, &ti, &n);
        if (ti.tcpi_state == TCP_CLOSE)
            break;
        usleep(20000);
    }
    raw_check(raw_now_ms() - start < 7000, "cut after the send timeout");
    close(q.fd);
    close(a.fd);
    wait_no_controllers(s);
}

static void term_req_is_not_waited_for_long(struct raw_srv *s)
{
    uint8_t junk[8] = {0x55};
    int fd = raw_open(s);
    struct target_stats st;
    uint64_t start = raw_now_ms();

    raw_send(fd, junk, sizeof(junk)); /* and never closes */
    do {
        usleep(50000);
        target_stats_get(s->target, &st);
    } while (st.connections != 0 && raw_now_ms() - start < 9000);
    raw_check(st.connections == 0 && st.protocol_errors > 0, "a host that ignores C2HTermReq is cut");
    close(fd);
}

int main(void)
{
    struct raw_srv s = {.single_host = true, .wrap = hold_wrap};

    s.opts.connect_timeout_ns = NS_PER_S / 2;
    s.opts.send_timeout_ns = 2 * NS_PER_S;
    s.opts.discovery_idle_ns = NS_PER_S;
    raw_start(&s);
    connect_waits_for_old_writes(&s);
    wait_no_controllers(&s);
    the_last_try_waits(&s);
    wait_no_controllers(&s);
    a_reset_ends_io_queues(&s);
    wait_no_controllers(&s);
    second_host_is_refused(&s);
    planted_bugs_show(&s);
    every_block_comes_with_its_sum(&s);
    rights(&s);
    silent_connections_are_cut(&s);
    keep_alive_expires(&s);
    unheard_is_not_silent(&s);
    silence_without_keep_alive(&s);
    slow_reader_is_cut(&s);
    term_req_is_not_waited_for_long(&s);
    raw_check(raw_works(&s, true, true), "the target works");
    raw_stop(&s);
    return raw_end();
}
