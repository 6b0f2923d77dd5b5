/* SPDX-License-Identifier: Apache-2.0 */
/* migrate.h: extents that move between flash and disks (migrate.c). */
#ifndef FIRN_TIER_MIGRATE_H
#define FIRN_TIER_MIGRATE_H

#include "tier/extent.h"
#include "tier/placement.h"
#include "tier/policy.h"

struct job;
struct lane;
struct shard;

#define MIGRATE_BATCH   4u       /* extents that move together: a quarter of a second at 16 MB/s */
#define MIGRATE_LIST    256u
#define MIGRATE_SHUNNED 16u
struct migrate {
    bool     mixed;              /* the pool has capacity devices of both kinds; false: nothing below counts */
    uint64_t kind[2];            /* devices, a bit each: that seek, that do not */
    struct placement_census census; /* of the walk under way */
    struct placement_marks  marks;  /* by the last ones of all shards */
    uint32_t cursor;             /* the walk: next node; 0: none is under way */
    bool     more;               /* it left some out */
    bool     moved;              /* some of what it noted is on its way, or there */
    bool     restless;           /* it found some to move, or that others were at work on */
    uint32_t hurry;              /* so many more are to come soon, as long as they are restless */
    uint64_t walk_ns;            /* the last one ended then; 0: there was none */
    uint64_t walk_ios;           /* requests served when the last one ended */
    uint32_t list[2][MIGRATE_LIST], nr[2]; /* extents noted by it: to leave flash, to go there; */
    uint32_t at[2];              /* those before have had their turn */
    struct extent_place last[2]; /* taken for one */
    uint64_t began_ns;           /* the last batch */
    uint64_t look_ns;            /* when there may be another one */
    int      began_way;
    uint16_t source;             /* of the batch */
    bool     has_turn;           /* of the source */
    uint32_t shunned_next;
    struct migrate_shunned { uint32_t x; uint64_t until_ns; } shunned[MIGRATE_SHUNNED];
};

void     migrate_init(struct shard *s);
uint64_t migrate_step(struct shard *s);                   /* as mover_step(): the walk */
void     migrate_soon(struct shard *s);                   /* one is due, and some more while there is something to move */
uint64_t migrate_look(struct lane *l);                    /* of its lane, idle; likewise */
void     migrate_pick(struct lane *l);
bool     migrate_is_flash(const struct shard *s, struct extent_place p); /* of a pool with both kinds of capacity devices */
/* An extent is to get its first place: devices, a bit each, where it should not be. */
uint64_t migrate_not_there(const struct shard *s, const struct extent *e);
struct policy_state migrate_policy(struct lane *l, bool urgent);
bool     migrate_ends(const struct lane *l);              /* others want its devices: what has not begun has another turn */
void     migrate_reading(struct lane *l, const struct job *job);
void     migrate_read_all(struct lane *l);                /* of the batch nothing will be read any more */
void     migrate_done(struct lane *l, const struct job *job); /* its batch has committed */
void     migrate_failed(struct lane *l, const struct job *job);

#endif
