/* SPDX-License-Identifier: MIT */
#include "arena.h"
#include "internal.h"

struct vms_packer {
    struct vms_pack_config config;
    size_t capacity; /* pages of a batch */
    uint64_t zero_hash;

    uint32_t block;
    uint32_t generation; /* 0: no batch was begun */
    size_t count;
    size_t deltas;
    uint8_t *data;    /* the batch; deltas as XOR with their base */
    uint8_t *out;     /* the packed bulk */
    uint8_t *info;    /* PACK-10, PACK-11 */
    uint64_t *pages;  /* of each page of the batch: its number, */
    uint64_t *hashes; /* the hash of its content, */
    uint32_t *slots;  /* its base in known, or VMS_NO_SLOT */
};

static bool config_ok(const struct vms_pack_config *config) {
    const struct vms_known *known = config->known;
    return vms_page_size_ok(config->page_size) && config->unpacked_max >= config->page_size &&
           config->unpacked_max % config->page_size == 0 &&
           (!known || (config->channel < VMS_PACK_CHANNELS &&
                       vms_known_page_size(known) == config->page_size));
}

static struct vms_packer *lay_out(struct vms_arena *arena, const struct vms_pack_config *config) {
    struct vms_packer layout = {.config = *config,
                                .capacity = config->unpacked_max / config->page_size};
    struct vms_packer *packer = vms_arena_take(arena, sizeof *packer);
    layout.data = vms_arena_take(arena, config->unpacked_max);
    layout.out = vms_arena_take(arena, config->unpacked_max);
    layout.info = vms_arena_take(arena, VMS_INFO_HEAD + layout.capacity * VMS_INFO_REF);
    layout.pages = vms_arena_take(arena, layout.capacity * sizeof *layout.pages);
    layout.hashes = vms_arena_take(arena, layout.capacity * sizeof *layout.hashes);
    layout.slots = vms_arena_take(arena, layout.capacity * sizeof *layout.slots);
    if (packer)
        *packer = layout;
    return packer;
}

size_t vms_packer_size(const struct vms_pack_config *config) {
    struct vms_arena arena = {NULL, 0};
    if (!config_ok(config))
        return 0;
    (void)lay_out(&arena, config);
    return arena.used;
}

struct vms_packer *vms_packer_init(void *mem, size_t mem_len,
                                   const struct vms_pack_config *config) {
    struct vms_arena arena = {mem, 0};
    size_t size = vms_packer_size(config);
    if (!mem || !size || mem_len < size)
        return NULL;
    struct vms_packer *packer = lay_out(&arena, config);
    if (!packer->config.page_ops)
        packer->config.page_ops = vms_page_ops();
    memset(packer->data, 0, config->page_size);
    packer->zero_hash = vms_page_hash(vms_slice(packer->data, config->page_size));
    return packer;
}

static uint8_t *page_data(const struct vms_packer *p, size_t i) {
    return p->data + i * p->config.page_size;
}

static void write_ref(struct vms_packer *p, size_t i, uint32_t generation, uint64_t hash) {
    uint8_t *at = p->info + VMS_INFO_HEAD + i * VMS_INFO_REF;
    struct vms_writer w = vms_writer((struct vms_room){at, VMS_INFO_REF});
    vms_write_u32(&w, generation);
    vms_write_u64(&w, hash);
}

static void drop_batch(struct vms_packer *p) {
    for (size_t i = 0; i < p->count; i++)
        if (p->slots[i] != VMS_NO_SLOT)
            vms_known_entry(p->config.known, p->slots[i])->busy = false;
    p->count = 0;
    p->deltas = 0;
}

void vms_packer_begin(struct vms_packer *p, uint32_t block, uint32_t generation) {
    drop_batch(p);
    p->block = block;
    p->generation = generation;
    struct vms_writer w = vms_writer((struct vms_room){p->info, VMS_INFO_HEAD});
    vms_write_u32(&w, generation);
}

/* Makes a delta of page i of the batch if that is worth it (PACK-10). */
static bool make_delta(struct vms_packer *p, size_t i, uint32_t slot) {
    uint32_t size = p->config.page_size;
    struct vms_known_entry *base = vms_known_entry(p->config.known, slot);
    const uint8_t *content = vms_known_content(p->config.known, slot);
    uint8_t *data = page_data(p, i);
    if (p->config.page_ops->xor (data, data, content, size) > size / VMS_DELTA_SHARE) {
        (void)p->config.page_ops->xor (data, data, content, size);
        return false;
    }
    base->busy = true;
    p->slots[i] = slot;
    p->deltas++;
    write_ref(p, i, base->generation, base->hash);
    return true;
}

static bool is_same(struct vms_packer *p, size_t i, uint32_t slot) {
    const uint8_t *content = vms_known_content(p->config.known, slot);
    return p->config.skip_same && p->hashes[i] == vms_known_entry(p->config.known, slot)->hash &&
           memcmp(page_data(p, i), content, p->config.page_size) == 0;
}

static enum vms_page_kind add_zero(struct vms_packer *p, uint64_t page, uint64_t *hash) {
    if (p->config.known)
        vms_known_forget_page(p->config.known, p->block, page);
    if (hash)
        *hash = p->zero_hash;
    return VMS_PAGE_ZERO;
}

enum vms_page_kind vms_packer_add(struct vms_packer *p, uint64_t page, const uint8_t *content,
                                  uint64_t *hash) {
    const struct vms_pack_config *config = &p->config;
    size_t i = p->count;
    uint32_t slot = VMS_NO_SLOT;
    if (i == p->capacity || !p->generation)
        return VMS_PAGE_ROOM;
    if (config->page_ops->is_zero(content, config->page_size))
        return add_zero(p, page, hash);
    memcpy(page_data(p, i), content, config->page_size);
    if (hash || config->known)
        p->hashes[i] = vms_page_hash(vms_slice(page_data(p, i), config->page_size));
    if (hash)
        *hash = p->hashes[i];
    if (config->known)
        slot = vms_known_find(config->known, p->block, page, config->channel);
    if (slot != VMS_NO_SLOT && is_same(p, i, slot))
        return VMS_PAGE_SAME;
    p->pages[i] = page;
    p->slots[i] = VMS_NO_SLOT;
    p->count++;
    if (slot != VMS_NO_SLOT && make_delta(p, i, slot))
        return VMS_PAGE_DELTA;
    write_ref(p, i, 0, 0);
    return VMS_PAGE_FULL;
}

/* The bases of the batch are still what they were when it was made. */
static bool bases_hold(const struct vms_packer *p) {
    for (size_t i = 0; i < p->count; i++) {
        if (p->slots[i] == VMS_NO_SLOT)
            continue;
        const struct vms_known_entry *e = vms_known_entry(p->config.known, p->slots[i]);
        if (!e->busy || !e->generation || e->page != p->pages[i] || e->block != p->block)
            return false;
    }
    return true;
}

/* PACK-5: the longest that `len` bytes may become, with the info's length on top. 0: never. */
static size_t longest_gain(size_t len, size_t info_len) {
    size_t gain = (len >> VMS_PACK_GAIN_SHIFT) + (len % (1 << VMS_PACK_GAIN_SHIFT) != 0);
    return len - gain > info_len ? len - gain - info_len : 0;
}

/* Compresses in into p->out if that pays; the length, or 0. */
static size_t compress(struct vms_packer *p, int level, struct vms_slice in, size_t info_len) {
    size_t most = longest_gain(in.len, info_len);
    if (level == VMS_LEVEL_NONE || most == 0)
        return 0;
    return p->config.zip.compress(p->config.zip.ctx, level, in, (struct vms_room){p->out, most});
}

static void xor_base(struct vms_packer *p, size_t i, uint8_t *out) {
    const uint8_t *content = vms_known_content(p->config.known, p->slots[i]);
    (void)p->config.page_ops->xor (out, page_data(p, i), content, p->config.page_size);
}

/* The pages as they are, in place of differences. */
static void undo_deltas(struct vms_packer *p) {
    for (size_t i = 0; i < p->count; i++) {
        if (p->slots[i] == VMS_NO_SLOT)
            continue;
        xor_base(p, i, page_data(p, i));
        vms_known_entry(p->config.known, p->slots[i])->busy = false;
        p->slots[i] = VMS_NO_SLOT;
    }
    p->deltas = 0;
}

/* Page i is known from this frame on. A difference is applied to its base where that is. */
static void remember(struct vms_packer *p, size_t i, uint64_t ticket) {
    struct vms_known *known = p->config.known;
    struct vms_known_entry version = {.page = p->pages[i],
                                      .hash = p->hashes[i],
                                      .ticket = ticket,
                                      .block = p->block,
                                      .generation = p->generation,
                                      .channel = p->config.channel};
    if (p->slots[i] == VMS_NO_SLOT) {
        vms_known_store(known, &version, page_data(p, i));
        return;
    }
    xor_base(p, i, vms_known_content(known, p->slots[i]));
    *vms_known_entry(known, p->slots[i]) = version;
}

static void fill(const struct vms_packer *p, enum vms_pack_method method, size_t packed,
                 struct vms_packed *out) {
    size_t len = p->count * p->config.page_size;
    size_t info_len = p->config.known ? VMS_INFO_HEAD : 0;
    if (method == VMS_PACK_DELTA)
        info_len += p->count * VMS_INFO_REF;
    *out = (struct vms_packed){
        .method = method,
        .info = vms_slice(p->info, info_len),
        .bulk = packed ? vms_slice(p->out, packed) : vms_slice(p->data, len),
        .unpacked = (uint32_t)len,
        .pages = p->pages,
        .count = p->count,
        .deltas = p->deltas,
    };
}

enum vms_code vms_packer_pack(struct vms_packer *p, int level, uint64_t ticket,
                              struct vms_packed *out, struct vms_error *err) {
    struct vms_slice data = vms_slice(p->data, p->count * p->config.page_size);
    enum vms_pack_method method = p->deltas ? VMS_PACK_DELTA : VMS_PACK_ZSTD;
    if (!p->count)
        return vms_error_set(err, VMS_E_MISUSE, "an empty batch");
    if (!bases_hold(p)) {
        drop_batch(p);
        return vms_error_set(err, VMS_E_MISUSE, "the bases of the batch were forgotten");
    }
    size_t info_len = p->config.known ? VMS_INFO_HEAD : 0;
    info_len += p->deltas ? p->count * VMS_INFO_REF : 0;
    size_t packed = compress(p, level, data, info_len);
    if (!packed)
        undo_deltas(p);
    fill(p, packed ? method : VMS_PACK_NONE, packed, out);
    for (size_t i = 0; p->config.known && i < p->count; i++)
        remember(p, i, ticket);
    p->count = 0; /* its bases are not busy any more: they are new versions */
    p->deltas = 0;
    return VMS_OK;
}

static size_t gather(uint8_t *to, const struct vms_slice *pieces, size_t count) {
    size_t len = 0;
    for (size_t i = 0; i < count; i++) {
        if (pieces[i].len)
            memcpy(to + len, pieces[i].ptr, pieces[i].len);
        len += pieces[i].len;
    }
    return len;
}

static bool fits(const struct vms_slice *pieces, size_t count, size_t most) {
    for (size_t i = 0; i < count; i++) {
        if (pieces[i].len > most)
            return false;
        most -= pieces[i].len;
    }
    return true;
}

enum vms_code vms_packer_pack_bulk(struct vms_packer *p, int level, const struct vms_slice *pieces,
                                   size_t count, struct vms_packed *out, struct vms_error *err) {
    drop_batch(p);
    if (!fits(pieces, count, p->config.unpacked_max))
        return vms_error_set(err, VMS_E_MISUSE, "bulk of more than %u bytes",
                             p->config.unpacked_max);
    struct vms_slice data =
        count == 1 ? pieces[0] : vms_slice(p->data, gather(p->data, pieces, count));
    size_t packed = compress(p, level, data, 0);
    *out = (struct vms_packed){
        .method = packed ? VMS_PACK_ZSTD : VMS_PACK_NONE,
        .bulk = packed ? vms_slice(p->out, packed) : data,
        .unpacked = (uint32_t)data.len,
    };
    return VMS_OK;
}
