/* SPDX-License-Identifier: Apache-2.0 */
/* run.c: `firn-bench run` and `firn-bench verify`: threads, their shares, the log's replay, sums.
 *
 * Each thread connects by itself (a ring belongs to the thread that made it), then replays the log into an oracle of its
 * own. Thread 0 opens the log for appending and marks the new run. Barriers between the steps: a thread that failed still
 * takes part in them, and does nothing.
 */
#include "bench.h"
#include "fresh.h"

#include "base/err.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

struct bench {
    const struct bench_opts *o;
    struct worker           *workers;
    pthread_barrier_t        barrier;
    bool                     verify_only;
    int                      log_fd;
    struct acklog_summary    log;
    uint32_t                 unit_bytes;
    uint64_t                 log_id;      /* of a log that does not exist yet; never 0 */
    struct ctrl_share        share;
};

struct start { struct bench *b; uint32_t index; };

static void refuse(struct worker *w, int err, const char *text)
{
    if (w->err)
        return;
    w->err = err;
    snprintf(w->why, sizeof(w->why), "%s", text);
}

/* What was asked for does not fit the target, or the log: exit status 2. */
static void refuse_use(struct worker *w, const char *fmt, ...) PRINTF_LIKE(2, 3);
static void refuse_use(struct worker *w, const char *fmt, ...)
{
    va_list ap;

    if (w->err)
        return;
    w->err = -EINVAL;
    w->usage = true;
    va_start(ap, fmt);
    vsnprintf(w->why, sizeof(w->why), fmt, ap);
    va_end(ap);
}

static void check_range(const struct bench_opts *o, struct worker *w, uint64_t ns_bytes)
{
    if (o->offset_bytes % o->bs_bytes)
        refuse_use(w, "--offset is not a multiple of --bs (%u bytes)", o->bs_bytes);
    if (o->offset_bytes >= ns_bytes)
        refuse_use(w, "--offset lies beyond the namespace, which has %llu bytes", (unsigned long long)ns_bytes);
    if (o->size_bytes > ns_bytes - o->offset_bytes)
        refuse_use(w, "--size ends beyond the namespace: %llu bytes from --offset on, the namespace has %llu bytes",
                   (unsigned long long)o->size_bytes, (unsigned long long)ns_bytes);
}

static void check_shape(const struct bench *b, struct worker *w)
{
    const struct bench_opts *o = b->o;
    uint64_t ns_bytes = w->ns.size_lba * w->ns.lba_bytes;

    if (b->verify_only)
        return;
    if (o->bs_bytes % w->ns.lba_bytes)
        refuse_use(w, "--bs %u is not a multiple of the namespace's block size, %u bytes", o->bs_bytes, w->ns.lba_bytes);
    if (o->bs_bytes > w->ns.mdts_bytes)
        refuse_use(w, "--bs %u is larger than the target takes in one request (MDTS), %u bytes", o->bs_bytes, w->ns.mdts_bytes);
    if (!w->err)
        check_range(o, w, ns_bytes);
    if ((o->trim_pct && !w->ns.can_trim) || (o->zero_pct && !w->ns.can_zero))
        refuse_use(w, "the target does not offer %s", o->trim_pct && !w->ns.can_trim ? "deallocate" : "write zeroes");
    if (w->ns.volatile_cache && b->log_fd >= 0)
        refuse(w, -EINVAL, "the target announces a volatile write cache: its acknowledgements promise nothing");
}

/* The log's unit size, if there is a log; else by block size. */
static uint32_t choose_unit(const struct bench_opts *o, struct worker *w)
{
    struct acklog_geometry geo;
    char why[256];

    if (o->ack_log[0] && access(o->ack_log, F_OK) == 0 && acklog_geometry_read(o->ack_log, &geo, why) == 0)
        return geo.unit_bytes;
    return o->bs_bytes % BLOCK_BYTES == 0 && w->ns.lba_bytes <= BLOCK_BYTES ? BLOCK_BYTES : 512;
}

static void load_oracle(struct bench *b, struct worker *w)
{
    const struct bench_opts *o = b->o;
    uint32_t unit = choose_unit(o, w);
    struct acklog_summary sum = {.next_id = 1, .fresh = o->fresh};
    char why[256];
    int err = oracle_init(&w->oracle, w->ns.nguid, unit, w->ns.size_lba * w->ns.lba_bytes / unit);

    w->oracle_used = !err;
    w->oracle.fresh = o->fresh;
    w->oracle.log_id = b->log_id;
    if (!err && o->bs_bytes % unit && !b->verify_only)
        refuse_use(w, "--bs %u does not fit this log, whose unit is %u bytes", o->bs_bytes, unit);
    if (!err && o->ack_log[0] && access(o->ack_log, F_OK) == 0) {
        err = acklog_replay(o->ack_log, &w->oracle, &sum, why);
        if (err == -EXDEV)
            refuse_use(w, "%s", why);
        else if (err)
            refuse(w, err, why);
    } else if (b->verify_only) {
        refuse_use(w, "there is no log %.180s", o->ack_log);
    }
    if (err)
        refuse(w, err, "out of memory");
    if (w->index == 0) {
        b->log = sum;
        b->unit_bytes = unit;
    }
}

/* Thread 0, before anything is written. */
static void check_fresh(const struct bench *b, struct worker *w)
{
    const struct bench_opts *o = b->o;
    uint64_t lba = w->ns.lba_bytes, ns_bytes = w->ns.size_lba * lba, used = 0;
    uint64_t end = o->size_bytes ? o->offset_bytes + o->size_bytes : ns_bytes;
    char why[256] = "";
    int found;

    if (!o->fresh || !o->verify || b->verify_only || w->err)
        return;
    found = fresh_sample(w, o->offset_bytes, ROUND_DOWN(end, lba), &used, why);
    if (found > 0)
        refuse_use(w, "--fresh, but the volume was written before (byte %llu is not zero); leave --fresh out, and what it holds "
                      "counts as right until it is overwritten, or make a new volume", (unsigned long long)used);
    else if (found < 0)
        refuse(w, found, why);
}

/* Thread 0, when every oracle is loaded. */
static void open_log(struct bench *b, struct worker *w)
{
    struct acklog_geometry geo = {.unit_bytes = b->unit_bytes, .nr_units = w->oracle.nr_units, .log_id = w->oracle.log_id};
    struct acklog_writer *log;
    char why[256];

    if (!b->o->ack_log[0] || w->err)
        return;
    memcpy(geo.nguid, w->ns.nguid, sizeof(geo.nguid));
    b->log_fd = acklog_open_append(b->o->ack_log, &geo, why);
    if (b->log_fd < 0) {
        refuse(w, b->log_fd, why);
        return;
    }
    if (b->verify_only)
        return;
    log = calloc(1, sizeof(*log));
    if (log == NULL) {
        refuse(w, -ENOMEM, "out of memory");
        return;
    }
    acklog_writer_init(log, b->log_fd, b->log.runs + 1);
    if (acklog_append(log, ACK_RUN, b->log.next_id, 0, b->log.runs ? b->log.fresh : b->o->fresh) || acklog_flush(log))
        refuse(w, -EIO, "the acknowledgement log cannot be written");
    free(log);
}

static void share_out(struct bench *b, struct worker *w)
{
    const struct bench_opts *o = b->o;
    uint64_t ns_bytes = w->ns.size_lba * w->ns.lba_bytes, nr = o->threads, begin = 0, end = ns_bytes;
    uint64_t bs = o->bs_bytes, whole = (o->size_bytes ? o->size_bytes : ns_bytes - o->offset_bytes) / bs;

    if (!b->verify_only) {
        begin = o->offset_bytes + whole * w->index / nr * bs;
        end = o->offset_bytes + whole * (w->index + 1) / nr * bs;
    } else {
        end = ROUND_DOWN(ns_bytes, b->unit_bytes);
    }
    if (begin >= end) {
        refuse_use(w, "the range is too small: %llu requests of --bs for %u threads", (unsigned long long)whole, o->threads);
        return;
    }
    w->run = b->log.runs + 1;
    w->next_id = b->log.next_id + w->index;
    w->id_step = nr;
    w->quota_ops = o->ops / nr + (w->index < o->ops % nr);
    w->quota_bytes = o->bytes / nr;
    w->sweep = b->verify_only;
    acklog_writer_init(&w->log, b->log_fd, w->run);
    worker_prepare(w, begin, end);
}

/* Units the log knows. */
static uint64_t touched(const struct worker *w)
{
    uint64_t nr = 0;

    for (uint64_t u = 0; w->oracle_used && u < w->oracle.nr_units; u++)
        nr += w->oracle.units[u].touched;
    return nr;
}

static void run_worker(struct bench *b, struct worker *w)
{
    struct progress p;

    if (b->verify_only) {
        progress_start(&p, stderr, isatty(STDERR_FILENO) == 1, clock_ns(), touched(w));
        w->progress = &p;
    }
    worker_run(w);
    if (w->progress)
        progress_end(&p);
    w->progress = NULL;
}

static void *thread_main(void *arg)
{
    struct start *s = arg;
    struct bench *b = s->b;
    struct worker *w = &b->workers[s->index];

    worker_connect(w);
    if (!w->err)
        check_shape(b, w);
    if (!w->err && (b->o->verify || b->verify_only))
        load_oracle(b, w);
    pthread_barrier_wait(&b->barrier);
    if (s->index == 0) {
        check_fresh(b, w);
        open_log(b, w);
    }
    pthread_barrier_wait(&b->barrier);
    for (uint32_t i = 0; i < b->o->threads; i++)
        if (b->workers[i].err)
            w->stop = true;
    if (!w->err && !w->stop)
        share_out(b, w);
    pthread_barrier_wait(&b->barrier);
    if (!w->err && !w->stop && w->slots)
        run_worker(b, w);
    worker_disconnect(w);
    worker_leave(w);
    return NULL;
}

static void add_up(struct bench *b, struct totals *t)
{
    hist_init(&t->all);
    for (uint32_t i = 0; i < GEN_OP_NR; i++)
        hist_init(&t->st.lat[i]);
    for (uint32_t i = 0; i < b->o->threads; i++) {
        struct worker *w = &b->workers[i];
        uint64_t *into = &t->st.ops, *from = &w->st.ops;

        for (size_t k = 0; k < (offsetof(struct worker_stats, begin_ns) - offsetof(struct worker_stats, ops)) / 8; k++)
            into[k] += from[k];
        t->st.cpu_ns += w->st.cpu_ns;
        for (uint32_t op = 0; op < GEN_OP_NR; op++) {
            t->st.by_op[op] += w->st.by_op[op];
            hist_merge(&t->st.lat[op], &w->st.lat[op]);
            hist_merge(&t->all, &w->st.lat[op]);
        }
        for (uint32_t v = 0; v < ORACLE_VERDICT_NR; v++)
            t->verdicts[v] += w->oracle.verdicts[v];
        t->st.outage_max_ns = i == 0 ? w->st.outage_max_ns : MAX(t->st.outage_max_ns, w->st.outage_max_ns);
        if (w->st.end_ns > w->st.begin_ns && w->measuring)
            t->seconds = MAX(t->seconds, (double)(w->st.end_ns - w->st.begin_ns) / 1e9);
        if (w->err && !t->err) {
            t->err = w->err;
            t->usage = w->usage;
            t->lost = w->lost;
            t->why = w->why;
        }
    }
    t->touched = touched(&b->workers[0]);
    if (b->verify_only && !t->err && t->st.io_errors == 0 && t->st.units_judged < t->touched) {
        t->err = -ECANCELED;
        t->why = "interrupted before every block was read";
    }
    t->ns = &b->workers[0].ns;
    t->workers = b->workers;
    t->nr_workers = b->o->threads;
    t->log = b->log;
}

static void on_signal(int sig)
{
    (void)sig;
    worker_interrupted = true;
}

static int run_threads(struct bench *b)
{
    struct start *starts = calloc(b->o->threads, sizeof(*starts));
    struct sigaction sa = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND}; /* a second one ends at once */
    uint32_t started = 0;

    if (starts == NULL)
        return -ENOMEM;
    sigaction(SIGINT, &sa, NULL);
    sigaction(SIGTERM, &sa, NULL);
    pthread_barrier_init(&b->barrier, NULL, b->o->threads);
    share_init(&b->share, b->o->threads - 1);
    for (; started < b->o->threads; started++) {
        starts[started] = (struct start){.b = b, .index = started};
        b->workers[started].o = b->o;
        b->workers[started].index = started;
        b->workers[started].share = b->o->own_hosts || b->o->threads == 1 ? NULL : &b->share;
        if (pthread_create(&b->workers[started].thread, NULL, thread_main, &starts[started])) {
            fprintf(stderr, "firn-bench: no more threads\n");
            exit(1); /* the others wait at the barrier for it */
        }
    }
    for (uint32_t i = 0; i < started; i++)
        pthread_join(b->workers[i].thread, NULL);
    pthread_barrier_destroy(&b->barrier);
    share_fini(&b->share);
    free(starts);
    return 0;
}

/* Never 0, which means a log that has none. */
static uint64_t new_log_id(void)
{
    uint64_t id;

    if (getrandom(&id, sizeof(id), 0) != (ssize_t)sizeof(id))
        id = clock_ns();
    return id | 1;
}

static int load(const struct bench_opts *o, bool verify_only)
{
    struct bench b = {.o = o, .verify_only = verify_only, .log_fd = -1, .log_id = new_log_id()};
    struct totals *t = calloc(1, sizeof(*t));
    int status;

    b.workers = calloc(o->threads, sizeof(*b.workers));
    if (b.workers == NULL || t == NULL || run_threads(&b)) {
        fprintf(stderr, "firn-bench: out of memory\n");
        return 1;
    }
    add_up(&b, t);
    if (verify_only)
        report_verify(o, t);
    else
        report_run(o, t);
    status = t->usage ? 2 : totals_clean(t) ? 0 : 1;
    for (uint32_t i = 0; i < o->threads; i++)
        worker_fini(&b.workers[i]);
    if (b.log_fd >= 0)
        close(b.log_fd);
    free(b.workers);
    free(t);
    return status;
}

static bool has_nqn(const struct bench_opts *o)
{
    if (!o->nqn[0])
        fprintf(stderr, "firn-bench: --nqn is missing; firn-bench list shows what a target offers\n");
    return o->nqn[0] != '\0';
}

int cmd_run(const struct bench_opts *o)
{
    struct stat st;

    if (o->ack_log[0] && !o->verify) {
        fprintf(stderr, "firn-bench: --ack-log needs --verify\n");
        return 2;
    }
    if (o->fresh && o->ack_log[0] && stat(o->ack_log, &st) == 0 &&
        st.st_size > (off_t)sizeof(struct acklog_header_bytes)) { /* one that a kill left with its header alone is as good as new */
        fprintf(stderr, "firn-bench: --fresh is for a new log, and %s has runs in it; leave --fresh out to go on with it, or name a new "
                        "--ack-log FILE\n", o->ack_log);
        return 2;
    }
    return has_nqn(o) ? load(o, false) : 2;
}

int cmd_verify(const struct bench_opts *o)
{
    struct bench_opts one = *o;

    if (!has_nqn(o))
        return 2;
    if (!o->ack_log[0]) {
        fprintf(stderr, "firn-bench: verify needs --ack-log FILE\n");
        return 2;
    }
    if (access(o->ack_log, F_OK) != 0) {
        fprintf(stderr, "firn-bench: %s: there is no such log; firn-bench run --verify --ack-log FILE writes one\n", o->ack_log);
        return 2;
    }
    one.threads = one.connections = 1;
    return load(&one, true);
}
