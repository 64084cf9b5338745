/* SPDX-License-Identifier: MIT */
#include "host/ram_internal.h"
#include <stdlib.h>

struct vms_ram_image_config vms_ram_image_config_default(void) {
    return (struct vms_ram_image_config){.store = VMS_RAM_MEMORY, .limits = vms_limits_default()};
}

static bool needs_path(const struct vms_ram_image_config *config) {
    return config->store == VMS_RAM_FILES || config->store == VMS_RAM_FILE;
}

static bool is_misused(const struct vms_ram_image_config *config) {
    return config->only.len > VMS_NAME_MAX || (needs_path(config) && !config->path) ||
           (config->store == VMS_RAM_FILE && config->only.len == 0) ||
           (config->store == VMS_RAM_GUEST && !config->guest);
}

/* The configuration's strings become the image's own. */
static bool own_strings(struct vms_ram_image *image) {
    struct vms_ram_image_config *config = &image->config;
    if (config->only.len)
        memcpy(image->only, config->only.ptr, config->only.len);
    config->only.ptr = image->only;
    if (config->path)
        config->path = strdup(config->path);
    return config->path || !needs_path(config);
}

struct vms_ram_image *vms_ram_image_new(const struct vms_ram_image_config *config,
                                        struct vms_error *err) {
    bool misuse = is_misused(config);
    struct vms_ram_image *image = misuse ? NULL : calloc(1, sizeof *image);
    if (!image) {
        (void)vms_error_set(err, misuse ? VMS_E_MISUSE : VMS_E_NO_MEMORY, "a RAM image");
        return NULL;
    }
    image->config = *config;
    image->page_size = 4096;
    if (image->config.max_bytes == 0)
        image->config.max_bytes = config->limits.ram_bytes;
    (void)pthread_mutex_init(&image->lock, NULL);
    if (own_strings(image))
        return image;
    vms_ram_image_free(image);
    (void)vms_error_set(err, VMS_E_NO_MEMORY, "a RAM image");
    return NULL;
}

void vms_ram_image_free(struct vms_ram_image *image) {
    if (!image)
        return;
    for (size_t i = 0; i < image->count; i++) {
        ram_store_close(image->blocks[i]);
        free(image->blocks[i]);
    }
    (void)pthread_mutex_destroy(&image->lock);
    free((char *)(uintptr_t)image->config.path);
    free(image->blocks);
    free(image->retired);
    free(image);
}

enum vms_code vms_ram_image_page_size(struct vms_ram_image *image, uint32_t bytes,
                                      struct vms_error *err) {
    bool power = bytes >= RAM_PAGE_MIN && bytes <= RAM_PAGE_MAX && (bytes & (bytes - 1)) == 0;
    if (!power || (image->count > 0 && bytes != image->page_size))
        return vms_error_set(err, VMS_E_MISUSE, "target page size %u", bytes);
    image->page_size = bytes;
    return VMS_OK;
}

static bool is_stored(const struct vms_ram_image *image, struct vms_slice name) {
    return image->config.store != VMS_RAM_CHECK &&
           (image->config.only.len == 0 || vms_slice_eq(image->config.only, name));
}

/* Everything that can be known before memory is asked for (LIM-1). */
static enum vms_code check_block(const struct vms_ram_image *image,
                                 const struct vms_rec_ram_block *block, struct vms_error *err) {
    const struct vms_ram_image_config *config = &image->config;
    if (block->name.len == 0 || block->name.len > VMS_NAME_MAX ||
        memchr(block->name.ptr, 0, block->name.len))
        return vms_error_set(err, VMS_E_RAM_BLOCK_NAME, NULL);
    if (block->used_length == 0 || block->used_length % image->page_size)
        return vms_error_set(err, VMS_E_RAM_BLOCK_LENGTH, "%.*s", (int)block->name.len,
                             (const char *)block->name.ptr);
    if (image->count >= config->limits.ram_blocks)
        return vms_error_set(err, VMS_E_LIMIT, "ram_blocks is %llu",
                             (unsigned long long)config->limits.ram_blocks);
    if (is_stored(image, block->name) &&
        block->used_length > config->max_bytes - image->stored_bytes)
        return vms_error_set(err, VMS_E_LIMIT, "RAM blocks of more than %llu bytes",
                             (unsigned long long)config->max_bytes);
    return VMS_OK;
}

static struct ram_block *new_block(const struct vms_rec_ram_block *block, size_t index) {
    struct ram_block *b = calloc(1, sizeof *b);
    if (!b)
        return NULL;
    memcpy(b->pub.name, block->name.ptr, block->name.len);
    b->name_len = block->name.len;
    b->pub.used_length = block->used_length;
    b->pub.page_size = block->page_size;
    b->pub.gpa = block->gpa;
    b->pub.index = index;
    b->pub.fd = -1;
    return b;
}

static bool grow(struct vms_ram_image *image) {
    struct ram_block **blocks = realloc(image->blocks, (image->count + 1) * sizeof *image->blocks);
    if (blocks)
        image->blocks = blocks;
    return blocks != NULL;
}

/* A repeated list is harmless as long as it says the same (RAM-12 is the decoder's). */
static enum vms_code check_again(const struct ram_block *known,
                                 const struct vms_rec_ram_block *block, struct vms_error *err) {
    if (known->pub.used_length == block->used_length)
        return VMS_OK;
    return vms_error_set(err, VMS_E_RAM_BLOCK_SIZE, "%s is listed again with %llu bytes",
                         known->pub.name, (unsigned long long)block->used_length);
}

enum vms_code vms_ram_image_add(struct vms_ram_image *image, const struct vms_rec_ram_block *block,
                                struct vms_error *err) {
    size_t index = vms_ram_image_find(image, block->name);
    if (index != SIZE_MAX)
        return check_again(image->blocks[index], block, err);
    if (check_block(image, block, err) != VMS_OK)
        return err->code;
    struct ram_block *b = grow(image) ? new_block(block, image->count) : NULL;
    if (!b)
        return vms_error_set(err, VMS_E_NO_MEMORY, "a RAM block");
    if (is_stored(image, block->name)) {
        if (ram_store_open(image, b, err) != VMS_OK) {
            free(b);
            return err->code;
        }
        image->stored_bytes += block->used_length;
    }
    image->blocks[image->count++] = b;
    return VMS_OK;
}

size_t vms_ram_image_count(const struct vms_ram_image *image) {
    return image->count;
}

const struct vms_ram_block *vms_ram_image_block(const struct vms_ram_image *image, size_t index) {
    return index < image->count ? &image->blocks[index]->pub : NULL;
}

size_t vms_ram_image_find(const struct vms_ram_image *image, struct vms_slice name) {
    for (size_t i = 0; i < image->count; i++)
        if (vms_slice_eq(vms_slice(image->blocks[i]->pub.name, image->blocks[i]->name_len), name))
            return i;
    return SIZE_MAX;
}

/* Forgets that content came for the pages [first, end). */
static void unmark(_Atomic uint64_t *bits, uint64_t first, uint64_t end) {
    while (first < end) {
        uint64_t n = 64 - first % 64;
        if (n > end - first)
            n = end - first;
        uint64_t mask = (n == 64 ? UINT64_MAX : (UINT64_C(1) << n) - 1) << (first % 64);
        atomic_fetch_and_explicit(&bits[first / 64], ~mask, memory_order_relaxed);
        first += n;
    }
}

enum vms_code vms_ram_image_discard(struct vms_ram_image *image, size_t index, uint64_t start,
                                    uint64_t length, struct vms_error *err) {
    if (index >= image->count)
        return vms_error_set(err, VMS_E_RAM_BLOCK_UNKNOWN, "in a discard");
    struct ram_block *b = image->blocks[index];
    if (start % image->page_size || length % image->page_size || start > b->pub.used_length ||
        length > b->pub.used_length - start)
        return vms_error_set(err, VMS_E_RAM_OFFSET, "discard of %llu bytes at 0x%llx of %s",
                             (unsigned long long)length, (unsigned long long)start, b->pub.name);
    if (!b->pub.memory || length == 0)
        return VMS_OK;
    unmark(b->written, start / image->page_size, (start + length) / image->page_size);
    unmark(b->zeros, start / image->page_size, (start + length) / image->page_size);
    return ram_store_punch(b, start, length, err);
}

void vms_ram_image_arrived(const struct vms_ram_image *image, size_t index, uint64_t *bits) {
    const struct ram_block *b = image->blocks[index];
    uint64_t words = (b->pub.used_length / image->page_size + 63) / 64;
    for (uint64_t i = 0; i < words; i++)
        bits[i] = atomic_load(&b->written[i]) | atomic_load(&b->zeros[i]);
}
