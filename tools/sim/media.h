/* SPDX-License-Identifier: Apache-2.0 */
/* media.h: the bytes of a device that a replay runs on: terabytes of address space in little RAM, no faults, no time.
 *
 * A page keeps its bytes up to the last one that is not zero. Replayed writes carry a stamp of 24 bytes and zeros, so a
 * page of them takes 32 bytes instead of 4096, whatever the engine does with them; headers and labels keep what they need.
 * Never-written pages read as zeros. Time is dev_model's, which wraps it.
 */
#ifndef FIRN_SIM_MEDIA_H
#define FIRN_SIM_MEDIA_H

#include "rt/dev.h"

struct media;

/* Sees each read and write when it is carried out, in the order in which the device does so. */
typedef void media_watch(void *ctx, enum dev_op op, uint64_t off_bytes, uint64_t len_bytes);

struct media *media_new(uint64_t size_bytes);
void media_free(struct media *m);                 /* no dev open on it */
void media_watch_set(struct media *m, media_watch *fn, void *ctx); /* NULL: nobody watches */
uint64_t media_kept_bytes(const struct media *m); /* RAM that the pages take */
/* Any number of devs on one medium. Requests are carried out when they are submitted and complete at once, from the loop. */
int  media_open(struct media *m, struct env *env, const char *path, struct dev **out);

#endif
