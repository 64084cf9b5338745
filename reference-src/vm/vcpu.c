/* SPDX-License-Identifier: MIT */
#include "internal.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

static uint64_t random64(struct vm_vcpu *v) {
    v->rng += UINT64_C(0x9e3779b97f4a7c15);
    return vm_mix(v->rng, 0);
}

/* True in this share of all cases. */
static bool chance(struct vm_vcpu *v, double share) {
    return (double)(random64(v) >> 11) * 0x1p-53 < share;
}

static uint64_t pick(struct vm_vcpu *v, const struct vm_vcpu_config *config) {
    uint64_t set = config->working_set / VM_PAGE;
    if (set == 0 || set > v->count)
        set = v->count;
    if (config->locality == VM_SEQUENTIAL)
        return v->first + v->cursor++ % set;
    if (config->locality == VM_HOT && !chance(v, config->hot_fraction))
        set = v->count;
    return v->first + random64(v) % set;
}

uint8_t *vm_board(const struct vms_vm *vm, size_t vcpu) {
    return vm->memory.blocks[0].memory + vcpu * (VM_PAGE / VM_VCPUS_MAX);
}

void vm_describe(const struct vms_vm *vm, uint64_t page, const char *what, char *out) {
    size_t block = vm_memory_block(&vm->memory, page);
    snprintf(out, 160, "block %.80s page %llu: %s", vm->memory.blocks[block].name,
             (unsigned long long)(page - vm->memory.first[block]), what);
}

static void met_bad(struct vm_vcpu *v, uint64_t page, const char *what) {
    atomic_fetch_add_explicit(&v->met, 1, memory_order_relaxed);
    pthread_mutex_lock(&v->lock);
    if (!v->bad[0])
        vm_describe(v->vm, page, what, v->bad);
    pthread_mutex_unlock(&v->lock);
}

static void examine(struct vm_vcpu *v, uint64_t page) {
    static const char *const text[] = {"", "torn", "the content of another page"};
    struct vm_page content;
    vm_guest_read((uint64_t *)(void *)&content, vm_memory_page(&v->vm->memory, page), VM_PAGE / 8);
    enum vm_verdict verdict = vm_page_check(&content, page + 1);
    if (verdict != VM_PAGE_GOOD)
        met_bad(v, page, text[verdict]);
}

/* In postcopy the first touch of a host page waits until it has come. */
static void time_touch(struct vm_vcpu *v, uint64_t page) {
    const struct vm_memory *memory = &v->vm->memory;
    size_t block = vm_memory_block(memory, page);
    uint64_t size = memory->blocks[block].page_size, in_block = page - memory->first[block];
    uint64_t host = memory->first[block] + in_block / (size / VM_PAGE) * (size / VM_PAGE);
    bool first = !atomic_exchange_explicit(&v->vm->met_host[host], 1, memory_order_relaxed);
    uint64_t word, before = vm_now();
    vm_guest_read(&word, vm_memory_page(memory, page), 1);
    if (!first)
        return;
    uint64_t took = vm_now() - before;
    pthread_mutex_lock(&v->lock);
    vms_histogram_add(size > VM_PAGE ? &v->huge : &v->small, took);
    pthread_mutex_unlock(&v->lock);
}

/* Destination: what has come is proved before it can be written over. [VM-5] */
static void touch(struct vm_vcpu *v, uint64_t page) {
    if (!v->touched || v->touched[page - v->first])
        return;
    v->touched[page - v->first] = 1;
    time_touch(v, page);
    examine(v, page);
}

static void write_page(struct vm_vcpu *v, uint64_t page, uint64_t change) {
    const struct vm_memory *memory = &v->vm->memory;
    uint8_t *at = vm_memory_page(memory, page);
    size_t block = vm_memory_block(memory, page);
    enum vm_style style = vm_memory_style(&v->vm->config, block, page - memory->first[block]);
    bool whole = change >= sizeof(uint64_t) * VM_PAGE_WORDS;
    struct vm_page content;
    size_t count, head = VM_PAGE / 8 - VM_PAGE_WORDS;
    vm_guest_read((uint64_t *)(void *)&content, at, whole ? head : VM_PAGE / 8);
    uint64_t was = vm_page_share(page + 1, content.generation);
    size_t first = vm_page_advance(&content, page + 1, change, style, &count);
    vm_guest_write(at, (const uint64_t *)(const void *)&content, head);
    vm_guest_write(at + (head + first) * 8, content.words + first, count);
    v->ledger[page / VM_CHUNK] += vm_page_share(page + 1, content.generation) - was;
}

/* As a guest that gives memory back: zero is a page of generation 0, and begins anew. */
static void zero_page(struct vm_vcpu *v, uint64_t page) {
    static const uint64_t zero[VM_PAGE / 8];
    uint8_t *at = vm_memory_page(&v->vm->memory, page);
    struct vm_page content;
    vm_guest_read((uint64_t *)(void *)&content, at, VM_PAGE / 8 - VM_PAGE_WORDS);
    vm_guest_write(at, zero, VM_PAGE / 8);
    v->ledger[page / VM_CHUNK] -= vm_page_share(page + 1, content.generation);
}

static void operate(struct vm_vcpu *v, const struct vm_vcpu_config *config) {
    if (v->count) {
        uint64_t page = pick(v, config);
        bool reads = config->reads > 0 && chance(v, config->reads);
        touch(v, page);
        if (reads)
            examine(v, page);
        else if (config->zeroes > 0 && chance(v, config->zeroes))
            zero_page(v, page);
        else
            write_page(v, page, config->change);
        atomic_fetch_add_explicit(reads ? &v->reads : &v->writes, 1, memory_order_relaxed);
    }
    uint64_t beat = atomic_fetch_add_explicit(&v->heartbeat, 1, memory_order_relaxed) + 1;
    vm_guest_write(vm_board(v->vm, v->index), &beat, 1);
}

/* The heartbeat in memory came another way than the one in the state. */
static void check_arrival(struct vm_vcpu *v) {
    uint64_t beat;
    vm_guest_read(&beat, vm_board(v->vm, v->index), 1);
    if (beat != atomic_load(&v->heartbeat))
        met_bad(v, 0, "a heartbeat that is not the virtual CPU's");
    v->arrived = false;
}

static void sleep_until(struct vms_vm *vm, uint64_t until) {
    struct timespec at = {.tv_sec = (time_t)(until / 1000000000u),
                          .tv_nsec = (long)(until % 1000000000u)};
    pthread_mutex_lock(&vm->lock);
    while (!atomic_load(&vm->halt) && pthread_cond_timedwait(&vm->changed, &vm->lock, &at) == 0)
        ;
    pthread_mutex_unlock(&vm->lock);
}

static void execute(struct vm_vcpu *v) {
    struct vms_vm *vm = v->vm;
    const struct vm_vcpu_config *config = &vm->config.vcpus[v->index];
    struct vm_pace pace;
    vm_pace_begin(&pace, vm_now());
    if (v->arrived)
        check_arrival(v);
    while (!atomic_load_explicit(&vm->halt, memory_order_acquire)) {
        operate(v, config);
        unsigned throttle = atomic_load_explicit(&vm->throttle, memory_order_relaxed);
        if (!throttle && !config->rate)
            continue;
        uint64_t until = vm_pace_next(&pace, vm_now(), config->rate, throttle);
        if (until)
            sleep_until(vm, until);
    }
}

void *vm_vcpu_main(void *vcpu) {
    struct vm_vcpu *v = vcpu;
    struct vms_vm *vm = v->vm;
    pthread_mutex_lock(&vm->lock);
    while (!vm->quit) {
        if (atomic_load(&vm->halt)) {
            pthread_cond_wait(&vm->changed, &vm->lock);
            continue;
        }
        vm->active++;
        pthread_mutex_unlock(&vm->lock);
        execute(v);
        pthread_mutex_lock(&vm->lock);
        vm->active--;
        pthread_cond_broadcast(&vm->changed);
    }
    pthread_mutex_unlock(&vm->lock);
    return NULL;
}
