/* SPDX-License-Identifier: Apache-2.0 */
/* worker_io.c: one request: made, sent, ended, judged. */
#include "worker.h"

#include "base/err.h"

#include <stdio.h>

static uint32_t unit_bytes(const struct worker *w)
{
    return w->oracle.unit_bytes;
}

static void note_finding(struct worker *w, uint64_t unit, uint64_t sure, uint64_t seen, enum oracle_verdict v)
{
    if (w->nr_findings < WORKER_FINDINGS)
        w->findings[w->nr_findings++] = (struct finding){.unit = unit, .sure = sure, .seen = seen, .verdict = v};
}

static void log_fail(struct worker *w, int err)
{
    if (err && !w->err) {
        w->err = err;
        snprintf(w->why, sizeof(w->why), "the acknowledgement log cannot be written: %s", err_text(err));
    }
}

static void judge_read(struct worker *w, struct slot *s)
{
    uint32_t nr = s->req.len_bytes / unit_bytes(w);
    uint64_t first = s->req.off_bytes / unit_bytes(w);

    oracle_end_read(&w->oracle, first, nr);
    if (s->cmd.status)
        return;
    for (uint32_t i = 0; i < nr; i++) {
        uint64_t sure = w->oracle.units[first + i].sure, seen;
        bool collapsed;
        enum oracle_verdict v = oracle_judge(&w->oracle, first + i, s->buf + (size_t)i * unit_bytes(w), &collapsed, &seen);

        w->st.units_judged++;
        if (v != ORACLE_OK)
            note_finding(w, first + i, sure, seen, v);
        else if (collapsed)
            log_fail(w, acklog_append(&w->log, ACK_OBSERVED, seen, first + i, 1));
    }
}

static void settle_write(struct worker *w, struct slot *s)
{
    uint32_t nr = s->req.len_bytes / unit_bytes(w);
    uint64_t first = s->req.off_bytes / unit_bytes(w);

    if (s->cmd.status == 0) {
        oracle_acked(&w->oracle, first, nr, s->id);
        log_fail(w, acklog_append(&w->log, ACK_ACKED, s->id, first, nr));
    } else {
        oracle_unacked(&w->oracle, first, nr);
        log_fail(w, acklog_append(&w->log, ACK_FAILED, s->id, first, nr));
    }
}

static bool is_write(enum gen_op op)
{
    return op == GEN_WRITE || op == GEN_TRIM || op == GEN_ZERO;
}

static void count_end(struct worker *w, const struct slot *s)
{
    if (s->cmd.status == INI_STATUS_LOST) {
        w->st.lost_requests++;
        w->st.lost_writes += is_write(s->req.op);
        return;
    }
    if (s->cmd.status) {
        if (w->st.io_errors++ < 5)
            fprintf(stderr, "firn-bench: %s of %u bytes at byte %llu failed: %s (status type %u code 0x%02x)\n",
                    gen_op_name(s->req.op), s->req.len_bytes, (unsigned long long)s->req.off_bytes, status_text(s->cmd.status),
                    (s->cmd.status >> 8) & 7, s->cmd.status & 0xff);
        return;
    }
    if (is_write(s->req.op))
        w->st.acked_writes++;
    if (!w->measuring)
        return;
    w->st.ops++;
    w->st.by_op[s->req.op]++;
    w->st.bytes += s->req.len_bytes;
    hist_add(&w->st.lat[s->req.op], w->loop.now_ns - s->start_ns);
}

/* A sweep's read failed. Of several units it is not known which: true, they are read again one by one. */
static bool sweep_failed(struct worker *w, const struct slot *s)
{
    uint32_t nr = s->req.len_bytes / unit_bytes(w);
    uint64_t first = s->req.off_bytes / unit_bytes(w);

    if (nr > 1) {
        gen_again_singly(&w->gen, first, nr);
        return true;
    }
    w->oracle.units[first].unreadable = true;
    return false;
}

static void on_done(struct ini_cmd *c)
{
    struct slot *s = container_of(c, struct slot, cmd);
    struct worker *w = s->w;

    assert(s->busy);
    s->busy = false;
    w->inflight--;
    s->next_free = w->free_slots[s->queue];
    w->free_slots[s->queue] = s;
    if (w->oracle_used && s->req.op == GEN_READ)
        judge_read(w, s);
    else if (w->oracle_used && is_write(s->req.op))
        settle_write(w, s);
    if (w->sweep && s->cmd.status == INI_STATUS_LOST) /* read again; what was judged already is judged twice */
        w->gen.cursor_bytes = MIN(w->gen.cursor_bytes, s->req.off_bytes);
    else if (w->sweep && s->cmd.status && sweep_failed(w, s))
        return;
    count_end(w, s);
}

static void stamp_slot(struct worker *w, struct slot *s)
{
    uint32_t ub = unit_bytes(w);
    struct stamp st = {.unit = s->req.off_bytes / ub, .write_id = s->id, .generation = w->run,
                       .log_id = w->oracle.log_id};

    memcpy(st.nguid, w->oracle.nguid, sizeof(st.nguid));
    for (uint32_t i = 0; i < s->req.len_bytes / ub; i++, st.unit++)
        stamp_fill(s->buf + (size_t)i * ub, ub, &st);
}

static int enter_write(struct worker *w, struct slot *s)
{
    uint32_t nr = s->req.len_bytes / unit_bytes(w);
    uint64_t first = s->req.off_bytes / unit_bytes(w);
    int err;

    s->id = w->next_id;
    w->next_id += w->id_step;
    if (s->req.op != GEN_WRITE)
        s->id |= WRITE_ID_ZERO;
    err = oracle_begin_write(&w->oracle, first, nr, s->id);
    if (!err)
        err = acklog_append(&w->log, ACK_SUBMIT, s->id, first, nr);
    if (s->req.op == GEN_WRITE)
        stamp_slot(w, s);
    return err;
}

static void build_sqe(struct worker *w, struct slot *s)
{
    static const uint8_t opcode[GEN_OP_NR] = {[GEN_READ] = OP_READ, [GEN_WRITE] = OP_WRITE, [GEN_TRIM] = OP_DSM,
                                              [GEN_ZERO] = OP_WRITE_ZEROES, [GEN_FLUSH] = OP_FLUSH};
    uint64_t lba = s->req.off_bytes / w->ns.lba_bytes;
    uint32_t nlb = s->req.len_bytes / w->ns.lba_bytes;

    memset(&s->cmd, 0, sizeof(s->cmd));
    s->cmd.done = on_done;
    s->cmd.sqe.opcode = opcode[s->req.op];
    s->cmd.sqe.nsid = to_le32(1);
    if (s->req.op == GEN_FLUSH)
        return;
    if (s->req.op == GEN_TRIM) {
        s->range = (struct dsm_range){.nlb = to_le32(nlb), .slba = to_le64(lba)};
        s->cmd.sqe.cdw11 = to_le32(DSM_DEALLOCATE);
        s->cmd.dir = INI_WRITE;
        s->cmd.data = (uint8_t *)&s->range;
        s->cmd.len = sizeof(s->range);
        return;
    }
    s->cmd.sqe.cdw10 = to_le32((uint32_t)lba);
    s->cmd.sqe.cdw11 = to_le32((uint32_t)(lba >> 32));
    s->cmd.sqe.cdw12 = to_le32((nlb - 1) | (w->o->fua && s->req.op == GEN_WRITE ? CDW12_FUA : 0));
    if (s->req.op == GEN_ZERO)
        return;
    s->cmd.dir = s->req.op == GEN_READ ? INI_READ : INI_WRITE;
    s->cmd.data = s->req.op == GEN_WRITE || w->oracle_used ? s->buf : NULL;
    s->cmd.len = s->req.len_bytes;
}

bool worker_start_one(struct worker *w, uint32_t queue)
{
    struct conn *conn = &w->assoc.io[queue];
    struct slot *s = w->free_slots[queue];
    struct gen_req req;

    if (s == NULL || !ini_has_room(&conn->q) || !gen_next(&w->gen, &req))
        return false;
    w->free_slots[queue] = s->next_free;
    s->req = req;
    s->busy = true;
    s->start_ns = w->loop.now_ns;
    w->inflight++;
    w->started_ops++;
    w->started_bytes += req.len_bytes;
    build_sqe(w, s);
    if (is_write(req.op)) {
        w->st.submitted_writes++;
        if (w->oracle_used)
            log_fail(w, enter_write(w, s));
    }
    ini_submit(&conn->q, &s->cmd);
    return true;
}
