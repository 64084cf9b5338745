/* SPDX-License-Identifier: MIT */
#ifndef REFERENCE_DST_NATIVE_INTERNAL_H
#define REFERENCE_DST_NATIVE_INTERNAL_H

#include "host/journal.h"
#include "host/native_link.h"
#include "reference-dst/devices/ram_postcopy.h"
#include "reference-dst/native.h"

#include <pthread.h>
#include <stdatomic.h>
#include <vmstream/pack_zstd.h>

/*
 *   native.c           life, the link, the loop of events    native_memory.c    blocks, pages
 *   native_act.c       what the machine orders               native_digest.c    comparing memory
 *   native_link.c      the session's link, inquiries
 *   native_main.c      frames of the main channel            native_load.c      what START asks for
 *   native_channel.c   data channels, a thread each          native_postcopy.c  behind the guest
 *   native_place.c     pages that are not proven yet
 *
 * Events come from all threads into one queue; one thread, that of dst_native_run(), gives them to
 * the machine and does what it orders. What takes long (LOAD, telling the source) has a thread of
 * its own and reports.
 */
enum {
    DN_PAGE_BITS = 12,
    DN_PAGE = 1 << DN_PAGE_BITS,
    DN_CHANNELS = 252, /* 1 to 16, and 250 */
    DN_PREEMPT = 250,
    DN_GROUP_BITS = 21,
    DN_EVENTS = 1024,
    DN_DATA_MAX = 16, /* data channels */
    DN_DEVICES = 256, /* native_devices */
    DN_RUNS = 512,    /* of a frame whose pages are placed at once: those of a group */
};

struct dn_block {
    struct vms_guest_block map;
    uint64_t pages;
    bool huge;                 /* the kernel gives 2 MiB at a fault */
    _Atomic uint64_t *arrived; /* a bit a page: came, and was not discarded since */
    pthread_mutex_t lock;      /* of digest */
    struct vms_digest *digest; /* NULL without feature DIGEST */
};

struct dn_device {
    uint32_t id;  /* on the wire */
    bool vdpa;    /* of config.vdpa, else config.vfio */
    size_t index; /* in it */
    uint64_t offset[4];
    uint64_t asked, there;              /* generations: REQUEST, and what has come; lock */
    struct dst_vfio_loader *loader;     /* owned; NULL: before its setup, or of vDPA */
    struct dst_native_session *session; /* that the loader tells */
};

struct dn_channel {
    struct dst_native_session *session;
    uint16_t number;
    bool used, runs;
    bool over; /* all of it has come that END lists, and no more (SES-29); lock */
    pthread_t thread;
    void *zstd_mem, *unpacker_mem;
    struct vms_unpacker *unpacker;
    struct vms_generations generations;
    uint8_t *scratch; /* postcopy: pages on their way */
    bool marked;      /* all of precopy has come on it */
    /* [MIG-15] What was put into memory before its tag has come; lock, but for the runs. */
    bool unproven;
    uint32_t unproven_block, unproven_count;
    struct vms_native_run *unproven_runs; /* DN_RUNS */
    uint64_t bytes;                       /* of frames that were carried out; lock */
    uint64_t applied; /* sequence behind the last frame that was carried out; lock */
};

struct dst_native_session {
    struct dst_native_config config;
    struct vms_native_link *link;
    pthread_t receiver;
    bool receiver_runs;
    bool ask_only; /* takes inquiries about its session, and nothing else */

    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct dst_native_event events[DN_EVENTS]; /* a ring */
    size_t first_event, event_count;
    struct vms_error error;   /* the first */
    struct vms_error refusal; /* of the machine */
    bool link_over;           /* the receiver has ended ... */
    enum vms_code over_code;  /* ... with this */
    bool stopping;            /* no thread waits any more */
    bool cancelled;
    atomic_bool link_dead; /* no resumption will come: only inquiries */
    bool ready_sent;       /* the source may be in doubt */
    bool source_knows;     /* that the guest never runs here */
    bool answered;         /* on an inquiry's link */
    atomic_bool ordered_away;
    bool lingering;       /* FINISH has come, the source has not gone */
    bool takes_questions; /* and may be in doubt */
    int64_t patience_us;  /* when to give up waiting for it; 0: never */
    pthread_t asker;
    bool asker_runs;

    struct dst_native machine; /* the loop's */
    uint8_t id[16];
    bool has_id, answering;
    bool finished;
    uint64_t features;

    struct dn_block *blocks;
    size_t block_count;
    uint64_t ram_total;
    bool blocks_done;
    uint32_t data_channels;
    bool set_up;
    bool channels_over; /* none joins any more; lock */
    bool sealed_off;    /* nothing is put into memory before its tag has come (MIG-15); lock */
    uint64_t zero_hash; /* of a page of zeros */
    struct dn_channel channels[DN_CHANNELS];
    struct vms_native_sent sent[256]; /* of END */
    uint32_t sent_count;
    bool ended;

    struct dn_device devices[DN_DEVICES];
    uint32_t device_count;
    struct vms_guest layout; /* what devices see: blocks in the source's order */
    struct vms_guest_block *layout_blocks;
    uint8_t *guest_state;
    size_t guest_state_len;
    bool guest_state_whole;

    pthread_t loader, teller;
    bool loader_runs, teller_runs;
    uint64_t load_generation;
    bool load_postcopy;

    struct dst_postcopy *postcopy;
    struct vms_guest_block *maps; /* of postcopy, in the order of blocks */
    atomic_bool placing, pages_in;

    _Atomic uint64_t pages, zeros, deltas, discarded, requests;
    struct dst_native_result result;
};

/* ---- native.c ---- */
void dn_post(struct dst_native_session *s, enum dst_native_event_kind kind, uint64_t generation,
             uint64_t value);
void dn_post_device(struct dst_native_session *s, enum dst_native_event_kind kind, uint32_t device,
                    uint64_t generation);
/* Something failed at this end or by the peer's fault: ERROR for the machine, the first reason. */
void dn_fail(struct dst_native_session *s, const struct vms_error *err);
void dn_note(struct dst_native_session *s, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
int64_t dn_now_us(void);

/* ---- native_link.c ---- */
enum vms_code dn_link_open(struct dst_native_session *s, int open_ms, struct vms_error *err);
void dn_link_drop(struct dst_native_session *s);
/* The link is dead: waits for an inquiry, on a thread. */
void dn_ask(struct dst_native_session *s);
void dn_ask_join(struct dst_native_session *s);

/* ---- native_act.c ---- */
void dn_act(struct dst_native_session *s, const struct dst_native_action *action);
void dn_tell(struct dst_native_session *s);

/* ---- native_main.c ---- */
void *dn_receiver(void *session);

/* ---- native_channel.c ---- */
void dn_attached(void *session, uint16_t channel, uint32_t kind);
void dn_channels_join(struct dst_native_session *s);
/* With lock: everything that END lists, or that is before the marks, is carried out. */
bool dn_all_applied(const struct dst_native_session *s, bool postcopy);

/* ---- native_memory.c ---- */
enum vms_code dn_add_block(struct dst_native_session *s, const struct vms_rec_ram_block *block,
                           struct vms_error *err);
enum vms_code dn_blocks_finish(struct dst_native_session *s, struct vms_error *err);
void dn_blocks_free(struct dst_native_session *s);
struct dn_block *dn_block_of(struct dst_native_session *s, const struct vms_native_block *block,
                             uint8_t page_bits, struct vms_error *err);
/* The block of pages that may come on this channel, or NULL. */
struct dn_block *dn_pages_block(struct dn_channel *c, const struct vms_native_pages *pages,
                                struct vms_error *err);
/* A room for each run that is not zero: how many. */
size_t dn_page_rooms(const struct dn_block *b, const struct vms_native_pages *pages,
                     struct vms_room *rooms);

/* ---- native_place.c ---- */
/* [MIG-15] Where pages go before their tag has come; 0: aside. */
size_t dn_rooms(void *session, uint16_t channel, const struct vms_native_frame *frame,
                struct vms_room *rooms, size_t max);
/* Before a frame is carried out: it is the one that was begun, if one was. */
enum vms_code dn_proven(struct dn_channel *c, const struct vms_native_link_event *ev,
                        struct vms_error *err);
/* From here on nothing is put into memory unproven; false: something has been and is. */
bool dn_seal_off(struct dst_native_session *s);

/* ---- native_memory.c ---- */
enum vms_code dn_pages(struct dn_channel *c, const struct vms_native_link_event *ev,
                       struct vms_error *err);
enum vms_code dn_discard(struct dn_channel *c, const struct vms_native_pages *pages,
                         struct vms_error *err);

/* ---- native_digest.c ---- */
enum vms_code dn_digest(struct dst_native_session *s, const struct vms_native_link_event *ev,
                        struct vms_error *err);
/* Pages that were just written. */
void dn_compare(const struct dst_native_session *s, struct dn_block *b, uint64_t first,
                uint64_t count);
bool dn_hash_fits(struct dn_block *b, uint64_t page, struct vms_slice content);
/* Pages that differ, all compared. */
uint64_t dn_compare_rest(struct dst_native_session *s);

/* ---- native_device.c ---- */
enum vms_code dn_devices_agree(struct dst_native_session *s, const struct vms_native_hello *peer,
                               uint32_t *device, struct vms_error *err);
/* They tell this session from now on. */
void dn_devices_own(struct dst_native_session *s);
/* The block list is whole: devices that map memory begin to. */
enum vms_code dn_devices_layout(struct dst_native_session *s, struct vms_error *err);
/* Whether the source's HELLO lists it. */
bool dn_device_known(struct dst_native_session *session, uint32_t id);
void dn_device_asked(struct dst_native_session *s, uint32_t id, uint64_t generation);
/* A DEVICE frame of another device than 0, on the thread of its channel. */
enum vms_code dn_device_data(struct dst_native_session *s, uint16_t channel,
                             const struct vms_native_link_event *ev, struct vms_error *err);
enum vms_code dn_devices_verify(struct dst_native_session *s, struct vms_error *err);
enum vms_code dn_devices_run(struct dst_native_session *s, struct vms_error *err);
/* [HND-17] [VDEV-24] Nothing of the guest is left in any of them. Channels may still be read. */
void dn_devices_halt(struct dst_native_session *s);
/* That, and nobody gives anything to them any more. */
void dn_devices_reset(struct dst_native_session *s);
void dn_devices_close(struct dst_native_session *s);

/* ---- native_vdpa.c ---- */
enum vms_code dn_vdpa_data(struct dst_native_session *s, const struct dn_device *d,
                           const struct vms_native_device_state *f, struct vms_slice bulk,
                           struct vms_error *err);

/* ---- native_load.c ---- */
void dn_load(struct dst_native_session *s, uint64_t generation, bool postcopy);

/* ---- native_postcopy.c ---- */
enum vms_code dn_listen(struct dst_native_session *s, struct vms_error *err);
/* content: all pages of the frame that are not zero, unpacked. */
enum vms_code dn_place(struct dn_channel *c, const struct vms_native_pages *pages,
                       struct vms_slice content, struct vms_error *err);

#endif
