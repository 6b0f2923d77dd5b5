/* SPDX-License-Identifier: Apache-2.0 */
/* strbuf.h: a growing string for printers, JSON-free pages and error texts. Not for the data path. */
#ifndef FIRN_BASE_STRBUF_H
#define FIRN_BASE_STRBUF_H

#include "base/types.h"

struct strbuf { char *s; size_t len, cap; bool failed; /* out of memory at some point: contents are cut */ };

void strbuf_init(struct strbuf *b);
void strbuf_fini(struct strbuf *b);
void strbuf_add(struct strbuf *b, const char *fmt, ...) PRINTF_LIKE(2, 3);
void strbuf_add_bytes(struct strbuf *b, const void *p, size_t n);
const char *strbuf_str(const struct strbuf *b); /* never NULL */

#endif
