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
    bool deviated, cut, stalled;
    bool kept; /* the subject did not hang up in time */
    bool shut_seen;
    uint32_t shut;
    uint32_t asked;   /* 1 + the page that was asked for and has not come; 0: none */
    unsigned others;  /* pages that came since */
    uint64_t pinged;  /* a bit for each value below 64 that a PING had, and no PONG yet */
    char failed[200]; /* why the script could not be followed; "": it was */
};

/** The script could not be followed: the subject did not answer as it must. */
void peer_fail(struct peer *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* bytes.c: steps of a stream, each appends to out; false: there is no such step */
bool peer_write(struct peer *p, const char *step);

/* link.c: sockets */
bool peer_connect(struct peer *p);
bool peer_accept(struct peer *p); /* the next connection; p->fd */
void peer_send(struct peer *p);   /* what is in out */
/** Reads exactly n octets; false at the end of the connection, or the deadline. */
bool peer_read(struct peer *p, uint8_t *out, size_t n);
void peer_hang_up(struct peer *p);

/* The two kinds of script; exit status of the adapter. */
enum kit_exit peer_source(struct peer *p);      /* source.c */
enum kit_exit peer_destination(struct peer *p); /* destination.c */

#endif
