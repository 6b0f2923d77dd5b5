/* SPDX-License-Identifier: Apache-2.0 */
/* raw_slow.c: 2,000 clients that dawdle: each sends a byte now and then of what it has to say before Connect is done. Memory stays
 * bounded, those for whom there is no room make it, the oldest first, the handshake timeout ends every one of the others whatever
 * it sends, and a host that works all the while is served. So is one that comes while 1,100 come back as soon as they are cut.
 */
#include <pthread.h>
#include <sys/resource.h>

#include "raw.h"

#define CLIENTS    2000
#define TIMEOUT_MS 4000u
#define KIB_EACH   40u /* resident, both ends of a connection being in this process */

static struct raw_srv srv;

struct client {
    int      fd;      /* -1: over */
    uint32_t sent;    /* of the script */
    uint64_t since_ms;
};
static struct client client[CLIENTS];
static uint8_t script[2048];
static uint32_t script_bytes;

static bool enough_descriptors(void)
{
    struct rlimit rl = {0};

    getrlimit(RLIMIT_NOFILE, &rl);
    rl.rlim_cur = rl.rlim_max;
    setrlimit(RLIMIT_NOFILE, &rl);
    return rl.rlim_cur >= 2 * CLIENTS + 200;
}

/* ICReq and a Connect that is never finished. */
static void write_script(void)
{
    struct raw_connect p = {.sqsize = 31};
    struct pdu_icreq ic;

    raw_icreq(&ic, 0);
    memcpy(script, &ic, sizeof(ic));
    script_bytes = (uint32_t)sizeof(ic) + raw_connect_pdu(script + sizeof(ic), &p, false, false) - 1;
}

/* Every fourth begins in the middle of Connect. */
static void begin(struct client *c, int i)
{
    uint32_t at_once = i % 4 ? (uint32_t)i % 100 : (uint32_t)sizeof(struct pdu_icreq) + 80;

    c->fd = raw_open(&srv);
    c->since_ms = raw_now_ms();
    c->sent = raw_send(c->fd, script, at_once) ? at_once : 0;
}

static bool is_over(struct client *c)
{
    uint8_t buf[256];
    ssize_t k = recv(c->fd, buf, sizeof(buf), MSG_DONTWAIT);

    return k == 0 || (k < 0 && errno != EAGAIN && errno != EINTR);
}

struct tally { uint32_t open, cut, made_room; int last_of_these; uint64_t longest_ms; };

/* One more byte from each, and a look at which are over. */
static void round_of_bytes(struct tally *t)
{
    t->open = 0;
    for (int i = 0; i < CLIENTS; i++) {
        struct client *c = &client[i];
        uint64_t age = raw_now_ms() - c->since_ms;

        if (c->fd < 0)
            continue;
        if (is_over(c)) {
            t->longest_ms = MAX(t->longest_ms, age);
            t->cut += age >= TIMEOUT_MS - 500;
            if (age < TIMEOUT_MS - 500) {
                t->made_room++;
                t->last_of_these = MAX(t->last_of_these, i);
            }
            close(c->fd);
            c->fd = -1;
            continue;
        }
        t->open++;
        if (c->sent < script_bytes && send(c->fd, script + c->sent, 1, MSG_DONTWAIT | MSG_NOSIGNAL) == 1)
            c->sent++;
    }
}

static bool good_host(const struct raw_conn *q, uint64_t *worst)
{
    uint8_t w[4096], r[4096];
    static uint32_t seed;
    struct nvme_sqe wr = raw_io(IO_WRITE, 1, 9, 1, 4096, true), rd = raw_io(IO_READ, 2, 9, 1, 4096, false);
    uint64_t start = raw_now_ms();
    bool ok;

    raw_fill(w, sizeof(w), ++seed);
    ok = raw_status(raw_cmd(q, &wr, w, sizeof(w))) == 0 && raw_read_cmd(q, &rd, r, sizeof(r)) == 0 && memcmp(w, r, sizeof(w)) == 0;
    *worst = MAX(*worst, raw_now_ms() - start);
    return ok;
}

static void dawdlers(void)
{
    struct raw_conn a = raw_admin(&srv, false, false, NULL), q = raw_ioq(&srv, &a, 1, false, false);
    uint64_t before = raw_rss_kib(), most = 0, worst = 0, start = raw_now_ms();
    struct tally t = {.open = CLIENTS};
    struct target_stats st;
    uint32_t done = 0, asked = 0;

    for (int i = 0; i < CLIENTS; i++)
        begin(&client[i], i);
    while (t.open > 0 && raw_now_ms() - start < 20000) {
        round_of_bytes(&t);
        for (int i = 0; i < 10; i++, asked++)
            done += good_host(&q, &worst);
        most = MAX(most, raw_rss_kib());
        target_stats_get(srv.target, &st);
        raw_check(st.connections <= PRE_CONNECT_MAX + 2 || raw_now_ms() - start < 4000, "%lu connections", /* others end */
            (unsigned long)st.connections);
        usleep(50000);
    }
    printf("slow: %u cut at the timeout, %u made room, the longest lived %lu ms; the good host's slowest pair took %lu ms; "
        "%lu KiB more\n",
        t.cut, t.made_room, (unsigned long)t.longest_ms, (unsigned long)worst, (unsigned long)(most - MIN(most, before)));
    raw_check(t.open == 0, "%u are still there", t.open);
    raw_check(t.cut >= PRE_CONNECT_MAX - 2 && t.cut + t.made_room == CLIENTS, "%u cut, %u made room", t.cut, t.made_room);
    raw_check(t.last_of_these < (int)t.made_room + 2, "the oldest: the last was %d of %u", t.last_of_these, t.made_room);
    raw_check(t.longest_ms < TIMEOUT_MS + 2500, "bytes did not put the end off: %lu ms", (unsigned long)t.longest_ms);
    raw_check(done == asked && worst < 1000, "the good host: %u of %u, slowest %lu ms", done, asked, (unsigned long)worst);
    raw_check(most < before + CLIENTS * KIB_EACH, "%lu KiB more", (unsigned long)(most - before));
    close(q.fd);
    close(a.fd);
}

/* ---- they come back ------------------------------------------------------------------------------------------------------ */

#define CROWD 1100

static void *crowd(void *arg)
{
    bool *over = arg;

    for (int i = 0; i < CROWD; i++)
        client[i].fd = -1;
    while (!__atomic_load_n(over, __ATOMIC_ACQUIRE)) {
        for (int i = 0; i < CROWD; i++) {
            if (client[i].fd >= 0 && !is_over(&client[i]))
                continue;
            if (client[i].fd >= 0)
                close(client[i].fd);
            begin(&client[i], i);
        }
        usleep(10000);
    }
    for (int i = 0; i < CROWD; i++)
        close(client[i].fd);
    return NULL;
}

static void a_host_gets_in(void)
{
    bool over = false;
    pthread_t thread;

    if (pthread_create(&thread, NULL, crowd, &over) != 0)
        abort();
    usleep(300000);
    for (int i = 0; i < 5; i++) {
        uint64_t start = raw_now_ms();
        bool in = false;

        while (!in && raw_now_ms() - start < 2000)
            in = raw_works(&srv, true, true); /* one that is cut tries again */
        raw_check(in, "a host gets in beside %d that come back at once", CROWD);
    }
    __atomic_store_n(&over, true, __ATOMIC_RELEASE);
    pthread_join(thread, NULL);
}

int main(void)
{
    if (!enough_descriptors()) {
        printf("skip: %d descriptors are needed\n", 2 * CLIENTS + 200);
        return 77;
    }
    srv.nr = 2;
    srv.opts.connect_timeout_ns = TIMEOUT_MS * NS_PER_MS;
    raw_start(&srv);
    write_script();
    dawdlers();
    a_host_gets_in();
    raw_check(raw_works(&srv, true, true), "the target works");
    raw_stop(&srv);
    return raw_end();
}
