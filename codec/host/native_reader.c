/* SPDX-License-Identifier: MIT */
#include "host/native_internal.h"
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>
#include <vmstream/pack_zstd.h>

enum {
    BUFFER = 256 * 1024, /* bytes read ahead, at most */
    DIRECT_MIN = 8192,   /* bytes of bulk from which the buffer is gone around */
};

/* ---- steps ---- */

static enum vms_native_file_step fail(struct vms_native_reader *r, const struct vms_error *why) {
    r->error = *why;
    r->over = true;
    return VMS_NATIVE_FILE_ERROR;
}

/* Where our own checks fail, the place is the frame. */
static enum vms_native_file_step fail_here(struct vms_native_reader *r, struct vms_error *why) {
    const struct vms_native_header *h = &r->event.native.frame->header;
    why->channel = h->channel;
    why->offset = vms_intake_offset(r->intake);
    why->record = h->sequence;
    return fail(r, why);
}

static ssize_t read_some(struct vms_native_reader *r, struct vms_room room) {
    ssize_t n;
    do
        n = read(r->config.fd, room.ptr, room.len);
    while (n < 0 && errno == EINTR);
    if (n > 0)
        r->bytes += (uint64_t)n;
    return n;
}

/* Long bulk goes straight into the intake. */
static bool fill(struct vms_native_reader *r) {
    struct vms_room room = vms_intake_room(r->intake);
    bool direct = room.len >= DIRECT_MIN;
    ssize_t n = read_some(r, direct ? room : (struct vms_room){r->buffer, r->buffer_len});
    if (n < 0) {
        (void)vms_error_set(&r->error, VMS_E_IO, "read: %s", strerror(errno));
        return false;
    }
    r->eof = n == 0;
    if (direct)
        vms_intake_filled(r->intake, (size_t)n);
    else
        r->input = (struct vms_room){r->buffer, (size_t)n};
    return true;
}

static enum vms_native_file_step end(struct vms_native_reader *r) {
    if (vms_intake_finish(r->intake, &r->event) == VMS_NATIVE_STEP_ERROR)
        return fail(r, r->event.native.error);
    r->over = true;
    return VMS_NATIVE_FILE_END;
}

static enum vms_native_file_step opened(struct vms_native_file_event *ev, uint16_t channel,
                                        enum vms_qevm_kind kind) {
    *ev = (struct vms_native_file_event){.channel = channel, .kind = kind};
    return VMS_NATIVE_FILE_CHANNEL;
}

/* What a frame is for the caller; true: nothing. */
static bool quiet(struct vms_native_reader *r, struct vms_native_file_event *ev,
                  enum vms_native_file_step *step) {
    const struct vms_native_frame *f = r->event.native.frame;
    *ev = (struct vms_native_file_event){
        .channel = f->header.channel, .frame = f, .bulk = r->event.bulk};
    *step = VMS_NATIVE_FILE_FRAME;
    if (f->header.type == VMS_NATIVE_HELLO)
        *step = opened(ev, 0, VMS_QEVM_MAIN);
    else if (f->header.type == VMS_NATIVE_ATTACH)
        *step = opened(ev, f->header.channel, (enum vms_qevm_kind)(f->u.attach.kind - 1));
    else
        return f->unknown || f->header.type < VMS_NATIVE_RECORDS;
    return false;
}

enum vms_native_file_step vms_native_reader_next(struct vms_native_reader *r,
                                                 struct vms_native_file_event *ev,
                                                 struct vms_error *err) {
    enum vms_native_file_step step = r->error.code ? VMS_NATIVE_FILE_ERROR : VMS_NATIVE_FILE_END;
    struct vms_error why = {0};
    *ev = (struct vms_native_file_event){0};
    for (bool more = !r->over; more;) {
        more = false;
        enum vms_native_step s = vms_intake_next(r->intake, &r->input, &r->event);
        if (s == VMS_NATIVE_STEP_ERROR)
            step = fail(r, r->event.native.error);
        else if (s == VMS_NATIVE_STEP_FRAME && vms_native_reader_take(r, &why) != VMS_OK)
            step = fail_here(r, &why);
        else if (s == VMS_NATIVE_STEP_FRAME)
            more = quiet(r, ev, &step);
        else if (r->eof)
            step = end(r);
        else if (!(more = fill(r)))
            step = fail(r, &r->error);
    }
    if (step == VMS_NATIVE_FILE_ERROR)
        *err = r->error;
    return step;
}

const struct vms_native_file_info *vms_native_reader_info(const struct vms_native_reader *r) {
    return &r->info;
}

uint64_t vms_native_reader_bytes(const struct vms_native_reader *r) {
    return r->bytes;
}

/* ---- construction ---- */

static enum vms_code make_intake(struct vms_native_reader *r, struct vms_error *err) {
    struct vms_intake_config config = {.native = vms_native_config_default()};
    struct vms_zstd_config zstd = {.unpacked_max = (size_t)r->config.limits.native_bulk_bytes};
    r->zstd_mem = malloc(vms_zstd_size(&zstd));
    struct vms_zstd *zip =
        r->zstd_mem ? vms_zstd_init(r->zstd_mem, vms_zstd_size(&zstd), &zstd) : NULL;
    if (!zip)
        return vms_error_set(err, VMS_E_NO_MEMORY, "zstd");
    config.zip = vms_zstd_ops(zip);
    config.native.limits = r->config.limits;
    config.native.any_channel = true;
    config.native.keys = vms_native_reader_keys(r);
    size_t size = vms_intake_size(&config);
    r->intake_mem = malloc(size);
    r->intake = r->intake_mem ? vms_intake_init(r->intake_mem, size, &config) : NULL;
    return r->intake ? VMS_OK : vms_error_set(err, VMS_E_NO_MEMORY, "%zu bytes for frames", size);
}

/* More than the longest frame is read ahead only where frames may be long. */
static size_t buffer_len(const struct vms_native_reader_config *c) {
    uint64_t body = c->limits.native_body_bytes, bulk = c->limits.native_bulk_bytes;
    bool shorter = body < BUFFER && bulk < BUFFER - body;
    size_t len = shorter ? VMS_NATIVE_HEADER + (size_t)(body + bulk) : BUFFER;
    return len > c->begin.len ? len : c->begin.len;
}

static enum vms_code allocate(struct vms_native_reader *r, struct vms_error *err) {
    static const uint8_t no_id[16];
    const struct vms_limits *l = &r->config.limits;
    size_t count = l->native_channels <= UINT16_MAX ? (size_t)l->native_channels : UINT16_MAX;
    r->channel_count = (uint32_t)count;
    r->channels = calloc(count, sizeof *r->channels);
    r->accounts = calloc(count, sizeof *r->accounts);
    r->buffer_len = buffer_len(&r->config);
    r->buffer = malloc(r->buffer_len);
    if (!r->channels || !r->accounts || !r->buffer || r->config.begin.len > BUFFER)
        return vms_error_set(err, VMS_E_NO_MEMORY, NULL);
    r->backend = vms_backend_new(NULL, err);
    if (!r->backend)
        return err->code;
    r->crypto = vms_backend_ops(r->backend);
    vms_session_init(&r->session, VMS_ROLE_DESTINATION, no_id, r->accounts, r->channel_count);
    if (vms_transcript_init(&r->transcript, r->crypto, err) != VMS_OK)
        return err->code;
    return make_intake(r, err);
}

struct vms_native_reader *vms_native_reader_new(const struct vms_native_reader_config *config,
                                                struct vms_error *err) {
    struct vms_native_reader *r = calloc(1, sizeof *r);
    if (!r) {
        (void)vms_error_set(err, VMS_E_NO_MEMORY, NULL);
        return NULL;
    }
    r->config = *config;
    if (allocate(r, err) != VMS_OK) {
        vms_native_reader_free(r);
        return NULL;
    }
    if (config->begin.len)
        memcpy(r->buffer, config->begin.ptr, config->begin.len);
    r->input = (struct vms_room){r->buffer, config->begin.len};
    r->bytes = config->begin.len;
    return r;
}

void vms_native_reader_free(struct vms_native_reader *r) {
    if (!r)
        return;
    for (uint32_t i = 0; r->channels && i < r->channel_count; i++)
        vms_opener_free(&r->channels[i].opener);
    vms_transcript_free(&r->transcript);
    vms_backend_free(r->backend);
    free(r->zstd_mem);
    free(r->intake_mem);
    free(r->channels);
    free(r->accounts);
    free(r->buffer);
    vms_wipe(r, sizeof *r);
    free(r);
}
