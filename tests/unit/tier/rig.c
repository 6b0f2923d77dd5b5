/* SPDX-License-Identifier: Apache-2.0 */
#include "rig.h"

#include <stdlib.h>

#include "tier/mover.h"
#include "tier/places.h"

static bool seeks(const struct rig *r, unsigned hdd) { return hdd == 0 || !r->o.flash; }
static uint32_t ring_nr(const struct rig *r, unsigned hdd) { return seeks(r, hdd) ? r->o.ring_nr : 0; }
static uint64_t ext_base(const struct rig *r, unsigned hdd) { return ring_offset(ring_nr(r, hdd)); }

void rig_init(struct rig *r, const struct rig_opts *o)
{
    *r = (struct rig){.o = *o, .opts = {.dirty_start_pct = 60, .dirty_max_pct = 80}}; /* much dirt, so that its log is crowded */
    r->o.lba_bytes = o->lba_bytes != 0 ? o->lba_bytes : BLOCK_BYTES;
    r->o.hdd_extents = o->hdd_extents != 0 ? o->hdd_extents : 16;
    r->o.segment_bytes = o->segment_bytes != 0 ? o->segment_bytes : 256u * 1024u;
    r->o.segments = o->segments != 0 ? o->segments : 24;
    r->o.volume_blocks = o->volume_blocks != 0 ? o->volume_blocks : 2048;
    r->sim = sim_new(o->seed);
    r->geo = (struct segpool_geometry){.base_bytes = 1u << 20, .segment_bytes = r->o.segment_bytes, .nr_segments = r->o.segments,
                                       .align_bytes = 512, .head_bytes = o->short_heads ? 512 : 4096,
                                       .nr_shards = MAX(o->shards, 1u), .pool = {{1}}};
    r->ssd = sim_disk_new(r->sim, "ssd", &(struct sim_disk_opts){.size_bytes = (2u << 20) + r->o.segments * (uint64_t)r->o.segment_bytes,
                                                                 .block_bytes = 512, .torn_bytes = 512});
    for (unsigned i = 0; i < RIG_HDDS; i++) {
        uint64_t bytes = region_extent_offset(ext_base(r, i), r->o.hdd_extents);

        r->hdd[i] = sim_disk_new(r->sim, "hdd", &(struct sim_disk_opts){.size_bytes = bytes, .block_bytes = 4096, .torn_bytes = 512,
                                 .capacity = true, .latency_min_ns = o->hdd_ns, .latency_max_ns = o->hdd_ns, .rotational = seeks(r, i)});
    }
    for (unsigned i = 0; i < o->caches; i++)
        r->cache[i] = sim_disk_new(r->sim, "cache", &(struct sim_disk_opts){.block_bytes = 512, .torn_bytes = 512,
                                   .size_bytes = 2 * MIB + o->cache_segments * (uint64_t)r->o.segment_bytes});
    r->store = sim_meta_store_new(r->sim);
}

static uint64_t freed_epoch(void *ctx, uint32_t segment)
{
    struct rig *r = ctx;
    struct meta_key key = meta_key_segment(segment);
    uint8_t buf[META_VALUE_MAX];
    uint64_t epoch = 0;
    uint32_t len;

    if (r->meta->ops->get_sync(r->meta, &key, buf, &len) == 0)
        cr_assert_eq(segment_rec_decode(buf, len, &epoch), 0);
    return epoch;
}

static void submit(struct blk *b, struct blk_io *io)
{
    struct volume *v = container_of(b, struct volume, blk);

    shard_submit(v->shard, v, io);
}

static void cancel(struct blk *b, struct blk_io *io) { shard_cancel(container_of(b, struct volume, blk)->shard, io); }

static const struct blk_ops ops = {.name = "rig", .submit = submit, .cancel = cancel};

static void add_caches(struct rig *r, struct shard_opts *so)
{
    struct segpool_geometry geo;
    struct uuid device = {{0xca}};

    if (r->o.caches > 0)
        segpool_log_only(r->segpool);
    for (unsigned i = 0; i < r->o.caches; i++) {
        device.b[1] = (uint8_t)i;
        if (r->cache_absent >> i & 1)
            continue;
        cr_assert_eq(segpool_plan_area(sim_disk_size(r->cache[i]), &device, &r->geo, &geo), 0);
        cr_assert_eq(sim_dev_open(r->cache[i], r->env, &r->cache_dev[i]), 0);
        cr_assert_eq(segpool_add(r->segpool, r->cache_dev[i], &geo), 0);
        so->areas[segpool_areas(r->segpool) - 2] = r->cache_dev[i];
    }
}

int rig_boot(struct rig *r)
{
    uint64_t layer_max = 0;
    struct cold_dev_desc desc[RIG_HDDS];
    struct shard_opts so;
    char why[256] = "";
    int err;

    r->flush_turns = (struct flush_turns){0};
    r->turns = (struct turns){0};
    r->env = sim_env_new(r->sim);
    cr_assert_eq(sim_dev_open(r->ssd, r->env, &r->ssd_dev), 0);
    cr_assert_eq(sim_meta_open(r->store, &r->meta), 0);
    if (r->on_meta != NULL)
        r->on_meta(r);
    for (unsigned i = 0; i < RIG_HDDS; i++) {
        cr_assert_eq(sim_dev_open(r->hdd[i], r->env, &r->hdd_dev[i]), 0);
        desc[i] = (struct cold_dev_desc){.ext_base_bytes = ext_base(r, i), .ext_nr = r->o.hdd_extents, .ring_nr = ring_nr(r, i),
                                         .nr_shards = 1, .pool = r->geo.pool, .uuid = {{0xd0, (uint8_t)i}}};
    }
    cr_assert_eq(cold_new(desc, RIG_HDDS, &r->cold), 0);
    cold_set_generation(r->cold, ++r->boots);
    err = segpool_open(r->ssd_dev, &r->geo, freed_epoch, r, &r->segpool);
    if (err != 0)
        return err;
    so = (struct shard_opts){.tier = &r->opts, .env = r->env, .segpool = r->segpool, .journal_dev = r->ssd_dev,
                             .nr_capacity = RIG_HDDS, .cold = r->cold, .flush_turns = &r->flush_turns, .turns = &r->turns,
                             .meta = r->meta};
    for (unsigned i = 0; i < RIG_HDDS; i++)
        so.capacity[i] = r->hdd_dev[i];
    add_caches(r, &so);
    cr_assert_eq(shard_new(&so, &r->shard), 0);
    shard_set_bugs(r->shard, &r->bugs, NULL);
    r->vol = (struct volume){.shard = r->shard, .layer = RIG_LAYER, .size_blocks = r->o.volume_blocks};
    blk_init(&r->vol.blk, &ops, r->env, r->o.lba_bytes, r->o.volume_blocks * (BLOCK_BYTES / r->o.lba_bytes));
    cr_assert_eq(shard_attach(r->shard, &r->vol), 0);
    err = shard_recover(r->shard, &r->report, &layer_max, why);
    if (err == 0 && r->on_recovered != NULL)
        r->on_recovered(r);
    err = err ? err : shard_open_log(r->shard);
    if (err == 0) {
        shard_heat_load(r->shard);
        shard_start(r->shard);
    }
    return err;
}

static void close_all(struct rig *r)
{
    r->meta->ops->close(r->meta);
    shard_free(r->shard);
    if (r->segpool != NULL)
        segpool_close(r->segpool);
    cold_free(r->cold);
    dev_close(r->ssd_dev);
    for (unsigned i = 0; i < RIG_HDDS; i++)
        dev_close(r->hdd_dev[i]);
    for (unsigned i = 0; i < RIG_CACHES; i++) {
        if (r->cache_dev[i] != NULL)
            dev_close(r->cache_dev[i]);
        r->cache_dev[i] = NULL;
    }
    sim_env_free(r->env);
    r->shard = NULL;
    r->segpool = NULL;
}

void rig_crash(struct rig *r)
{
    if (!sim_crashed(r->sim))
        sim_crash(r->sim);
    close_all(r);
    sim_reboot(r->sim);
}

void rig_restart(struct rig *r)
{
    rig_crash(r);
    cr_assert_eq(rig_boot(r), 0);
}

void rig_fini(struct rig *r)
{
    rig_crash(r);
    sim_disk_free(r->ssd);
    for (unsigned i = 0; i < RIG_HDDS; i++)
        sim_disk_free(r->hdd[i]);
    for (unsigned i = 0; i < r->o.caches; i++)
        sim_disk_free(r->cache[i]);
    sim_meta_store_free(r->store);
    sim_free(r->sim);
}

void rig_drain(struct rig *r, bool destage_all)
{
    bool done = false;

    shard_drain(r->shard, destage_all, rig_set, &done);
    cr_assert_eq(sim_run_until(r->sim, rig_is_set, &done, 1000 * NS_PER_S), 0);
    shard_verify(r->shard);
}

void rig_stop(struct rig *r)
{
    rig_drain(r, false);
    cr_assert_eq(shard_stop(r->shard, 1), 0);
    close_all(r);
}

/* ---- requests ---- */

void rig_ended(struct blk_io *io) { rig_set(io->ctx); }

static int run(struct rig *r, struct blk_io *io)
{
    bool done = false;

    io->cb = rig_ended;
    io->ctx = &done;
    blk_submit(&r->vol.blk, io);
    cr_assert_not(done, "never from inside the submission");
    cr_assert_eq(sim_run_until(r->sim, rig_is_set, &done, 1000 * NS_PER_S), 0);
    return io->err;
}

void rig_fill(const struct rig *r, char *buf, uint64_t lba, uint32_t nlb, uint64_t stamp)
{
    size_t per = r->o.lba_bytes / 8;

    for (uint32_t i = 0; i < nlb; i++) {
        for (size_t k = 0; k < per; k++) {
            uint64_t word = stamp == 0 ? 0 : k % 2 == 0 ? lba + i : stamp;

            memcpy(buf + (i * per + k) * 8, &word, 8);
        }
    }
}

static void *buf_new(const struct rig *r, uint32_t nlb)
{
    return aligned_alloc(BLOCK_BYTES, ROUND_UP((size_t)nlb * r->o.lba_bytes, (size_t)BLOCK_BYTES));
}

int rig_write(struct rig *r, uint64_t lba, uint32_t nlb, uint64_t stamp)
{
    char *buf = buf_new(r, nlb);
    struct iovec iov = {buf, (size_t)nlb * r->o.lba_bytes};
    struct blk_io io = {.op = BLK_WRITE, .lba = lba, .nlb = nlb, .iov = &iov, .iovcnt = 1};
    int err;

    rig_fill(r, buf, lba, nlb, stamp);
    err = run(r, &io);
    free(buf);
    return err;
}

int rig_zero(struct rig *r, uint64_t lba, uint32_t nlb)
{
    struct blk_io io = {.op = BLK_WRITE_ZEROES, .lba = lba, .nlb = nlb};

    return run(r, &io);
}

int rig_read(struct rig *r, uint64_t lba, uint32_t nlb, char *buf)
{
    struct iovec iov = {buf, (size_t)nlb * r->o.lba_bytes};
    struct blk_io io = {.op = BLK_READ, .lba = lba, .nlb = nlb, .iov = &iov, .iovcnt = 1};

    return run(r, &io);
}

void rig_expect(struct rig *r, uint64_t lba, uint32_t nlb, uint64_t stamp)
{
    char *got = buf_new(r, nlb), *want = buf_new(r, nlb);

    cr_assert_eq(rig_read(r, lba, nlb, got), 0);
    rig_fill(r, want, lba, nlb, stamp);
    cr_assert_eq(memcmp(got, want, (size_t)nlb * r->o.lba_bytes), 0, "lba %lu+%u is not of stamp %lu", (unsigned long)lba, nlb,
                 (unsigned long)stamp);
    free(got);
    free(want);
}

uint64_t rig_log_offset(struct rig *r, uint64_t block)
{
    uint32_t id = index_find(&r->shard->ix, 1, block);
    struct index_entry e;

    if (id == INDEX_NONE || index_is_virtual(&r->shard->ix, id))
        return 0;
    index_get(&r->shard->ix, id, &e);
    return r->geo.base_bytes + (uint64_t)e.segment * r->o.segment_bytes + (uint64_t)e.unit * JOURNAL_UNIT_BYTES;
}

int rig_description(struct rig *r, const struct extent *e, struct extent_desc *d)
{
    static char buf[DESC_BYTES];
    struct sim_disk *disk = r->hdd[e->place.dev];
    struct extent_desc entry;
    int err;

    sim_disk_peek(disk, cold_desc_offset(r->cold, e->place), buf, sizeof(buf));
    err = extent_desc_decode(buf, d);
    for (uint32_t i = 0; i < ring_nr(r, e->place.dev); i++) {
        sim_disk_peek(disk, ring_offset(i), buf, sizeof(buf));
        if (extent_desc_decode(buf, &entry) != 0 || entry.slot != e->place.slot || (err == 0 && !desc_younger(&entry.age, &d->age)))
            continue;
        *d = entry;
        err = 0;
    }
    return err;
}

struct extent *rig_extent(const struct rig *r, uint32_t no)
{
    return extent_at(&r->shard->xt, extent_find(&r->shard->xt, layer_find(r->shard, RIG_LAYER), no));
}

uint64_t rig_device_reads(const struct rig *r) { return r->hdd_dev[0]->stats.ops[DEV_READ] + r->hdd_dev[1]->stats.ops[DEV_READ]; }

void rig_spoil_cold(struct rig *r, uint64_t block)
{
    static const char noise[BLOCK_BYTES] = {[0 ... BLOCK_BYTES - 1] = (char)0xd1};
    struct extent_place p = rig_extent(r, extent_no(block))->place;

    sim_disk_poke(r->hdd[p.dev], cold_offset(r->cold, p) + block % EXTENT_BLOCKS * BLOCK_BYTES, noise, BLOCK_BYTES);
}

uint64_t rig_used(struct rig *r)
{
    uint64_t total, used;

    cold_usage(r->cold, EXTENT_NO_DEV, &total, &used);
    return used;
}

/* ---- callbacks, and what to wait for ---- */

void rig_set(void *flag) { *(bool *)flag = true; }
bool rig_is_set(void *flag) { return *(bool *)flag; }
void rig_nothing(void *ctx) { (void)ctx; }

void rig_detached(void *flag, int err)
{
    cr_assert_eq(err, 0);
    rig_set(flag);
}

static struct shard *shard_of(void *rig) { return ((struct rig *)rig)->shard; }

bool rig_clean(void *rig) { return shard_of(rig)->ix.nr_dirty == 0; }
bool rig_destage_failed(void *rig) { return shard_of(rig)->stats.destage_errors > 0; }
bool rig_places_rest(void *rig) { return !places_busy(shard_of(rig)); }

bool rig_flushing(void *rig)
{
    const struct shard *s = shard_of(rig);

    return s->lanes[0].state == LANE_FLUSH || s->lanes[1].state == LANE_FLUSH;
}

bool rig_lane_writes(void *rig)
{
    const struct shard *s = shard_of(rig);

    return lane_writes(&s->lanes[0]) || lane_writes(&s->lanes[1]);
}

void rig_places_settle(struct rig *r) { cr_assert_eq(sim_run_until(r->sim, rig_places_rest, r, 100 * NS_PER_S), 0); }
