/* SPDX-License-Identifier: MIT */
#include "zip.h"

#include <string.h>

/*
 * A frame's packed bulk from a peer, for pages that hold something: no more is written than was
 * announced (PACK-6), and after an error in method 2 the pages are as they were; pages that were
 * placed as they were read leave the same generations. Octets of input:
 * method, pages, then length of the PACK key's value (2), that value, the bulk.
 */
enum {
    PAGE = 4096,
    PAGES = 8,
    UNPACKED_MAX = PAGES * PAGE,
};

static struct vms_unpacker *unpacker;
static struct vms_packer *packer;

static void prepare(void) {
    struct vms_unpack_config config = {
        .zip = fuzz_zip(3, UNPACKED_MAX), .page_size = PAGE, .unpacked_max = UNPACKED_MAX};
    size_t len = vms_unpacker_size(&config);
    unpacker = vms_unpacker_init(fuzz_memory(len), len, &config);
    struct vms_pack_config pc = {
        .zip = config.zip, .page_size = PAGE, .unpacked_max = UNPACKED_MAX};
    len = vms_packer_size(&pc);
    packer = vms_packer_init(fuzz_memory(len), len, &pc);
    if (!unpacker || !packer)
        abort();
}

/* [PACK-12] The same announcement of pages that were read straight to where they belong. */
static void placed(const struct vms_pack_announced *a, enum vms_code code,
                   const struct vms_generations *after) {
    struct vms_generations generations = {0, 3};
    struct vms_error err;
    enum vms_code checked = vms_unpack_check(unpacker, a, &err);
    enum vms_code want = a->method == VMS_PACK_NONE ? VMS_OK : VMS_E_MISUSE;
    enum vms_code got = vms_unpack_placed(unpacker, a, &generations, &err);
    ORACLE(got == (checked ? checked : want), "%s", vms_code_name(got));
    ORACLE(code || got || memcmp(&generations, after, sizeof *after) == 0, "generations differ");
}

/* What a peer sends. */
static void unpack(struct vms_slice input) {
    static uint8_t memory[UNPACKED_MAX + PAGE], before[UNPACKED_MAX + PAGE];
    struct vms_generations generations = {0, 3};
    struct vms_room rooms[PAGES];
    struct vms_error err;
    unsigned method = fuzz_option(&input, 1) % 4;
    size_t pages = 1 + fuzz_option(&input, 1) % PAGES;
    size_t info = fuzz_option(&input, 2) % 256;
    struct vms_pack_announced announced = {
        .method = method, .unpacked = pages * PAGE, .pages = true};
    announced.info = vms_slice_head(input, info);
    struct vms_slice bulk = vms_slice_tail(input, announced.info.len);
    announced.bulk_len = bulk.len;
    if (method == VMS_PACK_NONE)
        announced.unpacked = bulk.len;
    for (size_t i = 0; i < sizeof memory; i++)
        memory[i] = (uint8_t)(i / PAGE + i);
    memcpy(before, memory, sizeof memory);
    for (size_t i = 0; i < pages; i++)
        rooms[i] = (struct vms_room){memory + i * PAGE, PAGE};
    enum vms_code code = vms_unpack(unpacker, &announced, bulk, rooms, pages, &generations, &err);
    fuzz_saw(code);
    ORACLE(memcmp(memory + pages * PAGE, before + pages * PAGE, sizeof memory - pages * PAGE) == 0,
           "wrote past the announced pages");
    if (code != VMS_OK && method == VMS_PACK_DELTA)
        ORACLE(memcmp(memory, before, sizeof memory) == 0, "pages were changed by what failed");
    placed(&announced, code, &generations);
}

/* What we send comes back. */
static void round_trip(struct vms_slice input) {
    static uint8_t memory[UNPACKED_MAX];
    struct vms_packed packed;
    struct vms_error err;
    struct vms_slice piece = vms_slice_head(input, UNPACKED_MAX);
    if (!piece.len)
        return;
    ORACLE(vms_packer_pack_bulk(packer, 1, &piece, 1, &packed, &err) == VMS_OK, "%s", err.message);
    struct vms_pack_announced announced = {.method = packed.method,
                                           .bulk_len = packed.bulk.len,
                                           .unpacked = packed.unpacked,
                                           .info = packed.info};
    struct vms_room room = {memory, piece.len};
    ORACLE(vms_unpack(unpacker, &announced, packed.bulk, &room, 1, NULL, &err) == VMS_OK, "%s",
           err.message);
    ORACLE(memcmp(memory, piece.ptr, piece.len) == 0, "%zu octets came back changed", piece.len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (!unpacker)
        prepare();
    unpack(vms_slice(data, size));
    round_trip(vms_slice(data, size));
    return 0;
}
