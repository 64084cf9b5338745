/* SPDX-License-Identifier: MIT */
#include "reference-dst/options.h"
#include "reference-src/vm/vm.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* reference-dst: receives a migration. Exit status: 0 done, 1 peer, 2 usage, 3 local (design §5).
 */

static int exit_status(const struct vms_error *err) {
    if (!err->code)
        return 0;
    return err->class_ == VMS_CLASS_PEER || err->class_ == VMS_CLASS_LIMIT ? 1 : 3;
}

static const char *advice(const struct dst_session *s) {
    if (s->error.class_ == VMS_CLASS_LIMIT && !s->ran)
        return "raise it with --limit NAME=VALUE if the source is to be trusted";
    if (s->ran)
        return "pages of the guest were still at the source: it is lost";
    return dst_belief_text(dst_source_belief(s));
}

static void explain(const struct dst_session *s) {
    const struct vms_error *e = &s->error;
    if (!e->code && s->options->answer)
        return; /* dst_native_answer_for() has said it */
    if (!e->code) {
        fprintf(stderr, "reference-dst: completed in %lld ms\n  %s\n",
                (long long)(s->stats.times.finished - s->stats.times.connected),
                dst_belief_text(dst_source_belief(s)));
        return;
    }
    fprintf(stderr, "reference-dst: %s: %s\n", vms_code_name(e->code), e->message);
    fprintf(stderr, "  in state %s, channel %u, offset %llu, record %llu, clause %s\n  %s\n",
            dst_state_name(s->engine.state), e->channel, (unsigned long long)e->offset,
            (unsigned long long)e->record, e->clause ? e->clause : "-", advice(s));
}

/* The guest runs on here, then every page is proved. */
static int prove(struct dst_session *s, struct vms_vm_report *check) {
    struct vms_error err = {0};
    if (dst_run_on(s, check, &err) == VMS_OK)
        return 0;
    fprintf(stderr, "reference-dst: %s: %s\n", vms_code_name(err.code), err.message);
    return err.code == VMS_E_VM_CHECK ? 1 : exit_status(&err);
}

static int finish(struct dst_session *s) {
    struct vms_vm_report check = {0};
    int status = exit_status(&s->error);
    bool proved = s->vm && !s->error.code && !s->options->answer;
    if (!s->options->quiet || s->error.code)
        explain(s);
    if (proved)
        status = prove(s, &check);
    if (s->options->report && dst_report(s, proved ? &check : NULL) != 0) {
        fprintf(stderr, "reference-dst: cannot write the report to %s\n", s->options->report);
        status = status ? status : 3;
    }
    return status;
}

/* A device of the simulator needs it in front of libc: then this program starts anew. */
static int simulate(const struct dst_options *o, char **argv) {
    struct vms_vfio_spec spec;
    struct vms_error err;
    for (size_t i = 0; i < o->vfio_count + o->vdpa_count; i++)
        if (vms_vfio_spec(i < o->vfio_count ? o->vfio[i] : o->vdpa[i - o->vfio_count], 0, &spec) &&
            spec.simulated && vms_vfio_simulate(argv, &err) != VMS_OK) {
            fprintf(stderr, "reference-dst: %s\n", err.message);
            return 3;
        }
    return -1;
}

int main(int argc, char **argv) {
    struct dst_options options;
    int status = dst_options_parse(argc, argv, &options);
    if (status >= 0)
        return status;
    status = simulate(&options, argv);
    if (status >= 0)
        return status;
    (void)signal(SIGPIPE, SIG_IGN);
    struct dst_session *session = calloc(1, sizeof *session);
    if (!session) { /* [MOD-9] */
        fprintf(stderr, "reference-dst: not enough memory\n");
        return 3;
    }
    (void)dst_session_run(session, &options);
    status = finish(session);
    if (dst_guest_lost(session)) /* [DST-21] its threads wait for pages: nothing else ends them */
        _exit(status);
    dst_session_free(session);
    free(session);
    return status;
}
