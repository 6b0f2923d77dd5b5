/* SPDX-License-Identifier: Apache-2.0 */
#include "fake_dev.h"

#include <criterion/criterion.h>

static struct fake_env *of(struct env *e) { return container_of(e, struct fake_env, env); }
static uint64_t fake_now(struct env *e) { return of(e)->now_ns; }
static void fake_random(struct env *e, void *buf, size_t len) { (void)e, memset(buf, 4, len); }

static void fake_defer(struct env *e, struct env_task *t)
{
    cr_assert_lt(of(e)->nr, ARRAY_LEN(of(e)->tasks));
    of(e)->tasks[of(e)->nr++] = t;
}

static void fake_arm(struct env *e, struct env_timer *t, uint64_t at) { timer_heap_arm(&of(e)->timers, t, at); }
static void fake_cancel(struct env *e, struct env_timer *t) { timer_heap_cancel(&of(e)->timers, t); }

static int fake_run_once(struct env *e)
{
    fake_env_run(of(e));
    return -FIRN_E_STOPPED; /* the machine crashed */
}

static const struct env_ops fake_ops = {.name = "fake", .mono_ns = fake_now, .wall_ns = fake_now, .random = fake_random,
                                        .defer = fake_defer, .post = fake_defer, .timer_arm = fake_arm,
                                        .timer_cancel = fake_cancel, .run_once = fake_run_once};

void fake_env_init(struct fake_env *e)
{
    timer_heap_fini(&e->timers); /* of the last use; static storage begins with none */
    *e = (struct fake_env){.env = {&fake_ops}, .now_ns = 1000};
    cr_assert_eq(timer_heap_init(&e->timers), 0);
}

void fake_env_run(struct fake_env *e)
{
    for (unsigned i = 0; i < e->nr; i++)
        e->tasks[i]->fn(e->tasks[i]);
    e->nr = 0;
}

void fake_env_advance(struct fake_env *e, uint64_t to_ns)
{
    fake_env_run(e);
    while (timer_heap_next_ns(&e->timers) <= to_ns) {
        struct env_timer *t;

        e->now_ns = MAX(e->now_ns, timer_heap_next_ns(&e->timers));
        t = timer_heap_pop_due(&e->timers, e->now_ns);
        t->fn(t);
        fake_env_run(e);
    }
    e->now_ns = to_ns;
}

static void fake_submit(struct dev *d, struct dev_io *io)
{
    struct fake_dev *f = container_of(d, struct fake_dev, dev);

    cr_assert_lt(f->nr, ARRAY_LEN(f->held));
    f->held[f->nr++] = io;
}

static void fake_close(struct dev *d) { container_of(d, struct fake_dev, dev)->closed = true; }

static const struct dev_ops fake_dev_ops = {.name = "fake", .submit = fake_submit, .close = fake_close};

void fake_dev_init(struct fake_dev *f, struct env *e, uint64_t size_bytes)
{
    *f = (struct fake_dev){.nr = 0};
    dev_init(&f->dev, &fake_dev_ops, e, "/fake");
    f->dev.caps = (struct dev_caps){.size_bytes = size_bytes, .block_bytes = BLOCK_BYTES, .align_bytes = BLOCK_BYTES, .iov_max = 4};
}

void fake_dev_end(struct fake_dev *f, int err)
{
    struct dev_io *io = f->held[0];

    cr_assert_gt(f->nr, 0u);
    memmove(f->held, f->held + 1, --f->nr * sizeof(f->held[0]));
    dev_io_done(&f->dev, io, err);
}
