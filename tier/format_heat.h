/* SPDX-License-Identifier: Apache-2.0 */
/* format_heat.h: the 'T' record: heat of 1 GiB of a layer. Pure; FORMAT.md is the prose.
 *
 * Heat is disposable: whoever reads the metadata leaves out a record that he cannot decode, and nothing else changes.
 */
#ifndef FIRN_TIER_FORMAT_HEAT_H
#define FIRN_TIER_FORMAT_HEAT_H

#include "tier/heat.h"
#include "tier/meta.h"

#define HEAT_GROUP_CELLS 256u
#define HEAT_GROUPS_MAX  ((1u << HEAT_CELL_BITS) / HEAT_GROUP_CELLS) /* of a layer */
#define HEAT_REC_BYTES   (16u + HEAT_GROUP_CELLS * 6u)

struct heat_rec {
    uint32_t clock_s;            /* heat clock of all its values */
    struct heat_value v[HEAT_GROUP_CELLS];
};

struct meta_key meta_key_layer_heat(uint64_t layer);      /* a prefix: all of one layer */
struct meta_key meta_key_heat(uint64_t layer, uint32_t group);
int meta_key_parse_heat(const struct meta_key *k, uint64_t *layer, uint32_t *group); /* -FIRN_E_CORRUPT */

/* Values keep 8 binary digits. */
uint32_t heat_rec_encode(const struct heat_rec *r, void *buf);
int      heat_rec_decode(const void *buf, uint32_t len, struct heat_rec *out);

#endif
