/* SPDX-License-Identifier: Apache-2.0 */
/* past.h: streams of writes past the log of a rig, for the tests of those. */
#ifndef FIRN_TEST_TIER_PAST_H
#define FIRN_TEST_TIER_PAST_H

#include "rig.h"
#include "tier/twin.h"

#define IO 32u /* blocks of a write of a stream */

/* Boots a rig with these options and a log that is no obstacle; bypass: the key (tier.write_bypass), in bytes. */
void past_boot(struct rig *r, struct rig_opts o, uint64_t bypass);
/* What is dirty settles; an orderly stop, and a start with the key: the smallest, so that the first write counts. */
void past_begin(struct rig *r);
void past_stream(struct rig *r, uint32_t from, uint32_t nblocks, uint64_t stamp);
void past_expect(struct rig *r, uint32_t from, uint32_t nblocks, uint64_t stamp);
uint64_t past_blocks(const struct rig *r);              /* so many went there since the boot */
struct twin *past_twin(struct rig *r, uint64_t block);  /* of the block's extent; NULL: it has none */
void past_hdds_refuse(struct rig *r, bool writes);      /* all of them, or none any more */

#endif
