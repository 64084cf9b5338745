/* SPDX-License-Identifier: MIT */
#ifndef CONFORMANCE_PEER_NATIVE_H
#define CONFORMANCE_PEER_NATIVE_H

#include "conformance/peer/peer.h"

#include <vmstream/native.h>
#include <vmstream/openssl.h>

/*
 * A native peer: frames by hand, over the codec's bodies and seal alone. It knows no session and no
 * hand-over, so it can say anything at any time (spec/03.1-session.md is what the subject must
 * know).
 */

enum {
    NATIVE_PING_VALUE = 7, /* of every PING that a script says */
};

struct native_line { /* a connection, and the sealer of what is sent there */
    int fd;
    uint16_t channel;
    bool labelled; /* the label was sent */
    struct vms_sealer sealer;
};

struct native {
    struct peer *p;
    bool source;
    struct vms_openssl *openssl;
    const struct vms_crypto_ops *crypto;
    struct vms_transcript transcript;
    struct native_line main, data; /* data: channel 1 */
    struct vms_opener opener;      /* of the main channel's other direction */
    struct vms_native_decoder *decoder;
    struct vms_room input; /* read and not decoded yet */
    uint8_t buffer[1 << 16];
    uint8_t session[16], random[VMS_SEAL_RANDOM_BYTES], master[VMS_MASTER_BYTES];
    struct vms_psk psk; /* key_len 0: there is none */
    uint64_t generation;
    /* what was heard last */
    uint32_t type;
    uint64_t value;      /* of PING */
    uint64_t acked;      /* frames of channel 1 that an ACK has named */
    uint32_t device;     /* of REQUEST */
    uint64_t said;       /* generation of a frame of the hand-over, or REQUEST */
    char aborted[64];    /* code of an ABORT */
    uint64_t peer_wants; /* features that the peer offers */
};

/** Limits, crypto, key of the case. False: a local failure. */
bool native_open(struct native *n, struct peer *p, bool source);
void native_close(struct native *n);

/** Ready for the first octet of a connection. */
bool native_listen_anew(struct native *n);

/** The next frame's type, ABORT's content kept; 0: the connection is over, or the time is. */
uint32_t native_hear(struct native *n);

/** Seals and sends a frame as it is: what is in it is nobody's business here. */
void native_put(struct native *n, struct native_line *line, uint32_t type, struct vms_slice body,
                struct vms_slice bulk);
/** The same, its body from the codec. */
void native_send(struct native *n, struct native_line *line, struct vms_native_frame *frame,
                 struct vms_slice bulk);

/** "NAME", "NAME:A" or "NAME:A:B" says one frame (native_steps.c), '+' joins several; false: there
 * is no such step. */
bool native_say(struct native *n, const char *step);

/* native_hello.c: frames of epoch 0 */
void native_hello(struct native *n, unsigned variant);
void native_attach(struct native *n, bool foreign);
void native_resume(struct native *n);
/** RESUME of the session that is open; says that it was refused as `says` of the case has it. */
void native_own_resume(struct native *n, uint32_t epoch);
/**
 * The main connection breaks off in the middle of a frame; on another the session is asked about,
 * and nothing is said behind HELLO [HND-14]. Fails unless RUNNING or NOT_STARTED is heard.
 */
void native_inquire(struct native *n);
/** REKEY to that epoch, in which the main channel goes on. */
void native_rekey(struct native *n, uint32_t epoch);
/** The peer's HELLO was heard, and ours said: keys for both directions of the main channel. */
bool native_set_keys(struct native *n);
enum vms_code native_on_hello(void *ctx, const struct vms_native_frame *frame,
                              struct vms_opener **opener, struct vms_error *err);

enum kit_exit peer_native_source(struct peer *p);      /* native_source.c */
enum kit_exit peer_native_destination(struct peer *p); /* native_destination.c */

#endif
