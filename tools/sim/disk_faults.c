/* SPDX-License-Identifier: Apache-2.0 */
/* disk_faults.c: what is wrong with a simulated device: sectors that read as something else than what lies beneath (overlays), requests
 * that are to fail; and how it is healed. */
#include "tools/sim/disk.h"

#include <stdlib.h>

/* ---- overlays ---- */

struct disk_overlay **overlay_find(struct sim_disk *d, uint64_t sector)
{
    struct disk_overlay **o = &d->overlay[sector % OVERLAY_BUCKETS];

    while (*o != NULL && (*o)->sector != sector)
        o = &(*o)->next;
    return o;
}

struct disk_overlay *overlay_get(struct sim_disk *d, uint64_t sector, enum overlay_kind kind, enum sim_fault why)
{
    struct disk_overlay **o = overlay_find(d, sector);

    if (*o == NULL) {
        *o = calloc(1, sizeof(**o));
        assert(*o != NULL);
        (*o)->sector = sector;
    }
    (*o)->kind = kind;
    (*o)->fault = why;
    (*o)->seen = false;
    return *o;
}

void overlay_lift(struct sim_disk *d, uint64_t off, uint64_t len)
{
    for (uint64_t s = off / SECTOR_BYTES; s < (off + len) / SECTOR_BYTES; s++) {
        struct disk_overlay **o = overlay_find(d, s), *gone = *o;

        if (gone != NULL) {
            *o = gone->next;
            free(gone);
        }
    }
}

void overlay_lift_all(struct sim_disk *d)
{
    for (uint32_t i = 0; i < OVERLAY_BUCKETS; i++) {
        while (d->overlay[i] != NULL) {
            struct disk_overlay *o = d->overlay[i];

            d->overlay[i] = o->next;
            free(o);
        }
    }
}

/* The sector keeps reading as it does now, whatever is written beneath. */
void overlay_freeze(struct sim_disk *d, uint64_t off, uint64_t len, enum sim_fault why)
{
    for (uint64_t at = off; at < off + len; at += SECTOR_BYTES) {
        uint8_t old[SECTOR_BYTES];
        struct disk_overlay *o;

        if (*overlay_find(d, at / SECTOR_BYTES) != NULL)
            continue; /* already bad: stays bad in its way */
        disk_get_cur(d, at, old, SECTOR_BYTES);
        o = overlay_get(d, at / SECTOR_BYTES, OVERLAY_BYTES, why);
        memcpy(o->b, old, SECTOR_BYTES);
    }
}

int overlay_apply(struct sim_disk *d, struct disk_overlay *o, uint8_t *sector)
{
    bool differs = true;

    switch (o->kind) {
    case OVERLAY_ROT:
        for (size_t i = 0; i < SECTOR_BYTES; i++)
            sector[i] ^= o->b[i];
        break;
    case OVERLAY_BYTES:
        differs = memcmp(sector, o->b, SECTOR_BYTES) != 0;
        memcpy(sector, o->b, SECTOR_BYTES);
        break;
    case OVERLAY_LATENT:
    case OVERLAY_NONE:
        break;
    }
    if (differs && !o->seen) {
        o->seen = true;
        sim_fault_mattered(d->sim, o->fault);
    }
    return o->kind == OVERLAY_LATENT ? -EIO : 0;
}

/* ---- faults ---- */

struct sim_disk_faults *sim_disk_faults(struct sim_disk *d) { return &d->faults; }

void sim_disk_fail_nth(struct sim_disk *d, enum dev_op op, uint32_t n, uint32_t count)
{
    d->fail[op].in = n;
    d->fail[op].count = count;
}

void sim_disk_rot(struct sim_disk *d, uint64_t off_bytes)
{
    enum sim_fault why = d->opts.capacity ? SIM_ROT_CAPACITY : SIM_ROT_JOURNAL;
    struct disk_overlay *o;

    if (off_bytes < MIB || off_bytes >= d->opts.size_bytes - MIB)
        why = SIM_ROT_LABEL; /* a mebibyte at both ends is the labels' */
    o = overlay_get(d, off_bytes / SECTOR_BYTES, OVERLAY_ROT, why);
    memset(o->b, 0, SECTOR_BYTES);
    for (uint64_t bits = sim_between(d->sim, 1, 8); bits != 0; bits--) {
        uint64_t bit = sim_below(d->sim, SECTOR_BYTES * 8);

        o->b[bit / 8] = (uint8_t)(o->b[bit / 8] | 1u << bit % 8);
    }
    sim_fault_fired(d->sim, why);
}

void sim_disk_latent(struct sim_disk *d, uint64_t off_bytes, uint64_t len_bytes)
{
    enum sim_fault why = d->opts.capacity ? SIM_LATENT_CAPACITY : SIM_LATENT_JOURNAL;

    for (uint64_t s = off_bytes / SECTOR_BYTES; s < ROUND_UP(off_bytes + len_bytes, SECTOR_BYTES) / SECTOR_BYTES; s++)
        overlay_get(d, s, OVERLAY_LATENT, why);
    sim_fault_fired(d->sim, why);
}

void sim_disk_heal(struct sim_disk *d)
{
    overlay_lift_all(d);
    memset(&d->faults, 0, sizeof(d->faults));
    memset(d->fail, 0, sizeof(d->fail));
    list_for_each(n, &d->inflight) {
        struct sim_req *r = list_entry(n, struct sim_req, node);

        if (r->hung) {
            r->hung = false;
            sim_at(d->sim, &r->ev, d->sim->now_ns + sim_below(d->sim, NS_PER_MS));
        }
    }
}

void sim_disk_heal_range(struct sim_disk *d, uint64_t off_bytes, uint64_t len_bytes)
{
    for (uint64_t at = off_bytes; at < off_bytes + len_bytes; at += SECTOR_BYTES) {
        const struct disk_overlay *o = *overlay_find(d, at / SECTOR_BYTES);

        if (o != NULL && o->kind != OVERLAY_LATENT)
            overlay_lift(d, at, SECTOR_BYTES);
    }
}

bool sim_disk_faulty(struct sim_disk *d, uint64_t off_bytes, uint64_t len_bytes)
{
    for (uint64_t at = off_bytes; at < off_bytes + len_bytes; at += SECTOR_BYTES)
        if (*overlay_find(d, at / SECTOR_BYTES) != NULL)
            return true;
    return false;
}
