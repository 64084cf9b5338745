/* SPDX-License-Identifier: MIT */
#include "reference-src/resolve.h"

#include "host/journal.h"
#include <stdio.h>
#include <stdlib.h>

struct resolving {
    const struct src_options *options;
    struct src_engine *engine;
    unsigned settled, failed;
};

static void say(const struct vms_journal_record *r, const char *what) {
    char id[VMS_SESSION_TEXT];
    vms_session_text(r->session, id);
    fprintf(stderr, "reference-src: session %s, generation %llu: %s\n", id,
            (unsigned long long)r->generation, what);
}

/* The engine's actions, as far as a program without the guest can carry them out. */
static bool write_record(struct resolving *x, struct vms_journal_record *r,
                         const struct src_actions *actions) {
    struct vms_error err;
    for (size_t i = 0; i < actions->count; i++) {
        if (actions->list[i].kind != SRC_DO_WRITE)
            continue;
        r->journal = actions->list[i].journal;
        if (vms_journal_write(x->options->journal, r, &err) == VMS_OK)
            return true;
        say(r, err.message);
    }
    return false;
}

static void resolve(struct resolving *x, struct vms_journal_record *r) {
    struct src_actions actions;
    struct vms_error err = {0};
    struct src_config config = {.native = true, .device_count = 1};
    struct src_event e = {.kind = x->options->resolve == SRC_RESOLVE_OURS ? SRC_EV_RESOLVE_OURS
                                                                          : SRC_EV_RESOLVE_THEIRS};
    (void)src_engine_init(x->engine, &config);
    src_engine_recover(x->engine, r->journal, r->generation, &actions);
    if (src_engine_event(x->engine, &e, &actions, &err) != VMS_OK) {
        say(r, err.message);
        x->failed++;
    } else if (write_record(x, r, &actions)) {
        say(r, x->options->resolve == SRC_RESOLVE_OURS
                   ? "ours; its memory went with the program that ran it, start it anew"
                   : "theirs; it may never be started here");
        x->settled++;
    } else {
        x->failed++;
    }
}

static void found(void *ctx, const struct vms_journal_record *record) {
    struct vms_journal_record r = *record;
    switch (r.journal) {
    case VMS_JOURNAL_COMMITTED:
    case VMS_JOURNAL_LOST: resolve(ctx, &r); break;
    case VMS_JOURNAL_RELEASED: say(&r, "ours already"); break;
    case VMS_JOURNAL_GONE: say(&r, "theirs already"); break;
    default: say(&r, "was never handed over: ours"); break;
    }
}

int src_resolve_journals(const struct src_options *options) {
    struct resolving x = {.options = options, .engine = malloc(src_engine_size())};
    struct vms_error err;
    if (!x.engine)
        return 3;
    enum vms_code code = vms_journal_list(options->journal, VMS_ROLE_SOURCE, found, &x, &err);
    if (code != VMS_OK)
        fprintf(stderr, "reference-src: %s\n", err.message);
    free(x.engine);
    return code != VMS_OK || x.failed ? 3 : 0;
}
