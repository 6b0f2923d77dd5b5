/* SPDX-License-Identifier: Apache-2.0 */
/* raw_storm.c: many at once. 200 hosts with 8 queues each reconnect while another host reads and gets its share; thousands of idle
 * controllers and their memory; more sockets before Connect than are let in; a subsystem removed, and a stop, under load.
 */
#include <pthread.h>
#include <sys/resource.h>

#include "raw.h"

#define HOSTS  200
#define QUEUES 8
#define THREADS 4

static struct raw_srv srv;
static int joined, answers; /* hosts that are in; answers that they got on the way, all threads */

static bool answered(bool ok)
{
    __atomic_fetch_add(&answers, ok, __ATOMIC_SEQ_CST);
    return ok;
}

static void host_name(char out[64], int host) { snprintf(out, 64, "nqn.2014-08.org.nvmexpress:uuid:host-%d", host); }

/* One host: admin queue, enable, QUEUES I/O queues, a write and a read on each; fds stay open. True if all went well. */
static bool join_storm(int host, int fds[static QUEUES + 1])
{
    static const uint8_t data[4096];
    char name[64];
    uint8_t back[4096];
    struct raw_connect p = {.sqsize = 31, .hostnqn = name};
    struct raw_conn a;

    host_name(name, host);
    memset(fds, 0xff, (QUEUES + 1) * sizeof(int));
    a = raw_admin(&srv, false, false, &p);
    if (!answered(a.fd >= 0))
        return false;
    fds[0] = a.fd;
    for (uint16_t i = 1; i <= QUEUES; i++) {
        struct raw_conn q = {.fd = raw_open(&srv)};
        struct raw_connect io = {.qid = i, .cntlid = a.cntlid, .sqsize = 31, .hostnqn = name};
        struct nvme_sqe wr = raw_io(IO_WRITE, i, (uint64_t)host, 1, 4096, true), rd = raw_io(IO_READ, i, (uint64_t)host, 1, 4096, false);

        fds[i] = q.fd;
        if (!answered(raw_ic(&q)) || !answered(raw_status(raw_connect(&q, &io)) == 0) ||
                !answered(raw_status(raw_cmd(&q, &wr, data, 4096)) == 0) || !answered(raw_read_cmd(&q, &rd, back, 4096) == 0))
            return false;
    }
    return true;
}

static void *storm_thread(void *arg)
{
    int fds[HOSTS / THREADS][QUEUES + 1];
    int first = (int)(intptr_t)arg * (HOSTS / THREADS);

    for (int round = 0; round < 2; round++) { /* the second time they are cut by their own return */
        for (int i = 0; i < HOSTS / THREADS; i++) {
            int was[QUEUES + 1];

            memcpy(was, fds[i], sizeof(was));
            if (join_storm(first + i, fds[i]))
                __atomic_fetch_add(&joined, 1, __ATOMIC_SEQ_CST);
            for (int k = 0; round && k <= QUEUES; k++)
                close(was[k]);
        }
    }
    for (int i = 0; i < HOSTS / THREADS; i++)
        for (int k = 0; k <= QUEUES; k++)
            close(fds[i][k]);
    return NULL;
}

/* Each thread of the storm has one request under way at a time, and so has the host that is in already: it would be starved
 * if it were answered far more seldom than each of them. How long its answers take is up to the machine, and not judged. */
static void storm(void)
{
    pthread_t t[THREADS];
    struct raw_connect p = {.sqsize = 31};
    struct raw_conn a = raw_admin(&srv, false, false, &p), q = raw_ioq(&srv, &a, 1, false, false);
    uint64_t start = raw_now_ms(), worst = 0;
    int reads = 0, failed = 0;
    uint8_t buf[4096];

    for (intptr_t i = 0; i < THREADS; i++)
        pthread_create(&t[i], NULL, storm_thread, (void *)i);
    for (; __atomic_load_n(&joined, __ATOMIC_SEQ_CST) < 2 * HOSTS && raw_now_ms() - start < 20000; reads++) {
        struct nvme_sqe rd = raw_io(IO_READ, 1, 1, 1, 4096, false);
        uint64_t t0 = raw_now_ms();

        failed += raw_read_cmd(&q, &rd, buf, sizeof(buf)) != 0;
        worst = MAX(worst, raw_now_ms() - t0);
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(t[i], NULL);
    raw_check(joined == 2 * HOSTS, "%d of %d joined", joined, 2 * HOSTS);
    raw_check(raw_now_ms() - start < 10000, "in %lu ms", (unsigned long)(raw_now_ms() - start));
    raw_check(failed == 0, "%d of %d reads failed during the storm", failed, reads);
    raw_check(reads * 4 >= answers / THREADS, "%d reads were answered while each of %d threads got %d answers", reads, THREADS,
            answers / THREADS);
    printf("storm: %d associations of %d queues in %lu ms; %d reads beside %d answers a thread. For information: the slowest "
            "took %lu ms\n", joined, QUEUES, (unsigned long)(raw_now_ms() - start), reads, answers / THREADS, (unsigned long)worst);
    close(q.fd);
    close(a.fd);
}

static void wait_connections(uint64_t nr)
{
    struct target_stats st;

    for (int i = 0; i < 10000; i++) {
        target_stats_get(srv.target, &st);
        if (st.connections == nr)
            return;
        usleep(1000);
    }
    raw_check(false, "%lu connections, not %lu", (unsigned long)st.connections, (unsigned long)nr);
}

/* Both ends are in this process, so it needs two descriptors a connection. */
static void idle(void)
{
    struct rlimit rl = {0};
    uint64_t before = raw_rss_kib();
    int nr, *fds;

    getrlimit(RLIMIT_NOFILE, &rl);
    rl.rlim_cur = rl.rlim_max;
    setrlimit(RLIMIT_NOFILE, &rl);
    nr = (int)MIN((rl.rlim_cur - 100) / 2, CONNECTIONS_MAX - 2);
    fds = calloc((size_t)nr, sizeof(*fds));
    for (int i = 0; i < nr; i++) {
        char name[64];
        struct raw_connect p = {.sqsize = 31, .hostnqn = name, .kato_ms = 120000};
        struct raw_conn a;

        host_name(name, 1000 + i);
        a = raw_admin(&srv, false, false, &p);
        fds[i] = a.fd;
        if (a.fd < 0)
            break;
    }
    raw_check(fds[nr - 1] > 0, "%d idle controllers", nr);
    printf("idle: %d controllers, %lu KiB more resident\n", nr, (unsigned long)(raw_rss_kib() - before));
    raw_check((raw_rss_kib() - before) < (uint64_t)nr * 40, "memory of %d idle controllers: %lu KiB", nr,
            (unsigned long)(raw_rss_kib() - before));
    raw_check(raw_works(&srv, false, false) || nr >= (int)CONNECTIONS_MAX - 2, "one more host works");
    for (int i = 0; i < nr; i++)
        close(fds[i]);
    free(fds);
    wait_connections(0);
}

static void before_connect(void)
{
    enum { NR = PRE_CONNECT_MAX + 200 };
    static int fds[NR];
    int refused = 0;
    struct target_stats st;

    for (int i = 0; i < NR; i++)
        fds[i] = raw_open(&srv);
    usleep(200000);
    target_stats_get(srv.target, &st);
    raw_check(st.connections <= PRE_CONNECT_MAX && st.connections_refused >= 200, "%lu let in", (unsigned long)st.connections);
    for (int i = 0; i < NR; i++) {
        char c;

        refused += recv(fds[i], &c, 1, MSG_DONTWAIT) < 0 && errno == ECONNRESET;
        close(fds[i]);
    }
    raw_check(refused >= 200, "%d made room", refused);
    wait_connections(0);
}

static void remove_done(void *ctx) { sem_post(ctx); }
struct removal { sem_t sem; struct subsys *s; struct blk *blk; };
static void add_second(void *arg)
{
    struct removal *r = arg;
    struct subsys_params p = {.nqn = "nqn.2026-11.io.firn:raw:second", .serial = "1", .blk = srv.blk};
    const char *any[] = {"*"};

    raw_check(subsys_add(srv.target, &p, &r->s) == 0 && subsys_set_hosts(r->s, any, 1) == 0, "a second subsystem");
    raw_check(subsys_add(srv.target, &p, &(struct subsys *){NULL}) == -FIRN_E_EXISTS, "its name is taken");
}
static void remove_second(void *arg)
{
    struct removal *r = arg;

    subsys_remove(r->s, remove_done, &r->sem);
}

static void removal(void)
{
    static const uint8_t data[4096];
    struct raw_connect p = {.sqsize = 31, .subnqn = "nqn.2026-11.io.firn:raw:second"}, io = {.qid = 1, .sqsize = 127, .subnqn = p.subnqn};
    struct removal r;
    struct raw_conn a, q = {.fd = -1};
    uint8_t pdu[8192];

    sem_init(&r.sem, 0, 0);
    raw_on_env(srv.env[0], add_second, &r);
    a = raw_admin(&srv, false, false, &p);
    q.fd = raw_open(&srv);
    io.cntlid = a.cntlid;
    raw_check(raw_ic(&q) && raw_status(raw_connect(&q, &io)) == 0, "an I/O queue");
    for (uint16_t i = 0; i < 100; i++) {
        struct nvme_sqe wr = raw_io(IO_WRITE, i, i, 1, 4096, true);

        raw_send(q.fd, pdu, raw_capsule(pdu, &wr, data, 4096, false, false));
    }
    raw_on_env(srv.env[0], remove_second, &r);
    sem_wait(&r.sem);
    raw_check(raw_at_end(q.fd) && raw_at_end(a.fd), "removed under load");
    close(q.fd);
    close(a.fd);
    raw_check(raw_works(&srv, false, false), "the other subsystem works");
}

static void stop_under_load(void)
{
    static const uint8_t data[4096];
    struct raw_conn a = raw_admin(&srv, false, false, NULL), q = raw_ioq(&srv, &a, 1, false, false);
    uint8_t pdu[8192];

    for (uint16_t i = 0; i < 64; i++) {
        struct nvme_sqe wr = raw_io(IO_WRITE, i, i, 1, 4096, true);

        raw_send(q.fd, pdu, raw_capsule(pdu, &wr, data, 4096, false, false));
    }
    raw_stop(&srv);
    raw_check(raw_at_end(q.fd) && raw_at_end(a.fd), "both streams have ended"); /* how many were answered: raw_stop.c */
    close(q.fd);
    close(a.fd);
}

int main(void)
{
    srv.nr = 2;
    raw_start(&srv);
    storm();
    wait_connections(0);
    before_connect();
    idle();
    removal();
    stop_under_load();
    return raw_end();
}
