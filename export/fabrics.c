/* SPDX-License-Identifier: Apache-2.0 */
/* fabrics.c: Fabrics commands of a live queue: properties and Disconnect. (Connect is connect.c.) */
#include "export/priv.h"

static const struct fabrics_property *prop_of(const struct cmd *c) { return (const void *)&c->sqe; }

/* The CAP property: MQES, contiguous queues, 7.5 s to become ready, the NVM command set, 4 KiB pages. */
uint64_t ctrl_cap(const struct target *t)
{
    return (t->opts.queue_depth - 1u) | 1u << 16 | 15u << 24 | UINT64_C(1) << 37;
}

static uint16_t no_data(struct cmd *c)
{
    c->dir = DIR_NONE;
    c->bytes = 0;
    return ST_SUCCESS;
}

static uint16_t prepare_property(struct cmd *c)
{
    if (c->q->qid != 0)
        return ST_INVALID_FIELD | STATUS_DNR;
    return no_data(c);
}

static bool prop_is(const struct fabrics_property *p, uint32_t ofst, unsigned size)
{
    return from_le32(p->ofst) == ofst && (p->attrib & 7) == size;
}

static void property_get(struct cmd *c)
{
    const struct fabrics_property *p = prop_of(c);
    const struct ctrl *ctrl = c->q->ctrl;

    if (prop_is(p, PROP_CAP, 1))
        c->result = ctrl_cap(c->q->t);
    else if (prop_is(p, PROP_VS, 0))
        c->result = NVME_VS_1_4;
    else if (prop_is(p, PROP_CC, 0))
        c->result = ctrl->cc;
    else if (prop_is(p, PROP_CSTS, 0))
        c->result = ctrl->csts;
    else if (prop_is(p, PROP_CRTO, 0))
        c->result = 15;
    else {
        cmd_complete(c, ST_INVALID_FIELD | STATUS_DNR);
        return;
    }
    cmd_complete(c, ST_SUCCESS);
}

/* Page size 4 KiB, round robin, the NVM command set; entry sizes are fixed in Fabrics, hosts set them or leave them. */
static bool cc_supported(uint32_t cc)
{
    uint32_t css = cc >> 4 & 7, mps = cc >> 7 & 15, ams = cc >> 11 & 7, iosqes = cc >> 16 & 15, iocqes = cc >> 20 & 15;

    return css == 0 && mps == 0 && ams == 0 && (iosqes == 6 || iosqes == 0) && (iocqes == 4 || iocqes == 0);
}

static void set_cc(struct ctrl *c, uint32_t cc)
{
    uint32_t was = c->cc;

    c->cc = cc;
    if ((cc & CC_EN) && !(was & CC_EN))
        c->csts = cc_supported(cc) ? CSTS_RDY : CSTS_CFS;
    if (!(cc & CC_EN) && (was & CC_EN))
        ctrl_reset(c);
    if ((cc & CC_SHN_MASK) && !(was & CC_SHN_MASK))
        c->csts |= CSTS_SHST_DONE; /* nothing is volatile here */
    if (!(cc & CC_SHN_MASK))
        c->csts &= ~(uint32_t)CSTS_SHST_DONE;
}

static void property_set(struct cmd *c)
{
    const struct fabrics_property *p = prop_of(c);

    if (!prop_is(p, PROP_CC, 0)) {
        cmd_complete(c, ST_INVALID_FIELD | STATUS_DNR);
        return;
    }
    if (c->q->ctrl->resetting && (from_le64(p->value) & CC_EN)) { /* the host is to wait until CSTS.RDY is 0 */
        cmd_complete(c, ST_COMMAND_SEQUENCE);
        return;
    }
    set_cc(c->q->ctrl, (uint32_t)from_le64(p->value));
    cmd_complete(c, ST_SUCCESS);
}

static uint16_t prepare_disconnect(struct cmd *c)
{
    const struct fabrics_connect *sqe = (const void *)&c->sqe;

    if (c->q->qid == 0)
        return ST_INVALID_FIELD | STATUS_DNR; /* an association ends with its admin connection */
    return from_le16(sqe->recfmt) == 0 ? no_data(c) : (ST_CONNECT_FORMAT | STATUS_DNR);
}

static void disconnect(struct cmd *c)
{
    struct queue *q = c->q;

    cmd_complete(c, ST_SUCCESS);
    queue_drain(q);
}

static uint16_t prepare_connect(struct cmd *c)
{
    (void)c;
    return ST_COMMAND_SEQUENCE | STATUS_DNR; /* the queue is connected */
}

const struct cmd_op *fabrics_op(const struct nvme_sqe *sqe)
{
    static const struct cmd_op get = {prepare_property, property_get}, set = {prepare_property, property_set};
    static const struct cmd_op disc = {prepare_disconnect, disconnect}, again = {prepare_connect, NULL};

    switch (((const struct fabrics_connect *)(const void *)sqe)->fctype) {
    case FC_PROPERTY_GET: return &get;
    case FC_PROPERTY_SET: return &set;
    case FC_DISCONNECT:   return &disc;
    case FC_CONNECT:      return &again;
    default:              return NULL; /* no authentication is configured here */
    }
}
