/* SPDX-License-Identifier: MIT */
#ifndef VMSTREAM_HOST_NATIVE_LINK_INTERNAL_H
#define VMSTREAM_HOST_NATIVE_LINK_INTERNAL_H

#include "host/backend.h"
#include "host/native_link.h"
#include "host/native_link_rooms.h"
#include <pthread.h>
#include <stdatomic.h>

/*
 *   native_link.c        state, the threads                   native_link_send.c   kept frames
 *   native_link_new.c    construction, opening, closing       native_link_write.c  frames out
 *   native_link_conn.c   a connection: keys, frames in        native_link_recv.c   frames in
 *   native_link_hello.c  hello frames, keys                   native_link_queue.c  who may send
 * when native_link_open.c   source: opening, resuming            native_link_accept.c destination
 *      native_link_rooms.c  where frames are sealed
 *
 * Locks: a channel's `write` before the link's `mutex`. `mutex` is never held over a call that
 * waits for the network. A connection's opener, intake and input belong to whoever reads it, its
 * sealer to who holds `write`.
 */
enum {
    LINK_BUFFER = 64 * 1024,      /* bytes read ahead */
    LINK_HEAD = 4096,             /* the same, of channels whose bulk goes around the buffer */
    LINK_DIRECT_MIN = 4096,       /* bytes of bulk from which the buffer is gone around */
    LINK_DIRECT_MAX = 256 * 1024, /* and which are opened at once: the cache still has them */
    LINK_PIECES = 64,             /* places that they go to */
    LINK_TICK_MS = 100,           /* longest delay of an ACK */
    LINK_PING_MS = 1000,          /* how often the round trip is measured */
    LINK_IDLE_FRAMES =
        256, /* ACK, PING, PONG that get an ACK after all, so that they are not kept */
    LINK_HANDSHAKE_MS = 10000,   /* the default, of keep-alive too */
    LINK_CLOSE_MS = 2000,        /* to say goodbye */
    LINK_HEAR_MS = 500,          /* for why the peer has gone */
    LINK_LEND_MIN = 64 * 1024,   /* bytes from which lending is cheaper than copying */
    LINK_SEND_ROOM = 512 << 10,  /* bytes of a data channel in the kernel: two rooms; they are
                                    read while the processor's cache has them */
    VMS_NATIVE_BODY_MADE = 8192, /* bytes of an ACK or END of 256 channels, and more */
};

struct link_frame {
    struct link_frame *prev, *next;
    uint32_t type;
    uint16_t flags;
    uint32_t body_len, bulk_len;
    bool sent;     /* once at least: its sequence is settled */
    uint8_t *body; /* behind the pieces; ACK, REKEY and END have theirs made when they are sent */
    uint32_t piece_count;
    struct vms_slice pieces[]; /* of bulk: behind the body, or the caller's that last (RSM-13) */
};

struct link_conn {
    struct vms_native_link *link;
    struct vms_channel *io;
    unsigned refs;   /* mutex */
    uint32_t serial; /* no two connections of a link have the same */
    struct link_conn *next_dead;
    uint16_t channel;
    bool settled; /* hellos are through */
    bool torn;    /* main: it has ended inside a frame. The reader's */
    bool direct;  /* bulk has gone around the buffer: little is read ahead */
    struct vms_sealer sealer;
    struct vms_opener opener;
    struct vms_transcript transcript; /* of the direction that END is in; main channel */
    uint8_t master[VMS_MASTER_BYTES];
    void *zip_mem, *intake_mem;
    struct vms_intake *intake;
    uint8_t *buffer;
    struct vms_room input;
    struct vms_intake_event event;
    uint8_t secret[VMS_PSK_MAX]; /* that opened the hello; of the session, once that is open */
    size_t secret_len;
};

struct link_channel {
    bool open;
    uint32_t kind;
    struct link_conn *conn;    /* in use now; NULL while there is none. mutex */
    struct link_conn *reading; /* the receiver's */
    pthread_mutex_t write;
    struct link_frame *head, *tail;
    struct link_frame *cursor; /* the next to send; NULL: all was sent */
    uint64_t head_sequence;
    uint64_t queued;     /* bytes */
    unsigned keep_short; /* bytes in the kernel; 0: as it likes. mutex */
    _Atomic uint64_t bytes_out;
    struct link_rooms out; /* who holds write */
    uint32_t out_serial;   /* of the connection that its bytes were sealed for */
    pthread_t replayer;
    bool replaying; /* the thread is to be joined */
};

struct vms_native_link {
    struct vms_native_link_config config;
    struct vms_uri uri;
    struct vms_channel_options options;
    struct vms_cancel *cancel;
    uint32_t suites[8];
    uint8_t *psk_text;
    uint8_t *machine;
    struct vms_native_device *devices; /* with their names behind them */
    _Atomic uint32_t resumes;
    _Atomic uint32_t serials; /* of connections so far */
    struct vms_psk psk;       /* of the session, once known */
    uint8_t exporter[VMS_EXPORTER_BYTES];
    bool exporter_known;
    struct vms_backend *backend;
    const struct vms_crypto_ops *crypto;

    pthread_mutex_t attaching; /* source: who makes connections of channels; before all others */
    pthread_mutex_t mutex;
    pthread_cond_t changed; /* anything that a sender or receiver waits for */
    pthread_cond_t work;    /* for the ticker */
    pthread_cond_t lost;    /* for the source's keeper: connections are gone. Frames and ACKs, which
                               `changed` tells of a thousand times a second, must not wake it */
    struct vms_session session;
    struct vms_session_channel *accounts;
    struct link_channel *channels;
    uint32_t channel_count;
    struct vms_error error;   /* why the session failed */
    struct vms_error refused; /* the last refused connection */
    struct vms_error cut;     /* why the last connection was lost */
    bool opened, over, stop;  /* over: in good order */
    bool failed, aborting, closing, settled;
    struct link_conn *dead; /* dropped, to be freed */
    uint64_t end_place;     /* sequence of our END plus 1, once sent */
    uint32_t end_epoch;     /* of the main channel's last frame before it */
    uint32_t base_epoch;    /* of channels that attach now */
    uint8_t master[VMS_MASTER_BYTES];
    int64_t lost_at;          /* ms */
    uint64_t cuts, told_cuts; /* what the user knows of them */
    bool told_down, telling;
    uint64_t queued;
    bool ack_now, pong_due;
    uint64_t pong;
    uint64_t farewell; /* PING behind the acknowledgement of END (RSM-14); 0: none yet */
    bool farewell_heard, farewell_due; /* its PONG; at the source: PING has come */
    uint32_t told_type, told_len;      /* the answer that was acknowledged last; type 0: none */
    uint8_t told[32];                  /* its body */
    uint32_t idle_frames;              /* received and not acknowledged */
    int64_t ping_at, ack_at;
    struct vms_native_link_stats stats;
    _Atomic uint64_t bytes_in, bytes_out;
    pthread_t keeper, ticker;
    bool keeper_runs, ticker_runs;
};

/* ---- native_link.c ---- */
/* [RSM-14] Where a source can come back it does, until it knows that END has arrived. */
bool link_wants_farewell(const struct vms_native_link *l);
int64_t link_now_ms(void);
int64_t link_now_us(void);
struct timespec link_after_ms(int ms);
void *link_ticker(void *link);
void *link_source_keeper(void *link);
void *link_destination_keeper(void *link);
/* Frees connections that nobody uses; without mutex. */
void link_bury(struct vms_native_link *link);
void link_note(struct vms_native_link *link, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* With mutex. */
bool link_is_up(const struct vms_native_link *link);
bool link_is_lost(const struct vms_native_link *link);
bool link_failed(const struct vms_native_link *link);
/* Fails the session; with mutex. The first reason stays. */
void link_fail_locked(struct vms_native_link *link, const struct vms_error *why);
void link_fail(struct vms_native_link *link, const struct vms_error *why);
/* conn broke, as reading the main channel or something else has shown: if it is one of those in use
 * the session is lost (SES). */
void link_lost(struct vms_native_link *link, struct link_conn *conn, bool main_read,
               const struct vms_error *why);
/* With mutex: a connection that its channel begins to use. */
void link_shorten(const struct link_channel *channel);
/* With mutex: no connection is used any more; who waits on one wakes up. */
void link_drop_conns(struct vms_native_link *link);

/* ---- native_link_conn.c ---- */
/* Takes io, even on failure. */
struct link_conn *link_conn_new(struct vms_native_link *link, struct vms_channel *io,
                                uint16_t channel, struct vms_error *err);
struct link_conn *link_conn_ref(struct link_conn *conn); /* with mutex */
void link_conn_put(struct vms_native_link *link, struct link_conn *conn);
enum link_read {
    LINK_READ_FRAME, /* conn->event */
    LINK_READ_CUT,
    LINK_READ_BAD,
};
enum link_read link_conn_read(struct link_conn *conn, struct vms_error *err);
bool link_has_secret(const struct vms_native_link *link);
enum vms_code link_random(struct vms_native_link *link, uint8_t *out, size_t len,
                          struct vms_error *err);

/* ---- native_link_hello.c ---- */
struct vms_native_who link_who(struct vms_native_link *link, const uint8_t *random);
/* Prepares the sealer for a frame of epoch 0 and draws the random. */
enum vms_code link_begin_hello(struct link_conn *conn, uint8_t random[VMS_SEAL_RANDOM_BYTES],
                               struct vms_error *err);
/* Label and frame; the frame into the transcript too when that is wanted. */
enum vms_code link_send_hello(struct link_conn *conn, struct vms_native_frame *frame,
                              struct vms_error *err);
/* Reads the one frame of epoch 0. */
enum vms_code link_read_hello(struct link_conn *conn, struct vms_error *err);
/* The frame in conn->event, as received, into the transcript. */
enum vms_code link_transcribe_hello(struct link_conn *conn, struct vms_error *err);
void link_fill_hello(struct vms_native_link *link, struct vms_native_hello *hello,
                     const uint8_t *random);
/* Master secret of a main connection, from the transcript and the randoms. */
enum vms_code link_make_master(struct link_conn *conn, const uint8_t *source,
                               const uint8_t *destination, struct vms_error *err);
/* Keys of an epoch; the next sequences are those of the accounts. With mutex. */
enum vms_code link_set_keys(struct link_conn *conn, uint32_t epoch, bool out, bool in,
                            struct vms_error *err);
/* SES-24: answers a hello that is refused. */
void link_refuse(struct link_conn *conn, const struct vms_error *why, uint32_t device);

/* ---- native_link_open.c ---- */
enum vms_code link_open_source(struct vms_native_link *link, struct vms_error *err);
enum vms_code link_open_destination(struct vms_native_link *link, struct vms_error *err);
/* Source: one try. Destination: one connection. */
enum vms_code link_resume_source(struct vms_native_link *link, struct vms_error *err);
/* native_link_accept.c: waits at most timeout_ms for it. */
void link_accept_one(struct vms_native_link *link, int timeout_ms);
enum vms_code link_connect(struct vms_native_link *link, uint16_t channel, struct link_conn **out,
                           struct vms_error *err);

/* ---- native_link_send.c ---- */
/* The destination's last word in a hand-over, RUNNING or NOT_STARTED. */
bool link_is_answer(const struct link_frame *f);
/* The peer has acknowledged one that says the same. With mutex. */
bool link_was_told(const struct vms_native_link *l, const struct link_frame *f);
/* Sets the header's type and length of bulk. lasts: bulk stays where it is (RSM-13); else it is
 * copied. To be freed with free(). */
struct link_frame *link_frame_new(uint32_t type, struct vms_native_frame *frame,
                                  const struct vms_slice *bulk, size_t count, bool lasts,
                                  struct vms_error *err);
/* Bytes that it counts for (RSM-4). */
uint64_t link_frame_size(const struct link_frame *frame);
bool link_made_when_sent(uint32_t type);
/* With mutex. It is the next to send. */
void link_insert_before(struct vms_native_link *link, struct link_channel *channel,
                        struct link_frame *at, struct link_frame *frame);
/* Without mutex: tells the user, by config.changed, of every cut and every resumption, in their
 * order: of an earlier one first, whoever was to tell it and has not got so far. A destination is
 * not told of a cut behind a frame that came after it (HND-1: the cut would undo START). */
void link_tell(struct vms_native_link *link);
/* With mutex. */
void link_append(struct vms_native_link *link, uint16_t channel, struct link_frame *frame);
/* ---- native_link_write.c ---- */
/* With the channel's write: sends what is due. */
void link_pump(struct vms_native_link *link, uint16_t channel, bool more);
/* A control frame on the main channel. */
void link_control(struct vms_native_link *link, struct vms_native_frame *frame);
/* With mutex: forgets what was acknowledged. */
void link_forget(struct vms_native_link *link, uint16_t channel);
/* With mutex and write: goes on with the frame that the peer wants (RSM-7). */
void link_rewind(struct vms_native_link *link, uint16_t channel);
/* Sends again what is due, on a thread: the peer may take it slowly. */
void link_start_replay(struct vms_native_link *link, uint16_t channel);
void link_join_replays(struct vms_native_link *link);
bool link_all_sent(const struct vms_native_link *link, uint32_t from); /* with mutex */

/* ---- native_link_recv.c ---- */
/* With mutex: once all has come that END lists, what else has arrived is read, and no more
 * (SES-29).
 */
void link_read_out(struct vms_native_link *link);
/* With mutex: a frame that is authentic. VMS_OK, or the session has failed. */
enum vms_code link_take(struct link_conn *conn, struct vms_error *err);

#endif
