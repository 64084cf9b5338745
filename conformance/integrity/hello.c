/* SPDX-License-Identifier: MIT */
#include "conformance/integrity/hello.h"

#include <stdlib.h>

struct forger {
    struct vms_slice frame;
    struct forged *out;
    size_t count;
};

/* header, the changed body, and the tag as it was */
static void add(struct forger *f, const char *field, const struct vms_native_frame *changed) {
    uint8_t body[4096], header[VMS_NATIVE_HEADER];
    struct vms_native_header h = sealed_header(f->frame.ptr);
    struct forged *out = &f->out[f->count++];
    size_t len;
    if (f->count > FORGED_MAX ||
        vms_native_encode_body(changed, (struct vms_room){body, sizeof body}, &len) != VMS_OK)
        abort();
    memcpy(header, f->frame.ptr, sizeof header);
    h.body_len = (uint32_t)len;
    sealed_put_header(header, &h);
    *out = (struct forged){.field = field};
    text_add(&out->frame, header, sizeof header);
    text_add(&out->frame, body, len);
    text_add(&out->frame, f->frame.ptr + f->frame.len - VMS_NATIVE_TAG, VMS_NATIVE_TAG);
    if (!vms_slice_eq(vms_slice(out->frame.ptr, out->frame.len), f->frame))
        return;
    text_free(&out->frame); /* it had that value */
    f->count--;
}

#define CHANGE(member, value)                                                                      \
    do {                                                                                           \
        struct vms_native_frame one_changed = *frame;                                              \
        one_changed.u.member = (value);                                                            \
        add(f, #member, &one_changed);                                                             \
    } while (0)

static void forge_who(struct forger *f, const struct vms_native_frame *frame) {
    struct vms_native_frame changed = *frame;
    changed.u.hello.who.session[3] ^= 1; /* `who` is the first member of all hello frames */
    add(f, "session", &changed);
    changed = *frame;
    changed.u.hello.who.random[31] ^= 0x80;
    add(f, "random", &changed);
    changed = *frame;
    memset(changed.u.hello.who.random, 0, 32);
    add(f, "random, zeros", &changed);
    CHANGE(hello.who.role, VMS_ROLE_DESTINATION);
    CHANGE(hello.who.secret, VMS_SECRET_EXPORTER);
    CHANGE(hello.who.identity, vms_str("vm-b")); /* in the key file */
    CHANGE(hello.who.identity, vms_str("vm-c")); /* not there */
}

static void forge_suites(struct forger *f, const struct vms_native_frame *frame) {
    static const uint32_t none = VMS_SUITE_NONE, gmac = VMS_SUITE_AES_256_GMAC,
                          gcm = VMS_SUITE_AES_256_GCM, chacha20 = VMS_SUITE_CHACHA20_POLY1305;
    static const uint32_t turned[] = {VMS_SUITE_AES_256_GMAC, VMS_SUITE_CHACHA20_POLY1305,
                                      VMS_SUITE_AES_256_GCM};
    const uint32_t *const single[] = {&none, &gmac, &gcm, &chacha20};
    struct vms_native_frame changed = *frame;
    changed.u.hello.suite_count = 1;
    for (size_t i = 0; i < sizeof single / sizeof *single; i++) {
        changed.u.hello.suites = single[i];
        if (frame->u.hello.suite_count > 1 || frame->u.hello.suites[0] != *single[i])
            add(f, "hello.suites", &changed);
    }
    changed.u.hello.suites = turned;
    for (changed.u.hello.suite_count = 2; changed.u.hello.suite_count <= 3;
         changed.u.hello.suite_count++)
        add(f, "hello.suites, turned", &changed);
}

static void forge_hello(struct forger *f, const struct vms_native_frame *frame) {
    static const struct vms_native_device device = {.id = 1, .kind = 1, .name = {NULL, 0}};
    struct vms_native_frame changed = *frame;
    struct vms_native_device named = device;
    forge_suites(f, frame);
    CHANGE(hello.version, 2);
    changed.u.hello.version = changed.u.hello.version_min = 2;
    add(f, "hello.version_min", &changed);
    CHANGE(hello.form, VMS_FORM_LIVE);
    CHANGE(hello.form, VMS_FORM_FILE);
    CHANGE(hello.form, VMS_FORM_INQUIRY);
    CHANGE(hello.features, frame->u.hello.features ^ VMS_FEATURE_RESUME);
    CHANGE(hello.features, frame->u.hello.features & ~VMS_FEATURE_QEVM);
    CHANGE(hello.features_needed, frame->u.hello.features_needed ^ VMS_FEATURE_QEVM);
    CHANGE(hello.body_bytes, 1024);
    CHANGE(hello.bulk_bytes, 4096);
    CHANGE(hello.channels, frame->u.hello.channels - 1);
    CHANGE(hello.replay_bytes, frame->u.hello.replay_bytes + 4096);
    CHANGE(hello.keepalive_ms, frame->u.hello.keepalive_ms + 1000);
    CHANGE(hello.machine, vms_str("q35"));
    CHANGE(hello.software, vms_str("vmstream 0.0"));
    CHANGE(hello.dialect, vms_str("page-bits=13"));
    named.name = vms_str("gpu");
    changed = *frame;
    changed.u.hello.device_count = 1;
    changed.u.hello.devices = &named;
    add(f, "hello.devices", &changed);
}

/* Called with the frame before its tag is looked at: that is all there is to know. */
static enum vms_code on_hello(void *ctx, const struct vms_native_frame *frame,
                              struct vms_opener **opener, struct vms_error *err) {
    struct forger *f = ctx;
    (void)opener;
    forge_who(f, frame);
    if (frame->header.type == VMS_NATIVE_HELLO) {
        forge_hello(f, frame);
    } else {
        CHANGE(attach.kind, frame->u.attach.kind + 1);
        CHANGE(attach.epoch, frame->u.attach.epoch + 1);
    }
    return vms_error_set(err, VMS_E_SEAL_NO_KEY, NULL);
}

static struct vms_opener *no_opener(void *ctx, uint16_t channel) {
    (void)ctx;
    (void)channel;
    return NULL;
}

size_t forge_hellos(struct vms_slice frame, struct forged out[FORGED_MAX]) {
    struct forger f = {.frame = frame, .out = out};
    struct vms_native_config config = vms_native_config_default();
    struct text input = {NULL, 0, 0};
    struct vms_native_event ev;
    config.any_channel = true;
    config.keys = (struct vms_native_keys){true, no_opener, on_hello, &f};
    size_t len = vms_native_decoder_size(&config);
    void *mem = malloc(len);
    struct vms_native_decoder *d = vms_native_decoder_init(mem, len, &config);
    text_add(&input, vms_native_label, VMS_NATIVE_LABEL);
    text_add(&input, frame.ptr, frame.len);
    struct vms_room room = {(uint8_t *)input.ptr, input.len};
    while (vms_native_decode(d, &room, &ev) < VMS_NATIVE_STEP_END && room.len)
        continue;
    text_free(&input);
    free(mem);
    return f.count;
}
