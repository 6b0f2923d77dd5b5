/* SPDX-License-Identifier: Apache-2.0 */
/* pool.h: a fixed number of equal objects, allocated once. One thread. An empty pool is back-pressure, not an error. */
#ifndef FIRN_BASE_POOL_H
#define FIRN_BASE_POOL_H

#include "base/types.h"

struct pool {
    void    *mem;
    void   **free_stack;
    size_t   obj_bytes;
    uint32_t nr, nr_free, low_water; /* low_water: fewest free ever seen */
};

/* nr objects of obj_bytes each, zeroed, aligned to `align` (a power of two). Memory is reserved with mmap, so pages
 * that are never taken are never resident. 0 or -ENOMEM. */
int   pool_init(struct pool *p, size_t obj_bytes, size_t align, uint32_t nr);
void  pool_fini(struct pool *p);              /* requires: every object given back */
void  pool_abandon(struct pool *p);          /* the same, whatever is still out: nobody may use it any more */
void *pool_get(struct pool *p);               /* NULL when empty; contents are what the last user left */
void  pool_put(struct pool *p, void *obj);    /* asserts that obj is one of the pool's */
static inline bool pool_is_empty(const struct pool *p) { return p->nr_free == 0; }

#endif
