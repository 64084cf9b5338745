/* SPDX-License-Identifier: MIT */
#include "internal.h"

#include "host/zero_page.h"

/* The finalizer of splitmix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators).
 */
uint64_t vm_mix(uint64_t a, uint64_t b) {
    uint64_t v = a + b * UINT64_C(0x9e3779b97f4a7c15) + UINT64_C(0x632be59bd9b4e019);
    v = (v ^ v >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    v = (v ^ v >> 27) * UINT64_C(0x94d049bb133111eb);
    return v ^ v >> 31;
}

static uint64_t checksum(const struct vm_page *page) {
    struct vms_slice words = vms_slice((const uint8_t *)page->words, sizeof page->words);
    return vms_xxh64(words, vm_mix(page->number, page->generation));
}

enum vm_verdict vm_page_check(const struct vm_page *page, uint64_t number) {
    if (!page->number && !page->generation && !page->checksum)
        return vms_page_is_zero((const uint8_t *)page, sizeof *page) ? VM_PAGE_GOOD : VM_PAGE_TORN;
    if (page->checksum != checksum(page))
        return VM_PAGE_TORN;
    return page->number == number ? VM_PAGE_GOOD : VM_PAGE_WRONG;
}

static uint64_t xorshift(uint64_t v) {
    v ^= v << 13;
    v ^= v >> 7;
    return v ^ v << 17;
}

/* 64 words of 8 letters: zstd makes about a fifth of a text of them. */
static void make_words(uint64_t words[64]) {
    static const char letters[] = "etaoinshrdlucmfw ygpbvkxqjz.,-:;";
    for (uint64_t pick = 0; pick < 64; pick++) {
        words[pick] = 0;
        for (uint64_t k = 0; k < 8; k++)
            words[pick] = words[pick] << 8 | (uint8_t)letters[(pick * 7 + k * (pick | 1)) % 32];
    }
}

static void renew(struct vm_page *page, size_t first, size_t count, enum vm_style style) {
    uint64_t text[64], v = vm_mix(page->number, page->generation);
    if (style == VM_STYLE_TEXT)
        make_words(text);
    for (size_t i = first; i < first + count; i++) {
        page->words[i] = style == VM_STYLE_TEXT ? text[v >> 58] : v;
        if (style >= VM_STYLE_TEXT)
            v = xorshift(v);
    }
}

/* A window of changed words moves over the page from one generation to the next. */
size_t vm_page_advance(struct vm_page *page, uint64_t number, uint64_t change, enum vm_style style,
                       size_t *count) {
    size_t words = (size_t)(change + 7) / 8, first;
    page->number = number;
    page->generation++;
    if (words > VM_PAGE_WORDS)
        words = VM_PAGE_WORDS;
    if (page->generation * words % VM_PAGE_WORDS < VM_PAGE_WORDS - words)
        first = (size_t)(page->generation * words % VM_PAGE_WORDS);
    else
        first = VM_PAGE_WORDS - words;
    renew(page, first, words, style);
    page->checksum = checksum(page);
    *count = words;
    return first;
}

uint64_t vm_page_share(uint64_t number, uint64_t generation) {
    return generation ? vm_mix(vm_mix(number, 1), generation) : 0;
}

__attribute__((no_sanitize("thread"))) void vm_guest_read(uint64_t *to, const uint8_t *from,
                                                          size_t words) {
    const uint64_t *at = (const uint64_t *)(const void *)from;
    for (size_t i = 0; i < words; i++)
        to[i] = __atomic_load_n(at + i, __ATOMIC_RELAXED);
}

__attribute__((no_sanitize("thread"))) void vm_guest_write(uint8_t *to, const uint64_t *from,
                                                           size_t words) {
    uint64_t *at = (uint64_t *)(void *)to;
    for (size_t i = 0; i < words; i++)
        __atomic_store_n(at + i, from[i], __ATOMIC_RELAXED);
}
