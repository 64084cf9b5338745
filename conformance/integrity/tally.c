/* SPDX-License-Identifier: MIT */
#include "conformance/integrity/tally.h"

#include <criterion/criterion.h>
#include <stdio.h>

struct tally tally_for(const char *attack, enum vms_suite suite) {
    return (struct tally){.attack = attack, .suite = suite};
}

static bool is_right(enum vms_code code, code_list right) {
    for (; *right != VMS_OK; right++)
        if (*right == code)
            return true;
    return false;
}

void tally_add(struct tally *t, const struct verdict *v, code_list right) {
    enum vms_code code = v->error.code;
    bool wrong = !v->ended && !is_right(code, right);
    t->tried++;
    t->refused += !v->ended;
    t->altered += v->altered;
    t->wrong += wrong;
    if (!v->ended && code < VMS_CODE_COUNT)
        t->codes[code]++;
    if (t->example[0] == '\0' && (wrong || v->ended || v->altered))
        snprintf(t->example, sizeof t->example, "attempt %llu: %s: %s",
                 (unsigned long long)t->tried, v->ended ? "accepted" : vms_code_name(code),
                 v->ended ? "" : v->error.message);
}

static void print(const struct tally *t) {
    char line[2048];
    size_t n = 0;
    for (int code = 1; code < VMS_CODE_COUNT; code++)
        if (t->codes[code] && n < sizeof line - 64)
            n += (size_t)snprintf(line + n, sizeof line - n, "%s%s %llu", n ? ", " : "",
                                  vms_code_name((enum vms_code)code),
                                  (unsigned long long)t->codes[code]);
    printf("integrity: %-8s %-34s %6llu of %6llu refused, %llu altered frames given  (%s)\n",
           vms_suite_name(t->suite), t->attack, (unsigned long long)t->refused,
           (unsigned long long)t->tried, (unsigned long long)t->altered, n ? line : "");
    fflush(stdout);
}

void tally_close(const struct tally *t) {
    print(t);
    cr_assert_gt(t->tried, 0);
    cr_assert_eq(t->refused, t->tried, "%s: %s", t->attack, t->example);
    cr_assert_eq(t->wrong, 0, "%s: %s", t->attack, t->example);
    cr_assert_eq(t->altered, 0, "%s: %s", t->attack, t->example);
}
