/* SPDX-License-Identifier: MIT */
#ifndef REFERENCE_VM_TEST_UTIL_H
#define REFERENCE_VM_TEST_UTIL_H

#include "host/dirty.h"
#include "host/guest_test_util.h"
#include "reference-src/vm/internal.h"

#include <sched.h>

static inline struct vms_vm *vm_open(const char *text, enum vms_vm_role role) {
    struct vms_error err;
    struct vms_vm *vm;
    cr_assert_eq(vms_vm_new_text(text, "test.json", role, &vm, &err), VMS_OK, "%s", err.message);
    return vm;
}

static inline void vm_run(struct vms_vm *vm) {
    struct vms_error err;
    const struct vms_guest *guest = vms_vm_guest(vm);
    cr_assert_eq(guest->ops->run(guest->ctx, &err), VMS_OK, "%s", err.message);
}

static inline void vm_stop(struct vms_vm *vm) {
    struct vms_error err;
    const struct vms_guest *guest = vms_vm_guest(vm);
    cr_assert_eq(guest->ops->stop(guest->ctx, &err), VMS_OK);
}

/* Until so many more pages were written. */
static inline void vm_await_writes(struct vms_vm *vm, uint64_t writes) {
    struct vms_vm_stats stats;
    vms_vm_stats(vm, &stats);
    for (uint64_t until = stats.writes + writes; stats.writes < until; vms_vm_stats(vm, &stats))
        sched_yield();
}

/* Until each virtual CPU has written so many pages since it was made or loaded. */
static inline void vm_await_each(struct vms_vm *vm, uint64_t writes) {
    for (size_t i = 0; i < vm->config.vcpu_count; i++)
        while (atomic_load(&vm->vcpus[i].writes) < writes)
            sched_yield();
}

static inline void vm_assert_good(struct vms_vm *vm) {
    struct vms_error err;
    struct vms_vm_report report;
    cr_assert_eq(vms_vm_check(vm, &report, &err), VMS_OK, "%s", err.message);
    cr_assert(vms_vm_report_good(&report));
}

/* As migrations do, without a wire: state of a stopped source into a destination. */
static inline void vm_hand_over(struct vms_vm *from, struct vms_vm *to) {
    struct vms_error err;
    const uint8_t *bytes;
    size_t len;
    const struct vms_guest *source = vms_vm_guest(from), *dest = vms_vm_guest(to);
    cr_assert_eq(source->ops->save(source->ctx, &bytes, &len, &err), VMS_OK);
    cr_assert_eq(dest->ops->load(dest->ctx, bytes, len, &err), VMS_OK, "%s", err.message);
}

static inline void vm_copy_page(struct vms_vm *from, struct vms_vm *to, size_t block,
                                uint64_t page) {
    const struct vms_guest_block *a = &vms_vm_guest(from)->blocks[block];
    const struct vms_guest_block *b = &vms_vm_guest(to)->blocks[block];
    uint64_t content[512];
    for (uint64_t at = 0; at < a->page_size; at += sizeof content) {
        vm_guest_read(content, a->memory + page * a->page_size + at, 512);
        vm_guest_write(b->memory + page * a->page_size + at, content, 512);
    }
}

#endif
