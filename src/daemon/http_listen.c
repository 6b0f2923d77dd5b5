/* SPDX-License-Identifier: Apache-2.0 */
/* http_listen.c: see http_listen.h. */
#include "daemon/http_listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"

#define BACKLOG 64

static int fail(int fd, int err, const char *what, const char *where, char why[static 256])
{
    if (fd >= 0)
        close(fd);
    snprintf(why, 256, "%.120s: %.60s: %.60s", where, what, err_text(err));
    return err;
}

/* Does anybody answer there? */
static bool unix_alive(const struct sockaddr_un *sa)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool alive = fd >= 0 && connect(fd, (const struct sockaddr *)sa, sizeof(*sa)) == 0;

    if (fd >= 0)
        close(fd);
    return alive;
}

/* The directory of the socket, if only that is missing (/run is empty after a boot). */
static void make_parent(const char *path)
{
    char dir[128], quoted[LOG_QUOTED_BYTES];
    const char *slash = strrchr(path, '/');

    if (!slash || slash == path || (size_t)(slash - path) >= sizeof(dir))
        return;
    snprintf(dir, sizeof(dir), "%.*s", (int)(slash - path), path);
    if (mkdir(dir, 0755) == 0) /* a mistyped path shows here */
        log_info("directory made for the API's socket", "path=%s", log_quoted(dir, quoted));
}

int http_listen_unix(const char *path, char why[static 256])
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    struct stat st;
    int fd;

    if (strlen(path) >= sizeof(sa.sun_path))
        return fail(-1, -ENAMETOOLONG, "the API's socket", path, why);
    memcpy(sa.sun_path, path, strlen(path) + 1);
    make_parent(path);
    if (lstat(path, &st) == 0) {
        if (!S_ISSOCK(st.st_mode))
            return fail(-1, -EEXIST, "the API's socket would replace a file", path, why);
        if (unix_alive(&sa))
            return fail(-1, -EADDRINUSE, "another server answers there", path, why);
        unlink(path);
    }
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&sa, sizeof(sa)) != 0)
        return fail(fd, -errno, "the API's socket cannot be made", path, why);
    if (chmod(path, 0600) != 0 || listen(fd, BACKLOG) != 0)
        return fail(fd, -errno, "the API's socket", path, why);
    return fd;
}

static socklen_t fill_addr(const char *addr, uint16_t port, struct sockaddr_storage *ss)
{
    struct sockaddr_in a4 = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct sockaddr_in6 a6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};

    if (inet_pton(AF_INET, addr, &a4.sin_addr) == 1) {
        memcpy(ss, &a4, sizeof(a4));
        return sizeof(a4);
    }
    if (inet_pton(AF_INET6, addr, &a6.sin6_addr) == 1) {
        memcpy(ss, &a6, sizeof(a6));
        return sizeof(a6);
    }
    return 0;
}

static uint16_t port_of(const struct sockaddr_storage *ss)
{
    struct sockaddr_in a4;
    struct sockaddr_in6 a6;

    memcpy(&a4, ss, sizeof(a4));
    memcpy(&a6, ss, sizeof(a6));
    return ntohs(ss->ss_family == AF_INET6 ? a6.sin6_port : a4.sin_port);
}

int http_listen_tcp(const char *addr, uint16_t port, uint16_t *chosen, char why[static 256])
{
    struct sockaddr_storage ss = {0};
    socklen_t len = fill_addr(addr, port, &ss);
    char where[64];
    int one = 1, fd;

    snprintf(where, sizeof(where), "%.45s port %u", addr, port);
    if (len == 0)
        return fail(-1, -EINVAL, "the API's address", where, why);
    fd = socket(ss.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) != 0)
        return fail(fd, -errno, "the API's port", where, why);
    if (bind(fd, (struct sockaddr *)&ss, len) != 0 || listen(fd, BACKLOG) != 0)
        return fail(fd, -errno, "the API's port cannot be opened", where, why);
    if (getsockname(fd, (struct sockaddr *)&ss, &len) != 0)
        return fail(fd, -errno, "the API's port", where, why);
    *chosen = port_of(&ss);
    return fd;
}

int http_read_token(const char *file, char token[static TOKEN_CHARS_MAX], char why[static 256])
{
    char buf[TOKEN_CHARS_MAX];
    struct stat st;
    size_t start, len;
    ssize_t n = -1;
    int fd = open(file, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return fail(-1, -errno, "the API's token", file, why);
    n = read(fd, buf, sizeof(buf) - 1);
    if (n < 0 || fstat(fd, &st) != 0)
        return fail(fd, -errno, "the API's token", file, why);
    close(fd);
    if (st.st_mode & (S_IRWXG | S_IRWXO))
        log_warn("others may read the API's token", "file=\"%s\" do=\"chmod 600 %s\"", file, file);
    buf[n] = '\0';
    start = strspn(buf, " \t\r\n");
    len = strcspn(buf + start, " \t\r\n");
    if (len == 0) {
        snprintf(why, 256, "%.180s: holds no token; put one line of random text there", file);
        return -FIRN_E_INVALID;
    }
    if (len < TOKEN_CHARS_SAFE)
        log_warn("the API's token is short: it may be guessed", "file=\"%s\" characters=%zu do=\"put %u or more random characters "
                 "there, such as those of: openssl rand -hex 32\"", file, len, TOKEN_CHARS_SAFE);
    memcpy(token, buf + start, len);
    token[len] = '\0';
    explicit_bzero(buf, sizeof(buf));
    return 0;
}
