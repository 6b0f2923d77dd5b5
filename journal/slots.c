/* SPDX-License-Identifier: Apache-2.0 */
/* slots.c: segments for slots: copies of blocks that lie elsewhere too, which the owner places, finds and forgets by itself.
 *
 * Taken from the pool, a segment gets a header with a new epoch, durably: from then on nothing that it held of the log counts (its owner
 * had called that free before), and recovery leaves it alone. The batch that called it free has committed, so the number of the newest
 * one in the header is no lower: groups that named such batches may be gone, and metadata from before them must still be told.
 * Given back it keeps that header, and the owner may find its copies again if the machine stops now: they are as good as they
 * were. The header of its next use ends that.
 * A header that cannot be written: the segment is free again, and the next header, of whatever use, has a higher epoch.
 */
#include "journal/priv.h"

void slots_opening_init(struct journal *j, uint8_t *blocks)
{
    for (uint32_t i = 0; i < JRN_SLOTS_OPENING; i++) {
        j->slots_opening[i].j = j;
        j->slots_opening[i].block = blocks + (size_t)i * JRN_SEG_HEADER_BYTES;
    }
}

bool slots_opening_busy(const struct journal *j)
{
    for (uint32_t i = 0; i < JRN_SLOTS_OPENING; i++)
        if (j->slots_opening[i].busy)
            return true;
    return false;
}

static void give(struct journal *j, uint32_t segment)
{
    figure_add(&j->stats.segments_freed, 1);
    trace(TRACE_JOURNAL_SEGMENT_FREE, segment, segpool_slot(j->pool, segment)->epoch, segpool_free_nr(j->pool) + 1);
    segpool_give(j->pool, segment);
}

static void header_written(struct dev_io *io)
{
    struct slots_open *o = io->ctx;
    struct journal *j = o->j;

    o->busy = false;
    if (io->err)
        give(j, o->segment);
    j->events.slots_opened(j->events.ctx, o->segment, o->epoch, io->err);
}

static struct slots_open *opening_idle(struct journal *j)
{
    for (uint32_t i = 0; i < JRN_SLOTS_OPENING; i++)
        if (!j->slots_opening[i].busy)
            return &j->slots_opening[i];
    return NULL;
}

/* What the log needs to know later stands in headers of its own device: it may have been in what this one overwrites. */
static void header_make(struct slots_open *o)
{
    struct journal *j = o->j;
    struct segment_at at = segpool_at(j->pool, o->segment);
    struct jrn_seg_header head = {.epoch = o->epoch, .shard = j->opts.shard, .slots = true};

    if (at.area == 0) {
        head.meta_commit_no = j->events.meta_commit_no ? j->events.meta_commit_no(j->events.ctx) : 0;
        head.seq_floor = j->next_seq + 2 * (j->geo.segment_bytes / JRN_RECORD_BYTES); /* as a log segment's: it may overwrite the highest */
    }
    jrn_seg_header_encode(segpool_area(j->pool, at.area), at.no, &head, o->block);
    o->iov = (struct iovec){o->block, j->geo.head_bytes};
}

bool journal_slots_open(struct journal *j, uint32_t keep)
{
    struct slots_open *o = opening_idle(j);

    if (!o || j->failed || j->closing || !j->events.slots_opened ||
        !segpool_take_slots(j->pool, j->opts.shard, keep, &o->segment, &o->epoch))
        return false;
    o->busy = true;
    o->io = (struct dev_io){.off_bytes = segpool_offset(j->pool, o->segment, 0), .len_bytes = j->geo.head_bytes, .iov = &o->iov,
                            .iovcnt = 1, .flags = DEV_DSYNC, .cb = header_written, .ctx = o};
    header_make(o);
    figure_add(&j->stats.segments_opened, 1);
    figure_add(&j->stats.header_bytes, j->geo.head_bytes);
    dev_write(journal_segment_dev(j, o->segment), &o->io);
    return true;
}

void journal_slots_ask(struct journal *j)
{
    if (segpool_areas(j->pool) > 1 && !j->closing)
        segpool_ask_slots(j->pool, j->opts.shard);
}

void journal_slots_free(struct journal *j, uint32_t segment)
{
    const struct segment_info *i = segpool_slot(j->pool, segment);

    assert(i->use == SEGMENT_SLOTS && i->shard == j->opts.shard && j->pins[segment] == 0);
    give(j, segment);
}

void journal_slots_write(struct journal *j, struct journal_loc loc, struct dev_io *io)
{
    uint64_t off = (uint64_t)loc.unit * JOURNAL_UNIT_BYTES;

    assert(segpool_slot(j->pool, loc.segment)->use == SEGMENT_SLOTS && off >= JRN_SEG_HEADER_BYTES);
    assert(io->len_bytes <= j->geo.segment_bytes && off <= j->geo.segment_bytes - io->len_bytes);
    io->off_bytes = segpool_offset(j->pool, loc.segment, off);
    dev_write(journal_segment_dev(j, loc.segment), io);
}
