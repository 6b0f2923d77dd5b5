/* SPDX-License-Identifier: Apache-2.0 */
/* capture.c: what one destage will write, and what the map will say of the extent afterwards, taken in one pass of the loop.
 *
 * All dirty blocks with seq <= S; clean ones in the log where they bridge a hole; for a relocation also those that only the old
 * place has. The segments that hold them are held until they have been read. From then to the batch's commit the log needs all
 * of them, wherever in it they lie: they are dirty (design.md, "must always hold" 9).
 */
#include <errno.h>

#include "tier/map.h"
#include "tier/mover.h"
#include "tier/priv.h"
#include "tier/sums.h"
#include "tier/twin.h"
#include "tier/write.h"

static void hold(struct shard *s, struct job *job, uint32_t i, const struct index_entry *n)
{
    job->loc[i] = (struct journal_loc){n->segment, n->unit};
    s->seg[n->segment].holds++;
    bit_set(job->held, i);
}

static void release(struct shard *s, struct job *job, uint32_t i)
{
    assert(s->seg[job->loc[i].segment].holds > 0);
    s->seg[job->loc[i].segment].holds--;
    bit_clear(job->held, i);
}

void job_release(struct lane *l, struct job *job)
{
    for (uint32_t i = 0; i < EXTENT_BLOCKS; i++)
        if (bit_get(job->held, i))
            release(l->s, job, i);
}

/* What will not be read need not stay where it is. */
static void release_unread(struct shard *s, struct job *job)
{
    for (uint32_t i = 0; i < EXTENT_BLOCKS; i++)
        if (bit_get(job->held, i) && !bit_get(job->put, i) && !bit_get(job->bridge, i))
            release(s, job, i);
}

static void capture_dirty(struct shard *s, struct job *job, uint32_t i, const struct index_entry *n)
{
    bit_set(job->dirty, i);
    if (n->flags & INDEX_KEPT)
        bit_set(job->kept, i);
    job->block_seq[i] = n->seq;
    bit_clear(job->sums.valid, i);
    bit_clear(job->sums.damaged, i);
    job->sums.csum[i] = 0;
    if (n->flags & INDEX_ZERO)
        return;
    if (n->flags & INDEX_DAMAGED) {
        bit_set(job->sums.damaged, i);
        return;
    }
    bit_set(job->put, i);
    bit_set(job->sums.valid, i);
    job->sums.csum[i] = n->csum;
    hold(s, job, i, n);
}

static void capture_block(struct shard *s, struct job *job, uint32_t i, const struct extent *e, bool moves)
{
    uint32_t id = index_find(&s->ix, e->layer, (uint64_t)e->no * EXTENT_BLOCKS + i);
    struct index_entry n;

    if (id == INDEX_NONE)
        return;
    index_get(&s->ix, id, &n);
    if (n.seq > job->seq)
        return;
    if ((n.flags & INDEX_DIRTY) && s->bugs.heat_changes_data && moves) { /* planted: called clean, and not brought along */
        bit_set(job->dirty, i);
        job->block_seq[i] = n.seq;
    } else if (n.flags & INDEX_DIRTY) {
        capture_dirty(s, job, i, &n);
    } else if (!in_place(s, id) && bit_get(job->sums.valid, i) && job->sums.csum[i] == n.csum) {
        bit_set(job->bridge, i);
        hold(s, job, i, &n);
    }
}

/* The map's record is lost: nobody knows any more what lies there. But a clean copy, in the log or in a place, has what the device has, and
 * the index its checksum. */
static void capture_lost(struct shard *s, struct job *job, const struct extent *e)
{
    memset(job->sums.damaged, 0xff, sizeof(job->sums.damaged));
    for (uint32_t i = 0; i < EXTENT_BLOCKS && e->nr_live > e->nr_dirty; i++) {
        uint32_t id = index_find(&s->ix, e->layer, (uint64_t)e->no * EXTENT_BLOCKS + i);
        struct index_entry n;

        if (id == INDEX_NONE || (index_flags_of(&s->ix, id) & INDEX_DIRTY))
            continue;
        index_get(&s->ix, id, &n);
        bit_clear(job->sums.damaged, i);
        bit_set(job->sums.valid, i);
        job->sums.csum[i] = n.csum;
    }
}

static uint32_t bits_count(const uint64_t *w)
{
    uint32_t n = 0;

    for (unsigned i = 0; i < CAPTURE_WORDS; i++)
        n += (uint32_t)__builtin_popcountll(w[i]);
    return n;
}

/* Clean blocks are worth writing only between two dirty ones no further apart than BRIDGE_BLOCKS. */
void job_keep_bridges(struct job *job)
{
    uint32_t last = EXTENT_BLOCKS; /* the last block that is put; EXTENT_BLOCKS: none yet */
    uint64_t keep[CAPTURE_WORDS] = {0};

    for (uint32_t i = 0; i < EXTENT_BLOCKS; i++) {
        bool whole = bit_get(job->put, i) && last != EXTENT_BLOCKS && i - last - 1 <= BRIDGE_BLOCKS;

        for (uint32_t b = last + 1; whole && b < i; b++)
            whole = bit_get(job->bridge, b);
        for (uint32_t b = last + 1; whole && b < i; b++)
            bit_set(keep, b);
        if (bit_get(job->put, i))
            last = i;
    }
    memcpy(job->bridge, keep, sizeof(keep));
}

/* Before the first write: the blocks that bridge holes are dirty from here on, until the batch has committed. If the destage is
 * given up they are destaged with the rest next time, and until then reclaim moves them: the device's copy may be torn. A block
 * that was written again meanwhile is dirty already; one that left the index cannot be written over. */
void job_own_bridges(struct lane *l, struct job *job)
{
    struct shard *s = l->s;
    const struct extent *e = extent_at(&s->xt, job->x);
    uint64_t first = (uint64_t)e->no * EXTENT_BLOCKS;

    for (uint32_t i = 0; i < EXTENT_BLOCKS; i++) {
        uint32_t id = bit_get(job->bridge, i) ? index_find(&s->ix, e->layer, first + i) : INDEX_NONE;

        if (id == INDEX_NONE || in_place(s, id))
            bit_clear(job->bridge, i);
    }
    job_keep_bridges(job);
    for (uint32_t i = 0; i < EXTENT_BLOCKS; i++) {
        uint32_t id = bit_get(job->bridge, i) ? index_find(&s->ix, e->layer, first + i) : INDEX_NONE;

        if (id == INDEX_NONE || (index_flags_of(&s->ix, id) & INDEX_DIRTY))
            continue;
        map_set_kept(s, id);
        bit_set(job->dirty, i);
        bit_set(job->kept, i);
        job->block_seq[i] = index_seq(&s->ix, id);
    }
}

static uint64_t capture_seq(struct shard *s, const struct job *job)
{
    return zeroes_seq_below(s, job->x, s->seq_high);
}

/* Planted: S as it would come from blocks that were indexed when they were submitted: it covers writes still in flight. */
static uint64_t seq_of_submitted(const struct shard *s)
{
    uint64_t seq = s->seq_high;

    list_for_each(n, &s->writes)
        seq++;
    return seq;
}

/* An extent that reads as zeros all over needs no place; unless a write is under way to it, which relies on the place. */
static void decide_tombstone(struct shard *s, struct job *job, struct extent *e)
{
    if (bits_any(job->sums.valid) || bits_any(job->sums.damaged) || job->relocate)
        return;
    if (extent_placed(e) && (e->users > 0 || e->nr_dirty != bits_count(job->dirty)))
        return;
    job->tombstone = true;
    if (!extent_placed(e))
        return;
    job->old_place = e->place;
    map_place(s, job->x, (struct extent_place){.dev = EXTENT_NO_DEV});
}

/* What relocation must bring along: valid blocks that the log does not hold, from the old place. */
static void capture_rest(struct job *job)
{
    for (unsigned w = 0; w < CAPTURE_WORDS; w++) {
        job->cold[w] = job->sums.valid[w] & ~(job->put[w] | job->bridge[w]);
        job->put[w] |= job->bridge[w] | job->cold[w];
        job->bridge[w] = 0;
    }
}

/* 0; -EAGAIN: the extent cannot be captured now; or what kept the map's record from being read. */
int job_capture(struct lane *l, struct job *job, const struct sums *base)
{
    struct shard *s = l->s;
    struct extent *e = extent_at(&s->xt, job->x);
    int err;

    job->seq = capture_seq(s, job);
    if (job->seq < e->discard_seq || (job->seq < e->destaged_seq + !l->migrates && !s->bugs.s_from_blocks))
        return -EAGAIN;
    if (l->migrates && (base == NULL || base->err != 0)) /* zeroed since it was picked; or nobody knows what to bring along */
        return base == NULL ? -EAGAIN : base->err;
    if (base != NULL && base->err != 0 && !sums_lost(base))
        return base->err;
    if (base != NULL && base->err == 0)
        job->sums = base->v;
    else
        memset(&job->sums, 0, sizeof(job->sums));
    if (base != NULL && base->err != 0)
        capture_lost(s, job, e);
    memset(job->dirty, 0, sizeof(job->dirty));
    memset(job->put, 0, sizeof(job->put));
    memset(job->bridge, 0, sizeof(job->bridge));
    memset(job->kept, 0, sizeof(job->kept));
    memset(job->cold, 0, sizeof(job->cold));
    for (uint32_t i = 0; i < EXTENT_BLOCKS && e->nr_live > 0; i++)
        capture_block(s, job, i, e, l->migrates);
    if (job->relocate)
        capture_rest(job);
    else
        job_keep_bridges(job);
    err = twin_capture(l, job);
    if (err != 0)
        return err;
    release_unread(s, job);
    job->captured = true;
    decide_tombstone(s, job, e);
    if (s->bugs.s_from_blocks)
        job->seq = seq_of_submitted(s);
    if (l->migrates && !bits_any(job->sums.valid) && !bits_any(job->sums.damaged)) /* for a destage: it needs no place */
        return -EAGAIN;
    return bits_any(job->put) && l->dev == EXTENT_NO_DEV ? -EAGAIN : 0;
}
