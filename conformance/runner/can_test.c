/* SPDX-License-Identifier: MIT */
#include "conformance/runner/scene_test.h"

/* What a scheduler asks: can this source migrate to that destination, and with which features? */

static const char PROFILE[] =
    "{\"profile\":\"can\",\"implementations\":["
    "{\"name\":\"new\",\"implementation\":\"reference\",\"adapter\":\"adapter-reference\"},"
    "{\"name\":\"old\",\"implementation\":\"reference\",\"adapter\":\"adapter-reference\","
    "\"features\":[\"precopy\",\"native\"]}],"
    "\"pairs\":[{\"source\":\"new\",\"destination\":\"new\",\"cases\":[\"HND-2.501\"]},"
    "{\"source\":\"new\",\"destination\":\"old\",\"machine\":\"m\",\"cases\":"
    "[\"HND-2.501\",\"SEAL-4.501\"]}]}";

static int ask(const struct scene *s, const char *from, const char *to, const char *feature,
               char **said) {
    char out[CERT_PATH], log[CERT_PATH];
    const char *argv[] = {program(), "--out", cert_path(out, "%s/out", s->dir), "--can", from, to,
                          feature,   NULL};
    (void)remove(cert_path(log, "%s/said", s->dir));
    int status = live_wait(live_spawn(argv, log, NULL), WAIT_MS);
    free(*said);
    *said = cert_read(log, 1 << 16, NULL);
    return status;
}

static void certify_all(struct scene *s) {
    char profile[CERT_PATH], out[CERT_PATH], log[CERT_PATH];
    *s = (struct scene){.dir = "/tmp/vms-certify-XXXXXX"};
    cr_assert_not_null(mkdtemp(s->dir));
    put(s, "profile.json", PROFILE);
    const char *argv[] = {program(),
                          "--profile",
                          cert_path(profile, "%s/profile.json", s->dir),
                          "--out",
                          cert_path(out, "%s/out", s->dir),
                          "--patience",
                          "4",
                          NULL};
    s->status = live_wait(live_spawn(argv, cert_path(log, "%s/certify.log", s->dir), NULL), 600000);
    char *text = cert_tail(log, 3000);
    cr_assert_eq(s->status, 0, "%s", text);
    free(text);
}

/* Real migrations first: the table is of what was tried. */
Test(certify_can, who_can_migrate_to_whom, .timeout = 660) {
    struct scene s;
    char *said = NULL;
    certify_all(&s);
    cr_expect_eq(ask(&s, "new", "new", "native", &said), 0, "%s", said);
    cr_expect_str_eq(said, "yes  new@ -> new@: native\n");
    cr_expect_eq(ask(&s, "new", "old@m", "native", &said), 0, "%s", said);
    cr_expect_eq(ask(&s, "new", "old", "native-gcm", &said), 1, "%s", said);
    cr_expect_str_eq(said, "no   new@m -> old@m: native-gcm: old has not got seal\n");
    /* all that was tried of a pair, and all of it must be good */
    cr_expect_eq(ask(&s, "new", "old", NULL, &said), 1, "%s", said);
    cr_expect(strstr(said, "yes  new@m -> old@m: native\n") && strstr(said, "no   new@m -> old@m"),
              "%s", said);
    cr_expect_eq(ask(&s, "old", "new", NULL, &said), 3);
    cr_expect(strstr(said, "nobody has tried old -> new"), "%s", said);
    cr_expect_eq(ask(&s, "new", "new", "warp", &said), 3);
    cr_expect_eq(ask(&s, "new", "old@n", NULL, &said), 3);
    free(said);
    close_scene(&s);
}
