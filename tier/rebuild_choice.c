/* SPDX-License-Identifier: Apache-2.0 */
/* rebuild_choice.c: which of the layers that were found come back as volumes, and whether the pool has room for them.
 *
 * 1. Each has a name: its own, or recovered-LAYER (recovered-LAYER-2, ... if that is told of another) where none is told, or where a
 *    younger layer was given it after a deletion.
 *    Names do not depend on what is left out: they are how somebody says it.
 * 2. Who is left out goes with its extents and what the log holds of it: its places are free, its bytes stay until they are
 *    written over. Its layer's id is still never used again (rebuild.c).
 * 3. Nothing records that a volume was deleted but the metadata. So one may be back whose places the log's newest data was
 *    promised; a pool without room for that data does not start.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "tier/check.h"
#include "tier/order.h"

struct found_layer *found_layer_get(struct found *f, uint64_t layer)
{
    struct found_layer *l;

    for (size_t i = f->nr_layers; i-- > 0;)
        if (f->layers[i].layer == layer)
            return &f->layers[i];
    l = check_grow((void **)&f->layers, &f->nr_layers, &f->cap_layers, sizeof(*l));
    if (l != NULL)
        l->layer = layer;
    return l;
}

uint64_t found_bytes(const struct found_layer *l)
{
    uint64_t bytes = MAX(ROUND_UP(l->blocks * BLOCK_BYTES, (uint64_t)EXTENT_BYTES), MAX((uint64_t)EXTENT_BYTES, l->volume.size_bytes));

    return MIN(bytes, VOLUME_BYTES_MAX);
}

/* ---- names ---- */

/* A name that a younger layer has too was given again after a deletion. */
static bool name_is_free(const struct found *f, const struct found_layer *l)
{
    for (const struct found_layer *k = l + 1; k < f->layers + f->nr_layers; k++)
        if (strcmp(k->volume.name, l->volume.name) == 0)
            return false;
    return l->volume.name[0] != '\0';
}

static bool is_told(const struct found *f, const char *name)
{
    for (size_t i = 0; i < f->nr_layers; i++)
        if (strcmp(f->layers[i].volume.name, name) == 0)
            return true;
    return false;
}

/* Volumes may be called like that by their owners, or since an earlier rebuild: of two of one name the pool would not start. */
static void name_by_layer(const struct found *f, struct found_layer *l)
{
    snprintf(l->name, sizeof(l->name), "recovered-%llu", (unsigned long long)l->layer);
    for (unsigned i = 2; is_told(f, l->name); i++)
        snprintf(l->name, sizeof(l->name), "recovered-%llu-%u", (unsigned long long)l->layer, i);
}

bool found_as_told(const struct found_layer *l) { return strcmp(l->name, l->volume.name) == 0; }

void found_name(struct found *f)
{
    for (size_t i = 0; i < f->nr_layers; i++) {
        struct found_layer *l = &f->layers[i];

        if (name_is_free(f, l))
            memcpy(l->name, l->volume.name, sizeof(l->name));
        else
            name_by_layer(f, l);
    }
}

/* ---- leaving out ---- */

static const struct found_layer *layer_find(const struct found *f, uint64_t layer)
{
    size_t lo = 0, hi = f->nr_layers;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;

        if (f->layers[mid].layer < layer)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < f->nr_layers && f->layers[lo].layer == layer ? &f->layers[lo] : NULL;
}

static bool stays(const struct found *f, uint64_t layer)
{
    const struct found_layer *l = layer_find(f, layer);

    return l != NULL && !l->left_out;
}

static int mark(struct found *f, const char *name)
{
    for (size_t i = 0; i < f->nr_layers; i++)
        if (strcmp(f->layers[i].name, name) == 0) {
            f->layers[i].left_out = true;
            return 0;
        }
    return -FIRN_E_NOT_FOUND;
}

static void drop_records(const struct found *f, struct log_rec *v, size_t *nr)
{
    size_t n = 0;

    for (size_t i = 0; i < *nr; i++)
        if (stays(f, v[i].layer))
            v[n++] = v[i];
    *nr = n;
}

static void drop_layers(struct found *f)
{
    size_t n = 0;

    for (size_t i = 0; i < f->nr_layers; i++)
        if (!f->layers[i].left_out)
            f->layers[n++] = f->layers[i];
    f->nr_layers = n;
}

static void drop_extents(struct found *f)
{
    size_t n = 0;

    for (size_t i = 0; i < f->nr_exts; i++)
        if (stays(f, f->exts[i].layer))
            f->exts[n++] = f->exts[i];
    f->nr_exts = n;
}

int found_leave_out(struct found *f, const struct tier_opts *opts, struct strbuf *out, char why[static 256])
{
    if (opts->nr_rebuild_without == 0)
        return 0;
    for (uint32_t i = 0; i < opts->nr_rebuild_without; i++)
        if (mark(f, opts->rebuild_without[i]) != 0) {
            found_say(f, out);
            snprintf(why, 256, "no volume \"%.100s\" was found to leave out", opts->rebuild_without[i]);
            return -FIRN_E_NOT_FOUND;
        }
    for (size_t i = 0; i < f->nr_layers; i++)
        if (f->layers[i].left_out)
            strbuf_add(out, "left out: volume name=%s bytes=%llu extents=%u\n", f->layers[i].name,
                       (unsigned long long)found_bytes(&f->layers[i]), f->layers[i].extents);
    drop_records(f, f->o->recs, &f->o->nr_recs);
    drop_records(f, f->o->lost, &f->o->nr_lost);
    drop_extents(f);
    drop_layers(f);
    return 0;
}

/* ---- room ---- */

static int extent_order(const void *pa, const void *pb)
{
    const struct found_extent *a = pa, *b = pb;

    return order_in_layer(a->layer, a->extent, b->layer, b->extent);
}

/* An extent that was found has a place. */
static bool unplaced(void *ctx, uint64_t layer, uint64_t extent, uint64_t seq)
{
    const struct found *f = ctx;
    struct found_extent key = {.layer = layer, .extent = extent};

    (void)seq;
    return f->nr_exts == 0 || bsearch(&key, f->exts, f->nr_exts, sizeof(key), extent_order) == NULL;
}

static void needs(void *ctx, uint64_t layer)
{
    struct found_layer *l = (struct found_layer *)(uintptr_t)layer_find(ctx, layer);

    if (l != NULL) /* damage may name one of which nothing is left */
        l->log_extents++;
}

int found_need(struct found *f, uint64_t *need)
{
    struct space_ask ask = {.ctx = f, .unplaced = unplaced, .needs = needs};
    int err = offline_space(f->o, &ask);

    *need = 0;
    for (size_t i = 0; i < f->nr_layers; i++)
        *need += f->layers[i].log_extents;
    return err;
}

void found_say(const struct found *f, struct strbuf *out)
{
    for (size_t i = 0; i < f->nr_layers; i++)
        strbuf_add(out, "volume name=%s bytes=%llu extents=%u log_extents=%u\n", f->layers[i].name,
                   (unsigned long long)found_bytes(&f->layers[i]), f->layers[i].extents, f->layers[i].log_extents);
}
