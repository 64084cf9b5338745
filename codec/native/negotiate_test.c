/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <string.h>
#include <vmstream/session.h>

/* ---- negotiation ---- */

static const uint32_t NONE[] = {VMS_SUITE_NONE};
static const uint32_t KEYED[] = {VMS_SUITE_AES_256_GCM, VMS_SUITE_AES_256_GMAC};
static const uint32_t OTHERS[] = {99, VMS_SUITE_AES_256_GMAC};

static struct vms_native_hello hello_of(enum vms_native_role role) {
    struct vms_native_hello h = {.version = 1, .version_min = 1, .suite_count = 1, .suites = NONE};
    h.who.role = (uint8_t)role;
    h.who.random[0] = (uint8_t)(1 + role);
    h.features = VMS_FEATURE_RESUME | VMS_FEATURE_MUX;
    h.body_bytes = 4096;
    h.bulk_bytes = 1 << 30;
    h.channels = 8;
    return h;
}

static enum vms_code agree(const struct vms_native_hello *a, const struct vms_native_hello *b,
                           bool keyed, struct vms_agreement *out) {
    struct vms_limits limits = vms_limits_default();
    struct vms_error err;
    return vms_session_negotiate(a, b, keyed, &limits, out, &err);
}

/* [NAT-40], [NAT-41] */
Test(negotiate, versions) {
    static const struct {
        uint32_t max, min, peer_max, peer_min, version;
    } cases[] = {
        {1, 1, 1, 1, 1}, {3, 2, 2, 1, 2}, {3, 2, 5, 3, 3}, {3, 2, 1, 1, 0}, {1, 1, 3, 2, 0}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct vms_native_hello a = hello_of(VMS_ROLE_SOURCE), b = hello_of(VMS_ROLE_DESTINATION);
        struct vms_agreement out = {0};
        a.version = cases[i].max, a.version_min = cases[i].min;
        b.version = cases[i].peer_max, b.version_min = cases[i].peer_min;
        cr_assert_eq(agree(&a, &b, false, &out), cases[i].version ? VMS_OK : VMS_E_NATIVE_VERSION,
                     "case %zu", i);
        cr_assert_eq(out.version, cases[i].version);
    }
}

/* [NAT-42], [NAT-43], [NAT-48] */
Test(negotiate, features_and_limits) {
    struct vms_native_hello a = hello_of(VMS_ROLE_SOURCE), b = hello_of(VMS_ROLE_DESTINATION);
    struct vms_agreement out;
    b.features = VMS_FEATURE_RESUME | UINT64_C(1) << 40;
    cr_assert_eq(agree(&a, &b, false, &out), VMS_OK);
    cr_assert_eq(out.features, VMS_FEATURE_RESUME);
    cr_assert_eq(out.limits.native_body_bytes, 4096);
    cr_assert_eq(out.limits.native_bulk_bytes, 4194304);
    cr_assert_eq(out.limits.native_channels, 8);
    a.features_needed = VMS_FEATURE_MUX;
    cr_assert_eq(agree(&a, &b, false, &out), VMS_E_NATIVE_FEATURE);
    cr_assert_eq(agree(&b, &a, false, &out), VMS_E_NATIVE_FEATURE);
}

/* [NAT-44] */
Test(negotiate, suites) {
    struct vms_native_hello a = hello_of(VMS_ROLE_SOURCE), b = hello_of(VMS_ROLE_DESTINATION);
    struct vms_agreement out;
    a.suites = KEYED, a.suite_count = 2;
    b.suites = OTHERS, b.suite_count = 2;
    cr_assert_eq(agree(&a, &b, true, &out), VMS_OK);
    cr_assert_eq(out.suite, VMS_SUITE_AES_256_GMAC);
    cr_assert_eq(agree(&b, &a, true, &out), VMS_OK);
    cr_assert_eq(out.suite, VMS_SUITE_AES_256_GMAC);
    b.suites = NONE, b.suite_count = 1;
    cr_assert_eq(agree(&a, &b, true, &out), VMS_E_SEAL_NO_SUITE);
}

/* [NAT-45] */
Test(negotiate, pairs) {
    struct vms_agreement out;
    for (int i = 0; i < 6; i++) {
        struct vms_native_hello a = hello_of(VMS_ROLE_SOURCE), b = hello_of(VMS_ROLE_DESTINATION);
        switch (i) {
        case 0: b.who.role = VMS_ROLE_SOURCE; break;
        case 1: b.form = VMS_FORM_INQUIRY; break;
        case 2: b.who.secret = VMS_SECRET_PSK; break;
        case 3: b.who.identity = vms_str("x"); break;
        case 4: b.who.random[0] = 1; break;
        default: b.who.session[15] = 1; break;
        }
        cr_assert_eq(agree(&a, &b, false, &out), i < 5 ? VMS_E_NATIVE_HELLO : VMS_E_SESSION_ID);
    }
}

/* [NAT-46] */
Test(negotiate, files) {
    struct vms_native_hello a = hello_of(VMS_ROLE_SOURCE), live = hello_of(VMS_ROLE_DESTINATION);
    struct vms_agreement out;
    cr_assert_eq(agree(NULL, &a, false, &out), VMS_E_NATIVE_HELLO);
    a.form = VMS_FORM_FILE;
    cr_assert_eq(agree(&live, &a, false, &out), VMS_E_NATIVE_HELLO);
    cr_assert_eq(agree(NULL, &a, false, &out), VMS_OK);
    cr_assert_eq(out.features, a.features);
    a.features_needed = UINT64_C(1) << 40;
    cr_assert_eq(agree(NULL, &a, false, &out), VMS_E_NATIVE_FEATURE); /* [NAT-43] */
    a.features = VMS_FEATURE_ZSTD;
    a.features_needed = VMS_FEATURE_MUX | VMS_FEATURE_ZSTD;
    cr_assert_eq(agree(NULL, &a, false, &out), VMS_OK);
    a.features_needed = VMS_FEATURE_DIGEST; /* known, and not offered */
    cr_assert_eq(agree(NULL, &a, false, &out), VMS_E_NATIVE_FEATURE);
    a.features_needed = 0;
    a.version = a.version_min = 2;
    cr_assert_eq(agree(NULL, &a, false, &out), VMS_E_NATIVE_VERSION);
    a.version_min = 1;
    cr_assert_eq(agree(NULL, &a, false, &out), VMS_OK);
    cr_assert_eq(agree(NULL, NULL, false, &out), VMS_E_MISUSE);
}
