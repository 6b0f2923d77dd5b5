/* SPDX-License-Identifier: Apache-2.0 */
/* replay_main.c: runs a fuzzer's entry over the files of a corpus, without libFuzzer: the form `make check` uses.
 * Usage: fuzz_X FILE-OR-FOLDER...; exit 0 when every input was taken without a finding.
 */
#include "base/types.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned inputs;

static int replay_file(const char *path)
{
    FILE *f = fopen(path, "rb");
    uint8_t *buf = malloc(1u << 24);
    size_t n;

    if (f == NULL || buf == NULL) {
        fprintf(stderr, "%s: cannot be read\n", path);
        return 1;
    }
    n = fread(buf, 1, 1u << 24, f);
    fclose(f);
    /* An exact-size copy lets the address sanitizer see a read one byte past the input. */
    uint8_t *exact = malloc(n != 0 ? n : 1);
    if (exact == NULL)
        abort();
    memcpy(exact, buf, n);
    free(buf);
    LLVMFuzzerTestOneInput(exact, n);
    free(exact);
    inputs++;
    return 0;
}

static int replay_path(const char *path)
{
    struct stat st;
    struct dirent *e;
    DIR *d;
    int bad = 0;

    if (stat(path, &st) != 0) {
        fprintf(stderr, "%s: not found\n", path);
        return 1;
    }
    if (!S_ISDIR(st.st_mode))
        return replay_file(path);
    d = opendir(path);
    if (d == NULL)
        return 1;
    while ((e = readdir(d)) != NULL) {
        char full[4096];

        if (e->d_name[0] == '.')
            continue;
        snprintf(full, sizeof(full), "%s/%s", path, e->d_name);
        bad |= replay_path(full);
    }
    closedir(d);
    return bad;
}

int main(int argc, char **argv)
{
    int bad = 0;

    for (int i = 1; i < argc; i++)
        bad |= replay_path(argv[i]);
    if (inputs == 0) {
        fprintf(stderr, "no input was replayed\n");
        bad = 1;
    }
    printf("%u inputs replayed\n", inputs);
    return bad;
}
