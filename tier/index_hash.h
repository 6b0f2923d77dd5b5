/* SPDX-License-Identifier: Apache-2.0 */
/* index_hash.h: the hash of the index: a block's key -> the id of its slot. For index.c alone; the keys stand in its slots. */
#ifndef FIRN_TIER_INDEX_HASH_H
#define FIRN_TIER_INDEX_HASH_H

#include "tier/index.h"

static inline uint64_t index_slot_key(const struct index *ix, uint32_t id) { return ix->key_flags[id] >> 8; }

/* Room for `slots` ids in the end. parts: so many indexes share these; this one begins with room for its part. */
void      index_hash_plan(struct index *ix, uint64_t slots, uint32_t parts);
size_t    index_hash_reserve_bytes(const struct index *ix);
uint64_t  index_hash_bytes(const struct index *ix);                     /* resident; from any thread */
uint32_t *index_hash_cell(const struct index *ix, uint64_t key);        /* holds the key's id + 1; NULL: there is none */
void      index_hash_add(struct index *ix, uint32_t id, uint64_t key);  /* the slot has the key by then */
void      index_hash_remove(struct index *ix, uint64_t key);

/* index.c's: whole pages between them need not be resident any more; they read as zeros. */
void      index_pages_give(const struct index *ix, const void *from, const void *to);

#endif
