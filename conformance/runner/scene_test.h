/* SPDX-License-Identifier: MIT */
#ifndef CONFORMANCE_RUNNER_SCENE_TEST_H
#define CONFORMANCE_RUNNER_SCENE_TEST_H

#include "conformance/live/live.h"
#include "conformance/runner/verdict.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* The runner as a process, over a folder of its own with fake adapters in sh. */
enum {
    WAIT_MS = 60000,
};

struct scene {
    char dir[CERT_PATH];
    int status;
    json_t *cells; /* lines of the journal that are cells */
};

static inline const char *program(void) {
    static char path[CERT_PATH];
    const char *build = getenv("VMSTREAM_BUILD");
    return cert_path(path, "%s/certify", build ? build : "build");
}

static inline void put(const struct scene *s, const char *name, const char *text) {
    char path[CERT_PATH];
    cr_assert_eq(cert_write(cert_path(path, "%s/%s", s->dir, name), text), 0);
}

/* A decoder in sh: what stands in `decide` has the file as $f and says 0, 1 or another status. */
static inline void put_adapter(const struct scene *s, const char *name, const char *decide) {
    char path[CERT_PATH], text[4096];
    (void)snprintf(text, sizeof text,
                   "#!/bin/sh\necho fake 1 >\"$VMS_LOG/version\"\n"
                   "[ \"$VMS_ROLE\" = version ] && exit 0\n"
                   "echo \"$VMS_CASE_ID\" >>'%s/ran'\n"
                   "grep -q no-such-feature \"$VMS_CASE\" && exit ${CLAIMS:-127}\n"
                   "f=${VMS_URI#file:}\n"
                   "good() { head -c 4 \"$f\" | grep -q QEVM; }\n%s\n",
                   s->dir, decide);
    put(s, name, text);
    cr_assert_eq(chmod(cert_path(path, "%s/%s", s->dir, name), 0755), 0);
}

#define HONEST "good && exit 0; exit 1"
#define SHA    "0000000000000000000000000000000000000000000000000000000000000000"
#define GOOD   "5145564d0000000307000000047465737400"

static inline void put_case(char *out, size_t size, const char *id, const char *hex, bool good) {
    size_t n = strlen(out);
    (void)snprintf(out + n, size - n,
                   "%s{\"id\":\"HDR-1.%s\",\"clause\":\"HDR-1\",\"level\":\"MUST\",\"text\":\"t\","
                   "\"sha256\":\"" SHA "\",\"title\":\"<b>&\",\"kind\":\"vector\",\"seconds\":2,"
                   "\"vector\":{\"kind\":\"main\",\"hex\":\"%s\"},"
                   "\"expect\":{%s}}",
                   n ? "," : "", id, hex, good ? "\"end\":true" : "\"error\":\"BAD_MAGIC\"");
}

static inline void open_scene(struct scene *s, unsigned cases) {
    static char all[1 << 16];
    char id[16];
    *s = (struct scene){.dir = "/tmp/vms-certify-XXXXXX"};
    cr_assert_not_null(mkdtemp(s->dir));
    char cases_dir[CERT_PATH];
    cr_assert_eq(cert_mkdir(cert_path(cases_dir, "%s/cases", s->dir)), 0);
    all[0] = 0;
    for (unsigned i = 0; i < cases; i++) {
        (void)snprintf(id, sizeof id, "%u", i);
        put_case(all, sizeof all, id, i % 2 ? "5858585800000003" : GOOD, i % 2 == 0);
    }
    static char text[(1 << 16) + 8];
    (void)snprintf(text, sizeof text, "[%s]", all);
    put(s, "cases/hdr.json", text);
}

static inline void put_profile(const struct scene *s, const char *adapter) {
    char text[1024];
    (void)snprintf(text, sizeof text,
                   "{\"profile\":\"test\",\"implementations\":[{\"name\":\"fake\","
                   "\"implementation\":\"fake\",\"version\":\"1.0\",\"adapter\":\"./%s\"}],"
                   "\"decoders\":[{\"implementation\":\"fake\"}]}",
                   adapter);
    put(s, "profile.json", text);
}

static inline pid_t start(const struct scene *s, const char *more) {
    char profile[CERT_PATH], cases[CERT_PATH], out[CERT_PATH], expected[CERT_PATH], log[CERT_PATH];
    const char *argv[] = {program(),
                          "--profile",
                          cert_path(profile, "%s/profile.json", s->dir),
                          "--cases",
                          cert_path(cases, "%s/cases", s->dir),
                          "--expected",
                          cert_path(expected, "%s/expected", s->dir),
                          "--out",
                          cert_path(out, "%s/out", s->dir),
                          "--jobs",
                          "2",
                          more,
                          NULL};
    return live_spawn(argv, cert_path(log, "%s/certify.log", s->dir), NULL);
}

static inline void read_cells(struct scene *s) {
    char path[CERT_PATH], *line = NULL;
    size_t size = 0;
    json_decref(s->cells);
    s->cells = json_array();
    FILE *f = fopen(cert_path(path, "%s/out/results.jsonl", s->dir), "re");
    while (f && getline(&line, &size, f) > 0) {
        json_t *o = json_loads(line, 0, NULL);
        if (strcmp(cert_str(o, "record"), "cell") == 0)
            (void)json_array_append(s->cells, o);
        json_decref(o);
    }
    free(line);
    if (f)
        (void)fclose(f);
}

static inline void run(struct scene *s, const char *more) {
    s->status = live_wait(start(s, more), WAIT_MS);
    read_cells(s);
}

static inline const json_t *cell(const struct scene *s, const char *id) {
    for (size_t i = 0; i < json_array_size(s->cells); i++)
        if (strstr(cert_str(json_array_get(s->cells, i), "id"), id))
            return json_array_get(s->cells, i);
    cr_assert(false, "no cell %s", id);
    return NULL;
}

static inline void expect(const struct scene *s, const char *id, const char *verdict,
                          const char *why) {
    const json_t *c = cell(s, id);
    const char *text = json_string_value(json_array_get(json_object_get(c, "why"), 0));
    cr_expect_str_eq(cert_str(c, "verdict"), verdict, "%s: %s", id, text);
    if (why)
        cr_expect(text && strstr(text, why), "%s: %s", id, text);
}

static inline void close_scene(struct scene *s) {
    json_decref(s->cells);
    if (!getenv("VMSTREAM_KEEP"))
        cert_remove(s->dir);
}

static inline void judge(struct scene *s, const char *decide) {
    open_scene(s, 2);
    put_adapter(s, "adapter", decide);
    put_profile(s, "adapter");
    run(s, NULL);
}

#endif
