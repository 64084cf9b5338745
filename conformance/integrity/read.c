/* SPDX-License-Identifier: MIT */
#include "conformance/integrity/sealed.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

/* A reader of a file that lies in memory: it is given as what was read already. */
static struct vms_native_reader *open_reader(struct vms_slice file, const char *keys, int *fd) {
    struct vms_native_reader_config config = {.fd = open("/dev/null", O_RDONLY | O_CLOEXEC),
                                              .begin = file,
                                              .limits = sealed_limits(),
                                              .psk = vms_str(keys)};
    struct vms_error err;
    struct vms_native_reader *r = vms_native_reader_new(&config, &err);
    if (!r)
        abort();
    *fd = config.fd;
    return r;
}

static uint64_t digest(const struct vms_native_file_event *ev) {
    const struct vms_native_header *h = &ev->frame->header;
    uint64_t seed = h->sequence << 20 ^ (uint64_t)h->type << 8 ^ h->channel;
    return vms_xxh64(ev->bulk, seed);
}

/* The original's frame of that place. The first reading of the original fills in the digests. */
static bool is_original(const struct sealed *s, const struct vms_native_file_event *ev) {
    const struct vms_native_header *h = &ev->frame->header;
    for (size_t i = 0; i < s->count; i++) {
        const struct vms_native_header *o = &s->frames[i].header;
        if (o->epoch == 0 || o->channel != h->channel || o->sequence != h->sequence)
            continue;
        if (s->digests[i] == 0)
            s->digests[i] = digest(ev);
        return s->digests[i] == digest(ev);
    }
    return false;
}

struct verdict sealed_read(struct vms_slice file, const char *keys, const struct sealed *original) {
    struct verdict v = {.ended = false};
    struct vms_native_file_event ev;
    enum vms_native_file_step s = VMS_NATIVE_FILE_CHANNEL;
    int fd;
    struct vms_native_reader *r = open_reader(file, keys, &fd);
    while (s == VMS_NATIVE_FILE_CHANNEL || s == VMS_NATIVE_FILE_FRAME) {
        s = vms_native_reader_next(r, &ev, &v.error);
        v.frames += s == VMS_NATIVE_FILE_FRAME;
        v.altered += s == VMS_NATIVE_FILE_FRAME && original && !is_original(original, &ev);
    }
    v.ended = s == VMS_NATIVE_FILE_END;
    vms_native_reader_free(r);
    (void)close(fd);
    return v;
}

/* ---- and back to QEVM ---- */

struct out {
    struct vms_from_native *t;
    struct text octets;
};

static struct out open_out(const struct sealed_channel *c) {
    struct vms_from_native_config config = vms_from_native_config_default();
    struct out out = {.t = NULL};
    config.kind = c->kind;
    config.channel = c->config.channel;
    config.dialect = c->config.dialect;
    config.limits = c->config.limits;
    size_t len = vms_from_native_size(&config);
    out.t = vms_from_native_init(malloc(len), len, &config);
    if (!out.t)
        abort();
    return out;
}

static void add_zeros(struct text *text, uint64_t n) {
    static const uint8_t zeros[4096];
    for (; n > 0; n -= n < sizeof zeros ? n : sizeof zeros)
        text_add(text, zeros, n < sizeof zeros ? (size_t)n : sizeof zeros);
}

static bool take(struct out *out, const struct vms_native_file_event *in, struct vms_error *err) {
    struct vms_from_native_event ev;
    enum vms_step s;
    if (vms_from_native_frame(out->t, in->frame, in->bulk) != VMS_OK)
        abort();
    while ((s = vms_from_native_next(out->t, &ev)) == VMS_STEP_RECORD || s == VMS_STEP_BULK) {
        text_add(&out->octets, ev.head.ptr, ev.head.len);
        text_add(&out->octets, ev.bulk.ptr, ev.bulk.len);
        add_zeros(&out->octets, ev.zeros);
    }
    if (s == VMS_STEP_ERROR)
        *err = *ev.error;
    return s == VMS_STEP_NEED;
}

/* The plan's channels are opened in their order. */
static bool read_all(struct vms_native_reader *r, struct out *outs, size_t count,
                     struct vms_error *err) {
    uint16_t numbers[4] = {0};
    size_t open = 0;
    struct vms_native_file_event ev;
    for (;;) {
        enum vms_native_file_step s = vms_native_reader_next(r, &ev, err);
        if (s == VMS_NATIVE_FILE_END || s == VMS_NATIVE_FILE_ERROR || open > count)
            return s == VMS_NATIVE_FILE_END && open == count;
        if (s == VMS_NATIVE_FILE_CHANNEL) {
            numbers[open++ % 4] = ev.channel;
            continue;
        }
        size_t i = 0;
        while (i < count - 1 && numbers[i] != ev.channel)
            i++;
        if (i > 0)
            vms_from_native_adopt(outs[i].t, outs[0].t);
        if (!take(&outs[i], &ev, err))
            return false;
    }
}

bool sealed_same(struct vms_slice file, const char *keys, const struct sealed_plan *plan,
                 struct vms_error *err) {
    struct out outs[4];
    int fd;
    *err = (struct vms_error){.message = "other octets"};
    struct vms_native_reader *r = open_reader(file, keys, &fd);
    for (size_t i = 0; i < plan->count; i++)
        outs[i] = open_out(&plan->channels[i]);
    bool same = read_all(r, outs, plan->count, err);
    for (size_t i = 0; i < plan->count; i++) {
        struct vms_slice got = vms_slice(outs[i].octets.ptr, outs[i].octets.len);
        same = same && vms_slice_eq(got, plan->channels[i].octets);
        text_free(&outs[i].octets);
        free(outs[i].t);
    }
    vms_native_reader_free(r);
    (void)close(fd);
    return same;
}
