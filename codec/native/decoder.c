/* SPDX-License-Identifier: MIT */
#include "native/decoder.h"

#include <stdarg.h>
#include <stdio.h>

/*
 * Label, then frames: header, body, bulk, tag. Header, body and tag are staged, since they are
 * small and slices of the body must last; bulk is opened where it lies. Nothing is told as a FRAME
 * before its tag is right (SEAL-8). Where no bulk comes between, a body is not even read before its
 * tag is right, a hello's apart, whose key it names: who lacks the key reaches little of the parser
 * (NAT-19).
 */
enum {
    FLAGS_AT = 8,
    EPOCH_AT = 12,
    SEQUENCE_AT = 16,
};

uint64_t vms_native_offset(const struct vms_native_decoder *d) {
    return d->offset;
}

/* ---- errors ---- */

/* at: offset in the stream of what is wrong. */
static enum vms_code fail(struct vms_native_decoder *d, enum vms_code code, uint64_t at,
                          const char *fmt, ...) __attribute__((format(printf, 4, 5)));

static void locate(struct vms_native_decoder *d, uint64_t at) {
    d->error.channel = d->state == AT_LABEL ? d->config.channel : d->frame.header.channel;
    d->error.offset = at;
    d->error.record = d->number;
    d->state = AT_FAILED;
}

static enum vms_code fail(struct vms_native_decoder *d, enum vms_code code, uint64_t at,
                          const char *fmt, ...) {
    char detail[160];
    va_list args;
    locate(d, at);
    if (!fmt)
        return vms_error_set(&d->error, code, NULL);
    va_start(args, fmt);
    (void)vsnprintf(detail, sizeof detail, fmt, args);
    va_end(args);
    return vms_error_set(&d->error, code, "%s", detail);
}

/* The seal layer and the owner of the keys have filled d->error. */
static enum vms_code failed_below(struct vms_native_decoder *d, enum vms_code code, uint64_t at) {
    locate(d, at);
    if (!d->error.code)
        return vms_error_set(&d->error, VMS_E_INTERNAL, "code %d", (int)code);
    return d->error.code;
}

static enum vms_native_step failed(struct vms_native_decoder *d, struct vms_native_event *ev) {
    ev->error = &d->error;
    return VMS_NATIVE_STEP_ERROR;
}

/* ---- staging ---- */

static size_t advance(struct vms_native_decoder *d, struct vms_room *input, size_t n) {
    input->ptr += n;
    input->len -= n;
    d->offset += n;
    return n;
}

/* Takes input until `want` bytes are at dst. False: the event says how many are lacking. */
static bool stage(struct vms_native_decoder *d, struct vms_room *input, uint8_t *dst, size_t want,
                  struct vms_native_event *ev) {
    size_t n = want - d->have < input->len ? want - d->have : input->len;
    if (n) {
        memcpy(dst + d->have, input->ptr, n);
        d->have += advance(d, input, n);
    }
    if (d->have < want) {
        ev->need = want - d->have;
        return false;
    }
    d->have = 0;
    return true;
}

/* ---- label, header ---- */

/* [NAT-1] The first octet that is wrong is refused when it comes. */
static enum vms_code check_label(struct vms_native_decoder *d, size_t have) {
    for (size_t i = 0; i < have; i++)
        if (d->header[i] != vms_native_label[i])
            return fail(d, VMS_E_NATIVE_LABEL, i, NULL);
    return VMS_OK;
}

static bool wrong_channel(const struct vms_native_decoder *d) {
    return !d->config.any_channel && d->frame.header.channel != d->config.channel;
}

/* [NAT-23] HELLO class first; on the main channel no DATA behind END. */
static enum vms_code check_order(struct vms_native_decoder *d) {
    const struct vms_native_header *h = &d->frame.header;
    if (!d->number && h->epoch)
        return fail(d, VMS_E_NATIVE_ORDER, d->start, "%s before any hello",
                    vms_native_type_name(h->type));
    if (d->number && !h->epoch && !d->config.any_channel)
        return fail(d, VMS_E_NATIVE_ORDER, d->start, "a second frame of epoch 0");
    if (d->number && !h->epoch && d->config.keys.opener(d->config.keys.ctx, h->channel))
        return fail(d, VMS_E_NATIVE_ORDER, d->start, "channel %u is open already", h->channel);
    if (d->ended && !h->channel && vms_frame_class(h->type) == FRAME_DATA)
        return fail(d, VMS_E_NATIVE_ORDER, d->start, "%s behind END",
                    vms_native_type_name(h->type));
    return VMS_OK;
}

/* [ERR-1] The field of the frame that the seal layer has refused. */
static uint64_t blamed(const struct vms_native_decoder *d, enum vms_code code) {
    const struct vms_native_header *h = &d->frame.header;
    switch (code) {
    case VMS_E_SEAL_UNSEALED:
    case VMS_E_SEAL_NO_KEY: return d->start + FLAGS_AT;
    case VMS_E_SEAL_EPOCH: return d->start + EPOCH_AT;
    case VMS_E_SEAL_SEQUENCE: return d->start + SEQUENCE_AT;
    case VMS_E_SEAL_TAG: return d->start + VMS_NATIVE_HEADER + h->body_len + h->bulk_len;
    default: return d->start;
    }
}

/* The key of the frame; a hello brings its own with its body. */
static enum vms_code begin_open(struct vms_native_decoder *d) {
    const struct vms_native_header *h = &d->frame.header;
    const struct vms_native_keys *keys = &d->config.keys;
    d->error.code = VMS_OK;
    d->opener = NULL;
    if (!h->epoch) {
        enum vms_code code = vms_seal_check_hello(d->header, keys->have_secret, &d->error);
        d->tag_len = h->flags & VMS_NATIVE_HELLO_SEALED ? VMS_NATIVE_TAG : 4;
        return code == VMS_OK ? VMS_OK : failed_below(d, code, blamed(d, code));
    }
    d->opener = keys->opener(keys->ctx, h->channel);
    if (!d->opener)
        return fail(d, VMS_E_NATIVE_ORDER, d->start, "channel %u is not open", h->channel);
    enum vms_code code = vms_opener_begin(d->opener, d->header, &d->error);
    d->tag_len = vms_seal_tag_bytes(&d->opener->link);
    return code == VMS_OK ? VMS_OK : failed_below(d, code, blamed(d, code));
}

static enum vms_code on_header(struct vms_native_decoder *d) {
    struct vms_native_frame *f = &d->frame;
    size_t at;
    const char *why;
    memset(f, 0, sizeof *f);
    vms_header_read(d->header, &f->header);
    d->start = d->offset - VMS_NATIVE_HEADER;
    enum vms_code code = vms_header_check(&f->header, d->header, &d->config.limits, &at, &why);
    if (code != VMS_OK)
        return why ? fail(d, code, d->start + at, "%s", why) : fail(d, code, d->start, NULL);
    if (wrong_channel(d))
        return fail(d, VMS_E_NATIVE_CHANNEL, d->start + 10, "channel %u", f->header.channel);
    code = check_order(d);
    if (code != VMS_OK)
        return code;
    f->unpacked = f->header.flags & VMS_NATIVE_PACK_MASK ? 0 : f->header.bulk_len;
    d->bulk_left = f->header.bulk_len;
    d->state = AT_BODY;
    return begin_open(d);
}

/* ---- body ---- */

static struct vms_slice body_of(const struct vms_native_decoder *d) {
    return vms_slice(d->body, d->frame.header.body_len);
}

/* A sealed hello's key follows from its body, which is readable (SEAL-15). */
static enum vms_code open_hello(struct vms_native_decoder *d) {
    const struct vms_native_keys *keys = &d->config.keys;
    d->error.code = VMS_OK;
    enum vms_code code = keys->hello(keys->ctx, &d->frame, &d->opener, &d->error);
    if (code == VMS_OK)
        code = vms_opener_begin(d->opener, d->header, &d->error);
    return code == VMS_OK ? VMS_OK : failed_below(d, code, blamed(d, code));
}

static enum vms_code open_to(struct vms_native_decoder *d, const uint8_t *in, uint8_t *out,
                             size_t n) {
    struct vms_seal_piece piece = {in, out, n};
    d->error.code = VMS_OK;
    enum vms_code code = vms_opener_data(d->opener, piece, &d->error);
    return code == VMS_OK ? VMS_OK : failed_below(d, code, blamed(d, code));
}

static enum vms_code open_bytes(struct vms_native_decoder *d, uint8_t *bytes, size_t n) {
    return open_to(d, bytes, bytes, n);
}

/* [SEAL-25] A hello names its secret exactly when it is sealed with it. */
static bool fits_secret(const struct vms_native_frame *f) {
    const struct vms_native_who *who = &f->u.hello.who;
    if (f->header.type == VMS_NATIVE_ATTACH)
        who = &f->u.attach.who;
    else if (f->header.type == VMS_NATIVE_ABORT)
        who = &f->u.abort.who;
    else if (f->header.type != VMS_NATIVE_HELLO)
        who = &f->u.resume.who;
    bool sealed = f->header.flags & VMS_NATIVE_HELLO_SEALED;
    return sealed == (who->secret != 0) && (!who->identity.len || who->secret == VMS_SECRET_PSK);
}

/* [NAT-30] to [NAT-33]; of an unknown frame only the form is checked. */
static enum vms_code parse_body(struct vms_native_decoder *d) {
    struct vms_native_frame *f = &d->frame;
    struct vms_body_in in = {vms_cbor(body_of(d), &d->config.limits), &d->config.limits, &d->arena};
    uint64_t at = d->start + VMS_NATIVE_HEADER;
    d->arena.used = 0;
    f->unknown = vms_frame_class(f->header.type) == FRAME_UNKNOWN;
    if (f->header.type == VMS_NATIVE_ABORT)
        f->u.abort.has_who = !f->header.epoch;
    if (f->unknown) {
        if (vms_cbor_peek(&in.c) != VMS_CBOR_MAP)
            vms_cbor_fail(&in.c, VMS_E_NATIVE_CBOR, 0, "not a map");
        vms_cbor_skip(&in.c, 0);
        vms_cbor_end(&in.c);
    } else {
        vms_body_read(&in, f);
    }
    if (in.c.code)
        return fail(d, in.c.code, at + in.c.at, "%s", in.c.why);
    if (!f->header.epoch && !fits_secret(f))
        return fail(d, VMS_E_NATIVE_HELLO, at, "SECRET does not go with HELLO_SEALED");
    const char *why = f->unknown ? NULL : vms_body_check_bulk(f, &d->config.limits);
    return why ? fail(d, VMS_E_NATIVE_BULK, at, "%s", why) : VMS_OK;
}

/*
 * [SEAL-28] What was deciphered with a wrong key is no body, so that a body that is bad says little
 * before its tag: bulk and tag are read first, and the body is then parsed again. The header has
 * told their lengths, which are within the limits.
 */
static enum vms_code parse_before_tag(struct vms_native_decoder *d) {
    enum vms_code code = parse_body(d);
    if (code == VMS_OK || !d->frame.header.epoch || !vms_suite_encrypts(d->opener->link.suite))
        return code;
    d->error = (struct vms_error){.clause = ""};
    d->parsed = false;
    return VMS_OK;
}

/* A hello is parsed for its key; a body with bulk behind it, since it says where the bulk goes. */
static enum vms_code on_body(struct vms_native_decoder *d) {
    bool hello = !d->frame.header.epoch;
    enum vms_code code = hello ? VMS_OK : open_bytes(d, d->body, d->frame.header.body_len);
    d->parsed = hello || d->bulk_left;
    if (code == VMS_OK && d->parsed)
        code = parse_before_tag(d);
    if (code == VMS_OK && hello)
        code = open_hello(d);
    if (code == VMS_OK && hello)
        code = open_bytes(d, d->body, d->frame.header.body_len);
    if (code == VMS_OK)
        d->state = d->bulk_left ? AT_BULK : AT_TAG;
    return code;
}

/* ---- bulk ---- */

/* Bulk of a body that could not be read goes to nobody: *more. */
static enum vms_native_step give_bulk(struct vms_native_decoder *d, struct vms_room *input,
                                      struct vms_native_event *ev, bool *more) {
    size_t n = input->len < d->bulk_left ? input->len : (size_t)d->bulk_left;
    if (!n) {
        ev->need = (size_t)d->bulk_left;
        return VMS_NATIVE_STEP_NEED;
    }
    uint8_t *bytes = input->ptr;
    if (open_bytes(d, bytes, n) != VMS_OK)
        return failed(d, ev);
    (void)advance(d, input, n);
    ev->bulk = vms_slice(bytes, n);
    ev->bulk_offset = d->frame.header.bulk_len - d->bulk_left;
    d->bulk_left -= n;
    if (!d->bulk_left)
        d->state = AT_TAG;
    *more = !d->parsed;
    return d->parsed ? VMS_NATIVE_STEP_BULK : VMS_NATIVE_STEP_NEED;
}

uint64_t vms_native_bulk_direct(const struct vms_native_decoder *d) {
    return d->state == AT_BULK && d->parsed ? d->bulk_left : 0;
}

bool vms_native_bulk_enciphered(const struct vms_native_decoder *d) {
    return vms_native_bulk_direct(d) && vms_suite_encrypts(d->opener->link.suite);
}

void vms_native_bulk_taken(struct vms_native_decoder *d, uint8_t *bytes, size_t n) {
    vms_native_bulk_moved(d, bytes, bytes, n);
}

void vms_native_bulk_moved(struct vms_native_decoder *d, const uint8_t *in, uint8_t *out,
                           size_t n) {
    if (n > vms_native_bulk_direct(d)) {
        (void)fail(d, VMS_E_MISUSE, d->offset, "more bulk taken than there is");
        return;
    }
    if (open_to(d, in, out, n) != VMS_OK)
        return;
    d->offset += n;
    d->bulk_left -= n;
    if (!d->bulk_left)
        d->state = AT_TAG;
}

/* ---- tag ---- */

static enum vms_code on_tag(struct vms_native_decoder *d) {
    d->error.code = VMS_OK;
    enum vms_code code = vms_opener_end(d->opener, d->tag, &d->error);
    if (code != VMS_OK)
        return failed_below(d, code, blamed(d, code));
    d->state = AT_FRAME;
    return d->parsed ? VMS_OK : parse_body(d);
}

static enum vms_native_step give_frame(struct vms_native_decoder *d, struct vms_native_event *ev) {
    d->ended |= d->frame.header.type == VMS_NATIVE_END;
    d->number++;
    d->state = AT_HEADER;
    ev->header = d->header;
    ev->body = body_of(d);
    ev->tag = vms_slice(d->tag, d->tag_len);
    return VMS_NATIVE_STEP_FRAME;
}

/* ---- driver ---- */

static enum vms_native_step read_label(struct vms_native_decoder *d, struct vms_room *input,
                                       struct vms_native_event *ev, bool *more) {
    bool whole = stage(d, input, d->header, VMS_NATIVE_LABEL, ev);
    if (check_label(d, whole ? VMS_NATIVE_LABEL : d->have) != VMS_OK)
        return failed(d, ev);
    *more = whole;
    if (whole)
        d->state = AT_HEADER;
    return VMS_NATIVE_STEP_NEED;
}

/* One state; *more when the next one can go on at once, without telling anything. */
static enum vms_native_step advance_state(struct vms_native_decoder *d, struct vms_room *input,
                                          struct vms_native_event *ev, bool *more) {
    *more = false;
    switch (d->state) {
    case AT_LABEL: return read_label(d, input, ev, more);
    case AT_HEADER:
        if (!stage(d, input, d->header, VMS_NATIVE_HEADER, ev))
            return VMS_NATIVE_STEP_NEED;
        *more = true;
        return on_header(d) == VMS_OK ? VMS_NATIVE_STEP_NEED : failed(d, ev);
    case AT_BODY:
        if (!stage(d, input, d->body, d->frame.header.body_len, ev))
            return VMS_NATIVE_STEP_NEED;
        if (on_body(d) != VMS_OK)
            return failed(d, ev);
        *more = !d->parsed;
        return d->parsed ? VMS_NATIVE_STEP_HEAD : VMS_NATIVE_STEP_NEED;
    case AT_BULK: return give_bulk(d, input, ev, more);
    case AT_TAG:
        if (!stage(d, input, d->tag, d->tag_len, ev))
            return VMS_NATIVE_STEP_NEED;
        if (on_tag(d) != VMS_OK)
            return failed(d, ev);
        *more = d->parsed;
        return d->parsed ? VMS_NATIVE_STEP_NEED : VMS_NATIVE_STEP_HEAD;
    case AT_FRAME: return give_frame(d, ev);
    default: return failed(d, ev);
    }
}

enum vms_native_step vms_native_decode(struct vms_native_decoder *d, struct vms_room *input,
                                       struct vms_native_event *ev) {
    bool more = true;
    enum vms_native_step step = VMS_NATIVE_STEP_NEED;
    memset(ev, 0, sizeof *ev);
    ev->frame = &d->frame;
    while (more && step == VMS_NATIVE_STEP_NEED)
        step = advance_state(d, input, ev, &more);
    return step;
}

/* [SES-21] A main channel ends with END; others where a frame ends. */
enum vms_native_step vms_native_finish(struct vms_native_decoder *d, struct vms_native_event *ev) {
    struct vms_room nothing = {NULL, 0};
    enum vms_native_step step = vms_native_decode(d, &nothing, ev);
    if (step != VMS_NATIVE_STEP_NEED)
        return step;
    bool main_channel = d->config.any_channel || d->config.channel == 0;
    if (d->state != AT_HEADER || d->have || !d->number)
        (void)fail(d, VMS_E_TRUNCATED, d->offset, NULL);
    else if (main_channel && !d->ended && !d->config.end_optional)
        (void)fail(d, VMS_E_SESSION_NO_END, d->offset, NULL);
    else
        return VMS_NATIVE_STEP_END;
    return failed(d, ev);
}
