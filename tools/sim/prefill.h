/* SPDX-License-Identifier: Apache-2.0 */
/* prefill.h: metadata of a volume that was written whole before a replay begins, without anybody writing it.
 *
 * A wrapper over the simulated metadata store. Once armed it answers for every extent that the trace can reach: it has a
 * place on a capacity device, every block of it is valid and holds zeros. Nothing of that is kept: records are made when
 * they are asked for, until the engine commits its own.
 * Placement: region r of the volume (REGION_EXTENTS extents, 64 MiB) lies on device r % devices as its region r / devices,
 * extents in order. So volume address a of a pool with one device lies at
 *     1 MiB + R + (a / 64 MiB + 1) * 256 KiB + a:   the label, the ring of descriptions (R bytes), and their table before each region.
 */
#ifndef FIRN_SIM_PREFILL_H
#define FIRN_SIM_PREFILL_H

#include "tier/format.h"
#include "tier/meta.h"
#include "tools/sim/trace.h"

struct prefill {
    const struct trace *t;
    uint64_t  nr_extents;      /* of the volume */
    uint32_t  nr_devs;
    bool      armed;
    uint64_t  layer;           /* known once armed */
    uint64_t *ours;            /* a bit an extent: we answer for it */
    uint32_t  zero_crc;        /* of a block of zeros */
    uint64_t  batches, pages;  /* committed since armed; pages that LMDB would write for them, modelled */
};

/* Extents that the trace touches and their neighbours (a fetch may reach into those): the rest of the volume is never asked for. */
void prefill_init(struct prefill *p, const struct trace *t, uint64_t volume_bytes, uint32_t nr_devs);
void prefill_fini(struct prefill *p);
/* Takes `under`; closing *out closes it. */
void prefill_open(struct prefill *p, struct meta *under, struct meta **out);
/* From the next open on the volume of that id is full. under is open. */
int  prefill_arm(struct prefill *p, struct meta *under, uint64_t volume_id);
struct extent_place prefill_place(const struct prefill *p, uint64_t extent);
/* Extents that a device of the pool must have. */
uint64_t prefill_extents_a_dev(const struct prefill *p);

#endif
