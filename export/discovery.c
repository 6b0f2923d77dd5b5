/* SPDX-License-Identifier: Apache-2.0 */
/* discovery.c: the discovery log: the subsystems that the asking host may see, on the address it came in by.
 *
 * The log is never built whole: a Get Log Page asks for a window, and only the entries in it are made. GENCTR moves with
 * every change of subsystems or rights; hosts that stay connected get an event.
 */
#include "export/priv.h"

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

void log_discovery(struct cmd *c, uint64_t off)
{
    struct target *t = c->q->t;
    struct nvme_discovery_header h = {.recfmt = to_le16(0)};
    struct nvme_discovery_entry e;
    uint64_t nr = 0;

    entry_common(c->q, &e);
    pthread_mutex_lock(&t->lock);
    list_for_each(n, &t->subsystems) {
        const struct subsys *s = list_entry(n, struct subsys, node);

        if (!subsys_host_allowed_locked(s, c->q->ctrl->hostnqn))
            continue;
        nr++;
        if (nr * sizeof(e) >= off + c->bytes || (nr + 1) * sizeof(e) <= off)
            continue;
        memset(e.subnqn, 0, sizeof(e.subnqn));
        memcpy(e.subnqn, s->p.nqn, strlen(s->p.nqn));
        window(c, off, nr * sizeof(e), &e, sizeof(e));
    }
    h.genctr = to_le64(t->genctr);
    pthread_mutex_unlock(&t->lock);
    h.numrec = to_le64(nr);
    window(c, off, 0, &h, sizeof(h));
}
