/* SPDX-License-Identifier: MIT */
#include "reference-dst/settings.h"

#include "core/reader.h"

#include <ctype.h>
#include <string.h>

/* ---- the command line ---- */

bool dst_settings_capabilities(struct dst_settings *s, const char *text) {
    s->capabilities = true;
    if (strcmp(text, "none") == 0)
        return true;
    for (const char *at = text;; at++) {
        size_t n = strcspn(at, ",");
        bool shared = n == 15 && strncmp(at, "x-ignore-shared", n) == 0;
        bool mapped = n == 10 && strncmp(at, "mapped-ram", n) == 0;
        if (!shared && !mapped)
            return false;
        s->ignore_shared |= shared;
        s->mapped_ram |= mapped;
        at += n;
        if (!*at)
            return true;
    }
}

static unsigned nibble(char c) {
    return (unsigned)(isdigit((unsigned char)c) ? c - '0' : (c | 0x20) - 'a' + 10);
}

bool dst_settings_uuid(struct dst_settings *s, const char *text) {
    unsigned digits = 0;
    memset(s->uuid, 0, sizeof s->uuid);
    for (; *text; text++) {
        if (*text == '-')
            continue;
        if (!isxdigit((unsigned char)*text) || digits == 32)
            return false;
        s->uuid[digits / 2] = (uint8_t)((unsigned)s->uuid[digits / 2] << 4 | nibble(*text));
        digits++;
    }
    s->has_uuid = digits == 32;
    return s->has_uuid;
}

/* ---- what a stream says ---- */

/* The capabilities of QEMU 7.2 to 11.1; only the first two are validated. */
static const char *const KNOWN[] = {
    "x-ignore-shared",
    "mapped-ram",
    "xbzrle",
    "rdma-pin-all",
    "auto-converge",
    "zero-blocks",
    "compress",
    "events",
    "postcopy-ram",
    "x-colo",
    "release-ram",
    "block",
    "return-path",
    "pause-before-switchover",
    "multifd",
    "dirty-bitmaps",
    "postcopy-blocktime",
    "late-block-activate",
    "validate-uuid",
    "background-snapshot",
    "zero-copy-send",
    "postcopy-preempt",
    "switchover-ack",
    "dirty-limit",
};

enum {
    KNOWN_COUNT = sizeof KNOWN / sizeof *KNOWN,
};

static unsigned known(struct vms_slice name) {
    unsigned i = 0;
    while (i < KNOWN_COUNT && !vms_slice_eq(name, vms_str(KNOWN[i])))
        i++;
    return i;
}

static const struct vms_config_subsection *find(const struct vms_rec_configuration *config,
                                                enum vms_config_kind kind) {
    for (unsigned i = 0; i < config->subsection_count; i++)
        if (config->subsections[i].kind == kind)
            return &config->subsections[i];
    return NULL;
}

/* Bit n: KNOWN[n] is listed. The decoder has checked the list's form (CFG-6). */
static enum vms_code listed(const struct vms_rec_configuration *config, uint32_t *set,
                            struct vms_error *err) {
    const struct vms_config_subsection *s = find(config, VMS_CONFIG_CAPABILITIES);
    *set = 0;
    if (!s)
        return VMS_OK;
    for (size_t at = 4; at < s->body.len; at += 1 + (size_t)s->body.ptr[at]) {
        struct vms_slice name = vms_slice(s->body.ptr + at + 1, s->body.ptr[at]);
        unsigned i = known(name);
        if (i == KNOWN_COUNT)
            return vms_error_set(err, VMS_E_CONFIG_CAPABILITY, "%.*s is not known here",
                                 (int)name.len, (const char *)name.ptr);
        *set |= UINT32_C(1) << i;
    }
    return VMS_OK;
}

/* [CFG-7] */
static enum vms_code check_capabilities(const struct dst_settings *s,
                                        const struct vms_rec_configuration *config,
                                        struct vms_error *err) {
    uint32_t set;
    if (listed(config, &set, err) != VMS_OK || !s->capabilities)
        return err->code;
    const bool wanted[] = {s->ignore_shared, s->mapped_ram};
    for (unsigned i = 0; i < 2; i++)
        if (wanted[i] != (set >> i & 1))
            return vms_error_set(err, VMS_E_CONFIG_CAPABILITY, "%s is %s here, and not there",
                                 KNOWN[i], wanted[i] ? "on" : "off");
    return VMS_OK;
}

/* [CFG-10] */
static enum vms_code check_uuid(const struct dst_settings *s,
                                const struct vms_rec_configuration *config, struct vms_error *err) {
    const struct vms_config_subsection *sub = find(config, VMS_CONFIG_UUID);
    if (!s->has_uuid || !sub || vms_slice_eq(sub->body, vms_slice(s->uuid, sizeof s->uuid)))
        return VMS_OK;
    return vms_error_set(err, VMS_E_CONFIG_UUID, "the stream is another VM's");
}

enum vms_code dst_settings_check(const struct dst_settings *s,
                                 const struct vms_rec_configuration *config,
                                 struct vms_error *err) {
    struct vms_slice name = config->machine;
    err->code = VMS_OK;
    if (s->machine && !vms_slice_eq(name, vms_str(s->machine))) /* [CFG-8] */
        return vms_error_set(err, VMS_E_CONFIG_MACHINE, "%.*s, not %s", (int)name.len,
                             (const char *)name.ptr, s->machine);
    if (check_capabilities(s, config, err) != VMS_OK)
        return err->code;
    return check_uuid(s, config, err);
}

enum vms_code dst_settings_hello(const struct dst_settings *s,
                                 const struct vms_rec_multifd_hello *hello, struct vms_error *err) {
    if (memcmp(hello->uuid, s->uuid, sizeof s->uuid) == 0)
        return VMS_OK;
    return vms_error_set(err, VMS_E_MULTIFD_UUID, "channel %u", hello->channel_id);
}
