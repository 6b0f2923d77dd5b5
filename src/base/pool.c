/* SPDX-License-Identifier: Apache-2.0 */
/* pool.c: objects in one mapping, and a stack of the free ones; last given back is first taken, so it is warm in cache. */
#include "base/pool.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#define PAGE_BYTES 4096u

static size_t pool_bytes(const struct pool *p) { return ROUND_UP(p->obj_bytes * p->nr, (size_t)PAGE_BYTES); }

int pool_init(struct pool *p, size_t obj_bytes, size_t align, uint32_t nr)
{
    assert(obj_bytes > 0 && nr > 0);
    assert(align > 0 && (align & (align - 1)) == 0 && align <= PAGE_BYTES);
    *p = (struct pool){.obj_bytes = ROUND_UP(obj_bytes, align), .nr = nr, .nr_free = nr, .low_water = nr};
    if (p->obj_bytes > (SIZE_MAX / 2) / nr)
        return -ENOMEM;
    p->mem = mmap(NULL, pool_bytes(p), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p->mem == MAP_FAILED) {
        p->mem = NULL;
        return -ENOMEM;
    }
    p->free_stack = malloc(nr * sizeof(*p->free_stack));
    if (p->free_stack == NULL) {
        munmap(p->mem, pool_bytes(p));
        p->mem = NULL;
        return -ENOMEM;
    }
    for (uint32_t i = 0; i < nr; i++) /* the first object on top: low addresses are used first */
        p->free_stack[i] = (char *)p->mem + p->obj_bytes * (nr - 1 - i);
    return 0;
}

void pool_fini(struct pool *p)
{
    if (p->mem == NULL)
        return;
    assert(p->nr_free == p->nr);
    munmap(p->mem, pool_bytes(p));
    free(p->free_stack);
    p->mem = NULL;
    p->free_stack = NULL;
}

void pool_abandon(struct pool *p)
{
    p->nr_free = p->nr;
    pool_fini(p);
}

void *pool_get(struct pool *p)
{
    if (p->nr_free == 0)
        return NULL;
    p->nr_free--;
    p->low_water = MIN(p->low_water, p->nr_free);
    return p->free_stack[p->nr_free];
}

void pool_put(struct pool *p, void *obj)
{
    size_t off = (size_t)((char *)obj - (char *)p->mem);

    assert(obj != NULL && off < p->obj_bytes * p->nr && off % p->obj_bytes == 0);
    assert(p->nr_free < p->nr);
    p->free_stack[p->nr_free++] = obj;
}
