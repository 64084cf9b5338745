/* SPDX-License-Identifier: MIT */
#include "host/native_link_internal.h"
#include <stdlib.h>
#include <vmstream/pack_zstd.h>

/* ---- keys, for the decoder ---- */

bool link_has_secret(const struct vms_native_link *link) {
    return link->psk_text || link->config.exporter;
}

/* The session has one secret, whatever connection comes (SEAL-11). */
static enum vms_code psk_secret(struct link_conn *c, const struct vms_native_who *who,
                                struct vms_error *err) {
    struct vms_native_link *l = c->link;
    struct vms_psk psk;
    if (who->secret != VMS_SECRET_PSK || who->identity.len == 0)
        return vms_error_set(err, VMS_E_NATIVE_HELLO, "a pre-shared key is wanted here");
    if (vms_psk_parse(vms_slice(l->psk_text, l->config.psk.len), who->identity, 0,
                      &l->config.limits, &psk, err) != VMS_OK)
        return err->code;
    bool same = !l->opened || (psk.name_len == l->psk.name_len &&
                               memcmp(psk.name, l->psk.name, psk.name_len) == 0);
    memcpy(c->secret, psk.key, psk.key_len);
    c->secret_len = psk.key_len;
    if (!l->opened)
        l->psk = psk;
    vms_wipe(&psk, sizeof psk);
    return same ? VMS_OK : vms_error_set(err, VMS_E_NATIVE_HELLO, "another key than the session's");
}

static enum vms_code exporter_secret(struct link_conn *c, const struct vms_native_who *who,
                                     struct vms_error *err) {
    struct vms_native_link *l = c->link;
    struct vms_room room = {l->exporter, sizeof l->exporter};
    if (who->secret != VMS_SECRET_EXPORTER)
        return vms_error_set(err, VMS_E_NATIVE_HELLO, "the secret of the TLS session is wanted");
    if (!l->opened &&
        vms_channel_export(c->io, VMS_EXPORTER_LABEL, vms_slice(NULL, 0), room, err) != VMS_OK)
        return err->code;
    memcpy(c->secret, l->exporter, sizeof l->exporter);
    c->secret_len = sizeof l->exporter;
    return VMS_OK;
}

static const struct vms_native_who *who_of(const struct vms_native_frame *f) {
    switch (f->header.type) {
    case VMS_NATIVE_HELLO: return &f->u.hello.who;
    case VMS_NATIVE_ATTACH: return &f->u.attach.who;
    case VMS_NATIVE_ABORT: return &f->u.abort.who;
    default: return &f->u.resume.who;
    }
}

/* A frame of epoch 0: one a connection (NAT-23). The source has its secret already. */
static enum vms_code on_hello(void *ctx, const struct vms_native_frame *frame,
                              struct vms_opener **opener, struct vms_error *err) {
    struct link_conn *c = ctx;
    struct vms_native_link *l = c->link;
    const struct vms_native_who *who = who_of(frame);
    enum vms_direction dir =
        l->config.role == VMS_ROLE_SOURCE ? VMS_DESTINATION_TO_SOURCE : VMS_SOURCE_TO_DESTINATION;
    if (c->settled)
        return vms_error_set(err, VMS_E_NATIVE_ORDER, "a second frame of epoch 0");
    c->channel = frame->header.channel;
    vms_opener_free(&c->opener);
    vms_opener_init(&c->opener, l->crypto, dir, c->channel, &l->config.limits);
    *opener = &c->opener;
    if (!link_has_secret(l))
        return vms_opener_hello_plain(&c->opener, err);
    enum vms_code code = VMS_OK;
    if (l->config.role == VMS_ROLE_DESTINATION)
        code = l->psk_text ? psk_secret(c, who, err) : exporter_secret(c, who, err);
    if (code != VMS_OK)
        return code;
    return vms_opener_hello(&c->opener, vms_slice(c->secret, c->secret_len), who->random, err);
}

static struct vms_opener *find_opener(void *ctx, uint16_t channel) {
    struct link_conn *c = ctx;
    return c->settled && channel == c->channel ? &c->opener : NULL;
}

/* ---- a connection ---- */

/* [NAT-19] Not of hellos, which have no bulk. */
static size_t place(void *ctx, const struct vms_native_frame *frame, struct vms_room *rooms,
                    size_t max) {
    struct link_conn *c = ctx;
    const struct vms_native_link_config *config = &c->link->config;
    return c->settled ? config->place(config->ctx, c->channel, frame, rooms, max) : 0;
}

static enum vms_code make_intake(struct link_conn *c, struct vms_error *err) {
    const struct vms_native_link *l = c->link;
    struct vms_intake_config config = {.native = vms_native_config_default()};
    struct vms_zstd_config zstd = {.unpacked_max = (size_t)l->config.limits.native_bulk_bytes};
    c->zip_mem = malloc(vms_zstd_size(&zstd));
    struct vms_zstd *zip =
        c->zip_mem ? vms_zstd_init(c->zip_mem, vms_zstd_size(&zstd), &zstd) : NULL;
    if (!zip)
        return vms_error_set(err, VMS_E_NO_MEMORY, "zstd");
    config.zip = vms_zstd_ops(zip);
    config.keep_packed = l->config.packed;
    config.place = l->config.place ? place : NULL;
    config.place_ctx = c;
    config.native.limits = l->config.limits;
    config.native.any_channel = true; /* which one it is the hello tells; then find_opener() */
    config.native.end_optional = true;
    config.native.keys = (struct vms_native_keys){link_has_secret(l), find_opener, on_hello, c};
    size_t size = vms_intake_size(&config);
    c->intake_mem = size ? malloc(size) : NULL;
    c->intake = c->intake_mem ? vms_intake_init(c->intake_mem, size, &config) : NULL;
    return c->intake ? VMS_OK : vms_error_set(err, VMS_E_NO_MEMORY, "%zu bytes for frames", size);
}

static void conn_free(struct link_conn *c) {
    struct vms_error ignored;
    (void)vms_channel_close(c->io, &ignored);
    vms_sealer_free(&c->sealer);
    vms_opener_free(&c->opener);
    vms_transcript_free(&c->transcript);
    free(c->zip_mem);
    free(c->intake_mem);
    free(c->buffer);
    vms_wipe(c, sizeof *c);
    free(c);
}

struct link_conn *link_conn_new(struct vms_native_link *link, struct vms_channel *io,
                                uint16_t channel, struct vms_error *err) {
    struct link_conn *c = calloc(1, sizeof *c);
    struct vms_error ignored;
    if (!c) {
        (void)vms_channel_close(io, &ignored);
        (void)vms_error_set(err, VMS_E_NO_MEMORY, NULL);
        return NULL;
    }
    *c = (struct link_conn){.link = link, .io = io, .refs = 1, .channel = channel};
    c->serial = atomic_fetch_add(&link->serials, 1) + 1;
    c->buffer = malloc(LINK_BUFFER);
    enum vms_code code = c->buffer ? VMS_OK : vms_error_set(err, VMS_E_NO_MEMORY, NULL);
    if (code == VMS_OK)
        code = vms_transcript_init(&c->transcript, link->crypto, err);
    if (code == VMS_OK)
        code = make_intake(c, err);
    if (code == VMS_OK)
        return c;
    conn_free(c);
    return NULL;
}

struct link_conn *link_conn_ref(struct link_conn *conn) {
    if (conn)
        conn->refs++;
    return conn;
}

void link_conn_put(struct vms_native_link *link, struct link_conn *conn) {
    if (!conn)
        return;
    pthread_mutex_lock(&link->mutex);
    bool last = --conn->refs == 0;
    pthread_mutex_unlock(&link->mutex);
    if (last)
        conn_free(conn);
}

/* ---- reading ---- */

/* Long bulk goes straight into the intake, or where it belongs. False: it is not the turn of any.
 */
static bool fill_direct(struct link_conn *c, size_t *n, enum vms_code *code,
                        struct vms_error *err) {
    struct vms_room rooms[LINK_PIECES];
    struct iovec iov[LINK_PIECES];
    size_t count = vms_intake_rooms(c->intake, LINK_DIRECT_MAX, rooms, LINK_PIECES), total = 0;
    for (size_t i = 0; i < count; total += rooms[i].len, i++)
        iov[i] = (struct iovec){rooms[i].ptr, rooms[i].len};
    if (total < LINK_DIRECT_MIN)
        return false;
    *code = vms_channel_readv(c->io, iov, (int)count, n, err);
    if (*code == VMS_OK)
        vms_intake_filled(c->intake, *n);
    c->direct = true;
    return true;
}

static enum vms_code fill(struct link_conn *c, bool *eof, struct vms_error *err) {
    struct vms_room ahead = {c->buffer, c->direct ? LINK_HEAD : LINK_BUFFER};
    enum vms_code code = VMS_OK;
    size_t n = 0;
    if (!fill_direct(c, &n, &code, err)) {
        code = vms_channel_read(c->io, ahead, &n, err);
        c->input = (struct vms_room){c->buffer, n};
    }
    atomic_fetch_add(&c->link->bytes_in, n);
    *eof = code == VMS_OK && n == 0;
    return code;
}

/* [SES-25] A peer that is silent for too long is gone: only who waits for it can tell. */
enum link_read link_conn_read(struct link_conn *c, struct vms_error *err) {
    for (;;) {
        bool eof = false;
        enum vms_native_step step = vms_intake_next(c->intake, &c->input, &c->event);
        if (step == VMS_NATIVE_STEP_FRAME)
            return LINK_READ_FRAME;
        if (step == VMS_NATIVE_STEP_ERROR) {
            *err = *c->event.native.error;
            return LINK_READ_BAD;
        }
        enum vms_code code = fill(c, &eof, err);
        if (code == VMS_E_TIMEOUT)
            (void)vms_error_set(err, VMS_E_SESSION_SILENT, "%.100s", vms_channel_name(c->io));
        else if (eof)
            (void)vms_error_set(err, VMS_E_PEER_CLOSED, "%.100s", vms_channel_name(c->io));
        if (code != VMS_OK || eof)
            return LINK_READ_CUT;
    }
}

enum vms_code link_random(struct vms_native_link *link, uint8_t *out, size_t len,
                          struct vms_error *err) {
    if (link->crypto->random(link->crypto->ctx, (struct vms_room){out, len}))
        return VMS_OK;
    return vms_error_set(err, VMS_E_SEAL_CRYPTO, "random");
}
