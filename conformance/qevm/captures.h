/* SPDX-License-Identifier: MIT */
#ifndef CONFORMANCE_QEVM_CAPTURES_H
#define CONFORMANCE_QEVM_CAPTURES_H

#include "conformance/qevm/trace.h"

/** What QEMU sent: files in ../shared/captures, or in VMS_CAPTURES, packed by xz. */
struct capture {
    const char *file;
    enum vms_qevm_kind kind;
    const char *main; /* file of its main channel; NULL: it is one, or needs none */
};
extern const struct capture CAPTURES[];
extern const size_t CAPTURE_COUNT;

/** NULL: there is none. */
const char *captures_folder(void);
/** Its octets, to be freed by text_free(); ptr NULL: it cannot be read. */
struct text capture_read(const char *file);

#endif
