/* SPDX-License-Identifier: Apache-2.0 */
/* log.h: one line an event on standard error: level=... msg=... key=value.
 *
 * Any thread. A line is one write(2); a failing or full stderr drops lines and counts them, and never blocks the
 * caller on a non-blocking descriptor. Values with blanks are quoted by the caller's format ("path=\"%s\""); text that may
 * hold quotes itself goes through log_quoted() ("why=%s").
 */
#ifndef FIRN_BASE_LOG_H
#define FIRN_BASE_LOG_H

#include "base/types.h"

enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_WARN, LOG_LEVEL_ERROR };

void log_set_level(enum log_level level);
int  log_level_parse(const char *name, enum log_level *out); /* debug|info|warn|error; -EINVAL */
uint64_t log_dropped(void);                                  /* lines that could not be written */

/* kv_fmt gives " key=value" pairs without the leading blank, or "" for none. msg is quoted if it has blanks. */
#pragma GCC diagnostic ignored "-Wformat-zero-length" /* an event without values is not a mistake */
void log_line(enum log_level level, const char *msg, const char *kv_fmt, ...) PRINTF_LIKE(3, 4);

/* text as a quoted value, '"' and '\\' escaped; what does not fit is cut. Returns buf. */
#define LOG_QUOTED_BYTES 640
const char *log_quoted(const char *text, char buf[static LOG_QUOTED_BYTES]);

#define log_debug(msg, ...) log_line(LOG_LEVEL_DEBUG, msg, __VA_ARGS__)
#define log_info(msg, ...)  log_line(LOG_LEVEL_INFO, msg, __VA_ARGS__)
#define log_warn(msg, ...)  log_line(LOG_LEVEL_WARN, msg, __VA_ARGS__)
#define log_error(msg, ...) log_line(LOG_LEVEL_ERROR, msg, __VA_ARGS__)

#endif
