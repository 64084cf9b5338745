/* SPDX-License-Identifier: MIT */
#ifndef VMSTREAM_HOST_UFFD_H
#define VMSTREAM_HOST_UFFD_H

#include "host/wait.h"

#include <linux/userfaultfd.h>
#include <stddef.h>
#include <vmstream/error.h>

/**
 * userfaultfd (linux/userfaultfd.h, Documentation/admin-guide/mm/userfaultfd.rst): who touches a
 * registered page waits until somebody else says what is in it. A descriptor may be used by any
 * number of threads at a time.
 *
 * Ranges are whole pages of the mapping: 4 KiB, or of a hugetlbfs mapping its huge pages.
 */

/* What Linux 5.19 to 6.7 added, for older headers. */
#ifndef UFFD_FEATURE_WP_UNPOPULATED
#define UFFD_FEATURE_WP_UNPOPULATED (1 << 13) /* 6.4 */
#endif
#ifndef UFFD_FEATURE_POISON
#define UFFD_FEATURE_POISON (1 << 14) /* 6.6 */
#endif
#ifndef UFFD_FEATURE_WP_ASYNC
#define UFFD_FEATURE_WP_ASYNC (1 << 15) /* 6.7 */
#endif

/** UFFD_FEATURE_* of this kernel, for this process; 0: it may not use userfaultfd at all. */
uint64_t vms_uffd_features(void);

/**
 * A new descriptor with these features. VMS_E_IO with what is missing. *fd is closed with close(),
 * which also unregisters and wakes everything.
 *
 * A process without privilege gets one that does not see faults inside system calls: those then
 * fail with EFAULT. Memory that is handed to the kernel (read(), send()) must be there already.
 */
enum vms_code vms_uffd_open(uint64_t features, int *fd, struct vms_error *err);

enum vms_uffd_modes {
    VMS_UFFD_MISSING = 1, /* nothing is there yet, in the mapping or (shared) in the file */
    VMS_UFFD_MINOR = 2,   /* shared: the file has the page, this mapping does not */
    VMS_UFFD_WP = 4,      /* a write to a protected page */
};

/**
 * Faults of these modes (ORed) in the range are reported. For postcopy: private memory MISSING;
 * shared memory MISSING and MINOR, because pages that the file lacks would silently become zero
 * with MINOR alone.
 */
enum vms_code vms_uffd_register(int fd, void *start, uint64_t len, unsigned modes,
                                struct vms_error *err);
/** Who waits in the range goes on. A range that is not registered or gone is no error. */
void vms_uffd_unregister(int fd, void *start, uint64_t len);

struct vms_uffd_fault {
    uint8_t *address;         /* first byte of the page, or exact with UFFD_FEATURE_EXACT_ADDRESS */
    enum vms_uffd_modes mode; /* why: one of them */
    bool write;
    uint32_t thread; /* with UFFD_FEATURE_THREAD_ID, else 0 */
};

enum {
    VMS_UFFD_BATCH = 64
};

/**
 * Waits for faults, at most max of them (capped at VMS_UFFD_BATCH). The same page may come once for
 * every thread that touches it. VMS_WAIT_READY with *count above 0; else TIMEOUT, CANCELLED, or
 * FAILED with errno.
 */
enum vms_wait vms_uffd_read(int fd, struct vms_uffd_fault *faults, size_t max, size_t *count,
                            vms_deadline deadline, const struct vms_cancel *cancel);

enum vms_uffd_result {
    VMS_UFFD_DONE,   /* all of it */
    VMS_UFFD_EXISTS, /* a page was there already and is as it was (EEXIST) */
    VMS_UFFD_ABSENT, /* continue: the file lacks the page; copy: `from` is not readable (EFAULT) */
    VMS_UFFD_GONE,   /* the range is not registered or not mapped any more (ENOENT, ESRCH) */
    VMS_UFFD_UNSUPPORTED, /* not for this kind of memory (EINVAL) */
    VMS_UFFD_FAILED,      /* errno */
};

/* In all calls below *done, which may not be NULL, is how many bytes from the start were placed: on
 * EXISTS the next page is the one that was there. An interruption by a change of the process's
 * mappings (EAGAIN) is taken up again inside. wake false: who waits goes on waiting, until
 * vms_uffd_wake(); to place many pages first. */

/**
 * Places pages with a copy of `from`, atomically: nobody ever sees a part of a page. Private memory
 * and shared. protect: write-protected from the start (range registered with WP).
 */
enum vms_uffd_result vms_uffd_copy(int fd, void *to, const void *from, uint64_t len, bool wake,
                                   bool protect, uint64_t *done);
/** Places zero pages without a copy. Huge pages: UNSUPPORTED, copy zeros. */
enum vms_uffd_result vms_uffd_zero(int fd, void *to, uint64_t len, bool wake, uint64_t *done);
/**
 * Shared memory: maps pages which the file has, written through another mapping. Also for who waits
 * with a MISSING fault. ABSENT: the file does not have one.
 */
enum vms_uffd_result vms_uffd_continue(int fd, void *to, uint64_t len, bool wake, uint64_t *done);
/** Write-protects a range, or permits writing and wakes. All or nothing but for a failure. */
enum vms_uffd_result vms_uffd_protect(int fd, void *start, uint64_t len, bool protect);
/** Lets who waits in the range try again; also after EXISTS, where the fault may be older. */
enum vms_uffd_result vms_uffd_wake(int fd, void *start, uint64_t len);

#endif
