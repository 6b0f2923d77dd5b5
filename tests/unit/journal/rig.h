/* SPDX-License-Identifier: Apache-2.0 */
/* rig.h: one shard's journal on a simulated disk, with a memory of everything that was written and answered.
 *
 * A "life" is from rig_open() to rig_close() or a crash. What replay tells is collected and can be compared with what the
 * writes promised: rig_verify().
 */
#ifndef FIRN_TEST_JOURNAL_RIG_H
#define FIRN_TEST_JOURNAL_RIG_H

#include <criterion/criterion.h>

#include "journal/format.h"
#include "journal/journal.h"
#include "journal/priv.h"
#include "tools/sim/sim.h"

#define RIG_SEGMENTS   64u
#define RIG_SEGMENT_BYTES (256u * 1024u) /* unless opts say otherwise */
#define RIG_WRITES_MAX 4096u

struct wr {                       /* one write and its fate */
    struct journal_append a;
    struct iovec iov[2];
    uint8_t  *buf;
    uint32_t *csum;
    bool      submitted, done, acked, freed, absent; /* absent: a recovery did not find it, so none may again */
    bool      canceled;           /* and freed: it must never be found */
    uint32_t  order;              /* of the callback, from 1 */
    uint32_t  life;
};

struct rig_opts {
    uint64_t seed;
    uint32_t segment_bytes, nr_segments, align_bytes;
    bool     long_heads;          /* headers and footers of 4096 bytes whatever align_bytes says, as older pools have them */
    uint32_t nr_areas;            /* other devices with segments for slots: so many, of RIG_AREA_SEGMENTS each */
    uint64_t latency_min_ns, latency_max_ns;
    uint32_t torn_bytes;
    struct journal_opts journal;
    struct journal_bugs bugs;
};

#define RIG_AREAS         2u
#define RIG_AREA_SEGMENTS 4u

struct rig {
    struct rig_opts opts;
    struct sim_disk *area_disk[RIG_AREAS];
    struct dev      *area_dev[RIG_AREAS]; /* of this life; NULL: not there */
    struct segpool_geometry area_geo[RIG_AREAS];
    uint32_t         areas_absent;        /* a bit each: left out of the next life */
    uint32_t         areas_refused;       /* a bit each: segpool_add() did, in this life */
    struct sim      *sim;
    struct sim_disk *disk;
    struct env      *env;
    struct dev      *dev;
    struct segpool_geometry geo;
    struct segpool  *pool;
    struct journal  *j;
    struct journal_replay_report report;
    uint64_t freed[RIG_SEGMENTS];
    struct wr w[RIG_WRITES_MAX];
    uint32_t nr_w, in_flight, answered, life;
    struct { struct journal_record r; uint32_t csum0; } *rec; /* of the last replay */
    uint32_t nr_rec, cap_rec;
    struct journal_damage dmg[512];
    uint32_t nr_dmg, nr_unnamed;
    uint32_t sealed[RIG_SEGMENTS * 4], nr_sealed;
    uint32_t opened, space_wanted, failed;
    bool     log_only;            /* segpool_log_only() at the next rig_open() */
    bool     replay_only;         /* rig_open() reads and then crashes: the disk stays as it is */
    uint8_t *image;
};

struct rig *rig_new(const struct rig_opts *opts); /* formatted, not open */
void rig_free(struct rig *r);
int  rig_open(struct rig *r);                     /* an error of replay or open is returned, and the machine is down */
int  rig_close(struct rig *r, bool seal);
void rig_down(struct rig *r);                     /* after a crash: forgets memory, boots */
void rig_crash(struct rig *r);                    /* now, then rig_down() */
void rig_save(struct rig *r);                     /* remembers the disk; nothing is open */
void rig_restore(struct rig *r);
void rig_flip(struct rig *r, uint32_t segment, uint64_t off, uint32_t bit);
void rig_zero(struct rig *r, uint32_t segment, uint64_t off, size_t len);

struct wr *rig_append(struct rig *r, enum journal_stream stream, enum journal_rec_type type, uint64_t lba,
                      uint64_t nblocks);
static inline struct wr *rig_write(struct rig *r, uint64_t lba, uint64_t nblocks)
{
    return rig_append(r, JOURNAL_HOST, JOURNAL_WRITE, lba, nblocks);
}
bool rig_cancel(struct rig *r, struct wr *w);     /* whether it was taken back */
int  rig_wait(struct rig *r);                     /* until everything is answered */
void rig_write_blocks(struct rig *r, uint64_t nr); /* one by one, from block 0 on, all acknowledged */
void rig_free_sealed(struct rig *r, uint32_t nth); /* of the sealed segments, oldest first: nothing in it is needed */
static inline void rig_free_oldest(struct rig *r) { rig_free_sealed(r, 0); }

/* Every acknowledged record was replayed, with its bytes in place; nothing that was ever found absent came back; what is
 * kept of a stream ends at one point. Returns how many records were wrong and says which. */
uint32_t rig_verify(struct rig *r);
const struct journal_record *rig_find(const struct rig *r, uint64_t layer, uint64_t lba, uint64_t seq);
/* Group headers of a segment as they lie on the disk: offsets; returns how many. */
uint32_t rig_groups(struct rig *r, uint32_t segment, struct jrn_group *g, uint64_t *off, uint32_t max);
uint64_t rig_base(const struct rig *r, uint32_t segment);

#endif
