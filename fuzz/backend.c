/* SPDX-License-Identifier: MIT */
#include "host/backend.h"

/*
 * A program makes its back end once; the readers and writers of a harness would make one in each
 * exec, and the making tests the processor. Linked with --wrap they share one.
 */
struct vms_backend *__real_vms_backend_new(const char *name, struct vms_error *err);
struct vms_backend *__wrap_vms_backend_new(const char *name, struct vms_error *err);
void __wrap_vms_backend_free(struct vms_backend *backend);

static struct vms_backend *kept;

__attribute__((constructor)) static void make(void) {
    struct vms_error err;
    kept = __real_vms_backend_new(NULL, &err);
}

struct vms_backend *__wrap_vms_backend_new(const char *name, struct vms_error *err) {
    return name || !kept ? __real_vms_backend_new(name, err) : kept;
}

void __wrap_vms_backend_free(struct vms_backend *backend) {
    (void)backend; /* the one that all have */
}
