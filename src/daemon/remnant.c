/* SPDX-License-Identifier: Apache-2.0 */
/* remnant.c: see remnant.h. Only looks. A capacity without a label may be one that somebody laid there for the first format. */
#include "daemon/remnant.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "tier/format.h"

static bool labelled(const char *path)
{
    uint8_t buf[2 * LABEL_BYTES] = {0}; /* the two copies at the beginning */
    struct label l;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    ssize_t n;

    if (fd < 0)
        return false;
    n = pread(fd, buf, sizeof(buf), 0);
    close(fd);
    return n == (ssize_t)sizeof(buf) &&
           (label_decode(buf, &l) != -FIRN_E_NOT_FIRN || label_decode(buf + LABEL_BYTES, &l) != -FIRN_E_NOT_FIRN);
}

static bool has_metadata(const struct config *c)
{
    char file[CONFIG_TEXT_MAX + 16];
    struct stat st;

    snprintf(file, sizeof(file), "%s/data.mdb", config_text(c, pool_metadata));
    return stat(file, &st) == 0;
}

void remnant_look(struct config *c, enum embedded_state *state)
{
    if (*state != EMBEDDED_EMPTY || !(labelled(c->capacity[0].path) || has_metadata(c)))
        return;
    *state = EMBEDDED_POOL;
    config_num(c, journal_size) = c->capacity[0].size_bytes = 0;
}
