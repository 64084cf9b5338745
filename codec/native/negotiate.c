/* SPDX-License-Identifier: MIT */
#include <string.h>
#include <vmstream/session.h>

/* Two hellos, and what they come to: clauses NAT-40 to NAT-48. */

static uint64_t smaller(uint64_t a, uint64_t b) {
    return a < b ? a : b;
}

/* [NAT-40] The highest version that both speak. */
static enum vms_code check_version(const struct vms_native_hello *own,
                                   const struct vms_native_hello *peer, uint32_t *version,
                                   struct vms_error *err) {
    uint32_t v = (uint32_t)smaller(own->version, peer->version);
    if (v < own->version_min || v < peer->version_min)
        return vms_error_set(err, VMS_E_NATIVE_VERSION, "%u to %u and %u to %u", own->version_min,
                             own->version, peer->version_min, peer->version);
    *version = v;
    return VMS_OK;
}

/* [NAT-43] What either end needs is in force. */
static enum vms_code check_features(const struct vms_native_hello *own,
                                    const struct vms_native_hello *peer, uint64_t *features,
                                    struct vms_error *err) {
    *features = own->features & peer->features;
    uint64_t lacking = (own->features_needed | peer->features_needed) & ~*features;
    if (lacking)
        return vms_error_set(err, VMS_E_NATIVE_FEATURE, "0x%llx", (unsigned long long)lacking);
    return VMS_OK;
}

/* [NAT-45] One source, one destination, one session, one secret. */
static enum vms_code check_pair(const struct vms_native_hello *own,
                                const struct vms_native_hello *peer, struct vms_error *err) {
    if (own->who.role == peer->who.role)
        return vms_error_set(err, VMS_E_NATIVE_HELLO, "both ends have the same role");
    if (own->form != peer->form || peer->form == VMS_FORM_FILE)
        return vms_error_set(err, VMS_E_NATIVE_HELLO, "the forms differ");
    if (own->who.secret != peer->who.secret || !vms_slice_eq(own->who.identity, peer->who.identity))
        return vms_error_set(err, VMS_E_NATIVE_HELLO, "the ends name different secrets");
    if (memcmp(own->who.session, peer->who.session, sizeof own->who.session) != 0)
        return vms_error_set(err, VMS_E_SESSION_ID, NULL);
    if (memcmp(own->who.random, peer->who.random, sizeof own->who.random) == 0)
        return vms_error_set(err, VMS_E_NATIVE_HELLO, "our own random comes back");
    return VMS_OK;
}

static enum vms_code select_suite(const struct vms_native_hello *own,
                                  const struct vms_native_hello *peer, bool keyed,
                                  struct vms_agreement *out, struct vms_error *err) {
    const struct vms_native_hello *source = own->who.role == VMS_ROLE_SOURCE ? own : peer;
    const struct vms_native_hello *other = source == own ? peer : own;
    return vms_suite_select((struct vms_suite_list){source->suites, source->suite_count},
                            (struct vms_suite_list){other->suites, other->suite_count}, keyed,
                            &out->suite, err);
}

/* [NAT-48] An end sends nothing that the other does not take. */
static void agree_limits(const struct vms_native_hello *peer, const struct vms_limits *limits,
                         struct vms_agreement *out) {
    struct vms_limits *l = &out->limits;
    *l = *limits;
    l->native_body_bytes = smaller(l->native_body_bytes, peer->body_bytes);
    l->native_bulk_bytes = smaller(l->native_bulk_bytes, peer->bulk_bytes);
    l->native_channels = smaller(l->native_channels, peer->channels);
    out->keepalive_ms = peer->keepalive_ms;
    out->peer_replay_bytes = peer->replay_bytes;
}

/* [NAT-46] The reader of a file knows what it says or refuses it; the writer asks nobody. */
static enum vms_code agree_file(const struct vms_native_hello *hello, bool keyed, bool reading,
                                const struct vms_limits *limits, struct vms_agreement *out,
                                struct vms_error *err) {
    uint64_t known = 0;
#define VMS_NATIVE_FEATURE(name, bit, text) known |= UINT64_C(1) << (bit);
#include <vmstream/registry/native_features.def>
#undef VMS_NATIVE_FEATURE
    uint64_t in_force = (hello->features | VMS_FEATURE_MUX) & known;
    uint64_t lacking = reading ? hello->features_needed & ~in_force : 0;
    struct vms_suite_list suites = {hello->suites, hello->suite_count};
    if (hello->version_min > VMS_NATIVE_VERSION || hello->version < VMS_NATIVE_VERSION_MIN)
        return vms_error_set(err, VMS_E_NATIVE_VERSION, "%u to %u", hello->version_min,
                             hello->version);
    if (hello->form != VMS_FORM_FILE || hello->suite_count != 1)
        return vms_error_set(err, VMS_E_NATIVE_HELLO, "not the hello of a file");
    if (lacking)
        return vms_error_set(err, VMS_E_NATIVE_FEATURE, "0x%llx", (unsigned long long)lacking);
    out->version = (uint32_t)smaller(hello->version, VMS_NATIVE_VERSION);
    out->features = hello->features;
    out->limits = *limits;
    return vms_suite_select(suites, suites, keyed, &out->suite, err);
}

enum vms_code vms_session_negotiate(const struct vms_native_hello *own,
                                    const struct vms_native_hello *peer, bool keyed,
                                    const struct vms_limits *limits, struct vms_agreement *out,
                                    struct vms_error *err) {
    struct vms_agreement a = {0};
    enum vms_code code;
    if (!own && !peer)
        return vms_error_set(err, VMS_E_MISUSE, "no hello");
    if (!own || !peer) {
        code = agree_file(own ? own : peer, keyed, !own, limits, &a, err);
    } else {
        code = check_version(own, peer, &a.version, err);
        if (code == VMS_OK)
            code = check_pair(own, peer, err);
        if (code == VMS_OK)
            code = check_features(own, peer, &a.features, err);
        if (code == VMS_OK)
            code = select_suite(own, peer, keyed, &a, err);
        if (code == VMS_OK)
            agree_limits(peer, limits, &a);
    }
    if (code == VMS_OK)
        *out = a;
    return code;
}
