/* SPDX-License-Identifier: Apache-2.0 */
/* io.c: commands of the NVM command set, each a request to the blk or a few in turn.
 *
 * prepare: namespace, size against MDTS, range without wrap. execute: blk_submit(). The blk's callback ends the command,
 * or takes the next step of one that needs several: Compare and Verify read through a chunk of scratch, Dataset
 * Management goes range by range. All sums are in 64 bits.
 */
#include "base/crc32c.h"
#include "export/priv.h"

static uint64_t slba_of(const struct cmd *c) { return from_le32(c->sqe.cdw10) | (uint64_t)from_le32(c->sqe.cdw11) << 32; }
static uint32_t nlb_of(const struct cmd *c) { return (from_le32(c->sqe.cdw12) & 0xffff) + 1; }
static struct blk *blk_of(const struct cmd *c) { return c->q->s->p.blk; }

static enum subsys_op counter_of(uint8_t opc)
{
    switch (opc) {
    case IO_READ:         return SUBSYS_READ;
    case IO_WRITE:        return SUBSYS_WRITE;
    case IO_FLUSH:        return SUBSYS_FLUSH;
    case IO_DSM:          return SUBSYS_DISCARD;
    case IO_WRITE_ZEROES: return SUBSYS_WRITE_ZEROES;
    default:              return SUBSYS_OTHER;
    }
}

static void finish(struct cmd *c, uint16_t status)
{
    bool data = c->sqe.opc == IO_READ || c->sqe.opc == IO_WRITE;

    subsys_count(c->q->s, counter_of(c->sqe.opc), data ? c->bytes : 0, c->start_ns);
    cmd_complete(c, status);
}

/* The connection ends: a fence waits for this command, so it begins nothing new. */
static bool cut(const struct cmd *c) { return c->q->state == QUEUE_CLOSING; }

static bool range_ok(const struct blk *b, uint64_t lba, uint64_t nlb)
{
    return lba < b->size_lba && nlb <= b->size_lba - lba;
}

static uint16_t check_range(const struct cmd *c)
{
    return range_ok(blk_of(c), slba_of(c), nlb_of(c)) ? ST_SUCCESS : (ST_LBA_RANGE | STATUS_DNR);
}

static uint16_t check_ns(const struct cmd *c)
{
    return cmd_nsid(c) == 1 ? ST_SUCCESS : (ST_INVALID_NAMESPACE | STATUS_DNR);
}

/* For a blk that keeps to a rate: a command counts as one request, by whatever steps it is carried out. */
static void costs(struct cmd *c, uint32_t ios, uint64_t bytes)
{
    c->ios = ios;
    c->moves = (uint32_t)MIN(bytes, MDTS_BYTES);
}

static void submit(struct cmd *c, enum blk_op op, uint64_t lba, uint32_t nlb, blk_io_cb *cb)
{
    c->io.op = op;
    c->io.lba = lba;
    c->io.nlb = nlb;
    c->io.iov = c->iov;
    c->io.iovcnt = op == BLK_READ || op == BLK_WRITE ? c->iovcnt : 0;
    c->io.crc = NULL;
    c->io.paid = c->begun;
    c->io.cb = cb;
    c->io.ctx = c;
    blk_submit(blk_of(c), &c->io);
}

static void done(struct blk_io *io)
{
    struct cmd *c = io->ctx;

    if (c->silent) { /* a planted bug answered it before */
        cmd_set_state(c, CMD_SENDING);
        struct queue *q = c->q;
        cmd_free(c);
        queue_maybe_done(q);
        return;
    }
    finish(c, status_of_err(io->err));
}

/* ---- Read, Write ----------------------------------------------------------------------------------------------------------- */

static uint16_t prepare_transfer(struct cmd *c, enum cmd_dir dir)
{
    uint16_t status = check_ns(c);
    uint64_t bytes = (uint64_t)nlb_of(c) * blk_of(c)->lba_bytes;

    if (status)
        return status;
    if (bytes > MDTS_BYTES)
        return ST_INVALID_FIELD | STATUS_DNR;
    c->dir = dir;
    c->bytes = (uint32_t)bytes;
    costs(c, 1, bytes);
    return check_range(c);
}

static uint16_t prepare_read(struct cmd *c) { return prepare_transfer(c, DIR_C2H); }
static uint16_t prepare_write(struct cmd *c) { return prepare_transfer(c, DIR_H2C); }

static void read_blocks(struct cmd *c)
{
    submit(c, BLK_READ, slba_of(c), nlb_of(c), done);
}

/* The plain CRC32C of each block, once, while the bytes are in cache; the journal and the map build on it. */
static void sum_blocks(struct cmd *c)
{
    uint32_t unit = cmd_chunk_bytes(c);

    if (c->nr_sums == c->bytes / BLOCK_BYTES)
        return; /* the data digest gave them */
    for (uint32_t off = 0; off < c->bytes; off += BLOCK_BYTES)
        c->crc[off / BLOCK_BYTES] = crc32c(0, (const char *)c->iov[off / unit].iov_base + off % unit, BLOCK_BYTES);
}

static void answer_early(struct cmd *c)
{
    struct cmd *ghost;

    cmd_answered(c);
    ghost = cmd_new(c->q, &c->sqe);
    if (!ghost)
        return;
    c->silent = true;
    cmd_complete(ghost, ST_SUCCESS);
}

static void write_blocks(struct cmd *c)
{
    bool sums = blk_of(c)->lba_bytes == BLOCK_BYTES;

    if (c->q->t->bugs.complete_before_blk)
        answer_early(c);
    if (sums)
        sum_blocks(c);
    c->io = (struct blk_io){.op = BLK_WRITE, .lba = slba_of(c), .nlb = nlb_of(c), .iov = c->iov, .iovcnt = c->iovcnt,
                            .paid = c->begun, .crc = sums ? c->crc : NULL, .cb = done, .ctx = c};
    blk_submit(blk_of(c), &c->io);
}

/* ---- Flush, Write Zeroes ------------------------------------------------------------------------------------------------------ */

static uint16_t prepare_flush(struct cmd *c)
{
    c->dir = DIR_NONE;
    return cmd_nsid(c) == 0xffffffffu ? ST_SUCCESS : check_ns(c);
}

static void flush(struct cmd *c) { submit(c, BLK_FLUSH, 0, 0, done); }

static uint16_t prepare_range(struct cmd *c)
{
    uint16_t status = check_ns(c);

    c->dir = DIR_NONE;
    costs(c, 1, 0);
    return status ? status : check_range(c);
}

static void write_zeroes(struct cmd *c) { submit(c, BLK_WRITE_ZEROES, slba_of(c), nlb_of(c), done); }

/* ---- Dataset Management --------------------------------------------------------------------------------------------------------- */

static uint32_t nr_ranges(const struct cmd *c) { return (from_le32(c->sqe.cdw10) & 0xff) + 1; }

#define DSM_RANGES_MAX 256u /* NVM command set specification, Dataset Management: NR is 0's based and one byte */

/* Linux always sends the whole list of 256 ranges and says with NR how many count: more data than NR needs is fine. */
static uint16_t prepare_dsm(struct cmd *c)
{
    uint32_t given = from_le32(c->sqe.sgl.length);

    c->dir = DIR_H2C;
    c->bytes = nr_ranges(c) * (uint32_t)sizeof(struct nvme_dsm_range);
    if (given > c->bytes && given <= DSM_RANGES_MAX * sizeof(struct nvme_dsm_range))
        c->bytes = given;
    costs(c, (from_le32(c->sqe.cdw11) & DSM_AD) ? nr_ranges(c) : 1, 0); /* a request each */
    return check_ns(c);
}

static struct nvme_dsm_range range_at(const struct cmd *c, uint32_t i)
{
    struct nvme_dsm_range r;

    cmd_copy_out(c, i * (uint32_t)sizeof(r), &r, sizeof(r));
    return r;
}

static bool ranges_ok(const struct cmd *c)
{
    for (uint32_t i = 0; i < nr_ranges(c); i++) {
        struct nvme_dsm_range r = range_at(c, i);

        if (from_le32(r.nlb) != 0 && !range_ok(blk_of(c), from_le64(r.slba), from_le32(r.nlb)))
            return false;
    }
    return true;
}

static void next_range(struct cmd *c);

static void range_done(struct blk_io *io)
{
    struct cmd *c = io->ctx;

    if (io->err)
        finish(c, status_of_err(io->err));
    else
        next_range(c);
}

static void next_range(struct cmd *c)
{
    if (cut(c)) {
        finish(c, ST_ABORT_REQUESTED);
        return;
    }
    while (c->at_range < nr_ranges(c)) {
        struct nvme_dsm_range r = range_at(c, c->at_range++);

        if (from_le32(r.nlb) == 0)
            continue;
        submit(c, BLK_DISCARD, from_le64(r.slba), from_le32(r.nlb), range_done);
        return;
    }
    finish(c, ST_SUCCESS);
}

static void dataset_management(struct cmd *c)
{
    c->at_range = (from_le32(c->sqe.cdw11) & DSM_AD) ? 0 : nr_ranges(c); /* only deallocation is acted on */
    if (!ranges_ok(c))
        finish(c, ST_LBA_RANGE | STATUS_DNR);
    else
        next_range(c);
}

/* ---- Compare, Verify: reads through scratch --------------------------------------------------------------------------------------- */

static uint16_t prepare_compare(struct cmd *c)
{
    c->scratch = true;
    return prepare_transfer(c, DIR_H2C);
}

static uint16_t prepare_verify(struct cmd *c)
{
    uint16_t status = prepare_range(c);

    c->scratch = true;
    costs(c, 1, (uint64_t)nlb_of(c) * blk_of(c)->lba_bytes);
    if (status)
        return status;
    return (uint64_t)nlb_of(c) * blk_of(c)->lba_bytes > MDTS_BYTES ? (ST_INVALID_FIELD | STATUS_DNR) : ST_SUCCESS;
}

static void next_piece(struct cmd *c);

static bool equal(const struct cmd *c, uint64_t off, size_t n)
{
    return memcmp(c->iov[off / cmd_chunk_bytes(c)].iov_base, c->iov[c->iovcnt].iov_base, n) == 0;
}

static void piece_done(struct blk_io *io)
{
    struct cmd *c = io->ctx;
    uint32_t lba_bytes = blk_of(c)->lba_bytes;
    uint64_t off = (c->at - slba_of(c)) * lba_bytes;

    if (io->err) {
        finish(c, status_of_err(io->err));
        return;
    }
    if (c->sqe.opc == IO_COMPARE && !equal(c, off, (size_t)io->nlb * lba_bytes)) {
        finish(c, ST_COMPARE_FAILURE | STATUS_DNR);
        return;
    }
    c->at += io->nlb;
    c->left -= io->nlb;
    next_piece(c);
}

static void next_piece(struct cmd *c)
{
    uint32_t nlb = (uint32_t)MIN(c->left, cmd_chunk_bytes(c) / blk_of(c)->lba_bytes);
    struct iovec *scratch = &c->iov[c->iovcnt];

    if (nlb == 0 || cut(c)) {
        finish(c, cut(c) ? ST_ABORT_REQUESTED : ST_SUCCESS);
        return;
    }
    scratch->iov_len = (size_t)nlb * blk_of(c)->lba_bytes;
    c->io = (struct blk_io){.op = BLK_READ, .lba = c->at, .nlb = nlb, .iov = scratch, .iovcnt = 1, .paid = c->begun,
                            .cb = piece_done, .ctx = c};
    blk_submit(blk_of(c), &c->io);
}

static void by_pieces(struct cmd *c)
{
    c->at = slba_of(c);
    c->left = nlb_of(c);
    next_piece(c);
}

const struct cmd_op *io_op(const struct nvme_sqe *sqe)
{
    static const struct cmd_op read_op = {prepare_read, read_blocks}, write_op = {prepare_write, write_blocks};
    static const struct cmd_op flush_op = {prepare_flush, flush}, zeroes_op = {prepare_range, write_zeroes};
    static const struct cmd_op dsm_op = {prepare_dsm, dataset_management};
    static const struct cmd_op compare_op = {prepare_compare, by_pieces}, verify_op = {prepare_verify, by_pieces};

    switch (sqe->opc) {
    case IO_READ:         return &read_op;
    case IO_WRITE:        return &write_op;
    case IO_FLUSH:        return &flush_op;
    case IO_WRITE_ZEROES: return &zeroes_op;
    case IO_DSM:          return &dsm_op;
    case IO_COMPARE:      return &compare_op;
    case IO_VERIFY:       return &verify_op;
    default:              return NULL;
    }
}
