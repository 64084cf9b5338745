// SPDX-License-Identifier: MIT
#include "check_guest.h"

#include <stdio.h>
#include <string.h>

struct check {
    const uint8_t *ram;
    const uint8_t *control;
    struct vms_guest_report *report;
    uint32_t sum; // of all generations in the table
};

static uint32_t control_word(const struct check *check, enum vms_guest_word word) {
    return vms_guest_load(check->control + 4 * (size_t)word);
}

static bool fits(const struct vms_guest_params *params, size_t size) {
    return vms_guest_params_problem(params) == NULL &&
           params->region + (uint64_t)params->pages * VMS_GUEST_PAGE <= size;
}

// Words from 0 on that are as expected.
static uint32_t matching_words(const uint8_t *at, const uint32_t *expected, uint32_t from) {
    uint32_t i = from;

    while (i < VMS_GUEST_PAGE_WORDS && vms_guest_load(at + 4 * (size_t)i) == expected[i]) {
        i++;
    }
    return i;
}

// The page being written: its next generation up to some word, its last one from there on.
static bool is_torn_page(const struct check *check, const uint8_t *at, uint32_t page,
                         uint32_t generation, const uint32_t *old) {
    uint32_t next[VMS_GUEST_PAGE_WORDS];

    if (page != check->report->inflight) {
        return false;
    }
    vms_guest_page(&check->report->params, page, generation + 1, next);
    return matching_words(at, old, matching_words(at, next, 0)) == VMS_GUEST_PAGE_WORDS;
}

static void note_bad(struct vms_guest_report *report, const uint8_t *at, uint32_t page,
                     uint32_t generation, const uint32_t *expected) {
    uint32_t word = matching_words(at, expected, 0);

    report->bad++;
    if (report->first_bad != VMS_GUEST_NO_PAGE) {
        return;
    }
    report->first_bad = page;
    snprintf(report->text, sizeof report->text,
             "page %u (guest address 0x%llx) is not its generation %u: word %u is 0x%08x, not "
             "0x%08x; its header says page %u, generation %u",
             page, report->params.region + (unsigned long long)page * VMS_GUEST_PAGE, generation,
             word, vms_guest_load(at + 4 * (size_t)word), expected[word], vms_guest_load(at),
             vms_guest_load(at + 4));
}

static void check_page(struct check *check, uint32_t page) {
    struct vms_guest_report *report = check->report;
    const uint8_t *at = check->ram + report->params.region + (size_t)page * VMS_GUEST_PAGE;
    uint32_t generation = vms_guest_load(check->ram + VMS_GUEST_TABLE + 4 * (size_t)page);
    uint32_t expected[VMS_GUEST_PAGE_WORDS];

    check->sum += generation;
    if (page == 0 || generation < report->min_generation) {
        report->min_generation = generation;
    }
    if (generation > report->max_generation) {
        report->max_generation = generation;
    }
    vms_guest_page(&report->params, page, generation, expected);
    if (matching_words(at, expected, 0) == VMS_GUEST_PAGE_WORDS) {
        report->good++;
        report->zero += expected[0] == 0 && expected[1] == 0;
    } else if (is_torn_page(check, at, page, generation, expected)) {
        report->torn++;
    } else {
        note_bad(report, at, page, generation, expected);
    }
}

// The guest counts a write after it has entered the generation: one may be outstanding.
static bool count_is_right(const struct check *check) {
    const struct vms_guest_report *report = check->report;

    return check->sum == report->writes ||
           (report->inflight != VMS_GUEST_NO_PAGE && check->sum == report->writes + 1);
}

static int conclude(const struct check *check) {
    struct vms_guest_report *report = check->report;

    if (report->bad != 0) {
        return -1; // note_bad has written the text
    }
    if (!count_is_right(check)) {
        snprintf(report->text, sizeof report->text,
                 "the guest has written %u pages, but its generations sum up to %u: pages of the "
                 "table or the control block are old",
                 report->writes, check->sum);
        return -1;
    }
    if (report->self_bad != 0) {
        snprintf(report->text, sizeof report->text, "the guest itself has seen %u bad pages",
                 report->self_bad);
        return -1;
    }
    snprintf(report->text, sizeof report->text,
             "%u pages good (%u of them zero), %u being written; generations %u to %u, %u writes, "
             "heartbeat %u",
             report->good, report->zero, report->torn, report->min_generation,
             report->max_generation, report->writes, report->beat);
    return 0;
}

int vms_check_guest(const void *ram, size_t size, struct vms_guest_report *report) {
    struct check check = {.ram = ram, .report = report};

    memset(report, 0, sizeof *report);
    report->first_bad = VMS_GUEST_NO_PAGE;
    report->inflight = VMS_GUEST_NO_PAGE;
    if (size < VMS_GUEST_MIN_REGION) {
        snprintf(report->text, sizeof report->text, "the image is smaller than 1 MiB");
        return -1;
    }
    check.control = check.ram + VMS_GUEST_CTRL;
    if (vms_guest_get_params(check.control, &report->params) != 0 || !fits(&report->params, size)) {
        snprintf(report->text, sizeof report->text,
                 "no control block of the guest at 0x10000, or not one for an image of %zu bytes",
                 size);
        return -1;
    }
    report->beat = control_word(&check, VMS_GUEST_W_BEAT);
    report->writes = control_word(&check, VMS_GUEST_W_WRITES);
    report->inflight = control_word(&check, VMS_GUEST_W_INFLIGHT);
    report->self_bad = control_word(&check, VMS_GUEST_W_BAD);
    for (uint32_t page = 0; page < report->params.pages; page++) {
        check_page(&check, page);
    }
    return conclude(&check);
}

static void fill_page(const struct vms_guest_params *params, uint8_t *ram, uint32_t page) {
    uint32_t words[VMS_GUEST_PAGE_WORDS];
    uint8_t *at = ram + params->region + (size_t)page * VMS_GUEST_PAGE;

    vms_guest_page(params, page, 1, words);
    for (size_t i = 0; i < VMS_GUEST_PAGE_WORDS; i++) {
        vms_guest_store(at + 4 * i, words[i]);
    }
    vms_guest_store(ram + VMS_GUEST_TABLE + 4 * (size_t)page, 1);
}

int vms_fill_guest(const struct vms_guest_params *params, void *ram, size_t size) {
    uint8_t *bytes = ram;
    uint8_t *control = bytes + VMS_GUEST_CTRL;

    if (size < VMS_GUEST_MIN_REGION || !fits(params, size)) {
        return -1;
    }
    memset(bytes, 0, size);
    vms_guest_put_params(params, control);
    for (uint32_t page = 0; page < params->prefill; page++) {
        fill_page(params, bytes, page);
    }
    vms_guest_store(control + 4 * VMS_GUEST_W_READY, 1);
    vms_guest_store(control + 4 * VMS_GUEST_W_WRITES, params->prefill);
    vms_guest_store(control + 4 * VMS_GUEST_W_INFLIGHT, VMS_GUEST_NO_PAGE);
    vms_guest_store(control + 4 * VMS_GUEST_W_TABLE, VMS_GUEST_TABLE);
    return 0;
}
