/* SPDX-License-Identifier: MIT */
#include "qevm/internal.h"

/* Commands and packages: clauses CMD, PKG. */

enum {
    ANY = -1,
};

struct command_rule {
    int16_t len;
    vms_qemu_version since;
};

/* What a command must hold beyond its length. */
typedef enum vms_code check_command(struct vms_qevm_decoder *d, struct vms_slice payload);
static check_command check_ping, check_advise, check_discard, check_recv_bitmap, check_return_path,
    check_switchover_start;

enum {
    COMMAND_COUNT = VMS_CMD_SWITCHOVER_START + 1
};

static check_command *const CHECKS[COMMAND_COUNT] = {
    [VMS_CMD_OPEN_RETURN_PATH] = check_return_path,
    [VMS_CMD_PING] = check_ping,
    [VMS_CMD_POSTCOPY_ADVISE] = check_advise,
    [VMS_CMD_POSTCOPY_RAM_DISCARD] = check_discard,
    [VMS_CMD_RECV_BITMAP] = check_recv_bitmap,
    [VMS_CMD_SWITCHOVER_START] = check_switchover_start,
};

static const struct command_rule RULES[COMMAND_COUNT] = {
#define VMS_COMMAND(name, value, length, since) [value] = {length, since},
#include <vmstream/registry/qevm_commands.def>
#undef VMS_COMMAND
};

/* [CMD-6] The state that a postcopy command leads to; NONE where it is not allowed. */
static const uint8_t POSTCOPY_NEXT[VMS_POSTCOPY_STATES][COMMAND_COUNT] = {
    [VMS_POSTCOPY_NONE] = {[VMS_CMD_POSTCOPY_ADVISE] = VMS_POSTCOPY_ADVISE},
    [VMS_POSTCOPY_ADVISE] = {[VMS_CMD_POSTCOPY_RAM_DISCARD] = VMS_POSTCOPY_DISCARD,
                             [VMS_CMD_PACKAGED] = VMS_POSTCOPY_ADVISE,
                             [VMS_CMD_POSTCOPY_LISTEN] = VMS_POSTCOPY_LISTENING},
    [VMS_POSTCOPY_DISCARD] = {[VMS_CMD_POSTCOPY_RAM_DISCARD] = VMS_POSTCOPY_DISCARD,
                              [VMS_CMD_PACKAGED] = VMS_POSTCOPY_DISCARD,
                              [VMS_CMD_POSTCOPY_LISTEN] = VMS_POSTCOPY_LISTENING},
    [VMS_POSTCOPY_LISTENING] = {[VMS_CMD_POSTCOPY_RUN] = VMS_POSTCOPY_RUNNING},
    [VMS_POSTCOPY_RECOVERING] = {[VMS_CMD_POSTCOPY_RESUME] = VMS_POSTCOPY_RUNNING,
                                 [VMS_CMD_RECV_BITMAP] = VMS_POSTCOPY_RECOVERING},
};

static bool is_postcopy(uint16_t command) {
    return (command >= VMS_CMD_POSTCOPY_ADVISE && command <= VMS_CMD_PACKAGED) ||
           command == VMS_CMD_POSTCOPY_RESUME || command == VMS_CMD_RECV_BITMAP;
}

/* [PKG-1] Commands that read the main channel even when a package holds them. */
static bool has_own_data(uint16_t command) {
    return RULES[command].len == ANY || command == VMS_CMD_PACKAGED;
}

/* Payloads begin behind type, command and length. */
enum {
    PAYLOAD_AT = 5
};

static enum vms_code check_return_path(struct vms_qevm_decoder *d, struct vms_slice payload) {
    (void)payload;
    if (d->return_path)
        return vms_qevm_fail(d, VMS_E_RETURN_PATH_TWICE, 1, NULL);
    d->return_path = true;
    return VMS_OK;
}

static enum vms_code check_switchover_start(struct vms_qevm_decoder *d, struct vms_slice payload) {
    (void)payload;
    if (d->switchover_start)
        return vms_qevm_fail(d, VMS_E_SWITCHOVER_START_TWICE, 1, NULL);
    d->switchover_start = true;
    return VMS_OK;
}

static enum vms_code check_ping(struct vms_qevm_decoder *d, struct vms_slice payload) {
    (void)payload;
    if (!d->return_path && d->config.kind == VMS_QEVM_MAIN)
        return vms_qevm_fail(d, VMS_E_PING_WITHOUT_RETURN_PATH, 1, NULL);
    return VMS_OK;
}

static enum vms_code check_advise(struct vms_qevm_decoder *d, struct vms_slice payload) {
    struct vms_reader r = vms_reader(payload);
    if (payload.len != 0 && payload.len != 16)
        return vms_qevm_fail(d, VMS_E_COMMAND_LENGTH, 3, "POSTCOPY_ADVISE of %zu bytes",
                             payload.len);
    if (!payload.len)
        return VMS_OK;
    uint64_t sizes = vms_read_u64(&r);
    uint64_t target = vms_read_u64(&r);
    if (target != d->page_size || sizes < target || sizes % target)
        return vms_qevm_fail(d, VMS_E_ADVISE_PAGE_SIZE,
                             target != d->page_size ? PAYLOAD_AT + 8 : PAYLOAD_AT, "0x%llx, 0x%llx",
                             (unsigned long long)sizes, (unsigned long long)target);
    d->advised_sizes = sizes;
    return VMS_OK;
}

/* [CMD-7] u8 version 0, str8 block, u8 0, then pairs of u64. */
static bool discard_head(struct vms_reader *r, struct vms_slice *block) {
    uint8_t version = vms_read_u8(r);
    *block = vms_read_str8(r);
    uint8_t zero = vms_read_u8(r);
    return !vms_reader_short(r) && version == 0 && zero == 0 && block->len;
}

bool vms_qevm_discard_next(struct vms_slice payload, size_t *pos, struct vms_slice *block,
                           struct vms_discard *range) {
    struct vms_reader r = vms_reader(payload);
    if (!discard_head(&r, block))
        return false;
    if (*pos < r.pos)
        *pos = r.pos;
    r = vms_reader(vms_slice_tail(payload, *pos));
    range->start = vms_read_u64(&r);
    range->length = vms_read_u64(&r);
    *pos += r.pos;
    return !vms_reader_short(&r);
}

static bool range_ok(const struct vms_qevm_decoder *d, uint32_t block, struct vms_discard range) {
    if (!range.length || range.start % d->page_size || range.length % d->page_size ||
        range.start > UINT64_MAX - range.length)
        return false;
    return block == VMS_NO_BLOCK || range.start + range.length <= d->blocks[block].used_length;
}

static enum vms_code check_discard(struct vms_qevm_decoder *d, struct vms_slice payload) {
    struct vms_reader r = vms_reader(payload);
    struct vms_slice block;
    struct vms_discard range;
    if (!discard_head(&r, &block) || payload.len == r.pos || (payload.len - r.pos) % 16)
        return vms_qevm_fail(d, VMS_E_DISCARD_FORM, PAYLOAD_AT, NULL);
    uint32_t index = vms_block_find(d, block);
    if (d->list_seen && index == VMS_NO_BLOCK)
        return vms_qevm_fail(d, VMS_E_RAM_BLOCK_UNKNOWN, PAYLOAD_AT + 1, "%.*s", (int)block.len,
                             (const char *)block.ptr);
    for (size_t pos = 0; vms_qevm_discard_next(payload, &pos, &block, &range);)
        if (!range_ok(d, index, range))
            return vms_qevm_fail(d, VMS_E_DISCARD_FORM, PAYLOAD_AT + pos - 16, "0x%llx + 0x%llx",
                                 (unsigned long long)range.start, (unsigned long long)range.length);
    return VMS_OK;
}

static enum vms_code check_recv_bitmap(struct vms_qevm_decoder *d, struct vms_slice payload) {
    struct vms_reader r = vms_reader(payload);
    struct vms_slice block = vms_read_str8(&r);
    if (vms_reader_short(&r) || !block.len || r.pos != payload.len)
        return vms_qevm_fail(d, VMS_E_RECV_BITMAP_FORM, PAYLOAD_AT, NULL);
    if (d->list_seen && vms_block_find(d, block) == VMS_NO_BLOCK)
        return vms_qevm_fail(d, VMS_E_RAM_BLOCK_UNKNOWN, PAYLOAD_AT, "%.*s", (int)block.len,
                             (const char *)block.ptr);
    return VMS_OK;
}

/* [CMD-1], [CMD-2], [CMD-10], [PKG-1] */
static enum vms_code check_head(struct vms_qevm_decoder *d, uint16_t command, uint16_t len) {
    if (!vms_command_name(command))
        return vms_qevm_fail(d, VMS_E_UNKNOWN_COMMAND, 1, "%u", command);
    const struct command_rule *rule = &RULES[command];
    if (rule->len != ANY && rule->len != len)
        return vms_qevm_fail(d, VMS_E_COMMAND_LENGTH, 3, "%s of %u bytes",
                             vms_command_name(command), len);
    if (!vms_dialect_has(&d->dialect, rule->since, command == VMS_CMD_ENABLE_COLO ? 0x0b00 : 0))
        return vms_qevm_fail(d, VMS_E_COMMAND_DIALECT, 1, "%s", vms_command_name(command));
    if (d->packaged && has_own_data(command))
        return vms_qevm_fail(d, VMS_E_PACKAGE_NESTED, 1, "%s", vms_command_name(command));
    if (is_postcopy(command) && !POSTCOPY_NEXT[d->postcopy][command])
        return vms_qevm_fail(d, VMS_E_POSTCOPY_STATE, 1, "%s", vms_command_name(command));
    return VMS_OK;
}

static enum vms_code enter_package(struct vms_qevm_decoder *d, struct vms_slice payload) {
    struct vms_reader r = vms_reader(payload);
    uint32_t len = vms_read_u32(&r);
    if (len > d->config.limits.device_tail_bytes)
        return vms_qevm_fail(d, VMS_E_LIMIT, PAYLOAD_AT, "device_tail_bytes: a package of %u", len);
    if (!len)
        return vms_qevm_fail(d, VMS_E_PACKAGE_SHORT, PAYLOAD_AT, NULL);
    d->package_enter = len;
    return VMS_OK;
}

static enum vms_code obey(struct vms_qevm_decoder *d, uint16_t command, struct vms_slice payload) {
    check_command *check = CHECKS[command];
    enum vms_code code = check ? check(d, payload) : VMS_OK;
    if (code == VMS_OK && command == VMS_CMD_PACKAGED)
        code = enter_package(d, payload);
    if (code != VMS_OK)
        return code;
    if (is_postcopy(command))
        d->postcopy = (enum vms_postcopy)POSTCOPY_NEXT[d->postcopy][command];
    if (command == VMS_CMD_POSTCOPY_RUN && d->packaged) {
        d->state = VMS_ST_PACKAGE_END;
    }
    return VMS_OK;
}

/* Called behind the record type byte. */
enum vms_code vms_parse_command(struct vms_qevm_decoder *d, struct vms_reader *r,
                                struct vms_record *rec) {
    struct vms_rec_command *c = &rec->u.command;
    c->command = vms_read_u16(r);
    uint16_t len = vms_read_u16(r);
    if (vms_reader_short(r))
        return VMS_OK;
    enum vms_code code = check_head(d, c->command, len);
    if (code != VMS_OK)
        return code;
    c->payload = vms_read_bytes(r, len);
    if (vms_reader_short(r))
        return VMS_OK;
    rec->type = VMS_R_COMMAND;
    return obey(d, c->command, c->payload);
}

enum vms_code vms_parse_package_end(struct vms_qevm_decoder *d, struct vms_reader *r,
                                    struct vms_record *rec) {
    (void)r;
    if (d->package_left)
        return vms_qevm_fail(d, VMS_E_PACKAGE_TRAILER, 0, "%llu bytes",
                             (unsigned long long)d->package_left);
    rec->type = VMS_R_PACKAGE_END;
    d->packaged = false;
    d->guessed = false;
    d->cut = d->config.vmdesc_preloaded ? VMS_CUT_VMDESC : VMS_CUT_LIVE;
    d->state = VMS_ST_TOP;
    return VMS_OK;
}

void vms_emit_command(struct vms_writer *w, const struct vms_record *rec,
                      const struct vms_qevm_encoder *e) {
    const struct vms_rec_command *c = &rec->u.command;
    (void)e;
    vms_write_u8(w, VMS_TYPE_COMMAND);
    vms_write_u16(w, c->command);
    vms_write_u16(w, (uint16_t)c->payload.len);
    vms_write_bytes(w, c->payload);
}
