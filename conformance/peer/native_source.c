/* SPDX-License-Identifier: MIT */
#include "conformance/peer/native.h"

#include <string.h>
#include <sys/socket.h>

/*
 * The source of a native migration (MIG), as a script. '<' waits for a frame of that name; the
 * others say one (native_steps.c).
 */
static const char *const STEPS[] = {"hello",  "<HELLO",   "blocks", "setup", "data",
                                    "pages",  "state",    "end",    "start", "<READY",
                                    "commit", "<RUNNING", "ack",    NULL};

static void wait_for(struct native *n, const char *name) {
    uint32_t type;
    if (n->p->cut || n->p->stalled)
        return;
    do
        type = native_hear(n);
    while (type && type != VMS_NATIVE_ABORT && strcmp(vms_native_type_name(type), name) != 0);
    if (!type || type == VMS_NATIVE_ABORT)
        peer_gone(n->p, "no %s came", name);
    else if (type == VMS_NATIVE_HELLO)
        (void)native_set_keys(n);
}

static void take(struct native *n, const char *step) {
    if (*step == '<')
        wait_for(n, step + 1);
    else if (!native_say(n, step))
        peer_fail(n->p, "no step %s", step);
}

static void deviate(struct native *n, const char *step) {
    struct peer *p = n->p;
    const char *how = p->deviation;
    p->deviated = true;
    if (strcmp(how, "before") == 0 || strcmp(how, "instead") == 0)
        take(n, p->with);
    if (strcmp(how, "omit") != 0 && strcmp(how, "instead") != 0)
        take(n, step);
    if (strcmp(how, "twice") == 0)
        take(n, step);
    if (strcmp(how, "cut") == 0) {
        peer_hang_up(p);
        p->cut = true;
    }
}

static void follow(struct native *n) {
    struct peer *p = n->p;
    for (const char *const *step = STEPS; *step && !*p->failed; step++)
        if (!p->deviated && !p->cut && strcmp(*step, p->at) == 0)
            deviate(n, *step);
        else
            take(n, *step);
}

/* What it says of itself must be what it told its peer. */
static void judge(struct native *n, bool ran) {
    struct peer *p = n->p;
    const char *says = cert_str(p->kit.body, "says");
    bool wanted = peer_wants_success(p);
    if (*says && strcmp(says, n->aborted) != 0)
        peer_misses(p, "SES-23", "ABORT says \"%s\", not %s", n->aborted, says);
    if (ran && !wanted)
        peer_finds(p, "", "RUNNING was said");
    if (!ran && wanted)
        peer_misses(p, "", "no RUNNING came");
}

enum kit_exit peer_native_source(struct peer *p) {
    static struct native n;
    if (*p->at && !peer_has_step(STEPS, p->at))
        return KIT_USAGE;
    if (!native_open(&n, p, true) || !peer_connect(p))
        return KIT_LOCAL;
    n.main.fd = p->fd;
    kit_mark(&p->kit, "ready");
    follow(&n);
    bool ran = n.type == VMS_NATIVE_RUNNING;
    (void)shutdown(n.main.fd, SHUT_WR);
    while (!*p->failed && native_hear(&n)) /* what it says last */
        ran |= n.type == VMS_NATIVE_RUNNING;
    peer_hang_up(p);
    native_close(&n);
    if (*n.aborted)
        json_object_set_new(p->kit.end, "code", json_string(n.aborted));
    judge(&n, ran);
    kit_mark(&p->kit, ran ? "handed" : "kept");
    return peer_end(p, ran, n.aborted);
}
