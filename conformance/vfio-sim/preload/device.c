/* SPDX-License-Identifier: MIT */
#include "codec/host/vfio_abi.h"
#include "preload.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>

/* A device as VFIO's character device and PCI core show it: config space, no BARs, no interrupts.
 */
enum {
    CONFIG = 7, /* VFIO_PCI_CONFIG_REGION_INDEX */
    REGIONS = 9,
    IRQS = 5,
    SHIFT = 40,       /* of a region's index in offsets */
    NAP = 200000,     /* ns; shorter waits add up first, */
    AHEAD = 20000000, /* and what a wait was too long counts for the next ones, so much at most */
};

struct device {
    struct object object;
    pthread_mutex_t lock;
    struct vfs_device *sim;
    struct vfs_log log;
    int64_t debt; /* ns to wait */
    uint8_t config[4096];
};

struct vfs_device *device_lock(struct device *device) {
    (void)pthread_mutex_lock(&device->lock);
    return device->sim;
}

static int64_t clock_ns(void) {
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void wait_ns(int64_t ns) {
    struct timespec t = {.tv_sec = (time_t)(ns / 1000000000), .tv_nsec = (long)(ns % 1000000000)};
    while (nanosleep(&t, &t) != 0 && errno == EINTR)
        ;
}

void device_unlock(struct device *device, uint64_t busy) {
    device->debt += (int64_t)busy;
    int64_t wait = device->debt >= NAP ? device->debt : 0;
    device->debt -= wait;
    (void)pthread_mutex_unlock(&device->lock);
    if (wait == 0)
        return;
    int64_t from = clock_ns();
    wait_ns(wait);
    int64_t more = clock_ns() - from - wait;
    (void)pthread_mutex_lock(&device->lock);
    device->debt -= more < AHEAD ? more : AHEAD;
    (void)pthread_mutex_unlock(&device->lock);
}

/* ---- VFIO_DEVICE_FEATURE ---- */

static int set_state(struct device *d, struct vfio_device_feature_mig_state *mig) {
    bool opened;
    uint64_t busy;
    struct vfs_device *sim = device_lock(d);
    int e = vfs_set_state(sim, now_ns(), mig->device_state, &opened, &busy);
    device_unlock(d, busy);
    mig->data_fd = -1;
    if (e != 0 || !opened)
        return e;
    struct object *data = data_new(&d->object, d);
    int fd = data ? object_open(data, "vfio-sim-data") : -ENOMEM;
    mig->data_fd = fd < 0 ? -1 : fd;
    return fd < 0 ? fd : 0;
}

static int state(struct device *d, bool set, void *data) {
    struct vfio_device_feature_mig_state *mig = data;
    if (set)
        return set_state(d, mig);
    mig->device_state = (uint32_t)vfs_device_state(device_lock(d));
    mig->data_fd = -1;
    device_unlock(d, 0);
    return 0;
}

static int migration(struct device *d, bool set, void *data) {
    (void)set;
    ((struct vfio_device_feature_migration *)data)->flags = vfs_flags(d->sim);
    return 0;
}

static int data_size(struct device *d, bool set, void *data) {
    uint64_t bytes = 0;
    (void)set;
    int e = vfs_data_size(device_lock(d), now_ns(), &bytes);
    device_unlock(d, 0);
    memcpy(data, &bytes, sizeof bytes);
    return e;
}

static int opt_in(struct device *d, bool set, void *data) {
    (void)set, (void)data;
    int e = vfs_opt_in(device_lock(d), now_ns());
    device_unlock(d, 0);
    return e;
}

static void *pointer(uint64_t address) {
    return (void *)(uintptr_t)address;
}

static int log_start(struct device *d, bool set, void *data) {
    struct vfio_device_feature_dma_logging_control *c = data;
    uint64_t page_size = c->page_size;
    (void)set;
    int e = vfs_log_start(device_lock(d), now_ns(), &page_size, pointer(c->ranges), c->num_ranges);
    device_unlock(d, 0);
    c->page_size = page_size;
    return e;
}

static int log_stop(struct device *d, bool set, void *data) {
    (void)set, (void)data;
    int e = vfs_log_stop(device_lock(d), now_ns());
    device_unlock(d, 0);
    return e;
}

static int log_report(struct device *d, bool set, void *data) {
    struct vfio_device_feature_dma_logging_report *r = data;
    (void)set;
    int e = vfs_log_report(device_lock(d), now_ns(), r->iova, r->length, r->page_size,
                           pointer(r->bitmap));
    device_unlock(d, 0);
    return e;
}

static const struct feature {
    uint32_t number;
    uint32_t ways; /* VFIO_DEVICE_FEATURE_GET, SET */
    size_t size;
    int (*call)(struct device *d, bool set, void *data);
} features[] = {
    {VFIO_DEVICE_FEATURE_MIGRATION, VFIO_DEVICE_FEATURE_GET, 8, migration},
    {VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE, VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_SET, 8,
     state},
    {VFIO_DEVICE_FEATURE_DMA_LOGGING_START, VFIO_DEVICE_FEATURE_SET, 24, log_start},
    {VFIO_DEVICE_FEATURE_DMA_LOGGING_STOP, VFIO_DEVICE_FEATURE_SET, 0, log_stop},
    {VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT, VFIO_DEVICE_FEATURE_GET, 32, log_report},
    {VFIO_DEVICE_FEATURE_MIG_DATA_SIZE, VFIO_DEVICE_FEATURE_GET, 8, data_size},
    {VFIO_DEVICE_FEATURE_MIG_PRECOPY_INFOv2, VFIO_DEVICE_FEATURE_SET, 0, opt_in},
};

static bool offers(const struct device *d, uint32_t number) {
    const struct vfs_description *about = vfs_device_description(d->sim);
    switch (number) {
    case VFIO_DEVICE_FEATURE_DMA_LOGGING_START:
    case VFIO_DEVICE_FEATURE_DMA_LOGGING_STOP:
    case VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT: return about->dma_log;
    case VFIO_DEVICE_FEATURE_MIG_DATA_SIZE: return about->data_size;
    case VFIO_DEVICE_FEATURE_MIG_PRECOPY_INFOv2: return about->reinit && about->precopy;
    default: return true;
    }
}

static int feature(struct device *d, struct vfio_device_feature *f) {
    const uint32_t both = VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_SET;
    uint32_t ways = f->flags & both;
    if (f->argsz < sizeof *f ||
        (f->flags & ~(VFIO_DEVICE_FEATURE_MASK | VFIO_DEVICE_FEATURE_PROBE | both)))
        return -EINVAL;
    if (!(f->flags & VFIO_DEVICE_FEATURE_PROBE) && (ways == both || ways == 0))
        return -EINVAL;
    for (size_t i = 0; i < sizeof features / sizeof features[0]; i++) {
        const struct feature *known = &features[i];
        if (known->number != (f->flags & VFIO_DEVICE_FEATURE_MASK) || !offers(d, known->number))
            continue;
        if (ways & ~known->ways)
            return -EINVAL;
        if (f->flags & VFIO_DEVICE_FEATURE_PROBE)
            return 0;
        if (f->argsz - sizeof *f < known->size)
            return -EINVAL;
        return known->call(d, ways == VFIO_DEVICE_FEATURE_SET, f->data);
    }
    return -ENOTTY;
}

/* ---- PCI ---- */

static uint64_t region_size(const struct device *d, uint32_t index) {
    return index == CONFIG ? vfs_device_description(d->sim)->config_size : 0;
}

static int get_info(struct vfio_device_info *info) {
    info->flags = VFIO_DEVICE_FLAGS_RESET | VFIO_DEVICE_FLAGS_PCI;
    info->num_regions = REGIONS;
    info->num_irqs = IRQS;
    return 0;
}

static int get_region(struct device *d, struct vfio_region_info *info) {
    if (info->index >= REGIONS)
        return -EINVAL;
    info->size = region_size(d, info->index);
    info->offset = (uint64_t)info->index << SHIFT;
    info->flags = info->size ? VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE : 0;
    info->cap_offset = 0;
    info->argsz = sizeof *info;
    return 0;
}

static int get_irq(struct vfio_irq_info *info) {
    if (info->index >= IRQS)
        return -EINVAL;
    info->flags = VFIO_IRQ_INFO_EVENTFD;
    info->count = 0;
    return 0;
}

static ssize_t device_pread(struct object *object, void *buf, size_t len, uint64_t offset) {
    struct device *d = (struct device *)object;
    uint64_t size = region_size(d, (uint32_t)(offset >> SHIFT));
    uint64_t at = offset & ((1ull << SHIFT) - 1);
    if (at >= size)
        return size ? 0 : -EINVAL;
    len = len < size - at ? len : size - at;
    (void)device_lock(d);
    memcpy(buf, d->config + at, len);
    device_unlock(d, 0);
    return (ssize_t)len;
}

/** Identity and the base addresses, which it has none of, cannot be written. */
static bool is_writable(uint64_t at) {
    return at >= 4 && !(at >= 8 && at < 0x34 && at != 0xc && at != 0xd);
}

static ssize_t device_pwrite(struct object *object, const void *buf, size_t len, uint64_t offset) {
    struct device *d = (struct device *)object;
    uint64_t size = region_size(d, (uint32_t)(offset >> SHIFT));
    uint64_t at = offset & ((1ull << SHIFT) - 1);
    if (at >= size)
        return -EINVAL;
    len = len < size - at ? len : size - at;
    (void)device_lock(d);
    for (size_t i = 0; i < len; i++)
        if (is_writable(at + i))
            d->config[at + i] = ((const uint8_t *)buf)[i];
    device_unlock(d, 0);
    return (ssize_t)len;
}

static void fill_config(struct device *d) {
    const struct vfs_description *about = vfs_device_description(d->sim);
    memcpy(d->config, &about->vendor, 2);
    memcpy(d->config + 2, &about->product, 2);
    memcpy(d->config + 0x2c, &about->vendor, 2);
    memcpy(d->config + 0x2e, &about->product, 2);
    d->config[0xb] = 0xff; /* class: none of the known */
}

/* ---- the object ---- */

static int reset(struct device *d) {
    int e = vfs_reset(device_lock(d), now_ns());
    device_unlock(d, 0);
    return e;
}

static int device_ioctl(struct object *object, unsigned long request, void *arg) {
    struct device *d = (struct device *)object;
    switch (request) {
    case VFIO_DEVICE_GET_INFO: return get_info(arg);
    case VFIO_DEVICE_GET_REGION_INFO: return get_region(d, arg);
    case VFIO_DEVICE_GET_IRQ_INFO: return get_irq(arg);
    case VFIO_DEVICE_SET_IRQS:
    case VFIO_DEVICE_DETACH_IOMMUFD_PT: return 0;
    case VFIO_DEVICE_RESET: return reset(d);
    case VFIO_DEVICE_FEATURE: return feature(d, arg);
    case VFIO_DEVICE_BIND_IOMMUFD:
        ((struct vms_vfio_bind *)arg)->out_devid = iommu_next_id();
        return 0;
    case VFIO_DEVICE_ATTACH_IOMMUFD_PT:
        ((struct vms_vfio_attach *)arg)->pt_id = iommu_next_id();
        return 0;
    default: return -ENOTTY;
    }
}

static ssize_t no_read(struct object *object, void *buf, size_t len) {
    (void)object, (void)buf, (void)len;
    return -EINVAL;
}

static ssize_t no_write(struct object *object, const void *buf, size_t len) {
    (void)object, (void)buf, (void)len;
    return -EINVAL;
}

static void device_release(struct object *object) {
    struct device *d = (struct device *)object;
    container_remove(d);
    if (d->sim) {
        vfs_device_clear(d->sim);
        free(d->sim);
    }
    log_close(d->log);
    free(d);
}

static const struct object_ops device_ops = {
    .ioctl = device_ioctl,
    .read = no_read,
    .write = no_write,
    .pread = device_pread,
    .pwrite = device_pwrite,
    .release = device_release,
};

static void dma(void *ctx, uint64_t iova, uint64_t length) {
    (void)ctx;
    iommu_dma(iova, length);
}

static bool read_description(int fd, struct vfs_description *out) {
    char text[16384], why[200];
    long n = kernel(SYS_pread64, fd, (long)text, sizeof text, 0, 0);
    if (n > 0 && vfs_parse(text, (size_t)n, out, why, sizeof why) == 0)
        return true;
    (void)fprintf(stderr, "vfio-sim: fd %d: %s\n", fd, n > 0 ? why : "cannot be read");
    return false;
}

struct object *device_new(int fd) {
    struct vfs_description description;
    if (!read_description(fd, &description))
        return NULL;
    struct device *d = calloc(1, sizeof *d);
    void *sim = malloc(vfs_device_size());
    if (!d || !sim) {
        free(d);
        free(sim);
        return NULL;
    }
    d->object.ops = &device_ops;
    d->object.references = 1;
    (void)pthread_mutex_init(&d->lock, NULL);
    d->log = log_open(description.log);
    d->sim = vfs_device_init(sim, &description, &d->log);
    vfs_dma_hook(d->sim, dma, NULL);
    fill_config(d);
    return &d->object;
}
