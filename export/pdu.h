/* SPDX-License-Identifier: Apache-2.0 */
/* pdu.h: the PDU parser of an NVMe/TCP controller: bytes in, in any split, one event at a time out.
 *
 * Pure: no I/O, no allocation, no clock. It checks everything that concerns a PDU by itself, in the order state,
 * lengths, header digest, content; what needs the command (a transfer tag) is pdu_h2c_check(), as pure. Its first fatal
 * error is its last event for ever: PDU_EV_ERROR with what a termination request says.
 * Payload is not copied: the caller gets spans of its own buffer, or receives it elsewhere and says so by pdu_took().
 */
#ifndef FIRN_EXPORT_PDU_H
#define FIRN_EXPORT_PDU_H

#include "base/types.h"
#include "export/spec.h"

enum pdu_state {
    PDU_ST_HEADER,  /* in the header and its digest */
    PDU_ST_DATA,    /* in the payload */
    PDU_ST_DDGST,   /* in the payload's digest, or right behind the payload if there is none */
    PDU_ST_ERROR,   /* terminal */
    PDU_ST_NR,
};

enum pdu_event_type {
    PDU_EV_MORE,     /* nothing whole: feed more bytes */
    PDU_EV_ICREQ,
    PDU_EV_CAPSULE,  /* a command capsule's header; data_bytes of payload follow */
    PDU_EV_H2C_DATA, /* an H2CData header; data_bytes (> 0) follow */
    PDU_EV_DATA,     /* a span of payload; with a digest it does not cross a multiple of 4 KiB of the payload */
    PDU_EV_END,      /* after the payload: digest_ok tells */
    PDU_EV_TERM,     /* the host gave up; close */
    PDU_EV_ERROR,    /* fatal: fault */
    PDU_EV_NR,
};

struct pdu_fault {
    uint16_t fes; /* enum pdu_fes */
    uint32_t fei; /* offset of the field, or the digest received; else 0 */
};

struct pdu_h2c {
    uint16_t cccid, ttag;
    uint32_t datao, datal;
    bool     last;
};

struct pdu_event {
    enum pdu_event_type type;
    const struct nvme_sqe *sqe;  /* CAPSULE: in the fed bytes or the parser; valid until the next step */
    const uint8_t *hdr;          /* the header's bytes, for ICREQ, CAPSULE, H2C_DATA, TERM; valid as sqe is */
    uint32_t       hdr_bytes;
    uint32_t       data_bytes;   /* CAPSULE, H2C_DATA */
    struct pdu_h2c h2c;
    const uint8_t *bytes;        /* DATA */
    size_t         len;
    bool           digest_ok;    /* END; true without digests */
    struct { uint8_t hpda, dgst; uint32_t maxr2t; } ic; /* ICREQ; maxr2t as sent, 0-based */
    struct pdu_fault fault;      /* ERROR; TERM: what the host complained of */
};

#define PDU_HDR_MAX 128u /* the longest: ICReq */

struct pdu_parser {
    enum pdu_state state;
    bool     ic_done;        /* ICReq was taken: pdu_ic_done() */
    bool     connected;      /* the queue is live: H2CData is legal */
    bool     hdgst, ddgst;   /* negotiated */
    uint32_t in_capsule_max; /* bytes of in-capsule data allowed */
    uint32_t h2c_max;        /* MAXH2CDATA */
    uint32_t have, need;     /* header bytes gathered in hdr; header and digest bytes of this PDU, 8 while unknown */
    uint32_t data_left;      /* payload bytes to come */
    uint32_t data_done;      /* payload bytes that came */
    uint32_t data_crc;       /* digest of the payload so far */
    uint32_t dgst_have;      /* digest bytes gathered */
    bool     data_digest;    /* this PDU ends in a digest */
    uint8_t  dgst[DGST_BYTES];
    uint8_t  hdr[PDU_HDR_MAX];
    struct pdu_fault fault;
};
static_assert(sizeof(struct pdu_capsule_cmd) + DGST_BYTES <= PDU_HDR_MAX, "every header with its digest fits");
static_assert(sizeof(struct pdu_icreq) <= PDU_HDR_MAX, "ICReq has no digest");

void pdu_init(struct pdu_parser *p, uint32_t in_capsule_max, uint32_t h2c_max);
/* ICReq is answered: digests as agreed from the next byte on. */
void pdu_ic_done(struct pdu_parser *p, uint8_t dgst);
/* Takes some of the len bytes, says in ev what they were, returns how many it took. MORE always takes all of them.
 * With len 0 it may still say END. */
size_t pdu_step(struct pdu_parser *p, const uint8_t *buf, size_t len, struct pdu_event *ev);
/* n bytes of the payload (<= data_left) arrived elsewhere. */
void pdu_took(struct pdu_parser *p, const void *bytes, size_t n);
/* The caller found a fatal error in the header that ev brought: the parser ends as if it had found it. */
void pdu_fail(struct pdu_parser *p, const struct pdu_event *ev, struct pdu_fault fault);

struct pdu_r2t_state { uint16_t cid; uint32_t next, end; }; /* an R2T outstanding: next offset expected, end of its range */
/* H2CData against the R2T it answers (NULL: its tag names none). False: *fault says why. */
bool pdu_h2c_check(const struct pdu_h2c *h, const struct pdu_r2t_state *r, struct pdu_fault *fault);

#endif
