/* SPDX-License-Identifier: MIT */
#ifndef VMSTREAM_SESSION_H
#define VMSTREAM_SESSION_H

#include <vmstream/native.h>

/**
 * Sessions of the native wire (spec/03.1-session.md): negotiation, what may come when, what was
 * sent, received and acknowledged, END, resumption, keep-alive. Pure: no keys, no bytes, no clock;
 * the caller owns the frames that are kept for replay and says what time it is.
 */

/* ---- negotiation (NAT-40 to NAT-48) ---- */

/** What two hellos come to. */
struct vms_agreement {
    uint32_t version;
    uint64_t features;
    enum vms_suite suite;
    struct vms_limits limits;   /* for what this end sends: the smaller of both */
    uint64_t peer_replay_bytes; /* what the peer keeps of what it sends */
    uint32_t keepalive_ms;      /* longest silence of the peer; 0: any */
};

/**
 * own and peer are the hellos of the two ends; limits are this end's. keyed: a secret is in use.
 * A file (peer NULL, or peer's form FILE with own NULL) agrees on what its one hello says.
 * NATIVE_VERSION, NATIVE_FEATURE, NATIVE_HELLO, SESSION_ID, SEAL_NO_SUITE.
 */
enum vms_code vms_session_negotiate(const struct vms_native_hello *own,
                                    const struct vms_native_hello *peer, bool keyed,
                                    const struct vms_limits *limits, struct vms_agreement *out,
                                    struct vms_error *err);

/* ---- the state table (SES) ---- */

enum vms_session_state {
    VMS_SES_NEW,        /* nothing was sent or received */
    VMS_SES_HELLO,      /* source: our HELLO was sent */
    VMS_SES_OPEN,       /* both hellos (of a file, the one) are through */
    VMS_SES_ENDED,      /* OPEN, and END was sent (source) or received (destination) */
    VMS_SES_LOST,       /* the connection is gone; OPEN before */
    VMS_SES_LOST_ENDED, /* likewise; ENDED before */
    VMS_SES_RESUMING,   /* source: RESUME was sent */
    VMS_SES_RESUMING_ENDED,
    VMS_SES_CLOSED, /* over, in good order */
    VMS_SES_FAILED, /* over */
    VMS_SES_STATES,
};

enum vms_session_event {
    /* frames, authentic */
    VMS_SES_EV_HELLO, /* who writes a file gives it once more for its own, behind OPEN */
    VMS_SES_EV_ATTACH,
    VMS_SES_EV_RESUME,
    VMS_SES_EV_RESUMED,
    VMS_SES_EV_ABORT,
    VMS_SES_EV_END,
    VMS_SES_EV_DATA,
    VMS_SES_EV_CONTROL, /* REKEY, ACK, PING, PONG, REQUEST, GRANT, unknown ones */
    VMS_SES_EV_HANDOVER,
    /* what this end does or finds */
    VMS_SES_EV_OPEN,      /* source: send the HELLO */
    VMS_SES_EV_SEND,      /* may a DATA frame be sent? */
    VMS_SES_EV_SEND_END,  /* source */
    VMS_SES_EV_CUT,       /* the connection is gone */
    VMS_SES_EV_RECONNECT, /* source: a new connection is there */
    VMS_SES_EV_CLOSE,     /* the hand-over is settled, or the file is over */
    VMS_SES_EV_GIVE_UP,   /* ABORT is sent, or the time for resuming is over */
    VMS_SES_EVENTS,
};

enum vms_session_action {
    VMS_SES_DO_NOTHING, /* it is allowed; go on */
    VMS_SES_DO_SEND_HELLO,
    VMS_SES_DO_SEND_RESUME,
    VMS_SES_DO_SEND_RESUMED, /* close the old connection, answer, go on in the new one */
    VMS_SES_DO_REPLAY,       /* source: send again what the peer lacks, then go on */
    VMS_SES_DO_KEEP,         /* connection gone: keep everything, wait for or make a new one */
    VMS_SES_DO_FAIL,         /* the session has failed: tell why, with ABORT where there is a way */
    VMS_SES_DO_CLOSE,        /* close the connections */
    VMS_SES_DO_REFUSE,       /* the frame is not allowed: SESSION_UNEXPECTED; then as FAIL */
    VMS_SES_DO_MISUSE,
    VMS_SES_ACTIONS,
};

/** "OPEN", "LOST", … Static text. */
const char *vms_session_state_name(enum vms_session_state state);

/** The table alone, total. *next: the new state. */
enum vms_session_action vms_session_step(enum vms_native_role role, enum vms_session_state state,
                                         enum vms_session_event event,
                                         enum vms_session_state *next);

/** The event that a received frame is. */
enum vms_session_event vms_session_frame_event(const struct vms_native_frame *frame);

/* ---- a session: the state and the accounts ---- */

struct vms_session_channel {
    bool out_open, in_open;
    /* this end sends */
    uint64_t out_next;  /* sequence of the next frame */
    uint64_t out_acked; /* frames below were acknowledged; not kept any more */
    uint64_t out_kept;  /* bytes kept for replay */
    uint32_t out_epoch;
    /* this end receives */
    uint64_t in_next;
    uint64_t in_told; /* the last ACK said so */
    uint32_t in_epoch;
    /* what END said */
    bool end_listed;
    uint64_t end_next;
    uint32_t end_epoch;
    bool end_resumed; /* what it lists comes again, in other epochs (RSM-16) */
};

struct vms_session {
    enum vms_native_role role;
    enum vms_session_state state;
    uint8_t id[16];
    struct vms_agreement agreement;
    struct vms_session_channel *channels; /* the caller's; the index is the channel */
    uint32_t channel_count;
    uint64_t kept;       /* bytes kept for replay, all channels */
    uint64_t untold;     /* bytes received that no ACK has covered */
    uint32_t epoch;      /* the highest of any channel, either direction */
    uint32_t peer_epoch; /* the highest that the peer has used or named */
    uint64_t out_end;    /* sequence behind the END that this end sent; 0: none */
    bool end_known;      /* END was received */
    uint64_t heard_ms;   /* when something was received last */
    uint64_t said_ms;    /* when something was sent last */
    struct vms_error error;
};

/** channels: count of them, which are zeroed. at most limits.native_channels count. */
void vms_session_init(struct vms_session *session, enum vms_native_role role, const uint8_t id[16],
                      struct vms_session_channel *channels, uint32_t channel_count);

/** Steps the state. REFUSE and FAIL set session->error; of GIVE_UP the caller knows why. */
enum vms_session_action vms_session_event(struct vms_session *session,
                                          enum vms_session_event event);

/**
 * A frame was received, authentic: steps the state and does the accounts of it, the resumption and
 * ACK included. bytes: all of it on the wire. session->error with REFUSE and FAIL.
 */
enum vms_session_action vms_session_received(struct vms_session *session,
                                             const struct vms_native_frame *frame, uint64_t bytes);

/** Whether a DATA frame of that size may be sent now: else wait for ACK (RSM-4). */
bool vms_session_may_send(const struct vms_session *session, uint64_t bytes);
/** A frame was encoded. kept: bytes that the caller keeps of it; 0 for HELLO class. */
void vms_session_sent(struct vms_session *session, const struct vms_native_frame *frame,
                      uint64_t kept);
/** The caller has forgotten frames below `out_acked` of a channel, so many bytes. */
void vms_session_forgot(struct vms_session *session, uint16_t channel, uint64_t bytes);

/** Whether an ACK should be sent: every quarter of the peer's replay_bytes (RSM-5). */
bool vms_session_ack_due(const struct vms_session *session);
/** Fills positions (at least channel_count) for ACK and for RESUME, and marks them as told. */
uint32_t vms_session_positions(struct vms_session *session, struct vms_native_position *positions);
/** Fills what END lists (at least channel_count). */
uint32_t vms_session_fill_end(const struct vms_session *session, struct vms_native_sent *sent);
/**
 * The epoch for the next RESUME: above every one known here (RSM-8). That for RESUMED is
 * session->epoch once vms_session_received() has taken the RESUME.
 */
uint32_t vms_session_next_epoch(const struct vms_session *session);

enum vms_session_end {
    VMS_END_NONE,     /* END has not come */
    VMS_END_WAITING,  /* other channels are behind it */
    VMS_END_COMPLETE, /* all that was sent is here */
    VMS_END_WRONG,    /* more or other things are here than were sent: SESSION_END */
};
/** What END and the accounts say (SES-20). The transcript is the caller's to compare. */
enum vms_session_end vms_session_end_status(const struct vms_session *session);

enum vms_session_alive {
    VMS_ALIVE_FINE,
    VMS_ALIVE_PING, /* send something: half of what we promised has passed in silence */
    VMS_ALIVE_DEAD, /* the peer was silent for longer than it promised: SESSION_SILENT */
};
/** own_keepalive_ms: what our HELLO promised. *wait_ms: ask again after so long. */
enum vms_session_alive vms_session_alive(struct vms_session *session, uint64_t now_ms,
                                         uint32_t own_keepalive_ms, uint64_t *wait_ms);

#endif
