/* SPDX-License-Identifier: MIT */
#include "arena.h"
#include "internal.h"

/*
 * A set-associative table: a page can be in any of the WAYS slots of its set. Sets are never
 * searched beyond, so each operation is short and memory is what was given (PACK-15).
 */
enum {
    WAYS = 16,
    LIFETIME = 2, /* generations for which a version is not put out for another page's */
};

struct vms_known {
    uint32_t page_size;
    uint32_t sets;
    size_t count;
    uint64_t acked[VMS_PACK_CHANNELS]; /* tickets below it */
    struct vms_known_entry *entries;   /* sets * WAYS */
    uint8_t *contents;
};

static struct vms_known *lay_out(struct vms_arena *arena, uint32_t sets, uint32_t page_size) {
    size_t slots = (size_t)sets * WAYS;
    struct vms_known *known = vms_arena_take(arena, sizeof *known);
    struct vms_known_entry *entries = vms_arena_take(arena, slots * sizeof *entries);
    uint8_t *contents = vms_arena_take(arena, slots * page_size);
    if (known)
        *known = (struct vms_known){
            .page_size = page_size, .sets = sets, .entries = entries, .contents = contents};
    return known;
}

static uint32_t set_count(const struct vms_known_config *config) {
    const uint64_t head = sizeof(struct vms_known) + 192; /* and alignment */
    uint64_t of_set = WAYS * (sizeof(struct vms_known_entry) + (uint64_t)config->page_size);
    uint64_t bytes = config->bytes < SIZE_MAX / 2 ? config->bytes : SIZE_MAX / 2;
    uint64_t sets = bytes > head ? (bytes - head) / of_set : 0;
    return (uint32_t)(sets < UINT32_MAX / WAYS ? sets : UINT32_MAX / WAYS - 1);
}

size_t vms_known_size(const struct vms_known_config *config) {
    struct vms_arena arena = {NULL, 0};
    uint32_t sets = set_count(config);
    if (!sets || !vms_page_size_ok(config->page_size))
        return 0;
    (void)lay_out(&arena, sets, config->page_size);
    return arena.used;
}

struct vms_known *vms_known_init(void *mem, size_t mem_len, const struct vms_known_config *config) {
    struct vms_arena arena = {mem, 0};
    size_t size = vms_known_size(config);
    if (!mem || !size || mem_len < size)
        return NULL;
    struct vms_known *known = lay_out(&arena, set_count(config), config->page_size);
    vms_known_forget_all(known);
    return known;
}

uint32_t vms_known_page_size(const struct vms_known *known) {
    return known->page_size;
}

size_t vms_known_count(const struct vms_known *known) {
    return known->count;
}

size_t vms_known_capacity(const struct vms_known *known) {
    return (size_t)known->sets * WAYS;
}

struct vms_known_entry *vms_known_entry(struct vms_known *known, uint32_t slot) {
    return &known->entries[slot];
}

uint8_t *vms_known_content(struct vms_known *known, uint32_t slot) {
    return known->contents + (size_t)slot * known->page_size;
}

/* The first slot of the page's set. */
static uint32_t set_of(const struct vms_known *known, uint32_t block, uint64_t page) {
    uint64_t mixed = (page ^ (uint64_t)block << 40) * UINT64_C(0x9e3779b97f4a7c15);
    mixed = (mixed ^ mixed >> 32) * UINT64_C(0xbf58476d1ce4e5b9);
    return (uint32_t)((mixed >> 32) * known->sets >> 32) * WAYS;
}

static uint32_t find(const struct vms_known *known, uint32_t block, uint64_t page) {
    uint32_t first = set_of(known, block, page);
    for (uint32_t slot = first; slot < first + WAYS; slot++) {
        const struct vms_known_entry *e = &known->entries[slot];
        if (e->generation && e->page == page && e->block == block)
            return slot;
    }
    return VMS_NO_SLOT;
}

uint32_t vms_known_find(const struct vms_known *known, uint32_t block, uint64_t page,
                        uint16_t channel) {
    uint32_t slot = find(known, block, page);
    if (slot == VMS_NO_SLOT)
        return VMS_NO_SLOT;
    const struct vms_known_entry *e = &known->entries[slot];
    bool held = e->channel == channel || e->ticket < known->acked[e->channel];
    return held && !e->busy ? slot : VMS_NO_SLOT;
}

void vms_known_acked(struct vms_known *known, uint16_t channel, uint64_t ticket) {
    uint64_t below = ticket == UINT64_MAX ? ticket : ticket + 1;
    if (channel < VMS_PACK_CHANNELS && known->acked[channel] < below)
        known->acked[channel] = below;
}

void vms_known_forget_page(struct vms_known *known, uint32_t block, uint64_t page) {
    uint32_t slot = find(known, block, page);
    if (slot == VMS_NO_SLOT)
        return;
    known->entries[slot].generation = 0; /* stays busy, if it is: its content is in use */
    known->count--;
}

void vms_known_forget_all(struct vms_known *known) {
    memset(known->entries, 0, vms_known_capacity(known) * sizeof *known->entries);
    memset(known->acked, 0, sizeof known->acked);
    known->count = 0;
}

/* Where a page that is not in the table can go: a free slot, else that of the oldest version. */
static uint32_t find_room(const struct vms_known *known, const struct vms_known_entry *version) {
    uint32_t first = set_of(known, version->block, version->page), oldest = VMS_NO_SLOT;
    for (uint32_t slot = first; slot < first + WAYS; slot++) {
        const struct vms_known_entry *e = &known->entries[slot];
        if (!e->busy &&
            (oldest == VMS_NO_SLOT || e->generation < known->entries[oldest].generation))
            oldest = slot;
    }
    if (oldest == VMS_NO_SLOT)
        return VMS_NO_SLOT;
    uint32_t age = known->entries[oldest].generation;
    bool live = age && version->generation - age < LIFETIME;
    return live ? VMS_NO_SLOT : oldest;
}

void vms_known_store(struct vms_known *known, const struct vms_known_entry *version,
                     const uint8_t *content) {
    uint32_t slot = find(known, version->block, version->page);
    if (slot == VMS_NO_SLOT)
        slot = find_room(known, version);
    if (slot == VMS_NO_SLOT)
        return;
    known->count += known->entries[slot].generation == 0;
    known->entries[slot] = *version;
    memcpy(vms_known_content(known, slot), content, known->page_size);
}
