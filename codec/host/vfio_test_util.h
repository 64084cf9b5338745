/* SPDX-License-Identifier: MIT */
#ifndef VMSTREAM_HOST_VFIO_TEST_UTIL_H
#define VMSTREAM_HOST_VFIO_TEST_UTIL_H

#include "host/vfio.h"

#include <criterion/criterion.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/*
 * Tests over simulated devices: the real ioctls, answered by vfio-sim.so. Each runs its own program
 * again, for this test alone, under LD_PRELOAD.
 */
static inline bool vfio_is_simulated(void) {
    const char *preload = getenv("LD_PRELOAD");
    return preload && strstr(preload, "vfio-sim.so");
}

static inline void vfio_again(const char *filter) {
    struct vms_error err = {.message = ""};
    char option[128], jobs[] = "-j1", quiet[] = "--quiet", name[] = "again";
    int status = -1;
    (void)snprintf(option, sizeof option, "--filter=%s", filter);
    char *argv[] = {name, option, jobs, quiet, NULL};
    (void)fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        (void)unsetenv("BXFI_MAP"); /* it is no worker of the runner that runs this one */
        (void)vms_vfio_simulate(argv, &err);
        (void)fprintf(stderr, "%s\n", err.message);
        _exit(99);
    }
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0, "%s ended with %#x", filter,
              (unsigned)status);
}

#define SIM_TEST(suite, name)                                                                      \
    static void suite##_##name(void);                                                              \
    Test(suite, name, .timeout = 300) {                                                            \
        if (vfio_is_simulated())                                                                   \
            suite##_##name();                                                                      \
        else                                                                                       \
            vfio_again(#suite "/" #name);                                                          \
    }                                                                                              \
    static void suite##_##name(void)

/** A file in a folder of this test's own, removed by vfio_clean(). Static storage for a few. */
static inline const char *vfio_file(const char *name, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
static inline const char *vfio_folder(void) {
    static char folder[64];
    if (!folder[0]) {
        (void)snprintf(folder, sizeof folder, "/tmp/vms-vfio-test-XXXXXX");
        cr_assert_not_null(mkdtemp(folder));
    }
    return folder;
}
static inline const char *vfio_file(const char *name, const char *fmt, ...) {
    static char paths[16][128];
    static unsigned turn;
    char *path = paths[turn++ % 16];
    va_list args;
    (void)snprintf(path, sizeof paths[0], "%s/%s", vfio_folder(), name);
    FILE *file = fopen(path, "we");
    cr_assert_not_null(file);
    va_start(args, fmt);
    (void)vfprintf(file, fmt, args);
    va_end(args);
    (void)fclose(file);
    return path;
}
static inline void vfio_clean(void) {
    char command[128];
    (void)snprintf(command, sizeof command, "rm -rf '%s'", vfio_folder());
    cr_expect_eq(system(command), 0);
}

#define SIM_DEVICE(name, text) vfio_file(name, "vfio-sim device\nname dev\n%s\n", text)

static inline void vfio_good(enum vms_code code, const struct vms_error *err) {
    cr_assert_eq(code, VMS_OK, "%s", err->message);
}

#endif
