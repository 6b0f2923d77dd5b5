/* SPDX-License-Identifier: Apache-2.0 */
/* media.c: sparse bytes. A directory of chunks, a chunk of pages, a page without the zeros at its end.
 *
 * A request walks its pages; parts of pages are merged with what is there. It touches the pages when it is submitted: the
 * model above has begun it then, and its buffers are borrowed until it completes.
 */
#include "tools/sim/media.h"

#include <errno.h>
#include <stdlib.h>

#define CHUNK_PAGES 256u
#define CHUNK_BYTES (CHUNK_PAGES * (uint64_t)BLOCK_BYTES)

struct page { uint32_t len; uint8_t b[]; }; /* the rest of it is zeros */

struct media {
    uint64_t      size_bytes, kept_bytes;
    struct page ***chunk;       /* size_bytes / CHUNK_BYTES; NULL: nothing was written there */
    media_watch  *watch;
    void         *watch_ctx;
};

struct media_dev { struct dev dev; struct media *media; };

/* ---- pages ---- */

static struct page **page_slot(struct media *m, uint64_t off, bool make)
{
    struct page ***c = &m->chunk[off / CHUNK_BYTES];

    if (*c == NULL && !make)
        return NULL;
    if (*c == NULL) {
        *c = calloc(CHUNK_PAGES, sizeof(**c));
        assert(*c != NULL);
    }
    return &(*c)[off % CHUNK_BYTES / BLOCK_BYTES];
}

static void page_load(struct media *m, uint64_t off, uint8_t *buf)
{
    struct page **p = page_slot(m, off, false);
    uint32_t len = p == NULL || *p == NULL ? 0 : (*p)->len;

    if (len != 0)
        memcpy(buf, (*p)->b, len);
    memset(buf + len, 0, BLOCK_BYTES - len);
}

/* Bytes up to the last word that is not zero. */
static uint32_t used_bytes(const uint8_t *buf)
{
    uint32_t n = BLOCK_BYTES;
    uint64_t word;

    for (; n > 0; n -= 8) {
        memcpy(&word, buf + n - 8, 8);
        if (word != 0)
            break;
    }
    return n;
}

static void page_store(struct media *m, uint64_t off, const uint8_t *buf)
{
    uint32_t len = used_bytes(buf), was;
    struct page **p = page_slot(m, off, len != 0);

    if (p == NULL)
        return;
    was = *p == NULL ? 0 : (*p)->len;
    if (len != was) {
        free(*p);
        *p = len == 0 ? NULL : malloc(sizeof(**p) + len);
        assert(len == 0 || *p != NULL);
        m->kept_bytes += len - (uint64_t)was;
    }
    if (len != 0) {
        (*p)->len = len;
        memcpy((*p)->b, buf, len);
    }
}

/* ---- requests ---- */

struct cursor { const struct iovec *iov; size_t at; };

/* The next n bytes of the request's buffers, to or from buf. */
static void cursor_copy(struct cursor *c, uint8_t *buf, size_t n, bool into_buf)
{
    while (n > 0) {
        size_t step = MIN(n, c->iov->iov_len - c->at);
        uint8_t *theirs = (uint8_t *)c->iov->iov_base + c->at;

        memcpy(into_buf ? buf : theirs, into_buf ? theirs : buf, step);
        buf += step;
        n -= step;
        c->at += step;
        if (c->at == c->iov->iov_len) {
            c->iov++;
            c->at = 0;
        }
    }
}

static void carry_out(struct media *m, const struct dev_io *io)
{
    struct cursor c = {.iov = io->iov};
    enum dev_op op = io->priv.op;
    uint8_t buf[BLOCK_BYTES];
    uint64_t end = io->off_bytes + io->len_bytes;

    for (uint64_t off = io->off_bytes; off < end;) {
        uint64_t page = ROUND_DOWN(off, BLOCK_BYTES);
        uint32_t in = (uint32_t)(off - page), n = (uint32_t)MIN(end - off, BLOCK_BYTES - in);

        if (op == DEV_READ || n < BLOCK_BYTES)
            page_load(m, page, buf);
        if (op == DEV_DISCARD)
            memset(buf + in, 0, n);
        else
            cursor_copy(&c, buf + in, n, op == DEV_WRITE);
        if (op != DEV_READ)
            page_store(m, page, buf);
        off += n;
    }
}

static void request_done(struct env_task *t)
{
    struct dev_io *io = container_of(t, struct dev_io, priv.task);

    dev_io_done(io->priv.dev, io, 0);
}

static void media_submit(struct dev *d, struct dev_io *io)
{
    struct media *m = container_of(d, struct media_dev, dev)->media;

    if (io->priv.op != DEV_FLUSH)
        carry_out(m, io);
    if (m->watch != NULL && (io->priv.op == DEV_READ || io->priv.op == DEV_WRITE))
        m->watch(m->watch_ctx, io->priv.op, io->off_bytes, io->len_bytes);
    io->priv.task.fn = request_done;
    env_defer(d->env, &io->priv.task);
}

static void media_close(struct dev *d) { free(container_of(d, struct media_dev, dev)); }

static const struct dev_ops media_ops = {.name = "media", .submit = media_submit, .close = media_close};

/* ---- the medium ---- */

struct media *media_new(uint64_t size_bytes)
{
    struct media *m = calloc(1, sizeof(*m));

    assert(m != NULL && size_bytes > 0 && size_bytes % BLOCK_BYTES == 0);
    m->size_bytes = size_bytes;
    m->chunk = calloc((size_bytes + CHUNK_BYTES - 1) / CHUNK_BYTES, sizeof(*m->chunk));
    assert(m->chunk != NULL);
    return m;
}

void media_free(struct media *m)
{
    if (m == NULL)
        return;
    for (uint64_t c = 0; c < (m->size_bytes + CHUNK_BYTES - 1) / CHUNK_BYTES; c++) {
        for (uint32_t i = 0; m->chunk[c] != NULL && i < CHUNK_PAGES; i++)
            free(m->chunk[c][i]);
        free(m->chunk[c]);
    }
    free(m->chunk);
    free(m);
}

void media_watch_set(struct media *m, media_watch *fn, void *ctx)
{
    m->watch = fn;
    m->watch_ctx = ctx;
}

uint64_t media_kept_bytes(const struct media *m) { return m->kept_bytes; }

int media_open(struct media *m, struct env *env, const char *path, struct dev **out)
{
    struct media_dev *md = calloc(1, sizeof(*md));

    if (md == NULL)
        return -ENOMEM;
    md->media = m;
    dev_init(&md->dev, &media_ops, env, path);
    md->dev.caps = (struct dev_caps){.size_bytes = m->size_bytes, .block_bytes = 512, .align_bytes = 512, .iov_max = 1024,
                                     .discard = true};
    *out = &md->dev;
    return 0;
}
