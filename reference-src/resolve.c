/* SPDX-License-Identifier: MIT */
#include "reference-src/resolve.h"

#include <stdio.h>
#include <stdlib.h>

struct resolving {
    const struct src_options *options;
    int status;
};

static const struct {
    const char *text;
    const char *advice; /* to who asked */
    int status;
} OUTCOMES[SRC_SETTLINGS] = {
    [SRC_SETTLED_OURS] = {"ours; its memory went with the program that ran it, start it anew", "",
                          0},
    [SRC_SETTLED_THEIRS] = {"theirs; it may never be started here", "", 0},
    [SRC_SETTLED_LOST] =
        {"theirs, by postcopy; pages that were left here went with the program that "
         "had them: the guest is lost unless the destination has all of it; it may "
         "never be started here",
         "", 0},
    [SRC_UNSETTLED] = {"still in doubt",
                       "; see that the destination runs, or runs again with --answer, and ask "
                       "again; or find out which end has the guest, then --resolve",
                       3},
    [SRC_PEER_BROKE] = {"still in doubt: the destination broke the rules",
                        "; find out which end has the guest, then --resolve", 1},
};

static void say(const struct vms_journal_record *r, const char *what, const char *why,
                const char *advice) {
    char id[VMS_SESSION_TEXT];
    vms_session_text(r->session, id);
    fprintf(stderr, "reference-src: session %s, generation %llu: %s%s%s%s\n", id,
            (unsigned long long)r->generation, what, *why ? ": " : "", why, advice);
}

/* The engine's actions, as far as a program without the guest can carry them out. */
static enum vms_code write_record(const char *folder, struct vms_journal_record r,
                                  const struct src_actions *actions, struct vms_error *err) {
    for (size_t i = 0; i < actions->count; i++)
        if (actions->list[i].kind == SRC_DO_WRITE) {
            r.journal = actions->list[i].journal;
            return vms_journal_write(folder, &r, err);
        }
    return vms_error_set(err, VMS_E_INTERNAL, "nothing is to be written");
}

/* [HND-12] What the operator has found out. */
static enum src_settling decide(const struct src_options *o, const struct vms_journal_record *r,
                                struct vms_error *why) {
    bool ours = o->resolve == SRC_RESOLVE_OURS;
    struct src_actions actions;
    struct src_config config = {.native = true};
    struct src_event e = {.kind = ours ? SRC_EV_RESOLVE_OURS : SRC_EV_RESOLVE_THEIRS};
    struct src_engine *engine = malloc(src_engine_size());
    if (!engine) {
        (void)vms_error_set(why, VMS_E_NO_MEMORY, NULL);
        return SRC_UNSETTLED;
    }
    (void)src_engine_init(engine, &config);
    src_engine_recover(engine, r->journal, r->generation, &actions);
    enum vms_code code = src_engine_event(engine, &e, &actions, why);
    free(engine);
    if (code != VMS_OK || write_record(o->journal, *r, &actions, why) != VMS_OK)
        return SRC_UNSETTLED;
    return ours ? SRC_SETTLED_OURS : r->postcopy ? SRC_SETTLED_LOST : SRC_SETTLED_THEIRS;
}

/* A broken rule is worse than a doubt, and a doubt than nothing. */
static void take_status(struct resolving *x, int status) {
    if (status && x->status != 1)
        x->status = status;
}

static void settle(struct resolving *x, const struct vms_journal_record *r) {
    struct vms_error why = {.clause = ""};
    enum src_settling s = (x->options->inquire ? src_inquire : decide)(x->options, r, &why);
    say(r, OUTCOMES[s].text, OUTCOMES[s].status ? why.message : "",
        x->options->inquire ? OUTCOMES[s].advice : "");
    take_status(x, OUTCOMES[s].status);
}

static void found(void *ctx, const struct vms_journal_record *r) {
    switch (r->journal) {
    case VMS_JOURNAL_COMMITTED:
    case VMS_JOURNAL_LOST: settle(ctx, r); break;
    case VMS_JOURNAL_RELEASED: say(r, "ours already", "", ""); break;
    case VMS_JOURNAL_GONE: /* [HND-16] */
        say(r, r->postcopy ? OUTCOMES[SRC_SETTLED_LOST].text : "theirs already", "", "");
        break;
    default: say(r, "was never handed over: ours", "", ""); break;
    }
}

int src_resolve_journals(const struct src_options *options) {
    struct resolving x = {.options = options};
    struct vms_error err;
    if (vms_journal_list(options->journal, VMS_ROLE_SOURCE, found, &x, &err) == VMS_OK)
        return x.status;
    fprintf(stderr, "reference-src: %s\n", err.message);
    return 3;
}
