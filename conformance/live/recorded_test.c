/* SPDX-License-Identifier: MIT */
#include "conformance/live/live.h"

#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/*
 * Streams that real QEMUs make in this very run, every scenario that a version knows: each is
 * decoded to its last byte, comes back from convert byte for byte, and gives the guest's memory.
 * [MOD-2] [MOD-5] [RAM-6] [XBZ-2] [RAM-18] [MFD-16] [MAP-5] [PRE-1] [REC-1] [DBM-1] [TAIL-1]
 * [TAIL-4]
 */

enum {
    RECORD_MS = 600000,
    TOOL_MS = 120000,
    ARGS = 40,
    PATH = 512,
};

static const char *tool(const char *name) {
    static char path[2][PATH];
    static int turn;
    const char *build = getenv("VMSTREAM_BUILD");
    turn ^= 1;
    (void)snprintf(path[turn], PATH, "%s/%s", build ? build : "build", name);
    return path[turn];
}

/* ---- one recorded migration ---- */

struct recorded {
    const char *dir; /* with meta.json */
    const char *work;
    json_t *meta;
    const char *files[ARGS]; /* as vmstream wants them, main first */
    size_t count;
};

static const char *text(const json_t *o, const char *key) {
    const char *s = json_string_value(json_object_get(o, key));
    return s ? s : "";
}

static const char *argument(const struct recorded *r, const json_t *file) {
    const char *kind = text(file, "channel");
    bool named = strcmp(kind, "preempt") == 0 || strcmp(kind, "recovery") == 0;
    char *arg = malloc(PATH);
    (void)snprintf(arg, PATH, "%s%s%s/%s", named ? kind : "", named ? ":" : "", r->dir,
                   text(file, "file"));
    return arg;
}

static void list_files(struct recorded *r) {
    size_t i;
    json_t *file;
    json_array_foreach(json_object_get(r->meta, "files"), i,
                       file) if (strcmp(text(file, "direction"), "return") != 0 &&
                                 r->count < ARGS / 2) r->files[r->count++] = argument(r, file);
}

static void run(const struct recorded *r, const char *const *head, bool with_files,
                const char *what) {
    char log[PATH], line[1024] = "";
    const char *argv[ARGS];
    size_t n = 0;
    (void)snprintf(log, sizeof log, "%s/tool.log", r->work);
    for (; head[n]; n++)
        argv[n] = head[n];
    for (size_t i = 0; with_files && i < r->count; i++)
        argv[n++] = r->files[i];
    argv[n] = NULL;
    int status = live_wait(live_spawn(argv, log, NULL), TOOL_MS);
    FILE *file = fopen(log, "re");
    size_t got = file ? fread(line, 1, sizeof line - 1, file) : 0;
    line[got] = 0;
    if (file)
        (void)fclose(file);
    cr_expect_eq(status, 0, "%s: %s ended with %d: %s", r->dir, what, status, line);
}

static bool same(const char *a, const char *b) {
    struct stat sa, sb;
    if (stat(a, &sa) != 0 || stat(b, &sb) != 0 || sa.st_size != sb.st_size)
        return false;
    const char *const argv[] = {"/usr/bin/cmp", "-s", a, b, NULL};
    return live_wait(live_spawn(argv, NULL, NULL), TOOL_MS) == 0;
}

static void check_verify(const struct recorded *r) {
    const char *const argv[] = {tool("vmstream"), "verify", NULL};
    run(r, argv, true, "verify");
}

/* Each channel is in OUT, OUT.1, … again. */
static void compare_channels(const struct recorded *r, const char *out) {
    char name[PATH];
    for (size_t i = 0; i < r->count; i++) {
        const char *path = strchr(r->files[i], ':') ? strchr(r->files[i], ':') + 1 : r->files[i];
        (void)snprintf(name, sizeof name, i ? "%s.%zu" : "%s", out, i);
        cr_expect(same(path, name), "%s comes back changed", path);
        (void)unlink(name);
    }
}

static void check_convert(const struct recorded *r) {
    char out[PATH];
    (void)snprintf(out, sizeof out, "%s/converted", r->work);
    const char *const argv[] = {tool("vmstream"), "convert", "--to", "qevm", "--output", out, NULL};
    run(r, argv, true, "convert");
    compare_channels(r, out);
}

/* [TRC-1] All channels in one native file, sealed and packed, and back. */
static void check_native(const struct recorded *r) {
    char psk[PATH], native[PATH], out[PATH];
    (void)snprintf(psk, sizeof psk, "%s/keys.psk", r->work);
    (void)snprintf(native, sizeof native, "%s/native", r->work);
    (void)snprintf(out, sizeof out, "%s/converted", r->work);
    FILE *file = fopen(psk, "we");
    cr_assert_not_null(file);
    fputs("me:4a7d1ed414474e4033ac29ccb8653d9b4a7d1ed414474e4033ac29ccb8653d9b\n", file);
    (void)fclose(file);
    const char *const to[] = {
        tool("vmstream"), "convert", "--to", "native",   "--seal", "gcm", "--pack",
        "zstd:1",         "--psk",   psk,    "--output", native,   NULL};
    run(r, to, true, "convert --to native");
    const char *const back[] = {tool("vmstream"), "convert", "--to", "qevm", "--psk", psk,
                                "--output",       out,       native, NULL};
    run(r, back, false, "convert --to qevm");
    compare_channels(r, out);
    (void)unlink(native);
}

static void check_return_path(const struct recorded *r) {
    size_t i;
    json_t *file;
    json_array_foreach(json_object_get(r->meta, "files"), i, file) {
        char path[PATH];
        if (strcmp(text(file, "direction"), "return") != 0)
            continue;
        (void)snprintf(path, sizeof path, "%s/%s", r->dir, text(file, "file"));
        const char *const argv[] = {tool("vmstream"), "inspect", "--json",
                                    "--return-path",  path,      NULL};
        run(r, argv, false, "inspect --return-path");
    }
}

/* A block that both QEMUs share is not in the stream. */
static bool is_shared(const struct recorded *r, const char *block) {
    bool shared = strcmp(text(r->meta, "scenario"), "ignore-shared") == 0;
    return shared && (strcmp(block, "pc.ram") == 0 || strcmp(block, "ram") == 0 ||
                      strcmp(block, "mem") == 0 || strcmp(block, "shared") == 0);
}

static void check_memory(const struct recorded *r) {
    size_t i;
    json_t *block;
    json_array_foreach(json_object_get(r->meta, "ram"), i, block) {
        char image[PATH], dump[PATH];
        const char *name = text(block, "block");
        if (is_shared(r, name))
            continue;
        (void)snprintf(image, sizeof image, "%s/image", r->work);
        (void)snprintf(dump, sizeof dump, "%s/%s", r->dir, text(block, "file"));
        const char *const argv[] = {tool("vmstream"), "ram", "--block", name,
                                    "--output",       image, NULL};
        run(r, argv, true, "ram");
        cr_expect(same(dump, image), "%s: %s is not the guest's memory", r->dir, name);
        (void)unlink(image);
    }
}

static void check(const char *dir, const char *work) {
    char meta[PATH];
    struct recorded r = {.dir = dir, .work = work};
    (void)snprintf(meta, sizeof meta, "%s/meta.json", dir);
    r.meta = json_load_file(meta, 0, NULL);
    cr_assert_not_null(r.meta, "%s", meta);
    list_files(&r);
    cr_expect_gt(r.count, 0u, "%s has no streams", dir);
    check_verify(&r);
    check_convert(&r);
    check_native(&r);
    check_return_path(&r);
    check_memory(&r);
    for (size_t i = 0; i < r.count; i++)
        free((char *)(uintptr_t)r.files[i]);
    json_decref(r.meta);
}

/* ---- all that a version and machine can do ---- */

static int only_folders(const struct dirent *e) {
    return e->d_name[0] != '.';
}

static size_t check_all(const char *out, const char *work) {
    struct dirent **list = NULL;
    int n = scandir(out, &list, only_folders, alphasort);
    for (int i = 0; i < n; i++) {
        char dir[PATH];
        (void)snprintf(dir, sizeof dir, "%s/%s", out, list[i]->d_name);
        check(dir, work);
        free(list[i]);
    }
    free(list);
    return n < 0 ? 0 : (size_t)n;
}

/* What it said last. */
static const char *last_line(const char *log) {
    static char line[512];
    FILE *f = fopen(log, "r");
    line[0] = '\0';
    while (f && fgets(line, sizeof line, f))
        continue;
    if (f)
        fclose(f);
    return line;
}

static void record(const char *version, const char *machine, size_t at_least) {
    struct vms_peer peer;
    char work[] = "/tmp/vms-recorded-XXXXXX", out[64], log[64];
    if (!vms_peer_find(version, &peer))
        cr_skip_test("peer absent: QEMU %s, make peers fetches it", version);
    cr_assert_not_null(mkdtemp(work));
    (void)snprintf(out, sizeof out, "%s/streams", work);
    (void)snprintf(log, sizeof log, "%s/record.log", work);
    const char *const argv[] = {
        tool("record-stream"), "--version", version, "--machine", machine, "--out", out, NULL};
    int status = live_wait(live_spawn(argv, log, NULL), RECORD_MS);
    cr_expect_eq(status, 0, "record-stream ended with %d: %s", status, last_line(log));
    size_t n = check_all(out, work);
    cr_expect_geq(n, at_least, "only %zu scenarios", n);
    const char *const rm[] = {"/bin/rm", "-rf", work, NULL};
    (void)live_wait(live_spawn(rm, NULL, NULL), TOOL_MS);
}

#define RECORDED(name, version, machine, at_least)                                                 \
    Test(recorded, name, .timeout = 900) {                                                         \
        record(version, machine, at_least);                                                        \
    }

RECORDED(qemu72_none, "7.2", "none", 14)
RECORDED(qemu72_pc, "7.2", "pc", 14)
RECORDED(qemu72_q35, "7.2", "q35", 14)
RECORDED(qemu111_none, "11.1", "none", 18)
RECORDED(qemu111_pc, "11.1", "pc", 18)
RECORDED(qemu111_q35, "11.1", "q35", 18)
