// SPDX-License-Identifier: MIT
// The adapter against each QEMU that this machine has.
#include "qemu.h"

#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../guest/check_guest.h"
#include "../guest/guest_image.h"

static const char versions[][8] = {"7.2", "10.0", "11.1"};

#define EACH_VERSION(name)                                                                         \
    ParameterizedTestParameters(qemu, name) {                                                      \
        return cr_make_param_array(char[8], (void *)(uintptr_t)versions,                           \
                                   sizeof versions / sizeof *versions);                            \
    }                                                                                              \
    ParameterizedTest(char(*version)[8], qemu, name, .timeout = 120)

static void require_peer(const char *version) {
    struct vms_peer peer;

    if (!vms_peer_find(version, &peer)) {
        cr_skip_test("peer absent: QEMU %s", version);
    }
}

static struct vms_qemu *start(const char *version, const char *machine, const char *const *args) {
    char error[VMS_QEMU_ERROR_SIZE];
    struct vms_qemu_options options = {.version = version, .machine = machine, .args = args};
    struct vms_qemu *qemu;

    require_peer(version);
    qemu = vms_qemu_start(&options, error, sizeof error);
    cr_assert_not_null(qemu, "%s", error);
    return qemu;
}

static struct vms_qemu *start_guest(const char *version, const char *machine, char image[64]) {
    char drive[128];
    const char *const args[] = {"-drive", drive, NULL};
    struct vms_guest_params params;
    int fd;

    require_peer(version);
    strcpy(image, "/tmp/vms-guest-XXXXXX");
    fd = mkstemp(image);
    cr_assert_geq(fd, 0);
    close(fd);
    vms_guest_defaults(&params);
    cr_assert_null(vms_guest_write_image(image, &params, VMS_GUEST_DISK_SIZE));
    snprintf(drive, sizeof drive, "file=%s,format=raw,if=ide,snapshot=on", image);
    return start(version, machine, args);
}

static uint8_t *load(const char *dir, const char *name, size_t size) {
    uint8_t *bytes = malloc(size);
    char path[1200];
    FILE *file;

    snprintf(path, sizeof path, "%s/%s", dir, name);
    file = fopen(path, "r");
    cr_assert_not_null(file, "%s", path);
    cr_assert_eq(fread(bytes, 1, size, file), size);
    fclose(file);
    return bytes;
}

// The dump of a block equals what QEMU itself saves from where the block is mapped.
static void expect_mapped_at(struct vms_qemu *qemu, const char *dir, const char *block,
                             uint64_t address, size_t size) {
    char path[600];
    uint8_t *dumped = load(dir, block, size);
    uint8_t *saved;

    snprintf(path, sizeof path, "%s/saved", dir);
    cr_assert_eq(vms_qemu_pmemsave(qemu, address, size, path), 0, "%s", vms_qemu_error(qemu));
    saved = load(dir, "saved", size);
    cr_assert_eq(memcmp(dumped, saved, size), 0, "%s", block);
    free(dumped);
    free(saved);
}

static void check_guest(const char *dir) {
    struct vms_guest_report report;
    uint8_t *ram = load(dir, "pc.ram", 32 << 20);

    cr_assert_eq(vms_check_guest(ram, 32 << 20, &report), 0, "%s", report.text);
    free(ram);
}

static void check_every_block(const char *version, const char *machine) {
    char image[64];
    char dir[600];
    struct vms_ram_dump dump;
    struct vms_qemu *qemu = start_guest(version, machine, image);

    cr_assert_geq(vms_qemu_wait_serial(qemu, "hb 00000002", 0, 0), 0, "%s", vms_qemu_error(qemu));
    cr_assert_eq(vms_qemu_dump_ram(qemu, "/nonexistent", &dump), -1); // it runs
    cr_assert_eq(vms_qemu_stop(qemu), 0);
    snprintf(dir, sizeof dir, "%s/ram", vms_qemu_dir(qemu));
    cr_assert_eq(vms_qemu_dump_ram(qemu, dir, &dump), 0, "%s", vms_qemu_error(qemu));
    cr_assert_eq(dump.missing, 0);
    cr_assert_geq(dump.count, 6);
    expect_mapped_at(qemu, dir, "pc.ram", 0, 32 << 20);
    expect_mapped_at(qemu, dir, "pc.bios", 0xfffc0000, 256 << 10);
    check_guest(dir);
    vms_ram_dump_free(&dump);
    cr_assert_eq(vms_qemu_quit(qemu), 0, "%s", vms_qemu_error(qemu));
    vms_qemu_free(qemu);
    unlink(image);
}

EACH_VERSION(every_ram_block_of_pc_is_dumped) {
    check_every_block(*version, "pc");
}

EACH_VERSION(every_ram_block_of_q35_is_dumped) {
    check_every_block(*version, "q35");
}

EACH_VERSION(a_machine_without_processor) {
    struct vms_qemu *qemu = start(*version, "none", NULL);
    struct vms_ram_dump dump;
    char status[32];

    cr_assert_eq(vms_qemu_status(qemu, status, sizeof status), 0);
    cr_assert_str_eq(status, "running");
    cr_assert_eq(vms_qemu_find_ram(qemu, &dump), 0, "%s", vms_qemu_error(qemu));
    cr_assert_eq(dump.count, 1);
    cr_assert_eq(dump.missing, 0);
    cr_assert_str_eq(dump.blocks[0].name, "ram");
    vms_ram_dump_free(&dump);
    vms_qemu_free(qemu);
}

EACH_VERSION(errors_say_what_was_awaited) {
    static const char *const done[] = {"completed", NULL};
    struct vms_qemu *qemu = start(*version, "none", NULL);

    cr_assert_eq(vms_qemu_execute(qemu, "no-such-command", NULL, NULL), -1);
    cr_assert_not_null(strstr(vms_qemu_error(qemu), "no-such-command"));
    cr_assert_eq(vms_qemu_wait_event(qemu, "SHUTDOWN", 100, NULL), -1);
    cr_assert_not_null(strstr(vms_qemu_error(qemu), "SHUTDOWN"));
    cr_assert_eq(vms_qemu_wait_serial(qemu, "hello", 0, 100), -1);
    cr_assert_not_null(strstr(vms_qemu_error(qemu), "hello"));
    cr_assert_eq(vms_qemu_wait_migration(qemu, done, 100, NULL), -1);
    cr_assert_not_null(strstr(vms_qemu_error(qemu), "completed"));
    cr_assert_eq(vms_qemu_kill(qemu), 0);
    cr_assert_eq(vms_qemu_stop(qemu), -1);
    cr_assert_not_null(strstr(vms_qemu_error(qemu), "signal 9"), "%s", vms_qemu_error(qemu));
    vms_qemu_free(qemu);
}

EACH_VERSION(a_failing_migration_is_told) {
    static const char *const done[] = {"completed", NULL};
    struct vms_migration_end end;
    struct vms_qemu *qemu = start(*version, "none", NULL);

    if (vms_qemu_migrate(qemu, "exec:exit 1") == 0) {
        cr_assert_eq(vms_qemu_wait_migration(qemu, done, 0, &end), -1);
        cr_assert_str_eq(end.status, "failed");
    }
    vms_qemu_free(qemu);
}

EACH_VERSION(qemu_that_does_not_start_is_told) {
    static const char *const args[] = {"-device", "no-such-device", NULL};
    char error[VMS_QEMU_ERROR_SIZE];
    struct vms_qemu_options options = {.version = *version, .machine = "pc", .args = args};

    require_peer(*version);
    cr_assert_null(vms_qemu_start(&options, error, sizeof error));
    cr_assert_not_null(strstr(error, "exit status 1"), "%s", error);
    cr_assert_not_null(strstr(error, "no-such-device"), "%s", error);
}

Test(qemu, an_absent_version) {
    char error[VMS_QEMU_ERROR_SIZE];
    struct vms_peer peer;
    struct vms_qemu_options options = {.version = "99.9", .machine = "none"};

    cr_assert_not(vms_peer_find("99.9", &peer));
    cr_assert_not(vms_peer_find("../7.2", &peer));
    cr_assert_null(vms_qemu_start(&options, error, sizeof error));
    cr_assert_not_null(strstr(error, "absent"));
}

// A process that is gone has no descriptor any more, one that ends makes it readable.
static bool ends_soon(pid_t pid) {
    struct pollfd poll_fd = {.fd = (int)syscall(SYS_pidfd_open, pid, 0), .events = POLLIN};
    bool ended = poll_fd.fd < 0 || poll(&poll_fd, 1, 5000) == 1;

    if (poll_fd.fd >= 0) {
        close(poll_fd.fd);
    }
    return ended;
}

// A test that crashes leaves no QEMU behind.
EACH_VERSION(qemu_dies_with_the_test) {
    char dir[] = "/tmp/vms-test-XXXXXX";
    char command[64];
    int pipes[2];
    pid_t child;
    pid_t qemu_pid;

    require_peer(*version);
    cr_assert_not_null(mkdtemp(dir)); // the killed test cannot remove its folder
    setenv("TMPDIR", dir, 1);
    cr_assert_eq(pipe(pipes), 0);
    child = fork();
    if (child == 0) {
        struct vms_qemu *qemu = start(*version, "none", NULL);

        qemu_pid = vms_qemu_pid(qemu);
        if (write(pipes[1], &qemu_pid, sizeof qemu_pid) != sizeof qemu_pid) {
            _exit(1);
        }
        raise(SIGKILL);
    }
    cr_assert_eq(read(pipes[0], &qemu_pid, sizeof qemu_pid), (ssize_t)sizeof qemu_pid);
    cr_assert_eq(waitpid(child, NULL, 0), child);
    cr_assert(ends_soon(qemu_pid));
    snprintf(command, sizeof command, "rm -rf '%s'", dir);
    cr_assert_eq(system(command), 0);
}
