/* SPDX-License-Identifier: MIT */
#include "host/guest_test_util.h"
#include "host/uffd.h"

#include <pthread.h>
#include <stdatomic.h>

enum {
    PAGES = 8
};

struct rig {
    struct vms_guest_block block;
    uint8_t *alias; /* shared memory: the same file again */
    uint8_t *data;  /* PAGES pages to place, page i full of i + 1 */
    int fd;
    struct vms_error err;
};

static bool rig_open(struct rig *r, const struct memory_kind *kind, unsigned modes) {
    memset(r, 0, sizeof *r);
    r->block = block_new(kind, PAGES);
    if (!r->block.memory || !vms_uffd_features()) {
        block_free(&r->block);
        skip_without(kind->name);
        return false;
    }
    if (kind->shared)
        r->alias = mmap(NULL, r->block.length, PROT_READ | PROT_WRITE, MAP_SHARED, r->block.fd, 0);
    r->data = malloc(r->block.length);
    for (uint64_t i = 0; i < PAGES; i++)
        memset(r->data + i * kind->page_size, (int)i + 1, kind->page_size);
    cr_assert_eq(vms_uffd_open(0, &r->fd, &r->err), VMS_OK, "%s", r->err.message);
    cr_assert_eq(vms_uffd_register(r->fd, r->block.memory, r->block.length, modes, &r->err), VMS_OK,
                 "%s", r->err.message);
    return true;
}

static void rig_close(struct rig *r) {
    close(r->fd);
    if (r->alias)
        munmap(r->alias, r->block.length);
    block_free(&r->block);
    free(r->data);
}

static uint8_t *page_at(const struct rig *r, uint64_t page) {
    return r->block.memory + page * r->block.page_size;
}

/* A thread that touches one byte. */
struct toucher {
    pthread_t thread;
    uint8_t *at;
    bool write;
    uint8_t value;
};

static void *touch(void *ctx) {
    struct toucher *t = ctx;
    if (t->write)
        *(volatile uint8_t *)t->at = 99;
    t->value = *(volatile uint8_t *)t->at;
    return NULL;
}

static void touch_start(struct toucher *t, uint8_t *at, bool write) {
    *t = (struct toucher){.at = at, .write = write};
    pthread_create(&t->thread, NULL, touch, t);
}

static uint8_t touch_end(struct toucher *t) {
    pthread_join(t->thread, NULL);
    return t->value;
}

/* Beside a thread that waits to write there. */
__attribute__((no_sanitize("thread"))) static uint8_t peek(const uint8_t *at) {
    return *(const volatile uint8_t *)at;
}

static struct vms_uffd_fault next_fault(const struct rig *r) {
    struct vms_uffd_fault fault;
    size_t count;
    cr_assert_eq(vms_uffd_read(r->fd, &fault, 1, &count, VMS_NEVER, NULL), VMS_WAIT_READY);
    cr_assert_eq(count, 1);
    return fault;
}

/* [HOST-17] who touches a page that is missing goes on with the whole page. */
Test(uffd, missing) {
    for (size_t k = 0; k < MEMORY_KIND_COUNT; k++) {
        struct rig r;
        struct toucher reader, writer;
        uint64_t size = MEMORY_KINDS[k].page_size, done;
        if (!rig_open(&r, &MEMORY_KINDS[k], VMS_UFFD_MISSING))
            return;
        touch_start(&reader, page_at(&r, 3) + size - 1, false);
        struct vms_uffd_fault fault = next_fault(&r);
        cr_assert(fault.address >= page_at(&r, 3) && fault.address < page_at(&r, 4));
        cr_assert(fault.mode == VMS_UFFD_MISSING && !fault.write);
        cr_assert_eq(
            vms_uffd_copy(r.fd, page_at(&r, 3), r.data + 3 * size, size, true, false, &done),
            VMS_UFFD_DONE);
        cr_assert_eq(touch_end(&reader), 4);
        touch_start(&writer, page_at(&r, 5), true);
        cr_assert(next_fault(&r).write);
        /* not woken by the copy, but by hand */
        cr_assert_eq(
            vms_uffd_copy(r.fd, page_at(&r, 5), r.data + 5 * size, size, false, false, &done),
            VMS_UFFD_DONE);
        cr_assert_eq(vms_uffd_wake(r.fd, page_at(&r, 5), size), VMS_UFFD_DONE);
        cr_assert_eq(touch_end(&writer), 99);
        cr_assert_eq(page_at(&r, 5)[1], 6);
        rig_close(&r);
    }
}

/* [HOST-17] a page that is there already stays as it is; what lies before it is placed. */
Test(uffd, exists) {
    for (size_t k = 0; k < MEMORY_KIND_COUNT; k++) {
        struct rig r;
        uint64_t size = MEMORY_KINDS[k].page_size, done;
        if (!rig_open(&r, &MEMORY_KINDS[k], VMS_UFFD_MISSING))
            return;
        cr_assert_eq(vms_uffd_copy(r.fd, page_at(&r, 2), r.data, size, true, false, &done),
                     VMS_UFFD_DONE);
        cr_assert_eq(done, size);
        cr_assert_eq(vms_uffd_copy(r.fd, page_at(&r, 0), r.data, 5 * size, true, false, &done),
                     VMS_UFFD_EXISTS);
        cr_assert_eq(done, 2 * size);
        cr_assert_eq(
            vms_uffd_copy(r.fd, page_at(&r, 3), r.data + 3 * size, 5 * size, true, false, &done),
            VMS_UFFD_DONE);
        cr_assert_eq(done, 5 * size);
        for (uint64_t i = 0; i < PAGES; i++)
            cr_assert_eq(page_at(&r, i)[size - 1], i == 2 ? 1 : i + 1);
        rig_close(&r);
    }
}

/* Zero pages without a copy, where the kernel can; and what it cannot is told. */
Test(uffd, zero) {
    for (size_t k = 0; k < MEMORY_KIND_COUNT; k++) {
        struct rig r;
        uint64_t size = MEMORY_KINDS[k].page_size, done;
        if (!rig_open(&r, &MEMORY_KINDS[k], VMS_UFFD_MISSING))
            return;
        enum vms_uffd_result result = vms_uffd_zero(r.fd, page_at(&r, 1), 3 * size, true, &done);
        if (size == HUGE_PAGE) {
            cr_assert_eq(result, VMS_UFFD_UNSUPPORTED);
        } else {
            cr_assert(result == VMS_UFFD_DONE && done == 3 * size);
            for (uint64_t i = 0; i < 3 * size; i++)
                cr_assert_eq(page_at(&r, 1)[i], 0);
            cr_assert_eq(vms_uffd_zero(r.fd, page_at(&r, 0), 2 * size, true, &done),
                         VMS_UFFD_EXISTS);
            cr_assert_eq(done, size);
        }
        rig_close(&r);
    }
}

/* [HOST-17] shared memory: the page is written through another mapping, and then let in. */
Test(uffd, minor) {
    for (size_t k = 1; k < MEMORY_KIND_COUNT; k += 2) {
        struct rig r;
        struct toucher reader, late;
        uint64_t size = MEMORY_KINDS[k].page_size, done;
        if (!rig_open(&r, &MEMORY_KINDS[k], VMS_UFFD_MISSING | VMS_UFFD_MINOR))
            return;
        memcpy(r.alias + 2 * size, r.data + 2 * size, size);
        touch_start(&reader, page_at(&r, 2) + 7, false);
        cr_assert_eq(next_fault(&r).mode, VMS_UFFD_MINOR);
        cr_assert_eq(vms_uffd_continue(r.fd, page_at(&r, 2), size, true, &done), VMS_UFFD_DONE);
        cr_assert_eq(touch_end(&reader), 3);
        /* the file does not have the page: a missing fault, which continuing answers as well */
        cr_assert_eq(vms_uffd_continue(r.fd, page_at(&r, 4), size, true, &done), VMS_UFFD_ABSENT);
        touch_start(&late, page_at(&r, 4), false);
        cr_assert_eq(next_fault(&r).mode, VMS_UFFD_MISSING);
        memcpy(r.alias + 4 * size, r.data + 4 * size, size);
        cr_assert_eq(vms_uffd_continue(r.fd, page_at(&r, 4), size, true, &done), VMS_UFFD_DONE);
        cr_assert_eq(touch_end(&late), 5);
        cr_assert_eq(vms_uffd_continue(r.fd, page_at(&r, 1), 4 * size, true, &done),
                     VMS_UFFD_ABSENT);
        memcpy(r.alias + size, r.data + size, size);
        cr_assert_eq(vms_uffd_continue(r.fd, page_at(&r, 1), 4 * size, true, &done),
                     VMS_UFFD_EXISTS);
        cr_assert_eq(done, size);
        rig_close(&r);
    }
}

/* A write to a protected page waits; permitted, it is done. */
Test(uffd, write_protect) {
    for (size_t k = 0; k < MEMORY_KIND_COUNT; k++) {
        struct rig r;
        struct toucher writer, reader;
        uint64_t size = MEMORY_KINDS[k].page_size;
        if (!(vms_uffd_features() & UFFD_FEATURE_WP_HUGETLBFS_SHMEM)) {
            skip_without("write protection of shared memory");
            return;
        }
        if (!rig_open(&r, &MEMORY_KINDS[k], VMS_UFFD_WP))
            return;
        memcpy(r.block.memory, r.data, r.block.length);
        cr_assert_eq(vms_uffd_protect(r.fd, page_at(&r, 2), 2 * size, true), VMS_UFFD_DONE);
        touch_start(&reader, page_at(&r, 2), false);
        cr_assert_eq(touch_end(&reader), 3);
        page_at(&r, 4)[0] = 1;
        touch_start(&writer, page_at(&r, 3) + 9, true);
        struct vms_uffd_fault fault = next_fault(&r);
        cr_assert(fault.mode == VMS_UFFD_WP && fault.write);
        cr_assert_eq(peek(page_at(&r, 3) + 9), 4);
        cr_assert_eq(vms_uffd_protect(r.fd, page_at(&r, 3), size, false), VMS_UFFD_DONE);
        cr_assert_eq(touch_end(&writer), 99);
        rig_close(&r);
    }
}

/* [HOST-17] Unregistering lets everybody go on, whatever they wait for: the kernel by itself wakes
 * none of those that wait to write. */
Test(uffd, unregister_wakes) {
    for (size_t k = 0; k < MEMORY_KIND_COUNT; k++) {
        struct rig r;
        struct toucher writer;
        uint64_t size = MEMORY_KINDS[k].page_size;
        if (!(vms_uffd_features() & UFFD_FEATURE_WP_HUGETLBFS_SHMEM)) {
            skip_without("write protection of shared memory");
            return;
        }
        if (!rig_open(&r, &MEMORY_KINDS[k], VMS_UFFD_WP))
            return;
        memcpy(r.block.memory, r.data, r.block.length);
        cr_assert_eq(vms_uffd_protect(r.fd, page_at(&r, 2), size, true), VMS_UFFD_DONE);
        touch_start(&writer, page_at(&r, 2), true);
        (void)next_fault(&r);
        vms_uffd_unregister(r.fd, r.block.memory, r.block.length);
        cr_assert_eq(touch_end(&writer), 99);
        rig_close(&r);
    }
}

/* Waiting ends in time and when it is cancelled, also while faults are there. */
Test(uffd, waiting) {
    struct rig r;
    struct toucher reader;
    struct vms_uffd_fault fault;
    size_t count;
    uint64_t done;
    if (!rig_open(&r, &MEMORY_KINDS[0], VMS_UFFD_MISSING))
        return;
    struct vms_cancel *cancel = vms_cancel_new();
    cr_assert_eq(vms_uffd_read(r.fd, &fault, 1, &count, vms_deadline_in(0), cancel),
                 VMS_WAIT_TIMEOUT);
    vms_cancel_raise(cancel);
    cr_assert_eq(vms_uffd_read(r.fd, &fault, 1, &count, VMS_NEVER, cancel), VMS_WAIT_CANCELLED);
    touch_start(&reader, page_at(&r, 0), false);
    (void)next_fault(&r);
    cr_assert_eq(vms_uffd_read(r.fd, &fault, 1, &count, VMS_NEVER, cancel), VMS_WAIT_CANCELLED);
    cr_assert_eq(count, 0);
    cr_assert_eq(vms_uffd_copy(r.fd, page_at(&r, 0), r.data, SMALL_PAGE, true, false, &done),
                 VMS_UFFD_DONE);
    touch_end(&reader);
    vms_cancel_free(cancel);
    rig_close(&r);
}

/* Every thread that waits for a page is told of, in batches; one copy serves them all. */
Test(uffd, batch) {
    struct rig r;
    struct toucher readers[5];
    size_t seen = 0, count;
    uint64_t done;
    if (!rig_open(&r, &MEMORY_KINDS[0], VMS_UFFD_MISSING))
        return;
    for (size_t i = 0; i < 5; i++)
        touch_start(&readers[i], page_at(&r, 6) + i, false);
    while (seen < 5) {
        struct vms_uffd_fault faults[100];
        cr_assert_eq(vms_uffd_read(r.fd, faults, 100, &count, VMS_NEVER, NULL), VMS_WAIT_READY);
        for (size_t i = 0; i < count; i++)
            cr_assert_eq((uintptr_t)faults[i].address & ~(uintptr_t)4095,
                         (uintptr_t)page_at(&r, 6));
        seen += count;
    }
    cr_assert_eq(vms_uffd_copy(r.fd, page_at(&r, 6), r.data, SMALL_PAGE, true, false, &done),
                 VMS_UFFD_DONE);
    for (size_t i = 0; i < 5; i++)
        cr_assert_eq(touch_end(&readers[i]), 1);
    rig_close(&r);
}

/* What cannot be done is told, and not a crash: ranges that are gone, features, bad ranges. */
Test(uffd, refusals) {
    struct rig r;
    uint64_t done;
    int fd;
    if (!rig_open(&r, &MEMORY_KINDS[0], VMS_UFFD_MISSING))
        return;
    cr_assert_eq(vms_uffd_copy(r.fd, page_at(&r, 0), (void *)8, SMALL_PAGE, true, false, &done),
                 VMS_UFFD_ABSENT);
    vms_uffd_unregister(r.fd, r.block.memory, r.block.length);
    vms_uffd_unregister(r.fd, r.block.memory, r.block.length);
    cr_assert_eq(vms_uffd_copy(r.fd, page_at(&r, 0), r.data, SMALL_PAGE, true, false, &done),
                 VMS_UFFD_GONE);
    cr_assert_eq(vms_uffd_protect(r.fd, page_at(&r, 0), SMALL_PAGE, true), VMS_UFFD_GONE);
    cr_assert_eq(r.block.memory[0], 0, "nobody is asked any more");
    cr_assert_eq(vms_uffd_register(r.fd, r.block.memory + 5, SMALL_PAGE, VMS_UFFD_MISSING, &r.err),
                 VMS_E_IO);
    cr_assert_eq(vms_uffd_open(UINT64_C(1) << 60, &fd, &r.err), VMS_E_IO);
    cr_assert(fd == -1 && strstr(r.err.message, "0x1000000000000000"), "%s", r.err.message);
    rig_close(&r);
}
