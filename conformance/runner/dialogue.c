/* SPDX-License-Identifier: MIT */
#include "conformance/runner/case.h"
#include "conformance/runner/rig.h"

#include <string.h>

/*
 * A dialogue: the subject's peer is a script (build/certify-peer), which is in the other role and
 * keeps to the same contract.
 */
static json_t *script;

void cert_run_dialogue(struct cert_rig *r) {
    bool is_source = strcmp(r->ends[0].role, "source") == 0;
    struct cert_end subject = r->ends[0];
    struct cert_end *s = &r->ends[CERT_SOURCE], *d = &r->ends[CERT_DESTINATION];
    struct cert_end *other = is_source ? d : s;
    memset(s, 0, sizeof *s);
    memset(d, 0, sizeof *d);
    *(is_source ? s : d) = subject;
    script = json_pack("{s:s, s:s, s:s}", "name", "script", "implementation", "script", "adapter",
                       "certify-peer");
    other->implementation = script;
    other->role = is_source ? "destination" : "source";
    other->machine = subject.machine;
    cert_path(other->folder, "%s/script", r->folder);
    (void)cert_mkdir(other->folder);
    (void)snprintf(other->process.name, sizeof other->process.name, "script");
    cert_run_pair(r);
    /* who refuses what was never said has not been tried */
    if (cert_result_verdict(r->result) == CERT_PASS && r->tap && vms_tap_count(r->tap) == 0)
        cert_break(r, "nothing was on the wire, whatever %s says", subject.process.name);
}
