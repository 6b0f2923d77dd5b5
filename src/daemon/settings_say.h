/* SPDX-License-Identifier: Apache-2.0 */
/* settings_say.h: lines of the log about changes of the configuration. */
#ifndef FIRN_DAEMON_SETTINGS_SAY_H
#define FIRN_DAEMON_SETTINGS_SAY_H

#include "base/log.h"
#include "daemon/config.h"

/* One line for a key: what it was, what it is to be; why: "" or a sentence. */
void settings_say(enum log_level level, const char *what, enum config_key key, const struct config *from, const struct config *to,
                  const char *why);
/* As config_live() says it, without the key. */
const char *settings_why_not_live(const char *path, char why[static 256]);
/* A line for each list of devices that differs. Returns how many do. */
unsigned settings_say_devs(const struct config *is, const struct config *wanted);

#endif
