/* SPDX-License-Identifier: Apache-2.0 */
/* hang.c: a library to preload that lets a metadata disk hang, for tests/cli/slow.sh: while the file HANG_FILE exists, an
 * fdatasync() of a file called data.mdb does not return.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

int fdatasync(int fd)
{
    const char *file = getenv("HANG_FILE");
    char link[64], path[512];
    ssize_t n;

    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    n = readlink(link, path, sizeof(path) - 1);
    path[n > 0 ? n : 0] = '\0';
    while (file != NULL && strstr(path, "/data.mdb") != NULL && access(file, F_OK) == 0)
        usleep(10000);
    return (int)syscall(SYS_fdatasync, fd);
}
