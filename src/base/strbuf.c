/* SPDX-License-Identifier: Apache-2.0 */
/* strbuf.c: a growing string; running out of memory cuts the contents and sets `failed`, nothing else. */
#include "base/strbuf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

void strbuf_init(struct strbuf *b) { *b = (struct strbuf){0}; }

void strbuf_fini(struct strbuf *b)
{
    free(b->s);
    strbuf_init(b);
}

/* Makes room for n more bytes and the final NUL. */
static bool strbuf_grow(struct strbuf *b, size_t n)
{
    size_t cap = b->cap ? b->cap : 256;
    char *s;

    if (b->failed || n >= SIZE_MAX / 4 - b->len) {
        b->failed = true;
        return false;
    }
    while (cap < b->len + n + 1)
        cap *= 2;
    if (cap == b->cap)
        return true;
    s = realloc(b->s, cap);
    if (s == NULL) {
        b->failed = true;
        return false;
    }
    b->s = s;
    b->cap = cap;
    return true;
}

void strbuf_add_bytes(struct strbuf *b, const void *p, size_t n)
{
    if (n == 0 || !strbuf_grow(b, n))
        return;
    memcpy(b->s + b->len, p, n);
    b->len += n;
    b->s[b->len] = '\0';
}

void strbuf_add(struct strbuf *b, const char *fmt, ...)
{
    va_list ap;
    int n;

    va_start(ap, fmt);
    n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    if (n < 0 || !strbuf_grow(b, (size_t)n)) {
        b->failed = true;
        return;
    }
    va_start(ap, fmt);
    vsnprintf(b->s + b->len, (size_t)n + 1, fmt, ap);
    va_end(ap);
    b->len += (size_t)n;
}

const char *strbuf_str(const struct strbuf *b) { return b->s != NULL ? b->s : ""; }
