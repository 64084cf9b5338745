/* SPDX-License-Identifier: MIT */
#include "conformance/runner/scene_test.h"

#include <limits.h>

/*
 * What a script found reaches the verdict, and what it could not play does not: a true destination,
 * and a scripted peer that is made to end otherwise than it does.
 */
static const struct {
    const char *number, *dialogue, *expect;
    const char *ends; /* what the peer does instead, in sh; "": nothing */
    const char *verdict, *why;
} CASES[] = {
#define REFUSED "\"at\": \"header\", \"do\": \"instead\", \"with\": \"header:4\""
#define BROKEN                                                                                     \
    "echo '{\"outcome\": \"broken\", \"clause\": \"DST-7\", \"message\": \"a lie\"}' "             \
    ">\"$VMS_LOG/end.json\"; exit 4"
    {"1", REFUSED, "\"outcome\": \"refused\", \"code\": \"BAD_VERSION\"", "", "PASS", NULL},
    {"2", REFUSED, "\"outcome\": \"refused\"", BROKEN, "FAIL", "script: [DST-7] a lie"},
    {"3", "\"at\": \"\"", "\"outcome\": \"completed\"", "", "PASS", NULL},
    {"4", "\"at\": \"\"", "\"outcome\": \"completed\"", BROKEN, "FAIL", "script: [DST-7] a lie"},
    {"5", "\"at\": \"\"", "\"outcome\": \"completed\"", "exit 1", "TIMEOUT",
     "script had not come to its end"},
    {"6", REFUSED, "\"outcome\": \"refused\"", "exit 3", "ERROR", "script failed by itself"},
};

static const char *real_build(char *out) {
    const char *build = getenv("VMSTREAM_BUILD");
    return realpath(build ? build : "build", out);
}

static void link_real(const struct scene *s) {
    static const char *const programs[] = {"adapter-reference", "reference-dst", "reference-src",
                                           "vmstream"};
    char from[CERT_PATH], to[CERT_PATH], build[PATH_MAX];
    cr_assert_eq(cert_mkdir(cert_path(to, "%s/build", s->dir)), 0);
    for (size_t i = 0; i < sizeof programs / sizeof *programs; i++)
        cr_assert_eq(symlink(cert_path(from, "%s/%s", real_build(build), programs[i]),
                             cert_path(to, "%s/build/%s", s->dir, programs[i])),
                     0);
}

/* Plays, and then ends as the case wants; "7" does not even come. */
static void put_peer(const struct scene *s) {
    char text[4096], path[CERT_PATH], build[PATH_MAX];
    int n = snprintf(text, sizeof text,
                     "#!/bin/sh\n[ \"$VMS_CASE_ID\" = HDR-1.7 ] && exit 1\n"
                     "'%s/certify-peer'\nstatus=$?\ncase $VMS_CASE_ID in\n",
                     real_build(build));
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++)
        if (*CASES[i].ends)
            n += snprintf(text + n, sizeof text - (size_t)n, "HDR-1.%s) %s ;;\n", CASES[i].number,
                          CASES[i].ends);
    (void)snprintf(text + n, sizeof text - (size_t)n, "esac\nexit $status\n");
    put(s, "build/certify-peer", text);
    cr_assert_eq(chmod(cert_path(path, "%s/build/certify-peer", s->dir), 0755), 0);
}

static void add_case(char *text, size_t size, const char *number, const char *dialogue,
                     const char *expect) {
    size_t n = strlen(text);
    (void)snprintf(text + n, size - n,
                   "%s{\"id\": \"HDR-1.%s\", \"clause\": \"HDR-1\", \"level\": \"MUST\", "
                   "\"text\": \"t\", \"sha256\": \"" SHA "\", \"title\": \"t\", "
                   "\"kind\": \"dialogue\", \"seconds\": 60, \"dialogue\": "
                   "{\"role\": \"destination\", \"script\": \"one-way\", %s}, \"expect\": {%s}}",
                   n ? "," : "[", number, dialogue, expect);
}

static void open_dialogues(struct scene *s) {
    char text[8192] = "";
    open_scene(s, 0);
    link_real(s);
    put_peer(s);
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++)
        add_case(text, sizeof text, CASES[i].number, CASES[i].dialogue, CASES[i].expect);
    add_case(text, sizeof text, "7", REFUSED, "\"outcome\": \"refused\"");
    (void)strcat(text, "]");
    put(s, "cases/hdr.json", text);
    put(s, "profile.json",
        "{\"profile\": \"test\", \"implementations\": [{\"name\": \"reference\", "
        "\"implementation\": \"reference\", \"adapter\": \"adapter-reference\"}], "
        "\"subjects\": [{\"implementation\": \"reference\"}]}");
}

Test(certify, what_a_script_finds_fails_the_case, .timeout = 300) {
    struct scene s;
    char build[CERT_PATH], id[16];
    open_dialogues(&s);
    run(&s, cert_path(build, "--build=%s/build", s.dir));
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        (void)snprintf(id, sizeof id, "HDR-1.%s/", CASES[i].number);
        expect(&s, id, CASES[i].verdict, CASES[i].why);
    }
    expect(&s, "HDR-1.7/", "FAIL", "nothing was on the wire");
    close_scene(&s);
}

/* ---- relays ---- */

/* [RLY-8] Relay B carries all of it, and in the second case says that it did not. */
static void put_relays(const struct scene *s) {
    char text[1024], path[CERT_PATH], build[PATH_MAX];
    (void)snprintf(text, sizeof text,
                   "#!/bin/sh\n'%s/vmstream' \"$@\" || exit\n"
                   "case \"$VMS_CELL $*\" in SRC-4.2/*'--listen-wire native'*)\n"
                   "echo it did not; exit 1 ;;\nesac\n",
                   real_build(build));
    cert_path(path, "%s/build/vmstream", s->dir);
    cr_assert_eq(unlink(path), 0);
    put(s, "build/vmstream", text);
    cr_assert_eq(chmod(path, 0755), 0);
}

#define MIGRATION(number)                                                                          \
    "{\"id\": \"SRC-4." number "\", \"clause\": \"SRC-4\", \"level\": \"MUST\", \"text\": \"t\", " \
    "\"sha256\": \"" SHA "\", \"title\": \"t\", \"kind\": \"migration\", \"seconds\": 60, "        \
    "\"migration\": {\"feature\": \"precopy\", \"capabilities\": [\"return-path\"]}}"

Test(certify, a_relay_that_gives_up_fails_the_case, .timeout = 300) {
    struct scene s;
    char build[CERT_PATH];
    open_scene(&s, 0);
    link_real(&s);
    put_relays(&s);
    put(&s, "cases/hdr.json", "[" MIGRATION("1") "," MIGRATION("2") "]");
    put(&s, "profile.json",
        "{\"profile\": \"test\", \"implementations\": [{\"name\": \"reference\", "
        "\"implementation\": \"reference\", \"adapter\": \"adapter-reference\"}], "
        "\"pairs\": [{\"source\": \"reference\", \"destination\": \"reference\", "
        "\"through\": [\"relay\"]}]}");
    run(&s, cert_path(build, "--build=%s/build", s.dir));
    expect(&s, "SRC-4.1/", "PASS", NULL);
    expect(&s, "SRC-4.2/", "FAIL", "relay b gives up: ");
    expect(&s, "SRC-4.2/", "FAIL", "it did not");
    close_scene(&s);
}
