/* SPDX-License-Identifier: MIT */
#include "native/decoder.h"

/* A decoder's memory: one block, laid out once, a constant of the limits (MOD-10, NAT-35). */

static size_t aligned(uint64_t n) {
    return n > SIZE_MAX / 4 ? SIZE_MAX / 4 : (size_t)((n + 15) & ~(uint64_t)15);
}

static uint64_t times(uint64_t count, size_t size) {
    return count > SIZE_MAX / 8 / size ? SIZE_MAX / 8 : count * size;
}

static uint64_t larger(uint64_t a, uint64_t b) {
    return a > b ? a : b;
}

/* The most that the lists of one body take; each body has few. */
static size_t arena_bytes(const struct vms_limits *l) {
    uint64_t lists = times(l->native_records, sizeof(struct vms_record));
    lists = larger(lists, times(l->native_runs, sizeof(struct vms_native_run)) +
                              times(l->native_items, sizeof(uint32_t)));
    lists = larger(lists, times(l->native_devices, sizeof(struct vms_native_device)) + 16);
    lists = larger(lists, times(l->native_channels, sizeof(struct vms_native_sent)));
    return aligned(lists + 64);
}

size_t vms_native_decoder_size(const struct vms_native_config *config) {
    return aligned(sizeof(struct vms_native_decoder)) + aligned(config->limits.native_body_bytes) +
           arena_bytes(&config->limits);
}

struct vms_native_config vms_native_config_default(void) {
    return (struct vms_native_config){.limits = vms_limits_default()};
}

struct vms_native_decoder *vms_native_decoder_init(void *mem, size_t mem_len,
                                                   const struct vms_native_config *config) {
    if (!mem || mem_len < vms_native_decoder_size(config))
        return NULL;
    struct vms_native_decoder *d = mem;
    memset(d, 0, sizeof *d);
    d->config = *config;
    d->body = (uint8_t *)mem + aligned(sizeof *d);
    d->arena.ptr = d->body + aligned(config->limits.native_body_bytes);
    d->arena.len = arena_bytes(&config->limits);
    return d;
}
