/* SPDX-License-Identifier: Apache-2.0 */
/* scan.c: finds the groups of a segment that has no summary.
 *
 * From group to group, reading headers and skipping payload; where no header of the segment's epoch verifies, every place
 * where one might begin is tried, to the segment's end. Bytes that cannot be read count as damaged. All of it twice: what
 * either pass found is there, so a read that went astray does not end the log.
 */
#include <errno.h>
#include <stdlib.h>

#include "journal/priv.h"

#define HOP_BYTES  (64u * 1024u) /* read at once while headers follow each other */
#define SEEK_BYTES (1u << 20)    /* ... while searching */

static int read_again(struct dev *d, uint64_t off_bytes, void *buf, size_t len)
{
    int err = -EIO;

    for (uint32_t i = 1; i < JRN_READS && err != 0 && err != -FIRN_E_STOPPED && err != -ENOMEM; i++)
        err = dev_read_sync(d, off_bytes, buf, len);
    return err;
}

int read_soft(struct dev *d, uint64_t off_bytes, void *buf, size_t len, bool *unreadable)
{
    int err = dev_read_sync(d, off_bytes, buf, len);

    *unreadable = false;
    if (err == 0 || err == -FIRN_E_STOPPED || err == -ENOMEM)
        return err;
    for (size_t done = 0; done < len; done += BLOCK_BYTES) {
        err = read_again(d, off_bytes + done, (char *)buf + done, MIN(len - done, (size_t)BLOCK_BYTES));
        if (err == -FIRN_E_STOPPED || err == -ENOMEM)
            return err;
        if (err) {
            memset((char *)buf + done, 0, MIN(len - done, (size_t)BLOCK_BYTES));
            *unreadable = true;
        }
    }
    return 0;
}

struct window {               /* the part of the segment that is in memory */
    struct dev *d;
    const struct segpool_geometry *geo;
    uint32_t segment;
    uint64_t off;
    size_t   len;
    uint8_t *buf;
};

/* The bytes at off: as many as a header may have, less at the segment's end. */
static int window_at(struct window *w, uint64_t off, size_t read_bytes, const uint8_t **at, size_t *len)
{
    uint64_t limit = jrn_footer_off(w->geo);
    uint64_t need = MIN(off + JRN_GROUP_HEADER_MAX, limit);

    if (off < w->off || need > w->off + w->len) {
        bool unreadable;
        int err;

        w->off = ROUND_DOWN(off, (uint64_t)BLOCK_BYTES);
        w->len = (size_t)MIN((uint64_t)read_bytes, limit - w->off);
        err = read_soft(w->d, segment_base(w->geo, w->segment) + w->off, w->buf, w->len, &unreadable);
        if (err)
            return err;
    }
    *at = w->buf + (off - w->off);
    *len = (size_t)(MIN(w->off + w->len, limit) - off);
    return 0;
}

static int scan_add(struct scan *s, uint64_t off, const struct jrn_group *g)
{
    uint32_t bytes = jrn_group_header_bytes(g->nr_records, g->nr_echo, g->nr_sums);
    uint8_t *raw;

    if (s->nr == s->cap) {
        uint32_t cap = s->cap ? 2 * s->cap : 64;
        struct scan_group *v = realloc(s->v, cap * sizeof(*v));

        if (!v)
            return -ENOMEM;
        s->v = v;
        s->cap = cap;
    }
    raw = malloc(bytes);
    if (!raw)
        return -ENOMEM;
    memcpy(raw, g->raw, bytes);
    s->v[s->nr] = (struct scan_group){.off = off, .g = *g};
    s->v[s->nr++].g.raw = raw;
    return 0;
}

/* Whether a header that does not verify was meant to be one of this epoch: only then was anything torn here. */
static bool looks_begun(const uint8_t *at, size_t len, uint64_t epoch)
{
    return len >= JRN_FIXED_BYTES && jrn_group_magic(at) && jrn_group_epoch_peek(at) == epoch;
}

static int scan_window(struct window *w, uint64_t epoch, struct scan *out)
{
    uint64_t limit = jrn_footer_off(w->geo);
    size_t read_bytes = HOP_BYTES;
    uint64_t off = JRN_SEG_HEADER_BYTES;

    while (off + w->geo->align_bytes <= limit) {
        struct jrn_group g;
        const uint8_t *at;
        size_t len;
        int err = window_at(w, off, read_bytes, &at, &len);

        if (err)
            return err;
        if (jrn_group_magic(at) && jrn_group_decode(w->geo, w->segment, off, at, len, &g) == 0) {
            err = scan_add(out, off, &g);
            if (err)
                return err;
            if (g.epoch == epoch) {
                off += jrn_group_padded_bytes(w->geo, &g) + (uint64_t)g.nr_blocks * BLOCK_BYTES;
                read_bytes = HOP_BYTES;
                out->torn_end = false;
                continue;
            }
        } else if (read_bytes == HOP_BYTES) {
            out->torn_end = looks_begun(at, len, epoch);
        }
        off += w->geo->align_bytes;
        read_bytes = SEEK_BYTES;
    }
    return 0;
}

static int scan_once(struct dev *d, const struct segpool_geometry *geo, uint32_t segment, uint64_t epoch, struct scan *out)
{
    struct window w = {.d = d, .geo = geo, .segment = segment};
    int err;

    w.buf = aligned_alloc(BLOCK_BYTES, SEEK_BYTES);
    if (!w.buf)
        return -ENOMEM;
    err = scan_window(&w, epoch, out);
    free(w.buf);
    return err;
}

static void take(struct scan *to, struct scan_group *g, uint64_t covered)
{
    if (g->off >= covered)
        to->v[to->nr++] = *g;
    else
        free((void *)(uintptr_t)g->g.raw); /* found by a search through the payload of one that a read had hidden */
}

int scan_join(const struct segpool_geometry *geo, uint64_t epoch, struct scan *a, struct scan *b)
{
    struct scan out = {.cap = a->nr + b->nr, .torn_end = a->torn_end && b->torn_end};
    uint64_t covered = 0; /* by what was taken last: its own offset, and its payload if that was skipped over */
    uint32_t i = 0, k = 0;

    a->torn_end = out.torn_end;
    if (out.cap == 0)
        return 0;
    out.v = malloc(out.cap * sizeof(*out.v));
    if (!out.v)
        return -ENOMEM;
    while (i < a->nr || k < b->nr) {
        bool from_a = k == b->nr || (i < a->nr && a->v[i].off <= b->v[k].off);
        struct scan_group *g = from_a ? &a->v[i++] : &b->v[k++];
        const struct scan_group *last;

        take(&out, g, covered);
        last = &out.v[out.nr - 1];
        covered = last->off + 1;
        if (last->g.epoch == epoch)
            covered = last->off + jrn_group_padded_bytes(geo, &last->g) + (uint64_t)last->g.nr_blocks * BLOCK_BYTES;
    }
    free(a->v);
    free(b->v);
    *a = out;
    *b = (struct scan){0};
    return 0;
}

int scan_segment(struct dev *d, const struct segpool_geometry *geo, uint32_t segment, uint64_t epoch, struct scan *out)
{
    struct scan again = {0};
    int err = scan_once(d, geo, segment, epoch, out);

    if (!err)
        err = scan_once(d, geo, segment, epoch, &again);
    if (!err)
        err = scan_join(geo, epoch, out, &again);
    scan_free(&again);
    return err;
}

void scan_free(struct scan *s)
{
    for (uint32_t i = 0; i < s->nr; i++)
        free((void *)(uintptr_t)s->v[i].g.raw);
    free(s->v);
    *s = (struct scan){0};
}
