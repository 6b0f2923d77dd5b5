/* SPDX-License-Identifier: Apache-2.0 */
/* peer.c: a trace's requests through the peers' rules (peer.h), one after the other.
 *
 * 1. A request arrives at its time, or when the one before it is answered. If the disk has rested, it may clean until then.
 * 2. The request's stream is found: requests that follow each other in address and direction, 64 of them remembered.
 * 3. A write goes to the disk (no cache, write-through, a long stream, too much dirt) or into the cache.
 * 4. A read takes what is cached and reads the rest, run by run; then what was read is put into the cache.
 */
#include "tools/sim/peer.h"

#include "base/limits.h"
#include "rt/dev_model.h"
#include "tools/sim/peer_cache.h"

#include <stdlib.h>

#define STREAMS      64u
#define REST_NS      (20 * (int64_t)NS_PER_MS)
#define OCF_REST_NS  (10 * (int64_t)NS_PER_S)
#define HEADER_BYTES 4096u /* log header or metadata of one write to the SSD */
#define DENSE_TIMES  3u

struct rules {
    bool     caches, writes_back, ages;
    uint32_t line_bytes;
    uint64_t bypass_bytes;       /* streams longer than this go past the cache; 0: none do */
    bool     bypass_when_full;   /* and only once it is full */
    uint32_t clean_pct, hard_pct; /* of the room: cleaned down to; above it writes bypass. 100: never */
};

static const struct rules rules_of[PEER_NR] = {
    [PEER_HDD]    = {.line_bytes = BLOCK_BYTES},
    [PEER_WTLRU]  = {.caches = true, .line_bytes = BLOCK_BYTES},
    [PEER_BCACHE] = {true, true, false, BLOCK_BYTES, 4 * MIB, false, 10, 70},
    [PEER_BC64K]  = {true, true, false, 65536, 4 * MIB, false, 10, 70},
    [PEER_OCF]    = {true, true, true, BLOCK_BYTES, MIB, true, 0, 100},
    [PEER_OCF64K] = {true, true, true, 65536, MIB, true, 0, 100},
};

const char *peer_name(enum peer_kind k)
{
    static const char *const names[PEER_NR] = {
#define X(tag, name) [PEER_##tag] = name,
        PEERS(X)
#undef X
    };

    assert(k < PEER_NR);
    return names[k];
}

struct stream { uint64_t end_bytes, bytes, used; bool write; };

struct peer {
    const struct rules *r;
    const struct trace *t;
    struct peer_cache   c;
    struct stream       stream[STREAMS];
    uint32_t *fill;              /* blocks that the read at work brings in; some twice, when runs of it share a line */
    uint32_t  nr_fill;
    int64_t   last_done_ns;      /* of the requests so far */
    uint64_t *latency_ns;
};

/* ---- streams ---- */

static uint64_t stream_bytes(struct peer *p, const struct trace_req *q, uint64_t no)
{
    struct stream *at = NULL, *least = &p->stream[0];

    for (unsigned i = 0; i < STREAMS; i++) {
        struct stream *s = &p->stream[i];

        if (s->end_bytes == q->off_bytes && s->write == q->write && s->bytes != 0)
            at = s;
        if (s->used < least->used)
            least = s;
    }
    if (at == NULL) {
        at = least;
        *at = (struct stream){.write = q->write};
    }
    at->bytes += q->len_bytes;
    at->end_bytes = q->off_bytes + q->len_bytes;
    at->used = no;
    return at->bytes;
}

static bool bypasses(const struct peer *p, uint64_t stream)
{
    const struct rules *r = p->r;

    return r->bypass_bytes != 0 && stream >= r->bypass_bytes && !(r->bypass_when_full && p->c.nr_cached < p->c.room);
}

/* ---- cleaning at rest ---- */

static uint32_t pct(const struct peer *p, uint32_t part) { return (uint32_t)((uint64_t)p->c.room * part / 100); }

static void rest(struct peer *p, int64_t now)
{
    struct peer_cache *c = &p->c;

    while (p->r->writes_back && c->disk_free_ns < now - REST_NS && c->nr_dirty > pct(p, p->r->clean_pct)) {
        int64_t start = MAX(c->disk_free_ns, p->last_done_ns);

        if (p->r->ages && c->disk_free_ns < p->last_done_ns + OCF_REST_NS)
            start = p->last_done_ns + OCF_REST_NS;
        if (start >= now || !peer_clean(c, start, false))
            return;
    }
}

/* ---- writes ---- */

static int64_t ssd_write(struct peer *p, uint64_t bytes, uint64_t header)
{
    p->c.score->ssd_write_bytes += bytes + header;
    return (int64_t)dev_model_ssd_cost_ns(true, bytes);
}

static int64_t write_past(struct peer *p, int64_t now, const struct trace_req *q, uint32_t first, uint32_t n)
{
    for (uint32_t i = first; i < first + n; i++)
        if (p->c.b[i].cached)
            peer_drop(&p->c, i);
    return peer_disk(&p->c, now, true, q->off_bytes, q->len_bytes);
}

static int64_t put_all(struct peer *p, int64_t now, uint32_t first, uint32_t n)
{
    int64_t held = 0;

    for (uint32_t i = first; i < first + n; i++) {
        if (p->c.b[i].cached)
            peer_touch(&p->c, i);
        else
            held += peer_insert(&p->c, now, i);
        if (!p->r->writes_back)
            continue;
        p->c.nr_dirty += !p->c.b[i].dirty;
        p->c.b[i].dirty = true;
        p->c.b[i].written_ns = now;
    }
    return held;
}

static int64_t do_write(struct peer *p, int64_t now, const struct trace_req *q, uint32_t first, uint32_t n, uint64_t stream, bool timed)
{
    int64_t done;

    if (!p->r->caches || bypasses(p, stream) || (p->r->hard_pct < 100 && p->r->writes_back && p->c.nr_dirty > pct(p, p->r->hard_pct)))
        return write_past(p, now, q, first, n);
    if (!p->r->writes_back) {
        done = peer_disk(&p->c, now, true, q->off_bytes, q->len_bytes);
        ssd_write(p, (uint64_t)n * BLOCK_BYTES, 0);
        put_all(p, now, first, n);
        return done;
    }
    done = now + put_all(p, now, first, n);
    done += ssd_write(p, (uint64_t)n * BLOCK_BYTES, HEADER_BYTES);
    if (!p->r->ages && !timed && p->c.nr_dirty > pct(p, p->r->clean_pct))
        peer_clean(&p->c, done, false);
    return done;
}

/* ---- reads ---- */

static void fill_line(struct peer *p, uint32_t near, uint64_t from, uint64_t to)
{
    uint32_t i = near;

    while (i > 0 && p->c.b[i - 1].addr * BLOCK_BYTES >= from)
        i--;
    for (; i < p->c.nr && p->c.b[i].addr * BLOCK_BYTES < to; i++)
        if (!p->c.b[i].cached)
            p->fill[p->nr_fill++] = i;
}

/* Blocks first .. last are neighbours, and not cached. Lines are written whole, also what no request ever touches of them. */
static int64_t read_run(struct peer *p, int64_t now, uint32_t first, uint32_t last, bool past)
{
    uint64_t from = p->c.b[first].addr * BLOCK_BYTES, to = from + (uint64_t)(last - first + 1) * BLOCK_BYTES;
    uint32_t before = p->nr_fill;

    if (past)
        return peer_disk(&p->c, now, false, from, to - from);
    from = ROUND_DOWN(from, (uint64_t)p->r->line_bytes);
    to = ROUND_UP(to, (uint64_t)p->r->line_bytes);
    fill_line(p, first, from, to);
    p->c.score->ssd_write_bytes += to - from - (uint64_t)(p->nr_fill - before) * BLOCK_BYTES;
    return peer_disk(&p->c, now, false, from, to - from);
}

static int64_t fill_all(struct peer *p, int64_t now)
{
    int64_t held = 0;

    for (uint32_t k = 0; k < p->nr_fill; k++) {
        if (p->c.b[p->fill[k]].cached)
            continue;
        held += peer_insert(&p->c, now, p->fill[k]);
        p->c.score->ssd_write_bytes += BLOCK_BYTES;
    }
    p->nr_fill = 0;
    return held;
}

static int64_t do_read(struct peer *p, int64_t now, const struct trace_req *q, uint32_t first, uint32_t n, uint64_t stream)
{
    bool past = bypasses(p, stream);
    uint64_t hit_bytes = 0;
    int64_t done = now;

    p->c.score->blocks_read += n;
    if (!p->r->caches)
        return peer_disk(&p->c, now, false, q->off_bytes, q->len_bytes);
    for (uint32_t i = first; i < first + n;) {
        uint32_t last = i;

        if (p->c.b[i].cached) {
            peer_touch(&p->c, i++);
            hit_bytes += BLOCK_BYTES;
            continue;
        }
        while (last + 1 < first + n && !p->c.b[last + 1].cached)
            last++;
        done = read_run(p, now, i, last, past);
        i = last + 1;
    }
    p->c.score->blocks_hit += hit_bytes / BLOCK_BYTES;
    if (hit_bytes != 0)
        done = MAX(done, now + (int64_t)dev_model_ssd_cost_ns(false, hit_bytes));
    return done + fill_all(p, now);
}

/* ---- a run ---- */

static void request(struct peer *p, size_t i, bool closed)
{
    const struct trace_req *q = &p->t->req[i];
    bool timed = !closed && q->t_us >= 0;
    int64_t now = timed ? q->t_us * (int64_t)NS_PER_US : p->last_done_ns, done;
    uint32_t first = (uint32_t)trace_rank(p->t, trace_first(q)), n = (uint32_t)(trace_last(q) - trace_first(q) + 1);
    uint64_t stream;

    p->c.arrival_ns = now;
    if (timed)
        rest(p, now);
    stream = stream_bytes(p, q, i + 1);
    done = q->write ? do_write(p, now, q, first, n, stream, timed) : do_read(p, now, q, first, n, stream);
    p->latency_ns[i] = (uint64_t)(done - now);
    p->last_done_ns = MAX(done, now);
}

static int by_value(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;

    return (*x > *y) - (*x < *y);
}

static void sum_up(struct peer *p)
{
    uint64_t sum = 0;
    size_t nr = p->t->nr;

    for (size_t i = 0; i < nr; i++)
        sum += p->latency_ns[i];
    qsort(p->latency_ns, nr, sizeof(*p->latency_ns), by_value);
    p->c.score->mean_ns = (double)sum / (double)nr;
    p->c.score->p99_ns = p->latency_ns[nr * 99 / 100];
}

/* Every other block may be a run of its own, and each run bring in the lines at both of its ends. */
static size_t fills_max(const struct trace *t)
{
    const size_t line = 65536 / BLOCK_BYTES;
    size_t most = 0;

    for (size_t i = 0; i < t->nr; i++)
        most = MAX(most, (size_t)(trace_last(&t->req[i]) - trace_first(&t->req[i]) + 1));
    return (most + 1) * line;
}

void peer_run(enum peer_kind k, const struct trace *t, uint64_t ssd_bytes, bool closed, struct peer_score *out)
{
    struct peer *p = calloc(1, sizeof(*p));

    assert(p != NULL && k < PEER_NR);
    *out = (struct peer_score){0};
    p->r = &rules_of[k];
    p->t = t;
    peer_cache_init(&p->c, t, ssd_bytes, p->r->ages, out);
    p->fill = malloc(fills_max(t) * sizeof(*p->fill));
    p->latency_ns = malloc(t->nr * sizeof(*p->latency_ns));
    assert(p->fill != NULL && p->latency_ns != NULL);
    for (size_t i = 0; i < t->nr; i++)
        request(p, i, closed);
    peer_clean_all(&p->c);
    sum_up(p);
    peer_cache_fini(&p->c);
    free(p->fill);
    free(p->latency_ns);
    free(p);
}

bool peer_too_dense(const struct trace *t)
{
    uint64_t head = 0, seeks = 0, busy_ns = 0;
    int64_t last_us = -1;

    for (size_t i = 0; i < t->nr; i++) {
        const struct trace_req *q = &t->req[i];

        last_us = MAX(last_us, q->t_us);
        busy_ns += dev_model_hdd_cost_ns(t->end_bytes, &head, q->write, q->off_bytes, q->len_bytes, &seeks);
    }
    return last_us >= 0 && busy_ns > DENSE_TIMES * (uint64_t)last_us * NS_PER_US;
}

bool peer_closed(const struct trace *t, bool closed, bool open)
{
    return closed || !trace_timed(t) || (!open && peer_too_dense(t));
}
