/* SPDX-License-Identifier: Apache-2.0 */
/* read_repair.c: the blocks of a run that failed, one by one: again, and the other copy.
 *
 * 1. A block is looked up anew: its place may have changed under way. Whoever wrote it meanwhile has mended it.
 * 2. It is read again where it lies, alone; then from the other copy, if there is one with the same checksum.
 * 3. Each answer comes back to read_run.c, which verifies it and goes on here, until no bad block is left.
 * Failures: neither has it: the block is answered with -FIRN_E_DAMAGED, or with the device's error, for itself alone. One whose
 * place keeps changing begins again MOVED_MAX times a request.
 */
#include "tier/map.h"
#include "tier/priv.h"
#include "tier/read.h"
#include "tier/sums.h"

#define MOVED_MAX 256u /* a request whose blocks keep moving under it is answered with an error at last */

void repair_begin(struct run *u)
{
    u->whole = u->at;
    u->whole_first = u->first;
    u->whole_n = u->n;
    u->repairing = u->fresh = true;
}


enum repair { REPAIR_UNDER_WAY, REPAIR_OVER };

static struct run_at at_of_block(const struct run *u, uint32_t i)
{
    struct run_at at = u->whole;

    at.csum = u->csum[i];
    at.in_extent += i;
    if (at.source == RUN_LOG) {
        at.loc.unit += i * JOURNAL_UNITS_PER_BLOCK;
        at.slot = index_slot_id(&u->rio->s->ix, at.loc.segment, at.loc.unit);
    }
    return at;
}

/* The copy beside the one that failed: only beneath an entry whose block the map has too, and only with the same checksum. */
static bool other_copy(struct run *u, uint64_t block, const struct run_at *bad, struct run_at *at)
{
    struct shard *s = u->rio->s;

    unsigned flags = bad->source == RUN_LOG ? index_flags_of(&s->ix, bad->slot) : INDEX_DIRTY;

    if ((flags & INDEX_DIRTY) && !(flags & INDEX_KEPT))
        return false;
    where_map(u->rio, block, &u->wait, at);
    if (at->source == RUN_WAIT || at->source == RUN_UNKNOWN)
        return true;
    if (at->source != RUN_COLD || at->csum != bad->csum)
        return false;
    if (!(flags & INDEX_KEPT) || u->last_err == 0)
        map_remove(s, bad->slot); /* a copy that is bad is worth nothing; one that cannot be read now may be the only one */
    return true;
}

/* An entry that stays beneath its other copy is no new place. */
static bool moved(const struct run *u, const struct run_at *was, const struct run_at *now)
{
    bool back = u->tries == 2 && was->source == RUN_COLD && now->source == RUN_LOG && was->csum == now->csum;

    return !where_same(was, now) && !back;
}

/* A place is read twice, then the other copy; a new place, if there were not too many, from the beginning. */
static bool again(struct run *u, uint64_t block, const struct run_at *was, struct run_at *now)
{
    if (now->source == RUN_DAMAGED)
        return false;
    if (now->source == RUN_UNKNOWN)
        return true;
    if (moved(u, was, now)) {
        u->tries = 0;
        return u->rio->moves++ < MOVED_MAX;
    }
    if (u->tries++ == 0)
        return true;
    if (u->tries != 2 || !other_copy(u, block, was, now))
        return false;
    if (now->source == RUN_WAIT)
        u->tries--;
    return true;
}

/* Where bad block i is to be read next; false: nowhere, its fate is decided. */
static bool repair_where(struct run *u, uint32_t i, struct run_at *now)
{
    struct rio *r = u->rio;
    uint64_t block = r->block + u->whole_first + i;
    struct run_at was = u->at;

    if (u->fresh) {
        was = at_of_block(u, i);
        u->tries = 0;
    }
    where_look_up(r, block, &u->wait, now);
    if (now->source == RUN_WAIT)
        return true;
    u->fresh = false;
    if (now->source == RUN_DAMAGED)
        was = *now;
    if (now->source == RUN_ZERO) {
        memset(iov_block(r->iov, r->iovcnt, u->whole_first + i), 0, BLOCK_BYTES);
        return false;
    }
    if (again(u, block, &was, now))
        return true;
    rio_block_failed(r, block, &was, now->source == RUN_DAMAGED ? 0 : u->last_err);
    return false;
}

static enum repair repair_block(struct run *u, uint32_t i)
{
    struct rio *r = u->rio;
    struct run_at now;

    if (!repair_where(u, i, &now))
        return REPAIR_OVER;
    if (now.source == RUN_WAIT)
        return REPAIR_UNDER_WAY;
    if (now.source == RUN_UNKNOWN) {
        rio_block_unknown(r, r->block + u->whole_first + i, now.err);
        return REPAIR_OVER;
    }
    if (run_copy_given_up(r->s, &now))
        return repair_block(u, i);
    if (!run_dev_usable(r->s, &now)) {
        rio_block_failed(r, r->block + u->whole_first + i, &now, -FIRN_E_DEVICE_FAILED);
        return REPAIR_OVER;
    }
    u->at = now;
    u->first = u->whole_first + i;
    u->n = 1;
    figure_add(&r->s->stats.read_retried, 1);
    run_submit(u, now.csum);
    return REPAIR_UNDER_WAY;
}

void repair_step(struct run *u)
{
    for (uint32_t i = 0; i < u->whole_n; i++) {
        if (!bit_get(u->bad, i))
            continue;
        if (repair_block(u, i) == REPAIR_UNDER_WAY)
            return;
        bit_clear(u->bad, i);
        u->fresh = true;
    }
    run_end(u);
}

void repair_wake(struct sums_waiter *w) { repair_step(container_of(w, struct run, wait)); }
