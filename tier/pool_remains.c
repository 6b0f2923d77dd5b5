/* SPDX-License-Identifier: Apache-2.0 */
/* pool_remains.c: are these devices what a first format left that was cut short, and nothing more?
 *
 * 1. Nobody else's data. Labels: a start moves them on from generation 1 before anything is served, so none is beyond it; and no
 * format labels before it has made the journal. 2. Metadata: none, none whole before the first label, or no batch but the one of the
 * format. 3. The journal: zeros but for its labels; the first group of any start would stand there for ever.
 * Each alone would do on sound devices; all three together also answer for devices that are damaged. Reads only.
 * Failures: what cannot be read is an error, never taken for nothing.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tier/pool.h"

#define READ_STEP (1u << 20)

static int used(char why[static 256], const char *what, const char *where)
{
    snprintf(why, 256, "the pool has been in use: %s (\"%.150s\")", what, where);
    return -FIRN_E_EXISTS;
}

/* A format that was cut short leaves nobody else's data. What it was writing when the power went may be anything. */
static int foreign_check(const struct pool_dev *d, char why[static 256])
{
    int err;
    const char *found = label_foreign(d->on[0], d->bytes, &err);

    if (err == -FIRN_E_INVALID) /* too short: it will be lengthened */
        return 0;
    if (err || found == NULL || strcmp(found, "a Firn label") == 0 || strcmp(found, "unknown data") == 0) {
        if (err)
            snprintf(why, 256, "%s device \"%.120s\" cannot be read: %.80s", pool_role_name(d->opts.role), d->opts.path, err_text(err));
        return err;
    }
    snprintf(why, 256, "%s device \"%.120s\" carries %s", pool_role_name(d->opts.role), d->opts.path, found);
    return -FIRN_E_EXISTS;
}

/* *end: where the labels say that the device ends; 0: none is whole. */
static int label_at(const struct pool_dev *d, uint64_t bytes, uint64_t *end, bool *labelled, char why[static 256])
{
    struct label_copies copies;
    struct label l;
    int err = label_read(d->on[0], bytes, &l, &copies);

    *labelled |= err != -FIRN_E_NOT_FIRN;
    if (!err && l.generation > 1)
        return used(why, "a label has moved on", d->opts.path);
    if (!err)
        *end = l.device_bytes;
    if (err == 0 || err == -FIRN_E_NOT_FIRN || err == -FIRN_E_CORRUPT)
        return 0;
    snprintf(why, 256, "%s device \"%.120s\": its label: %.80s", pool_role_name(d->opts.role), d->opts.path, err_text(err));
    return err;
}

static int labels_check(const struct pool_dev *d, uint64_t *end, bool *labelled, char why[static 256])
{
    uint64_t whole = ROUND_DOWN(d->on[0]->caps.size_bytes, LABEL_BYTES);
    int err = label_at(d, d->bytes, end, labelled, why);

    if (!err && whole != d->bytes)
        err = label_at(d, whole, end, labelled, why);
    if (!err && *end != 0 && *end <= whole && *end != d->bytes)
        err = label_at(d, *end, end, labelled, why);
    return err;
}

static int meta_check(const struct tier_opts *o, bool labelled, char why[static 256])
{
    struct meta_walk w = {0};
    struct meta *m;
    char file[512];
    struct stat st;
    int err;

    snprintf(file, sizeof(file), "%s/data.mdb", o->meta_path);
    if (stat(file, &st) == 0 && st.st_size == 0)
        return 0;
    err = meta_lmdb_walk(o->meta_path, &w, why);
    if (err == -ENOENT || (err == -FIRN_E_CORRUPT && !labelled) || (!err && w.records == 0))
        return 0;
    if (err == -FIRN_E_CORRUPT || (!err && w.bad_records > 0))
        return used(why, "its metadata is damaged", file);
    if (!err)
        err = pool_meta_open(o, false, true, &m, why);
    if (err)
        return err;
    if (meta_commit_no(m) > 1)
        err = used(why, "its metadata has moved on", file);
    m->ops->close(m);
    return err;
}

/* Holes of a file need not be read. */
static uint64_t next_data(const struct pool_dev *d, uint64_t off, uint64_t end)
{
    off_t at = d->lock_fd >= 0 ? lseek(d->lock_fd, (off_t)off, SEEK_DATA) : (off_t)off;

    if (at < 0)
        return errno == ENXIO ? end : off;
    return ROUND_DOWN(MAX((uint64_t)at, off), READ_STEP);
}

static bool is_zero(const uint8_t *p, size_t n) { return p[0] == 0 && memcmp(p, p + 1, n - 1) == 0; }

/* labels_end: as the labels say; 0: none is whole, and then no copy was written at the end, which is the last. */
static int journal_check(const struct pool_dev *d, uint64_t labels_end, char why[static 256])
{
    uint64_t end = ROUND_DOWN(d->on[0]->caps.size_bytes, LABEL_BYTES);
    uint8_t *buf = aligned_alloc(4096, READ_STEP);
    int err = buf == NULL ? -ENOMEM : 0;

    for (uint64_t off = next_data(d, 0, end); off < end && !err; off = next_data(d, off + READ_STEP, end)) {
        size_t n = (size_t)MIN(READ_STEP, end - off);

        err = dev_read_sync(d->on[0], off, buf, n);
        if (err)
            break;
        for (size_t at = 0; at < n && !err; at += LABEL_BYTES) {
            bool of_label = off + at < LABEL_AREA_BYTES || (off + at < labels_end && off + at + LABEL_AREA_BYTES >= labels_end);

            if (!of_label && !is_zero(buf + at, LABEL_BYTES))
                err = used(why, "something is in its journal", d->opts.path);
        }
    }
    free(buf);
    if (err && err != -FIRN_E_EXISTS)
        snprintf(why, 256, "journal device \"%.120s\" cannot be read: %.80s", d->opts.path, err_text(err));
    return err;
}

int pool_remains_check(const struct pool_devs *p, char why[static 256])
{
    uint64_t end, journal_end = 0;
    bool labelled = false;
    int err = 0;

    for (uint32_t i = 0; i < p->nr && !err; i++) {
        end = 0;
        if (p->dev[i].on[0] != NULL) /* else surveyed, and not made yet */
            err = foreign_check(&p->dev[i], why);
        if (!err && p->dev[i].on[0] != NULL)
            err = labels_check(&p->dev[i], &end, &labelled, why);
        if (i == 0)
            journal_end = end;
    }
    if (!err && labelled && (p->dev[0].on[0] == NULL || p->dev[0].made)) /* no format labels before it has made the journal */
        err = used(why, "its journal is gone", p->dev[0].opts.path);
    if (!err)
        err = meta_check(p->opts, labelled, why);
    if (!err && p->dev[0].on[0] != NULL)
        err = journal_check(&p->dev[0], journal_end, why);
    return err;
}
