/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_pdu.c: any bytes through the PDU parser, in any split.
 *
 * The first byte of an input says how to cut it, which digests are on, and whether the header digests are made right (else
 * hardly any input would pass them). What must hold: progress or MORE; payload spans inside the fed bytes and
 * summing up to what the header announced; END after payload and only then; an error is final and its header is kept; and
 * the same bytes in another split give the same events.
 */
#include <stdlib.h>

#include "base/crc32c.h"
#include "export/pdu.h"

#define EVENTS_MAX 4096

struct trail { uint32_t nr; uint64_t sum; enum pdu_event_type last; uint32_t fes, fei; };

static void note(struct trail *t, const struct pdu_event *ev)
{
    uint64_t v = (uint64_t)ev->type;

    if (ev->type == PDU_EV_MORE || ev->type == PDU_EV_DATA)
        return; /* these depend on the split */
    if (ev->type == PDU_EV_CAPSULE || ev->type == PDU_EV_H2C_DATA)
        v |= (uint64_t)ev->data_bytes << 8;
    if (ev->type == PDU_EV_CAPSULE)
        v ^= (uint64_t)crc32c(0, ev->sqe, sizeof(*ev->sqe)) << 32;
    if (ev->type == PDU_EV_END)
        v |= (uint64_t)ev->digest_ok << 8;
    t->nr++;
    t->sum = t->sum * 1099511628211u + v;
    t->last = ev->type;
    if (ev->type == PDU_EV_ERROR) {
        t->fes = ev->fault.fes;
        t->fei = ev->fault.fei;
        assert(ev->fault.fes >= FES_HEADER_FIELD && ev->fault.fes <= FES_UNSUPPORTED);
    }
}

struct check { uint32_t want, got; bool in_payload; };

static void judge(struct check *c, const struct pdu_event *ev, const uint8_t *buf, size_t len)
{
    switch (ev->type) {
    case PDU_EV_CAPSULE:
    case PDU_EV_H2C_DATA:
        assert(!c->in_payload);
        assert(ev->data_bytes <= 512 * 1024 && ev->hdr_bytes <= PDU_HDR_MAX);
        *c = (struct check){.want = ev->data_bytes, .in_payload = ev->data_bytes != 0};
        break;
    case PDU_EV_DATA:
        assert(c->in_payload && ev->bytes >= buf && ev->len > 0 && ev->bytes + ev->len <= buf + len);
        c->got += (uint32_t)ev->len;
        assert(c->got <= c->want);
        break;
    case PDU_EV_END:
        assert(c->in_payload && c->got == c->want);
        c->in_payload = false;
        break;
    case PDU_EV_ICREQ:
    case PDU_EV_TERM:
        assert(!c->in_payload);
        break;
    case PDU_EV_MORE:
    case PDU_EV_ERROR:
    case PDU_EV_NR:
        break;
    }
}

static void act(struct pdu_parser *p, const struct pdu_event *ev, uint8_t how)
{
    struct pdu_r2t_state r2t = {.cid = 1, .next = 0, .end = 65536};
    struct pdu_fault f;

    if (ev->type == PDU_EV_ICREQ) {
        pdu_ic_done(p, how & 3);
        p->connected = true;
    }
    if (ev->type == PDU_EV_H2C_DATA && !pdu_h2c_check(&ev->h2c, how & 0x80 ? &r2t : NULL, &f) && how & 0x40)
        pdu_fail(p, ev, f);
}

static struct trail run(const uint8_t *data, size_t size, uint8_t how, uint32_t seed)
{
    struct pdu_parser p;
    struct trail t = {0};
    struct check c = {0};
    struct pdu_event ev;
    size_t at = 0;

    pdu_init(&p, 8192, 512 * 1024);
    while (t.nr < EVENTS_MAX) {
        size_t step = seed ? 1 + (seed >> 16) % 97 : size, n = step < size - at ? step : size - at, took = 0;

        seed = seed ? seed * 1664525u + 1013904223u : 0;
        do {
            size_t k;

            memset(&ev, 0, sizeof(ev));
            k = pdu_step(&p, data + at + took, n - took, &ev);
            assert(k <= n - took);
            assert(k > 0 || ev.type == PDU_EV_MORE || ev.type == PDU_EV_END || ev.type == PDU_EV_ERROR);
            judge(&c, &ev, data + at, n);
            note(&t, &ev);
            took += k;
            if (ev.type == PDU_EV_ERROR || ev.type == PDU_EV_TERM)
                break;
            act(&p, &ev, how);
        } while (ev.type != PDU_EV_MORE || took < n);
        at += n;
        if (ev.type == PDU_EV_ERROR || ev.type == PDU_EV_TERM || at == size)
            break;
    }
    if (ev.type == PDU_EV_ERROR) {
        uint32_t have = p.have;

        assert(p.state == PDU_ST_ERROR && have >= 8 && have <= PDU_HDR_MAX);
        assert(pdu_step(&p, data, size, &ev) == 0 && ev.type == PDU_EV_ERROR && p.have == have); /* for ever */
    }
    return t;
}

/* Makes the header digests of a stream right where they would be, so that what lies behind them is reached. */
static void seal(uint8_t *d, size_t size)
{
    for (size_t at = 128; at + 8 <= size;) {
        uint32_t hlen = d[at + 2], plen;
        le32 le;

        memcpy(&le, d + at + 4, 4);
        plen = from_le32(le);
        if (hlen < 8 || plen < hlen || at + hlen + 4 > size)
            return;
        le = to_le32(crc32c(0, d + at, hlen));
        memcpy(d + at + hlen, &le, 4);
        if (plen > size - at)
            return;
        at += plen;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t how, *copy;
    struct trail a, b;

    if (size < 2)
        return 0;
    how = data[0];
    copy = malloc(size - 1);
    if (!copy)
        abort();
    memcpy(copy, data + 1, size - 1);
    if (how & 1 && how & 0x20)
        seal(copy, size - 1);
    a = run(copy, size - 1, how, 0);
    b = run(copy, size - 1, how, how * 2654435761u | 1);
    assert(a.nr == b.nr && a.sum == b.sum && a.last == b.last && a.fes == b.fes && a.fei == b.fei);
    free(copy);
    return 0;
}
