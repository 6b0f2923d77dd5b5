/* SPDX-License-Identifier: Apache-2.0 */
/* acklog.c: encode, append, replay; see acklog.h. */
#include "acklog.h"

#include "base/crc32c.h"
#include "base/err.h"
#include "base/sizefmt.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static const char acklog_magic[8] = {'F', 'i', 'r', 'n', 'A', 'c', 'k', '1'};
#define ACKLOG_VERSION 2u
#define ACKLOG_VERSION_NO_ID 1u /* its stamps, like the runs that go on with it, say log 0 */

void acklog_encode(const struct acklog_record *r, struct acklog_record_bytes *out)
{
    *out = (struct acklog_record_bytes){.type = (uint8_t)r->type,
                                        .write_id = to_le64(r->write_id),
                                        .unit = to_le64(r->unit),
                                        .units = to_le32(r->units),
                                        .run = to_le32(r->run)};
    out->crc = to_le32(crc32c(0, out, sizeof(*out)));
}

int acklog_decode(const struct acklog_record_bytes *b, struct acklog_record *out)
{
    struct acklog_record_bytes bare = *b;

    bare.crc = to_le32(0);
    if (crc32c(0, &bare, sizeof(bare)) != from_le32(b->crc))
        return -EINVAL;
    if (b->type < ACK_RUN || b->type > ACK_OBSERVED)
        return -EINVAL;
    *out = (struct acklog_record){.type = (enum ack_type)b->type,
                                  .write_id = from_le64(b->write_id),
                                  .unit = from_le64(b->unit),
                                  .units = from_le32(b->units),
                                  .run = from_le32(b->run)};
    return 0;
}

static void header_encode(const struct acklog_geometry *geo, struct acklog_header_bytes *h)
{
    *h = (struct acklog_header_bytes){.version = to_le32(geo->log_id ? ACKLOG_VERSION : ACKLOG_VERSION_NO_ID),
                                      .log_id = to_le64(geo->log_id),
                                      .unit_bytes = to_le32(geo->unit_bytes),
                                      .nr_units = to_le64(geo->nr_units)};
    memcpy(h->magic, acklog_magic, sizeof(h->magic));
    memcpy(h->nguid, geo->nguid, sizeof(h->nguid));
    h->crc = to_le32(crc32c(0, h, sizeof(*h)));
}

static int header_decode(const struct acklog_header_bytes *h, struct acklog_geometry *geo)
{
    struct acklog_header_bytes bare = *h;

    bare.crc = to_le32(0);
    geo->log_id = from_le64(h->log_id);
    if (memcmp(h->magic, acklog_magic, sizeof(h->magic)) != 0 ||
        from_le32(h->version) != (geo->log_id ? ACKLOG_VERSION : ACKLOG_VERSION_NO_ID) ||
        crc32c(0, &bare, sizeof(bare)) != from_le32(h->crc))
        return -EINVAL;
    memcpy(geo->nguid, h->nguid, sizeof(geo->nguid));
    geo->unit_bytes = from_le32(h->unit_bytes);
    geo->nr_units = from_le64(h->nr_units);
    if ((geo->unit_bytes != 512 && geo->unit_bytes != BLOCK_BYTES) || geo->nr_units == 0)
        return -EINVAL;
    return 0;
}

int acklog_geometry_read(const char *path, struct acklog_geometry *geo, char why[static 256])
{
    struct acklog_header_bytes h;
    FILE *f = fopen(path, "rb");
    size_t got;

    if (f == NULL) {
        int err = -errno;

        snprintf(why, 256, "%s: %s", path, err_text(err));
        return err;
    }
    got = fread(&h, 1, sizeof(h), f);
    fclose(f);
    if (got != sizeof(h) || header_decode(&h, geo)) {
        snprintf(why, 256, "%s: not a log of acknowledged writes", path);
        return -EINVAL;
    }
    return 0;
}

static int apply(struct oracle *o, const struct acklog_record *r, struct acklog_summary *sum)
{
    uint64_t bare_id = r->write_id & ~WRITE_ID_ZERO;

    if (r->type == ACK_RUN) {
        sum->runs = r->run;
        if (r->run == 1)
            o->fresh = sum->fresh = r->units == 1;
        return 0;
    }
    if (r->units == 0 || r->unit >= o->nr_units || r->units > o->nr_units - r->unit)
        return -EINVAL;
    sum->next_id = MAX(sum->next_id, bare_id + 1);
    switch (r->type) {
    case ACK_SUBMIT:
        sum->submitted++;
        return oracle_begin_write(o, r->unit, r->units, r->write_id);
    case ACK_ACKED:
        sum->acked++;
        oracle_acked(o, r->unit, r->units, r->write_id);
        return 0;
    case ACK_FAILED:
        sum->failed++;
        oracle_unacked(o, r->unit, r->units);
        return 0;
    case ACK_OBSERVED:
        sum->observed++;
        oracle_observed(o, r->unit, r->write_id);
        return 0;
    case ACK_RUN: break;
    }
    return -EINVAL;
}

static int replay_records(FILE *f, struct oracle *o, struct acklog_summary *sum)
{
    struct acklog_record_bytes *chunk = malloc(sizeof(*chunk) * 4096);
    struct acklog_record r;
    size_t got;
    int err = chunk ? 0 : -ENOMEM;

    while (!err && (got = fread(chunk, sizeof(*chunk), 4096, f)) > 0)
        for (size_t i = 0; i < got && !err; i++) {
            err = acklog_decode(&chunk[i], &r);
            if (!err)
                err = apply(o, &r, sum);
        }
    free(chunk);
    return err;
}

static void other_volume(const char *path, const struct acklog_geometry *geo, char why[static 256])
{
    char uuid[UUID_TEXT_CHARS + 1];
    struct uuid u;

    memcpy(u.b, geo->nguid, sizeof(u.b));
    snprintf(why, 256, "%.100s: this log is of volume %s, not of this one; name a new --ack-log FILE, or remove it", path,
             uuid_format(&u, uuid));
}

int acklog_replay(const char *path, struct oracle *o, struct acklog_summary *sum, char why[static 256])
{
    struct acklog_geometry geo;
    FILE *f;
    int err = acklog_geometry_read(path, &geo, why);

    if (err)
        return err;
    if (memcmp(geo.nguid, o->nguid, 16) != 0) {
        other_volume(path, &geo, why);
        return -EXDEV;
    }
    if (geo.unit_bytes != o->unit_bytes) {
        snprintf(why, 256, "%.190s: the log's unit is %u bytes", path, geo.unit_bytes);
        return -EINVAL;
    }
    *sum = (struct acklog_summary){.next_id = 1};
    o->log_id = geo.log_id;
    f = fopen(path, "rb");
    if (f == NULL || fseek(f, sizeof(struct acklog_header_bytes), SEEK_SET) != 0)
        err = -EIO;
    else
        err = replay_records(f, o, sum);
    if (f)
        fclose(f);
    for (uint64_t u = 0; !err && u < o->nr_units; u++) /* whatever that run had in flight is over: it stays a maybe */
        if (o->units[u].writing)
            o->units[u].writing = false;
    if (err)
        snprintf(why, 256, "%s: damaged record, or one beyond the volume's end", path);
    return err;
}

int acklog_open_append(const char *path, const struct acklog_geometry *geo, char why[static 256])
{
    struct acklog_header_bytes h;
    struct stat st;
    int fd = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0644);

    if (fd < 0 || fstat(fd, &st) != 0)
        goto failed;
    if (st.st_size == 0) {
        header_encode(geo, &h);
        if (write(fd, &h, sizeof(h)) != (ssize_t)sizeof(h))
            goto failed;
    } else if ((st.st_size - (off_t)sizeof(h)) % (off_t)sizeof(struct acklog_record_bytes) != 0) {
        off_t whole = ROUND_DOWN(st.st_size - (off_t)sizeof(h), (off_t)sizeof(struct acklog_record_bytes));

        if (ftruncate(fd, (off_t)sizeof(h) + whole) != 0) /* a torn last record of a killed run */
            goto failed;
    }
    return fd;

failed:
    snprintf(why, 256, "%s: %s", path, err_text(-errno));
    if (fd >= 0)
        close(fd);
    return -EIO;
}

void acklog_writer_init(struct acklog_writer *w, int fd, uint32_t run)
{
    w->fd = fd;
    w->run = run;
    w->nr = 0;
}

int acklog_append(struct acklog_writer *w, enum ack_type type, uint64_t write_id, uint64_t unit, uint32_t units)
{
    struct acklog_record r = {.type = type, .write_id = write_id, .unit = unit, .units = units, .run = w->run};
    int err = 0;

    if (w->fd < 0)
        return 0;
    if (w->nr == ACKLOG_BUFFERED)
        err = acklog_flush(w);
    acklog_encode(&r, &w->buf[w->nr++]);
    return err;
}

int acklog_flush(struct acklog_writer *w)
{
    size_t bytes = (size_t)w->nr * sizeof(w->buf[0]);

    if (w->fd < 0 || w->nr == 0) {
        w->nr = 0;
        return 0;
    }
    w->nr = 0;
    return write(w->fd, w->buf, bytes) == (ssize_t)bytes ? 0 : -EIO;
}
