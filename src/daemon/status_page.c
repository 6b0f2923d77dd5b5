/* SPDX-License-Identifier: Apache-2.0 */
/* status_page.c: see status_page.h. Names and paths are escaped: a device's path is text of the administrator's. */
#include "daemon/status_page.h"

#include <inttypes.h>
#include <stdlib.h>

#include "daemon/alerts.h"

#define VOLUMES_SHOWN 200u /* more than anyone reads; the API has the rest */

static void add_text(struct strbuf *b, const char *s)
{
    for (; *s; s++)
        switch (*s) {
        case '<':
            strbuf_add(b, "&lt;");
            break;
        case '>':
            strbuf_add(b, "&gt;");
            break;
        case '&':
            strbuf_add(b, "&amp;");
            break;
        case '"':
            strbuf_add(b, "&quot;");
            break;
        default:
            strbuf_add(b, "%c", *s);
        }
}

static void size_cell(struct strbuf *b, uint64_t bytes)
{
    char text[32];

    strbuf_add(b, "<td class=n>%s", size_format(bytes, text));
}

static void add_devices(struct node *n, struct strbuf *b)
{
    static const char *const roles[] = {"journal", "cache", "capacity"};
    const uint32_t max = 1 + CACHE_DEVS_MAX + CAPACITY_DEVS_MAX;
    struct tier_dev_info *d = calloc(max, sizeof(*d));
    uint32_t nr = d ? node_dev_info(n, d, max) : 0;

    strbuf_add(b, "<h2>Devices</h2><table><tr><th>device<th>role<th>size<th>used<th>state\n");
    for (uint32_t i = 0; i < nr; i++) {
        strbuf_add(b, "<tr><td>");
        add_text(b, d[i].path);
        strbuf_add(b, "<td>%s", (unsigned)d[i].role < ARRAY_LEN(roles) ? roles[d[i].role] : "?");
        size_cell(b, d[i].size_bytes);
        size_cell(b, d[i].used_bytes);
        strbuf_add(b, strcmp(tier_dev_state(&d[i]), "ok") == 0 ? "<td>%s\n" : "<td><b>%s</b>\n", tier_dev_state(&d[i]));
    }
    strbuf_add(b, "</table>\n");
    free(d);
}

static void add_alert(void *ctx, const char *text)
{
    strbuf_add(ctx, "<p><b>");
    add_text(ctx, text);
    strbuf_add(ctx, "</b></p>\n");
}

static void add_pool(struct node *n, struct strbuf *b)
{
    struct tier_info i;
    char a[32], r[32], c[32];

    node_pool_info(n, &i);
    strbuf_add(b, "<h2>Pool ");
    add_text(b, i.name);
    strbuf_add(b, "</h2><p>Journal: %s, ", size_format(i.journal_bytes, a));
    strbuf_add(b, "%s not yet destaged, %" PRIu64 " of %" PRIu64 " segments free.<br>\n",
               size_format(i.journal_dirty_bytes - MIN(i.journal_kept_bytes, i.journal_dirty_bytes), a), i.journal_free_segments,
               i.journal_segments);
    strbuf_add(b, "Capacity: %s used + %s reserved of %s.</p>\n", size_format(i.capacity_used_bytes, a),
               size_format(i.capacity_reserved_bytes, r), size_format(i.capacity_bytes, c));
    add_devices(n, b);
}

static void add_volume(struct strbuf *b, const struct volume_view *v)
{
    strbuf_add(b, "<tr><td>");
    add_text(b, v->info.p.name);
    size_cell(b, v->info.p.size_bytes);
    size_cell(b, v->info.used_bytes_ssd);
    size_cell(b, v->info.used_bytes_flash);
    size_cell(b, v->info.used_bytes_hdd);
    strbuf_add(b, "<td class=n>%" PRIu32 "<td class=n>%" PRIu64 "<td class=n>%" PRIu64 "<td>%s\n", v->controllers,
               v->io[SUBSYS_READ].ops, v->io[SUBSYS_WRITE].ops, v->info.read_only ? "<b>read-only</b>" : "ok");
}

static void add_volumes(struct node *n, struct strbuf *b)
{
    struct volume_view *v = calloc(NODE_LIST_MAX, sizeof(*v));
    char after[NAME_MAX_CHARS + 1] = "";
    unsigned shown = 0;
    int nr = (int)NODE_LIST_MAX;

    strbuf_add(b, "<h2>Volumes</h2><table><tr><th>name<th>size<th>on SSD<th>on flash<th>on HDD<th>hosts<th>reads<th>writes<th>state\n");
    while (v && nr == (int)NODE_LIST_MAX && shown < VOLUMES_SHOWN) {
        nr = node_volume_list(n, after, v, NODE_LIST_MAX);
        for (int i = 0; i < nr; i++, shown++) {
            add_volume(b, &v[i]);
            memcpy(after, v[i].info.p.name, sizeof(after));
        }
    }
    strbuf_add(b, "</table>\n");
    if (nr < 0)
        strbuf_add(b, "<p><b>Reactor 0 does not answer.</b></p>\n");
    free(v);
}

void status_page_render(struct node *n, uint64_t uptime_s, struct strbuf *b)
{
    strbuf_add(b, "<!doctype html><html lang=en><meta charset=utf-8><title>Firn: %s</title>"
                  "<style>body{font:15px sans-serif;margin:2em}table{border-collapse:collapse}"
                  "td,th{padding:.2em .8em;border-bottom:1px solid #ccc;text-align:left}.n{text-align:right}</style>\n",
               node_name(n));
    strbuf_add(b, "<h1>%s</h1><p>Firn %s, up %" PRIu64 " s, %" PRIu32 " reactor%s, NVMe/TCP on port %u, discovery also on %u.</p>\n",
               node_name(n), FIRN_VERSION, uptime_s, node_reactors(n), node_reactors(n) == 1 ? "" : "s",
               node_port(n), node_discovery_port(n));
    if (node_has_pool(n)) {
        alerts_of_node(n, add_alert, b);
        add_pool(n, b);
    }
    add_volumes(n, b);
    strbuf_add(b, "<p><a href=/metrics>metrics</a></p></html>\n");
}
