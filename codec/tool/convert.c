/* SPDX-License-Identifier: MIT */
#include "tool/native_in.h"
#include "tool/output.h"
#include <stdio.h>
#include <stdlib.h>

/* Decode and encode: every byte of the result comes out of a record, none is copied past them. */
struct convert_channel {
    struct migration_channel *channel;
    struct vms_qevm_encoder encoder;
    struct output out;
    char *path;
    struct vms_room head; /* the longest record */
    bool sparse;          /* the bulk in progress has holes */
};

struct convert {
    const struct tool_options *options;
    struct migration migration;
    struct convert_channel *channels;
};

static bool has_holes(const struct vms_record *record) {
    return record->type == VMS_R_MAPPED_PADDING || record->type == VMS_R_MAPPED_PAGES;
}

static enum vms_code encode(struct convert_channel *c, const struct vms_record *record,
                            struct vms_error *err) {
    size_t len = 0;
    c->encoder.dialect = *vms_qevm_dialect(vms_pump_decoder(c->channel->pump));
    enum vms_code code = vms_qevm_encode(&c->encoder, record, c->head, &len);
    if (code == VMS_E_SPACE)
        return vms_error_set(err, VMS_E_INTERNAL, "a record of %zu bytes", len);
    if (code != VMS_OK) {
        *err = c->encoder.error;
        return code;
    }
    return output_write(&c->out, vms_slice(c->head.ptr, len), err);
}

static enum vms_code count_bulk(struct convert_channel *c, uint64_t n, struct vms_error *err) {
    enum vms_code code = vms_qevm_encode_bulk(&c->encoder, n);
    if (code != VMS_OK)
        *err = c->encoder.error;
    return code;
}

/* On a file the holes are asked for, not read: the pump seeks past them and the copy keeps them. */
static enum vms_code copy_bulk(struct convert_channel *c, const struct vms_record *record,
                               struct vms_answer *answer, struct vms_error *err) {
    uint64_t at = c->channel->start + vms_qevm_offset(vms_pump_decoder(c->channel->pump));
    answer->want = VMS_WANT_DISCARD;
    if (output_copy(&c->out, c->channel->fd, at, record->bulk_len, err) != VMS_OK)
        return err->code;
    return count_bulk(c, record->bulk_len, err);
}

static enum vms_code on_record(void *ctx, const struct vms_record *record,
                               struct vms_answer *answer, struct vms_error *err) {
    struct convert_channel *c = ctx;
    if (encode(c, record, err) != VMS_OK)
        return err->code;
    c->sparse = has_holes(record);
    if (c->sparse && record->bulk_len && c->channel->source_state.seekable)
        return copy_bulk(c, record, answer, err);
    return VMS_OK;
}

static enum vms_code on_bulk(void *ctx, const struct vms_event *event, struct vms_error *err) {
    struct convert_channel *c = ctx;
    enum vms_code code = c->sparse ? output_write_sparse(&c->out, event->bulk, err)
                                   : output_write(&c->out, event->bulk, err);
    return code == VMS_OK ? count_bulk(c, event->bulk.len, err) : code;
}

static const struct vms_pump_sink_ops SINK_OPS = {on_record, on_bulk, vms_pump_no_direct,
                                                  vms_pump_no_done};

/* The output is made when everything could be opened: see make_outputs(). */
static int make_path(struct convert *convert, size_t i) {
    char **path = &convert->channels[i].path;
    int n = i == 0 ? asprintf(path, "%s", convert->options->output)
                   : asprintf(path, "%s.%zu", convert->options->output, i);
    if (n < 0) {
        *path = NULL;
        return tool_local("not enough memory");
    }
    if (!migration_reads(&convert->migration, *path))
        return TOOL_DONE;
    int status = tool_usage("convert: %s is one of the input files", *path);
    free(*path);
    *path = NULL;
    return status;
}

/* A native file's octets are QEVM's already, and were written as they were read (native_in.c): the
 * pump only checks that they are a stream. */
static enum vms_code check_record(void *ctx, const struct vms_record *record,
                                  struct vms_answer *answer, struct vms_error *err) {
    (void)ctx, (void)record, (void)err;
    answer->want = VMS_WANT_DISCARD;
    return VMS_OK;
}

static const struct vms_pump_sink_ops CHECK_OPS = {check_record, on_bulk, vms_pump_no_direct,
                                                   vms_pump_no_done};

/* The result of a native file's channel, when the channel comes. */
static enum vms_code open_tee(struct convert *convert, struct convert_channel *c,
                              struct vms_pump_sink *out, struct vms_error *err) {
    *out = (struct vms_pump_sink){&CHECK_OPS, c};
    native_input_tee(c->channel, &c->out);
    if (make_path(convert, c->channel->number) != TOOL_DONE)
        return vms_error_set(err, VMS_E_IO, "no output for it");
    return output_open(&c->out, c->path, err);
}

static enum vms_code open_sink(void *ctx, struct migration_channel *channel,
                               struct vms_pump_sink *out, struct vms_error *err) {
    struct convert *convert = ctx;
    struct convert_channel *c = &convert->channels[channel->number];
    c->channel = channel;
    c->out.fd = -1;
    if (channel->native)
        return open_tee(convert, c, out, err);
    c->head.len = vms_qevm_encode_max(&convert->options->limits);
    c->head.ptr = malloc(c->head.len);
    vms_qevm_encoder_init(&c->encoder, channel->number, &convert->options->dialect);
    *out = (struct vms_pump_sink){&SINK_OPS, c};
    return c->head.ptr ? VMS_OK : vms_error_set(err, VMS_E_NO_MEMORY, NULL);
}

static int make_outputs(struct convert *convert) {
    struct vms_error err;
    int status = TOOL_DONE;
    for (size_t i = 0; status == TOOL_DONE && i < convert->migration.count; i++)
        status = make_path(convert, i);
    for (size_t i = 0; status == TOOL_DONE && i < convert->migration.count; i++)
        if (output_open(&convert->channels[i].out, convert->channels[i].path, &err) != VMS_OK)
            status = tool_local("%s", err.message);
    return status;
}

/* A main channel that a recovery continues may break off within a record: these bytes are no
 * record, they are copied. */
static int copy_cut(struct convert *convert) {
    struct convert_channel *c = &convert->channels[0];
    struct vms_error err;
    if (!convert->migration.cut || c->channel->native)
        return TOOL_DONE;
    if (!c->channel->source_state.seekable)
        return tool_usage("%s breaks off within a record: give it as a file", c->channel->name);
    uint64_t rest = c->channel->source.total - c->encoder.offset;
    if (output_copy(&c->out, c->channel->fd, c->channel->start + c->encoder.offset, rest, &err) !=
        VMS_OK)
        return tool_local("%s: %s", c->channel->name, err.message);
    return TOOL_DONE;
}

static int finish(struct convert *convert) {
    struct vms_error err;
    int status = copy_cut(convert);
    for (size_t i = 0; status == TOOL_DONE && i < convert->migration.count; i++)
        if (output_close(&convert->channels[i].out, &err) != VMS_OK)
            status = tool_local("%s: %s", convert->channels[i].path, err.message);
    return status;
}

static int run(struct convert *convert) {
    struct vms_error err;
    int status = make_outputs(convert);
    if (status != TOOL_DONE)
        return status;
    if (migration_run(&convert->migration, &err) != VMS_OK)
        return migration_report(&convert->migration, &err);
    return finish(convert);
}

/* What is still open was not finished: it goes. */
static void close_channels(struct convert *convert) {
    for (size_t i = 0; convert->channels && i < MIGRATION_CHANNELS; i++) {
        if (convert->channels[i].path)
            output_drop(&convert->channels[i].out, convert->channels[i].path);
        free(convert->channels[i].path);
        free(convert->channels[i].head.ptr);
    }
    free(convert->channels);
}

static int check_usage(const struct tool_options *options) {
    if (!options->to || !options->output)
        return tool_usage("convert: want --to qevm|native --output OUT FILE...");
    if (strcmp(options->to, "native") != 0 && strcmp(options->to, "qevm") != 0)
        return tool_usage("convert --to %s: the wires are qevm and native", options->to);
    if (strcmp(options->to, "qevm") == 0 && (options->seal || options->pack || options->recode))
        return tool_usage("convert: --seal, --pack and --recode are for --to native");
    return TOOL_DONE;
}

int tool_convert(const struct tool_options *options) {
    struct convert convert = {.options = options};
    struct migration_consumer consumer = {open_sink, &convert};
    int status = check_usage(options);
    if (status != TOOL_DONE)
        return status;
    if (strcmp(options->to, "native") == 0)
        return tool_convert_native(options);
    convert.channels = calloc(MIGRATION_CHANNELS, sizeof *convert.channels);
    if (!convert.channels)
        return tool_local("not enough memory");
    status = migration_open(&convert.migration, options, VMS_QEVM_MAIN, &consumer);
    convert.migration.opaque = convert.migration.native != NULL;
    if (status == TOOL_DONE)
        status = run(&convert);
    migration_close(&convert.migration);
    close_channels(&convert);
    return status;
}
