/* SPDX-License-Identifier: MIT */
#include "internal.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define LOG2_HUGE 21u /* of a 2 MiB page, where MAP_HUGETLB and MFD_HUGETLB take it */

static int open_backing(const struct vm_block_config *config, bool huge) {
    int fd = memfd_create("guest", MFD_CLOEXEC | (huge ? MFD_HUGETLB | LOG2_HUGE << 26 : 0));
    if (fd >= 0 && ftruncate(fd, (off_t)config->size) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

static void unmap_block(const struct vms_guest_block *block) {
    munmap(block->memory, block->length);
    if (block->fd >= 0)
        close(block->fd);
}

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23 /* Linux 5.14 */
#endif

/* Older kernels do it page after page. */
static bool allocate(const struct vms_guest_block *block) {
    volatile uint8_t *at = block->memory;
    if (madvise(block->memory, block->length, MADV_POPULATE_WRITE) == 0)
        return true;
    if (errno != EINVAL)
        return false;
    for (uint64_t i = 0; i < block->length; i += block->page_size)
        at[i] = 0;
    return true;
}

static enum vms_code map_block(struct vms_guest_block *block, const struct vm_block_config *config,
                               struct vms_error *err) {
    bool huge = config->page_size > VM_PAGE;
    *block = (struct vms_guest_block){.name = config->name,
                                      .length = config->size,
                                      .page_size = config->page_size,
                                      .shared = config->shared,
                                      .fd = config->shared ? open_backing(config, huge) : -1};
    int flags = config->shared ? MAP_SHARED
                               : MAP_PRIVATE | MAP_ANONYMOUS |
                                     (huge ? MAP_HUGETLB | (int)(LOG2_HUGE << 26) : 0);
    void *memory = MAP_FAILED;
    if (!config->shared || block->fd >= 0)
        memory = mmap(NULL, config->size, PROT_READ | PROT_WRITE, flags, block->fd, 0);
    if (memory == MAP_FAILED) {
        int why = errno;
        if (block->fd >= 0)
            close(block->fd);
        return vms_error_set(err, why == ENOMEM ? VMS_E_NO_MEMORY : VMS_E_IO,
                             "block %.60s of %llu bytes in pages of %llu: %s", config->name,
                             (unsigned long long)config->size,
                             (unsigned long long)config->page_size, strerror(why));
    }
    /* So that page_size is what the host really has behind the mapping. */
    if (!huge)
        (void)madvise(memory, config->size, MADV_NOHUGEPAGE);
    block->memory = memory;
    if (!config->ahead || allocate(block))
        return VMS_OK;
    int why = errno;
    unmap_block(block);
    return vms_error_set(err, VMS_E_NO_MEMORY, "block %.60s: allocating %llu bytes ahead: %s",
                         config->name, (unsigned long long)config->size, strerror(why));
}

enum vms_code vm_memory_map(struct vm_memory *memory, const struct vm_config *config,
                            struct vms_error *err) {
    *memory = (struct vm_memory){.count = 0};
    for (size_t i = 0; i < config->block_count; i++) {
        if (map_block(&memory->blocks[i], &config->blocks[i], err) != VMS_OK) {
            vm_memory_unmap(memory);
            return err->code;
        }
        memory->first[i] = memory->pages;
        memory->pages += config->blocks[i].size / VM_PAGE;
        memory->count++;
    }
    memory->chunks = (memory->pages + VM_CHUNK - 1) / VM_CHUNK;
    return VMS_OK;
}

void vm_memory_unmap(struct vm_memory *memory) {
    for (size_t i = 0; i < memory->count; i++)
        unmap_block(&memory->blocks[i]);
    memory->count = 0;
}

size_t vm_memory_block(const struct vm_memory *memory, uint64_t page) {
    size_t i = memory->count - 1;
    while (i > 0 && page < memory->first[i])
        i--;
    return i;
}

uint8_t *vm_memory_page(const struct vm_memory *memory, uint64_t page) {
    size_t i = vm_memory_block(memory, page);
    return memory->blocks[i].memory + (page - memory->first[i]) * VM_PAGE;
}

/* Of a mix one page in four is zero and one random. An image is what guests look like: of each
 * megabyte a quarter zero, a quarter compressible, half random. */
enum vm_style vm_memory_style(const struct vm_config *config, size_t block, uint64_t page) {
    static const enum vm_style plain[] = {VM_STYLE_ZERO, VM_STYLE_PATTERN, VM_STYLE_RANDOM};
    static const enum vm_style mix[] = {VM_STYLE_ZERO, VM_STYLE_PATTERN, VM_STYLE_PATTERN,
                                        VM_STYLE_RANDOM};
    static const enum vm_style image[] = {VM_STYLE_ZERO, VM_STYLE_TEXT, VM_STYLE_RANDOM,
                                          VM_STYLE_RANDOM};
    switch (config->blocks[block].fill) {
    case VM_FILL_MIX: return mix[vm_mix(config->seed + block, page) % 4];
    case VM_FILL_IMAGE: return image[page / 64 % 4];
    default: return plain[config->blocks[block].fill];
    }
}

/* Page 0 is the board with the heartbeats, which begins as zero. */
void vm_memory_fill(const struct vm_memory *memory, const struct vm_config *config,
                    uint64_t *ledger) {
    for (uint64_t page = 1; page < memory->pages; page++) {
        size_t block = vm_memory_block(memory, page), count;
        enum vm_style style = vm_memory_style(config, block, page - memory->first[block]);
        if (style == VM_STYLE_ZERO)
            continue;
        struct vm_page content = {.generation = vm_mix(config->seed, page) % 1000};
        vm_page_advance(&content, page + 1, VM_PAGE, style, &count);
        vm_guest_write(vm_memory_page(memory, page), (const uint64_t *)(const void *)&content,
                       VM_PAGE / 8);
        ledger[page / VM_CHUNK] += vm_page_share(page + 1, content.generation);
    }
}
