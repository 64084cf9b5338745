/* SPDX-License-Identifier: MIT */
#include "seal/internal.h"

struct suite_info {
    const char *name;
    size_t tag_bytes;
};

static const struct suite_info SUITES[] = {
#define VMS_SUITE(name, value, tag, text) [value] = {text, tag},
#include <vmstream/registry/seal_suites.def>
#undef VMS_SUITE
};

static const struct suite_info *info(unsigned suite) {
    return suite < sizeof SUITES / sizeof *SUITES ? &SUITES[suite] : NULL;
}

const char *vms_suite_name(unsigned suite) {
    const struct suite_info *i = info(suite);
    return i ? i->name : NULL;
}

size_t vms_suite_tag_bytes(unsigned suite) {
    const struct suite_info *i = info(suite);
    return i ? i->tag_bytes : 0;
}

bool vms_suite_parse(struct vms_slice name, enum vms_suite *out) {
    for (unsigned i = 0; i < sizeof SUITES / sizeof *SUITES; i++) {
        if (!vms_slice_eq(name, vms_str(SUITES[i].name)))
            continue;
        *out = (enum vms_suite)i;
        return true;
    }
    return false;
}

bool vms_suite_encrypts(enum vms_suite suite) {
    return suite == VMS_SUITE_AES_256_GCM || suite == VMS_SUITE_CHACHA20_POLY1305;
}

bool vms_suite_algorithm(unsigned suite, enum vms_aead_algorithm *out) {
    switch (suite) {
    case VMS_SUITE_AES_256_GMAC: *out = VMS_AEAD_AES_256_GMAC; return true;
    case VMS_SUITE_AES_256_GCM: *out = VMS_AEAD_AES_256_GCM; return true;
    case VMS_SUITE_CHACHA20_POLY1305: *out = VMS_AEAD_CHACHA20_POLY1305; return true;
    default: return false;
    }
}

bool vms_suite_available(const struct vms_crypto_ops *crypto, enum vms_suite suite) {
    enum vms_aead_algorithm algorithm;
    if (suite == VMS_SUITE_NONE)
        return true;
    return crypto && vms_suite_algorithm(suite, &algorithm) &&
           crypto->has_aead(crypto->ctx, algorithm);
}

static bool lists(struct vms_suite_list list, uint32_t suite) {
    for (size_t i = 0; i < list.count; i++)
        if (list.suites[i] == suite)
            return true;
    return false;
}

/* [SEAL-16] */
enum vms_code vms_suite_select(struct vms_suite_list source, struct vms_suite_list destination,
                               bool keyed, enum vms_suite *out, struct vms_error *err) {
    for (size_t i = 0; i < source.count; i++) {
        uint32_t suite = source.suites[i];
        if (!info(suite) || (suite != VMS_SUITE_NONE) != keyed || !lists(destination, suite))
            continue;
        *out = (enum vms_suite)suite;
        return VMS_OK;
    }
    return vms_error_set(err, VMS_E_SEAL_NO_SUITE, "%s", keyed ? "with a key" : "without a key");
}

/* [SEAL-17] [SEAL-18] */
enum vms_code vms_seal_check_hello(const uint8_t header[VMS_FRAME_HEADER_BYTES], bool have_key,
                                   struct vms_error *err) {
    bool sealed = vms_be16(header + VMS_HEADER_FLAGS) & VMS_FLAG_HELLO_SEALED;
    if (sealed == have_key)
        return VMS_OK;
    return vms_error_set(err, sealed ? VMS_E_SEAL_NO_KEY : VMS_E_SEAL_UNSEALED, NULL);
}
