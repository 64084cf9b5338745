/* SPDX-License-Identifier: MIT */
#include "conformance/runner/expected.h"
#include "conformance/runner/journal.h"
#include "conformance/runner/plan.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Parts of the runner that need no processes. */

Test(certify_unit, patterns) {
    cr_expect(cert_matches("RAM-7.*", "RAM-7.1"));
    cr_expect(cert_matches("*", ""));
    cr_expect(cert_matches("a*c*e", "abcde"));
    cr_expect_not(cert_matches("a*c", "abcd"));
    cr_expect_not(cert_matches("", "x"));
}

Test(certify_unit, versions) {
    cr_expect_lt(cert_version_compare("7.2", "10.0"), 0);
    cr_expect_gt(cert_version_compare("11.1", "11.0"), 0);
    cr_expect_eq(cert_version_compare("11.1", "11.1"), 0);
    cr_expect_lt(cert_version_compare("11", "11.1"), 0);
}

/* ---- expected failures ---- */

static const char *judged(const char *entry, enum cert_verdict v, const char *why,
                          const char *version) {
    static char verdict[16];
    json_t *expected = json_loads(*entry == '[' ? entry : "[]", 0, NULL);
    if (*entry != '[')
        (void)json_array_append_new(expected, json_loads(entry, 0, NULL));
    json_t *profile = json_pack("{s:[{s:s, s:s, s:s}]}", "implementations", "name", "q",
                                "implementation", "qemu", "version", version);
    json_t *cell = json_pack("{s:s, s:s, s:s, s:s}", "case", "RAM-7.1", "source", "q",
                             "destination", "other", "source_machine", "pc");
    json_t *result = cert_result_new();
    if (v != CERT_PASS)
        cert_result_is(result, v, "%s", why);
    cert_expected_apply(expected, profile, cell, result);
    (void)snprintf(verdict, sizeof verdict, "%s", cert_str(result, "verdict"));
    json_decref(expected);
    json_decref(profile);
    json_decref(cell);
    json_decref(result);
    return verdict;
}

#define ENTRY                                                                                      \
    "{\"implementation\":\"qemu\",\"versions\":\"7.2..10.0\",\"case\":\"RAM-7.*\","                \
    "\"message\":\"underflow\",\"reason\":\"known\"}"

Test(certify_unit, expected_failures) {
    cr_expect_str_eq(judged(ENTRY, CERT_FAIL, "an underflow", "8.0"), "XFAIL");
    cr_expect_str_eq(judged(ENTRY, CERT_FAIL, "something else", "8.0"), "FAIL");
    cr_expect_str_eq(judged(ENTRY, CERT_PASS, "", "8.0"), "XPASS");
    cr_expect_str_eq(judged(ENTRY, CERT_PASS, "", "11.1"), "PASS");
    cr_expect_str_eq(judged(ENTRY, CERT_TIMEOUT, "an underflow", "8.0"), "TIMEOUT");
    cr_expect_str_eq(judged(ENTRY, CERT_ERROR, "an underflow", "8.0"), "ERROR");
    cr_expect_str_eq(judged(ENTRY, CERT_UNSUPPORTED, "an underflow", "8.0"), "UNSUPPORTED");
}

/* Of a crash that only sometimes comes, and else a hang. */
Test(certify_unit, several_expected_failures_of_one_cell) {
    static const char either[] =
        "[" ENTRY ",{\"implementation\":\"qemu\",\"versions\":\"7.2..11.1\",\"case\":\"RAM-7.*\","
        "\"message\":\"in time\",\"verdict\":\"TIMEOUT\",\"reason\":\"known, too\"}]";
    cr_expect_str_eq(judged(either, CERT_FAIL, "an underflow", "8.0"), "XFAIL");
    cr_expect_str_eq(judged(either, CERT_TIMEOUT, "not in time", "8.0"), "XFAIL");
    cr_expect_str_eq(judged(either, CERT_TIMEOUT, "not in time", "11.1"), "XFAIL");
    cr_expect_str_eq(judged(either, CERT_FAIL, "an underflow", "11.1"), "FAIL");
    cr_expect_str_eq(judged(either, CERT_PASS, "", "8.0"), "XPASS");
}

/* ---- the journal ---- */

static json_t *run_line(const char *plan) {
    return json_pack("{s:s, s:s, s:{s:s}}", "record", "run", "plan", plan, "versions", "a", "1");
}

Test(certify_unit, journal_goes_on_behind_a_torn_line) {
    char path[] = "/tmp/vms-journal-XXXXXX";
    struct cert_journal j;
    (void)close(mkstemp(path));
    json_t *run = run_line("p"), *other = run_line("q");
    cr_assert_eq(cert_journal_open(&j, path, run, false, false), 0);
    json_t *cell = json_pack("{s:s, s:s, s:s}", "record", "cell", "id", "one", "verdict", "PASS");
    cr_assert_eq(cert_journal_add(&j, cell), 0);
    (void)fputs("{\"record\":\"cell\",\"id\":\"tw", j.file); /* the plug is pulled */
    cert_journal_close(&j);

    cr_assert_eq(cert_journal_open(&j, path, run, false, false), 0);
    cr_expect_not_null(cert_journal_find(&j, "one"));
    cr_expect_eq(json_array_size(j.cells), 1u);
    cr_assert_eq(cert_journal_add(&j, json_object_get(run, "nothing") ? NULL : cell), 0);
    cert_journal_close(&j);
    cr_assert_eq(cert_journal_read(&j, path), 0);
    cr_expect_eq(json_array_size(j.cells), 2u, "the torn line is in the way");
    cert_journal_close(&j);

    cr_assert_eq(cert_journal_open(&j, path, other, false, false), 0); /* another plan */
    cr_expect_eq(json_array_size(j.cells), 0u);
    cert_journal_close(&j);
    json_decref(run);
    json_decref(other);
    json_decref(cell);
    (void)remove(path);
}

/* ---- plans ---- */

static json_t *plan_of(const char *profile_text, const char *cases_text, bool quick) {
    char error[CERT_ERROR_SIZE] = "";
    json_t *profile = json_loads(profile_text, 0, NULL), *cases = json_loads(cases_text, 0, NULL);
    cr_assert(profile && cases);
    json_t *plan = cert_plan(profile, cases, &(struct cert_plan_options){.quick = quick}, error);
    cr_expect(plan, "%s", error);
    json_decref(profile);
    json_decref(cases);
    return plan;
}

#define PROFILE                                                                                    \
    "{\"implementations\":[{\"name\":\"a\"},{\"name\":\"b\"}],"                                    \
    "\"sanity\":{\"source\":\"a\",\"destination\":\"b\",\"case\":\"SRC-4.1\"},"                    \
    "\"pairs\":[{\"source\":\"a\",\"destination\":\"b\",\"machine\":\"pc\",\"cases\":[\"p*\"],"    \
    "\"through\":[\"direct\",\"relay\"]},"                                                         \
    "{\"source\":\"a\",\"destination\":\"b\",\"machine\":\"pc\"}]}"
#define CASES                                                                                      \
    "[{\"id\":\"SRC-4.1\",\"kind\":\"migration\",\"quick\":true,"                                  \
    "\"migration\":{\"feature\":\"precopy\"}},"                                                    \
    "{\"id\":\"SRC-9.1\",\"kind\":\"migration\",\"migration\":{\"feature\":\"multifd\"}}]"

static const char *id(const json_t *plan, size_t i) {
    return cert_str(json_array_get(plan, i), "id");
}

/* Probes, then the sanity case, then each cell once, then the sanity case again. */
Test(certify_unit, plan_order) {
    json_t *plan = plan_of(PROFILE, CASES, false);
    cr_assert_eq(json_array_size(plan), 8u);
    cr_expect_str_eq(id(plan, 0), "unknown-case/source/a");
    cr_expect_str_eq(id(plan, 1), "unknown-case/destination/b");
    cr_expect_str_eq(id(plan, 2), "known-bad/destination/b");
    cr_expect_str_eq(id(plan, 3), "sanity-first/SRC-4.1/a/b");
    cr_expect_str_eq(id(plan, 4), "SRC-4.1/a@pc/b@pc");
    cr_expect_str_eq(id(plan, 5), "SRC-4.1/a@pc/b@pc/relay");
    cr_expect_str_eq(id(plan, 6), "SRC-9.1/a@pc/b@pc");
    cr_expect_str_eq(id(plan, 7), "sanity-last/SRC-4.1/a/b");
    json_decref(plan);
    plan = plan_of(PROFILE, CASES, true);
    cr_expect_eq(json_array_size(plan), 7u);
    json_decref(plan);
}

/* A part's own list counts, not what the cases say. */
Test(certify_unit, a_part_chooses_what_a_quick_run_takes) {
    json_t *plan = plan_of("{\"implementations\":[{\"name\":\"a\"},{\"name\":\"b\"}],\"pairs\":["
                           "{\"source\":\"a\",\"destination\":\"b\",\"quick\":[\"SRC-9.*\"]}]}",
                           CASES, true);
    cr_assert_eq(json_array_size(plan), 4u);
    cr_expect_str_eq(id(plan, 3), "SRC-9.1/a/b");
    json_decref(plan);
}
