/* SPDX-License-Identifier: MIT */
#include "pack_test_util.h"
#include <zstd.h>

/* [PACK-20] known values of XXH64. */
Test(hash, vectors) {
    cr_assert_eq(vms_xxh64(vms_str(""), 0), UINT64_C(0xef46db3751d8e999));
    cr_assert_eq(vms_xxh64(vms_str("a"), 0), UINT64_C(0xd24ec4f1a98c6e5b));
    cr_assert_eq(vms_xxh64(vms_str("abc"), 0), UINT64_C(0x44bc2cf5ad770999));
    cr_assert_eq(vms_xxh64(vms_str("Nobody inspects the spammish repetition"), 0),
                 UINT64_C(0xfbcea83c8a378bf1));
}

/* [PACK-20] the checksum of a zstd frame is the low half of XXH64: an independent judge. */
Test(hash, against_zstd) {
    struct rng rng = {5};
    uint8_t data[5000], packed[6000];
    ZSTD_CCtx *cctx = ZSTD_createCCtx();
    ZSTD_CCtx_setParameter(cctx, ZSTD_c_checksumFlag, 1);
    for (size_t len = 0; len < 5000; len += 1 + len / 40) {
        for (size_t i = 0; i < len; i++)
            data[i] = (uint8_t)rng_next(&rng);
        size_t n = ZSTD_compress2(cctx, packed, sizeof packed, data, len);
        cr_assert_not(ZSTD_isError(n));
        uint32_t sum = 0;
        for (size_t i = 0; i < 4; i++)
            sum |= (uint32_t)packed[n - 4 + i] << 8 * i;
        cr_assert_eq((uint32_t)vms_xxh64(vms_slice(data, len), 0), sum, "length %zu", len);
    }
    ZSTD_freeCCtx(cctx);
}

/* [PACK-20] the hash of a page is XXH64 with seed 0; every bit of it matters. */
Test(hash, page) {
    uint8_t page[PAGE];
    struct rng rng = {9};
    make_page(&rng, CONTENT_TEXT, page);
    uint64_t hash = vms_page_hash(vms_slice(page, PAGE));
    cr_assert_eq(hash, vms_xxh64(vms_slice(page, PAGE), 0));
    for (size_t bit = 0; bit < (size_t)PAGE * 8; bit += 7) {
        page[bit / 8] ^= (uint8_t)(1 << bit % 8);
        cr_assert_neq(vms_page_hash(vms_slice(page, PAGE)), hash, "bit %zu", bit);
        page[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
}

/* [PACK-25] a share is XXH64 of page and hash, the block as seed; nothing for an unknown page. */
Test(hash, share) {
    static const uint8_t bytes[16] = {0, 0, 0, 0, 0, 0, 1, 2, 0xab, 0, 0, 0, 0, 0, 0, 0xcd};
    cr_assert_eq(vms_page_share(7, 0x102, UINT64_C(0xab000000000000cd)),
                 vms_xxh64(vms_slice(bytes, 16), 7));
    cr_assert_eq(vms_page_share(7, 0x102, 0), 0);
    cr_assert_neq(vms_page_share(7, 1, 2), vms_page_share(7, 2, 1));
    cr_assert_neq(vms_page_share(7, 1, 2), vms_page_share(8, 1, 2));
}
