/* SPDX-License-Identifier: MIT */
#include "conformance/runner/scene_test.h"

/* Runs that are interrupted, and the reports. */

static size_t count_lines(const struct scene *s, const char *file) {
    char path[CERT_PATH];
    char *text = cert_read(cert_path(path, "%s/%s", s->dir, file), 1 << 20, NULL);
    size_t n = 0;
    for (const char *c = text; c && *c; c++)
        n += *c == '\n';
    free(text);
    return n;
}

Test(certify, killed_in_the_middle_it_goes_on, .timeout = 120) {
    enum {
        CASES = 24
    };
    struct scene s;
    open_scene(&s, CASES);
    put_adapter(&s, "adapter", "sleep 0.1; good && exit 0; exit 1");
    put_profile(&s, "adapter");
    pid_t pid = start(&s, NULL);
    while (count_lines(&s, "out/results.jsonl") < 10)
        cert_nap();
    cr_assert_eq(kill(pid, SIGKILL), 0);
    (void)live_wait(pid, WAIT_MS);
    read_cells(&s);
    size_t before = json_array_size(s.cells), ran = count_lines(&s, "ran");
    cr_expect(before >= 8 && before < CASES);
    run(&s, NULL);
    cr_expect_eq(s.status, 0);
    cr_expect_eq(json_array_size(s.cells), CASES + 2u); /* and two probes */
    for (size_t i = 0; i < json_array_size(s.cells); i++)
        for (size_t k = 0; k < i; k++)
            cr_expect_str_neq(cert_str(json_array_get(s.cells, i), "id"),
                              cert_str(json_array_get(s.cells, k), "id"));
    /* only what was under way has run twice */
    cr_expect_leq(count_lines(&s, "ran"), CASES + 2u + 2u);
    cr_expect_geq(ran, before);
    close_scene(&s);
}

/* ---- second attempts ---- */

static int shell(const struct scene *s, const char *line) {
    char command[4096];
    (void)snprintf(command, sizeof command, "cd '%s/out' && %s", s->dir, line);
    const char *const argv[] = {"/bin/sh", "-c", command, NULL};
    return live_wait(live_spawn(argv, NULL, NULL), WAIT_MS);
}

static void expect_first(const struct scene *s, const char *id, const char *verdict) {
    const json_t *first = json_object_get(cell(s, id), "first");
    cr_expect_str_eq(cert_str(first, "verdict"), verdict, "%s", id);
}

/* Slow beside another one, and good alone: it counts, and every report says that it ran twice. */
Test(certify, late_beside_others_it_runs_again_alone, .timeout = 120) {
    struct scene s;
    judge(&s, "good && { mkdir \"${0%/*}/once\" 2>/dev/null && sleep 600; exit 0; }; exit 1");
    cr_expect_eq(s.status, 0);
    expect(&s, "HDR-1.0", "PASS", NULL);
    expect_first(&s, "HDR-1.0", "TIMEOUT");
    cr_expect_null(json_object_get(cell(&s, "HDR-1.1"), "first"));
    cr_expect_eq(count_lines(&s, "ran"), 5u); /* two probes, two cells, one of them twice */
    cr_expect_eq(shell(&s, "grep -q '^1 of them ran a second time, alone, and 1 were good then' "
                           "../certify.log"),
                 0);
    cr_expect_eq(shell(&s, "grep -q 'id=\"again\">1 of them' report.html"), 0);
    cr_expect_eq(shell(&s, "grep -q 'its first attempt, beside others: TIMEOUT' report.html"), 0);
    cr_expect_eq(shell(&s, "grep -q '^# run twice, the first time TIMEOUT: ' report.tap"), 0);
    cr_expect_eq(shell(&s, "grep -q 'run twice, the first time TIMEOUT: ' report.xml"), 0);
    cr_expect_eq(shell(&s, "grep -q '\"record\":\"summary\",\"again\":1' results.jsonl"), 0);
    close_scene(&s);
}

/* What hangs is not made good by it; what was alone already gets no second attempt. */
Test(certify, hanging_twice_is_a_timeout, .timeout = 120) {
    struct scene s;
    judge(&s, "good && sleep 600; exit 1");
    cr_expect_eq(s.status, 1);
    expect(&s, "HDR-1.0", "TIMEOUT", "did not end in time");
    expect_first(&s, "HDR-1.0", "TIMEOUT");
    cr_expect_eq(count_lines(&s, "ran"), 5u);
    close_scene(&s);
    open_scene(&s, 1);
    put_adapter(&s, "adapter", "good && sleep 600; exit 1");
    put_profile(&s, "adapter");
    run(&s, NULL);
    expect(&s, "HDR-1.0", "TIMEOUT", "did not end in time");
    cr_expect_null(json_object_get(cell(&s, "HDR-1.0"), "first"));
    cr_expect_eq(count_lines(&s, "ran"), 3u);
    close_scene(&s);
}

/* The plug is pulled between the two attempts: the second one is what is left to do. */
Test(certify, killed_before_the_second_attempt_it_goes_on_with_that, .timeout = 120) {
    struct scene s;
    open_scene(&s, 2);
    put_adapter(&s, "adapter",
                "good && { [ \"$VMS_DEADLINE\" -gt 2 ] && [ -e \"${0%/*}/mended\" ] || sleep 600; "
                "exit 0; }; exit 1");
    put_profile(&s, "adapter");
    pid_t pid = start(&s, NULL);
    while (count_lines(&s, "ran") < 5)
        cert_nap();
    cr_assert_eq(kill(pid, SIGKILL), 0);
    (void)live_wait(pid, WAIT_MS);
    put(&s, "mended", "");
    run(&s, NULL);
    cr_expect_eq(s.status, 0);
    expect(&s, "HDR-1.0", "PASS", NULL);
    expect_first(&s, "HDR-1.0", "TIMEOUT");
    cr_expect_eq(count_lines(&s, "ran"), 6u);
    close_scene(&s);
}

/* ---- reports ---- */

static void want(const char *tool) {
    char line[200];
    (void)snprintf(line, sizeof line, "command -v %s >/dev/null", tool);
    const char *const argv[] = {"/bin/sh", "-c", line, NULL};
    if (live_wait(live_spawn(argv, NULL, NULL), WAIT_MS) == 0)
        return;
    cr_assert(!getenv("CI"), "%s is not here", tool);
    cr_skip_test("%s is not here", tool);
}

Test(certify, junit_is_well_formed, .timeout = 90) {
    struct scene s;
    want("xmllint");
    judge(&s, "good && exit 127; printf '\\033<&]]>\\200' ; exit 1");
    cr_expect_eq(shell(&s, "xmllint --noout report.xml"), 0);
    cr_expect_eq(shell(&s, "test \"$(xmllint --xpath 'count(//testcase)' report.xml)\" = 4"), 0);
    close_scene(&s);
}

Test(certify, tap_is_understood, .timeout = 90) {
    struct scene s;
    want("prove");
    judge(&s, HONEST);
    cr_expect_eq(shell(&s, "prove -Q -e cat report.tap >/dev/null"), 0);
    close_scene(&s);
    judge(&s, "good && exit 1; exit 1");
    cr_expect_neq(shell(&s, "prove -Q -e cat report.tap >/dev/null 2>&1"), 0);
    close_scene(&s);
}

/* The page as a browser has it: each link of the matrix leads to a cell, and that opens. */
Test(certify, page_in_a_browser, .timeout = 120) {
    struct scene s;
    want("chromium");
    judge(&s, "good && exit 1; exit 1");
    cr_expect_eq(shell(&s,
                       "chromium --headless --no-sandbox --disable-gpu --user-data-dir=./chrome "
                       "--dump-dom 'file://'$PWD'/report.html#c2' >dom.html 2>/dev/null"),
                 0);
    cr_expect_eq(shell(&s, "test $(grep -o 'class=\"cell\"' dom.html | wc -l) = 4"), 0);
    cr_expect_eq(shell(&s, "grep -q '<details class=\"cell\" id=\"c2\"[^>]* open=\"\"' dom.html"),
                 0, "the cell does not open");
    cr_expect_eq(shell(&s, "for n in $(grep -o 'href=\"#c[0-9]*' dom.html | tr -dc '0-9\\n'); do "
                           "grep -q \"id=\\\"c$n\\\"\" dom.html || exit 1; done"),
                 0);
    cr_expect_eq(shell(&s, "grep -q '&lt;b&gt;&amp;' report.html"), 0, "markup out of a case");
    close_scene(&s);
}

/* The same without any script. */
Test(certify, page_needs_no_script, .timeout = 90) {
    struct scene s;
    want("xmllint");
    judge(&s, HONEST);
    cr_expect_eq(shell(&s, "test \"$(xmllint --html --xpath 'count(//details[@data-verdict])' "
                           "report.html 2>/dev/null)\" = 4"),
                 0);
    close_scene(&s);
}
