/* SPDX-License-Identifier: Apache-2.0 */
/* commands.h: what main.c's table points at. Each prints for people, or one JSON document with --json. */
#ifndef FIRN_TOOLS_FIRNCTL_COMMANDS_H
#define FIRN_TOOLS_FIRNCTL_COMMANDS_H

#include <jansson.h>

#include "tools/firnctl/args.h"

int cmd_status(const struct args *a);
int cmd_device_list(const struct args *a);
int cmd_loss_clear(const struct args *a);
int cmd_heat(const struct args *a);
int cmd_top(const struct args *a);
int cmd_bundle(const struct args *a);
int cmd_volume_create(const struct args *a);
int cmd_volume_list(const struct args *a);
int cmd_volume_show(const struct args *a);
int cmd_volume_resize(const struct args *a);
int cmd_volume_set(const struct args *a);
int cmd_volume_delete(const struct args *a);
int cmd_host_allow(const struct args *a);
int cmd_host_deny(const struct args *a);
int cmd_host_list(const struct args *a);
int cmd_check(const struct args *a);   /* offline */
int cmd_dump(const struct args *a);    /* offline */

/* All volumes as one array, page after page; NULL: an error was said. */
json_t *all_volumes(const struct args *a);

#endif
