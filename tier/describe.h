/* SPDX-License-Identifier: Apache-2.0 */
/* describe.h: what extents say of themselves on their devices (describe.c), and how far that has come (described.c). */
#ifndef FIRN_TIER_DESCRIBE_H
#define FIRN_TIER_DESCRIBE_H

#include "rt/dev.h"

struct extent;
struct lane;
struct shard;

enum described_round { DESCRIBED_REST, DESCRIBED_LOOK, DESCRIBED_FLUSH, DESCRIBED_ROUND_NR };
struct described {
    uint64_t seq;                /* extents destaged up to there are described */
    uint64_t said;               /* as in the last record handed to the metadata */
    uint64_t loaded;             /* as this start found it */
    enum described_round round;
    bool     wanted;             /* descriptions were written since the last round began */
    bool     stuck;              /* what lies on a device is not known: seq stays until the next start */
    bool     flushing;           /* io is in flight */
    uint64_t began_ns;           /* the last round; 0: none */
    uint64_t drain_ns;           /* drain_began_ns of the last drain that had one */
    uint64_t low;                /* the round: lowest destaged_seq so far that is not described, or may come to be so */
    uint16_t dev;                /* LOOK: goes on there */
    uint32_t slot;
    uint64_t unflushed;          /* devices, a bit each, that got descriptions since their last flush here began */
    uint64_t to_flush;           /* of them, in this round */
    struct dev_io io;
};

/* describe.c */
uint64_t describe_look(struct lane *l);                   /* of an idle lane; as mover_step() */
void     describe_go_on(struct lane *l);                  /* it has the turn that it waited for */
bool     describe_pending(struct shard *s);               /* a drain has to wait for descriptions */

/* described.c */
uint64_t described_step(struct shard *s);                 /* as mover_step() */
bool     described_busy(struct shard *s);                 /* a round is under way, or a drain has to wait for one */
void     described_due(struct shard *s, uint64_t seq);    /* an extent destaged then is to be described */
void     described_written(struct shard *s, uint16_t dev, int err); /* a description was, there */
uint64_t described_say(struct shard *s);                  /* for a record that is committed next */
bool     described_unsaid(const struct shard *s);
void     described_load(struct shard *s, uint64_t seq);   /* as the metadata has it */
void     described_start(const struct shard *s, struct extent *e); /* before map_settle(), at a start */

#endif
