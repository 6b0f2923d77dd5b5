/* SPDX-License-Identifier: Apache-2.0 */
/* policy.h: decisions of background work, pure: figures in, choice out. mover.c and reclaim.c act on them;
 * what to destage is choose.h's.
 */
#ifndef FIRN_TIER_POLICY_H
#define FIRN_TIER_POLICY_H

#include "base/types.h"

#define POLICY_IDLE_NS         (20 * NS_PER_MS) /* foreground silence before the HDD is called idle */
#define POLICY_GAP_NS          (2 * NS_PER_MS)  /* at least so much, until something waits */
#define POLICY_REST_NS         NS_PER_S         /* and before it is at rest: then what is dense or cold goes, however little is dirty */
#define POLICY_COOL_NS         (30 * NS_PER_S)  /* so long nobody has written to what is dense, */
#define POLICY_COLD_NS         (4 * 3600 * NS_PER_S) /* or to what is not: half an hour took cphy-vm 2 % more of the disk */
#define POLICY_HOURS_NS        (60 * NS_PER_S)  /* off its hours, how often to see whether they have come: the clock on the wall may jump */
#define POLICY_DESCRIBE_NS     (200 * NS_PER_MS) /* silence, destage's included, before extents are described */
#define POLICY_SETTLED_NS      (60 * NS_PER_S)  /* silence of destage, before those are that lie few in a region */
#define POLICY_OVERDUE_NS      (600 * NS_PER_S) /* so long after the last round they are also without it */
#define POLICY_BATCH_EXTENTS   512u             /* at most these share one flush and one metadata batch */
#define POLICY_BATCH_REGIONS   128u             /* in which they lie, unless everything is destaged */
#define POLICY_BATCH_RECORDS   16u              /* likewise of what needs no device: it is done in no time, and nodes wait for it */
#define POLICY_HOLD_BYTES      (32u << 20)      /* a batch for which hosts' writes wait ends when it has written so much, */
#define POLICY_HOLD_WRITES     8u               /* or when so many wait */
#define POLICY_BURST_WRITES    16u              /* and no more than so many do, while there is room for bursts */
#define POLICY_BURST_NS        (10 * NS_PER_S)  /* or for longer: what lasts is a load, and dirt beyond the limit is dear to move */
#define POLICY_HOLD_NS         (50 * NS_PER_MS) /* and it has lasted so long; */
#define POLICY_HOLD_MAX_NS     (10 * NS_PER_S)  /* or so long, however few wait: sweeps over sparse extents take longer */
#define POLICY_CANDIDATES      512u             /* extents that are looked at for a batch */
#define POLICY_NEAR            32u              /* of them at most so many because they come next on the device */
#define POLICY_DENSE_BLOCKS    64u              /* dirty blocks from which an extent goes as soon as the device rests */
/* And from which reclaim rather has it destaged, beside hosts' reads, than moves some of it. From 64 on, or where a
 * region gives more than 0.5 blocks a ms of the disk, a quarter less was moved at most, and tencent-50k took 6 and 18 %
 * more of the disk. */
#define POLICY_WHOLE_BLOCKS    192u

/* How much is dirty says how much a lane asks before it destages. */
enum policy_regime {
    POLICY_IDLE,               /* up to the start mark: only while the device rests, and only what is dense or cold */
    POLICY_PROPORTIONAL,       /* above it: what is worth the disk's time most, in silence, less and less of it on the way to the limit */
    POLICY_URGENT,             /* something waits, or bursts have no room: beside foreground requests, which wait for one train each */
};

struct policy_state {          /* of one lane, now */
    uint64_t now_ns;
    uint64_t fg_last_ns;       /* the last foreground request to the device ended then */
    uint32_t fg_in_flight;     /* foreground requests there now */
    uint64_t dirty, capacity;  /* blocks: in the log; what the log can hold */
    uint32_t start_pct, max_pct;
    bool     drain;            /* everything is to be destaged */
    bool     urgent;           /* urgent extents wait, or host writes do, at the limit or beyond */
    bool     eager;            /* extents wait for a pause, however little is dirty */
    bool     off_hours;        /* only what is urgent is destaged at this time of the day */
    uint64_t not_before_ns;    /* the budget, or the pause after an error */
};

enum policy_regime policy_regime(const struct policy_state *p);
/* 0: destage now. UINT64_MAX: not until something changes. Else look again at that time. */
uint64_t policy_destage_at(const struct policy_state *p);
/* Likewise for what is dense or cold, in the idle regime. */
uint64_t policy_rest_at(const struct policy_state *p);
/* An extent with so many dirty blocks, last written then: when it is dense and cool, or cold. */
uint64_t policy_cold_at(uint32_t dirty_blocks, uint64_t written_ns);
/* Is it a time of the day at which background work may be done? Minutes; equal: always. From 22:00 to 6:00 is at night. */
bool policy_on_hours(uint64_t wall_ns, uint32_t from_min, uint32_t to_min);
/* Likewise for descriptions of extents, which nobody waits for; busy_ns: the last batch of destages ended then; ripe: many lie
 * together, or have waited for long. */
uint64_t policy_describe_at(const struct policy_state *p, uint64_t busy_ns, bool ripe);
/* Host writes wait at this share of the log. */
bool policy_writes_wait(uint64_t dirty, uint64_t capacity, uint32_t max_pct);
/* A burst may go on to this one: two thirds of the room that max_pct leaves. It is one while disks that seek read for hosts: a sweep among
 * reads takes the disk several times as long, and each of them waits for it. Or when POLICY_BURST_WRITES wait: what a sweep spares the
 * disk is the same for one write that waits for it and for hundreds. */
uint32_t policy_burst_pct(uint32_t max_pct);
/* So little is dirty that a burst may begin: what holds writes at the limit lets it fall by less, again and again. */
bool policy_calm(uint64_t dirty, uint64_t capacity, uint32_t max_pct);
/* Of that limit one capacity device may have so much, when there are others. */
#define POLICY_SHARE_PCT 75u
bool policy_share_full(uint64_t dirty, uint64_t capacity, uint32_t max_pct);
/* One device's dirt, on the scale on which its share is the limit of all. */
uint64_t policy_share_scaled(uint64_t dirty);
/* A destage write must not go out now: a foreground request is in flight, or was until a moment ago, and the next one comes soon. */
bool policy_yields(const struct policy_state *p);

/* Of a batch of destages: is what it has written so far worth more to those who wait than the rest of its sweep? waiting: writes
 * that wait for dirt to fall; held: anything does. */
bool policy_ends_batch(uint64_t bytes, uint64_t age_ns, uint32_t waiting, bool held);

struct policy_segment { uint32_t segment; uint32_t dirty, live, slots; uint64_t age; };
/* What a victim gains: age, and the cube of (1 - u) / (1 + u); an empty one beats all; 0: not worth it. The plain share, by which old
 * segments that are nearly full of cold dirt were moved again and again: tencent-50k 172 MiB moved, the cube 112; cphy-vm 49 and 30. */
double policy_victim_score(const struct policy_segment *s);

#endif
