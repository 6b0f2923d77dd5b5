/* SPDX-License-Identifier: Apache-2.0 */
/* spec.h: bytes on the wire, under the names of the NVM Express specifications (Base 2.0, NVM Command Set 1.0,
 * TCP Transport 1.0). Structures hold little-endian members without padding; sizes and key offsets are asserted.
 */
#ifndef FIRN_EXPORT_SPEC_H
#define FIRN_EXPORT_SPEC_H

#include "base/types.h"

/* ---- TCP transport: PDUs ---------------------------------------------------------------------------------------- */

enum pdu_type {
    PDU_ICREQ        = 0x00,
    PDU_ICRESP       = 0x01,
    PDU_H2C_TERM_REQ = 0x02,
    PDU_C2H_TERM_REQ = 0x03,
    PDU_CAPSULE_CMD  = 0x04,
    PDU_CAPSULE_RESP = 0x05,
    PDU_H2C_DATA     = 0x06,
    PDU_C2H_DATA     = 0x07,
    PDU_R2T          = 0x09,
};

enum pdu_flag { PDU_HDGSTF = 1, PDU_DDGSTF = 2, PDU_LAST = 4, PDU_SUCCESS = 8 };

enum pdu_fes { /* fatal error status of a termination request */
    FES_HEADER_FIELD   = 1,
    FES_SEQUENCE       = 2,
    FES_HEADER_DIGEST  = 3,
    FES_OUT_OF_RANGE   = 4,
    FES_LIMIT_EXCEEDED = 5,
    FES_UNSUPPORTED    = 6,
};

enum { DGST_HEADER = 1, DGST_DATA = 2, HPDA_MAX = 31, PDO_MAX = 128, DGST_BYTES = 4 };

struct pdu_common {
    uint8_t type;
    uint8_t flags;
    uint8_t hlen;
    uint8_t pdo;
    le32    plen;
};
static_assert(sizeof(struct pdu_common) == 8, "wire size");

struct pdu_icreq {
    struct pdu_common common;
    le16    pfv;
    uint8_t hpda;
    uint8_t dgst;
    le32    maxr2t; /* 0-based */
    uint8_t reserved[112];
};
static_assert(sizeof(struct pdu_icreq) == 128, "wire size");

struct pdu_icresp {
    struct pdu_common common;
    le16    pfv;
    uint8_t cpda;
    uint8_t dgst;
    le32    maxh2cdata;
    uint8_t reserved[112];
};
static_assert(sizeof(struct pdu_icresp) == 128, "wire size");

struct pdu_term_req {
    struct pdu_common common;
    le16    fes;
    le32    fei;
    uint8_t reserved[10];
};
static_assert(sizeof(struct pdu_term_req) == 24, "wire size");
#define TERM_REQ_DATA_MAX 128u
#define TERM_REQ_PLEN_MAX (24u + TERM_REQ_DATA_MAX)

struct pdu_h2c_data {
    struct pdu_common common;
    le16    cccid;
    le16    ttag;
    le32    datao;
    le32    datal;
    uint8_t reserved[4];
};
static_assert(sizeof(struct pdu_h2c_data) == 24, "wire size");

struct pdu_c2h_data {
    struct pdu_common common;
    le16    cccid;
    uint8_t reserved[2];
    le32    datao;
    le32    datal;
    uint8_t reserved2[4];
};
static_assert(sizeof(struct pdu_c2h_data) == 24, "wire size");

struct pdu_r2t {
    struct pdu_common common;
    le16    cccid;
    le16    ttag;
    le32    r2to;
    le32    r2tl;
    uint8_t reserved[4];
};
static_assert(sizeof(struct pdu_r2t) == 24, "wire size");

/* ---- submission and completion queue entries ---------------------------------------------------------------------- */

struct nvme_sgl {
    le64    addr;
    le32    length;
    uint8_t reserved[3];
    uint8_t type; /* high nibble: descriptor type, low nibble: sub type */
};
static_assert(sizeof(struct nvme_sgl) == 16, "wire size");
enum { SGL_OFFSET = 0x01, SGL_TRANSPORT = 0x5a };

struct nvme_sqe {
    uint8_t opc;
    uint8_t flags; /* 1:0 FUSE, 7:6 PSDT */
    le16    cid;
    le32    nsid;  /* Fabrics: byte 4 is FCTYPE */
    le32    cdw2, cdw3;
    le64    mptr;
    struct nvme_sgl sgl;
    le32    cdw10, cdw11, cdw12, cdw13, cdw14, cdw15;
};
static_assert(sizeof(struct nvme_sqe) == 64, "wire size");
static_assert(offsetof(struct nvme_sqe, sgl) == 24 && offsetof(struct nvme_sqe, cdw10) == 40, "wire offsets");

struct nvme_cqe {
    le64 result;
    le16 sqhd;
    le16 sqid; /* reserved in Fabrics */
    le16 cid;
    le16 status; /* bit 0: phase (0), 8:1 SC, 11:9 SCT, 13:12 CRD, 14 M, 15 DNR */
};
static_assert(sizeof(struct nvme_cqe) == 16, "wire size");

struct pdu_capsule_cmd { struct pdu_common common; struct nvme_sqe sqe; };
static_assert(sizeof(struct pdu_capsule_cmd) == 72, "wire size");
struct pdu_capsule_resp { struct pdu_common common; struct nvme_cqe cqe; };
static_assert(sizeof(struct pdu_capsule_resp) == 24, "wire size");

enum nvme_admin_opc {
    ADMIN_GET_LOG_PAGE = 0x02,
    ADMIN_IDENTIFY     = 0x06,
    ADMIN_ABORT        = 0x08,
    ADMIN_SET_FEATURES = 0x09,
    ADMIN_GET_FEATURES = 0x0a,
    ADMIN_ASYNC_EVENT  = 0x0c,
    ADMIN_KEEP_ALIVE   = 0x18,
    OPC_FABRICS        = 0x7f,
};
enum nvme_io_opc {
    IO_FLUSH        = 0x00,
    IO_WRITE        = 0x01,
    IO_READ         = 0x02,
    IO_COMPARE      = 0x05,
    IO_WRITE_ZEROES = 0x08,
    IO_DSM          = 0x09,
    IO_VERIFY       = 0x0c,
};
enum nvme_fctype { FC_PROPERTY_SET = 0x00, FC_CONNECT = 0x01, FC_PROPERTY_GET = 0x04, FC_AUTH_SEND = 0x05,
                   FC_AUTH_RECV = 0x06, FC_DISCONNECT = 0x08 };

/* Status: SCT << 8 | SC; STATUS_DNR asks the host not to retry. */
enum nvme_status {
    ST_SUCCESS              = 0x000,
    ST_INVALID_OPCODE       = 0x001,
    ST_INVALID_FIELD        = 0x002,
    ST_CID_CONFLICT         = 0x003,
    ST_INTERNAL             = 0x006,
    ST_ABORT_REQUESTED      = 0x007,
    ST_INVALID_NAMESPACE    = 0x00b,
    ST_COMMAND_SEQUENCE     = 0x00c,
    ST_SGL_LENGTH           = 0x00f,
    ST_SGL_TYPE             = 0x011,
    ST_SGL_OFFSET           = 0x016,
    ST_HOSTID_INCONSISTENT  = 0x018,
    ST_NS_WRITE_PROTECTED   = 0x020,
    ST_COMMAND_INTERRUPTED  = 0x021,
    ST_TRANSIENT_TRANSPORT  = 0x022,
    ST_LBA_RANGE            = 0x080,
    ST_CAPACITY_EXCEEDED    = 0x081,
    ST_NS_NOT_READY         = 0x082,
    ST_AER_LIMIT            = 0x105,
    ST_INVALID_LOG_PAGE     = 0x109,
    ST_FEATURE_NOT_SAVEABLE = 0x10d,
    ST_FEATURE_NOT_CHANGEABLE = 0x10e,
    ST_CONNECT_FORMAT       = 0x180,
    ST_CONNECT_BUSY         = 0x181,
    ST_CONNECT_PARAM        = 0x182,
    ST_CONNECT_HOST         = 0x184,
    ST_WRITE_FAULT          = 0x280,
    ST_UNRECOVERED_READ     = 0x281,
    ST_COMPARE_FAILURE      = 0x285,
    ST_INTERNAL_PATH        = 0x300,
    STATUS_DNR              = 0x4000,
};

/* ---- Fabrics ------------------------------------------------------------------------------------------------------- */

struct fabrics_connect { /* view of a submission queue entry */
    uint8_t opc, flags;
    le16    cid;
    uint8_t fctype;
    uint8_t reserved[19];
    struct nvme_sgl sgl;
    le16    recfmt;
    le16    qid;
    le16    sqsize; /* 0-based */
    uint8_t cattr;
    uint8_t reserved2;
    le32    kato;   /* ms */
    uint8_t reserved3[12];
};
static_assert(sizeof(struct fabrics_connect) == 64 && offsetof(struct fabrics_connect, recfmt) == 40, "wire size");
enum { CATTR_SQ_FLOW_OFF = 4 };

struct fabrics_property {
    uint8_t opc, flags;
    le16    cid;
    uint8_t fctype;
    uint8_t reserved[35];
    uint8_t attrib; /* 2:0 size: 0 four bytes, 1 eight */
    uint8_t reserved2[3];
    le32    ofst;
    le64    value;
    uint8_t reserved3[8];
};
static_assert(sizeof(struct fabrics_property) == 64 && offsetof(struct fabrics_property, ofst) == 44, "wire size");

struct fabrics_connect_data {
    uint8_t hostid[16];
    le16    cntlid;
    uint8_t reserved[238];
    char    subnqn[256];
    char    hostnqn[256];
    uint8_t reserved2[256];
};
static_assert(sizeof(struct fabrics_connect_data) == 1024, "wire size");

enum { PROP_CAP = 0x00, PROP_VS = 0x08, PROP_CC = 0x14, PROP_CSTS = 0x1c, PROP_CRTO = 0x68 };
#define NVME_VS_1_4 0x00010400u
enum { CC_EN = 1, CC_SHN_MASK = 0xc000, CSTS_RDY = 1, CSTS_CFS = 2, CSTS_SHST_DONE = 8 };
#define DISCOVERY_NQN "nqn.2014-08.org.nvmexpress.discovery"

/* ---- Identify, log pages --------------------------------------------------------------------------------------------- */

struct nvme_id_ctrl {
    le16    vid, ssvid;             /*    0 */
    char    sn[20];                 /*    4 */
    char    mn[40];                 /*   24 */
    char    fr[8];                  /*   64 */
    uint8_t rab, ieee[3], cmic, mdts; /* 72 */
    le16    cntlid;                 /*   78 */
    le32    ver, rtd3r, rtd3e, oaes, ctratt; /* 80 */
    le16    rrls;                   /*  100 */
    uint8_t reserved102[9];
    uint8_t cntrltype;              /*  111 */
    uint8_t fguid[16];              /*  112 */
    le16    crdt[3];                /*  128 */
    uint8_t reserved134[122];
    le16    oacs;                   /*  256 */
    uint8_t acl, aerl, frmw, lpa, elpe, npss, avscc, apsta;
    le16    wctemp, cctemp, mtfa;   /*  266 */
    le32    hmpre, hmmin;           /*  272 */
    uint8_t tnvmcap[16], unvmcap[16]; /* 280 */
    le32    rpmbs;                  /*  312 */
    le16    edstt;                  /*  316 */
    uint8_t dsto, fwug;             /*  318 */
    le16    kas;                    /*  320 */
    uint8_t reserved322[64];
    le16    cqt;                    /*  386 */
    uint8_t reserved388[124];
    uint8_t sqes, cqes;             /*  512 */
    le16    maxcmd;                 /*  514 */
    le32    nn;                     /*  516 */
    le16    oncs, fuses;            /*  520 */
    uint8_t fna, vwc;               /*  524 */
    le16    awun, awupf;            /*  526 */
    uint8_t icsvscc, nwpc;          /*  530 */
    le16    acwu, cdfs;             /*  532 */
    le32    sgls, mnan;             /*  536 */
    uint8_t maxdna[16];             /*  544 */
    le32    maxcna;                 /*  560 */
    uint8_t reserved564[204];
    char    subnqn[256];            /*  768 */
    uint8_t reserved1024[768];
    le32    ioccsz, iorcsz;         /* 1792 */
    le16    icdoff;                 /* 1800 */
    uint8_t fcatt, msdbd;           /* 1802 */
    le16    ofcs;                   /* 1804 */
    uint8_t dctype;                 /* 1806 */
    uint8_t reserved1807[241];
    uint8_t psd[1024];              /* 2048 */
    uint8_t vs[1024];
};
static_assert(sizeof(struct nvme_id_ctrl) == 4096, "wire size");
static_assert(offsetof(struct nvme_id_ctrl, cntrltype) == 111 && offsetof(struct nvme_id_ctrl, oacs) == 256, "wire offsets");
static_assert(offsetof(struct nvme_id_ctrl, kas) == 320 && offsetof(struct nvme_id_ctrl, cqt) == 386, "wire offsets");
static_assert(offsetof(struct nvme_id_ctrl, sqes) == 512 && offsetof(struct nvme_id_ctrl, sgls) == 536, "wire offsets");
static_assert(offsetof(struct nvme_id_ctrl, subnqn) == 768 && offsetof(struct nvme_id_ctrl, ioccsz) == 1792, "wire offsets");

struct nvme_lbaf { le16 ms; uint8_t lbads, rp; };
struct nvme_id_ns {
    le64    nsze, ncap, nuse;       /*   0 */
    uint8_t nsfeat, nlbaf, flbas, mc, dpc, dps, nmic, rescap, fpi, dlfeat; /* 24 */
    le16    nawun, nawupf, nacwu, nabsn, nabo, nabspf, noiob; /* 34 */
    uint8_t nvmcap[16];             /*  48 */
    le16    npwg, npwa, npdg, npda, nows, mssrl; /* 64 */
    le32    mcl;                    /*  76 */
    uint8_t msrc, reserved81[11];
    le32    anagrpid;               /*  92 */
    uint8_t reserved96[3], nsattr;
    le16    nvmsetid, endgid;       /* 100 */
    uint8_t nguid[16], eui64[8];    /* 104 */
    struct nvme_lbaf lbaf[64];      /* 128 */
    uint8_t vs[3712];
};
static_assert(sizeof(struct nvme_id_ns) == 4096, "wire size");
static_assert(offsetof(struct nvme_id_ns, nguid) == 104 && offsetof(struct nvme_id_ns, lbaf) == 128, "wire offsets");
static_assert(offsetof(struct nvme_id_ns, npwg) == 64 && offsetof(struct nvme_id_ns, noiob) == 46, "wire offsets");

struct nvme_ns_id_desc { uint8_t nidt, nidl, reserved[2]; };
enum { NIDT_EUI64 = 1, NIDT_NGUID = 2, NIDT_UUID = 3, NIDT_CSI = 4 };

enum nvme_lid { LID_SUPPORTED = 0x00, LID_ERROR = 0x01, LID_SMART = 0x02, LID_FIRMWARE = 0x03, LID_CHANGED_NS = 0x04,
                LID_EFFECTS = 0x05, LID_DISCOVERY = 0x70 };

struct nvme_smart_log {
    uint8_t critical_warning;
    le16    temperature; /* kelvin */
    uint8_t avail_spare, spare_thresh, percent_used, endurance_crit, reserved7[25];
    uint8_t data_units_read[16], data_units_written[16], host_reads[16], host_writes[16], busy_time[16];
    uint8_t power_cycles[16], power_on_hours[16], unsafe_shutdowns[16], media_errors[16], error_entries[16];
    le32    warning_temp_time, critical_temp_time;
    uint8_t reserved200[312];
};
static_assert(sizeof(struct nvme_smart_log) == 512 && offsetof(struct nvme_smart_log, data_units_read) == 32, "wire size");

struct nvme_error_entry {
    le64    error_count;
    le16    sqid, cid, status, location;
    le64    lba;
    le32    nsid;
    uint8_t vs, trtype, csi, opc;
    le64    cs;
    le16    trtype_spec;
    uint8_t reserved42[22];
};
static_assert(sizeof(struct nvme_error_entry) == 64, "wire size");

struct nvme_discovery_header { le64 genctr, numrec; le16 recfmt; uint8_t reserved[1006]; };
static_assert(sizeof(struct nvme_discovery_header) == 1024, "wire size");
struct nvme_discovery_entry {
    uint8_t trtype, adrfam, subtype, treq;
    le16    portid, cntlid, asqsz, eflags;
    uint8_t reserved12[20];
    char    trsvcid[32];            /*  32 */
    uint8_t reserved64[192];
    char    subnqn[256];            /* 256 */
    char    traddr[256];            /* 512 */
    uint8_t tsas[256];              /* 768 */
};
static_assert(sizeof(struct nvme_discovery_entry) == 1024, "wire size");
static_assert(offsetof(struct nvme_discovery_entry, trsvcid) == 32 && offsetof(struct nvme_discovery_entry,
        traddr) == 512, "wire offsets");

struct nvme_dsm_range { le32 cattr, nlb; le64 slba; };
static_assert(sizeof(struct nvme_dsm_range) == 16, "wire size");
enum { DSM_AD = 4 };

enum nvme_fid { FID_ARBITRATION = 0x01, FID_POWER = 0x02, FID_TEMPERATURE = 0x04, FID_ERROR_RECOVERY = 0x05, FID_VWC = 0x06,
                FID_NUM_QUEUES = 0x07, FID_WRITE_ATOMICITY = 0x0a, FID_ASYNC_EVENT = 0x0b, FID_KATO = 0x0f,
                FID_HOST_BEHAVIOR = 0x16, FID_HOST_ID = 0x81 };
enum { AEN_NS_ATTR = 1 << 8 };
#define AEN_DISCOVERY (1u << 31)

#endif
