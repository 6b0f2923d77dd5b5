/* SPDX-License-Identifier: Apache-2.0 */
/* metrics.h: counters, gauges and histograms that the HTTP threads read while reactors write.
 *
 * A series has one writer thread; updates are relaxed atomic stores, no lock. Registration and removal take a lock and
 * happen off the data path. The page is rendered from the registry: names, help and labels live in one place.
 */
#ifndef FIRN_RT_METRICS_H
#define FIRN_RT_METRICS_H

#include "base/list.h"
#include "base/strbuf.h"
#include "base/types.h"

struct metric_counter { _Atomic uint64_t v; };
struct metric_gauge   { _Atomic int64_t v; };

/* Latency histogram: buckets of 2 a power of two from 1 us to 64 s; sum in ns. */
#define METRIC_HIST_BUCKETS 54
struct metric_hist { _Atomic uint64_t bucket[METRIC_HIST_BUCKETS], count, sum_ns; };

static inline void metric_add(struct metric_counter *c, uint64_t n)
{
    __atomic_store_n((uint64_t *)&c->v, __atomic_load_n((uint64_t *)&c->v, __ATOMIC_RELAXED) + n, __ATOMIC_RELAXED);
}
static inline uint64_t metric_get(const struct metric_counter *c)
{
    return __atomic_load_n((const uint64_t *)&c->v, __ATOMIC_RELAXED);
}
static inline void metric_set(struct metric_gauge *g, int64_t v) { __atomic_store_n((int64_t *)&g->v, v, __ATOMIC_RELAXED); }
void metric_observe_ns(struct metric_hist *h, uint64_t ns);
/* Adds what h has seen so far to sum, which is the caller's alone: one series over several writers. */
void metric_hist_add(struct metric_hist *sum, const struct metric_hist *h);
/* Upper bound in ns of the bucket that holds quantile q (0..1) of h; 0 if empty. */
uint64_t metric_quantile_ns(const struct metric_hist *h, double q);

enum metric_type { METRIC_COUNTER, METRIC_GAUGE, METRIC_HIST, METRIC_COUNTER_FN, METRIC_GAUGE_FN };

struct metric {             /* embedded or allocated by the owner; registered until metric_unregister */
    const char      *name;  /* "firn_device_ops_total"; series of one name share type and help */
    const char      *help;
    char             labels[256]; /* rendered: device="/dev/sdb",op="read"; values escaped by metric_labels() */
    enum metric_type type;
    union {
        struct metric_counter *counter;
        struct metric_gauge   *gauge;
        struct metric_hist    *hist;
        double (*fn)(void *ctx);   /* called on an HTTP thread: must be safe there */
    } src;
    void            *ctx;
    struct list      node;
};

/* Escapes and joins up to eight name/value pairs, NULL-terminated, into m->labels. */
void metric_labels(struct metric *m, const char *name, ...) __attribute__((sentinel));
void metric_register(struct metric *m);
void metric_unregister(struct metric *m);
/* Owners of many like series (one set a volume) print them at render time instead of keeping a struct metric for each. */
struct metric_collector {
    void (*render)(struct metric_collector *c, struct strbuf *out); /* on an HTTP thread; prints HELP, TYPE and series */
    struct list node;
};
void metric_collector_register(struct metric_collector *c);
void metric_collector_unregister(struct metric_collector *c); /* returns when no render runs in it */
/* For collectors: prints the buckets, sum and count of h under name with these rendered labels. */
void metric_hist_render(struct strbuf *out, const char *name, const char *labels, const struct metric_hist *h);

/* The whole page in Prometheus text format 0.0.4; series of a name stand together. */
void metrics_render(struct strbuf *out);

#endif
