/* SPDX-License-Identifier: Apache-2.0 */
#include "past.h"

void past_boot(struct rig *r, struct rig_opts o, uint64_t bypass)
{
    o.segments = 40;
    rig_init(r, &o);
    r->opts.write_bypass = bypass;
    cr_assert_eq(rig_boot(r), 0);
}

void past_begin(struct rig *r)
{
    rig_drain(r, true);
    rig_stop(r);
    r->opts.write_bypass = 1;
    cr_assert_eq(rig_boot(r), 0);
}

void past_stream(struct rig *r, uint32_t from, uint32_t nblocks, uint64_t stamp)
{
    for (uint32_t b = from; b < from + nblocks; b += IO)
        cr_assert_eq(rig_write(r, b, IO, stamp), 0);
    shard_verify(r->shard);
}

void past_expect(struct rig *r, uint32_t from, uint32_t nblocks, uint64_t stamp)
{
    for (uint32_t b = from; b < from + nblocks; b += IO)
        rig_expect(r, b, MIN(IO, from + nblocks - b), stamp);
}

uint64_t past_blocks(const struct rig *r) { return r->shard->stats.bypass_blocks; }

struct twin *past_twin(struct rig *r, uint64_t block)
{
    uint32_t x = extent_find(&r->shard->xt, 1, extent_no(block));

    return x == EXTENT_NONE ? NULL : twin_of(r->shard, extent_at(&r->shard->xt, x));
}

void past_hdds_refuse(struct rig *r, bool writes)
{
    for (unsigned i = 0; i < RIG_HDDS; i++)
        sim_disk_faults(r->hdd[i])->eio_write = writes ? 1000000 : 0;
}
