/* SPDX-License-Identifier: MIT */
#include "internal.h"

#include <stdio.h>
#include <string.h>

enum {
    GUESSES = 4096
}; /* generations that a stale page may be behind, to find which one it is */

struct check {
    const struct vms_vm *vm;
    struct vms_vm_report *report;
    uint64_t generations[VM_CHUNK]; /* of the chunk under way */
};

static void first(const struct check *c, uint64_t page, const char *what) {
    if (!c->report->first[0])
        vm_describe(c->vm, page, what, c->report->first);
}

/* A single page that is behind explains the difference of the sums, and is then found; when there
 * are more of them, the chunk is named. */
static void find_stale(const struct check *c, uint64_t start, uint64_t end, uint64_t difference) {
    char what[96];
    for (uint64_t page = start; page < end; page++) {
        uint64_t is = c->generations[page - start], have = vm_page_share(page + 1, is);
        for (uint64_t by = 1; by <= GUESSES; by++)
            if (vm_page_share(page + 1, is + by) - have == difference) {
                snprintf(what, sizeof what, "stale, generation %llu instead of %llu",
                         (unsigned long long)is, (unsigned long long)(is + by));
                first(c, page, what);
                return;
            }
    }
    snprintf(what, sizeof what, "stale, it or others of the %llu pages from it on",
             (unsigned long long)(end - start));
    first(c, start, what);
}

/* True when the page is consistent in itself. */
static bool check_page(struct check *c, uint64_t page, uint64_t *generation) {
    struct vm_page content;
    vm_guest_read((uint64_t *)(void *)&content, vm_memory_page(&c->vm->memory, page), VM_PAGE / 8);
    enum vm_verdict verdict = vm_page_check(&content, page + 1);
    *generation = content.generation;
    if (verdict == VM_PAGE_GOOD)
        return true;
    if (verdict == VM_PAGE_TORN)
        c->report->torn++;
    else
        c->report->wrong++;
    first(c, page, verdict == VM_PAGE_TORN ? "torn" : "the content of another page");
    return false;
}

/* [VM-5] The sum over a chunk of what its pages' generations stand for is the ledger's. */
static void check_chunk(struct check *c, uint64_t chunk) {
    uint64_t start = chunk * VM_CHUNK, end = start + VM_CHUNK, sum = 0;
    bool consistent = true;
    if (end > c->vm->memory.pages)
        end = c->vm->memory.pages;
    for (uint64_t page = start; page < end; page++) {
        uint64_t *generation = &c->generations[page - start];
        *generation = 0;
        if (page == 0)
            continue; /* the board */
        consistent &= check_page(c, page, generation);
        sum += vm_page_share(page + 1, *generation);
    }
    uint64_t want = vm_ledger_at(c->vm, chunk);
    if (!consistent || sum == want)
        return;
    c->report->stale++;
    if (!c->report->first[0])
        find_stale(c, start, end, want - sum);
}

static void check_heartbeats(const struct check *c) {
    for (size_t i = 0; i < c->vm->config.vcpu_count; i++) {
        uint64_t beat;
        vm_guest_read(&beat, vm_board(c->vm, i), 1);
        if (beat == atomic_load(&c->vm->vcpus[i].heartbeat))
            continue;
        c->report->heartbeats++;
        first(c, 0, "a heartbeat that is not the virtual CPU's");
    }
}

static void add_met(const struct check *c) {
    struct vms_vm_stats stats;
    vms_vm_stats(c->vm, &stats);
    c->report->met = stats.met;
    c->report->twice = stats.twice;
    for (size_t i = 0; i < c->vm->config.vcpu_count; i++)
        if (c->vm->vcpus[i].bad[0] && !c->report->first[0])
            memcpy(c->report->first, c->vm->vcpus[i].bad, sizeof c->report->first);
    if (c->report->twice && !c->report->first[0])
        snprintf(c->report->first, sizeof c->report->first, "another guest was found running");
}

bool vms_vm_report_good(const struct vms_vm_report *report) {
    return !(report->torn || report->wrong || report->stale || report->heartbeats || report->met ||
             report->twice);
}

enum vms_code vms_vm_check(struct vms_vm *vm, struct vms_vm_report *report, struct vms_error *err) {
    struct check c = {.vm = vm, .report = report};
    *report = (struct vms_vm_report){.pages = vm->memory.pages};
    if (atomic_load(&vm->running))
        return vms_error_set(err, VMS_E_MISUSE, "the guest runs");
    check_heartbeats(&c);
    for (uint64_t chunk = 0; chunk < vm->memory.chunks; chunk++)
        check_chunk(&c, chunk);
    add_met(&c);
    if (vms_vm_report_good(report))
        return VMS_OK;
    return vms_error_set(err, VMS_E_VM_CHECK, "%s", report->first);
}
