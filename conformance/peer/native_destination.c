/* SPDX-License-Identifier: MIT */
#include "conformance/peer/native.h"

#include <string.h>

/* The destination of a native migration: `at` names the frame that has just come. */

static const struct {
    uint32_t type;
    const char *reply;
} REPLIES[] = {
    {VMS_NATIVE_HELLO, "hello"},   {VMS_NATIVE_START, "ready"}, {VMS_NATIVE_COMMIT, "running"},
    {VMS_NATIVE_REQUEST, "grant"}, {VMS_NATIVE_PING, "pong"},   {VMS_NATIVE_END, "ack"},
};

static const char *reply_to(uint32_t type) {
    for (size_t i = 0; i < sizeof REPLIES / sizeof *REPLIES; i++)
        if (REPLIES[i].type == type)
            return REPLIES[i].reply;
    return NULL;
}

static void say(struct native *n, const char *step) {
    if (!native_say(n, step))
        peer_fail(n->p, "no step %s", step);
}

static bool is(const struct peer *p, const char *deviation) {
    return strcmp(p->deviation, deviation) == 0;
}

static void answer(struct native *n, uint32_t type) {
    struct peer *p = n->p;
    const char *reply = reply_to(type);
    bool here = !p->deviated && strcmp(vms_native_type_name(type), p->at) == 0;
    p->deviated |= here;
    if (here && (is(p, "before") || is(p, "instead")))
        say(n, p->with);
    if (reply && !(here && (is(p, "omit") || is(p, "instead"))))
        say(n, reply);
    if (reply && here && is(p, "twice"))
        say(n, reply);
    if (type == VMS_NATIVE_HELLO && !*p->failed)
        (void)native_set_keys(n);
    if (here && is(p, "then"))
        say(n, p->with);
    if (here && is(p, "cut"))
        p->cut = true;
}

enum kit_exit peer_native_destination(struct peer *p) {
    static struct native n;
    if (!native_open(&n, p, false) || !peer_accept(p))
        return KIT_LOCAL;
    n.main.fd = p->fd;
    bool committed = false;
    for (uint32_t type; !p->cut && !*p->failed && (type = native_hear(&n)) != 0;) {
        committed |= type == VMS_NATIVE_COMMIT;
        if (type != VMS_NATIVE_ABORT)
            answer(&n, type);
    }
    peer_hang_up(p);
    native_close(&n);
    if (*n.aborted)
        json_object_set_new(p->kit.end, "code", json_string(n.aborted));
    if (*n.aborted)
        return peer_end(p, false, n.aborted);
    return peer_end(p, committed, committed ? "the guest was handed over" : "no COMMIT came");
}
