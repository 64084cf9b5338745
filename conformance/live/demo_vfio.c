/* SPDX-License-Identifier: MIT */
#include "conformance/live/demo_vfio.h"

#include "conformance/live/demo_native.h"
#include "conformance/live/live.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/*
 * The devices' data is a pattern, checked where it is loaded. They load slowly, one slower than the
 * other, so that one sees the acknowledgements come.
 */
enum {
    DEVICES = 4,
    WAIT_MS = 120000,
    WORDS = 32,
};

static const char *const source_text[DEVICES] = {
    "initial 8M\nstop 8M\n",
    "initial 24M\nstop 8M\n",
    "initial 8M\nstop 8M\nreinit time 1s 16M\n",
    "initial 8M\nstop 8M\nprecopy off\n",
};

struct demo {
    const char *build;
    char dir[64];
    pid_t pids[2]; /* source, destination */
};

static int fail(const char *what) {
    fprintf(stderr, "demo: %s\n", what);
    return -1;
}

static int write_file(const struct demo *d, const char *name, const char *fmt, const char *more) {
    char path[128];
    (void)snprintf(path, sizeof path, "%s/%s", d->dir, name);
    FILE *file = fopen(path, "we");
    if (!file)
        return fail(path);
    (void)fprintf(file, "%s%s", fmt, more);
    return fclose(file) == 0 ? 0 : fail(path);
}

static int write_devices(const struct demo *d) {
    char name[32], head[200];
    int rc = write_file(d, "vm.json",
                        "{\"blocks\": [{\"name\": \"ram\", \"size\": \"64M\", \"fill\": \"mix\"}],"
                        " \"vcpus\": [{\"rate\": 2000}], \"running_lock\": \"run.lock\"}\n",
                        "");
    for (int i = 0; i < DEVICES && rc == 0; i++) {
        (void)snprintf(name, sizeof name, "src%d.sim", i);
        (void)snprintf(head, sizeof head, "vfio-sim device\nname nic%d\nlog %s/src%d.log\n", i,
                       d->dir, i);
        rc = write_file(d, name, head, source_text[i]);
        (void)snprintf(name, sizeof name, "dst%d.sim", i);
        (void)snprintf(head, sizeof head,
                       "vfio-sim device\nname nic%d\nlog %s/dst%d.log\nload-cost initial 80ms\n", i,
                       d->dir, i);
        rc = rc == 0 ? write_file(d, name, head, i == 3 ? "precopy off\n" : "") : rc;
    }
    return rc;
}

static pid_t spawn(const struct demo *d, const char *side, const char *const *more) {
    char program[300], uri[100], vm[100], report[100], log[100], specs[DEVICES][120];
    const char *argv[WORDS] = {program, more[0], uri, "--vm", vm, "--report", report};
    size_t n = 7;
    (void)snprintf(program, sizeof program, "%s/reference-%s", d->build, side);
    (void)snprintf(uri, sizeof uri, "unix:%s/socket", d->dir);
    (void)snprintf(vm, sizeof vm, "%s/vm.json", d->dir);
    (void)snprintf(report, sizeof report, "%s/%s.html", d->dir, side);
    (void)snprintf(log, sizeof log, "%s/%s.out", d->dir, side);
    for (int i = 0; i < DEVICES; i++) {
        (void)snprintf(specs[i], sizeof specs[i], "sim:%s/%s%d.sim,id=nic%d", d->dir, side, i, i);
        argv[n++] = "--vfio";
        argv[n++] = specs[i];
    }
    for (size_t i = 1; more[i]; i++)
        argv[n++] = more[i];
    return live_spawn(argv, log, NULL);
}

/* ---- live ---- */

static void pause_ms(long ms) {
    struct timespec t = {.tv_nsec = ms * 1000000};
    (void)nanosleep(&t, NULL);
}

/* What the source says of its devices, as it says it. */
static void follow(const struct demo *d) {
    char path[128], line[400];
    (void)snprintf(path, sizeof path, "%s/src.out", d->dir);
    FILE *file = NULL;
    bool more = true;
    while (more) {
        more = live_runs(d->pids[0]);
        file = file ? file : fopen(path, "re");
        while (file && fgets(line, sizeof line, file)) {
            const char *text = strstr(line, ": ");
            if (text && (strstr(line, "nic") || strstr(line, "switching over")))
                printf("    %s", text + 2);
            fflush(stdout);
        }
        if (file)
            clearerr(file);
        pause_ms(20);
    }
    if (file)
        (void)fclose(file);
}

static int listening(const struct demo *d) {
    char path[128];
    (void)snprintf(path, sizeof path, "%s/socket", d->dir);
    for (int i = 0; i < WAIT_MS / 5 && access(path, F_OK) != 0; i++)
        pause_ms(5);
    return access(path, F_OK) == 0 ? 0 : fail("reference-dst does not listen");
}

/* ---- proof ---- */

static int check_devices(const struct demo *d) {
    unsigned good = 0;
    unsigned long long bytes = 0;
    for (int i = 0; i < DEVICES; i++) {
        char path[128], line[400];
        (void)snprintf(path, sizeof path, "%s/dst%d.log", d->dir, i);
        FILE *file = fopen(path, "re");
        while (file && fgets(line, sizeof line, file)) {
            const char *at = strstr(line, "\"bytes\":");
            if (!strstr(line, "\"event\":\"loaded\""))
                continue;
            good += strstr(line, "\"good\":true") != NULL;
            bytes += at ? strtoull(at + 8, NULL, 10) : 0;
        }
        if (file)
            (void)fclose(file);
    }
    printf("    %u of %d devices found every octet of their state right, %.0f MiB in all\n"
           "    reports: %s/src.html, dst.html\n",
           good, DEVICES, (double)bytes / (1 << 20), d->dir);
    return good == DEVICES ? 0 : fail("a device did not get its state");
}

int demo_vfio(const char *build) {
    static const char *const dst_args[] = {"--listen", "--quiet", NULL};
    static const char *const src_args[] = {"--connect",     "--wire", "native", "--switchover-ack",
                                           "--downtime-ms", "2000",   NULL};
    struct demo d = {.build = build, .dir = "/tmp/vmstream-demo-XXXXXX"};
    if (!mkdtemp(d.dir))
        return fail("no folder in /tmp");
    demo_step("four VFIO devices move with their guest, natively; one begins again on the way");
    if (write_devices(&d) != 0)
        return -1;
    d.pids[1] = spawn(&d, "dst", dst_args);
    if (d.pids[1] < 0 || listening(&d) != 0)
        return -1;
    d.pids[0] = spawn(&d, "src", src_args);
    follow(&d);
    int src = live_wait(d.pids[0], WAIT_MS), dst = live_wait(d.pids[1], WAIT_MS);
    if (src != 0 || dst != 0) {
        fprintf(stderr, "demo: reference-src ended with %d, reference-dst with %d\n", src, dst);
        return -1;
    }
    return check_devices(&d);
}
