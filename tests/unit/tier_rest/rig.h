/* SPDX-License-Identifier: Apache-2.0 */
/* rig.h: a whole pool, on real files with LMDB and a reactor, or on a simulated machine. A test is a process: there is one of each. */
#ifndef FIRN_TEST_TIER_REST_RIG_H
#define FIRN_TEST_TIER_REST_RIG_H

#include <criterion/criterion.h>

#include "tier/tier.h"
#include "tools/sim/sim.h"

extern char dir[64];                  /* on files: where they lie; a machine has none */
extern char why[256];
extern struct env *envs[2];           /* of each shard */
extern struct sim *sim;
extern struct sim_machine machine;
extern struct tier_opts opts;
extern struct tier *tier;
extern uint8_t buf[4096];             /* of the last request, and for whoever looks at a device */

/* No devices yet. On files there is one shard; the directory is gone at the end. */
void on_files(void);
void off_files(void);
void on_machine(uint64_t seed, uint32_t nr_shards);
void off_machine(void);
void dev_add(const char *name, enum tier_role role, uint64_t size_bytes);
void format_pool(void);
void small_machine(uint64_t seed);    /* of two shards, with a journal and a disk, formatted */
void open_pool(void);
void close_pool(void);
PRINTF_LIKE(1, 2) void shell(const char *fmt, ...); /* succeeds */

void raise_flag(void *ctx);           /* a bool */
bool flag_up(void *ctx);
void run_until(bool *flag);           /* on a machine for 100 s of its time at most, */
void run_within(bool *flag, uint64_t ns); /* or so long */
struct answer { bool done; int err; struct blk *blk; struct volume_info info; };
void answered(void *ctx, int err, struct blk *blk, const struct volume_info *info);
int  answer_of(struct answer *a);     /* once it is there */

struct blk *volume_make(const char *name, uint64_t size_bytes);
struct blk *volume(const char *name);
int  do_io(struct blk *b, enum blk_op op, uint64_t lba, uint32_t nlb, void *data); /* data: of all of it; NULL: none. Its error */
void write_some(struct blk *b, unsigned nr);        /* blocks, here and there */
void drain_pool(void);                               /* all that is dirty settles */
void check_is(uint64_t findings);                    /* of the closed pool, data included */
void put(struct blk *b, uint64_t lba, int byte);    /* a block of that byte */
void expect(struct blk *b, uint64_t lba, int byte);

#endif
