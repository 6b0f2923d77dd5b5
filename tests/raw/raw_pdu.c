/* SPDX-License-Identifier: Apache-2.0 */
/* raw_pdu.c: malformed PDUs and capsules, each on a connection of its own in the state it names.
 *
 * A fatal case must be answered by C2HTermReq with the right FES and FEI, carrying the header that was sent, and the end
 * of the stream; a command case by its status, on a connection that lives on. All the while another host's queue works.
 */
#include "raw.h"

static struct raw_srv srv;
static struct raw_conn by_admin, by_io; /* the bystander */
static const char *group;
static int cases;

static void bystander(void)
{
    struct nvme_sqe rd = raw_io(IO_READ, 1, 0, 1, 4096, false);
    uint8_t buf[4096];

    raw_check(raw_read_cmd(&by_io, &rd, buf, sizeof(buf)) == 0, "the bystander's read after %s", group);
}

/* ---- connections in a state -------------------------------------------------------------------------------------------- */

enum at { AT_START, AT_IC, AT_ADMIN, AT_IO, AT_R2T, AT_NR };
struct link { struct raw_conn c, admin; uint16_t cid, ttag; };

#define R2T_BYTES 16384u
#define R2T_CID   0x1234

static void want_r2t(struct link *l)
{
    struct nvme_sqe wr = raw_io(IO_WRITE, R2T_CID, 8, R2T_BYTES / 4096, R2T_BYTES, false);
    uint8_t buf[128];
    struct pdu_r2t *r = (void *)buf;

    raw_send(l->c.fd, buf, raw_capsule(buf, &wr, NULL, 0, l->c.hd, l->c.dd));
    raw_check(raw_pdu(l->c.fd, buf, sizeof(buf)) != 0 && r->common.type == PDU_R2T, "R2T for %s", group);
    l->cid = R2T_CID;
    l->ttag = from_le16(r->ttag);
}

static struct link open_at(enum at at, bool hd, bool dd)
{
    struct raw_connect other = {.sqsize = 31, .cattr = CATTR_SQ_FLOW_OFF, .hostid = 2};
    struct link l = {.c = {.fd = -1, .hd = hd, .dd = dd}, .admin = {.fd = -1}};

    if (at == AT_START || at == AT_IC) {
        l.c.fd = raw_open(&srv);
        if (at == AT_IC)
            raw_check(raw_ic(&l.c), "ICResp");
        return l;
    }
    l.admin = raw_admin(&srv, hd, dd, &other);
    raw_check(l.admin.fd >= 0, "admin queue for %s", group);
    if (at == AT_ADMIN) {
        l.c = l.admin;
        l.admin.fd = -1;
        return l;
    }
    l.c.fd = raw_open(&srv);
    struct raw_connect io = {.qid = 1, .cntlid = l.admin.cntlid, .sqsize = 7, .cattr = CATTR_SQ_FLOW_OFF, .hostid = 2};
    raw_check(raw_ic(&l.c) && raw_status(raw_connect(&l.c, &io)) == 0, "I/O queue for %s", group);
    if (at == AT_R2T)
        want_r2t(&l);
    return l;
}

static void close_link(struct link *l)
{
    close(l->c.fd);
    if (l->admin.fd >= 0)
        close(l->admin.fd);
}

/* ---- fatal cases ---------------------------------------------------------------------------------------------------------- */

static void expect_term(struct link *l, const uint8_t *sent, uint32_t n, uint16_t fes, uint32_t fei)
{
    uint8_t buf[256] = {0};
    const struct pdu_term_req *t = (const void *)buf;
    uint32_t got, data;

    cases++;
    raw_send(l->c.fd, sent, n);
    got = raw_pdu(l->c.fd, buf, sizeof(buf));
    data = got > sizeof(*t) ? got - (uint32_t)sizeof(*t) : 0;
    raw_check(got >= sizeof(*t) && got <= TERM_REQ_PLEN_MAX && t->common.type == PDU_C2H_TERM_REQ &&
            t->common.flags == 0 && from_le16(t->fes) == fes &&
                  from_le32(t->fei) == fei && data >= 8 && data <= n && memcmp(buf + sizeof(*t), sent, data) == 0,
              "%s (type %02x hlen %u): wanted FES %u FEI %u, got type %02x FES %u FEI %u, %u bytes of header", group,
                      sent[0], sent[2], fes, fei,
              t->common.type, from_le16(t->fes), from_le32(t->fei), data);
    raw_check(raw_at_end(l->c.fd), "%s: the stream ends", group);
    close_link(l);
    if (cases % 16 == 0)
        bystander();
}

static void unknown_types(void)
{
    static const uint8_t types[] = {0x01, 0x03, 0x05, 0x07, 0x08, 0x09, 0x0a, 0x0b, 0x10, 0x20, 0x40, 0x7f, 0x80, 0x84, 0xfe, 0xff};

    for (enum at at = AT_START; at <= AT_R2T; at++)
        for (size_t i = 0; i < sizeof(types); i++) {
            struct link l = open_at(at, i & 1, false);
            uint8_t pdu[128] = {types[i], 0, 24, 0, 24};

            expect_term(&l, pdu, 24, FES_HEADER_FIELD, 0);
        }
}

static void wrong_state(void)
{
    for (int dg = 0; dg < 4; dg++) {
        struct nvme_sqe sqe = raw_sqe(IO_READ, 1, 1);
        uint8_t pdu[256] = {0};
        struct link l = open_at(AT_START, dg & 1, dg & 2);

        raw_capsule(pdu, &sqe, NULL, 0, dg & 1, dg & 2);
        expect_term(&l, pdu, 72, FES_SEQUENCE, 0);
        l = open_at(AT_START, dg & 1, dg & 2);
        raw_h2c(pdu, 1, 0, 0, "abcd", 4, true, dg & 1, dg & 2);
        expect_term(&l, pdu, 28, FES_SEQUENCE, 0);
        l = open_at(AT_IC, dg & 1, dg & 2); /* CVE-2026-22998: data before Connect */
        expect_term(&l, pdu, 28, FES_SEQUENCE, 0);
        for (enum at at = AT_IC; at <= AT_R2T; at++) { /* CVE-2026-89969: a second ICReq, digests on */
            struct pdu_icreq ic;

            raw_icreq(&ic, (uint8_t)dg);
            l = open_at(at, dg & 1, dg & 2);
            expect_term(&l, (void *)&ic, 8, FES_SEQUENCE, 0);
        }
    }
}

static void icreq_case(uint32_t off, uint32_t v, uint32_t bytes, uint16_t fes, uint32_t fei)
{
    struct link l = open_at(AT_START, false, false);
    struct pdu_icreq ic;
    le32 le = to_le32(v);

    raw_icreq(&ic, 3);
    memcpy((char *)&ic + off, &le, bytes);
    expect_term(&l, (void *)&ic, sizeof(ic), fes, fei);
}

static void icreq_fields(void)
{
    static const uint8_t hlens[] = {0, 1, 8, 24, 72, 127, 129, 255}, flags[] = {1, 2, 3, 7}, hpdas[] = {32, 33, 127,
            255}, dgsts[] = {4, 7, 0x40, 0x80, 0xff};
    static const uint32_t plens[] = {0, 1, 8, 127, 129, 256, 0x7fffffff, 0x80000000, 0xffffffff}, pfvs[] = {1, 2, 0x100, 0xffff};

    for (size_t i = 0; i < ARRAY_LEN(hlens); i++)
        icreq_case(2, hlens[i], 1, FES_HEADER_FIELD, 2);
    for (size_t i = 0; i < ARRAY_LEN(flags); i++)
        icreq_case(1, flags[i], 1, FES_HEADER_FIELD, 1);
    for (size_t i = 0; i < ARRAY_LEN(plens); i++)
        icreq_case(4, plens[i], 4, FES_HEADER_FIELD, 4);
    for (size_t i = 0; i < ARRAY_LEN(pfvs); i++)
        icreq_case(8, pfvs[i], 2, FES_UNSUPPORTED, 8);
    for (size_t i = 0; i < ARRAY_LEN(hpdas); i++)
        icreq_case(10, hpdas[i], 1, FES_HEADER_FIELD, 10);
    for (size_t i = 0; i < ARRAY_LEN(dgsts); i++)
        icreq_case(11, dgsts[i], 1, FES_HEADER_FIELD, 11);
}

/* One field of a command capsule with 4 KiB of data, in three states and all digests. */
static void capsule_case(uint32_t off, uint32_t v, uint32_t bytes, uint16_t fes, uint32_t fei)
{
    static uint8_t pdu[8192], data[4096];

    for (int dg = 0; dg < 4; dg++)
        for (enum at at = AT_IC; at <= AT_IO; at++) {
            struct link l = open_at(at, dg & 1, dg & 2);
            struct nvme_sqe wr = raw_io(IO_WRITE, 3, 9, 1, 4096, true);
            uint32_t n = raw_capsule(pdu, &wr, data, sizeof(data), dg & 1, dg & 2);
            le32 le = to_le32(v);

            memcpy(pdu + off, &le, bytes);
            expect_term(&l, pdu, n, fes, fei);
        }
}

static void capsule_fields(void)
{
    static const uint8_t hlens[] = {0, 7, 24, 71, 73, 76, 128, 255}, pdos[] = {0, 8, 71, 73, 80, 128, 255};
    static const uint32_t plens[] = {0, 1, 8, 64, 70, 71, 8192 + 81, 0x10000, 0x80000000, 0xffffffff};

    for (size_t i = 0; i < ARRAY_LEN(hlens); i++)
        capsule_case(2, hlens[i], 1, FES_HEADER_FIELD, 2);
    for (size_t i = 0; i < ARRAY_LEN(pdos); i++)
        capsule_case(3, pdos[i], 1, FES_HEADER_FIELD, 3);
    for (size_t i = 0; i < ARRAY_LEN(plens); i++) /* CVE-2026-80789: lengths from the wire */
        capsule_case(4, plens[i], 4, FES_HEADER_FIELD, 4);
}

static void capsule_flags(void)
{
    static uint8_t pdu[8192], data[4096];

    for (int dg = 0; dg < 4; dg++)
        for (uint8_t wrong = 0; wrong < 4; wrong++) {
            struct link l;
            struct nvme_sqe wr = raw_io(IO_WRITE, 3, 9, 1, 4096, true);
            uint32_t n = raw_capsule(pdu, &wr, data, sizeof(data), dg & 1, dg & 2);

            if (wrong == dg)
                continue;
            l = open_at(AT_IO, dg & 1, dg & 2);
            pdu[1] = wrong;
            expect_term(&l, pdu, n, FES_HEADER_FIELD, 1);
        }
}

static void header_digests(void)
{
    static uint8_t pdu[8192], data[4096];

    for (uint32_t bit = 64; bit < 76 * 8; bit += 32) { /* a flip in the entry or in the digest itself */
        struct link l = open_at(bit & 64 ? AT_IO : AT_ADMIN, true, bit & 128);
        struct nvme_sqe wr = raw_io(IO_WRITE, 3, 9, 1, 4096, true);
        uint32_t n = raw_capsule(pdu, &wr, data, sizeof(data), true, bit & 128);
        le32 got;

        pdu[bit / 8] ^= 1;
        memcpy(&got, pdu + 72, 4);
        expect_term(&l, pdu, n, FES_HEADER_DIGEST, from_le32(got));
    }
}

/* One field of an H2CData that answers an R2T of 16 KiB. fix: seal the header digest after the change. */
static void h2c_case(uint32_t off, uint32_t v, uint32_t bytes, uint16_t fes, uint32_t fei)
{
    static uint8_t pdu[8192], data[4096];

    for (int dg = 0; dg < 4; dg++) {
        struct link l = open_at(AT_R2T, dg & 1, dg & 2);
        uint32_t n = raw_h2c(pdu, l.cid, l.ttag, 0, data, sizeof(data), false, dg & 1, dg & 2);
        le32 le = to_le32(v);

        memcpy(pdu + off, &le, bytes);
        if (dg & 1 && off != 2)
            raw_seal(pdu, 24);
        expect_term(&l, pdu, n, fes, fei);
    }
}

static void h2c_fields(void)
{
    static const uint8_t hlens[] = {0, 8, 23, 25, 28, 255}, pdos[] = {0, 23, 25, 32, 128, 255};
    static const uint32_t plens[] = {0, 8, 23, 24, 4096, 4096 + 36, 0x20000}, huge[] = {H2C_DATA_MAX_BYTES + 64, 0x80000000, 0xffffffff};
    static const uint32_t tags[] = {0x7fff, 0x8000, 0xfffe, 0xffff}, cids[] = {0, 1, R2T_CID + 1, 0xffff},
            offs[] = {4, 4096, 16384, 0x80000000, 0xfffffffc};
    static const uint32_t lens[] = {0, 1, 2, 3, 4095, 4098};

    for (size_t i = 0; i < ARRAY_LEN(hlens); i++)
        h2c_case(2, hlens[i], 1, FES_HEADER_FIELD, 2);
    for (size_t i = 0; i < ARRAY_LEN(pdos); i++)
        h2c_case(3, pdos[i], 1, FES_HEADER_FIELD, 3);
    for (size_t i = 0; i < ARRAY_LEN(plens); i++)
        h2c_case(4, plens[i], 4, FES_HEADER_FIELD, 4);
    for (size_t i = 0; i < ARRAY_LEN(huge); i++)
        h2c_case(4, huge[i], 4, FES_LIMIT_EXCEEDED, 0);
    for (size_t i = 0; i < ARRAY_LEN(tags); i++)
        h2c_case(10, tags[i], 2, FES_HEADER_FIELD, 10);
    for (size_t i = 0; i < ARRAY_LEN(cids); i++)
        h2c_case(8, cids[i], 2, FES_HEADER_FIELD, 8);
    for (size_t i = 0; i < ARRAY_LEN(offs); i++)
        h2c_case(12, offs[i], 4, FES_SEQUENCE, 0);
    for (size_t i = 0; i < ARRAY_LEN(lens); i++)
        h2c_case(16, lens[i], 4, FES_HEADER_FIELD, 16);
    h2c_case(16, 8192, 4, FES_HEADER_FIELD, 4);
    h2c_case(16, H2C_DATA_MAX_BYTES + 4, 4, FES_LIMIT_EXCEEDED, 0);
}

static void h2c_shape(int dg, uint32_t n, bool last, int32_t tag_step, enum at at, uint16_t fes, uint32_t fei)
{
    static uint8_t pdu[65536], data[32768];
    struct link l = open_at(at, dg & 1, dg & 2);
    uint32_t plen = raw_h2c(pdu, R2T_CID, (uint16_t)(l.ttag + tag_step), 0, data, n, last, dg & 1, dg & 2);

    expect_term(&l, pdu, plen, fes, fei);
}

static void h2c_shapes(void)
{
    for (int dg = 0; dg < 4; dg++) {
        h2c_shape(dg, R2T_BYTES, false, 0, AT_R2T, FES_SEQUENCE, 0);        /* the end without LAST */
        h2c_shape(dg, 4096, true, 0, AT_R2T, FES_SEQUENCE, 0);              /* LAST before the end */
        h2c_shape(dg, R2T_BYTES + 4, true, 0, AT_R2T, FES_OUT_OF_RANGE, 0); /* CVE-2026-23112: past the buffers */
        h2c_shape(dg, 4096, false, 1, AT_R2T, FES_HEADER_FIELD, 10);        /* an unused slot, above and below */
        h2c_shape(dg, 4096, false, -1, AT_R2T, FES_HEADER_FIELD, 10);
        h2c_shape(dg, 4096, false, 0, AT_IO, FES_HEADER_FIELD, 10);         /* no R2T at all */
        h2c_shape(dg, 4096, false, 0, AT_ADMIN, FES_HEADER_FIELD, 10);
    }
}

static void h2c_of_another_queue(void)
{
    struct link mine = open_at(AT_R2T, false, false), l = {.admin.fd = -1};
    struct raw_connect io = {.qid = 2, .cntlid = mine.admin.cntlid, .sqsize = 7, .hostid = 2};
    uint8_t pdu[128];
    uint32_t n;

    l.c.fd = raw_open(&srv);
    raw_check(raw_ic(&l.c) && raw_status(raw_connect(&l.c, &io)) == 0, "a second I/O queue");
    n = raw_h2c(pdu, mine.cid, mine.ttag, 0, "abcd", 4, false, false, false);
    expect_term(&l, pdu, n, FES_HEADER_FIELD, 10);
    close_link(&mine);
}

static void too_many(void)
{
    struct link l = open_at(AT_IO, false, false);
    uint8_t pdu[128];
    struct nvme_sqe wr;

    for (uint16_t i = 0; i < 8; i++) { /* eight entries: eight R2Ts outstanding */
        wr = raw_io(IO_WRITE, i, 8, 4, 16384, false);
        raw_send(l.c.fd, pdu, raw_capsule(pdu, &wr, NULL, 0, false, false));
        raw_check(raw_pdu(l.c.fd, pdu, sizeof(pdu)) == 24, "R2T %u", i);
    }
    wr.cid = to_le16(8);
    expect_term(&l, pdu, raw_capsule(pdu, &wr, NULL, 0, false, false), FES_SEQUENCE, 0);
}

static void term_reqs(void)
{
    static const uint32_t plens[] = {0, 8, 23, 24, 25, 152, 153, 4096, 0xffffffff};

    for (enum at at = AT_START; at <= AT_R2T; at++)
        for (size_t i = 0; i < ARRAY_LEN(plens); i++) { /* never answered, whatever it says */
            struct link l = open_at(at, i & 1, i & 2);
            struct pdu_term_req t = {.common = {.type = PDU_H2C_TERM_REQ, .hlen = 24, .plen = to_le32(plens[i])},
                    .fes = to_le16((uint16_t)(i * 1000))};
            char c;
            ssize_t k;

            cases++;
            raw_send(l.c.fd, &t, sizeof(t));
            k = raw_recv_some(l.c.fd, &c, 1);
            raw_check(k == 0 || (k < 0 && errno == ECONNRESET), "%s: H2CTermReq PLEN %u in state %d closes", group, plens[i], at);
            close_link(&l);
        }
}

/* ---- commands refused by status --------------------------------------------------------------------------------------------- */

static struct link live;

static void expect_status(const char *what, struct nvme_sqe sqe, const void *data, uint32_t n, uint16_t status)
{
    struct nvme_sqe rd = raw_io(IO_READ, 999, 0, 1, 4096, false);
    struct raw_answer a = raw_cmd(&live.c, &sqe, data, n);
    uint8_t buf[4096];

    cases++;
    raw_check(raw_status(a) == status && a.cid == from_le16(sqe.cid), "%s: wanted %03x, got %03x", what, status, raw_status(a));
    raw_check(raw_read_cmd(&live.c, &rd, buf, sizeof(buf)) == 0, "%s: the queue lives on", what);
}

static void sgls(void)
{
    static uint8_t data[8192];
    struct nvme_sqe sqe;

    for (uint32_t type = 0; type < 256; type += 5) {
        sqe = raw_io(IO_READ, 5, 0, 1, 4096, false);
        sqe.sgl.type = (uint8_t)type;
        if (type != SGL_TRANSPORT)
            expect_status("SGL type of a read", sqe, NULL, 0, ST_SGL_TYPE);
        sqe = raw_io(IO_WRITE, 5, 0, 1, 4096, true);
        sqe.sgl.type = (uint8_t)type;
        if (type != SGL_OFFSET) /* the in-capsule bytes are skipped all the same */
            expect_status("SGL type of an in-capsule write", sqe, data, 4096, type == SGL_TRANSPORT ? ST_SGL_LENGTH : ST_SGL_TYPE);
    }
    for (uint32_t len = 0; len < 4; len++) {
        static const uint32_t lens[] = {0, 4095, 8192, 0xffffffff};

        expect_status("SGL length of a read", raw_io(IO_READ, 5, 0, 1, lens[len], false), NULL, 0, ST_SGL_LENGTH);
        expect_status("SGL length of a write", raw_io(IO_WRITE, 5, 0, 1, lens[len], true), data, 4096, ST_SGL_LENGTH);
        expect_status("SGL length of an R2T write", raw_io(IO_WRITE, 5, 0, 1, lens[len], false), NULL, 0, ST_SGL_LENGTH);
    }
    expect_status("in-capsule longer than the SGL", raw_io(IO_WRITE, 5, 0, 1, 4096, true), data, 8192, ST_SGL_LENGTH);
    expect_status("in-capsule shorter than the SGL", raw_io(IO_WRITE, 5, 0, 1, 4096, true), data, 512, ST_SGL_LENGTH);
    expect_status("in-capsule data with a read", raw_io(IO_READ, 5, 0, 1, 4096, false), data, 512, ST_INVALID_FIELD);
    sqe = raw_io(IO_WRITE, 5, 0, 1, 4096, true);
    sqe.sgl.addr = to_le64(4);
    expect_status("SGL offset", sqe, data, 4096, ST_SGL_OFFSET);
    for (uint8_t psdt = 0; psdt < 4; psdt += 3) {
        sqe = raw_io(IO_READ, 5, 0, 1, 4096, false);
        sqe.flags = (uint8_t)(psdt << 6);
        expect_status("PSDT", sqe, NULL, 0, ST_INVALID_FIELD);
    }
    for (uint8_t fuse = 1; fuse < 4; fuse++) {
        sqe = raw_io(IO_READ, 5, 0, 1, 4096, false);
        sqe.flags |= fuse;
        expect_status("FUSE", sqe, NULL, 0, ST_INVALID_FIELD);
    }
}

static void ranges(void)
{
    static const uint64_t lbas[] = {RAW_BLOCKS, RAW_BLOCKS + 1, UINT64_C(1) << 32, UINT64_C(1) << 52, INT64_MAX,
            UINT64_MAX - 1, UINT64_MAX};
    static const uint8_t opcs[] = {IO_READ, IO_WRITE, IO_COMPARE, IO_VERIFY, IO_WRITE_ZEROES};

    for (size_t i = 0; i < ARRAY_LEN(lbas); i++)
        for (size_t k = 0; k < ARRAY_LEN(opcs); k++)
            expect_status("LBA", raw_io(opcs[k], 6, lbas[i], 1, opcs[k] == IO_VERIFY ||
                    opcs[k] == IO_WRITE_ZEROES ? 0 : 4096, false), NULL, 0, ST_LBA_RANGE);
    for (uint32_t nlb = 129; nlb <= 65536; nlb = nlb * 3 + 1)
        expect_status("NLB above MDTS", raw_io(IO_READ, 6, 0, nlb, nlb * 4096, false), NULL, 0, ST_INVALID_FIELD);
    for (uint32_t opc = 3; opc < 256; opc += 7) {
        struct nvme_sqe sqe = raw_io((uint8_t)opc, 6, 0, 1, 4096, false);

        if (opc != IO_VERIFY && opc != IO_DSM && opc != OPC_FABRICS && opc != IO_WRITE_ZEROES && opc != IO_COMPARE)
            expect_status("opcode", sqe, NULL, 0, ST_INVALID_OPCODE);
    }
    for (uint32_t nsid = 0; nsid < 5; nsid++) {
        struct nvme_sqe sqe = raw_io(IO_READ, 6, 0, 1, 4096, false);

        sqe.nsid = to_le32(nsid == 1 ? 0xffffffff : nsid);
        expect_status("NSID", sqe, NULL, 0, ST_INVALID_NAMESPACE);
    }
}

static void bad_data_digests(void)
{
    static uint8_t pdu[8192], data[4096], back[4096];
    struct link l = open_at(AT_IO, false, true);
    struct nvme_sqe wr = raw_io(IO_WRITE, 7, 50, 1, 4096, true), rd = raw_io(IO_READ, 8, 50, 1, 4096, false);
    uint32_t n;

    raw_fill(data, sizeof(data), 1);
    raw_check(raw_status(raw_cmd(&l.c, &wr, data, 4096)) == 0, "a good digest");
    data[0] ^= 1;
    n = raw_capsule(pdu, &wr, data, 4096, false, true);
    pdu[n - 1] ^= 0x80;
    raw_send(l.c.fd, pdu, n);
    raw_check(raw_status(raw_resp(&l.c)) == ST_TRANSIENT_TRANSPORT, "in-capsule DDGST");
    data[0] ^= 1;
    raw_check(raw_read_cmd(&l.c, &rd, back, 4096) == 0 && memcmp(back, data, 4096) == 0, "nothing was written");
    want_r2t(&l); /* CVE-2026-64535: a mismatch in a PDU that is not the last */
    for (uint32_t off = 0; off < R2T_BYTES; off += 4096) {
        n = raw_h2c(pdu, l.cid, l.ttag, off, data, 4096, off + 4096 == R2T_BYTES, false, true);
        pdu[n - 2] ^= off == 4096;
        raw_send(l.c.fd, pdu, n);
    }
    raw_check(raw_status(raw_resp(&l.c)) == ST_TRANSIENT_TRANSPORT, "H2CData DDGST: one answer, at the end");
    raw_check(raw_status(raw_cmd(&l.c, &wr, data, 4096)) == 0, "the queue lives on");
    cases += 2;
    close_link(&l);
}

static void cid_conflict(void)
{
    struct link l = open_at(AT_R2T, false, false);
    static uint8_t data[R2T_BYTES], pdu[R2T_BYTES + 128];
    struct nvme_sqe rd = raw_io(IO_READ, R2T_CID, 0, 1, 4096, false);

    raw_check(raw_status(raw_cmd(&l.c, &rd, NULL, 0)) == ST_CID_CONFLICT, "a CID that is outstanding");
    raw_send(l.c.fd, pdu, raw_h2c(pdu, l.cid, l.ttag, 0, data, sizeof(data), true, false, false));
    raw_check(raw_status(raw_resp(&l.c)) == 0, "the first command is unharmed");
    cases++;
    close_link(&l);
}

/* ---- Connect ------------------------------------------------------------------------------------------------------------------ */

static void connect_case(const char *what, uint32_t off, const void *bytes, uint32_t n, uint16_t status, uint32_t result)
{
    struct raw_conn c = {.fd = raw_open(&srv)};
    struct raw_connect p = {.sqsize = 31, .hostid = 3};
    uint8_t pdu[2048];
    uint32_t len = raw_connect_pdu(pdu, &p, false, false);
    struct raw_answer a = {.ok = false};

    cases++;
    memcpy(pdu + off, bytes, n);
    if (raw_ic(&c) && raw_send(c.fd, pdu, len))
        a = raw_resp(&c);
    raw_check(raw_status(a) == status && (!result || a.result == result),
            "Connect with bad %s: status %03x result %x", what, raw_status(a), a.result);
    close(c.fd);
}

static void connects(void)
{
    static const uint8_t ff[256] = {[0 ... 255] = 'x'}, zero[16], one = 1, five = 5, prp = 0, ftype = FC_PROPERTY_GET;
    enum { SQE = 8, DATA = 72 };

    connect_case("command", SQE + 4, &ftype, 1, ST_COMMAND_SEQUENCE, 0);
    connect_case("opcode", SQE, &one, 1, ST_COMMAND_SEQUENCE, 0);
    connect_case("PSDT", SQE + 1, &prp, 1, ST_INVALID_FIELD, 0);
    connect_case("SGL type", SQE + 39, &five, 1, ST_SGL_TYPE, 0);
    connect_case("SGL offset", SQE + 24, &one, 1, ST_SGL_OFFSET, 0);
    connect_case("SGL length", SQE + 32, &one, 1, ST_SGL_LENGTH, 0);
    connect_case("RECFMT", SQE + 40, &one, 1, ST_CONNECT_FORMAT, 0);
    connect_case("SQSIZE 0", SQE + 44, zero, 2, ST_CONNECT_PARAM, 44);
    connect_case("SQSIZE huge", SQE + 44, ff, 2, ST_CONNECT_PARAM, 44);
    connect_case("QID without controller", SQE + 42, &one, 1, ST_CONNECT_PARAM, 0x10010);
    connect_case("HOSTID", DATA, zero, 16, ST_CONNECT_PARAM, 0x10000);
    connect_case("CNTLID", DATA + 16, &five, 1, ST_CONNECT_PARAM, 0x10010);
    connect_case("SUBNQN of blanks", DATA + 256, "    ", 4, ST_CONNECT_PARAM, 0x10100);
    connect_case("SUBNQN not terminated", DATA + 256 + 4, ff, 252, ST_CONNECT_PARAM, 0x10100); /* CVE-2023-6121 */
    connect_case("SUBNQN of another", DATA + 256 + 8, "9", 1, ST_CONNECT_PARAM, 0x10100);
    connect_case("HOSTNQN not terminated", DATA + 512 + 4, ff, 252, ST_CONNECT_PARAM, 0x10200);
    connect_case("HOSTNQN empty", DATA + 512, zero, 16, ST_CONNECT_PARAM, 0x10200);
}

static void io_connects(void)
{
    struct link l = open_at(AT_IO, false, false);
    struct { const char *what; struct raw_connect p; uint32_t result; } bad[] = {
        {"QID in use", {.qid = 1, .cntlid = l.admin.cntlid, .sqsize = 7, .hostid = 2}, 42},
        {"QID above the granted", {.qid = 17, .cntlid = l.admin.cntlid, .sqsize = 7, .hostid = 2}, 42},
        {"QID 65535", {.qid = 65535, .cntlid = l.admin.cntlid, .sqsize = 7, .hostid = 2}, 42},
        {"CNTLID of nobody", {.qid = 2, .cntlid = 0x7777, .sqsize = 7, .hostid = 2}, 0x10010},
        {"HOSTID of another", {.qid = 2, .cntlid = l.admin.cntlid, .sqsize = 7, .hostid = 9}, 0x10010},
        {"HOSTNQN of another", {.qid = 2, .cntlid = l.admin.cntlid, .sqsize = 7, .hostid = 2,
                .hostnqn = "nqn.2014-08.org.nvmexpress:uuid:x"}, 0x10010},
        {"SQSIZE above MQES", {.qid = 2, .cntlid = l.admin.cntlid, .sqsize = 128, .hostid = 2}, 44},
    };

    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct raw_conn c = {.fd = raw_open(&srv)};
        struct raw_answer a = {.ok = false};

        cases++;
        if (raw_ic(&c))
            a = raw_connect(&c, &bad[i].p);
        raw_check(raw_status(a) == ST_CONNECT_PARAM && a.result == bad[i].result, "I/O Connect: %s: %03x %x",
                bad[i].what, raw_status(a), a.result);
        close(c.fd);
    }
    close_link(&l);
}

static void before_enable(void)
{
    struct raw_conn c = {.fd = raw_open(&srv)}, q = {.fd = raw_open(&srv)};
    struct raw_connect p = {.sqsize = 31, .hostid = 4}, io = {.qid = 1, .sqsize = 7, .hostid = 4};
    struct nvme_sqe ka = raw_sqe(ADMIN_KEEP_ALIVE, 1, 0);

    raw_check(raw_ic(&c) && raw_status(raw_connect(&c, &p)) == 0, "admin queue");
    raw_check(raw_status(raw_cmd(&c, &ka, NULL, 0)) == ST_COMMAND_SEQUENCE, "an admin command before CC.EN");
    io.cntlid = c.cntlid;
    raw_check(raw_ic(&q) && raw_status(raw_connect(&q, &io)) == ST_COMMAND_SEQUENCE, "an I/O queue before CC.EN");
    cases += 2;
    close(q.fd);
    close(c.fd);
}

#define RUN(fn) (group = #fn, fn(), bystander())

int main(void)
{
    struct raw_connect b = {.sqsize = 31, .cattr = CATTR_SQ_FLOW_OFF};

    raw_start(&srv);
    by_admin = raw_admin(&srv, false, false, &b);
    by_io = raw_ioq(&srv, &by_admin, 1, false, false);
    RUN(unknown_types);
    RUN(wrong_state);
    RUN(icreq_fields);
    RUN(capsule_fields);
    RUN(capsule_flags);
    RUN(header_digests);
    RUN(h2c_fields);
    RUN(h2c_shapes);
    RUN(h2c_of_another_queue);
    RUN(too_many);
    RUN(term_reqs);
    group = "commands";
    live = open_at(AT_IO, false, false);
    RUN(sgls);
    RUN(ranges);
    close_link(&live);
    RUN(bad_data_digests);
    RUN(cid_conflict);
    RUN(connects);
    RUN(io_connects);
    RUN(before_enable);
    raw_check(raw_works(&srv, true, true), "the target works");
    raw_check(cases >= 400, "%d malformed cases", cases);
    printf("%d malformed cases\n", cases);
    raw_stop(&srv);
    return raw_end();
}
