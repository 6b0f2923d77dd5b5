/* SPDX-License-Identifier: Apache-2.0 */
/* buf.c: chunks for data, and how many of them a volume may have.
 *
 * Small chunks (4 KiB) serve in-capsule data and short reads; large ones (64 KiB) everything else. A command takes all it
 * needs or waits its turn (line.c). The commands of a subsystem hold at most a quarter of each kind, and leave an eighth of
 * the pool to those who hold none: so whatever hosts of some volumes do, or leave undone, another volume goes on, with one request at a
 * time if need be.
 * No deadlock: whoever holds small chunks needs nothing more from its own connection but to be read by the host, and
 * the send timeout bounds that. Whoever holds large ones may need H2CData from its connection, and reading a connection
 * stops only for small chunks. Some of both wait for a blk that keeps to a rate, which ends by itself.
 */
#include "export/priv.h"

#include <errno.h>

static struct pool *class_pool(struct target_env *te, bool small) { return small ? &te->small : &te->large; }
/* Of one subsystem; any command fits it. */
static uint32_t share_of(const struct pool *p) { return MAX(p->nr / 4, CHUNKS_MAX); }
static uint32_t reserve_of(const struct pool *p) { return p->nr / 8; }

int buf_init(struct target_env *te, uint32_t nr_large)
{
    int err = pool_init(&te->large, CHUNK_LARGE, BLOCK_BYTES, nr_large);

    if (err)
        return err;
    err = pool_init(&te->small, CHUNK_SMALL, BLOCK_BYTES, nr_large * 4);
    if (err)
        pool_fini(&te->large);
    return err;
}

/* Chunks that c needs, and of which class. */
static uint32_t need_of(struct cmd *c)
{
    uint32_t data = c->bytes;

    c->small = data <= SMALL_MAX_BYTES && (c->in_capsule || c->dir == DIR_C2H);
    return (data + cmd_chunk_bytes(c) - 1) / cmd_chunk_bytes(c) + (c->scratch ? 1 : 0);
}

static void take(struct pool *p, struct cmd *c, uint32_t nr)
{
    uint32_t unit = cmd_chunk_bytes(c), left = c->bytes;

    assert(nr > 0 && nr <= CHUNKS_MAX && c->nr_chunks == 0);
    c->iovcnt = (int)(nr - (c->scratch ? 1 : 0));
    for (uint32_t i = 0; i < nr; i++) {
        c->iov[i].iov_base = pool_get(p);
        c->iov[i].iov_len = (int)i < c->iovcnt ? MIN(left, unit) : unit;
        left -= (int)i < c->iovcnt ? (uint32_t)c->iov[i].iov_len : 0;
        assert(c->iov[i].iov_base != NULL);
    }
    assert(left == 0);
    c->nr_chunks = (uint8_t)nr;
}

/* While c waits too, or many that wait would get more than the queue's share together. */
void buf_claim(struct cmd *c)
{
    uint32_t nr = need_of(c);

    assert(c->claim == 0);
    assert(c->small || !subsys_is_discovery(c->q->s)); /* anybody may ask there: see DISCOVERY_DATA_MAX */
    c->claim = nr * cmd_chunk_bytes(c);
    c->q->data_bytes += c->claim;
}

static void unclaim(struct cmd *c)
{
    c->q->data_bytes -= c->claim;
    c->claim = 0;
}

/* It gets along whatever others hold: its volume holds nothing else, or it is the one command of a volume's admin queue. */
static bool comes_first(const struct cmd *c)
{
    const struct queue *q = c->q;

    return q->s->held[c->small] == 0 || (q->qid == 0 && q->nr_chunks == 0 && !subsys_is_discovery(q->s));
}

bool buf_fits(struct target_env *te, struct cmd *c)
{
    const struct pool *p = class_pool(te, c->small);
    uint32_t nr = c->claim / cmd_chunk_bytes(c);
    bool first = comes_first(c);
    enum scarce goes_without = first ? SCARCE_ALL : SCARCE_SHARED;

    assert(nr > 0 && nr <= p->nr);
    if (!first && c->q->s->held[c->small] + nr > share_of(p))
        return false;
    if (te->scarce[c->small] < goes_without && p->nr_free >= nr + (first ? 0 : reserve_of(p)))
        return true;
    te->scarce[c->small] = MAX(te->scarce[c->small], goes_without);
    return false;
}

void buf_take(struct target_env *te, struct cmd *c)
{
    uint32_t nr = c->claim / cmd_chunk_bytes(c);

    take(class_pool(te, c->small), c, nr);
    c->q->s->held[c->small] += nr;
    c->q->nr_chunks += nr;
}

void buf_put(struct target_env *te, struct cmd *c)
{
    struct pool *p = class_pool(te, c->small);

    unclaim(c);
    if (c->nr_chunks == 0)
        return;
    c->q->s->held[c->small] -= c->nr_chunks;
    c->q->nr_chunks -= c->nr_chunks;
    for (uint32_t i = c->nr_chunks; i-- > 0;)
        pool_put(p, c->iov[i].iov_base);
    c->nr_chunks = 0;
    c->iovcnt = 0;
    if (!list_empty(&te->wait_lines))
        target_env_wake(te);
}
