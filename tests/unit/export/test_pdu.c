/* SPDX-License-Identifier: Apache-2.0 */
/* The PDU parser alone: splits, digests, order of checks. (tests/raw/raw_pdu.c asks the whole target.) */
#include <criterion/criterion.h>

#include "base/crc32c.h"
#include "export/block_sum.h"
#include "export/pdu.h"

static struct pdu_parser p;
static struct pdu_event ev;

static void ready(bool hd, bool dd)
{
    pdu_init(&p, 8192, 512 * 1024);
    pdu_ic_done(&p, (uint8_t)((hd ? DGST_HEADER : 0) | (dd ? DGST_DATA : 0)));
    p.connected = true;
}

static uint32_t capsule(uint8_t *out, uint32_t n)
{
    struct pdu_capsule_cmd *c = (void *)out;
    uint32_t head = 72 + (p.hdgst ? 4 : 0), plen = head + n + (n && p.ddgst ? 4 : 0);
    le32 crc;

    memset(out, 0x5a, plen);
    c->common = (struct pdu_common){.type = PDU_CAPSULE_CMD, .hlen = 72, .pdo = (uint8_t)(n ? head : 0), .plen = to_le32(plen)};
    c->common.flags = (uint8_t)((p.hdgst ? PDU_HDGSTF : 0) | (n && p.ddgst ? PDU_DDGSTF : 0));
    crc = to_le32(crc32c(0, out, 72));
    if (p.hdgst)
        memcpy(out + 72, &crc, 4);
    crc = to_le32(crc32c(0, out + head, n));
    if (n && p.ddgst)
        memcpy(out + head + n, &crc, 4);
    return plen;
}

Test(pdu, a_capsule_whole_is_read_in_place)
{
    uint8_t b[256];

    ready(true, false);
    cr_assert_eq(pdu_step(&p, b, capsule(b, 0), &ev), 76);
    cr_assert(ev.type == PDU_EV_CAPSULE && ev.data_bytes == 0 && (const uint8_t *)ev.sqe == b + 8);
}

Test(pdu, every_split_gives_the_same_events)
{
    uint8_t b[1024];

    for (int dg = 0; dg < 4; dg++) {
        ready(dg & 1, dg & 2);
        uint32_t n = capsule(b, 512);

        for (uint32_t cut = 1; cut < n; cut++) {
            uint32_t at = 0, payload = 0, ends = 0, headers = 0;

            ready(dg & 1, dg & 2);
            while (at < n || (p.state == PDU_ST_DDGST && !p.data_digest)) {
                uint32_t end = at < cut ? cut : n;

                at += (uint32_t)pdu_step(&p, b + at, end - at, &ev);
                headers += ev.type == PDU_EV_CAPSULE;
                payload += ev.type == PDU_EV_DATA ? (uint32_t)ev.len : 0;
                ends += ev.type == PDU_EV_END && ev.digest_ok;
                cr_assert(ev.type != PDU_EV_ERROR);
            }
            cr_assert(headers == 1 && payload == 512 && ends == 1, "digests %d cut %u", dg, cut);
        }
    }
}

Test(pdu, a_wrong_data_digest_is_not_fatal)
{
    uint8_t b[1024];

    ready(false, true);
    uint32_t n = capsule(b, 16);
    b[n - 1] ^= 1;
    size_t at = pdu_step(&p, b, n, &ev);
    at += pdu_step(&p, b + at, n - at, &ev);
    at += pdu_step(&p, b + at, n - at, &ev);
    cr_assert(at == n && ev.type == PDU_EV_END && !ev.digest_ok && p.state == PDU_ST_HEADER);
}

Test(pdu, payload_received_elsewhere_counts_and_is_summed)
{
    uint8_t b[1024];

    ready(false, true);
    uint32_t n = capsule(b, 64);
    size_t at = pdu_step(&p, b, 72, &ev);
    pdu_took(&p, b + at, 40);
    pdu_took(&p, b + at + 40, 24);
    cr_assert_eq(pdu_step(&p, b + n - 4, 4, &ev), 4);
    cr_assert(ev.type == PDU_EV_END && ev.digest_ok);
}

Test(block_sum, is_the_crc_of_the_block_alone)
{
    static uint8_t b[4 * BLOCK_BYTES];
    uint32_t before = 0;

    block_sum_init();
    for (uint32_t i = 0; i < sizeof(b); i++)
        b[i] = (uint8_t)(i * 2654435761u >> 13);
    for (uint32_t i = 0; i < 4; i++) {
        uint32_t after = crc32c(before, b + i * BLOCK_BYTES, BLOCK_BYTES);

        cr_assert_eq(block_sum(before, after), crc32c(0, b + i * BLOCK_BYTES, BLOCK_BYTES), "block %u", i);
        before = after;
    }
}

Test(pdu, the_first_error_is_the_last_event)
{
    uint8_t b[128] = {0xee};

    ready(false, false);
    cr_assert_eq(pdu_step(&p, b, sizeof(b), &ev), 8);
    for (int i = 0; i < 3; i++) {
        cr_assert(ev.type == PDU_EV_ERROR && ev.fault.fes == FES_HEADER_FIELD && p.have == 8);
        cr_assert_eq(pdu_step(&p, b, sizeof(b), &ev), 0);
    }
}

Test(pdu, state_is_judged_before_lengths_and_lengths_before_the_digest)
{
    uint8_t b[128] = {PDU_ICREQ, 0xff, 0, 0, 1}; /* all wrong at once */

    ready(true, true);
    pdu_step(&p, b, sizeof(b), &ev);
    cr_assert_eq(ev.fault.fes, FES_SEQUENCE);
    ready(true, false);
    capsule(b, 0);
    b[72] ^= 1;
    b[2] = 255;
    pdu_step(&p, b, 76, &ev);
    cr_assert(ev.fault.fes == FES_HEADER_FIELD && ev.fault.fei == 2);
    ready(true, false);
    capsule(b, 0);
    b[72] ^= 1;
    pdu_step(&p, b, 76, &ev);
    cr_assert_eq(ev.fault.fes, FES_HEADER_DIGEST);
}

Test(pdu, header_bytes_beyond_the_first_eight_wait_for_their_judgement)
{
    uint8_t b[8] = {PDU_CAPSULE_CMD, 0, 255, 0, 0xff, 0xff, 0xff, 0xff};

    ready(false, false);
    for (int i = 0; i < 7; i++) {
        pdu_step(&p, b + i, 1, &ev);
        cr_assert_eq(ev.type, PDU_EV_MORE);
    }
    pdu_step(&p, b + 7, 1, &ev);
    cr_assert(ev.type == PDU_EV_ERROR && p.have == 8);
}

Test(pdu, h2c_data_is_checked_against_its_r2t_in_64_bits)
{
    struct pdu_r2t_state r = {.cid = 7, .next = 0xfffff000u, .end = 0xffffffffu};
    struct pdu_h2c h = {.cccid = 7, .datao = 0xfffff000u, .datal = 0x2000};
    struct pdu_fault f;

    cr_assert(!pdu_h2c_check(&h, &r, &f) && f.fes == FES_OUT_OF_RANGE);
    h.datal = 0xfff;
    cr_assert(!pdu_h2c_check(&h, &r, &f) && f.fes == FES_SEQUENCE, "the end without LAST");
    h.last = true;
    cr_assert(pdu_h2c_check(&h, &r, &f));
    h.datao -= 4;
    cr_assert(!pdu_h2c_check(&h, &r, &f) && f.fes == FES_SEQUENCE);
    cr_assert(!pdu_h2c_check(&h, NULL, &f) && f.fes == FES_HEADER_FIELD && f.fei == 10);
}
