/* SPDX-License-Identifier: Apache-2.0 */
/* mover_io.c: the bytes of one destage: payload out of the log, verified; runs onto the device; the batch's flush.
 *
 * Reads: neighbours joined, many at once; what fails its checksum or its device is read again, alone, a few times.
 * Then a dirty block is damaged (its only copy is bad), a clean one that was to bridge a hole is left out. A device error is no
 * damage: the extent stays dirty.
 * A block that is dirty only because an earlier destage may have torn it (INDEX_KEPT) has one more copy, perhaps: the
 * device's. If the log does not give it, that one is read and verified; if it is whole it stays as it is: nothing is written
 * over the only copy that is left.
 * Writes: runs in address order, of one extent after the other, in trains: what takes the device no longer than one run may goes out
 * together, also from several extents, and nothing behind it before all of it has come back. Between two trains the device is the
 * hosts': none waits for more than one, of all shards (mover_turn.c). All that they write over is dirty in the
 * index by then, and stays so until the batch has committed: a torn write is never visible, whatever becomes of the destage.
 */
#include <errno.h>

#include "base/crc32c.h"
#include "tier/mover.h"
#include "tier/priv.h"
#include "tier/sums.h"
#include "tier/twin.h"

static uint64_t block_of(const struct shard *s, const struct job *job, uint32_t i)
{
    return (uint64_t)extent_at(&s->xt, job->x)->no * EXTENT_BLOCKS + i;
}

/* ---- reads ---- */

static void read_more(struct lane *l);

/* Where the map has the extent: what is read from a device comes from there. */
static struct extent_place mapped_place(const struct job *job) { return job->relocate ? job->old_place : job->place; }

static bool read_ok(struct lane *l, uint32_t i)
{
    struct shard *s = l->s;
    const struct job *job = lane_reading(l);
    uint64_t layer = layer_at(s, extent_at(&s->xt, job->x)->layer)->id;

    if (block_csum(job->buf + (size_t)i * BLOCK_BYTES, layer, block_of(s, job, i)) == job->sums.csum[i])
        return true;
    if (in_twin_segment(s, job->loc[i].segment) || bit_get(job->cold, i)) {
        figure_add(&s->stats.csum_errors_hdd, 1);
        figure_add(&s->csum_errors[bit_get(job->cold, i) ? mapped_place(job).dev : twin_of(s, extent_at(&s->xt, job->x))->place.dev], 1);
    } else {
        figure_add(&s->stats.csum_errors_ssd, 1);
    }
    trace(TRACE_TIER_CSUM_ERROR, layer, block_of(s, job, i), job->loc[i].segment);
    return false;
}

/* A copy in the log of what the map has: the device has, or had, the same bytes. */
static bool is_spare(const struct job *job, uint32_t i)
{
    return (!bit_get(job->dirty, i) || bit_get(job->kept, i)) && !bit_get(job->cold, i);
}

static void read_done(struct dev_io *io)
{
    struct lane_read *r = container_of(io, struct lane_read, io);
    struct lane *l = r->lane;

    r->busy = false;
    l->reads_in_flight--;
    for (uint32_t i = r->first; i < r->first + r->n; i++) {
        if (io->err != 0 && !is_spare(lane_reading(l), i))
            l->read_err = io->err;
        if (!bit_get(lane_reading(l)->cold, i))
            bit_put(l->unread, i, io->err != 0);
        if (io->err != 0 || !read_ok(l, i))
            bit_set(l->bad, i);
    }
    read_more(l);
}

static bool joins(const struct job *job, uint32_t a, uint32_t b)
{
    if (bit_get(job->cold, a) || bit_get(job->cold, b))
        return bit_get(job->cold, a) && bit_get(job->cold, b);
    return job->loc[a].segment == job->loc[b].segment && job->loc[a].unit + JOURNAL_UNITS_PER_BLOCK == job->loc[b].unit;
}

static void read_run(struct lane *l, struct lane_read *r, uint32_t first)
{
    struct shard *s = l->s;
    struct job *job = lane_reading(l);
    uint32_t n = 1;
    uint16_t dev;

    while (l->pass == 0 && first + n < EXTENT_BLOCKS && bit_get(l->want, first + n) && joins(job, first + n - 1, first + n))
        n++;
    for (uint32_t i = first; i < first + n; i++)
        bit_clear(l->want, i);
    r->lane = l;
    r->first = first;
    r->n = n;
    r->busy = true;
    r->iov = (struct iovec){job->buf + (size_t)first * BLOCK_BYTES, (size_t)n * BLOCK_BYTES};
    r->io = (struct dev_io){.len_bytes = r->iov.iov_len, .iov = &r->iov, .iovcnt = 1, .cb = read_done};
    l->reads_in_flight++;
    if (!bit_get(job->cold, first) && in_twin_segment(s, job->loc[first].segment)) {
        r->io.off_bytes = twin_offset(s, job->loc[first], &dev);
        dev_read(shard_capacity(s, dev), &r->io);
        return;
    }
    if (!bit_get(job->cold, first)) {
        journal_read(s->j, job->loc[first], &r->io);
        return;
    }
    r->io.off_bytes = cold_offset(s->o.cold, mapped_place(job)) + (uint64_t)first * BLOCK_BYTES;
    dev_read(shard_capacity(s, mapped_place(job).dev), &r->io);
}

/* Planted: the older bytes beneath a damaged block go on counting. */
static bool fall_through(struct lane *l, uint32_t i)
{
    struct job *job = lane_reading(l);
    struct sums *m = l->s->bugs.damaged_falls_through ? sums_get(l->s, job->x, NULL) : NULL;

    if (m == NULL)
        return false;
    if (bit_get(m->v.valid, i))
        bit_set(job->sums.valid, i);
    job->sums.csum[i] = m->v.csum[i];
    sums_put(l->s, m);
    return true;
}

static void mark_damaged(struct lane *l)
{
    struct job *job = lane_reading(l);

    for (uint32_t i = 0; i < EXTENT_BLOCKS; i++) {
        if (!bit_get(l->bad, i))
            continue;
        if (is_spare(job, i)) {
            bit_clear(job->put, i);
            bit_clear(job->bridge, i);
            continue;
        }
        bit_clear(job->put, i);
        bit_clear(job->sums.valid, i);
        job->sums.csum[i] = 0;
        if (!fall_through(l, i))
            bit_set(job->sums.damaged, i);
    }
    job_keep_bridges(job);
}

/* Does the device have another copy that matters? A block that only bridges a hole in place is left out instead. */
static bool wants_device_copy(const struct job *job, uint32_t i)
{
    return is_spare(job, i) && (job->relocate || bit_get(job->kept, i));
}

/* Of what is bad here the device may have another copy. True: it is being read. */
static bool spares_from_device(struct lane *l)
{
    struct job *job = lane_reading(l);
    bool any = false, usable = dev_usable(l->s, shard_capacity(l->s, mapped_place(job).dev));

    for (uint32_t i = 0; i < EXTENT_BLOCKS; i++) {
        if (!bit_get(l->bad, i) || !wants_device_copy(job, i))
            continue;
        if (!usable) {
            l->read_err = -FIRN_E_DEVICE_FAILED;
            return false;
        }
        bit_set(job->cold, i);
        bit_set(l->want, i);
        bit_clear(l->bad, i);
        any = true;
    }
    if (!any)
        return false;
    l->pass = 1;
    read_more(l);
    return true;
}

/* Both copies are bad, but one was not even seen: the log's may come back. */
static bool may_come_back(const struct lane *l)
{
    const struct job *job = &l->jobs[l->rd];

    for (unsigned w = 0; w < CAPTURE_WORDS; w++)
        if ((l->bad[w] & job->cold[w] & l->unread[w]) != 0)
            return true;
    return false;
}

/* What was verified in place is neither written nor any longer dirty once the batch commits. */
static void leave_in_place(struct job *job)
{
    for (unsigned w = 0; w < CAPTURE_WORDS; w++)
        job->put[w] &= ~job->cold[w];
    job_keep_bridges(job);
}

static void reads_done(struct lane *l)
{
    if (bits_any(l->bad) && l->pass++ < REREADS_MAX) {
        memcpy(l->want, l->bad, sizeof(l->want));
        memset(l->bad, 0, sizeof(l->bad));
        l->read_err = 0;
        read_more(l);
        return;
    }
    if (spares_from_device(l))
        return;
    if (l->read_err == 0 && may_come_back(l))
        l->read_err = -EIO;
    if (l->read_err != 0) { /* no proof that the block is lost: the extent stays dirty and has another try */
        lane_reading(l)->err = l->read_err;
        lane_read_done(l);
        return;
    }
    if (bits_any(l->bad) && l->migrates) { /* nobody asked for it to move: what is damaged, and how, others find out */
        lane_reading(l)->err = -EIO;
        lane_read_done(l);
        return;
    }
    if (bits_any(l->bad))
        mark_damaged(l);
    if (!lane_reading(l)->relocate && bits_any(lane_reading(l)->cold))
        leave_in_place(lane_reading(l));
    job_release(l, lane_reading(l));
    lane_read_done(l);
}

static void read_more(struct lane *l)
{
    uint32_t i = 0;

    for (uint32_t r = 0; r < LANE_READS; r++) {
        while (i < EXTENT_BLOCKS && !bit_get(l->want, i))
            i++;
        if (i == EXTENT_BLOCKS)
            break;
        if (!l->read[r].busy)
            read_run(l, &l->read[r], i);
    }
    if (l->reads_in_flight == 0)
        reads_done(l);
}

int lane_read_start(struct lane *l)
{
    struct job *job = lane_reading(l);
    struct shard *s = l->s;
    const struct twin *t = twin_of(s, extent_at(&s->xt, job->x));
    bool cold_ok = (!bits_any(job->cold) || dev_usable(s, shard_capacity(s, job->old_place.dev))) &&
                   (t == NULL || t->live == 0 || dev_usable(s, shard_capacity(s, t->place.dev)));

    if (!cold_ok || !dev_usable(s, s->o.journal_dev))
        return -FIRN_E_DEVICE_FAILED;
    for (unsigned w = 0; w < CAPTURE_WORDS; w++)
        l->want[w] = job->put[w] | (s->bugs.bridge_stale ? 0 : job->bridge[w]);
    memset(l->bad, 0, sizeof(l->bad));
    memset(l->unread, 0, sizeof(l->unread));
    l->read_err = 0;
    l->pass = 0;
    read_more(l);
    return 0;
}

/* ---- writes ---- */

static bool write_wanted(const struct job *job, uint32_t i) { return bit_get(job->put, i) || bit_get(job->bridge, i); }

/* Nothing more of the job goes to that device. */
static void write_failed(struct lane *l, struct job *job, int err)
{
    shard_degrade(l->s, job->place.dev, err);
    job->write_err = err;
}

static void write_done(struct dev_io *io)
{
    struct lane_run *r = container_of(io, struct lane_run, io);
    struct lane *l = r->lane;
    struct job *job = &l->jobs[r->job];

    r->busy = false;
    job->runs--;
    lane_run_end(l, job->place.dev, io);
    if (io->err == 0)
        l->bytes += io->len_bytes;
    else
        write_failed(l, job, io->err);
    if (job->stage == JOB_SENT && job->runs == 0)
        lane_job_written(l, r->job);
    lane_step(l);
}

static struct lane_run *run_get(struct lane *l)
{
    for (uint32_t i = 0; i < LANE_RUNS; i++)
        if (!l->run[i].busy)
            return &l->run[i];
    return NULL;
}

/* False: another time. */
static bool write_run(struct lane *l, uint32_t first, uint32_t n)
{
    struct shard *s = l->s;
    struct job *job = lane_writing(l);
    uint64_t off = cold_offset(s->o.cold, job->place) + (uint64_t)first * BLOCK_BYTES;
    struct lane_run *r = run_get(l);

    n = lane_run_blocks(l, job->place.dev, off, n);
    if (r == NULL || !lane_train_takes(l, job->place.dev, off, n))
        return false;
    for (uint32_t i = first; i < first + n && !l->migrates; i++) {
        figure_add(&s->stats.destage_blocks, bit_get(job->put, i));
        figure_add(&s->stats.destage_bridged, !bit_get(job->put, i));
    }
    l->next_block = first + n;
    job->wrote = true;
    job->runs++;
    r->lane = l;
    r->job = l->wr;
    r->busy = true;
    r->iov = (struct iovec){job->buf + (size_t)first * BLOCK_BYTES, (size_t)n * BLOCK_BYTES};
    r->io = (struct dev_io){.off_bytes = off, .len_bytes = r->iov.iov_len, .iov = &r->iov, .iovcnt = 1, .cb = write_done};
    lane_run_begin(l, job->place.dev, &r->io);
    dev_write(shard_capacity(s, job->place.dev), &r->io);
    return true;
}

/* Who has read more of it goes on with it (lane_step()): until then there is nothing to look at, again and again. */
static bool waits_for_reader(const struct lane *l)
{
    return figure_get(&turn_of(l->s, l->dev)->fg) > 0 && l->rd != JOB_NONE;
}

/* A train sets out as a whole, or not at all. */
static bool train_may_go(struct lane *l)
{
    const struct job *job = lane_writing(l);

    if (lane_yields(l))
        return false;
    if ((l->runs > 0 && figure_get(&turn_of(l->s, l->dev)->fg) > 0) || waits_for_reader(l))
        return false;
    return job->place.dev != l->dev || (!lane_turn_to_streams(l) && lane_turn(l));
}

bool lane_write_more(struct lane *l)
{
    struct job *job = lane_writing(l);

    while (job->write_err == 0) {
        uint32_t first = l->next_block, n = 0;

        while (first < EXTENT_BLOCKS && !write_wanted(job, first))
            first++;
        while (first + n < EXTENT_BLOCKS && write_wanted(job, first + n))
            n++;
        if (n == 0)
            return true;
        if (!dev_usable(l->s, shard_capacity(l->s, job->place.dev))) {
            write_failed(l, job, -FIRN_E_DEVICE_FAILED);
            return true;
        }
        if (!train_may_go(l) || !write_run(l, first, n)) {
            if (l->runs == 0 && !waits_for_reader(l))
                shard_kick(l->s);
            return false;
        }
    }
    return true;
}

/* ---- flush ---- */

static void not_flushed(struct lane *l, uint16_t dev, int err)
{
    for (uint32_t i = 0; i < l->nr_jobs; i++)
        if (l->jobs[i].wrote && l->jobs[i].place.dev == dev)
            l->jobs[i].err = err;
}

static void flush_failed(struct lane *l, uint16_t dev, int err)
{
    shard_degrade(l->s, dev, err);
    not_flushed(l, dev, err);
}

/* A flush of a device by another shard or lane failed since this batch began: it may have dropped what this one wrote (flush_turn.h). */
static void flush_doubted(struct lane *l)
{
    for (uint32_t i = 0; i < l->nr_jobs; i++) {
        struct job *job = &l->jobs[i];

        if (job->wrote && job->err == 0 && cold_flush_failures(l->s->o.cold, job->place.dev) != l->flush_failures[job->place.dev])
            job->err = -FIRN_E_DEVICE_FAILED;
    }
}

static void flush_done(struct dev_io *io)
{
    struct lane *l = container_of(io, struct lane, io);
    uint16_t dev = (uint16_t)__builtin_ctzll(l->flush_devs);

    l->io_busy = false;
    l->flush_devs &= l->flush_devs - 1;
    if (io->err != 0) {
        cold_flush_failed(l->s->o.cold, dev);
        flush_failed(l, dev, io->err);
    }
    flush_turn_give(l->s->o.flush_turns, dev);
    lane_flush(l);
}

/* True: it is being flushed, or waits for its turn; false: it cannot be. */
static bool flush_dev(struct lane *l, uint16_t dev)
{
    struct shard *s = l->s;
    struct dev *d = shard_capacity(s, dev);

    if (!dev_usable(s, d))
        return false;
    if (!flush_turn_take(s->o.flush_turns, dev))
        return env_now_ns(s->env) - l->turn_since_ns <= s->t.io_deadline_ns;
    l->io_busy = true;
    l->io = (struct dev_io){.cb = flush_done};
    dev_flush(d, &l->io);
    return true;
}

void lane_flush_step(struct lane *l)
{
    struct shard *s = l->s;

    while (l->flush_devs != 0 && !s->bugs.skip_capacity_flush) {
        uint16_t dev = (uint16_t)__builtin_ctzll(l->flush_devs);

        if (flush_dev(l, dev))
            return;
        if (dev_usable(s, shard_capacity(s, dev)))
            not_flushed(l, dev, -ETIMEDOUT); /* others had the turn for too long: no word about the device */
        else
            flush_failed(l, dev, -FIRN_E_DEVICE_FAILED);
        l->flush_devs &= l->flush_devs - 1;
    }
    flush_doubted(l);
    lane_commit(l);
}

void lane_flush(struct lane *l)
{
    l->turn_since_ns = env_now_ns(l->s->env);
    lane_flush_step(l);
    if (l->state == LANE_FLUSH && !l->io_busy)
        shard_kick(l->s); /* mover_step() looks after those who wait */
}
