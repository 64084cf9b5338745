/* SPDX-License-Identifier: MIT */
#ifndef CONFORMANCE_PEER_H
#define CONFORMANCE_PEER_H

#include "conformance/adapters/kit/kit.h"

#include <stdint.h>
#include <vmstream/qevm.h>

/**
 * A peer that follows a script and does one thing otherwise (conformance/cases/README.md,
 * dialogues). A script is a list of steps; `at` names one, `do` says what becomes of it:
 *
 *   omit, twice, cut (the connection ends behind it, and the script), end-behind (the connection
 * alone), stall (nothing more is sent), before and instead (of the step `with`, a step's name or
 * "hex:...").
 */
enum {
    PEER_PAGE = 4096,
    PEER_PAGES = 16, /* of the one RAM block, "ram" */
    PEER_CONNECTIONS = 8,
    PEER_BYTES = 1 << 18,
    PEER_AHEAD = 32, /* pages that may be on their way when one is asked for */
    PEER_PINGS = 64, /* values that a PING may have */
};

struct peer {
    struct kit kit;
    const char *script, *at, *deviation, *with;
    const char *machine;
    char path[108]; /* of the UNIX socket */
    int fds[PEER_CONNECTIONS];
    unsigned count; /* of connections */
    int fd;         /* that is written to and read from */
    int listener;   /* 0: there is none yet */
    uint8_t out[PEER_BYTES];
    size_t len; /* to be sent */
    struct vms_qevm_encoder encoder;
    bool deviated, stalled;
    bool cut; /* by the script, or the subject has gone: nothing more is sent */
    bool shut_seen;
    uint32_t shut;
    uint32_t asked;            /* 1 + the page that was asked for and has not come; 0: none */
    unsigned others;           /* pages that came since */
    uint8_t pings[PEER_PINGS]; /* so many of that value have no PONG yet */
    unsigned open;             /* of any value */
    char failed[300];          /* what peer_finds() or peer_fail() said first; "": nothing */
    enum kit_exit status;      /* that goes with it */
};

/*
 * end.c: how a script ends. What the subject does is either a refusal, which the case may expect:
 * peer_gone(); or it breaks a rule, which fails the case, whatever else it expects: peer_finds().
 */

/** The subject broke a rule; `clause` "": the case's own. The script ends with KIT_BROKEN. */
void peer_finds(struct peer *p, const char *clause, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/** The same of what did not come; but not when the script's time is over, which proves nothing. */
void peer_misses(struct peer *p, const char *clause, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/** The subject has hung up, or listens no more: nothing more is sent, and peer_end() judges. */
void peer_gone(struct peer *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/** The script cannot be played, and the subject is not to blame: KIT_LOCAL. */
void peer_fail(struct peer *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/** Whether the case wants the migration to succeed. */
bool peer_wants_success(const struct peer *p);
/**
 * Writes end.json; the script's exit status. `done`: as far as the script can see, the migration
 * has succeeded. KIT_DONE or KIT_REFUSED by that, where nothing was found; the subject must not
 * have gone before the step `at`, nor before the end where the case wants success.
 */
enum kit_exit peer_end(struct peer *p, bool done, const char *text);

/* bytes.c: steps of a stream, each appends to out; false: there is no such step */
bool peer_write(struct peer *p, const char *step);

/* link.c: sockets */
bool peer_connect(struct peer *p);
bool peer_accept(struct peer *p); /* the next connection; p->fd */
void peer_send(struct peer *p);   /* what is in out */
/** Reads exactly n octets; false at the end of the connection, or the deadline. */
bool peer_read(struct peer *p, uint8_t *out, size_t n);
void peer_hang_up(struct peer *p);

/** Whether a list that ends with NULL has that step. */
bool peer_has_step(const char *const *steps, const char *step);

/* The two kinds of script; exit status of the adapter. */
enum kit_exit peer_source(struct peer *p);      /* source.c */
enum kit_exit peer_destination(struct peer *p); /* destination.c */

#endif
