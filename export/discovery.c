/* SPDX-License-Identifier: Apache-2.0 */
/* discovery.c: the discovery log: the subsystems that the asking host may see, on the address it came in by.
 *
 * A host reads a long log in many pages. What it may see is found out once for each GENCTR, as a list of subsystems (a view);
 * a Get Log Page makes the entries of its window from that, and takes no lock: registry and rights change on envs[0],
 * where the discovery subsystem lives too. GENCTR moves with every change of either, which makes views stale; a host
 * that sees another GENCTR in the header at the end than at the beginning reads again. Hosts that stay connected get an event.
 */
#include "export/priv.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

static void tell(struct env_task *task)
{
    struct target *t = container_of(task, struct target, disc_task);

    pthread_mutex_lock(&t->lock);
    t->disc_posted = false;
    pthread_mutex_unlock(&t->lock);
    list_for_each_safe(n, tmp, &t->discovery->ctrls)
        ctrl_event(list_entry(n, struct ctrl, node), EVENT_DISCOVERY);
}

void discovery_changed(struct target *t)
{
    t->genctr++;
    if (t->disc_posted || t->stopping)
        return;
    t->disc_posted = true;
    t->disc_task.fn = tell;
    env_post(t->te[0].env, &t->disc_task);
}

/* "1.2.3.4:4420" or "[::1]:4420", or without port, to a bare address. */
static void bare_address(const char *text, char *out, size_t cap)
{
    const char *colon = strrchr(text, ':'), *end = text + strlen(text);

    if (*text == '[') {
        text++;
        end = strchr(text, ']') ? strchr(text, ']') : end;
    } else if (colon && strchr(text, ':') == colon) {
        end = colon;
    }
    snprintf(out, cap, "%.*s", (int)(end - text), text);
}

static bool wildcard(const char *addr) { return !*addr || strcmp(addr, "0.0.0.0") == 0 || strcmp(addr, "::") == 0; }

static void entry_common(const struct queue *q, struct nvme_discovery_entry *e)
{
    char addr[64];

    memset(e, 0, sizeof(*e));
    bare_address(q->t->opts.discovery_traddr, addr, sizeof(addr));
    if (wildcard(addr))
        bare_address(q->conn->local.text, addr, sizeof(addr));
    e->trtype = 3; /* TCP */
    e->adrfam = strchr(addr, ':') ? 2 : 1;
    e->subtype = 2; /* an NVM subsystem */
    e->treq = 4; /* SQ flow control may be off; a secure channel: not specified */
    e->portid = to_le16(1);
    e->cntlid = to_le16(0xffff);
    e->asqsz = to_le16(ADMIN_DEPTH);
    snprintf(e->trsvcid, sizeof(e->trsvcid), "%u", q->t->opts.port);
    memcpy(e->traddr, addr, strlen(addr));
}

/* Copies what of [at, at + n) lies in the command's window. */
static void window(struct cmd *c, uint64_t off, uint64_t at, const void *from, size_t n)
{
    uint64_t lo = MAX(off, at), hi = MIN(off + c->bytes, at + n);

    if (lo < hi)
        cmd_copy_in(c, (uint32_t)(lo - off), (const char *)from + (lo - at), hi - lo);
}

/* ---- views ------------------------------------------------------------------------------------------------------- */

int discovery_reserve(struct target *t, uint32_t nr)
{
    uint32_t cap = MAX(nr, t->view_cap * 2);

    if (nr <= t->view_cap)
        return 0;
    for (uint32_t i = 0; i < DISC_VIEWS; i++) {
        struct subsys **more = realloc(t->views[i].list, cap * sizeof(*more));

        if (!more)
            return -ENOMEM; /* those that have grown already stay so */
        t->views[i].list = more;
    }
    t->view_cap = cap;
    return 0;
}

void discovery_fini(struct target *t)
{
    for (uint32_t i = 0; i < DISC_VIEWS; i++)
        free(t->views[i].list);
}

static void make_view(struct target *t, struct disc_view *v, const char *hostnqn)
{
    v->nr = 0;
    list_for_each(n, &t->subsystems) {
        struct subsys *s = list_entry(n, struct subsys, node);

        if (!subsys_host_allowed_locked(s, hostnqn))
            continue;
        assert(v->nr < t->view_cap);
        v->list[v->nr++] = s;
    }
    v->genctr = t->genctr;
    snprintf(v->hostnqn, sizeof(v->hostnqn), "%s", hostnqn);
    t->views_made++;
}

/* The host's view, or in the place of the one that was not asked for the longest. */
static const struct disc_view *view_of(struct target *t, const char *hostnqn)
{
    struct disc_view *v = &t->views[0];

    for (uint32_t i = 0; i < DISC_VIEWS; i++) {
        if (strcmp(t->views[i].hostnqn, hostnqn) == 0) {
            v = &t->views[i];
            break;
        }
        if (t->views[i].used < v->used)
            v = &t->views[i];
    }
    if (v->genctr != t->genctr || strcmp(v->hostnqn, hostnqn) != 0)
        make_view(t, v, hostnqn);
    v->used = ++t->views_used;
    return v;
}

/* ---- the log ----------------------------------------------------------------------------------------------------- */

void log_discovery(struct cmd *c, uint64_t off)
{
    struct target *t = c->q->t;
    const struct disc_view *v = view_of(t, c->q->ctrl->hostnqn);
    struct nvme_discovery_header h = {.genctr = to_le64(t->genctr), .numrec = to_le64(v->nr), .recfmt = to_le16(0)};
    struct nvme_discovery_entry e;

    static_assert(sizeof(h) == sizeof(e), "the header is as long as an entry: entry i is at (i + 1) * sizeof(e)");
    window(c, off, 0, &h, sizeof(h));
    entry_common(c->q, &e);
    for (uint64_t i = MAX(off / sizeof(e), 1u); i <= v->nr && i * sizeof(e) < off + c->bytes; i++) {
        const char *nqn = v->list[i - 1]->p.nqn;

        memset(e.subnqn, 0, sizeof(e.subnqn));
        memcpy(e.subnqn, nqn, strlen(nqn));
        window(c, off, i * sizeof(e), &e, sizeof(e));
    }
}
