/* SPDX-License-Identifier: MIT */
#include "reference-dst/options.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

/* reference-dst: receives a migration. Exit status: 0 done, 1 peer, 2 usage, 3 local (design §5).
 */

static int exit_status(const struct vms_error *err) {
    if (!err->code)
        return 0;
    return err->class_ == VMS_CLASS_PEER || err->class_ == VMS_CLASS_LIMIT ? 1 : 3;
}

static const char *advice(const struct vms_error *err) {
    switch (err->class_) {
    case VMS_CLASS_LIMIT: return "raise it with --limit NAME=VALUE if the source is to be trusted";
    case VMS_CLASS_PEER: return "nothing was started here; the source keeps its guest";
    default: return "nothing was started here";
    }
}

static void explain(const struct dst_session *s) {
    const struct vms_error *e = &s->error;
    if (!e->code) {
        fprintf(stderr, "reference-dst: completed in %lld ms\n",
                (long long)(s->stats.times.finished - s->stats.times.connected));
        return;
    }
    fprintf(stderr, "reference-dst: %s: %s\n", vms_code_name(e->code), e->message);
    fprintf(stderr, "  in state %s, channel %u, offset %llu, record %llu, clause %s\n  %s\n",
            dst_state_name(s->engine.state), e->channel, (unsigned long long)e->offset,
            (unsigned long long)e->record, e->clause ? e->clause : "-", advice(e));
}

int main(int argc, char **argv) {
    struct dst_options options;
    int status = dst_options_parse(argc, argv, &options);
    if (status >= 0)
        return status;
    (void)signal(SIGPIPE, SIG_IGN);
    struct dst_session *session = calloc(1, sizeof *session);
    if (!session)
        return 3;
    (void)dst_session_run(session, &options);
    if (!options.quiet || session->error.code)
        explain(session);
    status = exit_status(&session->error);
    if (options.report && dst_report(session) != 0) {
        fprintf(stderr, "reference-dst: cannot write the report to %s\n", options.report);
        status = status ? status : 3;
    }
    dst_session_free(session);
    free(session);
    return status;
}
