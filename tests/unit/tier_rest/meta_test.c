/* SPDX-License-Identifier: Apache-2.0 */
/* meta_test.c: the LMDB side of meta.h keeps its contract, and no damaged file crashes anybody. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "loop.h"
#include "tier/format.h"

static char dir[64];

static void make_dir(void)
{
    snprintf(dir, sizeof(dir), "%s/firn-meta-XXXXXX", access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    cr_assert_not_null(mkdtemp(dir));
}

static void drop_dir(void)
{
    char file[128];

    snprintf(file, sizeof(file), "%s/data.mdb", dir);
    unlink(file);
    rmdir(dir);
}

static struct meta *open_meta(bool create, uint64_t map_bytes)
{
    struct meta_lmdb_opts o = {.create = create, .map_bytes = map_bytes};
    char why[256];
    struct meta *m = NULL;
    int err = meta_lmdb_open(dir, &o, &m, why);

    cr_assert_eq(err, 0, "%s", why);
    return m;
}

static int put(struct meta *m, struct meta_key key, const void *value, uint32_t len)
{
    struct meta_op op = {.key = key, .value = value, .value_len = len};

    return m->ops->commit_sync(m, &op, 1);
}

TestSuite(meta_lmdb, .init = make_dir, .fini = drop_dir, .timeout = 120);

Test(meta_lmdb, what_was_committed_is_there_after_a_reopen)
{
    struct meta *m = open_meta(true, 0);
    struct meta_key k = meta_key_extent(1, 2), other = meta_key_extent(1, 3);
    uint8_t buf[META_VALUE_MAX];
    uint32_t len = 0;

    cr_assert_eq(put(m, k, "hello", 5), 0);
    cr_assert_eq(meta_commit_no(m), 1);
    m->ops->close(m);
    m = open_meta(false, 0);
    cr_assert_eq(meta_commit_no(m), 1);
    cr_assert_eq(m->ops->get_sync(m, &k, buf, &len), 0);
    cr_assert(len == 5 && memcmp(buf, "hello", 5) == 0);
    cr_assert_eq(m->ops->get_sync(m, &other, buf, &len), -FIRN_E_NOT_FOUND);
    m->ops->close(m);
}

Test(meta_lmdb, deleting_what_is_not_there_is_fine_and_deleting_what_is_works)
{
    struct meta *m = open_meta(true, 0);
    struct meta_op ops[2] = {{.key = meta_key_layer(1)}, {.key = meta_key_layer(2), .value = "x", .value_len = 1}};
    struct meta_op del = {.key = meta_key_layer(2)};
    uint8_t buf[META_VALUE_MAX];
    uint32_t len;

    cr_assert_eq(m->ops->commit_sync(m, ops, 2), 0);
    cr_assert_eq(m->ops->commit_sync(m, &del, 1), 0);
    cr_assert_eq(m->ops->get_sync(m, &ops[1].key, buf, &len), -FIRN_E_NOT_FOUND);
    cr_assert_eq(meta_commit_no(m), 2);
    m->ops->close(m);
}

struct seen { uint64_t last; unsigned nr, damaged; unsigned stop_at; };

static int see(void *ctx, const struct meta_key *key, const void *value, uint32_t len)
{
    struct seen *s = ctx;
    uint64_t id;

    (void)len;
    cr_assert_eq(meta_key_parse_id(key, 'L', &id), 0);
    cr_assert(s->nr == 0 || id > s->last);
    s->last = id;
    s->nr++;
    s->damaged += value == NULL;
    return s->nr == s->stop_at ? 77 : 0;
}

Test(meta_lmdb, a_scan_visits_one_prefix_in_order_and_can_stop)
{
    struct meta *m = open_meta(true, 0);
    struct meta_key prefix = meta_key_tag('L'), all = {.len = 0};
    struct seen s = {0}, stop = {.stop_at = 3};

    for (uint64_t i = 300; i > 0; i--)
        cr_assert_eq(put(m, meta_key_layer(i), "v", 1), 0);
    cr_assert_eq(m->ops->scan_sync(m, &all, see, &s), 0, "the glue key is not shown");
    cr_assert_eq(s.nr, 300);
    cr_assert_eq(put(m, meta_key_volume(1), "v", 1), 0);
    cr_assert_eq(put(m, meta_key_extent(1, 1), "v", 1), 0);
    s = (struct seen){0};
    cr_assert_eq(m->ops->scan_sync(m, &prefix, see, &s), 0);
    cr_assert_eq(s.nr, 300);
    cr_assert_eq(m->ops->scan_sync(m, &prefix, see, &stop), 77);
    m->ops->close(m);
}

/* ---- queued batches ---- */

struct order { unsigned next; bool bad; unsigned left; };
struct numbered { struct meta_batch b; struct meta_op op; unsigned no; struct order *order; char value[8]; };

static void committed(struct meta_batch *b)
{
    struct numbered *n = b->ctx;

    n->order->bad |= b->err != 0 || n->no != n->order->next++ || b->commit_no != n->no + 1;
    n->order->left--;
}

struct got { struct meta_get_req r; uint8_t buf[META_VALUE_MAX]; bool done; };
static void got(struct meta_get_req *r) { ((struct got *)r->ctx)->done = true; }

Test(meta_lmdb, batches_answer_in_order_and_a_get_behind_them_sees_them)
{
    enum { NR = 500 };
    struct env *e = loop_new();
    struct meta *m = open_meta(true, 0);
    struct numbered *n = calloc(NR, sizeof(*n));
    struct order order = {.left = NR};
    struct got g = {.r = {.key = meta_key_layer(NR), .buf = g.buf, .env = e, .cb = got, .ctx = &g}};

    for (unsigned i = 0; i < NR; i++) {
        n[i].no = i;
        n[i].order = &order;
        n[i].op = (struct meta_op){.key = meta_key_layer(i + 1), .value = "abc", .value_len = 3};
        n[i].b = (struct meta_batch){.ops = &n[i].op, .nr = 1, .env = e, .cb = committed, .ctx = &n[i]};
        meta_commit(m, &n[i].b);
    }
    meta_get(m, &g.r);
    while (order.left > 0 || !g.done)
        env_run_once(e);
    cr_assert_not(order.bad);
    cr_assert_eq(meta_commit_no(m), NR);
    cr_assert(g.r.err == 0 && g.r.len == 3);
    m->ops->close(m);
    free(n);
    loop_free(e);
}

Test(meta_lmdb, a_full_map_grows_and_loses_nothing)
{
    struct meta *m = open_meta(true, MIB);
    char value[1500];
    struct seen s = {0};
    struct meta_key prefix = meta_key_tag('L');

    memset(value, 7, sizeof(value));
    for (uint64_t i = 1; i <= 1500; i++)
        cr_assert_eq(put(m, meta_key_layer(i), value, sizeof(value)), 0, "record %llu", (unsigned long long)i);
    m->ops->close(m);
    m = open_meta(false, MIB);
    cr_assert_eq(m->ops->scan_sync(m, &prefix, see, &s), 0);
    cr_assert(s.nr == 1500 && s.damaged == 0);
    m->ops->close(m);
}

Test(meta_lmdb, a_failed_commit_is_final)
{
    struct meta *m = open_meta(true, 0);
    struct rlimit old, none;
    char value[2000];
    int err = 0;

    memset(value, 1, sizeof(value));
    cr_assert_eq(put(m, meta_key_layer(1), "a", 1), 0);
    cr_assert_eq(meta_failed(m), 0);
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &old);
    none = old;
    none.rlim_cur = 64 * 1024;
    setrlimit(RLIMIT_FSIZE, &none);
    for (uint64_t i = 2; i < 200 && !err; i++)
        err = put(m, meta_key_layer(i), value, sizeof(value));
    setrlimit(RLIMIT_FSIZE, &old);
    cr_assert_eq(err, -FIRN_E_META);
    cr_assert_eq(put(m, meta_key_layer(1), "b", 1), -FIRN_E_META, "also after the cause has gone");
    cr_assert(meta_failed(m) == -EFBIG || meta_failed(m) == -EIO, "the cause is kept: %d", meta_failed(m));
    m->ops->close(m);
    m = open_meta(false, 0);
    m->ops->close(m);
}

Test(meta_lmdb, a_second_opener_is_told_at_once)
{
    struct meta *m = open_meta(true, 0), *other;
    struct meta_lmdb_opts o = {.read_only = true};
    char why[256];

    cr_assert_eq(meta_lmdb_open(dir, &o, &other, why), -FIRN_E_BUSY);
    cr_assert_not_null(strstr(why, dir));
    m->ops->close(m);
}

Test(meta_lmdb, creating_over_records_is_refused_and_a_missing_one_is_named)
{
    struct meta_lmdb_opts create = {.create = true}, plain = {0};
    struct meta *m = open_meta(true, 0);
    char why[256];

    put(m, meta_key_pool(), "x", 1);
    m->ops->close(m);
    cr_assert_eq(meta_lmdb_open(dir, &create, &m, why), -FIRN_E_EXISTS);
    cr_assert_eq(meta_lmdb_open("/tmp/firn-none", &plain, &m, why), -FIRN_E_MISSING);
    cr_assert_not_null(strstr(why, "firn-none"));
}

/* ---- damage ---- */

static char *read_file(size_t *len)
{
    char file[128], *p;
    struct stat st;
    int fd;

    snprintf(file, sizeof(file), "%s/data.mdb", dir);
    fd = open(file, O_RDONLY);
    cr_assert_geq(fd, 0);
    fstat(fd, &st);
    p = malloc((size_t)st.st_size);
    cr_assert_eq(read(fd, p, (size_t)st.st_size), st.st_size);
    close(fd);
    *len = (size_t)st.st_size;
    return p;
}

static void poke(size_t off, char byte)
{
    char file[128];
    int fd;

    snprintf(file, sizeof(file), "%s/data.mdb", dir);
    fd = open(file, O_WRONLY);
    cr_assert_eq(pwrite(fd, &byte, 1, (off_t)off), 1);
    close(fd);
}

static void fill(unsigned nr)
{
    struct meta *m = open_meta(true, 0);
    char value[600];

    memset(value, 0x5a, sizeof(value));
    for (uint64_t i = 1; i <= nr; i++)
        cr_assert_eq(put(m, meta_key_layer(i), value, (uint32_t)(100 + i % 500)), 0);
    for (uint64_t i = 1; i <= nr; i += 3) {
        struct meta_op del = {.key = meta_key_layer(i)};

        cr_assert_eq(m->ops->commit_sync(m, &del, 1), 0);
    }
    m->ops->close(m);
}

Test(meta_lmdb, a_walk_finds_a_sound_file_sound)
{
    struct meta_walk w = {0};
    char why[256];

    fill(200);
    cr_assert_eq(meta_lmdb_walk(dir, &w, why), 0, "%s", why);
    cr_assert_eq(w.records, 200 - 67 + 1);
    cr_assert_eq(w.bad_records, 0);
}

Test(meta_lmdb, a_damaged_record_is_that_record_alone)
{
    struct meta_key prefix = meta_key_tag('L'), key = {0};
    struct meta_walk w = {0};
    struct seen s = {0};
    uint8_t buf[META_VALUE_MAX];
    uint32_t n;
    char why[256], *image, *at;
    struct meta *m;
    size_t len;

    fill(5);
    m = open_meta(false, 0);
    cr_assert_eq(put(m, meta_key_layer(2), "needle-in-the-page", 18), 0);
    m->ops->close(m);
    image = read_file(&len);
    for (at = image; (at = memmem(at, len - (size_t)(at - image), "needle-in-the-page", 18)) != NULL; at++)
        poke((size_t)(at - image) + 3, '!');
    free(image);
    cr_assert_eq(meta_lmdb_walk(dir, &w, why), 0, "%s", why);
    cr_assert_eq(w.bad_records, 1);
    m = open_meta(false, 0);
    cr_assert_eq(m->ops->scan_sync(m, &prefix, see, &s), 0);
    cr_assert_eq(s.damaged, 1);
    key = meta_key_layer(2);
    cr_assert_eq(m->ops->get_sync(m, &key, buf, &n), -FIRN_E_CORRUPT);
    key = meta_key_layer(3);
    cr_assert_eq(m->ops->get_sync(m, &key, buf, &n), 0);
    m->ops->close(m);
}

static int count(void *ctx, const struct meta_key *key, const void *value, uint32_t len)
{
    (void)key;
    (void)value;
    (void)len;
    ++*(unsigned *)ctx;
    return 0;
}

/* What a daemon would do with that file. 0: opened, used, closed; 1: refused in words. Anything else is a crash. */
static int use_it(void)
{
    struct meta_lmdb_opts o = {0};
    struct meta_key all = {.len = 0};
    struct meta *m;
    char why[256], value[700];
    unsigned nr = 0;

    if (meta_lmdb_open(dir, &o, &m, why) != 0)
        return why[0] == '\0' ? 3 : 1;
    m->ops->scan_sync(m, &all, count, &nr);
    memset(value, 1, sizeof(value));
    for (uint64_t i = 1; i < 40; i++)
        put(m, meta_key_layer(i * 7), value, (uint32_t)(i * 17));
    m->ops->close(m);
    return 0;
}

static int use_it_in_a_child(void)
{
    int status = 0;
    pid_t pid = fork();

    if (pid == 0) {
        struct rlimit no_core = {0};

        setrlimit(RLIMIT_CORE, &no_core);
        signal(SIGSEGV, SIG_DFL);
        signal(SIGBUS, SIG_DFL);
        signal(SIGABRT, SIG_DFL);
        close(2);
        alarm(20);
        _exit(use_it());
    }
    waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 100 + WTERMSIG(status);
}

Test(meta_lmdb, no_flipped_byte_crashes_an_opener)
{
    unsigned refused = 0, opened = 0;
    size_t len, used;
    char *image, file[128];

    fill(60);
    image = read_file(&len);
    snprintf(file, sizeof(file), "%s/data.mdb", dir);
    used = len;
    for (size_t off = 0; off < used; off += off < 4 * 4096 || off % 4096 < 64 ? 7 : 64) {
        int fd, result;

        poke(off, (char)(image[off] ^ (char)(1 << (off / 64 % 8))));
        result = use_it_in_a_child();
        cr_assert(result == 0 || result == 1, "offset %zu: %d", off, result);
        refused += result == 1;
        opened += result == 0;
        fd = open(file, O_WRONLY | O_TRUNC);
        cr_assert_eq(write(fd, image, len), (ssize_t)len);
        close(fd);
    }
    free(image);
    cr_assert_gt(refused, 20);
    cr_assert_gt(opened, 20);
}
