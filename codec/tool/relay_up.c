/* SPDX-License-Identifier: MIT */
#include "tool/relay.h"
#include <stdlib.h>
#include <vmstream/pack_zstd.h>

/* Octets of QEVM from a connection become frames. What waits goes as soon as the input runs dry. */

struct up {
    struct relay *relay;
    struct vms_channel *from;
    uint16_t channel;
    enum vms_qevm_kind kind;
    bool known; /* its beginning was seen, so its kind is certain */
    bool adopted, opaque, last_sent;
    void *decoder_mem, *native_mem, *packer_mem, *zstd_mem;
    struct vms_qevm_decoder *decoder;
    struct vms_to_native *native;
    uint8_t *buffer;
    uint64_t offset; /* octets read */
    struct vms_error *err;
};

/* ---- construction ---- */

static struct vms_packer *make_packer(struct up *u) {
    int level = u->relay->options.level;
    struct vms_zstd_config zstd = {.level_max = level > 1 ? level : 1,
                                   .unpacked_max = VMS_BATCH_BYTES};
    struct vms_pack_config config = {.page_size = 4096, .unpacked_max = VMS_BATCH_BYTES};
    u->zstd_mem = malloc(vms_zstd_size(&zstd));
    struct vms_zstd *zip =
        u->zstd_mem ? vms_zstd_init(u->zstd_mem, vms_zstd_size(&zstd), &zstd) : NULL;
    if (!zip)
        return NULL;
    config.zip = vms_zstd_ops(zip);
    u->packer_mem = malloc(vms_packer_size(&config));
    return u->packer_mem ? vms_packer_init(u->packer_mem, vms_packer_size(&config), &config) : NULL;
}

static bool make_native(struct up *u) {
    const struct vms_agreement *agreed = vms_native_link_agreement(u->relay->link);
    struct vms_to_native_config config = vms_to_native_config_default();
    config.limits = agreed->limits;
    config.level = u->relay->options.level;
    if (config.limits.native_bulk_bytes < VMS_BATCH_BYTES)
        config.batch_bytes = VMS_BATCH_BYTES_MIN;
    if (config.level != VMS_LEVEL_NONE && u->kind != VMS_QEVM_RETURN_PATH &&
        agreed->features & VMS_FEATURE_ZSTD) {
        config.packer = make_packer(u);
        if (!config.packer)
            return false;
    }
    u->native_mem = malloc(vms_to_native_size(&config));
    u->native = u->native_mem
                    ? vms_to_native_init(u->native_mem, vms_to_native_size(&config), &config)
                    : NULL;
    return u->native != NULL;
}

static bool make(struct up *u) {
    struct vms_qevm_config config = vms_qevm_config_default();
    config.kind = u->kind;
    config.channel = u->channel;
    config.dialect = u->relay->options.dialect;
    config.limits = u->relay->options.limits;
    config.tail_mode = VMS_TAIL_OPAQUE; /* RLY-4 */
    u->decoder_mem = malloc(vms_qevm_decoder_size(&config));
    u->decoder = u->decoder_mem ? vms_qevm_decoder_init(u->decoder_mem,
                                                        vms_qevm_decoder_size(&config), &config)
                                : NULL;
    u->buffer = malloc(RELAY_BUFFER);
    return u->decoder && u->buffer && make_native(u);
}

static void unmake(struct up *u) {
    if (u->channel == 0 && u->kind == VMS_QEVM_MAIN) {
        pthread_mutex_lock(&u->relay->learn);
        u->relay->main_decoder = NULL;
        pthread_mutex_unlock(&u->relay->learn);
    }
    free(u->decoder_mem);
    free(u->native_mem);
    free(u->packer_mem);
    free(u->zstd_mem);
    free(u->buffer);
}

/* ---- sending ---- */

static enum vms_code send(struct up *u, struct vms_native_out *out) {
    u->last_sent |= out->frame.header.type == VMS_NATIVE_OPAQUE && out->frame.u.opaque.last;
    return vms_native_link_send(u->relay->link, u->channel, out, u->err);
}

/* One call on the transcoder has answered: a frame to send means that the call is due again. */
static enum vms_code answered(struct up *u, enum vms_transcode t, struct vms_native_out *out,
                              bool *again) {
    *again = t == VMS_TRANSCODE_FRAME;
    if (t == VMS_TRANSCODE_ERROR) {
        *u->err = *vms_to_native_error(u->native);
        return u->err->code;
    }
    return *again ? send(u, out) : VMS_OK;
}

static enum vms_code give_record(struct up *u, const struct vms_record *record) {
    struct vms_native_out out;
    bool again = true;
    enum vms_code code = VMS_OK;
    while (again && code == VMS_OK)
        code = answered(u, vms_to_native_record(u->native, record, &out), &out, &again);
    return code;
}

static enum vms_code give_bulk(struct up *u, struct vms_slice piece) {
    struct vms_native_out out;
    bool again = true;
    enum vms_code code = VMS_OK;
    while ((again || piece.len) && code == VMS_OK)
        code = answered(u, vms_to_native_bulk(u->native, &piece, &out), &out, &again);
    return code;
}

static enum vms_code give_opaque(struct up *u, struct vms_slice piece) {
    struct vms_native_out out;
    bool again = true;
    enum vms_code code = VMS_OK;
    uint64_t offset = u->offset - piece.len;
    while ((again || piece.len) && code == VMS_OK)
        code = answered(u, vms_to_native_opaque(u->native, offset, &piece, &out), &out, &again);
    return code;
}

static enum vms_code flush(struct up *u) {
    struct vms_native_out out;
    bool again = true;
    enum vms_code code = VMS_OK;
    while (again && code == VMS_OK)
        code = answered(u, vms_to_native_flush(u->native, &out), &out, &again);
    vms_to_native_settle(u->native);
    return code;
}

/* RLY-6: the end of a channel is an OPAQUE frame with LAST. */
static enum vms_code end(struct up *u) {
    struct vms_native_out out;
    bool again = true;
    enum vms_code code = VMS_OK;
    while (again && code == VMS_OK)
        code = answered(u, vms_to_native_end(u->native, &out), &out, &again);
    if (code != VMS_OK || u->last_sent)
        return code;
    out = (struct vms_native_out){.bulk_count = 0};
    out.frame.header.type = VMS_NATIVE_OPAQUE;
    out.frame.u.opaque = (struct vms_native_opaque){u->offset, true};
    return send(u, &out);
}

/* ---- decoding ---- */

static bool is_listen(const struct vms_record *record) {
    return record->type == VMS_R_COMMAND && record->u.command.command == VMS_CMD_POSTCOPY_LISTEN;
}

/* What the relay itself must know of the stream. */
static void learn(struct up *u, const struct vms_record *record) {
    struct relay *r = u->relay;
    if (is_listen(record))
        atomic_store(&r->postcopy, true);
    if (record->type == VMS_R_RP_SHUT && record->u.value == 0)
        atomic_store(&r->shut_seen, true);
    bool page = record->type == VMS_R_RAM_PAGE || record->type == VMS_R_RAM_ZERO;
    if (!page)
        vms_to_native_page_size(u->native, vms_qevm_page_size(u->decoder));
}

/* Others learn from the main channel's decoder what they need to read theirs. */
static enum vms_step decode(struct up *u, struct vms_slice *input, struct vms_event *ev) {
    struct relay *r = u->relay;
    bool teaches = u->kind == VMS_QEVM_MAIN;
    if (!teaches && u->kind != VMS_QEVM_RETURN_PATH && !u->adopted) {
        pthread_mutex_lock(&r->learn);
        if (r->main_decoder)
            vms_qevm_adopt(u->decoder, r->main_decoder);
        pthread_mutex_unlock(&r->learn);
        u->adopted = true;
        vms_to_native_page_size(u->native, vms_qevm_page_size(u->decoder));
    }
    if (teaches)
        pthread_mutex_lock(&r->learn);
    enum vms_step step = vms_qevm_decode(u->decoder, input, ev);
    if (teaches)
        pthread_mutex_unlock(&r->learn);
    return step;
}

/* A connection whose kind was guessed is passed on as it is when the guess was wrong (RLY-5). */
static bool may_be_opaque(const struct up *u) {
    return !u->known && u->offset <= RELAY_BUFFER && vms_to_native_waiting(u->native) == 0;
}

/*
 * [RLY-15] LISTEN waits for QEMU's other connections, and what was before it goes first: relay B
 * makes its main connection with the first octets, and the others behind that one (RLY-3).
 */
static enum vms_code on_record(struct up *u, const struct vms_record *record) {
    enum vms_code code = VMS_OK;
    learn(u, record);
    if (u->kind == VMS_QEVM_MAIN && is_listen(record)) {
        code = flush(u);
        if (code == VMS_OK)
            code = relay_hold_listen(u->relay, u->err);
    }
    return code == VMS_OK ? give_record(u, record) : code;
}

/* What it holds of the buffer it must have copied before the next octets are read. */
static enum vms_code feed_opaque(struct up *u, struct vms_slice all) {
    enum vms_code code = give_opaque(u, all);
    u->opaque = true;
    vms_to_native_settle(u->native);
    return code;
}

static enum vms_code feed(struct up *u, struct vms_slice all) {
    struct vms_slice input = all;
    struct vms_event ev;
    enum vms_code code = VMS_OK;
    bool any = false;
    if (u->opaque)
        return feed_opaque(u, all);
    while (code == VMS_OK) {
        enum vms_step step = decode(u, &input, &ev);
        if (step == VMS_STEP_NEED || (step == VMS_STEP_END && input.len == 0))
            break;
        if (step == VMS_STEP_ERROR && !any && may_be_opaque(u))
            return feed_opaque(u, all);
        if (step == VMS_STEP_ERROR || step == VMS_STEP_END) {
            *u->err = step == VMS_STEP_ERROR ? *ev.error : (struct vms_error){.clause = ""};
            return u->err->code ? u->err->code : vms_error_set(u->err, VMS_E_TRAILING_BYTES, NULL);
        }
        any = true;
        code = step == VMS_STEP_RECORD ? on_record(u, &ev.record) : give_bulk(u, ev.bulk);
    }
    vms_to_native_settle(u->native);
    return code;
}

/* ---- reading ---- */

/* Reads what is there; before it waits, what has come goes out. */
static enum vms_code read_some(struct up *u, size_t *n) {
    struct vms_room room = {u->buffer, RELAY_BUFFER};
    vms_channel_set_timeouts(u->from, 0, -1);
    enum vms_code code = vms_channel_read(u->from, room, n, u->err);
    if (code != VMS_E_TIMEOUT)
        return code;
    if (flush(u) != VMS_OK)
        return u->err->code;
    vms_channel_set_timeouts(u->from, -1, -1);
    return vms_channel_read(u->from, room, n, u->err);
}

/* [RLY-8] Before its LAST goes out: relay A may end the session as soon as it has that. */
static void return_path_read(struct relay *r) {
    pthread_mutex_lock(&r->mutex);
    r->rp_read++;
    pthread_mutex_unlock(&r->mutex);
}

/* The connection is over: was the stream, too? A postcopy that breaks off can be recovered. */
static enum vms_code finish(struct up *u) {
    struct vms_event ev;
    struct relay *r = u->relay;
    bool recoverable = atomic_load(&r->postcopy);
    enum vms_step step = u->opaque ? VMS_STEP_END : vms_qevm_finish(u->decoder, &ev);
    if (step == VMS_STEP_ERROR && !recoverable) {
        *u->err = *ev.error;
        return u->err->code;
    }
    if (u->kind == VMS_QEVM_RETURN_PATH)
        return_path_read(r);
    return end(u);
}

/* A reset instead of an end, where nothing is lost by it. */
static bool may_break_off(struct relay *r) {
    return atomic_load(&r->postcopy) || atomic_load(&r->shut_seen);
}

static enum vms_code run(struct up *u, _Atomic uint64_t *bytes) {
    for (;;) {
        size_t n = 0;
        enum vms_code code = read_some(u, &n);
        if (code == VMS_E_PEER_CLOSED && may_break_off(u->relay))
            n = 0;
        else if (code != VMS_OK)
            return code;
        if (n == 0)
            return finish(u);
        u->offset += n;
        atomic_fetch_add(bytes, n);
        code = feed(u, vms_slice(u->buffer, n));
        if (code != VMS_OK)
            return code;
    }
}

enum vms_code relay_up(struct relay *r, struct vms_channel *from, uint16_t channel,
                       enum vms_qevm_kind kind, bool known, _Atomic uint64_t *bytes,
                       struct vms_error *err) {
    struct up u = {
        .relay = r, .from = from, .channel = channel, .kind = kind, .known = known, .err = err};
    enum vms_code code = VMS_OK;
    *err = (struct vms_error){.clause = ""};
    if (!make(&u))
        code = vms_error_set(err, VMS_E_NO_MEMORY, "a channel");
    if (code == VMS_OK && kind == VMS_QEVM_MAIN) {
        pthread_mutex_lock(&r->learn);
        r->main_decoder = u.decoder;
        pthread_mutex_unlock(&r->learn);
    }
    if (code == VMS_OK)
        code = run(&u, bytes);
    unmake(&u);
    return code;
}
