/* SPDX-License-Identifier: Apache-2.0 */
/* fresh.c: is the range that --fresh calls never written really all zeros? A sample of it, spread evenly and read before
 * the first write: a volume that was used would otherwise be judged as one that returns what nobody wrote.
 * A read that fails says nothing: the run itself will meet it. */
#include "fresh.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define FRESH_SAMPLES    256u
#define FRESH_READ_BYTES 16384u

static int read_at(struct worker *w, uint64_t off_bytes, uint32_t len, uint8_t *buf, char why[static 256])
{
    uint64_t lba = off_bytes / w->ns.lba_bytes;
    struct ini_cmd c = {.sqe = {.opcode = OP_READ,
                                .nsid = to_le32(1),
                                .cdw10 = to_le32((uint32_t)lba),
                                .cdw11 = to_le32((uint32_t)(lba >> 32)),
                                .cdw12 = to_le32(len / w->ns.lba_bytes - 1)},
                        .dir = INI_READ,
                        .data = buf,
                        .len = len};
    int err = assoc_io(&w->assoc, 0, &c, why);

    if (!err && c.status)
        memset(buf, 0, len);
    return err;
}

static int sample(struct worker *w, uint64_t begin, uint64_t end, uint8_t *buf, uint64_t *used_byte, char why[static 256])
{
    uint32_t lba = w->ns.lba_bytes, most = ROUND_DOWN(MIN(FRESH_READ_BYTES, w->ns.mdts_bytes), lba);
    uint64_t step = MAX(ROUND_DOWN((end - begin) / FRESH_SAMPLES, (uint64_t)lba), (uint64_t)most);

    for (uint64_t at = begin; at < end; at += step) {
        uint32_t len = (uint32_t)MIN((uint64_t)most, end - at);
        int err = read_at(w, at, len, buf, why);

        if (err)
            return err;
        for (uint32_t i = 0; i < len; i++)
            if (buf[i] != 0) {
                *used_byte = at + i;
                return 1;
            }
    }
    return 0;
}

int fresh_sample(struct worker *w, uint64_t begin_bytes, uint64_t end_bytes, uint64_t *used_byte, char why[static 256])
{
    uint8_t *buf = aligned_alloc(4096, FRESH_READ_BYTES);
    int found;

    if (buf == NULL) {
        snprintf(why, 256, "out of memory");
        return -ENOMEM;
    }
    found = sample(w, begin_bytes, end_bytes, buf, used_byte, why);
    free(buf);
    return found;
}
