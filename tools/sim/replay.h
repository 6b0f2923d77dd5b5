/* SPDX-License-Identifier: Apache-2.0 */
/* replay.h: a block trace through the real engine, on modelled devices in virtual time.
 *
 * Rules: the SSD is cold; one volume as large as the trace's addressed span, full before the replay begins (prefill.h); a
 * request covers whole blocks; its latency counts from its arrival. Requests with a time arrive then, whether or not earlier
 * ones were answered; one without arrives when the one before it is answered. After the last answer everything dirty is
 * destaged, and that counts. What the host wrote is known block by block: a read that returns anything else ends the run.
 */
#ifndef FIRN_SIM_REPLAY_H
#define FIRN_SIM_REPLAY_H

#include "base/limits.h"
#include "tier/tier.h"
#include "tools/sim/score.h"
#include "tools/sim/trace.h"

#include <stdio.h>

#define REPLAY_HDDS_MAX 16u
#define REPLAY_SSD_BYTES_MAX (15 * TIB) /* a pool takes a little more (tier/index.h) */
#define REPLAY_SEGMENTS_AIM 1024u /* of the SSD, */
#define REPLAY_SEGMENT_BYTES (256u * 1024u) /* but not smaller: of smaller ones headers, footers and unused ends are some percent; */
#define REPLAY_SEGMENTS_LEAST 32u /* unless that would be fewer of them: then down to SEGMENT_BYTES_MIN */

struct replay_opts {
    const struct trace *trace;
    const struct tier_opts *tune; /* what a configuration says: devices, envs and seams are not looked at */
    uint64_t ssd_bytes;           /* room for segments */
    uint32_t nr_hdd;              /* 1..REPLAY_HDDS_MAX */
    bool     closed;              /* the trace's times are not looked at: every request arrives when the one before it is answered */
    FILE    *oplog[REPLAY_HDDS_MAX]; /* NULL: none. [0]: SSD and first HDD; [i]: HDD i. "H|S,R|W,offset,len" as the devices are sent them */
};

/* The least SSD that the engine takes, in bytes. */
uint64_t replay_ssd_min(const struct replay_opts *o);
uint32_t replay_segment_bytes(const struct replay_opts *o);
/* Runs it on this thread. 0: *out is complete (score_fini). Else why says what went wrong. */
int replay_run(const struct replay_opts *opts, struct score *out, char why[static 256]);

#endif
