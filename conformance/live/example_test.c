/* SPDX-License-Identifier: MIT */
#include "conformance/live/live.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <vmstream/pack.h>

/*
 * A VMM with its own memory and its own dirty bitmap migrates with the source's engine: the example
 * runs against reference-dst. [SRC-4] [HOST-13] [HOST-14]
 */

enum {
    MS = 60000,
    PATH = 600,
    MIB = 96
};

static char dir[] = "/tmp/vms-example-XXXXXX";

static void make_dir(void) {
    cr_assert_not_null(mkdtemp(dir));
}

static void remove_dir(void) {
    const char *const rm[] = {"/bin/rm", "-rf", dir, NULL};
    (void)live_wait(live_spawn(rm, NULL, NULL), MS);
}

TestSuite(example, .init = make_dir, .fini = remove_dir, .timeout = 300);

struct paths {
    char example[PATH], dst[PATH], socket[PATH], uri[PATH], out[PATH], bank[PATH];
};

static struct paths paths(void) {
    struct paths p;
    const char *build = getenv("VMSTREAM_BUILD") ? getenv("VMSTREAM_BUILD") : "build";
    (void)snprintf(p.example, PATH, "%s/example-vmm", build);
    (void)snprintf(p.dst, PATH, "%s/reference-dst", build);
    (void)snprintf(p.socket, PATH, "%s/s", dir);
    (void)snprintf(p.uri, PATH, "unix:%s/s", dir);
    (void)snprintf(p.out, PATH, "%s/out", dir);
    (void)snprintf(p.bank, PATH, "%s/bank", dir);
    return p;
}

/* What the example says of its guest when it has stopped. */
struct said {
    unsigned long long steps, sum, want, memory;
};

static struct said read_said(const char *path) {
    struct said s = {0};
    FILE *in = fopen(path, "re");
    char line[256];
    int fields = 0;
    cr_assert_not_null(in);
    while (fields < 4 && fgets(line, sizeof line, in))
        fields = sscanf(line, "steps %llu sum %llu of %llu memory %llx", &s.steps, &s.sum, &s.want,
                        &s.memory);
    (void)fclose(in);
    cr_assert_eq(fields, 4);
    return s;
}

/* The memory at the destination is the source's when it had stopped, octet for octet. */
static void compare(const struct paths *p, const struct said *said) {
    int fd = open(p->bank, O_RDONLY | O_CLOEXEC);
    size_t len = (size_t)MIB << 20;
    struct stat info;
    cr_assert(fd >= 0 && fstat(fd, &info) == 0 && (size_t)info.st_size == len);
    const uint8_t *memory = mmap(NULL, len, PROT_READ, MAP_PRIVATE, fd, 0);
    cr_assert_neq(memory, MAP_FAILED);
    cr_assert_eq(vms_xxh64(vms_slice(memory, len), 0), said->memory);
    munmap((void *)memory, len);
    (void)close(fd);
}

static void migrate(const char *wire) {
    struct paths p = paths();
    const char *const dst[] = {p.dst, "--listen", p.uri, "--ram-dir", dir, "--quiet", NULL};
    const char *const src[] = {p.example, p.uri, "96", wire, NULL};
    pid_t pid = live_spawn(dst, NULL, NULL);
    for (int i = 0; i < MS && access(p.socket, F_OK) != 0; i++)
        (void)usleep(1000);
    cr_assert_eq(live_wait(live_spawn(src, p.out, NULL), MS), 0);
    cr_assert_eq(live_wait(pid, MS), 0);
    struct said said = read_said(p.out);
    cr_assert(said.steps > 0 && said.sum == said.want);
    compare(&p, &said);
}

Test(example, native) {
    migrate(NULL);
}

Test(example, qevm) {
    migrate("qevm");
}

/* [SRC-2] nobody listens: the guest has run on, and is whole. */
Test(example, nobody) {
    struct paths p = paths();
    const char *const src[] = {p.example, p.uri, "96", NULL};
    cr_assert_eq(live_wait(live_spawn(src, p.out, NULL), MS), 1);
    struct said said = read_said(p.out);
    cr_assert(said.sum == said.want);
}

Test(example, usage) {
    struct paths p = paths();
    const char *const none[] = {p.example, NULL}, *const zero[] = {p.example, p.uri, "0", NULL};
    cr_assert_eq(live_wait(live_spawn(none, p.out, NULL), MS), 2);
    cr_assert_eq(live_wait(live_spawn(zero, p.out, NULL), MS), 2);
}
