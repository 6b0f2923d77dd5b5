/* SPDX-License-Identifier: Apache-2.0 */
/* status_text.c: what a target's status means, as the NVMe specifications name it. */
#include "worker.h"

#define STATUS(type, code) ((type) << 8 | (code))

static const struct { uint16_t status; const char *text; } texts[] = {
    {STATUS(0, 0x01), "invalid command opcode"},
    {STATUS(0, 0x02), "invalid field in command"},
    {STATUS(0, 0x04), "data transfer error"},
    {STATUS(0, 0x06), "internal error"},
    {STATUS(0, 0x07), "command aborted"},
    {STATUS(0, 0x08), "command aborted: its queue was deleted"},
    {STATUS(0, 0x0b), "invalid namespace"},
    {STATUS(0, 0x20), "namespace is write protected"},
    {STATUS(0, 0x80), "LBA out of range"},
    {STATUS(0, 0x81), "capacity exceeded"},
    {STATUS(0, 0x82), "namespace not ready"},
    {STATUS(1, 0x80), "Connect: incompatible format"},
    {STATUS(1, 0x81), "Connect: controller busy"},
    {STATUS(1, 0x82), "Connect: invalid parameters (there is no such subsystem)"},
    {STATUS(1, 0x84), "Connect: invalid host (its NQN is not on the volume's list, or another host is connected)"},
    {STATUS(2, 0x80), "write fault"},
    {STATUS(2, 0x81), "unrecovered read error"},
    {STATUS(2, 0x85), "compare failure"},
    {STATUS(2, 0x86), "access denied"},
};

const char *status_text(uint16_t status)
{
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        if (texts[i].status == (status & 0x7ff))
            return texts[i].text;
    return "a status of another kind";
}
