/* SPDX-License-Identifier: MIT */
#include "conformance/live/demo_native.h"

#include "conformance/live/live.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* A guest that writes all the time moves between two processes, three times; each end proves its
 * part. */

enum {
    WAIT_MS = 120000,
};

struct demo {
    const char *build;
    char dir[64];
    char vm[96], keys[96], uri[96], control[96];
    char src_html[96], dst_html[96], src_json[96], dst_json[96], src_log[96], dst_log[96];
};

void demo_step(const char *text) {
    bool colour = isatty(STDOUT_FILENO);
    printf("%s==>%s %s\n", colour ? "\033[1;34m" : "", colour ? "\033[0m" : "", text);
    fflush(stdout);
}

static int fail(const char *what) {
    fprintf(stderr, "demo: %s\n", what);
    return -1;
}

/* ---- files ---- */

static const char *name(const struct demo *d, char out[96], const char *file) {
    (void)snprintf(out, 96, "%s/%s", d->dir, file);
    return out;
}

static int write_text(const char *path, const char *text) {
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    bool good = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    return fd >= 0 && close(fd) == 0 && good ? 0 : -1;
}

static int write_keys(const struct demo *d) {
    unsigned char key[32];
    char text[80] = "demo:";
    if (getrandom(key, sizeof key, 0) != (ssize_t)sizeof key)
        return -1;
    for (size_t i = 0; i < sizeof key; i++)
        (void)snprintf(text + 5 + 2 * i, 3, "%02x", key[i]);
    (void)strcat(text, "\n");
    return write_text(d->keys, text);
}

static int write_vm(const struct demo *d, unsigned mib, unsigned rate) {
    char text[512];
    (void)snprintf(text, sizeof text,
                   "{\"blocks\": [{\"name\": \"ram0\", \"size\": \"%uM\", \"fill\": \"mix\"}],"
                   " \"vcpus\": [{\"rate\": %u, \"locality\": {\"kind\": \"hot\","
                   " \"working_set\": \"%uM\", \"hot_fraction\": 0.9}},"
                   " {\"rate\": %u, \"reads\": 0.5}], \"seed\": 1, \"lock\": \"disk.lock\","
                   " \"running_lock\": \"run.lock\"}",
                   mib, rate, mib / 16, rate);
    return write_text(d->vm, text);
}

static int open_demo(struct demo *d, const char *build) {
    *d = (struct demo){.build = build, .dir = "/tmp/vmstream-demo-XXXXXX"};
    if (!mkdtemp(d->dir))
        return fail("no folder in /tmp");
    name(d, d->vm, "vm.json");
    name(d, d->keys, "keys.psk");
    name(d, d->src_html, "source.html");
    name(d, d->dst_html, "destination.html");
    name(d, d->src_json, "source.json");
    name(d, d->dst_json, "destination.json");
    name(d, d->src_log, "source.log");
    name(d, d->dst_log, "destination.log");
    (void)snprintf(d->uri, sizeof d->uri, "unix:%s/socket", d->dir);
    return write_keys(d);
}

/* ---- how much memory there is: both guests, and as much again for all else ---- */

static unsigned guest_mib(void) {
    unsigned long kib = 0;
    char line[128];
    FILE *f = fopen("/proc/meminfo", "r");
    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "MemAvailable: %lu", &kib) == 1)
            break;
    if (f)
        (void)fclose(f);
    unsigned mib = 2048;
    while (mib > 128 && kib / 1024 < 3ul * mib)
        mib /= 2;
    return mib;
}

/* ---- processes ---- */

struct pair {
    pid_t pids[2];
};

static bool both_ended(void *ctx) {
    const struct pair *p = ctx;
    return !live_runs(p->pids[0]) && !live_runs(p->pids[1]);
}

static int wait_for_socket(const struct demo *d, pid_t dst) {
    const struct timespec moment = {.tv_nsec = 5000000};
    struct stat st;
    for (int i = 0; i < 6000; i++) {
        if (stat(d->uri + strlen("unix:"), &st) == 0)
            return 0;
        if (!live_runs(dst))
            break;
        (void)nanosleep(&moment, NULL);
    }
    return fail("reference-dst does not listen");
}

static void show_log(const char *path) {
    char line[400];
    FILE *f = fopen(path, "r");
    while (f && fgets(line, sizeof line, f))
        fputs(line, stderr);
    if (f)
        (void)fclose(f);
}

/* more: arguments beside the usual. */
static int migrate(struct demo *d, const char *const *more, const char *const *dst_more,
                   const char *src_report, const char *dst_report) {
    char src[300], dst[300];
    (void)snprintf(src, sizeof src, "%s/reference-src", d->build);
    (void)snprintf(dst, sizeof dst, "%s/reference-dst", d->build);
    const char *dst_argv[24] = {dst,     "--listen", d->uri,     "--vm",          d->vm, "--psk",
                                d->keys, "--report", dst_report, "--run-seconds", "1"};
    const char *src_argv[24] = {src,     "--connect", d->uri, "--vm",     d->vm,     "--psk",
                                d->keys, "--seal",    "gcm",  "--report", src_report};
    for (size_t n = 11; *more && n < 23; n++)
        src_argv[n] = *more++;
    for (size_t n = 11; *dst_more && n < 23; n++)
        dst_argv[n] = *dst_more++;
    pid_t to = live_spawn(dst_argv, d->dst_log, NULL);
    if (to < 0 || wait_for_socket(d, to) != 0)
        return to < 0 ? fail("cannot start reference-dst") : (void)live_wait(to, 0), -1;
    pid_t from = live_spawn(src_argv, d->src_log, NULL);
    struct pair pair = {{from, to}};
    demo_watch(d->src_log, d->dst_log, both_ended, &pair);
    int src_status = live_wait(from, WAIT_MS), dst_status = live_wait(to, WAIT_MS);
    if (src_status == 0 && dst_status == 0)
        return 0;
    show_log(d->src_log);
    show_log(d->dst_log);
    fprintf(stderr, "demo: reference-src ended with %d, reference-dst with %d\n", src_status,
            dst_status);
    return -1;
}

/* ---- what is told ---- */

/* A report that is a page carries its JSON. */
static json_t *load(const char *path) {
    size_t room = 64u << 20, n = 0;
    char *text = malloc(room);
    FILE *f = fopen(path, "r");
    if (f && text)
        n = fread(text, 1, room - 1, f);
    if (f)
        (void)fclose(f);
    if (text)
        text[n] = 0;
    const char *at = text ? strstr(text, "{\"report\"") : NULL;
    at = at ? at : text ? strstr(text, "{\n  \"report\"") : NULL;
    json_t *o = at ? json_loads(at, JSON_DISABLE_EOF_CHECK, NULL) : NULL;
    free(text);
    return o;
}

static double of(const json_t *o, const char *object, const char *key) {
    const json_t *in = object ? json_object_get(o, object) : o;
    return json_number_value(json_object_get(in, key));
}

static int show_migration(const struct demo *d) {
    json_t *src = load(d->src_html), *dst = load(d->dst_html);
    bool good = json_is_true(json_object_get(json_object_get(dst, "check"), "good"));
    double s = of(src, "timings", "total_us") / 1e6, bytes = of(src, NULL, "bytes");
    if (src && dst)
        printf("    total %.2f s, downtime %.0f ms, %.0f MiB on the wire, %.2f GiB/s, %.0f rounds\n"
               "    %.0f pages checked at the destination, %s\n"
               "    reports: %s\n             %s\n",
               s, of(src, "timings", "downtime_us") / 1e3, bytes / (1 << 20),
               s > 0 ? bytes / s / (1 << 30) : 0, of(src, NULL, "rounds"),
               of(dst, "check", "pages"), good ? "all right" : "NOT all right", d->src_html,
               d->dst_html);
    json_decref(src);
    json_decref(dst);
    return good ? 0 : fail("the destination's report does not say that every page is right");
}

static int show_postcopy(const struct demo *d) {
    json_t *src = load(d->src_json), *dst = load(d->dst_json);
    json_t *faults = json_object_get(json_object_get(dst, "latencies"), "fault");
    bool good = json_is_true(json_object_get(json_object_get(dst, "check"), "good"));
    if (src && dst)
        printf(
            "    total %.2f s, downtime %.0f ms; %.0f faults of the guest were served: p50 %.0f us,"
            " p99 %.0f us\n    %.0f pages checked at the destination, %s\n",
            of(src, "timings", "total_us") / 1e6, of(src, "timings", "downtime_us") / 1e3,
            of(faults, NULL, "count"), of(faults, NULL, "p50_ns") / 1e3,
            of(faults, NULL, "p99_ns") / 1e3, of(dst, "check", "pages"),
            good ? "all right" : "NOT all right");
    json_decref(src);
    json_decref(dst);
    return good ? 0 : fail("the destination's report does not say that every page is right");
}

/* ---- the scenes ---- */

static const char *const NO_MORE[] = {NULL};

static int precopy(struct demo *d) {
    static const char *const more[] = {"--channels", "4", NULL};
    char text[160];
    unsigned mib = guest_mib();
    (void)snprintf(text, sizeof text,
                   "reference-src to reference-dst: %u MiB that are written all the time%s, native "
                   "wire, AES-256-GCM, fresh key",
                   mib, mib < 2048 ? " (2048 would not fit here)" : "");
    demo_step(text);
    if (write_vm(d, mib, 3000) != 0 || migrate(d, more, NO_MORE, d->src_html, d->dst_html) != 0)
        return -1;
    return show_migration(d);
}

static int postcopy(struct demo *d) {
    static const char *const more[] = {"--postcopy-after",     "0",    "--preempt",
                                       "--postcopy-bandwidth", "100M", NULL};
    demo_step("the same, 256 MiB in postcopy: the guest runs there first, pages follow as it wants "
              "them");
    if (write_vm(d, 256, 3000) != 0 || migrate(d, more, NO_MORE, d->src_json, d->dst_json) != 0)
        return -1;
    return show_postcopy(d);
}

/* ---- a network card on a vDPA device, whose maps take longer than all else ---- */

static int write_device(const struct demo *d, const char *file, const char *costs) {
    char path[96], text[256];
    (void)snprintf(text, sizeof text, "vdpa-sim device\nname %s\necho on\n%s\n", file, costs);
    return write_text(name(d, path, file), text);
}

static int show_maps(const struct demo *d) {
    json_t *src = load(d->src_json), *dst = load(d->dst_json);
    json_t *card = json_array_get(json_object_get(dst, "vdpa"), 0);
    bool good = json_is_true(json_object_get(card, "runs")) &&
                json_is_true(json_object_get(json_object_get(dst, "check"), "good"));
    if (src && card)
        printf("    %.0f MiB mapped for the device in %.2f s, while the guest ran at the source; "
               "downtime %.1f ms\n    its rings and filters were made before the stop, too: the "
               "last record has %.0f octets\n",
               of(card, NULL, "mapped") / (1 << 20), of(card, NULL, "map_us") / 1e6,
               of(src, "timings", "downtime_us") / 1e3, of(card, NULL, "last_state_bytes"));
    json_decref(src);
    json_decref(dst);
    return good ? 0 : fail("the destination's report does not say that the card runs");
}

static int vdpa(struct demo *d) {
    char src[128], dst[128];
    const char *const src_more[] = {"--vdpa", src, NULL}, *const dst_more[] = {"--vdpa", dst, NULL};
    (void)snprintf(src, sizeof src, "sim:%s/source.vdpa", d->dir);
    (void)snprintf(dst, sizeof dst, "sim:%s/destination.vdpa", d->dir);
    demo_step(
        "a guest with a network card on a (simulated) vDPA device: its memory is mapped while "
        "it still runs at the source, which waits for that");
    if (write_vm(d, 256, 1000) != 0 || write_device(d, "source.vdpa", "") != 0 ||
        write_device(d, "destination.vdpa", "page-cost 40us\ncall-cost 1ms") != 0 ||
        migrate(d, src_more, dst_more, d->src_json, d->dst_json) != 0)
        return -1;
    return show_maps(d);
}

/* All but the reports. */
static void tidy(const struct demo *d) {
    static const char *const files[] = {"vm.json",  "keys.psk",    "disk.lock",
                                        "run.lock", "source.log",  "destination.log",
                                        "socket",   "source.vdpa", "destination.vdpa"};
    char path[96];
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        (void)unlink(name(d, path, files[i]));
}

int demo_native(const char *build) {
    struct demo d;
    if (open_demo(&d, build) != 0)
        return -1;
    int rc = precopy(&d) == 0 ? postcopy(&d) : -1;
    if (rc == 0)
        rc = vdpa(&d);
    tidy(&d);
    return rc;
}
