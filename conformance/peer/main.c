/* SPDX-License-Identifier: MIT */
#include "conformance/peer/native.h"

#include <string.h>

/* An adapter like any other (conformance/cases/README.md), for the other end of a dialogue. */
int main(void) {
    static struct peer p;
    enum kit_exit status = kit_open(&p.kit);
    if (status != KIT_DONE)
        return (int)status;
    kit_write_version(&p.kit, "the scripted peer");
    if (kit_is(&p.kit, "version"))
        return KIT_DONE;
    if (strncmp(p.kit.uri, "unix:", 5) != 0 ||
        strcmp(cert_str(p.kit.test, "kind"), "dialogue") != 0)
        return KIT_USAGE;
    (void)snprintf(p.path, sizeof p.path, "%s", p.kit.uri + 5);
    p.script = cert_str(p.kit.body, "script");
    p.at = cert_str(p.kit.body, "at");
    p.deviation = cert_str(p.kit.body, "do");
    p.with = cert_str(p.kit.body, "with");
    p.machine = *p.kit.peer_machine ? p.kit.peer_machine : "none";
    struct vms_dialect dialect = {.vmdesc = VMS_ON};
    vms_qevm_encoder_init(&p.encoder, 0, &dialect);
    if (strcmp(p.script, "native") == 0)
        return kit_is(&p.kit, "source") ? (int)peer_native_source(&p)
                                        : (int)peer_native_destination(&p);
    return kit_is(&p.kit, "source") ? (int)peer_source(&p) : (int)peer_destination(&p);
}
