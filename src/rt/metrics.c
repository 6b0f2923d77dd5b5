/* SPDX-License-Identifier: Apache-2.0 */
/* metrics.c: the registry behind /metrics, and its page in Prometheus text format 0.0.4.
 *
 * One list, kept so that series of a name are neighbours; one mutex around registration, removal and rendering. Reactors
 * never take it on the data path: they store into their own counters, and a render reads those with relaxed loads.
 */
#include "rt/metrics.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct list metrics = {&metrics, &metrics};
static struct list collectors = {&collectors, &collectors};

/* ---- histograms -------------------------------------------------------------------------------------------------- */

/* Upper bound of bucket i: 1, 1.5, 2, 3, 4, 6 ... us; the last one holds all that is above. */
static uint64_t bucket_bound_ns(unsigned i)
{
    uint64_t base = NS_PER_US << (i / 2);

    return i % 2 ? base + base / 2 : base;
}

static unsigned bucket_of(uint64_t ns)
{
    unsigned k, i;

    if (ns <= NS_PER_US)
        return 0;
    k = 63u - (unsigned)__builtin_clzll((ns - 1) / NS_PER_US); /* 2^k us < ns <= 2^(k+1) us */
    i = 2 * k + 1;
    if (i >= METRIC_HIST_BUCKETS - 1)
        return METRIC_HIST_BUCKETS - 1;
    return ns <= bucket_bound_ns(i) ? i : i + 1;
}

/* One writer: load and store, no locked instruction. */
static void bump(_Atomic uint64_t *v, uint64_t n)
{
    atomic_store_explicit(v, atomic_load_explicit(v, memory_order_relaxed) + n, memory_order_relaxed);
}

void metric_observe_ns(struct metric_hist *h, uint64_t ns)
{
    bump(&h->bucket[bucket_of(ns)], 1);
    bump(&h->sum_ns, ns);
    bump(&h->count, 1);
}

void metric_hist_add(struct metric_hist *sum, const struct metric_hist *h)
{
    for (unsigned i = 0; i < METRIC_HIST_BUCKETS; i++)
        bump(&sum->bucket[i], atomic_load_explicit(&h->bucket[i], memory_order_relaxed));
    bump(&sum->sum_ns, atomic_load_explicit(&h->sum_ns, memory_order_relaxed));
    bump(&sum->count, atomic_load_explicit(&h->count, memory_order_relaxed));
}

uint64_t metric_quantile_ns(const struct metric_hist *h, double q)
{
    uint64_t seen = 0, total = 0, v[METRIC_HIST_BUCKETS];
    unsigned i;

    for (i = 0; i < METRIC_HIST_BUCKETS; i++)
        total += v[i] = atomic_load_explicit(&h->bucket[i], memory_order_relaxed);
    if (total == 0)
        return 0;
    for (i = 0; i < METRIC_HIST_BUCKETS - 1; i++) {
        seen += v[i];
        if (seen > 0 && (double)seen >= q * (double)total)
            break;
    }
    return bucket_bound_ns(i);
}

void metric_hist_render(struct strbuf *out, const char *name, const char *labels, const struct metric_hist *h)
{
    const char *comma = labels[0] ? "," : "", *open = labels[0] ? "{" : "", *close = labels[0] ? "}" : "";
    uint64_t cumulative = 0;

    for (unsigned i = 0; i < METRIC_HIST_BUCKETS; i++) {
        cumulative += atomic_load_explicit(&h->bucket[i], memory_order_relaxed);
        if (i + 1 < METRIC_HIST_BUCKETS)
            strbuf_add(out, "%s_bucket{%s%sle=\"%.7g\"} %" PRIu64 "\n", name, labels, comma,
                       (double)bucket_bound_ns(i) / 1e9, cumulative);
        else
            strbuf_add(out, "%s_bucket{%s%sle=\"+Inf\"} %" PRIu64 "\n", name, labels, comma, cumulative);
    }
    strbuf_add(out, "%s_sum%s%s%s %.9f\n", name, open, labels, close,
               (double)atomic_load_explicit(&h->sum_ns, memory_order_relaxed) / 1e9);
    strbuf_add(out, "%s_count%s%s%s %" PRIu64 "\n", name, open, labels, close, cumulative);
}

/* ---- labels ------------------------------------------------------------------------------------------------------ */

/* Appends one character if it and the final NUL fit; false: it does not. */
static bool put(char *s, size_t cap, size_t *len, char c)
{
    if (*len + 1 >= cap)
        return false;
    s[(*len)++] = c;
    s[*len] = '\0';
    return true;
}

static bool put_text(char *s, size_t cap, size_t *len, const char *text)
{
    for (; *text; text++)
        if (!put(s, cap, len, *text))
            return false;
    return true;
}

static bool put_escaped(char *s, size_t cap, size_t *len, const char *text)
{
    for (; *text; text++) {
        bool special = *text == '\\' || *text == '"' || *text == '\n';

        if (special && !put(s, cap, len, '\\'))
            return false;
        if (!put(s, cap, len, *text == '\n' ? 'n' : *text))
            return false;
    }
    return true;
}

/* A pair that does not fit is left out whole: half a label would spoil the page. */
void metric_labels(struct metric *m, const char *name, ...)
{
    size_t len = 0, cap = sizeof(m->labels);
    va_list ap;

    m->labels[0] = '\0';
    va_start(ap, name);
    for (int pairs = 0; name != NULL && pairs < 8; pairs++, name = va_arg(ap, const char *)) {
        const char *value = va_arg(ap, const char *);
        size_t before = len;

        if ((len > 0 && !put(m->labels, cap, &len, ',')) || !put_text(m->labels, cap, &len, name) ||
            !put_text(m->labels, cap, &len, "=\"") || !put_escaped(m->labels, cap, &len, value) ||
            !put(m->labels, cap, &len, '"')) {
            len = before;
            m->labels[len] = '\0';
        }
    }
    va_end(ap);
}

/* ---- registry ---------------------------------------------------------------------------------------------------- */

void metric_register(struct metric *m)
{
    struct list *after = metrics.prev;

    assert(m->name != NULL && m->help != NULL);
    pthread_mutex_lock(&lock);
    after = metrics.prev;
    list_for_each(n, &metrics) {
        const struct metric *x = list_entry(n, struct metric, node);

        if (strcmp(x->name, m->name) != 0)
            continue;
        assert(x->type == m->type);
        after = n; /* the last one of that name */
    }
    list_add_between(&m->node, after, after->next);
    pthread_mutex_unlock(&lock);
}

void metric_unregister(struct metric *m)
{
    pthread_mutex_lock(&lock);
    list_remove(&m->node);
    pthread_mutex_unlock(&lock);
}

void metric_collector_register(struct metric_collector *c)
{
    assert(c->render != NULL);
    pthread_mutex_lock(&lock);
    list_push_back(&collectors, &c->node);
    pthread_mutex_unlock(&lock);
}

void metric_collector_unregister(struct metric_collector *c)
{
    pthread_mutex_lock(&lock); /* renders run under it */
    list_remove(&c->node);
    pthread_mutex_unlock(&lock);
}

/* ---- the page ---------------------------------------------------------------------------------------------------- */

static const char *type_name(enum metric_type t)
{
    switch (t) {
    case METRIC_COUNTER:
    case METRIC_COUNTER_FN:
        return "counter";
    case METRIC_GAUGE:
    case METRIC_GAUGE_FN:
        return "gauge";
    case METRIC_HIST:
        return "histogram";
    }
    return "untyped";
}

static void series_render(struct strbuf *out, const struct metric *m)
{
    if (m->type == METRIC_HIST) {
        metric_hist_render(out, m->name, m->labels, m->src.hist);
        return;
    }
    strbuf_add(out, m->labels[0] ? "%s{%s} " : "%s%s ", m->name, m->labels);
    switch (m->type) {
    case METRIC_COUNTER:
        strbuf_add(out, "%" PRIu64 "\n", metric_get(m->src.counter));
        break;
    case METRIC_GAUGE:
        strbuf_add(out, "%" PRId64 "\n", atomic_load_explicit(&m->src.gauge->v, memory_order_relaxed));
        break;
    case METRIC_COUNTER_FN:
    case METRIC_GAUGE_FN:
        strbuf_add(out, "%.17g\n", m->src.fn(m->ctx));
        break;
    case METRIC_HIST:
        break;
    }
}

void metrics_render(struct strbuf *out)
{
    const char *name = "";

    pthread_mutex_lock(&lock);
    list_for_each(n, &metrics) {
        const struct metric *m = list_entry(n, struct metric, node);

        if (strcmp(name, m->name) != 0)
            strbuf_add(out, "# HELP %s %s\n# TYPE %s %s\n", m->name, m->help, m->name, type_name(m->type));
        name = m->name;
        series_render(out, m);
    }
    list_for_each(n, &collectors) {
        struct metric_collector *c = list_entry(n, struct metric_collector, node);

        c->render(c, out);
    }
    pthread_mutex_unlock(&lock);
}
