/* SPDX-License-Identifier: Apache-2.0 */
/* oracle.h: what a host may legally read, unit by unit; knows nothing of the engine it judges.
 *
 * A unit is one logical block of a volume (512 or 4096 bytes). Every write gives each of its units a new version, whose
 * bytes carry (volume tag, unit, version, crc). A version is dead from the moment when a host could know that something
 * newer stands in its place: a write that began after it had ended was acknowledged, or a read that began after it had
 * ended returned something else. A read that began later must not return it. A write that a crash or an error ended may
 * be there or not, whole, until one of the two happens.
 * Time here is a count of the host's own steps, not the clock.
 */
#ifndef FIRN_SIM_ORACLE_H
#define FIRN_SIM_ORACLE_H

#include "base/types.h"

struct oracle;

/* tag: unique a volume and incarnation, so that another volume's bytes are known for what they are. */
struct oracle *oracle_new(uint64_t tag, uint32_t unit_bytes, uint64_t units);
void oracle_free(struct oracle *o);
void oracle_grow(struct oracle *o, uint64_t units);
uint64_t oracle_units(const struct oracle *o);

/* A write (or, with zeros, a write zeroes or discard) of nr units begins; returns its version. */
uint64_t oracle_write_begin(struct oracle *o, uint64_t unit, uint64_t nr, bool zeros);
/* Fills buf with what the version's units hold. */
void oracle_fill(const struct oracle *o, uint64_t version, uint64_t unit, uint64_t nr, void *buf);
enum oracle_end {
    ORACLE_ACKED,   /* from now on nothing older may be read */
    ORACLE_FAILED,  /* an error: it may or may not be there, and may still come with the next start */
    ORACLE_OVER,    /* nobody said, but it can no longer come: it is there or it is not */
};
void oracle_write_end(struct oracle *o, uint64_t version, uint64_t unit, uint64_t nr, enum oracle_end end);
/* Everything under way has ended without an answer. */
void oracle_crash(struct oracle *o);

/* A read begins: pass the result to oracle_read_check() or oracle_read_end(). */
uint64_t oracle_read_begin(struct oracle *o);
void oracle_read_end(struct oracle *o, uint64_t begun); /* it returned no data */
/* 0, or -EIO with what is wrong in `why`. */
int  oracle_read_check(struct oracle *o, uint64_t begun, uint64_t unit, uint64_t nr, const void *buf, char why[static 256]);

#endif
