// SPDX-License-Identifier: MIT
// Finds the host addresses of RAM blocks in the memory of a QEMU whose monitor does not tell them.
//
// No layout of QEMU's structures is known here. What is looked for is a block's name with the three
// numbers of `info ramblock` before it; where the host address stands relative to the numbers is
// learned from the one block whose address the monitor does tell (gpa2hva of guest address 0).
#include "qemu_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    WINDOW = 256,      // bytes before a name in which its numbers are looked for
    SEGMENT = 1 << 20, // memory read at a time
    MAX_MAPS = 4096,
};

struct mapping {
    uint64_t start;
    uint64_t end;
    bool writable;
};

struct search {
    struct vms_qemu *qemu;
    int mem_fd;
    struct vms_ram_dump *dump;
    struct mapping *maps;
    size_t map_count;
    // The block whose address is known, and where that address was found.
    struct vms_qemu_ram_block *anchor;
    bool learned;
    int host_at; // offset of the host address from the numbers
};

static int read_maps(struct search *search) {
    char path[64];
    char line[4400];
    FILE *file;

    search->maps = calloc(MAX_MAPS, sizeof *search->maps);
    snprintf(path, sizeof path, "/proc/%d/maps", (int)search->qemu->pid);
    file = fopen(path, "re");
    if (search->maps == NULL || file == NULL) {
        if (file != NULL) {
            fclose(file);
        }
        return vms_qemu_fail(search->qemu, "cannot read %s", path);
    }
    while (search->map_count < MAX_MAPS && fgets(line, sizeof line, file) != NULL) {
        struct mapping *map = &search->maps[search->map_count];
        char rights[5];

        if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %4s", &map->start, &map->end, rights) == 3) {
            map->writable = rights[0] == 'r' && rights[1] == 'w' && rights[3] == 'p';
            search->map_count++;
        }
    }
    fclose(file);
    return 0;
}

// Whether [host, host + size) is mapped; neighbouring mappings count as one.
static bool is_mapped(const struct search *search, uint64_t host, uint64_t size) {
    uint64_t end = host + size;

    for (size_t i = 0; i < search->map_count && host < end; i++) {
        if (search->maps[i].start <= host && host < search->maps[i].end) {
            host = search->maps[i].end;
        }
    }
    return host >= end;
}

static uint64_t load64(const uint8_t *at) {
    uint64_t value;

    memcpy(&value, at, sizeof value);
    return value;
}

// Offset of the three numbers in the WINDOW bytes before a name, or -1.
static int numbers_before(const uint8_t *window, const struct vms_qemu_ram_block *block) {
    for (int at = WINDOW - 24; at >= 0; at -= 8) {
        if (load64(window + at) == block->offset && load64(window + at + 8) == block->used &&
            load64(window + at + 16) == block->total) {
            return at;
        }
    }
    return -1;
}

// `window` is WINDOW bytes before a hit of the block's name.
static void judge_hit(struct search *search, struct vms_qemu_ram_block *block, const uint8_t *window) {
    int numbers = numbers_before(window, block);
    uint64_t host;

    if (numbers < 0) {
        return;
    }
    if (block == search->anchor) {
        for (int at = numbers - 8; at >= 0 && !search->learned; at -= 8) {
            search->learned = load64(window + at) == block->host;
            search->host_at = at - numbers;
        }
        return;
    }
    if (!search->learned || numbers + search->host_at < 0) {
        return;
    }
    host = load64(window + numbers + search->host_at);
    if (host % 4096 == 0 && host != 0 && is_mapped(search, host, block->used)) {
        block->host = host;
        block->method = VMS_RAM_SEARCHED;
    }
}

// Looks for the block's name (with its NUL) in `size` bytes that begin WINDOW before the segment.
static void search_bytes(struct search *search, struct vms_qemu_ram_block *block, const uint8_t *bytes,
                         size_t size) {
    size_t length = strlen(block->name) + 1;
    const uint8_t *at = bytes + WINDOW;

    while (at < bytes + size) {
        const uint8_t *hit = memmem(at, size - (size_t)(at - bytes), block->name, length);

        if (hit == NULL) {
            return;
        }
        if ((uintptr_t)(hit - bytes) % 4 == 0) {
            // The numbers stand at multiples of 8, the name need not.
            size_t length_before = WINDOW - (uintptr_t)(hit - bytes) % 8;
            uint8_t window[WINDOW] = {0};

            memcpy(window, hit - length_before, length_before);
            judge_hit(search, block, window);
        }
        at = hit + 1;
    }
}

static bool is_wanted(const struct search *search, const struct vms_qemu_ram_block *block,
                      bool learning) {
    return learning ? block == search->anchor && !search->learned : block->method == VMS_RAM_NONE;
}

static void search_segment(struct search *search, const uint8_t *bytes, size_t size,
                           bool learning) {
    for (size_t i = 0; i < search->dump->count; i++) {
        struct vms_qemu_ram_block *block = &search->dump->blocks[i];

        if (is_wanted(search, block, learning)) {
            search_bytes(search, block, bytes, size);
        }
    }
}

// Guest memory is large and holds none of QEMU's records.
static bool is_guest_memory(const struct search *search, const struct mapping *map) {
    return map->start <= search->anchor->host && search->anchor->host < map->end;
}

// What can be read of [from, to): QEMU runs on and may give its heap's end back meanwhile.
static size_t read_some(const struct search *search, uint64_t from, uint64_t to, uint8_t *bytes) {
    size_t done = 0;

    while (from + done < to) {
        ssize_t got =
            pread(search->mem_fd, bytes + done, (size_t)(to - from) - done, (off_t)(from + done));

        if (got <= 0) {
            break;
        }
        done += (size_t)got;
    }
    return done;
}

static void search_mapping(struct search *search, const struct mapping *map, uint8_t *bytes,
                           bool learning) {
    // Segments overlap by WINDOW before and a name behind, so that nothing is cut.
    for (uint64_t at = map->start; at < map->end; at += SEGMENT) {
        uint64_t from = at - map->start >= WINDOW ? at - WINDOW : map->start;
        uint64_t to = map->end - at > SEGMENT + 256 ? at + SEGMENT + 256 : map->end;
        size_t lead = WINDOW - (size_t)(at - from);

        memset(bytes, 0, lead);
        search_segment(search, bytes, lead + read_some(search, from, to, bytes + lead), learning);
    }
}

static int search_all(struct search *search, bool learning) {
    uint8_t *bytes = malloc(SEGMENT + 2 * WINDOW + 512);

    if (bytes == NULL) {
        return vms_qemu_fail(search->qemu, "out of memory");
    }
    for (size_t i = 0; i < search->map_count; i++) {
        if (search->maps[i].writable && !is_guest_memory(search, &search->maps[i])) {
            search_mapping(search, &search->maps[i], bytes, learning);
        }
    }
    free(bytes);
    return 0;
}

// The block at guest address 0, whose host address gpa2hva tells. 0 also when there is none.
static int find_anchor(struct search *search) {
    char name[256];
    uint64_t host;
    char *text;
    int fields;

    if (vms_qemu_hmp(search->qemu, "gpa2hva 0", &text) != 0) {
        return -1;
    }
    fields = sscanf(text, "Host virtual address for 0x0 (%255[^)]) is %" SCNx64, name, &host);
    free(text);
    for (size_t i = 0; fields == 2 && i < search->dump->count; i++) {
        if (strcmp(search->dump->blocks[i].name, name) == 0) {
            search->anchor = &search->dump->blocks[i];
            search->anchor->host = host;
            search->anchor->method = VMS_RAM_GPA2HVA;
        }
    }
    return 0;
}

int vms_qemu_search_ram(struct vms_qemu *qemu, int mem_fd, struct vms_ram_dump *dump) {
    struct search search = {.qemu = qemu, .mem_fd = mem_fd, .dump = dump};
    size_t unknown = 0;
    int status;

    for (size_t i = 0; i < dump->count; i++) {
        unknown += dump->blocks[i].method == VMS_RAM_NONE;
    }
    if (unknown == 0) {
        return 0;
    }
    status = find_anchor(&search);
    if (status == 0 && search.anchor != NULL && unknown > 1) {
        status = read_maps(&search);
        if (status == 0) {
            status = search_all(&search, true);
        }
        if (status == 0 && search.learned) {
            status = search_all(&search, false);
        }
        free(search.maps);
    }
    return status;
}
