/* SPDX-License-Identifier: MIT */
#include "tool/text.h"
#include <criterion/criterion.h>

Test(text, size) {
    char out[TEXT_SIZE];
    cr_assert_str_eq(text_size(out, 0), "0 B");
    cr_assert_str_eq(text_size(out, 1023), "1023 B");
    cr_assert_str_eq(text_size(out, 1536), "1.5 KiB");
    cr_assert_str_eq(text_size(out, UINT64_C(64) << 20), "64 MiB");
    cr_assert_str_eq(text_size(out, UINT64_MAX), "16 EiB");
}

Test(text, slice) {
    char out[16];
    cr_assert_str_eq(text_slice(out, sizeof out, vms_slice("a\n\\b", 4)), "a\\x0a\\x5cb");
    cr_assert_str_eq(text_slice(out, 4, vms_str("abcdef")), "abc");
    cr_assert_str_eq(text_slice(out, 4, vms_str("a\n")), "a");
    cr_assert_str_eq(text_slice(out, 1, vms_str("a")), "");
}

Test(text, hex) {
    char out[5];
    cr_assert_str_eq(text_hex(out, sizeof out, vms_slice("\x01\xfe", 2)), "01fe");
    cr_assert_str_eq(text_hex(out, 4, vms_slice("\x01\xfe", 2)), "01");
}
