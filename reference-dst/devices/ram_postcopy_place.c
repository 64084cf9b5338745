/* SPDX-License-Identifier: MIT */
#include "reference-dst/devices/ram_postcopy_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Content comes: host pages are put together and become visible at once and whole (RAM-32). */

static enum vms_code kernel_error(struct vms_error *err, const struct pc_block *b,
                                  enum vms_uffd_result r, uint64_t offset) {
    int why = errno;
    const char *text = r == VMS_UFFD_EXISTS        ? "it is there already"
                       : r == VMS_UFFD_GONE        ? "not registered any more"
                       : r == VMS_UFFD_UNSUPPORTED ? "not for this kind of memory"
                                                   : strerror(why);
    return vms_error_set(err, VMS_E_IO, "placing 0x%llx of %s: %s", (unsigned long long)offset,
                         b->map.name, text);
}

/* ---- by copy: private memory ---- */

static enum vms_code show_copy(struct dst_postcopy *p, struct pc_block *b, uint64_t unit,
                               const uint8_t *from, struct vms_error *err) {
    uint64_t done;
    uint8_t *to = b->map.memory + unit * b->unit;
    enum vms_uffd_result r = VMS_UFFD_UNSUPPORTED;
    if (!from)
        r = vms_uffd_zero(p->fd, to, b->unit, true, &done);
    if (r == VMS_UFFD_UNSUPPORTED)
        r = vms_uffd_copy(p->fd, to, from ? from : p->zeros, b->unit, true, false, &done);
    return r == VMS_UFFD_DONE ? VMS_OK : kernel_error(err, b, r, unit * b->unit);
}

/* ---- through the alias: shared memory ---- */

/* Who waits is woken when all pages of the range are mapped. A page that the file lacks is zero. */
static enum vms_code show_file(struct dst_postcopy *p, struct pc_block *b, uint64_t offset,
                               uint64_t length, struct vms_error *err) {
    uint64_t end = offset + length, done;
    bool one = length == b->map.page_size;
    while (offset < end) {
        enum vms_uffd_result r =
            vms_uffd_continue(p->fd, b->map.memory + offset, end - offset, one, &done);
        offset += done;
        if (r == VMS_UFFD_DONE)
            break;
        if (r == VMS_UFFD_ABSENT)
            *(volatile uint8_t *)(b->alias + offset) = 0;
        else if (r == VMS_UFFD_EXISTS)
            offset += b->map.page_size;
        else
            return kernel_error(err, b, r, offset);
    }
    (void)vms_uffd_wake(p->fd, b->map.memory + end - length, length);
    return VMS_OK;
}

/* ---- one host page ---- */

static enum vms_code show(struct dst_postcopy *p, size_t block, uint64_t unit, const uint8_t *from,
                          struct vms_error *err) {
    struct pc_block *b = &p->blocks[block];
    enum vms_code code =
        b->minor ? show_file(p, b, unit * b->unit, b->unit, err) : show_copy(p, b, unit, from, err);
    if (code != VMS_OK)
        return code;
    (void)pc_set(b->shown, unit);
    atomic_fetch_sub(&p->missing, b->per_unit);
    pc_served(p, block, unit);
    return VMS_OK;
}

enum vms_code pc_show_again(struct dst_postcopy *p, struct pc_block *b, uint8_t *page,
                            struct vms_error *err) {
    uint64_t done, length = b->map.page_size;
    if (b->minor)
        return show_file(p, b, (uint64_t)(page - b->map.memory), length, err);
    enum vms_uffd_result r = vms_uffd_zero(p->fd, page, length, true, &done);
    if (r == VMS_UFFD_UNSUPPORTED)
        r = vms_uffd_copy(p->fd, page, p->zeros, length, true, false, &done);
    if (r == VMS_UFFD_EXISTS)
        r = vms_uffd_wake(p->fd, page, length);
    return r == VMS_UFFD_DONE ? VMS_OK : kernel_error(err, b, r, (uint64_t)(page - b->map.memory));
}

/* ---- host pages in the making ---- */

static struct pc_making *find(struct dst_postcopy *p, size_t block, uint64_t unit) {
    struct pc_making *free_one = NULL;
    for (size_t i = 0; i < PC_MAKING_MAX; i++) {
        struct pc_making *m = &p->making[i];
        if (m->used && m->block == block && m->unit == unit)
            return m;
        if (!m->used && !free_one)
            free_one = m;
    }
    return free_one;
}

/* The host page's entry, a new one if need be. NULL with *err. making_lock held. */
static struct pc_making *open_making(struct dst_postcopy *p, size_t block, uint64_t unit,
                                     struct vms_error *err) {
    const struct pc_block *b = &p->blocks[block];
    struct pc_making *m = find(p, block, unit);
    if (!m)
        (void)vms_error_set(err, VMS_E_LIMIT, "%d host pages in the making", PC_MAKING_MAX);
    if (!m || m->used)
        return m;
    uint8_t *buffer = b->minor ? NULL : malloc(b->unit);
    if (!b->minor && !buffer) {
        (void)vms_error_set(err, VMS_E_NO_MEMORY, "a host page");
        return NULL;
    }
    *m = (struct pc_making){true, block, unit, 0, buffer};
    return m;
}

static void close_making(struct pc_making *m) {
    free(m->buffer);
    *m = (struct pc_making){0};
}

/* Where target pages of a host page go. NULL with *err. */
static uint8_t *making_room(struct dst_postcopy *p, size_t block, uint64_t offset,
                            struct vms_error *err) {
    struct pc_block *b = &p->blocks[block];
    (void)pthread_mutex_lock(&p->making_lock);
    struct pc_making *m = open_making(p, block, offset / b->unit, err);
    uint8_t *room = !m ? NULL : m->buffer ? m->buffer + offset % b->unit : b->alias + offset;
    (void)pthread_mutex_unlock(&p->making_lock);
    return room;
}

/* count more target pages are in: shows the host page when it is whole. */
static enum vms_code making_filled(struct dst_postcopy *p, size_t block, uint64_t unit,
                                   uint32_t count, struct vms_error *err) {
    struct pc_making whole = {0};
    (void)pthread_mutex_lock(&p->making_lock);
    struct pc_making *m = find(p, block, unit);
    m->count += count;
    if (m->count == p->blocks[block].per_unit) {
        whole = *m;
        *m = (struct pc_making){0};
    }
    (void)pthread_mutex_unlock(&p->making_lock);
    enum vms_code code = whole.used ? show(p, block, unit, whole.buffer, err) : VMS_OK;
    close_making(&whole);
    return code;
}

/* A host page that was cut off comes again, whole: the file must not keep a part of it (REC-6). */
void pc_drop_making(struct dst_postcopy *p) {
    struct vms_error ignored;
    (void)pthread_mutex_lock(&p->making_lock);
    for (size_t i = 0; i < PC_MAKING_MAX; i++) {
        struct pc_making *m = &p->making[i];
        if (!m->used)
            continue;
        struct pc_block *b = &p->blocks[m->block];
        for (uint32_t k = 0; k < b->per_unit; k++)
            pc_clear(b->arrived, m->unit * b->per_unit + k);
        if (b->minor)
            (void)pc_empty(b, m->unit * b->unit, b->unit, &ignored);
        close_making(m);
    }
    (void)pthread_mutex_unlock(&p->making_lock);
}

/* ---- the calls ---- */

/* [RAM-5] */
static enum vms_code inside(const struct dst_postcopy *p, size_t block, uint64_t offset,
                            uint64_t length, struct vms_error *err) {
    const struct pc_block *b = &p->blocks[block];
    uint32_t size = p->config.page_size;
    if (offset % size || length % size || length == 0 || offset >= b->map.length ||
        length > b->map.length - offset)
        return vms_error_set(err, VMS_E_RAM_OFFSET, "0x%llx of %s", (unsigned long long)offset,
                             b->map.name);
    return VMS_OK;
}

static enum vms_code twice(const struct dst_postcopy *p, size_t block, uint64_t offset,
                           struct vms_error *err) {
    return vms_error_set(err, VMS_E_POSTCOPY_PAGE_TWICE, "0x%llx of %s", (unsigned long long)offset,
                         p->blocks[block].map.name);
}

/* [DST-17] Of a run all pages are new, or none is taken. */
static enum vms_code check_run(const struct dst_postcopy *p, size_t block, uint64_t offset,
                               uint64_t length, struct vms_error *err) {
    uint32_t size = p->config.page_size;
    if (inside(p, block, offset, length, err) != VMS_OK)
        return err->code;
    for (uint64_t at = offset; at < offset + length; at += size)
        if (pc_bit(p->blocks[block].arrived, at / size))
            return twice(p, block, at, err);
    return VMS_OK;
}

/* [DST-17] Whoever sets the bit brings the page: of two channels at once one is refused. */
static enum vms_code take(struct dst_postcopy *p, size_t block, uint64_t offset,
                          struct vms_error *err) {
    if (!pc_set(p->blocks[block].arrived, offset / p->config.page_size)) {
        atomic_fetch_add(&p->placed, 1);
        return VMS_OK;
    }
    return twice(p, block, offset, err);
}

static enum vms_code place_part(struct dst_postcopy *p, size_t block, uint64_t offset,
                                struct vms_slice page, struct vms_error *err) {
    struct pc_block *b = &p->blocks[block];
    uint8_t *room = making_room(p, block, offset, err);
    if (!room)
        return err->code;
    if (page.len)
        memcpy(room, page.ptr, page.len);
    else if (!b->minor) /* a file's new pages are zero */
        memset(room, 0, p->config.page_size);
    return making_filled(p, block, offset / b->unit, 1, err);
}

enum vms_code dst_postcopy_place(struct dst_postcopy *p, size_t block, uint64_t offset,
                                 struct vms_slice page, struct vms_error *err) {
    struct pc_block *b = &p->blocks[block];
    if (inside(p, block, offset, p->config.page_size, err) != VMS_OK ||
        take(p, block, offset, err) != VMS_OK)
        return err->code;
    if (!page.len)
        atomic_fetch_add(&p->zero, 1);
    if (b->per_unit > 1)
        return place_part(p, block, offset, page, err);
    if (b->minor && page.len)
        memcpy(b->alias + offset, page.ptr, page.len);
    return show(p, block, offset / b->unit, page.len ? page.ptr : NULL, err);
}

uint8_t *dst_postcopy_room(struct dst_postcopy *p, size_t block, uint64_t offset, uint64_t length,
                           struct vms_error *err) {
    *err = (struct vms_error){0};
    if (check_run(p, block, offset, length, err) != VMS_OK || !p->blocks[block].minor)
        return NULL;
    return p->blocks[block].alias + offset;
}

/* The target pages of [offset, end) that lie in one host page. */
static enum vms_code filled_unit(struct dst_postcopy *p, size_t block, uint64_t offset,
                                 uint64_t end, struct vms_error *err) {
    struct pc_block *b = &p->blocks[block];
    uint32_t count = 0;
    for (uint64_t at = offset; at < end; at += p->config.page_size, count++)
        if (take(p, block, at, err) != VMS_OK)
            return err->code;
    if (count == b->per_unit)
        return show(p, block, offset / b->unit, NULL, err);
    if (!making_room(p, block, offset, err))
        return err->code;
    return making_filled(p, block, offset / b->unit, count, err);
}

enum vms_code dst_postcopy_filled(struct dst_postcopy *p, size_t block, uint64_t offset,
                                  uint64_t length, struct vms_error *err) {
    uint64_t unit = p->blocks[block].unit, end = offset + length;
    if (check_run(p, block, offset, length, err) != VMS_OK)
        return err->code;
    for (uint64_t next; offset < end; offset = next) {
        next = (offset / unit + 1) * unit;
        if (filled_unit(p, block, offset, next < end ? next : end, err) != VMS_OK)
            return err->code;
    }
    return VMS_OK;
}
