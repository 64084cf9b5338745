/* SPDX-License-Identifier: MIT */
#include "host/backend.h"
#include "host/native_file.h"
#include <errno.h>
#include <stdlib.h>
#include <sys/uio.h>
#include <vmstream/session.h>
#include <vmstream/vmstream.h>

enum {
    PIECES = 512,      /* of a frame's bulk (gather.h) */
    RETURN_PATH = 249, /* numbers that channels of these kinds like to have (TRC-19) */
    PREEMPT = 250,
    RECOVERY = 251,
};

struct channel {
    bool open;
    struct vms_sealer sealer;
    struct vms_native_encoder encoder;
};

struct vms_native_writer {
    struct vms_native_writer_config config;
    struct vms_backend *backend;
    const struct vms_crypto_ops *crypto;
    struct vms_psk psk;
    uint8_t master[VMS_MASTER_BYTES];
    struct vms_transcript transcript;
    struct vms_session session;
    struct vms_session_channel *accounts;
    struct vms_native_sent *sent;
    struct channel *channels;
    uint32_t channel_count;
    struct vms_room out;
    uint64_t bytes;
};

/* ---- bytes ---- */

static enum vms_code write_all(struct vms_native_writer *w, struct iovec *iov, int count,
                               struct vms_error *err) {
    while (count > 0) {
        ssize_t n = writev(w->config.fd, iov, count);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return vms_error_set(err, VMS_E_IO, "write: %s", strerror(errno));
        w->bytes += (uint64_t)n;
        for (; count > 0 && (size_t)n >= iov->iov_len; iov++, count--)
            n -= (ssize_t)iov->iov_len;
        if (count > 0) {
            iov->iov_base = (uint8_t *)iov->iov_base + n;
            iov->iov_len -= (size_t)n;
        }
    }
    return VMS_OK;
}

static struct iovec iovec_of(struct vms_slice s) {
    union {
        const uint8_t *in;
        void *out;
    } ptr = {s.ptr}; /* writev() does not write to it */
    return (struct iovec){ptr.out, s.len};
}

static enum vms_code write_gather(struct vms_native_writer *w, const struct vms_native_gather *g,
                                  struct vms_error *err) {
    struct iovec iov[PIECES + 2];
    int count = 0;
    iov[count++] = iovec_of(g->head);
    for (size_t i = 0; i < g->bulk_count && i < PIECES; i++)
        iov[count++] = iovec_of(g->bulk[i]);
    iov[count++] = iovec_of(g->tail);
    return write_all(w, iov, count, err);
}

/* ---- frames ---- */

/* [SEAL-20] The hello whole, then headers and tags of all channels, in the file's order; END apart.
 */
static enum vms_code add_transcript(struct vms_native_writer *w,
                                    const struct vms_native_frame *frame,
                                    const struct vms_native_gather *g, struct vms_error *err) {
    if (frame->header.type == VMS_NATIVE_END)
        return VMS_OK;
    if (frame->header.type != VMS_NATIVE_HELLO)
        return vms_transcript_frame(&w->transcript, g->head.ptr, g->tail, err);
    enum vms_code code = vms_transcript_hello(&w->transcript, g->head, err);
    return code == VMS_OK ? vms_transcript_hello(&w->transcript, g->tail, err) : code;
}

static enum vms_code encode(struct vms_native_writer *w, struct channel *c,
                            struct vms_native_frame *frame, const struct vms_slice *bulk,
                            size_t count, struct vms_error *err) {
    struct vms_native_gather gather;
    size_t len;
    enum vms_code code = vms_native_encode(&c->encoder, frame, bulk, count, w->out, &gather, &len);
    if (code == VMS_E_SPACE)
        return vms_error_set(err, VMS_E_INTERNAL, "a frame of %zu bytes", len);
    if (code != VMS_OK) {
        *err = c->encoder.error;
        return code;
    }
    code = add_transcript(w, frame, &gather, err);
    if (code == VMS_OK)
        code = write_gather(w, &gather, err);
    if (code == VMS_OK)
        vms_session_sent(&w->session, frame, 0);
    return code;
}

/* REKEY is the last frame of its epoch. */
static enum vms_code rekey(struct vms_native_writer *w, uint16_t channel, struct vms_error *err) {
    struct channel *c = &w->channels[channel];
    uint32_t epoch = c->sealer.link.epoch + 1;
    struct vms_native_frame frame = {.header.type = VMS_NATIVE_REKEY, .u.epoch = epoch};
    enum vms_code code = encode(w, c, &frame, NULL, 0, err);
    if (code != VMS_OK)
        return code;
    return vms_sealer_rekey(&c->sealer, w->config.suite, w->psk.key_len ? w->master : NULL, epoch,
                            w->accounts[channel].out_next, err);
}

static uint64_t payload_of(const struct vms_native_writer *w, const struct vms_native_out *out) {
    uint64_t sum = w->config.limits.native_body_bytes;
    for (size_t i = 0; i < out->bulk_count; i++)
        sum += out->bulk[i].len;
    return sum;
}

enum vms_code vms_native_writer_frame(struct vms_native_writer *w, uint16_t channel,
                                      struct vms_native_out *out, struct vms_error *err) {
    struct channel *c = channel < w->channel_count ? &w->channels[channel] : NULL;
    if (!c || !c->open)
        return vms_error_set(err, VMS_E_MISUSE, "channel %u is not open", channel);
    if (vms_sealer_must_rekey(&c->sealer, payload_of(w, out)) && rekey(w, channel, err) != VMS_OK)
        return err->code;
    return encode(w, c, &out->frame, out->bulk, out->bulk_count, err);
}

/* ---- hellos ---- */

/* Prepares a channel's sealer for its hello, and draws the random. */
static enum vms_code begin_channel(struct vms_native_writer *w, uint16_t channel,
                                   uint8_t random[VMS_SEAL_RANDOM_BYTES], struct vms_error *err) {
    struct channel *c = &w->channels[channel];
    vms_sealer_init(&c->sealer, w->crypto, VMS_SOURCE_TO_DESTINATION, channel, &w->config.limits);
    vms_native_encoder_init(&c->encoder, &c->sealer, channel, &w->config.limits);
    c->open = true;
    if (w->psk.key_len)
        return vms_sealer_hello(&c->sealer, vms_slice(w->psk.key, w->psk.key_len), random, err);
    if (!w->crypto->random(w->crypto->ctx, (struct vms_room){random, VMS_SEAL_RANDOM_BYTES}))
        return vms_error_set(err, VMS_E_SEAL_CRYPTO, "random");
    return vms_sealer_hello_plain(&c->sealer, err);
}

static enum vms_code first_epoch(struct vms_native_writer *w, uint16_t channel,
                                 struct vms_error *err) {
    return vms_sealer_rekey(&w->channels[channel].sealer, w->config.suite,
                            w->psk.key_len ? w->master : NULL, 1, 0, err);
}

static enum vms_code make_master(struct vms_native_writer *w, const uint8_t *random,
                                 struct vms_error *err) {
    struct vms_seal_salt salt = {.destination_random = {0}};
    if (!w->psk.key_len)
        return VMS_OK;
    memcpy(salt.source_random, random, sizeof salt.source_random);
    if (vms_transcript_value(&w->transcript, salt.hello_hash, err) != VMS_OK)
        return err->code;
    return vms_seal_master(w->crypto, vms_slice(w->psk.key, w->psk.key_len), &salt, w->master, err);
}

static struct vms_native_who who(const struct vms_native_writer *w, const uint8_t *random) {
    struct vms_native_who self = {
        .role = VMS_ROLE_SOURCE,
        .secret = w->psk.key_len ? VMS_SECRET_PSK : VMS_SECRET_NONE,
        .identity = vms_slice(w->psk.name, w->psk.name_len),
    };
    memcpy(self.session, w->session.id, sizeof self.session);
    memcpy(self.random, random, sizeof self.random);
    return self;
}

static struct vms_native_hello hello(const struct vms_native_writer *w, const uint32_t *suite,
                                     const uint8_t *random) {
    const struct vms_limits *l = &w->config.limits;
    return (struct vms_native_hello){
        .who = who(w, random),
        .version = VMS_NATIVE_VERSION,
        .version_min = VMS_NATIVE_VERSION_MIN,
        .form = VMS_FORM_FILE,
        .suite_count = 1,
        .suites = suite,
        .features = VMS_FEATURE_MUX | VMS_FEATURE_QEVM | (w->config.packed ? VMS_FEATURE_ZSTD : 0),
        .body_bytes = (uint32_t)l->native_body_bytes,
        .bulk_bytes = (uint32_t)l->native_bulk_bytes,
        .channels = (uint32_t)l->native_channels,
        .machine = w->config.machine,
        .software = vms_str("vmstream " VMSTREAM_VERSION),
        .dialect = w->config.dialect,
    };
}

static enum vms_code send_hello(struct vms_native_writer *w, struct vms_error *err) {
    struct vms_native_frame frame = {.header.type = VMS_NATIVE_HELLO};
    uint32_t suite = w->config.suite;
    uint8_t random[VMS_SEAL_RANDOM_BYTES];
    struct iovec label = iovec_of(vms_slice(vms_native_label, VMS_NATIVE_LABEL));
    if (write_all(w, &label, 1, err) != VMS_OK || begin_channel(w, 0, random, err) != VMS_OK)
        return err->code;
    frame.u.hello = hello(w, &suite, random);
    if (encode(w, &w->channels[0], &frame, NULL, 0, err) != VMS_OK ||
        make_master(w, random, err) != VMS_OK)
        return err->code;
    return first_epoch(w, 0, err);
}

static enum vms_code send_attach(struct vms_native_writer *w, uint16_t channel,
                                 enum vms_qevm_kind kind, struct vms_error *err) {
    struct vms_native_frame frame = {.header.type = VMS_NATIVE_ATTACH};
    uint8_t random[VMS_SEAL_RANDOM_BYTES];
    if (begin_channel(w, channel, random, err) != VMS_OK)
        return err->code;
    frame.u.attach =
        (struct vms_native_attach){.who = who(w, random), .kind = (uint32_t)kind + 1, .epoch = 1};
    if (encode(w, &w->channels[channel], &frame, NULL, 0, err) != VMS_OK)
        return err->code;
    return first_epoch(w, channel, err);
}

/* ---- channels ---- */

static bool is_free(const struct vms_native_writer *w, uint32_t channel) {
    return channel < w->channel_count && channel > 0 && !w->channels[channel].open;
}

static uint32_t likes(enum vms_qevm_kind kind) {
    switch (kind) {
    case VMS_QEVM_RETURN_PATH: return RETURN_PATH;
    case VMS_QEVM_PREEMPT: return PREEMPT;
    case VMS_QEVM_RECOVERY: return RECOVERY;
    default: return 1;
    }
}

/* [TRC-19] The number says nothing, ATTACH tells the kind. */
static uint32_t choose(const struct vms_native_writer *w, enum vms_qevm_kind kind) {
    uint32_t first = likes(kind);
    for (uint32_t i = 0; i < w->channel_count; i++) {
        uint32_t channel = (first + i) % w->channel_count;
        if (is_free(w, channel))
            return channel;
    }
    return w->channel_count;
}

enum vms_code vms_native_writer_open(struct vms_native_writer *w, enum vms_qevm_kind kind,
                                     uint16_t *channel, struct vms_error *err) {
    if (kind == VMS_QEVM_MAIN) {
        *channel = 0;
        return VMS_OK;
    }
    uint32_t number = choose(w, kind);
    if (number == w->channel_count)
        return vms_error_set(err, VMS_E_LIMIT, "native_channels: more than %u", w->channel_count);
    *channel = (uint16_t)number;
    return send_attach(w, *channel, kind, err);
}

enum vms_code vms_native_writer_end(struct vms_native_writer *w, struct vms_error *err) {
    struct vms_native_frame frame = {.header.type = VMS_NATIVE_END};
    if (vms_sealer_must_rekey(&w->channels[0].sealer, w->config.limits.native_body_bytes) &&
        rekey(w, 0, err) != VMS_OK)
        return err->code;
    frame.u.end.sent_count = vms_session_fill_end(&w->session, w->sent);
    frame.u.end.sent = w->sent;
    if (vms_transcript_value(&w->transcript, frame.u.end.transcript, err) != VMS_OK)
        return err->code;
    return encode(w, &w->channels[0], &frame, NULL, 0, err);
}

uint64_t vms_native_writer_bytes(const struct vms_native_writer *w) {
    return w->bytes;
}

/* ---- construction ---- */

static enum vms_code allocate(struct vms_native_writer *w, struct vms_error *err) {
    const struct vms_limits *l = &w->config.limits;
    size_t count = l->native_channels <= UINT16_MAX ? (size_t)l->native_channels : UINT16_MAX;
    w->channel_count = (uint32_t)count;
    w->out.len = vms_native_encode_max(l) +
                 (vms_suite_encrypts(w->config.suite) ? (size_t)l->native_bulk_bytes : 0);
    w->out.ptr = malloc(w->out.len);
    w->channels = calloc(count, sizeof *w->channels);
    w->accounts = calloc(count, sizeof *w->accounts);
    w->sent = calloc(count, sizeof *w->sent);
    if (!w->out.ptr || !w->channels || !w->accounts || !w->sent)
        return vms_error_set(err, VMS_E_NO_MEMORY, NULL);
    w->backend = vms_backend_new(NULL, err);
    if (!w->backend)
        return err->code;
    w->crypto = vms_backend_ops(w->backend);
    return vms_transcript_init(&w->transcript, w->crypto, err);
}

static enum vms_code start(struct vms_native_writer *w, struct vms_error *err) {
    uint8_t id[16];
    bool keyed = w->config.suite != VMS_SUITE_NONE;
    if (keyed != (w->psk.key_len > 0) || w->config.limits.native_channels == 0)
        return vms_error_set(err, VMS_E_MISUSE, keyed ? "a sealed file needs a key" : "a key");
    if (allocate(w, err) != VMS_OK)
        return err->code;
    if (!w->crypto->random(w->crypto->ctx, (struct vms_room){id, sizeof id}))
        return vms_error_set(err, VMS_E_SEAL_CRYPTO, "random");
    vms_session_init(&w->session, VMS_ROLE_SOURCE, id, w->accounts, w->channel_count);
    return send_hello(w, err);
}

struct vms_native_writer *vms_native_writer_new(const struct vms_native_writer_config *config,
                                                struct vms_error *err) {
    struct vms_native_writer *w = calloc(1, sizeof *w);
    if (!w) {
        (void)vms_error_set(err, VMS_E_NO_MEMORY, NULL);
        return NULL;
    }
    w->config = *config;
    if (config->psk)
        w->psk = *config->psk;
    if (start(w, err) == VMS_OK)
        return w;
    vms_native_writer_free(w);
    return NULL;
}

void vms_native_writer_free(struct vms_native_writer *w) {
    if (!w)
        return;
    for (uint32_t i = 0; w->channels && i < w->channel_count; i++)
        vms_sealer_free(&w->channels[i].sealer);
    vms_transcript_free(&w->transcript);
    vms_backend_free(w->backend);
    free(w->out.ptr);
    free(w->channels);
    free(w->accounts);
    free(w->sent);
    vms_wipe(w, sizeof *w);
    free(w);
}
