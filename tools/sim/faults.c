/* SPDX-License-Identifier: Apache-2.0 */
/* faults.c: names and tables of the fault classes. */
#include "tools/sim/faults.h"

#include <inttypes.h>

static const struct { const char *name, *text; } classes[SIM_FAULT_NR] = {
#define X(tag, sentence) [SIM_##tag] = {#tag, sentence},
    SIM_FAULTS(X)
#undef X
};

const char *sim_fault_name(enum sim_fault f)
{
    assert(f < SIM_FAULT_NR);
    return classes[f].name;
}

const char *sim_fault_text(enum sim_fault f)
{
    assert(f < SIM_FAULT_NR);
    return classes[f].text;
}

int sim_fault_parse(const char *name)
{
    for (int f = 0; f < SIM_FAULT_NR; f++)
        if (strcmp(classes[f].name, name) == 0)
            return f;
    return -1;
}

void sim_faults_add(struct sim_faults *sum, const struct sim_faults *part)
{
    for (int f = 0; f < SIM_FAULT_NR; f++) {
        sum->of[f].fired += part->of[f].fired;
        sum->of[f].mattered += part->of[f].mattered;
    }
}

unsigned sim_faults_print(struct strbuf *out, const struct sim_faults *f, uint64_t floor)
{
    unsigned rare = 0;

    strbuf_add(out, "%-20s %10s %10s  %s\n", "fault class", "fired", "mattered", "row of the fault table");
    for (int i = 0; i < SIM_FAULT_NR; i++) {
        bool low = f->of[i].fired < floor;

        rare += low;
        strbuf_add(out, "%-20s %10" PRIu64 " %10" PRIu64 "  %s%s\n", classes[i].name, f->of[i].fired,
                   f->of[i].mattered, classes[i].text, low ? "  TOO RARE" : "");
    }
    return rare;
}

unsigned sim_faults_json(struct strbuf *out, const struct sim_faults *f, uint64_t floor)
{
    unsigned rare = 0;

    strbuf_add(out, "{");
    for (int i = 0; i < SIM_FAULT_NR; i++) {
        rare += f->of[i].fired < floor;
        strbuf_add(out, "%s\"%s\": {\"fired\": %" PRIu64 ", \"mattered\": %" PRIu64 "}", i == 0 ? "" : ", ",
                   classes[i].name, f->of[i].fired, f->of[i].mattered);
    }
    strbuf_add(out, "}");
    return rare;
}
