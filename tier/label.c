/* SPDX-License-Identifier: Apache-2.0 */
/* label.c: three copies of a label on each device; and the signatures of those who may have been there before.
 *
 * Reading: every copy is decoded; the valid one with the highest generation wins; the others are to be rewritten.
 * Failures: a copy from a newer program ends everything, so that an older one never writes to such a device.
 */
#include "tier/label.h"

#include <errno.h>
#include <stdlib.h>

#include "tier/tier.h"

#define WIPE_STEP (64u * 1024u)

static uint64_t copy_offset(uint64_t bytes, unsigned i)
{
    return i < LABEL_COPIES - 1 ? (uint64_t)i * LABEL_BYTES : ROUND_DOWN(bytes, LABEL_BYTES) - LABEL_BYTES;
}

static void *aligned(size_t bytes)
{
    void *p = aligned_alloc(4096, bytes);

    if (p != NULL)
        memset(p, 0, bytes);
    return p;
}

static int choose(const struct label *labels, struct label_copies *copies, struct label *out)
{
    int best = -1, err = -FIRN_E_NOT_FIRN;

    for (unsigned i = 0; i < LABEL_COPIES; i++) {
        if (copies->err[i] == -FIRN_E_FORMAT_VERSION)
            return copies->err[i];
        if (copies->err[i] == 0 && (best < 0 || labels[i].generation > labels[best].generation))
            best = (int)i;
        if (copies->err[i] != 0 && (err == -FIRN_E_NOT_FIRN || copies->err[i] == -FIRN_E_CORRUPT))
            err = copies->err[i];
    }
    if (best < 0)
        return err;
    *out = labels[best];
    for (unsigned i = 0; i < LABEL_COPIES; i++)
        if (copies->err[i] != 0 || memcmp(&labels[i].device, &out->device, sizeof(out->device)) != 0 ||
            labels[i].generation != out->generation)
            copies->stale |= 1u << i;
    return 0;
}

int label_read(struct dev *d, uint64_t bytes, struct label *out, struct label_copies *copies)
{
    struct label labels[LABEL_COPIES];
    void *buf = aligned(LABEL_BYTES);

    memset(copies, 0, sizeof(*copies));
    memset(labels, 0, sizeof(labels));
    if (buf == NULL)
        return -ENOMEM;
    for (unsigned i = 0; i < LABEL_COPIES; i++) {
        copies->err[i] = bytes < 2 * LABEL_AREA_BYTES
                             ? -FIRN_E_NOT_FIRN
                             : dev_read_sync(d, copy_offset(bytes, i), buf, LABEL_BYTES);
        if (copies->err[i] == 0)
            copies->err[i] = label_decode(buf, &labels[i]);
    }
    free(buf);
    return choose(labels, copies, out);
}

int label_write(struct dev *d, uint64_t bytes, const struct label *l, unsigned stale)
{
    void *buf = aligned(LABEL_BYTES);
    int err = 0;

    if (buf == NULL)
        return -ENOMEM;
    label_encode(l, buf);
    for (unsigned i = 0; i < LABEL_COPIES && !err; i++)
        if (stale >> i & 1)
            err = dev_write_sync(d, copy_offset(bytes, i), buf, LABEL_BYTES, 0);
    if (!err && stale != 0)
        err = dev_flush_sync(d);
    for (unsigned i = 0; i < LABEL_COPIES && !err; i++) {
        if (stale >> i & 1)
            continue;
        err = dev_write_sync(d, copy_offset(bytes, i), buf, LABEL_BYTES, 0);
        if (!err)
            err = dev_flush_sync(d);
    }
    free(buf);
    return err;
}

int label_wipe(struct dev *d, uint64_t bytes)
{
    void *buf = aligned(WIPE_STEP);
    uint64_t end = ROUND_DOWN(bytes, LABEL_BYTES) - LABEL_AREA_BYTES;
    int err = 0;

    if (buf == NULL)
        return -ENOMEM;
    for (uint64_t off = 0; off < LABEL_AREA_BYTES && !err; off += WIPE_STEP) {
        err = dev_write_sync(d, off, buf, WIPE_STEP, 0);
        if (!err)
            err = dev_write_sync(d, end + off, buf, WIPE_STEP, 0);
    }
    free(buf);
    return err ? err : dev_flush_sync(d);
}

/* ---- who else may have been there ---- */

struct signature { const char *name; uint32_t off; uint8_t len; const char *bytes; };

static const struct signature signatures[] = {
    {"a Firn label", 8, 8, "FIRNLABL"},
    {"an ext2/3/4 file system", 0x438, 2, "\x53\xef"},
    {"an XFS file system", 0, 4, "XFSB"},
    {"a Btrfs file system", 0x10040, 8, "_BHRfS_M"},
    {"an F2FS file system", 0x400, 4, "\x10\x20\xf5\xf2"},
    {"an NTFS file system", 3, 8, "NTFS    "},
    {"a FAT file system", 82, 5, "FAT32"},
    {"a FAT file system", 54, 5, "FAT16"},
    {"an exFAT file system", 3, 8, "EXFAT   "},
    {"an ISO 9660 image", 0x8001, 5, "CD001"},
    {"a SquashFS image", 0, 4, "hsqs"},
    {"an EROFS image", 0x400, 4, "\xe2\xe1\xf5\xe0"},
    {"swap space", 4086, 10, "SWAPSPACE2"},
    {"an LVM physical volume", 0x200, 8, "LABELONE"},
    {"a LUKS container", 0, 6, "LUKS\xba\xbe"},
    {"an MD RAID member", 0x1000, 4, "\xfc\x4e\x2b\xa9"},
    {"an MD RAID member", 0, 4, "\xfc\x4e\x2b\xa9"},
    {"a bcache device", 0x1018, 16, "\xc6\x85\x73\xf6\x4e\x1a\x45\xca\x82\x65\xf5\x7f\x48\xba\x6d\x81"},
    {"a Ceph BlueStore device", 0, 22, "bluestore block device"},
    {"a GPT partition table", 512, 8, "EFI PART"},
    {"a GPT partition table", 4096, 8, "EFI PART"},
    {"a partition table", 510, 2, "\x55\xaa"},
};

static const char *find_signature(const uint8_t *head, size_t len)
{
    for (size_t i = 0; i < ARRAY_LEN(signatures); i++) {
        const struct signature *s = &signatures[i];

        if (s->off + (size_t)s->len <= len && memcmp(head + s->off, s->bytes, s->len) == 0)
            return s->name;
    }
    return NULL;
}

static bool is_zero(const uint8_t *p, size_t n)
{
    return n == 0 || (p[0] == 0 && memcmp(p, p + 1, n - 1) == 0);
}

/* The backup of a GPT stands in the last sector, an MD superblock of version 1.0 or 0.90 near the end. */
static const char *find_tail_signature(const uint8_t *tail, size_t len)
{
    for (size_t off = 0; off + 512 <= len; off += 512)
        if (memcmp(tail + off, "EFI PART", 8) == 0)
            return "the backup of a GPT partition table";
        else if (memcmp(tail + off, "\xfc\x4e\x2b\xa9", 4) == 0)
            return "an MD RAID member";
        else if (off % 4096 == 0 && memcmp(tail + off + 8, "FIRNLABL", 8) == 0)
            return "a Firn label";
    return NULL;
}

const char *label_foreign(struct dev *d, uint64_t bytes, int *err)
{
    uint8_t *buf = aligned(LABEL_AREA_BYTES);
    const char *found = NULL;

    *err = buf == NULL ? -ENOMEM : bytes < 2 * LABEL_AREA_BYTES ? -FIRN_E_INVALID : 0;
    if (!*err)
        *err = dev_read_sync(d, 0, buf, LABEL_AREA_BYTES);
    if (!*err) {
        found = find_signature(buf, LABEL_AREA_BYTES);
        if (found == NULL && !is_zero(buf, LABEL_AREA_BYTES))
            found = "unknown data";
    }
    if (!*err && (found == NULL || strcmp(found, "unknown data") == 0)) {
        *err = dev_read_sync(d, ROUND_DOWN(bytes, LABEL_BYTES) - LABEL_AREA_BYTES, buf, LABEL_AREA_BYTES);
        if (!*err && find_tail_signature(buf, LABEL_AREA_BYTES) != NULL)
            found = find_tail_signature(buf, LABEL_AREA_BYTES);
        else if (!*err && found == NULL && !is_zero(buf, LABEL_AREA_BYTES))
            found = "unknown data";
    }
    free(buf);
    return found;
}

void label_print(struct strbuf *out, const struct label *l)
{
    static const char *const roles[] = {[TIER_JOURNAL] = "journal", [TIER_CACHE] = "cache", [TIER_CAPACITY] = "capacity"};
    char pool[UUID_TEXT_CHARS + 1], device[UUID_TEXT_CHARS + 1];

    strbuf_add(out, "pool=%s pool_uuid=%s device_uuid=%s role=%s index=%u capacity_devices=%u shards=%u generation=%llu bytes=%llu",
               l->pool_name, uuid_format(&l->pool, pool), uuid_format(&l->device, device),
               l->role < ARRAY_LEN(roles) ? roles[l->role] : "?", l->index, l->nr_capacity, l->nr_shards,
               (unsigned long long)l->generation, (unsigned long long)l->device_bytes);
    if (l->role == TIER_JOURNAL)
        strbuf_add(out, " segments=%u segment_bytes=%u segments_at=%llu align=%u heads=%u", l->seg_nr, l->seg_bytes,
                   (unsigned long long)l->seg_base_bytes, l->seg_align, label_head_bytes(l));
    if (l->role == TIER_CAPACITY)
        strbuf_add(out, " extents=%u extents_at=%llu ring=%u", l->ext_nr, (unsigned long long)l->ext_base_bytes, l->ring_nr);
}
