/* SPDX-License-Identifier: Apache-2.0 */
/* A lane: jobs run in turn, and while all its threads hang nobody waits behind them. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include "daemon/lane.h"

struct one {
    struct job  job;
    atomic_uint ran, refused;
};

static struct one ones[LANE_QUEUE_MAX + 8];
static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
static struct lane *l;

static void run(struct job *j)
{
    struct one *o = container_of(j, struct one, job);

    pthread_mutex_lock(&gate);
    pthread_mutex_unlock(&gate);
    atomic_fetch_add(&o->ran, 1);
}

static void refuse(struct job *j) { atomic_fetch_add(&container_of(j, struct one, job)->refused, 1); }

static void put(unsigned i)
{
    ones[i].job = (struct job){.run = run, .refuse = refuse};
    list_init(&ones[i].job.node);
    lane_put(l, &ones[i].job);
}

static unsigned sum(bool refused)
{
    unsigned n = 0;

    for (unsigned i = 0; i < ARRAY_LEN(ones); i++)
        n += atomic_load(refused ? &ones[i].refused : &ones[i].ran);
    return n;
}

static void wait_for(bool refused, unsigned nr)
{
    for (unsigned ms = 0; ms < 10000 && sum(refused) < nr; ms++)
        usleep(1000);
    cr_assert_eq(sum(refused), nr);
}

static void begin(uint64_t stuck_ns) { cr_assert_eq(lane_new("test", stuck_ns, &l), 0); }

static void end(void)
{
    lane_stop(l);
    lane_free(l);
    for (unsigned i = 0; i < ARRAY_LEN(ones); i++)
        cr_assert_leq(atomic_load(&ones[i].ran) + atomic_load(&ones[i].refused), 1, "one answer");
}

Test(lane, more_jobs_than_threads_all_run, .timeout = 30)
{
    begin(NS_PER_S * 60);
    pthread_mutex_lock(&gate);
    for (unsigned i = 0; i < 20; i++)
        put(i);
    pthread_mutex_unlock(&gate);
    wait_for(false, 20);
    end();
}

Test(lane, a_stuck_lane_refuses_what_waits_and_what_comes, .timeout = 30)
{
    begin(50 * NS_PER_MS);
    pthread_mutex_lock(&gate);
    for (unsigned i = 0; i < 6; i++)
        put(i);
    lane_look(l);
    cr_assert_eq(sum(true), 0, "not stuck yet");
    usleep(200000);
    lane_look(l);
    cr_assert_eq(sum(true), 6 - LANE_THREADS);
    put(6);
    cr_assert_eq(sum(true), 7 - LANE_THREADS);
    pthread_mutex_unlock(&gate);
    wait_for(false, LANE_THREADS);
    put(7);
    wait_for(false, LANE_THREADS + 1);
    end();
}

Test(lane, one_slow_job_holds_up_nobody, .timeout = 30)
{
    begin(NS_PER_MS);
    pthread_mutex_lock(&gate);
    put(0);
    usleep(100000);
    put(1);
    usleep(1000);
    pthread_mutex_unlock(&gate);
    wait_for(false, 2);
    end();
}

Test(lane, what_waits_is_bounded_and_a_stop_refuses_it, .timeout = 30)
{
    begin(NS_PER_S * 60);
    pthread_mutex_lock(&gate);
    put(0);
    put(1);
    usleep(200000); /* both threads hold one */
    for (unsigned i = 2; i < 2 + LANE_QUEUE_MAX; i++)
        put(i);
    cr_assert_eq(sum(true), 0);
    put(2 + LANE_QUEUE_MAX);
    cr_assert_eq(sum(true), 1);
    pthread_mutex_unlock(&gate);
    lane_stop(l);
    put(3 + LANE_QUEUE_MAX);
    cr_assert_eq(sum(true) + sum(false), LANE_QUEUE_MAX + 4, "each was answered");
    cr_assert_eq(atomic_load(&ones[3 + LANE_QUEUE_MAX].refused), 1);
    end();
}
