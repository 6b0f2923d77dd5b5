/* SPDX-License-Identifier: Apache-2.0 */
/* list.h: circular intrusive doubly linked list. A node is on at most one list through a given member. */
#ifndef FIRN_BASE_LIST_H
#define FIRN_BASE_LIST_H

#include "base/types.h"

struct list { struct list *next, *prev; };

static inline void list_init(struct list *l) { l->next = l->prev = l; }
static inline bool list_empty(const struct list *l) { return l->next == l; }
static inline void list_add_between(struct list *n, struct list *prev, struct list *next)
{
    n->prev = prev;
    n->next = next;
    prev->next = n;
    next->prev = n;
}
static inline void list_push_back(struct list *l, struct list *n) { list_add_between(n, l->prev, l); }
static inline void list_push_front(struct list *l, struct list *n) { list_add_between(n, l, l->next); }
static inline void list_remove(struct list *n)
{
    n->prev->next = n->next;
    n->next->prev = n->prev;
    list_init(n);
}
static inline struct list *list_pop_front(struct list *l)
{
    struct list *n = l->next;

    if (n == l)
        return NULL;
    list_remove(n);
    return n;
}
/* Moves all of `from` to the end of `to`; `from` is empty afterwards. */
static inline void list_splice_back(struct list *to, struct list *from)
{
    if (list_empty(from))
        return;
    from->next->prev = to->prev;
    to->prev->next = from->next;
    from->prev->next = to;
    to->prev = from->prev;
    list_init(from);
}

#define list_entry(node, type, member) container_of(node, type, member)
#define list_first(l, type, member) (list_empty(l) ? NULL : list_entry((l)->next, type, member))
#define list_for_each(pos, l) for (struct list *pos = (l)->next; pos != (l); pos = pos->next)
#define list_for_each_safe(pos, tmp, l) \
    for (struct list *pos = (l)->next, *tmp = pos->next; pos != (l); pos = tmp, tmp = pos->next)

#endif
