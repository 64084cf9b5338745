/* SPDX-License-Identifier: MIT */
#include "host/vfio.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define OBJECT "vfio-sim.so"

/* Beside the program, or above it: tests lie in a folder of their own. */
static bool find_object(char *out, size_t size) {
    static const char *const places[] = {"", "../"};
    char self[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    if (n <= 0)
        return false;
    self[n] = 0;
    strrchr(self, '/')[1] = 0;
    for (size_t i = 0; i < 2; i++)
        if ((size_t)snprintf(out, size, "%s%s" OBJECT, self, places[i]) < size &&
            access(out, R_OK) == 0)
            return true;
    return false;
}

enum vms_code vms_vfio_simulate(char *const *argv, struct vms_error *err) {
    const char *now = getenv("LD_PRELOAD"), *asan = getenv("ASAN_OPTIONS");
    char object[PATH_MAX], preload[2 * PATH_MAX], options[1024];
    if (now && strstr(now, OBJECT))
        return VMS_OK;
    if (!find_object(object, sizeof object))
        return vms_error_set(err, VMS_E_VFIO_DEVICE, OBJECT " is not beside this program");
    (void)snprintf(preload, sizeof preload, "%s%s%s", object, now ? ":" : "", now ? now : "");
    /* a program under AddressSanitizer wants to be the first otherwise */
    (void)snprintf(options, sizeof options, "%s%sverify_asan_link_order=0", asan ? asan : "",
                   asan ? ":" : "");
    if (setenv("LD_PRELOAD", preload, 1) == 0 && setenv("ASAN_OPTIONS", options, 1) == 0)
        (void)execv("/proc/self/exe", argv);
    return vms_error_set(err, VMS_E_VFIO_DEVICE, "starting anew: %s", strerror(errno));
}
