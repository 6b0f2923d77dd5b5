/* SPDX-License-Identifier: Apache-2.0 */
/* disk.h: the medium behind a simulated device, shared by disk.c (bytes, faults, crash) and dev_sim.c (requests).
 *
 * Every page has two images: `cur`, what a read sees while the machine runs, and `dur`, what is safe; one where they are the
 * same, which is nearly always. A finished write that nothing has made safe yet waits in `unsafe`. Faults of single sectors
 * are overlays over the bytes, so that they can be lifted; a proper write of the sector lifts them too.
 */
#ifndef FIRN_SIM_DISK_H
#define FIRN_SIM_DISK_H

#include "tools/sim/priv.h"

#define SECTOR_BYTES 512u

union disk_image {
    uint8_t           b[BLOCK_BYTES];
    union disk_image *next;    /* while nobody uses it */
};

struct disk_page {
    union disk_image *cur;     /* NULL: never written */
    union disk_image *dur;     /* NULL: as cur */
};

/* A write that has finished and that no flush covers. */
struct disk_unsafe {
    struct list node;      /* oldest first */
    uint64_t    off, len;
    uint64_t    seq;       /* order of finishing */
    uint8_t    *data;
    uint8_t    *dead;      /* a byte a sector: a later durable write replaced it */
    bool        doomed;    /* a failed flush dropped it: it will never be safe */
    bool        lied;      /* it was reported as durable */
};

enum overlay_kind { OVERLAY_NONE, OVERLAY_ROT, OVERLAY_LATENT, OVERLAY_BYTES };

struct disk_overlay {
    uint64_t          sector; /* key */
    enum overlay_kind kind;
    enum sim_fault    fault;  /* whom a read of it is counted for */
    bool              seen;
    uint8_t           b[SECTOR_BYTES]; /* ROT: to be XORed; BYTES: instead */
    struct disk_overlay *next;
};
#define OVERLAY_BUCKETS 256u

struct sim_req;

struct sim_disk {
    struct sim            *sim;
    char                   name[32];
    struct sim_disk_opts   opts;
    struct sim_disk_faults faults;
    struct disk_page      *pages;
    uint64_t               nr_pages, nr_split; /* split: with a dur of its own */
    uint64_t               write_seq;
    struct list            unsafe;     /* of disk_unsafe.node */
    struct disk_overlay   *overlay[OVERLAY_BUCKETS];
    struct list            devs;       /* handles */
    struct list            inflight;   /* of sim_req.node, oldest first */
    struct { uint32_t in, count; } fail[DEV_OP_NR];
    struct sim_crash_hook  hook;
    uint8_t               *bounce;     /* dev_sim.c: a request's bytes in one piece */
    uint64_t               bounce_bytes;
};

struct sim_req {
    struct sim_event ev;
    struct list      node;
    struct sim_disk *disk;
    struct sim_dev  *sd;        /* NULL: nobody hears of its end */
    struct dev_io   *io;
    struct dev_io    own;       /* then, with its bytes: whose it was may be gone */
    struct iovec     own_iov;
    uint64_t         seq;       /* flush: what had finished when it was submitted */
    uint32_t         crc;       /* write: of the buffers when submitted */
    int              err;       /* decided at submission */
    bool             lost, hung;
    bool             misdirected;
    uint64_t         elsewhere; /* where a misdirected request goes */
};

/* disk.c */
int  disk_read(struct sim_disk *d, uint64_t off, uint8_t *buf, uint64_t len);
void disk_write(struct sim_disk *d, uint64_t off, const uint8_t *data, uint64_t len, bool durable);
void disk_write_lost(struct sim_disk *d, uint64_t off, const uint8_t *data, uint64_t len, bool durable, enum sim_fault why);
void disk_write_foreign(struct sim_disk *d, uint64_t off, const uint8_t *data, uint64_t len);
void disk_flush(struct sim_disk *d, uint64_t up_to_seq);
void disk_flush_failed(struct sim_disk *d, uint64_t up_to_seq);
void disk_get_cur(struct sim_disk *d, uint64_t off, uint8_t *buf, uint64_t len);
/* disk_faults.c */
struct disk_overlay **overlay_find(struct sim_disk *d, uint64_t sector); /* where it is, or would be */
struct disk_overlay *overlay_get(struct sim_disk *d, uint64_t sector, enum overlay_kind kind, enum sim_fault why);
void overlay_lift(struct sim_disk *d, uint64_t off, uint64_t len);
void overlay_lift_all(struct sim_disk *d);
void overlay_freeze(struct sim_disk *d, uint64_t off, uint64_t len, enum sim_fault why);
int  overlay_apply(struct sim_disk *d, struct disk_overlay *o, uint8_t *sector); /* to what was read; -EIO */
/* crash.c */
void disk_crash(struct sim_disk *d);
/* disk.c, for crash.c: puts the bytes of one write that survive into the durable image. keep(ctx, byte offset) says which. */
void disk_page_dur(struct sim_disk *d, uint64_t off, const uint8_t *data, uint64_t len);
void disk_unsafe_free(struct disk_unsafe *u);
void disk_cur_is_dur(struct sim_disk *d); /* all that is not safe is gone from what a read sees */

#endif
