/* SPDX-License-Identifier: MIT */
#include "vm_test_util.h"

#define VM_TEXT(seed, size, vcpus)                                                                 \
    "{\"blocks\": [{\"name\": \"r\", \"size\": \"" size "\"}], \"vcpus\": [" vcpus "],"            \
    " \"seed\": " seed "}"

static enum vms_code load(struct vms_vm *vm, const uint8_t *bytes, size_t len,
                          struct vms_error *err) {
    const struct vms_guest *guest = vms_vm_guest(vm);
    return guest->ops->load(guest->ctx, bytes, len, err);
}

/* [VM-4] every cut and every changed byte is refused, and changes nothing. */
Test(vm_state, damaged) {
    struct vms_error err;
    struct vms_vm *from = vm_open(VM_TEXT("1", "64K", "{}, {}"), VMS_VM_SOURCE);
    struct vms_vm *to = vm_open(VM_TEXT("1", "64K", "{}, {}"), VMS_VM_DESTINATION);
    const struct vms_guest *guest = vms_vm_guest(from), *dest = vms_vm_guest(to);
    const uint8_t *bytes;
    size_t len;
    vm_run(from);
    vm_await_writes(from, 100);
    vm_stop(from);
    cr_assert_eq(guest->ops->save(guest->ctx, &bytes, &len, &err), VMS_OK);
    uint8_t *copy = malloc(len + 1);
    memcpy(copy, bytes, len);
    for (size_t cut = 0; cut < len; cut++)
        cr_assert_eq(load(to, copy, cut, &err), VMS_E_VM_STATE, "%zu", cut);
    cr_assert_eq(load(to, copy, len + 1, &err), VMS_E_VM_STATE);
    for (size_t at = 0; at < len; at++) {
        copy[at] ^= 0x10;
        cr_assert_eq(load(to, copy, len, &err), VMS_E_VM_STATE, "%zu", at);
        copy[at] ^= 0x10;
    }
    struct vms_vm_stats stats;
    vms_vm_stats(to, &stats);
    cr_assert_eq(stats.heartbeats, 0);
    cr_assert_eq(dest->ops->run(dest->ctx, &err), VMS_E_MISUSE);
    cr_assert_eq(load(to, copy, len, &err), VMS_OK, "%s", err.message);
    free(copy);
    vms_vm_free(from);
    vms_vm_free(to);
}

/* [VM-4] the state of another VM is refused. */
Test(vm_state, another) {
    static const char *const others[] = {VM_TEXT("2", "64K", "{}"), VM_TEXT("1", "68K", "{}"),
                                         VM_TEXT("1", "64K", "{}, {}"), VM_TEXT("1", "64K", "")};
    struct vms_vm *from = vm_open(VM_TEXT("1", "64K", "{}"), VMS_VM_SOURCE);
    const struct vms_guest *guest = vms_vm_guest(from);
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        struct vms_error err;
        const uint8_t *bytes;
        size_t len;
        struct vms_vm *to = vm_open(others[i], VMS_VM_DESTINATION);
        cr_assert_eq(guest->ops->save(guest->ctx, &bytes, &len, &err), VMS_OK);
        cr_assert_eq(load(to, bytes, len, &err), VMS_E_VM_STATE);
        vms_vm_free(to);
    }
    vms_vm_free(from);
}

/* ---- locks ---- */

struct place {
    char folder[64], file[96], text[400];
};

static struct place place_new(void) {
    struct place p;
    strcpy(p.folder, "/tmp/vms-vm-XXXXXX");
    cr_assert_not_null(mkdtemp(p.folder));
    snprintf(p.file, sizeof p.file, "%s/vm.json", p.folder);
    FILE *out = fopen(p.file, "w");
    fputs("{\"blocks\": [{\"name\": \"r\", \"size\": \"64K\"}], \"vcpus\": [{}],"
          " \"lock\": \"disk\", \"running_lock\": \"running\", \"announce\": \"net\"}",
          out);
    fclose(out);
    return p;
}

static void place_remove(const struct place *p) {
    static const char *const names[] = {"vm.json", "disk", "running", "net"};
    char path[160];
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(path, sizeof path, "%s/%s", p->folder, names[i]);
        unlink(path);
    }
    rmdir(p->folder);
}

/* [VM-2] one end at a time has the storage; without it a guest does not run. */
Test(vm_locks, storage) {
    struct place p = place_new();
    struct vms_error err;
    struct vms_vm *from, *to, *third;
    cr_assert_eq(vms_vm_new(p.file, VMS_VM_SOURCE, &from, &err), VMS_OK, "%s", err.message);
    cr_assert_eq(vms_vm_new(p.file, VMS_VM_SOURCE, &third, &err), VMS_E_VM_LOCK);
    cr_assert_eq(vms_vm_new(p.file, VMS_VM_DESTINATION, &to, &err), VMS_OK, "%s", err.message);
    const struct vms_guest *a = vms_vm_guest(from), *b = vms_vm_guest(to);
    vm_run(from);
    vm_await_writes(from, 10);
    vm_stop(from);
    vm_hand_over(from, to);
    cr_assert_eq(b->ops->locks(b->ctx, true, &err), VMS_E_VM_LOCK);
    cr_assert_eq(b->ops->run(b->ctx, &err), VMS_E_VM_LOCK);
    cr_assert_eq(a->ops->locks(a->ctx, false, &err), VMS_OK);
    cr_assert_eq(a->ops->locks(a->ctx, false, &err), VMS_OK);
    cr_assert_eq(b->ops->locks(b->ctx, true, &err), VMS_OK);
    cr_assert_eq(b->ops->locks(b->ctx, true, &err), VMS_OK);
    cr_assert_eq(a->ops->locks(a->ctx, true, &err), VMS_E_VM_LOCK);
    cr_assert_eq(a->ops->run(a->ctx, &err), VMS_E_VM_LOCK);
    vms_vm_free(to);
    cr_assert_eq(a->ops->locks(a->ctx, true, &err), VMS_OK, "%s", err.message);
    vm_run(from);
    vms_vm_free(from);
    place_remove(&p);
}

/* [VM-3] a second guest that is to run beside the first does not, and it is on record. */
Test(vm_locks, runs_twice) {
    struct place p = place_new();
    struct vms_error err;
    struct vms_vm *from, *to;
    struct vms_vm_report report;
    cr_assert_eq(vms_vm_new(p.file, VMS_VM_SOURCE, &from, &err), VMS_OK);
    cr_assert_eq(vms_vm_new(p.file, VMS_VM_DESTINATION, &to, &err), VMS_OK);
    const struct vms_guest *a = vms_vm_guest(from), *b = vms_vm_guest(to);
    vm_hand_over(from, to);
    vm_run(from);
    cr_assert_eq(a->ops->locks(a->ctx, false, &err), VMS_OK);
    cr_assert_eq(b->ops->locks(b->ctx, true, &err), VMS_OK);
    cr_assert_eq(b->ops->run(b->ctx, &err), VMS_E_VM_RUNS_TWICE);
    cr_assert_str_eq(err.clause, "VM-3");
    vm_stop(from);
    cr_assert_eq(vms_vm_check(to, &report, &err), VMS_E_VM_CHECK);
    cr_assert(report.twice == 1 && strstr(report.first, "another guest"));
    vm_run(to);
    vm_stop(to);
    vms_vm_free(from);
    vms_vm_free(to);
    place_remove(&p);
}

/* A line for each announcement, of both ends into one file. */
Test(vm_locks, announces) {
    struct place p = place_new();
    struct vms_error err;
    struct vms_vm *from, *to;
    char path[100], line[128];
    int lines = 0;
    cr_assert_eq(vms_vm_new(p.file, VMS_VM_SOURCE, &from, &err), VMS_OK);
    cr_assert_eq(vms_vm_new(p.file, VMS_VM_DESTINATION, &to, &err), VMS_OK);
    vms_vm_guest(from)->ops->announce(from);
    vms_vm_guest(to)->ops->announce(to);
    snprintf(path, sizeof path, "%s/net", p.folder);
    FILE *in = fopen(path, "r");
    while (fgets(line, sizeof line, in))
        cr_assert(strstr(line, lines++ ? "destination " : "source "), "%s", line);
    fclose(in);
    cr_assert_eq(lines, 2);
    vms_vm_free(from);
    vms_vm_free(to);
    place_remove(&p);
}
