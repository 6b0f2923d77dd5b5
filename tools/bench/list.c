/* SPDX-License-Identifier: Apache-2.0 */
/* list.c: `firn-bench list`: the discovery log, read in pages, its counts believed only as far as they are bounded. */
#include "bench.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#define LIST_MAX 16384u /* VOLUMES_MAX of a node */

static int read_log(struct assoc *a, uint64_t off, void *buf, uint32_t len, char why[static 256])
{
    uint32_t dwords = len / 4 - 1;
    struct ini_cmd c = {.dir = INI_READ, .data = buf, .len = len};
    int err;

    c.sqe.opcode = OP_ADMIN_GET_LOG;
    c.sqe.cdw10 = to_le32(LOG_DISCOVERY | dwords << 16);
    c.sqe.cdw11 = to_le32(dwords >> 16);
    c.sqe.cdw12 = to_le32((uint32_t)off);
    c.sqe.cdw13 = to_le32((uint32_t)(off >> 32));
    err = assoc_admin(a, &c, why);
    if (!err && c.status) {
        snprintf(why, 256, "get log page 0x70: status 0x%x", c.status);
        err = -1;
    }
    return err;
}

/* Blanks or zeros end the text fields of an entry. */
static void field(char *out, const char *in, size_t n)
{
    memcpy(out, in, n);
    out[n] = '\0';
    for (size_t i = strlen(out); i > 0 && out[i - 1] == ' '; i--)
        out[i - 1] = '\0';
}

static void show(const struct disc_entry *e, json_t *list)
{
    char nqn[257], addr[257], port[33];

    field(nqn, e->subnqn, sizeof(e->subnqn));
    field(addr, e->traddr, sizeof(e->traddr));
    field(port, e->trsvcid, sizeof(e->trsvcid));
    if (list)
        json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:i, s:i}", "nqn", nqn, "address", addr, "port", port,
                                              "transport", e->trtype, "subtype", e->subtype));
    else
        printf("%-8s %s port %s  %s\n", e->subtype == 2 ? "nvm" : "other", addr, port, nqn);
}

static int walk(struct assoc *a, json_t *list, uint64_t *found, char why[static 256])
{
    struct disc_header h;
    struct disc_entry e;
    uint64_t nr;
    int err = read_log(a, 0, &h, sizeof(h), why);

    if (err)
        return err;
    nr = from_le64(h.numrec);
    if (nr > LIST_MAX) {
        snprintf(why, 256, "the discovery log claims %llu entries", (unsigned long long)nr);
        return -1;
    }
    for (uint64_t i = 0; i < nr; i++) {
        err = read_log(a, sizeof(h) + i * sizeof(e), &e, sizeof(e), why);
        if (err)
            return err;
        *found += e.subtype == 2;
        show(&e, list);
    }
    return 0;
}

int cmd_list(const struct bench_opts *o)
{
    struct assoc *a = calloc(1, sizeof(*a));
    json_t *list = o->json ? json_array() : NULL;
    struct assoc_opts ao;
    struct loop loop;
    uint64_t found = 0;
    char why[256] = "";
    int err;

    if (a == NULL)
        return 1;
    opts_assoc(o, 0, &ao);
    ao.discovery = true;
    memcpy(ao.subnqn, DISCOVERY_NQN, sizeof(DISCOVERY_NQN));
    err = loop_init(&loop, o->poll, why);
    if (!err) {
        err = assoc_open(a, &loop, &ao, why);
        if (!err) {
            err = walk(a, list, &found, why);
            assoc_close(a, true);
        }
        loop_fini(&loop);
    }
    free(a);
    if (err)
        fprintf(stderr, "firn-bench: %s\n", why);
    else if (found == 0)
        fprintf(stderr, "firn-bench: no subsystem lets host %s in\n", ao.hostnqn);
    if (!err && list)
        json_dumpf(list, stdout, JSON_INDENT(2));
    json_decref(list);
    return err ? 1 : 0;
}
