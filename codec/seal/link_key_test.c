/* SPDX-License-Identifier: MIT */
#include "seal/link_test_util.h"

/* Which key a link takes, and how long it lasts. */

TestSuite(seal_key, .init = link_setup, .fini = link_teardown);

/* [SEAL-6] the first sequence under a key is the session's choice. */
Test(seal_key, first_sequence) {
    const uint64_t first = UINT64_C(0x100000000);
    cr_assert_eq(vms_sealer_rekey(&s, VMS_SUITE_AES_256_GCM, test_master, 4, first, &err), VMS_OK);
    cr_assert_eq(vms_opener_rekey(&o, VMS_SUITE_AES_256_GCM, test_master, 4, first, &err), VMS_OK);
    for (unsigned i = 0; i < 3; i++) {
        cr_assert_eq(seal(64), VMS_OK);
        cr_assert_eq(vms_be64(f.header + VMS_HEADER_SEQUENCE), first + i);
        cr_assert_eq(test_open(&o, &f, &err), VMS_OK);
    }
    cr_assert_eq(vms_sealer_rekey(&s, VMS_SUITE_AES_256_GCM, test_master, 5, UINT64_MAX, &err),
                 VMS_E_MISUSE);
}

/* [SEAL-10] epochs only go up, over reconnections too. */
Test(seal_key, epochs_go_up) {
    uint8_t random[VMS_SEAL_RANDOM_BYTES];
    rekey(VMS_SUITE_AES_256_GMAC, 5);
    for (uint32_t epoch = 0; epoch <= 5; epoch++)
        cr_assert_eq(vms_sealer_rekey(&s, VMS_SUITE_AES_256_GMAC, test_master, epoch, 0, &err),
                     VMS_E_MISUSE);
    cr_assert_eq(vms_sealer_hello(&s, test_secret_slice(), random, &err), VMS_OK);
    cr_assert_eq(vms_sealer_rekey(&s, VMS_SUITE_AES_256_GMAC, test_master, 5, 0, &err),
                 VMS_E_MISUSE);
    cr_assert_eq(vms_sealer_rekey(&s, VMS_SUITE_AES_256_GMAC, test_master, 6, 0, &err), VMS_OK);
    cr_assert_eq(vms_sealer_rekey(&s, VMS_SUITE_AES_256_GMAC, test_master, UINT32_MAX, 0, &err),
                 VMS_OK);
}

/* [SEAL-14] another direction or master secret is another key. */
Test(seal_key, keys_differ) {
    uint8_t other[VMS_MASTER_BYTES] = "another master secret, 32 octets";
    struct {
        enum vms_direction direction;
        const uint8_t *master;
    } cases[] = {{VMS_DESTINATION_TO_SOURCE, test_master}, {VMS_SOURCE_TO_DESTINATION, other}};
    for (unsigned i = 0; i < 2; i++) {
        fresh(VMS_SUITE_AES_256_GCM);
        cr_assert_eq(seal(100), VMS_OK);
        vms_opener_free(&o);
        vms_opener_init(&o, crypto, cases[i].direction, 7, &limits);
        cr_assert_eq(vms_opener_rekey(&o, VMS_SUITE_AES_256_GCM, cases[i].master, 1, 0, &err),
                     VMS_OK);
        cr_assert_eq(test_open(&o, &f, &err), VMS_E_SEAL_TAG);
    }
}

static void set_type(uint32_t type) {
    struct vms_writer w = vms_writer((struct vms_room){f.header + VMS_HEADER_TYPE, 4});
    vms_write_u32(&w, type);
}

/* [SEAL-9] frames: the last one of a key is the REKEY's. */
Test(seal_key, frame_limit) {
    limits.seal_key_frames = 4;
    fresh(VMS_SUITE_AES_256_GMAC);
    for (unsigned i = 0; i < 3; i++) {
        cr_assert_not(vms_sealer_must_rekey(&s, 10));
        cr_assert_eq(seal(10), VMS_OK);
        cr_assert_eq(test_open(&o, &f, &err), VMS_OK);
    }
    cr_assert(vms_sealer_must_rekey(&s, 0));
    cr_assert_eq(seal(10), VMS_E_SEAL_REKEY_DUE);
    set_type(VMS_TYPE_REKEY);
    cr_assert_eq(test_seal(&s, &f, &err), VMS_OK, "nothing had changed");
    cr_assert_eq(test_open(&o, &f, &err), VMS_OK);
    test_frame_make(&f, VMS_TYPE_REKEY, 10, 0);
    cr_assert_eq(test_seal(&s, &f, &err), VMS_E_SEAL_REKEY_DUE);
    rekey(VMS_SUITE_AES_256_GMAC, 2);
    cr_assert_eq(seal(10), VMS_OK);
    cr_assert_eq(test_open(&o, &f, &err), VMS_OK);
}

/* [SEAL-9] bytes: at the limit, and one past it; the last 4096 are the REKEY's. */
Test(seal_key, byte_limit) {
    const uint64_t room = 5 * (32 + 1000);
    limits.seal_key_bytes = room + VMS_SEAL_REKEY_RESERVE;
    fresh(VMS_SUITE_AES_256_GCM);
    for (unsigned i = 0; i < 4; i++)
        cr_assert_eq(seal(1000), VMS_OK);
    cr_assert_not(vms_sealer_must_rekey(&s, 1000));
    cr_assert(vms_sealer_must_rekey(&s, 1001));
    cr_assert(vms_sealer_must_rekey(&s, UINT64_MAX));
    cr_assert_eq(seal(1001), VMS_E_SEAL_REKEY_DUE);
    cr_assert_str_eq(err.clause, "SEAL-9");
    cr_assert_eq(seal(1000), VMS_OK);
    cr_assert_eq(seal(0), VMS_E_SEAL_REKEY_DUE);
    test_frame_make(&f, VMS_TYPE_REKEY, VMS_SEAL_REKEY_RESERVE - 32 + 1, 0);
    cr_assert_eq(test_seal(&s, &f, &err), VMS_E_SEAL_REKEY_DUE);
    test_frame_make(&f, VMS_TYPE_REKEY, VMS_SEAL_REKEY_RESERVE - 32, 0);
    cr_assert_eq(test_seal(&s, &f, &err), VMS_OK);
    rekey(VMS_SUITE_AES_256_GCM, 2);
    cr_assert_not(vms_sealer_must_rekey(&s, room - 32));
    cr_assert(vms_sealer_must_rekey(&s, room - 31));
}

/* [SEAL-12] a peer that seals on. */
Test(seal_key, opener_limits) {
    fresh(VMS_SUITE_AES_256_GMAC);
    o.link.max_frames = 2;
    for (unsigned i = 0; i < 3; i++) {
        cr_assert_eq(seal(10), VMS_OK);
        cr_assert_eq(test_open(&o, &f, &err), i < 2 ? VMS_OK : VMS_E_SEAL_KEY_LIMIT);
    }
    fresh(VMS_SUITE_AES_256_GMAC);
    o.link.max_bytes = 2 * 42;
    for (unsigned i = 0; i < 2; i++) {
        cr_assert_eq(seal(10 + i), VMS_OK);
        cr_assert_eq(test_open(&o, &f, &err), i < 1 ? VMS_OK : VMS_E_SEAL_KEY_LIMIT);
    }
}

/* [SEAL-9] limits can be set lower, never higher; suite none has none. */
Test(seal_key, limits_have_a_ceiling) {
    limits.seal_key_bytes = limits.seal_key_frames = UINT64_MAX;
    fresh(VMS_SUITE_AES_256_GMAC);
    cr_assert_eq(s.link.max_bytes, UINT64_C(64) << 30);
    cr_assert_eq(s.link.max_frames, 1 << 24);
    limits.seal_key_bytes = limits.seal_key_frames = 0;
    fresh(VMS_SUITE_AES_256_GMAC);
    cr_assert(vms_sealer_must_rekey(&s, 0));
    fresh(VMS_SUITE_NONE);
    cr_assert_not(vms_sealer_must_rekey(&s, 1 << 20));
    cr_assert_eq(seal(1000), VMS_OK);
}

/* [SEAL-25] a hello's key seals one frame. */
Test(seal_key, one_hello) {
    uint8_t random[VMS_SEAL_RANDOM_BYTES];
    cr_assert_eq(vms_sealer_hello(&s, test_secret_slice(), random, &err), VMS_OK);
    cr_assert_eq(vms_seal_tag_bytes(&s.link), 16);
    cr_assert_eq(seal(100), VMS_OK);
    cr_assert_eq(seal(100), VMS_E_SEAL_REKEY_DUE);
    cr_assert_eq(vms_sealer_hello_plain(&s, &err), VMS_E_MISUSE, "back to no key");
    drop();
    make_pair();
    cr_assert_eq(vms_sealer_hello_plain(&s, &err), VMS_OK);
    cr_assert_eq(vms_seal_tag_bytes(&s.link), 4);
    cr_assert_eq(seal(100), VMS_OK);
    cr_assert_eq(seal(100), VMS_E_SEAL_REKEY_DUE);
}

/* [SEAL-17] [SEAL-18] also when the caller has not asked beforehand. */
Test(seal_key, hello_policy) {
    uint8_t random[VMS_SEAL_RANDOM_BYTES];
    cr_assert_eq(vms_sealer_hello_plain(&s, &err), VMS_OK);
    cr_assert_eq(seal(100), VMS_OK);
    cr_assert_eq(vms_opener_hello(&o, test_secret_slice(), random, &err), VMS_OK);
    cr_assert_eq(test_open(&o, &f, &err), VMS_E_SEAL_UNSEALED);
    drop();
    make_pair();
    cr_assert_eq(vms_sealer_hello(&s, test_secret_slice(), random, &err), VMS_OK);
    cr_assert_eq(seal(100), VMS_OK);
    cr_assert_eq(vms_opener_hello_plain(&o, &err), VMS_OK);
    cr_assert_eq(test_open(&o, &f, &err), VMS_E_SEAL_NO_KEY);
}

/* [SEAL-15] every hello has a random of its own; another secret does not open it. */
Test(seal_key, hello_random) {
    uint8_t one[VMS_SEAL_RANDOM_BYTES], two[VMS_SEAL_RANDOM_BYTES];
    cr_assert_eq(vms_sealer_hello(&s, test_secret_slice(), one, &err), VMS_OK);
    cr_assert_eq(vms_sealer_hello(&s, test_secret_slice(), two, &err), VMS_OK);
    cr_assert_arr_neq(one, two, sizeof one);
    cr_assert_eq(seal(100), VMS_OK);
    cr_assert_eq(vms_opener_hello(&o, vms_str("another secret of enough octets"), two, &err),
                 VMS_OK);
    cr_assert_eq(test_open(&o, &f, &err), VMS_E_SEAL_TAG);
    cr_assert_eq(vms_opener_hello(&o, test_secret_slice(), two, &err), VMS_OK, "a new connection");
    cr_assert_eq(test_open(&o, &f, &err), VMS_OK);
}

/* [SEAL-10] never back to no key; suite and master belong together. [SEAL-11] short secrets. */
Test(seal_key, no_downgrade) {
    uint8_t random[VMS_SEAL_RANDOM_BYTES];
    cr_assert_eq(vms_sealer_rekey(&s, VMS_SUITE_NONE, test_master, 1, 0, &err), VMS_E_MISUSE);
    cr_assert_eq(vms_sealer_rekey(&s, VMS_SUITE_AES_256_GCM, NULL, 1, 0, &err), VMS_E_MISUSE);
    cr_assert_eq(vms_sealer_hello(&s, vms_str("fifteen octets."), random, &err), VMS_E_MISUSE);
    cr_assert_eq(vms_sealer_hello(&s, vms_str("sixteen octets.."), random, &err), VMS_OK);
    cr_assert_eq(vms_sealer_rekey(&s, VMS_SUITE_NONE, NULL, 1, 0, &err), VMS_E_MISUSE);
    rekey(VMS_SUITE_AES_256_GCM, 1);
    cr_assert_eq(vms_sealer_rekey(&s, VMS_SUITE_NONE, NULL, 2, 0, &err), VMS_E_MISUSE);
    cr_assert_eq(vms_opener_hello_plain(&o, &err), VMS_E_MISUSE);
}
