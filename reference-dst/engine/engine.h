/* SPDX-License-Identifier: MIT */
#ifndef REFERENCE_DST_ENGINE_H
#define REFERENCE_DST_ENGINE_H

#include <vmstream/qevm.h>

/**
 * The destination as a pure state machine (design §3): events in, actions out. It makes no system
 * call, reads no clock and knows devices by their section only. The program (session.h) turns
 * records into events and carries the actions out.
 */
enum dst_state {
    DST_WAIT,       /* nothing has come */
    DST_HEADER,     /* the stream header */
    DST_SETUP,      /* configuration; until the RAM section's START is over */
    DST_PRECOPY,    /* iterating */
    DST_SWITCHOVER, /* the source has stopped its guest: SWITCHOVER_START, END or a device */
    DST_LOADED,     /* EOF: device state is in */
    DST_DRAIN,      /* the main channel is over, other channels are being waited for */
    DST_PACKAGE,    /* postcopy: the package is here */
    DST_LISTENING,  /* LISTEN: pages may come and are asked for, the guest is being loaded */
    DST_ARRIVED,    /* as LISTENING, and the main channel's EOF has come */
    DST_POSTCOPY,   /* RUN: the guest runs, pages follow */
    DST_FILLING,    /* as POSTCOPY, and the main channel's EOF has come */
    DST_PAUSED,     /* the connection is gone, the guest runs on what it has */
    DST_RECOVER,    /* a new connection */
    DST_COMPLETED,
    DST_FAILED,
    DST_STATE_COUNT,
};

enum dst_event {
    DST_EV_NONE, /* nothing that concerns the machine: page records and the like */
    DST_EV_HEADER,
    DST_EV_CONFIGURATION,
    DST_EV_OPEN_RETURN_PATH,
    DST_EV_PING,
    DST_EV_ADVISE,
    DST_EV_RAM_LIST,      /* MEM_SIZE */
    DST_EV_SECTION_START, /* of an iterable section */
    DST_EV_SECTION_PART,
    DST_EV_SECTION_END,
    DST_EV_RAM_SETUP_DONE, /* the RAM START section's EOS */
    DST_EV_SYNC,           /* a point at which all multifd channels are waited for */
    DST_EV_SWITCHOVER_START,
    DST_EV_DEVICE, /* a FULL section */
    DST_EV_EOF,
    DST_EV_MAIN_END,      /* the main channel is over, in good order */
    DST_EV_CHANNELS_DONE, /* all other channels have arrived at the last sync */
    DST_EV_COLO,
    DST_EV_DISCARD,
    DST_EV_PACKAGE, /* PACKAGED, and all of it is here: its records follow as it executes them */
    DST_EV_LISTEN,
    DST_EV_RUN,
    DST_EV_CUT,      /* a connection ended where it must not, or what came on it is refused */
    DST_EV_RECOVERY, /* a new main connection, which has no header */
    DST_EV_RECV_BITMAP,
    DST_EV_RESUME,
    DST_EV_ERROR, /* this end cannot go on */
    DST_EVENT_COUNT,
};

/** What the program must do, in this order. */
enum dst_action {
    DST_DO_NOTHING = 0,
    DST_DO_OPEN_RETURN_PATH = 1 << 0,
    DST_DO_PONG = 1 << 1,   /* with the value of the PING */
    DST_DO_SYNC = 1 << 2,   /* wait until every channel has arrived at sync number `syncs` */
    DST_DO_DRAIN = 1 << 3,  /* as SYNC; then report CHANNELS_DONE */
    DST_DO_LISTEN = 1 << 4, /* memory faults from here on */
    DST_DO_RUN = 1 << 5,    /* take the locks, run the guest, announce it */
    /* wait until every page has come and RUN has been executed; then report CHANNELS_DONE */
    DST_DO_FILL = 1 << 6,
    DST_DO_PAUSE = 1 << 7,      /* drop the connection, keep what came; wait for a new one */
    DST_DO_BITMAP = 1 << 8,     /* answer with the bitmap of the block that was named */
    DST_DO_RESUME = 1 << 9,     /* RESUME_ACK, then ask again for what is awaited */
    DST_DO_SHUT_GOOD = 1 << 10, /* SHUT(0), if the return path is open */
    DST_DO_SHUT_BAD = 1 << 11,  /* SHUT(1), if the return path is open */
};

struct dst_engine {
    enum dst_state state;
    bool return_path;    /* opened by the source */
    bool advised;        /* POSTCOPY_ADVISE came */
    bool ram_list;       /* the block list came */
    uint32_t started;    /* iterable sections that had their START */
    uint32_t ended;      /* and their END */
    bool recovered;      /* a recovery connection came: END may have been lost (REC-8) */
    bool ran;            /* a virtual CPU may have run: no error hands the guest back (DST-23) */
    bool in_ram_start;   /* inside the RAM section's START */
    bool flush_in_start; /* RAM_MULTIFD_FLUSH came in it: syncs are marked by it (MFD-21) */
    bool sync_by_eos;    /* syncs are marked by the RAM section's EOS */
    uint64_t syncs;      /* sync points passed */
};

/** In state WAIT. */
void dst_engine_init(struct dst_engine *engine);

/**
 * Takes one event. *actions gets the actions of enum dst_action. VMS_OK, or DST_UNEXPECTED
 * (DST-2), DST_INCOMPLETE (DST-5) in *err: *actions then say what remains to be done, and the
 * machine is FAILED or, where a guest runs already, PAUSED (DST-18).
 */
enum vms_code dst_engine_event(struct dst_engine *engine, enum dst_event event, unsigned *actions,
                               struct vms_error *err);

/**
 * Takes a record of the main channel: one or two events. A guessed record that would be acted on is
 * refused (DST-6). Otherwise as dst_engine_event(). The caller passes every record of the channel,
 * but PACKAGED and the records of its package, which are executed when all of it is here (PKG-5).
 */
enum vms_code dst_engine_record(struct dst_engine *engine, const struct vms_record *record,
                                unsigned *actions, struct vms_error *err);

/** The event that a record of a package is, to be given to dst_engine_event() in its turn. Refuses
 * what is guessed, as dst_engine_record(); *event is then not set and nothing has changed. */
enum vms_code dst_engine_packaged(const struct vms_record *record, enum dst_event *event,
                                  struct vms_error *err);

/**
 * What RUN ordered is about to begin: the first virtual CPU. False: the machine has failed
 * meanwhile, and the guest may be the source's again: it must not run (DST-23).
 */
bool dst_engine_run(struct dst_engine *engine);

/** It did not begin, and nothing of it can any more: it may be handed back again (DST-24). */
void dst_engine_not_run(struct dst_engine *engine);

/** The guest runs here (DST-11): an error ends the connection, not the guest. */
bool dst_engine_runs(enum dst_state state);

/** Static text, never NULL. */
const char *dst_state_name(enum dst_state state);
const char *dst_event_name(enum dst_event event);

#endif
