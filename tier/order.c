/* SPDX-License-Identifier: Apache-2.0 */
#include "tier/order.h"

#include <stdlib.h>

size_t *order_next_new(size_t nr)
{
    size_t *next = malloc((nr + 1) * sizeof(*next));

    for (size_t i = 0; next != NULL && i <= nr; i++)
        next[i] = i;
    return next;
}
