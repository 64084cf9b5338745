/* SPDX-License-Identifier: MIT */
#include "sim_device.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

size_t vfs_device_size(void) {
    return sizeof(struct vfs_device);
}

struct vfs_device *vfs_device_init(void *mem, const struct vfs_description *description,
                                   const struct vfs_log *log) {
    struct vfs_device *device = mem;
    memset(device, 0, sizeof *device);
    device->d = *description;
    if (log)
        device->log = *log;
    device->state = VFS_RUNNING;
    device->last_logged = UINT64_MAX;
    return device;
}

uint32_t vfs_flags(const struct vfs_device *device) {
    return VFS_FLAG_STOP_COPY | (device->d.p2p ? VFS_FLAG_P2P : 0u) |
           (device->d.precopy ? VFS_FLAG_PRE_COPY : 0u);
}

enum vfs_state vfs_device_state(const struct vfs_device *device) {
    return device->state;
}

const struct vfs_figures *vfs_device_figures(const struct vfs_device *device) {
    return &device->figures;
}

const struct vfs_description *vfs_device_description(const struct vfs_device *device) {
    return &device->d;
}

void vfs_note(struct vfs_device *device, uint64_t now, const char *event, const char *fmt, ...) {
    char line[512];
    va_list args;
    if (!device->log.line)
        return;
    int n = snprintf(
        line, sizeof line, "{\"t\":%llu,\"device\":\"%s\",\"event\":\"%s\",\"state\":\"%s\"",
        (unsigned long long)now, device->d.name, event, vfs_state_name((uint32_t)device->state));
    if (fmt) {
        line[n++] = ',';
        va_start(args, fmt);
        n += vsnprintf(line + n, sizeof line - (size_t)n - 2, fmt, args);
        va_end(args);
    }
    line[n] = '}';
    line[n + 1] = 0;
    device->log.line(device->log.ctx, line);
}

/* ---- faults ---- */

struct vfs_fault *vfs_fault_of(struct vfs_device *device, enum vfs_op op, enum vfs_state state,
                               uint64_t bytes) {
    for (size_t i = 0; i < device->d.fault_count; i++) {
        struct vfs_fault *f = &device->d.faults[i];
        if (f->op != op || (f->state != VFS_STATES && f->state != state) || bytes < f->after)
            continue;
        if (f->times && f->so_far >= f->times)
            continue;
        return f;
    }
    return NULL;
}

int vfs_fail(struct vfs_device *device, uint64_t now, const struct vfs_fault *fault) {
    struct vfs_fault *f = &device->d.faults[fault - device->d.faults];
    f->so_far++;
    if (f->kind == VFS_BREAK)
        device->state = VFS_ERROR;
    device->stuck = device->stuck || f->kind == VFS_STUCK;
    vfs_note(device, now, "fault", "\"op\":%d,\"errno\":%d", (int)f->op, f->error);
    return -f->error;
}

/** A fault that makes the call fail. */
static int failing(struct vfs_device *device, uint64_t now, enum vfs_op op, enum vfs_state state) {
    struct vfs_fault *f = vfs_fault_of(device, op, state, 0);
    return f && f->kind <= VFS_STUCK ? vfs_fail(device, now, f) : 0;
}

/** What a device says instead of the truth. */
static uint64_t told(struct vfs_device *device, enum vfs_op op, uint64_t truth) {
    struct vfs_fault *f = vfs_fault_of(device, op, device->state, 0);
    if (!f || f->kind <= VFS_STUCK)
        return truth;
    f->so_far++;
    return f->kind == VFS_LONG ? truth * 2 : truth / 2;
}

/* ---- arcs ---- */

static bool is_saving(enum vfs_state state) {
    return state == VFS_PRE_COPY || state == VFS_PRE_COPY_P2P || state == VFS_STOP_COPY;
}

/** What the device does on one arc; both ends are states that it has. */
static int arc(struct vfs_device *device, uint64_t now, enum vfs_state to, bool *opened) {
    enum vfs_state from = device->state;
    *opened = false;
    if (from == VFS_RESUMING && vfs_load_end(device, now) != 0)
        return -EINVAL;
    if (from == VFS_PRE_COPY && (to == VFS_PRE_COPY_P2P || to == VFS_STOP_COPY))
        vfs_reinit_at(device, now, VFS_AT_P2P, 0);
    if (is_saving(from) && !is_saving(to))
        vfs_save_end(device, now);
    if (to == VFS_RESUMING)
        vfs_load_begin(device, now);
    if (is_saving(to) && !is_saving(from))
        vfs_save_begin(device, now);
    *opened = to == VFS_RESUMING || (is_saving(to) && !is_saving(from));
    return 0;
}

int vfs_set_state(struct vfs_device *device, uint64_t now, uint32_t target, bool *opened,
                  uint64_t *busy) {
    *opened = false;
    *busy = 0;
    vfs_advance(device, now);
    if (device->stuck)
        return -EIO;
    while (device->state != target) {
        enum vfs_state from = device->state, to = vfs_next_state(from, target, vfs_flags(device));
        if (to == VFS_ERROR)
            return -EINVAL;
        int e = failing(device, now, VFS_OP_SET, to);
        if (e == 0)
            e = arc(device, now, to, opened);
        if (e != 0)
            return e;
        device->state = to;
        *busy += device->d.state_cost[to];
        vfs_note(device, now, "state", "\"from\":\"%s\",\"fd\":%s", vfs_state_name(from),
                 *opened ? "true" : "false");
    }
    return vfs_has_state(target, vfs_flags(device)) && target != VFS_ERROR ? 0 : -EINVAL;
}

int vfs_reset(struct vfs_device *device, uint64_t now) {
    if (device->stuck)
        return -EIO;
    int e = failing(device, now, VFS_OP_RESET, device->state);
    if (e != 0)
        return e;
    if (device->session == VFS_SAVING)
        vfs_save_end(device, now);
    enum vfs_state from = device->state;
    device->session = VFS_NO_SESSION;
    device->state = VFS_RUNNING;
    vfs_note(device, now, "reset", "\"from\":\"%s\"", vfs_state_name(from));
    return 0;
}

/* ---- questions ---- */

int vfs_opt_in(struct vfs_device *device, uint64_t now) {
    if (!device->d.precopy || !device->d.reinit)
        return -ENOTTY;
    device->v2 = true;
    vfs_note(device, now, "opt-in", NULL);
    return 0;
}

/** The log says what changed, not what is asked a thousand times a second. */
static void note_query(struct vfs_device *device, uint64_t now, uint32_t flags, uint64_t initial,
                       uint64_t dirty) {
    uint64_t said = initial * 3 + dirty * 2 + flags;
    if (said == device->last_logged && !device->d.trace)
        return;
    device->last_logged = said;
    vfs_note(device, now, "query", "\"n\":%llu,\"flags\":%u,\"initial\":%llu,\"dirty\":%llu",
             (unsigned long long)device->figures.queries, flags, (unsigned long long)initial,
             (unsigned long long)dirty);
}

int vfs_info(struct vfs_device *device, uint64_t now, uint32_t *flags, uint64_t *initial,
             uint64_t *dirty) {
    if (device->session != VFS_SAVING ||
        (device->state != VFS_PRE_COPY && device->state != VFS_PRE_COPY_P2P))
        return -EINVAL;
    int e = failing(device, now, VFS_OP_INFO, device->state);
    if (e != 0)
        return e;
    vfs_advance(device, now);
    device->figures.queries++;
    vfs_reinit_at(device, now, VFS_AT_QUERY, device->figures.queries);
    if (++device->queries == 2)
        vfs_reinit_at(device, now, VFS_AT_LAST, 0);
    if (device->v2) {
        *flags = device->flag ? VFS_INFO_REINIT : 0;
        device->told = device->flag;
        device->flag = device->flag && device->sticky;
    }
    *initial = told(device, VFS_OP_INFO, vfs_unread(device, VFS_INITIAL));
    *dirty = vfs_unread(device, VFS_DIRTY);
    note_query(device, now, *flags, *initial, *dirty);
    return 0;
}

int vfs_data_size(struct vfs_device *device, uint64_t now, uint64_t *bytes) {
    if (!device->d.data_size)
        return -ENOTTY;
    int e = failing(device, now, VFS_OP_SIZE, device->state);
    if (e != 0)
        return e;
    vfs_advance(device, now);
    device->queries = 0;
    uint64_t truth = 0;
    for (int c = 0; c < VFS_CLASSES; c++)
        truth += vfs_unread(device, (enum vfs_class)c);
    if (device->session != VFS_SAVING)
        truth = device->d.initial + device->d.dirty + device->d.stop;
    *bytes = told(device, VFS_OP_SIZE, truth);
    if (device->d.trace)
        vfs_note(device, now, "size", "\"bytes\":%llu", (unsigned long long)*bytes);
    return 0;
}
