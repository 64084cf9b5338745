/* SPDX-License-Identifier: MIT */
#include "host/native_link_rooms.h"
#include <sys/mman.h>

enum {
    ALL = LINK_ROOMS * LINK_ROOM,
};

/* Mapped, not from the heap: pages that the kernel still has must not become anybody else's. In
 * huge pages it takes less of the kernel's time to lend them. */
bool link_rooms_make(struct link_rooms *rooms) {
    if (rooms->memory)
        return true;
    uint8_t *memory = mmap(NULL, ALL, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        return false;
    (void)madvise(memory, ALL, MADV_HUGEPAGE);
    *rooms = (struct link_rooms){.memory = memory, .at = memory};
    link_rooms_next(rooms, 0);
    return true;
}

void link_rooms_free(struct link_rooms *rooms) {
    if (rooms->memory)
        (void)munmap(rooms->memory, ALL);
    *rooms = (struct link_rooms){.memory = NULL};
}

bool link_rooms_may_lend(const struct link_rooms *rooms) {
    return rooms->at != rooms->memory;
}

void link_rooms_lent(struct link_rooms *rooms, uint64_t behind) {
    rooms->until[(size_t)(rooms->at - rooms->memory) / LINK_ROOM] = behind;
}

/* [RSM-15] The first that is free, so that no more memory is in use than need be. */
void link_rooms_next(struct link_rooms *rooms, uint64_t acked) {
    size_t i = 1;
    while (i < LINK_ROOMS && rooms->until[i] > acked)
        i++;
    rooms->at = rooms->memory + (i < LINK_ROOMS ? i : 0) * LINK_ROOM;
}
