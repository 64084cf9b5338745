/* SPDX-License-Identifier: MIT */
#include <vmstream/limits.h>

struct vms_limits vms_limits_default(void) {
    return (struct vms_limits){
#define VMS_LIMIT(name, value, unit, text) .name = (value),
#include <vmstream/registry/limits.def>
#undef VMS_LIMIT
    };
}
