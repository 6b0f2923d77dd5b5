/* SPDX-License-Identifier: Apache-2.0 */
/* meta_walk.c: is an LMDB file sound enough to be handed to LMDB?
 *
 * 1. Both meta pages are read; the one with the higher transaction number counts, as in LMDB.
 * 2. From its two roots every page is visited once: number, kind, bounds of every node, order of keys, separators.
 * 3. The list of free pages is read: rising transactions, falling page numbers, none of them in use.
 * 4. Every record's own checksum is verified.
 * Failures: damage in 1 to 3 is -FIRN_E_CORRUPT and the page is named; damage in 4 is counted for that record alone.
 * Every number from the file is checked before it is used; recursion is bounded, and no page is visited twice.
 */
#include "tier/meta.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tier/format.h"

#define LMDB_MAGIC     0xBEEFC0DEu
#define LMDB_VERSION   1u
#define PAGE_HDR       16u
#define NODE_HDR       8u
#define PAGE_BRANCH    0x01u
#define PAGE_LEAF      0x02u
#define PAGE_OVERFLOW  0x04u
#define PAGE_META      0x08u
#define NODE_BIGDATA   0x01u
#define DB_INTEGERKEY  0x08u
#define PGNO_NONE      UINT64_MAX
#define DEPTH_MAX      32u
#define KEY_MAX        511u

enum { DB_FREE, DB_MAIN, DB_NR };

struct db { uint32_t pad; uint16_t flags, depth; uint64_t branch, leaf, overflow, entries, root; };
static_assert(sizeof(struct db) == 48, "as LMDB 0.9 lays it out on 64-bit machines");

struct lmdb_meta {
    uint32_t magic, version;
    uint64_t address, mapsize;
    struct db dbs[DB_NR];
    uint64_t last_pgno, txnid;
};
static_assert(sizeof(struct lmdb_meta) == 136, "as LMDB 0.9 lays it out on 64-bit machines");

struct walk {
    struct meta_walk *out;
    char    *why;
    int      fd;
    uint32_t psize;
    uint64_t file_pages;
    struct lmdb_meta meta;
    uint8_t *seen;            /* a bit a page: in a tree or in the free list */
    uint8_t *page[DEPTH_MAX]; /* a buffer a level */
    uint8_t *big;             /* an overflow value */
    size_t   big_cap;
    struct db found;          /* what the walk of the present tree counted */
    unsigned dbi;
    uint8_t  prev_key[KEY_MAX];
    uint32_t prev_len;
    bool     have_prev;
    uint8_t  low_key[KEY_MAX]; /* the last separator: the next key is not below it */
    uint32_t low_len;
    bool     have_low;
};

static PRINTF_LIKE(2, 3) int bad(struct walk *w, const char *fmt, ...)
{
    va_list ap;
    int n = snprintf(w->why, 256, "metadata is damaged: ");

    va_start(ap, fmt);
    vsnprintf(w->why + n, 256 - (size_t)n, fmt, ap);
    va_end(ap);
    return -FIRN_E_CORRUPT;
}

static uint16_t u16_at(const uint8_t *p, uint32_t off) { uint16_t v; memcpy(&v, p + off, 2); return v; }
static uint64_t u64_at(const uint8_t *p, uint32_t off) { uint64_t v; memcpy(&v, p + off, 8); return v; }

static int read_at(struct walk *w, uint64_t pgno, void *buf, size_t len)
{
    size_t done = 0;

    while (done < len) {
        ssize_t n = pread(w->fd, (uint8_t *)buf + done, len - done, (off_t)(pgno * w->psize + done));

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            snprintf(w->why, 256, "metadata cannot be read at page %llu: %s", (unsigned long long)pgno, err_text(errno));
            return -errno;
        }
        if (n == 0)
            return bad(w, "the file ends within page %llu", (unsigned long long)pgno);
        done += (size_t)n;
    }
    return 0;
}

/* A page belongs to one tree or to the free list, once. */
static int claim(struct walk *w, uint64_t pgno)
{
    if (pgno < 2 || pgno > w->meta.last_pgno)
        return bad(w, "page %llu is named but does not exist", (unsigned long long)pgno);
    if (w->seen[pgno / 8] >> (pgno % 8) & 1)
        return bad(w, "page %llu is used twice", (unsigned long long)pgno);
    w->seen[pgno / 8] = (uint8_t)(w->seen[pgno / 8] | 1u << (pgno % 8));
    return 0;
}

/* ---- the two meta pages ---- */

static int meta_check(struct walk *w, const uint8_t *page, uint64_t pgno, struct lmdb_meta *m)
{
    if (!(u16_at(page, 10) & PAGE_META))
        return bad(w, "page %llu is not a meta page", (unsigned long long)pgno);
    memcpy(m, page + PAGE_HDR, sizeof(*m));
    if (m->magic != LMDB_MAGIC || m->version != LMDB_VERSION)
        return bad(w, "meta page %llu has magic %08x, version %u", (unsigned long long)pgno, m->magic, m->version);
    if (m->dbs[DB_FREE].pad < 512 || m->dbs[DB_FREE].pad > 32768 || (m->dbs[DB_FREE].pad & (m->dbs[DB_FREE].pad - 1)))
        return bad(w, "meta page %llu names a page size of %u", (unsigned long long)pgno, m->dbs[DB_FREE].pad);
    if (m->dbs[DB_FREE].flags != DB_INTEGERKEY || m->dbs[DB_MAIN].flags != 0)
        return bad(w, "meta page %llu has unknown flags", (unsigned long long)pgno);
    if (m->mapsize > UINT64_C(1) << 46 || m->last_pgno < 1 || m->last_pgno >= m->mapsize / m->dbs[DB_FREE].pad)
        return bad(w, "meta page %llu: %llu pages do not fit a map of %llu bytes", (unsigned long long)pgno,
                   (unsigned long long)m->last_pgno, (unsigned long long)m->mapsize);
    return 0;
}

static int read_metas(struct walk *w, uint64_t file_bytes)
{
    uint8_t page[PAGE_HDR + sizeof(struct lmdb_meta)];
    struct lmdb_meta m[2];
    int err;

    w->psize = 512;
    for (unsigned i = 0; i < 2; i++) {
        err = read_at(w, i, page, sizeof(page));
        if (!err)
            err = meta_check(w, page, i, &m[i]);
        if (err)
            return err;
        w->psize = m[0].dbs[DB_FREE].pad;
    }
    if (m[1].dbs[DB_FREE].pad != w->psize)
        return bad(w, "the meta pages name two page sizes");
    w->meta = m[m[0].txnid < m[1].txnid];
    w->file_pages = file_bytes / w->psize;
    if (w->meta.last_pgno > 1 && w->meta.last_pgno >= w->file_pages)
        return bad(w, "the file has %llu pages and names %llu", (unsigned long long)w->file_pages,
                   (unsigned long long)w->meta.last_pgno + 1);
    return 0;
}

/* ---- records ---- */

static int key_order(struct walk *w, const uint8_t *a, uint32_t alen, const uint8_t *b, uint32_t blen)
{
    int c;

    if (w->dbi == DB_FREE) {
        uint64_t x = u64_at(a, 0), y = u64_at(b, 0);

        return x < y ? -1 : x > y;
    }
    c = memcmp(a, b, MIN(alen, blen));
    return c != 0 ? c : (alen > blen) - (alen < blen);
}

/* An entry of the free list: {count, page numbers, falling}. */
static int free_record(struct walk *w, const uint8_t *key, const uint8_t *value, uint64_t len)
{
    uint64_t nr, prev = UINT64_MAX;

    if (u64_at(key, 0) > w->meta.txnid)
        return bad(w, "the free list names a transaction to come");
    if (len < 8 || len % 8 != 0 || u64_at(value, 0) > len / 8 - 1)
        return bad(w, "an entry of the free list has a wrong length");
    nr = u64_at(value, 0);
    for (uint64_t i = 1; i <= nr; i++) {
        uint64_t pgno = u64_at(value, (uint32_t)(i * 8));
        int err = pgno < prev ? claim(w, pgno) : bad(w, "an entry of the free list is not in order");

        if (err)
            return err;
        prev = pgno;
    }
    return 0;
}

static int main_record(struct walk *w, const uint8_t *key, uint32_t klen, const uint8_t *value, uint64_t len)
{
    struct meta_key k = {.len = (uint8_t)klen};
    uint32_t crc;

    if (klen < 1 || klen > META_KEY_MAX)
        return bad(w, "a key of %u bytes", klen);
    memcpy(k.b, key, klen);
    w->out->records++;
    if (len >= META_CRC_BYTES && len <= META_VALUE_MAX + META_CRC_BYTES) {
        memcpy(&crc, value + len - META_CRC_BYTES, sizeof(crc));
        if (le32toh(crc) == meta_value_crc(&k, value, (uint32_t)(len - META_CRC_BYTES)))
            return 0;
    }
    w->out->bad_records++;
    if (w->out->bad != NULL)
        w->out->bad(w->out->ctx, &k);
    return 0;
}

/* Reads a value that lies on pages of its own. */
static int big_value(struct walk *w, uint64_t pgno, uint64_t len)
{
    uint64_t nr = (PAGE_HDR - 1 + len) / w->psize + 1;
    uint8_t hdr[PAGE_HDR];
    uint32_t pages;
    int err;

    if (pgno < 2 || pgno > w->meta.last_pgno || nr > w->meta.last_pgno + 1 - pgno)
        return bad(w, "a value of %llu bytes at page %llu leaves the file", (unsigned long long)len, (unsigned long long)pgno);
    err = read_at(w, pgno, hdr, sizeof(hdr));
    if (err)
        return err;
    memcpy(&pages, hdr + 12, sizeof(pages));
    if (u64_at(hdr, 0) != pgno || u16_at(hdr, 10) != PAGE_OVERFLOW || pages != nr)
        return bad(w, "page %llu should begin a long value", (unsigned long long)pgno);
    for (uint64_t i = 0; i < nr && !err; i++)
        err = claim(w, pgno + i);
    if (err)
        return err;
    w->found.overflow += nr;
    if (nr * w->psize > w->big_cap) {
        free(w->big);
        w->big_cap = nr * w->psize;
        w->big = malloc(w->big_cap);
        if (w->big == NULL) {
            w->big_cap = 0;
            return -ENOMEM;
        }
    }
    return read_at(w, pgno, w->big, nr * w->psize);
}

static int leaf_node(struct walk *w, const uint8_t *page, uint32_t off, uint64_t pgno, uint32_t *size)
{
    uint64_t dlen = (uint64_t)u16_at(page, off) | (uint64_t)u16_at(page, off + 2) << 16;
    uint32_t flags = u16_at(page, off + 4), klen = u16_at(page, off + 6);
    const uint8_t *key = page + off + NODE_HDR, *value = key + klen;
    uint64_t inside = flags & NODE_BIGDATA ? 8 : dlen;
    int err = 0;

    if (flags & ~NODE_BIGDATA || klen == 0 || klen > KEY_MAX || NODE_HDR + klen + inside > w->psize - off ||
        (w->dbi == DB_FREE && klen != 8))
        return bad(w, "a node at %u of page %llu is malformed", off, (unsigned long long)pgno);
    *size = (uint32_t)ROUND_UP(NODE_HDR + klen + inside, 2u);
    if (w->have_prev && key_order(w, w->prev_key, w->prev_len, key, klen) >= 0)
        return bad(w, "the keys of page %llu are not in order", (unsigned long long)pgno);
    if (w->have_low && key_order(w, w->low_key, w->low_len, key, klen) > 0)
        return bad(w, "a key of page %llu lies before its separator", (unsigned long long)pgno);
    w->have_low = false;
    memcpy(w->prev_key, key, klen);
    w->prev_len = klen;
    w->have_prev = true;
    w->found.entries++;
    if (flags & NODE_BIGDATA) {
        err = big_value(w, u64_at(value, 0), dlen);
        if (err)
            return err;
        value = w->big + PAGE_HDR;
    }
    return w->dbi == DB_FREE ? free_record(w, key, value, dlen) : main_record(w, key, klen, value, dlen);
}

/* ---- pages ---- */

static int tree(struct walk *w, uint64_t pgno, unsigned depth);

/* Keys so far < separator <= keys of its child; the first node has none. The next leaf compares with `low`. */
static int branch_node(struct walk *w, const uint8_t *page, uint32_t off, uint64_t pgno, unsigned depth, bool first,
                       uint32_t *size)
{
    uint64_t child = (uint64_t)u16_at(page, off) | (uint64_t)u16_at(page, off + 2) << 16 |
                     (uint64_t)u16_at(page, off + 4) << 32;
    uint32_t klen = u16_at(page, off + 6);
    const uint8_t *key = page + off + NODE_HDR;

    if (klen > KEY_MAX || NODE_HDR + klen > w->psize - off || (!first && (klen == 0 || (w->dbi == DB_FREE && klen != 8))))
        return bad(w, "a node at %u of page %llu is malformed", off, (unsigned long long)pgno);
    *size = ROUND_UP(NODE_HDR + klen, 2u);
    if (!first) {
        if (!w->have_prev || key_order(w, w->prev_key, w->prev_len, key, klen) >= 0)
            return bad(w, "the separators of page %llu are not in order", (unsigned long long)pgno);
        memcpy(w->low_key, key, klen);
        w->low_len = klen;
        w->have_low = true;
    }
    return tree(w, child, depth + 1);
}

static int page_nodes(struct walk *w, const uint8_t *page, uint64_t pgno, unsigned depth)
{
    bool branch = u16_at(page, 10) == PAGE_BRANCH;
    uint32_t lower = u16_at(page, 12), upper = u16_at(page, 14), nr = (lower - PAGE_HDR) / 2, used = 0;

    if (lower < PAGE_HDR || lower % 2 != 0 || upper < lower || upper > w->psize || nr < 1 ||
        (branch && nr < 2 && w->dbi == DB_MAIN))
        return bad(w, "page %llu has impossible bounds", (unsigned long long)pgno);
    for (uint32_t i = 0; i < nr; i++) {
        uint32_t off = u16_at(page, PAGE_HDR + 2 * i), size = 0;
        int err;

        if (off < upper || off % 2 != 0 || off + NODE_HDR > w->psize)
            return bad(w, "page %llu has a node out of bounds", (unsigned long long)pgno);
        err = branch ? branch_node(w, page, off, pgno, depth, i == 0, &size) : leaf_node(w, page, off, pgno, &size);
        if (err)
            return err;
        used += size;
    }
    if (used != w->psize - upper)
        return bad(w, "the nodes of page %llu do not fill it", (unsigned long long)pgno);
    return 0;
}

static int tree(struct walk *w, uint64_t pgno, unsigned depth)
{
    bool leaf = depth + 1 == w->meta.dbs[w->dbi].depth;
    int err = claim(w, pgno);

    if (!err && w->page[depth] == NULL) {
        w->page[depth] = malloc(w->psize);
        err = w->page[depth] == NULL ? -ENOMEM : 0;
    }
    if (!err)
        err = read_at(w, pgno, w->page[depth], w->psize);
    if (err)
        return err;
    if (u64_at(w->page[depth], 0) != pgno || u16_at(w->page[depth], 10) != (leaf ? PAGE_LEAF : PAGE_BRANCH))
        return bad(w, "page %llu is not the %s it should be", (unsigned long long)pgno, leaf ? "leaf" : "branch");
    w->out->pages++;
    if (leaf)
        w->found.leaf++;
    else
        w->found.branch++;
    return page_nodes(w, w->page[depth], pgno, depth);
}

static int database(struct walk *w, unsigned dbi)
{
    const struct db *d = &w->meta.dbs[dbi];
    int err = 0;

    w->dbi = dbi;
    w->have_prev = w->have_low = false;
    w->found = (struct db){0};
    if (d->depth > DEPTH_MAX || (d->depth == 0) != (d->root == PGNO_NONE))
        return bad(w, "a tree of depth %u", d->depth);
    if (d->depth > 0)
        err = tree(w, d->root, 0);
    if (!err && (w->found.branch != d->branch || w->found.leaf != d->leaf || w->found.overflow != d->overflow ||
                 w->found.entries != d->entries))
        err = bad(w, "the tree at page %llu does not hold what it should", (unsigned long long)d->root);
    return err;
}

static int walk_file(struct walk *w)
{
    struct stat st;
    int err;

    if (fstat(w->fd, &st) != 0)
        return -errno;
    err = read_metas(w, (uint64_t)st.st_size);
    if (err)
        return err;
    w->seen = calloc(1, w->meta.last_pgno / 8 + 1);
    if (w->seen == NULL)
        return -ENOMEM;
    err = database(w, DB_MAIN);
    return err ? err : database(w, DB_FREE);
}

int meta_lmdb_walk(const char *path, struct meta_walk *out, char why[static 256])
{
    struct walk w = {.out = out, .why = why};
    char file[512];
    int err;

    out->pages = out->records = out->bad_records = 0;
    why[0] = '\0';
    snprintf(file, sizeof(file), "%s/data.mdb", path);
    w.fd = open(file, O_RDONLY | O_CLOEXEC);
    if (w.fd < 0) {
        err = -errno;
        snprintf(why, 256, "metadata \"%.150s\" cannot be opened: %s", file, err_text(err));
        return err;
    }
    err = walk_file(&w);
    if (err && why[0] == '\0')
        snprintf(why, 256, "metadata cannot be read: %s", err_text(err));
    for (unsigned i = 0; i < DEPTH_MAX; i++)
        free(w.page[i]);
    free(w.big);
    free(w.seen);
    close(w.fd);
    return err;
}
