/* SPDX-License-Identifier: Apache-2.0 */
/* line.c: who waits for chunks, or until its blk lets it begin.
 *
 * A volume may be capped: its blk says when the next request may begin, and until then that request takes no chunks, or it would
 * hold for seconds what other volumes need. So both are got in one step: chunks that fit, then the blk's word. Who asks for its
 * data by R2T needs cover too (slots.c): it gets the word first, then its place in the queue's share, cover and chunks. Only data
 * that comes with its capsule is received before, for nothing else can be done with it; it waits with its small chunks.
 * Each subsystem has its own lines, so that one that is short, or shut by its blk, keeps no other waiting. Those whose commands wait
 * for chunks are served in turn, a command at a time; one that is shut is left out until BLK_EVENT_MAY_BEGIN. Within a
 * subsystem the oldest command goes first of those that can; who wants chunks of one kind never passes an older one that does too.
 */
#include "export/priv.h"

static bool lacks_chunks(const struct cmd *c) { return c->nr_chunks == 0 && (c->bytes > 0 || c->scratch); }
/* Not for the chunks that in-capsule data is received into. */
static bool must_ask(const struct cmd *c) { return c->ios > 0 && !c->begun && !(c->in_capsule && lacks_chunks(c)); }
static bool wants_chunks(const struct cmd *c) { return lacks_chunks(c) && !(must_ask(c) && cmd_wants_r2t(c)); }

/* These are few, and a host under a low cap must not give up for the lack of an answer: they go first. */
static bool is_admin(const struct cmd *c) { return c->q->qid == 0; }

/* The blk's word. */
static bool may_begin(struct cmd *c)
{
    struct subsys *s = c->q->s;

    if (!must_ask(c))
        return true;
    c->begun = blk_may_begin(s->p.blk, c->ios, c->moves);
    s->shut = !c->begun;
    return c->begun;
}

static bool line_empty(const struct subsys *s, enum line l) { return list_empty(&s->line[l]); }

static bool nobody_asks(const struct subsys *s)
{
    return line_empty(s, LINE_BEGIN_LARGE) && line_empty(s, LINE_BEGIN_SMALL) && line_empty(s, LINE_BEGIN);
}
static bool nobody_else(const struct subsys *s) { return line_empty(s, LINE_LARGE) && line_empty(s, LINE_SMALL); }

/* Nobody of its subsystem is before it. */
static bool is_next(const struct cmd *c)
{
    const struct subsys *s = c->q->s;

    if (must_ask(c) && s->p.blk->holds_back && (s->shut || !nobody_asks(s)))
        return false;
    if (!wants_chunks(c))
        return true;
    return c->small ? line_empty(s, LINE_SMALL) && line_empty(s, LINE_BEGIN_SMALL)
                    : line_empty(s, LINE_LARGE) && line_empty(s, LINE_BEGIN_LARGE);
}

/* ---- in and out ------------------------------------------------------------------------------------------------------ */

static void get_served(struct subsys *s)
{
    if (list_empty(&s->wait_node))
        list_push_back(&s->home->wait_lines, &s->wait_node);
    target_env_wake(s->home);
}

static enum line line_of(const struct cmd *c)
{
    if (!wants_chunks(c))
        return LINE_BEGIN;
    if (must_ask(c))
        return c->small ? LINE_BEGIN_SMALL : LINE_BEGIN_LARGE;
    return c->small ? LINE_SMALL : LINE_LARGE;
}

static void get_in_line(struct cmd *c)
{
    struct subsys *s = c->q->s;

    if (is_admin(c))
        list_push_front(&s->line[line_of(c)], &c->wait_node);
    else
        list_push_back(&s->line[line_of(c)], &c->wait_node);
    c->waiting = true;
    if (!must_ask(c) || !s->shut)
        get_served(s);
}

bool line_get_chunks(struct cmd *c)
{
    struct target_env *te = c->q->te;

    buf_claim(c);
    if (is_next(c) && buf_fits(te, c) && may_begin(c)) {
        buf_take(te, c);
        return true;
    }
    get_in_line(c);
    return false;
}

bool line_may_begin(struct cmd *c)
{
    if (!must_ask(c))
        return true;
    assert(!wants_chunks(c));
    if (is_next(c) && may_begin(c))
        return true;
    get_in_line(c);
    return false;
}

void line_leave(struct cmd *c)
{
    struct subsys *s = c->q->s;

    if (!c->waiting)
        return;
    list_remove(&c->wait_node);
    c->waiting = false;
    if (nobody_asks(s) && nobody_else(s))
        list_remove(&s->wait_node);
}

void lines_open(struct subsys *s)
{
    s->shut = false;
    if (!nobody_asks(s))
        get_served(s);
}

/* ---- turns ------------------------------------------------------------------------------------------------------------ */

static struct cmd *first_of(struct subsys *s, enum line l)
{
    if (l >= LINE_BEGIN_LARGE && s->shut)
        return NULL;
    return list_first(&s->line[l], struct cmd, wait_node);
}

static uint64_t since_ns(const struct cmd *c) { return is_admin(c) ? 0 : c->start_ns; }

static struct cmd *older(struct cmd *a, struct cmd *b)
{
    if (!a || !b)
        return a ? a : b;
    return since_ns(b) < since_ns(a) ? b : a;
}

static struct cmd *if_it_fits(struct cmd *c) { return c && buf_fits(c->q->te, c) ? c : NULL; }

/* The oldest that lacks nothing but, it may be, its blk's word. */
static struct cmd *choose(struct subsys *s)
{
    struct cmd *large = if_it_fits(older(first_of(s, LINE_LARGE), first_of(s, LINE_BEGIN_LARGE)));
    struct cmd *small = if_it_fits(older(first_of(s, LINE_SMALL), first_of(s, LINE_BEGIN_SMALL)));

    return older(older(large, small), first_of(s, LINE_BEGIN));
}

/* One command of s, if one can go. */
static bool serve_one(struct subsys *s)
{
    struct cmd *c;

    while ((c = choose(s)) != NULL) {
        bool chunks = wants_chunks(c);

        if (!may_begin(c))
            continue; /* shut: what need not ask may go all the same */
        line_leave(c);
        if (chunks)
            buf_take(s->home, c);
        cmd_granted(c);
        return true;
    }
    return false;
}

void lines_serve(struct target_env *te)
{
    struct list stuck;
    struct list *n;

    list_init(&stuck);
    te->scarce[0] = te->scarce[1] = SCARCE_NOT;
    while (!list_empty(&te->wait_lines)) {
        struct subsys *s = list_first(&te->wait_lines, struct subsys, wait_node);
        bool served = serve_one(s);

        n = &s->wait_node;
        if (list_empty(n)) /* nobody waits any more */
            continue;
        list_remove(n);
        if (served)
            list_push_back(&te->wait_lines, n);
        else if (!nobody_else(s) || !s->shut)
            list_push_back(&stuck, n);
    }
    list_splice_back(&te->wait_lines, &stuck); /* who is first of them now is first again */
}

/* ---- who is woken --------------------------------------------------------------------------------------------------------- */

static void wake(struct env_task *task)
{
    struct target_env *te = container_of(task, struct target_env, wake_task);

    lines_serve(te);
    slots_serve(te);
}

void target_env_wake(struct target_env *te)
{
    if (te->wake_task.queued)
        return;
    te->wake_task.fn = wake;
    env_defer(te->env, &te->wake_task);
}
