/* SPDX-License-Identifier: MIT */
#include "host/native_internal.h"
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

/* Headers are never enciphered, so that a file tells its outline to whoever has no key. */
struct scan {
    int fd;
    const struct vms_limits *limits;
    const struct vms_native_scan_ops *ops;
    struct vms_error *err;
    uint64_t offset;
    struct vms_native_file_info info;
    bool hello_seen;
    bool ended;
};

static enum vms_code failed(struct scan *s, enum vms_code code, const char *why) {
    (void)vms_error_at(s->err, code, 0, s->offset, 0);
    return vms_error_set(s->err, code, why ? "%s" : NULL, why);
}

/* n bytes, or fewer at the end of the file: *got. */
static enum vms_code read_bytes(struct scan *s, uint8_t *out, size_t n, size_t *got) {
    for (*got = 0; *got < n;) {
        ssize_t k = read(s->fd, out + *got, n - *got);
        if (k < 0 && errno == EINTR)
            continue;
        if (k < 0)
            return failed(s, VMS_E_IO, strerror(errno));
        if (k == 0)
            break;
        *got += (size_t)k;
    }
    s->offset += *got;
    return VMS_OK;
}

static enum vms_code read_all(struct scan *s, uint8_t *out, size_t n) {
    size_t got = 0;
    if (read_bytes(s, out, n, &got) != VMS_OK)
        return s->err->code;
    return got == n ? VMS_OK : failed(s, VMS_E_TRUNCATED, NULL);
}

static enum vms_code pass_over(struct scan *s, uint64_t n) {
    uint8_t bytes[64 * 1024];
    while (n > 0) {
        size_t part = n < sizeof bytes ? (size_t)n : sizeof bytes;
        if (read_all(s, bytes, part) != VMS_OK)
            return s->err->code;
        n -= part;
    }
    return VMS_OK;
}

/* ---- the hello, by the decoder, which stops where it would need the key ---- */

static struct vms_opener *no_opener(void *ctx, uint16_t channel) {
    (void)ctx, (void)channel;
    return NULL;
}

static enum vms_code on_hello(void *ctx, const struct vms_native_frame *frame,
                              struct vms_opener **opener, struct vms_error *err) {
    struct scan *s = ctx;
    (void)opener;
    s->hello_seen = frame->header.type == VMS_NATIVE_HELLO;
    if (s->hello_seen)
        vms_native_file_info_fill(&s->info, &frame->u.hello);
    return vms_error_set(err, VMS_E_SEAL_NO_KEY, NULL);
}

static enum vms_code parse_hello(struct scan *s, struct vms_room bytes, bool sealed) {
    struct vms_native_config config = vms_native_config_default();
    struct vms_native_event ev;
    config.limits = *s->limits;
    config.any_channel = true;
    config.keys = (struct vms_native_keys){sealed, no_opener, on_hello, s};
    size_t size = vms_native_decoder_size(&config);
    void *mem = malloc(size);
    struct vms_native_decoder *d = mem ? vms_native_decoder_init(mem, size, &config) : NULL;
    enum vms_native_step step = d ? vms_native_decode(d, &bytes, &ev) : VMS_NATIVE_STEP_END;
    enum vms_code code = VMS_OK;
    if (!d)
        code = failed(s, VMS_E_NO_MEMORY, NULL);
    else if (!s->hello_seen) {
        bool error = step == VMS_NATIVE_STEP_ERROR;
        *s->err = error ? *ev.error : *s->err;
        code = error ? s->err->code : failed(s, VMS_E_NATIVE_ORDER, "no hello");
    }
    free(mem);
    return code;
}

static uint32_t be32(const uint8_t *p) {
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static struct vms_native_header read_header(const uint8_t *raw) {
    return (struct vms_native_header){
        .type = be32(raw + 4),
        .flags = (uint16_t)(raw[8] << 8 | raw[9]),
        .channel = (uint16_t)(raw[10] << 8 | raw[11]),
        .epoch = be32(raw + 12),
        .sequence = (uint64_t)be32(raw + 16) << 32 | be32(raw + 20),
        .body_len = be32(raw + 24),
        .bulk_len = be32(raw + 28),
    };
}

/* The tag's length follows from the flag in epoch 0, and from the suite behind it. */
static size_t tag_bytes(const struct scan *s, const struct vms_native_header *h) {
    if (h->epoch == 0)
        return h->flags & VMS_NATIVE_HELLO_SEALED ? VMS_NATIVE_TAG : 4;
    return vms_suite_tag_bytes(s->info.suite);
}

static enum vms_code read_hello(struct scan *s) {
    size_t most = VMS_NATIVE_LABEL + VMS_NATIVE_HEADER + (size_t)s->limits->native_body_bytes;
    size_t len = VMS_NATIVE_LABEL + VMS_NATIVE_HEADER;
    uint8_t *bytes = malloc(most);
    if (!bytes)
        return failed(s, VMS_E_NO_MEMORY, NULL);
    enum vms_code code = read_all(s, bytes, len);
    struct vms_native_header h = read_header(bytes + VMS_NATIVE_LABEL);
    if (code == VMS_OK && h.body_len <= most - len)
        code = read_all(s, bytes + len, h.body_len);
    if (code == VMS_OK) {
        struct vms_room room = {bytes, h.body_len <= most - len ? len + h.body_len : len};
        code = parse_hello(s, room, h.flags & VMS_NATIVE_HELLO_SEALED);
    }
    free(bytes);
    if (code != VMS_OK)
        return code;
    s->ops->hello(s->ops->ctx, &s->info);
    s->ops->header(s->ops->ctx, VMS_NATIVE_LABEL, &h);
    return pass_over(s, tag_bytes(s, &h));
}

static enum vms_code read_frame(struct scan *s, bool *more) {
    static const uint8_t magic[] = {'V', 'M', 'S', 'F'};
    uint8_t raw[VMS_NATIVE_HEADER];
    size_t got = 0;
    uint64_t start = s->offset;
    if (read_bytes(s, raw, sizeof raw, &got) != VMS_OK)
        return s->err->code;
    *more = got > 0;
    if (got == 0)
        return s->ended ? VMS_OK : failed(s, VMS_E_SESSION_NO_END, NULL);
    if (got < sizeof raw)
        return failed(s, VMS_E_TRUNCATED, NULL);
    struct vms_native_header h = read_header(raw);
    if (memcmp(raw, magic, sizeof magic) != 0)
        return failed(s, VMS_E_NATIVE_MAGIC, NULL);
    s->ended |= h.type == VMS_NATIVE_END;
    s->ops->header(s->ops->ctx, start, &h);
    return pass_over(s, (uint64_t)h.body_len + h.bulk_len + tag_bytes(s, &h));
}

enum vms_code vms_native_scan(int fd, const struct vms_limits *limits,
                              const struct vms_native_scan_ops *ops, struct vms_error *err) {
    struct scan s = {.fd = fd, .limits = limits, .ops = ops, .err = err};
    *err = (struct vms_error){0};
    bool more = true;
    enum vms_code code = read_hello(&s);
    while (code == VMS_OK && more)
        code = read_frame(&s, &more);
    return code;
}
