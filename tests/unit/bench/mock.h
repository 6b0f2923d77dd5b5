/* SPDX-License-Identifier: Apache-2.0 */
/* mock.h: a small NVMe/TCP target over memory, a thread a connection, for firn-bench's own tests. It can lie. */
#ifndef FIRN_TEST_BENCH_MOCK_H
#define FIRN_TEST_BENCH_MOCK_H

#include "../../../tools/bench/wire.h"

enum mock_lie {
    MOCK_HONEST,
    MOCK_DROP_WRITE,     /* acknowledges every 64th write and does not carry it out */
    MOCK_TEAR_WRITE,     /* carries out the first half of every 64th write */
    MOCK_MISDIRECT,      /* carries out every 64th write one block further on */
    MOCK_DROP_ZEROES,    /* acknowledges write zeroes and deallocations only */
    MOCK_SHORT_READ,     /* C2HData beyond the command's length */
    MOCK_BAD_DDGST,      /* wrong data digest in every 64th C2HData */
    MOCK_MUTE,           /* never answers every 500th command */
    MOCK_CUT,            /* closes the connection at every 500th command */
};

struct mock_opts {
    uint64_t      size_bytes;
    uint32_t      lba_bytes, in_capsule_bytes, r2t_bytes;
    bool          success_flag;
    enum mock_lie lie;
};

struct mock;
struct mock *mock_start(const struct mock_opts *opts);
uint16_t mock_port(const struct mock *m);
void mock_cut(struct mock *m);  /* closes every connection, as a killed server would */
uint8_t *mock_memory(struct mock *m);
void mock_stop(struct mock *m);

#define MOCK_NQN "nqn.2026-11.io.firn:test:mock"

#endif
