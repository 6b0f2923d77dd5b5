/* SPDX-License-Identifier: Apache-2.0 */
/* read_answer.c: what a read is answered with.
 *
 * When all its runs have been started and are over it is called back; of several blocks that failed it names the first. What could
 * not be had of a block, and why, is said once for neighbours of one kind (damage.h), and its bytes in the caller's memory are
 * zeroed: never older ones.
 */
#include "tier/priv.h"
#include "tier/read.h"

void rio_fail(struct rio *r, uint64_t block, int err)
{
    if (r->err == 0 || block < r->err_block) {
        r->err = err;
        r->err_block = block;
    }
}

void rio_say_damage(struct rio *r)
{
    if (r->damage.nblocks > 0)
        damage_say(&r->s->damage, env_now_ns(r->s->env), layer_at(r->s, r->layer)->vol, &r->damage);
    r->damage.nblocks = 0;
}

void rio_check_done(struct rio *r)
{
    if (r->next < r->nblocks || r->in_flight > 0 || r->parked)
        return;
    rio_say_damage(r);
    r->cb(r);
}

static uint64_t log_offset(const struct shard *s, struct journal_loc loc)
{
    return segpool_offset(s->o.segpool, loc.segment, (uint64_t)loc.unit * JOURNAL_UNIT_BYTES);
}

static enum damage_kind kind_of(const struct run_at *at, int err)
{
    if (at->source == RUN_DAMAGED)
        return DAMAGE_LOST;
    if (err == 0)
        return DAMAGE_CHECKSUM;
    return err == -FIRN_E_DEVICE_FAILED ? DAMAGE_DEVICE : DAMAGE_UNREADABLE;
}

static void note_damage(struct rio *r, uint64_t block, const struct run_at *at, int err)
{
    struct shard *s = r->s;
    uint32_t id = index_find(&s->ix, r->layer, block);
    struct damage_run d = {.kind = kind_of(at, err), .block = block, .nblocks = 1, .err = err != 0 ? err : -FIRN_E_DAMAGED};

    if (at->source == RUN_LOG) {
        d.dev = shard_segment_dev(s, at->loc.segment);
        d.off_bytes = log_offset(s, at->loc);
    } else if (at->source == RUN_COLD || at->source == RUN_TWIN) {
        d.dev = shard_capacity(s, at->place.dev);
        d.off_bytes = cold_offset(s->o.cold, at->place) + (uint64_t)at->in_extent * BLOCK_BYTES;
    }
    if (d.kind != DAMAGE_DEVICE && !(id != INDEX_NONE && (index_flags_of(&s->ix, id) & INDEX_DAMAGED)))
        damage_note(&s->damage, r->layer, block);
    if (damage_joins(&r->damage, &d)) {
        r->damage.nblocks++;
        return;
    }
    rio_say_damage(r);
    r->damage = d;
}

/* err: the device's, which may mend; 0: the bytes were read, and are not those that were written. */
void rio_block_failed(struct rio *r, uint64_t block, const struct run_at *at, int err)
{
    memset(iov_block(r->iov, r->iovcnt, (uint32_t)(block - r->block)), 0, BLOCK_BYTES);
    note_damage(r, block, at, err);
    rio_fail(r, block, err != 0 ? err : -FIRN_E_DAMAGED);
}

/* The metadata would not say where it lies, or whether it is lost: the host may ask again. */
void rio_block_unknown(struct rio *r, uint64_t block, int err)
{
    memset(iov_block(r->iov, r->iovcnt, (uint32_t)(block - r->block)), 0, BLOCK_BYTES);
    rio_fail(r, block, err);
}
