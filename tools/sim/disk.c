/* SPDX-License-Identifier: Apache-2.0 */
/* disk.c: the bytes of a simulated device: two images a page, writes that are not yet safe, overlays for bad sectors.
 *
 * 1. A write that finishes goes into `cur`, and into `dur` when it is durable, else it waits in `unsafe` and the images part.
 * 2. A flush moves what had finished before it was asked for into `dur`, in order of finishing.
 * 3. A read takes `cur` and lays the overlays over it.
 * 4. crash.c decides what of `unsafe` reaches `dur`; then `cur` is `dur`.
 */
#include "tools/sim/dev_sim.h"

#include <stdlib.h>

/* ---- pages ---- */

static void page_fresh(const struct sim_disk *d, uint64_t no, uint8_t *buf)
{
    uint64_t z = no * UINT64_C(0x9e3779b97f4a7c15) + 1;

    if (!d->opts.garbage) {
        memset(buf, 0, BLOCK_BYTES);
        return;
    }
    for (size_t i = 0; i < BLOCK_BYTES; i += 8) {
        z ^= z << 13;
        z ^= z >> 7;
        z ^= z << 17;
        memcpy(buf + i, &z, 8);
    }
}

static bool all_zero(const uint8_t *p, size_t n)
{
    return n == 0 || (p[0] == 0 && memcmp(p, p + 1, n - 1) == 0);
}

/* What disks that are gone leave to the next: worlds are born and die by the thousand, and fresh memory costs more than what they do. */
static union disk_image *spare;

static union disk_image *image_new(void)
{
    union disk_image *m = spare;

    if (m != NULL)
        spare = m->next;
    else
        m = malloc(sizeof(*m));
    assert(m != NULL);
    return m;
}

static void image_free(union disk_image *m)
{
    if (m == NULL)
        return;
    m->next = spare;
    spare = m;
}

static struct disk_page *page_get(struct sim_disk *d, uint64_t off)
{
    struct disk_page *p = &d->pages[off / BLOCK_BYTES];

    assert(off / BLOCK_BYTES < d->nr_pages);
    if (p->cur == NULL) {
        p->cur = image_new();
        page_fresh(d, off / BLOCK_BYTES, p->cur->b);
    }
    return p;
}

static void page_split(struct sim_disk *d, struct disk_page *p)
{
    if (p->dur != NULL)
        return;
    p->dur = image_new();
    memcpy(p->dur, p->cur, BLOCK_BYTES);
    d->nr_split++;
}

static void page_join(struct sim_disk *d, struct disk_page *p)
{
    if (p->dur == NULL)
        return;
    image_free(p->dur);
    p->dur = NULL;
    d->nr_split--;
}

static bool page_can_stay_absent(const struct sim_disk *d, uint64_t off, const uint8_t *data, size_t len)
{
    return d->pages[off / BLOCK_BYTES].cur == NULL && !d->opts.garbage && all_zero(data, len);
}

enum image { IMAGE_BOTH, IMAGE_CUR, IMAGE_DUR }; /* what a reader sees now, and what a power failure leaves */

static void page_put(struct sim_disk *d, struct disk_page *p, uint64_t at, const uint8_t *data, uint64_t n, enum image where)
{
    if (where != IMAGE_BOTH)
        page_split(d, p);
    if (where != IMAGE_CUR && p->dur != NULL)
        memcpy(p->dur->b + at, data, n);
    if (where != IMAGE_DUR)
        memcpy(p->cur->b + at, data, n);
}

static void put(struct sim_disk *d, uint64_t off, const uint8_t *data, uint64_t len, enum image where)
{
    for (uint64_t n; len != 0; off += n, data += n, len -= n) {
        struct disk_page *p;

        n = MIN(len, BLOCK_BYTES - off % BLOCK_BYTES);
        if (page_can_stay_absent(d, off, data, n))
            continue;
        p = page_get(d, off);
        page_put(d, p, off % BLOCK_BYTES, data, n, where);
    }
}

void disk_page_dur(struct sim_disk *d, uint64_t off, const uint8_t *data, uint64_t len) { put(d, off, data, len, IMAGE_DUR); }

static void join_what_is_safe(struct sim_disk *d, uint64_t off, uint64_t len)
{
    for (uint64_t i = off / BLOCK_BYTES; i < ROUND_UP(off + len, BLOCK_BYTES) / BLOCK_BYTES; i++) {
        struct disk_page *p = &d->pages[i];

        if (p->dur != NULL && memcmp(p->cur, p->dur, BLOCK_BYTES) == 0)
            page_join(d, p);
    }
}

void disk_cur_is_dur(struct sim_disk *d)
{
    for (struct disk_page *p = d->pages; d->nr_split != 0; p++) {
        if (p->dur == NULL)
            continue;
        memcpy(p->cur, p->dur, BLOCK_BYTES);
        page_join(d, p);
    }
}

void disk_get_cur(struct sim_disk *d, uint64_t off, uint8_t *buf, uint64_t len)
{
    for (uint64_t n; len != 0; off += n, buf += n, len -= n) {
        const struct disk_page *p = &d->pages[off / BLOCK_BYTES];

        n = MIN(len, BLOCK_BYTES - off % BLOCK_BYTES);
        if (p->cur == NULL && d->opts.garbage) {
            p = page_get(d, off);
            sim_fault_mattered(d->sim, SIM_GARBAGE);
        }
        if (p->cur == NULL)
            memset(buf, 0, n);
        else
            memcpy(buf, p->cur->b + off % BLOCK_BYTES, n);
    }
}

/* ---- what requests do ---- */

int disk_read(struct sim_disk *d, uint64_t off, uint8_t *buf, uint64_t len)
{
    int err = 0;

    disk_get_cur(d, off, buf, len);
    for (uint64_t at = 0; at < len; at += SECTOR_BYTES) {
        struct disk_overlay *o = *overlay_find(d, (off + at) / SECTOR_BYTES);

        if (o != NULL && overlay_apply(d, o, buf + at) != 0)
            err = -EIO;
    }
    return err;
}

void disk_unsafe_free(struct disk_unsafe *u)
{
    list_remove(&u->node);
    free(u->data);
    free(u->dead);
    free(u);
}

/* A durable write of a range: what waited for it can no longer come back over it. */
static void unsafe_kill(struct sim_disk *d, uint64_t off, uint64_t len)
{
    list_for_each(n, &d->unsafe) {
        struct disk_unsafe *u = list_entry(n, struct disk_unsafe, node);
        uint64_t from = MAX(off, u->off), to = MIN(off + len, u->off + u->len);

        for (uint64_t at = from; at < to; at += SECTOR_BYTES)
            u->dead[(at - u->off) / SECTOR_BYTES] = 1;
    }
}

static void unsafe_add(struct sim_disk *d, uint64_t off, const uint8_t *data, uint64_t len, bool lied)
{
    struct disk_unsafe *u = calloc(1, sizeof(*u));

    assert(u != NULL);
    u->off = off;
    u->len = len;
    u->seq = ++d->write_seq;
    u->data = malloc(len);
    u->dead = calloc(len / SECTOR_BYTES, 1);
    assert(u->data != NULL && u->dead != NULL);
    memcpy(u->data, data, len);
    u->lied = lied;
    list_push_back(&d->unsafe, &u->node);
}

static void write_beneath(struct sim_disk *d, uint64_t off, const uint8_t *data, uint64_t len, bool durable)
{
    bool lie = durable && d->faults.lying_flush;

    put(d, off, data, len, durable && !lie ? IMAGE_BOTH : IMAGE_CUR);
    if (durable && !lie)
        unsafe_kill(d, off, len);
    else
        unsafe_add(d, off, data, len, lie);
    if (lie)
        sim_fault_fired(d->sim, SIM_LYING_FLUSH);
}

void disk_write(struct sim_disk *d, uint64_t off, const uint8_t *data, uint64_t len, bool durable)
{
    overlay_lift(d, off, len);
    write_beneath(d, off, data, len, durable);
}

void disk_write_lost(struct sim_disk *d, uint64_t off, const uint8_t *data, uint64_t len, bool durable, enum sim_fault why)
{
    overlay_freeze(d, off, len, why);
    write_beneath(d, off, data, len, durable); /* beneath the overlay: healing brings it back */
}

void disk_write_foreign(struct sim_disk *d, uint64_t off, const uint8_t *data, uint64_t len)
{
    for (uint64_t at = 0; at < len; at += SECTOR_BYTES) {
        struct disk_overlay *o = overlay_get(d, (off + at) / SECTOR_BYTES, OVERLAY_BYTES, SIM_MISDIRECTED_WRITE);

        memcpy(o->b, data + at, SECTOR_BYTES);
    }
}

void disk_flush(struct sim_disk *d, uint64_t up_to_seq)
{
    if (d->faults.lying_flush) {
        sim_fault_fired(d->sim, SIM_LYING_FLUSH);
        list_for_each(n, &d->unsafe) list_entry(n, struct disk_unsafe, node)->lied = true;
        return;
    }
    list_for_each_safe(n, tmp, &d->unsafe) {
        struct disk_unsafe *u = list_entry(n, struct disk_unsafe, node);

        if (u->seq > up_to_seq)
            break;
        for (uint64_t at = 0; at < u->len && !u->doomed; at += SECTOR_BYTES)
            if (!u->dead[at / SECTOR_BYTES])
                disk_page_dur(d, u->off + at, u->data + at, SECTOR_BYTES);
        join_what_is_safe(d, u->off, u->len);
        disk_unsafe_free(u);
    }
}

/* The kernel calls pages clean after a failed flush: half of them are not there and no later flush brings them. */
void disk_flush_failed(struct sim_disk *d, uint64_t up_to_seq)
{
    list_for_each(n, &d->unsafe) {
        struct disk_unsafe *u = list_entry(n, struct disk_unsafe, node);

        if (u->seq <= up_to_seq && sim_chance(d->sim, 500000))
            u->doomed = true;
    }
}

/* ---- life, faults, looking in ---- */

static void disk_unheard(struct sim_crash_hook *h) { sim_disk_unheard(container_of(h, struct sim_disk, hook)); }

static void disk_crashed(struct sim_crash_hook *h)
{
    disk_crash(container_of(h, struct sim_disk, hook));
}

struct sim_disk *sim_disk_new(struct sim *s, const char *name, const struct sim_disk_opts *opts)
{
    struct sim_disk *d = calloc(1, sizeof(*d));

    assert(d != NULL);
    assert(opts->block_bytes == 512 || opts->block_bytes == 4096);
    assert(opts->torn_bytes == 8 || opts->torn_bytes == 64 || opts->torn_bytes == 512 || opts->torn_bytes == 4096);
    assert(opts->size_bytes % opts->block_bytes == 0);
    d->sim = s;
    d->opts = *opts;
    if (d->opts.latency_max_ns == 0) {
        d->opts.latency_min_ns = 10 * NS_PER_US;
        d->opts.latency_max_ns = 80 * NS_PER_US;
    }
    memcpy(d->name, name, MIN(strlen(name), sizeof(d->name) - 1));
    list_init(&d->unsafe);
    list_init(&d->devs);
    list_init(&d->inflight);
    d->hook.fn = disk_crashed;
    d->hook.unheard = disk_unheard;
    sim_crash_hook_add(s, &d->hook);
    if (opts->garbage)
        sim_fault_fired(s, SIM_GARBAGE);
    d->opts.size_bytes = 0;
    sim_disk_grow(d, opts->size_bytes);
    return d;
}

void sim_disk_grow(struct sim_disk *d, uint64_t size_bytes)
{
    uint64_t nr = ROUND_UP(size_bytes, BLOCK_BYTES) / BLOCK_BYTES;

    assert(list_empty(&d->devs));
    assert(size_bytes >= d->opts.size_bytes);
    d->pages = realloc(d->pages, MAX(nr, 1u) * sizeof(*d->pages));
    assert(d->pages != NULL);
    memset(d->pages + d->nr_pages, 0, (nr - d->nr_pages) * sizeof(*d->pages));
    d->nr_pages = nr;
    d->opts.size_bytes = size_bytes;
}

void sim_disk_free(struct sim_disk *d)
{
    assert(list_empty(&d->devs));
    sim_crash_hook_remove(&d->hook);
    while (!list_empty(&d->unsafe))
        disk_unsafe_free(list_first(&d->unsafe, struct disk_unsafe, node));
    overlay_lift_all(d);
    for (uint64_t i = 0; i < d->nr_pages; i++) {
        image_free(d->pages[i].cur);
        image_free(d->pages[i].dur);
    }
    free(d->pages);
    free(d->bounce);
    free(d);
}

uint64_t sim_disk_size(const struct sim_disk *d) { return d->opts.size_bytes; }

bool sim_disk_pick_written(struct sim_disk *d, uint64_t from_bytes, uint64_t to_bytes, uint64_t *off_bytes)
{
    uint64_t first = from_bytes / BLOCK_BYTES, nr = MIN(to_bytes / BLOCK_BYTES, d->nr_pages) - first;
    uint64_t start = nr == 0 ? 0 : sim_below(d->sim, nr);

    for (uint64_t i = 0; i < nr; i++) {
        uint64_t page = first + (start + i) % nr;

        if (d->pages[page].cur == NULL)
            continue;
        *off_bytes = page * BLOCK_BYTES + sim_below(d->sim, BLOCK_BYTES / SECTOR_BYTES) * SECTOR_BYTES;
        return *off_bytes < d->opts.size_bytes;
    }
    return false;
}

void sim_disk_peek(struct sim_disk *d, uint64_t off_bytes, void *buf, size_t len_bytes)
{
    uint8_t *out = buf;

    for (size_t n; len_bytes != 0; off_bytes += n, out += n, len_bytes -= n) {
        const struct disk_page *p = page_get(d, off_bytes);

        n = MIN(len_bytes, BLOCK_BYTES - off_bytes % BLOCK_BYTES);
        memcpy(out, (p->dur != NULL ? p->dur : p->cur)->b + off_bytes % BLOCK_BYTES, n);
    }
}

void sim_disk_poke(struct sim_disk *d, uint64_t off_bytes, const void *buf, size_t len_bytes)
{
    overlay_lift(d, ROUND_DOWN(off_bytes, SECTOR_BYTES), ROUND_UP(off_bytes % SECTOR_BYTES + len_bytes, SECTOR_BYTES));
    put(d, off_bytes, buf, len_bytes, IMAGE_BOTH);
}
