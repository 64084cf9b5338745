/* SPDX-License-Identifier: MIT */
#include <vmstream/record.h>

const char *vms_record_name(enum vms_record_type type) {
    static const char *const names[VMS_RECORD_TYPE_COUNT] = {
        [VMS_RECORD_NONE] = "NONE",
#define VMS_RECORD(name, text) [VMS_R_##name] = #name,
#include <vmstream/registry/records.def>
#undef VMS_RECORD
    };
    return (unsigned)type < VMS_RECORD_TYPE_COUNT ? names[type] : names[VMS_RECORD_NONE];
}

const char *vms_command_name(unsigned command) {
    switch (command) {
#define VMS_COMMAND(name, value, length, since)                                                    \
    case value:                                                                                    \
        return #name;
#include <vmstream/registry/qevm_commands.def>
#undef VMS_COMMAND
    default: return NULL;
    }
}

const char *vms_section_kind_name(enum vms_section_kind kind) {
    static const char *const names[] = {"device", "ram", "vfio", "dirty-bitmap"};
    return (unsigned)kind < sizeof names / sizeof *names ? names[kind] : "unknown";
}
