/* SPDX-License-Identifier: MIT */
#include "fuzz.h"
#include "nocrypto.h"

#include <vmstream/dialect.h>
#include <vmstream/handover.h>
#include <vmstream/pack.h>
#include <vmstream/qevm.h>
#include <vmstream/seal.h>
#include <vmstream/session.h>

/*
 * Small parsers and tables, one an input: dialects, machine names, key files, suites, XBZRLE,
 * digests, the choice of a level, names of numbers. Input: 1 octet: which; its own.
 */
enum {
    PAGE = 4096,
};

static void dialect(struct vms_slice in) {
    struct vms_dialect d = {0}, again = {0};
    struct vms_error err = {0};
    enum vms_code code = vms_dialect_parse(in, &d, &err);
    fuzz_saw(code);
    ORACLE(code == vms_dialect_parse(in, &again, &err), "parsed otherwise");
    ORACLE(d.qemu == again.qemu && d.page_bits == again.page_bits, "another dialect");
    ORACLE(!d.page_bits || (d.page_bits >= 10 && d.page_bits <= 16), "2^%u", d.page_bits);
    vms_dialect_learn_machine(&d, in);
    (void)vms_machine_version(in);
}

struct keys {
    size_t count;
    char names[8][VMS_PSK_NAME_MAX];
    size_t lens[8];
};

static void take_key(void *ctx, const struct vms_psk *psk) {
    struct keys *k = ctx;
    ORACLE(psk->key_len >= VMS_SECRET_MIN && psk->key_len <= VMS_PSK_MAX, "%zu", psk->key_len);
    if (k->count < 8) {
        memcpy(k->names[k->count], psk->name, psk->name_len);
        k->lens[k->count] = psk->name_len;
    }
    k->count++;
}

static void key_file(struct vms_slice in) {
    struct vms_limits limits = vms_limits_default();
    static struct keys keys;
    struct vms_psk psk;
    struct vms_error err = {0};
    keys.count = 0;
    limits.psk_file_bytes = 4096;
    enum vms_code code = vms_psk_walk(in, &limits, take_key, &keys, &err);
    fuzz_saw(code);
    enum vms_code first = vms_psk_parse(in, vms_str(""), 0, &limits, &psk, &err);
    fuzz_saw(first);
    ORACLE((first == VMS_OK) == (code == VMS_OK && keys.count > 0), "%s, %s", vms_code_name(code),
           vms_code_name(first));
    for (size_t i = 0; code == VMS_OK && i < keys.count && i < 8; i++) {
        struct vms_slice name = vms_slice(keys.names[i], keys.lens[i]);
        ORACLE(vms_psk_parse(in, name, 0, &limits, &psk, &err) == VMS_OK, "key %zu is lost", i);
    }
    fuzz_saw(vms_psk_parse(in, vms_str("nobody"), 0, &limits, &psk, &err));
}

static void suites(struct vms_slice in) {
    uint32_t lists[2][8];
    struct vms_suite_list l[2];
    enum vms_suite out = VMS_SUITE_NONE;
    struct vms_error err = {0};
    bool keyed = fuzz_option(&in, 1) & 1;
    for (unsigned i = 0; i < 2; i++) {
        l[i] = (struct vms_suite_list){lists[i], fuzz_option(&in, 1) % 9};
        for (size_t j = 0; j < l[i].count; j++)
            lists[i][j] = fuzz_option(&in, 1) % 5;
    }
    enum vms_code code = vms_suite_select(l[0], l[1], keyed, &out, &err);
    fuzz_saw(code);
    ORACLE(code != VMS_OK || keyed == (out != VMS_SUITE_NONE), "suite %u", out);
    (void)vms_suite_parse(in, &out);
    (void)vms_suite_name(fuzz_option(&in, 1));
    uint8_t header[VMS_FRAME_HEADER_BYTES] = {0};
    header[9] = (uint8_t)fuzz_option(&in, 1);
    fuzz_saw(vms_seal_check_hello(header, keyed, &err));
}

/* What was encoded applies; whatever is applied stays within the page (ASan). */
static void xbzrle(struct vms_slice in) {
    static uint8_t old[PAGE], page[PAGE], diff[PAGE];
    memset(old, 3, sizeof old);
    memcpy(page, old, sizeof page);
    (void)vms_xbzrle_apply(in, (struct vms_room){page, PAGE});
    size_t n = vms_xbzrle_encode(vms_slice(old, PAGE), vms_slice(page, PAGE),
                                 (struct vms_room){diff, in.len % (PAGE + 1)});
    if (n == SIZE_MAX)
        return;
    ORACLE(n <= in.len % (PAGE + 1), "%zu octets", n);
    if (n)
        ORACLE(vms_xbzrle_apply(vms_slice(diff, n), (struct vms_room){old, PAGE}), "refused");
    ORACLE(memcmp(old, page, PAGE) == 0, "another page");
}

/* Source and destination of a digest agree on what arrived. */
static void digest(struct vms_slice in) {
    enum {
        PAGES = 64
    };
    static uint64_t memory[2][256];
    uint8_t hashes[PAGES * 8];
    struct vms_error err = {0};
    size_t size = vms_digest_size(PAGES);
    ORACLE(size <= sizeof memory[0], "%zu", size);
    struct vms_digest *s = vms_digest_init(memory[0], size, 1, PAGES);
    struct vms_digest *d = vms_digest_init(memory[1], size, 1, PAGES);
    while (in.len) {
        uint32_t what = fuzz_option(&in, 1), a = fuzz_option(&in, 1), b = fuzz_option(&in, 1);
        uint64_t first = a, count = b % 70, from = 0;
        switch (what % 7) {
        case 0: vms_digest_set(s, a % PAGES, b + 1); break;
        case 1:
            if (vms_digest_next(s, a % PAGES, &first, &count) && count <= PAGES) {
                ORACLE(first + count <= PAGES, "a run behind the end");
                ORACLE(vms_digest_export(s, first, count, (struct vms_room){hashes, count * 8},
                                         &err) == VMS_OK,
                       "%s", err.message);
                fuzz_saw(vms_digest_import(d, first, vms_slice(hashes, count * 8), &err));
            }
            break;
        case 2: fuzz_saw(vms_digest_import(d, first, vms_slice_head(in, count), &err)); break;
        case 3: vms_digest_touch(d, first % PAGES, count % (PAGES - first % PAGES + 1)); break;
        case 4: (void)vms_digest_compare(d, a % PAGES, b + 1); break;
        case 5: (void)vms_digest_range(d, first, count); break;
        default:
            (void)vms_digest_check(d, a % PAGES, vms_slice(hashes, 64));
            from = vms_digest_pending(d);
            ORACLE((vms_digest_verdict(d, &err) == VMS_OK) == (from == 0), "%llu pending",
                   (unsigned long long)from);
            fuzz_saw(from ? VMS_E_PACK_DIGEST : VMS_OK);
        }
    }
}

static void level(struct vms_slice in) {
    struct vms_level_chooser c;
    int low = (int)(fuzz_option(&in, 1) % 16) - 5, high = (int)(fuzz_option(&in, 1) % 16) - 5;
    vms_chooser_init(&c, low, high);
    while (in.len) {
        uint32_t what = fuzz_option(&in, 1), a = fuzz_option(&in, 2), b = fuzz_option(&in, 2);
        int next = vms_chooser_next(&c);
        ORACLE(c.current < VMS_CHOOSER_LEVELS, "%u", c.current);
        if (what & 1)
            vms_chooser_packed(&c, what & 2 ? next : (int)(b % 20) - 5, a, b, (uint64_t)a * b);
        else
            vms_chooser_sent(&c, a, b);
    }
}

/* A text for every number, known or not; those of codes go both ways. */
static void names(struct vms_slice in) {
    while (in.len) {
        unsigned n = fuzz_option(&in, 2);
        const char *all[] = {vms_record_name((enum vms_record_type)n),
                             vms_section_kind_name((enum vms_section_kind)(n % 5)),
                             vms_code_name((enum vms_code)n),
                             vms_code_clause((enum vms_code)n),
                             vms_class_name((enum vms_class)(n % 6)),
                             vms_class_name(vms_code_class((enum vms_code)n)),
                             vms_qevm_kind_name((enum vms_qevm_kind)(n % 6)),
                             vms_journal_name((enum vms_journal)(n % 10)),
                             vms_handover_action_name((enum vms_handover_action)(n % 18)),
                             vms_session_state_name((enum vms_session_state)(n % 12)),
                             vms_native_type_name(n)};
        for (size_t i = 0; i < sizeof all / sizeof *all; i++)
            ORACLE(all[i] && strlen(all[i]) < 64, "%u has no name", n);
        (void)vms_command_name(n);
        (void)vms_qevm_sniff(in, VMS_QEVM_PREEMPT);
        (void)vms_native_sniff(in);
        ORACLE(vms_suite_available(NULL, VMS_SUITE_NONE), "none");
        ORACLE(vms_suite_available(&fuzz_nocrypto, (enum vms_suite)(n % 6)) ==
                   (vms_suite_tag_bytes(n % 6) != 0),
               "suite %u", n % 6);
        (void)vms_suite_name(n % 8);
        struct vms_error err = {0};
        enum vms_code code = (enum vms_code)(n % VMS_CODE_COUNT);
        ORACLE(vms_error_at(&err, code, 1, 2, 3) == code && err.channel == 1, "error_at");
        ORACLE(vms_error_set(&err, code, "%u", n) == code && err.code == code, "error_set");
        ORACLE(err.class_ == vms_code_class(code), "class");
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static void (*const parts[])(struct vms_slice) = {dialect, key_file, suites, xbzrle,
                                                      digest,  level,    names};
    struct vms_slice in = vms_slice(data, size < 8192 ? size : 8192);
    parts[fuzz_option(&in, 1) % (sizeof parts / sizeof *parts)](in);
    return 0;
}
