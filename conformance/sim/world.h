/* SPDX-License-Identifier: MIT */
#ifndef CONFORMANCE_SIM_WORLD_H
#define CONFORMANCE_SIM_WORLD_H

#include "reference-src/devices/ram_cursor.h"
#include "reference-src/engine/engine_state.h"
#include "sim.h"

/* The world of a run: one of them at a time. Units: bytes, nanoseconds of virtual time. */

enum {
    PAGE = 4096,
    PAGES = 512,
    WORDS = PAGES / 64,
    DEVICES = 4, /* with RAM, which is number 0 */
    BATCH = 16,  /* pages of a message */
    ITEMS = 16384,
    KEPT = 8192, /* messages that a session keeps for replay */
    REQUESTS = 64,
    WINDOW = 64 * 1024, /* bytes that a socket takes before its writer waits */
    MS = 1000 * 1000,
};

/** Messages of both wires. */
enum msg_type {
    MSG_SETUP,   /* hello; QEVM: header, configuration, START of every section */
    MSG_PAGES,   /* page, gen */
    MSG_DATA,    /* of a device; value bytes */
    MSG_INITIAL, /* all initial data of .generation is out */
    MSG_END,     /* QEVM: END of a section; native: END of the stream */
    MSG_DEVICES, /* state of what is saved stopped; QEVM precopy: SWITCHOVER_START before */
    MSG_DISCARD, /* bits */
    MSG_EOF,
    MSG_RUN, /* QEVM: PACKAGED { LISTEN, devices, RUN } */
    MSG_START,
    MSG_COMMIT,
    MSG_ABORT,
    MSG_ASK_BITMAP,
    MSG_RESUME,
    /* back */
    MSG_READY,
    MSG_RUNNING,
    MSG_NOT_STARTED,
    MSG_SHUT,
    MSG_ACK,     /* QEVM SWITCHOVER_ACK */
    MSG_NEED,    /* a page; .value */
    MSG_BITMAP,  /* bits */
    MSG_RESUMED, /* RESUME_ACK */
    /* both */
    MSG_REQUEST,
    MSG_GRANT,
    MSG_TYPES,
};

struct msg {
    uint8_t type;
    uint8_t count;
    uint32_t device;
    uint32_t bytes; /* on the wire */
    uint64_t generation, value;
    union {
        struct {
            uint16_t page[BATCH];
            uint32_t gen[BATCH];
        };
        uint64_t bits[WORDS];
    };
};

enum side {
    SRC,
    DST,
};

enum item_type {
    IT_SRC,       /* an event of the source's machine */
    IT_NATIVE,    /* of the native destination's */
    IT_QEVM,      /* of the QEVM destination's */
    IT_MSG,       /* arrives at .side */
    IT_LOST,      /* the QEVM destination sees that the connection is gone */
    IT_RECOVERY,  /* it sees a new one */
    IT_CUT,       /* the network breaks */
    IT_CRASH,     /* of .side */
    IT_START,     /* of .side, after a crash */
    IT_FREEZE,    /* of .side */
    IT_RECONNECT, /* the source tries */
    IT_TIMER,     /* of the source */
    IT_PAGER,     /* postcopy: the source's next batch */
    IT_TOUCH,     /* a virtual CPU at the destination */
    IT_LOADED,    /* the destination's device has its initial data */
    IT_MAPPED,    /* the destination's mapping device */
    IT_REINIT,    /* a device of the source has new initial data */
    IT_PATIENCE,  /* of .side: the connection has been gone for long */
    IT_OPERATOR,  /* decides what is in doubt */
};

struct item {
    uint64_t sent; /* order of messages, whatever holds them up */
    uint8_t type, side;
    uint32_t epoch; /* of the connection, or of the program */
    union {
        struct src_event src;
        struct dst_native_event native;
        enum dst_event qevm;
        struct msg msg;
        struct {
            uint32_t device;
            uint64_t value;
        };
    };
};

/** When an item's turn is: by time, then in the order of entry. */
struct turn {
    uint64_t at;
    uint32_t seq, item;
};

/** A device beside RAM, at both ends. */
struct device {
    uint64_t initial, left;  /* initial data: in all, not yet sent */
    uint64_t dirty, rate;    /* bytes pending, bytes a second */
    uint64_t stop;           /* bytes that are saved stopped */
    uint64_t generation;     /* of the initial data */
    uint64_t announced;      /* INITIAL of this generation is out */
    uint64_t updated;        /* ns, when dirty was right */
    uint64_t load_ns;        /* the destination takes so long for initial data */
    uint64_t loaded, asked;  /* at the destination: generation it has, is asked for */
    uint64_t sent, received; /* bytes, in all */
    bool mapping;            /* a device of the destination that maps memory first */
    bool mapped, wants;
    uint64_t map_ns;
};

struct journal {
    enum vms_journal kind; /* durable */
    uint64_t generation;
};

struct network {
    bool up;
    uint32_t epoch; /* of the connection */
    uint64_t bandwidth, latency;
    uint64_t busy[2], last[2]; /* to side: line free at, last arrival */
    uint32_t waiting[2];       /* messages under way */
    bool session;              /* native: both programs are those that said hello */
    uint64_t out_until;        /* no connection can be made before */
    uint32_t kept_count[2];
};

/** A guest's memory: the last write of each page, by number. */
struct memory {
    uint32_t gen[PAGES];
    uint64_t here[WORDS]; /* destination: the page has arrived and is not stale */
};

struct source {
    union {
        struct src_engine engine;
        uint64_t align;
    };
    struct src_config config;
    uint32_t epoch;      /* of the program */
    uint32_t connection; /* epoch of the one it knows of */
    bool alive, runs, locks;
    uint64_t frozen; /* until */
    struct memory memory;
    uint64_t written[WORDS]; /* since the last collection */
    uint64_t wrote;          /* ns, until when writes were done */
    uint64_t writes;         /* pages a second */
    uint32_t hot;            /* pages that most writes go to */
    unsigned throttle;
    struct src_ram *ram;
    struct src_ram_request requests[REQUESTS];
    uint32_t request_count;
    struct journal journal;
    uint32_t timer[SRC_TIMER_COUNT]; /* serial of the one that is armed; 0: none */
    uint32_t timers;
    uint32_t pager; /* serial of the postcopy sender; 0: none */
    uint32_t tries;
    bool ended_memory; /* crashed with the guest's memory */
    bool finished;
    bool end_sent;
};

struct destination {
    struct dst_native native;
    struct dst_engine qevm;
    uint32_t epoch;
    uint32_t connection; /* epoch of the one it knows of */
    bool alive, runs, locks, cut_known, listening, finished, started, loaded_bad;
    bool filled, fill; /* postcopy: all is in, and it was said; it is waited for */
    uint32_t users;    /* legacy: devices whose initial data is awaited */
    uint64_t frozen;
    struct memory memory;
    uint64_t arrived[WORDS]; /* postcopy: placed */
    uint32_t missing;        /* pages, once it listens */
    uint32_t waits_for;      /* page + 1 that the virtual CPU stands at */
    struct journal journal;
};

struct world {
    struct sim_config config;
    struct sim_result *result;
    struct sim_coverage *coverage;
    uint64_t random[2];
    uint64_t now, steps;
    uint32_t seq;
    uint32_t heap_count, free_count, used_count; /* used: ever, from the front */
    struct network net;
    struct source src;
    struct destination dst;
    uint32_t pages, device_count;
    struct device device[DEVICES];
    bool ack; /* acknowledgement is in use */
    bool legacy;
    uint64_t calm; /* no new faults behind this */
    bool commit_out, eof_out, released, settled, broken, over, operated, cut_after_commit;
    uint64_t turn_bytes; /* all bytes that devices have sent while the guest ran */
    uint64_t turn_end[DEVICES];
    /* From here on nothing is cleared between runs: the counts above say what of it is in use. */
    struct turn heap[ITEMS];
    uint16_t free[ITEMS];
    struct item items[ITEMS];
    struct msg kept[2][KEPT]; /* to side: not delivered, sent again after a reconnection */
    uint64_t ram_memory[4096];
};

/* ---- world.c ---- */
uint64_t rnd(struct world *w, uint64_t below);
bool chance(struct world *w, unsigned percent);
/** Log-uniform between two powers of two. */
uint64_t spread(struct world *w, unsigned low, unsigned high);
/** A free item at that time; the caller fills it. Never NULL: a full queue breaks the run. */
struct item *later(struct world *w, uint64_t ns, enum item_type type, enum side side);
/** The next item; it is now. NULL: there is none. The caller gives it back. */
struct item *take(struct world *w);
void give_back(struct world *w, const struct item *i);
void broken(struct world *w, const char *format, ...) __attribute__((format(printf, 2, 3)));
void tell(struct world *w, const char *format, ...) __attribute__((format(printf, 2, 3)));
/** Tells an event, if anybody listens: else its words are not even looked up. */
#define trace(w, ...) ((w)->config.trace ? tell(w, __VA_ARGS__) : (void)0)
void world_init(struct world *w, const struct sim_config *config);

static inline bool bit(const uint64_t *bits, uint32_t i) {
    return bits[i / 64] >> (i % 64) & 1;
}
static inline void set_bit(uint64_t *bits, uint32_t i) {
    bits[i / 64] |= UINT64_C(1) << (i % 64);
}
static inline void clear_bit(uint64_t *bits, uint32_t i) {
    bits[i / 64] &= ~(UINT64_C(1) << (i % 64));
}

/* ---- net.c ---- */
/** When the writer may go on. */
uint64_t net_send(struct world *w, enum side to, const struct msg *m);
void net_cut(struct world *w);
/** A program closes it: both ends see that. */
void net_close(struct world *w);
bool net_connect(struct world *w);
void net_replay(struct world *w);
void net_forget(struct world *w); /* the session is gone with a program */

/* ---- memory.c ---- */
void guest_writes(struct world *w);
void guest_collect(struct world *w);
void device_update(struct world *w, uint32_t d);
void device_reinit(struct world *w, uint32_t d);
void device_pending(struct world *w, uint32_t d, bool exact, struct src_pending *out);
uint64_t device_save(struct world *w, uint32_t d, uint64_t budget, bool final, uint64_t *bytes,
                     bool *more);
uint64_t pages_send(struct world *w, const struct src_batch *b);
void pages_arrive(struct world *w, const struct msg *m);
void destination_runs(struct world *w, bool postcopy);
void destination_whole(struct world *w);

static inline uint64_t wait_for(const struct world *w, uint64_t at) {
    return at > w->now ? at - w->now : 0;
}

/* ---- source_act.c ---- */
void source_act(struct world *w, const struct src_action *a);
void source_runs(struct world *w);

/* ---- source.c ---- */
/** Sets ev->now_ns. */
void source_event(struct world *w, struct src_event *ev);
void source_say(struct world *w, uint64_t ns, enum src_event_kind kind, uint32_t device,
                uint64_t generation, uint64_t value);
void source_message(struct world *w, const struct msg *m);
void source_timer(struct world *w, uint32_t timer, uint64_t serial);
void source_pager(struct world *w, uint64_t serial);
void source_crash(struct world *w);
void source_start(struct world *w);
void source_reconnect(struct world *w);

/* ---- destination_native.c, destination_qevm.c ---- */
void native_event(struct world *w, struct dst_native_event ev);
void native_say(struct world *w, uint64_t ns, enum dst_native_event_kind kind, uint32_t device,
                uint64_t generation, uint64_t value);
void native_message(struct world *w, const struct msg *m);
void native_connected(struct world *w);
void native_start(struct world *w);
void qevm_event(struct world *w, enum dst_event ev);
void qevm_say(struct world *w, uint64_t ns, enum dst_event ev);
void qevm_message(struct world *w, const struct msg *m);
void qevm_lost(struct world *w, uint64_t connection);
void qevm_connected(struct world *w);
void qevm_recovery(struct world *w, uint64_t connection);
/* ---- destination.c: what both have ---- */
void reply(struct world *w, enum msg_type type, uint32_t device, uint64_t generation,
           uint64_t value);
void destination_message(struct world *w, const struct msg *m);
void destination_listens(struct world *w);
void destination_pages(struct world *w);
void destination_bitmap(struct world *w);
void destination_resumes(struct world *w);
void destination_crash(struct world *w);
void device_loaded(struct world *w, uint32_t d, uint64_t generation);
void destination_touch(struct world *w);

/* ---- check.c ---- */
void check(struct world *w);
void check_end(struct world *w);
void operator_decides(struct world *w);

#endif
