/* SPDX-License-Identifier: Apache-2.0 */
/* priv.h: what the files of rt/ share among themselves. */
#ifndef FIRN_RT_PRIV_H
#define FIRN_RT_PRIV_H

#include "rt/dev.h"

/* dev_pmem.c: dev_open() hands over to it when opts->pmem is set. */
int dev_pmem_open(struct env *env, const char *path, const struct dev_open_opts *opts, struct dev **out,
                  char why[static 256]);

/* Completes io with err from a deferred task: for results that are known inside submit. */
void dev_io_done_later(struct dev *d, struct dev_io *io, int err);

#endif
