/* SPDX-License-Identifier: MIT */
#include "host/native_link_internal.h"
#include <stdlib.h>
#include <vmstream/vmstream.h>

/* Frames of epoch 0: who speaks, and the keys that follow from them. */

struct vms_native_who link_who(struct vms_native_link *link, const uint8_t *random) {
    struct vms_native_who who = {.role = (uint8_t)link->config.role};
    memcpy(who.session, link->session.id, sizeof who.session);
    memcpy(who.random, random, sizeof who.random);
    if (link->psk_text) {
        who.secret = VMS_SECRET_PSK;
        who.identity = vms_slice(link->psk.name, link->psk.name_len);
    } else if (link->config.exporter) {
        who.secret = VMS_SECRET_EXPORTER;
    }
    return who;
}

void link_fill_hello(struct vms_native_link *link, struct vms_native_hello *hello,
                     const uint8_t *random) {
    const struct vms_native_link_config *c = &link->config;
    *hello = (struct vms_native_hello){
        .who = link_who(link, random),
        .version = VMS_NATIVE_VERSION,
        .version_min = VMS_NATIVE_VERSION_MIN,
        .form = c->inquiry ? VMS_FORM_INQUIRY : VMS_FORM_LIVE,
        .suite_count = (uint32_t)c->suite_count,
        .suites = link->suites,
        .features = c->features | VMS_FEATURE_QEVM | (c->resume_ms ? VMS_FEATURE_RESUME : 0),
        .features_needed = c->features_needed | VMS_FEATURE_QEVM,
        .body_bytes = (uint32_t)c->limits.native_body_bytes,
        .bulk_bytes = (uint32_t)c->limits.native_bulk_bytes,
        .channels = (uint32_t)c->limits.native_channels,
        .replay_bytes = c->limits.native_replay_bytes,
        .keepalive_ms = c->keepalive_ms,
        .machine = vms_slice(link->machine, c->machine.len),
        .device_count = c->device_count,
        .devices = link->devices,
        .software = vms_str("vmstream " VMSTREAM_VERSION),
    };
}

static enum vms_direction direction(const struct vms_native_link *l) {
    return l->config.role == VMS_ROLE_SOURCE ? VMS_SOURCE_TO_DESTINATION
                                             : VMS_DESTINATION_TO_SOURCE;
}

/* The source's secret; the destination has it from the hello that came. */
static enum vms_code source_secret(struct link_conn *c, struct vms_error *err) {
    struct vms_native_link *l = c->link;
    if (l->psk_text) {
        memcpy(c->secret, l->psk.key, l->psk.key_len);
        c->secret_len = l->psk.key_len;
        return VMS_OK;
    }
    struct vms_room room = {l->exporter, sizeof l->exporter};
    if (!l->exporter_known &&
        vms_channel_export(c->io, VMS_EXPORTER_LABEL, vms_slice(NULL, 0), room, err) != VMS_OK)
        return err->code;
    l->exporter_known = true;
    memcpy(c->secret, l->exporter, sizeof l->exporter);
    c->secret_len = sizeof l->exporter;
    return VMS_OK;
}

enum vms_code link_begin_hello(struct link_conn *c, uint8_t random[VMS_SEAL_RANDOM_BYTES],
                               struct vms_error *err) {
    struct vms_native_link *l = c->link;
    vms_sealer_free(&c->sealer);
    vms_sealer_init(&c->sealer, l->crypto, direction(l), c->channel, &l->config.limits);
    if (!link_has_secret(l)) {
        if (link_random(l, random, VMS_SEAL_RANDOM_BYTES, err) != VMS_OK)
            return err->code;
        return vms_sealer_hello_plain(&c->sealer, err);
    }
    if (c->secret_len == 0 && source_secret(c, err) != VMS_OK)
        return err->code;
    return vms_sealer_hello(&c->sealer, vms_slice(c->secret, c->secret_len), random, err);
}

static enum vms_code write_hello(struct link_conn *c, struct vms_native_frame *frame,
                                 struct vms_room out, struct vms_error *err) {
    struct vms_native_encoder encoder;
    struct vms_native_gather g;
    struct vms_slice label = vms_slice(vms_native_label, VMS_NATIVE_LABEL);
    size_t len;
    vms_native_encoder_init(&encoder, &c->sealer, c->channel, &c->link->config.limits);
    if (vms_native_encode(&encoder, frame, NULL, 0, out, &g, &len) != VMS_OK) {
        *err = encoder.error;
        return err->code ? err->code : vms_error_set(err, VMS_E_INTERNAL, "a hello too long");
    }
    enum vms_code code = vms_transcript_hello(&c->transcript, g.head, err);
    if (code == VMS_OK)
        code = vms_transcript_hello(&c->transcript, g.tail, err);
    if (code == VMS_OK)
        code = vms_channel_write_all(c->io, label, err);
    if (code == VMS_OK)
        code = vms_channel_write_all(c->io, vms_slice(out.ptr, g.head.len + g.tail.len), err);
    atomic_fetch_add(&c->link->bytes_out, label.len + g.head.len + g.tail.len);
    return code;
}

enum vms_code link_send_hello(struct link_conn *c, struct vms_native_frame *frame,
                              struct vms_error *err) {
    struct vms_room out = {NULL, vms_native_encode_max(&c->link->config.limits)};
    out.ptr = malloc(out.len);
    if (!out.ptr)
        return vms_error_set(err, VMS_E_NO_MEMORY, NULL);
    enum vms_code code = write_hello(c, frame, out, err);
    free(out.ptr);
    return code;
}

enum vms_code link_read_hello(struct link_conn *c, struct vms_error *err) {
    enum link_read got = link_conn_read(c, err);
    if (got == LINK_READ_FRAME)
        return VMS_OK;
    if (err->code == VMS_E_SESSION_SILENT)
        return vms_error_set(err, VMS_E_TIMEOUT, "%.100s: no hello", vms_channel_name(c->io));
    return err->code;
}

enum vms_code link_transcribe_hello(struct link_conn *c, struct vms_error *err) {
    const struct vms_native_event *ev = &c->event.native;
    struct vms_slice pieces[] = {vms_slice(ev->header, VMS_NATIVE_HEADER), ev->body, ev->tag};
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++)
        if (vms_transcript_hello(&c->transcript, pieces[i], err) != VMS_OK)
            return err->code;
    return VMS_OK;
}

enum vms_code link_make_master(struct link_conn *c, const uint8_t *source,
                               const uint8_t *destination, struct vms_error *err) {
    struct vms_seal_salt salt;
    if (!c->secret_len)
        return VMS_OK;
    memcpy(salt.source_random, source, sizeof salt.source_random);
    memcpy(salt.destination_random, destination, sizeof salt.destination_random);
    if (vms_transcript_value(&c->transcript, salt.hello_hash, err) != VMS_OK)
        return err->code;
    return vms_seal_master(c->link->crypto, vms_slice(c->secret, c->secret_len), &salt, c->master,
                           err);
}

enum vms_code link_set_keys(struct link_conn *c, uint32_t epoch, bool out, bool in,
                            struct vms_error *err) {
    struct vms_native_link *l = c->link;
    const struct vms_session_channel *a = &l->accounts[c->channel];
    const uint8_t *master = c->secret_len ? c->master : NULL;
    enum vms_suite suite = l->session.agreement.suite;
    enum vms_direction back = direction(l) == VMS_SOURCE_TO_DESTINATION ? VMS_DESTINATION_TO_SOURCE
                                                                        : VMS_SOURCE_TO_DESTINATION;
    if (!in || !out) { /* a direction without a hello of its own */
        if (!in)
            vms_opener_init(&c->opener, l->crypto, back, c->channel, &l->config.limits);
        if (!out)
            vms_sealer_init(&c->sealer, l->crypto, direction(l), c->channel, &l->config.limits);
    }
    enum vms_code code = vms_sealer_rekey(&c->sealer, suite, master, epoch, a->out_acked, err);
    if (code == VMS_OK)
        code = vms_opener_rekey(&c->opener, suite, master, epoch, a->in_next, err);
    c->settled = code == VMS_OK;
    return code;
}

/* Where no key is agreed on the answer goes unsealed: who has none either can read why. */
static enum vms_code begin_refusal(struct link_conn *c, uint8_t random[VMS_SEAL_RANDOM_BYTES],
                                   bool *plain, struct vms_error *err) {
    *plain = link_has_secret(c->link) && c->secret_len == 0;
    if (!*plain)
        return link_begin_hello(c, random, err);
    vms_sealer_free(&c->sealer);
    vms_sealer_init(&c->sealer, c->link->crypto, direction(c->link), c->channel,
                    &c->link->config.limits);
    if (link_random(c->link, random, VMS_SEAL_RANDOM_BYTES, err) != VMS_OK)
        return err->code;
    return vms_sealer_hello_plain(&c->sealer, err);
}

/* [SES-24] Best effort: who does not listen is not waited for. */
void link_refuse(struct link_conn *c, const struct vms_error *why, uint32_t device) {
    struct vms_native_frame f = {.header.type = VMS_NATIVE_ABORT};
    struct vms_error ignored;
    uint8_t random[VMS_SEAL_RANDOM_BYTES];
    bool plain;
    vms_channel_set_timeouts(c->io, 0, 1000);
    if (begin_refusal(c, random, &plain, &ignored) != VMS_OK)
        return;
    f.u.abort = (struct vms_native_abort){
        .has_who = true,
        .who = link_who(c->link, random),
        .code = vms_str(vms_code_name(why->code)),
        .clause = vms_str(why->clause ? why->clause : ""),
        .message = vms_str(why->message),
        .has_device = device != UINT32_MAX,
        .device = device != UINT32_MAX ? device : 0,
    };
    if (plain) {
        f.u.abort.who.secret = VMS_SECRET_NONE;
        f.u.abort.who.identity = vms_slice(NULL, 0);
    }
    (void)link_send_hello(c, &f, &ignored);
    (void)vms_channel_shutdown(c->io, VMS_SHUT_WRITE, &ignored);
}
