/* SPDX-License-Identifier: MIT */
#include "seal/seal_test_util.h"

TestSuite(seal_suite, .fini = test_crypto_free);

static enum vms_code select_suite(const uint32_t *a, size_t na, const uint32_t *b, size_t nb,
                                  bool keyed, unsigned *out) {
    struct vms_error err;
    enum vms_suite suite = VMS_SUITE_NONE;
    struct vms_suite_list source = {a, na}, destination = {b, nb};
    enum vms_code code = vms_suite_select(source, destination, keyed, &suite, &err);
    *out = suite;
    return code;
}

/* [SEAL-16] the source's order decides; unknown numbers are passed over. */
Test(seal_suite, selection) {
    const uint32_t all[] = {2, 3, 1, 0}, gmac_first[] = {77, 0, 258, 1, 2}, chacha[] = {3, 77};
    unsigned suite;
    cr_assert_eq(select_suite(all, 4, gmac_first, 5, true, &suite), VMS_OK);
    cr_assert_eq(suite, 2);
    cr_assert_eq(select_suite(gmac_first, 5, all, 4, true, &suite), VMS_OK);
    cr_assert_eq(suite, 1);
    cr_assert_eq(select_suite(all, 4, chacha, 2, true, &suite), VMS_OK);
    cr_assert_eq(suite, 3);
    cr_assert_eq(select_suite(gmac_first, 5, chacha, 2, true, &suite), VMS_E_SEAL_NO_SUITE);
    cr_assert_eq(select_suite(all, 0, chacha, 2, true, &suite), VMS_E_SEAL_NO_SUITE);
    cr_assert_eq(select_suite(NULL, 0, NULL, 0, false, &suite), VMS_E_SEAL_NO_SUITE);
}

/* [SEAL-16] NONE counts without a key only, and then nothing else does. */
Test(seal_suite, keyed) {
    const uint32_t all[] = {0, 1, 2, 3}, none[] = {0}, gcm[] = {2};
    unsigned suite;
    cr_assert_eq(select_suite(all, 4, all, 4, true, &suite), VMS_OK);
    cr_assert_eq(suite, 1);
    cr_assert_eq(select_suite(all, 4, all, 4, false, &suite), VMS_OK);
    cr_assert_eq(suite, 0);
    cr_assert_eq(select_suite(all, 4, none, 1, true, &suite), VMS_E_SEAL_NO_SUITE);
    cr_assert_eq(select_suite(all, 4, gcm, 1, false, &suite), VMS_E_SEAL_NO_SUITE);
}

/* [SEAL-1] */
Test(seal_suite, names) {
    static const char *const names[] = {"none", "gmac", "gcm", "chacha20"};
    enum vms_suite suite;
    for (unsigned i = 0; i < 4; i++) {
        cr_assert_str_eq(vms_suite_name(i), names[i]);
        cr_assert(vms_suite_parse(vms_str(names[i]), &suite));
        cr_assert_eq((unsigned)suite, i);
        cr_assert_eq(vms_suite_tag_bytes(i), i ? 16 : 4);
        cr_assert(vms_suite_available(test_crypto(), suite));
        cr_assert_eq(vms_suite_encrypts(suite), i >= 2);
    }
    cr_assert_null(vms_suite_name(4));
    cr_assert_eq(vms_suite_tag_bytes(4), 0);
    cr_assert_not(vms_suite_parse(vms_str("GCM"), &suite));
    cr_assert_not(vms_suite_parse(vms_str(""), &suite));
    cr_assert_not(vms_suite_available(test_crypto(), (enum vms_suite)4));
}

/* [SEAL-17] [SEAL-18] by the header alone. */
Test(seal_suite, check_hello) {
    uint8_t header[VMS_FRAME_HEADER_BYTES];
    struct vms_error err;
    test_header(header, 1, 10, 0);
    cr_assert_eq(vms_seal_check_hello(header, false, &err), VMS_OK);
    cr_assert_eq(vms_seal_check_hello(header, true, &err), VMS_E_SEAL_UNSEALED);
    cr_assert_str_eq(err.clause, "SEAL-17");
    cr_assert_eq(err.class_, VMS_CLASS_PEER);
    header[VMS_HEADER_FLAGS + 1] = VMS_FLAG_HELLO_SEALED;
    cr_assert_eq(vms_seal_check_hello(header, true, &err), VMS_OK);
    cr_assert_eq(vms_seal_check_hello(header, false, &err), VMS_E_SEAL_NO_KEY);
    cr_assert_eq(err.class_, VMS_CLASS_LOCAL);
}
