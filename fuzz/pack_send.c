/* SPDX-License-Identifier: MIT */
#include "zip.h"

#include <string.h>

/*
 * Sender and receiver of packed pages under a list of actions: the guest writes, batches are made
 * at any level, acknowledged late, lost in a resumption, pages are forgotten:
 *   - what arrives is what was added, page by page [PACK-9] [PACK-17]; a page that was left out as
 *     the same is there already [PACK-14]
 *   - a frame that the receiver may refuse was made before the sender forgot [PACK-16]
 *   - all kinds of page operations agree [PACK-3]
 * Input: 1 octet of settings, then actions of 4 octets.
 */
enum {
    PAGE = 1024,
    PAGES = 32,
    BATCH = 8,
};

static uint8_t guest[PAGES][PAGE], there[PAGES][PAGE];
static struct vms_packer *packer;
static struct vms_unpacker *unpacker;
static struct vms_known *known;
static struct vms_generations generations;
static uint64_t ticket;
static uint32_t generation;

static void open_both(bool skip_same, bool with_known) {
    static void *memory[3];
    static size_t known_len, packer_len, unpacker_len;
    static struct vms_zip_ops zip;
    struct vms_known_config kc = {.bytes = 40000, .page_size = PAGE};
    if (!memory[0]) {
        zip = fuzz_zip(3, BATCH * PAGE);
        memory[0] = fuzz_memory(known_len = vms_known_size(&kc));
    }
    known = vms_known_init(memory[0], known_len, &kc);
    struct vms_pack_config pc = {.zip = zip,
                                 .page_size = PAGE,
                                 .unpacked_max = BATCH * PAGE,
                                 .known = with_known ? known : NULL,
                                 .channel = 1,
                                 .skip_same = skip_same};
    struct vms_unpack_config uc = {.zip = zip, .page_size = PAGE, .unpacked_max = BATCH * PAGE};
    if (!memory[1]) {
        pc.known = known;
        memory[1] = fuzz_memory(packer_len = vms_packer_size(&pc));
        memory[2] = fuzz_memory(unpacker_len = vms_unpacker_size(&uc));
        pc.known = with_known ? known : NULL;
    }
    packer = vms_packer_init(memory[1], packer_len, &pc);
    unpacker = vms_unpacker_init(memory[2], unpacker_len, &uc);
    ORACLE(packer && unpacker && known, "memory");
}

static void guest_writes(uint32_t a, uint32_t b, uint32_t c) {
    uint8_t *page = guest[a % PAGES];
    switch (b % 4) {
    case 0: memset(page, 0, PAGE); break;
    case 1: memset(page, (int)c, PAGE); break;
    case 2: page[b * 4 % PAGE] = (uint8_t)c; break;
    default:
        for (unsigned i = 0; i < PAGE; i++)
            page[i] = (uint8_t)((i + c) * (b | 1) >> (i & 3));
        break;
    }
}

static void check_page_ops(const uint8_t *page, const uint8_t *other, size_t n) {
    const struct vms_page_ops *first = vms_page_ops_at(0), *ops;
    static uint8_t x[PAGE], y[PAGE];
    size_t count = first->xor (x, page, other, n);
    for (size_t i = 1; (ops = vms_page_ops_at(i)); i++) {
        ORACLE(ops->is_zero(page, n) == first->is_zero(page, n), "%s: is_zero", ops->name);
        ORACLE(ops->xor (y, page, other, n) == count && memcmp(x, y, n) == 0, "%s: xor", ops->name);
    }
}

static void receive(const struct vms_packed *p, const uint64_t *numbers) {
    struct vms_room rooms[BATCH];
    struct vms_error err = {0};
    struct vms_pack_announced announced = {.method = p->method,
                                           .bulk_len = p->bulk.len,
                                           .unpacked = p->unpacked,
                                           .info = p->info,
                                           .pages = true};
    for (size_t i = 0; i < p->count; i++)
        rooms[i] = (struct vms_room){there[numbers[i]], PAGE};
    ORACLE(vms_unpack_check(unpacker, &announced, &err) == VMS_OK, "%s", err.message);
    ORACLE(vms_unpack(unpacker, &announced, p->bulk, rooms, p->count, &generations, &err) == VMS_OK,
           "%s", err.message);
    for (size_t i = 0; i < p->count; i++)
        ORACLE(memcmp(there[numbers[i]], guest[numbers[i]], PAGE) == 0, "page %llu differs",
               (unsigned long long)numbers[i]);
}

static void batch(uint32_t a, uint32_t b, uint32_t c) {
    static const int levels[] = {0, -3, 1, 3, 9};
    struct vms_packed packed;
    struct vms_error err = {0};
    uint64_t numbers[BATCH], hash;
    size_t n = 0;
    vms_packer_begin(packer, 0, generation);
    for (uint32_t i = 0; i <= b % 12; i++) {
        uint64_t page = (a + i) % PAGES;
        enum vms_page_kind kind = vms_packer_add(packer, page, guest[page], &hash);
        if (kind == VMS_PAGE_ROOM)
            break;
        ORACLE(hash == vms_page_hash(vms_slice(guest[page], PAGE)), "another hash");
        if (kind == VMS_PAGE_SAME)
            ORACLE(memcmp(guest[page], there[page], PAGE) == 0, "left out, and it differs");
        if (kind == VMS_PAGE_ZERO)
            memset(there[page], 0, PAGE), vms_known_forget_page(known, 0, page);
        if (kind == VMS_PAGE_FULL || kind == VMS_PAGE_DELTA)
            numbers[n++] = page;
    }
    enum vms_code code = vms_packer_pack(packer, levels[c % 5], ++ticket, &packed, &err);
    fuzz_saw(code);
    ORACLE(code == (n ? VMS_OK : VMS_E_MISUSE), "%s", err.message);
    if (code != VMS_OK)
        return;
    ORACLE(packed.count == n && memcmp(packed.pages, numbers, n * sizeof *numbers) == 0, "pages");
    receive(&packed, numbers);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct vms_slice in = vms_slice(data, size < LIST_MAX / 4 ? size : LIST_MAX / 4);
    uint32_t settings = fuzz_option(&in, 1);
    memset(guest, 0, sizeof guest);
    memset(there, 0, sizeof there);
    generations = (struct vms_generations){0, 0};
    ticket = 0;
    generation = 1;
    open_both(settings & 1, settings & 2);
    while (in.len) {
        uint32_t what = fuzz_option(&in, 1), a = fuzz_option(&in, 1), b = fuzz_option(&in, 1);
        uint32_t c = fuzz_option(&in, 1);
        switch (what % 8) {
        case 0:
        case 1: guest_writes(a, b, c); break;
        case 2:
        case 3: batch(a, b, c); break;
        case 4: vms_known_acked(known, 1, ticket - (a % 4 < ticket ? a % 4 : 0)); break;
        case 5:
            check_page_ops(guest[a % PAGES] + b % 64, there[c % PAGES] + b % 64, PAGE - 64);
            break;
        case 6: generation++; break;
        default:
            if (a & 1)
                vms_known_forget_all(known), vms_generations_forget(&generations), generation++;
            else
                vms_known_forget_page(known, 0, b % PAGES);
            break;
        }
        ORACLE(vms_known_count(known) <= vms_known_capacity(known), "more than fits");
    }
    return 0;
}
