/* SPDX-License-Identifier: Apache-2.0 */
/* marks.c: the shard's record in the metadata names the newest durable group of each stream of its log, so that the next
 * start can tell rot in acknowledged groups, or writes that a lying device lost, from the torn tail of a crash.
 *
 * The record also says how far the descriptions have come (described.c).
 *
 * 1. Every batch of destages and of reclaim carries the record.
 * 2. Where none comes along, a batch of its own names what became durable since: at once after a rest, else MARKS_PERIOD_NS
 *    behind the last record, later where commits are slow. Writes never wait for it. A drain does, so a stopped shard has
 *    named everything.
 * 3. A start commits it once all shards have been judged, before anything is erased from their logs, and again behind that: what
 *    was kept is named before anything follows it.
 * 4. It says that its marks are final where nothing follows: the last one of a stop, and the first one of a start, which the second
 *    takes back before anything is served.
 * Failures: a failed commit is final, as everywhere.
 */
#include "tier/describe.h"
#include "tier/marks.h"
#include "tier/priv.h"
#include "tier/ring.h"

/* While writes go on, each header calls the groups before it durable: marks are for the log that comes to rest. A commit costs
 * some 16 KiB of the SSD and a flush, which at this pace is nothing. */
#define MARKS_PERIOD_NS NS_PER_S
#define MARKS_SHARE     8u /* of the time, at most, is a commit of this shard's marks under way */

static bool behind(const struct shard *s)
{
    struct journal_mark now[JOURNAL_STREAM_NR];

    if (s->j == NULL)
        return false;
    if (described_unsaid(s))
        return true;
    journal_marks(s->j, now);
    for (unsigned i = 0; i < JOURNAL_STREAM_NR; i++)
        if (now[i].group != s->marks.said[i].group || now[i].epoch != s->marks.said[i].epoch)
            return true;
    return false;
}

uint32_t marks_encode(struct shard *s, void *buf)
{
    struct shard_rec rec = {.durable_seq = s->seq_high, .described_seq = described_say(s)};

    rec.marks_final = s->marks.final;
    if (s->j != NULL) /* else it is closed, and they were said */
        journal_marks(s->j, s->marks.said);
    memcpy(rec.mark, s->marks.said, sizeof(rec.mark));
    s->marks.said_ns = env_now_ns(s->env);
    ring_say(s, &rec);
    return shard_rec_encode(&rec, buf);
}

static void marks_committed(struct meta_batch *b)
{
    struct shard *s = b->ctx;
    uint64_t now = env_now_ns(s->env);

    trace(TRACE_META_COMMIT, b->commit_no, b->nr, (uint64_t)-b->err);
    s->marks.committing = false;
    s->marks.not_before_ns = now + (MARKS_SHARE - 1) * (now - s->marks.begun_ns);
    shard_batch_over(s, b->err);
}

static void set_op(struct shard *s)
{
    struct marks *m = &s->marks;

    m->op = (struct meta_op){.key = meta_key_shard(s->o.no), .value = m->rec, .value_len = marks_encode(s, m->rec)};
}

uint64_t marks_step(struct shard *s)
{
    struct marks *m = &s->marks;
    uint64_t described = described_step(s), now = env_now_ns(s->env), at;

    if (s->failed != 0 || m->committing || !behind(s))
        return described;
    at = s->draining || m->said_ns == 0 ? now : MAX(m->said_ns + MARKS_PERIOD_NS, m->not_before_ns);
    if (at > now)
        return MIN(at, described);
    set_op(s);
    m->committing = true;
    m->begun_ns = now;
    m->batch = (struct meta_batch){.ops = &m->op, .nr = 1, .env = s->env, .cb = marks_committed, .ctx = s};
    meta_commit(s->o.meta, &m->batch);
    return described;
}

void marks_begin(struct shard *s) { s->marks.final = false; }

bool marks_busy(struct shard *s) { return s->marks.committing || described_busy(s) || (s->failed == 0 && behind(s)); }

int shard_marks_commit(struct shard *s, bool final)
{
    s->marks.final = final;
    set_op(s);
    return s->o.meta->ops->commit_sync(s->o.meta, &s->marks.op, 1);
}
