/* SPDX-License-Identifier: MIT */
#ifndef VMSTREAM_ERROR_H
#define VMSTREAM_ERROR_H

#include <stdint.h>

/** Who is to blame: the bytes, this machine, a bound of ours, or a bug (design §4, clause ERR-1).
 */
enum vms_class {
    VMS_CLASS_NONE,
    VMS_CLASS_PEER,
    VMS_CLASS_LOCAL,
    VMS_CLASS_LIMIT,
    VMS_CLASS_INTERNAL,
};

/** One code is one rule; registry/errors.def names its clause. */
enum vms_code {
    VMS_OK,
#define VMS_ERROR(code, class_, clause, text) VMS_E_##code,
#include <vmstream/registry/errors.def>
#undef VMS_ERROR
    VMS_CODE_COUNT,
};

/**
 * What went wrong and where. clause points to static text. offset is the byte offset in the channel
 * of the field that broke the rule, record the number of the record it belongs to, both from 0.
 */
struct vms_error {
    enum vms_class class_;
    enum vms_code code;
    uint32_t channel;
    uint64_t offset;
    uint64_t record;
    const char *clause;
    char message[200]; /* one line, no newline, NUL-terminated, printable ASCII */
};

/** "peer", "local", "limit", "internal" or "none". Static text. */
const char *vms_class_name(enum vms_class class_);
/** The code's name as in errors.def, "OK" for VMS_OK. Static text, never NULL. */
const char *vms_code_name(enum vms_code code);
/** The code's clause, "" for VMS_OK. Static text, never NULL. */
const char *vms_code_clause(enum vms_code code);
enum vms_class vms_code_class(enum vms_code code);

/**
 * Fills *err for code: class and clause from the registry, the message as the registry's text
 * followed by ": " and the formatted detail when fmt is not NULL. channel, offset and record are
 * left as they are. Returns code, so that a caller can `return vms_error_set(...)`. No allocation.
 */
enum vms_code vms_error_set(struct vms_error *err, enum vms_code code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/** Fills *err as vms_error_set does, with where it happened. */
enum vms_code vms_error_at(struct vms_error *err, enum vms_code code, uint32_t channel,
                           uint64_t offset, uint64_t record);

#endif
