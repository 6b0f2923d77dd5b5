/* SPDX-License-Identifier: Apache-2.0 */
/* quota.c: what of the places for copies a volume may have, and which it keeps.
 *
 * Counted by layer: copies that are in the index, and those on their way there.
 * - A volume that has its maximum gets a place for a copy of its own: a hand goes over the places and takes uses away from its
 *   copies, until one has none. While places are free, too.
 * - A volume that is over its maximum, because that was lowered or the places have become fewer, gives the next place that is wanted; of
 *   several that which is over most.
 * - Copies of a volume that has no more than its minimum stay where they are when somebody else wants a place; in the small queue they
 *   become main, where the hand passes them by. A segment that goes back to the log takes them along all the same.
 * A share in percent is one of the places that copies have, or could take now. It is counted anew now and then, not for each copy.
 * Failures: no copy of the volume found within a call's steps: the new one is dropped; the hand goes on from there.
 */
#include "tier/gate.h"
#include "tier/places.h"
#include "tier/priv.h"
#include "tier/quota.h"

#define LOOK_EVERY 32u           /* places taken between two looks at who is over most */
#define NO_LIMIT   UINT64_MAX
#define READ_MOSTLY   4u         /* a volume of which so many blocks are read for one that is written is hardly written */
#define ROOM_MIN      16u        /* of the cache, one block in so many is never called dirty: more than dirty_max lets in */
#define LATELY_BLOCKS (1u << 20) /* 4 GiB read, or written: what was before counts half */

static uint64_t share_blocks(const struct shard *s, const struct volume_share *sh)
{
    return sh->pct != 0 ? s->places.quota.base * sh->pct / 100 : sh->bytes / BLOCK_BYTES;
}

static bool share_set(const struct volume_share *sh) { return sh->pct != 0 || sh->bytes != 0; }

static uint64_t max_of(const struct shard *s, const struct layer *y)
{
    if (y->vol == NULL || !share_set(&y->vol->policy.cache_max))
        return NO_LIMIT;
    return MAX(share_blocks(s, &y->vol->policy.cache_max), UINT64_C(1));
}

static uint64_t min_of(const struct shard *s, const struct layer *y)
{
    return y->vol == NULL ? 0 : share_blocks(s, &y->vol->policy.cache_min);
}

/* ---- who has limits ---- */

void quota_init(struct shard *s)
{
    list_init(&s->places.quota.limited);
    s->places.quota.over = s->places.quota.taker = 0;
}

void quota_changed(struct shard *s, uint32_t l)
{
    struct layer *y = layer_at(s, l);
    struct quota *q = &s->places.quota;
    bool limited = y->vol != NULL && (share_set(&y->vol->policy.cache_min) || share_set(&y->vol->policy.cache_max));

    if (limited && list_empty(&y->limited))
        list_push_back(&q->limited, &y->limited);
    else if (!limited && !list_empty(&y->limited))
        list_remove(&y->limited);
    q->over = 0;
    q->looks = 0;
}

static void look(struct shard *s)
{
    struct quota *q = &s->places.quota;
    uint64_t most = 0;

    if (q->looks++ % LOOK_EVERY != 0)
        return;
    q->base = places_base(s);
    q->over = 0;
    list_for_each(n, &q->limited) {
        const struct layer *y = list_entry(n, struct layer, limited);
        uint64_t max = max_of(s, y), over = max < y->nr_copies ? y->nr_copies - max : 0;

        if (over > most) {
            most = over;
            q->over = (uint32_t)(y - s->layer);
        }
    }
}

/* ---- which copy goes ---- */

static uint32_t layer_of(const struct shard *s, uint32_t id)
{
    struct index_entry n;

    index_get(&s->ix, id, &n);
    return n.layer;
}

bool quota_spares(void *ctx, uint32_t id)
{
    const struct shard *s = ctx;
    const struct quota *q = &s->places.quota;
    uint32_t l;

    if (list_empty(&q->limited))
        return false;
    l = layer_of(s, id);
    return l != q->taker && layer_at(s, l)->nr_copies <= min_of(s, layer_at(s, l));
}

struct wanted { const struct shard *s; uint32_t layer; };

static bool is_of(void *ctx, uint32_t id)
{
    const struct wanted *w = ctx;

    return layer_of(w->s, id) == w->layer;
}

static bool evict_of(struct shard *s, uint32_t l)
{
    return slots_evict(&s->places.slots, is_of, &(struct wanted){s, l});
}

bool quota_has_room(struct shard *s, uint32_t l)
{
    const struct layer *y = layer_at(s, l);

    if (list_empty(&s->places.quota.limited))
        return true;
    look(s);
    return y->nr_copies + y->nr_filling < max_of(s, y);
}

bool quota_makes_room(struct shard *s, uint32_t l)
{
    struct layer *y = layer_at(s, l);
    struct quota *q = &s->places.quota;

    q->taker = l;
    if (list_empty(&q->limited))
        return true;
    look(s);
    if (y->nr_copies + y->nr_filling >= max_of(s, y))
        return evict_of(s, l);
    if (q->over != 0 && layer_at(s, q->over)->nr_copies <= max_of(s, layer_at(s, q->over)))
        q->over = 0;
    if (q->over != 0 && !slots_have_free(&s->places.slots))
        (void)evict_of(s, q->over);
    return true;
}

/* ---- what is copied ---- */

bool quota_admits(const struct shard *s, uint32_t l)
{
    const struct volume *v = layer_at(s, l)->vol;

    return v == NULL || (v->tier != VOLUME_HDD && v->policy.admit != VOLUME_ADMIT_NEVER);
}

/* The guard has no say there, and its copies tell it nothing. */
bool quota_own_rule(const struct shard *s, uint32_t l)
{
    const struct volume *v = layer_at(s, l)->vol;

    return v != NULL && v->policy.admit >= VOLUME_ADMIT_FIRST;
}

/* What is dirty nothing displaces, and what is written displaces copies; not where they have devices of their own. */
void quota_room(struct shard *s)
{
    struct admit *ad = &s->places.admit;

    if (!segpool_is_log_only(s->o.segpool))
        ad->room = MAX(ad->blocks - MIN(ad->blocks, shard_log_dirty(s)), ad->blocks / ROOM_MIN + 1);
}

static void written(struct shard *s, uint32_t nblocks)
{
    if (segpool_is_log_only(s->o.segpool))
        return;
    quota_room(s);
    admit_written(&s->places.admit, nblocks);
}

void quota_io(struct shard *s, uint32_t l, uint32_t nblocks, bool write)
{
    struct layer *y = layer_at(s, l);

    if (write)
        written(s, nblocks);
    y->lately[write] += nblocks;
    if (y->lately[write] < LATELY_BLOCKS)
        return;
    y->lately[0] /= 2;
    y->lately[1] /= 2;
}

struct admit_rules *quota_pool_rules(struct shard *s, uint32_t l)
{
    const struct layer *y = layer_at(s, l);

    return (uint64_t)y->lately[1] * READ_MOSTLY < y->lately[0] ? &s->places.read_rules : &s->places.rules;
}

struct admit_use *quota_use(struct shard *s, uint32_t l)
{
    return quota_own_rule(s, l) || quota_pool_rules(s, l) != &s->places.read_rules ? NULL : &layer_at(s, l)->use;
}

struct admit_rules *quota_rules(struct shard *s, uint32_t l, struct admit_rules *own)
{
    const struct volume *v = layer_at(s, l)->vol;
    struct admit_rules *pool = quota_own_rule(s, l) ? &s->places.rules : quota_pool_rules(s, l);

    if (v == NULL || (v->policy.admit == VOLUME_ADMIT_AUTO && v->policy.stream_cutoff == 0))
        return pool;
    *own = *pool;
    if (v->policy.stream_cutoff != 0)
        own->stream_blocks = v->policy.stream_cutoff / BLOCK_BYTES;
    if (!quota_own_rule(s, l))
        return own;
    own->touches = own->touches_min = v->policy.admit - VOLUME_ADMIT_FIRST + 1;
    if (v->policy.admit == VOLUME_ADMIT_FIRST)
        own->again = 1;
    return own;
}

/* ---- for tests ---- */

void quota_verify(const struct shard *s, const uint64_t *copies)
{
    uint32_t nr = 0;

    for (uint32_t l = 1; l <= s->layers_touched; l++) {
        const struct layer *y = &s->layer[l];

        assert(y->id == 0 || y->nr_copies == copies[l]);
        nr += y->id != 0 && !list_empty(&y->limited);
    }
    list_for_each(n, &s->places.quota.limited)
        nr--;
    assert(nr == 0);
}
