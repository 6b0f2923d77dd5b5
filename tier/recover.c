/* SPDX-License-Identifier: Apache-2.0 */
/* recover.c: a shard after a start, clean or not. Straight-line, before the threads run; idempotent.
 *
 * 1. The 'E' records of the attached layers: places are marked as taken, destaged_seq says what the log still owes.
 * 2. The log is replayed. A record of a layer that is not attached, or is being deleted: ignore. seq <= destaged_seq: a clean
 *    copy if its checksum is the map's, else stale. Above: dirty, if nothing newer is known. Damage below the durable mark
 *    becomes an entry that fails reads.
 * 3. Zeroed ranges are collected and applied at the end (recover_zero.c).
 * 4. Dirty extents without a place get their reservation back. Then the log opens, what slot segments hold is found again
 *    (recover_places.c), and background work may follow.
 * Of two records the higher seq wins; equal seqs carry equal bytes, the later segment wins (its predecessor is the victim
 * that was being emptied), but intact bytes win over damage.
 * Failures: a map record that fails its checksum, or a place taken twice: refused, nothing is written.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "tier/describe.h"
#include "tier/map.h"
#include "tier/migrate.h"
#include "tier/reclaim.h"
#include "tier/recover.h"
#include "tier/ring.h"
#include "tier/sums.h"
#include "tier/twin.h"

struct recovery {
    struct shard *s;
    struct zero_rec *zeroes;
    size_t nr, cap;
    uint64_t seq_named;          /* highest seq that the metadata names */
    uint64_t damaged_ranges;
    uint64_t layer_max;          /* highest id that the log names */
    uint32_t layer;              /* being loaded */
    char *why;
};

/* ---- the map ---- */

static int load_extent(void *ctx, const struct meta_key *key, const void *value, uint32_t len)
{
    struct recovery *r = ctx;
    struct shard *s = r->s;
    uint64_t layer, no;
    struct extent_rec rec;
    struct extent *e;
    uint32_t x;
    int err = meta_key_parse_extent(key, 'E', &layer, &no);

    if (err == 0)
        err = value == NULL || no > UINT32_MAX ? -FIRN_E_CORRUPT : extent_rec_decode(value, len, &rec);
    if (err == 0 && rec.place.dev != EXTENT_NO_DEV)
        err = cold_mark(s->o.cold, rec.place);
    if (err != 0) {
        snprintf(r->why, 256, "the map record of layer %llu, extent %llu is damaged: %.80s",
                 (unsigned long long)layer_at(s, r->layer)->id, err == -FIRN_E_CORRUPT ? 0ull : (unsigned long long)no, err_text(err));
        return err;
    }
    x = extent_add(&s->xt, r->layer, (uint32_t)no);
    if (x == EXTENT_NONE)
        return -FIRN_E_NO_RESOURCES;
    e = extent_at(&s->xt, x);
    e->place = rec.place;
    e->destaged_seq = rec.destaged_seq;
    e->flags = EXTENT_RECORD;
    figure_add(&layer_at(s, r->layer)->nr_placed, extent_placed(e));
    figure_add(&layer_at(s, r->layer)->nr_flash, migrate_is_flash(s, e->place));
    r->seq_named = MAX(r->seq_named, rec.destaged_seq);
    return 0;
}

static int load_map(struct recovery *r)
{
    struct shard *s = r->s;

    for (uint32_t l = 1; l <= s->layers_touched; l++) {
        struct meta_key prefix = meta_key_layer_extents(layer_at(s, l)->id);
        int err;

        if (layer_at(s, l)->id == 0)
            continue;
        r->layer = l;
        err = s->o.meta->ops->scan_sync(s->o.meta, &prefix, load_extent, r);
        if (err != 0)
            return err;
    }
    return 0;
}

/* What the metadata knows of this shard's log. */
static int load_shard_rec(struct recovery *r, struct shard_rec *rec)
{
    struct shard *s = r->s;
    struct meta_key key = meta_key_shard(s->o.no);
    uint8_t buf[META_VALUE_MAX];
    uint32_t len = 0;
    int err = s->o.meta->ops->get_sync(s->o.meta, &key, buf, &len);

    *rec = (struct shard_rec){0};
    if (err == -FIRN_E_NOT_FOUND)
        return 0;
    err = err ? err : shard_rec_decode(buf, len, rec);
    r->seq_named = MAX(r->seq_named, rec->durable_seq);
    described_load(s, rec->described_seq);
    ring_load(s, rec);
    return err;
}

/* ---- the log ---- */

/* May an entry with this seq stand where `old` is? Intact bytes also replace damage of the same seq. */
static bool newer(const struct shard *s, uint32_t old, uint64_t seq, bool damage)
{
    uint64_t have;

    if (old == INDEX_NONE)
        return true;
    if (s->bugs.placed_beats_newer && in_twin(s, old))
        return false;
    have = index_seq(&s->ix, old);
    return damage ? seq > have : seq >= have;
}

/* Two records of a log that nobody wrote may claim one place. */
static bool slot_of_another(const struct shard *s, const struct index_entry *e, uint32_t old)
{
    uint32_t id = index_slot_id(&s->ix, e->segment, e->unit);

    return id != old && index_slot_used(&s->ix, id);
}

static int put_entry(struct shard *s, struct index_entry *e, bool damage)
{
    uint32_t old = index_find(&s->ix, e->layer, e->block);
    bool virt = (e->flags & (INDEX_ZERO | INDEX_DAMAGED)) != 0;

    if (!newer(s, old, e->seq, damage))
        return 0;
    if (virt && index_virtual_free(&s->ix) == 0 && (old == INDEX_NONE || !index_is_virtual(&s->ix, old)))
        return -FIRN_E_NO_RESOURCES;
    if (!virt && slot_of_another(s, e, old))
        return -FIRN_E_CORRUPT;
    map_put(s, e);
    return 0;
}

/* A record that the map has taken: still a clean copy if its bytes are the map's. */
static int put_if_clean(struct shard *s, uint32_t x, struct index_entry *e)
{
    uint32_t i = (uint32_t)(e->block % EXTENT_BLOCKS);
    struct sums *m;
    int err;

    if (!extent_mapped(extent_at(&s->xt, x)))
        return 0;
    err = sums_get_sync(s, x, &m);
    if (err != 0 || m->err != 0 || !bit_get(m->v.valid, i) || m->v.csum[i] != e->csum)
        return err;
    e->flags = 0;
    return put_entry(s, e, false);
}

static int replay_block(struct shard *s, struct index_entry *e, bool damage)
{
    uint32_t x = extent_find(&s->xt, e->layer, extent_no(e->block));

    if (x != EXTENT_NONE && e->seq <= extent_at(&s->xt, x)->destaged_seq)
        return e->flags & INDEX_DAMAGED ? 0 : put_if_clean(s, x, e);
    if (x == EXTENT_NONE)
        x = extent_add(&s->xt, e->layer, extent_no(e->block));
    if (x == EXTENT_NONE)
        return -FIRN_E_NO_RESOURCES;
    return put_entry(s, e, damage);
}

static int remember_zero(struct recovery *r, uint32_t layer, const struct journal_record *rec)
{
    if (r->nr == r->cap) {
        size_t cap = r->cap == 0 ? 1024 : 2 * r->cap;
        struct zero_rec *z = realloc(r->zeroes, cap * sizeof(*z));

        if (z == NULL)
            return -ENOMEM;
        r->zeroes = z;
        r->cap = cap;
    }
    r->zeroes[r->nr++] = (struct zero_rec){.seq = rec->seq, .block = rec->lba, .nblocks = rec->nblocks, .layer = layer,
                                           .segment = rec->loc.segment, .epoch = r->s->seg[rec->loc.segment].epoch};
    return 0;
}

/* Metadata that was rolled back, or made anew: the map has the last word on whose the place is. */
static void twin_lost(struct recovery *r, const struct journal_record *rec)
{
    r->damaged_ranges++;
    log_error("the log names a place that another extent has", "layer=%llu lba=%llu blocks=%llu place=%#llx",
              (unsigned long long)rec->layer, (unsigned long long)rec->lba, (unsigned long long)rec->nblocks,
              (unsigned long long)rec->place);
}

/* Blocks that lie in a twin. Of an extent that was destaged with a seq that is not lower nothing is to be had: what the record names is
 * the extent's place, or another's. */
static int replay_placed(struct recovery *r, uint32_t layer, const struct journal_record *rec)
{
    struct shard *s = r->s;
    uint32_t x = extent_find(&s->xt, layer, extent_no(rec->lba));
    struct extent_place p;
    struct twin *t;
    int err = 0;

    if (extent_no(rec->lba) != extent_no(rec->lba + rec->nblocks - 1))
        return -FIRN_E_CORRUPT;
    if (x != EXTENT_NONE && rec->seq <= extent_at(&s->xt, x)->destaged_seq)
        return 0;
    if (x == EXTENT_NONE)
        x = extent_add(&s->xt, layer, extent_no(rec->lba));
    if (x == EXTENT_NONE)
        return -FIRN_E_NO_RESOURCES;
    t = extent_place_decode(rec->place, &p) ? twin_found(s, x, p) : NULL;
    if (t != NULL)
        t->seq_max = MAX(t->seq_max, rec->seq);
    else
        twin_lost(r, rec);
    for (uint64_t i = 0; i < rec->nblocks && err == 0; i++) {
        struct index_entry e = {.layer = layer, .block = rec->lba + i, .seq = rec->seq, .csum = t != NULL ? rec->csum[i] : 0,
                                .segment = rec->loc.segment, .flags = INDEX_DIRTY | INDEX_DAMAGED};

        if (t == NULL)
            err = put_entry(s, &e, true);
        else if (newer(s, index_find(&s->ix, layer, e.block), e.seq, false))
            twin_put(s, t, &e, rec->loc.segment);
    }
    return err;
}

/* The layer of a volume whose deletion a crash cut short: its map is loaded, so that its places go back, but what the log
 * holds of it is nobody's: some of its places may be others' already. 0: nothing to replay. */
static uint32_t layer_to_replay(const struct shard *s, uint64_t id)
{
    uint32_t l = layer_find(s, id);

    return l == 0 || layer_at(s, l)->vol->deleting ? 0 : l;
}

/* The log may know layers that the metadata does not: it was rolled back, and their ids must not be given away again. */
static int see_layer(struct recovery *r, uint64_t id)
{
    r->layer_max = MAX(r->layer_max, id);
    return id < NEXT_ID_MAX ? 0 : -FIRN_E_CORRUPT;
}

static bool range_ok(uint64_t lba, uint64_t nblocks)
{
    uint64_t end = UINT64_C(1) << INDEX_BLOCK_BITS;

    return nblocks > 0 && lba < end && nblocks <= end - lba;
}

static int replay_record(void *ctx, const struct journal_record *rec)
{
    struct recovery *r = ctx;
    struct shard *s = r->s;
    uint32_t layer = layer_to_replay(s, rec->layer);
    int err = see_layer(r, rec->layer);

    map_seg_seq(s, rec->loc.segment, rec->seq);
    if (err != 0 || layer == 0)
        return err;
    if (!range_ok(rec->lba, rec->nblocks) || rec->seq > INDEX_SEQ_MAX || rec->loc.segment >= s->twin_segment)
        return -FIRN_E_CORRUPT;
    if (rec->type == JOURNAL_ZERO)
        return remember_zero(r, layer, rec);
    if (rec->type == JOURNAL_PLACED)
        return replay_placed(r, layer, rec);
    for (uint64_t i = 0; i < rec->nblocks && err == 0; i++) {
        bool payload = rec->type == JOURNAL_WRITE;
        struct index_entry e = {.layer = layer, .block = rec->lba + i, .seq = rec->seq, .segment = rec->loc.segment,
                                .flags = INDEX_DIRTY | (payload ? 0u : (unsigned)INDEX_DAMAGED)};

        if (payload) {
            e.csum = rec->csum[i];
            e.unit = rec->loc.unit + (uint32_t)i * JOURNAL_UNITS_PER_BLOCK;
        }
        err = replay_block(s, &e, false);
    }
    return err;
}

static int replay_damage(void *ctx, const struct journal_damage *d)
{
    struct recovery *r = ctx;
    struct shard *s = r->s;
    uint32_t layer = d->range_known ? layer_to_replay(s, d->layer) : 0;
    int err = d->range_known ? see_layer(r, d->layer) : 0;

    r->damaged_ranges++;
    if (err != 0 || layer == 0 || s->bugs.damaged_falls_through || !range_ok(d->lba, d->nblocks))
        return err;
    map_seg_seq(s, d->segment, d->seq);
    for (uint64_t i = 0; i < d->nblocks && err == 0; i++) {
        struct index_entry e = {.layer = layer, .block = d->lba + i, .seq = d->seq, .segment = d->segment,
                                .flags = INDEX_DIRTY | INDEX_DAMAGED};

        err = replay_block(s, &e, true);
    }
    return err;
}

static void replay_segment(void *ctx, uint32_t segment, const struct segment_info *info)
{
    struct shard *s = ((struct recovery *)ctx)->s;

    if (segment >= s->twin_segment)
        return;
    s->seg[segment].use = info->use;
    s->seg[segment].stream = info->stream;
    s->seg[segment].epoch = info->epoch;
    s->newest_epoch = MAX(s->newest_epoch, info->epoch);
}

/* ---- the end ---- */

/* Zeroed blocks of an extent without a place need none. */
static bool needs_place(const struct shard *s, const struct extent *e)
{
    uint64_t block = (uint64_t)e->no * EXTENT_BLOCKS;

    for (uint32_t i = 0; i < EXTENT_BLOCKS && e->nr_dirty > 0; i++) {
        uint32_t id = index_find(&s->ix, e->layer, block + i);

        if (id != INDEX_NONE && (index_flags_of(&s->ix, id) & (INDEX_DIRTY | INDEX_ZERO)) == INDEX_DIRTY)
            return true;
    }
    return false;
}

static int settle_extents(struct shard *s)
{
    for (uint32_t x = 1; x <= s->xt.touched; x++) {
        struct extent *e = extent_at(&s->xt, x);
        int err = 0;

        if (e->layer == 0)
            continue;
        if (!extent_placed(e) && needs_place(s, e))
            err = map_reserve(s, e);
        if (err != 0)
            return err;
        map_keep_bridges(s, x);
        map_forget_copies(s, x);
        described_start(s, e);
        ring_start(s, x);
        map_settle(s, x);
    }
    return ring_started(s);
}

static int judge(struct recovery *r, const struct journal_replay_report *report, uint64_t durable_seq)
{
    struct shard *s = r->s;
    uint64_t commit_no = meta_commit_no(s->o.meta);

    if (s->t.accept_loss)
        return 0;
    if (report->meta_commit_no_max > commit_no)
        snprintf(r->why, 256, "the metadata is at batch %llu, the journal saw batch %llu: it was rolled back",
                 (unsigned long long)commit_no, (unsigned long long)report->meta_commit_no_max);
    else if (report->seq_max < durable_seq)
        snprintf(r->why, 256, "the journal of shard %u ends at %llu, the metadata knows of %llu: acknowledged writes are missing",
                 s->o.no, (unsigned long long)report->seq_max, (unsigned long long)durable_seq);
    else
        return 0;
    return -FIRN_E_ROLLED_BACK;
}

static int replay(struct recovery *r, struct journal_replay_report *report)
{
    struct journal_replay_ops ops = {.ctx = r, .record = replay_record, .damage = replay_damage, .segment = replay_segment};
    struct shard *s = r->s;
    uint64_t visits;
    int err = journal_replay(s->j, &ops, report);

    if (err == -FIRN_E_CORRUPT && report->groups_unnamed > 0 && report->groups_unnamed == report->groups_maybe) {
        snprintf(r->why, 256, "the journal device cannot read segment %u where the log of shard %u may go on: its last acknowledged writes "
                 "before the crash may stand there, or nothing", report->maybe_segment, s->o.no);
        err = -FIRN_E_ROLLED_BACK; /* as below */
    } else if (err == -FIRN_E_CORRUPT && report->groups_unnamed > 0) {
        snprintf(r->why, 256, "the journal of shard %u lacks %llu or more groups that were durable, and nothing names what they "
                 "held: acknowledged writes are missing", s->o.no, (unsigned long long)report->groups_unnamed);
        err = -FIRN_E_ROLLED_BACK; /* like the rest of what acceptance alone opens */
    }
    if (err != 0)
        return err;
    report->seq_max = MAX(report->seq_max, s->seq_high); /* damaged records count: the map may have named them */
    err = zeroes_apply(s, r->zeroes, r->nr, &visits);
    return err != 0 ? err : settle_extents(s);
}

static int recover_steps(struct recovery *r, struct journal_replay_report *report)
{
    struct shard *s = r->s;
    struct shard_rec rec;
    int err = shard_load(s, r->why);

    r->seq_named = s->seq_named;
    err = err ? err : load_shard_rec(r, &rec);
    err = err ? err : log_make(s, r->seq_named, &rec);
    err = err ? err : replay(r, report);
    return err ? err : judge(r, report, rec.durable_seq);
}

int shard_load(struct shard *s, char why[static 256])
{
    struct recovery r = {.s = s, .why = why};
    int err = s->loaded ? 0 : load_map(&r);

    s->seq_named = MAX(s->seq_named, r.seq_named);
    s->loaded = err == 0;
    return err;
}

int shard_recover(struct shard *s, struct journal_replay_report *report, uint64_t *layer_max, char why[static 256])
{
    struct recovery r = {.s = s, .why = why};
    int err = recover_steps(&r, report);

    free(r.zeroes);
    *layer_max = MAX(*layer_max, r.layer_max);
    if (err != 0)
        return err;
    segpool_free_slots(s->o.segpool, reclaim_free_target(s) + 1); /* what the last run had given back looks as it did before */
    if (r.damaged_ranges > 0)
        log_error("acknowledged data is damaged", "shard=%u ranges=%llu blocks=%llu", s->o.no,
                  (unsigned long long)r.damaged_ranges, (unsigned long long)s->damaged_blocks);
    return 0;
}
