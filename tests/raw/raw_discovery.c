/* SPDX-License-Identifier: Apache-2.0 */
/* raw_discovery.c: the discovery log of 10,000 subsystems: every offset and length shows the same log, each host its own; pages need no
 * lock, and what a host may see is found out once for each GENCTR, however many pages it reads.
 */
#include "export/priv.h"
#include "raw.h"

#define NR     10000u
#define ENTRY  1024u
#define PAGE   8192u
#define HOST_A "nqn.2014-08.org.nvmexpress:uuid:host-a"
#define HOST_B "nqn.2014-08.org.nvmexpress:uuid:host-b"

static struct raw_srv srv;
static struct subsys *subs[NR];

static void name_of(char out[64], uint32_t i) { snprintf(out, 64, "nqn.2026-11.io.firn:raw:v%05u", i); }
static bool for_both(uint32_t i) { return i % 3 == 0; }

/* A sees all, B every third. */
static void add_all(void *arg)
{
    static const char *const a[] = {HOST_A}, *const both[] = {HOST_B, HOST_A};

    (void)arg;
    raw_check(subsys_set_hosts(srv.subsys, NULL, 0) == 0, "raw.h's own subsystem is seen by nobody");
    for (uint32_t i = 0; i < NR; i++) {
        struct subsys_params p = {.serial = "1", .blk = srv.blk};

        name_of(p.nqn, i);
        if (subsys_add(srv.target, &p, &subs[i]) != 0 || subsys_set_hosts(subs[i], for_both(i) ? both : a, for_both(i) ? 2 : 1) != 0)
            abort();
    }
}

static void removed(void *ctx) { sem_post(ctx); }
struct removal { sem_t sem; uint32_t first, nr; };
static void remove_some(void *arg)
{
    struct removal *r = arg;

    for (uint32_t i = 0; i < r->nr; i++)
        subsys_remove(subs[r->first + i], removed, &r->sem);
}

static void take_away(uint32_t first, uint32_t nr)
{
    struct removal r = {.first = first, .nr = nr};

    sem_init(&r.sem, 0, 0);
    raw_on_env(srv.env[0], remove_some, &r);
    for (uint32_t i = 0; i < nr; i++)
        while (sem_wait(&r.sem) != 0)
            ;
    sem_destroy(&r.sem);
}

static uint16_t get_log(const struct raw_conn *c, uint64_t off, uint32_t n, void *out)
{
    struct nvme_sqe sqe = raw_sqe(ADMIN_GET_LOG_PAGE, 9, 0);

    sqe.sgl.length = to_le32(n);
    sqe.cdw10 = to_le32(LID_DISCOVERY | (n / 4 - 1) << 16);
    sqe.cdw12 = to_le32((uint32_t)off);
    return raw_read_cmd(c, &sqe, out, n);
}

static struct raw_conn asker(const char *host)
{
    struct raw_connect p = {.sqsize = 31, .subnqn = DISCOVERY_NQN, .hostnqn = host, .cattr = CATTR_SQ_FLOW_OFF};

    return raw_admin(&srv, false, false, &p);
}

/* The whole log, page by page; its length. */
static uint32_t read_log(const struct raw_conn *c, uint8_t *log, uint32_t cap)
{
    const struct nvme_discovery_header *h = (const void *)log;
    uint32_t len = PAGE;

    for (uint32_t off = 0; off < len && off + PAGE <= cap; off += PAGE) {
        if (get_log(c, off, PAGE, log + off) != 0)
            return 0;
        len = (uint32_t)(from_le64(h->numrec) + 1) * ENTRY;
    }
    return len;
}

static uint64_t genctr_of(const uint8_t *log) { return from_le64(((const struct nvme_discovery_header *)(const void *)log)->genctr); }

static bool entry_is(const uint8_t *log, uint32_t at, uint32_t volume)
{
    const struct nvme_discovery_entry *e = (const void *)(log + (size_t)(at + 1) * ENTRY);
    char name[64];

    name_of(name, volume);
    return e->trtype == 3 && strcmp((const char *)e->subnqn, name) == 0;
}

static uint8_t log_a[(NR + 16) * ENTRY], log_b[(NR + 16) * ENTRY];

static void each_host_sees_its_own(const struct raw_conn *a, const struct raw_conn *b)
{
    uint32_t la = read_log(a, log_a, sizeof(log_a)), lb = read_log(b, log_b, sizeof(log_b)), good = 0, k = 0;

    raw_check(la == (NR + 1) * ENTRY, "A's log: %u bytes", la);
    raw_check(lb == ((NR + 2) / 3 + 1) * ENTRY, "B's log: %u bytes", lb);
    for (uint32_t i = 0; i < NR; i++) {
        good += entry_is(log_a, i, i);
        if (for_both(i))
            good += entry_is(log_b, k++, i);
    }
    raw_check(good == NR + k, "%u of %u entries", good, NR + k);
}

static void any_window(const struct raw_conn *a)
{
    static const uint32_t offs[] = {0, 4, 16, 1020, 1024, 1028, 2044, 5000, 8188, NR * ENTRY - 4, NR * ENTRY, (NR + 1) * ENTRY - 4,
                                    (NR + 1) * ENTRY, (NR + 9) * ENTRY};
    static const uint32_t lens[] = {4, 16, 1024, 1028, 4096, PAGE};
    uint8_t page[PAGE];

    memset(log_a + (size_t)(NR + 1) * ENTRY, 0, 15 * ENTRY);
    for (size_t i = 0; i < ARRAY_LEN(offs); i++)
        for (size_t k = 0; k < ARRAY_LEN(lens); k++) {
            uint32_t in = offs[i] < sizeof(log_a) ? MIN(lens[k], (uint32_t)sizeof(log_a) - offs[i]) : 0;

            raw_check(get_log(a, offs[i], lens[k], page) == 0 && memcmp(page, log_a + offs[i], in) == 0, "%u bytes at %u",
                lens[k], offs[i]);
        }
}

/* Whoever holds the lock, discovery goes on. */
static void pages_take_no_lock(const struct raw_conn *a)
{
    uint8_t page[PAGE];

    pthread_mutex_lock(&srv.target->lock);
    raw_check(get_log(a, ENTRY, PAGE, page) == 0 && memcmp(page, log_a + ENTRY, PAGE) == 0, "a page while the lock is held");
    pthread_mutex_unlock(&srv.target->lock);
}

static void a_change_moves_genctr(const struct raw_conn *a, const struct raw_conn *b)
{
    uint64_t was = genctr_of(log_a), now;
    uint8_t page[PAGE];

    raw_check(get_log(a, 0, PAGE, page) == 0 && genctr_of(page) == was, "GENCTR stays without a change");
    take_away(1, 2); /* B saw neither */
    raw_check(get_log(a, 0, PAGE, page) == 0 && genctr_of(page) > was, "it moves with one");
    now = genctr_of(page);
    raw_check(entry_is(page, 0, 0) && entry_is(page, 1, 3) && from_le64(((struct nvme_discovery_header *)(void *)page)->numrec) == NR - 2,
        "and A's entries move up");
    raw_check(get_log(b, 0, PAGE, page) == 0 && genctr_of(page) == now && entry_is(page, 1, 3), "B's are as they were");
}

/* More hosts in turn than there are views: every one is right, none shows another's. */
static void many_hosts(void)
{
    enum { HOSTS = 11 };
    struct raw_conn c[HOSTS];
    uint8_t page[PAGE];
    uint32_t good = 0;

    for (int i = 0; i < HOSTS; i++) {
        char name[64];

        snprintf(name, sizeof(name), "nqn.2014-08.org.nvmexpress:uuid:none-%d", i);
        c[i] = asker(i == 5 ? HOST_B : name);
    }
    for (int round = 0; round < 3; round++)
        for (int i = 0; i < HOSTS; i++) {
            const struct nvme_discovery_header *h = (const void *)page;

            memset(page, 0xff, sizeof(page));
            good += get_log(&c[i], 0, PAGE, page) == 0 && from_le64(h->numrec) == (i == 5 ? (NR + 2) / 3 : 0u);
        }
    raw_check(good == 3 * HOSTS, "%u of %u", good, 3 * HOSTS);
    for (int i = 0; i < HOSTS; i++)
        close(c[i].fd);
}

static void get_made(void *arg) { *(uint64_t *)arg = srv.target->views_made; }

int main(void)
{
    struct raw_conn a, b;
    uint64_t made, after;

    srv.nr = 2;
    raw_start(&srv);
    raw_on_env(srv.env[0], add_all, NULL);
    a = asker(HOST_A);
    b = asker(HOST_B);
    raw_on_env(srv.env[0], get_made, &made);
    each_host_sees_its_own(&a, &b);
    any_window(&a);
    raw_on_env(srv.env[0], get_made, &after);
    raw_check(after - made == 2, "%lu views for two hosts", (unsigned long)(after - made));
    pages_take_no_lock(&a);
    a_change_moves_genctr(&a, &b);
    many_hosts();
    close(a.fd);
    close(b.fd);
    take_away(0, 1);
    take_away(3, NR - 3);
    raw_stop(&srv);
    return raw_end();
}
