/* SPDX-License-Identifier: Apache-2.0 */
/* format_rec.h: what all metadata records, and their keys, begin with; for the files that encode them alone. */
#ifndef FIRN_TIER_FORMAT_REC_H
#define FIRN_TIER_FORMAT_REC_H

#include "tier/format.h"

#define REC_VERSION 1u

struct rec_head {
    le16    version;     /* 0 */
    le16    reserved;    /* 2 zero */
};

/* format_rec.c */
bool     rec_all_zero(const uint8_t *p, size_t n);
int      rec_check(const void *buf, uint32_t len, uint32_t want); /* as rec_check_version(), of REC_VERSION */
/* 0; -FIRN_E_CORRUPT; -FIRN_E_FORMAT_VERSION: it is newer. */
int      rec_check_version(const void *buf, uint32_t len, uint32_t want, uint16_t version);
uint16_t rec_version(const void *buf, uint32_t len);      /* 0: too short to have one */
int      rec_name_get(const char *raw, size_t field, char *out); /* a name on media is padded with zeros to its field's end */

/* format_keys.c: big-endian numbers of so many bytes: behind what k has, at a byte of it */
void     meta_key_put(struct meta_key *k, uint64_t v, unsigned bytes);
uint64_t meta_key_at(const struct meta_key *k, unsigned at, unsigned bytes);

#endif
