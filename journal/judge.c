/* SPDX-License-Identifier: Apache-2.0 */
/* judge.c: the decision table of recovery. Pure: six facts about a place where a group stands or should stand, one decision.
 *
 * Exactly one row fits each pattern of facts (a test enumerates them). A row names the crash or fault that makes it.
 */
#include "journal/priv.h"

#define H 1u  /* header_ok */
#define E 2u  /* epoch_current */
#define C 4u  /* cut */
#define X 8u  /* expected */
#define M 16u /* marked */
#define P 32u /* payload_ok */

const struct judge_row judge_table[JUDGE_ROWS] = {
    {'A', H | E,             H,                     DECISION_STALE,
     "the segment was used again; a group of its former use still stands behind the new ones"},
    {'B', H | E | C,         H | E | C,             DECISION_CUT,
     "an earlier recovery dropped it behind a torn group, and crashed before it was erased"},
    {'C', H | E | C | X | M | P, H | E | X | M | P, DECISION_KEEP,
     "any crash after the group behind it was built"},
    {'D', H | E | C | X | M | P, H | E | X | M,     DECISION_CORRUPT_PAYLOAD,
     "rot or a read error in blocks that were durable"},
    {'E', H | E | C | X | M | P, H | E | X | P,     DECISION_KEEP,
     "crash between the end of its write and the next header"},
    {'F', H | E | C | X | M | P, H | E | X,         DECISION_TORN,
     "crash while it was being written: header there, blocks not all"},
    {'G', H | E | C | X | M, H | E,                 DECISION_TORN,
     "crash while it and one before it were being written: this one made it, that one did not"},
    {'H', H | E | C | X | M, H | E | M,             DECISION_CORRUPT_HEADER,
     "no crash: its number repeats one that was seen; foreign bytes that verify"},
    {'I', H | C,             C,                     DECISION_CUT,
     "an earlier recovery cut the stream here: nothing was acknowledged"},
    {'J', H | C | M,         M,                     DECISION_CORRUPT_HEADER,
     "rot, a read error or a lost write at a header that was durable"},
    {'K', H | C | M,         0,                     DECISION_TORN,
     "crash while its header was being written, or nothing was ever written here"},
};

uint8_t judge_bits(const struct facts *f)
{
    return (uint8_t)((f->header_ok ? H : 0) | (f->epoch_current ? E : 0) | (f->cut ? C : 0) | (f->expected ? X : 0) |
                     (f->marked ? M : 0) | (f->payload_ok ? P : 0));
}

enum decision judge(const struct facts *f)
{
    uint8_t bits = judge_bits(f);
    uint32_t i = 0;

    while ((bits & judge_table[i].mask) != judge_table[i].value) {
        i++;
        assert(i < JUDGE_ROWS);
    }
    return judge_table[i].decision;
}
