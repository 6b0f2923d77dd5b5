/* SPDX-License-Identifier: Apache-2.0 */
/* Pure parts of commands: status of errors, SGL checks, Connect data, identify structures, states. */
#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>

#include "export/priv.h"

Test(status, every_error_has_one_and_success_is_only_zero)
{
    cr_assert_eq(status_of_err(0), ST_SUCCESS);
    for (int e = FIRN_E_BASE + 1; e < FIRN_E_END; e++)
        cr_assert_neq(status_of_err(-e) & ~STATUS_DNR, ST_SUCCESS, "%s", err_text(e));
    cr_assert_eq(status_of_err(-EIO), ST_INTERNAL);
}

Test(status, damage_is_a_media_error_and_full_is_capacity)
{
    cr_assert_eq(status_of_err(-FIRN_E_DAMAGED), 0x281 | STATUS_DNR);
    cr_assert_eq(status_of_err(-FIRN_E_NO_SPACE), 0x081 | STATUS_DNR);
    cr_assert_eq(status_of_err(-FIRN_E_RANGE), 0x080 | STATUS_DNR);
}

Test(status, what_time_mends_may_be_retried)
{
    static const enum firn_err mends[] = {FIRN_E_STOPPED, FIRN_E_DEVICE_FAILED, FIRN_E_NO_RESOURCES, FIRN_E_BUSY, FIRN_E_META};

    for (size_t i = 0; i < ARRAY_LEN(mends); i++)
        cr_assert_eq(status_of_err(-(int)mends[i]) & STATUS_DNR, 0);
}

static struct cmd sgl_cmd(enum cmd_dir dir, uint8_t type, uint32_t length)
{
    struct cmd c = {.dir = dir, .bytes = 4096, .sqe = {.flags = 0x40, .sgl = {.type = type, .length = to_le32(length)}}};

    return c;
}

Test(sgl, forms_that_fit)
{
    struct cmd r2t = sgl_cmd(DIR_H2C, SGL_TRANSPORT, 4096), in = sgl_cmd(DIR_H2C, SGL_OFFSET, 4096);
    struct cmd rd = sgl_cmd(DIR_C2H, SGL_TRANSPORT, 4096);

    cr_assert_eq(cmd_check_sgl(&r2t, 0), 0);
    cr_assert_eq(cmd_check_sgl(&in, 4096), 0);
    cr_assert_eq(cmd_check_sgl(&rd, 0), 0);
}

Test(sgl, data_in_the_capsule_and_descriptor_must_agree)
{
    struct cmd r2t = sgl_cmd(DIR_H2C, SGL_TRANSPORT, 4096), in = sgl_cmd(DIR_H2C, SGL_OFFSET, 4096);
    struct cmd rd = sgl_cmd(DIR_C2H, SGL_TRANSPORT, 4096);
    struct cmd short_len = sgl_cmd(DIR_H2C, SGL_OFFSET, 512), keyed = sgl_cmd(DIR_C2H, 0x40, 4096);
    struct cmd rd_in = sgl_cmd(DIR_C2H, SGL_OFFSET, 4096);

    cr_assert_eq(cmd_check_sgl(&r2t, 4096), ST_SGL_LENGTH | STATUS_DNR);
    cr_assert_eq(cmd_check_sgl(&in, 0), ST_SGL_LENGTH | STATUS_DNR);
    cr_assert_eq(cmd_check_sgl(&in, 8192), ST_SGL_LENGTH | STATUS_DNR);
    cr_assert_eq(cmd_check_sgl(&rd, 512), ST_INVALID_FIELD | STATUS_DNR);
    cr_assert_eq(cmd_check_sgl(&short_len, 512), ST_SGL_LENGTH | STATUS_DNR);
    cr_assert_eq(cmd_check_sgl(&keyed, 0), ST_SGL_TYPE | STATUS_DNR);
    cr_assert_eq(cmd_check_sgl(&rd_in, 0), ST_SGL_TYPE | STATUS_DNR);
    in.sqe.sgl.addr = to_le64(1);
    cr_assert_eq(cmd_check_sgl(&in, 4096), ST_SGL_OFFSET | STATUS_DNR);
    rd.sqe.flags = 0;
    cr_assert_eq(cmd_check_sgl(&rd, 0), ST_INVALID_FIELD | STATUS_DNR);
}

static struct fabrics_connect_data good(void)
{
    struct fabrics_connect_data d = {.hostid = {1}, .subnqn = "nqn.2026-11.io.firn:n:v", .hostnqn = "nqn.2014-08.org.nvmexpress:uuid:x"};

    return d;
}

Test(connect, names_end_within_their_field_and_hostid_is_set)
{
    struct fabrics_connect_data d = good();

    cr_assert_eq(connect_check_data(&d), 0);
    memset(d.subnqn + 4, 'a', 252);
    cr_assert_eq(connect_check_data(&d), 0x10100, "not terminated");
    d.subnqn[NQN_MAX_BYTES] = 0;
    cr_assert_eq(connect_check_data(&d), 0, "223 bytes");
    d.subnqn[NQN_MAX_BYTES] = 'a';
    d.subnqn[NQN_MAX_BYTES + 1] = 0;
    cr_assert_eq(connect_check_data(&d), 0x10100, "224 bytes");
    d = good();
    d.hostnqn[20] = '\n';
    cr_assert_eq(connect_check_data(&d), 0x10200);
    d = good();
    memcpy(d.hostnqn, "nqn.\xc3\xa4", 7); /* what no allow-list takes, Connect does not either */
    cr_assert_eq(connect_check_data(&d), 0x10200);
    d = good();
    d.hostid[0] = 0;
    cr_assert_eq(connect_check_data(&d), 0x10000);
}

Test(identify, controller)
{
    struct target t = {.opts = {.queue_depth = 128, .queues_max = 16}};
    struct blk b = {.lba_bytes = 4096};
    struct subsys s = {.t = &t, .p = {.nqn = "nqn.2026-11.io.firn:n:v", .serial = "0123456789abcdef0123", .blk = &b}};
    struct ctrl c = {.s = &s, .cntlid = 77};
    struct nvme_id_ctrl id;
    const uint8_t *raw = (const void *)&id;

    identify_ctrl_fill(&c, &id);
    cr_assert_eq(memcmp(raw + 4, "0123456789abcdef0123", 20), 0);
    cr_assert_eq(memcmp(raw + 24, "Firn                                    ", 40), 0);
    cr_assert(raw[77] == 7 && raw[78] == 77, "MDTS 512 KiB, CNTLID");
    cr_assert_eq(raw[111], 1, "an I/O controller");
    cr_assert_eq(raw[320], 10, "KAS");
    cr_assert(raw[512] == 0x66 && raw[513] == 0x44, "SQES, CQES");
    cr_assert_eq(raw[525] & 1, 0, "no volatile write cache");
    cr_assert_eq(raw[536], 1, "SGLS");
    cr_assert_eq(raw[1792] | raw[1793] << 8, (64 + 8192) / 16, "IOCCSZ");
    cr_assert_str_eq((const char *)raw + 768, s.p.nqn);
}

/* CMIC bit 1 and NMIC bit 0 make Linux put a multipath device above the namespace; CMIC bit 3 would announce ANA. */
Test(identify, a_volume_may_have_several_controllers_and_is_shared)
{
    struct target t = {.opts = {.queue_depth = 128}};
    struct blk b = {.lba_bytes = 4096, .size_lba = 1000};
    struct subsys s = {.t = &t, .p = {.nqn = "nqn.x", .blk = &b}};
    struct ctrl c = {.s = &s, .cntlid = 7};
    struct nvme_id_ctrl id;
    struct nvme_id_ns ns;

    for (int single = 0; single < 2; single++) {
        s.p.single_host = single;
        identify_ctrl_fill(&c, &id);
        identify_ns_fill(&s, &ns);
        cr_assert_eq(id.cmic, 3);
        cr_assert_eq(ns.nmic, 1);
    }
}

Test(identify, namespace)
{
    struct blk b = {.lba_bytes = 512, .size_lba = 1000};
    struct subsys s = {.p = {.blk = &b, .uuid = {{1, 2, 3}}}};
    struct nvme_id_ns id;

    identify_ns_fill(&s, &id);
    cr_assert(from_le64(id.nsze) == 1000 && id.lbaf[0].lbads == 9 && id.nlbaf == 0 && id.flbas == 0);
    cr_assert_eq(from_le16(id.npwg), 7, "4 KiB in 512-byte blocks, 0-based");
    cr_assert_eq(memcmp(id.nguid, s.p.uuid.b, 16), 0);
    b.lba_bytes = 4096;
    identify_ns_fill(&s, &id);
    cr_assert(id.lbaf[0].lbads == 12 && from_le16(id.npwg) == 0);
}

Test(cmd, a_state_that_is_not_allowed_aborts, .signal = SIGABRT)
{
    struct queue q = {0};
    struct cmd c = {.q = &q, .state = CMD_FREE};

    cmd_set_state(&c, CMD_EXECUTING);
}

Test(queue, a_closing_queue_never_lives_again, .signal = SIGABRT)
{
    struct queue q = {.state = QUEUE_CLOSING};

    queue_set_state(&q, QUEUE_LIVE); /* CVE-2026-46135 */
}

Test(queue, costs_at_most_one_page_before_connect)
{
    cr_assert_leq(sizeof(struct queue), 4096);
    cr_assert_leq(sizeof(struct subsys), 1024);
}
