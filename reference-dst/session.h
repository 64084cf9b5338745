/* SPDX-License-Identifier: MIT */
#ifndef REFERENCE_DST_SESSION_H
#define REFERENCE_DST_SESSION_H

#include "host/display.h"
#include "host/listener.h"
#include "host/ram_image.h"
#include "reference-dst/devices/ram_postcopy.h"
#include "reference-dst/devices/vfio_records.h"
#include "reference-dst/engine/engine.h"
#include "reference-dst/native.h"
#include "reference-dst/settings.h"
#include "reference-src/vm/card.h"

#include <pthread.h>
#include <stdatomic.h>

/**
 * One incoming migration. Every connection has a thread, which finds out what channel it is, runs
 * its pump and ends with it. The lock guards everything that more than one thread touches; pumps
 * and RAM channels belong to their thread.
 *
 *   main.c, options.c   the command line          main_channel.c     records -> engine -> actions
 *   session.c           life of a migration       multifd_channel.c  packets, syncs
 *   connections.c       accept, classify          preempt_channel.c  pages that are waited for
 *   barrier.c           multifd synchronisation   package.c          what a package does (PKG-5)
 *   guest.c             who runs here             postcopy.c         pages behind the guest
 *   reply.c             the return path           recovery.c         cuts, and after them
 *   run.c               after the hand-over       statistics.c, report.c, progress.c
 *
 * A *generation* is the set of channels of one connection: 0, and one more with every recovery.
 */
enum {
    DST_CHANNELS_MAX = 257, /* main and 255 multifd channels, and one to refuse */
    DST_SECTIONS_MAX = 2048,
    DST_STEPS_MAX = 4096, /* records of a package that do something */
    DST_TOUCHERS_MAX = 16,
};

struct dst_options {
    const char *listen;
    const char *ram_dir;   /* NULL: memory */
    const char *report;    /* NULL: none */
    const char *tls_creds; /* directory */
    const char *psk;
    struct dst_settings settings; /* what a stream must agree with */
    struct vms_dialect dialect;
    struct vms_limits limits;
    uint64_t max_ram;     /* bytes; 0: no other limit than ram_bytes */
    int multifd_channels; /* -1: as many as connect before the first sync */
    int timeout_ms;       /* for each wait on a peer; -1: none */
    int keepalive_ms;     /* natively, our longest silence that is no cut; 0: 10 s */
    int recover_ms;       /* postcopy: for a new connection after a cut; -1: for ever */
    const char *vm;       /* VM file of the guest that runs here; NULL: none */
    int64_t run_ms;       /* how long it runs on after the hand-over before it is checked */
    uint64_t run_ops;     /* and how many operations it does; 0: none are waited for */
    int touch;            /* postcopy: threads that read all memory in random order */
    bool no_verify_peer;
    bool quiet;
    const char *vfio[VMS_VFIO_GUEST_MAX]; /* devices, as vms_vfio_spec has them */
    size_t vfio_count;
    const char *vdpa[VMS_VM_CARDS_MAX]; /* vDPA devices, likewise; native only */
    size_t vdpa_count;
    bool no_early_map;     /* they are mapped in downtime */
    bool vfio_multifd;     /* QEVM: their state comes over multifd channels */
    enum dst_vfio_ack ack; /* QEVM: switchover acknowledgement */
    /* the native wire */
    const char *journal; /* folder; NULL: none is kept */
    const char *answer;  /* session to answer for after a restart; NULL: a new migration */
    int resolve;         /* enum dst_native_resolve */
    bool no_digest;
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
    int64_t connected, setup, precopy, switchover, loaded, running, finished;
};

struct dst_statistics {
    uint64_t commands[16];   /* by enum vms_command */
    uint64_t replies[16];    /* return-path messages sent, by type */
    _Atomic uint64_t rounds; /* passes over RAM; the display looks while they are counted */
    uint64_t iterations;     /* RAM PART sections */
    uint64_t past_bytes;     /* in, of channels that are gone */
    uint32_t cuts, recoveries;
    struct dst_postcopy_stats postcopy; /* when it is over */
    uint64_t missing;                   /* target pages that never came */
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
    uint32_t generation;         /* when it was accepted, then when it was classified */
    bool bulk_to_ram;            /* the current record's bulk goes to ram */
    bool bulk_to_guest;          /* or is the guest's state */
    bool bulk_to_vfio;           /* or a VFIO device's */
    struct dst_vfio_packet packet;
    bool fatal;               /* what failed is this end, not the connection */
    struct vms_record record; /* the current one; its slices do not hold */
    size_t section;           /* main: index of the current section, SIZE_MAX: none */
    uint64_t last_page;       /* main: to count rounds */
    bool hello;               /* multifd: the handshake came */
    uint8_t id;               /* multifd: channel id of the handshake */
    uint64_t syncs;           /* multifd: SYNC packets seen */
    bool classified;
    bool ended;
};

/** A record of a package, to be executed in its turn. */
struct dst_step {
    enum dst_event event;
    uint32_t value; /* of a PING */
};

struct dst_package {
    bool open; /* its records are coming */
    struct dst_step *steps;
    size_t count, next;
    pthread_t thread;
    bool started;
};

/** State of the guest's own section (vmstream-guest): u32 length, then so many bytes. */
struct dst_guest_state {
    uint8_t *bytes; /* owned, as on the wire */
    size_t len, room;
    bool came, loaded;
};

/** What this end knows of who runs (DST-11, DST-19). */
enum dst_source_belief {
    DST_SOURCE_KEEPS,     /* nothing ran here: the guest is the source's */
    DST_SOURCE_UNTOLD,    /* the guest runs here, and there is no way to tell */
    DST_SOURCE_MAY_RUN,   /* the guest runs here, and telling it failed: it may run there as well */
    DST_SOURCE_TOLD,      /* SHUT(0) was sent; whether it arrived is not known */
    DST_SOURCE_COMMITTED, /* native: it handed the guest over for good */
    DST_SOURCE_GAVE_UP,   /* it sent POSTCOPY_RUN: it does not run the guest again */
};

struct dst_session {
    const struct dst_options *options;
    const struct vms_guest *guest; /* NULL: memory only, nobody runs */
    struct vms_vm *vm;             /* owned; whose guest it is */
    struct vms_vm_cards *cards;    /* owned; of it. NULL: none */
    struct vms_timeline *timeline; /* owned */
    struct vms_display *display;   /* owned; NULL: not (yet) there */
    struct vms_listener *listener;
    struct vms_tls_creds *tls;
    struct vms_backend
        *crypto; /* held while it listens, so that no session waits for it to begin */
    struct vms_cancel *cancel;
    struct vms_ram_image *image;

    pthread_mutex_t lock;
    pthread_cond_t changed;
    pthread_mutex_t replying;  /* held while a return-path message is written */
    pthread_mutex_t accepting; /* held while a connection is taken and registered */
    struct dst_engine engine;
    struct dst_channel *channels[DST_CHANNELS_MAX];
    size_t channel_count;
    uint32_t connections;      /* so far: their numbers */
    struct dst_channel *main;  /* NULL until it has come, and while a new one is awaited */
    struct dst_channel *first; /* the first main channel: its decoder knows what the others need */
    struct dst_channel *preempt; /* NULL: none */
    uint32_t generation;
    bool broken;             /* a cut: waits for a recovery until recover_by */
    vms_deadline recover_by; /* of broken */
    struct vms_error cut;    /* why, the latest */
    struct dst_package package;
    struct dst_guest_state guest_state;
    struct dst_vfio *vfio;                 /* owned; NULL: no devices, no acknowledgement */
    struct dst_vfio_records *vfio_records; /* owned */
    struct dst_vfio_figures vfio_told[VMS_VFIO_GUEST_MAX]; /* to its lane; each by its own thread */
    struct dst_vdpa *vdpa;                                 /* owned; NULL: none */
    uint64_t page_sizes;            /* POSTCOPY_ADVISE: all host page sizes of the source, ORed */
    struct dst_postcopy *postcopy;  /* owned; from LISTEN on */
    bool listening;                 /* it serves */
    bool postcopied;                /* it did */
    struct vms_guest_block *memory; /* what it serves, owned */
    struct vms_ram_place place;
    char asked[VMS_NAME_MAX + 1]; /* block of the last page request; "": none yet (replying) */
    pthread_t touchers[DST_TOUCHERS_MAX];
    int toucher_count;
    atomic_bool stop_touching;
    bool ran;          /* the guest runs here: run() is over. That it may: engine.ran */
    unsigned owed;     /* enum dst_action, of an event that was refused: dst_session_fail() obeys */
    bool shut_sent;    /* SHUT(0) was written */
    bool list_ready;   /* the block list is complete: other channels may decode */
    bool settled;      /* all channels have come (DST-4) */
    uint64_t released; /* syncs that channels may leave */
    struct dst_native_session *native; /* owned; the wire is native */
    struct dst_native_result native_result;
    pthread_t native_thread;
    bool native_runs; /* the thread is to be joined, and nobody else accepts */
    uint8_t *key;     /* owned; key file that seals the native wire */
    size_t key_len;
    bool over;              /* completed or failed */
    struct vms_error error; /* the first; code OK: none */
    struct dst_statistics stats;
};

/** Runs a migration to its end. VMS_OK, or the reason in session->error. */
enum vms_code dst_session_run(struct dst_session *session, const struct dst_options *options);
/** A guest that runs must not be touched any more: dst_guest_lost() is false. */
void dst_session_free(struct dst_session *session);

/** Notes the first error, answers SHUT(1) where the engine wants it, and wakes everybody. Returns
 * err's code. */
enum vms_code dst_session_fail(struct dst_session *session, const struct vms_error *err);

/* connections.c */
void *dst_accept_thread(void *session);
/** Takes the connections that have arrived by now, without waiting. */
void dst_take_waiting(struct dst_session *session);
/** The same, and waits for their kind. */
void dst_settle(struct dst_session *session);
/** [RAM-28] MULTIFD_FLUSH came: DST_UNEXPECTED when there is no multifd channel. */
enum vms_code dst_need_multifd(struct dst_session *session, struct vms_error *err);

/* main_channel.c, multifd_channel.c, preempt_channel.c: the life of a channel */
void dst_main_channel(struct dst_channel *channel);
void dst_multifd_channel(struct dst_channel *channel);
void dst_preempt_channel(struct dst_channel *channel);
/** Makes the channel's pump and RAM channel. */
enum vms_code dst_channel_prepare(struct dst_channel *channel, const struct vms_pump_sink *sink,
                                  struct vms_error *err);
/** The channel is gone from all lists: frees it. */
void dst_channel_free(struct dst_channel *channel);
/** Gives an event to the engine and carries out what it wants; ping: of a PING. */
enum vms_code dst_happens(struct dst_session *session, enum dst_event event, uint32_t ping,
                          struct vms_error *err);
/** Carries out actions of the engine (enum dst_action); the lock is not held. */
enum vms_code dst_act(struct dst_session *session, unsigned actions, uint32_t ping,
                      struct vms_error *err);

/* devices/ram.c: members of a channel's sink; ctx is the channel */
enum vms_code dst_ram_bulk(void *ctx, const struct vms_event *event, struct vms_error *err);
enum vms_code dst_ram_direct(void *ctx, const struct vms_record *record, uint64_t offset,
                             struct vms_room *room, struct vms_error *err);
enum vms_code dst_ram_done(void *ctx, struct vms_error *err);

/* barrier.c (MFD-12); both return false when the session is over */
bool dst_barrier_main(struct dst_session *session, uint64_t sync);
bool dst_barrier_channel(struct dst_channel *channel);
/** Waits for something to change, at most until the deadline. False: it passed. Lock held. */
bool dst_wait(struct dst_session *session, vms_deadline deadline);

/* vfio_wire.c: VFIO devices on QEMU's wire; where there are none, nothing is done */
enum vms_code dst_devices_open(struct dst_session *session, struct vms_error *err);
void dst_devices_free(struct dst_session *session);
/** A record of the main channel, or a packet of a multifd channel; sets bulk_to_vfio. */
enum vms_code dst_devices_record(struct dst_channel *channel, const struct vms_record *record,
                                 struct vms_error *err);
enum vms_code dst_devices_packet(struct dst_channel *channel, const struct vms_record *record,
                                 struct vms_error *err);
enum vms_code dst_devices_bulk(struct dst_channel *channel, struct vms_slice bytes,
                               struct vms_error *err);
enum vms_code dst_devices_done(struct dst_channel *channel, struct vms_error *err);
/** All have all, and find it good; then, before the CPUs, they run. */
enum vms_code dst_devices_verify(struct dst_session *session, struct vms_error *err);
enum vms_code dst_devices_run(struct dst_session *session, struct vms_error *err);
/** Wakes who waits for a device; after all channels have ended: brings devices back. */
void dst_devices_abort(struct dst_session *session);
void dst_devices_reset(struct dst_session *session);

/* vfio_lanes.c: for display and report (REP-11) */
void dst_lanes_open(struct dst_session *session);
void dst_lanes_count(struct dst_session *session);

/* package.c (PKG-5) */
/** Takes a record of a package, or PACKAGED itself. */
enum vms_code dst_package_record(struct dst_session *session, const struct vms_record *record,
                                 struct vms_error *err);
void dst_package_join(struct dst_session *session);

/* postcopy.c */
/** POSTCOPY_ADVISE came: finds out whether this machine can (DST-12, CMD-12). */
enum vms_code dst_postcopy_advise(struct dst_session *session, struct vms_slice payload,
                                  struct vms_error *err);
/** The block list is complete: host pages as the guest here has them (RAM-31). */
enum vms_code dst_postcopy_check(struct dst_session *session, struct vms_error *err);
enum vms_code dst_postcopy_start(struct dst_session *session, struct vms_error *err); /* LISTEN */
/** Waits until all pages are in and the guest runs. DST_INCOMPLETE when they cannot come. */
enum vms_code dst_postcopy_fill(struct dst_session *session, struct vms_error *err);
void dst_touch_start(struct dst_session *session);
void dst_touch_join(struct dst_session *session);
/** For the report, when nothing changes any more. */
void dst_postcopy_keep_stats(struct dst_session *session);

/* recovery.c (REC, DST-18) */
/** A channel's thread is at its end because of err: the migration fails, or it is a cut. */
void dst_broken(struct dst_channel *channel, const struct vms_error *err);
/** A new main channel of a paused session: false when it is not wanted. */
bool dst_recover(struct dst_channel *channel);
enum vms_code dst_answer_bitmap(struct dst_session *session, struct vms_slice name,
                                struct vms_error *err);
enum vms_code dst_answer_resume(struct dst_session *session, struct vms_error *err);
/** Frees channels of earlier generations whose threads have ended. Caller holds accepting. */
void dst_prune(struct dst_session *session);

/* cards.c: --vdpa: cards of the guest, and the devices behind them */
enum vms_code dst_cards_add(struct dst_session *session, struct vms_error *err);
enum vms_code dst_cards_open(struct dst_session *session, struct vms_error *err);
void dst_cards_free(struct dst_session *session);

/* guest.c */
enum vms_code dst_guest_open(struct dst_session *session, struct vms_error *err);
/** True for the section that carries the guest's own state. */
bool dst_guest_section(const struct dst_session *session, const struct vms_record *record);
enum vms_code dst_guest_bytes(struct dst_session *session, struct vms_slice bytes,
                              struct vms_error *err);
enum vms_code dst_guest_load(struct dst_session *session, struct vms_error *err);
enum vms_code dst_guest_run(struct dst_session *session, struct vms_error *err);
/** A guest runs, or waits for pages, that can never go on: only the process's end stops it. */
bool dst_guest_lost(const struct dst_session *session);
enum dst_source_belief dst_source_belief(const struct dst_session *session);
/** What to tell people: who runs as far as this end knows, and what to do. Static text. */
const char *dst_belief_text(enum dst_source_belief belief);

/* run.c: after a completed migration lets the guest run on, stops it and checks every page */
struct vms_vm_report;
enum vms_code dst_run_on(struct dst_session *session, struct vms_vm_report *report,
                         struct vms_error *err);

/* reply.c */
enum vms_code dst_reply(struct dst_session *session, enum vms_record_type type, uint32_t value,
                        struct vms_error *err);
/** Asks for the host page at offset (RP-9). */
enum vms_code dst_reply_request(struct dst_session *session, const char *block, uint64_t offset,
                                uint32_t length, struct vms_error *err);
enum vms_code dst_reply_bitmap(struct dst_session *session, const char *block,
                               struct vms_slice bits, struct vms_error *err);
/** The connection's return path is gone, or (NULL: not) another one is there. */
void dst_reply_to(struct dst_session *session, struct dst_channel *main);

/* statistics.c */
void dst_count(struct dst_channel *channel, const struct vms_record *record);
void dst_keep_time(struct dst_session *session);

/* native_shell.c */
/** The migration that begins with this connection, to its end; takes it. */
void dst_native_live(struct dst_session *session, struct vms_channel *first);
enum vms_code dst_native_answer_for(struct dst_session *session, struct vms_error *err);
/** Says which sessions an earlier run has left open. */
void dst_native_remind(struct dst_session *session);

/* report.c, progress.c */
int dst_report(struct dst_session *session, const struct vms_vm_report *check);
/** What vms_display_start() calls; session: struct dst_session. */
void dst_refresh(void *session, uint64_t now_ns);
int64_t dst_now_ms(void);
/** A line for people, unless --quiet. */
void dst_say(const struct dst_session *session, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

#endif
