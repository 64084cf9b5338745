/* SPDX-License-Identifier: MIT */
#include "internal.h"

#include <string.h>
#include <vmstream/pack.h>

/*
 * The state, in little-endian words of 8 bytes: magic, version, fingerprint, number of virtual
 * CPUs, number of chunks; for each virtual CPU rng, cursor, heartbeat; the ledger; the XXH64 of all
 * that. The ledger travels here and not in guest memory, so that old memory cannot prove itself.
 * [VM-5]
 */
enum {
    HEAD_WORDS = 5,
    VCPU_WORDS = 3,
    VERSION = 1
};

#define MAGIC UINT64_C(0x5453455547534d56) /* "VMSGUEST" */

static uint8_t *put(uint8_t *at, uint64_t v) {
    for (int i = 0; i < 8; i++)
        at[i] = (uint8_t)(v >> 8 * i);
    return at + 8;
}

static uint64_t get(const uint8_t *at, size_t word) {
    uint64_t v = 0;
    for (int i = 0; i < 8; i++)
        v |= (uint64_t)at[word * 8 + (size_t)i] << 8 * i;
    return v;
}

static size_t words(const struct vms_vm *vm) {
    return HEAD_WORDS + vm->config.vcpu_count * VCPU_WORDS + vm->memory.chunks + 1;
}

size_t vm_state_size(const struct vms_vm *vm) {
    return words(vm) * 8;
}

uint64_t vm_ledger_at(const struct vms_vm *vm, uint64_t chunk) {
    uint64_t sum = vm->ledger[chunk];
    for (size_t i = 0; i < vm->config.vcpu_count; i++)
        sum += vm->vcpus[i].ledger[chunk];
    return sum;
}

void vm_state_save(const struct vms_vm *vm, uint8_t *out) {
    uint8_t *at = put(put(put(out, MAGIC), VERSION), vm_config_fingerprint(&vm->config));
    at = put(put(at, vm->config.vcpu_count), vm->memory.chunks);
    for (size_t i = 0; i < vm->config.vcpu_count; i++) {
        const struct vm_vcpu *v = &vm->vcpus[i];
        at = put(put(put(at, v->rng), v->cursor), atomic_load(&v->heartbeat));
    }
    for (uint64_t chunk = 0; chunk < vm->memory.chunks; chunk++)
        at = put(at, vm_ledger_at(vm, chunk));
    put(at, vms_xxh64(vms_slice(out, (size_t)(at - out)), VERSION));
}

/* [VM-4] */
static enum vms_code check(const struct vms_vm *vm, const uint8_t *bytes, size_t len,
                           struct vms_error *err) {
    if (len < HEAD_WORDS * 8 || get(bytes, 0) != MAGIC)
        return vms_error_set(err, VMS_E_VM_STATE, "%zu bytes of something else", len);
    if (get(bytes, 1) != VERSION)
        return vms_error_set(err, VMS_E_VM_STATE, "version %llu, known is %d",
                             (unsigned long long)get(bytes, 1), VERSION);
    if (get(bytes, 2) != vm_config_fingerprint(&vm->config))
        return vms_error_set(err, VMS_E_VM_STATE, "the VM files of the two ends differ");
    if (len != vm_state_size(vm) || get(bytes, 3) != vm->config.vcpu_count ||
        get(bytes, 4) != vm->memory.chunks)
        return vms_error_set(err, VMS_E_VM_STATE, "%zu bytes instead of %zu", len,
                             vm_state_size(vm));
    if (get(bytes, words(vm) - 1) != vms_xxh64(vms_slice(bytes, len - 8), VERSION))
        return vms_error_set(err, VMS_E_VM_STATE, "its checksum is wrong");
    return VMS_OK;
}

static void reset(struct vm_vcpu *v, uint64_t chunks) {
    atomic_store(&v->writes, 0);
    atomic_store(&v->reads, 0);
    atomic_store(&v->met, 0);
    memset(v->ledger, 0, chunks * 8);
    if (v->touched)
        memset(v->touched, 0, v->count);
    pthread_mutex_lock(&v->lock);
    v->small = v->huge = (struct vms_histogram){.count = 0};
    v->bad[0] = '\0';
    pthread_mutex_unlock(&v->lock);
    v->arrived = true;
}

enum vms_code vm_state_load(struct vms_vm *vm, const uint8_t *bytes, size_t len,
                            struct vms_error *err) {
    if (check(vm, bytes, len, err) != VMS_OK)
        return err->code;
    size_t word = HEAD_WORDS;
    for (size_t i = 0; i < vm->config.vcpu_count; i++, word += VCPU_WORDS) {
        struct vm_vcpu *v = &vm->vcpus[i];
        v->rng = get(bytes, word);
        v->cursor = get(bytes, word + 1);
        atomic_store(&v->heartbeat, get(bytes, word + 2));
        reset(v, vm->memory.chunks);
    }
    for (uint64_t chunk = 0; chunk < vm->memory.chunks; chunk++)
        vm->ledger[chunk] = get(bytes, word + chunk);
    for (uint64_t page = 0; vm->met_host && page < vm->memory.pages; page++)
        atomic_store_explicit(&vm->met_host[page], 0, memory_order_relaxed);
    vm->loaded = true;
    return VMS_OK;
}
