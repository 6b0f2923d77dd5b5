/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_meta.c: metadata. The first byte chooses: a record for one of the decoders, or changes to an LMDB file.
 *
 * A record that is accepted encodes to the very bytes it came from. A changed file is walked (here, bounded); what the
 * walk lets pass is opened, scanned and written to by LMDB in a child, which must end in peace.
 */
#include "tier/format.h"
#include "tier/format_heat.h"
#include "tier/tier.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void expect(bool ok)
{
    if (!ok)
        abort();
}

/* ---- records ---- */

#define TRY(type, encode, decode)                                        \
    do {                                                                 \
        type v_;                                                         \
        memset(&v_, 0, sizeof(v_));                                      \
        if (decode(data, (uint32_t)size, &v_) == 0)                      \
            expect(encode(&v_, again) == size && memcmp(data, again, size) == 0); \
    } while (0)

#define TRY_NUMBER(encode, decode)                                       \
    do {                                                                 \
        uint64_t v_ = 0;                                                 \
        if (decode(data, (uint32_t)size, &v_) == 0)                      \
            expect(encode(v_, again) == size && memcmp(data, again, size) == 0); \
    } while (0)

/* One of the version before comes back as one of today's, which says no more. */
static void shard_record(const uint8_t *data, size_t size)
{
    uint8_t again[META_VALUE_MAX];
    struct shard_rec r = {0};

    if (shard_rec_decode(data, (uint32_t)size, &r) != 0)
        return;
    expect(r.nr_rings <= CAPACITY_DEVS_MAX);
    expect(shard_rec_encode(&r, again) == MAX(size, (size_t)SHARD_REC_BYTES) && (size >= SHARD_REC_BYTES || r.described_seq == 0));
    expect((size < SHARD_REC_BYTES || data[0] == again[0]) && memcmp(data + 1, again + 1, size - 1) == 0);
}

static void records(const uint8_t *data, size_t size)
{
    uint8_t again[META_VALUE_MAX];
    char nqn[NQN_MAX_BYTES + 1];
    struct meta_key key = {.len = (uint8_t)MIN(size, META_KEY_MAX)};
    uint64_t a, b;
    uint32_t n;

    TRY(struct extent_rec, extent_rec_encode, extent_rec_decode);
    TRY(struct extent_sums, extent_sums_encode, extent_sums_decode);
    TRY(struct pool_rec, pool_rec_encode, pool_rec_decode);
    TRY(struct volume_rec, volume_rec_encode, volume_rec_decode);
    TRY(struct layer_rec, layer_rec_encode, layer_rec_decode);
    TRY(struct device_rec, device_rec_encode, device_rec_decode);
    TRY_NUMBER(segment_rec_encode, segment_rec_decode);
    shard_record(data, size);
    TRY(struct heat_rec, heat_rec_encode, heat_rec_decode);
    if (host_rec_decode(data, (uint32_t)size, nqn) == 0)
        expect(host_rec_encode(nqn, again) == size && memcmp(data, again, size) == 0);
    memcpy(key.b, data, key.len);
    if (meta_key_parse_extent(&key, 'E', &a, &b) == 0) {
        struct meta_key back = meta_key_extent(a, b);

        expect(back.len == key.len && memcmp(back.b, key.b, key.len) == 0);
    }
    if (meta_key_parse_heat(&key, &a, &n) == 0) {
        struct meta_key back = meta_key_heat(a, n);

        expect(back.len == key.len && memcmp(back.b, key.b, key.len) == 0);
    }
    if (meta_key_parse_host(&key, &a, &n) == 0) {
        struct meta_key back = meta_key_host(a, n);

        expect(back.len == key.len && memcmp(back.b, key.b, key.len) == 0);
    }
}

/* ---- an LMDB file ---- */

static char dir[64], file[96];
static uint8_t *image;
static size_t image_len;

static int put(struct meta *m, struct meta_key key, const void *value, uint32_t len)
{
    struct meta_op op = {.key = key, .value = value, .value_len = len};

    return m->ops->commit_sync(m, &op, 1);
}

static void image_make(void)
{
    struct meta_lmdb_opts o = {.create = true};
    struct meta *m;
    char why[256];
    uint8_t value[1104] = {1};
    FILE *f;

    snprintf(dir, sizeof(dir), "%s/firn-fuzz-XXXXXX", access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    expect(mkdtemp(dir) != NULL);
    snprintf(file, sizeof(file), "%s/data.mdb", dir);
    expect(meta_lmdb_open(dir, &o, &m, why) == 0);
    for (uint64_t i = 1; i < 60; i++) {
        put(m, meta_key_extent(1, i), value, EXTENT_REC_BYTES);
        put(m, meta_key_sums(1, i), value, EXTENT_SUMS_BYTES);
        if (i % 4 == 0)
            put(m, meta_key_sums(1, i - 2), NULL, 0);
    }
    m->ops->close(m);
    f = fopen(file, "rb");
    expect(f != NULL);
    image = malloc(1 << 20);
    image_len = fread(image, 1, 1 << 20, f);
    fclose(f);
}

static void image_drop(void)
{
    unlink(file);
    rmdir(dir);
    free(image);
}

static int visit(void *ctx, const struct meta_key *key, const void *value, uint32_t len)
{
    (void)key;
    (void)value;
    (void)len;
    ++*(unsigned *)ctx;
    return 0;
}

static void use_in_child(void)
{
    int status = 0;
    pid_t pid = fork();

    expect(pid >= 0);
    if (pid == 0) {
        struct meta_lmdb_opts o = {0};
        struct meta_key all = {.len = 0};
        uint8_t value[1104] = {2};
        unsigned nr = 0;
        struct meta *m;
        char why[256];

        signal(SIGALRM, SIG_DFL);
        alarm(20);
        if (freopen("/dev/null", "w", stderr) == NULL || meta_lmdb_open(dir, &o, &m, why) != 0)
            _exit(0);
        m->ops->scan_sync(m, &all, visit, &nr);
        for (uint64_t i = 1; i < 30; i++)
            put(m, meta_key_sums(1, i * 5), i % 3 ? value : NULL, EXTENT_SUMS_BYTES);
        m->ops->close(m);
        _exit(0);
    }
    while (waitpid(pid, &status, 0) != pid) /* a fuzzer's timer interrupts */
        expect(errno == EINTR);
    expect(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* Each four bytes of the input change one byte of the file: three of place, one of content. */
static void lmdb_file(const uint8_t *data, size_t size)
{
    struct meta_walk w = {0};
    char why[256];
    uint8_t *copy;
    int fd;

    if (image == NULL) {
        image_make();
        atexit(image_drop);
    }
    copy = malloc(image_len);
    expect(copy != NULL);
    memcpy(copy, image, image_len);
    for (size_t i = 0; i + 4 <= MIN(size, (size_t)64); i += 4)
        copy[((size_t)data[i] << 16 | (size_t)data[i + 1] << 8 | data[i + 2]) % image_len] ^= data[i + 3];
    fd = open(file, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    expect(fd >= 0 && write(fd, copy, image_len) == (ssize_t)image_len);
    close(fd);
    free(copy);
    if (meta_lmdb_walk(dir, &w, why) == 0)
        use_in_child();
    else
        expect(why[0] != '\0');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    if (data[0] & 1)
        lmdb_file(data + 1, size - 1);
    else
        records(data + 1, size - 1);
    return 0;
}
