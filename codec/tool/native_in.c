/* SPDX-License-Identifier: MIT */
#include "tool/native_in.h"
#include "tool/psk_text.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct native_channel {
    struct native_input *input;
    struct migration_channel *channel;
    uint16_t number; /* in the file */
    void *mem;
    struct vms_from_native *from;
    char *name;
    struct output *tee;
    /* what the last step gave and was not read yet */
    struct vms_slice bytes;
    uint64_t zeros;
    bool ended; /* no more frames */
};

struct native_input {
    struct migration *m;
    struct migration_consumer consumer;
    struct vms_native_reader *reader;
    struct psk_text psk;
    const char *name;
    int fd;
    off_t start;                     /* of the file's first byte, -1: it cannot seek */
    struct native_channel *channels; /* as many as m->channels */
    uint64_t frames;
    uint64_t told; /* bytes that the progress bar knows of */
};

/* ---- a channel as a source of QEVM octets ---- */

/* Gets the next octets ready. DATA: there are some. What breaks off is for the QEVM decoder. */
static enum vms_source_status next_bytes(struct native_channel *c, struct vms_error *err) {
    struct vms_from_native_event ev;
    while (c->bytes.len == 0 && c->zeros == 0) {
        switch (vms_from_native_next(c->from, &ev)) {
        case VMS_STEP_RECORD: c->bytes = ev.head; break;
        case VMS_STEP_BULK:
            c->bytes = ev.bulk;
            c->zeros = ev.zeros;
            break;
        case VMS_STEP_NEED: return c->ended ? VMS_SOURCE_END : VMS_SOURCE_AGAIN;
        default: *err = *ev.error; return VMS_SOURCE_ERROR;
        }
    }
    return VMS_SOURCE_DATA;
}

static enum vms_code tee_bytes(struct native_channel *c, struct vms_slice bytes,
                               struct vms_error *err) {
    return c->tee ? output_write(c->tee, bytes, err) : VMS_OK;
}

static enum vms_code tee_zeros(struct native_channel *c, uint64_t n, struct vms_error *err) {
    return c->tee ? output_hole(c->tee, n, err) : VMS_OK;
}

/* Moves up to n octets to out, or nowhere; *got: how many. */
static enum vms_code move(struct native_channel *c, uint8_t *out, uint64_t n, size_t *got,
                          struct vms_error *err) {
    struct vms_slice head = vms_slice_head(c->bytes, n < SIZE_MAX ? (size_t)n : SIZE_MAX);
    if (head.len > 0) {
        if (out)
            memcpy(out, head.ptr, head.len);
        *got = head.len;
        c->bytes = vms_slice_tail(c->bytes, head.len);
        return tee_bytes(c, head, err);
    }
    *got = (size_t)(n < c->zeros ? n : c->zeros);
    if (out)
        memset(out, 0, *got);
    c->zeros -= *got;
    return tee_zeros(c, *got, err);
}

static enum vms_source_status source_read(void *ctx, const struct vms_room *rooms, size_t count,
                                          size_t *got, struct vms_error *err) {
    struct native_channel *c = ctx;
    enum vms_source_status status = VMS_SOURCE_DATA;
    *got = 0;
    for (size_t i = 0; i < count; i++) {
        for (size_t at = 0, n = 0; at < rooms[i].len; at += n, *got += n) {
            status = next_bytes(c, err);
            if (status != VMS_SOURCE_DATA)
                return *got && status != VMS_SOURCE_ERROR ? VMS_SOURCE_DATA : status;
            if (move(c, rooms[i].ptr + at, rooms[i].len - at, &n, err) != VMS_OK)
                return VMS_SOURCE_ERROR;
        }
    }
    return VMS_SOURCE_DATA;
}

static enum vms_source_status source_skip(void *ctx, uint64_t n, uint64_t *got,
                                          struct vms_error *err) {
    struct native_channel *c = ctx;
    size_t moved = 0;
    enum vms_source_status status = next_bytes(c, err);
    if (status == VMS_SOURCE_DATA && move(c, NULL, n, &moved, err) != VMS_OK)
        status = VMS_SOURCE_ERROR;
    *got = moved;
    return status;
}

static bool source_quiet(void *ctx, int ms) {
    (void)ctx, (void)ms;
    return false; /* a file's end is always there to be read */
}

static const struct vms_source_ops SOURCE_OPS = {source_read, source_skip, source_quiet};

/* ---- channels ---- */

static struct native_channel *find(struct native_input *in, uint16_t number) {
    for (size_t i = 0; i < in->m->count; i++)
        if (in->channels[i].number == number)
            return &in->channels[i];
    return NULL;
}

static enum vms_code make_from(struct native_channel *c, struct vms_error *err) {
    struct vms_from_native_config config = {
        .kind = c->channel->kind,
        .channel = c->channel->number,
        .dialect = c->input->m->dialect,
        .limits = c->input->m->options->limits,
    };
    size_t size = vms_from_native_size(&config);
    c->mem = size ? malloc(size) : NULL;
    c->from = c->mem ? vms_from_native_init(c->mem, size, &config) : NULL;
    return c->from ? VMS_OK : vms_error_set(err, VMS_E_NO_MEMORY, NULL);
}

static void name_channel(struct native_channel *c) {
    const struct native_input *in = c->input;
    if (c->number == 0 || asprintf(&c->name, "%s (%s, channel %u)", in->name,
                                   vms_qevm_kind_name(c->channel->kind), c->number) < 0)
        c->name = NULL;
    c->channel->name = c->name ? c->name : in->name;
}

/* The consumer is asked first: its sink goes into the pump. */
static enum vms_code open_channel(struct native_input *in, uint16_t number, enum vms_qevm_kind kind,
                                  struct vms_error *err) {
    struct migration *m = in->m;
    if (m->count == MIGRATION_CHANNELS)
        return vms_error_set(err, VMS_E_LIMIT, "more than %d channels", MIGRATION_CHANNELS);
    struct native_channel *c = &in->channels[m->count];
    struct migration_channel *channel = &m->channels[m->count];
    *c = (struct native_channel){.input = in, .channel = channel, .number = number};
    *channel = (struct migration_channel){
        .migration = m, .number = (uint32_t)m->count, .kind = kind, .fd = -1, .native = c};
    channel->source = (struct vms_source){&SOURCE_OPS, c, UINT64_MAX};
    name_channel(c);
    m->count++;
    m->multifd_count += kind == VMS_QEVM_MULTIFD && channel->number != 0;
    if (make_from(c, err) != VMS_OK)
        return err->code;
    return migration_make_pump(channel, &in->consumer, vms_slice(NULL, 0), err);
}

void native_input_tee(struct migration_channel *channel, struct output *out) {
    channel->native->tee = out;
}

/* Runs a channel's pump until the frame, or the stream, is used up. */
static enum vms_code run_channel(struct native_channel *c, struct vms_error *err) {
    enum vms_pump_status status;
    migration_begin(c->channel);
    do
        status = vms_pump_run(c->channel->pump, err);
    while (status == VMS_PUMP_PAUSED);
    c->channel->over = status == VMS_PUMP_END;
    return status == VMS_PUMP_ERROR ? err->code : VMS_OK;
}

static enum vms_code take_frame(struct native_input *in, const struct vms_native_file_event *ev,
                                struct vms_error *err) {
    struct native_channel *c = find(in, ev->channel);
    if (!c || !vms_from_native_takes(ev->frame->header.type))
        return vms_error_set(err, VMS_E_TRANSCODE_FRAME, "%s",
                             vms_native_type_name(ev->frame->header.type));
    if (c->channel->number != 0)
        vms_from_native_adopt(c->from, in->channels[0].from);
    (void)vms_from_native_frame(c->from, ev->frame, ev->bulk);
    return run_channel(c, err);
}

static bool has_recovery(const struct migration *m) {
    for (size_t i = 1; i < m->count; i++)
        if (m->channels[i].kind == VMS_QEVM_RECOVERY)
            return true;
    return false;
}

/* No more comes: what was held is cut, what broke off is found. */
static enum vms_code finish(struct native_input *in, struct vms_error *err) {
    struct migration *m = in->m;
    if (m->count == 0)
        return vms_error_set(err, VMS_E_TRUNCATED, "the file has no channel");
    for (size_t i = 0; i < m->count; i++) {
        in->channels[i].ended = true;
        if (run_channel(&in->channels[i], err) == VMS_OK)
            continue;
        m->cut = i == 0 && err->code == VMS_E_TRUNCATED && has_recovery(m);
        if (!m->cut)
            return err->code;
    }
    return VMS_OK;
}

/* The reader numbers channels as the file does; ours are in the order of their coming. */
static enum vms_code read_failed(struct native_input *in, struct vms_error *err) {
    const struct native_channel *c = find(in, (uint16_t)err->channel);
    err->channel = c ? c->channel->number : 0;
    return err->code;
}

static void tell_progress(struct native_input *in) {
    uint64_t bytes = vms_native_reader_bytes(in->reader);
    progress_add(&in->m->progress, bytes - in->told);
    in->told = bytes;
}

static void merge_dialect(struct native_input *in) {
    static const struct vms_dialect none;
    struct migration *m = in->m;
    m->dialect = m->options->dialect;
    if (memcmp(&m->dialect, &none, sizeof none) == 0)
        m->dialect = vms_native_reader_info(in->reader)->dialect;
    m->flush = m->dialect.multifd_flush;
}

enum vms_code native_input_run(struct migration *m, struct vms_error *err) {
    struct native_input *in = m->native;
    struct vms_native_file_event ev;
    for (enum vms_code code = VMS_OK;;) {
        enum vms_native_file_step step = vms_native_reader_next(in->reader, &ev, err);
        tell_progress(in);
        in->frames += step == VMS_NATIVE_FILE_FRAME;
        if (m->count == 0)
            merge_dialect(in);
        if (step == VMS_NATIVE_FILE_CHANNEL)
            code = open_channel(in, ev.channel, ev.kind, err);
        else if (step == VMS_NATIVE_FILE_FRAME)
            code = take_frame(in, &ev, err);
        else if (step == VMS_NATIVE_FILE_END)
            return finish(in, err);
        else
            return read_failed(in, err);
        if (code != VMS_OK)
            return code;
    }
}

/* ---- construction ---- */

static int make_reader(struct native_input *in, struct vms_slice begin) {
    const struct tool_options *o = in->m->options;
    struct vms_error err;
    struct vms_native_reader_config config = {.fd = in->fd, .begin = begin, .limits = o->limits};
    int status = o->psk ? psk_text_read(&in->psk, o->psk, &o->limits) : TOOL_DONE;
    if (status != TOOL_DONE)
        return status;
    config.psk = in->psk.text;
    in->reader = vms_native_reader_new(&config, &err);
    return in->reader ? TOOL_DONE : tool_local("%s: %s", in->name, err.message);
}

int native_input_open(struct migration *m, const char *name, int fd, struct vms_slice begin,
                      const struct migration_consumer *consumer) {
    struct native_input *in = calloc(1, sizeof *in);
    struct migration_channel *channels = calloc(MIGRATION_CHANNELS, sizeof *channels);
    m->native = in;
    if (in)
        *in = (struct native_input){.m = m,
                                    .name = name,
                                    .fd = -1,
                                    .consumer = *consumer,
                                    .channels = calloc(MIGRATION_CHANNELS, sizeof *in->channels)};
    if (!in || !channels || !in->channels) {
        free(channels);
        return tool_local("not enough memory");
    }
    free(m->channels);
    m->channels = channels;
    m->count = 0;
    in->fd = fd;
    in->start = lseek(fd, 0, SEEK_CUR);
    if (in->start >= 0)
        in->start -= (off_t)begin.len;
    return make_reader(in, begin);
}

void native_input_close(struct native_input *in) {
    if (!in)
        return;
    for (size_t i = 0; in->channels && i < MIGRATION_CHANNELS; i++) {
        free(in->channels[i].mem);
        free(in->channels[i].name);
    }
    vms_native_reader_free(in->reader);
    psk_text_free(&in->psk);
    free(in->channels);
    if (in->fd >= 0)
        (void)close(in->fd);
    free(in);
}

const struct vms_native_file_info *native_input_info(const struct native_input *in) {
    return vms_native_reader_info(in->reader);
}

uint64_t native_input_bytes(const struct native_input *in) {
    return vms_native_reader_bytes(in->reader);
}

bool native_input_rewind(struct native_input *in) {
    return in->start >= 0 && lseek(in->fd, in->start, SEEK_SET) == in->start;
}

int native_input_fd(const struct native_input *in) {
    return in->fd;
}

uint64_t native_input_total(const struct native_input *in) {
    struct vms_fd_source state;
    return vms_source_from_fd(&state, in->fd).total;
}

uint64_t native_input_frames(const struct native_input *in) {
    return in->frames;
}
