/* SPDX-License-Identifier: MIT */
#include "conformance/vdpa-sim/preload/vdpa.h"
#include "preload.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>

enum {
    FDS = 1 << 16, /* higher descriptors are never ours */
};

static struct object *table[FDS];
static atomic_uint in_use; /* none: every call goes straight on */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

void object_hold(struct object *object) {
    atomic_fetch_add(&object->references, 1);
}

void object_put(struct object *object) {
    if (object && atomic_fetch_sub(&object->references, 1) == 1)
        object->ops->release(object);
}

static void put_at(int fd, struct object *object) {
    table[fd] = object;
    atomic_fetch_add(&in_use, 1);
}

/* A file describes itself by its first line. */
static struct object *recognise(int fd) {
    char head[sizeof VFS_MAGIC];
    struct stat st;
    static const char iommu[] = "vfio-sim iommu", group[] = "vfio-sim group";
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
        return NULL;
    long n = kernel(SYS_pread64, fd, (long)head, sizeof head - 1, 0, 0);
    head[n > 0 ? n : 0] = 0;
    if (strcmp(head, VFS_MAGIC) == 0)
        return device_new(fd);
    if (strcmp(head, VDPA_MAGIC) == 0) /* as long as the other */
        return vdpa_new(fd);
    if (strncmp(head, iommu, sizeof iommu - 1) == 0)
        return iommu_new();
    if (strncmp(head, group, sizeof group - 1) == 0) {
        char text[4096];
        n = kernel(SYS_pread64, fd, (long)text, sizeof text - 1, 0, 0);
        return n > 0 ? group_new(text, (size_t)n) : NULL;
    }
    return NULL;
}

struct object *object_get(int fd, bool probe) {
    int saved = errno;
    if (fd < 0 || fd >= FDS || (!probe && atomic_load(&in_use) == 0))
        return NULL;
    (void)pthread_mutex_lock(&lock);
    if (!table[fd] && probe) {
        struct object *found = recognise(fd);
        if (found)
            put_at(fd, found);
    }
    struct object *object = table[fd];
    if (object)
        object_hold(object);
    (void)pthread_mutex_unlock(&lock);
    errno = saved;
    return object;
}

int object_open(struct object *object, const char *name) {
    long fd = kernel(SYS_memfd_create, (long)name, 1 /* MFD_CLOEXEC */, 0, 0, 0);
    if (fd >= FDS) {
        (void)kernel(SYS_close, fd, 0, 0, 0, 0);
        fd = -EMFILE;
    }
    if (fd < 0) {
        object_put(object);
        return (int)fd;
    }
    (void)pthread_mutex_lock(&lock);
    put_at((int)fd, object);
    (void)pthread_mutex_unlock(&lock);
    return (int)fd;
}

void object_close(int fd) {
    struct object *object = NULL;
    if (fd < 0 || fd >= FDS || atomic_load(&in_use) == 0)
        return;
    (void)pthread_mutex_lock(&lock);
    object = table[fd];
    table[fd] = NULL;
    if (object)
        atomic_fetch_sub(&in_use, 1);
    (void)pthread_mutex_unlock(&lock);
    object_put(object);
}
