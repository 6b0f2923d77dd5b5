/* SPDX-License-Identifier: Apache-2.0 */
/* check.h: what the offline tools share: a pool opened for reading, its log replayed into memory. Nothing is written;
 * memory grows with the pool's log and map: these are tools, not the data path.
 */
#ifndef FIRN_TIER_CHECK_H
#define FIRN_TIER_CHECK_H

#include "tier/pool.h"

struct log_rec {                 /* a record that replay kept */
    enum journal_rec_type type;
    enum journal_stream   stream;
    uint32_t shard;
    uint64_t layer, lba, nblocks, seq;
    struct journal_loc loc;
    uint64_t place;              /* PLACED */
    size_t   csum;               /* WRITE, PLACED: first of nblocks in offline.csums */
};

struct offline {
    const struct tier_opts *opts;
    struct pool_devs devs;
    struct meta     *meta;       /* NULL: its tree is damaged */
    struct pool_rec  pool;
    uint64_t        *epochs;
    struct segpool  *segpool;
    struct dev      *areas[SEGMENT_AREAS_MAX - 1]; /* of the segment pool's areas from 1 on */
    struct shard_rec shard[REACTORS_MAX]; /* 'S' records that the caller has read; zeros: none */
    struct journal_replay_report reports[REACTORS_MAX];
    struct log_rec  *recs;       /* after offline_replay(); sorted by layer, lba, seq once offline_sort() ran */
    size_t           nr_recs, cap_recs;
    uint32_t        *csums;
    size_t           nr_csums, cap_csums;
    struct log_rec  *lost;       /* what cannot be read back and has a name, as of a DAMAGED record */
    size_t           nr_lost, cap_lost;
};

/* Devices, read-only and locked. Labels are left to the caller. */
int  offline_open(struct offline *o, const struct tier_opts *opts, char why[static 256]);
void offline_close(struct offline *o);
int  offline_segments(struct offline *o, char why[static 256]); /* needs labels and metadata */
typedef void offline_damage_fn(void *ctx, uint32_t shard, const struct journal_damage *d);
int  offline_replay(struct offline *o, offline_damage_fn *damage, void *ctx, char why[static 256]);
const struct pool_dev *offline_capacity(const struct offline *o, uint16_t index); /* NULL: there is none */
void offline_sort(struct offline *o);
/* After offline_sort(): does the log hold something newer than seq for that block, of any kind? */
bool offline_newer(const struct offline *o, uint64_t layer, uint64_t block, uint64_t seq);
/* ... or a copy of that very content? */
bool offline_copy(const struct offline *o, uint64_t layer, uint64_t block, uint32_t csum);

/* space.c: extents that a start will reserve for what the log holds; -ENOMEM. */
struct space_ask {
    void *ctx;
    /* Is a block of that seq owed to an extent without a place? */
    bool (*unplaced)(void *ctx, uint64_t layer, uint64_t extent, uint64_t seq);
    void (*needs)(void *ctx, uint64_t layer); /* once for each such extent that has a live block */
};
int  offline_space(const struct offline *o, const struct space_ask *ask);

/* offline_twins.c: second places of extents that only the log knows; -ENOMEM, or what twin() returned. */
struct twin_ask {
    void *ctx;
    bool (*owed)(void *ctx, uint64_t layer, uint64_t extent, uint64_t seq); /* is what a record of that seq says still of use? */
    int  (*twin)(void *ctx, const struct log_rec *const *r, size_t nr); /* all records of one extent and place, the newest first */
};
int  offline_twins(const struct offline *o, const struct twin_ask *ask);
/* Where the first block of a PLACED record lies; false: nowhere. */
bool offline_placed(const struct offline *o, const struct log_rec *r, const struct pool_dev **d, uint64_t *off_bytes);

/* rebuild.c, rebuild_log.c: an extent as its device tells it; sorted by layer and extent, each once. */
struct found_extent {
    uint64_t layer, extent, destaged_seq;
    struct extent_place place;
    struct desc_age age;
    uint64_t desc_off;           /* its description, in bytes of that device */
};
/* All of its blocks have the checksums of its description; -ENOMEM. */
int rebuild_fits(const struct offline *o, const struct found_extent *f, bool *fits);
/* Both say the same of one extent: is the second the better one? doubt: the bytes of one do not fit. -ENOMEM */
int rebuild_better(const struct offline *o, const struct found_extent *a, const struct found_extent *b, bool *second, bool *doubt);
/* Sets needed[segment] for those that hold what these extents do not; -ENOMEM. */
int rebuild_segments_needed(const struct offline *o, const struct found_extent *exts, size_t nr_exts, uint8_t *needed);

/* rebuild_choice.c: what devices and log tell of, and what of it becomes volumes. */
struct found_layer {
    uint64_t layer, blocks;      /* blocks: up to the last one that is known */
    uint32_t shard, extents, log_extents; /* log_extents: will be taken by what the log still holds */
    bool     left_out;
    struct desc_volume volume;   /* what its extents tell; name "": nothing */
    char     name[NAME_MAX_CHARS + 1]; /* by which it comes back */
};
struct found {
    struct offline *o;
    struct found_layer *layers;  /* by layer */
    size_t nr_layers, cap_layers;
    struct found_extent *exts;
    size_t nr_exts, cap_exts;
};
/* rebuild_desc.c: adds the extents of which the device tells, no slot twice; -ENOMEM. Lines and counts of what nobody will find again. */
int rebuild_descs(struct found *f, const struct pool_dev *d, struct strbuf *out, struct tier_check_report *report);
struct found_layer *found_layer_get(struct found *f, uint64_t layer); /* made if need be, at the end; NULL: no memory */
uint64_t found_bytes(const struct found_layer *l); /* size of its volume */
bool found_as_told(const struct found_layer *l); /* it has its own name, and with it the identity */
void found_name(struct found *f); /* sets name of all */
/* Drops the volumes that opts names; -FIRN_E_NOT_FOUND: one is not there, those that are go to out. */
int  found_leave_out(struct found *f, const struct tier_opts *opts, struct strbuf *out, char why[static 256]);
int  found_need(struct found *f, uint64_t *need); /* sets log_extents of all; need: their sum; -ENOMEM */
void found_say(const struct found *f, struct strbuf *out);
/* rebuild_twins.c: drops those whose places the log names for others since; nr: such that a start will take. -ENOMEM */
int  rebuild_twins(struct found *f, struct strbuf *out, struct tier_check_report *report, uint64_t *nr);

enum check_loss { CHECK_HARMLESS, CHECK_LOSS };

#define BEHIND_RANGES 4u
struct check_volume {
    struct volume_rec rec;
    uint32_t hosts;
    bool     layer_ok;
    uint64_t behind, behind_seq;  /* I8: extents whose destage the log has forgotten; the highest seq among them */
    uint32_t nr_ranges;           /* the first of them, neighbours joined */
    struct { uint64_t first, last; } range[BEHIND_RANGES];
};
struct check_extent { uint64_t layer, extent; struct extent_rec rec; bool has_sums; };
struct check_sums   { uint64_t layer, extent; bool any_valid; };

struct check {
    struct offline off;
    enum tier_check_depth depth;
    struct strbuf *out;
    struct tier_check_report *report;
    struct check_volume *vols;    /* by id */
    size_t nr_vols, cap_vols;
    struct check_extent *exts;    /* by layer, extent */
    size_t nr_exts, cap_exts;
    struct check_sums *sums;      /* by layer, extent */
    size_t nr_sums, cap_sums;
};

/* One line: "I14 error: ..." or "I14 note: ..."; counted. */
void check_say(struct check *c, const char *invariant, enum check_loss loss, const char *fmt, ...) PRINTF_LIKE(4, 5);
const struct check_volume *check_volume_of_layer(const struct check *c, uint64_t layer);
const struct check_extent *check_extent_find(const struct check *c, uint64_t layer, uint64_t extent);
/* Room for one more; returns the new element, zeroed, or NULL. */
void *check_grow(void **v, size_t *nr, size_t *cap, size_t bytes);

int  check_records(struct check *c); /* check_meta.c: the metadata */
int  check_data(struct check *c);    /* check_data.c: every block */

#endif
