/* SPDX-License-Identifier: MIT */
#include "host/arguments.h"

#include <criterion/criterion.h>
#include <criterion/redirect.h>
#include <stdio.h>
#include <string.h>

Test(arguments, numbers) {
    static const struct {
        const char *text;
        uint64_t max, value;
        bool good;
    } cases[] = {
        {"0", 0, 0, true},
        {"7", 7, 7, true},
        {"8", 7, 0, false},
        {"0x10", 99, 16, true},
        {"3k", UINT64_MAX, 3 << 10, true},
        {"3M", UINT64_MAX, 3 << 20, true},
        {"2G", UINT64_MAX, UINT64_C(2) << 30, true},
        {"1T", UINT64_MAX, UINT64_C(1) << 40, true},
        {"1K", 1023, 0, false},
        {"18446744073709551615", UINT64_MAX, UINT64_MAX, true},
        {"18446744073709551616", UINT64_MAX, 0, false},
        {"18014398509481984K", UINT64_MAX, 0, false},
        {"", 9, 0, false},
        {"-1", UINT64_MAX, 0, false},
        {" 1", 9, 0, false},
        {"K", 9, 0, false},
        {"1KB", UINT64_MAX, 0, false},
        {"1x", 9, 0, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint64_t n = 42;
        cr_expect_eq(vms_argument_number(cases[i].text, cases[i].max, &n), cases[i].good, "%s",
                     cases[i].text);
        cr_expect_eq(n, cases[i].good ? cases[i].value : 42, "%s", cases[i].text);
    }
}

/* [LIM-1] Each by its name, and no other is touched. */
Test(arguments, limits) {
    const struct vms_limits before = vms_limits_default();
    char text[64];
#define VMS_LIMIT(name, value, unit, what)                                                         \
    {                                                                                              \
        struct vms_limits l = before;                                                              \
        (void)snprintf(text, sizeof text, "%s=77", #name);                                         \
        cr_expect_null(vms_argument_limit(text, &l));                                              \
        cr_expect_eq(l.name, 77u, "%s", text);                                                     \
        l.name = before.name;                                                                      \
        cr_expect_arr_eq(&l, &before, sizeof l, "%s", text);                                       \
    }
#include <vmstream/registry/limits.def>
#undef VMS_LIMIT
}

Test(arguments, wrong_limits) {
    static const char *const wrong[] = {"",
                                        "=1",
                                        "native_pages=1",
                                        "native_runs",
                                        "native_runs=",
                                        "native_runs=1x",
                                        "native_runs=256T1",
                                        "native_runs=257T"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct vms_limits l = vms_limits_default(), before = l;
        cr_expect_not_null(vms_argument_limit(wrong[i], &l), "%s", wrong[i]);
        cr_expect_arr_eq(&l, &before, sizeof l, "%s", wrong[i]);
    }
}

Test(arguments, list, .init = cr_redirect_stdout) {
    vms_argument_limits_list();
    (void)fflush(stdout);
    char line[256], want[64];
    (void)snprintf(want, sizeof want, "%-22s %14llu", "native_runs",
                   (unsigned long long)vms_limits_default().native_runs);
    bool found = false;
    FILE *out = cr_get_redirected_stdout();
    while (fgets(line, sizeof line, out))
        found |= strncmp(line, want, strlen(want)) == 0;
    cr_expect(found);
}
