/* SPDX-License-Identifier: Apache-2.0 */
/* settings.h: the configuration while the server runs: what SIGHUP and PATCH /v1/config may change, and how it is applied.
 *
 * Any thread, under one mutex. Keys flagged KEY_RELOAD are applied at once; others are told to need a restart.
 */
#ifndef FIRN_DAEMON_SETTINGS_H
#define FIRN_DAEMON_SETTINGS_H

#include <jansson.h>

#include "daemon/config.h"

struct http;
struct node;
struct options;
struct settings;

/* opts: the command line, whose word goes over that of the file, also when that is read again; borrowed. */
int  settings_new(const struct config *cfg, const struct options *opts, struct node *node, struct http *http, struct settings **out);
void settings_free(struct settings *s);
/* Reads the file again. A file with problems changes nothing; they are logged. */
int  settings_reload(struct settings *s);
/* keys: {"log.level": "info", ...}; all of them or none. 0, or -FIRN_E_INVALID (why says what is allowed, or what to do instead). Of
 * the others -ETIMEDOUT alone has changed something: all is set, and the pool takes its part when its reactors go on. */
int  settings_set(struct settings *s, json_t *keys, char why[static 256]);
/* {"export.port": "4420", ...}: every key as a user would write it. */
json_t *settings_json(struct settings *s);

#endif
