/* SPDX-License-Identifier: Apache-2.0 */
/* A volume that was full before the replay: places, checksums, and the end of our word where the engine has its own. */
#include "tools/sim/prefill.h"

#include "base/crc32c.h"
#include "tools/sim/sim.h"

#include <criterion/criterion.h>

static struct sim *s;
static struct env *e;
static struct sim_meta_store *store;
static struct trace t;
static struct prefill p;
static struct meta *m;

#define LAYER 5u

static void begin(void)
{
    struct volume_rec v = {.id = 1, .layer = LAYER, .name = "v", .size_bytes = GIB, .lba_bytes = 4096};
    uint8_t buf[VOLUME_REC_BYTES];
    struct meta_op op = {.key = meta_key_volume(1), .value = buf};
    struct meta *under;

    s = sim_new(1);
    e = sim_env_new(s);
    store = sim_meta_store_new(s);
    trace_add(&t, 0, true, 300 * MIB + 5, 2 * MIB);  /* extents 300..302 */
    trace_add(&t, 0, false, 0, 4096);
    trace_add(&t, 0, false, GIB - 4096, 4096);
    trace_index(&t);
    prefill_init(&p, &t, GIB, 1);
    cr_assert_eq(sim_meta_open(store, &under), 0);
    op.value_len = volume_rec_encode(&v, buf);
    cr_assert_eq(under->ops->commit_sync(under, &op, 1), 0);
    cr_assert_eq(prefill_arm(&p, under, 1), 0);
    prefill_open(&p, under, &m);
}

static void end(void)
{
    m->ops->close(m);
    prefill_fini(&p);
    trace_free(&t);
    sim_meta_store_free(store);
    sim_env_free(e);
    sim_free(s);
}

static uint64_t found[16];
static unsigned nr_found;

static int note(void *ctx, const struct meta_key *key, const void *value, uint32_t len)
{
    struct extent_rec rec;
    uint64_t layer;

    (void)ctx;
    cr_assert_eq(meta_key_parse_extent(key, 'E', &layer, &found[nr_found]), 0);
    cr_assert_eq(layer, LAYER);
    cr_assert_eq(extent_rec_decode(value, len, &rec), 0);
    cr_assert(rec.place.dev == 0 && rec.place.slot == found[nr_found], "at its own address");
    cr_assert_eq(rec.destaged_seq, 0u);
    nr_found++;
    return 0;
}

Test(prefill, what_the_trace_touches_and_its_neighbours_exist, .init = begin, .fini = end)
{
    const uint64_t want[] = {0, 1, 299, 300, 301, 302, 303, 1022, 1023};
    struct meta_key prefix = meta_key_layer_extents(LAYER);

    cr_assert_eq(m->ops->scan_sync(m, &prefix, note, NULL), 0);
    cr_assert_eq(nr_found, ARRAY_LEN(want));
    cr_assert_eq(memcmp(found, want, sizeof(want)), 0);
    nr_found = 0;
    prefix = meta_key_layer_extents(LAYER + 1);
    cr_assert_eq(m->ops->scan_sync(m, &prefix, note, NULL), 0);
    cr_assert_eq(nr_found, 0u);
}

static struct extent_sums sums;
static uint8_t buf[META_VALUE_MAX];

static int get_sums(uint64_t x)
{
    struct meta_key key = meta_key_sums(LAYER, x);
    uint32_t len = 0;
    int err = m->ops->get_sync(m, &key, buf, &len);

    return err ? err : extent_sums_decode(buf, len, &sums);
}

Test(prefill, every_block_is_a_valid_block_of_zeros, .init = begin, .fini = end)
{
    static const uint8_t zeros[BLOCK_BYTES];

    cr_assert_eq(get_sums(301), 0);
    for (uint32_t i = 0; i < EXTENT_BLOCKS; i++) {
        cr_assert(sums.valid[i / 64] >> (i % 64) & 1);
        cr_assert_eq(sums.csum[i], block_csum(zeros, LAYER, 301 * EXTENT_BLOCKS + i));
    }
    cr_assert_eq(get_sums(500), -FIRN_E_NOT_FOUND);
}

struct asked { struct meta_get_req req; bool done; };
static void heard(struct meta_get_req *r) { container_of(r, struct asked, req)->done = true; }
static bool is_heard(void *ctx) { return ((struct asked *)ctx)->done; }

Test(prefill, gets_are_answered_later, .init = begin, .fini = end)
{
    struct asked a = {.req = {.key = meta_key_sums(LAYER, 0), .buf = buf, .env = e, .cb = heard}};

    meta_get(m, &a.req);
    cr_assert_not(a.done);
    cr_assert_eq(sim_run_until(s, is_heard, &a, NS_PER_S), 0);
    cr_assert_eq(a.req.err, 0);
    cr_assert_eq(extent_sums_decode(buf, a.req.len, &sums), 0);
}

Test(prefill, a_committed_record_counts_from_then_on, .init = begin, .fini = end)
{
    struct extent_sums own = {.valid = {1}, .csum = {77}};
    uint8_t rec[EXTENT_SUMS_BYTES];
    struct meta_op op = {.key = meta_key_sums(LAYER, 301), .value = rec};

    op.value_len = extent_sums_encode(&own, rec);
    cr_assert_eq(m->ops->commit_sync(m, &op, 1), 0);
    cr_assert_eq(get_sums(301), 0);
    cr_assert(sums.valid[0] == 1 && sums.csum[0] == 77 && sums.csum[1] == 0);
    op.value = NULL;
    cr_assert_eq(m->ops->commit_sync(m, &op, 1), 0);
    cr_assert_eq(get_sums(301), -FIRN_E_NOT_FOUND, "a deleted record does not come back");
    cr_assert_eq(p.batches, 2u);
    cr_assert_eq(p.pages, 2u * 5u, "a leaf, a branch, root, free list, meta page");
}

Test(prefill, regions_go_round_the_devices, .fini = NULL)
{
    struct trace one = {0};
    struct prefill q;

    trace_add(&one, 0, true, 0, 4096);
    trace_index(&one);
    prefill_init(&q, &one, GIB, 3); /* 16 regions */
    cr_assert(prefill_place(&q, 63).dev == 0 && prefill_place(&q, 63).slot == 63);
    cr_assert(prefill_place(&q, 64).dev == 1 && prefill_place(&q, 64).slot == 0);
    cr_assert(prefill_place(&q, 3 * 64 + 5).dev == 0 && prefill_place(&q, 3 * 64 + 5).slot == 69);
    cr_assert_eq(prefill_extents_a_dev(&q), 6u * 64u);
    prefill_fini(&q);
    trace_free(&one);
}
