/* SPDX-License-Identifier: Apache-2.0 */
/* explore.c: hands seeds to worker processes and gathers what they say.
 *
 * 1. Workers take the next seed from a shared counter, note it, run it, and write the result to one pipe, whole.
 * 2. The parent adds results up and prints a line and a replay command for each seed that failed.
 * Failures: a worker that dies is replaced; the seed it was at counts as failed, and what it said last is printed.
 */
#include "tools/sim/explore.h"

#include "base/log.h"
#include "rt/trace.h"

#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define JOBS_MAX 64u

struct shared {                  /* between the parent and its workers */
    uint64_t next;               /* index of the next seed */
    uint64_t at[JOBS_MAX];       /* index each worker is at, plus one; 0: none */
    bool     enough;
};

struct message { uint64_t seed; bool twice; struct world_result res; };
static_assert(sizeof(struct message) <= PIPE_BUF, "written to the pipe whole");

struct worker { pid_t pid; int stderr_fd; };

struct run {
    const struct explore_opts *opts;
    struct explore_sum *sum;
    struct shared *shared;
    struct worker  worker[JOBS_MAX];
    int            pipe[2];
    uint32_t       jobs, alive;
};

static uint64_t seed_at(const struct explore_opts *o, uint64_t index)
{
    return o->list != NULL ? o->list[index] : o->seed + index;
}

/* The commit that the checkout in this directory is at; "" if it is none. */
static void find_commit(char *out, size_t len)
{
    char line[256] = "", path[300];
    FILE *f = fopen(".git/HEAD", "r");

    out[0] = '\0';
    if (f != NULL && fgets(line, sizeof(line), f) != NULL && strncmp(line, "ref: ", 5) == 0) {
        fclose(f);
        line[strcspn(line, "\n")] = '\0';
        snprintf(path, sizeof(path), ".git/%s", line + 5);
        f = fopen(path, "r");
        if (f == NULL || fgets(line, sizeof(line), f) == NULL)
            line[0] = '\0';
    }
    if (f != NULL)
        fclose(f);
    line[strcspn(line, "\n")] = '\0';
    snprintf(out, len, "%.12s", line);
}

static void say_failure(const struct explore_opts *o, uint64_t seed, const char *profile, const char *reason)
{
    char commit[16];

    if (o->quiet)
        return;
    find_commit(commit, sizeof(commit));
    printf("FAILED seed %" PRIu64 " (%s%s%s): %s\n    replay: %s explore --seed %" PRIu64 " --seeds 1 --ops %u --verbose", seed,
           profile, commit[0] == '\0' ? "" : ", commit ", commit, reason, o->self, seed, o->ops);
    if (o->profile >= 0)
        printf(" --profile %s", sim_profile_name((enum sim_profile)o->profile));
    if (o->bug >= 0)
        printf(" --bug %s", sim_bug_name((enum sim_bug)o->bug));
    printf("\n");
    fflush(stdout);
}

static void add_result(const struct explore_opts *o, struct explore_sum *sum, const struct message *m)
{
    const struct world_result *r = &m->res;

    if (r->failed) {
        if (sum->failed++ == 0) {
            sum->first_failed = m->seed;
            snprintf(sum->first_reason, sizeof(sum->first_reason), "%s", r->reason);
        }
        say_failure(o, m->seed, r->profile < PROFILE_NR ? sim_profile_name(r->profile) : "no profile known", r->reason);
    } else {
        sum->passed++;
    }
    if (r->lie_missed && !o->quiet)
        fprintf(stderr, "seed %" PRIu64 ": what a lying flush lost was not noticed: %s\n", m->seed, r->reason);
    sum->refused += r->refused;
    sum->lies_missed += r->lie_missed;
    sum->lies_noticed += r->lie_noticed;
    sum->ops += r->ops;
    sum->events += r->events;
    sum->crashes += r->crashes;
    sum->blocks_checked += r->blocks_checked;
    sum->determinism_checked += m->twice;
    if (r->profile < PROFILE_NR)
        sum->by_profile[r->profile]++;
    sim_faults_add(&sum->faults, &r->faults);
}

/* ---- one seed ---- */

static void run_seed(const struct explore_opts *o, uint64_t seed, struct message *m)
{
    struct world_opts w = {.seed = seed, .ops = o->ops, .profile = o->profile, .bug = o->bug,
                           .verbose = o->verbose, .watch = o->watch};
    struct world_result again;

    m->seed = seed;
    m->twice = o->twice_in != 0 && seed % o->twice_in == 0;
    world_run(&w, &m->res);
    if (!m->twice)
        return;
    world_run(&w, &again);
    if (again.trace_hash != m->res.trace_hash && !m->res.failed) {
        m->res.failed = true;
        snprintf(m->res.reason, sizeof(m->res.reason), "not deterministic: trace %016" PRIx64 " and %016" PRIx64
                 ", events %" PRIu64 " and %" PRIu64, m->res.trace_hash, again.trace_hash, m->res.events, again.events);
    }
}

static void dump_trace(void)
{
    struct strbuf b;

    strbuf_init(&b);
    trace_dump(&b, 60);
    fputs(strbuf_str(&b), stderr);
    strbuf_fini(&b);
}

/* ---- workers ---- */

static void worker_main(struct run *r, uint32_t me)
{
    const struct explore_opts *o = r->opts;
    struct message m;

    dup2(r->worker[me].stderr_fd, STDERR_FILENO);
    trace_install_crash_handler();
    for (;;) {
        uint64_t i = __atomic_fetch_add(&r->shared->next, 1, __ATOMIC_RELAXED);

        if (i >= o->seeds || __atomic_load_n(&r->shared->enough, __ATOMIC_RELAXED))
            _exit(0);
        r->shared->at[me] = i + 1;
        if (ftruncate(STDERR_FILENO, 0) == 0)
            lseek(STDERR_FILENO, 0, SEEK_SET);
        alarm(o->seconds_a_seed == 0 ? 120 : o->seconds_a_seed);
        memset(&m, 0, sizeof(m));
        run_seed(o, seed_at(o, i), &m);
        if (write(r->pipe[1], &m, sizeof(m)) != (ssize_t)sizeof(m))
            _exit(1);
        r->shared->at[me] = 0;
    }
}

static void worker_start(struct run *r, uint32_t me)
{
    fflush(stdout);
    r->shared->at[me] = 0;
    r->worker[me].pid = fork();
    assert(r->worker[me].pid >= 0);
    if (r->worker[me].pid == 0) {
        signal(SIGALRM, SIG_DFL);
        worker_main(r, me);
    }
    r->alive++;
}

static void say_last_words(struct run *r, uint32_t me)
{
    static char text[6000];
    off_t end = lseek(r->worker[me].stderr_fd, 0, SEEK_END);
    ssize_t n = pread(r->worker[me].stderr_fd, text, sizeof(text) - 1, MAX(end - (off_t)sizeof(text) + 1, 0));

    if (n <= 0 || r->opts->quiet)
        return;
    text[n] = '\0';
    fputs(text, stdout);
}

static void worker_died(struct run *r, uint32_t me, int status)
{
    uint64_t at = r->shared->at[me];
    struct message m = {.res = {.failed = true}};

    r->alive--;
    if (at == 0)
        return;
    m.seed = seed_at(r->opts, at - 1);
    m.res.profile = PROFILE_NR; /* it took that with it */
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM)
        snprintf(m.res.reason, sizeof(m.res.reason), "hung: took too long");
    else if (WIFSIGNALED(status))
        snprintf(m.res.reason, sizeof(m.res.reason), "died: %s", strsignal(WTERMSIG(status)));
    else
        snprintf(m.res.reason, sizeof(m.res.reason), "ended with status %d", WEXITSTATUS(status));
    say_last_words(r, me);
    add_result(r->opts, r->sum, &m);
    if (!r->opts->stop_at_first)
        worker_start(r, me);
    else
        r->shared->enough = true;
}

static void drain_pipe(struct run *r, int wait_ms)
{
    struct pollfd p = {.fd = r->pipe[0], .events = POLLIN};
    struct message m;

    while (poll(&p, 1, wait_ms) > 0 && read(r->pipe[0], &m, sizeof(m)) == (ssize_t)sizeof(m)) {
        add_result(r->opts, r->sum, &m);
        if (m.res.failed && r->opts->stop_at_first)
            r->shared->enough = true;
        wait_ms = 0;
    }
}

static void gather(struct run *r)
{
    while (r->alive != 0) {
        drain_pipe(r, 20);
        for (uint32_t i = 0; i < r->jobs; i++) {
            int status;

            if (r->worker[i].pid > 0 && waitpid(r->worker[i].pid, &status, WNOHANG) == r->worker[i].pid) {
                r->worker[i].pid = 0;
                drain_pipe(r, 0);
                worker_died(r, i, status);
            }
        }
    }
    drain_pipe(r, 0);
}

/* ---- the whole ---- */

static int explore_here(const struct explore_opts *o, struct explore_sum *sum)
{
    struct message m = {0};

    trace_install_crash_handler();
    run_seed(o, seed_at(o, 0), &m);
    if (m.res.failed)
        dump_trace();
    add_result(o, sum, &m);
    if (o->verbose)
        fprintf(stderr, "trace hash %016" PRIx64 ", %" PRIu64 " events, %" PRIu64 " requests, %" PRIu64 " crashes\n",
                m.res.trace_hash, m.res.events, m.res.ops, m.res.crashes);
    return 0;
}

int explore(const struct explore_opts *opts, struct explore_sum *sum)
{
    struct run r = {.opts = opts, .sum = sum, .jobs = MIN(MAX(opts->jobs, 1u), JOBS_MAX)};

    memset(sum, 0, sizeof(*sum));
    log_set_level(opts->verbose ? LOG_LEVEL_DEBUG : LOG_LEVEL_ERROR);
    if (opts->seeds == 1 && opts->verbose)
        return explore_here(opts, sum);
    r.shared = mmap(NULL, sizeof(*r.shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (r.shared == MAP_FAILED || pipe2(r.pipe, O_CLOEXEC) != 0)
        return -errno;
    for (uint32_t i = 0; i < r.jobs; i++) {
        r.worker[i].stderr_fd = memfd_create("firn-sim", MFD_CLOEXEC);
        assert(r.worker[i].stderr_fd >= 0);
        worker_start(&r, i);
    }
    gather(&r);
    for (uint32_t i = 0; i < r.jobs; i++)
        close(r.worker[i].stderr_fd);
    close(r.pipe[0]);
    close(r.pipe[1]);
    munmap(r.shared, sizeof(*r.shared));
    return 0;
}
