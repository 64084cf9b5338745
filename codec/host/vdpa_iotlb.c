/* SPDX-License-Identifier: MIT */
#include "host/vdpa_internal.h"

#include <errno.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

/* 0 or a negative errno. */
static int tell(const struct vms_vdpa *d, uint8_t type, uint32_t space,
                const struct vms_vdpa_region *region) {
    struct vhost_msg_v2 msg;
    memset(&msg, 0, sizeof msg); /* all of it goes to the kernel */
    msg.type = VHOST_IOTLB_MSG_V2;
    msg.asid = space;
    msg.iotlb.type = type;
    if (region) {
        msg.iotlb.iova = region->iova;
        msg.iotlb.size = region->length;
        msg.iotlb.uaddr = (uint64_t)(uintptr_t)region->memory;
        msg.iotlb.perm = region->read_only ? VHOST_ACCESS_RO : VHOST_ACCESS_RW;
    }
    ssize_t n;
    do
        n = write(d->fd, &msg, sizeof msg);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return -errno;
    return n == (ssize_t)sizeof msg ? 0 : -EIO;
}

/* [VDPA-9] The kernel would answer EFAULT to all of it. */
enum vms_code vms_vdpa_check(const struct vms_vdpa *d, const struct vms_vdpa_region *r,
                             struct vms_error *err) {
    const uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), last = r->iova + r->length - 1;
    const char *why = NULL;
    if (r->length == 0 || (r->iova | r->length | (uint64_t)(uintptr_t)r->memory) % page)
        why = "not whole pages";
    else if (last < r->iova || r->iova < d->about.iova_first || last > d->about.iova_last)
        why = "outside of them";
    else if (r->space >= d->about.spaces)
        why = "no such address space";
    if (!why)
        return VMS_OK;
    return vms_error_set(
        err, VMS_E_VDPA_ADDRESSES, "%.40s: 0x%llx and 0x%llx bytes, of 0x%llx to 0x%llx: %s",
        d->name, (unsigned long long)r->iova, (unsigned long long)r->length,
        (unsigned long long)d->about.iova_first, (unsigned long long)d->about.iova_last, why);
}

/**
 * [VDPA-8] Whether it was RLIMIT_MEMLOCK: pages that are pinned count against it, privileged or
 * not, those of all devices together. A device that holds maps and has pinned nothing never pins.
 */
static bool is_memlock(const struct vms_vdpa *d, const struct vms_vdpa_region *r, int error,
                       uint64_t pinned, uint64_t *limit) {
    struct rlimit rl;
    if ((error != EFAULT && error != ENOMEM) || getrlimit(RLIMIT_MEMLOCK, &rl) != 0)
        return false;
    *limit = rl.rlim_cur;
    return rl.rlim_cur != RLIM_INFINITY && pinned <= rl.rlim_cur &&
           pinned + r->length > rl.rlim_cur && (pinned || !d->mapped);
}

/* The kernel says EFAULT to nearly everything that goes wrong in a write: what else is known. */
static enum vms_code why_not(const struct vms_vdpa *d, const struct vms_vdpa_region *r, int error,
                             struct vms_error *err) {
    uint64_t pinned = d->simulated ? d->mapped : vms_vdpa_pinned(), limit;
    if (is_memlock(d, r, error, pinned, &limit))
        return vms_error_set(err, VMS_E_VDPA_MEMLOCK,
                             "%.40s: %llu bytes are pinned, %llu more do not fit into %llu; "
                             "raise ulimit -l to the guest's memory and more",
                             d->name, (unsigned long long)pinned, (unsigned long long)r->length,
                             (unsigned long long)limit);
    return vms_error_set(err, VMS_E_VDPA_DEVICE,
                         "%.40s: mapping 0x%llx, 0x%llx bytes, after %llu maps: %s "
                         "(mapped already, memory it cannot take, or too many runs of pages: "
                         "vhost_vdpa's max_iotlb_entries)",
                         d->name, (unsigned long long)r->iova, (unsigned long long)r->length,
                         (unsigned long long)d->maps, strerror(error));
}

/**
 * [VDPA-30] A device that does not pin (VDUSE) works on what is shared, and skips the rest without
 * a word. Whether it has pinned memory that is not shared is seen by the kernel's count.
 */
static enum vms_code tell_private(struct vms_vdpa *d, const struct vms_vdpa_region *r,
                                  struct vms_error *err) {
    uint64_t before = vms_vdpa_pinned();
    int e = tell(d, VHOST_IOTLB_UPDATE, r->space, r);
    if (e < 0)
        return why_not(d, r, -e, err);
    d->pins = vms_vdpa_pinned() >= before + r->length;
    if (d->pins)
        return VMS_OK;
    (void)tell(d, VHOST_IOTLB_INVALIDATE, r->space, r);
    return vms_error_set(err, VMS_E_VDPA_MEMORY,
                         "%.40s: 0x%llx, 0x%llx bytes: give the guest memory that is shared",
                         d->name, (unsigned long long)r->iova, (unsigned long long)r->length);
}

enum vms_code vms_vdpa_map(struct vms_vdpa *device, const struct vms_vdpa_region *region,
                           struct vms_error *err) {
    enum vms_code code = vms_vdpa_check(device, region, err);
    if (code == VMS_OK && !device->simulated && !device->pins &&
        !vms_vdpa_is_shared(region->memory, region->length)) {
        code = tell_private(device, region, err);
    } else if (code == VMS_OK) {
        int e = tell(device, VHOST_IOTLB_UPDATE, region->space, region);
        code = e < 0 ? why_not(device, region, -e, err) : VMS_OK;
    }
    if (code == VMS_OK) {
        device->mapped += region->length;
        device->maps++;
    }
    return code;
}

enum vms_code vms_vdpa_unmap(struct vms_vdpa *device, const struct vms_vdpa_region *region,
                             struct vms_error *err) {
    int e = tell(device, VHOST_IOTLB_INVALIDATE, region->space, region);
    if (e < 0)
        return vms_vdpa_fail(device, "unmapping", -e, err);
    device->mapped -= region->length;
    device->maps--;
    return VMS_OK;
}

enum vms_code vms_vdpa_batch(struct vms_vdpa *device, uint32_t space, bool begin,
                             struct vms_error *err) {
    if (!vms_vdpa_has(device, VMS_VDPA_BATCH))
        return VMS_OK;
    int e = tell(device, begin ? VHOST_IOTLB_BATCH_BEGIN : VHOST_IOTLB_BATCH_END, space, NULL);
    return e < 0 ? vms_vdpa_fail(device, begin ? "beginning a batch" : "ending a batch", -e, err)
                 : VMS_OK;
}
