/* SPDX-License-Identifier: Apache-2.0 */
/* pool_ignored.c: what the configuration says of a pool's devices that has no effect, since a pool keeps what it was formatted
 * with. One warning each, naming the device, what is configured, what the label says, and what to do.
 */
#include "base/log.h"
#include "tier/pool.h"

/* The configured size, or that of the whole device, is more than the label's; less was refused with the labels. */
static void say_size(const struct pool_dev *d)
{
    uint64_t whole = ROUND_DOWN(d->on[0]->caps.size_bytes, LABEL_BYTES), set = ROUND_DOWN(d->opts.size_bytes, LABEL_BYTES);
    char configured[32], formatted[32];

    if ((set ? set : whole) <= d->label.device_bytes)
        return;
    log_warn("the size configured for a device is ignored: the pool was formatted with another",
             "role=%s path=\"%s\" configured=\"%s%s\" formatted=\"%s\" do=\"a device cannot grow in a pool yet: set size = %llu, which "
             "the pool uses anyway\"",
             pool_role_name(d->opts.role), d->opts.path, set ? "" : "all of it: ", size_format(set ? set : whole, configured),
             size_format(d->label.device_bytes, formatted), (unsigned long long)d->label.device_bytes);
}

/* What segments are made of was decided by the format. A segment size of 0 asks for nothing. */
static void say_segments(const struct pool_dev *d, const struct tier_opts *o)
{
    const struct label *l = &d->label;
    char configured[32], formatted[32];

    if (o->segment_bytes != 0 && o->segment_bytes != l->seg_bytes)
        log_warn("journal.segment_size is ignored: the pool was formatted with another",
                 "path=\"%s\" configured=\"%s\" formatted=\"%s\" do=\"set segment_size = %u or 0, which the pool uses anyway\"",
                 d->opts.path, size_format(o->segment_bytes, configured), size_format(l->seg_bytes, formatted), l->seg_bytes);
    if (o->journal_align != 0 && o->journal_align != l->seg_align)
        log_warn("journal.align is ignored: the pool was formatted with another",
                 "path=\"%s\" configured=%u formatted=%u do=\"set align = %u, which the pool uses anyway\"", d->opts.path,
                 o->journal_align, l->seg_align, l->seg_align);
}

static int cache_seen(void *ctx, const struct meta_key *key, const void *value, uint32_t len)
{
    (void)value;
    (void)len;
    *(uint32_t *)ctx += key->len == 5 && key->b[1] == 0 && key->b[2] == TIER_CACHE;
    return 0;
}

/* Labels count capacity devices alone: a cache holds copies, and a pool without it is whole. The metadata knows each. */
static void say_left_out(const struct pool_devs *p, struct meta *m)
{
    struct meta_key prefix = meta_key_tag('D');
    uint32_t known = 0, configured = 0;

    for (uint32_t i = 0; i < p->nr; i++)
        configured += p->dev[i].opts.role == TIER_CACHE;
    if (m->ops->scan_sync(m, &prefix, cache_seen, &known) == 0 && known > configured)
        log_warn("the pool has more cache devices than are configured: the copies on those that are left out are not used",
                 "configured=%u known=%u do=\"nothing is lost; put them back into pool.cache, or have firnd --add-cache forget them\"",
                 configured, known);
}

void pool_say_ignored(const struct pool_devs *p, struct meta *m)
{
    if (p->opts->seams.dev_open != NULL) /* the simulator's devices are what it says */
        return;
    for (uint32_t i = 0; i < p->nr; i++) {
        if (p->dev[i].missing)
            continue;
        say_size(&p->dev[i]);
        if (p->dev[i].opts.role == TIER_JOURNAL)
            say_segments(&p->dev[i], p->opts);
    }
    say_left_out(p, m);
}
