/* SPDX-License-Identifier: Apache-2.0 */
/* check_meta.c: every record of the metadata alone, then against the others.
 *
 * The scan meets tags in the order of the alphabet: sums, extents, hosts, layers, volumes; what refers to what is judged
 * once all are there. I1: extents lie inside their volume. I2, I12: every place has one owner and is on its device.
 * I3: a layer has one volume and a volume its layer. I13: what the volumes map is what the pool has in use.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "tier/check.h"
#include "tier/format_heat.h"

static unsigned long long ull(uint64_t v) { return v; }

static int see_volume(struct check *c, const struct meta_key *key, const void *value, uint32_t len)
{
    struct check_volume *v;
    struct volume_rec rec;
    uint64_t id = 0;
    int err = meta_key_parse_id(key, 'V', &id);

    if (!err)
        err = volume_rec_decode(value, len, &rec);
    if (err || rec.id != id || rec.shard >= c->off.pool.nr_shards || id >= c->off.pool.next_volume_id ||
        rec.layer >= c->off.pool.next_layer_id) {
        check_say(c, "I3", CHECK_LOSS, "the record of volume %llu is malformed", ull(id));
        return 0;
    }
    v = check_grow((void **)&c->vols, &c->nr_vols, &c->cap_vols, sizeof(*v));
    if (v == NULL)
        return -ENOMEM;
    v->rec = rec;
    return 0;
}

static int see_extent(struct check *c, const struct meta_key *key, const void *value, uint32_t len)
{
    struct check_extent *e;
    struct extent_rec rec;
    uint64_t layer = 0, extent = 0;
    int err = meta_key_parse_extent(key, 'E', &layer, &extent);

    if (!err)
        err = extent_rec_decode(value, len, &rec);
    if (err) {
        check_say(c, "I1", CHECK_LOSS, "layer %llu extent %llu: its record is malformed", ull(layer), ull(extent));
        return 0;
    }
    e = check_grow((void **)&c->exts, &c->nr_exts, &c->cap_exts, sizeof(*e));
    if (e == NULL)
        return -ENOMEM;
    *e = (struct check_extent){.layer = layer, .extent = extent, .rec = rec};
    return 0;
}

static int see_sums(struct check *c, const struct meta_key *key, const void *value, uint32_t len)
{
    struct check_sums *s;
    struct extent_sums sums;
    uint64_t layer = 0, extent = 0, valid = 0;
    int err = meta_key_parse_extent(key, 'C', &layer, &extent);

    if (!err)
        err = extent_sums_decode(value, len, &sums);
    if (err) {
        check_say(c, "I11", CHECK_LOSS, "layer %llu extent %llu: its checksums are malformed", ull(layer), ull(extent));
        return 0;
    }
    s = check_grow((void **)&c->sums, &c->nr_sums, &c->cap_sums, sizeof(*s));
    if (s == NULL)
        return -ENOMEM;
    for (unsigned w = 0; w < EXTENT_BLOCKS / 64; w++) {
        valid |= sums.valid[w];
        if (sums.damaged[w] != 0)
            check_say(c, "I11", CHECK_LOSS, "layer %llu extent %llu: the newest bytes of %d blocks were lost before", ull(layer),
                      ull(extent), __builtin_popcountll(sums.damaged[w]));
    }
    *s = (struct check_sums){.layer = layer, .extent = extent, .any_valid = valid != 0};
    return 0;
}

static int see_small(struct check *c, const struct meta_key *key, const void *value, uint32_t len)
{
    char nqn[NQN_MAX_BYTES + 1];
    struct device_rec device;
    struct layer_rec layer;
    struct shard_rec shard;
    struct heat_rec heat;
    uint64_t id = 0, v;
    uint32_t n;
    bool ok;

    switch (key->b[0]) {
    case 'D':
        ok = key->len == 5 && device_rec_decode(value, len, &device) == 0;
        break;
    case 'G':
        ok = meta_key_parse_id(key, 'G', &id) == 0 && segment_rec_decode(value, len, &v) == 0 &&
             id < c->off.devs.dev[0].label.seg_nr;
        break;
    case 'H':
        ok = meta_key_parse_host(key, &v, &n) == 0 && n < HOSTS_PER_VOLUME_MAX && host_rec_decode(value, len, nqn) == 0;
        break;
    case 'L':
        ok = meta_key_parse_id(key, 'L', &id) == 0 && layer_rec_decode(value, len, &layer) == 0;
        break;
    case 'T': /* disposable: what is wrong with one costs its heat */
        ok = meta_key_parse_heat(key, &id, &n) == 0 && heat_rec_decode(value, len, &heat) == 0;
        break;
    case 'S':
        ok = meta_key_parse_id(key, 'S', &id) == 0 && id < c->off.pool.nr_shards && shard_rec_decode(value, len, &shard) == 0;
        break;
    default:
        ok = key->b[0] == 'P' && key->len == 1;
        break;
    }
    if (!ok)
        check_say(c, "I3", CHECK_HARMLESS, "metadata: a record of kind %02x with %u bytes of key is malformed or unknown", key->b[0],
                  key->len);
    return 0;
}

static int see(void *ctx, const struct meta_key *key, const void *value, uint32_t len)
{
    struct check *c = ctx;

    if (value == NULL) { /* the walk has named it already; a seam's metadata has no walk */
        if (c->off.opts->seams.meta_open != NULL)
            check_say(c, "I11", key->b[0] == 'T' ? CHECK_HARMLESS : CHECK_LOSS, "metadata: a record of kind %02x fails its checksum",
                      key->b[0]);
        return 0;
    }
    if (c->off.opts->seams.meta_open != NULL)
        c->report->records++;
    switch (key->b[0]) {
    case 'V': return see_volume(c, key, value, len);
    case 'E': return see_extent(c, key, value, len);
    case 'C': return see_sums(c, key, value, len);
    default: return see_small(c, key, value, len);
    }
}

/* ---- against each other ---- */

static void judge_volume(struct check *c, const struct check_volume *v)
{
    struct meta_key key = meta_key_layer(v->rec.layer);
    uint8_t buf[META_VALUE_MAX];
    struct layer_rec layer;
    uint32_t len = 0, hosts = 0;

    if (c->off.meta->ops->get_sync(c->off.meta, &key, buf, &len) != 0 || layer_rec_decode(buf, len, &layer) != 0 ||
        layer.volume != v->rec.id || layer.parent != 0)
        check_say(c, "I3", CHECK_LOSS, "volume %s: the record of its layer %llu is missing or names another", v->rec.name,
                  ull(v->rec.layer));
    for (; hosts < v->rec.nr_hosts; hosts++) {
        key = meta_key_host(v->rec.id, hosts);
        if (c->off.meta->ops->get_sync(c->off.meta, &key, buf, &len) != 0)
            check_say(c, "I3", CHECK_HARMLESS, "volume %s: host %u of its list is missing", v->rec.name, hosts);
    }
}

static void judge_layers(struct check *c)
{
    for (size_t i = 0; i + 1 < c->nr_vols; i++) {
        if (c->vols[i].rec.layer >= c->vols[i + 1].rec.layer)
            check_say(c, "I3", CHECK_LOSS, "volumes %llu and %llu: their layers are out of order", ull(c->vols[i].rec.id),
                      ull(c->vols[i + 1].rec.id));
    }
}

static int by_name(const void *a, const void *b)
{
    return strcmp((*(const struct check_volume *const *)a)->rec.name, (*(const struct check_volume *const *)b)->rec.name);
}

static int judge_twins(struct check *c)
{
    const struct check_volume **v = calloc(MAX(c->nr_vols, (size_t)1), sizeof(const struct check_volume *));

    if (v == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < c->nr_vols; i++)
        v[i] = &c->vols[i];
    qsort(v, c->nr_vols, sizeof(const struct check_volume *), by_name);
    for (size_t i = 0; i + 1 < c->nr_vols; i++)
        if (strcmp(v[i]->rec.name, v[i + 1]->rec.name) == 0)
            check_say(c, "I3", CHECK_LOSS, "two volumes are named %s", v[i]->rec.name);
    free(v);
    return 0;
}

/* A log that is the wrong one is behind every extent: one line a volume, not one an extent. */
static void note_behind(struct check_volume *v, const struct check_extent *e)
{
    uint32_t last = v->nr_ranges - 1;

    v->behind++;
    v->behind_seq = MAX(v->behind_seq, e->rec.destaged_seq);
    if (v->nr_ranges > 0 && v->range[last].last + 1 == e->extent)
        v->range[last].last = e->extent;
    else if (v->nr_ranges < BEHIND_RANGES) {
        v->range[v->nr_ranges].first = v->range[v->nr_ranges].last = e->extent;
        v->nr_ranges++;
    }
}

static void say_behind(struct check *c, const struct check_volume *v)
{
    char ranges[BEHIND_RANGES * 48] = "";
    uint64_t named = 0;
    size_t n = 0;

    if (v->behind == 0)
        return;
    for (uint32_t i = 0; i < v->nr_ranges; i++) {
        uint64_t first = v->range[i].first, last = v->range[i].last;

        n += (size_t)snprintf(ranges + n, sizeof(ranges) - n, "%s%llu", i ? ", " : "", ull(first));
        if (last > first)
            n += (size_t)snprintf(ranges + n, sizeof(ranges) - n, "-%llu", ull(last));
        named += last - first + 1;
    }
    check_say(c, "I8", CHECK_LOSS, "volume %s: %llu extent%s (%s%s) destaged up to %llu, its log ends at %llu", v->rec.name,
              ull(v->behind), v->behind == 1 ? "" : "s", ranges, named < v->behind ? ", ..." : "", ull(v->behind_seq),
              ull(c->off.reports[v->rec.shard].seq_max));
}

static void judge_extent(struct check *c, struct cold *cold, const struct check_extent *e, uint64_t *placed)
{
    const struct check_volume *v = check_volume_of_layer(c, e->layer);
    bool tomb = e->rec.place.dev == EXTENT_NO_DEV;

    if (v == NULL)
        check_say(c, "I1", CHECK_LOSS, "layer %llu extent %llu belongs to no volume", ull(e->layer), ull(e->extent));
    else if (e->extent >= v->rec.size_bytes / EXTENT_BYTES)
        check_say(c, "I1", CHECK_LOSS, "volume %s: extent %llu lies behind its end", v->rec.name, ull(e->extent));
    if (v != NULL && e->rec.destaged_seq > c->off.reports[v->rec.shard].seq_max)
        note_behind(&c->vols[v - c->vols], e);
    if (tomb)
        return;
    if (cold_mark(cold, e->rec.place) != 0)
        check_say(c, "I2", CHECK_LOSS, "layer %llu extent %llu: its place, device %u slot %u, does not exist or has another owner",
                  ull(e->layer), ull(e->extent), e->rec.place.dev, e->rec.place.slot);
    else
        ++*placed;
    if (!e->has_sums)
        check_say(c, "I11", CHECK_LOSS, "layer %llu extent %llu has no checksums", ull(e->layer), ull(e->extent));
}

/* Both lists are in key order: one pass joins them. */
static void join_sums(struct check *c)
{
    size_t i = 0;

    for (size_t k = 0; k < c->nr_sums; k++) {
        const struct check_sums *s = &c->sums[k];
        struct check_extent *e = NULL;

        while (i < c->nr_exts &&
               (c->exts[i].layer < s->layer || (c->exts[i].layer == s->layer && c->exts[i].extent < s->extent)))
            i++;
        if (i < c->nr_exts && c->exts[i].layer == s->layer && c->exts[i].extent == s->extent)
            e = &c->exts[i];
        if (e != NULL)
            e->has_sums = true;
        if (e == NULL || (s->any_valid && e->rec.place.dev == EXTENT_NO_DEV))
            check_say(c, "I2", CHECK_LOSS, "layer %llu extent %llu has checksums and no place", ull(s->layer), ull(s->extent));
    }
}

/* ---- second places ---- */

struct twins { struct check *c; struct cold *cold; uint64_t more; }; /* more: of extents that have a place */

static bool twin_owed(void *ctx, uint64_t layer, uint64_t extent, uint64_t seq)
{
    const struct check *c = ((struct twins *)ctx)->c;
    const struct check_volume *v = check_volume_of_layer(c, layer);
    const struct check_extent *e = check_extent_find(c, layer, extent);

    return v != NULL && !(v->rec.flags & VOLUME_DELETING) && (e == NULL || seq > e->rec.destaged_seq);
}

static int judge_twin(void *ctx, const struct log_rec *const *recs, size_t nr)
{
    const struct log_rec *r = recs[0];
    struct twins *t = ctx;
    const struct check_extent *e = check_extent_find(t->c, r->layer, r->lba / EXTENT_BLOCKS);
    const struct pool_dev *d;
    struct extent_place p;
    uint64_t off;

    (void)nr;
    if (!offline_placed(&t->c->off, r, &d, &off) || !extent_place_decode(r->place, &p) || cold_mark(t->cold, p) != 0)
        check_say(t->c, "I2", CHECK_LOSS,
                  "layer %llu extent %llu: the place that the log names, %#llx, does not exist or has another owner",
                  ull(r->layer), ull(r->lba / EXTENT_BLOCKS), ull(r->place));
    else
        t->more += e != NULL && e->rec.place.dev != EXTENT_NO_DEV;
    return 0;
}

/* ---- room ---- */

struct room { const struct check *c; uint64_t need; };

static bool unplaced(void *ctx, uint64_t layer, uint64_t extent, uint64_t seq)
{
    const struct check *c = ((struct room *)ctx)->c;
    const struct check_volume *v = check_volume_of_layer(c, layer);
    const struct check_extent *e = check_extent_find(c, layer, extent);

    return v != NULL && !(v->rec.flags & VOLUME_DELETING) &&
           (e == NULL || (e->rec.place.dev == EXTENT_NO_DEV && seq > e->rec.destaged_seq));
}

static void needs(void *ctx, uint64_t layer)
{
    (void)layer;
    ((struct room *)ctx)->need++;
}

/* A start reserves a place for what the log holds beyond the map; a server never takes more, a map that was made anew may. */
static int judge_room(struct check *c, uint64_t used, uint64_t total)
{
    struct room room = {.c = c};
    struct space_ask ask = {.ctx = &room, .unplaced = unplaced, .needs = needs};
    int err = offline_space(&c->off, &ask);

    if (!err && used + room.need > total)
        check_say(c, "I13", CHECK_HARMLESS, "the pool has no room to start: what the log holds will take %llu extents of 1 MiB, of %llu "
                  "the volumes have %llu: %llu MiB too few; make the map again without a volume that had been deleted: move the "
                  "metadata aside, then firnctl check --rebuild-map DIR --without VOLUME", ull(room.need), ull(total), ull(used),
                  ull(used + room.need - total));
    return err;
}

static int judge_space(struct check *c)
{
    struct twins twins = {.c = c};
    struct twin_ask ask = {.ctx = &twins, .owed = twin_owed, .twin = judge_twin};
    uint64_t placed = 0, total, used;
    struct cold *cold;
    int err = pool_cold_new(&c->off.devs, &cold);

    if (err)
        return err;
    for (size_t i = 0; i < c->nr_exts; i++)
        judge_extent(c, cold, &c->exts[i], &placed);
    for (size_t i = 0; i < c->nr_vols; i++)
        say_behind(c, &c->vols[i]);
    cold_usage(cold, EXTENT_NO_DEV, &total, &used);
    if (used != placed || used > total)
        check_say(c, "I13", CHECK_LOSS, "volumes map %llu extents, the pool has %llu of %llu in use", ull(placed), ull(used), ull(total));
    twins.cold = cold;
    err = offline_twins(&c->off, &ask);
    cold_free(cold);
    return err ? err : judge_room(c, used + twins.more, total);
}

int check_records(struct check *c)
{
    struct meta_key all = {.len = 0};
    int err = c->off.meta->ops->scan_sync(c->off.meta, &all, see, c);

    if (err)
        return err;
    for (size_t i = 0; i < c->nr_vols; i++)
        judge_volume(c, &c->vols[i]);
    judge_layers(c);
    err = judge_twins(c);
    if (err)
        return err;
    join_sums(c);
    return judge_space(c);
}
