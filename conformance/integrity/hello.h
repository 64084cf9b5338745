/* SPDX-License-Identifier: MIT */
#ifndef VMSTREAM_CONFORMANCE_HELLO_H
#define VMSTREAM_CONFORMANCE_HELLO_H

#include "conformance/integrity/sealed.h"

/*
 * Hello frames that an attacker without the key has changed, one field at a time, each a
 * well-formed frame with the old tag.
 */
struct forged {
    const char *field;
    struct text frame;
};

enum {
    FORGED_MAX = 64,
};

/* Of a HELLO or ATTACH as it is on the wire. Returns how many; free each frame. */
size_t forge_hellos(struct vms_slice frame, struct forged out[FORGED_MAX]);

#endif
