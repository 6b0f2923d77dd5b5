/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_rebuild.c: what devices with rings of descriptions say of themselves, and what the metadata says of those rings.
 *
 * A small pool is made once: volumes whose newest descriptions lie in a ring, in regions, or in both; two shards, one disk that seeks
 * and one that does not; stopped in order, or by a power failure. Each input begins with a copy of it. Its first byte says which of the
 * two, and what is tried; then come changes, each of a few bytes: bits flip, descriptions are moved, torn, made anew or wiped, labels
 * change.
 * - Rebuild: offline tools read it; a new map is made, and used. Whatever the bytes: no place twice. Were some only flipped, and it is
 *   called no loss, then the pool opens, and every block is what it was.
 * - The shard's record: its bytes are the input's, and the pool opens or not; or it says less than is true, and any head: then the pool
 *   opens, every block is what it was, and what counts as described is, also after writes and a power failure.
 */
#include "base/crc32c.h"
#include "base/log.h"
#include "base/strbuf.h"
#include "tier/format.h"
#include "tier/tier.h"
#include "tools/sim/sim.h"

#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define DEVS     3u            /* the journal, a disk that seeks, one that does not */
#define SHARDS   2u
#define HALF     4u            /* entries of half a shard's part of the ring */
#define EXTENTS  6u            /* of a volume */
#define BLOCKS   3u            /* of an extent, that are written */
#define STEPS    12u           /* changes of an input */
#define FLIPS    3u

static const char *const dev_name[DEVS] = {"journal", "disk", "flash"};
static const uint64_t dev_bytes[DEVS] = {8 * MIB, 20 * MIB, 12 * MIB};
static const char *const volume_name[] = {"one", "two"};
#define VOLUMES ARRAY_LEN(volume_name)

static void expect(bool ok)
{
    if (!ok)
        abort();
}

/* ---- a machine ---- */

static struct sim *sim;
static struct sim_machine machine;
static struct sim_meta_store *rebuilt;   /* what tier_rebuild_map() makes */
static struct env *envs[SHARDS];
static struct tier_opts opts;
static struct tier *tier;
static uint8_t want[VOLUMES][EXTENTS][BLOCKS]; /* every byte of that block */
static char why[256];
static _Alignas(4096) uint8_t buf[BLOCK_BYTES];

static int open_meta(void *ctx, const char *path, bool create, bool read_only, struct meta **out, char text[static 256])
{
    struct sim_meta_store *of = strcmp(path, "new") == 0 ? rebuilt : machine.store;

    (void)ctx;
    (void)read_only;
    snprintf(text, 256, "%s", path);
    return !create && sim_meta_records(of) == 0 ? -FIRN_E_NOT_FOUND : sim_meta_open(of, out);
}

static void power_on(void)
{
    for (unsigned i = 0; i < SHARDS; i++)
        envs[i] = sim_env_new(sim);
}

static void machine_begin(void)
{
    sim = sim_new(4711);
    sim_machine_init(&machine, sim);
    rebuilt = sim_meta_store_new(sim);
    power_on();
    opts = (struct tier_opts){.pool_name = "default", .meta_path = "old", .envs = envs, .nr_envs = SHARDS, .segment_bytes = 256 * 1024,
                              .nr_devs = DEVS, .ios_per_shard = 8, .stage_bytes = 512 * 1024, .dirty_start_pct = 90, .dirty_max_pct = 95,
                              .migrate_rate = TIER_MIGRATE_OFF, .ring_bytes = SHARDS * 2 * HALF * DESC_BYTES};
    sim_machine_seams(&machine, &opts.seams);
    opts.seams.meta_open = open_meta;
    for (unsigned i = 0; i < DEVS; i++) {
        opts.devs[i] = (struct tier_dev_opts){.role = i == 0 ? TIER_JOURNAL : TIER_CAPACITY, .size_bytes = dev_bytes[i],
                                              .media = i == 1 ? TIER_MEDIA_HDD : TIER_MEDIA_SSD};
        snprintf(opts.devs[i].path, sizeof(opts.devs[i].path), "%s", dev_name[i]);
        sim_machine_add(&machine, dev_name[i], &(struct sim_disk_opts){.size_bytes = dev_bytes[i], .block_bytes = 512, .torn_bytes = 512,
                                                                       .capacity = i > 0, .rotational = i == 1});
    }
}

static void power_off(void)
{
    if (!sim_crashed(sim))
        sim_crash(sim);
    if (tier != NULL)
        tier_close(tier);
    tier = NULL;
    for (unsigned i = 0; i < SHARDS; i++)
        sim_env_free(envs[i]);
    sim_reboot(sim);
}

static void machine_end(void)
{
    power_off();
    sim_meta_store_free(rebuilt);
    sim_machine_fini(&machine);
    sim_free(sim);
}

static struct sim_disk *disk(unsigned i) { return sim_machine_disk(&machine, dev_name[i]); }

/* ---- the pool in use ---- */

static bool is_up(void *ctx) { return *(bool *)ctx; }
static void raise(void *ctx) { *(bool *)ctx = true; }
static void io_ended(struct blk_io *io) { *(bool *)io->ctx = true; }
static void until(bool *flag) { expect(sim_run_until(sim, is_up, flag, 1000 * NS_PER_S) == 0); }

static int do_io(struct blk *b, enum blk_op op, uint64_t lba)
{
    struct iovec iov = {buf, sizeof(buf)};
    bool done = false;
    struct blk_io io = {.op = op, .lba = lba, .nlb = 1, .iov = &iov, .iovcnt = 1, .cb = io_ended, .ctx = &done};

    blk_submit(b, &io);
    until(&done);
    return io.err;
}

static struct blk *volume(unsigned v)
{
    struct blk *b = NULL;

    return tier_volume_get(tier, volume_name[v], NULL, &b) == 0 ? b : NULL;
}

static void created(void *ctx, int err, struct blk *b, const struct volume_info *info)
{
    (void)b;
    (void)info;
    expect(err == 0);
    raise(ctx);
}

static void create(unsigned v)
{
    struct volume_params p = {.size_bytes = EXTENTS * MIB, .lba_bytes = BLOCK_BYTES};
    bool done = false;

    snprintf(p.name, sizeof(p.name), "%s", volume_name[v]);
    tier_volume_create(tier, &p, created, &done);
    until(&done);
}

static void drain(void)
{
    bool done = false;

    tier_drain(tier, true, raise, &done);
    until(&done);
}

static void stop(void)
{
    bool done = false;

    tier_stop(tier, raise, &done);
    until(&done);
    tier_close(tier);
    tier = NULL;
    power_off();
    power_on();
}

static void write_some(unsigned v, uint32_t from, uint32_t step, uint32_t block, uint8_t byte)
{
    for (uint32_t no = from; no < EXTENTS; no += step) {
        memset(buf, byte, sizeof(buf));
        want[v][no][block] = byte;
        expect(do_io(volume(v), BLK_WRITE, (uint64_t)no * EXTENT_BLOCKS + block) == 0);
    }
}

/* exact: nothing may be missing, or be older. Returns whether nothing is. */
static void read_all(bool exact)
{
    for (unsigned v = 0; v < VOLUMES; v++) {
        struct blk *b = volume(v);

        expect(b != NULL || !exact);
        for (uint32_t i = 0; i < EXTENTS * BLOCKS && b != NULL; i++) {
            uint64_t lba = (uint64_t)(i / BLOCKS) * EXTENT_BLOCKS + i % BLOCKS;
            int err;

            if (lba >= b->size_lba)
                break;
            err = do_io(b, BLK_READ, lba);
            expect(!exact || err == 0);
            for (size_t k = 0; exact && k < sizeof(buf); k++)
                expect(buf[k] == want[v][i / BLOCKS][i % BLOCKS]);
        }
    }
}

/* ---- the pool as it was made ---- */

struct page { unsigned dev; uint64_t off; uint8_t b[BLOCK_BYTES]; };
struct record { struct meta_key key; uint32_t len; uint8_t value[META_VALUE_MAX]; };
static struct golden {
    struct page *page;
    struct record *rec;
    size_t nr_pages, nr_recs;
    uint64_t commits;
    uint8_t want[VOLUMES][EXTENTS][BLOCKS];
} golden[2];                     /* stopped; cut off */

static int keep_record(void *ctx, const struct meta_key *key, const void *value, uint32_t len)
{
    struct golden *g = ctx;

    g->rec = realloc(g->rec, (g->nr_recs + 1) * sizeof(*g->rec));
    expect(g->rec != NULL && value != NULL);
    g->rec[g->nr_recs] = (struct record){.key = *key, .len = len};
    memcpy(g->rec[g->nr_recs++].value, value, len);
    return 0;
}

static void keep_pages(struct golden *g, unsigned dev)
{
    static const uint8_t zero[BLOCK_BYTES];

    for (uint64_t off = 0; off < dev_bytes[dev]; off += BLOCK_BYTES) {
        sim_disk_peek(disk(dev), off, buf, sizeof(buf));
        if (memcmp(buf, zero, sizeof(buf)) == 0)
            continue;
        g->page = realloc(g->page, (g->nr_pages + 1) * sizeof(*g->page));
        expect(g->page != NULL);
        g->page[g->nr_pages].dev = dev;
        g->page[g->nr_pages].off = off;
        memcpy(g->page[g->nr_pages++].b, buf, sizeof(buf));
    }
}

static void keep(struct golden *g)
{
    struct meta_key all = {.len = 0};
    struct meta *m;

    for (unsigned i = 0; i < DEVS; i++)
        keep_pages(g, i);
    expect(sim_meta_open(machine.store, &m) == 0);
    expect(m->ops->scan_sync(m, &all, keep_record, g) == 0);
    g->commits = m->ops->commit_no(m);
    m->ops->close(m);
    memcpy(g->want, want, sizeof(want));
}

/* Described in regions; then, here and there, in the ring; then some of that in regions again, because the ring is full. */
static void make(void)
{
    machine_begin();
    expect(tier_format(&opts, why) == 0 && tier_open(&opts, &tier, why) == 0);
    for (unsigned v = 0; v < VOLUMES; v++) {
        create(v);
        write_some(v, 0, 1, 0, 1);
    }
    drain();
    for (uint8_t i = 0; i < 5; i++) {
        write_some(i % VOLUMES, i % 2, 2, i % BLOCKS, (uint8_t)(2 + i));
        drain();
        expect(sim_run_for(sim, 100 * NS_PER_S) == 0);
    }
    stop();
    keep(&golden[0]);
    expect(tier_open(&opts, &tier, why) == 0);
    for (uint8_t i = 0; i < 3; i++) {
        write_some(0, i % 2, 2, i % BLOCKS, (uint8_t)(20 + i));
        drain();
    }
    write_some(1, 1, 3, 1, 30);
    power_off();
    power_on();
    keep(&golden[1]);
    machine_end();
}

static void put_record(struct meta *m, const struct record *r)
{
    struct meta_op op = {.key = r->key, .value = r->value, .value_len = r->len};

    expect(m->ops->commit_sync(m, &op, 1) == 0);
}

static void take_out(const struct golden *g)
{
    struct meta *m;

    machine_begin();
    for (size_t i = 0; i < g->nr_pages; i++)
        sim_disk_poke(disk(g->page[i].dev), g->page[i].off, g->page[i].b, BLOCK_BYTES);
    expect(sim_meta_open(machine.store, &m) == 0);
    m->ops->number_from(m, g->commits);
    for (size_t i = 0; i < g->nr_recs; i++)
        put_record(m, &g->rec[i]);
    m->ops->close(m);
    memcpy(want, g->want, sizeof(want));
}

/* ---- input ---- */

static const uint8_t *in;
static size_t in_len;

static uint64_t take(uint32_t bytes)
{
    uint64_t v = 0;

    for (uint32_t i = 0; i < bytes && in_len > 0; i++, in_len--)
        v |= (uint64_t)*in++ << (8 * i);
    return v;
}

/* ---- changes of devices ---- */

struct spot { unsigned dev; uint64_t off; };

static struct label label_of(unsigned dev)
{
    struct label l;

    sim_disk_peek(disk(dev), 0, buf, sizeof(buf));
    expect(label_decode(buf, &l) == 0);
    return l;
}

/* Where a description lies, or may: in the ring, or in a region. */
static struct spot take_spot(const struct label labels[static DEVS])
{
    unsigned dev = 1 + (unsigned)take(1) % (DEVS - 1);
    uint32_t i = (uint32_t)take(1) % (labels[dev].ring_nr + 2 * EXTENTS + 2);

    if (i < labels[dev].ring_nr)
        return (struct spot){dev, ring_offset(i)};
    return (struct spot){dev, region_desc_offset(labels[dev].ext_base_bytes, i - labels[dev].ring_nr)};
}

static void peek(struct spot at, uint8_t *page) { sim_disk_peek(disk(at.dev), at.off, page, BLOCK_BYTES); }
static void poke(struct spot at, const uint8_t *page) { sim_disk_poke(disk(at.dev), at.off, page, BLOCK_BYTES); }

static void flip(struct spot at)
{
    uint32_t i = (uint32_t)take(2) % BLOCK_BYTES;
    uint8_t page[BLOCK_BYTES], bits = (uint8_t)take(1);

    peek(at, page);
    page[i] ^= bits != 0 ? bits : 1;
    poke(at, page);
}

/* As a power failure, or a write that went astray, may leave it. */
static void overwrite(struct spot from, struct spot to, uint32_t sectors)
{
    uint8_t a[BLOCK_BYTES], b[BLOCK_BYTES];

    peek(from, a);
    peek(to, b);
    memcpy(b, a, sectors * 512u);
    poke(to, b);
}

static void change_sums(struct extent_sums *v)
{
    uint32_t i = (uint32_t)take(1), what = (uint32_t)take(1) % 4;

    if (what & 1)
        v->valid[i / 64] ^= UINT64_C(1) << (i % 64);
    if (what & 2)
        v->damaged[i / 64] ^= UINT64_C(1) << (i % 64);
    v->csum[i] = (uint32_t)take(1);
}

/* One that verifies, with something in it that nobody has written. */
static void make_anew(struct spot from, struct spot to)
{
    uint8_t page[BLOCK_BYTES];
    struct extent_desc d;
    unsigned what = (unsigned)take(1);

    peek(from, page);
    if (extent_desc_decode(page, &d) != 0)
        return;
    if (what & 1)
        d.slot = (uint32_t)take(1) < 0xf0 ? (uint32_t)take(1) % 24 : (uint32_t)take(4);
    if (what & 2)
        d.layer = take(1) < 0xf0 ? take(1) % 8 : take(8);
    if (what & 4)
        d.extent = take(1) < 0xf0 ? take(1) % 8 : take(4);
    if (what & 8)
        d.destaged_seq = take(1) < 0xf0 ? take(1) : take(8);
    if (what & 16)
        d.age = (struct desc_age){take(1) < 0xf0 ? take(1) % 8 : take(8), take(2)};
    if (what & 32)
        change_sums(&d.sums);
    if (what & 64)
        d.volume.size_bytes = take(1) * MIB;
    if (what & 128)
        d.volume.name[take(1) % 4] = (char)take(1);
    extent_desc_encode(&d, page);
    poke(to, page);
}

/* Bytes of the input, beneath a checksum that holds. */
static void make_raw(struct spot to)
{
    uint8_t page[BLOCK_BYTES];
    uint32_t at = (uint32_t)take(2) % (BLOCK_BYTES - 16), n = (uint32_t)take(1) % 16;
    le32 crc;

    peek(to, page);
    for (uint32_t i = 0; i < n; i++)
        page[at + i] = (uint8_t)take(1);
    crc = to_le32(crc32c(0, page + 4, sizeof(page) - 4));
    memcpy(page, &crc, sizeof(crc));
    poke(to, page);
}

static void change_label(const struct label *was, unsigned dev)
{
    const uint64_t at[] = {0, LABEL_BYTES, dev_bytes[dev] - LABEL_BYTES};
    uint8_t page[LABEL_BYTES];
    struct label l = *was;

    switch (take(1) % 5) {
    case 0: l.ring_nr = (uint32_t)take(1); break;
    case 1: l.ext_nr = (uint32_t)take(1); break;
    case 2: l.ext_base_bytes = LABEL_AREA_BYTES + take(1) * 4096; break;
    case 3: l.incompat ^= LABEL_INCOMPAT_RING; break;
    case 4: l.nr_shards = (uint16_t)take(1); break;
    }
    label_encode(&l, page);
    for (unsigned i = 0; i < ARRAY_LEN(at); i++)
        sim_disk_poke(disk(dev), at[i], page, sizeof(page));
}

static void rot_data(const struct label *l, unsigned dev)
{
    uint32_t slot = (uint32_t)take(1) % MIN(l->ext_nr, 2 * EXTENTS), block = (uint32_t)take(1) % BLOCKS;

    flip((struct spot){dev, region_extent_offset(l->ext_base_bytes, slot) + block * BLOCK_BYTES});
}

/* Whether bits were flipped, of a few descriptions, and nothing worse. */
static bool change_devices(void)
{
    struct label labels[DEVS] = {label_of(0), label_of(1), label_of(2)};
    struct spot flipped[FLIPS], a, b;
    unsigned flips = 0, worse = 0;
    uint8_t zero[BLOCK_BYTES] = {0};

    for (unsigned i = 0; i < STEPS && in_len > 0; i++) {
        unsigned what = (unsigned)take(1) % 8;

        a = take_spot(labels);
        worse += what > 0;
        b = what >= 2 && what <= 4 ? take_spot(labels) : a;
        switch (what) {
        case 0:
            for (unsigned k = 0; k < MIN(flips, FLIPS); k++)
                worse += flipped[k].dev == a.dev && flipped[k].off == a.off;
            worse += flips >= FLIPS;
            if (flips < FLIPS)
                flipped[flips++] = a;
            flip(a);
            break;
        case 1: poke(a, zero); break;
        case 2: overwrite(a, b, 8); break;
        case 3: overwrite(a, b, (uint32_t)take(1) % 8); break;
        case 4: make_anew(a, b); break;
        case 5: make_raw(a); break;
        case 6: change_label(&labels[a.dev], a.dev); break;
        case 7: rot_data(&labels[a.dev], a.dev); break;
        }
    }
    return worse == 0;
}

/* ---- what is tried ---- */

struct places { uint32_t nr, slot[64]; uint16_t dev[64]; };

static int keep_place(void *ctx, const struct meta_key *key, const void *value, uint32_t len)
{
    struct places *p = ctx;
    struct extent_rec r;

    (void)key;
    expect(extent_rec_decode(value, len, &r) == 0 && p->nr < ARRAY_LEN(p->slot));
    for (uint32_t i = 0; i < p->nr; i++)
        expect(p->dev[i] != r.place.dev || p->slot[i] != r.place.slot);
    p->dev[p->nr] = r.place.dev;
    p->slot[p->nr++] = r.place.slot;
    return 0;
}

static void no_place_twice(void)
{
    struct meta_key extents = meta_key_tag('E');
    struct places p = {0};
    struct meta *m;

    expect(sim_meta_open(rebuilt, &m) == 0);
    expect(m->ops->scan_sync(m, &extents, keep_place, &p) == 0);
    m->ops->close(m);
}

static void look_on(void)
{
    struct tier_check_report report;
    struct strbuf out;

    strbuf_init(&out);
    (void)tier_check(&opts, TIER_CHECK_DATA, &out, &report, why);
    (void)tier_dump(&opts, TIER_DUMP_LABELS, &out, why);
    (void)tier_dump(&opts, TIER_DUMP_EXTENTS, &out, why);
    strbuf_fini(&out);
}

static void use_rebuilt(bool exact, bool loss)
{
    snprintf(opts.meta_path, sizeof(opts.meta_path), "new");
    opts.accept_loss = loss;
    no_place_twice();
    look_on();
    if (tier_open(&opts, &tier, why) != 0) {
        tier = NULL;
        expect(!exact && why[0] != '\0');
        return;
    }
    read_all(exact);
    drain();
}

static void try_rebuild(bool stopped)
{
    bool flips_only = change_devices();
    struct tier_check_report report = {0};
    struct strbuf out;
    int err;

    strbuf_init(&out);
    look_on();
    err = tier_rebuild_map(&opts, "new", &out, &report, why);
    expect(err == 0 || (err < 0 && why[0] != '\0'));
    expect(report.losses <= report.findings && (report.findings == 0 || out.len > 0));
    strbuf_fini(&out);
    if (err == 0 && sim_meta_records(rebuilt) > 0)
        use_rebuilt(stopped && flips_only && report.findings == 0, report.losses > 0);
}

static void is_described(void *ctx, const struct tier_described *e)
{
    struct spot at = {1 + e->dev, e->off_bytes};
    struct extent_desc best, d;
    uint8_t page[BLOCK_BYTES];
    bool found;

    (void)ctx;
    peek(at, page);
    found = extent_desc_decode(page, &best) == 0;
    for (uint32_t i = 0; i < e->ring_nr; i++) {
        peek((struct spot){at.dev, ring_offset(i)}, page);
        if (extent_desc_decode(page, &d) != 0 || d.slot != e->slot || (found && !desc_younger(&d.age, &best.age)))
            continue;
        best = d;
        found = true;
    }
    expect(found && best.layer == e->layer && best.extent == e->extent && best.destaged_seq == e->destaged_seq);
}

static uint64_t less(uint64_t than)
{
    uint64_t by = take(1);

    return than - MIN(than, by);
}

/* Says less than is true, and of each ring any head. */
static void say_less(struct record *r)
{
    struct shard_rec rec;

    expect(shard_rec_decode(r->value, r->len, &rec) == 0 && rec.nr_rings == DEVS - 1);
    if (take(1) & 1)
        rec.described_seq = less(rec.described_seq);
    for (uint32_t i = 0; i < rec.nr_rings; i++) {
        uint64_t what = take(1);

        if (what & 1)
            rec.ring[i].homed_seq = less(rec.ring[i].homed_seq);
        rec.ring[i].head = what & 2 ? (uint32_t)take(what & 4 ? 4 : 1) % (what & 4 ? UINT32_MAX : 2 * HALF + 3) : rec.ring[i].head;
    }
    if (take(1) == 0xff) /* as before there were rings, or of a pool that had another device */
        rec.nr_rings = (uint32_t)take(1) % DEVS;
    r->len = shard_rec_encode(&rec, r->value);
}

static void say_anything(struct record *r)
{
    if (take(1) & 1)
        r->len = (uint32_t)take(1);
    for (uint32_t i = 0, n = 1 + (uint32_t)take(1) % 8; i < n; i++)
        r->value[take(1) % 128] = (uint8_t)take(1);
}

static void change_record(const struct golden *g, bool any)
{
    struct meta *m;

    expect(sim_meta_open(machine.store, &m) == 0);
    for (size_t i = 0; i < g->nr_recs; i++) {
        struct record r = g->rec[i];

        if (r.key.b[0] != 'S')
            continue;
        if (any)
            say_anything(&r);
        else
            say_less(&r);
        put_record(m, &r);
    }
    m->ops->close(m);
}

/* On with it, to a power failure at some moment; then what counts as described is. */
static void go_on(void)
{
    for (unsigned i = 0; i < 3; i++) {
        write_some(i % VOLUMES, (uint32_t)take(1) % EXTENTS, 2, i % BLOCKS, (uint8_t)(40 + i));
        drain();
        expect(sim_run_for(sim, take(1) * NS_PER_S) == 0);
    }
    power_off();
    power_on();
    expect(tier_open(&opts, &tier, why) == 0);
    tier_described(tier, is_described, NULL);
    read_all(true);
}

static void try_record(const struct golden *g, bool any)
{
    int err;

    change_record(g, any);
    look_on();
    opts.accept_loss = any;
    err = tier_open(&opts, &tier, why);
    expect(err == 0 || (any && why[0] != '\0'));
    if (err != 0)
        tier = NULL;
    if (err == 0 && !any)
        tier_described(tier, is_described, NULL);
    if (err == 0)
        read_all(!any);
    if (err == 0 && !any)
        go_on();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    unsigned mode;

    log_set_level(LOG_LEVEL_ERROR);
    if (golden[0].page == NULL)
        make();
    in = data;
    in_len = size;
    mode = (unsigned)take(1);
    take_out(&golden[mode & 1]);
    if (mode & 2)
        try_record(&golden[mode & 1], mode & 4);
    else
        try_rebuild((mode & 1) == 0);
    machine_end();
    return 0;
}
