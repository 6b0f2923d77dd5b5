/* SPDX-License-Identifier: Apache-2.0 */
/* log_page.c: Get Log Page. A page is built whole on the stack (they are short) and the window asked for is copied; the
 * discovery log, which is long, makes its window itself (discovery.c). Bytes behind a page's end are zero.
 */
#include "export/priv.h"

#define PAGE_MAX 4096u
#define RAE (1u << 15) /* CDW10: leave the event masked */

static uint32_t lid_of(const struct cmd *c) { return from_le32(c->sqe.cdw10) & 0xff; }
static uint64_t lpo_of(const struct cmd *c) { return from_le32(c->sqe.cdw12) | (uint64_t)from_le32(c->sqe.cdw13) << 32; }

static uint64_t transfer_bytes(const struct cmd *c)
{
    uint64_t dwords = from_le32(c->sqe.cdw10) >> 16 | (uint64_t)(from_le32(c->sqe.cdw11) & 0xffff) << 16;

    return (dwords + 1) * 4;
}

static void put128(uint8_t to[static 16], uint64_t v)
{
    le64 le = to_le64(v);

    memcpy(to, &le, sizeof(le));
}

static void smart(struct cmd *c, uint8_t *page)
{
    struct nvme_smart_log *l = (void *)page;
    struct subsys *s = c->q->s;

    l->temperature = to_le16(300);
    l->avail_spare = 100;
    l->spare_thresh = 10;
    put128(l->data_units_read, (metric_get(subsys_bytes(s, SUBSYS_READ)) + 511999) / 512000);
    put128(l->data_units_written, (metric_get(subsys_bytes(s, SUBSYS_WRITE)) + 511999) / 512000);
    put128(l->host_reads, metric_get(subsys_ops(s, SUBSYS_READ)));
    put128(l->host_writes, metric_get(subsys_ops(s, SUBSYS_WRITE)));
}

static void firmware(struct cmd *c, uint8_t *page)
{
    (void)c;
    page[0] = 1; /* slot 1 is active */
    memset(page + 8, ' ', 8);
    memcpy(page + 8, FIRN_VERSION, MIN(sizeof(FIRN_VERSION) - 1, 8));
}

static void changed_ns(struct cmd *c, uint8_t *page)
{
    le32 one = to_le32(1);

    if (c->q->ctrl->ns_changed)
        memcpy(page, &one, sizeof(one));
    if (!(from_le32(c->sqe.cdw10) & RAE)) {
        c->q->ctrl->ns_changed = false;
        ctrl_event_read(c->q->ctrl, EVENT_NS);
    }
}

static void mark(uint8_t *at, uint32_t opc, uint32_t v)
{
    le32 le = to_le32(v);

    memcpy(at + opc * 4, &le, sizeof(le));
}

/* Bit 0: supported; bit 1: changes blocks. Admin commands first, I/O commands from byte 1024 on. */
static void effects(struct cmd *c, uint8_t *page)
{
    static const uint8_t admin[] = {ADMIN_GET_LOG_PAGE, ADMIN_IDENTIFY, ADMIN_ABORT, ADMIN_SET_FEATURES, ADMIN_GET_FEATURES,
                                    ADMIN_ASYNC_EVENT, ADMIN_KEEP_ALIVE};
    static const uint8_t plain[] = {IO_FLUSH, IO_READ, IO_COMPARE, IO_VERIFY};
    static const uint8_t changing[] = {IO_WRITE, IO_WRITE_ZEROES, IO_DSM};

    for (size_t i = 0; i < sizeof(admin); i++)
        mark(page, admin[i], 1);
    if (subsys_is_discovery(c->q->s))
        return;
    for (size_t i = 0; i < sizeof(plain); i++)
        mark(page + 1024, plain[i], 1);
    for (size_t i = 0; i < sizeof(changing); i++)
        mark(page + 1024, changing[i], 3);
}

static void error_log(struct cmd *c, uint8_t *page)
{
    (void)c;
    (void)page; /* errors are in the answers and the server's metrics; entries with count 0 are not valid ones */
}

static void supported(struct cmd *c, uint8_t *page);

struct log_page {
    void   (*fill)(struct cmd *c, uint8_t *page);
    uint32_t bytes;
};
static const struct log_page pages[] = {
    [LID_SUPPORTED]  = {supported, 1024},
    [LID_ERROR]      = {error_log, 4 * sizeof(struct nvme_error_entry)},
    [LID_SMART]      = {smart, sizeof(struct nvme_smart_log)},
    [LID_FIRMWARE]   = {firmware, 512},
    [LID_CHANGED_NS] = {changed_ns, 4096},
    [LID_EFFECTS]    = {effects, 4096},
};

static void supported(struct cmd *c, uint8_t *page)
{
    for (uint32_t lid = 0; lid < ARRAY_LEN(pages); lid++)
        mark(page, lid, 1);
    if (subsys_is_discovery(c->q->s))
        mark(page, LID_DISCOVERY, 1);
}

static bool is_discovery_log(const struct cmd *c) { return lid_of(c) == LID_DISCOVERY && subsys_is_discovery(c->q->s); }

static uint16_t prepare(struct cmd *c)
{
    uint64_t bytes = transfer_bytes(c), lpo = lpo_of(c), max = subsys_is_discovery(c->q->s) ? DISCOVERY_DATA_MAX : MDTS_BYTES;

    if (lid_of(c) >= ARRAY_LEN(pages) && !is_discovery_log(c))
        return ST_INVALID_LOG_PAGE | STATUS_DNR;
    if (bytes > max || lpo % 4 != 0 || (from_le32(c->sqe.cdw14) >> 23 & 1))
        return ST_INVALID_FIELD | STATUS_DNR;
    if (!is_discovery_log(c) && lpo > pages[lid_of(c)].bytes)
        return ST_INVALID_FIELD | STATUS_DNR;
    if (lpo > UINT32_MAX) /* no discovery log is that long; and sums stay small */
        return ST_INVALID_FIELD | STATUS_DNR;
    c->dir = DIR_C2H;
    c->bytes = (uint32_t)bytes;
    return ST_SUCCESS;
}

static void execute_discovery(struct cmd *c)
{
    log_discovery(c, lpo_of(c));
    if (!(from_le32(c->sqe.cdw10) & RAE))
        ctrl_event_read(c->q->ctrl, EVENT_DISCOVERY);
}

static void execute(struct cmd *c)
{
    uint8_t page[PAGE_MAX] = {0};
    const struct log_page *p;
    uint64_t lpo = lpo_of(c);

    cmd_zero_data(c);
    if (is_discovery_log(c)) {
        execute_discovery(c);
    } else {
        p = &pages[lid_of(c)];
        p->fill(c, page);
        cmd_copy_in(c, 0, page + lpo, MIN(c->bytes, p->bytes - lpo));
    }
    cmd_complete(c, ST_SUCCESS);
}

const struct cmd_op get_log_op = {prepare, execute};
