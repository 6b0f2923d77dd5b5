/* SPDX-License-Identifier: Apache-2.0 */
/* admit.c: the table of chunks that were missed, and what a miss says with it.
 *
 * A miss: find the chunk's entry, or make one in the place of that which its bucket used longest ago; forget in it what
 *   is too old; count; answer. Nothing tells a hash that two chunks share from one chunk: then a block is admitted early, or a
 *   chunk forgotten early, and no byte that is read changes.
 * Times are 16 bits and go round after 256 turns: an entry that survived so long unused may look young. Likewise. So may what an entry
 *   says of blocks when the rules change from chunks to blocks alone, or back.
 */
#include "tier/admit.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#define TURN_STEPS  256u
#define TOUCH_BITS  2u
#define TOUCH_MAX   3u
#define BUCKETS_MIN 16u
#define BLOCKS_ENTRY 3u          /* of cache, for an entry: 5.3 turns of chunks that are all different; 6: 551 s of a disk, not 539 */
#define GUARD_UP    85u          /* percent of evictions that nobody had read: more is thrash */
#define GUARD_DOWN  60u
#define GUARD_DOWN_CHUNKS 50u    /* a touch too few costs 16 blocks there, not one: with 60 tencent-50k writes 1056 MiB, not 1025;
                                  * with 50 for blocks alone, too, arc-P3 takes 550 s, not 538 */
#define USE_MIN     256u         /* misses, at least, before a volume's chunks are called worth their first one, */
#define USE_SAMPLED 128u         /* and those of the sample after which that is looked at again */
#define USE_SHARE   8u           /* one miss in so many comes beside others: else chunks are not worth it */
#define USE_BEGIN   256u         /* so many come beside others for one that comes again; */
#define USE_END     32u          /* fewer: no longer */

#define CHUNK_TURNS  5u           /* as places.c has it for blocks that are hardly written */

#define PASS_MAX      (1u << 20) /* blocks at once: 4 GiB */
#define STREAM_BLOCKS (4u * 1024u * 1024u / BLOCK_BYTES)
#define WINDOW_MIN    64u

int admit_init(struct admit *ad, uint64_t cache_blocks, uint64_t seed)
{
    uint64_t buckets = MAX(cache_blocks / BLOCKS_ENTRY / ADMIT_WAYS, (uint64_t)BUCKETS_MIN);
    void *p;

    assert(buckets <= UINT32_MAX);
    *ad = (struct admit){.nr_buckets = (uint32_t)buckets, .seed = seed, .turn = MAX(cache_blocks / CHUNK_BLOCKS, UINT64_C(1)),
                         .blocks = MAX(cache_blocks, UINT64_C(1)), .room = MAX(cache_blocks, UINT64_C(1))};
    p = mmap(NULL, admit_bytes(ad), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED)
        return -ENOMEM;
    ad->entry = p;
    return 0;
}

void admit_fini(struct admit *ad)
{
    if (ad->entry != NULL)
        munmap(ad->entry, admit_bytes(ad));
    *ad = (struct admit){0};
}

/* Found with the traces of two workstation disks, reads only, a cache of a tenth of what they touch, RAM of a thirty-second of that:
 * - balanced: asking for a third use in RAM instead of a second one takes a seventh fewer fills (819 MiB, not 956), and less disk time;
 * - low wear: blocks alone, at their second miss, each remembered by itself for a half turn to a whole one once copies displace each other;
 *   the fourth use in RAM only while places are free. HDD s / SSD MiB, 10 %: 549 / 158 and 948 / 513; with a turn a fifth shorter 551 / 142
 *   and 933 / 470, a third longer 552 / 178 and 946 / 551. Other rules: RAM has its say always 557 / 233 and 1023 / 774, never 556 / 172
 *   and 950 / 542; a chunk's blocks remembered together, in turns of misses, six of them while places are free and then two 571 / 95 and
 *   982 / 537, six always 568 / 178 and 1042 / 816; a block that was evicted from main remembered like one that was missed 550 / 197 and
 *   997 / 888; a chunk or a block at its second miss within one turn, as balanced has it for what is written, too, 562 / 958 and
 *   1105 / 1625. */
void admit_rules_init(struct admit_rules *r, uint64_t cache_blocks, const struct admit_rules *set)
{
    uint64_t window = MIN(MAX(cache_blocks / 8, (uint64_t)WINDOW_MIN), (uint64_t)UINT32_MAX);

    r->by_block = set->by_block;
    r->along = set->along;
    r->touches_min = set->touches_min == 0 ? 2 : MIN(set->touches_min, ADMIT_TOUCHES_MAX);
    r->again = set->again == 0 ? 3 : MIN(set->again, ADMIT_AGAIN_NEVER);
    r->asked_turns = set->asked_turns == 0 ? 1 : MIN(set->asked_turns, ADMIT_TURNS_MAX);
    r->stream_blocks = set->stream_blocks == 0 ? STREAM_BLOCKS : set->stream_blocks;
    r->window = (uint32_t)window;
    r->touches = r->touches_min;
    r->nr_read = r->nr_unread = 0;
}

/* ---- the table ---- */

static uint64_t hash_of(const struct admit *ad, uint32_t layer, uint64_t chunk)
{
    uint64_t h = ((uint64_t)layer << 40 ^ chunk ^ ad->seed) * UINT64_C(0x9e3779b97f4a7c15);

    h = (h ^ h >> 29) * UINT64_C(0xbf58476d1ce4e5b9);
    return h ^ h >> 32;
}

static struct admit_entry *bucket_of(const struct admit *ad, uint64_t hash)
{
    return &ad->entry[((hash >> 32) * ad->nr_buckets >> 32) * ADMIT_WAYS];
}

static uint32_t tag_of(uint64_t hash) { return (uint32_t)hash & ~TOUCH_MAX; }

static uint16_t now_at(const struct admit *ad, uint64_t misses) { return (uint16_t)(misses * TURN_STEPS / ad->turn); }
static uint16_t now_of(const struct admit *ad) { return now_at(ad, ad->misses); }
static bool recent(uint16_t at, uint16_t now, uint32_t turns) { return (uint16_t)(now - at) < turns * TURN_STEPS; }

static uint32_t touches_of(const struct admit_entry *e) { return e->hash_touches & TOUCH_MAX; }

static uint32_t asked_of(const struct admit_entry *e, uint32_t i) { return e->asked >> (TOUCH_BITS * i) & TOUCH_MAX; }

static void asked_set(struct admit_entry *e, uint32_t i, uint32_t n)
{
    e->asked = (e->asked & ~(TOUCH_MAX << (TOUCH_BITS * i))) | MIN(n, TOUCH_MAX) << (TOUCH_BITS * i);
}

static bool alone(const struct admit_rules *r) { return r->by_block && !r->along; }

/* Half of the time for which a block alone is remembered. */
static uint16_t half_of(const struct admit *ad, const struct admit_rules *r)
{
    return (uint16_t)(ad->passed / (ADMIT_TURN_UNIT / 2 * r->asked_turns));
}

static void pass(struct admit *ad, uint64_t nblocks) { ad->passed += nblocks * ADMIT_TURN_UNIT / ad->room; }

void admit_written(struct admit *ad, uint32_t nblocks) { pass(ad, MIN(nblocks, PASS_MAX)); }

static uint16_t asked_mask(const struct admit_entry *e)
{
    uint16_t m = 0;

    for (uint32_t i = 0; i < CHUNK_BLOCKS; i++)
        m |= (uint16_t)(asked_of(e, i) > 0 ? 1u << i : 0);
    return m;
}

static void asked_forget(struct admit_entry *e, uint16_t blocks)
{
    for (uint32_t i = 0; i < CHUNK_BLOCKS; i++)
        if (blocks >> i & 1)
            asked_set(e, i, 0);
}

/* Blocks alone: what nobody has asked for since the half turn before. */
static void grow_old(const struct admit *ad, const struct admit_rules *r, struct admit_entry *e)
{
    uint16_t half = half_of(ad, r), passed = (uint16_t)(half - e->asked_at);

    if (passed == 0)
        return;
    if (ad->full)
        asked_forget(e, passed == 1 ? e->before : UINT16_MAX);
    e->before = asked_mask(e);
    e->asked_at = half;
}

/* So long a miss of a chunk counts. Where its other blocks are what comes back, and all that is copied, as long as the table has room. */
static uint32_t chunk_turns(const struct admit_use *use) { return use != NULL && use->chunks ? CHUNK_TURNS : 1; }

/* The chunk's entry, first in its bucket from now on, with nothing in it that is too old. */
static struct admit_entry *entry_of(struct admit *ad, const struct admit_rules *r, const struct admit_use *use, uint32_t layer,
                                    uint64_t chunk)
{
    uint64_t h = hash_of(ad, layer, chunk);
    struct admit_entry *b = bucket_of(ad, h), e;
    uint32_t tag = tag_of(h), i = 0;
    uint16_t now = now_of(ad);

    while (i < ADMIT_WAYS - 1 && (b[i].hash_touches & ~TOUCH_MAX) != tag)
        i++;
    e = (b[i].hash_touches & ~TOUCH_MAX) == tag ? b[i] : (struct admit_entry){.hash_touches = tag};
    memmove(b + 1, b, i * sizeof(*b));
    if (alone(r)) {
        grow_old(ad, r, &e);
    } else {
        if (!recent(e.chunk_at, now, chunk_turns(use)))
            e.hash_touches = tag;
        if (!recent(e.asked_at, now, r->asked_turns))
            e.asked = 0;
    }
    *b = e;
    return b;
}

/* ---- what is worth a place ---- */

/* What else of the chunk was asked for comes along with f, on trial: not main. */
static void fill_along(struct admit_entry *e, uint16_t others, struct admit_fill *f)
{
    for (uint32_t i = 0; i < CHUNK_BLOCKS; i++)
        if ((others >> i & 1) && asked_of(e, i) > 0) {
            f->fill |= (uint16_t)(1u << i);
            asked_set(e, i, 0);
        }
}

static void asked_now(const struct admit *ad, const struct admit_rules *r, struct admit_entry *e, uint16_t asked)
{
    if (alone(r))
        e->before &= (uint16_t)~asked;
    else
        e->asked_at = now_of(ad);
}

/* Counts an ask for each block; those that had been asked for `before` times already are worth a place, and forgotten. */
static struct admit_fill ask(const struct admit *ad, const struct admit_rules *r, struct admit_entry *e, uint16_t asked, uint32_t before)
{
    struct admit_fill f = {0, 0};

    for (uint32_t i = 0; i < CHUNK_BLOCKS; i++) {
        uint32_t n = asked_of(e, i);

        if (!(asked >> i & 1))
            continue;
        if (n >= before) {
            f.fill |= (uint16_t)(1u << i);
            f.main |= (uint16_t)(n > 0 ? 1u << i : 0);
        }
        asked_set(e, i, n >= before ? 0 : n + 1);
    }
    asked_now(ad, r, e, asked);
    return f;
}

/* All blocks of a chunk that the SSD lacks. */
static struct admit_fill whole(struct admit_entry *e, uint16_t have)
{
    struct admit_fill f = {.fill = (uint16_t)~have};

    for (uint32_t i = 0; i < CHUNK_BLOCKS; i++)
        if ((f.fill >> i & 1) && asked_of(e, i) > 0) {
            f.main |= (uint16_t)(1u << i);
            asked_set(e, i, 0);
        }
    return f;
}

static bool sampled(const struct admit_entry *e) { return (e->hash_touches / (TOUCH_MAX + 1)) % ADMIT_SAMPLE == 0; }

static void use_decide(struct admit_use *u)
{
    uint32_t per_same = u->chunks ? USE_END : USE_BEGIN;

    *u = (struct admit_use){.chunks = (uint64_t)u->near * USE_SHARE >= u->all && u->near >= (uint64_t)u->same * per_same};
}

static void use_count(const struct admit *ad, const struct admit_rules *r, struct admit_use *u, const struct admit_entry *e, uint16_t asked)
{
    bool same = false;

    for (uint32_t i = 0; i < CHUNK_BLOCKS; i++)
        same |= (asked >> i & 1) && asked_of(e, i) > 0;
    u->all++;
    u->same += same;
    u->near += !same && (alone(r) ? asked_mask(e) != 0 : touches_of(e) > 0);
    if (u->all >= (u->chunks && r->along ? USE_SAMPLED : MAX(ad->turn, (uint64_t)USE_MIN)))
        use_decide(u);
}

static bool use_wants(const struct admit_rules *r, const struct admit_use *u, const struct admit_entry *e)
{
    return u->chunks && r->along && !sampled(e);
}

/* Of what is asked for, what was not asked for before: now it was. */
static uint16_t ask_first(const struct admit *ad, const struct admit_rules *r, struct admit_entry *e, uint16_t asked)
{
    uint16_t first = asked & (uint16_t)~asked_mask(e);

    for (uint32_t i = 0; i < CHUNK_BLOCKS; i++)
        if (first >> i & 1)
            asked_set(e, i, 1);
    asked_now(ad, r, e, first);
    return first;
}

struct admit_fill admit_miss(struct admit *ad, const struct admit_rules *r, struct admit_use *use, uint32_t layer, uint64_t chunk,
                             uint16_t asked, uint16_t have, uint64_t stream_blocks)
{
    bool chunk_wanted;
    struct admit_entry *e;
    struct admit_fill f;
    uint32_t touches;

    assert(asked != 0 && (asked & have) == 0);
    if (stream_blocks > r->stream_blocks)
        return (struct admit_fill){0, 0};
    ad->misses++;
    pass(ad, (uint64_t)__builtin_popcount(asked));
    e = entry_of(ad, r, use, layer, chunk);
    chunk_wanted = use != NULL && use_wants(r, use, e);
    if (use != NULL && !chunk_wanted)
        use_count(ad, r, use, e, asked);
    touches = touches_of(e) + 1;
    if (!alone(r)) {
        e->hash_touches = (e->hash_touches & ~TOUCH_MAX) | MIN(touches, TOUCH_MAX);
        e->chunk_at = now_of(ad);
    }
    if (chunk_wanted || (!r->by_block && touches >= r->touches))
        return whole(e, have | (use != NULL && use->chunks ? ask_first(ad, r, e, asked) : 0));
    f = ask(ad, r, e, asked, r->touches - 1);
    if (r->along && f.fill != 0)
        fill_along(e, (uint16_t)~(asked | have), &f);
    return f;
}

bool admit_wants_chunk(const struct admit *ad, const struct admit_rules *r, const struct admit_use *use, uint32_t layer, uint64_t chunk,
                       uint64_t stream_blocks)
{
    uint64_t h = hash_of(ad, layer, chunk);
    const struct admit_entry *b = bucket_of(ad, h), none = {.hash_touches = tag_of(h)}, *e = &none;

    if (stream_blocks > r->stream_blocks)
        return false;
    for (uint32_t i = 0; i < ADMIT_WAYS && e == &none; i++)
        if ((b[i].hash_touches & ~TOUCH_MAX) == none.hash_touches)
            e = &b[i];
    if (use != NULL && use_wants(r, use, e))
        return true;
    return !r->by_block && (recent(e->chunk_at, now_at(ad, ad->misses + 1), chunk_turns(use)) ? touches_of(e) : 0) + 1 >= r->touches;
}

struct admit_fill admit_again(struct admit *ad, const struct admit_rules *r, struct admit_use *use, uint32_t layer, uint64_t chunk,
                              uint16_t asked, uint64_t stream_blocks)
{
    struct admit_entry *e;

    if (asked == 0 || stream_blocks > r->stream_blocks || (alone(r) && ad->full))
        return (struct admit_fill){0, 0};
    e = entry_of(ad, r, use, layer, chunk);
    /* RAM keeps the sample for long, now that frames of all others go to the SSD. */
    if (use != NULL && use->chunks && r->along && sampled(e))
        use_count(ad, r, use, e, asked);
    return ask(ad, r, e, asked, MAX(r->again, r->touches) - 1);
}

/* ---- what is evicted ---- */

static void guard(struct admit_rules *r)
{
    uint64_t all = (uint64_t)r->nr_read + r->nr_unread, unread = (uint64_t)r->nr_unread * 100;
    uint32_t down = r->by_block ? GUARD_DOWN : GUARD_DOWN_CHUNKS;

    if (all < r->window)
        return;
    if (unread > all * GUARD_UP && r->touches < ADMIT_TOUCHES_MAX)
        r->touches++;
    else if (unread < all * down && r->touches > r->touches_min)
        r->touches--;
    r->nr_read = r->nr_unread = 0;
}

void admit_evicted(struct admit *ad, struct admit_rules *r, uint32_t layer, uint64_t block, bool read)
{
    if (read) {
        r->nr_read++;
    } else {
        struct admit_entry *e = entry_of(ad, r, NULL, layer, block / CHUNK_BLOCKS);
        uint32_t i = (uint32_t)(block % CHUNK_BLOCKS);

        r->nr_unread++;
        if (asked_of(e, i) == 0)
            asked_set(e, i, 1);
        asked_now(ad, r, e, (uint16_t)(1u << i));
    }
    guard(r);
}
