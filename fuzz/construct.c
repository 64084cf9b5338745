/* SPDX-License-Identifier: MIT */
#include "fuzz.h"

#include <vmstream/pack_zstd.h>
#include <vmstream/seal.h>
#include <vmstream/transcode.h>

/*
 * Objects of any configuration in any room: a size is told or the configuration is refused, what is
 * one octet short is refused, what is enough is made, and it writes within its room (ASan)
 * [MOD-10]. And what has no object: hashes and checksums agree with the portable way of each.
 * Input: of each object 8 octets: which, and three amounts. They have nothing to do with each
 * other, so two are enough.
 */
enum {
    MOST = 1 << 20, /* larger ones are only measured */
    OBJECTS = 2,
};

static uint8_t octets[512], copied[sizeof octets];

/* Room of exactly that size, so that ASan sees past its end; nothing of it is kept. */
static void *room(size_t n) {
    return n && n <= MOST ? fuzz_memory(n) : NULL;
}

#define TRY(size, init)                                                                            \
    do {                                                                                           \
        size_t n = (size);                                                                         \
        void *mem = room(n);                                                                       \
        if (mem) {                                                                                 \
            size_t len = n - 1;                                                                    \
            ORACLE((init) == NULL, "made in too small a room");                                    \
            len = n;                                                                               \
            ORACLE((init) != NULL, "not made in %zu octets", n);                                   \
        }                                                                                          \
        free(mem);                                                                                 \
    } while (0)

static struct vms_limits some_limits(const uint32_t a[3]) {
    struct vms_limits l = vms_limits_default();
    l.sections = a[0] >> 8;
    l.ram_blocks = a[1] & 255;
    l.device_tail_bytes = a[1];
    l.vmdesc_bytes = a[2];
    l.native_bulk_bytes = (uint64_t)a[2] << (a[0] & 3) * 4;
    l.native_body_bytes = a[1];
    l.native_records = a[0] & 511;
    l.native_runs = a[1] & 511;
    l.native_devices = a[2] & 255;
    l.native_channels = a[0] & 255;
    l.multifd_data_bytes = a[2];
    return l;
}

static void qevm(const uint32_t a[3]) {
    struct vms_qevm_config c = vms_qevm_config_default();
    c.limits = some_limits(a);
    c.kind = (enum vms_qevm_kind)(a[0] % 5);
    TRY(vms_qevm_decoder_size(&c), vms_qevm_decoder_init(mem, len, &c));
}

static void native(const uint32_t a[3]) {
    struct vms_native_config c = vms_native_config_default();
    struct vms_native_plain_keys keys = {.limits = vms_limits_default()};
    c.limits = some_limits(a);
    c.keys = vms_native_plain_keys(&keys);
    TRY(vms_native_decoder_size(&c), vms_native_decoder_init(mem, len, &c));
    struct vms_intake_config i = {.native = c, .keep_packed = a[0] & 1};
    TRY(vms_intake_size(&i), vms_intake_init(mem, len, &i));
}

static void transcoders(const uint32_t a[3]) {
    struct vms_to_native_config to = vms_to_native_config_default();
    struct vms_from_native_config from = vms_from_native_config_default();
    to.batch_bytes = a[0] & 1 ? a[1] << 4 : 0;
    to.limits = some_limits(a);
    from.limits = some_limits(a);
    if (a[0] & 2)
        from.limits.ram_blocks = UINT64_C(1) << (a[1] & 63);
    from.kind = (enum vms_qevm_kind)(a[0] % 5);
    size_t to_len = vms_to_native_size(&to);
    void *to_mem = room(to_len);
    if (to_mem) /* batch_bytes may be impossible */
        (void)vms_to_native_init(to_mem, a[0] & 4 ? to_len : to_len / 2, &to);
    free(to_mem);
    TRY(vms_from_native_size(&from), vms_from_native_init(mem, len, &from));
}

static void packers(const uint32_t a[3]) {
    struct vms_zstd_config zc = {.level_max = (int)(a[2] & 7), .unpacked_max = a[1]};
    size_t zstd_len = vms_zstd_size(&zc);
    void *zstd = room(zstd_len);
    struct vms_zstd *z = zstd ? vms_zstd_init(zstd, zstd_len - (a[0] & 1), &zc) : NULL;
    struct vms_zip_ops zip = {0};
    if (z)
        zip = vms_zstd_ops(z);
    struct vms_pack_config pc = {.zip = zip,
                                 .page_size = a[0] & 2 ? 4096 : a[0],
                                 .unpacked_max = a[1] & 4 ? a[2] & ~4095u : a[2],
                                 .channel = (uint16_t)(a[1] >> 8)};
    struct vms_unpack_config uc = {
        .zip = zip, .page_size = pc.page_size, .unpacked_max = pc.unpacked_max};
    TRY(vms_packer_size(&pc), vms_packer_init(mem, len, &pc));
    TRY(vms_unpacker_size(&uc), vms_unpacker_init(mem, len, &uc));
    free(zstd);
}

static void known(const uint32_t a[3]) {
    struct vms_known_config c = {.bytes = a[0] << (a[2] & 7), .page_size = a[1]};
    TRY(vms_known_size(&c), vms_known_init(mem, len, &c));
    TRY(vms_digest_size(a[0]), vms_digest_init(mem, len, a[1], a[0]));
}

/* Checksums by tables and by the processor; zero runs; hashes of any length. */
static void sums(const uint32_t a[3]) {
    struct vms_slice s = vms_slice(octets + (a[0] & 15), a[1] % (sizeof octets - 16));
    uint32_t by_table = vms_crc32c(a[2], s.ptr, s.len);
    const struct vms_crc32c_ops *ops;
    for (size_t i = 0; (ops = vms_crc32c_ops_at(i)); i++) {
        ORACLE(by_table == ops->sum(a[2], s.ptr, s.len), "%s: CRC-32C of %zu octets", ops->name,
               s.len);
        ORACLE(by_table == ops->copy(a[2], copied, s.ptr, s.len), "%s: copy", ops->name);
        ORACLE(s.len == 0 || memcmp(copied, s.ptr, s.len) == 0, "%s: another copy", ops->name);
    }
    uint32_t half = vms_crc32c(a[2], s.ptr, s.len / 3);
    ORACLE(by_table == vms_crc32c(half, s.ptr + s.len / 3, s.len - s.len / 3), "CRC-32C in pieces");
    uint64_t hash = vms_xxh64(s, a[2]);
    ORACLE(hash == vms_xxh64(s, a[2]), "XXH64");
    ORACLE(vms_page_hash(s) != 0, "a page with the hash 0");
    (void)vms_page_share(a[0], a[1], hash);
    bool zero[2];
    size_t run[2];
    for (size_t i = 0; i < 2; i++)
        run[i] = vms_zero_run(i ? vms_page_ops() : vms_page_ops_at(0),
                              vms_slice(octets, sizeof octets), 1u << (4 + a[2] % 5), &zero[i]);
    ORACLE(run[0] == run[1] && zero[0] == zero[1], "zero runs of %zu and %zu", run[0], run[1]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static void (*const parts[])(const uint32_t[3]) = {qevm,    native, transcoders,
                                                       packers, known,  sums};
    struct vms_slice in = vms_slice(data, size < OBJECTS * 8 ? size : OBJECTS * 8);
    memset(octets, 0, sizeof octets);
    if (in.len)
        memcpy(octets + in.len, in.ptr, in.len);
    while (in.len) {
        uint32_t which = fuzz_option(&in, 1);
        uint32_t a[3] = {fuzz_option(&in, 2), fuzz_option(&in, 3), fuzz_option(&in, 2)};
        parts[which % (sizeof parts / sizeof *parts)](a);
    }
    return 0;
}
