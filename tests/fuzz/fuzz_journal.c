/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_journal.c: the log's bytes. The first byte chooses: decoders over raw bytes, or a journal device put together from
 * pieces (whole structures with checksums that hold, raw bytes, flipped bits), which is then replayed, opened, written to (if
 * the first byte says so), and replayed again: whatever the image, the records that later starts find are those that the first
 * one found, and what was written since. It says too whether some blocks cannot be read, and whether the owner's marks are final.
 */
#include <errno.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/crc32c.h"
#include "base/log.h"
#include "journal/format.h"
#include "journal/journal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void expect(bool ok)
{
    if (!ok)
        abort();
}

/* ---- a loop and a device in memory -------------------------------------------------------------------------------------- */

static struct env_task *first_task, **last_task = &first_task;

static uint64_t env_zero(struct env *e) { (void)e; return 1; }
static void env_no_random(struct env *e, void *buf, size_t len) { (void)e; memset(buf, 0, len); }

static void env_queue(struct env *e, struct env_task *t)
{
    (void)e;
    t->next = NULL;
    t->queued = true;
    *last_task = t;
    last_task = &t->next;
}

static int env_one(struct env *e)
{
    struct env_task *t = first_task;

    (void)e;
    if (!t)
        return -FIRN_E_STOPPED;
    first_task = t->next;
    if (!first_task)
        last_task = &first_task;
    t->queued = false;
    t->fn(t);
    return 0;
}

static const struct env_ops env_ops = {.name = "fuzz", .mono_ns = env_zero, .wall_ns = env_zero, .random = env_no_random,
                                       .defer = env_queue, .post = env_queue, .run_once = env_one};
static struct env env = {&env_ops};

#define SEGMENTS 4u
#define SEGMENT_BYTES (256u * 1024u)
static struct segpool_geometry geo = {.base_bytes = 4096, .segment_bytes = SEGMENT_BYTES,
                                            .nr_segments = SEGMENTS, .align_bytes = 512, .nr_shards = 1,
                                            .pool = {{42}}};
#define DISK_BYTES (4096u + SEGMENTS * SEGMENT_BYTES)
static uint8_t *disk;

/* Blocks that cannot be read until they are written. */
#define DISK_BLOCKS (DISK_BYTES / 4096u)
static bool blind[DISK_BLOCKS];

static void mem_done(struct env_task *t)
{
    struct dev_io *io = container_of(t, struct dev_io, priv.task);
    int err = 0;

    for (uint64_t b = io->off_bytes / 4096; b * 4096 < io->off_bytes + io->len_bytes; b++) {
        if (io->priv.op == DEV_READ && blind[b])
            err = -EIO;
        if (io->priv.op == DEV_WRITE)
            blind[b] = false;
    }
    dev_io_done(io->priv.dev, io, err);
}

static void mem_submit(struct dev *d, struct dev_io *io)
{
    uint64_t off = io->off_bytes;

    for (int i = 0; i < io->iovcnt; i++) {
        if (io->priv.op == DEV_READ)
            memcpy(io->iov[i].iov_base, disk + off, io->iov[i].iov_len);
        else if (io->priv.op == DEV_WRITE)
            memcpy(disk + off, io->iov[i].iov_base, io->iov[i].iov_len);
        off += io->iov[i].iov_len;
    }
    io->priv.task.fn = mem_done;
    env_defer(d->env, &io->priv.task);
}

static void mem_close(struct dev *d) { (void)d; }
static const struct dev_ops mem_ops = {.name = "mem", .submit = mem_submit, .close = mem_close};

/* ---- input ----------------------------------------------------------------------------------------------------------------- */

static const uint8_t *in;
static size_t in_len;

static uint64_t take(uint32_t bytes)
{
    uint64_t v = 0;

    for (uint32_t i = 0; i < bytes && in_len; i++, in_len--)
        v |= (uint64_t)*in++ << (8 * i);
    return v;
}

static void take_record(struct jrn_record *r)
{
    uint64_t b = take(1);

    *r = (struct jrn_record){(enum journal_rec_type)(1 + b % 4), 1 + (b >> 2) % 4, take(1), 1 + take(1) % 8, 1 + take(1), 0};
    if (r->type == JOURNAL_PLACED)
        r->place = take(5);
    if (b >= 0xf0) {
        r->type = (enum journal_rec_type)take(1);
        r->lba = take(8);
        r->nblocks = take(8);
        r->seq = take(8);
    }
}

/* ---- pieces of an image ------------------------------------------------------------------------------------------------- */

static uint64_t place(uint32_t segment) { return geo.base_bytes + (uint64_t)segment * geo.segment_bytes; }

static struct jrn_seg_header take_head(void)
{
    return (struct jrn_seg_header){.epoch = 1 + take(1) % 16, .shard = 0, .stream = (enum journal_stream)(take(1) & 1),
                                   .prev_segment = (uint32_t)take(1) % SEGMENTS, .prev_epoch = take(1) % 16,
                                   .cut_group = take(1), .group_floor = take(1), .seq_floor = take(2)};
}

static void put_head(uint32_t segment)
{
    struct jrn_seg_header h = take_head();

    jrn_seg_header_encode(&geo, segment, &h, disk + place(segment));
}

/* Of a segment of clean copies: it has no groups, but says how far the log had come. */
static void put_slots_head(uint32_t segment)
{
    struct jrn_seg_header h = {.epoch = 1 + take(1) % 16, .slots = true, .seq_floor = take(2), .meta_commit_no = take(2)};

    jrn_seg_header_encode(&geo, segment, &h, disk + place(segment));
}

static uint64_t put_group(uint32_t segment, uint64_t off)
{
    static uint8_t buf[JRN_GROUP_HEADER_MAX];
    struct jrn_group g = {.number = take(1), .epoch = 1 + take(1) % 16, .durable_group = take(1), .durable_seq = take(2),
                          .index = (uint32_t)take(1), .stream = (enum journal_stream)(take(1) & 1),
                          .nr_records = 1 + (uint32_t)take(1) % 6, .nr_echo = (uint32_t)take(1) % 4};
    struct jrn_record r[10];
    uint32_t csum[64] = {0}, n = 0, at = 0;
    uint64_t blocks = 0, sums = 0, header;

    for (uint32_t i = 0; i < g.nr_records + g.nr_echo; i++) {
        take_record(&r[i]);
        if (i >= g.nr_records)
            continue;
        sums += jrn_record_has_sums(&r[i]) ? r[i].nblocks & 0xff : 0;
        blocks += r[i].type == JOURNAL_WRITE ? r[i].nblocks & 0xff : 0;
    }
    g.nr_blocks = (uint32_t)MIN(blocks, 64u);
    g.nr_sums = (uint32_t)MIN(sums, 64u);
    header = ROUND_UP(jrn_group_header_bytes(g.nr_records, g.nr_echo, g.nr_sums), geo.align_bytes);
    if (off + header + (uint64_t)g.nr_blocks * BLOCK_BYTES > geo.segment_bytes)
        return off;
    for (uint32_t i = 0; i < g.nr_records; i++) {
        for (uint64_t b = 0; jrn_record_has_sums(&r[i]) && b < r[i].nblocks && n < g.nr_sums; b++, n++) {
            if (r[i].type == JOURNAL_WRITE && at < g.nr_blocks)
                csum[n] = block_csum(disk + place(segment) + off + header + at++ * BLOCK_BYTES, r[i].layer, r[i].lba + b);
        }
        jrn_record_encode(&r[i], buf + JRN_FIXED_BYTES + i * JRN_RECORD_BYTES);
    }
    jrn_csums_encode(csum, g.nr_sums, buf + JRN_FIXED_BYTES + g.nr_records * JRN_RECORD_BYTES);
    for (uint32_t i = 0; i < g.nr_echo; i++)
        jrn_record_encode(&r[g.nr_records + i], buf + JRN_FIXED_BYTES + g.nr_records * JRN_RECORD_BYTES +
                          4 * g.nr_sums + i * JRN_RECORD_BYTES);
    jrn_group_encode(&geo, segment, off, &g, buf);
    memcpy(disk + place(segment) + off, buf, header);
    return off + header + (uint64_t)g.nr_blocks * BLOCK_BYTES;
}

static void put_footer(uint32_t segment)
{
    uint8_t *sum = disk + place(segment) + jrn_footer_off(&geo) - 8192;
    struct jrn_footer f = {.head = take_head(), .summary_off = jrn_footer_off(&geo) - 8192,
                           .first_group = take(1), .end_off = 512 * take(2), .seq_min = take(1), .seq_max = take(2)};
    uint32_t entries = (uint32_t)take(1) % 8;

    for (uint32_t i = 0; i < entries; i++) {
        struct jrn_entry e = {.kind = (enum jrn_entry_kind)(take(1) % 4), .unit = (uint32_t)take(2) % 512,
                              .header_units = (uint32_t)take(1) % 4, .nr_records = (uint32_t)take(1) % 5,
                              .nr_groups = 1 + (uint32_t)take(1) / 200};
        uint8_t body[5 * JRN_RECORD_BYTES + 64 * 4] = {0};
        uint32_t sums = 0;

        for (uint32_t k = 0; k < e.nr_records; k++) {
            struct jrn_record r;

            take_record(&r);
            jrn_record_encode(&r, body + k * JRN_RECORD_BYTES);
            sums += jrn_record_has_sums(&r) ? (uint32_t)r.nblocks & 15 : 0;
        }
        e.nr_sums = e.kind == JRN_ENTRY_KEPT ? sums % 64 : 0;
        f.summary_bytes += jrn_entry_encode(&e, body, sum + f.summary_bytes);
        f.nr_groups += e.nr_groups;
        f.nr_entries++;
    }
    f.summary_crc = jrn_summary_crc(&geo, segment, f.head.epoch, sum, (size_t)f.summary_bytes);
    jrn_footer_encode(&geo, segment, &f, disk + place(segment) + jrn_footer_off(&geo));
}

static void build_image(void)
{
    uint64_t next[SEGMENTS];

    memset(disk, 0, DISK_BYTES);
    for (uint32_t i = 0; i < SEGMENTS; i++)
        next[i] = JRN_SEG_HEADER_BYTES;
    while (in_len) {
        uint8_t op = (uint8_t)take(1);
        uint32_t s = op % SEGMENTS;
        uint64_t off = take(1) * 512 % geo.segment_bytes;

        switch ((op >> 3) % 6) {
        case 0:
            if (op & 0x80)
                put_slots_head(s);
            else
                put_head(s);
            break;
        case 1:
        case 2: next[s] = put_group(s, next[s]); break;
        case 3: put_group(s, JRN_SEG_HEADER_BYTES + off); break;
        case 4: put_footer(s); break;
        default: disk[place(s) + off + take(2) % 512] ^= (uint8_t)take(1); break;
        }
    }
    /* All zeros say that a segment was never used, and then nobody looks further; these images are about used ones. */
    for (uint32_t i = 0; i < SEGMENTS; i++)
        if (disk[place(i) + 4] == 0)
            disk[place(i)] = 1;
}

/* ---- replay -------------------------------------------------------------------------------------------------------------- */

#define OWN_LAYER 9u /* of records that are appended here; no piece of an image has it */

struct found { uint64_t records, hash, damages, own; };

static int on_record(void *ctx, const struct journal_record *r)
{
    struct found *f = ctx;
    uint64_t end = (uint64_t)r->loc.unit * JOURNAL_UNIT_BYTES + (r->type == JOURNAL_WRITE ? r->nblocks * BLOCK_BYTES : 0);
    uint64_t words[7] = {r->layer, r->lba, r->nblocks, r->seq, r->loc.segment, r->loc.unit, r->place};

    expect(r->loc.segment < SEGMENTS && end <= geo.segment_bytes && r->layer && r->nblocks && r->seq && r->seq <= SEQ_MEDIA_MAX);
    expect((r->csum != NULL) == (r->type == JOURNAL_WRITE || r->type == JOURNAL_PLACED) && r->place < JOURNAL_PLACE_MAX);
    if (r->layer == OWN_LAYER) {
        f->own++;
        return 0;
    }
    if (r->csum)
        f->hash += crc32c(0, r->csum, r->nblocks * 4);
    f->hash += crc32c(1, words, sizeof(words)); /* a sum: the order does not count */
    f->records++;
    return 0;
}

static int on_damage(void *ctx, const struct journal_damage *d)
{
    expect(d->segment < SEGMENTS);
    ((struct found *)ctx)->damages += d->range_known;
    return 0;
}

static uint64_t freed_none(void *ctx, uint32_t segment) { (void)ctx, (void)segment; return 0; }

static void answered(struct journal_append *a) { *(unsigned *)a->ctx += 1; }

/* One record for each stream. Returns how many became durable: those that wait for a segment are taken back. */
static uint32_t write_some(struct journal *j)
{
    struct journal_append a[JOURNAL_STREAM_NR];
    unsigned done = 0;

    for (uint32_t i = 0; i < JOURNAL_STREAM_NR; i++) {
        a[i] = (struct journal_append){.type = JOURNAL_ZERO, .stream = (enum journal_stream)i, .layer = OWN_LAYER, .lba = i,
                                       .nblocks = 1, .seq = 1, .cb = answered, .ctx = &done};
        journal_append(j, &a[i]);
    }
    while (env_one(&env) == 0)
        ;
    for (uint32_t i = 0; i < JOURNAL_STREAM_NR; i++)
        (void)journal_append_cancel(j, &a[i]);
    while (env_one(&env) == 0)
        ;
    expect(done == JOURNAL_STREAM_NR);
    return (a[0].err == 0 ? 1u : 0u) + (a[1].err == 0 ? 1u : 0u);
}

struct how { bool accept_loss, write, final; uint32_t reserve; struct journal_mark mark; /* what the owner calls durable */ };

/* One start and stop. 0, or what refused it. written: what became durable in it. */
static int life(struct found *f, const struct how *how, uint32_t *written)
{
    struct journal_replay_ops ops = {.ctx = f, .record = on_record, .damage = on_damage};
    struct journal_opts opts = {.accept_loss = how->accept_loss, .marks = {how->mark, how->mark}, .marks_final = how->final,
                                .reserve_segments = how->reserve};
    struct journal_replay_report report;
    struct segpool *pool;
    struct journal *j;
    struct dev d;
    int err;

    *f = (struct found){0};
    dev_init(&d, &mem_ops, &env, "fuzz");
    d.caps = (struct dev_caps){.size_bytes = DISK_BYTES, .block_bytes = 512, .align_bytes = 512, .iov_max = 64};
    err = segpool_open(&d, &geo, freed_none, NULL, &pool);
    if (err)
        return err;
    err = journal_new(&env, &d, pool, &opts, NULL, &j);
    expect(err == 0);
    err = journal_replay(j, &ops, &report);
    expect(report.records == f->records + f->own && (err || report.seq_max <= SEQ_MEDIA_MAX));
    if (!err)
        err = journal_open(j);
    *written = 0;
    if (!err && how->write)
        *written = write_some(j);
    if (err)
        journal_abandon(j);
    else
        expect(journal_close(j, true) == 0);
    segpool_close(pool);
    return err;
}

static void image(uint8_t lives)
{
    struct found first, again;
    uint8_t b = (uint8_t)take(1);
    struct how how = {.accept_loss = b & 1, .write = lives & 2, .final = lives & 16, .reserve = lives & 4 ? 1 : 2,
                      .mark = {.group = b >> 1 & 7, .segment = b >> 4 & 1, .epoch = b >> 5}};
    uint32_t own = 0, written;

    if (!disk)
        disk = aligned_alloc(4096, DISK_BYTES);
    expect(disk != NULL);
    memset(blind, 0, sizeof(blind));
    for (uint32_t i = 0, n = lives & 32 ? 1 + (uint32_t)take(1) % 4 : 0; i < n; i++) {
        uint32_t at = (uint32_t)take(1); /* of one segment: its beginning and some of what follows, or its end */

        blind[1 + (at & 3) * (SEGMENT_BYTES / 4096) + (at & 4 ? SEGMENT_BYTES / 4096 - 1 : at >> 3 & 7)] = true;
    }
    build_image();
    if (life(&first, &how, &written) != 0)
        return;
    for (uint32_t i = 0; i < 2; i++) {
        own += written;
        expect(life(&again, &how, &written) == 0);
        expect(again.records == first.records && again.hash == first.hash && again.damages == first.damages && again.own == own);
    }
}

/* ---- raw bytes -------------------------------------------------------------------------------------------------------------- */

static void decoders(const uint8_t *data, size_t size)
{
    uint8_t *block = calloc(1, JRN_FOOTER_MAX), *back = calloc(1, JRN_FOOTER_MAX);
    struct jrn_seg_header h;
    struct jrn_footer f;
    struct jrn_group g;
    struct jrn_entry e;
    size_t pos = 0;

    expect(block && back);
    memcpy(block, data, MIN(size, (size_t)JRN_FOOTER_MAX));
    if (jrn_seg_header_decode(&geo, 0, block, &h) == 0) {
        jrn_seg_header_encode(&geo, 0, &h, back);
        expect(memcmp(block, back, geo.head_bytes) == 0);
    }
    if (jrn_footer_decode(&geo, 0, block, &f) == 0) {
        jrn_footer_encode(&geo, 0, &f, back);
        expect(memcmp(block, back, geo.head_bytes) == 0);
    }
    (void)jrn_group_decode(&geo, 0, JRN_SEG_HEADER_BYTES, data, size, &g);
    while (jrn_entry_decode(&geo, data, size, &pos, &e) == 0)
        for (uint32_t i = 0; i < e.nr_records; i++) {
            struct jrn_record r;

            jrn_entry_record(&e, i, &r);
            expect(r.layer != 0 && r.nblocks != 0);
        }
    free(block);
    free(back);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    log_set_level(LOG_LEVEL_ERROR + 1);
    first_task = NULL;
    last_task = &first_task;
    in = data + 1;
    in_len = MIN(size - 1, (size_t)4096);
    geo.head_bytes = data[0] & 8 ? 512 : 4096; /* as the label says */
    if (data[0] & 1)
        image(data[0]);
    else
        decoders(data + 1, size - 1);
    return 0;
}
