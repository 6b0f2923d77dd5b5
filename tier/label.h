/* SPDX-License-Identifier: Apache-2.0 */
/* label.h: reading and writing the label of a device (its bytes: format.h), and knowing whose device it is otherwise.
 * Straight-line, over dev_*_sync().
 */
#ifndef FIRN_TIER_LABEL_H
#define FIRN_TIER_LABEL_H

#include "base/strbuf.h"
#include "rt/dev.h"
#include "tier/format.h"

#define LABEL_COPIES 3u

/* `bytes`: the part of the device that Firn uses; the last copy lies at its end. */
struct label_copies {
    int      err[LABEL_COPIES]; /* label_decode()'s answer, or the device's error */
    unsigned stale;             /* a bit a copy that is not the newest valid one: to be rewritten */
};
/* The newest valid copy. -FIRN_E_FORMAT_VERSION if any copy is from a newer program; -FIRN_E_NOT_FIRN if none has the
 * magic; -FIRN_E_CORRUPT if some have it and none is valid; a device error if no copy could be read. */
int  label_read(struct dev *d, uint64_t bytes, struct label *out, struct label_copies *copies);
/* The copies in `stale` (a bit each; label_copies.stale) first, flush; then the others one by one, a flush behind each: so a
 * crash leaves a valid copy, also when it follows another crash that left only one. */
int  label_write(struct dev *d, uint64_t bytes, const struct label *l, unsigned stale);
/* Zeros over both label areas, so that no older signature is left there. */
int  label_wipe(struct dev *d, uint64_t bytes);
/* What else is on the device: the name of a known signature, "unknown data" if the label areas are not zeros, or NULL
 * for an empty device. A device error is returned through *err. */
const char *label_foreign(struct dev *d, uint64_t bytes, int *err);

void label_print(struct strbuf *out, const struct label *l);

#endif
