/* SPDX-License-Identifier: Apache-2.0 */
/* crash.c: what a crash leaves on a medium.
 *
 * 1. Every write that is not safe gets a lot: there, not there, or there in part. Finished writes that no flush covers and
 *    writes still in flight differ only in their counters.
 * 2. They are carried out on the durable image in a shuffled order.
 * 3. What a read sees is the durable image again; handles forget what was in flight.
 */
#include "tools/sim/disk.h"

#include "tools/sim/dev_sim.h"

#include <stdlib.h>

struct survivor {
    uint64_t off, len, seq;
    uint8_t *data;
    const uint8_t *dead;   /* NULL: all alive */
    bool     finished, lied, doomed, kept;
};

enum lot { LOT_WHOLE, LOT_NONE, LOT_TORN };

static enum lot draw_lot(struct sim *s)
{
    static const enum lot lots[] = {LOT_WHOLE, LOT_NONE, LOT_TORN};

    return lots[sim_below(s, ARRAY_LEN(lots))];
}

/* On an HDD, the unit that was under the head: whole, but in no state that anybody wrote. What was to become the same bytes again
 * is lost too, so a write over what is already there is no safer than any other. */
static void spoil(struct sim_disk *d, const struct survivor *w, uint64_t cut)
{
    uint64_t unit = d->opts.torn_bytes, from = MAX(ROUND_DOWN(w->off + cut, unit), w->off);
    uint64_t to = MIN(ROUND_DOWN(w->off + cut, unit) + unit, w->off + w->len);
    uint8_t noise[SECTOR_BYTES];

    for (size_t i = 0; i < SECTOR_BYTES; i++)
        noise[i] = (uint8_t)sim_rand(d->sim);
    for (uint64_t at = from; at < to; at += SECTOR_BYTES)
        if (w->dead == NULL || !w->dead[(at - w->off) / SECTOR_BYTES])
            disk_page_dur(d, at, noise, SECTOR_BYTES);
    sim_fault_fired(d->sim, SIM_TORN_SPOILT);
    sim_fault_mattered(d->sim, SIM_TORN_SPOILT);
}

/* Torn writes are mostly a prefix, as an interrupted transfer leaves it; sometimes any set of units. The units of persistent
 * memory are smaller than a sector. */
static void carry_out(struct sim_disk *d, const struct survivor *w, enum lot lot)
{
    uint64_t unit = d->opts.torn_bytes, step = lot == LOT_TORN ? MIN(unit, SECTOR_BYTES) : SECTOR_BYTES;
    uint64_t cut = sim_below(d->sim, w->len / step + 1) * step;
    bool prefix = sim_chance(d->sim, 500000);
    bool keep = true;

    for (uint64_t at = 0; at < w->len; at += step) {
        if (lot == LOT_TORN && (at == 0 || (w->off + at) % unit == 0))
            keep = prefix ? at < cut : sim_chance(d->sim, 500000);
        if (keep && (w->dead == NULL || !w->dead[at / SECTOR_BYTES]))
            disk_page_dur(d, w->off + at, w->data + at, step);
    }
    if (lot == LOT_TORN && d->opts.rotational)
        spoil(d, w, cut);
}

static void count_lot(struct sim_disk *d, const struct survivor *w, enum lot lot)
{
    enum sim_fault f = w->finished ? SIM_UNFLUSHED_LOST : SIM_INFLIGHT_LOST;

    if (lot == LOT_TORN)
        f = d->opts.torn_bytes < SECTOR_BYTES ? SIM_TORN_8 : d->opts.torn_bytes == SECTOR_BYTES ? SIM_TORN_512 : SIM_TORN_4096;
    else if (lot == LOT_WHOLE)
        f = SIM_INFLIGHT_KEPT;
    if (lot == LOT_WHOLE && w->finished)
        return; /* as on faultless hardware */
    sim_fault_fired(d->sim, f);
    sim_fault_mattered(d->sim, f);
    if (w->lied && lot != LOT_WHOLE)
        sim_fault_mattered(d->sim, SIM_LYING_FLUSH);
}

static bool overtaken(const struct survivor *w, uint32_t done)
{
    for (uint32_t i = 1; i <= MIN(done, 64u); i++) {
        const struct survivor *before = w - i;

        if (before->kept && before->seq > w->seq && before->off < w->off + w->len && w->off < before->off + before->len)
            return true;
    }
    return false;
}

static void gather(struct dev_io *io, uint8_t *to)
{
    for (int i = 0; i < io->iovcnt; i++) {
        memcpy(to, io->iov[i].iov_base, io->iov[i].iov_len);
        to += io->iov[i].iov_len;
    }
}

static uint32_t count_unsafe(const struct sim_disk *d)
{
    uint32_t nr = 0;

    list_for_each(n, &d->unsafe) nr++;
    list_for_each(n, &d->inflight) nr++;
    return nr;
}

static uint32_t collect(struct sim_disk *d, struct survivor *w)
{
    uint32_t nr = 0;

    list_for_each(n, &d->unsafe) {
        struct disk_unsafe *u = list_entry(n, struct disk_unsafe, node);

        w[nr++] = (struct survivor){u->off, u->len, u->seq, u->data, u->dead, true, u->lied, u->doomed, false};
    }
    list_for_each(n, &d->inflight) {
        struct sim_req *r = list_entry(n, struct sim_req, node);
        struct dev_io *io = r->io;

        if (io->priv.op != DEV_WRITE || r->err != 0 || r->lost || r->misdirected)
            continue;
        w[nr] = (struct survivor){.off = io->off_bytes, .len = io->len_bytes, .seq = UINT64_MAX};
        w[nr].data = malloc(io->len_bytes);
        assert(w[nr].data != NULL);
        gather(io, w[nr++].data);
    }
    return nr;
}

static void shuffle(struct sim *s, struct survivor *w, uint32_t nr)
{
    for (uint32_t i = nr; i > 1; i--) {
        uint32_t k = (uint32_t)sim_below(s, i);
        struct survivor tmp = w[i - 1];

        w[i - 1] = w[k];
        w[k] = tmp;
    }
}

static void requests_forget(struct sim_disk *d)
{
    list_for_each_safe(n, tmp, &d->inflight) {
        struct sim_req *r = list_entry(n, struct sim_req, node);

        list_remove(&r->node);
        sim_cancel(d->sim, &r->ev);
        sim_req_free(r);
    }
    list_for_each_safe(n, tmp, &d->devs)
        sim_dev_forget(list_entry(n, struct sim_dev, node));
}

void disk_crash(struct sim_disk *d)
{
    struct survivor *w = calloc(count_unsafe(d) + 1, sizeof(*w));
    uint32_t nr;

    assert(w != NULL);
    nr = collect(d, w);
    shuffle(d->sim, w, nr);
    for (uint32_t i = 0; i < nr; i++) {
        enum lot lot = w[i].doomed ? LOT_NONE : draw_lot(d->sim);

        w[i].kept = lot != LOT_NONE;
        if (w[i].kept && overtaken(&w[i], i)) {
            sim_fault_fired(d->sim, SIM_UNFLUSHED_REORDERED);
            sim_fault_mattered(d->sim, SIM_UNFLUSHED_REORDERED);
        }
        if (w[i].kept)
            carry_out(d, &w[i], lot);
        count_lot(d, &w[i], lot);
        if (!w[i].finished)
            free(w[i].data);
    }
    free(w);
    while (!list_empty(&d->unsafe))
        disk_unsafe_free(list_first(&d->unsafe, struct disk_unsafe, node));
    requests_forget(d);
    disk_cur_is_dur(d);
}
