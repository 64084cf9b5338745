/* SPDX-License-Identifier: MIT */
#include "conformance/live/native_rig.h"

#include <dirent.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static int64_t now_ms(void) {
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static int fail(struct native_rig *r, const char *what) {
    (void)snprintf(r->error, sizeof r->error, "%s", what);
    return -1;
}

static const char *build(void) {
    return getenv("VMSTREAM_BUILD") ? getenv("VMSTREAM_BUILD") : "build";
}

static int write_text(const char *path, const char *text) {
    FILE *f = fopen(path, "w");
    return f && fputs(text, f) >= 0 && fclose(f) == 0 ? 0 : -1;
}

static const char *path(char out[128], const struct native_rig *r, const char *name) {
    (void)snprintf(out, 128, "%.63s/%s", r->dir, name);
    return out;
}

/* The lock is held by whoever runs the guest: two that run are found by the VM itself. */
static int write_vm(struct native_rig *r, unsigned mib) {
    char text[512];
    (void)snprintf(text, sizeof text,
                   "{\"blocks\": [{\"name\": \"ram0\", \"size\": \"%uM\", \"fill\": \"mix\"},"
                   " {\"name\": \"ram1\", \"size\": \"4M\", \"backing\": \"shared\"}],"
                   " \"vcpus\": [{\"rate\": 4000}, {\"rate\": 4000, \"reads\": 0.5}],"
                   " \"seed\": 3, \"running_lock\": \"run.lock\"}",
                   mib);
    return write_text(path(r->vm, r, "vm.json"), text);
}

int native_rig_open(struct native_rig *r, unsigned mib, const char *transport, bool tap) {
    char listen[128], tapped[128], error[256] = "";
    *r = (struct native_rig){.src = -1, .dst = -1, .src_status = -1, .dst_status = -1};
    (void)strcpy(r->dir, "/tmp/vms-native-XXXXXX");
    if (!mkdtemp(r->dir) || write_vm(r, mib) != 0)
        return fail(r, "a folder");
    (void)mkdir(path(r->journal_src, r, "js"), 0700);
    (void)mkdir(path(r->journal_dst, r, "jd"), 0700);
    if (write_text(path(r->keys, r, "keys"),
                   "one:00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\n") != 0)
        return fail(r, "keys");
    path(listen, r, "s");
    path(tapped, r, "tap");
    if (strcmp(transport, "unix") == 0) {
        (void)snprintf(r->listen, sizeof r->listen, "unix:%.120s", listen);
        (void)snprintf(r->connect, sizeof r->connect, "unix:%.120s", tap ? tapped : listen);
    } else { /* the port is found out when it listens */
        (void)snprintf(r->listen, sizeof r->listen, "%s:127.0.0.1:0", transport);
    }
    struct vms_tap_options o = {.listen_path = tapped, .connect_path = listen};
    if (tap && !(r->tap = vms_tap_start(&o, error, sizeof error)))
        return fail(r, error);
    return 0;
}

static void add(const char **list, va_list args) {
    const char *a;
    size_t n = 0;
    while (list[n])
        n++;
    while ((a = va_arg(args, const char *)) && n < 23)
        list[n++] = a;
}

void native_src_args(struct native_rig *r, ...) {
    va_list args;
    va_start(args, r);
    add(r->src_args, args);
    va_end(args);
}

void native_dst_args(struct native_rig *r, ...) {
    va_list args;
    va_start(args, r);
    add(r->dst_args, args);
    va_end(args);
}

static pid_t start(struct native_rig *r, const char *program, const char *uri_option,
                   const char *uri, const char *const *more, const char *which) {
    char exe[256], log[128], report[128], name[32];
    const char *argv[40] = {exe, uri_option, uri, "--vm", r->vm, "--report", report};
    size_t n = 7;
    (void)snprintf(exe, sizeof exe, "%s/%s", build(), program);
    (void)snprintf(name, sizeof name, "%s.json", which);
    path(report, r, name);
    (void)snprintf(name, sizeof name, "%s.log", which);
    while (*more && n < 39)
        argv[n++] = *more++;
    argv[n] = NULL;
    return live_spawn(argv, path(log, r, name), NULL);
}

char *native_log(struct native_rig *r, const char *which) {
    char file[128], name[32];
    char *text = calloc(1, 65536);
    (void)snprintf(name, sizeof name, "%s.log", which);
    FILE *f = fopen(path(file, r, name), "r");
    if (f && text)
        (void)!fread(text, 1, 65535, f);
    if (f)
        (void)fclose(f);
    return text;
}

void native_show(struct native_rig *r) {
    char *s = native_log(r, "src"), *d = native_log(r, "dst");
    fprintf(stderr, "---- source, status %d\n%s---- destination, status %d\n%s", r->src_status, s,
            r->dst_status, d);
    free(s);
    free(d);
}

uint64_t native_forwarded(struct native_rig *r) {
    uint64_t sum = 0;
    for (unsigned i = 0; i < vms_tap_count(r->tap); i++)
        sum += vms_tap_connection(r->tap, i).forward;
    return sum;
}

void native_wait_bytes(struct native_rig *r, uint64_t bytes) {
    const struct timespec moment = {.tv_nsec = 1000000};
    while (native_forwarded(r) < bytes && live_runs(r->src))
        (void)nanosleep(&moment, NULL);
}

/* "listening on URI" names the port that the kernel chose. */
static bool listens(struct native_rig *r) {
    char *log = native_log(r, "dst"), *at = log ? strstr(log, "listening on ") : NULL;
    if (at && r->connect[0] == 0)
        (void)sscanf(at, "listening on %127s", r->connect);
    free(log);
    return at != NULL;
}

int native_start_dst(struct native_rig *r) {
    const struct timespec moment = {.tv_nsec = 5000000};
    int64_t until = now_ms() + 60000;
    char log[128];
    (void)unlink(path(log, r, "dst.log"));
    r->dst = start(r, "reference-dst", "--listen", r->listen, r->dst_args, "dst");
    while (!listens(r)) {
        if (now_ms() > until)
            return fail(r, "reference-dst does not listen");
        (void)nanosleep(&moment, NULL);
    }
    return 0;
}

int native_start_src(struct native_rig *r) {
    r->src = start(r, "reference-src", "--connect", r->connect, r->src_args, "src");
    return r->src > 0 ? 0 : fail(r, "reference-src");
}

static bool says(const char *folder, const char *name, const char *state) {
    char file[512], text[512] = "", line[64];
    (void)snprintf(file, sizeof file, "%s/%s", folder, name);
    (void)snprintf(line, sizeof line, "state %s\n", state);
    FILE *f = fopen(file, "r");
    if (f) {
        (void)!fread(text, 1, sizeof text - 1, f);
        (void)fclose(f);
    }
    return strstr(text, line) != NULL;
}

static bool look(const char *folder, const char *state, char session[33]) {
    DIR *d = opendir(folder);
    struct dirent *e;
    bool found = false;
    while (d && !found && (e = readdir(d)))
        if (strstr(e->d_name, ".journal") && says(folder, e->d_name, state)) {
            memcpy(session, e->d_name, 32);
            session[32] = 0;
            found = true;
        }
    if (d)
        (void)closedir(d);
    return found;
}

int native_wait_journal(const char *folder, const char *state, char session[33], int timeout_ms) {
    const struct timespec moment = {.tv_nsec = 200000};
    int64_t until = now_ms() + timeout_ms;
    while (!look(folder, state, session)) {
        if (now_ms() > until)
            return -1;
        (void)nanosleep(&moment, NULL);
    }
    return 0;
}

void native_finish(struct native_rig *r, int timeout_ms) {
    char file[128];
    if (r->src > 0)
        r->src_status = live_wait(r->src, timeout_ms);
    if (r->dst > 0)
        r->dst_status = live_wait(r->dst, timeout_ms);
    r->src = r->dst = -1;
    r->src_report = json_load_file(path(file, r, "src.json"), 0, NULL);
    r->dst_report = json_load_file(path(file, r, "dst.json"), 0, NULL);
}

void native_rig_close(struct native_rig *r) {
    char command[128];
    if (r->src > 0)
        (void)live_wait(r->src, 0);
    if (r->dst > 0)
        (void)live_wait(r->dst, 0);
    vms_tap_stop(r->tap);
    json_decref(r->src_report);
    json_decref(r->dst_report);
    (void)snprintf(command, sizeof command, "rm -rf '%s'", r->dir);
    (void)!system(command);
}
