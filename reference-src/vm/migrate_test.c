/* SPDX-License-Identifier: MIT */
#include "vm_test_util.h"

#include "host/uffd.h"

/* Migrations of a running guest inside one process, with the kernel's dirty tracking and faults. */

static void guest_text(char *text, size_t len, const struct memory_kind *kind, int size_mib) {
    snprintf(text, len,
             "{\"blocks\": [{\"name\": \"ram0\", \"size\": \"%dM\", \"page_size\": %d,"
             " \"backing\": \"%s\", \"fill\": \"mix\"}, {\"name\": \"rom\", \"size\": \"64K\"}],"
             " \"vcpus\": [{\"reads\": 0.2}, {\"change\": 64, \"zeroes\": 0.1, \"rate\": 50000}]}",
             size_mib, (int)kind->page_size, kind->shared ? "shared" : "private");
}

struct pair {
    struct vms_vm *from, *to;
    long huge; /* pages that were added for both */
};

static bool pair_open(struct pair *p, const struct memory_kind *kind, int size_mib) {
    char text[400];
    p->huge = kind->page_size > SMALL_PAGE ? size_mib : 0;
    if (p->huge && !huge_pages_add(p->huge)) {
        skip_without(kind->name);
        return false;
    }
    guest_text(text, sizeof text, kind, size_mib);
    p->from = vm_open(text, VMS_VM_SOURCE);
    p->to = vm_open(text, VMS_VM_DESTINATION);
    return true;
}

static void pair_close(struct pair *p) {
    vms_vm_free(p->from);
    vms_vm_free(p->to);
    if (p->huge)
        huge_pages_add(-p->huge);
}

static uint64_t pages_of(const struct vms_guest_block *block) {
    return block->length / block->page_size;
}

/* Collects, then copies what was found: all blocks, one round. [HOST-14] */
static void round_of(struct pair *p, struct vms_dirty *dirty) {
    struct vms_error err;
    const struct vms_guest *guest = vms_vm_guest(p->from);
    for (size_t i = 0; i < guest->block_count; i++) {
        uint64_t pages = pages_of(&guest->blocks[i]), *bits = calloc(pages / 64 + 1, 8);
        cr_assert_eq(dirty->ops->collect(dirty->ctx, i, 0, pages, bits, NULL, &err), VMS_OK);
        for (uint64_t page = 0; page < pages; page++)
            if (bits[page / 64] >> page % 64 & 1)
                vm_copy_page(p->from, p->to, i, page);
        free(bits);
    }
}

static void precopy(struct pair *p, int rounds) {
    struct vms_error err;
    struct vms_dirty dirty;
    const struct vms_guest *guest = vms_vm_guest(p->from);
    cr_assert_eq(vms_dirty_new(VMS_DIRTY_BEST, guest, &dirty, &err), VMS_OK, "%s", err.message);
    cr_assert_eq(dirty.ops->start(dirty.ctx, &err), VMS_OK, "%s", err.message);
    for (size_t i = 0; i < guest->block_count; i++)
        for (uint64_t page = 0; page < pages_of(&guest->blocks[i]); page++)
            vm_copy_page(p->from, p->to, i, page);
    for (int i = 0; i < rounds; i++)
        round_of(p, &dirty);
    vm_stop(p->from);
    round_of(p, &dirty);
    dirty.ops->free(dirty.ctx);
    vm_hand_over(p->from, p->to);
}

/* [VM-5] [HOST-13] a guest that writes all the time moves whole, in every kind of memory, and runs
 * on at the other end. */
Test(vm_migrate, precopy) {
    for (size_t k = 0; k < MEMORY_KIND_COUNT; k++) {
        struct pair p;
        if (!pair_open(&p, &MEMORY_KINDS[k], 8))
            return;
        struct vms_vm_stats before, after;
        vm_run(p.from);
        vm_await_writes(p.from, 1000);
        precopy(&p, 5);
        vm_assert_good(p.from);
        vm_assert_good(p.to);
        vms_vm_stats(p.from, &before);
        vms_vm_stats(p.to, &after);
        cr_assert_eq(before.heartbeats, after.heartbeats);
        vm_run(p.to);
        vm_await_writes(p.to, 3000);
        vm_stop(p.to);
        vm_assert_good(p.to);
        vms_vm_stats(p.to, &after);
        cr_assert_eq(after.heartbeats, before.heartbeats + after.writes + after.reads);
        pair_close(&p);
    }
}

/* [VM-5] one page that misses its last write is found, and still when the guest has run over it. */
Test(vm_migrate, lost_write) {
    struct pair p;
    struct vms_error err;
    struct vms_vm_report report;
    if (!pair_open(&p, &MEMORY_KINDS[0], 2))
        return;
    vm_run(p.from);
    vm_await_writes(p.from, 3000);
    precopy(&p, 0);
    uint8_t *memory = vms_vm_guest(p.to)->blocks[0].memory;
    struct vm_page page;
    vm_guest_read((uint64_t *)(void *)&page, memory + 9 * VM_PAGE, 512);
    size_t count;
    page.generation -= 2;
    vm_page_advance(&page, 10, VM_PAGE, VM_STYLE_PATTERN, &count);
    vm_guest_write(memory + 9 * VM_PAGE, (uint64_t *)(void *)&page, 512);
    cr_assert_eq(vms_vm_check(p.to, &report, &err), VMS_E_VM_CHECK);
    cr_assert_eq(report.stale, 1);
    cr_assert(strstr(report.first, "block ram0 page 9: stale"), "%s", report.first);
    vm_run(p.to);
    vm_await_writes(p.to, 20000);
    vm_stop(p.to);
    cr_assert_eq(vms_vm_check(p.to, &report, &err), VMS_E_VM_CHECK);
    cr_assert_eq(report.stale, 1);
    pair_close(&p);
}

/* [VM-5] a running guest meets a torn page at its first touch, though it writes over it, and an old
 * board. */
Test(vm_migrate, met_while_running) {
    struct pair p;
    struct vms_error err;
    struct vms_vm_report report;
    if (!pair_open(&p, &MEMORY_KINDS[0], 2))
        return;
    vm_run(p.from);
    vm_await_writes(p.from, 3000);
    precopy(&p, 0);
    uint8_t *memory = vms_vm_guest(p.to)->blocks[0].memory;
    memory[17 * VM_PAGE + 2000] ^= 4;
    memory[0] ^= 1; /* the heartbeat of virtual CPU 0 */
    vm_run(p.to);
    vm_await_each(p.to, 5000);
    vm_stop(p.to);
    cr_assert_eq(vms_vm_check(p.to, &report, &err), VMS_E_VM_CHECK);
    cr_assert_geq(report.met, 2);
    cr_assert_eq(report.heartbeats, 0, "written over meanwhile");
    pair_close(&p);
}

/* ---- postcopy: pages come when they are touched ---- */

struct pager {
    struct pair *pair;
    int uffd;
    struct vms_cancel *cancel;
    pthread_t thread;
    _Atomic uint64_t served;
};

static void serve(struct pager *s, uint8_t *address) {
    const struct vms_guest *from = vms_vm_guest(s->pair->from), *to = vms_vm_guest(s->pair->to);
    for (size_t i = 0; i < to->block_count; i++) {
        const struct vms_guest_block *block = &to->blocks[i];
        uint64_t at = (uintptr_t)address - (uintptr_t)block->memory, done;
        if (at >= block->length)
            continue;
        at -= at % block->page_size;
        enum vms_uffd_result result =
            vms_uffd_copy(s->uffd, block->memory + at, from->blocks[i].memory + at,
                          block->page_size, true, false, &done);
        s->served += result == VMS_UFFD_DONE;
        if (result == VMS_UFFD_EXISTS)
            vms_uffd_wake(s->uffd, block->memory + at, block->page_size);
    }
}

static void *serve_all(void *ctx) {
    struct pager *s = ctx;
    struct vms_uffd_fault faults[8];
    size_t count;
    while (vms_uffd_read(s->uffd, faults, 8, &count, VMS_NEVER, s->cancel) == VMS_WAIT_READY)
        for (size_t i = 0; i < count; i++)
            serve(s, faults[i].address);
    return NULL;
}

/* [VM-5] [HOST-17] the guest runs on memory that is still elsewhere; every page is proved at its
 * first touch, which is timed. */
Test(vm_migrate, postcopy) {
    for (size_t k = 0; k < MEMORY_KIND_COUNT; k++) {
        struct pair p;
        struct vms_error err;
        if (!pair_open(&p, &MEMORY_KINDS[k], 8))
            return;
        struct pager s = {.pair = &p, .cancel = vms_cancel_new()};
        if (vms_uffd_open(0, &s.uffd, &err) != VMS_OK) {
            skip_without("userfaultfd");
            return;
        }
        const struct vms_guest *to = vms_vm_guest(p.to);
        for (size_t i = 0; i < to->block_count; i++)
            cr_assert_eq(vms_uffd_register(s.uffd, to->blocks[i].memory, to->blocks[i].length,
                                           VMS_UFFD_MISSING, &err),
                         VMS_OK, "%s", err.message);
        vm_run(p.from);
        vm_await_writes(p.from, 2000);
        vm_stop(p.from);
        pthread_create(&s.thread, NULL, serve_all, &s);
        vm_hand_over(p.from, p.to);
        vm_run(p.to);
        vm_await_writes(p.to, 3000);
        vm_stop(p.to);
        struct vms_histogram small, huge;
        vms_vm_first_touch(p.to, SMALL_PAGE, &small);
        vms_vm_first_touch(p.to, HUGE_PAGE, &huge);
        bool big = MEMORY_KINDS[k].page_size == HUGE_PAGE;
        cr_assert(big ? huge.count > 0 && huge.count <= 4 : huge.count == 0 && small.count > 100);
        cr_assert_geq(s.served, small.count + huge.count - 1, "the board may have come before");
        vm_assert_good(p.to); /* brings the rest */
        vms_cancel_raise(s.cancel);
        pthread_join(s.thread, NULL);
        vms_cancel_free(s.cancel);
        close(s.uffd);
        pair_close(&p);
    }
}
