/* SPDX-License-Identifier: MIT */
#include "conformance/live/live.h"
#include "core/writer.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <vmstream/record.h>

/* The commands' contracts: exit status, the shape of JSON, memory, the given captures. [ERR-4] */

enum {
    MS = 120000,
    PATH = 600,
    ARGS = 24,
    MIB = 1 << 20,
};

static const char *program(const char *name) {
    static char path[PATH];
    const char *build = getenv("VMSTREAM_BUILD");
    (void)snprintf(path, sizeof path, "%s/%s", build ? build : "build", name);
    return path;
}

static char dir[] = "/tmp/vms-cli-XXXXXX";

static void make_dir(void) {
    cr_assert_not_null(mkdtemp(dir));
}

static void remove_dir(void) {
    const char *const rm[] = {"/bin/rm", "-rf", dir, NULL};
    (void)live_wait(live_spawn(rm, NULL, NULL), MS);
}

TestSuite(cli, .init = make_dir, .fini = remove_dir, .timeout = 300);

static char *inside(const char *name) {
    static char path[4][PATH];
    static unsigned turn;
    turn = (turn + 1) % 4;
    (void)snprintf(path[turn], PATH, "%s/%s", dir, name);
    return path[turn];
}

/* Runs a program with words separated by blanks; its output goes into DIR/out. */
static int run(const char *name, const char *words) {
    char copy[PATH * 4], *save = NULL;
    const char *argv[ARGS] = {program(name)};
    size_t n = 1;
    (void)snprintf(copy, sizeof copy, "%s", words);
    for (char *w = strtok_r(copy, " ", &save); w && n < ARGS - 1; w = strtok_r(NULL, " ", &save))
        argv[n++] = w;
    return live_wait(live_spawn(argv, inside("out"), NULL), MS);
}

static json_t *last_line(void) {
    char line[65536], last[65536] = "";
    FILE *file = fopen(inside("out"), "re");
    while (file && fgets(line, sizeof line, file))
        (void)strcpy(last, line);
    if (file)
        (void)fclose(file);
    return json_loads(last, 0, NULL);
}

Test(cli, usage) {
    static const struct {
        const char *program, *words;
        int status;
    } cases[] = {
        {"vmstream", "--help", 0},
        {"vmstream", "--version", 0},
        {"vmstream", "help inspect", 0},
        {"vmstream", "", 2},
        {"vmstream", "bogus", 2},
        {"vmstream", "inspect", 2},
        {"vmstream", "verify --bogus x", 2},
        {"vmstream", "convert --to qevm x", 2},
        {"vmstream", "verify /nonexistent", 3},
        {"reference-dst", "--help", 0},
        {"reference-dst", "--version", 0},
        {"reference-dst", "", 2},
        {"reference-dst", "--listen", 2},
        {"reference-dst", "--listen unix:/tmp/x --dialect what", 2},
        {"reference-dst", "--listen unix:/tmp/x extra", 2},
        {"reference-dst", "--listen nonsense:1", 3},
        {"reference-dst", "--listen file:/nonexistent", 3},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        cr_expect_eq(run(cases[i].program, cases[i].words), cases[i].status, "%s %s",
                     cases[i].program, cases[i].words);
}

/* ---- a stream of one's own ---- */

static void write_head(struct vms_writer *w, uint64_t ram) {
    vms_write_u32(w, 0x5145564d);
    vms_write_u32(w, 3);
    vms_write_u8(w, 0x07);
    vms_write_u32(w, 4);
    vms_write_bytes(w, vms_str("none"));
    vms_write_u8(w, 0x01);
    vms_write_u32(w, 1);
    vms_write_str8(w, vms_str("ram"));
    vms_write_u32(w, 0);
    vms_write_u32(w, 4);
    vms_write_u64(w, ram | VMS_RAM_MEM_SIZE);
    vms_write_str8(w, vms_str("ram"));
    vms_write_u64(w, ram);
}

static void write_end(struct vms_writer *w) {
    vms_write_u64(w, VMS_RAM_EOS);
    vms_write_u8(w, 0x7e);
    vms_write_u32(w, 1);
    vms_write_u8(w, 0x00);
    vms_write_u8(w, 0x06);
    vms_write_u32(w, 14);
    vms_write_bytes(w, vms_str("{\"devices\":[]}"));
}

static void put(int fd, struct vms_writer *w) {
    cr_assert_eq(write(fd, w->ptr, w->pos), (ssize_t)w->pos);
    w->pos = 0;
}

/* A stream of `pages` data pages. */
static void write_stream(int fd, uint64_t pages) {
    static uint8_t buffer[MIB + 8192];
    struct vms_writer w = {buffer, sizeof buffer, 0};
    write_head(&w, pages * 4096);
    for (uint64_t i = 0; i < pages; i++) {
        vms_write_u64(&w, i * 4096 | VMS_RAM_PAGE | (i ? VMS_RAM_CONTINUE : 0u));
        if (!i)
            vms_write_str8(&w, vms_str("ram"));
        vms_write_u64(&w, i);
        vms_write_zeros(&w, 4088);
        if (w.pos > MIB)
            put(fd, &w);
    }
    write_end(&w);
    put(fd, &w);
}

static void make_stream(const char *path, uint64_t pages) {
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    cr_assert_geq(fd, 0);
    write_stream(fd, pages);
    close(fd);
}

Test(cli, json_contract) {
    char words[PATH];
    make_stream(inside("s"), 16);
    (void)snprintf(words, sizeof words, "inspect --json %s", inside("s"));
    cr_assert_eq(run("vmstream", words), 0);
    json_t *s = last_line();
    const char *record = NULL, *wire = NULL;
    int complete = 0, size = 0, normal = 0, zero = 0;
    cr_assert_eq(json_unpack(s, "{s:s, s:s, s:b, s:{s:{s:i, s:i, s:i}}, s:o, s:o, s:o}", "record",
                             &record, "wire", &wire, "complete", &complete, "blocks", "ram", "size",
                             &size, "normal", &normal, "zero", &zero, "sections", &(json_t *){NULL},
                             "vfio", &(json_t *){NULL}, "commands", &(json_t *){NULL}),
                 0);
    cr_assert_str_eq(record, "summary");
    cr_assert_str_eq(wire, "qevm");
    cr_assert(complete);
    cr_assert_eq(size, 16 * 4096);
    cr_assert_eq(normal, 16);
    json_decref(s);
}

Test(cli, json_error_contract) {
    char words[PATH];
    make_stream(inside("s"), 16);
    cr_assert_eq(truncate(inside("s"), 5000), 0);
    (void)snprintf(words, sizeof words, "inspect --json %s", inside("s"));
    cr_assert_eq(run("vmstream", words), 1);
    json_t *s = last_line();
    const char *record, *class_, *code, *clause, *message;
    int offset = 0;
    cr_assert_eq(json_unpack(s, "{s:s, s:s, s:s, s:i, s:s, s:s}", "record", &record, "class",
                             &class_, "code", &code, "offset", &offset, "clause", &clause,
                             "message", &message),
                 0);
    cr_assert_str_eq(record, "error");
    cr_assert_str_eq(class_, "peer");
    cr_assert_str_eq(code, "TRUNCATED");
    cr_assert_str_eq(clause, "MOD-3");
    cr_assert_eq(offset, 5000);
    json_decref(s);
}

/* ---- memory: a stream of 1 GiB through a pipe, without being held ---- */

Test(cli, constant_memory) {
    char fifo[PATH];
    struct rusage before, after;
    (void)snprintf(fifo, sizeof fifo, "%s", inside("pipe"));
    cr_assert_eq(mkfifo(fifo, 0600), 0);
    const char *const argv[] = {program("vmstream"), "verify", "-", NULL};
    (void)getrusage(RUSAGE_CHILDREN, &before);
    pid_t pid = live_spawn(argv, inside("out"), fifo);
    int fd = open(fifo, O_WRONLY | O_CLOEXEC);
    write_stream(fd, 1024 * MIB / 4096);
    close(fd);
    cr_assert_eq(live_wait(pid, MS), 0);
    (void)getrusage(RUSAGE_CHILDREN, &after);
    /* the sanitizers keep shadows of their own */
    bool sanitized = strstr(program("vmstream"), "san") != NULL;
    cr_assert_lt(after.ru_maxrss, sanitized ? 400 * 1024 : 64 * 1024, "%ld KiB", after.ru_maxrss);
}

/* ---- the given captures ---- */

static const char CAPTURES[] = "../shared/captures";

static void unpack(const char *from, const char *to) {
    const char *const argv[] = {"/usr/bin/xz", "-dc", from, NULL};
    cr_assert_eq(live_wait(live_spawn(argv, to, NULL), MS), 0, "xz %s", from);
}

static bool same(const char *a, const char *b) {
    const char *const argv[] = {"/usr/bin/cmp", "-s", a, b, NULL};
    return live_wait(live_spawn(argv, NULL, NULL), MS) == 0;
}

/* The channels of one migration: files that end in ".fwd.xz" in the same folder, or with the same
 * name up to the number. Main first. */
static void check_capture(const char *folder, const char *main_file, const char *const *others) {
    char words[PATH * 4], from[PATH], to[PATH];
    const char *name = main_file;
    size_t n = 0, at;
    (void)snprintf(from, sizeof from, "%s/%s%s.xz", CAPTURES, folder, main_file);
    unpack(from, inside("c0"));
    at = (size_t)snprintf(words, sizeof words, "convert --to qevm --output %s %s", inside("r"),
                          inside("c0"));
    for (; others && others[n]; n++) {
        bool preempt = strstr(others[n], "pre72") != NULL;
        (void)snprintf(from, sizeof from, "%s/%s%s.xz", CAPTURES, folder, others[n]);
        (void)snprintf(to, sizeof to, "%s/c%zu", dir, n + 1);
        unpack(from, to);
        at +=
            (size_t)snprintf(words + at, sizeof words - at, " %s%s", preempt ? "preempt:" : "", to);
    }
    cr_expect_eq(run("vmstream", words), 0, "%s%s", folder, name);
    cr_expect(same(inside("c0"), inside("r")), "%s%s comes back changed", folder, name);
    for (size_t i = 1; i <= n; i++) {
        (void)snprintf(from, sizeof from, "%s/c%zu", dir, i);
        (void)snprintf(to, sizeof to, "%s/r.%zu", dir, i);
        cr_expect(same(from, to), "%s%s comes back changed", folder, others[i - 1]);
    }
}

#define LIST(...) ((const char *const[]){__VA_ARGS__, NULL})

Test(cli, captures) {
    if (access(CAPTURES, R_OK) != 0)
        cr_skip_test("peer absent: no captures in %s", CAPTURES);
    check_capture("", "qemu-bg11.bin", NULL);
    check_capture("", "qemu-mappednone11.bin", NULL);
    check_capture("", "qemu-pc72.bin", NULL);
    check_capture("", "qemu-rp11.0.fwd", NULL);
    check_capture("", "qemu-xbz11.0.fwd", NULL);
    check_capture("", "qemu-pc2_11.0.fwd", NULL);
    check_capture("", "qemu-pc2_pre72.0.fwd", LIST("qemu-pc2_pre72.1.fwd"));
    check_capture("", "qemu-mfd11.0.fwd", LIST("qemu-mfd11.1.fwd", "qemu-mfd11.2.fwd"));
    check_capture("vfio-a2_new_ack_v2_quiet/", "conn0.fwd", NULL);
    check_capture("vfio-b2_reinit_after_ack/", "conn0.fwd", NULL);
    check_capture("vfio-c1_legacy_ack/", "conn0.fwd", NULL);
    check_capture("vfio-c5_legacy_two_devices/", "conn0.fwd", NULL);
    check_capture("vfio-f1_multifd/", "conn0.fwd",
                  LIST("conn1.fwd", "conn2.fwd", "conn3.fwd", "conn4.fwd"));
}

Test(cli, captured_return_paths) {
    static const char *const files[] = {
        "qemu-rp11.0.rev",
        "qemu-pc2_11.0.rev",
        "qemu-pc2_pre72.0.rev",
        "vfio-a2_new_ack_v2_quiet/conn0.rev",
        "vfio-b2_reinit_after_ack/conn0.rev",
        "vfio-c1_legacy_ack/conn0.rev",
        "vfio-c5_legacy_two_devices/conn0.rev",
        "vfio-f1_multifd/conn0.rev",
    };
    if (access(CAPTURES, R_OK) != 0)
        cr_skip_test("peer absent: no captures in %s", CAPTURES);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char from[PATH], words[PATH];
        (void)snprintf(from, sizeof from, "%s/%s.xz", CAPTURES, files[i]);
        unpack(from, inside("r"));
        (void)snprintf(words, sizeof words, "inspect --json --return-path %s", inside("r"));
        cr_expect_eq(run("vmstream", words), 0, "%s", files[i]);
        json_t *s = last_line();
        json_t *messages = json_object_get(s, "messages");
        cr_expect_eq(json_integer_value(json_object_get(messages, "SHUT")), 1, "%s", files[i]);
        json_decref(s);
    }
}
