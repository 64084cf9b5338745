/* SPDX-License-Identifier: MIT */
#include "mutate.h"

#include "fuzz/qevm.h"

#include <stdlib.h>
#include <string.h>
#include <vmstream/native.h>

/* Where records begin: the decoder says so, up to the first error; the rest is one span. */

struct splitter {
    struct fuzz_span *spans;
    size_t count;
};

static void begin(struct splitter *s, size_t at, uint32_t type, uint64_t bulk, bool native) {
    struct fuzz_span *last = s->count ? &s->spans[s->count - 1] : NULL;
    if (s->count == FUZZ_SPANS || (last && at <= last->at))
        return;
    s->spans[s->count++] =
        (struct fuzz_span){.at = (uint32_t)at,
                           .type = type,
                           .native = native,
                           .head = bulk > UINT32_MAX ? UINT32_MAX : (uint32_t)bulk};
}

/* `head` holds the bulk's length until lengths are known. */
static void close_spans(struct splitter *s, size_t size) {
    for (size_t i = 0; i < s->count; i++) {
        struct fuzz_span *p = &s->spans[i];
        p->len = (uint32_t)(i + 1 < s->count ? s->spans[i + 1].at : size) - p->at;
        p->head = p->head < p->len ? p->len - p->head : p->type == VMS_R_DEVICE_TAIL ? 1 : p->len;
    }
}

/* ---- QEVM ---- */

static struct vms_qevm_decoder *decoder_for(const struct fuzz_shape *shape, struct vms_slice buf) {
    static void *memory;
    static size_t len;
    struct vms_qevm_config c = vms_qevm_config_default();
    c.kind = shape->kind;
    c.limits = fuzz_limits();
    c.tail_mode = VMS_TAIL_HOLD;
    if (shape->dialect_at < shape->options && buf.len > shape->dialect_at)
        c.dialect = fuzz_dialect(buf.ptr[shape->dialect_at]);
    c.dialect.mapped_ram = shape->mapped ? VMS_ON : VMS_AUTO;
    if (!memory) {
        len = vms_qevm_decoder_size(&c);
        memory = malloc(len);
    }
    return memory ? vms_qevm_decoder_init(memory, len, &c) : NULL;
}

static void split_qevm(const struct fuzz_shape *shape, struct vms_slice buf, struct splitter *s) {
    struct vms_qevm_decoder *d = decoder_for(shape, buf);
    struct vms_slice input = vms_slice_tail(buf, shape->options);
    struct vms_event ev;
    enum vms_step step = d ? VMS_STEP_NEED : VMS_STEP_END;
    for (bool last = false; step != VMS_STEP_END && step != VMS_STEP_ERROR;) {
        step = last ? vms_qevm_finish(d, &ev) : vms_qevm_decode(d, &input, &ev);
        last |= step == VMS_STEP_NEED;
        if (step == VMS_STEP_RECORD)
            begin(s, shape->options + ev.record.offset, ev.record.type, ev.record.bulk_len, false);
    }
    if (d)
        begin(s, shape->options + vms_qevm_offset(d), 0, 0, false);
}

/* ---- native ---- */

static uint32_t get32(const uint8_t *p) {
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static size_t tag_bytes(struct vms_slice rest, uint64_t len) {
    static const uint8_t magic[4] = {'V', 'M', 'S', 'F'};
    if (len + 4 <= rest.len - 4 && memcmp(rest.ptr + len + 4, magic, 4) == 0)
        return 4;
    if (len + 20 <= rest.len && memcmp(rest.ptr + len + 16, magic, 4) == 0)
        return 16;
    return len + 16 == rest.len ? 16 : 4;
}

static void split_native(const struct fuzz_shape *shape, struct vms_slice buf, struct splitter *s) {
    size_t at = shape->options + VMS_NATIVE_LABEL;
    begin(s, shape->options, 0, 0, true);
    while (buf.len >= at && buf.len - at >= VMS_NATIVE_HEADER + 4) {
        struct vms_slice rest = vms_slice_tail(buf, at);
        uint64_t bulk = get32(rest.ptr + 28);
        uint64_t len = VMS_NATIVE_HEADER + (uint64_t)get32(rest.ptr + 24) + bulk;
        if (len + 4 > rest.len)
            break;
        size_t tag = tag_bytes(rest, len);
        begin(s, at, get32(rest.ptr + 4), bulk + tag, true);
        at += (size_t)len + tag;
    }
    if (at < buf.len)
        begin(s, at, 0, 0, true);
}

/* ---- all ---- */

static enum fuzz_wire wire_of(const struct fuzz_shape *shape, struct vms_slice buf) {
    static const uint8_t qevm[4] = {'Q', 'E', 'V', 'M'};
    struct vms_slice rest = vms_slice_tail(buf, shape->options);
    if (shape->wire != FUZZ_WIRE_GUESS)
        return shape->wire;
    if (rest.len >= sizeof qevm && memcmp(rest.ptr, qevm, sizeof qevm) == 0)
        return FUZZ_WIRE_QEVM;
    if (rest.len >= VMS_NATIVE_LABEL && memcmp(rest.ptr, vms_native_label, VMS_NATIVE_LABEL) == 0)
        return FUZZ_WIRE_NATIVE;
    return FUZZ_WIRE_OCTETS;
}

size_t fuzz_split(const struct fuzz_shape *shape, struct vms_slice buf,
                  struct fuzz_span spans[FUZZ_SPANS]) {
    struct splitter s = {spans, 0};
    if (buf.len <= shape->options)
        return 0;
    switch (wire_of(shape, buf)) {
    case FUZZ_WIRE_QEVM: split_qevm(shape, buf, &s); break;
    case FUZZ_WIRE_NATIVE: split_native(shape, buf, &s); break;
    case FUZZ_WIRE_ACTIONS:
        for (size_t at = shape->options; at < buf.len; at += shape->action)
            begin(&s, at, 0, 0, false);
        break;
    default: break;
    }
    while (s.count && spans[s.count - 1].at >= buf.len)
        s.count--;
    if (!s.count)
        begin(&s, shape->options, 0, 0, false);
    spans[0].head = spans[0].at == shape->options ? spans[0].head : 0;
    spans[0].at = shape->options;
    close_spans(&s, buf.len);
    return s.count;
}
