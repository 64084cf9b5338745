/* SPDX-License-Identifier: MIT */
#ifndef REFERENCE_DST_SESSION_H
#define REFERENCE_DST_SESSION_H

#include "host/listener.h"
#include "host/ram_image.h"
#include "reference-dst/engine/engine.h"

#include <pthread.h>

/**
 * One incoming migration. Every connection has a thread, which finds out what channel it is, runs
 * its pump and ends with it. The lock guards everything that more than one thread touches; pumps
 * and RAM channels belong to their thread.
 *
 *   main.c, options.c   the command line          main_channel.c     records -> engine -> actions
 *   session.c           life of a migration       multifd_channel.c  packets, syncs
 *   connections.c       accept, classify          reply.c            the return path
 *   barrier.c           multifd synchronisation   report.c, progress.c
 */
enum {
    DST_CHANNELS_MAX = 257, /* main and 255 multifd channels, and one to refuse */
    DST_SECTIONS_MAX = 2048,
};

struct dst_options {
    const char *listen;
    const char *ram_dir;   /* NULL: memory */
    const char *report;    /* NULL: none */
    const char *tls_creds; /* directory */
    const char *psk;
    const char *machine; /* NULL: any */
    struct vms_dialect dialect;
    struct vms_limits limits;
    uint64_t max_ram;     /* bytes; 0: no other limit than ram_bytes */
    int multifd_channels; /* -1: as many as connect before the first sync */
    int timeout_ms;       /* for each wait on a peer; -1: none */
    bool no_verify_peer;
    bool quiet;
};

/** What came of a section, for the report. */
struct dst_section {
    char *idstr; /* owned */
    uint32_t id, instance, version;
    enum vms_section_kind kind;
    uint64_t bytes; /* of bulk */
    uint64_t records;
    uint64_t init_data_sent;
};

struct dst_times { /* milliseconds of CLOCK_MONOTONIC; 0: did not happen */
    int64_t connected, setup, precopy, switchover, loaded, finished;
};

struct dst_statistics {
    uint64_t commands[16]; /* by enum vms_command */
    uint64_t replies[16];  /* return-path messages sent, by type */
    uint64_t rounds;       /* passes over RAM */
    uint64_t iterations;   /* RAM PART sections */
    struct dst_section sections[DST_SECTIONS_MAX];
    size_t section_count;
    char machine[VMS_NAME_MAX + 1];
    struct dst_times times;
};

struct dst_session;

struct dst_channel {
    struct dst_session *session;
    struct vms_channel *io; /* owned */
    pthread_t thread;
    uint32_t number; /* in order of arrival */
    enum vms_qevm_kind kind;
    struct vms_pump *pump;       /* owned */
    struct vms_ram_channel *ram; /* owned */
    struct vms_vmdesc *vmdesc;   /* owned; main only */
    bool bulk_to_ram;            /* the current record's bulk goes to ram */
    struct vms_record record;    /* the current one; its slices do not hold */
    size_t section;              /* main: index of the current section, SIZE_MAX: none */
    uint64_t last_page;          /* main: to count rounds */
    bool hello;                  /* multifd: the handshake came */
    uint8_t id;                  /* multifd: channel id of the handshake */
    uint64_t syncs;              /* multifd: SYNC packets seen */
    bool classified;
    bool ended;
};

struct dst_session {
    const struct dst_options *options;
    struct vms_listener *listener;
    struct vms_tls_creds *tls;
    struct vms_cancel *cancel;
    struct vms_ram_image *image;

    pthread_mutex_t lock;
    pthread_cond_t changed;
    pthread_mutex_t replying;  /* held while a return-path message is written */
    pthread_mutex_t accepting; /* held while a connection is taken and registered */
    struct dst_engine engine;
    struct dst_channel *channels[DST_CHANNELS_MAX];
    size_t channel_count;
    struct dst_channel *main; /* NULL until it has come */
    bool list_ready;          /* the block list is complete: other channels may decode */
    bool settled;             /* all channels have come (DST-4) */
    uint64_t released;        /* syncs that channels may leave */
    bool over;                /* completed or failed */
    struct vms_error error;   /* the first; code OK: none */
    struct dst_statistics stats;
};

/** Runs a migration to its end. VMS_OK, or the reason in session->error. */
enum vms_code dst_session_run(struct dst_session *session, const struct dst_options *options);
void dst_session_free(struct dst_session *session);

/** Notes the first error, answers SHUT(1) and wakes everybody. Returns err's code. */
enum vms_code dst_session_fail(struct dst_session *session, const struct vms_error *err);

/* connections.c */
void *dst_accept_thread(void *session);
/** Takes the connections that have arrived by now, without waiting, and waits for their kind. */
void dst_settle(struct dst_session *session);

/* main_channel.c, multifd_channel.c: the life of a channel */
void dst_main_channel(struct dst_channel *channel);
void dst_multifd_channel(struct dst_channel *channel);
/** Makes the channel's pump and RAM channel. */
enum vms_code dst_channel_prepare(struct dst_channel *channel, const struct vms_pump_sink *sink,
                                  struct vms_error *err);

/* devices/ram.c: members of a channel's sink; ctx is the channel */
enum vms_code dst_ram_bulk(void *ctx, const struct vms_event *event, struct vms_error *err);
enum vms_code dst_ram_direct(void *ctx, const struct vms_record *record, uint64_t offset,
                             struct vms_room *room, struct vms_error *err);
enum vms_code dst_ram_done(void *ctx, struct vms_error *err);

/* barrier.c (MFD-12); both return false when the session is over */
bool dst_barrier_main(struct dst_session *session, uint64_t sync);
bool dst_barrier_channel(struct dst_channel *channel);
/** Waits for something to change, at most the timeout. False: it passed. Lock held. */
bool dst_wait(struct dst_session *session, vms_deadline deadline);

/* reply.c */
enum vms_code dst_reply(struct dst_session *session, enum vms_record_type type, uint32_t value,
                        struct vms_error *err);

/* report.c, progress.c */
int dst_report(struct dst_session *session);
void dst_progress(struct dst_session *session, bool last);
int64_t dst_now_ms(void);

#endif
