/* SPDX-License-Identifier: Apache-2.0 */
/* raw_io.c: what a well-behaved host sees: each command, each way of data, with and without digests, one reactor and two. */
#include "raw.h"

static void transfers(const struct raw_srv *s, bool hd, bool dd, uint32_t lba_bytes)
{
    static uint8_t w[MDTS_BYTES], r[MDTS_BYTES];
    static const uint32_t sizes[] = {4096, 8192, 12288, 65536, 69632, 131072, MDTS_BYTES};
    struct raw_conn a = raw_admin(s, hd, dd, NULL), q = raw_ioq(s, &a, 1, hd, dd);
    uint16_t cid = 1;

    raw_check(a.fd >= 0 && q.fd >= 0, "connect hd=%d dd=%d", hd, dd);
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        uint32_t n = sizes[i], nlb = n / lba_bytes;
        static const uint32_t steps[] = {4096, 16384, 65540, H2C_DATA_MAX_BYTES};

        for (size_t k = 0; k < ARRAY_LEN(steps); k++) {
            struct nvme_sqe wr = raw_io(IO_WRITE, cid++, 8, nlb, n, false), rd = raw_io(IO_READ, cid++, 8, nlb, n, false);

            raw_fill(w, n, n + (uint32_t)k);
            raw_check(raw_write_r2t(&q, &wr, w, n, steps[k]) == 0, "write %u by %u", n, steps[k]);
            raw_check(raw_read_cmd(&q, &rd, r, n) == 0 && memcmp(w, r, n) == 0,
                    "read back %u (steps %u) hd=%d dd=%d", n, steps[k], hd, dd);
        }
    }
    for (uint32_t n = lba_bytes; n <= IN_CAPSULE_BYTES; n += lba_bytes) {
        struct nvme_sqe wr = raw_io(IO_WRITE, cid++, 40, n / lba_bytes, n, true), rd = raw_io(IO_READ, cid++, 40,
                n / lba_bytes, n, false);

        raw_fill(w, n, n);
        raw_check(raw_status(raw_cmd(&q, &wr, w, n)) == 0, "in-capsule write %u", n);
        raw_check(raw_read_cmd(&q, &rd, r, n) == 0 && memcmp(w, r, n) == 0, "read back %u", n);
    }
    close(q.fd);
    close(a.fd);
}

static void other_io(const struct raw_srv *s)
{
    static uint8_t w[16384], r[16384], zero[16384];
    struct raw_conn a = raw_admin(s, false, false, NULL), q = raw_ioq(s, &a, 1, false, false);
    struct nvme_dsm_range ranges[2] = {{.nlb = to_le32(1), .slba = to_le64(100)}, {.nlb = to_le32(2), .slba = to_le64(102)}};
    struct nvme_sqe wr = raw_io(IO_WRITE, 1, 100, 4, 16384, false), rd = raw_io(IO_READ, 2, 100, 4, 16384, false);
    struct nvme_sqe cmp = raw_io(IO_COMPARE, 3, 100, 4, 16384, false), ver = raw_io(IO_VERIFY, 4, 100, 128, 0, false);
    struct nvme_sqe fl = raw_sqe(IO_FLUSH, 5, 1), wz = raw_io(IO_WRITE_ZEROES, 6, 101, 1, 0, false);
    struct nvme_dsm_range list[256] = {{.nlb = to_le32(0)}};
    struct nvme_sqe dsm = raw_io(IO_DSM, 7, 0, 1, sizeof(ranges), true), whole, bad;

    raw_fill(w, sizeof(w), 5);
    raw_check(raw_write_r2t(&q, &wr, w, sizeof(w), 16384) == 0, "write");
    raw_check(raw_write_r2t(&q, &cmp, w, sizeof(w), 16384) == 0, "compare equal");
    w[9000] ^= 1;
    raw_check(raw_write_r2t(&q, &cmp, w, sizeof(w), 16384) == ST_COMPARE_FAILURE, "compare differs");
    w[9000] ^= 1;
    raw_check(raw_status(raw_cmd(&q, &ver, NULL, 0)) == 0, "verify 512 KiB");
    ver.cdw12 = to_le32(128);
    raw_check(raw_status(raw_cmd(&q, &ver, NULL, 0)) == ST_INVALID_FIELD, "verify above VSL");
    raw_check(raw_status(raw_cmd(&q, &fl, NULL, 0)) == 0, "flush");
    fl.nsid = to_le32(0xffffffff);
    raw_check(raw_status(raw_cmd(&q, &fl, NULL, 0)) == 0, "flush of all namespaces");
    raw_check(raw_status(raw_cmd(&q, &wz, NULL, 0)) == 0, "write zeroes");
    raw_check(raw_read_cmd(&q, &rd, r, sizeof(r)) == 0 && memcmp(r + 4096, zero, 4096) == 0 && memcmp(r, w,
            4096) == 0, "one block is zero");
    dsm.cdw10 = to_le32(1);
    dsm.cdw11 = to_le32(DSM_AD);
    raw_check(raw_status(raw_cmd(&q, &dsm, ranges, sizeof(ranges))) == 0, "deallocate two ranges");
    whole = raw_io(IO_DSM, 7, 0, 1, sizeof(list), true);
    whole.cdw10 = to_le32(1);
    whole.cdw11 = to_le32(DSM_AD);
    memcpy(list, ranges, sizeof(ranges));
    raw_check(raw_status(raw_cmd(&q, &whole, list, sizeof(list))) == 0, "a list of 256 ranges of which two count, as Linux sends it");
    raw_check(raw_read_cmd(&q, &rd, r, sizeof(r)) == 0 && memcmp(r, zero, sizeof(r)) == 0, "all zero");
    ranges[1].slba = to_le64(RAW_BLOCKS - 1);
    raw_check(raw_status(raw_cmd(&q, &dsm, ranges, sizeof(ranges))) == ST_LBA_RANGE, "a range beyond the end");
    bad = raw_io(IO_READ, 9, UINT64_MAX, 1, 4096, false);
    raw_check(raw_read_cmd(&q, &bad, r, 4096) == ST_LBA_RANGE, "LBA wraps");
    bad = raw_io(IO_READ, 9, RAW_BLOCKS - 1, 2, 8192, false);
    raw_check(raw_read_cmd(&q, &bad, r, 8192) == ST_LBA_RANGE, "one block too far");
    bad = raw_io(IO_READ, 9, 0, 129, 129 * 4096, false);
    raw_check(raw_read_cmd(&q, &bad, r, 4096) == ST_INVALID_FIELD, "above MDTS");
    bad = raw_io(IO_READ, 9, 0, 1, 4096, false);
    bad.nsid = to_le32(2);
    raw_check(raw_read_cmd(&q, &bad, r, 4096) == ST_INVALID_NAMESPACE, "namespace 2");
    close(q.fd);
    close(a.fd);
}

static uint16_t identify(const struct raw_conn *a, uint32_t cns, uint32_t nsid, void *page)
{
    struct nvme_sqe sqe = raw_sqe(ADMIN_IDENTIFY, 30, nsid);

    sqe.cdw10 = to_le32(cns);
    sqe.sgl.length = to_le32(4096);
    return raw_read_cmd(a, &sqe, page, 4096);
}

static uint16_t get_log(const struct raw_conn *a, uint8_t lid, uint64_t off, void *out, uint32_t n)
{
    struct nvme_sqe sqe = raw_sqe(ADMIN_GET_LOG_PAGE, 31, 0xffffffff);

    sqe.cdw10 = to_le32(lid | (n / 4 - 1) << 16);
    sqe.cdw12 = to_le32((uint32_t)off);
    sqe.sgl.length = to_le32(n);
    return raw_read_cmd(a, &sqe, out, n);
}

static void admin(const struct raw_srv *s)
{
    static uint8_t page[4096];
    static const uint8_t good[] = {0, 1, 2, 3, 5, 6, 7, 8, 0x10, 0x11, 0x12, 0x13, 0x1a, 0x1c}, bad[] = {4, 9, 0x0a,
            0x14, 0x15, 0x18, 0x20, 0xff};
    struct raw_conn a = raw_admin(s, false, false, NULL);
    struct nvme_id_ctrl *id = (void *)page;
    struct nvme_sqe sqe;

    for (size_t i = 0; i < sizeof(good); i++) {
        uint32_t nsid = good[i] == 2 || good[i] == 7 || good[i] == 0x10 || good[i] == 0x1a ? 0 : 1;

        raw_check(identify(&a, good[i], nsid, page) == 0, "identify CNS %02xh", good[i]);
    }
    for (size_t i = 0; i < sizeof(bad); i++)
        raw_check(identify(&a, bad[i], 1, page) == ST_INVALID_FIELD, "identify CNS %02xh is refused", bad[i]);
    raw_check(identify(&a, 1, 0, page) == 0 && memcmp(id->mn, "Firn    ", 8) == 0 && from_le16(id->cntlid) == a.cntlid, "controller");
    raw_check(identify(&a, 0, 7, page) == ST_INVALID_NAMESPACE, "namespace 7");
    for (uint8_t lid = 0; lid < 6; lid++)
        raw_check(get_log(&a, lid, 0, page, 512) == 0, "log page %u", lid);
    raw_check(get_log(&a, 0x70, 0, page, 512) == ST_INVALID_LOG_PAGE, "no discovery log here");
    raw_check(get_log(&a, LID_SMART, 516, page, 512) == ST_INVALID_FIELD, "offset behind the page");
    sqe = raw_sqe(ADMIN_SET_FEATURES, 40, 0);
    sqe.cdw10 = to_le32(FID_NUM_QUEUES);
    sqe.cdw11 = to_le32(3 | 3 << 16);
    raw_check(raw_cmd(&a, &sqe, NULL, 0).result == (3 | 3 << 16), "four queues");
    sqe.cdw10 = to_le32(FID_VWC);
    raw_check(raw_status(raw_cmd(&a, &sqe, NULL, 0)) == ST_INVALID_FIELD, "no volatile write cache");
    sqe = raw_sqe(ADMIN_KEEP_ALIVE, 41, 0);
    raw_check(raw_status(raw_cmd(&a, &sqe, NULL, 0)) == 0, "keep alive");
    sqe = raw_sqe(0xc0, 42, 0);
    raw_check(raw_status(raw_cmd(&a, &sqe, NULL, 0)) == ST_INVALID_OPCODE, "unknown opcode");
    close(a.fd);
}

static void resize(void *arg)
{
    struct raw_srv *s = arg;

    s->blk->size_lba /= 2;
    blk_notify(s->blk, BLK_EVENT_RESIZED);
}

static void events(struct raw_srv *s)
{
    static uint8_t page[4096];
    struct raw_conn a = raw_admin(s, false, false, NULL);
    struct nvme_sqe set = raw_sqe(ADMIN_SET_FEATURES, 1, 0), aer = raw_sqe(ADMIN_ASYNC_EVENT, 2, 0), ab = raw_sqe(ADMIN_ABORT, 3, 0);
    uint8_t buf[128];
    struct raw_answer r;

    set.cdw10 = to_le32(FID_ASYNC_EVENT);
    set.cdw11 = to_le32(AEN_NS_ATTR);
    raw_check(raw_status(raw_cmd(&a, &set, NULL, 0)) == 0, "events on");
    for (uint16_t i = 0; i < 4; i++) {
        aer.cid = to_le16((uint16_t)(100 + i));
        raw_send(a.fd, buf, raw_capsule(buf, &aer, NULL, 0, false, false));
    }
    aer.cid = to_le16(104);
    raw_check(raw_status(raw_cmd(&a, &aer, NULL, 0)) == ST_AER_LIMIT, "the fifth event request");
    raw_on_env(s->env[s->nr - 1], resize, s);
    r = raw_resp(&a);
    raw_check(r.ok && r.cid == 100 && r.result == 0x00040002, "resize: result %x cid %u", r.result, r.cid);
    raw_check(get_log(&a, LID_CHANGED_NS, 0, page, 4096) == 0 && page[0] == 1, "namespace 1 changed");
    raw_check(get_log(&a, LID_CHANGED_NS, 0, page, 4096) == 0 && page[0] == 0, "told once");
    raw_check(identify(&a, 0, 1, page) == 0 && from_le64(((struct nvme_id_ns *)(void *)page)->nsze) == s->blk->size_lba, "the new size");
    ab.cdw10 = to_le32(101u << 16);
    raw_send(a.fd, buf, raw_capsule(buf, &ab, NULL, 0, false, false));
    r = raw_resp(&a);
    raw_check(r.cid == 101 && raw_status(r) == ST_ABORT_REQUESTED, "aborted event request");
    r = raw_resp(&a);
    raw_check(r.cid == 3 && raw_status(r) == 0 && r.result == 0, "abort");
    ab.cdw10 = to_le32(555u << 16);
    r = raw_cmd(&a, &ab, NULL, 0);
    raw_check(raw_status(r) == 0 && r.result == 1, "nothing to abort");
    close(a.fd);
}

/* Discovery has no namespace, so an I/O queue there would be a way for anybody to reach a blk that is not. */
static void discovery_io_queue(const struct raw_srv *s, const struct raw_conn *admin)
{
    struct raw_connect p = {.qid = 1, .sqsize = 31, .cntlid = admin->cntlid, .subnqn = DISCOVERY_NQN};
    struct raw_conn q = {.fd = raw_open(s)};
    struct nvme_sqe read = raw_io(IO_READ, 1, 0, 1, 4096, false);
    uint8_t page[4096];
    struct raw_answer r;

    raw_check(raw_ic(&q), "initialised");
    r = raw_connect(&q, &p);
    raw_check(raw_status(r) == ST_CONNECT_PARAM && r.result == offsetof(struct fabrics_connect, qid), "no I/O queue for discovery");
    if (r.ok && r.status == 0)
        raw_check(raw_read_cmd(&q, &read, page, sizeof(page)) != 0, "nothing to read there");
    close(q.fd);
}

/* Anybody may ask for the discovery log: only little memory is lent for it, and to one command of a connection at a time. */
static void discovery_limits(const struct raw_conn *a)
{
    static uint8_t page[3 * 4096];
    struct nvme_sqe sqe = raw_sqe(ADMIN_GET_LOG_PAGE, 0, 0xffffffff);
    uint32_t whole = 0;

    raw_check(get_log(a, LID_DISCOVERY, 0, page, 8192) == 0, "what MDTS allows");
    raw_check(get_log(a, LID_DISCOVERY, 0, page, 12288) == ST_INVALID_FIELD, "more than that");
    sqe.cdw10 = to_le32(LID_DISCOVERY | (8192 / 4 - 1) << 16);
    sqe.sgl.length = to_le32(8192);
    for (uint16_t i = 0; i < 16; i++) {
        sqe.cid = to_le16((uint16_t)(200 + i));
        raw_send(a->fd, page, raw_capsule(page, &sqe, NULL, 0, false, false));
    }
    for (uint16_t i = 0; i < 16; i++) {
        whole += raw_pdu(a->fd, page, sizeof(page)) == sizeof(struct pdu_c2h_data) + 8192;
        raw_check(raw_status(raw_resp(a)) == 0, "answer %u", i);
    }
    raw_check(whole == 16, "%u of 16 in turn", whole);
}

static void discovery(const struct raw_srv *s)
{
    static uint8_t page[2048];
    struct raw_connect p = {.sqsize = 31, .subnqn = DISCOVERY_NQN};
    struct raw_conn a = raw_admin(s, false, false, &p);
    struct nvme_discovery_header *h = (void *)page;
    struct nvme_discovery_entry *e = (void *)(page + 1024);
    struct nvme_id_ctrl *id = (void *)malloc(4096);

    raw_check(a.fd >= 0, "discovery controller");
    raw_check(identify(&a, 1, 0, id) == 0 && id->cntrltype == 2 && strcmp(id->subnqn, DISCOVERY_NQN) == 0, "its identity");
    raw_check(get_log(&a, LID_DISCOVERY, 0, page, 1024) == 0 && from_le64(h->numrec) == 1 && from_le64(h->genctr) > 0, "header");
    raw_check(get_log(&a, LID_DISCOVERY, 0, page, 2048) == 0 && strcmp(e->subnqn, RAW_SUB) == 0, "entry");
    raw_check(strcmp(e->traddr, "127.0.0.1") == 0 && e->trtype == 3 && e->adrfam == 1 && e->subtype == 2, "address %s", e->traddr);
    raw_check(get_log(&a, LID_DISCOVERY, 1024 + 256, page, 256) == 0 && strcmp((char *)page, RAW_SUB) == 0, "a window of the entry");
    raw_check(identify(&a, 1, 0, id) == 0 && id->mdts == 1, "MDTS of discovery");
    discovery_limits(&a);
    discovery_io_queue(s, &a);
    close(a.fd);
    free(id);
}

static void flow_control(const struct raw_srv *s)
{
    struct raw_connect p = {.sqsize = 3};
    struct raw_conn a = raw_admin(s, false, false, &p);
    struct nvme_sqe ka = raw_sqe(ADMIN_KEEP_ALIVE, 1, 0);
    uint8_t page[4096];

    /* Connect and Property Set took two of four entries. */
    raw_check(raw_cmd(&a, &ka, NULL, 0).sqhd == 3, "SQHD 3");
    raw_check(raw_cmd(&a, &ka, NULL, 0).sqhd == 0, "SQHD wraps");
    raw_check(identify(&a, 1, 0, page) == 0, "with flow control data is followed by a response");
    close(a.fd);
}

static void run(uint32_t reactors, uint32_t lba_bytes)
{
    struct raw_srv s = {.nr = reactors, .lba_bytes = lba_bytes};

    raw_start(&s);
    for (int i = 0; i < 4; i++)
        transfers(&s, i & 1, i & 2, lba_bytes);
    if (lba_bytes == 4096)
        other_io(&s);
    admin(&s);
    discovery(&s);
    flow_control(&s);
    events(&s);
    raw_stop(&s);
}

int main(void)
{
    run(1, 4096);
    run(2, 4096);
    run(1, 512);
    return raw_end();
}
