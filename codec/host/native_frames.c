/* SPDX-License-Identifier: MIT */
#include "host/native_internal.h"

/* ---- keys (SEAL-17, SEAL-23) ---- */

static struct vms_opener *find_opener(void *ctx, uint16_t channel) {
    struct vms_native_reader *r = ctx;
    return channel < r->channel_count && r->channels[channel].open ? &r->channels[channel].opener
                                                                   : NULL;
}

/* The session has one secret; ATTACH names the same. */
static enum vms_code find_secret(struct vms_native_reader *r, const struct vms_native_who *who,
                                 struct vms_error *err) {
    struct vms_slice have = vms_slice(r->psk.name, r->psk.name_len);
    if (who->secret != VMS_SECRET_PSK)
        return vms_error_set(err, VMS_E_NATIVE_HELLO, "a file is sealed with a pre-shared key");
    if (r->psk.key_len && !vms_slice_eq(have, who->identity))
        return vms_error_set(err, VMS_E_NATIVE_HELLO, "another key than the session's");
    if (r->psk.key_len)
        return VMS_OK;
    if (who->identity.len == 0)
        return vms_error_set(err, VMS_E_NATIVE_HELLO, "no identity of the key");
    return vms_psk_parse(r->config.psk, who->identity, 0, &r->config.limits, &r->psk, err);
}

static enum vms_code open_channel(struct vms_native_reader *r, uint16_t channel,
                                  const struct vms_native_who *who, struct vms_error *err) {
    struct vms_native_in_channel *c = &r->channels[channel];
    vms_opener_init(&c->opener, r->crypto, VMS_SOURCE_TO_DESTINATION, channel, &r->config.limits);
    c->open = true;
    if (r->config.psk.len == 0)
        return vms_opener_hello_plain(&c->opener, err);
    if (find_secret(r, who, err) != VMS_OK)
        return err->code;
    return vms_opener_hello(&c->opener, vms_slice(r->psk.key, r->psk.key_len), who->random, err);
}

static enum vms_code on_hello(void *ctx, const struct vms_native_frame *frame,
                              struct vms_opener **opener, struct vms_error *err) {
    struct vms_native_reader *r = ctx;
    uint16_t channel = frame->header.channel;
    bool hello = frame->header.type == VMS_NATIVE_HELLO;
    if (!hello && frame->header.type != VMS_NATIVE_ATTACH)
        return vms_error_set(err, VMS_E_NATIVE_ORDER, "%s in a file",
                             vms_native_type_name(frame->header.type));
    if (channel >= r->channel_count)
        return vms_error_set(err, VMS_E_LIMIT, "native_channels: %u", channel);
    if (r->channels[channel].open || hello != (channel == 0))
        return vms_error_set(err, VMS_E_NATIVE_ORDER, "channel %u is opened twice", channel);
    *opener = &r->channels[channel].opener;
    return open_channel(r, channel, hello ? &frame->u.hello.who : &frame->u.attach.who, err);
}

struct vms_native_keys vms_native_reader_keys(struct vms_native_reader *r) {
    return (struct vms_native_keys){r->config.psk.len > 0, find_opener, on_hello, r};
}

/* ---- frames that are not data; err gets what is wrong ---- */

static void copy_text(char *out, size_t size, struct vms_slice text) {
    size_t n = text.len < size - 1 ? text.len : size - 1;
    for (size_t i = 0; i < n; i++)
        out[i] = (char)(text.ptr[i] >= 0x20 && text.ptr[i] < 0x7f ? text.ptr[i] : '?');
    out[n] = '\0';
}

void vms_native_file_info_fill(struct vms_native_file_info *info,
                               const struct vms_native_hello *hello) {
    struct vms_error ignored;
    *info = (struct vms_native_file_info){.suite = (enum vms_suite)hello->suites[0]};
    memcpy(info->session, hello->who.session, sizeof info->session);
    copy_text(info->identity, sizeof info->identity, hello->who.identity);
    copy_text(info->machine, sizeof info->machine, hello->machine);
    copy_text(info->software, sizeof info->software, hello->software);
    if (hello->dialect.len)
        (void)vms_dialect_parse(hello->dialect, &info->dialect, &ignored);
}

/* SEAL-13: a file has the writer's hello alone. */
static enum vms_code make_master(struct vms_native_reader *r, const struct vms_native_hello *hello,
                                 struct vms_error *err) {
    struct vms_seal_salt salt = {.destination_random = {0}};
    if (!r->psk.key_len)
        return VMS_OK;
    memcpy(salt.source_random, hello->who.random, sizeof salt.source_random);
    if (vms_transcript_value(&r->transcript, salt.hello_hash, err) != VMS_OK)
        return err->code;
    return vms_seal_master(r->crypto, vms_slice(r->psk.key, r->psk.key_len), &salt, r->master, err);
}

static enum vms_code rekey(struct vms_native_reader *r, uint16_t channel, uint32_t epoch,
                           struct vms_error *err) {
    return vms_opener_rekey(&r->channels[channel].opener, r->session.agreement.suite,
                            r->psk.key_len ? r->master : NULL, epoch, r->accounts[channel].in_next,
                            err);
}

static enum vms_code take_hello(struct vms_native_reader *r, struct vms_error *err) {
    const struct vms_native_event *ev = &r->event.native;
    const struct vms_native_hello *hello = &ev->frame->u.hello;
    struct vms_slice pieces[] = {vms_slice(ev->header, VMS_NATIVE_HEADER), ev->body, ev->tag};
    memcpy(r->session.id, hello->who.session, sizeof r->session.id);
    if (vms_session_negotiate(NULL, hello, r->psk.key_len > 0, &r->config.limits,
                              &r->session.agreement, err) != VMS_OK)
        return err->code;
    vms_native_file_info_fill(&r->info, hello);
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++)
        if (vms_transcript_hello(&r->transcript, pieces[i], err) != VMS_OK)
            return err->code;
    return make_master(r, hello, err) == VMS_OK ? rekey(r, 0, 1, err) : err->code;
}

/* [SES-20] The transcript is over what came before END. */
static enum vms_code take_end(struct vms_native_reader *r, struct vms_error *err) {
    uint8_t have[VMS_SHA256_BYTES];
    if (vms_transcript_value(&r->transcript, have, err) != VMS_OK)
        return err->code;
    if (memcmp(have, r->event.native.frame->u.end.transcript, sizeof have) != 0)
        return vms_error_set(err, VMS_E_SESSION_END, "the transcript differs");
    if (vms_session_end_status(&r->session) != VMS_END_COMPLETE)
        return vms_error_set(err, VMS_E_SESSION_END, "frames are missing");
    return VMS_OK;
}

/* [TRC-19] A channel of a QEVM stream says which kind it is. */
static enum vms_code take_attach(struct vms_native_reader *r, struct vms_error *err) {
    const struct vms_native_frame *f = r->event.native.frame;
    uint32_t kind = f->u.attach.kind;
    if (kind == VMS_QEVM_MAIN + 1 || kind > VMS_QEVM_RETURN_PATH + 1 || kind == 0)
        return vms_error_set(err, VMS_E_TRANSCODE_FRAME, "a further channel of kind %u", kind);
    return rekey(r, f->header.channel, f->u.attach.epoch, err);
}

/* [SEAL-20] All channels, in their order; the hello is there already, whole. */
static enum vms_code transcribe(struct vms_native_reader *r, struct vms_error *err) {
    const struct vms_native_event *ev = &r->event.native;
    const struct vms_native_header *h = &ev->frame->header;
    if (h->type == VMS_NATIVE_HELLO || h->type == VMS_NATIVE_END)
        return VMS_OK;
    return vms_transcript_frame(&r->transcript, ev->header, ev->tag, err);
}

static enum vms_code account(struct vms_native_reader *r, struct vms_error *err) {
    const struct vms_native_frame *f = r->event.native.frame;
    enum vms_session_action action = vms_session_received(&r->session, f, 0);
    if (action != VMS_SES_DO_REFUSE && action != VMS_SES_DO_FAIL && action != VMS_SES_DO_MISUSE)
        return VMS_OK;
    *err = r->session.error;
    return err->code;
}

/* [NAT-46] */
static bool in_files(uint32_t type) {
    return type == VMS_NATIVE_HELLO || type == VMS_NATIVE_ATTACH || type == VMS_NATIVE_REKEY ||
           type == VMS_NATIVE_END || type == VMS_NATIVE_ABORT || type >= VMS_NATIVE_RECORDS;
}

/* A frame that is authentic. */
enum vms_code vms_native_reader_take(struct vms_native_reader *r, struct vms_error *err) {
    const struct vms_native_frame *f = r->event.native.frame;
    if (f->header.type == VMS_NATIVE_HELLO)
        memcpy(r->session.id, f->u.hello.who.session, sizeof r->session.id);
    if (!f->unknown && !in_files(f->header.type))
        return vms_error_set(err, VMS_E_SESSION_UNEXPECTED, "%s in a file",
                             vms_native_type_name(f->header.type));
    if (account(r, err) != VMS_OK || transcribe(r, err) != VMS_OK)
        return err->code;
    switch (f->header.type) {
    case VMS_NATIVE_HELLO: return take_hello(r, err);
    case VMS_NATIVE_ATTACH: return take_attach(r, err);
    case VMS_NATIVE_REKEY: return rekey(r, f->header.channel, f->u.epoch, err);
    case VMS_NATIVE_END: return take_end(r, err);
    default: return VMS_OK;
    }
}
