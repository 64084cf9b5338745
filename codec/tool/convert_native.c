/* SPDX-License-Identifier: MIT */
#include "host/multifd_plain.h"
#include "tool/convert_machine.h"
#include "tool/native_in.h"
#include "tool/native_options.h"
#include "tool/output.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Records to frames, all channels into one file, in the order in which the migration runs them. */
struct channel {
    struct convert_native *convert;
    struct migration_channel *channel;
    uint16_t number; /* in the file */
    void *mem;
    struct vms_to_native *to;
    struct vms_qevm_encoder count; /* octets of whole records so far */
    struct vms_room head;
    struct vms_multifd_plain *plain; /* with --recode, on multifd channels */
    bool recoding;                   /* the record in progress */
};

struct convert_native {
    const struct tool_options *options;
    struct native_options native;
    struct migration migration;
    struct channel *channels;
    struct channel *last; /* whose frames are in the making */
    int fd;
    bool created;
    struct vms_native_writer *writer;
};

/* ---- frames ---- */

/* Sends what a call gave. *again: make the call once more. */
static enum vms_code send(struct channel *c, enum vms_transcode answer, struct vms_native_out *out,
                          bool *again, struct vms_error *err) {
    *again = answer == VMS_TRANSCODE_FRAME;
    if (answer == VMS_TRANSCODE_ERROR) {
        *err = *vms_to_native_error(c->to);
        return err->code;
    }
    return *again ? vms_native_writer_frame(c->convert->writer, c->number, out, err) : VMS_OK;
}

static enum vms_code flush(struct channel *c, struct vms_error *err) {
    struct vms_native_out out;
    enum vms_code code = VMS_OK;
    for (bool again = true; again && code == VMS_OK;)
        code = send(c, vms_to_native_flush(c->to, &out), &out, &again, err);
    return code;
}

/* [TRC-20] Frames of different channels stand in the file as their records were read. */
static enum vms_code take_turn(struct channel *c, struct vms_error *err) {
    struct channel *last = c->convert->last;
    c->convert->last = c;
    return last && last != c ? flush(last, err) : VMS_OK;
}

/* ---- the sink ---- */

static enum vms_code count_record(struct channel *c, const struct vms_record *record,
                                  struct vms_error *err) {
    size_t len;
    c->count.dialect = *vms_qevm_dialect(vms_pump_decoder(c->channel->pump));
    enum vms_code code = vms_qevm_encode(&c->count, record, c->head, &len);
    if (code != VMS_OK)
        *err = c->count.error;
    return code;
}

static enum vms_code send_record(struct channel *c, const struct vms_record *record,
                                 struct vms_error *err) {
    struct vms_native_out out;
    enum vms_code code = VMS_OK;
    for (bool again = true; again && code == VMS_OK;)
        code = send(c, vms_to_native_record(c->to, record, &out), &out, &again, err);
    return code;
}

/* The memory of the piece is its owner's again when this returns. */
static enum vms_code send_bulk(struct channel *c, struct vms_slice piece, struct vms_error *err) {
    struct vms_native_out out;
    enum vms_code code = VMS_OK;
    for (bool again = true; again && code == VMS_OK;)
        code = send(c, vms_to_native_bulk(c->to, &piece, &out), &out, &again, err);
    vms_to_native_settle(c->to);
    return code;
}

static enum vms_code on_record(void *ctx, const struct vms_record *record,
                               struct vms_answer *answer, struct vms_error *err) {
    struct channel *c = ctx;
    uint32_t page_size = vms_qevm_page_size(vms_pump_decoder(c->channel->pump));
    (void)answer;
    if (take_turn(c, err) != VMS_OK || count_record(c, record, err) != VMS_OK)
        return err->code;
    vms_to_native_page_size(c->to, page_size);
    c->recoding = c->plain && vms_multifd_plain_takes(record);
    return c->recoding ? vms_multifd_plain_begin(c->plain, record, page_size, err)
                       : send_record(c, record, err);
}

static enum vms_code on_bulk(void *ctx, const struct vms_event *event, struct vms_error *err) {
    struct channel *c = ctx;
    enum vms_code code = vms_qevm_encode_bulk(&c->count, event->bulk.len);
    if (code != VMS_OK) {
        *err = c->count.error;
        return code;
    }
    return c->recoding ? vms_multifd_plain_bulk(c->plain, event->bulk, err)
                       : send_bulk(c, event->bulk, err);
}

static enum vms_code on_done(void *ctx, struct vms_error *err) {
    struct channel *c = ctx;
    struct vms_record record;
    struct vms_slice pages;
    if (!c->recoding)
        return VMS_OK;
    if (vms_multifd_plain_end(c->plain, &record, &pages, err) != VMS_OK ||
        send_record(c, &record, err) != VMS_OK)
        return err->code;
    return send_bulk(c, pages, err);
}

static const struct vms_pump_sink_ops SINK_OPS = {on_record, on_bulk, vms_pump_no_direct, on_done};

/* ---- channels ---- */

static enum vms_code make_to(struct channel *c, struct vms_error *err) {
    struct convert_native *convert = c->convert;
    struct vms_to_native_config config = vms_to_native_config_default();
    config.limits = convert->options->limits;
    config.packer = convert->native.packer;
    config.level = convert->native.level;
    size_t size = vms_to_native_size(&config);
    c->mem = size ? malloc(size) : NULL;
    c->to = c->mem ? vms_to_native_init(c->mem, size, &config) : NULL;
    c->head.len = vms_qevm_encode_max(&convert->options->limits);
    c->head.ptr = malloc(c->head.len);
    if (convert->options->recode && c->channel->kind == VMS_QEVM_MULTIFD) {
        c->plain = vms_multifd_plain_new();
        if (!c->plain)
            return vms_error_set(err, VMS_E_NO_MEMORY, NULL);
    }
    return c->to && c->head.ptr ? VMS_OK : vms_error_set(err, VMS_E_NO_MEMORY, NULL);
}

/* Channels of a native input come while it is read: the writer is there then. */
static enum vms_code attach(struct channel *c, struct vms_error *err) {
    return vms_native_writer_open(c->convert->writer, c->channel->kind, &c->number, err);
}

static enum vms_code make_writer(struct convert_native *convert, struct vms_error *err) {
    const struct tool_options *o = convert->options;
    char machine[VMS_NAME_MAX + 1];
    convert_machine(&convert->migration, machine);
    struct vms_native_writer_config config = {
        .fd = convert->fd,
        .machine = vms_str(machine), /* [TRC-22] */
        .suite = convert->native.suite,
        .psk = convert->native.has_psk ? &convert->native.psk : NULL,
        .limits = o->limits,
        .dialect = o->dialect_text ? vms_str(o->dialect_text) : vms_slice(NULL, 0),
        .packed = convert->native.packer != NULL,
    };
    convert->writer = vms_native_writer_new(&config, err);
    return convert->writer ? VMS_OK : err->code;
}

/* Of a native input the first channel comes behind its HELLO, which ours repeats. */
static enum vms_code open_sink(void *ctx, struct migration_channel *channel,
                               struct vms_pump_sink *out, struct vms_error *err) {
    struct convert_native *convert = ctx;
    struct channel *c = &convert->channels[channel->number];
    *c = (struct channel){.convert = convert, .channel = channel};
    vms_qevm_encoder_init(&c->count, channel->number, &convert->options->dialect);
    *out = (struct vms_pump_sink){&SINK_OPS, c};
    if (make_to(c, err) != VMS_OK ||
        (convert->migration.native && !convert->writer && make_writer(convert, err) != VMS_OK))
        return err->code;
    return convert->writer ? attach(c, err) : VMS_OK;
}

static int make_output(struct convert_native *convert) {
    const struct tool_options *o = convert->options;
    struct vms_error err;
    bool standard = strcmp(o->output, "-") == 0;
    if (!standard && migration_reads(&convert->migration, o->output))
        return tool_usage("convert: %s is one of the input files", o->output);
    convert->fd = standard ? fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 0)
                           : open(o->output, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (convert->fd < 0)
        return tool_local("%s: %s", o->output, strerror(errno));
    convert->created = !standard;
    if (!convert->migration.native && make_writer(convert, &err) != VMS_OK)
        return tool_local("%s: %s", o->output, err.message);
    for (size_t i = 0; i < convert->migration.count; i++)
        if (attach(&convert->channels[i], &err) != VMS_OK)
            return tool_local("%s: %s", o->output, err.message);
    return TOOL_DONE;
}

/* ---- the end ---- */

/* What a cut left of the main channel, which is no record: copied as octets (TRC-9). */
static enum vms_code send_rest(struct channel *c, struct vms_error *err) {
    uint8_t bytes[64 * 1024];
    uint64_t at = c->count.offset;
    for (;;) {
        ssize_t n = pread(c->channel->fd, bytes, sizeof bytes, (off_t)(c->channel->start + at));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return vms_error_set(err, VMS_E_IO, "read: %s", strerror(errno));
        if (n == 0)
            return VMS_OK;
        struct vms_slice piece = vms_slice(bytes, (size_t)n);
        struct vms_native_out out;
        enum vms_code code = VMS_OK;
        for (bool again = true; again && code == VMS_OK;)
            code = send(c, vms_to_native_opaque(c->to, at, &piece, &out), &out, &again, err);
        vms_to_native_settle(c->to);
        if (code != VMS_OK)
            return code;
        at += (uint64_t)n;
    }
}

static int finish_cut(struct convert_native *convert) {
    struct channel *c = &convert->channels[0];
    struct vms_error err;
    bool in_bulk = c->count.bulk_left && c->count.bulk_left != VMS_BULK_UNKNOWN;
    if (!convert->migration.cut || in_bulk)
        return TOOL_DONE;
    if (!c->channel->source_state.seekable)
        return tool_usage("%s breaks off within a record: give it as a file", c->channel->name);
    return send_rest(c, &err) == VMS_OK ? TOOL_DONE
                                        : tool_local("%s: %s", c->channel->name, err.message);
}

static int end_channel(struct channel *c) {
    struct vms_error err;
    struct vms_native_out out;
    enum vms_code code = VMS_OK;
    for (bool again = true; again && code == VMS_OK;)
        code = send(c, vms_to_native_end(c->to, &out), &out, &again, &err);
    return code == VMS_OK ? TOOL_DONE
                          : tool_local("%s: %s", c->convert->options->output, err.message);
}

static int finish(struct convert_native *convert) {
    struct vms_error err;
    int status = finish_cut(convert);
    if (!convert->writer && make_writer(convert, &err) != VMS_OK)
        return tool_local("%s: %s", convert->options->output, err.message);
    for (size_t i = 0; status == TOOL_DONE && i < convert->migration.count; i++)
        status = end_channel(&convert->channels[i]);
    if (status != TOOL_DONE)
        return status;
    if (vms_native_writer_end(convert->writer, &err) != VMS_OK)
        return tool_local("%s: %s", convert->options->output, err.message);
    int fd = convert->fd;
    convert->fd = -1;
    return close(fd) == 0 ? TOOL_DONE
                          : tool_local("%s: %s", convert->options->output, strerror(errno));
}

static int run(struct convert_native *convert) {
    struct vms_error err;
    const struct migration *m = &convert->migration;
    if (!m->native && m->channels[0].kind != VMS_QEVM_MAIN)
        return tool_usage("%s: a native file begins with a main channel", m->channels[0].name);
    int status = make_output(convert);
    if (status != TOOL_DONE)
        return status;
    if (migration_run(&convert->migration, &err) != VMS_OK)
        return migration_report(&convert->migration, &err);
    return finish(convert);
}

/* Half a file is worse than none. */
static void drop_output(struct convert_native *convert) {
    struct output out = {.fd = convert->fd};
    if (convert->fd >= 0 && convert->created)
        output_drop(&out, convert->options->output);
    else if (convert->fd >= 0)
        (void)close(convert->fd);
}

static void close_all(struct convert_native *convert) {
    for (size_t i = 0; convert->channels && i < MIGRATION_CHANNELS; i++) {
        free(convert->channels[i].mem);
        free(convert->channels[i].head.ptr);
        vms_multifd_plain_free(convert->channels[i].plain);
    }
    free(convert->channels);
    vms_native_writer_free(convert->writer);
    drop_output(convert);
    native_options_free(&convert->native);
}

int tool_convert_native(const struct tool_options *options) {
    struct convert_native convert = {.options = options, .fd = -1};
    struct migration_consumer consumer = {open_sink, &convert};
    int status = native_options_read(&convert.native, options);
    if (status == TOOL_DONE) {
        convert.channels = calloc(MIGRATION_CHANNELS, sizeof *convert.channels);
        status = convert.channels
                     ? migration_open(&convert.migration, options, VMS_QEVM_MAIN, &consumer)
                     : tool_local("not enough memory");
    }
    if (status == TOOL_DONE)
        status = run(&convert);
    migration_close(&convert.migration);
    close_all(&convert);
    return status;
}
