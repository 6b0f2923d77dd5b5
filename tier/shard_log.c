/* SPDX-License-Identifier: Apache-2.0 */
/* shard_log.c: a shard's journal: how it is made, what the shard does when it tells of segments, and how it opens after a replay.
 *
 * 1. Made, with the marks that the metadata has; recover.c replays it.
 * 2. What replay kept is named in the metadata. Then the log opens, which seals segments that were open at the crash.
 * 3. What slot segments hold is found again (recover_places.c).
 * Failures: no memory, a flush or a batch that fails: the shard does not open.
 */
#include <errno.h>
#include <stdlib.h>

#include "tier/map.h"
#include "tier/places.h"
#include "tier/recover.h"

/* ---- the journal's events ---- */

static void segment_opened(void *ctx, uint32_t segment, enum journal_stream stream, uint64_t epoch)
{
    struct shard *s = ctx;

    assert(s->ix.seg_live[segment] == 0 && s->seg[segment].discards == 0 && s->seg[segment].holds == 0);
    s->seg[segment] = (struct seg){.use = SEGMENT_LOG_OPEN, .stream = stream, .epoch = epoch};
    s->places.log_took_ns = env_now_ns(s->env);
    s->newest_epoch = MAX(s->newest_epoch, epoch);
}

static void segment_sealed(void *ctx, uint32_t segment, uint64_t seq_min, uint64_t seq_max)
{
    struct shard *s = ctx;

    (void)seq_max;
    s->seg[segment].use = SEGMENT_LOG_SEALED;
    if (seq_min != 0)
        map_seg_seq(s, segment, seq_min);
    s->changes++;
    shard_kick(s);
}

static void space_wanted(void *ctx)
{
    struct shard *s = ctx;
    struct journal_load load;

    journal_load(s->j, &load);
    s->rc.wanted = true;
    if (load.starved && s->opened) /* another shard's writes wait: a drained one works again */
        shard_start(s);
    shard_kick(s);
}

static void journal_failed(void *ctx, int err)
{
    struct shard *s = ctx;

    if (s->failed == 0)
        s->fail_cause = err;
    shard_fail(s, -FIRN_E_DEVICE_FAILED);
}

static uint64_t commit_no(void *ctx) { return meta_commit_no(((struct shard *)ctx)->o.meta); }

int log_make(struct shard *s, uint64_t seq_floor, const struct shard_rec *rec)
{
    struct journal_events ev = {.ctx = s, .segment_opened = segment_opened, .segment_sealed = segment_sealed,
                                .slots_opened = places_opened, .slots_wanted = places_wanted, .space_wanted = space_wanted,
                                .failed = journal_failed, .meta_commit_no = commit_no};
    struct journal_opts o = {.shard = s->o.no, .group_bytes_max = s->t.group_bytes_max, .groups_in_flight = s->t.groups_in_flight,
                             .accept_loss = s->t.accept_loss, .placed = s->t.write_bypass != 0, .seq_floor = seq_floor,
                             .areas = s->o.areas};
    int err;

    memcpy(o.marks, rec->mark, sizeof(o.marks));
    o.marks_final = rec->marks_final || s->layers_touched == 0; /* without a volume nobody can have written */
    err = journal_new(s->env, s->o.journal_dev, s->o.segpool, &o, &ev, &s->j);
    if (!err && (s->o.tier->bugs || s->o.tier->journal_bugs))
        shard_set_bugs(s, s->o.tier->bugs, s->o.tier->journal_bugs);
    return err;
}

/* Segments that replay left without a mark of their own were open at the crash: opening the log has sealed them. */
static void seal_old_segments(struct shard *s, const struct seg *before)
{
    for (uint32_t g = 0; g < s->twin_segment; g++) {
        struct segment_info info;

        if (before[g].use == SEGMENT_FREE || s->seg[g].epoch != before[g].epoch)
            continue;
        segpool_info(s->o.segpool, g, &info);
        s->seg[g].use = info.use;
    }
}

/* What replay kept is named before opening erases the groups that it dropped: they may be the only ones that called the newest
 * kept one durable, and without them the next start would take rot in that one for a tear. Final: what lies elsewhere was judged, and
 * nothing is acknowledged before the next record. */
static int name_kept(struct shard *s)
{
    int err = dev_flush_sync(s->o.journal_dev);

    return err ? err : shard_marks_commit(s, true);
}

static int open_log(struct shard *s)
{
    size_t bytes = s->ix.nr_segments * sizeof(*s->seg);
    struct seg *before = malloc(bytes);
    int err;

    if (before == NULL)
        return -ENOMEM;
    memcpy(before, s->seg, bytes);
    err = name_kept(s);
    err = err ? err : journal_open(s->j);
    marks_begin(s);
    if (err == 0)
        seal_old_segments(s, before);
    free(before);
    return err;
}

int shard_open_log(struct shard *s)
{
    int err = open_log(s);

    if (err == 0)
        err = places_recover(s);
    s->opened = err == 0;
    s->opened_s = (uint32_t)(env_now_ns(s->env) / NS_PER_S);
    return err;
}
