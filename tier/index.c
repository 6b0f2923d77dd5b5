/* SPDX-License-Identifier: Apache-2.0 */
/* index.c: the slots; index_hash.c finds them.
 *
 * Put: the slot of the block's old bytes is cleared, the one of the new bytes filled, the hash told.
 * Leave: a segment in which nothing lies any more may come to another shard of the pool, which has slots of its own for it: its
 *   pages are given back, or a pool of many shards would hold them all as often as it has shards.
 */
#include "tier/index_hash.h"

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/err.h"

#define REF_SHIFT    4u
#define REF_MASK     ((uint64_t)INDEX_REF_MAX << REF_SHIFT) /* where virtual slots have ZERO and DAMAGED */
static_assert(REF_MASK == (INDEX_ZERO | INDEX_DAMAGED), "slots with payload have no use for these two flags");

static uint64_t key_of(uint32_t layer, uint64_t block)
{
    assert(layer != 0 && layer < 1u << INDEX_LAYER_BITS);
    assert(block < UINT64_C(1) << INDEX_BLOCK_BITS);
    return (uint64_t)layer << INDEX_BLOCK_BITS | block;
}

/* ---- memory ---- */

static void *reserve(struct index *ix, size_t bytes)
{
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (p == MAP_FAILED)
        return NULL;
    ix->mem_bytes += bytes;
    return p;
}

static void release(void *p, size_t bytes)
{
    if (p != NULL)
        munmap(p, bytes);
}

int index_init(struct index *ix, uint32_t nr_segments, uint32_t segment_units, uint32_t nr_virtual, uint32_t parts, uint64_t seed)
{
    uint32_t per = (segment_units + 7) / 8;
    uint64_t slots = (uint64_t)nr_segments * per + nr_virtual;

    assert(parts >= 1);
    *ix = (struct index){.nr_segments = nr_segments, .slots_per_segment = per, .nr_virtual = nr_virtual, .parts = parts,
                         .page_bytes = (size_t)sysconf(_SC_PAGESIZE),
                         .virtual_free = INDEX_NONE, .seed = seed, .walk = seed | 1};
    if (slots >= UINT32_MAX - 1)
        return -FIRN_E_INVALID;
    ix->nr_phys = (uint32_t)(slots - nr_virtual);
    index_hash_plan(ix, slots, parts);
    ix->key_flags = reserve(ix, slots * sizeof(*ix->key_flags));
    ix->csum = reserve(ix, slots * sizeof(*ix->csum));
    ix->seq_lo = reserve(ix, slots * sizeof(*ix->seq_lo));
    ix->seq_hi = reserve(ix, slots * sizeof(*ix->seq_hi));
    ix->buckets = reserve(ix, index_hash_reserve_bytes(ix));
    ix->seg_live = reserve(ix, nr_segments * sizeof(uint32_t));
    ix->seg_dirty = reserve(ix, nr_segments * sizeof(uint32_t));
    ix->seg_paged = reserve(ix, nr_segments * sizeof(*ix->seg_paged));
    if (!ix->key_flags || !ix->csum || !ix->seq_lo || !ix->seq_hi || !ix->buckets || !ix->seg_live || !ix->seg_dirty || !ix->seg_paged) {
        index_fini(ix);
        return -ENOMEM;
    }
    return 0;
}

void index_fini(struct index *ix)
{
    uint64_t slots = (uint64_t)ix->nr_phys + ix->nr_virtual;

    release(ix->key_flags, slots * sizeof(*ix->key_flags));
    release(ix->csum, slots * sizeof(*ix->csum));
    release(ix->seq_lo, slots * sizeof(*ix->seq_lo));
    release(ix->seq_hi, slots * sizeof(*ix->seq_hi));
    release(ix->buckets, index_hash_reserve_bytes(ix));
    release(ix->seg_live, ix->nr_segments * sizeof(uint32_t));
    release(ix->seg_dirty, ix->nr_segments * sizeof(uint32_t));
    release(ix->seg_paged, ix->nr_segments * sizeof(*ix->seg_paged));
    *ix = (struct index){0};
}

void index_pages_give(const struct index *ix, const void *from, const void *to)
{
    uintptr_t first = ROUND_UP((uintptr_t)from, (uintptr_t)ix->page_bytes), end = ROUND_DOWN((uintptr_t)to, (uintptr_t)ix->page_bytes);

    if (first < end)
        (void)madvise((void *)first, end - first, MADV_DONTNEED); /* refused: they stay */
}

/* A segment's part of an array. */
static void give_pages(const struct index *ix, const void *array, size_t of, uint32_t segment)
{
    const char *from = (const char *)array + (size_t)segment * ix->slots_per_segment * of;

    index_pages_give(ix, from, from + ix->slots_per_segment * of);
}

void index_segment_left(struct index *ix, uint32_t segment)
{
    assert(ix->seg_live[segment] == 0);
    if (ix->parts == 1 || !ix->seg_paged[segment]) /* alone: it comes back */
        return;
    give_pages(ix, ix->key_flags, sizeof(*ix->key_flags), segment);
    give_pages(ix, ix->csum, sizeof(*ix->csum), segment);
    give_pages(ix, ix->seq_lo, sizeof(*ix->seq_lo), segment);
    give_pages(ix, ix->seq_hi, sizeof(*ix->seq_hi), segment);
    ix->seg_paged[segment] = false;
    figure_sub(&ix->nr_paged, 1);
}

uint64_t index_bytes(const struct index *ix)
{
    uint64_t slots = figure_get(&ix->nr_paged) * ix->slots_per_segment + figure_get(&ix->virtual_touched);

    return index_hash_bytes(ix) +
           slots * (sizeof(*ix->key_flags) + sizeof(*ix->csum) + sizeof(*ix->seq_lo) + sizeof(*ix->seq_hi));
}

/* ---- slots ---- */

static uint32_t virtual_get(struct index *ix)
{
    uint32_t id = ix->virtual_free;

    assert(ix->virtual_used < ix->nr_virtual);
    ix->virtual_used++;
    if (id != INDEX_NONE) {
        ix->virtual_free = ix->seq_lo[id];
    } else {
        id = ix->nr_phys + ix->virtual_touched;
        figure_add(&ix->virtual_touched, 1);
    }
    return id;
}

static void slot_fill(struct index *ix, uint32_t id, const struct index_entry *e)
{
    uint64_t key = key_of(e->layer, e->block);
    bool virt = index_is_virtual(ix, id);

    assert(ix->key_flags[id] == 0 && e->seq <= INDEX_SEQ_MAX);
    assert(virt || !(e->flags & (INDEX_ZERO | INDEX_DAMAGED)));
    ix->key_flags[id] = key << 8 | (e->flags & 0xf8u) | (virt ? 0 : e->unit & 7u);
    ix->csum[id] = virt ? e->segment : e->csum;
    ix->seq_lo[id] = (uint32_t)e->seq;
    ix->seq_hi[id] = (uint16_t)(e->seq >> 32);
    if (ix->seg_live[e->segment]++ == 0 && !ix->seg_paged[e->segment]) {
        ix->seg_paged[e->segment] = true;
        figure_add(&ix->nr_paged, 1);
    }
    figure_add(&ix->nr_entries, 1);
    if (e->flags & INDEX_DIRTY) {
        ix->seg_dirty[e->segment]++;
        figure_add(&ix->nr_dirty, 1);
        figure_add(&ix->nr_kept, (e->flags & INDEX_KEPT) != 0);
    }
}

static uint32_t slot_segment(const struct index *ix, uint32_t id)
{
    return index_is_virtual(ix, id) ? ix->csum[id] : id / ix->slots_per_segment;
}

static void slot_clear(struct index *ix, uint32_t id)
{
    uint32_t segment = slot_segment(ix, id);

    assert(ix->key_flags[id] != 0 && ix->seg_live[segment] > 0);
    ix->seg_live[segment]--;
    figure_sub(&ix->nr_entries, 1);
    if (index_flags_of(ix, id) & INDEX_DIRTY) {
        assert(ix->seg_dirty[segment] > 0);
        ix->seg_dirty[segment]--;
        figure_sub(&ix->nr_dirty, 1);
        figure_sub(&ix->nr_kept, (index_flags_of(ix, id) & INDEX_KEPT) != 0);
    }
    ix->key_flags[id] = 0;
    if (index_is_virtual(ix, id)) {
        ix->seq_lo[id] = ix->virtual_free;
        ix->virtual_free = id;
        ix->virtual_used--;
    }
}

uint32_t index_find(const struct index *ix, uint32_t layer, uint64_t block)
{
    const uint32_t *cell = index_hash_cell(ix, key_of(layer, block));

    return cell == NULL ? INDEX_NONE : *cell - 1;
}

void index_get(const struct index *ix, uint32_t id, struct index_entry *out)
{
    uint64_t kf = ix->key_flags[id];
    bool virt = index_is_virtual(ix, id);

    assert(kf != 0);
    out->layer = (uint32_t)(kf >> (8 + INDEX_BLOCK_BITS));
    out->block = (kf >> 8) & ((UINT64_C(1) << INDEX_BLOCK_BITS) - 1);
    out->seq = index_seq(ix, id);
    out->csum = virt ? 0 : ix->csum[id];
    out->segment = slot_segment(ix, id);
    out->unit = virt ? 0 : id % ix->slots_per_segment * 8 + (uint32_t)(kf & 7);
    out->flags = index_flags_of(ix, id);
}

bool index_slot_used(const struct index *ix, uint32_t id) { return ix->key_flags[id] != 0; }

uint32_t index_slot_id(const struct index *ix, uint32_t segment, uint32_t unit)
{
    assert(segment < ix->nr_segments && unit / 8 < ix->slots_per_segment);
    return segment * ix->slots_per_segment + unit / 8;
}

uint64_t index_seq(const struct index *ix, uint32_t id) { return (uint64_t)ix->seq_hi[id] << 32 | ix->seq_lo[id]; }

unsigned index_flags_of(const struct index *ix, uint32_t id)
{
    return (unsigned)(ix->key_flags[id] & (index_is_virtual(ix, id) ? 0xf8 : 0xf8 & ~REF_MASK));
}

uint32_t index_put(struct index *ix, uint32_t old, const struct index_entry *e)
{
    bool virt = (e->flags & (INDEX_ZERO | INDEX_DAMAGED)) != 0;
    uint64_t key = key_of(e->layer, e->block);
    uint32_t *cell = NULL;
    uint32_t id;

    if (old != INDEX_NONE) {
        assert(index_slot_key(ix, old) == key);
        cell = index_hash_cell(ix, key);
        assert(cell != NULL && *cell == old + 1);
        slot_clear(ix, old);
    }
    id = virt ? virtual_get(ix) : index_slot_id(ix, e->segment, e->unit);
    slot_fill(ix, id, e);
    if (cell != NULL)
        *cell = id + 1;
    else
        index_hash_add(ix, id, key);
    return id;
}

void index_remove(struct index *ix, uint32_t id)
{
    index_hash_remove(ix, index_slot_key(ix, id));
    slot_clear(ix, id);
}

void index_set_kept(struct index *ix, uint32_t id)
{
    assert(!index_is_virtual(ix, id) && ix->key_flags[id] != 0 && !(index_flags_of(ix, id) & INDEX_DIRTY));
    ix->key_flags[id] |= INDEX_DIRTY | INDEX_KEPT;
    ix->seg_dirty[slot_segment(ix, id)]++;
    figure_add(&ix->nr_dirty, 1);
    figure_add(&ix->nr_kept, 1);
}

void index_set_clean(struct index *ix, uint32_t id)
{
    uint32_t segment = slot_segment(ix, id);

    assert(index_flags_of(ix, id) & INDEX_DIRTY);
    assert(!index_is_virtual(ix, id)); /* without payload there is nothing to keep once it is clean */
    figure_sub(&ix->nr_kept, (index_flags_of(ix, id) & INDEX_KEPT) != 0);
    ix->key_flags[id] &= ~(uint64_t)(INDEX_DIRTY | INDEX_KEPT);
    assert(ix->seg_dirty[segment] > 0);
    ix->seg_dirty[segment]--;
    figure_sub(&ix->nr_dirty, 1);
}

uint32_t index_ref(const struct index *ix, uint32_t id)
{
    return index_is_virtual(ix, id) ? 0 : (uint32_t)((ix->key_flags[id] & REF_MASK) >> REF_SHIFT);
}

void index_ref_set(struct index *ix, uint32_t id, uint32_t ref)
{
    assert(!index_is_virtual(ix, id) && ix->key_flags[id] != 0 && ref <= INDEX_REF_MAX);
    ix->key_flags[id] = (ix->key_flags[id] & ~REF_MASK) | (uint64_t)ref << REF_SHIFT;
}

void index_ref_add(struct index *ix, uint32_t id)
{
    uint32_t ref = index_ref(ix, id);

    if (!index_is_virtual(ix, id) && ref < INDEX_REF_MAX) /* no write, no dirty cache line, for what is hot already */
        index_ref_set(ix, id, ref + 1);
}

void index_set_queue(struct index *ix, uint32_t id, unsigned queue)
{
    assert(!index_is_virtual(ix, id) && ix->key_flags[id] != 0 && !(index_flags_of(ix, id) & INDEX_DIRTY));
    assert(queue == 0 || queue == INDEX_OVER || queue == INDEX_MAIN);
    ix->key_flags[id] = (ix->key_flags[id] & ~(uint64_t)(INDEX_OVER | INDEX_MAIN)) | queue;
}

struct index_spare index_spare(struct index *ix, uint32_t id)
{
    assert(!index_is_virtual(ix, id) && ix->key_flags[id] == 0);
    return (struct index_spare){&ix->seq_lo[id], &ix->csum[id]};
}

struct verify_sum { uint32_t live, dirty; };

static uint64_t verify_slots(const struct index *ix, uint32_t from, uint32_t to, struct verify_sum *sum, uint64_t *kept)
{
    uint64_t nr = 0;

    for (uint32_t id = from; id < to; id++) {
        const uint32_t *cell;
        unsigned flags;

        if (ix->key_flags[id] == 0)
            continue;
        cell = index_hash_cell(ix, index_slot_key(ix, id));
        assert(cell != NULL && *cell == id + 1);
        nr++;
        flags = index_flags_of(ix, id);
        sum->live++;
        sum->dirty += (flags & INDEX_DIRTY) != 0;
        *kept += (flags & INDEX_DIRTY) && (flags & INDEX_KEPT); /* alone it is INDEX_OVER */
    }
    return nr;
}

void index_verify(const struct index *ix)
{
    uint64_t nr = 0, all_live = 0, all_dirty = 0, kept = 0;
    struct verify_sum virt = {0};

    for (uint32_t s = 0; s < ix->nr_segments; s++) {
        uint32_t first = s * ix->slots_per_segment;
        struct verify_sum sum = {0};

        all_live += ix->seg_live[s];
        all_dirty += ix->seg_dirty[s];
        if (ix->seg_live[s] == 0)
            continue;
        nr += verify_slots(ix, first, first + ix->slots_per_segment, &sum, &kept);
        assert(sum.live <= ix->seg_live[s] && sum.dirty <= ix->seg_dirty[s]); /* the rest are virtual */
    }
    nr += verify_slots(ix, ix->nr_phys, ix->nr_phys + ix->virtual_touched, &virt, &kept);
    assert(virt.live == ix->virtual_used && virt.dirty == virt.live);
    assert(nr == ix->nr_entries && all_live == nr && all_dirty == ix->nr_dirty && kept == ix->nr_kept);
}
