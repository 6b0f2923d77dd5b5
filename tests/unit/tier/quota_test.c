/* SPDX-License-Identifier: Apache-2.0 */
/* What of the places each of two volumes gets: a maximum, a minimum, a rule of its own; changed while they are at work. */
#include "tier/fetch.h"
#include "tier/map.h"
#include "tier/places.h"
#include "tier/quota.h"
#include "rig.h"

#define VOLUME 1024u             /* blocks, of each volume */
#define OTHER  (RIG_LAYER + 1)

static char data[16 * BLOCK_BYTES] __attribute__((aligned(4096)));

struct two { struct rig r; struct volume other; };

static void io_of(struct rig *r, struct volume *v, enum blk_op op, uint64_t block, uint32_t nr)
{
    struct iovec iov = {data, nr * BLOCK_BYTES};
    bool done = false;
    struct blk_io io = {.op = op, .lba = block, .nlb = nr, .iov = &iov, .iovcnt = 1, .cb = rig_ended, .ctx = &done};

    memset(data, 0, sizeof(data));
    if (op == BLK_WRITE)
        rig_fill(r, data, block, nr, v->layer);
    blk_submit(&v->blk, &io);
    cr_assert_eq(sim_run_until(r->sim, rig_is_set, &done, 100 * NS_PER_S), 0);
    cr_assert_eq(io.err, 0);
}

static uint32_t layer_no(const struct volume *v) { return (uint32_t)(uintptr_t)v->priv; }
static uint64_t copies_of(const struct rig *r, const struct volume *v) { return layer_at(r->shard, layer_no(v))->nr_copies; }
static uint64_t base(const struct rig *r) { return r->shard->places.quota.base; }

static void read_all(struct rig *r, struct volume *v, uint64_t from, uint64_t to)
{
    uint64_t nr = (to - from) / 16;

    for (uint64_t i = 0; i < nr; i++) { /* in no order: none is part of a stream */
        uint64_t block = from + i * 5 % nr * 16;

        io_of(r, v, BLK_READ, block, 16);
        for (unsigned n = 0; n < 16; n++)
            cr_assert_eq(((uint64_t *)(void *)(data + n * BLOCK_BYTES))[1], v->layer, "block %llu", (unsigned long long)block + n);
        cr_assert_eq(sim_run_until(r->sim, rig_places_rest, r, 100 * NS_PER_S), 0);
        fetch_forget_extent(r->shard, extent_find(&r->shard->xt, layer_no(v), extent_no(block)));
    }
}

static void drop_log_copies(struct rig *r, const struct volume *v)
{
    for (uint64_t b = 0; b < VOLUME; b++) {
        uint32_t id = index_find(&r->shard->ix, layer_no(v), b);

        if (id != INDEX_NONE && !(index_flags_of(&r->shard->ix, id) & INDEX_DIRTY))
            map_remove(r->shard, id);
    }
}

/* Both are cold, and whatever is read of them is copied. */
static void begin(struct two *t, uint32_t segments)
{
    struct rig *r = &t->r;
    struct volume *both[] = {&r->vol, &t->other};

    rig_init(r, &(struct rig_opts){.seed = 47, .hdd_extents = 16, .volume_blocks = VOLUME, .segments = segments});
    r->opts.admit_touches = 1;
    cr_assert_eq(rig_boot(r), 0);
    t->other = r->vol;
    t->other.layer = OTHER;
    cr_assert_eq(shard_attach(r->shard, &t->other), 0);
    for (unsigned i = 0; i < 2; i++)
        for (uint64_t b = 0; b < VOLUME; b += 16)
            io_of(r, both[i], BLK_WRITE, b, 16);
    rig_drain(r, true);
    shard_start(r->shard);
    for (unsigned i = 0; i < 2; i++)
        drop_log_copies(r, both[i]);
}

static void finish(struct two *t)
{
    shard_verify(t->r.shard);
    rig_drain(&t->r, true);
    rig_fini(&t->r);
}

static void policy(struct two *t, struct volume *v, struct volume_policy p) { shard_set_policy(t->r.shard, v, &p); }

Test(quota, a_volume_has_no_more_than_its_maximum_although_places_are_free)
{
    struct two t;

    begin(&t, 64);
    policy(&t, &t.r.vol, (struct volume_policy){.cache_max = {.bytes = MIB}});
    for (unsigned round = 0; round < 3; round++)
        read_all(&t.r, &t.r.vol, 0, VOLUME);
    cr_assert_gt(copies_of(&t.r, &t.r.vol), MIB / BLOCK_BYTES * 3 / 4);
    cr_assert_leq(copies_of(&t.r, &t.r.vol), MIB / BLOCK_BYTES);
    cr_assert_gt(shard_stats(t.r.shard)->evicted_unread + shard_stats(t.r.shard)->evicted_read, 100, "they displaced each other");
    for (unsigned round = 0; round < 3; round++)
        read_all(&t.r, &t.other, 0, VOLUME);
    cr_assert_gt(copies_of(&t.r, &t.other), MIB / BLOCK_BYTES, "nobody else is bound by it");
    finish(&t);
}

Test(quota, a_maximum_in_percent_is_one_of_what_copies_could_have)
{
    struct two t;

    begin(&t, 64);
    policy(&t, &t.r.vol, (struct volume_policy){.cache_max = {.pct = 5}});
    for (unsigned round = 0; round < 3; round++)
        read_all(&t.r, &t.r.vol, 0, VOLUME);
    cr_assert_gt(copies_of(&t.r, &t.r.vol), base(&t.r) * 3 / 100);
    cr_assert_leq(copies_of(&t.r, &t.r.vol), base(&t.r) * 5 / 100 + 1);
    finish(&t);
}

Test(quota, copies_of_a_volume_below_its_minimum_stay)
{
    struct two t;
    uint64_t kept;

    begin(&t, 24);
    policy(&t, &t.r.vol, (struct volume_policy){.cache_min = {.bytes = 8 * MIB}});
    for (unsigned round = 0; round < 12; round++)
        read_all(&t.r, &t.r.vol, 0, 256);
    kept = copies_of(&t.r, &t.r.vol);
    cr_assert_gt(kept, 60);
    for (unsigned round = 0; round < 6; round++)
        read_all(&t.r, &t.other, 0, VOLUME);
    cr_assert_eq(copies_of(&t.r, &t.r.vol), kept);
    policy(&t, &t.r.vol, (struct volume_policy){0});
    policy(&t, &t.other, (struct volume_policy){.admit = VOLUME_ADMIT_FIRST});
    for (unsigned round = 0; round < 6; round++)
        read_all(&t.r, &t.other, 0, VOLUME);
    cr_assert_lt(copies_of(&t.r, &t.r.vol), kept / 2, "without it they go");
    finish(&t);
}

/* Writes that stay dirty. What of the cache copies may displace then, and the turns that have passed by them. */
static void write_dirt(uint32_t caches, uint64_t *room, uint64_t *passed)
{
    struct rig r;
    uint64_t before;

    rig_init(&r, &(struct rig_opts){.seed = 31, .hdd_extents = 16, .volume_blocks = VOLUME, .segments = 64, .caches = caches,
                                    .cache_segments = caches * 12});
    cr_assert_eq(rig_boot(&r), 0);
    before = r.shard->places.admit.passed;
    for (uint64_t b = 0; b < 512; b += 32)
        cr_assert_eq(rig_write(&r, b, 32, 1), 0);
    cr_assert_gt(r.shard->ix.nr_dirty, 0);
    quota_room(r.shard);
    *room = r.shard->places.admit.room + (caches ? 0 : r.shard->ix.nr_dirty);
    *passed = r.shard->places.admit.passed - before;
    cr_assert_eq(*room, r.shard->places.admit.blocks);
    rig_fini(&r);
}

Test(quota, what_is_written_displaces_copies_and_what_is_dirty_is_not_displaced)
{
    uint64_t room, passed;

    write_dirt(0, &room, &passed);
    cr_assert_geq(passed, ADMIT_TURN_UNIT / room * 512);
    write_dirt(1, &room, &passed);
    cr_assert_eq(passed, 0, "copies have a device of their own");
}

Test(quota, of_a_volume_that_is_hardly_written_only_what_is_missed_again_is_copied)
{
    struct two t;
    struct shard *s;
    uint32_t l;

    begin(&t, 64);
    s = t.r.shard;
    l = layer_no(&t.r.vol);
    cr_assert_eq(quota_pool_rules(s, l), &s->places.rules, "so far it was written alone");
    cr_assert_not(s->places.rules.by_block);
    quota_io(s, l, 4 * VOLUME, false);
    cr_assert_eq(quota_pool_rules(s, l), &s->places.rules);
    quota_io(s, l, 1, false);
    cr_assert_eq(quota_pool_rules(s, l), &s->places.read_rules);
    cr_assert(s->places.read_rules.by_block && s->places.read_rules.along && s->places.read_rules.again == ADMIT_AGAIN_NEVER);
    cr_assert_eq(s->places.read_rules.asked_turns, 5);
    cr_assert_eq(quota_pool_rules(s, layer_no(&t.other)), &s->places.rules, "the other one is judged by itself");
    quota_io(s, l, 1u << 20, false);
    cr_assert_lt(s->layer[l].lately[1], VOLUME, "what was before counts half");
    quota_io(s, l, 1u << 19, true);
    cr_assert_eq(quota_pool_rules(s, l), &s->places.rules);
    finish(&t);
}

static uint32_t tenth_of_cache(const struct shard *s)
{
    return slots_small_pct(&s->places.slots, (uint64_t)places_segments(s) * s->ix.slots_per_segment, 10);
}

Test(quota, who_is_hardly_written_keeps_the_small_queue_short_and_knobs_for_blocks_bring_nothing_along)
{
    struct two t;
    struct shard *s;

    begin(&t, 64);
    s = t.r.shard;
    for (unsigned round = 0; round < 2; round++)
        read_all(&t.r, &t.r.vol, 0, VOLUME);
    cr_assert_gt(tenth_of_cache(s), 10, "the log has some of it");
    cr_assert_eq(s->places.slots.small_pct, tenth_of_cache(s), "it was written as much as it is read");
    quota_io(s, layer_no(&t.r.vol), 16 * VOLUME, false);
    for (unsigned round = 0; round < 2; round++)
        read_all(&t.r, &t.r.vol, 0, VOLUME);
    cr_assert_eq(s->places.slots.small_pct, 4);
    for (unsigned round = 0; round < 2; round++)
        read_all(&t.r, &t.other, 0, VOLUME);
    cr_assert_geq(s->places.slots.small_pct, tenth_of_cache(s), "each for itself; copies may have got a segment since");
    layer_at(s, layer_no(&t.r.vol))->use.chunks = true;
    for (unsigned round = 0; round < 2; round++)
        read_all(&t.r, &t.r.vol, 0, VOLUME);
    cr_assert_eq(s->places.slots.small_pct, 50, "of its chunks only neighbours come back");
    s->t.admit_blocks = true;
    places_retune(s);
    cr_assert_not_null(quota_use(s, layer_no(&t.r.vol)), "RAM has something of it");
    for (unsigned round = 0; round < 2; round++)
        read_all(&t.r, &t.r.vol, 0, VOLUME);
    cr_assert_eq(s->places.slots.small_pct, tenth_of_cache(s), "nothing comes along any more");
    cr_assert(s->places.read_rules.by_block && !s->places.read_rules.along);
    cr_assert_eq(s->places.read_rules.asked_turns, s->places.rules.asked_turns);
    finish(&t);
}

static uint64_t evicted(const struct shard *s) { return shard_stats(s)->evicted_unread + shard_stats(s)->evicted_read; }

/* Most of a chunk goes unread: that would ask for more misses of volumes whose blocks come again. */
Test(quota, copies_that_came_with_their_chunk_are_nothing_to_the_guard)
{
    struct two t;
    struct shard *s;
    uint64_t before;

    begin(&t, 64);
    s = t.r.shard;
    policy(&t, &t.r.vol, (struct volume_policy){.cache_max = {.bytes = MIB}});
    quota_io(s, layer_no(&t.r.vol), 64 * VOLUME, false);
    s->places.read_rules.window = UINT32_MAX; /* it counts, and never decides */
    for (unsigned round = 0; round < 3; round++) {
        layer_at(s, layer_no(&t.r.vol))->use.chunks = true;
        read_all(&t.r, &t.r.vol, 0, VOLUME);
    }
    before = evicted(s);
    cr_assert_gt(before, 100);
    cr_assert_eq(s->places.read_rules.nr_unread + s->places.read_rules.nr_read, 0);
    layer_at(s, layer_no(&t.r.vol))->use = (struct admit_use){0};
    read_all(&t.r, &t.r.vol, 0, VOLUME);
    cr_assert_eq(s->places.read_rules.nr_unread + s->places.read_rules.nr_read, evicted(s) - before, "others' are");
    cr_assert_gt(evicted(s), before);
    finish(&t);
}

Test(quota, a_cache_of_fewer_than_64_chunks_takes_what_is_only_read_at_its_first_miss)
{
    for (unsigned i = 0; i < 2; i++) {
        struct rig r;
        const struct places *p;

        rig_init(&r, &(struct rig_opts){.seed = 48, .segments = i == 0 ? 12 : 64});
        cr_assert_eq(rig_boot(&r), 0);
        p = &r.shard->places;
        cr_assert_eq(p->rules.touches_min, 2, "what is written, too, is asked for as ever");
        cr_assert_eq(p->read_rules.touches_min, i == 0 ? 1 : 2);
        cr_assert_eq(p->read_rules.by_block, i == 1);
        cr_assert_eq(p->slots.small_pct, i == 0 ? 50 : 10);
        r.shard->t.admit_blocks = true;
        places_retune(r.shard);
        cr_assert(p->rules.by_block && p->read_rules.touches_min == 2, "writes are to be spared");
        cr_assert_eq(p->read_rules.by_block, i == 1, "but so small a cache takes chunks");
        rig_drain(&r, true);
        rig_fini(&r);
    }
}

Test(quota, a_volume_that_a_lower_maximum_finds_above_it_gives_first)
{
    struct two t;
    uint64_t of_other;

    begin(&t, 24);
    for (unsigned round = 0; round < 12; round++) {
        read_all(&t.r, &t.r.vol, 0, 256);
        read_all(&t.r, &t.other, 0, 128);
    }
    of_other = copies_of(&t.r, &t.other);
    cr_assert_gt(of_other, 20);
    cr_assert_gt(copies_of(&t.r, &t.r.vol), 100);
    for (unsigned i = 0; i < 4; i++) /* they are used more than those of the other one */
        for (uint64_t b = 0; b < 256; b += 16)
            io_of(&t.r, &t.r.vol, BLK_READ, b, 16);
    policy(&t, &t.r.vol, (struct volume_policy){.cache_max = {.bytes = MIB / 8}});
    policy(&t, &t.other, (struct volume_policy){.admit = VOLUME_ADMIT_FIRST});
    read_all(&t.r, &t.other, 128, VOLUME);
    cr_assert_leq(copies_of(&t.r, &t.r.vol), MIB / 8 / BLOCK_BYTES + 16);
    cr_assert_geq(copies_of(&t.r, &t.other), of_other);
    finish(&t);
}

Test(quota, nothing_of_a_volume_that_admits_never_is_copied_and_one_touch_is_enough_where_it_says_so)
{
    struct two t;

    begin(&t, 64);
    places_retune((t.r.shard->t.admit_touches = 0, t.r.shard)); /* the pool: at the second miss */
    policy(&t, &t.r.vol, (struct volume_policy){.admit = VOLUME_ADMIT_NEVER});
    policy(&t, &t.other, (struct volume_policy){.admit = VOLUME_ADMIT_FIRST});
    for (unsigned round = 0; round < 3; round++)
        read_all(&t.r, &t.r.vol, 0, 256);
    cr_assert_eq(copies_of(&t.r, &t.r.vol), 0);
    read_all(&t.r, &t.other, 0, 512);
    cr_assert_gt(copies_of(&t.r, &t.other), 0);
    policy(&t, &t.r.vol, (struct volume_policy){.admit = VOLUME_ADMIT_THIRD});
    read_all(&t.r, &t.r.vol, 256, 320);
    read_all(&t.r, &t.r.vol, 256, 320);
    cr_assert_eq(copies_of(&t.r, &t.r.vol), 0);
    read_all(&t.r, &t.r.vol, 256, 320);
    cr_assert_eq(copies_of(&t.r, &t.r.vol), 64);
    finish(&t);
}

Test(quota, a_stream_ends_where_the_volume_says_so)
{
    struct two t;

    begin(&t, 64);
    policy(&t, &t.r.vol, (struct volume_policy){.admit = VOLUME_ADMIT_FIRST, .stream_cutoff = 256 * KIB});
    policy(&t, &t.other, (struct volume_policy){.admit = VOLUME_ADMIT_FIRST, .stream_cutoff = UINT64_MAX});
    for (uint64_t b = 0; b < VOLUME; b += 16) {
        io_of(&t.r, &t.r.vol, BLK_READ, b, 16);
        io_of(&t.r, &t.other, BLK_READ, b, 16);
        sim_run_for(t.r.sim, 20 * NS_PER_MS);
    }
    cr_assert_leq(copies_of(&t.r, &t.r.vol), 128);
    cr_assert_gt(copies_of(&t.r, &t.other), 256);
    finish(&t);
}

Test(quota, a_volume_with_limits_can_be_deleted)
{
    struct two t;
    bool gone = false;

    begin(&t, 32);
    policy(&t, &t.other, (struct volume_policy){.cache_min = {.pct = 30}, .cache_max = {.pct = 60}});
    read_all(&t.r, &t.other, 0, 256);
    io_of(&t.r, &t.other, BLK_READ, 512, 16);
    shard_detach(t.r.shard, &t.other, rig_detached, &gone);
    cr_assert_eq(sim_run_until(t.r.sim, rig_is_set, &gone, 100 * NS_PER_S), 0);
    cr_assert(list_empty(&t.r.shard->places.quota.limited));
    read_all(&t.r, &t.r.vol, 0, 256);
    finish(&t);
}
