/* SPDX-License-Identifier: MIT */
#include "conformance/bench/native_bench.h"
#include "conformance/bench/rig.h"
#include "reference-src/vm/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/*
 * The memory that is migrated, and the processors: the same for all. Our source makes its memory,
 * QEMU's and the floor's map the image of it: so two copies of the guest are all that a run takes.
 * Where the machine has room for three the image stays; elsewhere it goes before a run of ours.
 */

enum {
    ENDS = 2,
    PERIOD_US = 1000000, /* of the scheduler, where the kernel does not say */
    SPARE_MIB = 2048,    /* for the programs themselves, and whatever else is on the machine */
    BUFFERS = 256 << 20, /* bytes; more than programs and sockets take besides the guest */
};

/* ---- the image ---- */

/* What reference-src makes of the VM file of our own runs, right into the image. */
static int fill(struct rig *r, uint8_t *map) {
    char text[160];
    struct vm_config config;
    struct vms_error err;
    (void)snprintf(text, sizeof text,
                   "{\"blocks\": [{\"name\": \"ram\", \"size\": %llu, \"fill\": \"%s\"}]}",
                   (unsigned long long)r->bytes, RIG_FILL);
    if (vm_config_parse(&config, text, "bench", &err) != VMS_OK)
        return rig_fail(r, "%s", err.message);
    struct vm_memory memory = {.count = 1, .pages = r->bytes / VM_PAGE};
    memory.blocks[0].memory = map;
    uint64_t *ledger = calloc(memory.pages / VM_CHUNK + 1, sizeof *ledger);
    if (ledger)
        vm_memory_fill(&memory, &config, ledger);
    free(ledger);
    vm_config_free(&config);
    return ledger ? 0 : rig_fail(r, "no memory");
}

static void drop_image(struct rig *r) {
    if (r->has_image)
        (void)unlink(r->image);
    r->has_image = false;
}

static int make_image(struct rig *r) {
    int fd = open(r->image, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    r->has_image = fd >= 0;
    int why = fd < 0 ? errno : posix_fallocate(fd, 0, (off_t)r->bytes);
    uint8_t *map = MAP_FAILED;
    if (why == 0)
        map = mmap(NULL, r->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (why == 0 && map == MAP_FAILED)
        why = errno;
    if (fd >= 0)
        (void)close(fd);
    int rc = why == 0 ? fill(r, map) : rig_fail(r, "%s: %s", r->image, strerror(why));
    if (map != MAP_FAILED)
        (void)munmap(map, r->bytes);
    if (rc != 0)
        drop_image(r);
    return rc;
}

int rig_image(struct rig *r, bool wanted) {
    r->fresh = wanted ? 1 : ENDS;
    if (!wanted && r->copies == ENDS)
        drop_image(r);
    return wanted && !r->has_image ? make_image(r) : 0;
}

/* ---- how much of it ---- */

/* What could be had, MiB: a pool is not in what the kernel calls available. */
static long memory_there(void) {
    char line[128];
    long kib = 0;
    FILE *f = fopen("/proc/meminfo", "re");
    while (f && kib == 0 && fgets(line, sizeof line, f))
        (void)sscanf(line, "MemAvailable: %ld", &kib);
    if (f)
        (void)fclose(f);
    return kib / 1024 + rig_huge_free();
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

/* In the pool, or in memory as it comes. */
static void choose_memory(struct rig *r, long mib, bool pool) {
    r->pool = pool && mount_pool(r) == 0 && rig_huge(r, mib + 64) == 0;
    if (r->pool)
        touch_pool(mib);
    else
        rig_huge_back(r);
    (void)snprintf(r->image, sizeof r->image, "%s/image", r->pool ? r->mount : r->dir);
}

int rig_size(struct rig *r, uint64_t bytes, bool pool) {
    if (r->bytes == bytes && r->wants_pool == pool)
        return 0;
    drop_image(r);
    rig_huge_back(r);
    r->bytes = 0;
    uint64_t mib = bytes >> 20, there = (uint64_t)memory_there();
    for (r->copies = ENDS + 1; (uint64_t)r->copies * mib + SPARE_MIB > there; r->copies--)
        if (r->copies == ENDS) {
            r->lacks = true;
            return rig_fail(r, "needs %.1f GiB, %.1f there",
                            (double)(ENDS * mib + SPARE_MIB) / 1024, (double)there / 1024);
        }
    choose_memory(r, r->copies * (long)mib, pool);
    r->bytes = bytes;
    r->wants_pool = pool;
    return 0;
}

void rig_memory_close(struct rig *r) {
    drop_image(r);
    if (r->mount[0]) {
        (void)umount2(r->mount, MNT_DETACH);
        (void)rmdir(r->mount);
    }
    rig_huge_back(r);
}

/*
 * On a machine that is a guest itself, memory that its host has not given it yet, or has taken back
 * (free page reporting, of 2 MiB at a time), is slow for whoever comes first: a tenfold of what is
 * measured here. So as much as the run will take is touched and given back just before it.
 */
static void touch(uint64_t bytes) {
    uint8_t *all = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (all == MAP_FAILED)
        return;
    (void)madvise(all, bytes, MADV_HUGEPAGE);
    for (uint64_t at = 0; at < bytes; at += IMAGE_PAGE)
        all[at] = 1;
    (void)munmap(all, bytes);
}

void rig_warm(const struct rig *r) {
    if (!r->pool)
        touch((uint64_t)r->fresh * r->bytes + BUFFERS);
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

static long period_us(void) {
    long us = 0;
    FILE *f = fopen("/proc/sys/kernel/sched_rt_period_us", "re");
    if (f && fscanf(f, "%ld", &us) != 1)
        us = 0;
    if (f)
        (void)fclose(f);
    return us > 0 ? us : PERIOD_US;
}

/*
 * Of every period the kernel keeps a part from those who are first in turn (sched_rt_runtime_us).
 * Who filled a guest's memory has used up most of the others' part, and would stand still for what
 * is kept, in the middle of the migration. Meanwhile the host has taken memory back; that of the
 * guest it cannot, but of what the programs and their sockets take.
 */
void rig_rest(void) {
    long us = period_us();
    const struct timespec t = {us / 1000000, us % 1000000 * 1000};
    if (sched_getscheduler(0) != SCHED_RR)
        return;
    (void)nanosleep(&t, NULL);
    touch(BUFFERS);
}
