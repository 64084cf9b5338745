/* SPDX-License-Identifier: MIT */
#include "tool/load.h"
#include <stdlib.h>

/* The sink of one channel; ctx of its calls. */
struct load_sink {
    struct load *load;
    struct migration_channel *channel;
    struct vms_ram_channel *ram;
    bool loading; /* the record in progress went to ram */
};

/* The target page size is known when the block list begins. */
static enum vms_code learn_page_size(const struct load_sink *s, const struct vms_record *record,
                                     struct vms_error *err) {
    if (record->type != VMS_R_RAM_MEM_SIZE)
        return VMS_OK;
    return vms_ram_image_page_size(s->load->image,
                                   vms_qevm_page_size(vms_pump_decoder(s->channel->pump)), err);
}

static enum vms_code on_record(void *ctx, const struct vms_record *record,
                               struct vms_answer *answer, struct vms_error *err) {
    struct load_sink *s = ctx;
    const struct load *load = s->load;
    if (load->observe)
        load->observe(load->observe_ctx, record);
    s->loading = !load->without_ram && !record->guessed && vms_ram_channel_takes(record);
    answer->want = VMS_WANT_DISCARD;
    if (!s->loading)
        return VMS_OK;
    answer->want = VMS_WANT_PIECES;
    if (learn_page_size(s, record, err) != VMS_OK)
        return err->code;
    return vms_ram_channel_ops.record(s->ram, record, answer, err);
}

static enum vms_code on_bulk(void *ctx, const struct vms_event *event, struct vms_error *err) {
    const struct load_sink *s = ctx;
    return vms_ram_channel_ops.bulk(s->ram, event, err);
}

static enum vms_code on_direct(void *ctx, const struct vms_record *record, uint64_t offset,
                               struct vms_room *room, struct vms_error *err) {
    const struct load_sink *s = ctx;
    return vms_ram_channel_ops.direct(s->ram, record, offset, room, err);
}

static enum vms_code on_done(void *ctx, struct vms_error *err) {
    const struct load_sink *s = ctx;
    return s->loading ? vms_ram_channel_ops.done(s->ram, err) : VMS_OK;
}

static const struct vms_pump_sink_ops SINK_OPS = {on_record, on_bulk, on_direct, on_done};

static enum vms_code open_sink(void *ctx, struct migration_channel *channel,
                               struct vms_pump_sink *out, struct vms_error *err) {
    struct load *load = ctx;
    struct load_sink *s = &load->sinks[channel->number];
    *s = (struct load_sink){.load = load, .channel = channel};
    if (channel->number == 0)
        load->without_ram = channel->kind != VMS_QEVM_MAIN;
    s->ram = vms_ram_channel_new(load->image, channel->number, err);
    *out = (struct vms_pump_sink){&SINK_OPS, s};
    return s->ram ? VMS_OK : err->code;
}

int load_open(struct load *load, const struct tool_options *options, enum vms_qevm_kind fallback,
              const struct vms_ram_image_config *config,
              void (*observe)(void *ctx, const struct vms_record *record), void *observe_ctx) {
    struct vms_error err;
    struct migration_consumer consumer = {open_sink, load};
    *load = (struct load){.observe = observe, .observe_ctx = observe_ctx};
    load->sinks = calloc(MIGRATION_CHANNELS, sizeof *load->sinks);
    load->sink_count = MIGRATION_CHANNELS;
    load->image = vms_ram_image_new(config, &err);
    if (!load->sinks || !load->image)
        return tool_local("not enough memory");
    return migration_open(&load->migration, options, fallback, &consumer);
}

void load_close(struct load *load) {
    migration_close(&load->migration);
    for (size_t i = 0; load->sinks && i < load->sink_count; i++)
        vms_ram_channel_free(load->sinks[i].ram);
    free(load->sinks);
    vms_ram_image_free(load->image);
}
