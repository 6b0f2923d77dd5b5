/* SPDX-License-Identifier: Apache-2.0 */
/* copies.h: clean copies of a rig's volume in places on the SSD: how tests make them, and what of them there is. */
#ifndef FIRN_TEST_TIER_COPIES_H
#define FIRN_TEST_TIER_COPIES_H

#include "rig.h"

#define CHUNK_BLOCKS  16u   /* what is missed and copied at a time */
#define COPIES_VOLUME 1536u /* blocks of the volume of copies_begin(): six extents */

/* The volume is cold, of stamp 1, and whatever is read is copied; one segment is open for that. cache_segments: 0, or those of a
 * device of copies alone. */
void copies_begin(struct rig *r, uint32_t segments, uint32_t cache_segments);
/* Nothing is under way any more when all is settled. */
void copies_finish(struct rig *r);

/* The range reads as written with this stamp, a chunk at a time. */
void copies_expect(struct rig *r, uint64_t from, uint64_t to, uint64_t stamp);
/* Each chunk is missed, none belongs to a stream, and RAM has none of it afterwards; so what is worth it has been copied. */
void copies_make(struct rig *r, uint64_t from, uint64_t to, uint64_t stamp);
bool copies_has(const struct rig *r, uint64_t block);
/* Of all blocks of the volume; in any place. */
uint32_t copies_nr(const struct rig *r);
/* Nothing of the volume is left in the log but what is dirty there. */
void copies_drop_log(struct rig *r);

#endif
