/* SPDX-License-Identifier: MIT */
#include "conformance/peer/peer.h"

#include <stdarg.h>
#include <string.h>

/* What a script finds, and how it ends. */

/* The first word counts: what follows may follow from it. */
static void stop(struct peer *p, enum kit_exit status, const char *clause, const char *fmt,
                 va_list args) {
    if (*p->failed)
        return;
    p->status = status;
    (void)vsnprintf(p->failed, sizeof p->failed, fmt, args);
    if (status == KIT_BROKEN)
        cert_set(p->kit.end, "clause", *clause ? clause : cert_str(p->kit.test, "clause"));
    kit_say(&p->kit, "%s%s", status == KIT_BROKEN ? "broken: " : "", p->failed);
}

void peer_finds(struct peer *p, const char *clause, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    stop(p, KIT_BROKEN, clause, fmt, args);
    va_end(args);
}

static bool is_late(const struct peer *p) {
    return kit_left(&p->kit, 600000) <= 1;
}

void peer_misses(struct peer *p, const char *clause, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    if (!is_late(p))
        stop(p, KIT_BROKEN, clause, fmt, args);
    va_end(args);
}

void peer_fail(struct peer *p, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    stop(p, KIT_LOCAL, "", fmt, args);
    va_end(args);
}

void peer_gone(struct peer *p, const char *fmt, ...) {
    char text[sizeof p->failed];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    kit_say(&p->kit, "%s", text);
    p->cut = true;
}

bool peer_wants_success(const struct peer *p) {
    const char *outcome = cert_str(json_object_get(p->kit.test, "expect"), "outcome");
    return !*outcome || strcmp(outcome, "completed") == 0;
}

bool peer_has_step(const char *const *steps, const char *step) {
    for (; *steps; steps++)
        if (strcmp(*steps, step) == 0)
            return true;
    return false;
}

enum kit_exit peer_end(struct peer *p, bool done, const char *text) {
    if (*p->at && !p->deviated)
        peer_misses(p, "", "the subject had gone before %s", p->at);
    if (!done && peer_wants_success(p))
        peer_misses(p, "", "%s", text);
    if (!*p->failed)
        return kit_end(&p->kit, done ? "completed" : "refused", "%s", text);
    (void)kit_end(&p->kit, p->status == KIT_BROKEN ? "broken" : "local", "%s", p->failed);
    return p->status;
}
