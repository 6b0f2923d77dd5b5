/* SPDX-License-Identifier: Apache-2.0 */
/* admin.c: which admin commands there are, and the short ones: Abort, Asynchronous Event Request, Keep Alive.
 * (Identify, features and log pages have files of their own.)
 */
#include "export/priv.h"

static uint16_t no_data(struct cmd *c)
{
    c->dir = DIR_NONE;
    c->bytes = 0;
    return ST_SUCCESS;
}

static void keep_alive(struct cmd *c)
{
    ctrl_seen(c->q->ctrl);
    cmd_complete(c, ST_SUCCESS);
}

static uint16_t prepare_aer(struct cmd *c)
{
    if (c->q->ctrl->nr_aers >= AER_MAX)
        return ST_AER_LIMIT | STATUS_DNR;
    return slots_for_event(c->q) ? no_data(c) : ST_AER_LIMIT;
}

static void async_event(struct cmd *c)
{
    struct ctrl *ctrl = c->q->ctrl;

    cmd_set_state(c, CMD_PARKED);
    list_push_back(&ctrl->aers, &c->wait_node);
    ctrl->nr_aers++;
    ctrl_events_run(ctrl);
}

static struct cmd *parked_aer(struct ctrl *ctrl, uint16_t cid)
{
    list_for_each(n, &ctrl->aers)
        if (list_entry(n, struct cmd, wait_node)->cid == cid)
            return list_entry(n, struct cmd, wait_node);
    return NULL;
}

/* Only an event request can be taken back; what a blk holds will complete by itself. */
static void do_abort(struct cmd *c)
{
    struct ctrl *ctrl = c->q->ctrl;
    uint32_t cdw10 = from_le32(c->sqe.cdw10);
    struct cmd *aer = (cdw10 & 0xffff) == 0 ? parked_aer(ctrl, (uint16_t)(cdw10 >> 16)) : NULL;

    c->result = aer ? 0 : 1;
    if (aer) {
        list_remove(&aer->wait_node);
        ctrl->nr_aers--;
        cmd_complete(aer, ST_ABORT_REQUESTED);
    }
    cmd_complete(c, ST_SUCCESS);
}

const struct cmd_op *admin_op(const struct ctrl *c, const struct nvme_sqe *sqe)
{
    static const struct cmd_op abort_op = {no_data, do_abort}, aer_op = {prepare_aer, async_event}, ka_op = {no_data, keep_alive};

    (void)c;
    switch (sqe->opc) {
    case ADMIN_IDENTIFY:     return &identify_op;
    case ADMIN_GET_LOG_PAGE: return &get_log_op;
    case ADMIN_GET_FEATURES: return &get_features_op;
    case ADMIN_SET_FEATURES: return &set_features_op;
    case ADMIN_ABORT:        return &abort_op;
    case ADMIN_ASYNC_EVENT:  return &aer_op;
    case ADMIN_KEEP_ALIVE:   return &ka_op;
    default:                 return NULL;
    }
}
