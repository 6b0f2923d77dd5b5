/* SPDX-License-Identifier: Apache-2.0 */
/* damage.c: what hosts could not be given: a line in the log, and a table of the places, for the gauge and the alert.
 *
 * 1. A read that cannot answer a block notes it: neighbours of one kind and source join into one run, which is one line.
 * 2. The block enters the table, once; so does one that destage found and the map calls lost from then on, without a line.
 *    Blocks that the index itself calls damaged are counted by map.c, not here.
 * 3. A block leaves the table when it is written, zeroed or trimmed, when it reads well again, or with its volume.
 * Failures: more places than the table holds are not remembered, and the figure then is a lower bound (full). Lines
 * beyond LINES_MAX in WINDOW_NS are only counted; the next line that is written says how many they were.
 */
#include <stdio.h>

#include "base/log.h"
#include "tier/damage.h"

#define LINES_MAX 10u
#define WINDOW_NS (10 * NS_PER_S)

static uint16_t *bucket_of(struct damage *d, uint32_t layer, uint64_t block)
{
    return &d->bucket[((block + layer) * UINT64_C(0x9e3779b97f4a7c15)) >> (64 - DAMAGE_BITS)];
}

/* The link that points to the place, or the end of its chain. */
static uint16_t *link_of(struct damage *d, uint32_t layer, uint64_t block)
{
    uint16_t *at = bucket_of(d, layer, block);

    while (*at != 0 && !(d->place[*at].layer == layer && d->place[*at].block == block))
        at = &d->place[*at].next;
    return at;
}

static void set_nr(struct damage *d, uint32_t nr) { __atomic_store_n(&d->nr, nr, __ATOMIC_RELAXED); /* read by any thread */ }

void damage_note(struct damage *d, uint32_t layer, uint64_t block)
{
    uint16_t *at = link_of(d, layer, block), i = d->free;

    if (*at != 0)
        return;
    if (i == 0 && d->touched == DAMAGE_MAX) {
        __atomic_store_n(&d->full, true, __ATOMIC_RELAXED);
        return;
    }
    if (i != 0)
        d->free = d->place[i].next;
    else
        i = ++d->touched;
    d->place[i] = (struct damage_place){.block = block, .layer = layer};
    *at = i;
    set_nr(d, d->nr + 1);
}

static void drop(struct damage *d, uint16_t *at)
{
    uint16_t i = *at;

    *at = d->place[i].next;
    d->place[i] = (struct damage_place){.next = d->free};
    d->free = i;
    set_nr(d, d->nr - 1);
}

void damage_mended(struct damage *d, uint32_t layer, uint64_t block, uint32_t nblocks)
{
    for (uint32_t i = 0; i < nblocks && d->nr > 0; i++) {
        uint16_t *at = link_of(d, layer, block + i);

        if (*at != 0)
            drop(d, at);
    }
}

void damage_forget_layer(struct damage *d, uint32_t layer)
{
    for (uint32_t i = 1; i <= d->touched && d->nr > 0; i++)
        if (d->place[i].layer == layer)
            drop(d, link_of(d, layer, d->place[i].block));
}

/* ---- the log ---- */

static bool may_say(struct damage *d, uint64_t now_ns)
{
    if (d->lines == 0 || now_ns - d->window_ns >= WINDOW_NS) {
        d->window_ns = now_ns;
        d->lines = 0;
    }
    if (d->lines == LINES_MAX) {
        d->suppressed++;
        return false;
    }
    d->lines++;
    return true;
}

static const char *const kinds[] = {[DAMAGE_CHECKSUM] = "checksum", [DAMAGE_UNREADABLE] = "unreadable", [DAMAGE_LOST] = "lost",
                                    [DAMAGE_DEVICE] = "device"};
static const char *const causes[] = {
    [DAMAGE_CHECKSUM] = "what the device returned is not what was written there",
    [DAMAGE_UNREADABLE] = "the device answered the read with an error",
    [DAMAGE_LOST] = "the newest bytes were found to be lost before, and older ones are not given out",
    [DAMAGE_DEVICE] = "the device is missing, or does not answer",
};
static const char *const remedies[] = {
    [DAMAGE_CHECKSUM] = "write the blocks again or restore them; firnctl check --data names all damage once the server is stopped",
    [DAMAGE_UNREADABLE] = "see the kernel log; write the blocks again or restore them, replace the device if it goes on",
    [DAMAGE_LOST] = "write the blocks again or restore them; firnctl check --data names all damage once the server is stopped",
    [DAMAGE_DEVICE] = "see firnctl device list and the kernel log",
};

void damage_say(struct damage *d, uint64_t now_ns, const struct volume *v, const struct damage_run *u)
{
    uint64_t per = v != NULL ? BLOCK_BYTES / v->blk.lba_bytes : 1;
    char cause[LOG_QUOTED_BYTES], path[LOG_QUOTED_BYTES], where[LOG_QUOTED_BYTES + 64] = "";

    if (!may_say(d, now_ns))
        return;
    if (u->dev != NULL)
        snprintf(where, sizeof(where), " device=%s offset=%llu", log_quoted(u->dev->path, path), (unsigned long long)u->off_bytes);
    log_warn("a read met damage",
             "volume=%s lba=%llu lbas=%llu kind=%s%s bytes=%llu why=\"%s\" error=%s do=\"%s\" suppressed=%llu",
             v != NULL ? v->name : "", (unsigned long long)(u->block * per), (unsigned long long)(u->nblocks * per), kinds[u->kind],
             where, (unsigned long long)u->nblocks * BLOCK_BYTES, causes[u->kind], log_quoted(err_text(u->err), cause), remedies[u->kind],
             (unsigned long long)d->suppressed);
    d->suppressed = 0;
}

bool damage_joins(const struct damage_run *u, const struct damage_run *next)
{
    return u->nblocks > 0 && u->kind == next->kind && u->dev == next->dev && u->err == next->err &&
           u->block + u->nblocks == next->block &&
           (u->dev == NULL || u->off_bytes + (uint64_t)u->nblocks * BLOCK_BYTES == next->off_bytes);
}
