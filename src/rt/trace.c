/* SPDX-License-Identifier: Apache-2.0 */
/* trace.c: a ring of events a thread, found by the crash handler through a fixed table.
 *
 * A thread's first event allocates its ring; a thread without a place in the table, or without memory, is not traced.
 * The handler runs in a broken process: it only reads rings, formats by hand and calls write(2). A thread that is still
 * running may overwrite an event while it is printed; last words may be slightly wrong, but they must not hang.
 */
#include "rt/trace.h"

#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#define RING_EVENTS  4096u /* a power of two; 128 KiB a thread */
#define THREADS_MAX  256u
#define CRASH_EVENTS 64u /* of each thread, in the last words */

struct event { uint64_t point, a, b, c; };
struct ring {
    uint64_t     next; /* events ever stored */
    struct event ev[RING_EVENTS];
};

static const char *const names[TRACE_NR] = {
#define X(tag, args) #tag,
    TRACE_POINTS(X)
#undef X
};
static const char *const arg_names[TRACE_NR] = {
#define X(tag, args) args,
    TRACE_POINTS(X)
#undef X
};

static _Atomic(struct ring *) rings[THREADS_MAX];
static __thread struct ring *mine;
static __thread bool refused;
static pthread_key_t exit_key;
static pthread_once_t exit_once = PTHREAD_ONCE_INIT;

static void ring_free(void *p)
{
    for (size_t i = 0; i < THREADS_MAX; i++)
        if (atomic_load(&rings[i]) == p)
            atomic_store(&rings[i], NULL);
    mine = NULL;
    free(p);
}

static void exit_key_make(void)
{
    pthread_key_create(&exit_key, ring_free);
}

static struct ring *ring_new(void)
{
    struct ring *r;

    pthread_once(&exit_once, exit_key_make);
    r = calloc(1, sizeof(*r));
    for (size_t i = 0; r != NULL && i < THREADS_MAX; i++) {
        struct ring *none = NULL;

        if (atomic_compare_exchange_strong(&rings[i], &none, r)) {
            pthread_setspecific(exit_key, r);
            return mine = r;
        }
    }
    free(r);
    refused = true;
    return NULL;
}

void trace(enum trace_point point, uint64_t a, uint64_t b, uint64_t c)
{
    struct ring *r = mine;

    if (__builtin_expect(r == NULL, 0)) {
        r = refused ? NULL : ring_new();
        if (r == NULL)
            return;
    }
    r->ev[r->next++ % RING_EVENTS] = (struct event){point, a, b, c};
}

/* The first of the last `nr` events that the ring still holds. */
static uint64_t first_event(const struct ring *r, uint64_t nr)
{
    nr = MIN(MIN(nr, RING_EVENTS), r->next);
    return r->next - nr;
}

void trace_dump(struct strbuf *out, uint32_t nr)
{
    const struct ring *r = mine;

    if (r == NULL)
        return;
    for (uint64_t i = first_event(r, nr); i < r->next; i++) {
        const struct event *e = &r->ev[i % RING_EVENTS];

        assert(e->point < TRACE_NR);
        strbuf_add(out, "%" PRIu64 " %s (%s) %" PRIu64 " %" PRIu64 " %" PRIu64 "\n", i, names[e->point],
                   arg_names[e->point], e->a, e->b, e->c);
    }
}

/* ---- last words -------------------------------------------------------------------------------------------------- */

static size_t put_text(char *buf, const char *s)
{
    size_t n = strlen(s);

    memcpy(buf, s, n);
    return n;
}

static size_t put_number(char *buf, uint64_t v)
{
    char digits[20];
    size_t n = 0, len = 0;

    do
        digits[n++] = (char)('0' + v % 10);
    while (v /= 10);
    buf[len++] = ' ';
    while (n > 0)
        buf[len++] = digits[--n];
    return len;
}

static void crash_write(const char *buf, size_t len)
{
    if (write(STDERR_FILENO, buf, len) < 0)
        return; /* nobody is left to tell */
}

static void crash_event(size_t thread, const struct event *e)
{
    char line[256];
    size_t n = put_text(line, "level=error msg=trace thread=");

    n += put_number(line + n, thread);
    n += put_text(line + n, " event=");
    n += put_text(line + n, e->point < TRACE_NR ? names[e->point] : "?");
    n += put_number(line + n, e->a);
    n += put_number(line + n, e->b);
    n += put_number(line + n, e->c);
    line[n++] = '\n';
    crash_write(line, n);
}

static void crash_handler(int sig)
{
    for (size_t t = 0; t < THREADS_MAX; t++) {
        const struct ring *r = atomic_load(&rings[t]);

        if (r == NULL)
            continue;
        for (uint64_t i = first_event(r, CRASH_EVENTS); i < r->next; i++)
            crash_event(t, &r->ev[i % RING_EVENTS]);
    }
    raise(sig); /* the default action, since SA_RESETHAND; delivered when the handler returns */
}

void trace_install_crash_handler(void)
{
    static const int fatal[] = {SIGABRT, SIGSEGV, SIGBUS, SIGILL, SIGFPE};
    struct sigaction sa = {.sa_handler = crash_handler, .sa_flags = (int)(SA_RESETHAND | SA_NODEFER)};

    sigemptyset(&sa.sa_mask);
    for (size_t i = 0; i < ARRAY_LEN(fatal); i++)
        sigaction(fatal[i], &sa, NULL);
}
