/* SPDX-License-Identifier: MIT */
#ifndef VMSTREAM_LIMITS_H
#define VMSTREAM_LIMITS_H

#include <stdint.h>

/**
 * Every bound on what a peer may announce, in the units that registry/limits.def gives (LIM-1).
 * A value at the limit is accepted, one past it is an error of class limit. Together they bound the
 * memory of a decoder: see vms_qevm_decoder_size().
 */
struct vms_limits {
#define VMS_LIMIT(name, value, unit, text) uint64_t name;
#include <vmstream/registry/limits.def>
#undef VMS_LIMIT
};

/** The defaults of registry/limits.def. */
struct vms_limits vms_limits_default(void);

#endif
