/* SPDX-License-Identifier: MIT */
#include "arena.h"
#include "internal.h"
#include <inttypes.h>

struct vms_unpacker {
    struct vms_unpack_config config;
    uint8_t *scratch; /* unpacked_max */
};

static struct vms_unpacker *lay_out(struct vms_arena *arena,
                                    const struct vms_unpack_config *config) {
    struct vms_unpacker *unpacker = vms_arena_take(arena, sizeof *unpacker);
    uint8_t *scratch = vms_arena_take(arena, config->unpacked_max);
    if (!unpacker)
        return NULL;
    *unpacker = (struct vms_unpacker){*config, scratch};
    if (!config->page_ops)
        unpacker->config.page_ops = vms_page_ops();
    return unpacker;
}

size_t vms_unpacker_size(const struct vms_unpack_config *config) {
    struct vms_arena arena = {NULL, 0};
    if (!vms_page_size_ok(config->page_size))
        return 0;
    (void)lay_out(&arena, config);
    return arena.used;
}

struct vms_unpacker *vms_unpacker_init(void *mem, size_t mem_len,
                                       const struct vms_unpack_config *config) {
    struct vms_arena arena = {mem, 0};
    size_t size = vms_unpacker_size(config);
    return mem && size && mem_len >= size ? lay_out(&arena, config) : NULL;
}

void vms_generations_forget(struct vms_generations *generations) {
    generations->forgotten = generations->newest;
}

static uint32_t own_generation(struct vms_slice info) {
    return info.len >= VMS_INFO_HEAD ? vms_be32(info.ptr) : 0;
}

static enum vms_code check_info(const struct vms_unpacker *u, const struct vms_pack_announced *a,
                                struct vms_error *err) {
    uint64_t pages = a->pages ? a->unpacked / u->config.page_size : 0;
    uint64_t want = VMS_INFO_HEAD + (a->method == VMS_PACK_DELTA ? pages * VMS_INFO_REF : 0);
    if (a->info.len == 0 && a->method != VMS_PACK_DELTA)
        return VMS_OK;
    if (!a->pages || a->info.len != want)
        return vms_error_set(err, VMS_E_PACK_INFO, "%zu bytes for %" PRIu64 " pages", a->info.len,
                             pages);
    if (!own_generation(a->info))
        return vms_error_set(err, VMS_E_PACK_INFO, "generation 0");
    return VMS_OK;
}

static enum vms_code check_sizes(const struct vms_unpacker *u, const struct vms_pack_announced *a,
                                 struct vms_error *err) {
    if (a->unpacked > u->config.unpacked_max)
        return vms_error_set(err, VMS_E_LIMIT, "bulk of %" PRIu64 " bytes unpacked, at most %u",
                             a->unpacked, u->config.unpacked_max);
    if (a->pages && a->unpacked % u->config.page_size)
        return vms_error_set(err, VMS_E_PACK_SIZE, "%" PRIu64 " bytes are not whole pages",
                             a->unpacked);
    bool right = a->method == VMS_PACK_NONE ? a->bulk_len == a->unpacked
                                            : a->bulk_len && a->bulk_len < a->unpacked;
    if (!right)
        return vms_error_set(err, VMS_E_PACK_SIZE, "%" PRIu64 " bytes for %" PRIu64 ", method %u",
                             a->bulk_len, a->unpacked, a->method);
    return VMS_OK;
}

enum vms_code vms_unpack_check(const struct vms_unpacker *u, const struct vms_pack_announced *a,
                               struct vms_error *err) {
    if (a->method > VMS_PACK_DELTA)
        return vms_error_set(err, VMS_E_PACK_METHOD, "%u", a->method);
    if (a->method == VMS_PACK_DELTA && !a->pages)
        return vms_error_set(err, VMS_E_PACK_METHOD, "2, for what is not pages");
    enum vms_code code = check_sizes(u, a, err);
    return code ? code : check_info(u, a, err);
}

/* Whether the rooms can take the bulk: a question to the caller, not to the peer. */
static bool rooms_fit(const struct vms_unpacker *u, const struct vms_pack_announced *a,
                      const struct vms_room *rooms, size_t count) {
    uint64_t left = a->unpacked;
    for (size_t i = 0; i < count; i++) {
        if (rooms[i].len > left || (a->pages && rooms[i].len % u->config.page_size))
            return false;
        left -= rooms[i].len;
    }
    return left == 0;
}

/* All rooms as one, when they lie side by side in their order. */
static bool one_room(const struct vms_room *rooms, size_t count, struct vms_room *all) {
    *all = count ? rooms[0] : (struct vms_room){NULL, 0};
    for (size_t i = 1; i < count; i++) {
        if (rooms[i].ptr != all->ptr + all->len)
            return false;
        all->len += rooms[i].len;
    }
    return true;
}

static void scatter(const uint8_t *from, const struct vms_room *rooms, size_t count) {
    for (size_t i = 0; i < count; from += rooms[i].len, i++)
        if (rooms[i].len)
            memcpy(rooms[i].ptr, from, rooms[i].len);
}

static enum vms_code decompress(const struct vms_unpacker *u, struct vms_slice bulk,
                                struct vms_room out, struct vms_error *err) {
    if (!vms_zstd_frame_ok(bulk, out.len))
        return vms_error_set(err, VMS_E_PACK_FRAME, "%zu bytes for %zu", bulk.len, out.len);
    if (!u->config.zip.decompress(u->config.zip.ctx, bulk, out))
        return vms_error_set(err, VMS_E_PACK_DATA, "%zu bytes for %zu", bulk.len, out.len);
    return VMS_OK;
}

static enum vms_code unpack_zstd(struct vms_unpacker *u, struct vms_slice bulk, size_t unpacked,
                                 const struct vms_room *rooms, size_t count,
                                 struct vms_error *err) {
    struct vms_room all;
    if (one_room(rooms, count, &all))
        return decompress(u, bulk, all, err);
    enum vms_code code = decompress(u, bulk, (struct vms_room){u->scratch, unpacked}, err);
    if (!code)
        scatter(u->scratch, rooms, count);
    return code;
}

struct ref {
    uint32_t generation; /* 0: none, the page comes as it is */
    uint64_t hash;
};

static struct ref read_ref(struct vms_slice info, size_t i) {
    const uint8_t *at = info.ptr + VMS_INFO_HEAD + i * VMS_INFO_REF;
    return (struct ref){vms_be32(at), vms_be64(at + 4)};
}

/* PACK-12, PACK-17: the page at hand is the version that the reference names. */
static enum vms_code check_base(struct ref ref, size_t i, struct vms_slice page,
                                const struct vms_generations *g, struct vms_error *err) {
    if (!ref.generation && !ref.hash)
        return VMS_OK;
    if (!ref.generation)
        return vms_error_set(err, VMS_E_PACK_INFO, "a hash without generation, page %zu", i);
    if (ref.generation <= g->forgotten || ref.generation > g->newest)
        return vms_error_set(err, VMS_E_PACK_GENERATION, "%" PRIu32 ", page %zu of the frame",
                             ref.generation, i);
    if (vms_page_hash(page) != ref.hash)
        return vms_error_set(err, VMS_E_PACK_BASE, "page %zu of the frame", i);
    return VMS_OK;
}

/* Steps over the pages of the rooms, in order. */
struct cursor {
    const struct vms_room *room;
    size_t at;
};

static uint8_t *next_page(struct cursor *c, uint32_t page_size) {
    while (c->at == c->room->len) {
        c->room++;
        c->at = 0;
    }
    uint8_t *page = c->room->ptr + c->at;
    c->at += page_size;
    return page;
}

static enum vms_code check_bases(const struct vms_unpacker *u, const struct vms_pack_announced *a,
                                 const struct vms_room *rooms, const struct vms_generations *g,
                                 struct vms_error *err) {
    struct cursor cursor = {rooms, 0};
    uint32_t size = u->config.page_size;
    for (size_t i = 0; i < a->unpacked / size; i++) {
        struct vms_slice page = vms_slice(next_page(&cursor, size), size);
        enum vms_code code = check_base(read_ref(a->info, i), i, page, g, err);
        if (code)
            return code;
    }
    return VMS_OK;
}

static void apply(const struct vms_unpacker *u, const struct vms_pack_announced *a,
                  const struct vms_room *rooms) {
    struct cursor cursor = {rooms, 0};
    uint32_t size = u->config.page_size;
    for (size_t i = 0; i < a->unpacked / size; i++) {
        uint8_t *page = next_page(&cursor, size);
        const uint8_t *data = u->scratch + i * size;
        if (read_ref(a->info, i).generation)
            (void)u->config.page_ops->xor (page, page, data, size);
        else
            memcpy(page, data, size);
    }
}

static enum vms_code unpack_delta(struct vms_unpacker *u, const struct vms_pack_announced *a,
                                  struct vms_slice bulk, const struct vms_room *rooms,
                                  const struct vms_generations *g, struct vms_error *err) {
    enum vms_code code = check_bases(u, a, rooms, g, err);
    if (!code)
        code = decompress(u, bulk, (struct vms_room){u->scratch, (size_t)a->unpacked}, err);
    if (!code)
        apply(u, a, rooms);
    return code;
}

static enum vms_code unpack_as(struct vms_unpacker *u, const struct vms_pack_announced *a,
                               struct vms_slice bulk, const struct vms_room *rooms, size_t count,
                               const struct vms_generations *g, struct vms_error *err) {
    switch (a->method) {
    case VMS_PACK_ZSTD: return unpack_zstd(u, bulk, (size_t)a->unpacked, rooms, count, err);
    case VMS_PACK_DELTA: return unpack_delta(u, a, bulk, rooms, g, err);
    default: scatter(bulk.ptr, rooms, count); return VMS_OK;
    }
}

/* PACK-12 */
static void note_generation(const struct vms_pack_announced *a, struct vms_generations *g) {
    uint32_t own = own_generation(a->info);
    if (a->pages && own > g->newest)
        g->newest = own;
}

enum vms_code vms_unpack_placed(struct vms_unpacker *u, const struct vms_pack_announced *a,
                                struct vms_generations *generations, struct vms_error *err) {
    enum vms_code code = vms_unpack_check(u, a, err);
    if (code)
        return code;
    if (a->method != VMS_PACK_NONE || !a->pages || !generations)
        return vms_error_set(err, VMS_E_MISUSE, "packed, or no pages");
    note_generation(a, generations);
    return VMS_OK;
}

enum vms_code vms_unpack(struct vms_unpacker *u, const struct vms_pack_announced *a,
                         struct vms_slice bulk, const struct vms_room *rooms, size_t count,
                         struct vms_generations *generations, struct vms_error *err) {
    enum vms_code code = vms_unpack_check(u, a, err);
    if (code)
        return code;
    if (bulk.len != a->bulk_len || !rooms_fit(u, a, rooms, count) || (a->pages && !generations))
        return vms_error_set(err, VMS_E_MISUSE, "bulk or rooms are not as announced");
    code = unpack_as(u, a, bulk, rooms, count, generations, err);
    if (!code && generations)
        note_generation(a, generations);
    return code;
}
