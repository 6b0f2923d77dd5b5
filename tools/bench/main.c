/* SPDX-License-Identifier: Apache-2.0 */
/* main.c: firn-bench, an NVMe/TCP initiator in user space: load generator and verifier. */
#include "bench.h"

#include <stdio.h>

int main(int argc, char **argv)
{
    static const struct { const char *name; int (*run)(const struct bench_opts *o); } commands[] = {
        {"run", cmd_run}, {"verify", cmd_verify}, {"list", cmd_list}, {"ping", cmd_ping},
    };
    static struct bench_opts o;

    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], "--help") == 0 || (i == 1 && (strcmp(argv[i], "help") == 0 || strcmp(argv[i], "-h") == 0))) {
            opts_help();
            return 0;
        }
    if (argc >= 2 && strcmp(argv[1], "--version") == 0) {
        puts("firn-bench " FIRN_VERSION);
        return 0;
    }
    for (size_t i = 0; argc >= 2 && i < ARRAY_LEN(commands); i++)
        if (strcmp(argv[1], commands[i].name) == 0) {
            int status = opts_parse(argc - 2, argv + 2, &o);

            return status ? status : commands[i].run(&o);
        }
    if (argc < 2)
        fprintf(stderr, "firn-bench: no command; there are run, verify, list, ping; see firn-bench --help\n");
    else
        fprintf(stderr, "firn-bench: unknown command \"%s\"; there are run, verify, list, ping; see firn-bench --help\n", argv[1]);
    return 2;
}
