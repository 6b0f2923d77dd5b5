/* SPDX-License-Identifier: Apache-2.0 */
/* features.c: Get Features and Set Features. Nothing is saved: a controller begins with the defaults. */
#include "export/priv.h"

enum { SLOT_ARBITRATION, SLOT_POWER, SLOT_TEMPERATURE, SLOT_ERROR_RECOVERY };
enum { SEL_CURRENT, SEL_DEFAULT, SEL_SAVED, SEL_SUPPORTED };
#define HOST_BEHAVIOR_BYTES 512u

static uint32_t fid_of(const struct cmd *c) { return from_le32(c->sqe.cdw10) & 0xff; }
static uint32_t sel_of(const struct cmd *c) { return from_le32(c->sqe.cdw10) >> 8 & 7; }

static int slot_of(uint32_t fid)
{
    switch (fid) {
    case FID_ARBITRATION:    return SLOT_ARBITRATION;
    case FID_POWER:          return SLOT_POWER;
    case FID_TEMPERATURE:    return SLOT_TEMPERATURE;
    case FID_ERROR_RECOVERY: return SLOT_ERROR_RECOVERY;
    default:                 return -1;
    }
}

static bool known(uint32_t fid)
{
    switch (fid) {
    case FID_NUM_QUEUES:
    case FID_WRITE_ATOMICITY:
    case FID_ASYNC_EVENT:
    case FID_KATO:
    case FID_HOST_BEHAVIOR:
    case FID_HOST_ID:
        return true;
    default:
        return slot_of(fid) >= 0;
    }
}

/* ---- get --------------------------------------------------------------------------------------------------------------- */

static uint32_t data_bytes(uint32_t fid)
{
    if (fid == FID_HOST_BEHAVIOR)
        return HOST_BEHAVIOR_BYTES;
    return fid == FID_HOST_ID ? 16 : 0;
}

/* On discovery nothing that comes with data: who may ask there is anybody, and data that is awaited holds slots and chunks. */
static bool changeable(const struct cmd *c, uint32_t fid)
{
    if (fid == FID_HOST_ID || fid == FID_WRITE_ATOMICITY)
        return false;
    return !subsys_is_discovery(c->q->s) || data_bytes(fid) == 0;
}

static uint16_t prepare_get(struct cmd *c)
{
    uint32_t fid = fid_of(c);

    if (!known(fid) || sel_of(c) > SEL_SUPPORTED)
        return ST_INVALID_FIELD | STATUS_DNR;
    if (fid == FID_HOST_ID && !(from_le32(c->sqe.cdw11) & 1)) /* Fabrics: the 16-byte form only */
        return ST_INVALID_FIELD | STATUS_DNR;
    c->bytes = sel_of(c) == SEL_SUPPORTED ? 0 : data_bytes(fid);
    c->dir = c->bytes ? DIR_C2H : DIR_NONE;
    return ST_SUCCESS;
}

static uint32_t current_value(const struct ctrl *ctrl, uint32_t fid)
{
    uint32_t queues = ctrl->io_queues_granted - 1u;

    switch (fid) {
    case FID_NUM_QUEUES:  return queues << 16 | queues;
    case FID_ASYNC_EVENT: return ctrl->async_config;
    case FID_KATO:        return ctrl->kato_ms;
    default:              return slot_of(fid) >= 0 ? ctrl->features[slot_of(fid)] : 0;
    }
}

static uint32_t default_value(const struct target *t, uint32_t fid)
{
    return fid == FID_NUM_QUEUES ? (t->opts.queues_max - 1) << 16 | (t->opts.queues_max - 1) : 0;
}

static void get_data(struct cmd *c)
{
    struct ctrl *ctrl = c->q->ctrl;
    uint8_t behavior[HOST_BEHAVIOR_BYTES] = {ctrl->host_behavior};

    if (fid_of(c) == FID_HOST_ID)
        cmd_copy_in(c, 0, ctrl->hostid, sizeof(ctrl->hostid));
    else
        cmd_copy_in(c, 0, behavior, sizeof(behavior));
}

static void get(struct cmd *c)
{
    uint32_t fid = fid_of(c);

    if (c->bytes)
        get_data(c);
    switch (sel_of(c)) {
    case SEL_CURRENT:
        c->result = current_value(c->q->ctrl, fid);
        break;
    case SEL_SUPPORTED:
        c->result = changeable(c, fid) ? 4 : 0; /* not saveable, not per namespace */
        break;
    default:
        c->result = default_value(c->q->t, fid);
        break;
    }
    cmd_complete(c, ST_SUCCESS);
}

/* ---- set --------------------------------------------------------------------------------------------------------------- */

static uint16_t prepare_set(struct cmd *c)
{
    uint32_t fid = fid_of(c);

    if (!known(fid))
        return ST_INVALID_FIELD | STATUS_DNR;
    if (from_le32(c->sqe.cdw10) >> 31)
        return ST_FEATURE_NOT_SAVEABLE | STATUS_DNR;
    if (!changeable(c, fid))
        return ST_FEATURE_NOT_CHANGEABLE | STATUS_DNR;
    c->bytes = data_bytes(fid);
    c->dir = c->bytes ? DIR_H2C : DIR_NONE;
    return ST_SUCCESS;
}

static bool has_io_queues(const struct ctrl *ctrl) { return ctrl->nr_queues > 1; }

/* The host asks for queues (0-based); it gets at most what this target allows. */
static uint16_t set_num_queues(struct cmd *c, uint32_t v)
{
    struct ctrl *ctrl = c->q->ctrl;
    uint32_t nsq = v & 0xffff, ncq = v >> 16;

    if (nsq == 0xffff || ncq == 0xffff)
        return ST_INVALID_FIELD | STATUS_DNR;
    if (has_io_queues(ctrl))
        return ST_COMMAND_SEQUENCE | STATUS_DNR;
    ctrl->io_queues_granted = (uint16_t)MIN(MIN(nsq, ncq) + 1, c->q->t->opts.queues_max);
    c->result = current_value(ctrl, FID_NUM_QUEUES);
    return ST_SUCCESS;
}

static uint16_t set_behavior(struct cmd *c)
{
    uint8_t acre;

    cmd_copy_out(c, 0, &acre, 1);
    c->q->ctrl->host_behavior = acre & 1;
    return ST_SUCCESS;
}

static void set(struct cmd *c)
{
    struct ctrl *ctrl = c->q->ctrl;
    uint32_t fid = fid_of(c), v = from_le32(c->sqe.cdw11);
    uint16_t status = ST_SUCCESS;

    if (fid == FID_NUM_QUEUES)
        status = set_num_queues(c, v);
    else if (fid == FID_ASYNC_EVENT)
        ctrl->async_config = v;
    else if (fid == FID_KATO)
        ctrl_set_kato(ctrl, (uint32_t)MIN(ROUND_UP((uint64_t)v, 1000u), 3600000u));
    else if (fid == FID_HOST_BEHAVIOR)
        status = set_behavior(c);
    else if (fid == FID_POWER && (v & 31) != 0)
        status = ST_INVALID_FIELD | STATUS_DNR; /* one power state */
    else
        ctrl->features[slot_of(fid)] = v;
    cmd_complete(c, status);
}

const struct cmd_op get_features_op = {prepare_get, get};
const struct cmd_op set_features_op = {prepare_set, set};
