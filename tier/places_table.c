/* SPDX-License-Identifier: Apache-2.0 */
/* places_table.c: tables of segments of places: what a start finds of the copies there.
 *
 * 1. A page is due when enough of its entries have changed, or when it is old and nobody wants the device (slot_table.h says which).
 * 2. It is made from the index at that moment, and written without a flush: nothing is kept of it in RAM.
 * 3. A stop writes what is left, for a few seconds at most.
 * Failures: losing a page loses nothing but copies; a device that refuses one is given up (places_dev.c), and one that a stop waits for in
 * vain is left out, so that others have their time.
 */
#include <errno.h>

#include "tier/fill.h"
#include "tier/places.h"
#include "tier/priv.h"

#define STOP_NS       (5 * NS_PER_S)  /* a stop writes what is left of the tables for no longer, all shards of a thread together, */
#define STOP_HANGS_NS (2 * NS_PER_S)  /* and a device that takes so long for a page is left out: others have their time */
#define BUSY_NS       NS_PER_S   /* old pages wait for a quiet moment: looked for so often */

static void page_make(const struct shard *s, uint32_t segment, uint32_t page, char *buf)
{
    const struct places *p = &s->places;
    const struct slot_layout *l = &p->table.layout;
    struct segment_at at = segpool_at(s->o.segpool, segment);
    struct slot_page t = {.epoch = s->seg[segment].epoch, .segment = at.no, .page = page, .nr = slot_page_entries(l, page)};

    for (uint32_t i = 0; i < t.nr; i++) {
        uint32_t id = segment * p->slots.per_segment + p->slots.first_slot + page * l->entries + i;
        struct index_entry n;

        t.entry[i] = (struct slot_entry){0};
        if (!index_slot_used(&s->ix, id))
            continue;
        index_get(&s->ix, id, &n);
        t.entry[i] = (struct slot_entry){.layer = layer_at(s, n.layer)->id, .block = n.block, .csum = n.csum};
    }
    slot_page_encode(segpool_area(s->o.segpool, at.area), &t, buf);
}

static void page_written(struct dev_io *io)
{
    struct table_write *w = container_of(io, struct table_write, io);
    struct shard *s = w->s;
    struct places *p = &s->places;

    w->busy = false;
    if (io->err == 0)
        figure_add(&s->stats.table_bytes, p->table.layout.page_bytes);
    else
        places_write_failed(s, w->segment, io->err);
    shard_kick(s);
}

static void page_write(struct shard *s, struct table_write *w)
{
    const struct slot_layout *l = &s->places.table.layout;
    struct journal_loc loc = {w->segment, slot_page_offset(l, w->page) / JOURNAL_UNIT_BYTES};

    w->busy = true;
    page_make(s, w->segment, w->page, w->buf);
    w->iov = (struct iovec){w->buf, l->page_bytes};
    w->io = (struct dev_io){.len_bytes = l->page_bytes, .iov = &w->iov, .iovcnt = 1, .cb = page_written};
    journal_slots_write(s->j, loc, &w->io);
}

static bool any_changed(const struct slot_table *t)
{
    for (uint32_t i = 0; i < t->nr_segments; i++)
        if (t->nr_changed[i] > 0)
            return true;
    return false;
}

/* Nobody wants the device now, and old pages may be due. */
static enum slot_table_when when(struct shard *s, uint64_t now)
{
    return now >= s->places.table_look_ns && s->in_flight == 0 && !fill_busy(s) ? SLOT_TABLE_IDLE : SLOT_TABLE_BUSY;
}

void places_tables_step(struct shard *s)
{
    struct places *p = &s->places;
    uint64_t now = env_now_ns(s->env);
    enum slot_table_when w = when(s, now);
    bool found = true;

    for (uint32_t i = 0; i < TABLE_WRITES && found; i++) {
        struct table_write *t = &p->table_write[i];

        if (t->busy)
            continue;
        found = slot_table_next(&p->table, w, now, &t->segment, &t->page);
        if (found && !p->slots.seg[t->segment].closing)
            page_write(s, t);
    }
    if (now < p->table_look_ns || (w == SLOT_TABLE_IDLE && found))
        return;
    p->table_look_ns = w == SLOT_TABLE_BUSY ? now + BUSY_NS : any_changed(&p->table) ? now + SLOT_TABLE_AGE_NS / 4 : UINT64_MAX;
}

void places_stop(struct shard *s, uint32_t turns)
{
    struct places *p = &s->places;
    const struct slot_layout *l = &p->table.layout;
    uint64_t now = env_now_ns(s->env), until = now + STOP_NS / turns;
    uint32_t segment, page;

    for (; now < until && slot_table_next(&p->table, SLOT_TABLE_STOP, now, &segment, &page); now = env_now_ns(s->env)) {
        uint64_t off = segpool_offset(s->o.segpool, segment, slot_page_offset(l, page));
        struct dev *d = shard_segment_dev(s, segment);
        int err;

        if (!places_usable(s, segment))
            continue;
        page_make(s, segment, page, p->table_bufs);
        d->patience_ns = MIN(d->patience_ns, STOP_HANGS_NS); /* the log's device has none: what a stop waits for lies there */
        err = dev_write_sync(d, off, p->table_bufs, l->page_bytes, 0);
        if (err == -FIRN_E_STOPPED)
            return;
        if (err == -ETIMEDOUT) {
            places_hangs(s, segment);
            until += env_now_ns(s->env) - now; /* the others have theirs */
        } else if (err != 0) {
            places_write_failed(s, segment, err);
        }
    }
}

bool places_tables_full(const struct places *p)
{
    uint32_t busy = 0;

    for (uint32_t i = 0; i < TABLE_WRITES; i++)
        busy += p->table_write[i].busy;
    return busy == TABLE_WRITES;
}

bool places_table_in_flight(const struct places *p, uint32_t segment)
{
    for (uint32_t i = 0; i < TABLE_WRITES; i++)
        if (p->table_write[i].busy && (segment == INDEX_NONE || p->table_write[i].segment == segment))
            return true;
    return false;
}
