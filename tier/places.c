/* SPDX-License-Identifier: Apache-2.0 */
/* places.c: segments of places for clean copies: taken from the pool, and given back to the log. Their tables: places_table.c.
 *
 * Taken: places run short, and more segments are free than reclaim wants to see free, or, while the log rests, than it keeps
 *   for moves: the header is made durable, then its places are given out. No segment is free: copies are evicted; now and then
 *   reclaim is asked for a log segment that is cheap to empty.
 * Given back: reclaim finds that it costs less than emptying a segment of the log: nothing more is given out, its copies are
 *   dropped, and when no read and no write is under way there it is free, at once and without a batch: losing copies loses nothing.
 * Where copies have devices of their own, they use no segment of the log: those devices' segments are taken while there are any, and
 *   given back only to another shard that has less than its share.
 * Failures: places_dev.c.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "tier/fill.h"
#include "tier/map.h"
#include "tier/places.h"
#include "tier/priv.h"
#include "tier/quota.h"
#include "tier/reclaim.h"
#include "tier/sums.h"
#include "tier/twin.h"

#define SMALL_PCT     10u
#define ALONG_SMALL_PCT 4u       /* where only what came along is in it: with 10 the disks are busy 543 and 1100 s, not 539 and 1038 */
#define TINY_BLOCKS   (64u * CHUNK_BLOCKS) /* a cache of fewer holds nothing until its second miss within a turn */
#define CHUNKS_SMALL_PCT 50u     /* where whole chunks come at their first miss, or in such a cache */
#define PLACES_AHEAD  64u        /* fewer that were never used: time for another segment */
#define ASK_AT        128u              /* copies that go, and a segment of the log may be worth less than what goes; */
#define ASK_READ      4u         /* one that was read counts for so many */
#define FREE_SHARE    4u         /* of the cache, one block in so many free for copies: they no longer displace each other */
#define SAMPLES       64u        /* places of a segment that are looked at to guess how hot it is */
#define LOG_QUIET_NS  (10 * NS_PER_S) /* the log took no segment for so long: what reclaim wants to see free may hold copies, */
#define LOG_REST_NS   (60 * NS_PER_S) /* and after so long what it keeps for moves as well */
#define READ_TURNS    5u         /* of the cache: what was missed is remembered so long where hardly anything is written */
#define NO_SEGMENT    UINT32_MAX

/* ---- birth and end ---- */

/* A copy went for another one, or found no place. */
static void ask_for_segment(struct shard *s, uint32_t weight)
{
    struct places *p = &s->places;

    p->asks += weight;
    if (p->asks < ASK_AT && p->slots.nr_places > 0)
        return;
    p->asks = 0;
    if (segpool_is_log_only(s->o.segpool)) {
        journal_slots_ask(s->j);
        return;
    }
    p->wants_segment = true;
    shard_kick(s);
}

void places_ask(struct shard *s) { ask_for_segment(s, 1); }

/* Those that were used are main. */
static void evict(void *ctx, uint32_t id)
{
    struct shard *s = ctx;
    struct places *p = &s->places;
    const struct admit_use *use;
    struct admit_rules own;
    struct index_entry n;
    bool read;

    index_get(&s->ix, id, &n);
    read = (n.flags & INDEX_MAIN) != 0;
    use = quota_use(s, n.layer);
    if (use == NULL || !use->chunks) /* most of a chunk goes unread: no reason to ask for more misses */
        admit_evicted(&p->admit, quota_own_rule(s, n.layer) ? quota_rules(s, n.layer, &own) : quota_pool_rules(s, n.layer), n.layer,
                      n.block, read);
    if (read)
        figure_add(&s->stats.evicted_read, 1);
    else
        figure_add(&s->stats.evicted_unread, 1);
    ask_for_segment(s, read ? ASK_READ : 1);
    places_drop(s, id);
}

static int tables_init(struct shard *s)
{
    struct places *p = &s->places;
    size_t bytes = TABLE_WRITES * BLOCK_BYTES;

    p->table_bufs = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p->table_bufs == MAP_FAILED) {
        p->table_bufs = NULL;
        return -ENOMEM;
    }
    for (uint32_t i = 0; i < TABLE_WRITES; i++) {
        p->table_write[i].s = s;
        p->table_write[i].buf = p->table_bufs + i * BLOCK_BYTES;
    }
    return 0;
}

uint32_t places_segments(const struct shard *s)
{
    return segpool_segments(s->o.segpool) - (segpool_is_log_only(s->o.segpool) ? s->log_segments : 0);
}

/* Of all that may hold copies, the shard's share. */
static uint64_t cache_blocks(const struct shard *s)
{
    return MAX((uint64_t)places_segments(s) * s->ix.slots_per_segment / segpool_geometry(s->o.segpool)->nr_shards, UINT64_C(1));
}

static bool tiny(const struct shard *s) { return cache_blocks(s) < TINY_BLOCKS; }

/* Such a cache (no real SSD is that small) does as a second, larger RAM: what is fetched goes there at once, whole, the guard has no say,
 * and half of it is the small queue. A hundredth of what two workstation disks and a search engine touch, HDD s, blocks at their second
 * miss and so: 1005, 827; 2147, 1859; 214, 182. The price is writes: 6496 MiB of the first. Where writes are to be spared,
 * chunks come at their second miss: 902 s / 1966 MiB, 2017 / 5115 and 195 / 243. */
static void tiny_rules(struct admit_rules *r, const struct admit_rules *pool)
{
    *r = *pool;
    r->window = UINT32_MAX;
    if (pool->by_block)
        r->by_block = false;
    else
        r->touches = r->touches_min = 1;
}

/* Where nearly all is read, what is copied is all that the SSD wears by, and a chunk's other blocks are hardly worth it: of those that two
 * workstation disks filled, one in six was read before it went (a quarter on a server that writes more than it reads). There a block is
 * worth it at its second miss, however often RAM was asked for it, and its first one is remembered for as long as the table has room, also
 * once copies displace each other. With it come those of its chunk that were asked for before: on trial, in a small queue of 4 %. A tenth
 * of what they touch as cache, HDD s / SSD MiB: whole chunks 562 / 958, 1105 / 1625; so 538 / 536, 1035 / 1649; blocks alone 551 / 194,
 * 975 / 691; these with first misses remembered for two turns only once copies displace each other 568 / 91, 928 / 459. */
void places_retune(struct shard *s)
{
    struct admit_rules set = {.by_block = s->t.admit_blocks, .touches_min = s->t.admit_touches, .again = s->t.admit_again,
                              .asked_turns = s->t.admit_turns, .stream_blocks = s->t.stream_cutoff / BLOCK_BYTES};

    admit_rules_init(&s->places.rules, cache_blocks(s), &set);
    if (!set.by_block) {
        set.by_block = true;
        set.again = ADMIT_AGAIN_NEVER;
        set.asked_turns = MAX(set.asked_turns, READ_TURNS);
        set.along = true;
    }
    admit_rules_init(&s->places.read_rules, cache_blocks(s), &set);
    if (tiny(s))
        tiny_rules(&s->places.read_rules, &s->places.rules);
}

int places_init(struct shard *s)
{
    const struct segpool_geometry *geo = segpool_geometry(s->o.segpool);
    struct places *p = &s->places;
    uint64_t seed;
    int err = slot_table_init(&p->table, geo, segpool_segments(s->o.segpool));

    env_random(s->env, &seed, sizeof(seed));
    if (!err)
        err = slots_init(&p->slots, &s->ix, p->table.layout.first_unit / JOURNAL_UNITS_PER_BLOCK,
                         CHUNKS_SMALL_PCT, evict, s);
    err = err ? err : admit_init(&p->admit, cache_blocks(s), seed);
    err = err ? err : pool_init(&p->fills, sizeof(struct fill), 16, FILLS_MAX);
    err = err ? err : tables_init(s);
    places_retune(s);
    if (!err && !tiny(s))
        slots_small_share(&p->slots, SMALL_PCT);
    quota_init(s);
    p->slots.spares = quota_spares;
    p->closing = p->leave_from = NO_SEGMENT;
    p->table_look_ns = UINT64_MAX;
    return err;
}

void places_fini(struct shard *s)
{
    struct places *p = &s->places;

    if (p->slots.seg != NULL)
        slots_fini(&p->slots);
    slot_table_fini(&p->table);
    admit_fini(&p->admit);
    pool_abandon(&p->fills);
    if (p->table_bufs != NULL)
        munmap(p->table_bufs, TABLE_WRITES * BLOCK_BYTES);
}

/* ---- taking segments ---- */

static bool short_of_places(const struct slots *sl)
{
    uint32_t nr = 0;

    list_for_each(n, &sl->with_free) {
        const struct slots_seg *g = list_entry(n, struct slots_seg, with_free);

        nr += g->fresh < sl->per_segment ? sl->per_segment - g->fresh : 1;
        if (nr >= PLACES_AHEAD)
            return false;
    }
    return true;
}

/* Segments that must stay free. They come back when the log goes on: copies need no batch and no device to go, and reclaim finds
 * them whatever waits. So while the log rests its own reserve is enough, and where it has long rested, or nothing was ever written, none is
 * kept at all: of a small cache for reads those few are some percent. */
static uint32_t keep_free(const struct shard *s)
{
    uint32_t busy = reclaim_free_target(s) + 1;
    uint64_t now = env_now_ns(s->env), took = s->places.log_took_ns;

    if (took == 0 || now >= took + LOG_REST_NS)
        return 0;
    return now < took + LOG_QUIET_NS ? busy : MIN(busy, s->reserve_segments + 1);
}

uint32_t places_possible(const struct shard *s)
{
    const struct segpool *p = s->o.segpool;
    uint32_t nr = 0, keep = keep_free(s);

    if (!segpool_is_log_only(p))
        nr = segpool_area_free_nr(p, 0) > keep ? segpool_area_free_nr(p, 0) - keep : 0;
    for (uint32_t a = 1; a < segpool_areas(p); a++)
        nr += segpool_area_free_nr(p, a);
    return nr / segpool_geometry(p)->nr_shards;
}

/* Who wants a place says how long the small queue may be meanwhile. A tenth is one of the whole cache, wherever its boundary with the log
 * lies: the time in which a copy has to be used again is the cache's, and where the log has most of it a tenth of the rest would be over
 * before. */
static uint32_t small_pct(struct shard *s, uint32_t layer)
{
    const struct admit_use *use = quota_use(s, layer);
    bool along = use != NULL && s->places.read_rules.along;

    if (tiny(s) || (along && use->chunks))
        return CHUNKS_SMALL_PCT;
    return along ? ALONG_SMALL_PCT : slots_small_pct(&s->places.slots, cache_blocks(s), SMALL_PCT);
}

uint64_t places_base(const struct shard *s)
{
    const struct slots *sl = &s->places.slots;

    return sl->nr_places + (uint64_t)places_possible(s) * (sl->per_segment - sl->first_slot);
}

/* Full from the first copy on that had no free place, until so much is free that it takes long to fill: segments that the log gives, and
 * soon wants back, are no reason to take what was not worth a place before. So it is a part of the whole cache: where much is written the
 * log has nearly all of that, and all that copies have is now and then free. */
static void full_look(struct shard *s)
{
    const struct slots *sl = &s->places.slots;
    uint64_t base = places_base(s), free = base - MIN(base, sl->nr_used + sl->nr_taken);

    if (free * FREE_SHARE >= cache_blocks(s))
        s->places.admit.full = false;
    else if (!slots_have_free(sl))
        s->places.admit.full = true;
}

uint32_t places_take(struct shard *s, uint32_t layer, enum fill_kind kind)
{
    struct slots *sl = &s->places.slots;
    uint32_t id;

    if (!s->draining && short_of_places(sl))
        (void)journal_slots_open(s->j, keep_free(s));
    slots_small_share(sl, small_pct(s, layer));
    if (kind == FILL_SPARE)
        id = quota_has_room(s, layer) ? slots_take_free(sl, true) : INDEX_NONE;
    else
        id = quota_makes_room(s, layer) ? slots_take(sl, kind == FILL_MAIN) : INDEX_NONE;
    full_look(s);
    if (id == INDEX_NONE && kind != FILL_SPARE)
        ask_for_segment(s, 1);
    return id;
}

void places_opened(void *ctx, uint32_t segment, uint64_t epoch, int err)
{
    struct shard *s = ctx;

    if (err != 0) {
        places_write_failed(s, segment, err);
        return;
    }
    s->newest_epoch = MAX(s->newest_epoch, epoch);
    if (places_given_up(s, segment)) { /* since it was asked for */
        journal_slots_free(s->j, segment);
        return;
    }
    s->seg[segment] = (struct seg){.use = SEGMENT_SLOTS, .epoch = epoch, .filled64 = s->newest_epoch * 64};
    slots_open_segment(&s->places.slots, segment);
    shard_kick(s);
}

/* ---- copies ---- */

void places_put(struct shard *s, struct index_entry *n, uint32_t id, unsigned flags)
{
    struct places *p = &s->places;
    uint32_t segment = id / p->slots.per_segment, at = id % p->slots.per_segment;
    struct seg *g = &s->seg[segment];
    uint64_t now = env_now_ns(s->env);

    n->seq = 0;
    n->segment = segment;
    n->unit = at * JOURNAL_UNITS_PER_BLOCK;
    n->flags = flags;
    map_put(s, n);
    g->filled64 += (s->newest_epoch * 64 - g->filled64) / p->table.layout.nr_places;
    slot_table_changed(&p->table, segment, at - p->slots.first_slot, now);
    if (p->table_look_ns == UINT64_MAX)
        p->table_look_ns = now + SLOT_TABLE_AGE_NS;
}

void places_drop(struct shard *s, uint32_t id)
{
    struct index_entry n;

    assert(in_place(s, id));
    index_get(&s->ix, id, &n);
    map_remove(s, id);
    map_settle(s, extent_find(&s->xt, n.layer, extent_no(n.block)));
}

/* ---- giving segments back ---- */

/* Copies that were used twice since they came, or since the hand passed, would be missed. */
static double hot_share(const struct shard *s, uint32_t segment)
{
    const struct slots *sl = &s->places.slots;
    uint32_t nr = sl->per_segment - sl->first_slot, step = MAX(nr / SAMPLES, 1u), hot = 0, looked = 0;

    for (uint32_t at = sl->first_slot; at < sl->per_segment; at += step, looked++) {
        uint32_t id = segment * sl->per_segment + at;

        hot += index_slot_used(&s->ix, id) && index_ref(&s->ix, id) >= 2;
    }
    return (double)hot / (double)looked;
}

bool places_roomy(const struct shard *s)
{
    return (s->ix.nr_entries - s->twin_live) * 3 <= 2 *
           (uint64_t)s->twin_segment * s->ix.slots_per_segment / segpool_geometry(s->o.segpool)->nr_shards;
}

/* Where the SSD is roomy nothing has to go for want of room: a segment of the log is emptied for a few moves, and copies that go would only
 * be fetched again. So they weigh what dirt weighs (POLICY.md). */
static double roomy_score(const struct shard *s, uint32_t segment, double age)
{
    const struct slots *sl = &s->places.slots;
    struct policy_segment p = {.slots = sl->per_segment - sl->first_slot, .dirty = s->ix.seg_live[segment],
                               .live = s->ix.seg_live[segment], .age = (uint64_t)age};

    return policy_victim_score(&p);
}

/* As policy_victim_score(); never 0: it costs no moves. */
double places_victim_score(const struct shard *s, uint32_t segment, double beat)
{
    double age = (double)(s->newest_epoch * 64 - s->seg[segment].filled64) / 64 + 1, u;

    if (s->ix.seg_live[segment] == 0)
        return 1e12 * age;
    if (age <= beat)
        return age;
    if (places_roomy(s))
        return MAX(roomy_score(s, segment, age), 1e-6);
    u = hot_share(s, segment);
    return MAX(age * (1 - u) / (1 + u), 1e-6);
}

/* Another shard has fewer segments than it may have, and this one more. */
void places_wanted(void *ctx)
{
    struct shard *s = ctx;
    uint32_t worst = NO_SEGMENT;
    double score = 0;

    for (uint32_t g = s->log_segments; g < s->twin_segment && places_may_release(s); g++) {
        double of = s->seg[g].use == SEGMENT_SLOTS && !s->places.slots.seg[g].closing ? places_victim_score(s, g, score) : 0;

        if (of > score) {
            score = of;
            worst = g;
        }
    }
    if (worst != NO_SEGMENT)
        places_release(s, worst);
}

bool places_may_release(const struct shard *s) { return s->places.closing == NO_SEGMENT; }

void places_release(struct shard *s, uint32_t segment)
{
    struct places *p = &s->places;

    assert(p->closing == NO_SEGMENT && s->seg[segment].use == SEGMENT_SLOTS);
    p->closing = segment;
    p->cursor = p->slots.first_slot;
    if (!p->slots.seg[segment].closing)
        slots_close_segment(&p->slots, segment);
    shard_kick(s);
}

/* True: it goes on at once. */
static bool release_step(struct shard *s)
{
    struct places *p = &s->places;
    uint32_t segment = p->closing, base = segment * p->slots.per_segment;

    for (uint32_t i = 0; i < SCAN_BUDGET && p->cursor < p->slots.per_segment; i++, p->cursor++)
        if (index_slot_used(&s->ix, base + p->cursor))
            places_drop(s, base + p->cursor);
    if (p->cursor < p->slots.per_segment)
        return true;
    if (!slots_closed(&p->slots, segment) || places_table_in_flight(p, segment))
        return false;
    slots_drop_segment(&p->slots, segment);
    index_segment_left(&s->ix, segment);
    slot_table_forget(&p->table, segment);
    s->seg[segment] = (struct seg){.use = SEGMENT_FREE};
    p->closing = NO_SEGMENT;
    s->changes++;
    journal_slots_free(s->j, segment);
    return true;
}

/* ---- the pass ---- */

bool places_step(struct shard *s)
{
    struct places *p = &s->places;
    uint32_t g;

    if (s->failed != 0)
        return false;
    if (places_tables_due(p, env_now_ns(s->env)))
        places_tables_step(s);
    if (p->leave_from != INDEX_NONE && places_may_release(s) && (g = places_leave_next(s)) != INDEX_NONE)
        places_release(s, g);
    return p->closing != NO_SEGMENT && release_step(s);
}

/* While all writes of tables that there may be are under way, the end of one is waited for. */
uint64_t places_look_ns(const struct shard *s)
{
    return s->failed != 0 || places_tables_full(&s->places) ? UINT64_MAX : s->places.table_look_ns;
}

bool places_busy(const struct shard *s)
{
    return fill_busy(s) || places_table_in_flight(&s->places, INDEX_NONE) || (s->places.closing != NO_SEGMENT && s->failed == 0);
}

/* ---- for tests ---- */

static void verify_copy(struct shard *s, uint32_t id, uint64_t *copies)
{
    struct sums *m;
    struct index_entry n;
    uint32_t x, i;

    if (!index_slot_used(&s->ix, id))
        return;
    index_get(&s->ix, id, &n);
    copies[n.layer]++;
    x = extent_find(&s->xt, n.layer, extent_no(n.block));
    i = (uint32_t)(n.block % EXTENT_BLOCKS);
    m = list_empty(&s->sums_blocked) ? sums_get(s, x, NULL) : NULL;
    if (m == NULL)
        return;
    if (m->err == 0 && !bit_get(m->v.damaged, i)) /* damaged: the record of its checksum was lost, not the copy */
        assert(bit_get(m->v.valid, i) && m->v.csum[i] == n.csum);
    sums_put(s, m);
}

void places_verify(struct shard *s)
{
    const struct slots *sl = &s->places.slots;
    uint64_t *copies = calloc(s->layers_touched + 1, sizeof(*copies));

    assert(copies != NULL);
    slots_verify(sl);
    for (uint32_t g = 0; g < sl->nr_segments; g++) {
        assert(sl->seg[g].open == (s->seg[g].use == SEGMENT_SLOTS));
        for (uint32_t at = sl->first_slot; sl->seg[g].open && at < sl->per_segment; at++)
            verify_copy(s, g * sl->per_segment + at, copies);
    }
    quota_verify(s, copies);
    free(copies);
}
