/* SPDX-License-Identifier: MIT */
#include "conformance/bench/native_bench.h"
#include "conformance/bench/rig.h"
#include "host/zero_page.h"
#include "reference-src/vm/vm.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

/* The memory that is migrated, and the processors: the same for all. */

/* ---- huge pages ---- */

/* Sets how many the kernel keeps, unless negative; returns how many it does. */
static long huge_pages(long count) {
    static const char path[] = "/proc/sys/vm/nr_hugepages";
    long now = -1;
    FILE *f = count >= 0 ? fopen(path, "we") : NULL;
    if (f) {
        (void)fprintf(f, "%ld\n", count);
        (void)fclose(f);
    }
    f = fopen(path, "re");
    if (f && fscanf(f, "%ld", &now) != 1)
        now = -1;
    if (f)
        (void)fclose(f);
    return now;
}

int rig_huge(struct rig *r, long mib) {
    long want = mib / 2, now = huge_pages(-1);
    if (now >= want)
        return 0;
    if (r->huge_before < 0)
        r->huge_before = now < 0 ? 0 : now;
    now = huge_pages(want);
    return now >= want ? 0 : rig_fail(r, "%ld huge pages wanted, %ld there", want, now);
}

static long available_mib(void) {
    char line[128];
    long kib = 0;
    FILE *f = fopen("/proc/meminfo", "re");
    while (f && kib == 0 && fgets(line, sizeof line, f))
        (void)sscanf(line, "MemAvailable: %ld", &kib);
    if (f)
        (void)fclose(f);
    return kib / 1024;
}

static int mount_pool(struct rig *r) {
    if (r->mount[0])
        return 0;
    char path[sizeof r->mount];
    (void)snprintf(path, sizeof path, "%s/pool", r->dir);
    if (mkdir(path, 0700) != 0 || mount("none", path, "hugetlbfs", 0, "pagesize=2M") != 0) {
        (void)rmdir(path);
        return rig_fail(r, "hugetlbfs: %s", strerror(errno));
    }
    (void)snprintf(r->mount, sizeof r->mount, "%s", path);
    return 0;
}

void rig_memory_close(struct rig *r) {
    (void)unlink(r->image);
    if (r->mount[0]) {
        (void)umount(r->mount);
        (void)rmdir(r->mount);
    }
    if (r->huge_before >= 0)
        (void)huge_pages(r->huge_before);
}

/* ---- memory ---- */

/* The very memory that reference-src makes, as a file for QEMU. */
static int copy_memory(struct rig *r, const struct vms_guest_block *block) {
    int fd = open(r->image, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || ftruncate(fd, (off_t)r->bytes) != 0)
        return rig_fail(r, "%s: %s", r->image, strerror(errno));
    uint8_t *map = mmap(NULL, r->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    (void)close(fd);
    if (map == MAP_FAILED)
        return rig_fail(r, "%s: %s", r->image, strerror(errno));
    for (uint64_t at = 0; at < r->bytes; at += IMAGE_PAGE)
        if (!vms_page_is_zero(block->memory + at, IMAGE_PAGE))
            memcpy(map + at, block->memory + at, IMAGE_PAGE);
    return munmap(map, r->bytes);
}

/* The first to have a page pays for what the machine itself has to do for it. */
static void touch_pool(long mib) {
    size_t bytes = (size_t)mib << 20;
    uint8_t *all =
        mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
    for (size_t at = 0; all != MAP_FAILED && at < bytes; at += 2 << 20)
        all[at] = 1;
    if (all != MAP_FAILED)
        (void)munmap(all, bytes);
}

/* Where the image is: in the pool, or in memory as a file. */
static void choose_memory(struct rig *r, bool pool) {
    enum {
        ENDS = 3
    }; /* the image, and both ends' memory */
    long mib = (long)(r->bytes >> 20) * ENDS + 64;
    (void)unlink(r->image);
    r->pool = pool && mib < available_mib() - 2048 + 2 * huge_pages(-1) && mount_pool(r) == 0 &&
              rig_huge(r, mib) == 0;
    if (r->pool)
        touch_pool(mib - 64);
    (void)snprintf(r->image, sizeof r->image, "%s/image", r->pool ? r->mount : r->dir);
}

int rig_size(struct rig *r, uint64_t bytes, bool pool) {
    char text[160];
    struct vms_vm *vm = NULL;
    struct vms_error err;
    if (r->bytes == bytes && r->wants_pool == pool)
        return 0;
    r->bytes = bytes;
    r->wants_pool = pool;
    choose_memory(r, pool);
    (void)snprintf(text, sizeof text,
                   "{\"blocks\": [{\"name\": \"ram\", \"size\": %llu, \"fill\": \"%s\"}]}",
                   (unsigned long long)bytes, RIG_FILL);
    if (vms_vm_new_text(text, "bench", VMS_VM_SOURCE, &vm, &err) != VMS_OK)
        return rig_fail(r, "%s", err.message);
    int rc = copy_memory(r, &vms_vm_guest(vm)->blocks[0]);
    vms_vm_free(vm);
    return rc;
}

/*
 * On a machine that is a guest itself, memory that its host has not given it yet, or has taken back
 * (free page reporting, of 2 MiB at a time), is slow for whoever comes first: a tenfold of what is
 * measured here. So as much as both ends will take is touched and given back just before each run.
 */
void rig_warm(const struct rig *r) {
    if (r->pool)
        return;
    uint64_t bytes = 2 * r->bytes + (UINT64_C(256) << 20);
    uint8_t *all = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (all == MAP_FAILED)
        return;
    (void)madvise(all, bytes, MADV_HUGEPAGE);
    for (uint64_t at = 0; at < bytes; at += IMAGE_PAGE)
        all[at] = 1;
    (void)munmap(all, bytes);
}

/* ---- processors ---- */

/*
 * What else runs on the machine would take turns with what is measured, and a thread that wakes up
 * may wait a tick for it. First in turn are all of ours, and QEMU's, alike; the kernel keeps a part
 * of the time for the others. Not for guests that run: they would not make room for anybody.
 */
void rig_alone(bool alone) {
    const struct sched_param how = {.sched_priority = alone ? 1 : 0};
    (void)sched_setscheduler(0, alone ? SCHED_RR : SCHED_OTHER, &how);
}
