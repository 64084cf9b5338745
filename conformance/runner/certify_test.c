/* SPDX-License-Identifier: MIT */
#include "conformance/runner/scene_test.h"

/* Adapters that hang, crash, lie and know nothing. */

Test(certify, an_honest_one, .timeout = 90) {
    struct scene s;
    judge(&s, HONEST);
    cr_expect_eq(s.status, 0);
    cr_expect_eq(json_array_size(s.cells), 4u);
    expect(&s, "unknown-case", "PASS", NULL);
    expect(&s, "known-bad", "PASS", NULL);
    expect(&s, "HDR-1.0", "PASS", NULL);
    expect(&s, "HDR-1.1", "PASS", NULL);
    close_scene(&s);
}

/* Whatever else it does, garbage is refused: so it gets as far as the cases. */
Test(certify, one_that_hangs_is_killed_and_named, .timeout = 90) {
    struct scene s;
    judge(&s, "good && { sleep 600 & sleep 600; }; exit 1");
    cr_expect_eq(s.status, 1);
    expect(&s, "HDR-1.0", "TIMEOUT", "decoder fake did not end in time");
    expect(&s, "HDR-1.1", "PASS", NULL);
    close_scene(&s);
}

/* A crash is no refusal, though refusal is what the case wants. */
Test(certify, one_that_dies, .timeout = 90) {
    struct scene s;
    judge(&s, "good && exit 0; head -c 1 \"$f\" | grep -q X && kill -SEGV $$; exit 1");
    cr_expect_eq(s.status, 1);
    expect(&s, "HDR-1.1", "FAIL", "signal 11");
    close_scene(&s);
}

Test(certify, one_that_lies, .timeout = 90) {
    struct scene s;
    judge(&s, "good && exit 0; head -c 1 \"$f\" | grep -q X && exit 0; exit 1");
    cr_expect_eq(s.status, 1);
    expect(&s, "HDR-1.1", "FAIL", "accepted, though it must be refused");
    close_scene(&s);
}

Test(certify, one_that_lacks_it, .timeout = 90) {
    struct scene s;
    judge(&s, "good && exit 127; exit 1");
    cr_expect_eq(s.status, 0);
    expect(&s, "HDR-1.0", "UNSUPPORTED", NULL);
    close_scene(&s);
}

Test(certify, one_that_fails_by_itself, .timeout = 90) {
    struct scene s;
    judge(&s, "good && exit 3; exit 1");
    cr_expect_eq(s.status, 3);
    expect(&s, "HDR-1.0", "ERROR", NULL);
    close_scene(&s);
}

Test(certify, one_that_takes_garbage_is_not_believed, .timeout = 90) {
    struct scene s;
    judge(&s, "exit 0");
    cr_expect_eq(s.status, 1);
    expect(&s, "known-bad", "FAIL", NULL);
    expect(&s, "HDR-1.0", "SKIP", "not honest");
    close_scene(&s);
}

Test(certify, one_that_claims_everything_is_not_believed, .timeout = 90) {
    struct scene s;
    (void)setenv("CLAIMS", "0", 1);
    judge(&s, HONEST);
    (void)unsetenv("CLAIMS");
    expect(&s, "unknown-case", "FAIL", "claims a case");
    expect(&s, "HDR-1.0", "SKIP", NULL);
    close_scene(&s);
}

/* Both ends say that all went well, and nothing was ever sent. */
Test(certify, two_that_lie_together, .timeout = 90) {
    struct scene s;
    open_scene(&s, 0);
    put(&s, "adapter",
        "#!/bin/sh\necho 1 >\"$VMS_LOG/version\"\n[ \"$VMS_ROLE\" = version ] && exit 0\n"
        "grep -q no-such-feature \"$VMS_CASE\" && exit 127\n"
        "if [ \"$VMS_CASE_ID\" = PROBE-BAD.1 ]; then\n"
        "  python3 -c 'import socket,sys,os\n"
        "s=socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); s.listen()\n"
        "open(sys.argv[2]+\"/ready\",\"w\"); s.accept()' \"${VMS_URI#unix:}\" \"$VMS_LOG\"; exit "
        "1\nfi\n"
        ">\"$VMS_LOG/ready\"\necho '{\"outcome\":\"completed\"}' >\"$VMS_LOG/end.json\"\n");
    char path[CERT_PATH];
    cr_assert_eq(chmod(cert_path(path, "%s/adapter", s.dir), 0755), 0);
    put(&s, "cases/hdr.json",
        "[{\"id\":\"SRC-4.1\",\"clause\":\"SRC-4\",\"level\":\"MUST\",\"text\":\"t\",\"sha256\":"
        "\"" SHA "\",\"title\":\"t\",\"kind\":\"migration\",\"seconds\":10,\"migration\":{"
        "\"feature\":\"p\"}}]");
    put(&s, "profile.json",
        "{\"profile\":\"t\",\"implementations\":[{\"name\":\"liar\",\"adapter\":\"./adapter\"}],"
        "\"pairs\":[{\"source\":\"liar\",\"destination\":\"liar\"}]}");
    run(&s, NULL);
    cr_expect_eq(s.status, 1);
    expect(&s, "SRC-4.1", "FAIL", "nothing was on the wire");
    close_scene(&s);
}

/* ---- expected failures ---- */

static void judge_expected(struct scene *s, const char *decide, const char *message) {
    char dir[CERT_PATH], text[600];
    open_scene(s, 2);
    put_adapter(s, "adapter", decide);
    put_profile(s, "adapter");
    cr_assert_eq(cert_mkdir(cert_path(dir, "%s/expected", s->dir)), 0);
    (void)snprintf(text, sizeof text,
                   "[{\"implementation\":\"fake\",\"versions\":\"0.9..1.1\",\"case\":\"HDR-1.1\","
                   "\"message\":\"%s\",\"reason\":\"a known bug\"}]",
                   message);
    put(s, "expected/fake.json", text);
    run(s, NULL);
}

#define TAKES_X "good && exit 0; head -c 1 \"$f\" | grep -q X && exit 0; exit 1"

Test(certify, an_expected_failure, .timeout = 90) {
    struct scene s;
    judge_expected(&s, TAKES_X, "must be refused");
    cr_expect_eq(s.status, 0);
    expect(&s, "HDR-1.1", "XFAIL", NULL);
    close_scene(&s);
}

Test(certify, an_expected_failure_with_another_message, .timeout = 90) {
    struct scene s;
    judge_expected(&s, TAKES_X, "signal 6");
    cr_expect_eq(s.status, 1);
    expect(&s, "HDR-1.1", "FAIL", NULL);
    close_scene(&s);
}

Test(certify, an_expected_failure_that_passes_is_a_failure, .timeout = 90) {
    struct scene s;
    judge_expected(&s, HONEST, "must be refused");
    cr_expect_eq(s.status, 1);
    expect(&s, "HDR-1.1", "XPASS", NULL);
    close_scene(&s);
}
