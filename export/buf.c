/* SPDX-License-Identifier: Apache-2.0 */
/* buf.c: chunks for data, and who waits for them.
 *
 * Small chunks (4 KiB) serve in-capsule data and short reads; large ones (64 KiB) everything else. A command takes all it
 * needs or waits its turn, first come first served within a class.
 * No deadlock: whoever holds small chunks needs nothing more from its own connection but to be read by the host, and
 * the send timeout bounds that. Whoever holds large ones may need H2CData from its connection, and reading a connection
 * stops only for small chunks.
 */
#include "export/priv.h"

#include <errno.h>

static struct pool *class_pool(struct target_env *te, bool small) { return small ? &te->small : &te->large; }
static struct list *class_waiters(struct target_env *te, bool small) { return small ? &te->wait_small : &te->wait_large; }

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

void buf_fini(struct target_env *te)
{
    pool_fini(&te->small);
    pool_fini(&te->large);
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

/* From here on they count against the queue's share: while c waits too, or many that wait would get more than it together. */
static void claim(struct cmd *c, uint32_t nr)
{
    assert(c->claim == 0);
    c->claim = nr * cmd_chunk_bytes(c);
    c->q->data_bytes += c->claim;
}

static void unclaim(struct cmd *c)
{
    c->q->data_bytes -= c->claim;
    c->claim = 0;
}

bool buf_get(struct target_env *te, struct cmd *c)
{
    uint32_t nr = need_of(c);
    struct pool *p = class_pool(te, c->small);
    struct list *waiters = class_waiters(te, c->small);

    assert(c->small || !subsys_is_discovery(c->q->s)); /* anybody may ask there: see DISCOVERY_DATA_MAX */
    claim(c, nr);
    if (list_empty(waiters) && p->nr_free >= nr) {
        take(p, c, nr);
        return true;
    }
    assert(nr <= p->nr);
    list_push_back(waiters, &c->wait_node);
    c->waiting = true;
    return false;
}

void buf_put(struct target_env *te, struct cmd *c)
{
    struct pool *p = class_pool(te, c->small);

    unclaim(c);
    if (c->nr_chunks == 0)
        return;
    for (uint32_t i = c->nr_chunks; i-- > 0;)
        pool_put(p, c->iov[i].iov_base);
    c->nr_chunks = 0;
    c->iovcnt = 0;
    if (!list_empty(class_waiters(te, c->small)))
        target_env_wake(te);
}

void buf_cancel(struct cmd *c)
{
    if (!c->waiting)
        return;
    list_remove(&c->wait_node);
    c->waiting = false;
}

static void serve_chunks(struct target_env *te, bool small)
{
    struct list *waiters = class_waiters(te, small);
    struct pool *p = class_pool(te, small);
    struct cmd *c;

    while ((c = list_first(waiters, struct cmd, wait_node)) != NULL) {
        uint32_t nr = need_of(c);

        if (p->nr_free < nr)
            return;
        buf_cancel(c);
        take(p, c, nr);
        cmd_granted(c);
    }
}

static void serve_batches(struct target_env *te)
{
    uint32_t nr = te->batches.nr_free;
    struct list *n;

    while (nr-- > 0 && (n = list_pop_front(&te->wait_batch)) != NULL)
        queue_tx_schedule(list_entry(n, struct queue, tx_wait));
}

static void wake(struct env_task *task)
{
    struct target_env *te = container_of(task, struct target_env, wake_task);

    serve_chunks(te, true);
    serve_chunks(te, false);
    slots_serve(te);
    serve_batches(te);
}

void target_env_wake(struct target_env *te)
{
    if (te->wake_task.queued)
        return;
    te->wake_task.fn = wake;
    env_defer(te->env, &te->wake_task);
}
