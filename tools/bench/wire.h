/* SPDX-License-Identifier: Apache-2.0 */
/* wire.h: NVMe/TCP bytes as the initiator sees them.
 *
 * Laid down here a second time on purpose: firn-bench is the conformance check of export/, and a wrong offset in a
 * shared header would cancel itself out. Sources: NVMe/TCP transport specification 1.0 sections 3.3 and 3.6, NVMe over
 * Fabrics 1.1 section 3, NVM Express base 1.4 section 5.
 */
#ifndef FIRN_BENCH_WIRE_H
#define FIRN_BENCH_WIRE_H

#include "base/types.h"

enum pdu_type {
    PDU_ICREQ = 0x00, PDU_ICRESP = 0x01, PDU_H2C_TERM = 0x02, PDU_C2H_TERM = 0x03,
    PDU_CMD = 0x04, PDU_RSP = 0x05, PDU_H2C_DATA = 0x06, PDU_C2H_DATA = 0x07, PDU_R2T = 0x09,
};

#define PDU_F_HDGST   0x01u
#define PDU_F_DDGST   0x02u
#define PDU_F_LAST    0x04u
#define PDU_F_SUCCESS 0x08u

#define PDU_DIGEST_BYTES 4u
#define PDU_TERM_MIN     24u
#define PDU_TERM_MAX     152u

/* Fatal error status of a TermReq: which rule was broken. */
enum pdu_fes { FES_HEADER = 1, FES_SEQUENCE = 2, FES_HDGST = 3, FES_RANGE = 4, FES_LIMIT = 5, FES_UNSUPPORTED = 6 };

struct pdu_ch { uint8_t type, flags, hlen, pdo; le32 plen; };
struct pdu_ic { struct pdu_ch ch; le16 pfv; uint8_t pda, dgst; le32 max; uint8_t rsvd[112]; };
struct pdu_data { struct pdu_ch ch; le16 cccid, ttag; le32 datao, datal; uint8_t rsvd[4]; };
struct pdu_r2t { struct pdu_ch ch; le16 cccid, ttag; le32 r2to, r2tl; uint8_t rsvd[4]; };
struct pdu_term { struct pdu_ch ch; le16 fes; le32 fei; uint8_t rsvd[10]; };

/* SGL descriptor ids (last byte): in-capsule data block by offset; transport data block. */
#define SGL_IN_CAPSULE 0x01u
#define SGL_TRANSPORT  0x5au

struct nvme_sqe {
    uint8_t opcode, flags;       /* flags: 0x40 says that an SGL follows */
    le16    cid;
    le32    nsid;                /* fabrics commands: byte 4 is the fabrics command type */
    le64    rsvd, mptr;
    le64    sgl_addr;
    le32    sgl_len;
    uint8_t sgl_rsvd[3], sgl_id;
    le32    cdw10, cdw11, cdw12, cdw13, cdw14, cdw15;
};

struct nvme_cqe { le64 result; le16 sqhd, sqid, cid, status; };

struct pdu_cmd { struct pdu_ch ch; struct nvme_sqe sqe; };
struct pdu_rsp { struct pdu_ch ch; struct nvme_cqe cqe; };

struct connect_data {
    uint8_t hostid[16];
    le16    cntlid;
    uint8_t rsvd[238];
    char    subnqn[256], hostnqn[256];
    uint8_t rsvd2[256];
};

struct disc_entry {
    uint8_t trtype, adrfam, subtype, treq;
    le16    portid, cntlid, asqsz;
    uint8_t rsvd[22];
    char    trsvcid[32];
    uint8_t rsvd2[192];
    char    subnqn[256], traddr[256];
    uint8_t tsas[256];
};
struct disc_header { le64 genctr, numrec; le16 recfmt; uint8_t rsvd[1006]; };

struct dsm_range { le32 cattr, nlb; le64 slba; };

enum nvme_opcode {
    OP_FLUSH = 0x00, OP_WRITE = 0x01, OP_READ = 0x02, OP_WRITE_ZEROES = 0x08, OP_DSM = 0x09,
    OP_ADMIN_GET_LOG = 0x02, OP_ADMIN_IDENTIFY = 0x06, OP_ADMIN_SET_FEATURES = 0x09, OP_ADMIN_KEEP_ALIVE = 0x18,
    OP_FABRICS = 0x7f,
};
enum fabrics_type { FAB_PROPERTY_SET = 0x00, FAB_CONNECT = 0x01, FAB_PROPERTY_GET = 0x04 };

#define SQE_F_SGL          0x40u
#define CDW12_FUA          (1u << 30)
#define CDW12_DEAC         (1u << 25)
#define DSM_DEALLOCATE     (1u << 2)
#define CATTR_NO_SQ_FLOW   (1u << 2)
#define PROP_CAP           0x00u
#define PROP_CC            0x14u
#define PROP_CSTS          0x1cu
#define CC_ENABLE          0x00460001u /* 64-byte SQEs, 16-byte CQEs, NVM command set */
#define CC_SHUTDOWN        (1u << 14)
#define IDENTIFY_NS        0u
#define IDENTIFY_CTRL      1u
#define LOG_DISCOVERY      0x70u
#define FEAT_QUEUES        0x07u
#define DISCOVERY_NQN      "nqn.2014-08.org.nvmexpress.discovery"

static_assert(sizeof(struct pdu_ch) == 8, "common header");
static_assert(sizeof(struct pdu_ic) == 128, "ICReq, ICResp");
static_assert(sizeof(struct pdu_data) == 24, "H2CData, C2HData");
static_assert(sizeof(struct pdu_r2t) == 24, "R2T");
static_assert(sizeof(struct pdu_term) == 24, "TermReq");
static_assert(sizeof(struct nvme_sqe) == 64, "SQE");
static_assert(offsetof(struct nvme_sqe, sgl_addr) == 24 && offsetof(struct nvme_sqe, cdw10) == 40, "SQE");
static_assert(sizeof(struct nvme_cqe) == 16, "CQE");
static_assert(sizeof(struct pdu_cmd) == 72 && sizeof(struct pdu_rsp) == 24, "capsules");
static_assert(sizeof(struct connect_data) == 1024, "Connect data");
static_assert(sizeof(struct disc_entry) == 1024 && sizeof(struct disc_header) == 1024, "discovery log");
static_assert(offsetof(struct disc_entry, trsvcid) == 32 && offsetof(struct disc_entry, subnqn) == 256, "discovery log");
static_assert(sizeof(struct dsm_range) == 16, "DSM range");

#endif
