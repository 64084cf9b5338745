/* SPDX-License-Identifier: MIT */
#include "conformance/bench/rig.h"

#include "conformance/bench/native_bench.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
    MBIT = 10000,
};

int rig_fail(struct rig *r, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(r->error, sizeof r->error, fmt, args);
    va_end(args);
    return -1;
}

/* ---- files ---- */

static int write_text(struct rig *r, const char *name, const char *text) {
    char path[128];
    (void)snprintf(path, sizeof path, "%s/%s", r->dir, name);
    FILE *f = fopen(path, "we");
    bool ok = f && fputs(text, f) >= 0;
    return f && fclose(f) == 0 && ok ? 0 : rig_fail(r, "%s: %s", path, strerror(errno));
}

int rig_open(struct rig *r, const char *build) {
    *r = (struct rig){.build = build, .net = {.own = -1}};
    (void)snprintf(r->dir, sizeof r->dir, "/dev/shm/vms-bench-XXXXXX");
    if (!mkdtemp(r->dir))
        return rig_fail(r, "%s: %s", r->dir, strerror(errno));
    return write_text(r, "keys.psk",
                      "qemu:4a7d1ed414474e4033ac29ccb8653d9b4a7d1ed414474e4033ac29ccb8653d9b\n");
}

void rig_close(struct rig *r) {
    static const char *const names[] = {"keys.psk", "vm.json", "src.json", "dst.json",
                                        "src.log",  "dst.log", "guest.img"};
    char path[128];
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        (void)snprintf(path, sizeof path, "%s/%s", r->dir, names[i]);
        (void)unlink(path);
    }
    for (unsigned i = 1; i <= r->turn; i++) { /* sockets of those that were killed */
        (void)snprintf(path, sizeof path, "%s/s%u", r->dir, i);
        (void)unlink(path);
    }
    if (r->has_net)
        vms_net_close(&r->net);
    rig_memory_close(r);
    (void)rmdir(r->dir);
}

/* ---- places ---- */

const char *place_name(enum place p) {
    static const char *const names[PLACE_COUNT] = {"unix", "tcp", "10 Gbit/s"};
    return names[p];
}

int rig_have(struct rig *r, enum place p) {
    if (p != PLACE_LINK || r->has_net)
        return 0;
    char why[200];
    if (vms_net_open(&r->net, MBIT, why, sizeof why) != 0)
        return rig_fail(r, "%s", why);
    r->has_net = true;
    return 0;
}

int rig_enter(struct rig *r, enum place p, enum vms_net_side side) {
    if (p != PLACE_LINK || vms_net_enter(&r->net, side) == 0)
        return 0;
    return rig_fail(r, "cannot enter a network namespace");
}

void rig_leave(struct rig *r, enum place p) {
    if (p == PLACE_LINK)
        (void)vms_net_leave(&r->net);
}

void rig_uri(struct rig *r, enum place p, bool connect, char *out, size_t size) {
    if (!connect)
        r->turn++;
    if (p == PLACE_UNIX)
        (void)snprintf(out, size, "unix:%s/s%u", r->dir, r->turn);
    else
        (void)snprintf(out, size, "tcp:%s:%u", p == PLACE_LINK ? VMS_NET_ADDRESS_B : "127.0.0.1",
                       20000 + ((unsigned)getpid() * 7 + r->turn) % 12000);
}

/* ---- the floor ---- */

int run_floor(struct rig *r, enum place p, struct measured *out) {
    static const struct way bare = {.name = "bare copy", .bare = true};
    int fd = open(r->image, O_RDONLY | O_CLOEXEC);
    uint8_t *map = fd < 0 ? MAP_FAILED : mmap(NULL, r->bytes, PROT_READ, MAP_SHARED, fd, 0);
    if (fd >= 0)
        (void)close(fd);
    if (map == MAP_FAILED)
        return rig_fail(r, "%s: %s", r->image, strerror(errno));
    bench_in_pool = r->pool;
    rig_rest();
    struct transfer t = bench_transfer(&bare, p == PLACE_TCP, map, r->bytes, false);
    (void)munmap(map, r->bytes);
    *out = NOT_MEASURED;
    out->value[METRIC_SECONDS] = t.end - t.start;
    out->value[METRIC_WIRE] = (double)t.wire;
    out->value[METRIC_CPU_SRC] = t.cpu[0];
    out->value[METRIC_CPU_DST] = t.cpu[1];
    return 0;
}

double process_cpu(pid_t pid) {
    char path[64], line[1024] = "";
    unsigned long user = 0, kernel = 0;
    (void)snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    FILE *f = fopen(path, "re");
    const char *after = f && fgets(line, sizeof line, f) ? strrchr(line, ')') : NULL;
    if (after)
        (void)sscanf(after, ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user,
                     &kernel);
    if (f)
        (void)fclose(f);
    return (double)(user + kernel) / (double)sysconf(_SC_CLK_TCK);
}
