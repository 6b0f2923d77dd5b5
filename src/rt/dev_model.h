/* SPDX-License-Identifier: Apache-2.0 */
/* dev_model.h: a dev that wraps another and takes the time that a given SSD or HDD would take.
 *
 * HDD: one head, one request at a time in the order given; position = end of the last transfer; costs as tiering.md 4a.
 * With `turns`, a write that goes on where the last one ended, but comes when the disk is idle, waits until the platter brings
 * the place round again: a log of one write after the other gets a turn each, as on a disk whose write cache is off. (tiering.md
 * charges none; replays of traces go by it. Reads have the disk's look-ahead.)
 * SSD: a fixed latency for each request plus the stream rate; requests overlap up to `ways`.
 * In virtual time on a simulator's env, in real time on a reactor (timers). Same thread and ownership rules as dev.h.
 * Devs that name one dev_model_disk are parts of it: one head for all of them.
 */
#ifndef FIRN_RT_DEV_MODEL_H
#define FIRN_RT_DEV_MODEL_H

#include "rt/dev.h"

/* Zeroed by its owner, who keeps it longer than the devs on it, all of one env. */
struct dev_model_disk {
    uint64_t span_bytes;      /* of the devs on it: each lies behind those that were made before */
    uint64_t head_bytes;
    uint64_t free_at_ns;      /* end of the last request */
};

struct dev_model_params {
    bool     hdd;
    bool     turns;           /* HDD: writes wait for the platter, see above */
    uint64_t span_bytes;      /* HDD: addressed span D, rounded up to 1 GiB by the model */
    double   scale;           /* 1.0 = real; 0.1 = ten times faster; for tests that have no hour */
    uint32_t ways;            /* SSD: requests served at once; 0: 16 */
    struct dev_model_disk *disk; /* HDD: the one that it is a part of; NULL: one of its own, of span_bytes */
};

/* Cost in ns of one HDD request, pure: *head_bytes moves to its end; *seeks rises when a seek was charged. */
uint64_t dev_model_hdd_cost_ns(uint64_t span_bytes, uint64_t *head_bytes, bool write, uint64_t off_bytes,
                               uint64_t len_bytes, uint64_t *seeks);
/* As above, for a write whose place the platter must bring round: the disk has been idle for idle_ns, and the write begins 0 to
 * 512 KiB behind *head_bytes. */
uint64_t dev_model_hdd_turn_cost_ns(uint64_t idle_ns, uint64_t *head_bytes, uint64_t off_bytes, uint64_t len_bytes);
uint64_t dev_model_ssd_cost_ns(bool write, uint64_t len_bytes);

/* Takes ownership of `below` on success; dev_close() of the wrapper closes it. */
int dev_model_new(struct dev *below, const struct dev_model_params *params, struct dev **out);
uint64_t dev_model_busy_ns(const struct dev *d);
uint64_t dev_model_seeks(const struct dev *d);
/* As if new, from now on: head at 0 (of its disk, too), no time taken, no seeks. Nothing is in flight. */
void     dev_model_restart(struct dev *d);

#endif
