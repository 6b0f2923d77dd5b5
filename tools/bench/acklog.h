/* SPDX-License-Identifier: Apache-2.0 */
/* acklog.h: the log of writes submitted and acknowledged, kept outside the pool: the evidence for or against the server.
 *
 * A submission is in the file before its bytes leave; an acknowledgement is in it soon after it came. The page cache is
 * enough: it is the server that gets killed. Several threads append through writers of their own to one file; appends
 * are single write(2) calls on O_APPEND. Bytes: FORMAT.md.
 */
#ifndef FIRN_BENCH_ACKLOG_H
#define FIRN_BENCH_ACKLOG_H

#include "oracle.h"

enum ack_type {
    ACK_RUN = 1,      /* a run begins: write_id = first id it uses, run = its number, units = 1 if the volume was fresh */
    ACK_SUBMIT = 2,   /* a write is about to be sent */
    ACK_ACKED = 3,    /* it was acknowledged */
    ACK_FAILED = 4,   /* it ended with an error or with its connection: it may or may not have happened */
    ACK_OBSERVED = 5, /* a read returned write_id for this unit, which had several legal values */
};

struct acklog_header_bytes {
    char    magic[8];
    le32    version, unit_bytes;
    uint8_t nguid[16];
    le64    nr_units, log_id;
    uint8_t rsvd[12];
    le32    crc;
};
static_assert(sizeof(struct acklog_header_bytes) == 64, "header");

struct acklog_record_bytes {
    uint8_t type, rsvd[3];
    le32    crc;      /* CRC32C of the record with this field zero */
    le64    write_id; /* with WRITE_ID_ZERO for zeroing writes */
    le64    unit;
    le32    units, run;
};
static_assert(sizeof(struct acklog_record_bytes) == 32, "record");

struct acklog_record { enum ack_type type; uint64_t write_id, unit; uint32_t units, run; };

struct acklog_geometry {
    uint8_t  nguid[16];
    uint32_t unit_bytes;
    uint64_t nr_units, log_id; /* log_id: random, in every stamp; 0: a log of version 1 */
};

struct acklog_summary { uint64_t submitted, acked, failed, observed, next_id; uint32_t runs; bool fresh; };

void acklog_encode(const struct acklog_record *r, struct acklog_record_bytes *out);
int  acklog_decode(const struct acklog_record_bytes *b, struct acklog_record *out); /* 0 or -EINVAL */

/* Reads a whole log into the oracle. With geo given, the log must belong to that namespace; else *geo is filled and the
 * oracle initialised from it. A torn last record is ignored; damage before the end is an error,
 * another volume's log -EXDEV. why says what is wrong. */
int acklog_geometry_read(const char *path, struct acklog_geometry *geo, char why[static 256]);
int acklog_replay(const char *path, struct oracle *o, struct acklog_summary *sum, char why[static 256]);

/* Opens for appending; makes the file with this geometry if there is none. fd or negative. */
int acklog_open_append(const char *path, const struct acklog_geometry *geo, char why[static 256]);

#define ACKLOG_BUFFERED 512
struct acklog_writer {
    int      fd;       /* -1: no log; appends vanish */
    uint32_t run, nr;
    struct acklog_record_bytes buf[ACKLOG_BUFFERED];
};
void acklog_writer_init(struct acklog_writer *w, int fd, uint32_t run);
int  acklog_append(struct acklog_writer *w, enum ack_type type, uint64_t write_id, uint64_t unit, uint32_t units);
int  acklog_flush(struct acklog_writer *w); /* 0 or negative: the evidence is incomplete, the run must stop */

#endif
