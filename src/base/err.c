/* SPDX-License-Identifier: Apache-2.0 */
/* err.c: the one list of errors as sentences and as codes of the API. */
#include "base/err.h"

static const char *const err_texts[] = {
#define X(tag, code, text) text,
    FIRN_ERRORS(X)
#undef X
};

static const char *const err_codes[] = {
#define X(tag, code, text) code,
    FIRN_ERRORS(X)
#undef X
};

static_assert(ARRAY_LEN(err_texts) == FIRN_E_END - FIRN_E_BASE - 1, "one sentence for each code");

/* Position in the list, or -1 for errno values and numbers nobody defined. */
static int err_index(int err)
{
    int64_t e = err < 0 ? -(int64_t)err : err;

    return e > FIRN_E_BASE && e < FIRN_E_END ? (int)(e - FIRN_E_BASE - 1) : -1;
}

const char *err_text(int err)
{
    int i = err_index(err);

    if (i >= 0)
        return err_texts[i];
    if (err == 0)
        return "success";
    return strerror(err < 0 && err != INT32_MIN ? -err : err); /* glibc: static or thread-local */
}

const char *err_code(int err)
{
    int i = err_index(err);

    return i >= 0 ? err_codes[i] : "system";
}
