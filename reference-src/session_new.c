/* SPDX-License-Identifier: MIT */
#include "reference-src/session_impl.h"

#include <stdio.h>
#include <stdlib.h>

/* A session is made of options, guest, tracker, devices, wire and engine; and its end. */

static void configure(const struct src_session *s, struct src_config *c) {
    const struct src_options *o = &s->options;
    *c = (struct src_config){
        .native = o->native,
        .resume = o->native,
        .return_path = !o->no_return_path && strncmp(o->connect, "file:", 5) != 0 &&
                       strncmp(o->connect, "exec:", 5) != 0,
        .postcopy = o->postcopy,
        .pause_before_switchover = o->pause_before_switchover,
        .switchover_ack = o->switchover_ack,
        .auto_converge = o->auto_converge,
        .max_bandwidth = o->bandwidth,
        .max_postcopy_bandwidth = o->postcopy_bandwidth,
        .switchover_bandwidth = o->switchover_bandwidth,
        .downtime_ns = o->downtime_ms * 1000000,
        .ready_ns = o->ready_ms * 1000000,
        .settle_ns = o->settle_ms * 1000000,
        .limit_ns = o->limit_ms * 1000000,
        .locks_retry_ns = o->locks_retry_ms * 1000000,
        .scheduler = o->scheduler,
        .quantum = o->quantum,
        .device_count = s->device_count,
        .after_setup = {true},
    };
    for (uint32_t i = 1; i < s->device_count; i++)
        c->awaits_grant[i] = s->devices[i].about.kind == 2;
    for (uint32_t i = 1; i < s->device_count && s->host.initial; i++)
        c->initial_data[i] = s->host.initial[i - 1];
    struct vms_dialect d = o->dialect;
    vms_dialect_learn_machine(&d, vms_str(o->machine));
    c->legacy_ack = d.ack_legacy == VMS_ON;
}

static enum vms_code take_devices(struct src_session *s, struct vms_error *err) {
    const struct src_session_host *h = &s->host;
    if (h->device_count >= SRC_DEVICES_MAX)
        return vms_error_set(err, VMS_E_MISUSE, "%zu devices", h->device_count);
    for (size_t i = 0; i < h->device_count; i++) {
        s->devices[s->device_count++] = h->devices[i];
        s->abouts[i] = h->devices[i].about;
    }
    s->options.devices = s->abouts;
    s->options.device_count = h->device_count;
    return VMS_OK;
}

static enum vms_code make(struct src_session *s, struct vms_error *err) {
    struct src_wire_owner owner = src_owner(s);
    struct src_config config;
    enum vms_code code = VMS_OK;
    if (!s->host.dirty) {
        code = vms_dirty_new(s->options.dirty, s->host.guest, &s->tracker, err);
        s->own_tracker = code == VMS_OK;
        s->host.dirty = &s->tracker;
    }
    if (code == VMS_OK)
        code = src_ram_device_new(s->host.guest, s->host.dirty, 4096, &s->devices[0], err);
    s->device_count = 1;
    if (code == VMS_OK)
        code = take_devices(s, err);
    if (code == VMS_OK)
        code = (s->options.native ? src_wire_native : src_wire_qevm)(&s->options, s->host.guest,
                                                                     &owner, &s->wire, err);
    if (code != VMS_OK)
        return code;
    configure(s, &config);
    s->engine = malloc(src_engine_size());
    if (!s->engine)
        return vms_error_set(err, VMS_E_NO_MEMORY, NULL);
    s->figures = *src_engine_figures(src_engine_init(s->engine, &config));
    src_facts(s);
    return VMS_OK;
}

struct src_session *src_session_new(const struct src_options *options,
                                    const struct src_session_host *host, struct vms_error *err) {
    pthread_condattr_t clock;
    struct src_session *s = calloc(1, sizeof *s);
    if (!s) {
        (void)vms_error_set(err, VMS_E_NO_MEMORY, NULL);
        return NULL;
    }
    s->options = *options;
    s->host = *host;
    s->postcopy_bandwidth = options->postcopy_bandwidth;
    s->waits_for = SRC_NO_DEVICE;
    (void)snprintf(s->uri, sizeof s->uri, "%s", options->connect);
    pthread_mutex_init(&s->lock, NULL);
    pthread_condattr_init(&clock);
    pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    pthread_cond_init(&s->changed, &clock);
    pthread_condattr_destroy(&clock);
    if (make(s, err) == VMS_OK)
        return s;
    src_session_free(s);
    return NULL;
}

void src_session_free(struct src_session *s) {
    if (!s)
        return;
    src_release_waiting(s);
    if (s->devices[0].ops)
        src_ram_forget(&s->devices[0], true);
    src_sender_stop(s);
    if (s->wire.ops)
        s->wire.ops->free(s->wire.ctx);
    if (s->devices[0].ops)
        src_ram_device_free(&s->devices[0]);
    if (s->own_tracker)
        s->tracker.ops->free(s->tracker.ctx);
    free(s->engine);
    pthread_cond_destroy(&s->changed);
    pthread_mutex_destroy(&s->lock);
    free(s);
}
