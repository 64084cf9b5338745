/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <vmstream/limits.h>

/* [LIM-2] Every limit is a field, and its default the registry's. */
Test(limits, defaults) {
    struct vms_limits limits = vms_limits_default();
    size_t count = 0;
#define VMS_LIMIT(name, value, unit, text)                                                         \
    cr_expect_eq(limits.name, (uint64_t)(value), "%s", #name);                                     \
    count++;
#include <vmstream/registry/limits.def>
#undef VMS_LIMIT
    cr_assert_eq(sizeof limits, count * sizeof(uint64_t));
}
