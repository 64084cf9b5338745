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
    DST_EV_POSTCOPY,      /* a postcopy command past ADVISE */
    DST_EV_COLO,
    DST_EV_ERROR, /* anything failed anywhere */
    DST_EVENT_COUNT,
};

/** What the program must do, in this order. */
enum dst_action {
    DST_DO_NOTHING = 0,
    DST_DO_OPEN_RETURN_PATH = 1 << 0,
    DST_DO_PONG = 1 << 1,      /* with the value of the PING */
    DST_DO_SYNC = 1 << 2,      /* wait until every channel has arrived at sync number `syncs` */
    DST_DO_DRAIN = 1 << 3,     /* as SYNC; then report CHANNELS_DONE */
    DST_DO_SHUT_GOOD = 1 << 4, /* SHUT(0), if the return path is open */
    DST_DO_SHUT_BAD = 1 << 5,  /* SHUT(1), if the return path is open */
};

struct dst_engine {
    enum dst_state state;
    bool return_path;    /* opened by the source */
    bool ram_list;       /* the block list came */
    uint32_t started;    /* iterable sections that had their START */
    uint32_t ended;      /* and their END */
    bool in_ram_start;   /* inside the RAM section's START */
    bool flush_in_start; /* RAM_MULTIFD_FLUSH came in it: syncs are marked by it (MFD-21) */
    bool sync_by_eos;    /* syncs are marked by the RAM section's EOS */
    uint64_t syncs;      /* sync points passed */
};

/** In state WAIT. */
void dst_engine_init(struct dst_engine *engine);

/**
 * Takes one event. *actions gets the actions of enum dst_action. VMS_OK, or DST_UNEXPECTED
 * (DST-2), DST_INCOMPLETE (DST-5) in *err: the machine is then FAILED and *actions say what remains
 * to be done.
 */
enum vms_code dst_engine_event(struct dst_engine *engine, enum dst_event event, unsigned *actions,
                               struct vms_error *err);

/**
 * Takes a record of the main channel: one or two events. A guessed record that would be acted on is
 * refused (DST-6). Otherwise as dst_engine_event(). The caller passes every record of the channel.
 */
enum vms_code dst_engine_record(struct dst_engine *engine, const struct vms_record *record,
                                unsigned *actions, struct vms_error *err);

/** Static text, never NULL. */
const char *dst_state_name(enum dst_state state);
const char *dst_event_name(enum dst_event event);

#endif
