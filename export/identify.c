/* SPDX-License-Identifier: Apache-2.0 */
/* identify.c: the Identify command: controller, namespace, lists, descriptors, and the NVM command set's parts.
 *
 * One namespace, number 1, of one format. The volatile write cache is absent: a write is durable when it completes.
 */
#include "export/priv.h"

#define NSID_ALL 0xffffffffu

/* Fixed text fields are padded with blanks. */
static void pad(char *to, size_t n, const char *text)
{
    size_t len = strnlen(text, n);

    memset(to, ' ', n);
    memcpy(to, text, len);
}

/* Several, and a shared namespace, though a volume lets in one at a time (connect.c): with that Linux puts its multipath device above the
 * namespace, also of one path, and what is under way when the connection is reset waits for the next one. Without, a request is sent into
 * the dead connection again and again until nvme_core.max_retries is used up, and the program gets an error. */
enum { CMIC_PORTS = 1, CMIC_CONTROLLERS = 2, NMIC_SHARED = 1 }; /* no asymmetric access (ANA) ever */

static uint8_t log2_of(uint32_t v) { return (uint8_t)__builtin_ctz(v); }

static void fill_limits(const struct ctrl *c, struct nvme_id_ctrl *id)
{
    bool disc = subsys_is_discovery(c->s);

    id->mdts = log2_of((disc ? DISCOVERY_DATA_MAX : MDTS_BYTES) / BLOCK_BYTES);
    id->acl = 3;
    id->aerl = AER_MAX - 1;
    id->elpe = 3;
    id->lpa = 2 | 4; /* effects log; offsets and long transfers */
    id->kas = to_le16(10);
    id->cqt = to_le16((uint16_t)MIN((c->s->t->opts.kato_grace_ns + c->s->t->opts.io_deadline_ns) / NS_PER_MS + 1, UINT16_MAX));
    id->sqes = 0x66;
    id->cqes = 0x44;
    id->maxcmd = to_le16((uint16_t)c->s->t->opts.queue_depth);
    id->sgls = to_le32(1 | 1u << 20); /* SGLs; an offset as address */
    id->ioccsz = to_le32((uint32_t)(sizeof(struct nvme_sqe) + IN_CAPSULE_BYTES) / 16);
    id->iorcsz = to_le32(1);
    id->msdbd = 1;
    id->ofcs = to_le16(1); /* Disconnect */
    id->oaes = to_le32(disc ? AEN_DISCOVERY : AEN_NS_ATTR);
    id->ctratt = to_le32(1 | 1u << 6); /* 16-byte host identifier; traffic keeps alive */
    if (disc)
        return;
    id->nn = to_le32(1);
    id->mnan = to_le32(1);
    id->oncs = to_le16(1 | 1 << 2 | 1 << 3 | 1 << 7); /* Compare, DSM, Write Zeroes, Verify */
    id->vwc = 3 << 1; /* absent; Flush takes NSID FFFFFFFFh */
}

void identify_ctrl_fill(const struct ctrl *c, struct nvme_id_ctrl *id)
{
    const struct subsys *s = c->s;

    memset(id, 0, sizeof(*id));
    pad(id->sn, sizeof(id->sn), s->p.serial);
    pad(id->mn, sizeof(id->mn), "Firn");
    pad(id->fr, sizeof(id->fr), FIRN_VERSION);
    id->cmic = CMIC_PORTS | CMIC_CONTROLLERS;
    id->cntlid = to_le16(c->cntlid);
    id->ver = to_le32(NVME_VS_1_4);
    id->cntrltype = subsys_is_discovery(s) ? 2 : 1;
    id->frmw = 1 | 1 << 1; /* one slot, read-only */
    id->wctemp = to_le16(343);
    id->cctemp = to_le16(373);
    memcpy(id->subnqn, s->p.nqn, strlen(s->p.nqn));
    fill_limits(c, id);
}

void identify_ns_fill(const struct subsys *s, struct nvme_id_ns *id)
{
    const struct blk *b = s->p.blk;
    uint16_t page = (uint16_t)(BLOCK_BYTES / b->lba_bytes - 1), stripe = (uint16_t)(MDTS_BYTES / b->lba_bytes - 1);

    memset(id, 0, sizeof(*id));
    id->nsze = id->ncap = id->nuse = to_le64(b->size_lba);
    id->nsfeat = 1 << 4; /* the preferences below hold */
    id->dlfeat = 1 | 1 << 3; /* deallocated blocks read as zeros; Write Zeroes may deallocate */
    id->nmic = NMIC_SHARED;
    id->npwg = id->npwa = id->npdg = id->npda = to_le16(page); /* 0-based */
    id->nows = to_le16(stripe);
    memcpy(id->nguid, s->p.uuid.b, sizeof(id->nguid));
    id->lbaf[0].lbads = log2_of(b->lba_bytes);
}

/* ---- one function a CNS: fills 4096 zeroed bytes, or says why not ------------------------------------------------------ */

typedef uint16_t cns_fn(const struct cmd *c, uint8_t *page);

static bool is_ns(const struct cmd *c) { return cmd_nsid(c) == 1 && !subsys_is_discovery(c->q->s); }

static uint16_t cns_ns(const struct cmd *c, uint8_t *page)
{
    if (!is_ns(c) && (cmd_nsid(c) != NSID_ALL || subsys_is_discovery(c->q->s)))
        return ST_INVALID_NAMESPACE | STATUS_DNR;
    identify_ns_fill(c->q->s, (void *)page);
    return ST_SUCCESS;
}

static uint16_t cns_ctrl(const struct cmd *c, uint8_t *page)
{
    identify_ctrl_fill(c->q->ctrl, (void *)page);
    return ST_SUCCESS;
}

static uint16_t cns_ns_list(const struct cmd *c, uint8_t *page)
{
    le32 one = to_le32(1);

    if (cmd_nsid(c) >= 0xfffffffeu)
        return ST_INVALID_NAMESPACE | STATUS_DNR;
    if (cmd_nsid(c) < 1 && !subsys_is_discovery(c->q->s))
        memcpy(page, &one, sizeof(one));
    return ST_SUCCESS;
}

static uint8_t *add_desc(uint8_t *at, uint8_t type, const void *value, uint8_t len)
{
    struct nvme_ns_id_desc d = {.nidt = type, .nidl = len};

    memcpy(at, &d, sizeof(d));
    memcpy(at + sizeof(d), value, len);
    return at + sizeof(d) + len;
}

static uint16_t cns_ns_descs(const struct cmd *c, uint8_t *page)
{
    const uint8_t nvm = 0;

    if (!is_ns(c))
        return ST_INVALID_NAMESPACE | STATUS_DNR;
    page = add_desc(page, NIDT_NGUID, c->q->s->p.uuid.b, 16);
    page = add_desc(page, NIDT_UUID, c->q->s->p.uuid.b, 16);
    add_desc(page, NIDT_CSI, &nvm, 1);
    return ST_SUCCESS;
}

static bool csi_nvm(const struct cmd *c) { return from_le32(c->sqe.cdw11) >> 24 == 0; }

/* The NVM command set's own view of a namespace: no protection information, so all zero. */
static uint16_t cns_csi_ns(const struct cmd *c, uint8_t *page)
{
    (void)page;
    if (!csi_nvm(c))
        return ST_INVALID_FIELD | STATUS_DNR;
    return is_ns(c) ? ST_SUCCESS : (ST_INVALID_NAMESPACE | STATUS_DNR);
}

/* The NVM command set's limits: Verify reads no more than a Read may (VSL); the others are unlimited. */
static uint16_t cns_csi_ctrl(const struct cmd *c, uint8_t *page)
{
    if (!csi_nvm(c))
        return ST_INVALID_FIELD | STATUS_DNR;
    page[0] = log2_of(MDTS_BYTES / BLOCK_BYTES);
    return ST_SUCCESS;
}

static uint16_t cns_csi_ns_list(const struct cmd *c, uint8_t *page)
{
    return csi_nvm(c) ? cns_ns_list(c, page) : (ST_INVALID_FIELD | STATUS_DNR);
}

/* What is true of a namespace whatever its command set. */
static uint16_t cns_ns_common(const struct cmd *c, uint8_t *page)
{
    if (!is_ns(c))
        return ST_INVALID_NAMESPACE | STATUS_DNR;
    page[1] = NMIC_SHARED;
    page[14] = 1; /* NSTAT: ready */
    return ST_SUCCESS;
}

#define CTRL_LIST_MAX 2047

/* Controllers of the subsystem from CNTID on: a count, then identifiers in rising order. */
static uint16_t cns_ctrl_list(const struct cmd *c, uint8_t *page)
{
    uint32_t from = from_le32(c->sqe.cdw10) >> 16;
    uint8_t present[65536 / 8] = {0};
    le16 *ids = (void *)page;
    uint16_t nr = 0;

    list_for_each(n, &c->q->s->ctrls) {
        uint16_t id = list_entry(n, struct ctrl, node)->cntlid;

        present[id / 8] |= (uint8_t)(1u << id % 8);
    }
    for (uint32_t id = from; id < 65536 && nr < CTRL_LIST_MAX; id++)
        if (present[id / 8] & 1u << id % 8)
            ids[++nr] = to_le16((uint16_t)id);
    ids[0] = to_le16(nr);
    return ST_SUCCESS;
}

static uint16_t cns_ns_ctrl_list(const struct cmd *c, uint8_t *page)
{
    return is_ns(c) ? cns_ctrl_list(c, page) : (ST_INVALID_NAMESPACE | STATUS_DNR);
}

/* Combinations of command sets: one, with the NVM command set alone. */
static uint16_t cns_command_sets(const struct cmd *c, uint8_t *page)
{
    (void)c;
    page[0] = 1;
    return ST_SUCCESS;
}

static cns_fn *const cns_table[] = {
    [0x00] = cns_ns,          [0x01] = cns_ctrl,      [0x02] = cns_ns_list,      [0x03] = cns_ns_descs,
    [0x05] = cns_csi_ns,      [0x06] = cns_csi_ctrl,  [0x07] = cns_csi_ns_list,  [0x08] = cns_ns_common,
    [0x10] = cns_ns_list,     [0x11] = cns_ns,        [0x12] = cns_ns_ctrl_list, [0x13] = cns_ctrl_list,
    [0x1a] = cns_csi_ns_list, [0x1c] = cns_command_sets,
};

static uint16_t prepare(struct cmd *c)
{
    uint32_t cns = from_le32(c->sqe.cdw10) & 0xff;

    if (cns >= ARRAY_LEN(cns_table) || !cns_table[cns])
        return ST_INVALID_FIELD | STATUS_DNR;
    c->dir = DIR_C2H;
    c->bytes = 4096;
    return ST_SUCCESS;
}

static void execute(struct cmd *c)
{
    uint8_t page[4096] = {0};
    uint16_t status = cns_table[from_le32(c->sqe.cdw10) & 0xff](c, page);

    cmd_copy_in(c, 0, page, sizeof(page));
    cmd_complete(c, status);
}

const struct cmd_op identify_op = {prepare, execute};
