/* SPDX-License-Identifier: Apache-2.0 */
/* gen.h: which request comes next: pure but for the oracle it consults. Random or sequential within one thread's part
 * of the range, never two writes, nor a write and a read, in flight over one unit when blocks are verified. */
#ifndef FIRN_BENCH_GEN_H
#define FIRN_BENCH_GEN_H

#include "opts.h"
#include "oracle.h"
#include "zipf.h"

enum gen_op { GEN_READ, GEN_WRITE, GEN_TRIM, GEN_ZERO, GEN_FLUSH, GEN_OP_NR };

const char *gen_op_name(enum gen_op op);

struct gen_req { enum gen_op op; uint64_t off_bytes; uint32_t len_bytes; };

struct gen_range { uint64_t unit; uint32_t nr; };

struct gen {
    const struct bench_opts *o;
    struct oracle           *oracle;      /* NULL: nothing is verified */
    bool                     sweep;       /* read every touched unit once, in order, then end */
    uint64_t                 begin_bytes, end_bytes, cursor_bytes;
    uint64_t                 rng;
    struct zipf              zipf;        /* of this part's places, where --zipf asks for it */
    uint64_t                 writes;      /* since the last flush */
    struct gen_range        *single;      /* sweep: to be read again unit by unit, before anything else */
    uint32_t                 nr_single, cap_single; /* cap: requests outstanding at most */
};

void gen_init(struct gen *g, const struct bench_opts *o, struct oracle *oracle, uint64_t begin_bytes, uint64_t end_bytes,
              uint64_t seed);
/* False: nothing fits now (every candidate overlaps what is in flight), or the sweep has ended (gen_swept). Reads are
 * already entered in the oracle; writes are the caller's to begin. */
bool gen_next(struct gen *g, struct gen_req *out);
bool gen_swept(const struct gen *g);
void gen_again_singly(struct gen *g, uint64_t unit, uint32_t nr); /* a read of several units failed, of which some may be well */
uint64_t gen_random(struct gen *g);

#endif
