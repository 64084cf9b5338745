/* SPDX-License-Identifier: MIT */
#include "vm_test_util.h"

#include <sys/mman.h>
#include <zstd.h>

#define GUEST(more)                                                                                \
    "{\"blocks\": [{\"name\": \"ram0\", \"size\": \"4M\", \"fill\": \"mix\"},"                     \
    " {\"name\": \"ram1\", \"size\": \"1M\", \"backing\": \"shared\", \"fill\": \"zero\"}],"       \
    " \"vcpus\": [{\"reads\": 0.3}, {\"change\": 200, " more "\"locality\": {\"kind\": "           \
    "\"sequential\"}},"                                                                            \
    " {\"locality\": {\"kind\": \"hot\", \"working_set\": \"64K\"}}]}"
#define SMALL GUEST("\"zeroes\": 0.2, ")

/* ---- pages ---- */

/* [VM-5] a change of any bit of a page is found, in content and head. */
Test(vm, any_bit) {
    struct vm_page page = {.generation = 6};
    size_t count;
    vm_page_advance(&page, 42, VM_PAGE, VM_STYLE_RANDOM, &count);
    cr_assert_eq(vm_page_check(&page, 42), VM_PAGE_GOOD);
    for (size_t bit = 0; bit < VM_PAGE * 8; bit++) {
        uint8_t *byte = (uint8_t *)&page + bit / 8;
        *byte ^= (uint8_t)(1 << bit % 8);
        cr_assert_eq(vm_page_check(&page, 42), VM_PAGE_TORN, "bit %zu", bit);
        *byte ^= (uint8_t)(1 << bit % 8);
    }
    cr_assert_eq(vm_page_check(&page, 43), VM_PAGE_WRONG);
    struct vm_page zero = {.number = 0};
    cr_assert_eq(vm_page_check(&zero, 42), VM_PAGE_GOOD);
    zero.words[500] = 1;
    cr_assert_eq(vm_page_check(&zero, 42), VM_PAGE_TORN);
}

/* A write of few bytes changes few words, and the window visits the whole page. */
Test(vm, windows) {
    struct vm_page page = {.generation = 0}, before;
    static uint8_t seen[VM_PAGE_WORDS];
    size_t count, first, visited = 0;
    for (int i = 0; i < 2000; i++) {
        before = page;
        first = vm_page_advance(&page, 7, 60, (enum vm_style)(i % 4), &count);
        cr_assert(count == 8 && first + count <= VM_PAGE_WORDS);
        for (size_t word = 0; word < VM_PAGE_WORDS; word++) {
            bool inside = word >= first && word < first + count;
            cr_assert(inside || page.words[word] == before.words[word]);
            visited += inside && !seen[word];
            seen[word] |= inside;
        }
        cr_assert_eq(vm_page_check(&page, 7), VM_PAGE_GOOD);
    }
    cr_assert_eq(visited, VM_PAGE_WORDS);
}

static size_t resident(const struct vms_guest_block *block) {
    static unsigned char there[256];
    size_t count = 0;
    cr_assert_leq(block->length, sizeof there * VM_PAGE);
    cr_assert_eq(mincore(block->memory, block->length, there), 0);
    for (size_t i = 0; i < block->length / VM_PAGE; i++)
        count += there[i] & 1;
    return count;
}

/* All of it is there before anybody touches it, or nothing of it. */
Test(vm, memory_ahead) {
    struct vms_vm *vm = vm_open(
        "{\"blocks\": [{\"name\": \"a\", \"size\": \"1M\", \"allocate\": \"ahead\"},"
        " {\"name\": \"b\", \"size\": \"1M\", \"allocate\": \"ahead\", \"backing\": \"shared\"},"
        " {\"name\": \"c\", \"size\": \"1M\"}, {\"name\": \"d\", \"size\": \"1M\","
        " \"backing\": \"shared\"}]}",
        VMS_VM_DESTINATION);
    const struct vms_guest_block *blocks = vms_vm_guest(vm)->blocks;
    cr_expect_eq(resident(&blocks[0]), 256);
    cr_expect_eq(resident(&blocks[1]), 256);
    cr_expect_eq(resident(&blocks[2]), 0);
    cr_expect_eq(resident(&blocks[3]), 0);
    vms_vm_free(vm);
}

/* An image is of each megabyte a quarter zero, a quarter well compressible, half random. */
Test(vm, image) {
    struct vms_vm *vm = vm_open("{\"blocks\": [{\"name\": \"a\", \"size\": \"4K\"}, {\"name\":"
                                " \"r\", \"size\": \"4M\", \"fill\": \"image\"}]}",
                                VMS_VM_SOURCE);
    const uint8_t *memory = vms_vm_guest(vm)->blocks[1].memory;
    for (size_t quarter = 0; quarter < 16; quarter++) {
        static uint8_t packed[1 << 19];
        size_t len =
            ZSTD_compress(packed, sizeof packed, memory + quarter * 64 * VM_PAGE, 64 * VM_PAGE, 1);
        size_t share = len * 100 / (64 * VM_PAGE);
        cr_assert(quarter % 4 == 0   ? share == 0
                  : quarter % 4 == 1 ? share >= 10 && share <= 30
                                     : share >= 99,
                  "%zu: %zu %%", quarter, share);
    }
    vm_assert_good(vm);
    vms_vm_free(vm);
}

/* ---- running ---- */

/* [VM-5] a guest that runs and stops again and again is always consistent, and still. */
Test(vm, runs_and_stops) {
    struct vms_vm *vm = vm_open(SMALL, VMS_VM_SOURCE);
    const struct vms_guest *guest = vms_vm_guest(vm);
    uint8_t *copy = malloc(guest->blocks[0].length);
    vm_assert_good(vm);
    for (int i = 0; i < 60; i++) {
        vm_run(vm);
        vm_run(vm);
        vm_await_each(vm, i % 4 ? 0 : (uint64_t)i * 10);
        vm_stop(vm);
        vm_stop(vm);
        memcpy(copy, guest->blocks[0].memory, guest->blocks[0].length);
        vm_assert_good(vm);
        cr_assert(!memcmp(copy, guest->blocks[0].memory, guest->blocks[0].length));
    }
    struct vms_vm_stats stats;
    vms_vm_stats(vm, &stats);
    cr_assert(!stats.running && stats.reads > 0 && stats.writes > 0);
    cr_assert_eq(stats.heartbeats, stats.reads + stats.writes);
    free(copy);
    vms_vm_free(vm);
}

/* A check, save or load at the wrong time is refused; a destination does not run by itself. */
Test(vm, wrong_time) {
    struct vms_error err;
    struct vms_vm_report report;
    const uint8_t *bytes;
    size_t len;
    struct vms_vm *vm = vm_open(SMALL, VMS_VM_SOURCE), *to = vm_open(SMALL, VMS_VM_DESTINATION);
    const struct vms_guest *guest = vms_vm_guest(vm), *dest = vms_vm_guest(to);
    cr_assert_eq(dest->ops->run(dest->ctx, &err), VMS_E_MISUSE);
    vm_run(vm);
    cr_assert_eq(vms_vm_check(vm, &report, &err), VMS_E_MISUSE);
    cr_assert_eq(guest->ops->save(guest->ctx, &bytes, &len, &err), VMS_E_MISUSE);
    vm_stop(vm);
    cr_assert_eq(guest->ops->save(guest->ctx, &bytes, &len, &err), VMS_OK);
    cr_assert_eq(guest->ops->load(guest->ctx, bytes, len, &err), VMS_E_MISUSE);
    vms_vm_free(vm);
    vms_vm_free(to);
    vms_vm_free(NULL);
}

/* ---- the check finds what migrations can do to memory ---- */

struct spoilt {
    struct vms_vm *vm;
    uint8_t *memory; /* of block 0 */
    uint8_t *old;    /* as it was some writes ago */
};

static struct spoilt spoil_begin(void) {
    struct spoilt s = {.vm = vm_open(GUEST(""), VMS_VM_SOURCE)}; /* which page, it can tell then */
    const struct vms_guest_block *block = &vms_vm_guest(s.vm)->blocks[0];
    s.memory = block->memory;
    s.old = malloc(block->length);
    vm_run(s.vm);
    vm_await_writes(s.vm, 3000);
    vm_stop(s.vm);
    memcpy(s.old, s.memory, block->length);
    vm_run(s.vm);
    vm_await_writes(s.vm, 6000);
    vm_stop(s.vm);
    vm_assert_good(s.vm);
    return s;
}

static struct vms_vm_report spoil_end(struct spoilt *s, const char *first) {
    struct vms_vm_report report;
    struct vms_error err;
    cr_assert_eq(vms_vm_check(s->vm, &report, &err), VMS_E_VM_CHECK);
    cr_assert_str_eq(err.clause, "VM-5");
    cr_assert(strstr(report.first, first), "%s", report.first);
    cr_assert(strstr(err.message, first), "%s", err.message);
    vms_vm_free(s->vm);
    free(s->old);
    return report;
}

/* A page that has changed since the copy was made. */
static uint64_t changed_page(const struct spoilt *s) {
    uint64_t page = 1;
    while (!memcmp(s->old + page * VM_PAGE, s->memory + page * VM_PAGE, VM_PAGE))
        page++;
    return page;
}

Test(vm, finds_torn) {
    struct spoilt s = spoil_begin();
    uint64_t page = changed_page(&s);
    s.memory[page * VM_PAGE + 4095] ^= 1;
    struct vms_vm_report report = spoil_end(&s, "torn");
    cr_assert(report.torn == 1 && report.wrong == 0 && report.stale == 0);
}

Test(vm, finds_wrong) {
    struct spoilt s = spoil_begin();
    uint64_t page = changed_page(&s);
    memcpy(s.memory + (page + 1) * VM_PAGE, s.memory + page * VM_PAGE, VM_PAGE);
    struct vms_vm_report report = spoil_end(&s, "the content of another page");
    cr_assert(report.torn == 0 && report.wrong == 1 && report.stale == 0);
}

/* [VM-5] an old version of a page is consistent in itself: only the ledger tells. */
Test(vm, finds_stale) {
    struct spoilt s = spoil_begin();
    uint64_t page = changed_page(&s);
    char want[64];
    snprintf(want, sizeof want, "block ram0 page %d: stale", (int)page);
    memcpy(s.memory + page * VM_PAGE, s.old + page * VM_PAGE, VM_PAGE);
    struct vms_vm_report report = spoil_end(&s, want);
    cr_assert(report.torn == 0 && report.wrong == 0 && report.stale == 1);
}

/* [VM-5] a page that never came is zero, as memory at a destination is. */
Test(vm, finds_lost) {
    struct spoilt s = spoil_begin();
    uint64_t page = changed_page(&s);
    char want[64];
    snprintf(want, sizeof want, "block ram0 page %d: stale, generation 0", (int)page);
    memset(s.memory + page * VM_PAGE, 0, VM_PAGE);
    struct vms_vm_report report = spoil_end(&s, want);
    cr_assert_eq(report.stale, 1);
}

Test(vm, finds_all_old) {
    struct spoilt s = spoil_begin();
    memcpy(s.memory + VM_PAGE, s.old + VM_PAGE, (4 << 20) - VM_PAGE);
    struct vms_vm_report report = spoil_end(&s, "stale");
    cr_assert_geq(report.stale, 1);
}

Test(vm, finds_heartbeat) {
    struct spoilt s = spoil_begin();
    memcpy(s.memory, s.old, VM_PAGE);
    struct vms_vm_report report = spoil_end(&s, "heartbeat");
    cr_assert(report.heartbeats > 0 && report.stale == 0);
}

/* ---- locality, rates ---- */

/* A working set is what is written, and nothing else. */
Test(vm, working_set) {
    struct vms_vm *vm = vm_open("{\"blocks\": [{\"name\": \"r\", \"size\": \"2M\"}],"
                                " \"vcpus\": [{\"locality\": {\"kind\": \"sequential\","
                                " \"working_set\": \"40K\"}}, {\"locality\": {\"kind\":"
                                " \"uniform\", \"working_set\": \"20K\"}}]}",
                                VMS_VM_SOURCE);
    vm_run(vm);
    vm_await_each(vm, 1000);
    vm_stop(vm);
    vm_assert_good(vm);
    const uint8_t *memory = vms_vm_guest(vm)->blocks[0].memory;
    for (uint64_t page = 1; page < 512; page++) {
        bool written = (page >= 1 && page < 11) || (page >= 256 && page < 261);
        cr_assert(!written || memory[page * VM_PAGE], "page %d", (int)page);
        cr_assert(written || !memory[page * VM_PAGE], "page %d", (int)page);
    }
    vms_vm_free(vm);
}

/* The configured share of accesses goes to the hot part, the others anywhere. */
Test(vm, hot_set) {
    struct vms_vm *vm = vm_open("{\"blocks\": [{\"name\": \"r\", \"size\": \"4M\"}], \"vcpus\":"
                                " [{\"change\": 8, \"locality\": {\"kind\": \"hot\","
                                " \"working_set\": \"256K\", \"hot_fraction\": 0.8}}]}",
                                VMS_VM_SOURCE);
    vm_run(vm);
    vm_await_writes(vm, 50000);
    vm_stop(vm);
    uint64_t hot = 0, all = 0;
    for (uint64_t page = 1; page < 1024; page++) {
        struct vm_page content;
        vm_guest_read((uint64_t *)(void *)&content, vm_memory_page(&vm->memory, page), 512);
        all += content.generation;
        hot += page <= 64 ? content.generation : 0;
    }
    struct vms_vm_stats stats;
    vms_vm_stats(vm, &stats);
    cr_assert_eq(all, stats.writes);
    cr_assert(hot * 100 / all >= 79 && hot * 100 / all <= 83, "%d %%", (int)(hot * 100 / all));
    vm_assert_good(vm);
    vms_vm_free(vm);
}

/* Operations in a second of a clock that only moves when somebody sleeps, or takes 100 ns. */
static uint64_t operations(uint64_t rate, unsigned throttle) {
    struct vm_pace pace;
    uint64_t now = 5, n = 0;
    vm_pace_begin(&pace, now);
    while (now < 1000000005) {
        n++;
        now += 100;
        uint64_t until = vm_pace_next(&pace, now, rate, throttle);
        if (until)
            now = until;
    }
    return n;
}

/* Rates hold, throttled virtual CPUs do that share less, and do not catch up. */
Test(vm, pace) {
    for (uint64_t rate = 100; rate <= 1000000; rate *= 10) {
        uint64_t n = operations(rate, 0), half = operations(rate, 50), few = operations(rate, 99);
        cr_assert(n >= rate && n <= rate + rate / 500 + 2, "%d: %d", (int)rate, (int)n);
        cr_assert(half + rate / 100 + 1 >= rate / 2 && half <= rate / 2 + rate / 50 + 2, "%d: %d",
                  (int)rate, (int)half);
        cr_assert(few + rate / 1000 + 1 >= rate / 100 && few <= rate / 100 + rate / 50 + 2, "%d",
                  (int)few);
    }
    cr_assert_eq(operations(0, 0), 10000000);
    uint64_t quarter = operations(0, 75);
    cr_assert(quarter >= 2500000 && quarter <= 2600000, "%d", (int)quarter);
}

/* What is late by more than a moment is not caught up: a virtual CPU that waited for a page. */
Test(vm, pace_late) {
    struct vm_pace pace;
    uint64_t now = 0, burst = 0;
    vm_pace_begin(&pace, now);
    now = 3000000000;
    while (!vm_pace_next(&pace, now, 1000, 0))
        burst++;
    cr_assert_leq(burst, 12);
}

/* Throttling and rates of real virtual CPUs: they still run, and stop at once. */
Test(vm, throttled) {
    struct vms_vm *vm = vm_open("{\"blocks\": [{\"name\": \"r\", \"size\": \"2M\"}],"
                                " \"vcpus\": [{\"rate\": 1}, {\"rate\": 100000}, {}]}",
                                VMS_VM_SOURCE);
    const struct vms_guest *guest = vms_vm_guest(vm);
    struct vms_vm_stats stats;
    guest->ops->throttle(guest->ctx, 150);
    vms_vm_stats(vm, &stats);
    cr_assert_eq(stats.throttle, 99);
    for (int i = 0; i < 30; i++) {
        vm_run(vm);
        vm_await_writes(vm, 5);
        vm_stop(vm);
        guest->ops->throttle(guest->ctx, (unsigned)i * 3);
    }
    vm_assert_good(vm);
    vms_vm_free(vm);
}
