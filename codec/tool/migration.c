/* SPDX-License-Identifier: MIT */
#include "tool/migration.h"
#include "tool/native_in.h"
#include <poll.h>

/* ---- synchronisation points (MFD-12) ---- */

/* Machines up to 8.0 synchronise at every EOS of a RAM section, later ones at FLUSH records. When
 * the dialect does not tell, the first section does: with FLUSH there is one before its EOS. */
static bool is_marker(struct migration *m, const struct vms_record *record) {
    if (record->type != VMS_R_RAM_MULTIFD_FLUSH && record->type != VMS_R_RAM_EOS)
        return false;
    if (m->flush == VMS_AUTO)
        m->flush = vms_qevm_dialect(migration_decoder(m))->multifd_flush;
    if (m->flush == VMS_AUTO)
        m->flush = record->type == VMS_R_RAM_MULTIFD_FLUSH ? VMS_ON : VMS_OFF;
    return (record->type == VMS_R_RAM_MULTIFD_FLUSH) == (m->flush == VMS_ON);
}

static bool is_sync(const struct migration_channel *c, const struct vms_record *record) {
    if (c->migration->multifd_count == 0 || record->guessed)
        return false;
    if (c->kind == VMS_QEVM_MAIN)
        return is_marker(c->migration, record);
    return c->kind == VMS_QEVM_MULTIFD && record->type == VMS_R_MULTIFD_PACKET &&
           (record->u.packet.flags & VMS_MULTIFD_SYNC);
}

/* MFD-2: ids are 0 to n-1, each once; else a file is missing or given twice. */
static enum vms_code check_hello(struct migration_channel *c, const struct vms_record *record,
                                 struct vms_error *err) {
    struct migration *m = c->migration;
    uint8_t id = record->u.hello.channel_id;
    if (c->number == 0)
        return VMS_OK;
    if (m->ids[id / 64] >> (id % 64) & 1)
        return vms_error_set(err, VMS_E_MULTIFD_CHANNEL, "two files are channel %u", id);
    m->ids[id / 64] |= UINT64_C(1) << (id % 64);
    if (m->whole && id >= m->multifd_count)
        return vms_error_set(err, VMS_E_MULTIFD_CHANNEL,
                             "channel %u, but there are %zu files: not all channels are given", id,
                             m->multifd_count);
    return VMS_OK;
}

/* ---- the sink between pump and consumer ---- */

static enum vms_code on_record(void *ctx, const struct vms_record *record,
                               struct vms_answer *answer, struct vms_error *err) {
    struct migration_channel *c = ctx;
    if (c->sink.ops->record(c->sink.ctx, record, answer, err) != VMS_OK)
        return err->code;
    c->migration->flush_seen |= record->type == VMS_R_RAM_MULTIFD_FLUSH && !record->guessed;
    if (record->type == VMS_R_MULTIFD_HELLO && check_hello(c, record, err) != VMS_OK)
        return err->code;
    c->synced = is_sync(c, record);
    answer->pause = c->synced;
    return VMS_OK;
}

static enum vms_code on_bulk(void *ctx, const struct vms_event *event, struct vms_error *err) {
    const struct migration_channel *c = ctx;
    return c->sink.ops->bulk(c->sink.ctx, event, err);
}

static enum vms_code on_direct(void *ctx, const struct vms_record *record, uint64_t offset,
                               struct vms_room *room, struct vms_error *err) {
    const struct migration_channel *c = ctx;
    return c->sink.ops->direct(c->sink.ctx, record, offset, room, err);
}

static enum vms_code on_done(void *ctx, struct vms_error *err) {
    const struct migration_channel *c = ctx;
    return c->sink.ops->done(c->sink.ctx, err);
}

const struct vms_pump_sink_ops migration_sink_ops = {on_record, on_bulk, on_direct, on_done};

/* ---- running ---- */

struct vms_qevm_decoder *migration_decoder(const struct migration *m) {
    return vms_pump_decoder(m->channels[0].pump);
}

static bool has_recovery(const struct migration *m) {
    for (size_t i = 1; i < m->count; i++)
        if (m->channels[i].kind == VMS_QEVM_RECOVERY)
            return true;
    return false;
}

void migration_begin(struct migration_channel *c) {
    if (!c->begun && c->number != 0)
        vms_qevm_adopt(vms_pump_decoder(c->pump), migration_decoder(c->migration));
    c->begun = true;
}

/* Runs a channel to its next synchronisation point or its end. */
static enum vms_code run_to_sync(struct migration_channel *c, struct vms_error *err) {
    enum vms_pump_status status;
    migration_begin(c);
    c->synced = false;
    while ((status = vms_pump_run(c->pump, err)) == VMS_PUMP_AGAIN)
        (void)poll(&(struct pollfd){.fd = c->fd, .events = POLLIN}, 1, -1);
    c->over = status == VMS_PUMP_END;
    return status == VMS_PUMP_ERROR ? err->code : VMS_OK;
}

/* To its end: what a recovery continues may break off anywhere. */
static enum vms_code run_to_end(struct migration_channel *c, struct vms_error *err) {
    while (!c->over)
        if (run_to_sync(c, err) != VMS_OK)
            return err->code;
    return VMS_OK;
}

static enum vms_code sync_all(struct migration *m, struct vms_error *err) {
    for (size_t i = 1; i < m->count; i++) {
        struct migration_channel *c = &m->channels[i];
        if (c->kind != VMS_QEVM_MULTIFD)
            continue;
        if (!c->over && run_to_sync(c, err) != VMS_OK)
            return err->code;
        if (c->synced && !c->over)
            continue;
        (void)vms_error_at(err, VMS_E_MULTIFD_SYNC, c->number, vms_pump_bytes(c->pump), 0);
        return vms_error_set(err, VMS_E_MULTIFD_SYNC,
                             "the channel ends before a SYNC that the main channel waits for");
    }
    return VMS_OK;
}

static enum vms_code run_main(struct migration *m, struct vms_error *err) {
    struct migration_channel *c = &m->channels[0];
    while (!c->over) {
        if (run_to_sync(c, err) != VMS_OK) {
            m->cut = err->code == VMS_E_TRUNCATED && has_recovery(m);
            return m->cut ? VMS_OK : err->code;
        }
        if (!c->over && sync_all(m, err) != VMS_OK)
            return err->code;
    }
    return VMS_OK;
}

static enum vms_code run_kind(struct migration *m, enum vms_qevm_kind kind, struct vms_error *err) {
    for (size_t i = 1; i < m->count; i++)
        if (m->channels[i].kind == kind && run_to_end(&m->channels[i], err) != VMS_OK)
            return err->code;
    return VMS_OK;
}

static enum vms_code run_files(struct migration *m, struct vms_error *err) {
    static const enum vms_qevm_kind behind[] = {VMS_QEVM_MULTIFD, VMS_QEVM_PREEMPT,
                                                VMS_QEVM_RECOVERY, VMS_QEVM_RETURN_PATH};
    enum vms_code code = run_main(m, err);
    for (size_t i = 0; code == VMS_OK && i < sizeof behind / sizeof *behind; i++)
        code = run_kind(m, behind[i], err);
    return code;
}

enum vms_code migration_run(struct migration *m, struct vms_error *err) {
    *err = (struct vms_error){0};
    enum vms_code code = m->native ? native_input_run(m, err) : run_files(m, err);
    progress_stop(&m->progress);
    return code;
}
