/* SPDX-License-Identifier: Apache-2.0 */
/* clock.c: a clock for programs in a User-mode Linux guest that costs no system call.
 *
 * That kernel gives its programs no page to read the time from, and makes each system call of theirs by stopping them twice.
 * MariaDB asks for the time five times a query: a third of all its system calls, and of what the guest's CPU has time for.
 * 1. Outside, with TSC_HZ unset, the program prints how often a second the CPU's time stamp counter ticks.
 * 2. Preloaded into a program of the guest, TSC_HZ set to that, it asks the guest for the time once, and counts ticks from then on.
 * The guest's clocks go by the machine's, as the counter does: in an hour they part by milliseconds.
 */
#define _GNU_SOURCE
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>
#include <x86intrin.h>

#define NS_PER_S UINT64_C(1000000000)

static uint64_t hz, begin_ticks, real_ns, monotonic_ns; /* the clocks at begin_ticks */

static uint64_t asked_ns(clockid_t which)
{
    struct timespec ts;

    syscall(SYS_clock_gettime, which, &ts);
    return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

#ifdef CLOCK_PROGRAM

int main(void)
{
    uint64_t begin_ns = asked_ns(CLOCK_MONOTONIC);

    begin_ticks = __rdtsc();
    sleep(1);
    printf("%" PRIu64 "\n", (uint64_t)((double)(__rdtsc() - begin_ticks) * 1e9 / (double)(asked_ns(CLOCK_MONOTONIC) - begin_ns)));
    return 0;
}

#else

__attribute__((constructor)) static void begin(void)
{
    const char *text = getenv("TSC_HZ");

    real_ns = asked_ns(CLOCK_REALTIME);
    monotonic_ns = asked_ns(CLOCK_MONOTONIC);
    begin_ticks = __rdtsc();
    hz = text != NULL ? strtoull(text, NULL, 10) : 0;
}

static uint64_t now_ns(clockid_t which)
{
    uint64_t since_ns = hz != 0 ? (uint64_t)((unsigned __int128)(__rdtsc() - begin_ticks) * NS_PER_S / hz) : 0;

    if (hz == 0)
        return asked_ns(which);
    return (which == CLOCK_REALTIME ? real_ns : monotonic_ns) + since_ns;
}

int clock_gettime(clockid_t which, struct timespec *out)
{
    uint64_t ns;

    if (which != CLOCK_REALTIME && which != CLOCK_MONOTONIC)
        return (int)syscall(SYS_clock_gettime, which, out);
    ns = now_ns(which);
    *out = (struct timespec){.tv_sec = (time_t)(ns / NS_PER_S), .tv_nsec = (long)(ns % NS_PER_S)};
    return 0;
}

int gettimeofday(struct timeval *restrict out, void *restrict zone)
{
    uint64_t ns = now_ns(CLOCK_REALTIME);

    (void)zone;
    *out = (struct timeval){.tv_sec = (time_t)(ns / NS_PER_S), .tv_usec = (suseconds_t)(ns % NS_PER_S / 1000)};
    return 0;
}

time_t time(time_t *out)
{
    time_t s = (time_t)(now_ns(CLOCK_REALTIME) / NS_PER_S);

    if (out != NULL)
        *out = s;
    return s;
}

#endif
