/* SPDX-License-Identifier: Apache-2.0 */
/* options.h: firnd's command line. */
#ifndef FIRN_DAEMON_OPTIONS_H
#define FIRN_DAEMON_OPTIONS_H

#include "base/types.h"
#include "daemon/config.h"

#define CONFIG_FILE_DEFAULT "/etc/firn/firn.conf"

/*    name              argument  what it does */
#define DAEMON_OPTIONS(x)                                                                                        \
    x(config,           "FILE",   "read FILE; without it " CONFIG_FILE_DEFAULT)                                  \
    x(dev,              "DIR",    "a whole pool of files in DIR, made the first time; loopback only. Needs 1GiB, or --journal-size") \
    x(ram,              "SIZE",   "serve one volume named ram from memory: measures the target alone")           \
    x(format,           NULL,     "prepare empty devices as a new pool and exit")                                \
    x(add_cache,        NULL,     "make pool.cache as configured: take in what is empty, forget what is left out; exit") \
    x(force,            NULL,     "with --format, --add-cache: overwrite whatever the devices hold")             \
    x(check,            NULL,     "say what is wrong with configuration and devices, change nothing, and exit")  \
    x(accept_loss,      NULL,     "start although acknowledged data is known to be missing")                     \
    x(reactors,         "N",      "instead of reactors")                                                         \
    x(listen,           "ADDRESS","instead of export.listen")                                                    \
    x(port,             "N",      "instead of export.port; 0: the kernel chooses, for discovery too")            \
    x(discovery_port,   "N",      "instead of export.discovery_port")                                            \
    x(api_socket,       "PATH",   "instead of api.unix")                                                         \
    x(api_listen,       "ADDRESS","instead of api.listen")                                                       \
    x(api_port,         "N",      "instead of api.port; 0: the kernel chooses. With --dev or --ram: opens a TCP port at all") \
    x(api_token_file,   "FILE",   "instead of api.token_file")                                                   \
    x(log_level,        "LEVEL",  "instead of log.level")                                                        \
    x(journal_size,     "SIZE",   "with --dev: length of the journal file when it is made (1GiB)")               \
    x(capacity_size,    "SIZE",   "with --dev: length of the capacity file when it is made (64GiB)")             \
    x(model_hdd,        "WHICH",  "for tests: devices (WHICH: capacity, all with the journal, or one's number) take an HDD's time") \
    x(model_ssd,        NULL,     "for tests: the other devices take the time of an SSD")                        \
    x(print_config,     NULL,     "print a firn.conf with every key, its default and what it trades")            \
    x(help,             NULL,     "this text")                                                                   \
    x(version,          NULL,     "print the version")

struct options {
#define X(name, arg, help) const char *name; /* the argument, or "" for a flag; NULL: not given */
    DAEMON_OPTIONS(X)
#undef X
};

/* 0, or -FIRN_E_INVALID with a line on standard error. */
int  options_parse(int argc, char **argv, struct options *out);
void options_help(void);
/* What the command line says instead of the file. Problems: "firnd: --option: what is wrong". */
int  options_apply(const struct options *o, struct config *c, struct strbuf *problems);

#endif
