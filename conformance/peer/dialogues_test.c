/* SPDX-License-Identifier: MIT */
#include "conformance/live/live.h"
#include "conformance/live/source_rig.h"
#include "conformance/runner/util.h"

#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <dirent.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/*
 * Every dialogue against the references: the scripted peer misbehaves in one way, and the reference
 * must do what the case says, with the error that it names.
 */

enum {
    END_MS = 120000,
    TURNS = 12000, /* of 5 ms, for somebody to come up */
};

static const char VM[] =
    "{\"blocks\": [{\"name\": \"ram0\", \"size\": \"256K\", \"fill\": \"mix\"},"
    " {\"name\": \"ram1\", \"size\": \"4K\"}],"
    " \"vcpus\": [{\"rate\": 500}], \"seed\": 3}\n";

static const char *build(const char *name) {
    static char paths[4][256];
    static int used;
    const char *folder = getenv("VMSTREAM_BUILD");
    char *path = paths[used++ % 4];
    (void)snprintf(path, sizeof paths[0], "%s/%s", folder ? folder : "build", name);
    return path;
}

static json_t *load_dialogues(void) {
    static const char folder[] = "conformance/cases/dialogues";
    json_t *all = json_array();
    struct dirent **names;
    int n = scandir(folder, &names, NULL, alphasort);
    for (int i = 0; i < n; i++) {
        char path[512];
        (void)snprintf(path, sizeof path, "%s/%s", folder, names[i]->d_name);
        json_t *list = strstr(path, ".json") ? json_load_file(path, 0, NULL) : NULL;
        cr_assert(list || !strstr(path, ".json"), "%s", path);
        if (list)
            (void)json_array_extend(all, list);
        json_decref(list);
        free(names[i]);
    }
    if (n >= 0)
        free(names);
    return all;
}

struct stage {
    char dir[64], socket[96], control[96], report[96], log[96], peer_log[96], test[96], vm[96],
        psk[96];
};

static void set_stage(struct stage *s, const json_t *test) {
    (void)strcpy(s->dir, "/tmp/vms-dialogue-XXXXXX");
    cr_assert_not_null(mkdtemp(s->dir));
    (void)snprintf(s->socket, sizeof s->socket, "unix:%s/s", s->dir);
    (void)snprintf(s->control, sizeof s->control, "unix:%s/c", s->dir);
    (void)snprintf(s->report, sizeof s->report, "%s/report.json", s->dir);
    (void)snprintf(s->log, sizeof s->log, "%s/log", s->dir);
    (void)snprintf(s->peer_log, sizeof s->peer_log, "%s/peer", s->dir);
    (void)snprintf(s->test, sizeof s->test, "%s/case.json", s->dir);
    (void)snprintf(s->vm, sizeof s->vm, "%s/vm.json", s->dir);
    (void)snprintf(s->psk, sizeof s->psk, "%s/keys.psk", s->dir);
    cr_assert_eq(cert_write(s->vm, VM), 0);
    cr_assert_eq(json_dump_file(test, s->test, 0), 0);
    (void)mkdir(s->peer_log, 0700);
}

static pid_t start_peer(const struct stage *s, const char *role) {
    (void)setenv("VMS_ROLE", role, 1);
    (void)setenv("VMS_URI", s->socket, 1);
    (void)setenv("VMS_CASE", s->test, 1);
    (void)setenv("VMS_LOG", s->peer_log, 1);
    (void)setenv("VMS_DEADLINE", "60", 1);
    (void)setenv("VMS_BUILD", build(""), 1);
    char log[128];
    (void)snprintf(log, sizeof log, "%s/output", s->peer_log);
    const char *const argv[] = {build("certify-peer"), NULL};
    return live_spawn(argv, log, NULL);
}

static const char *text(const json_t *o, const char *key) {
    const char *t = json_string_value(json_object_get(o, key));
    return t ? t : "";
}

static pid_t start_subject(const struct stage *s, const json_t *body, const char *role) {
    bool source = strcmp(role, "source") == 0;
    const char *argv[32] = {build(source ? "reference-src" : "reference-dst")};
    size_t n = 1;
    argv[n++] = source ? "--connect" : "--listen";
    argv[n++] = s->socket;
    argv[n++] = "--report";
    argv[n++] = s->report;
    if (source) {
        argv[n++] = "--wire";
        argv[n++] = strcmp(text(body, "wire"), "native") == 0 ? "native" : "qevm";
        argv[n++] = "--vm";
        argv[n++] = s->vm;
        argv[n++] = "--control"; /* a pause wants it */
        argv[n++] = s->control;
    }
    if (*text(body, "psk")) {
        cr_assert_eq(cert_write(s->psk, text(body, "psk")), 0);
        argv[n++] = "--psk";
        argv[n++] = s->psk;
    }
    const json_t *more = json_object_get(body, "options");
    for (size_t i = 0; i < json_array_size(more) && n < 31; i++)
        argv[n++] = json_string_value(json_array_get(more, i));
    return live_spawn(argv, s->log, NULL);
}

static bool there(const char *dir, const char *name) {
    char path[256];
    (void)snprintf(path, sizeof path, "%s/%s", dir, name);
    return access(path, F_OK) == 0;
}

static void wait_there(const char *dir, const char *name, pid_t pid) {
    for (int i = 0; i < TURNS && !there(dir, name) && live_runs(pid); i++)
        (void)usleep(5000);
}

/* The socket's file is there before anybody listens. */
static void wait_listening(const struct stage *s, pid_t pid) {
    bool listens = false;
    for (int i = 0; i < TURNS && !listens && live_runs(pid); i++) {
        char *log = cert_tail(s->log, 600);
        listens = log && strstr(log, "listening on ");
        free(log);
        if (!listens)
            (void)usleep(5000);
    }
}

/* In postcopy a source waits for its operator, whatever its peer has said. */
static void settle_pause(const struct stage *s, pid_t subject) {
    static const char *const orders[] = {"{\"order\": \"resolve\", \"as\": \"theirs\"}",
                                         "{\"order\": \"give-up\"}"};
    const char *control = s->control + strlen("unix:");
    for (bool paused = false; !paused && live_runs(subject); (void)usleep(5000)) {
        json_t *answer = source_order(control, "{\"order\": \"status\"}");
        paused = strcmp(text(answer, "state"), "PAUSED") == 0;
        json_decref(answer);
        for (size_t i = 0; paused && i < 2; i++)
            json_decref(source_order(control, orders[i]));
    }
}

static void judge(const struct stage *s, const json_t *test, int status, int peer) {
    const json_t *expect = json_object_get(test, "expect");
    json_t *report = json_load_file(s->report, 0, NULL);
    const json_t *error = json_object_get(report, "error");
    bool refused = strcmp(text(expect, "outcome"), "refused") == 0;
    const char *id = text(test, "id");
    char *log = cert_tail(s->log, 600);
    char path[128];
    (void)snprintf(path, sizeof path, "%s/log", s->peer_log);
    char *said = cert_tail(path, 600);
    bool late = strcmp(text(expect, "code"), "SRC_LIMIT") == 0; /* its own decision */
    cr_expect_eq(status, late ? 3 : refused, "%s: %s: exit status %d\n%s\npeer: %s", id,
                 text(test, "title"), status, log ? log : "", said ? said : "");
    cr_expect(peer == 0 || (refused && peer == 1), "%s: %s: the script: status %d\n%s", id,
              text(test, "title"), peer, said ? said : "");
    if (!refused || *text(expect, "code"))
        cr_expect_str_eq(text(error, "code"), text(expect, "code"), "%s: %s: %s", id,
                         text(test, "title"), text(error, "message"));
    free(log);
    free(said);
    json_decref(report);
}

static void run_dialogue(const json_t *test) {
    const json_t *body = json_object_get(test, "dialogue");
    const char *role = text(body, "role");
    bool source = strcmp(role, "source") == 0;
    struct stage s;
    pid_t subject, peer;
    set_stage(&s, test);
    if (source) {
        peer = start_peer(&s, "destination");
        wait_there(s.peer_log, "ready", peer);
        subject = start_subject(&s, body, role);
    } else {
        subject = start_subject(&s, body, role);
        wait_listening(&s, subject);
        peer = start_peer(&s, "source");
    }
    if (strcmp(text(body, "script"), "octets") == 0) {
        /* a native destination refuses the connection, and waits for another */
        int status = live_wait(peer, END_MS);
        cr_expect_eq(status, 1, "%s: %s: the connection was kept (%d)", text(test, "id"),
                     text(test, "title"), status);
        (void)kill(subject, SIGKILL);
        (void)live_wait(subject, END_MS);
    } else {
        if (source && json_is_true(json_object_get(body, "postcopy")))
            settle_pause(&s, subject);
        int status = live_wait(subject, END_MS);
        judge(&s, test, status, live_wait(peer, END_MS));
    }
    char command[128];
    (void)snprintf(command, sizeof command, "rm -rf %s", s.dir);
    (void)system(command);
}

/* [ERR-4] [DST-1] [SRC-1] In so many processes as the machine has time for. */
enum {
    SHARES = 4,
};
static int shares[SHARES] = {0, 1, 2, 3};

ParameterizedTestParameters(dialogues, against_the_references) {
    return cr_make_param_array(int, shares, SHARES);
}

ParameterizedTest(int *share, dialogues, against_the_references, .timeout = 300) {
    json_t *all = load_dialogues();
    const char *only = getenv("DIALOGUE");
    for (size_t i = 0; i < json_array_size(all); i++) {
        const json_t *test = json_array_get(all, i);
        if (i % SHARES == (size_t)*share && (!only || strcmp(only, text(test, "id")) == 0))
            run_dialogue(test);
    }
    json_decref(all);
}

/* [ERR-4] The peer's scripts themselves are in good order: undisturbed they succeed. */
Test(dialogues, there_are_enough) {
    json_t *all = load_dialogues();
    cr_expect_geq(json_array_size(all), 40u);
    json_decref(all);
}
