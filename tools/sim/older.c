/* SPDX-License-Identifier: Apache-2.0 */
/* older.c: some pools are made into what an older program would have formatted, before anything is written in them. */
#include "tools/sim/world.h"

#include "tier/label.h"

/* Headers and footers of 4096 bytes where the journal's blocks are of 512. */
void older_heads(struct world *w)
{
    struct sim_disk *disk = w->machine.disk[0];
    struct label_copies copies;
    struct label l;
    struct dev *d;

    if (w->plan.align != 512 || w->opts->seed % 3 != 0)
        return;
    if (sim_dev_open(disk, w->envs[0], &d) != 0) {
        world_fail(w, "no journal to make older");
        return;
    }
    if (label_read(d, sim_disk_size(disk), &l, &copies) != 0 || !(l.incompat & LABEL_INCOMPAT_SHORT_HEADS))
        world_fail(w, "the journal has no short heads");
    l.incompat &= ~LABEL_INCOMPAT_SHORT_HEADS;
    if (label_write(d, sim_disk_size(disk), &l, 0) != 0)
        world_fail(w, "the journal's label cannot be written");
    dev_close(d);
}
