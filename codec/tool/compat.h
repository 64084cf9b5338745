/* SPDX-License-Identifier: MIT */
#ifndef VMSTREAM_TOOL_COMPAT_H
#define VMSTREAM_TOOL_COMPAT_H

#include "tool/json.h"

#include <stdbool.h>

/**
 * What a QEMU would send and what another would load, from what QEMU prints of itself:
 * -dump-vmstate (every device that it can have) or a VM description (the devices that one machine
 * has; the JSON text, or a stream or saved state that ends with it).
 *
 * Both become one model: devices with leaf fields in wire order. Strings are borrowed from `json`.
 */
struct compat_field {
    char *path;       /* owned; "parent_obj/config" */
    uint64_t size;    /* of one element, in octets; 0: not known */
    uint64_t count;   /* of elements; 0: not known (a dump does not tell) */
    int64_t since;    /* streams of this version on; 0: all */
    bool conditional; /* there only when a function of the device says so */
    bool unused;      /* padding */
};

struct compat_part {  /* a device, or a subsection */
    const char *name; /* dump: QOM type; description: the section's idstr; subsection: its name */
    const char *vmsd; /* name of the vmsd */
    int64_t instance; /* -1: a dump has none */
    int64_t version;  /* that is sent */
    int64_t minimum;  /* that is accepted; -1: not known */
    bool empty;       /* a dump without fields: the device cannot be migrated */
    struct compat_field *fields;
    size_t field_count;
    struct compat_part *subsections;
    size_t subsection_count;
    bool all_subsections; /* a dump: those that are not here are not known */
};

struct compat_side {
    json_t *json; /* owned */
    bool dump;    /* of -dump-vmstate */
    const char *machine;
    struct compat_part *devices;
    size_t device_count;
};

/** False: error has the reason. Frees nothing on failure: compat_free() in either case. */
bool compat_read(const char *path, struct compat_side *out, char *error, size_t error_size);
void compat_free(struct compat_side *side);

/** For compat_read.c's own use and tests: a model of JSON text that was loaded; takes json. */
bool compat_model(json_t *json, struct compat_side *out, char *error, size_t error_size);

enum compat_level {
    COMPAT_NOTE,  /* differs, and loads */
    COMPAT_MAYBE, /* does not load if the machine has it, or in that state */
    COMPAT_ERROR, /* does not load */
};

/** One finding. path: device, then field or subsection. */
typedef void compat_report(void *ctx, enum compat_level level, const char *rule, const char *path,
                           const char *text);

/** Compares what `from` sends with what `to` loads. */
void compat_compare(const struct compat_side *from, const struct compat_side *to,
                    compat_report *report, void *ctx);

#endif
