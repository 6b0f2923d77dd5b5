/* SPDX-License-Identifier: Apache-2.0 */
#include "base/crc32c.h"
#include "base/err.h"
#include "base/list.h"
#include "base/log.h"
#include "base/pool.h"
#include "base/strbuf.h"

#include <criterion/criterion.h>
#include <criterion/redirect.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* ---- crc32c -------------------------------------------------------------------------------------------------------- */

Test(crc32c, known_vectors)
{
    uint8_t zeros[32] = {0}, ones[32], up[32], down[32];

    memset(ones, 0xff, sizeof(ones));
    for (unsigned i = 0; i < 32; i++) {
        up[i] = (uint8_t)i;
        down[i] = (uint8_t)(31 - i);
    }
    cr_assert_eq(crc32c(0, "123456789", 9), 0xe3069283u);
    cr_assert_eq(crc32c(0, zeros, 32), 0x8a9136aau); /* RFC 3720, B.4 */
    cr_assert_eq(crc32c(0, ones, 32), 0x62a8ab43u);
    cr_assert_eq(crc32c(0, up, 32), 0x46dd794eu);
    cr_assert_eq(crc32c(0, down, 32), 0x113fdb5cu);
    cr_assert_eq(crc32c(0, "", 0), 0u);
}

Test(crc32c, pieces_give_the_same_as_the_whole)
{
    uint8_t buf[5000];
    uint32_t whole;

    for (unsigned i = 0; i < sizeof(buf); i++)
        buf[i] = (uint8_t)(i * 167 + (i >> 8));
    whole = crc32c(0, buf, sizeof(buf));
    for (size_t cut = 0; cut <= sizeof(buf); cut += 37)
        cr_assert_eq(crc32c(crc32c(0, buf, cut), buf + cut, sizeof(buf) - cut), whole);
}

Test(crc32c, a_block_verifies_at_its_own_address_only)
{
    uint8_t block[BLOCK_BYTES];
    uint32_t c;

    memset(block, 0x5a, sizeof(block));
    c = block_csum(block, 7, 1000);
    cr_assert_eq(c, block_csum_of_crc(crc32c(0, block, BLOCK_BYTES), 7, 1000));
    for (uint64_t d = 1; d < 100000; d++) {
        cr_assert_neq(block_csum(block, 7, 1000), block_csum_of_crc(crc32c(0, block, 0) ^ 1, 7, 1000 + d));
        if (d > 200)
            continue; /* the whole block is slow; the mix alone goes on below */
        cr_assert_neq(c, block_csum(block, 7, 1000 + d));
        cr_assert_neq(c, block_csum(block, 7 + d, 1000));
    }
    for (uint64_t d = 1; d < 100000; d++)
        cr_assert_neq(block_csum_of_crc(0, 7, 1000), block_csum_of_crc(0, 7, 1000 + (d << 12)));
    cr_assert_neq(block_csum_of_crc(0, 1, 2), block_csum_of_crc(0, 2, 1));
}

/* ---- errors -------------------------------------------------------------------------------------------------------- */

Test(err, every_code_has_a_sentence_and_a_code_and_they_differ)
{
    for (int e = FIRN_E_BASE + 1; e < FIRN_E_END; e++) {
        cr_assert_gt(strlen(err_text(-e)), 10u);
        cr_assert_str_eq(err_text(e), err_text(-e));
        for (int f = e + 1; f < FIRN_E_END; f++)
            cr_assert_str_neq(err_code(e), err_code(f));
    }
    cr_assert_str_eq(err_code(-FIRN_E_NO_SPACE), "no_space");
    cr_assert_str_eq(err_code(-ENOENT), "system");
    cr_assert_str_eq(err_text(-ENOENT), "No such file or directory");
    cr_assert_str_eq(err_text(0), "success");
    cr_assert_neq(err_text(INT32_MIN), NULL);
    cr_assert_neq(err_text(-FIRN_E_END), NULL);
    cr_assert_str_eq(err_code(-FIRN_E_END), "system");
    cr_assert_str_eq(err_code(-FIRN_E_BASE), "system");
}

/* ---- pool ---------------------------------------------------------------------------------------------------------- */

Test(pool, gives_each_object_once_and_then_says_empty)
{
    struct pool p;
    void *o[5];

    cr_assert_eq(pool_init(&p, 100, 64, 5), 0);
    for (int i = 0; i < 5; i++) {
        o[i] = pool_get(&p);
        cr_assert(o[i] != NULL && (uintptr_t)o[i] % 64 == 0);
        memset(o[i], i, 100);
    }
    cr_assert(pool_is_empty(&p) && pool_get(&p) == NULL);
    for (int i = 0; i < 5; i++)
        cr_assert_eq(((char *)o[i])[99], i, "no two overlap");
    pool_put(&p, o[2]);
    cr_assert_eq(pool_get(&p), o[2]);
    for (int i = 0; i < 5; i++)
        pool_put(&p, o[i]);
    cr_assert_eq(p.low_water, 0u);
    pool_fini(&p);
}

Test(pool, objects_are_zeroed_at_first)
{
    static const char zeros[4096];
    struct pool p;
    void *o;

    cr_assert_eq(pool_init(&p, 4096, 4096, 3), 0);
    o = pool_get(&p);
    cr_assert_eq((uintptr_t)o % 4096, 0u);
    cr_assert_eq(memcmp(o, zeros, sizeof(zeros)), 0);
    pool_put(&p, o);
    pool_fini(&p);
}

Test(pool, too_much_memory_is_an_error)
{
    struct pool p;

    cr_assert_eq(pool_init(&p, SIZE_MAX / 8, 8, 1000), -ENOMEM);
    cr_assert_eq(pool_init(&p, (size_t)1 << 46, 8, 1000), -ENOMEM);
}

Test(pool, a_stranger_is_refused, .signal = SIGABRT)
{
    struct pool p;

    cr_assert_eq(pool_init(&p, 64, 8, 2), 0);
    pool_put(&p, (char *)pool_get(&p) + 8);
}

Test(pool, giving_back_twice_is_refused, .signal = SIGABRT)
{
    struct pool p;
    void *o;

    cr_assert_eq(pool_init(&p, 64, 8, 2), 0);
    o = pool_get(&p);
    pool_put(&p, o);
    pool_put(&p, o);
}

Test(pool, an_object_that_is_out_at_the_end_is_refused, .signal = SIGABRT)
{
    struct pool p;

    cr_assert_eq(pool_init(&p, 64, 8, 2), 0);
    cr_assert(pool_get(&p) != NULL);
    pool_fini(&p);
}

/* ---- list ---------------------------------------------------------------------------------------------------------- */

struct item { struct list node; int v; };

Test(list, pushes_pops_and_splices_in_order)
{
    struct list a, b;
    struct item it[5];
    int sum = 0;

    list_init(&a);
    list_init(&b);
    for (int i = 0; i < 5; i++) {
        it[i].v = i;
        list_push_back(i < 3 ? &a : &b, &it[i].node);
    }
    list_splice_back(&b, &a);
    cr_assert(list_empty(&a));
    list_for_each(n, &b)
        sum = sum * 10 + list_entry(n, struct item, node)->v;
    cr_assert_eq(sum, 34012);
    list_remove(&it[0].node);
    list_remove(&it[0].node); /* of a node that is on no list: nothing */
    cr_assert_eq(list_pop_front(&b), &it[3].node);
    cr_assert_eq(list_first(&b, struct item, node)->v, 4);
    list_push_front(&b, &it[0].node);
    list_for_each_safe(n, tmp, &b)
        list_remove(n);
    cr_assert(list_empty(&b) && list_pop_front(&b) == NULL);
}

/* ---- strbuf -------------------------------------------------------------------------------------------------------- */

Test(strbuf, grows_and_is_never_null)
{
    struct strbuf b;

    strbuf_init(&b);
    cr_assert_str_eq(strbuf_str(&b), "");
    for (int i = 0; i < 10000; i++)
        strbuf_add(&b, "%d,", i % 10);
    cr_assert_eq(b.len, 20000u);
    cr_assert_eq(strlen(strbuf_str(&b)), 20000u);
    strbuf_add_bytes(&b, "a\0b", 3);
    cr_assert_eq(b.len, 20003u);
    cr_assert(!b.failed);
    strbuf_fini(&b);
    cr_assert_str_eq(strbuf_str(&b), "");
}

/* ---- log ----------------------------------------------------------------------------------------------------------- */

static void redirect(void) { cr_redirect_stderr(); }

static void expect_log(const char *want)
{
    char got[8192] = "";
    FILE *f = cr_get_redirected_stderr();
    size_t n = fread(got, 1, strlen(want), f);

    cr_assert_eq(n, strlen(want));
    cr_assert_str_eq(got, want);
}

Test(log, one_line_an_event, .init = redirect)
{
    log_info("started", "");
    log_warn("two words", "port=%d path=\"%s\"", 4420, "/dev/x");
    log_error("evil", "nqn=\"%s\"", "a\nlevel=error msg=forged\033[2J");
    log_debug("unseen", "a=1");
    log_error("last", "");
    expect_log("level=info msg=started\n"
               "level=warn msg=\"two words\" port=4420 path=\"/dev/x\"\n"
               "level=error msg=evil nqn=\"a?level=error msg=forged?[2J\"\n"
               "level=error msg=last\n");
}

Test(log, a_long_line_is_cut, .init = redirect)
{
    static char big[10000], got[4096];
    size_t n;

    memset(big, 'x', sizeof(big) - 1);
    log_info("long", "v=%s", big);
    fflush(stderr);
    n = fread(got, 1, 2047, cr_get_redirected_stderr());
    cr_assert_eq(n, 2047u);
    cr_assert_str_eq(got + 2047 - 4, "...\n");
}

Test(log, a_failing_stderr_is_counted_and_never_blocks)
{
    int p[2];
    uint64_t before = log_dropped();

    cr_assert_eq(pipe2(p, O_NONBLOCK), 0);
    dup2(p[1], STDERR_FILENO);
    for (int i = 0; i < 5000; i++)
        log_info("filling", "i=%d text=0123456789012345678901234567890123456789", i);
    cr_assert_gt(log_dropped(), before);
    close(STDERR_FILENO);
    log_info("nobody", "");
    cr_assert_gt(log_dropped(), before + 1);
}

Test(log, levels_have_names)
{
    enum log_level l;

    cr_assert_eq(log_level_parse("warn", &l), 0);
    cr_assert_eq(l, LOG_LEVEL_WARN);
    cr_assert_eq(log_level_parse("debug", &l), 0);
    cr_assert_eq(l, LOG_LEVEL_DEBUG);
    cr_assert_eq(log_level_parse("WARN", &l), -EINVAL);
    cr_assert_eq(log_level_parse("", &l), -EINVAL);
}
