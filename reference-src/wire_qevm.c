/* SPDX-License-Identifier: MIT */
#include "reference-src/wire_qevm.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- what every part uses ---- */

void qevm_note(struct qevm *q, const char *fmt, ...) {
    char text[256];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    q->owner.note(q->owner.ctx, text);
}

struct vms_slice qevm_block_name(const struct qevm *q, uint32_t block) {
    return vms_str(q->guest->blocks[block].name);
}

uint32_t qevm_ram_id(const struct qevm *q) {
    return q->options.recorded ? q->options.recorded->ram_id : 1; /* SEC-15 */
}

enum vms_code qevm_put(struct qevm *q, const struct vms_record *rec, struct vms_error *err) {
    return qevm_out_put(&q->main, rec, vms_slice(NULL, 0), err);
}

enum vms_code qevm_command(struct qevm *q, enum vms_command command, struct vms_slice payload,
                           struct vms_error *err) {
    struct vms_record r = {.type = VMS_R_COMMAND, .u.command = {(uint16_t)command, payload}};
    enum vms_code code = qevm_close_section(q, err);
    if (code == VMS_OK)
        code = qevm_put(q, &r, err);
    return code == VMS_OK ? qevm_out_flush(&q->main, err) : code; /* payload is the caller's */
}

enum vms_code qevm_ping(struct qevm *q, struct qevm_out *out, uint32_t value,
                        struct vms_error *err) {
    uint8_t bytes[4] = {(uint8_t)(value >> 24), (uint8_t)(value >> 16), (uint8_t)(value >> 8),
                        (uint8_t)value};
    struct vms_record r = {.type = VMS_R_COMMAND,
                           .u.command = {VMS_CMD_PING, vms_slice(bytes, sizeof bytes)}};
    return q->return_path ? qevm_out_put(out, &r, vms_slice(NULL, 0), err) : VMS_OK;
}

enum vms_code qevm_section(struct qevm *q, enum vms_record_type type, struct vms_error *err) {
    struct vms_record r = {.type = type, .u.section = {.id = qevm_ram_id(q)}};
    enum vms_code code = qevm_close_section(q, err);
    if (type == VMS_R_SECTION_START)
        r.u.section =
            (struct vms_rec_section){qevm_ram_id(q), 0, 4, VMS_SECTION_RAM, vms_slice("ram", 3)};
    if (code == VMS_OK)
        code = qevm_put(q, &r, err);
    q->section = code == VMS_OK;
    q->main.block = UINT32_MAX;
    return code;
}

static enum vms_code footer(struct qevm *q, uint32_t id, struct vms_error *err) {
    struct vms_record r = {.type = VMS_R_SECTION_FOOTER, .u.section.id = id};
    return q->dialect.footers == VMS_OFF ? VMS_OK : qevm_put(q, &r, err);
}

/* MFD-12: where EOS is the marker, every EOS is one. */
enum vms_code qevm_close_section(struct qevm *q, struct vms_error *err) {
    struct vms_record eos = {.type = VMS_R_RAM_EOS, .u.ram_word = VMS_RAM_EOS};
    enum vms_code code = VMS_OK;
    if (!q->section)
        return VMS_OK;
    q->section = false;
    if (q->worker_count && !q->habits.flush_record && !q->postcopy)
        code = qevm_multifd_sync(q, err);
    if (code == VMS_OK)
        code = qevm_put(q, &eos, err);
    if (code == VMS_OK)
        code = footer(q, qevm_ram_id(q), err);
    return code == VMS_OK ? qevm_out_flush(&q->main, err) : code;
}

enum vms_code qevm_switchover_start(struct qevm *q, struct vms_error *err) {
    if (!q->stopped) /* lanes look at it */
        q->stopped = true;
    if (q->switched || !q->habits.switchover)
        return VMS_OK;
    q->switched = true;
    return qevm_command(q, VMS_CMD_SWITCHOVER_START, vms_slice(NULL, 0), err);
}

/* ---- connections ---- */

enum vms_code qevm_open(struct qevm *q, struct vms_channel **out, struct vms_error *err) {
    struct vms_channel_options c = vms_channel_options_default();
    struct vms_uri uri;
    enum vms_code code = vms_uri_parse(q->owner.uri(q->owner.ctx), &uri, err);
    if (code != VMS_OK)
        return code;
    c.tls = q->tls;
    c.cancel = q->cancel;
    c.open_timeout_ms = c.write_timeout_ms = q->options.timeout_ms;
    c.read_timeout_ms = -1; /* a return path may be silent as long as the migration takes */
    return vms_channel_connect(&uri, &c, out, err);
}

void qevm_attach(struct qevm *q, struct qevm_out *out, struct vms_channel *io) {
    pthread_mutex_lock(&q->lock);
    qevm_out_attach(out, io);
    pthread_mutex_unlock(&q->lock);
}

/* The header goes first: a destination that peeks waits for it before it takes more (HOST-11). */
static enum vms_code connect_all(void *ctx, struct vms_error *err) {
    struct qevm *q = ctx;
    struct vms_record header = {.type = VMS_R_HEADER, .u.version = 3};
    struct vms_channel *io;
    enum vms_code code = qevm_open(q, &io, err);
    if (code != VMS_OK)
        return code;
    qevm_attach(q, &q->main, io);
    code = qevm_put(q, &header, err);
    if (code == VMS_OK)
        code = qevm_out_flush(&q->main, err);
    if (code == VMS_OK && q->return_path)
        code = qevm_reader_start(q, err);
    if (code == VMS_OK && q->options.channels)
        code = qevm_multifd_start(q, err);
    return code;
}

static enum vms_code flush_all(struct qevm *q, struct vms_error *err) {
    enum vms_code code = qevm_multifd_idle(q, err);
    return code == VMS_OK ? qevm_close_section(q, err) : code;
}

enum vms_code qevm_flush(void *ctx, struct vms_error *err) {
    struct qevm *q = ctx;
    enum vms_code code = flush_all(q, err);
    return code == VMS_OK ? qevm_out_flush(&q->main, err) : code;
}

/* ---- what this wire does not have ---- */

static enum vms_code no_switchover(void *ctx, uint32_t device, uint64_t generation, bool grant,
                                   struct vms_error *err) {
    (void)ctx, (void)device, (void)generation, (void)grant, (void)err;
    return VMS_OK;
}

static enum vms_code no_start(void *ctx, uint64_t generation, bool postcopy,
                              struct vms_error *err) {
    (void)ctx, (void)generation, (void)postcopy, (void)err;
    return VMS_OK;
}

/* ---- ending ---- */

static void shut(struct qevm_out *out) {
    struct vms_error ignored;
    if (out->io)
        (void)vms_channel_shutdown(out->io, VMS_SHUT_BOTH, &ignored);
}

static void shut_all(struct qevm *q) {
    pthread_mutex_lock(&q->lock);
    shut(&q->main);
    shut(&q->preempt);
    for (unsigned i = 0; i < q->worker_count; i++)
        shut(&q->workers[i].out);
    pthread_cond_broadcast(&q->changed);
    pthread_mutex_unlock(&q->lock);
}

/* QEMU's wire has no word for it: the channels end in the middle. */
static void abort_all(void *ctx, const struct vms_error *why) {
    struct qevm *q = ctx;
    (void)why;
    pthread_mutex_lock(&q->lock);
    q->aborted = true;
    pthread_mutex_unlock(&q->lock);
    vms_cancel_raise(q->cancel);
    shut_all(q);
}

static enum vms_code close_out(struct qevm *q, struct qevm_out *out, struct vms_error *err) {
    pthread_mutex_lock(&q->lock);
    struct vms_channel *io = out->io;
    if (io)
        out->before += vms_channel_bytes_out(io);
    out->io = NULL;
    pthread_mutex_unlock(&q->lock);
    return vms_channel_close(io, err);
}

/* MFD-19: each channel says goodbye by itself. A file or command may fail only now. */
static enum vms_code close_all(void *ctx, struct vms_error *err) {
    struct qevm *q = ctx;
    struct vms_error ignored;
    qevm_multifd_stop(q);
    for (unsigned i = 0; i < q->worker_count; i++)
        (void)close_out(q, &q->workers[i].out, NULL);
    (void)close_out(q, &q->preempt, NULL);
    if (q->has_reader) {
        (void)vms_channel_shutdown(q->main.io, VMS_SHUT_WRITE, &ignored);
        (void)vms_channel_shutdown(q->main.io, VMS_SHUT_BOTH, &ignored);
        qevm_reader_join(q);
        (void)close_out(q, &q->main, NULL);
        return VMS_OK;
    }
    return close_out(q, &q->main, err);
}

static void free_wire(void *ctx) {
    struct qevm *q = ctx;
    abort_all(q, NULL);
    qevm_multifd_stop(q);
    qevm_reader_join(q);
    for (unsigned i = 0; i < q->worker_count; i++)
        qevm_out_free(&q->workers[i].out);
    qevm_out_free(&q->main);
    qevm_out_free(&q->preempt);
    qevm_out_free(&q->package);
    qevm_devices_free(q);
    vms_tls_creds_free(q->tls);
    vms_cancel_free(q->cancel);
    pthread_cond_destroy(&q->changed);
    pthread_mutex_destroy(&q->lock);
    pthread_mutex_destroy(&q->ends);
    free(q->bitmap_asked);
    free(q->queue);
    free(q);
}

/* ---- figures ---- */

static void add_stats(struct src_wire_stats *s, const struct qevm_out *out, const char *name,
                      unsigned number) {
    struct src_channel_stats *c = &s->channels[s->channel_count++];
    c->bytes = qevm_out_bytes(out);
    c->pages = atomic_load(&out->pages);
    c->zeros = atomic_load(&out->zeros);
    if (number)
        (void)snprintf(c->name, sizeof c->name, "%s %u", name, number - 1);
    else
        (void)snprintf(c->name, sizeof c->name, "%s", name);
}

static void stats_of(void *ctx, struct src_wire_stats *out) {
    struct qevm *q = ctx;
    memset(out, 0, sizeof *out);
    pthread_mutex_lock(&q->lock);
    out->bytes_in = q->bytes_in + (q->main.io ? vms_channel_bytes_in(q->main.io) : 0);
    add_stats(out, &q->main, "main", 0);
    for (unsigned i = 0; i < q->worker_count; i++)
        add_stats(out, &q->workers[i].out, "multifd", i + 1);
    if (q->preempt.io || q->preempt.before)
        add_stats(out, &q->preempt, "preempt", 0);
    pthread_mutex_unlock(&q->lock);
}

/* ---- beginning ---- */

static const struct src_wire_ops OPS = {
    .connect = connect_all,
    .setup = qevm_setup,
    .pages = qevm_pages,
    .urgent = qevm_urgent,
    .sync = qevm_sync,
    .flush = qevm_flush,
    .data = qevm_data,
    .lanes = qevm_lanes,
    .ram_end = qevm_ram_end,
    .discard = qevm_discard,
    .listen = qevm_listen,
    .devices = qevm_devices,
    .switchover = no_switchover,
    .start = no_start,
    .commit = qevm_commit,
    .end = qevm_end,
    .reconnect = qevm_reconnect,
    .ask_bitmaps = qevm_ask_bitmaps,
    .resume = qevm_resume,
    .abort = abort_all,
    .close = close_all,
    .stats = stats_of,
    .free = free_wire,
};

/* Whether a machine type (0: the newest) is from that version on; likewise a binary (0: any). */
static bool machine_from(const struct vms_dialect *d, vms_qemu_version first) {
    return (!d->machine || d->machine >= first) && vms_dialect_has(d, first, 0);
}

static bool binary_from(const struct vms_dialect *d, vms_qemu_version first) {
    return !d->qemu || d->qemu >= first;
}

static void learn_habits(struct qevm *q) {
    struct vms_dialect *d = &q->dialect;
    vms_dialect_learn_machine(d, q->options.recorded ? q->options.recorded->config.machine
                                                     : vms_str(q->options.machine));
    q->habits = (struct qevm_habits){
        .flush_record = d->multifd_flush != VMS_OFF && binary_from(d, 0x0801),
        .packet_zeros = machine_from(d, 0x0900),
        .switchover = machine_from(d, 0x0a00),
        .early_preempt = d->machine && d->machine <= 0x0702,
        .loaded_ping = binary_from(d, 0x0a02),
    };
    q->page_size = UINT32_C(1) << (d->page_bits ? d->page_bits : 12);
}

static enum vms_code load_tls(struct qevm *q, struct vms_error *err) {
    const struct src_options *o = &q->options;
    struct vms_tls_config t = {
        .dir = o->tls_creds, .psk = o->psk, .identity = o->identity, .host_name = o->tls_hostname};
    if (!o->tls_creds && !o->psk)
        return VMS_OK;
    return vms_tls_creds_load(&t, VMS_TLS_CLIENT, &q->tls, err);
}

static bool two_way(const char *uri) {
    return strncmp(uri, "file:", 5) != 0 && strncmp(uri, "exec:", 5) != 0;
}

static enum vms_code make(struct qevm *q, struct vms_error *err) {
    struct qevm_out *outs[] = {&q->main, &q->preempt, &q->package};
    enum vms_code code = load_tls(q, err);
    for (uint32_t i = 0; i < 3 && code == VMS_OK; i++)
        code = qevm_out_init(outs[i], i, &q->dialect, err);
    q->cancel = vms_cancel_new();
    q->bitmap_asked = calloc(q->guest->block_count + 1, sizeof *q->bitmap_asked);
    if (code == VMS_OK && (!q->cancel || !q->bitmap_asked))
        return vms_error_set(err, VMS_E_NO_MEMORY, NULL);
    return code;
}

enum vms_code src_wire_qevm(const struct src_options *options, const struct vms_guest *guest,
                            const struct src_wire_owner *owner, struct src_wire *out,
                            struct vms_error *err) {
    pthread_condattr_t clock;
    struct qevm *q = calloc(1, sizeof *q);
    if (!q)
        return vms_error_set(err, VMS_E_NO_MEMORY, NULL);
    q->options = *options;
    q->guest = guest;
    q->owner = *owner;
    q->dialect = options->dialect;
    q->return_path = !options->no_return_path && two_way(options->connect);
    learn_habits(q);
    pthread_mutex_init(&q->lock, NULL);
    pthread_mutex_init(&q->ends, NULL);
    pthread_condattr_init(&clock);
    pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    pthread_cond_init(&q->changed, &clock);
    pthread_condattr_destroy(&clock);
    if (make(q, err) != VMS_OK) {
        free_wire(q);
        return err->code;
    }
    *out = (struct src_wire){&OPS, q};
    return VMS_OK;
}
