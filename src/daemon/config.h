/* SPDX-License-Identifier: Apache-2.0 */
/* config.h: firn.conf as a structure.
 *
 * A problem is one line "FILE:LINE: key: what is wrong, what is allowed". Reading collects all of them, changes nothing
 * outside *out, and a configuration with problems is never used in part.
 */
#ifndef FIRN_DAEMON_CONFIG_H
#define FIRN_DAEMON_CONFIG_H

#include "base/limits.h"
#include "base/strbuf.h"
#include "base/types.h"
#include "daemon/config_keys.h"
#include "tier/tier.h"

enum config_kind {
    CONFIG_NAME, CONFIG_PATH, CONFIG_ADDR, CONFIG_LEVEL, CONFIG_HOURS, CONFIG_PROFILE, /* texts */
    CONFIG_UINT, CONFIG_SIZE, CONFIG_DURATION, CONFIG_PERCENT, CONFIG_BOOL, /* numbers; durations in ns */
};

enum config_flags {
    KEY_REQUIRED = 1, /* has no default */
    KEY_ZERO     = 2, /* 0 is allowed beside min..max: "choose for me" or "none" */
    KEY_RELOAD   = 4, /* may change while running */
};

enum config_key {
#define X(path, kind, member, min, max, shown, flags, help) CONFIG_KEY_##member,
    CONFIG_KEYS(X)
#undef X
    CONFIG_KEY_NR
};

#define CONFIG_TEXT_MAX 256u

union config_value {
    uint64_t num;
    char     text[CONFIG_TEXT_MAX];
};

struct config_dev {
    char     path[CONFIG_TEXT_MAX];
    uint64_t size_bytes;           /* 0: the whole device */
    enum tier_media media;         /* of a capacity device */
    unsigned line;
};

struct config {
    union config_value v[CONFIG_KEY_NR];
    unsigned           line[CONFIG_KEY_NR]; /* where it was set; 0: default */
    struct config_dev  cache[CACHE_DEVS_MAX], capacity[CAPACITY_DEVS_MAX];
    unsigned           nr_cache, nr_capacity;
    bool               has_pool;            /* a pool group was given */
    char               file[CONFIG_TEXT_MAX];
};

#define config_num(c, member)  ((c)->v[CONFIG_KEY_##member].num)
#define config_text(c, member) ((c)->v[CONFIG_KEY_##member].text)

struct config_key_info {
    const char      *path;
    enum config_kind kind;
    uint64_t         min, max;
    const char      *shown;
    unsigned         flags;
    const char      *help;
};
const struct config_key_info *config_key_info(enum config_key key);
bool config_kind_is_text(enum config_kind kind);
/* "22:00-06:00" as minutes of the day; empty: 0, 0. False: it is neither. */
bool config_hours(const char *text, uint32_t *from_min, uint32_t *to_min);
/* The key of that path, or CONFIG_KEY_NR. */
enum config_key config_key_by_path(const char *path);

/* Whether a request can set the key of that path while the server runs; else why not and what to do, in words. */
bool config_live(const char *path, char why[static 256]);

void config_defaults(struct config *c);
/* Reads a file. 0, or -FIRN_E_INVALID with one line a problem; -errno (and a line) when it cannot be read. */
int  config_load(const char *file, struct config *out, struct strbuf *problems);
/* The same for a text; `file` is what messages call it. */
int  config_parse(const char *text, const char *file, struct config *out, struct strbuf *problems);
/* How keys relate: a journal needs capacity, dirty_start lies below dirty_max, an open API needs a token, ... */
int  config_validate(const struct config *c, struct strbuf *problems);
/* Those that hold without a pool and without an API too (--ram): what is open to other machines, and ports. */
int  config_validate_net(const struct config *c, struct strbuf *problems);

/* Of tier.dirty_start and tier.dirty_max the one that does not fit the other, and words in why; CONFIG_KEY_NR: they fit. */
enum config_key config_dirty_wrong(const struct config *c, char why[static 256]);

/* Sets a key from the text a user would write ("256KiB", "true"). 0, or -FIRN_E_INVALID and words in why. */
int  config_set_text(struct config *c, enum config_key key, const char *text, char why[static 256]);
/* A value as a user would write it. */
void config_value_print(struct strbuf *b, const struct config *c, enum config_key key);
void config_size_print(struct strbuf *b, uint64_t bytes); /* likewise: exact, as a file may have it */
bool config_value_equal(const struct config *a, const struct config *b, enum config_key key);

/* tier.profile: gives the keys that were not set (line 0) the defaults of the profile. config_parse() has done so. */
void config_profile_apply(struct config *c);
bool config_profile_sets(enum config_key key); /* some profile does */
bool config_profile_valid(const char *name);
/* A comment: what each profile sets. */
void config_profile_print(struct strbuf *b, const char *indent);

/* etc/firn.conf: every key with its default and its line of help. Those that a profile sets are commented out: named, they would win. */
void config_print_default(struct strbuf *b);

bool config_addr_is_loopback(const char *addr);
/* config.node, or the host name made fit for an NQN. */
void config_node_name(const struct config *c, char out[static 64]);

/* Everything of tier_opts that comes from the file; envs and seams are left zero. */
void config_tier_opts(const struct config *c, struct tier_opts *out);

#endif
