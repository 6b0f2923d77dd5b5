/* SPDX-License-Identifier: Apache-2.0 */
/* log.c: a line is put together on the stack and leaves in one write, so lines of several threads never mix.
 *
 * Failures: a write that fails, or that a full pipe takes only in part, loses the line (or its rest) and is counted;
 * nothing is retried, since logging must not hold up a reactor. An over-long line is cut and ends in "...".
 */
#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#define LINE_BYTES 2048 /* below PIPE_BUF, so a line in a pipe is never interleaved with another process's */

static _Atomic int level_now = LOG_LEVEL_INFO;
static _Atomic uint64_t dropped;
static const char *const level_names[] = {"debug", "info", "warn", "error"};

void log_set_level(enum log_level level)
{
    atomic_store_explicit(&level_now, (int)level, memory_order_relaxed);
}

int log_level_parse(const char *name, enum log_level *out)
{
    for (size_t i = 0; i < ARRAY_LEN(level_names); i++)
        if (strcmp(name, level_names[i]) == 0) {
            *out = (enum log_level)i;
            return 0;
        }
    return -EINVAL;
}

uint64_t log_dropped(void)
{
    return atomic_load_explicit(&dropped, memory_order_relaxed);
}

/* Values may hold what a peer sent: no control character may forge a second line or drive a terminal. */
static void neutralize(char *s, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)s[i] < 0x20 || s[i] == 0x7f)
            s[i] = '?';
}

static size_t line_format(char buf[LINE_BYTES], enum log_level level, const char *msg, const char *kv_fmt, va_list ap)
    PRINTF_LIKE(4, 0);

/* Length of the line in buf, at most LINE_BYTES, ending in a newline. */
static size_t line_format(char buf[LINE_BYTES], enum log_level level, const char *msg, const char *kv_fmt, va_list ap)
{
    const char *quote = strchr(msg, ' ') != NULL ? "\"" : "";
    int n = snprintf(buf, LINE_BYTES, "level=%s msg=%s%s%s", level_names[level], quote, msg, quote);
    size_t len = n < 0 ? 0 : (size_t)n;

    if (len < LINE_BYTES - 2 && kv_fmt[0] != '\0') {
        buf[len++] = ' ';
        n = vsnprintf(buf + len, LINE_BYTES - len, kv_fmt, ap);
        len += n < 0 ? 0 : (size_t)n;
    }
    if (len > LINE_BYTES - 2) {
        len = LINE_BYTES - 2;
        memcpy(buf + len - 3, "...", 3);
    }
    neutralize(buf, len);
    buf[len++] = '\n';
    return len;
}

const char *log_quoted(const char *text, char buf[static LOG_QUOTED_BYTES])
{
    size_t n = 0;

    buf[n++] = '"';
    for (; *text && n + 4 < LOG_QUOTED_BYTES; text++) {
        if (*text == '"' || *text == '\\')
            buf[n++] = '\\';
        buf[n++] = *text;
    }
    buf[n++] = '"';
    buf[n] = '\0';
    return buf;
}

void log_line(enum log_level level, const char *msg, const char *kv_fmt, ...)
{
    char buf[LINE_BYTES];
    size_t len;
    ssize_t n;
    va_list ap;
    int saved = errno;

    if ((int)level < atomic_load_explicit(&level_now, memory_order_relaxed))
        return;
    va_start(ap, kv_fmt);
    len = line_format(buf, level, msg, kv_fmt, ap);
    va_end(ap);
    do
        n = write(STDERR_FILENO, buf, len);
    while (n < 0 && errno == EINTR);
    if (n < 0 || (size_t)n != len)
        atomic_fetch_add_explicit(&dropped, 1, memory_order_relaxed);
    errno = saved;
}
