/* SPDX-License-Identifier: Apache-2.0 */
/* rebuild_desc.c: what the extents of a device say of themselves.
 *
 * 1. The device's ring is read, if it has one: of the entries for one slot the youngest stays.
 * 2. Region by region the descriptions there are read, and each is compared with what the ring has for its slot: the younger one is the
 *    slot's. So a slot belongs to one extent, the last one that was described there, as if the ring's entry had been written over
 *    what its region says.
 * Both count only if they name this pool, this device and, in a region, their own slot.
 * Failures: a description that does not verify is of an extent that nobody may find again: a loss, unless the ring has one for the slot,
 * the bytes there fit it, and what can still be read of the rotten one is of that extent, and not later: bytes alone do not tell, where
 * what was written since lies beside them. What cannot be read is a loss, too.
 */
#include <errno.h>
#include <stdlib.h>

#include "tier/check.h"

#define AT_ONCE (DESC_TABLE_BYTES / DESC_BYTES)

struct told { struct found_extent f; struct desc_volume volume; };

struct device {
    struct found *f;
    const struct pool_dev *d;
    struct strbuf *out;
    struct tier_check_report *report;
    uint8_t *buf;               /* DESC_TABLE_BYTES */
    struct told *ring;          /* by slot, each once */
    size_t nr_ring, cap_ring;
};

static void say_lost(struct device *v)
{
    v->report->findings++;
    v->report->losses++;
}

static bool read_some(struct device *v, uint64_t off, uint32_t nr)
{
    if (dev_read_sync(v->d->on[0], off, v->buf, (uint64_t)nr * DESC_BYTES) != 0)
        return false;
    v->report->blocks_read += nr * (DESC_BYTES / BLOCK_BYTES);
    return true;
}

/* 0, -FIRN_E_NOT_FOUND: nothing, or another pool's or device's; another error: it does not verify. */
static int decode(const struct device *v, const void *buf, uint64_t off, struct told *out)
{
    const struct label *l = &v->d->label;
    struct extent_desc desc;
    int err = extent_desc_decode_on(&l->pool, &l->device, buf, &desc);

    if (err)
        return err;
    if (desc.slot >= l->ext_nr)
        return -FIRN_E_NOT_FOUND;
    *out = (struct told){.volume = desc.volume, .f = {.layer = desc.layer, .extent = desc.extent, .destaged_seq = desc.destaged_seq,
                         .age = desc.age, .place = {.dev = v->d->index, .slot = desc.slot}, .desc_off = off}};
    return 0;
}

/* ---- the ring ---- */

static int take_entry(struct device *v, uint32_t entry, const void *buf)
{
    struct told t, *to;
    int err = decode(v, buf, ring_offset(entry), &t);

    if (err != 0 && err != -FIRN_E_NOT_FOUND) {
        strbuf_add(v->out, "device \"%s\": entry %u of the ring of descriptions: %s\n", v->d->opts.path, entry, err_text(err));
        say_lost(v);
    }
    if (err != 0)
        return 0;
    to = check_grow((void **)&v->ring, &v->nr_ring, &v->cap_ring, sizeof(*to));
    if (to == NULL)
        return -ENOMEM;
    *to = t;
    return 0;
}

static int by_slot(const void *pa, const void *pb)
{
    const struct found_extent *a = &((const struct told *)pa)->f, *b = &((const struct told *)pb)->f;

    if (a->place.slot != b->place.slot)
        return a->place.slot < b->place.slot ? -1 : 1;
    return desc_younger(&b->age, &a->age) - desc_younger(&a->age, &b->age);
}

static void keep_youngest(struct device *v)
{
    size_t n = 0;

    if (v->nr_ring > 0)
        qsort(v->ring, v->nr_ring, sizeof(*v->ring), by_slot);
    for (size_t i = 0; i < v->nr_ring; i++)
        if (n == 0 || v->ring[n - 1].f.place.slot != v->ring[i].f.place.slot)
            v->ring[n++] = v->ring[i];
    v->nr_ring = n;
}

static int read_ring(struct device *v)
{
    uint32_t nr = v->d->label.ring_nr;
    int err = 0;

    for (uint32_t from = 0; from < nr && !err; from += AT_ONCE) {
        uint32_t n = MIN(nr - from, AT_ONCE);

        if (!read_some(v, ring_offset(from), n)) {
            strbuf_add(v->out, "device \"%s\": the ring of descriptions cannot be read from entry %u on\n", v->d->opts.path, from);
            say_lost(v);
            continue;
        }
        for (uint32_t i = 0; i < n && !err; i++)
            err = take_entry(v, from + i, v->buf + (size_t)i * DESC_BYTES);
    }
    keep_youngest(v);
    return err;
}

static const struct told *in_ring(const struct device *v, uint32_t slot)
{
    const struct told key = {.f.place.slot = slot};
    size_t lo = 0, hi = v->nr_ring;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;

        if (v->ring[mid].f.place.slot < key.f.place.slot)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < v->nr_ring && v->ring[lo].f.place.slot == slot ? &v->ring[lo] : NULL;
}

/* ---- the regions ---- */

/* Whose extents these are: of several sizes the largest, since volumes only grow. */
static int take_owner(struct found *f, const struct told *t)
{
    struct found_layer *l = found_layer_get(f, t->f.layer);
    uint64_t size;

    if (l == NULL)
        return -ENOMEM;
    size = MAX(l->volume.size_bytes, t->volume.size_bytes);
    if (t->volume.name[0] != '\0')
        l->volume = t->volume;
    l->volume.size_bytes = size;
    return 0;
}

static int take(struct device *v, const struct told *t)
{
    struct found_extent *to;

    if (t == NULL)
        return 0;
    to = check_grow((void **)&v->f->exts, &v->f->nr_exts, &v->f->cap_exts, sizeof(*to));
    if (to == NULL)
        return -ENOMEM;
    *to = t->f;
    return take_owner(v->f, t);
}

/* The description in a region does not verify. Is that of the ring certainly not older? */
static int stands_for(const struct device *v, const struct told *t, uint32_t slot, const void *rotten, bool *out)
{
    const struct label *l = &v->d->label;
    struct extent_desc was;

    *out = false;
    if (t == NULL)
        return 0;
    extent_desc_claims(rotten, &was);
    if (memcmp(&was.pool, &l->pool, sizeof(was.pool)) != 0 || memcmp(&was.device, &l->device, sizeof(was.device)) != 0 ||
        was.slot != slot || was.layer != t->f.layer || was.extent != t->f.extent)
        return 0;
    if (was.destaged_seq != t->f.destaged_seq && (was.destaged_seq > t->f.destaged_seq || desc_younger(&was.age, &t->f.age)))
        return 0;
    return rebuild_fits(v->f->o, &t->f, out);
}

static int take_slot(struct device *v, uint32_t slot, const void *buf)
{
    const struct told *t = in_ring(v, slot);
    struct told home;
    bool fits = false;
    int err = decode(v, buf, region_desc_offset(v->d->label.ext_base_bytes, slot), &home);

    if (err == 0 && home.f.place.slot == slot && (t == NULL || !desc_younger(&t->f.age, &home.f.age)))
        t = &home;
    if (err != 0 && err != -FIRN_E_NOT_FOUND) {
        int failed = stands_for(v, t, slot, buf, &fits);

        if (failed)
            return failed;
        if (!fits) {
            strbuf_add(v->out, "device \"%s\": the description of slot %u: %s\n", v->d->opts.path, slot, err_text(err));
            say_lost(v);
        }
    }
    return take(v, t);
}

static int read_regions(struct device *v)
{
    const struct label *l = &v->d->label;
    int err = 0;

    for (uint32_t slot = 0; slot < l->ext_nr && !err; slot += REGION_EXTENTS) {
        bool read = read_some(v, region_desc_offset(l->ext_base_bytes, slot), REGION_EXTENTS);

        if (!read) {
            strbuf_add(v->out, "device \"%s\": descriptions of slots from %u cannot be read\n", v->d->opts.path, slot);
            say_lost(v);
        }
        for (uint32_t i = 0; i < REGION_EXTENTS && slot + i < l->ext_nr && !err; i++)
            err = read ? take_slot(v, slot + i, v->buf + (size_t)i * DESC_BYTES) : take(v, in_ring(v, slot + i));
    }
    return err;
}

int rebuild_descs(struct found *f, const struct pool_dev *d, struct strbuf *out, struct tier_check_report *report)
{
    struct device v = {.f = f, .d = d, .out = out, .report = report, .buf = aligned_alloc(4096, DESC_TABLE_BYTES)};
    int err = v.buf == NULL ? -ENOMEM : read_ring(&v);

    if (!err)
        err = read_regions(&v);
    free(v.buf);
    free(v.ring);
    return err;
}
