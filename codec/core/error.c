/* SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <vmstream/error.h>

struct code_info {
    const char *name;
    const char *clause;
    const char *text;
    enum vms_class class_;
};

static const struct code_info CODES[VMS_CODE_COUNT] = {
    [VMS_OK] = {"OK", "", "no error", VMS_CLASS_NONE},
#define VMS_ERROR(code, class_, clause, text)                                                      \
    [VMS_E_##code] = {#code, clause, text, VMS_CLASS_##class_},
#include <vmstream/registry/errors.def>
#undef VMS_ERROR
};

static const struct code_info *info(enum vms_code code) {
    return (unsigned)code < VMS_CODE_COUNT ? &CODES[code] : &CODES[VMS_E_INTERNAL];
}

const char *vms_class_name(enum vms_class class_) {
    static const char *const names[] = {"none", "peer", "local", "limit", "internal"};
    return (unsigned)class_ < sizeof names / sizeof *names ? names[class_] : "internal";
}

const char *vms_code_name(enum vms_code code) {
    return info(code)->name;
}

const char *vms_code_clause(enum vms_code code) {
    return info(code)->clause;
}

enum vms_class vms_code_class(enum vms_code code) {
    return info(code)->class_;
}

/* A message may quote what a peer sent: it stays one printable line (ERR-3). */
static void make_printable(char *text) {
    for (; *text; text++)
        if (*text < 0x20 || *text > 0x7e)
            *text = '?';
}

enum vms_code vms_error_set(struct vms_error *err, enum vms_code code, const char *fmt, ...) {
    err->class_ = info(code)->class_;
    err->code = code;
    err->clause = info(code)->clause;
    int used = snprintf(err->message, sizeof err->message, "%s", info(code)->text);
    if (fmt && used >= 0 && (size_t)used + 3 < sizeof err->message) {
        char *at = err->message + used;
        size_t left = sizeof err->message - (size_t)used;
        va_list args;
        memcpy(at, ": ", 3);
        va_start(args, fmt);
        (void)vsnprintf(at + 2, left - 2, fmt, args);
        va_end(args);
        make_printable(at + 2);
    }
    return code;
}

enum vms_code vms_error_at(struct vms_error *err, enum vms_code code, uint32_t channel,
                           uint64_t offset, uint64_t record) {
    err->channel = channel;
    err->offset = offset;
    err->record = record;
    return vms_error_set(err, code, NULL);
}
