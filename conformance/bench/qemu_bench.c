/* SPDX-License-Identifier: MIT */
/*
 * How fast stock QEMU migrates to itself, with the image of native-bench: machine "none", so that
 * nothing else is in the stream. Guest memory comes out of a file on /dev/shm that the source maps
 * privately. Seconds are query-migrate's total-time. Rounds take turns.
 *
 *     qemu-bench [ROUNDS]           environment: BENCH_MIB, megabytes of guest memory (2048);
 *     BENCH_SECONDS, after which no further round begins
 */
#include "conformance/adapters/qemu.h"
#include "conformance/bench/native_bench.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
    ROUNDS_MAX = 99,
    SLOW_ROUNDS = 3, /* of what takes seconds */
    CHANNELS = 4,
    TIMEOUT_MS = 180000,
    CASES_MAX = 32,
    TRIES = 5000, /* milliseconds */
};

struct qemu_way {
    const char *name;
    bool multifd;
    const char *compression; /* NULL: none */
    int level;
    bool tls;
};

static const struct qemu_way WAYS[] = {
    {"precopy", false, NULL, 0, false},          {"multifd", true, NULL, 0, false},
    {"multifd, zstd 1", true, "zstd", 1, false}, {"multifd, zstd 3", true, "zstd", 3, false},
    {"multifd, TLS", true, NULL, 0, true},       {"precopy, TLS", false, NULL, 0, true},
};
enum {
    WAY_COUNT = sizeof WAYS / sizeof *WAYS
};
static const char *const VERSIONS[] = {"7.2", "11.1"};

struct figures {
    double seconds[ROUNDS_MAX], cpu[2][ROUNDS_MAX];
    int count;
    double wire; /* bytes */
};

struct bench {
    uint64_t bytes;
    char dir[64], image[128], error[VMS_QEMU_ERROR_SIZE];
};

/* ---- set-up ---- */

static bool write_text(const char *path, const char *text) {
    FILE *f = fopen(path, "we");
    bool ok = f && fputs(text, f) >= 0;
    return f && fclose(f) == 0 && ok;
}

static bool prepare(struct bench *b) {
    char path[192];
    (void)snprintf(b->dir, sizeof b->dir, "/dev/shm/vms-bench-XXXXXX");
    if (!mkdtemp(b->dir))
        return false;
    (void)snprintf(path, sizeof path, "%s/keys.psk", b->dir);
    (void)snprintf(b->image, sizeof b->image, "%s/ram", b->dir);
    if (!write_text(path,
                    "qemu:4a7d1ed414474e4033ac29ccb8653d9b4a7d1ed414474e4033ac29ccb8653d9b\n"))
        return false;
    int fd = open(b->image, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || ftruncate(fd, (off_t)b->bytes) != 0)
        return false;
    uint8_t *map = mmap(NULL, b->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    (void)close(fd);
    if (map == MAP_FAILED)
        return false;
    image_fill(map, b->bytes);
    return munmap(map, b->bytes) == 0;
}

static void clean(const struct bench *b) {
    char path[192];
    (void)unlink(b->image);
    (void)snprintf(path, sizeof path, "%s/keys.psk", b->dir);
    (void)unlink(path);
    (void)rmdir(b->dir);
}

/* ---- one migration ---- */

static struct vms_qemu *start(struct bench *b, const char *version, bool source) {
    char memory[32], backend[320], tls[320];
    const char *args[] = {"-object", backend, "-object", tls, NULL};
    struct vms_qemu_options options = {.version = version,
                                       .machine = "none,memory-backend=ram",
                                       .memory = memory,
                                       .args = args,
                                       .name = source ? "source" : "destination",
                                       .incoming = !source,
                                       .timeout_ms = TIMEOUT_MS};
    (void)snprintf(memory, sizeof memory, "%lluM", (unsigned long long)(b->bytes >> 20));
    if (source)
        (void)snprintf(backend, sizeof backend,
                       "memory-backend-file,id=ram,mem-path=%s,size=%s,share=off", b->image,
                       memory);
    else
        (void)snprintf(backend, sizeof backend, "memory-backend-ram,id=ram,size=%s", memory);
    (void)snprintf(tls, sizeof tls, "tls-creds-psk,id=tls,dir=%s,endpoint=%s%s", b->dir,
                   source ? "client" : "server", source ? ",username=qemu" : "");
    struct vms_qemu *q = vms_qemu_start(&options, b->error, sizeof b->error);
    return q;
}

static int set_up(struct vms_qemu *q, const struct qemu_way *way) {
    static const char *const multifd[] = {"multifd", NULL};
    json_t *p =
        json_pack("{s:I, s:i}", "max-bandwidth", (json_int_t)1 << 40, "downtime-limit", 300);
    if (way->multifd && vms_qemu_set_capabilities(q, multifd) != 0)
        return -1;
    if (way->multifd)
        json_object_set_new(p, "multifd-channels", json_integer(CHANNELS));
    if (way->compression) {
        json_object_set_new(p, "multifd-compression", json_string(way->compression));
        json_object_set_new(p, "multifd-zstd-level", json_integer(way->level));
    }
    if (way->tls)
        json_object_set_new(p, "tls-creds", json_string("tls"));
    return vms_qemu_set_parameters(q, p);
}

/* Seconds of CPU of a process so far; of all its threads, ended ones too. */
static double cpu_of(struct vms_qemu *q) {
    char path[64], line[1024] = "";
    unsigned long user = 0, kernel = 0;
    (void)snprintf(path, sizeof path, "/proc/%d/stat", (int)vms_qemu_pid(q));
    FILE *f = fopen(path, "re");
    const char *after = f && fgets(line, sizeof line, f) ? strrchr(line, ')') : NULL;
    if (after)
        (void)sscanf(after, ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user,
                     &kernel);
    if (f)
        (void)fclose(f);
    return (double)(user + kernel) / (double)sysconf(_SC_CLK_TCK);
}

/* "completed" is there before the times are: a total of 0 says that they are not yet. */
static int query(struct vms_qemu *source, json_int_t *total, double *wire) {
    json_t *info = NULL;
    *total = 0;
    for (int tries = 0; *total == 0 && tries < TRIES; tries++) {
        if (tries > 0)
            (void)usleep(1000);
        if (vms_qemu_query_migrate(source, &info) != 0)
            return -1;
        int bad =
            json_unpack(info, "{s:I, s:{s:F}}", "total-time", total, "ram", "transferred", wire);
        json_decref(info);
        if (bad)
            return -1;
    }
    return *total > 0 ? 0 : -1;
}

static int take_figures(struct figures *f, struct vms_qemu *source) {
    json_int_t total;
    if (query(source, &total, &f->wire) != 0)
        return -1;
    f->seconds[f->count] = (double)total / 1e3;
    return 0;
}

static int migrate(struct figures *f, const struct qemu_way *way, struct vms_qemu *const q[2],
                   const char *uri) {
    static const char *const done[] = {"completed", NULL};
    double cpu[2];
    if (set_up(q[0], way) != 0 || set_up(q[1], way) != 0 ||
        vms_qemu_migrate_incoming(q[1], uri) != 0)
        return -1;
    for (int i = 0; i < 2; i++)
        cpu[i] = cpu_of(q[i]);
    if (vms_qemu_migrate(q[0], uri) != 0)
        return -1;
    for (int i = 0; i < 2; i++)
        if (vms_qemu_wait_migration(q[i], done, TIMEOUT_MS, NULL) != 0)
            return -1;
    if (take_figures(f, q[0]) != 0)
        return -1;
    for (int i = 0; i < 2; i++)
        f->cpu[i][f->count] = cpu_of(q[i]) - cpu[i];
    f->count++;
    return 0;
}

static bool measure(struct bench *b, struct figures *f, const char *version,
                    const struct qemu_way *way, bool tcp, int number) {
    char uri[192];
    struct vms_qemu *q[2] = {start(b, version, true), start(b, version, false)};
    if (tcp)
        (void)snprintf(uri, sizeof uri, "tcp:127.0.0.1:%d", 20000 + (int)getpid() % 20000 + number);
    else
        (void)snprintf(uri, sizeof uri, "unix:%s/s%d", b->dir, number);
    bool ok = q[0] && q[1] && migrate(f, way, q, uri) == 0;
    if (!ok)
        fprintf(stderr, "qemu-bench: QEMU %s, %s: %s\n%s\n%s\n", version, way->name, b->error,
                q[0] ? vms_qemu_error(q[0]) : "", q[1] ? vms_qemu_error(q[1]) : "");
    vms_qemu_free(q[0]);
    vms_qemu_free(q[1]);
    if (!tcp)
        (void)unlink(uri + strlen("unix:"));
    return ok;
}

/* ---- figures ---- */

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *values, int count) {
    qsort(values, (size_t)count, sizeof *values, by_value);
    return values[count / 2];
}

static void print(struct figures *f, const struct bench *b, const char *version,
                  const struct qemu_way *way, const char *socket) {
    double gib = (double)b->bytes / (1 << 30);
    char name[64];
    (void)snprintf(name, sizeof name, "%s %s", version, way->name);
    if (f->count == 0) {
        printf("%-27s %-4s failed\n", name, socket);
        return;
    }
    double mid = median(f->seconds, f->count);
    printf("%-27s %-4s %6.2f  (%5.2f to %5.2f) %8.1f %8.2f %8.2f %6d  %.2f s\n", name, socket,
           gib / mid, gib / f->seconds[f->count - 1], gib / f->seconds[0], f->wire / (1 << 20),
           median(f->cpu[0], f->count) / gib, median(f->cpu[1], f->count) / gib, f->count, mid);
}

struct row {
    const char *version;
    const struct qemu_way *way;
    bool tcp;
    struct figures figures;
};

/* Each way over TCP, as it is used; those without seal over a unix socket too. */
static int make_rows(struct row rows[CASES_MAX]) {
    struct vms_peer peer;
    int count = 0;
    for (size_t v = 0; v < sizeof VERSIONS / sizeof *VERSIONS; v++) {
        if (!vms_peer_find(VERSIONS[v], &peer)) {
            printf("QEMU %s: absent, skipped\n", VERSIONS[v]);
            continue;
        }
        printf("QEMU %s: %s\n", VERSIONS[v], peer.package);
        for (int w = 0; w < WAY_COUNT; w++)
            for (int tcp = WAYS[w].tls || WAYS[w].compression ? 1 : 0; tcp < 2; tcp++)
                rows[count++] =
                    (struct row){.version = VERSIONS[v], .way = &WAYS[w], .tcp = tcp == 1};
    }
    return count;
}

int main(int argc, char **argv) {
#ifdef BENCH_SANITIZED
    fprintf(stderr, "qemu-bench: not with a sanitizer\n");
    return 2;
#endif
    static struct row rows[CASES_MAX];
    struct bench b = {.bytes = image_bytes()};
    int rounds = argc > 1 ? atoi(argv[1]) : 9, number = 0;
    bool ok = true;
    if (rounds < 1 || rounds > ROUNDS_MAX)
        return 2;
    int count = make_rows(rows);
    if (!prepare(&b)) {
        clean(&b);
        return 3;
    }
    (void)bench_time_is_up();
    for (int round = 0; round < rounds && !(round > 0 && bench_time_is_up()); round++)
        for (int i = 0; i < count; i++)
            ok &=
                measure(&b, &rows[i].figures, rows[i].version, rows[i].way, rows[i].tcp, number++);
    printf("%-27s %-4s %6s  %16s %8s %8s %8s %6s\n", "QEMU, multifd: 4 channels", "", "GiB/s",
           "(interval)", "MiB wire", "cpu src", "cpu dst", "rounds");
    for (int i = 0; i < count; i++)
        print(&rows[i].figures, &b, rows[i].version, rows[i].way, rows[i].tcp ? "tcp" : "unix");
    clean(&b);
    return ok ? 0 : 1;
}
