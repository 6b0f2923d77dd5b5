/* SPDX-License-Identifier: Apache-2.0 */
/* sim.h: a machine in virtual time, from a seed: clock, chance, devices, metadata, network.
 *
 * Fault model. A crash stops everything between two events. Of the writes that no completed flush covers and that were
 * not DEV_DSYNC any subset survives, in any order, each cut at 512 or 4096 bytes (on persistent memory at 8 or 64); so do
 * writes still in flight. Of the metadata batches queued a prefix survives, each whole. Sectors rot, become unreadable, keep
 * old bytes (lost writes) or take another sector's (misdirected ones); requests fail, come late, out of order, or never.
 * Connections deliver bytes in any pieces and break anywhere. Out of scope: bytes that change in RAM; a CPU that computes
 * wrongly.
 * faults.h lists the classes and counts them.
 *
 * Model: a struct sim is one clock and one queue of events, ordered by time and, where times are equal, by chance from the
 * seed. Several envs share it (one a reactor); everything runs on the caller's thread. Media (sim_disk, sim_meta_store)
 * outlive a crash; what is opened on them (dev, meta, env, net_conn) does not, and its owner still frees it.
 *
 *   sim_new ─ sim_disk_new, sim_meta_store_new ─┬─ sim_env_new, sim_dev_open, sim_meta_open ─ work ─ sim_crash()
 *                                               └── owner closes devs, meta, envs ─ sim_reboot() ◀──┘
 *
 * Memory: malloc freely; this is no data path.
 */
#ifndef FIRN_SIM_H
#define FIRN_SIM_H

#include "base/err.h"
#include "base/list.h"
#include "base/types.h"
#include "rt/dev.h"
#include "rt/env.h"
#include "rt/net.h"
#include "tools/sim/faults.h"
#include "tier/meta.h"

#include <errno.h>

/* ---- clock, events, chance ------------------------------------------------------------------------------------ */

struct sim;
struct sim_event;
typedef void sim_event_fn(struct sim_event *ev);

struct sim_event {          /* embedded by the caller */
    sim_event_fn *fn;
    uint32_t      heap_pos; /* the sim's; 0: not armed */
};

/* Runs at sim_crash(): media decide what stays, open handles forget what is in flight. */
struct sim_crash_hook {
    void      (*fn)(struct sim_crash_hook *h);
    void      (*unheard)(struct sim_crash_hook *h); /* at sim_ends_unheard(); NULL: nothing to do */
    struct list node;
};

struct sim *sim_new(uint64_t seed);
void sim_free(struct sim *s);
uint64_t sim_now_ns(const struct sim *s);
uint64_t sim_seed(const struct sim *s);
/* Everything that happened so far in one number: two runs of a seed must agree. */
uint64_t sim_trace_hash(const struct sim *s);
void sim_trace_mix(struct sim *s, uint64_t v);
uint64_t sim_events_run(const struct sim *s);

uint64_t sim_rand(struct sim *s);
uint64_t sim_below(struct sim *s, uint64_t n);                 /* 0..n-1; n > 0 */
uint64_t sim_between(struct sim *s, uint64_t lo, uint64_t hi); /* both included */
bool sim_chance(struct sim *s, uint32_t ppm);                  /* true in ppm of a million */

void sim_at(struct sim *s, struct sim_event *ev, uint64_t at_ns); /* arming an armed event moves it */
void sim_cancel(struct sim *s, struct sim_event *ev);

/* Runs the earliest event; events may wait in straight lines for others (an orderly stop does).
 * 0; -FIRN_E_STOPPED: crashed; -EAGAIN: nothing will ever happen (see sim_stuck). */
int sim_step(struct sim *s);
/* Until done(ctx), a crash, nothing left, or limit_ns of virtual time from now (-ETIMEDOUT). 0: done. */
int sim_run_until(struct sim *s, bool (*done)(void *ctx), void *ctx, uint64_t limit_ns);
/* Until now + ns. */
int sim_run_for(struct sim *s, uint64_t ns);

void sim_crash(struct sim *s);                            /* now */
void sim_crash_in_events(struct sim *s, uint64_t events); /* before the n-th event from now; 0: not at all */
void sim_crash_in_writes(struct sim *s, uint64_t writes); /* right after the n-th device write from now was submitted */
bool sim_crashed(const struct sim *s);
/* Straight-line code waited for something that cannot come: a hung request, or a lost callback. Counts as a crash. */
bool sim_stuck(const struct sim *s);
void sim_reboot(struct sim *s);                           /* every env, dev and meta of before has been closed */
/* What is in flight at devices ends, and nobody hears of it: as where a reactor gets a ring of its own for its thread after a start
 * (reactor_disown()), or where the process ends without a crash, which sim_reboot() is then. What a start has given up is such. */
void sim_ends_unheard(struct sim *s);
void sim_crash_hook_add(struct sim *s, struct sim_crash_hook *h);
void sim_crash_hook_remove(struct sim_crash_hook *h);

void sim_fault_fired(struct sim *s, enum sim_fault f);
void sim_fault_mattered(struct sim *s, enum sim_fault f);
const struct sim_faults *sim_fault_counts(const struct sim *s);

/* A rule of a seam was broken by its user (a buffer changed in flight, ...). The first sentence is kept. */
void sim_violation(struct sim *s, const char *fmt, ...) PRINTF_LIKE(2, 3);
const char *sim_violation_text(const struct sim *s); /* NULL: none */

/* ---- env ------------------------------------------------------------------------------------------------------- */

struct env *sim_env_new(struct sim *s);
void sim_env_free(struct env *e);       /* queued tasks are forgotten */
struct sim *sim_of_env(struct env *e);
void sim_wall_jump(struct sim *s, int64_t ns);

/* ---- devices --------------------------------------------------------------------------------------------------- */

struct sim_disk;

struct sim_disk_opts {
    uint64_t size_bytes;
    uint32_t block_bytes;   /* 512 or 4096 */
    uint32_t torn_bytes;    /* unit that is written whole: 512 or 4096; persistent memory: 8 or 64 */
    bool     capacity;      /* which fault classes its rot and latent errors count for */
    bool     rotational;
    bool     garbage;       /* never-written places read as noise, not zeros */
    uint64_t latency_min_ns, latency_max_ns; /* uniform; 0, 0: 10..80 us */
};

/* Rates in parts per million of the requests concerned. All zero: a healthy device. */
struct sim_disk_faults {
    uint32_t eio_read, eio_write, eio_flush, eio_discard;
    uint32_t lost_write, misdirected_write, misdirected_read;
    uint32_t delayed, stalled, hung;
    bool     lying_flush;
    bool     gone;
};

struct sim_disk *sim_disk_new(struct sim *s, const char *name, const struct sim_disk_opts *opts);
void sim_disk_free(struct sim_disk *d);                /* no dev open on it */
uint64_t sim_disk_size(const struct sim_disk *d);
void sim_disk_grow(struct sim_disk *d, uint64_t size_bytes); /* no dev open on it */
struct sim_disk_faults *sim_disk_faults(struct sim_disk *d); /* change at any time */
/* The n-th request of this kind from now fails (1: the next), `count` times in a row; UINT32_MAX: for ever. */
void sim_disk_fail_nth(struct sim_disk *d, enum dev_op op, uint32_t n, uint32_t count);
void sim_disk_rot(struct sim_disk *d, uint64_t off_bytes);   /* flips one to eight bits in that 512-byte sector */
void sim_disk_latent(struct sim_disk *d, uint64_t off_bytes, uint64_t len_bytes);
/* Lifts every fault: sectors are pristine again, hung requests finish, rates are zero. */
void sim_disk_heal(struct sim_disk *d);
/* Rot, lost and misdirected writes of that range; what cannot be read stays so. */
void sim_disk_heal_range(struct sim_disk *d, uint64_t off_bytes, uint64_t len_bytes);
bool sim_disk_faulty(struct sim_disk *d, uint64_t off_bytes, uint64_t len_bytes); /* any of its sectors is */
/* A random offset that has been written since the disk was made, 512-aligned; false: none. */
bool sim_disk_pick_written(struct sim_disk *d, uint64_t from_bytes, uint64_t to_bytes, uint64_t *off_bytes);
/* What is durable, past every fault: for tests that look at bytes. */
void sim_disk_peek(struct sim_disk *d, uint64_t off_bytes, void *buf, size_t len_bytes);
void sim_disk_poke(struct sim_disk *d, uint64_t off_bytes, const void *buf, size_t len_bytes);

/* A dev for one env; any number on one disk. After a crash dev_close() drops what was in flight. */
int sim_dev_open(struct sim_disk *d, struct env *env, struct dev **out);

/* ---- metadata -------------------------------------------------------------------------------------------------- */

struct sim_meta_store;

struct sim_meta_faults {
    uint32_t fail_nth;       /* the n-th commit from now fails, and all after it; 0: none */
    uint64_t latency_min_ns, latency_max_ns; /* of one commit; 0, 0: 50 us .. 2 ms */
};

struct sim_meta_store *sim_meta_store_new(struct sim *s);
void sim_meta_store_free(struct sim_meta_store *ms);
struct sim_meta_faults *sim_meta_faults(struct sim_meta_store *ms);
/* Rots a random record that begins with tag; false: there is none. A later put of the key heals it. */
bool sim_meta_rot(struct sim_meta_store *ms, char tag);
uint32_t sim_meta_count(const struct sim_meta_store *ms, char tag);
/* Every record with that tag is gone; how many. Nothing is open. */
uint32_t sim_meta_drop(struct sim_meta_store *ms, char tag);
void sim_meta_heal(struct sim_meta_store *ms);
uint64_t sim_meta_records(const struct sim_meta_store *ms);
/* One handle at a time. */
int sim_meta_open(struct sim_meta_store *ms, struct meta **out);

/* ---- network --------------------------------------------------------------------------------------------------- */

struct sim_net_opts {
    uint64_t delay_min_ns, delay_max_ns; /* a piece's way; 0, 0: 5..50 us */
    uint32_t buffer_bytes;               /* bytes a direction holds before sends wait; 0: 256 KiB */
    uint32_t small_pieces;               /* ppm of deliveries that are cut into 1..64 bytes */
};

/* Two ends, each on an env. Cuts and stalls concern the pair. */
struct sim_pipe;
int  sim_pipe_new(struct sim *s, struct env *a, struct env *b, const struct sim_net_opts *opts, struct sim_pipe **out,
                  struct net_conn **end_a, struct net_conn **end_b);
void sim_pipe_cut(struct sim_pipe *p);                 /* both ends see a reset */
void sim_pipe_cut_after(struct sim_pipe *p, uint64_t bytes); /* once so many more bytes arrived, either way */
void sim_pipe_half_open(struct sim_pipe *p, bool a_lives);   /* bytes vanish; the other end is reset */
bool sim_pipe_alive(const struct sim_pipe *p);
/* The pair's memory goes when both ends are closed; after a crash with this. */
void sim_pipe_free(struct sim_pipe *p);

/* ---- a machine: named media and the seams over them -------------------------------------------------------------- */

#define SIM_MACHINE_DISKS 8u
struct tier_seams;

struct sim_machine {
    struct sim            *sim;
    struct sim_meta_store *store;
    struct sim_disk       *disk[SIM_MACHINE_DISKS];
    char                   path[SIM_MACHINE_DISKS][256];
    struct sim_disk_opts   defaults; /* for disks that tier_format() makes; size and role come from there */
};

void sim_machine_init(struct sim_machine *m, struct sim *s);
void sim_machine_fini(struct sim_machine *m);
/* Makes a disk of that name now. */
struct sim_disk *sim_machine_add(struct sim_machine *m, const char *path, const struct sim_disk_opts *opts);
/* Fills seams: a path names a disk, made (zeros) when it is first opened with a size. */
void sim_machine_seams(struct sim_machine *m, struct tier_seams *out);
struct sim_disk *sim_machine_disk(struct sim_machine *m, const char *path); /* NULL: none */

#endif
