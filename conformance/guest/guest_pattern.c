// SPDX-License-Identifier: MIT
#include "guest_pattern.h"

#include <string.h>

uint32_t vms_guest_load(const uint8_t *at) {
    return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

void vms_guest_store(uint8_t *at, uint32_t value) {
    for (int i = 0; i < 4; i++) {
        at[i] = (uint8_t)(value >> (8 * i));
    }
}

void vms_guest_defaults(struct vms_guest_params *params) {
    *params = (struct vms_guest_params){
        .region = VMS_GUEST_MIN_REGION,
        .pages = 1024,
        .pages_per_tick = 64,
        .verify_per_tick = 64,
        .tick = VMS_GUEST_PIT_HZ / 10,
        .seed = 1,
        .window = 1024,
        .prefill = 1024,
    };
}

const char *vms_guest_params_problem(const struct vms_guest_params *params) {
    if (params->region < VMS_GUEST_MIN_REGION || params->region % VMS_GUEST_PAGE != 0) {
        return "the region must start at a multiple of 4096, at 1 MiB or above";
    }
    if (params->pages == 0 || params->pages > VMS_GUEST_MAX_PAGES ||
        params->pages > (UINT32_MAX - params->region) / VMS_GUEST_PAGE) {
        return "the region must have 1 to 114688 pages, below 4 GiB";
    }
    if (params->tick == 0 || params->tick > INT32_MAX / 4) {
        return "the tick is 0 or too long";
    }
    if (params->mode > VMS_GUEST_WINDOW || params->run_shift > 10) {
        return "unknown mode, or a run shift above 10";
    }
    if (params->window == 0 || params->window > params->pages || params->prefill > params->pages) {
        return "the window must be 1 to all pages of the region, the prefill 0 to all";
    }
    return NULL;
}

static uint32_t body_word(const struct vms_guest_params *params, uint32_t key, uint32_t mix,
                          uint32_t index) {
    uint32_t word = (index >> params->run_shift) * 0x9e3779b1u + key;

    word ^= word >> 15;
    word *= 0x2c1b3c6du;
    word ^= word >> 12;
    return (index & params->gen_mask) == 0 ? word ^ mix : word;
}

void vms_guest_page(const struct vms_guest_params *params, uint32_t page, uint32_t generation,
                    uint32_t words[VMS_GUEST_PAGE_WORDS]) {
    uint32_t key = (page * 0x85ebca6bu) ^ params->seed;
    uint32_t mix = generation * 0x9e3779b1u;
    uint32_t sum = 0;

    if (generation == 0 || (params->zero != 0 && (page + generation) % params->zero == 0)) {
        memset(words, 0, VMS_GUEST_PAGE);
        return;
    }
    words[0] = page;
    words[1] = generation;
    words[2] = params->seed;
    for (uint32_t i = 3; i < VMS_GUEST_PAGE_WORDS - 1; i++) {
        words[i] = body_word(params, key, mix, i);
    }
    for (uint32_t i = 0; i < VMS_GUEST_PAGE_WORDS - 1; i++) {
        sum += words[i];
    }
    words[VMS_GUEST_PAGE_WORDS - 1] = sum;
}

void vms_guest_put_params(const struct vms_guest_params *params, uint8_t block[64]) {
    const uint32_t values[] = {
        VMS_GUEST_MAGIC,
        VMS_GUEST_VERSION,
        params->region,
        params->pages,
        params->pages_per_tick,
        params->verify_per_tick,
        params->tick,
        params->seed,
        params->mode,
        params->gen_mask,
        params->run_shift,
        params->zero,
        params->window,
        params->prefill,
        0,
        0,
    };

    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        vms_guest_store(block + 4 * i, values[i]);
    }
}

int vms_guest_get_params(const uint8_t block[64], struct vms_guest_params *params) {
    uint32_t *const fields[] = {
        &params->region,    &params->pages, &params->pages_per_tick, &params->verify_per_tick,
        &params->tick,      &params->seed,  &params->mode,           &params->gen_mask,
        &params->run_shift, &params->zero,  &params->window,         &params->prefill,
    };

    if (vms_guest_load(block) != VMS_GUEST_MAGIC ||
        vms_guest_load(block + 4) != VMS_GUEST_VERSION) {
        return -1;
    }
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        *fields[i] = vms_guest_load(block + 8 + 4 * i);
    }
    return 0;
}
