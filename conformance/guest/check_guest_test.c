// SPDX-License-Identifier: MIT
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "check_guest.h"

enum {
    SIZE = 2 << 20,
    PAGES = 64
};

static uint8_t *ram;
static struct vms_guest_params params;
static struct vms_guest_report report;

static void setup(void) {
    ram = calloc(1, SIZE);
    vms_guest_defaults(&params);
    params.pages = PAGES;
    params.window = PAGES;
    params.prefill = PAGES - 4;
    params.zero = 7;
    cr_assert_eq(vms_fill_guest(&params, ram, SIZE), 0);
}

static void teardown(void) {
    free(ram);
}

TestSuite(check_guest, .init = setup, .fini = teardown);

static uint8_t *page_at(uint32_t page) {
    return ram + params.region + (size_t)page * VMS_GUEST_PAGE;
}

static uint8_t *word_at(enum vms_guest_word word) {
    return ram + VMS_GUEST_CTRL + 4 * (size_t)word;
}

// Puts words [0, count) of a generation in place.
static void put_words(uint32_t page, uint32_t generation, uint32_t count) {
    uint32_t words[VMS_GUEST_PAGE_WORDS];

    vms_guest_page(&params, page, generation, words);
    for (uint32_t i = 0; i < count; i++) {
        vms_guest_store(page_at(page) + 4 * (size_t)i, words[i]);
    }
}

static void set_generation(uint32_t page, uint32_t generation) {
    vms_guest_store(ram + VMS_GUEST_TABLE + 4 * (size_t)page, generation);
    vms_guest_store(word_at(VMS_GUEST_W_WRITES), params.prefill - 1 + generation);
}

Test(check_guest, filled_memory_is_good) {
    cr_assert_eq(vms_check_guest(ram, SIZE, &report), 0, "%s", report.text);
    cr_assert_eq(report.good, PAGES);
    cr_assert_eq(report.zero, 4 + 8); // never written; written as zero: (page + 1) % 7 == 0
    cr_assert_eq(report.max_generation, 1);
}

Test(check_guest, every_changed_bit_is_found) {
    for (uint32_t at = 0; at < VMS_GUEST_PAGE; at += 37) {
        page_at(3)[at] ^= 0x10;
        cr_assert_eq(vms_check_guest(ram, SIZE, &report), -1);
        cr_assert_eq(report.first_bad, 3);
        cr_assert_eq(report.bad, 1);
        page_at(3)[at] ^= 0x10;
    }
}

Test(check_guest, an_old_page_is_bad) {
    set_generation(9, 2); // its content is still that of generation 1
    cr_assert_eq(vms_check_guest(ram, SIZE, &report), -1);
    cr_assert_eq(report.first_bad, 9);
    put_words(9, 2, VMS_GUEST_PAGE_WORDS);
    cr_assert_eq(vms_check_guest(ram, SIZE, &report), 0, "%s", report.text);
}

Test(check_guest, an_old_table_is_bad) {
    vms_guest_store(word_at(VMS_GUEST_W_WRITES), params.prefill + 5);
    cr_assert_eq(vms_check_guest(ram, SIZE, &report), -1);
    cr_assert_eq(report.bad, 0);
}

Test(check_guest, only_the_page_in_flight_may_be_torn) {
    put_words(9, 2, 500);
    cr_assert_eq(vms_check_guest(ram, SIZE, &report), -1);
    vms_guest_store(word_at(VMS_GUEST_W_INFLIGHT), 9);
    cr_assert_eq(vms_check_guest(ram, SIZE, &report), 0, "%s", report.text);
    cr_assert_eq(report.torn, 1);
    vms_guest_store(page_at(9) + 4 * 800, 0); // neither the old nor the new word
    cr_assert_eq(vms_check_guest(ram, SIZE, &report), -1);
}

Test(check_guest, what_the_guest_saw_counts) {
    vms_guest_store(word_at(VMS_GUEST_W_BAD), 1);
    cr_assert_eq(vms_check_guest(ram, SIZE, &report), -1);
}

Test(check_guest, images_without_a_guest) {
    cr_assert_eq(vms_check_guest(ram, 1000, &report), -1);
    cr_assert_eq(vms_check_guest(ram, VMS_GUEST_MIN_REGION, &report), -1); // no room for the region
    memset(word_at(VMS_GUEST_W_MAGIC), 0, 4);
    cr_assert_eq(vms_check_guest(ram, SIZE, &report), -1);
}

Test(check_guest, parameters_are_checked) {
    struct vms_guest_params bad = params;

    cr_assert_null(vms_guest_params_problem(&params));
    bad.region = 4096;
    cr_assert_not_null(vms_guest_params_problem(&bad));
    bad = params;
    bad.pages = VMS_GUEST_MAX_PAGES + 1;
    cr_assert_not_null(vms_guest_params_problem(&bad));
    bad = params;
    bad.region = 0xfffff000;
    cr_assert_not_null(vms_guest_params_problem(&bad));
    bad = params;
    bad.window = 0;
    cr_assert_not_null(vms_guest_params_problem(&bad));
}

Test(check_guest, parameter_block_round_trip) {
    uint8_t block[64];
    struct vms_guest_params again;

    vms_guest_put_params(&params, block);
    cr_assert_eq(vms_guest_get_params(block, &again), 0);
    cr_assert_eq(memcmp(&params, &again, sizeof params), 0);
    block[4] ^= 1;
    cr_assert_eq(vms_guest_get_params(block, &again), -1);
}
