/* SPDX-License-Identifier: Apache-2.0 */
/* alloc.c: a library to preload that fails chosen allocations, for tests/crash/faults_alloc.sh.
 *
 * A place is the return address of a call to malloc, calloc, realloc, posix_memalign or aligned_alloc, as "module+offset",
 * so that it is the same in
 * every run. ALLOC_LIST=FILE: at exit, every place and how often it allocated. ALLOC_FAIL=PLACE and ALLOC_NTH=N: the N-th
 * allocation of that place answers that there is no memory; ALLOC_STICKY: and all of that place from then on. ALLOC_DONE=FILE is made then.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

extern void *__libc_malloc(size_t n);
extern void *__libc_calloc(size_t n, size_t size);
extern void *__libc_realloc(void *p, size_t n);
extern void *__libc_memalign(size_t align, size_t n);

#define SLOTS 8192u

struct slot { _Atomic(uintptr_t) at; _Atomic(uint32_t) nr; };
static struct slot slots[SLOTS];
static char fail_place[128], done_file[256], list_file[256];
static uint32_t fail_nth;
static bool sticky;
static atomic_bool on;

static const char *place_of(const void *at, char out[static 128])
{
    const char *base;
    Dl_info info;

    if (dladdr(at, &info) == 0 || info.dli_fname == NULL)
        return "?";
    base = strrchr(info.dli_fname, '/');
    snprintf(out, 128, "%.90s+0x%zx", base ? base + 1 : info.dli_fname, (size_t)((const char *)at - (const char *)info.dli_fbase));
    return out;
}

static void text(char *to, size_t cap, const char *name)
{
    const char *v = getenv(name);

    snprintf(to, cap, "%s", v ? v : "");
}

__attribute__((constructor)) static void begin(void)
{
    char nth[16];

    text(fail_place, sizeof(fail_place), "ALLOC_FAIL");
    text(done_file, sizeof(done_file), "ALLOC_DONE");
    text(list_file, sizeof(list_file), "ALLOC_LIST");
    text(nth, sizeof(nth), "ALLOC_NTH");
    fail_nth = (uint32_t)strtoul(nth, NULL, 10);
    sticky = getenv("ALLOC_STICKY") != NULL;
    atomic_store(&on, true);
}

__attribute__((destructor)) static void end(void)
{
    char name[128], line[192];
    int fd;

    if (!list_file[0] || (fd = open(list_file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600)) < 0)
        return;
    for (size_t i = 0; i < SLOTS; i++) {
        uintptr_t at = atomic_load(&slots[i].at);
        int n = at ? snprintf(line, sizeof(line), "%s %u\n", place_of((const void *)at, name), atomic_load(&slots[i].nr)) : 0;

        if (n > 0 && write(fd, line, (size_t)n) != n)
            break;
    }
    close(fd);
}

static struct slot *slot_of(uintptr_t at)
{
    for (size_t i = (at >> 2) % SLOTS, k = 0; k < SLOTS; i = (i + 1) % SLOTS, k++) {
        uintptr_t was = 0;

        if (atomic_load(&slots[i].at) == at || atomic_compare_exchange_strong(&slots[i].at, &was, at) || was == at)
            return &slots[i];
    }
    return NULL;
}

static bool refused(const void *at)
{
    struct slot *s;
    char name[128];
    uint32_t n;

    if (!atomic_load(&on) || (s = slot_of((uintptr_t)at)) == NULL)
        return false;
    n = atomic_fetch_add(&s->nr, 1) + 1;
    if (fail_nth == 0 || (sticky ? n < fail_nth : n != fail_nth) || strcmp(place_of(at, name), fail_place) != 0)
        return false;
    if (done_file[0])
        close(open(done_file, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
    errno = ENOMEM;
    return true;
}

void *malloc(size_t n) { return refused(__builtin_return_address(0)) ? NULL : __libc_malloc(n); }
void *calloc(size_t n, size_t size) { return refused(__builtin_return_address(0)) ? NULL : __libc_calloc(n, size); }
void *realloc(void *p, size_t n) { return refused(__builtin_return_address(0)) ? NULL : __libc_realloc(p, n); }
void *aligned_alloc(size_t align, size_t n) { return refused(__builtin_return_address(0)) ? NULL : __libc_memalign(align, n); }

int posix_memalign(void **out, size_t align, size_t n)
{
    void *p = refused(__builtin_return_address(0)) ? NULL : __libc_memalign(align, n);

    if (p == NULL)
        return ENOMEM;
    *out = p;
    return 0;
}
