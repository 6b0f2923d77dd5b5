/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_config.c: any bytes as firn.conf. What is refused says why, line by line; what is accepted holds only values that
 * their own keys accept again, printed and read back to the same.
 */
#include "daemon/config.h"
#include "tier/tier.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
const char *__lsan_default_suppressions(void);

/* libconfig 1.5 forgets the buffer of a string that the file ends in; it is its own, and once a bad file. */
const char *__lsan_default_suppressions(void) { return "leak:libconfig.so"; }

static void expect(bool ok)
{
    if (!ok)
        abort();
}

static void check_values(const struct config *c, struct config *again)
{
    char why[256];

    for (unsigned i = 0; i < CONFIG_KEY_NR; i++) {
        enum config_key key = (enum config_key)i;
        struct strbuf text;

        if ((config_key_info(key)->flags & KEY_REQUIRED) && c->line[key] == 0)
            continue;
        strbuf_init(&text);
        config_value_print(&text, c, key);
        expect(config_set_text(again, key, strbuf_str(&text), why) == 0);
        expect(config_value_equal(c, again, key));
        strbuf_fini(&text);
    }
    expect(c->nr_cache <= CACHE_DEVS_MAX && c->nr_capacity <= CAPACITY_DEVS_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct config c, again;
    static struct tier_opts opts;
    struct strbuf problems;
    char *text;
    int err;

    if (size > 64 * 1024 || memchr(data, 0, size))
        return 0;
    text = malloc(size + 1);
    expect(text != NULL);
    memcpy(text, data, size);
    text[size] = '\0';
    strbuf_init(&problems);
    err = config_parse(text, "f", &c, &problems);
    expect((err != 0) == (problems.len != 0));
    expect(err == 0 || strncmp(strbuf_str(&problems), "f:", 2) == 0);
    if (!err) {
        check_values(&c, &again);
        if (config_validate(&c, &problems) == 0)
            config_tier_opts(&c, &opts);
        else
            expect(problems.len != 0);
    }
    strbuf_fini(&problems);
    free(text);
    return 0;
}
