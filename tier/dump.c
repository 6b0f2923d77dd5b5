/* SPDX-License-Identifier: Apache-2.0 */
/* dump.c: on-media structures in words: one line each, key=value, in the order of the media. Trusts nothing; a damaged
 * thing is a line that says what is wrong with it. Reads only.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "tier/check.h"
#include "tier/format_slots.h"
#include "tier/format_heat.h"

static const char *const streams[JOURNAL_STREAM_NR] = {[JOURNAL_HOST] = "host", [JOURNAL_MOVES] = "moves"};

static unsigned long long ull(uint64_t v) { return v; }

static void dump_labels(struct offline *o, struct strbuf *out)
{
    for (uint32_t i = 0; i < o->devs.nr; i++) {
        const struct pool_dev *d = &o->devs.dev[i];
        struct label_copies copies;
        struct label l;
        int err;

        if (d->missing) {
            strbuf_add(out, "device path=\"%s\" missing\n", d->opts.path);
            continue;
        }
        err = label_read(d->on[0], d->bytes, &l, &copies);
        if (!err && l.device_bytes < d->bytes)
            err = label_read(d->on[0], l.device_bytes, &l, &copies);
        strbuf_add(out, "device path=\"%s\" ", d->opts.path);
        if (err)
            strbuf_add(out, "error=\"%s\"", err_text(err));
        else
            label_print(out, &l);
        for (unsigned c = 0; c < LABEL_COPIES; c++)
            if (copies.err[c] != 0)
                strbuf_add(out, " copy_%u=\"%s\"", c, err_text(copies.err[c]));
        strbuf_add(out, "\n");
    }
}

struct dump { struct offline *o; struct strbuf *out; };

static int dump_extent(void *ctx, const struct meta_key *key, const void *value, uint32_t len)
{
    struct dump *d = ctx;
    struct meta_key sums_key;
    struct extent_sums sums;
    struct extent_rec rec;
    uint8_t buf[META_VALUE_MAX];
    uint64_t layer, extent;
    uint32_t valid = 0, damaged = 0, n = 0;
    int err = meta_key_parse_extent(key, 'E', &layer, &extent);

    if (!err)
        strbuf_add(d->out, "extent layer=%llu no=%llu ", ull(layer), ull(extent));
    if (!err)
        err = value == NULL ? -FIRN_E_CORRUPT : extent_rec_decode(value, len, &rec);
    if (err) {
        strbuf_add(d->out, "error=\"%s\"\n", err_text(err));
        return 0;
    }
    sums_key = meta_key_sums(layer, extent);
    err = d->o->meta->ops->get_sync(d->o->meta, &sums_key, buf, &n);
    if (!err)
        err = extent_sums_decode(buf, n, &sums);
    for (unsigned w = 0; w < EXTENT_BLOCKS / 64 && !err; w++) {
        valid += (uint32_t)__builtin_popcountll(sums.valid[w]);
        damaged += (uint32_t)__builtin_popcountll(sums.damaged[w]);
    }
    if (rec.place.dev == EXTENT_NO_DEV)
        strbuf_add(d->out, "place=none destaged_seq=%llu", ull(rec.destaged_seq));
    else
        strbuf_add(d->out, "device=%u slot=%u destaged_seq=%llu", rec.place.dev, rec.place.slot, ull(rec.destaged_seq));
    if (err && err != -FIRN_E_NOT_FOUND)
        strbuf_add(d->out, " checksums=\"%s\"\n", err_text(err));
    else
        strbuf_add(d->out, " valid=%u damaged=%u\n", valid, damaged);
    return 0;
}

static void dump_share(struct strbuf *out, const char *name, uint32_t share)
{
    if (share != 0)
        strbuf_add(out, " %s=%u%s", name, share & ~VOLUME_SHARE_PCT, share & VOLUME_SHARE_PCT ? "%" : "MiB");
}

static void dump_policy(struct strbuf *out, const struct volume_rec *r)
{
    static const char *const admits[] = {[VOLUME_ADMIT_NEVER] = "never", [VOLUME_ADMIT_FIRST] = "first", [VOLUME_ADMIT_SECOND] = "second",
                                         [VOLUME_ADMIT_THIRD] = "third"};

    dump_share(out, "cache_min", r->cache_min);
    dump_share(out, "cache_max", r->cache_max);
    if (r->admit != VOLUME_ADMIT_AUTO)
        strbuf_add(out, " admit=%s", admits[r->admit]);
    if (r->stream_kib == UINT32_MAX)
        strbuf_add(out, " stream_cutoff=none");
    else if (r->stream_kib != 0)
        strbuf_add(out, " stream_cutoff=%uKiB", r->stream_kib);
    strbuf_add(out, "\n");
}

static int dump_volume(void *ctx, const struct meta_key *key, const void *value, uint32_t len)
{
    static const char *const tiers[] = {[VOLUME_AUTO] = "auto", [VOLUME_SSD] = "ssd", [VOLUME_HDD] = "hdd"};
    struct dump *d = ctx;
    struct volume_rec r;
    char uuid[UUID_TEXT_CHARS + 1], nqn[NQN_MAX_BYTES + 1];
    uint8_t buf[META_VALUE_MAX];
    uint64_t id;
    uint32_t n = 0;
    int err = meta_key_parse_id(key, 'V', &id);

    if (!err)
        strbuf_add(d->out, "volume id=%llu ", ull(id));
    if (!err)
        err = value == NULL ? -FIRN_E_CORRUPT : volume_rec_decode(value, len, &r);
    if (err) {
        strbuf_add(d->out, "error=\"%s\"\n", err_text(err));
        return 0;
    }
    strbuf_add(d->out, "name=%s uuid=%s layer=%llu shard=%u bytes=%llu lba=%u tier=%s iops=%llu bandwidth=%llu hosts=%u%s", r.name,
               uuid_format(&r.uuid, uuid), ull(r.layer), r.shard, ull(r.size_bytes), r.lba_bytes, tiers[r.tier], ull(r.iops),
               ull(r.bandwidth), r.nr_hosts, r.flags & VOLUME_DELETING ? " deleting=yes" : "");
    dump_policy(d->out, &r);
    for (uint32_t i = 0; i < r.nr_hosts; i++) {
        struct meta_key host = meta_key_host(id, i);

        err = d->o->meta->ops->get_sync(d->o->meta, &host, buf, &n);
        if (!err)
            err = host_rec_decode(buf, n, nqn);
        strbuf_add(d->out, "host volume=%s nqn=\"%s\"\n", r.name, err ? err_text(err) : nqn);
    }
    return 0;
}

static void damage_line(void *ctx, uint32_t shard, const struct journal_damage *d)
{
    struct dump *dump = ctx;

    strbuf_add(dump->out, "damaged shard=%u segment=%u unit=%u", shard, d->segment, d->unit);
    if (d->range_known)
        strbuf_add(dump->out, " layer=%llu lba=%llu blocks=%llu seq=%llu", ull(d->layer), ull(d->lba), ull(d->nblocks), ull(d->seq));
    strbuf_add(dump->out, "\n");
}

/* What a slot segment says of its places. */
static void dump_slots(struct offline *o, uint32_t segment, uint64_t epoch, struct strbuf *out)
{
    struct segment_at at = segpool_at(o->segpool, segment);
    const struct segpool_geometry *geo = segpool_area(o->segpool, at.area);
    struct slot_page t = {.epoch = epoch, .segment = at.no};
    uint32_t entries = 0, torn = 0, unwritten = 0;
    struct slot_layout l;
    _Alignas(4096) uint8_t buf[BLOCK_BYTES];

    slot_layout_of(geo, &l);
    for (t.page = 0; t.page < l.nr_pages; t.page++) {
        uint64_t off = segpool_offset(o->segpool, segment, slot_page_offset(&l, t.page));
        int err = dev_read_sync(pool_area_dev(&o->devs, at.area, 0), off, buf, l.page_bytes);

        err = err ? err : slot_page_decode(geo, buf, &t);
        unwritten += err == -FIRN_E_NOT_FOUND;
        torn += err != 0 && err != -FIRN_E_NOT_FOUND;
        for (uint32_t i = 0; err == 0 && i < t.nr; i++)
            entries += t.entry[i].layer != 0;
    }
    strbuf_add(out, "slots segment=%u places=%u named=%u pages=%u unwritten=%u torn=%u\n", segment, l.nr_places, entries, l.nr_pages,
               unwritten, torn);
}

static void dump_segments(struct offline *o, struct strbuf *out)
{
    static const char *const uses[] = {[SEGMENT_FREE] = "free", [SEGMENT_LOG_OPEN] = "log-open", [SEGMENT_LOG_SEALED] = "log-sealed",
                                       [SEGMENT_SLOTS] = "slots", [SEGMENT_FREEING] = "freeing"};
    uint32_t nr = segpool_segments(o->segpool);

    for (uint32_t i = 0; i < nr; i++) {
        struct segment_info s;

        segpool_info(o->segpool, i, &s);
        if (s.use == SEGMENT_FREE)
            continue;
        strbuf_add(out, "segment no=%u use=%s shard=%u stream=%s epoch=%llu freed_epoch=%llu seq_min=%llu seq_max=%llu units=%u\n", i,
                   s.use < ARRAY_LEN(uses) ? uses[s.use] : "?", s.shard, s.stream == JOURNAL_HOST ? "host" : "moves", ull(s.epoch),
                   ull(o->epochs[i]), ull(s.seq_min), ull(s.seq_max), s.used_units);
        if (s.use == SEGMENT_SLOTS)
            dump_slots(o, i, s.epoch, out);
    }
    strbuf_add(out, "free segments=%u of=%u\n", segpool_free_nr(o->segpool), nr);
}

static int dump_shard(void *ctx, const struct meta_key *key, const void *value, uint32_t len)
{
    struct dump *d = ctx;
    struct shard_rec rec;
    uint64_t no = 0;
    int err = meta_key_parse_id(key, 'S', &no);

    if (!err)
        err = value == NULL || no >= REACTORS_MAX ? -FIRN_E_CORRUPT : shard_rec_decode(value, len, &rec);
    if (err) {
        strbuf_add(d->out, "marks shard=%llu error=\"%s\"\n", ull(no), err_text(err));
        return 0;
    }
    d->o->shard[no] = rec;
    strbuf_add(d->out, "marks shard=%llu durable_seq=%llu", ull(no), ull(rec.durable_seq));
    for (unsigned i = 0; i < JOURNAL_STREAM_NR; i++)
        strbuf_add(d->out, " %s_group=%llu %s_segment=%u %s_epoch=%llu", streams[i], ull(rec.mark[i].group), streams[i],
                   rec.mark[i].segment, streams[i], ull(rec.mark[i].epoch));
    strbuf_add(d->out, " described_seq=%llu final=%s", ull(rec.described_seq), rec.marks_final ? "yes" : "no");
    for (uint32_t i = 0; i < rec.nr_rings; i++)
        strbuf_add(d->out, " ring%u_head=%u ring%u_homed_seq=%llu", i, rec.ring[i].head, i, ull(rec.ring[i].homed_seq));
    strbuf_add(d->out, "\n");
    return 0;
}

static int dump_journal(struct dump *d, char why[static 256])
{
    static const char *const types[] = {[JOURNAL_WRITE] = "write", [JOURNAL_ZERO] = "zero", [JOURNAL_DAMAGED] = "damaged",
                                        [JOURNAL_PLACED] = "placed"};
    struct meta_key shards = meta_key_tag('S');
    struct offline *o = d->o;
    int err = o->meta->ops->scan_sync(o->meta, &shards, dump_shard, d);

    if (!err)
        err = offline_segments(o, why);

    if (err)
        return err;
    dump_segments(o, d->out);
    err = offline_replay(o, damage_line, d, why);
    if (err)
        return err;
    for (size_t i = 0; i < o->nr_recs; i++) {
        const struct log_rec *r = &o->recs[i];
        struct extent_place p;

        strbuf_add(d->out, "record type=%s shard=%u stream=%s segment=%u unit=%u layer=%llu lba=%llu blocks=%llu seq=%llu",
                   (unsigned)r->type < ARRAY_LEN(types) ? types[r->type] : "?", r->shard,
                   r->stream == JOURNAL_HOST ? "host" : "moves", r->loc.segment, r->loc.unit, ull(r->layer), ull(r->lba),
                   ull(r->nblocks), ull(r->seq));
        if (r->type == JOURNAL_PLACED && extent_place_decode(r->place, &p))
            strbuf_add(d->out, " dev=%u slot=%u", p.dev, p.slot);
        strbuf_add(d->out, "\n");
    }
    for (uint32_t i = 0; i < o->pool.nr_shards; i++)
        strbuf_add(d->out, "shard no=%u seq_max=%llu meta_commit_no_max=%llu groups=%llu torn=%llu stale=%llu cut=%llu corrupt=%llu\n",
                   i, ull(o->reports[i].seq_max), ull(o->reports[i].meta_commit_no_max), ull(o->reports[i].groups),
                   ull(o->reports[i].groups_torn), ull(o->reports[i].groups_stale), ull(o->reports[i].groups_cut),
                   ull(o->reports[i].groups_corrupt));
    return 0;
}

static int dump_heat(void *ctx, const struct meta_key *key, const void *value, uint32_t len)
{
    struct dump *d = ctx;
    struct heat_rec rec;
    uint64_t layer;
    uint32_t group;
    int err = meta_key_parse_heat(key, &layer, &group);

    if (!err)
        err = value == NULL ? -FIRN_E_CORRUPT : heat_rec_decode(value, len, &rec);
    if (err) {
        strbuf_add(d->out, "heat error=\"%s\"\n", err_text(err));
        return 0;
    }
    for (uint32_t i = 0; i < HEAT_GROUP_CELLS; i++)
        if (rec.v[i].read > 0 || rec.v[i].write > 0 || rec.v[i].use > 0)
            strbuf_add(d->out, "heat layer=%llu mib=%llu clock_s=%u read=%.2f write=%.2f use=%.2f\n", ull(layer),
                       ull((uint64_t)(group * HEAT_GROUP_CELLS + i) * HEAT_CELL_BYTES / MIB), rec.clock_s, (double)rec.v[i].read,
                       (double)rec.v[i].write, (double)rec.v[i].use);
    return 0;
}

static int dump_meta(struct dump *d, enum tier_dump what, char why[static 256])
{
    struct meta_key prefix = meta_key_tag(what == TIER_DUMP_VOLUMES ? 'V' : what == TIER_DUMP_HEAT ? 'T' : 'E');
    struct offline *o = d->o;
    int err = pool_labels_read(&o->devs, why);

    if (!err)
        err = pool_meta_open(o->opts, false, true, &o->meta, why);
    if (!err)
        err = pool_meta_match(&o->devs, o->meta, &o->pool, why);
    if (err)
        return err;
    if (what == TIER_DUMP_JOURNAL)
        return dump_journal(d, why);
    return o->meta->ops->scan_sync(o->meta, &prefix,
                                   what == TIER_DUMP_VOLUMES ? dump_volume : what == TIER_DUMP_HEAT ? dump_heat : dump_extent, d);
}

int tier_dump(const struct tier_opts *opts, enum tier_dump what, struct strbuf *out, char why[static 256])
{
    struct offline *o = calloc(1, sizeof(*o));
    struct dump d = {.o = o, .out = out};
    int err;

    why[0] = '\0';
    if (o == NULL)
        return -ENOMEM;
    err = offline_open(o, opts, why);
    if (!err) {
        if (what == TIER_DUMP_LABELS)
            dump_labels(o, out);
        else
            err = dump_meta(&d, what, why);
        offline_close(o);
    }
    if (err && why[0] == '\0')
        snprintf(why, 256, "the pool cannot be read: %s", err_text(err));
    free(o);
    return err;
}
