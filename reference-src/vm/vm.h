/* SPDX-License-Identifier: MIT */
#ifndef REFERENCE_VM_H
#define REFERENCE_VM_H

#include "host/guest.h"
#include "host/histogram.h"

/**
 * A guest worth migrating, which both endpoints run: virtual CPUs are threads that write pages
 * which check themselves, at settable rates and localities. Whatever a migration loses, tears or
 * brings late is found (VM-1 to VM-3).
 *
 * The VM file is JSON, the same at both ends. Sizes are numbers of bytes or text with K, M or G:
 *
 *   {"blocks": [{"name": "ram0", "size": "256M",
 *                "page_size": "4K",         4K (default) or 2M
 *                "backing": "private",      private (default) or shared
 *                "fill": "mix",             zero (default), pattern, random, mix, image
 *                "allocate": "ahead"}],     its pages when they are touched (default), or ahead:
 *                                           before anything runs, or anybody listens
 *    "vcpus": [{"rate": 20000,              operations a second; 0 (default): as fast as it can
 *               "reads": 0.25,              share of them that only read and check; default 0
 *               "zeroes": 0.05,             share of the others that make a page zero; default 0
 *               "change": 4096,             bytes that a write changes, default all of a page
 *               "locality": {"kind": "hot",        uniform (default), sequential, hot
 *                            "working_set": "64M", default all; of hot: the hot part
 *                            "hot_fraction": 0.9}}],  accesses to the hot part; default 0.9
 *    "seed": 1,
 *    "lock": "disk.lock",           storage lock, taken and given up by ops->locks
 *    "running_lock": "run.lock",    held while the guest runs: finds two that run
 *    "announce": "announce.log"}    gets a line when the guest runs here for the first time
 *
 * Paths are relative to the VM file. All but blocks may be left out.
 */
struct vms_vm;

enum vms_vm_role {
    VMS_VM_SOURCE,      /* memory is filled, the storage lock taken; run() begins the guest */
    VMS_VM_DESTINATION, /* memory is untouched; run() only after load() */
};

/**
 * Makes the VM, stopped. VMS_E_VM_FILE names the file, line and key; VMS_E_VM_LOCK when somebody
 * else holds the storage lock; VMS_E_IO, VMS_E_NO_MEMORY (not enough huge pages, too).
 */
enum vms_code vms_vm_new(const char *file, enum vms_vm_role role, struct vms_vm **out,
                         struct vms_error *err);
/** The same from text; name stands for the file in messages, paths are relative to its folder. */
enum vms_code vms_vm_new_text(const char *text, const char *name, enum vms_vm_role role,
                              struct vms_vm **out, struct vms_error *err);
/** Stops it, gives locks and memory back. Nothing may use its memory any more. NULL is allowed. */
void vms_vm_free(struct vms_vm *vm);

/**
 * The guest, for the endpoints; lives as long as the VM. run() fails with VMS_E_VM_RUNS_TWICE when
 * another guest holds the running lock, and at a destination with VMS_E_MISUSE before load().
 * load() fails with VMS_E_VM_STATE when the state is not of a VM like this one.
 */
const struct vms_guest *vms_vm_guest(struct vms_vm *vm);

/** What a check found, in pages of 4 KiB. All counts but pages are 0 when it is well. */
struct vms_vm_report {
    uint64_t pages;      /* checked */
    uint64_t torn;       /* the content does not fit the page's own checksum */
    uint64_t wrong;      /* another page's content */
    uint64_t stale;      /* older than what was last written here (lost writes), at least so many */
    uint64_t heartbeats; /* virtual CPUs whose heartbeat in memory is not the one they had */
    uint64_t met;    /* bad pages that virtual CPUs have met while they ran, since new or load */
    uint64_t twice;  /* times that run() found another guest running */
    char first[160]; /* about the first that is bad: block, page, why; else "" */
};

/** Nothing bad in it. */
bool vms_vm_report_good(const struct vms_vm_report *report);

/**
 * Checks every page of the stopped guest; VMS_E_MISUSE while it runs. VMS_E_VM_CHECK with `first`
 * in the message when something is bad; *report is then filled too. In postcopy all pages are
 * touched, so that it returns only when all have come.
 */
enum vms_code vms_vm_check(struct vms_vm *vm, struct vms_vm_report *report, struct vms_error *err);

/** As it is now, also while it runs. */
struct vms_vm_stats {
    bool running;
    uint64_t writes;     /* pages written here, since new or load */
    uint64_t reads;      /* pages read and checked here */
    uint64_t heartbeats; /* operations of all virtual CPUs in the guest's whole life */
    uint64_t met;        /* as in the report */
    uint64_t twice;
    unsigned throttle; /* percent */
};

void vms_vm_stats(const struct vms_vm *vm, struct vms_vm_stats *out);

/**
 * Destination: how long virtual CPUs waited at the first touch of each page since load(), all of
 * them together: in postcopy the latency of faults. By page_size of the blocks: 4 KiB, or 2 MiB
 * (then the first touch of the huge page). Nanoseconds. Empty at a source.
 */
void vms_vm_first_touch(const struct vms_vm *vm, uint64_t page_size, struct vms_histogram *out);

#endif
