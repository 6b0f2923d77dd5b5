/* SPDX-License-Identifier: Apache-2.0 */
/* err.h: Firn's own error codes, one list.
 *
 * Functions return 0, or a negative number: -errno for what the system said, -FIRN_E_... for what Firn says.
 * Each boundary maps them once: export/status.c (NVMe), src/daemon/api_reply.c (HTTP).
 */
#ifndef FIRN_BASE_ERR_H
#define FIRN_BASE_ERR_H

#include "base/types.h"

/*      tag               api code            sentence */
#define FIRN_ERRORS(x)                                                                                         \
    x(DAMAGED,            "damaged",          "the stored bytes fail their checksum and there is no other copy") \
    x(NO_SPACE,           "no_space",         "the pool has no free space for new data")                       \
    x(NO_RESOURCES,       "no_resources",     "a fixed limit is reached; retry later")                         \
    x(DEVICE_FAILED,      "device_failed",    "a device failed; the operation was not carried out")            \
    x(STOPPED,            "stopped",          "the server is stopping")                                        \
    x(NOT_FOUND,          "not_found",        "there is no such object")                                       \
    x(EXISTS,             "exists",           "an object of that name exists with other parameters")           \
    x(INVALID,            "invalid",          "a parameter is invalid")                                        \
    x(IN_USE,             "in_use",           "the object is in use")                                          \
    x(NOT_ALLOWED,        "not_allowed",      "the host is not allowed to use this volume")                    \
    x(RANGE,              "out_of_range",     "the range lies outside the volume")                             \
    x(READ_ONLY,          "read_only",        "the volume is read-only")                                       \
    x(NOT_FIRN,           "not_firn",         "the device carries no Firn label")                              \
    x(FOREIGN,            "foreign",          "the device belongs to another pool or carries other data")      \
    x(MISSING,            "missing",          "a device of the pool is missing")                               \
    x(FORMAT_VERSION,     "format_version",   "the format is newer than this program understands")             \
    x(CORRUPT,            "corrupt",          "on-media structures are corrupt")                               \
    x(ROLLED_BACK,        "rolled_back",      "metadata or journal is older than what was acknowledged")       \
    x(BUSY,               "busy",             "another process uses the pool")                                 \
    x(META,               "meta_failed",      "the metadata store failed")                                     \
    x(CANCELED,           "canceled",         "the operation was canceled before it had any effect")

enum firn_err {
    FIRN_E_BASE = 4096, /* above every errno */
#define X(tag, code, text) FIRN_E_##tag,
    FIRN_ERRORS(X)
#undef X
    FIRN_E_END
};

/* The sentence for a return value (sign ignored); of errno values strerror's. Never NULL; static or thread-local. */
const char *err_text(int err);

/* The short code the HTTP API uses for it ("no_space"); "errno" values give "system". */
const char *err_code(int err);

#endif
