/* SPDX-License-Identifier: MIT */
#include "internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- the guest's operations ---- */

static enum vms_code stop(void *ctx, struct vms_error *err) {
    struct vms_vm *vm = ctx;
    (void)err;
    pthread_mutex_lock(&vm->lock);
    atomic_store(&vm->halt, true);
    pthread_cond_broadcast(&vm->changed);
    while (vm->active)
        pthread_cond_wait(&vm->changed, &vm->lock);
    pthread_mutex_unlock(&vm->lock);
    atomic_store(&vm->running, false);
    vm_lock_give(&vm->running_fd);
    return VMS_OK;
}

/* [VM-3] */
static enum vms_code take_running(struct vms_vm *vm, struct vms_error *err) {
    const char *path = vm->config.running_lock;
    if (!path)
        return VMS_OK;
    vm->running_fd = vm_lock_take(path);
    if (vm->running_fd >= 0)
        return VMS_OK;
    if (errno != EAGAIN)
        return vms_error_set(err, VMS_E_IO, "running lock %s: %s", path, strerror(errno));
    atomic_fetch_add(&vm->twice, 1);
    return vms_error_set(err, VMS_E_VM_RUNS_TWICE, "%s is held", path);
}

static enum vms_code run(void *ctx, struct vms_error *err) {
    struct vms_vm *vm = ctx;
    if (atomic_load(&vm->running))
        return VMS_OK;
    if (vm->role == VMS_VM_DESTINATION && !vm->loaded)
        return vms_error_set(err, VMS_E_MISUSE, "run before the guest's state was loaded");
    if (vm->config.lock && vm->lock_fd < 0) /* [VM-2] */
        return vms_error_set(err, VMS_E_VM_LOCK, "run without %s", vm->config.lock);
    if (take_running(vm, err) != VMS_OK)
        return err->code;
    pthread_mutex_lock(&vm->lock);
    atomic_store(&vm->running, true);
    atomic_store(&vm->halt, false);
    pthread_cond_broadcast(&vm->changed);
    pthread_mutex_unlock(&vm->lock);
    return VMS_OK;
}

static void throttle(void *ctx, unsigned percent) {
    struct vms_vm *vm = ctx;
    atomic_store(&vm->throttle, percent > 99 ? 99 : percent);
}

/* [VM-2] */
static enum vms_code locks(void *ctx, bool take, struct vms_error *err) {
    struct vms_vm *vm = ctx;
    const char *path = vm->config.lock;
    if (!take)
        vm_lock_give(&vm->lock_fd);
    if (!take || !path || vm->lock_fd >= 0)
        return VMS_OK;
    vm->lock_fd = vm_lock_take(path);
    if (vm->lock_fd >= 0)
        return VMS_OK;
    return vms_error_set(err, errno == EAGAIN ? VMS_E_VM_LOCK : VMS_E_IO, "%s: %s", path,
                         errno == EAGAIN ? "held" : strerror(errno));
}

static void announce(void *ctx) {
    vm_announce(ctx);
}

static enum vms_code save(void *ctx, const uint8_t **bytes, size_t *len, struct vms_error *err) {
    struct vms_vm *vm = ctx;
    if (atomic_load(&vm->running))
        return vms_error_set(err, VMS_E_MISUSE, "save while the guest runs");
    vm_state_save(vm, vm->state);
    *bytes = vm->state;
    *len = vm->state_len;
    return VMS_OK;
}

static enum vms_code load(void *ctx, const uint8_t *bytes, size_t len, struct vms_error *err) {
    struct vms_vm *vm = ctx;
    if (atomic_load(&vm->running) || vm->role != VMS_VM_DESTINATION)
        return vms_error_set(err, VMS_E_MISUSE, "load into a guest that is not waiting for it");
    return vm_state_load(vm, bytes, len, err);
}

static const struct vms_guest_ops OPS = {stop, run, throttle, locks, announce, save, load};

/* ---- beginning and end ---- */

static bool allocate(struct vms_vm *vm) {
    uint64_t chunks = vm->memory.chunks, pages = vm->memory.pages, n = vm->config.vcpu_count;
    bool incoming = vm->role == VMS_VM_DESTINATION;
    vm->ledger = calloc(chunks, 8);
    vm->state_len = vm_state_size(vm);
    vm->state = malloc(vm->state_len);
    vm->met_host = incoming ? calloc(pages, 1) : NULL;
    bool ok = vm->ledger && vm->state && (vm->met_host || !incoming);
    for (size_t i = 0; i < n; i++) {
        struct vm_vcpu *v = &vm->vcpus[i];
        v->vm = vm;
        v->index = i;
        v->rng = vm_mix(vm->config.seed, i);
        v->first = pages * i / n + (i == 0); /* page 0 is the board */
        v->count = pages * (i + 1) / n - v->first;
        v->ledger = calloc(chunks, 8);
        v->touched = incoming ? calloc(v->count + 1, 1) : NULL;
        pthread_mutex_init(&v->lock, NULL);
        ok = ok && v->ledger && (v->touched || !incoming);
    }
    return ok;
}

static enum vms_code start_threads(struct vms_vm *vm, struct vms_error *err) {
    for (; vm->threads < vm->config.vcpu_count; vm->threads++) {
        struct vm_vcpu *v = &vm->vcpus[vm->threads];
        int why = pthread_create(&v->thread, NULL, vm_vcpu_main, v);
        if (why)
            return vms_error_set(err, VMS_E_IO, "a thread for a virtual CPU: %s", strerror(why));
    }
    return VMS_OK;
}

static enum vms_code set_up(struct vms_vm *vm, struct vms_error *err) {
    if (vm_memory_map(&vm->memory, &vm->config, err) != VMS_OK)
        return err->code;
    if (!allocate(vm))
        return vms_error_set(err, VMS_E_NO_MEMORY, NULL);
    vm->guest = (struct vms_guest){
        .ops = &OPS, .ctx = vm, .blocks = vm->memory.blocks, .block_count = vm->memory.count};
    if (vm->role == VMS_VM_SOURCE) {
        if (locks(vm, true, err) != VMS_OK)
            return err->code;
        vm_memory_fill(&vm->memory, &vm->config, vm->ledger);
    }
    return start_threads(vm, err);
}

static void init_waiting(struct vms_vm *vm) {
    pthread_condattr_t monotonic;
    pthread_mutex_init(&vm->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&vm->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
}

enum vms_code vms_vm_new_text(const char *text, const char *name, enum vms_vm_role role,
                              struct vms_vm **out, struct vms_error *err) {
    *out = NULL;
    struct vms_vm *vm = calloc(1, sizeof *vm);
    if (!vm)
        return vms_error_set(err, VMS_E_NO_MEMORY, NULL);
    if (vm_config_parse(&vm->config, text, name, err) != VMS_OK) {
        free(vm);
        return err->code;
    }
    vm->role = role;
    vm->lock_fd = vm->running_fd = -1;
    atomic_store(&vm->halt, true);
    init_waiting(vm);
    if (set_up(vm, err) != VMS_OK) {
        vms_vm_free(vm);
        return err->code;
    }
    *out = vm;
    return VMS_OK;
}

enum vms_code vms_vm_new(const char *file, enum vms_vm_role role, struct vms_vm **out,
                         struct vms_error *err) {
    enum {
        LARGEST = 1 << 20
    };
    *out = NULL;
    FILE *in = fopen(file, "re");
    if (!in)
        return vms_error_set(err, VMS_E_VM_FILE, "%s: %s", file, strerror(errno));
    char *text = malloc(LARGEST + 1);
    size_t len = text ? fread(text, 1, LARGEST + 1, in) : 0;
    bool failed = ferror(in);
    fclose(in);
    if (!text)
        return vms_error_set(err, VMS_E_NO_MEMORY, NULL);
    if (failed || len > LARGEST) {
        free(text);
        return vms_error_set(err, VMS_E_VM_FILE, "%s: %s", file,
                             failed ? "cannot be read" : "larger than 1 MiB");
    }
    text[len] = '\0';
    enum vms_code code = vms_vm_new_text(text, file, role, out, err);
    free(text);
    return code;
}

static void quit_threads(struct vms_vm *vm) {
    struct vms_error ignored;
    (void)stop(vm, &ignored);
    pthread_mutex_lock(&vm->lock);
    vm->quit = true;
    pthread_cond_broadcast(&vm->changed);
    pthread_mutex_unlock(&vm->lock);
    for (size_t i = 0; i < vm->threads; i++)
        pthread_join(vm->vcpus[i].thread, NULL);
}

void vms_vm_free(struct vms_vm *vm) {
    if (!vm)
        return;
    quit_threads(vm);
    vm_lock_give(&vm->lock_fd);
    vm_memory_unmap(&vm->memory);
    for (size_t i = 0; i < vm->config.vcpu_count; i++) {
        free(vm->vcpus[i].ledger);
        free(vm->vcpus[i].touched);
        if (vm->vcpus[i].vm)
            pthread_mutex_destroy(&vm->vcpus[i].lock);
    }
    free(vm->ledger);
    free(vm->state);
    free(vm->met_host);
    pthread_mutex_destroy(&vm->lock);
    pthread_cond_destroy(&vm->changed);
    vm_config_free(&vm->config);
    free(vm);
}

/* ---- what can be asked ---- */

const struct vms_guest *vms_vm_guest(struct vms_vm *vm) {
    return &vm->guest;
}

void vms_vm_stats(const struct vms_vm *vm, struct vms_vm_stats *out) {
    *out = (struct vms_vm_stats){.running = atomic_load(&vm->running),
                                 .twice = atomic_load(&vm->twice),
                                 .throttle = atomic_load(&vm->throttle)};
    for (size_t i = 0; i < vm->config.vcpu_count; i++) {
        const struct vm_vcpu *v = &vm->vcpus[i];
        out->writes += atomic_load_explicit(&v->writes, memory_order_relaxed);
        out->reads += atomic_load_explicit(&v->reads, memory_order_relaxed);
        out->heartbeats += atomic_load_explicit(&v->heartbeat, memory_order_relaxed);
        out->met += atomic_load_explicit(&v->met, memory_order_relaxed);
    }
}

void vms_vm_first_touch(const struct vms_vm *vm, uint64_t page_size, struct vms_histogram *out) {
    *out = (struct vms_histogram){.count = 0};
    for (size_t i = 0; i < vm->config.vcpu_count; i++) {
        struct vm_vcpu *v = (struct vm_vcpu *)&vm->vcpus[i]; /* its lock */
        pthread_mutex_lock(&v->lock);
        vms_histogram_merge(out, page_size > VM_PAGE ? &v->huge : &v->small);
        pthread_mutex_unlock(&v->lock);
    }
}
