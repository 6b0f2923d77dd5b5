/* SPDX-License-Identifier: Apache-2.0 */
/* sums.c: checksums and bitmaps of extents ('C' records), fetched when they are needed, in a bounded cache.
 *
 * sums_get pins the record if it is in RAM; else it starts a fetch and the waiter is called once it has ended, well or badly:
 * then the caller asks again (the world may have changed meanwhile). Without a waiter it only looks. A batch that commits
 * puts its version in here in the same pass; a fetch that was under way then is ignored when it comes, for it may carry
 * the version before.
 * Failures: a record that is missing or corrupt is READY with err: every block beneath the index fails, none is guessed.
 * Any other error says nothing about the record: those who wait are told, and the next one who asks has it fetched again.
 */
#include "tier/fetch.h"
#include "tier/priv.h"
#include "tier/sums.h"

static uint32_t *sums_head(struct shard *s, uint32_t x) { return &s->sums_hash[x * 2654435761u % (SUMS_CACHE * 2)]; }

void sums_init(struct shard *s)
{
    list_init(&s->sums_lru);
    list_init(&s->sums_blocked);
    s->sums_nr = 0;
}

static struct sums *sums_find(struct shard *s, uint32_t x)
{
    uint32_t i = *sums_head(s, x);

    while (i != 0 && s->sums[i].x != x)
        i = s->sums[i].hash_next;
    return i == 0 ? NULL : &s->sums[i];
}

static void sums_unhash(struct shard *s, struct sums *m)
{
    uint32_t *at = sums_head(s, m->x);

    while (*at != (uint32_t)(m - s->sums))
        at = &s->sums[*at].hash_next;
    *at = m->hash_next;
    m->x = EXTENT_NONE;
}

/* One that was never used, else the one unused for longest; NULL while every one is pinned or on its way. */
static struct sums *sums_spare(struct shard *s)
{
    struct sums *m;

    if (s->sums_nr < SUMS_CACHE) {
        m = &s->sums[++s->sums_nr];
        list_init(&m->waiters);
        list_push_back(&s->sums_lru, &m->lru);
        return m;
    }
    list_for_each(n, &s->sums_lru) {
        m = list_entry(n, struct sums, lru);
        if (m->pins == 0 && m->state != SUMS_LOADING && list_empty(&m->waiters))
            return m;
    }
    return NULL;
}

static struct sums *sums_take(struct shard *s, uint32_t x)
{
    struct sums *m = sums_spare(s);

    if (m == NULL)
        return NULL;
    if (m->x != EXTENT_NONE)
        sums_unhash(s, m);
    m->x = x;
    m->state = SUMS_FREE;
    m->err = 0;
    m->load = NULL;
    m->hash_next = *sums_head(s, x);
    *sums_head(s, x) = (uint32_t)(m - s->sums);
    list_remove(&m->lru);
    list_push_back(&s->sums_lru, &m->lru);
    return m;
}

static void wake(struct list *waiters)
{
    struct list ready;
    struct list *n;

    list_init(&ready);
    list_splice_back(&ready, waiters);
    while ((n = list_pop_front(&ready)) != NULL) {
        struct sums_waiter *w = list_entry(n, struct sums_waiter, node);

        w->fn(w);
    }
}

bool sums_lost(const struct sums *m) { return m->err == -FIRN_E_CORRUPT || m->err == -FIRN_E_NOT_FOUND; }

static int sums_decode(int err, const void *buf, uint32_t len, struct extent_sums *out)
{
    return err != 0 ? err : extent_sums_decode(buf, len, out);
}

static void sums_loaded(struct meta_get_req *req)
{
    struct sums_load *l = container_of(req, struct sums_load, req);
    struct shard *s = l->s;
    struct sums *m = l->to;

    if (m->load == l) {
        m->err = sums_decode(req->err, l->buf, req->len, &m->v);
        m->load = NULL;
    }
    m->state = m->x == EXTENT_NONE ? SUMS_FREE : SUMS_READY;
    pool_put(&s->sums_loads, l);
    m->pins++; /* waiters may ask for others: not at this one's expense before each had its turn */
    wake(&m->waiters);
    if (m->err != 0 && !sums_lost(m) && m->x != EXTENT_NONE)
        sums_unhash(s, m);
    sums_put(s, m);
}

static void sums_fetch(struct shard *s, struct sums *m, struct sums_load *l)
{
    struct extent *e = extent_at(&s->xt, m->x);

    l->s = s;
    l->to = m;
    l->req = (struct meta_get_req){.key = meta_key_sums(layer_at(s, e->layer)->id, e->no), .buf = l->buf, .env = s->env,
                                   .cb = sums_loaded};
    m->load = l;
    m->state = SUMS_LOADING;
    meta_get(s->o.meta, &l->req);
}

struct sums *sums_get(struct shard *s, uint32_t x, struct sums_waiter *w)
{
    struct sums *m = sums_find(s, x);

    if (m != NULL && m->state == SUMS_READY) {
        m->pins++;
        list_remove(&m->lru);
        list_push_back(&s->sums_lru, &m->lru);
        return m;
    }
    if (w == NULL)
        return NULL;
    if (m == NULL && !pool_is_empty(&s->sums_loads) && (m = sums_take(s, x)) != NULL)
        sums_fetch(s, m, pool_get(&s->sums_loads));
    list_push_back(m != NULL ? &m->waiters : &s->sums_blocked, &w->node);
    return NULL;
}

void sums_put(struct shard *s, struct sums *m)
{
    assert(m->pins > 0);
    if (--m->pins == 0 && !list_empty(&s->sums_blocked))
        wake(&s->sums_blocked);
}

void sums_set(struct shard *s, uint32_t x, const struct extent_sums *v)
{
    struct sums *m = sums_find(s, x);

    fetch_forget_changed(s, x, v);
    if (m == NULL && (m = sums_take(s, x)) == NULL)
        return;
    m->v = *v;
    m->err = 0;
    m->load = NULL;
    if (m->state == SUMS_FREE)
        m->state = SUMS_READY;
}

void sums_drop(struct shard *s, uint32_t x)
{
    struct sums *m = sums_find(s, x);

    fetch_forget_extent(s, x);
    if (m == NULL)
        return;
    /* Somebody may still look at it, or it may be on its way: the extent's next life must not find it. */
    sums_unhash(s, m);
    m->load = NULL;
}

int sums_get_sync(struct shard *s, uint32_t x, struct sums **out)
{
    struct extent *e = extent_at(&s->xt, x);
    struct sums *m = sums_find(s, x);
    struct meta_key key = meta_key_sums(layer_at(s, e->layer)->id, e->no);
    uint8_t buf[META_VALUE_MAX];
    uint32_t len = 0;
    int err;

    if (m == NULL) {
        m = sums_take(s, x);
        assert(m != NULL); /* nothing is pinned yet */
        err = s->o.meta->ops->get_sync(s->o.meta, &key, buf, &len);
        m->err = sums_decode(err, buf, len, &m->v);
        m->state = SUMS_READY;
    }
    *out = m;
    err = sums_lost(m) ? 0 : m->err;
    if (err != 0)
        sums_unhash(s, m);
    return err;
}
