/* SPDX-License-Identifier: Apache-2.0 */
#include "rt_test.h"

#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

/* ---- deferred tasks ------------------------------------------------------------------------------------------------ */

struct counted { struct env_task task; struct env *env; int *order; int nr, left; };

static void counted_run(struct env_task *t)
{
    struct counted *c = container_of(t, struct counted, task);

    if (c->order != NULL)
        c->order[c->order[0]++] = c->nr;
    c->left--;
    if (c->left > 0)
        env_defer(c->env, t);
}

Test(reactor, deferred_tasks_run_later_in_order)
{
    struct reactor *r = test_reactor(0, false);
    struct env *e = reactor_env(r);
    int order[4] = {1, 0, 0, 0};
    struct counted a = {.task = {.fn = counted_run}, .env = e, .order = order, .nr = 1, .left = 1};
    struct counted b = {.task = {.fn = counted_run}, .env = e, .order = order, .nr = 2, .left = 1};

    env_defer(e, &a.task);
    env_defer(e, &b.task);
    cr_assert_eq(order[0], 1, "nothing ran inside env_defer");
    env_run_once(e);
    cr_assert_eq(order[1], 1);
    cr_assert_eq(order[2], 2);
    reactor_free(r);
}

Test(reactor, a_task_may_defer_itself_for_ever_without_starving_timers)
{
    struct reactor *r = test_reactor(0, false);
    struct env *e = reactor_env(r);
    struct counted a = {.task = {.fn = counted_run}, .env = e, .left = 1 << 30};

    env_defer(e, &a.task);
    run_for_ms(r, 20); /* returns: its timer fires between the rounds */
    cr_assert_lt(a.left, 1 << 30);
    reactor_free(r);
}

Test(reactor, deferring_a_queued_task_is_our_own_bug, .signal = SIGABRT)
{
    struct reactor *r = test_reactor(0, false);
    struct counted a = {.task = {.fn = counted_run}, .env = reactor_env(r), .left = 1};

    env_defer(a.env, &a.task);
    env_defer(a.env, &a.task);
}

/* ---- timers -------------------------------------------------------------------------------------------------------- */

struct stamped { struct env_timer timer; struct env *env; uint64_t fired_ns; int fired; };

static void stamped_fire(struct env_timer *t)
{
    struct stamped *s = container_of(t, struct stamped, timer);

    s->fired_ns = env_now_ns(s->env);
    s->fired++;
}

#define TIMERS 3000
Test(reactor, timers_fire_once_in_order_and_not_early)
{
    struct reactor *r = test_reactor(0, false);
    struct env *e = reactor_env(r);
    static struct stamped t[TIMERS];
    uint64_t base = env_now_ns(e);

    for (unsigned i = 0; i < TIMERS; i++) {
        t[i] = (struct stamped){.timer = {.fn = stamped_fire}, .env = e};
        env_timer_arm(e, &t[i].timer, base + (i * 7919u % TIMERS) * 10 * NS_PER_US);
    }
    for (unsigned i = 0; i < TIMERS; i += 3)
        env_timer_cancel(e, &t[i].timer);
    env_timer_arm(e, &t[1].timer, base + 35 * NS_PER_MS); /* moved */
    run_for_ms(r, 60);
    for (unsigned i = 0; i < TIMERS; i++) {
        cr_assert_eq(t[i].fired, i % 3 != 0);
        cr_assert(!env_timer_armed(&t[i].timer));
        cr_assert(t[i].fired == 0 || t[i].fired_ns >= t[i].timer.deadline_ns);
    }
    cr_assert_geq(t[1].fired_ns, base + 35 * NS_PER_MS);
    reactor_free(r);
}

/* ---- posting ------------------------------------------------------------------------------------------------------- */

#define POSTERS 3
#define POSTS   2000
struct posted { struct env_task task; int poster, nr; };
struct poster { struct env *env; struct posted *p; bool slow; };

static int next_of[POSTERS];
static _Atomic int posts_run;
static bool all_run;

static void posted_run(struct env_task *t)
{
    struct posted *p = container_of(t, struct posted, task);

    cr_assert_eq(p->nr, next_of[p->poster], "one thread's posts keep their order");
    next_of[p->poster]++;
    all_run = atomic_fetch_add(&posts_run, 1) + 1 == POSTERS * POSTS;
}

static void *poster_main(void *arg)
{
    struct poster *p = arg;

    for (int i = 0; i < POSTS; i++) {
        if (i % 64 == 0)
            usleep(200); /* so that the reactor falls asleep between */
        env_post(p->env, &p->p[i].task);
    }
    return NULL;
}

static void posts_arrive(bool plain_ring, uint32_t poll_us)
{
    struct reactor *r = test_reactor(poll_us, plain_ring);
    static struct posted p[POSTERS][POSTS];
    struct poster posters[POSTERS];
    pthread_t threads[POSTERS];

    for (int i = 0; i < POSTERS; i++) {
        for (int k = 0; k < POSTS; k++)
            p[i][k] = (struct posted){.task = {.fn = posted_run}, .poster = i, .nr = k};
        posters[i] = (struct poster){.env = reactor_env(r), .p = p[i]};
        pthread_create(&threads[i], NULL, poster_main, &posters[i]);
    }
    cr_assert(run_until(r, &all_run));
    for (int i = 0; i < POSTERS; i++)
        pthread_join(threads[i], NULL);
    reactor_free(r);
}

Test(reactor, posts_of_other_threads_all_arrive_in_order) { posts_arrive(false, 0); }
Test(reactor, posts_of_other_threads_all_arrive_while_spinning) { posts_arrive(false, 50); }
Test(reactor, posts_of_other_threads_all_arrive_on_a_plain_ring) { posts_arrive(true, 0); }

/* ---- idling and stopping ------------------------------------------------------------------------------------------- */

static uint64_t process_cpu_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
    return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

Test(reactor, an_idle_reactor_sleeps)
{
    struct reactor *r = test_reactor(100, false);
    struct reactor_stats a, b;
    uint64_t cpu_ns;

    cr_assert_eq(reactor_start_thread(r), 0);
    usleep(50000); /* spinning has stopped to pay */
    reactor_stats_get(r, &a);
    cpu_ns = process_cpu_ns();
    usleep(300000);
    cpu_ns = process_cpu_ns() - cpu_ns;
    reactor_stats_get(r, &b);
    cr_assert_eq(b.passes, a.passes, "no pass while nothing happens");
    cr_assert_lt(cpu_ns, 3 * NS_PER_MS);
    reactor_stop(r);
    reactor_join(r);
    reactor_free(r);
}

Test(reactor, a_reactor_that_ticks_soon_spins_no_more)
{
    struct reactor *r = test_reactor(200, false);
    struct reactor_stats a, b;

    for (int i = 0; i < 10; i++)
        run_for_ms(r, 2);
    reactor_stats_get(r, &a);
    for (int i = 0; i < 50; i++)
        run_for_ms(r, 2);
    reactor_stats_get(r, &b);
    cr_assert_eq(b.spin_ns, a.spin_ns);
    cr_assert_geq(b.sleeps - a.sleeps, 50u);
    reactor_free(r);
}

Test(reactor, stop_ends_a_sleeping_thread_and_one_not_yet_running)
{
    for (int i = 0; i < 50; i++) {
        struct reactor *r = test_reactor(0, i % 2);

        cr_assert_eq(reactor_start_thread(r), 0);
        if (i % 4 < 2)
            usleep(500);
        reactor_stop(r);
        reactor_join(r);
        reactor_free(r);
    }
}

/* ---- passes inside callbacks, random numbers ------------------------------------------------------------------------ */

struct nesting { struct env_task outer, inner; struct env *env; bool inner_ran, outer_ran; };

static void inner_run(struct env_task *t) { container_of(t, struct nesting, inner)->inner_ran = true; }

static void outer_run(struct env_task *t)
{
    struct nesting *n = container_of(t, struct nesting, outer);

    while (!n->inner_ran)
        env_run_once(n->env);
    n->outer_ran = true;
}

Test(reactor, a_callback_may_run_passes_until_a_task_behind_it_has_run)
{
    struct reactor *r = test_reactor(0, false);
    struct nesting n = {.outer = {.fn = outer_run}, .inner = {.fn = inner_run}, .env = reactor_env(r)};

    env_defer(n.env, &n.outer);
    env_defer(n.env, &n.inner);
    cr_assert(run_until(r, &n.outer_ran));
    reactor_free(r);
}

Test(reactor, random_bytes_differ)
{
    struct reactor *r = test_reactor(0, false);
    uint8_t a[600], b[600];
    size_t same = 0;

    env_random(reactor_env(r), a, sizeof(a));
    env_random(reactor_env(r), b, sizeof(b));
    for (size_t i = 0; i < sizeof(a); i++)
        same += a[i] == b[i];
    cr_assert_lt(same, 60u);
    reactor_free(r);
}

Test(reactor, after_join_the_caller_runs_it_in_straight_lines)
{
    struct reactor *r = test_reactor(0, false);
    struct counted a = {.task = {.fn = counted_run}, .env = reactor_env(r), .left = 1};

    cr_assert_eq(reactor_start_thread(r), 0);
    usleep(2000);
    reactor_stop(r);
    reactor_join(r);
    env_defer(a.env, &a.task);
    run_for_ms(r, 3);
    cr_assert_eq(a.left, 0);
    reactor_free(r);
}
