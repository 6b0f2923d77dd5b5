/* SPDX-License-Identifier: Apache-2.0 */
/* recover_next.c: may the log have gone on in a segment of which nothing can be read?
 *
 * A group that was just written to a new segment may be all that it holds, and a spot that cannot be read may hide it together with the
 * segment's header. Nothing names that segment, and yet it was no tear. What the newest segment says that can be read:
 * 1. It was opened, and nothing is in it: the log would have gone on there, and did not.
 * 2. It has no summary, nor an end that cannot be read, and room for any group: nothing follows a segment before it is full, or sealed.
 * 3. Else, or if there is none, the log may have gone on where nothing can be read: such a place is then a loss without a name, unless
 *    the metadata says that its marks are final, as it does from an orderly stop to the end of the next start.
 * 1 and 2 are what a crash leaves; 3 is left by one in the moment between two segments, or while a full log waits for space.
 * HOST alone: what MOVES repeats is freed where it stood by a batch that carries the mark of the moves, too.
 */
#include "journal/priv.h"

/* The newest segment of hosts' writes that tells of the log. */
static struct rseg *newest(struct recovery *r)
{
    for (uint32_t i = r->nr_segs; i-- > 0;) {
        struct rseg *s = &r->segs[i];

        if (s->stream == JOURNAL_HOST && (!rseg_empty(s) || rseg_opened(s)))
            return s;
    }
    return NULL;
}

bool rseg_has_room(const struct recovery *r, const struct rseg *s)
{
    return !s->foot_ok && !s->foot_blind && !s->hurt && segment_has_room(&r->j->geo, s->scan_end, s->sum.len);
}

/* Whether it is proven that no group that was acknowledged lies behind what can be read. */
static bool ends_here(const struct recovery *r, const struct rseg *newest)
{
    if (r->j->opts.marks_final || r->streams[JOURNAL_HOST].ended)
        return true;
    return newest && !rseg_empty(newest) && rseg_has_room(r, newest);
}

void recover_maybe(struct recovery *r, uint32_t segment)
{
    r->report->groups_maybe++;
    r->report->maybe_segment = segment;
}

void recover_next(struct recovery *r)
{
    const struct segpool *p = r->j->pool;
    struct rseg *s = newest(r);

    bool idle = s && rseg_empty(s) && s->nr_drop == 0;

    r->idle = idle && !s->blind ? s : NULL; /* where the first group cannot be read the next start would not know whether there is one */
    if (p->unknown_nr == 0 || idle || ends_here(r, s))
        return;
    log_error("a segment of the journal where the log may go on cannot be read where it begins", "shard=%" PRIu32 " segments=%" PRIu32
              " first=%" PRIu32, r->j->opts.shard, p->unknown_nr, p->unknown_first);
    recover_maybe(r, p->unknown_first);
    r->report->groups_corrupt++;
    r->unnamed++;
}
