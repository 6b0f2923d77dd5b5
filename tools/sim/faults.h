/* SPDX-License-Identifier: Apache-2.0 */
/* faults.h: every class of fault the simulator can cause, and how often each one happened.
 *
 * fired: the fault was caused.  mattered: an operation or a crash came out otherwise than on faultless hardware because of
 * it (a rotten sector that nobody reads fires and does not matter). A class that never fires is a test that does not
 * exist: `firn-sim explore --require-faults N` refuses such a run.
 */
#ifndef FIRN_SIM_FAULTS_H
#define FIRN_SIM_FAULTS_H

#include "base/strbuf.h"
#include "base/types.h"

/*    tag                  row of the fault table and what happens */
#define SIM_FAULTS(x)                                                                             \
    x(CRASH,               "A1 the machine stops between two events")                             \
    x(CRASH_IN_RECOVERY,   "A5 it stops again while it recovers")                                 \
    x(CRASH_IN_FORMAT,     "A5 it stops while a pool is being formatted")                         \
    x(GRACEFUL_STOP,       "A10 an orderly stop and start")                                       \
    x(UNFLUSHED_LOST,      "A2 a finished write that no flush covered is gone after a crash")     \
    x(UNFLUSHED_REORDERED, "A2 of two unflushed writes to a sector the older one stays")          \
    x(INFLIGHT_LOST,       "A2 a write in flight at the crash left no trace")                     \
    x(INFLIGHT_KEPT,       "A2 a write in flight at the crash is there whole, never acknowledged") \
    x(TORN_8,              "C13 a write to persistent memory is there in part, cut at 8 or 64 bytes") \
    x(TORN_512,            "A2 a write is there in part, cut at 512 bytes")                       \
    x(TORN_4096,           "A2 a write is there in part, cut at 4096 bytes")                      \
    x(TORN_SPOILT,         "A2 the unit that was being written when the power went is neither old nor new") \
    x(LYING_FLUSH,         "A6 a flush or durable write that was not")                            \
    x(WALL_CLOCK_JUMP,     "A8 the wall clock moves by years")                                    \
    x(META_BATCH_LOST,     "A1 a metadata batch that was queued at the crash is gone")            \
    x(META_BATCH_KEPT,     "A1 a metadata batch whose callback never ran is there")               \
    x(META_ROT,            "B5 a metadata record fails its checksum")                             \
    x(HEAT_GONE,           "B5 the records of heat are gone between two starts")                  \
    x(COPIES_SPOILT,       "B2 I20 clean copies on the SSD, or what it says of them, turn into noise") \
    x(CACHE_GONE,          "C1 an SSD of clean copies is away at a start")                        \
    x(CACHE_BLANK,         "B2 I20 all but the labels of such an SSD turns blank, or into noise") \
    x(CACHE_OLD,           "C3 such an SSD holds what it held long ago")                          \
    x(CACHE_SWAPPED,       "C3 two of them are named in another order")                           \
    x(CACHE_STRUCK,        "B9 B10 B14 such an SSD fails while hosts work, or loses some spots")  \
    x(META_FAIL,           "C6 a metadata commit fails")                                          \
    x(ROT_JOURNAL,         "B1 B3 flipped bits on the journal device")                            \
    x(ROT_CAPACITY,        "B4 flipped bits on a capacity device")                                \
    x(ROT_LABEL,           "B6 flipped bits in a label")                                          \
    x(LATENT_JOURNAL,      "B9 sectors of the journal device that cannot be read")                \
    x(LATENT_CAPACITY,     "B11 sectors of a capacity device that cannot be read")                \
    x(LOST_WRITE,          "B7 a write acknowledged, flushed and never made")                     \
    x(MISDIRECTED_WRITE,   "B8 a write that landed elsewhere")                                    \
    x(MISDIRECTED_READ,    "B8 a read that returned another place's bytes")                       \
    x(EIO_READ,            "B9 B11 a read fails once")                                            \
    x(EIO_WRITE,           "B10 B11 a write fails")                                               \
    x(EIO_FLUSH,           "B10 B11 a flush fails; what it covered may be gone")                  \
    x(REORDERED,           "B12 a request finished before an older one")                          \
    x(DELAYED,             "B13 a request took milliseconds")                                     \
    x(STALLED,             "B13 a request took seconds")                                          \
    x(HUNG,                "B13 a request never finished, or only when the fault was lifted")     \
    x(DEVICE_GONE,         "B14 a device stopped answering anything but errors")                  \
    x(GARBAGE,             "B15 space that was discarded or never written reads as garbage")     \
    x(POOL_FULL,           "C5 a write met a full pool")                                          \
    x(JOURNAL_FULL,        "C4 host writes waited for a segment")                                 \
    x(NET_SEGMENTED,       "D a stream cut into small pieces")                                    \
    x(NET_DELAYED,         "D bytes arrived late")                                                \
    x(NET_CUT,             "D a connection cut in the middle of a PDU")                           \
    x(NET_HALF_OPEN,       "D one side of a connection is gone and the other does not know")

enum sim_fault {
#define X(tag, text) SIM_##tag,
    SIM_FAULTS(X)
#undef X
    SIM_FAULT_NR
};

struct sim_fault_count { uint64_t fired, mattered; };

struct sim_faults { struct sim_fault_count of[SIM_FAULT_NR]; };

const char *sim_fault_name(enum sim_fault f);
const char *sim_fault_text(enum sim_fault f);
/* -1: no such name. */
int sim_fault_parse(const char *name);
void sim_faults_add(struct sim_faults *sum, const struct sim_faults *part);
/* The table, one class a line; classes below `floor` are marked. Returns how many are. */
unsigned sim_faults_print(struct strbuf *out, const struct sim_faults *f, uint64_t floor);
unsigned sim_faults_json(struct strbuf *out, const struct sim_faults *f, uint64_t floor);

#endif
