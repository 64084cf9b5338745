/* SPDX-License-Identifier: MIT */
#ifndef REFERENCE_SRC_WIRE_H
#define REFERENCE_SRC_WIRE_H

#include "host/guest.h"
#include "reference-src/engine/engine.h"

#include <vmstream/record.h>

/**
 * What the source needs of a wire: wire_qevm.c and wire_native.c are the two. Whatever sends may
 * wait for room (back-pressure). Everything that the peer says, and a cut, comes back through
 * struct src_wire_owner, from threads of the wire's own.
 *
 * Threads: one thread (the session's) calls everything but urgent(), stats() and abort(); one more,
 * the postcopy sender, calls pages(), urgent() and flush() while the guest runs at the other end.
 * Where lanes() says so data() of stopped devices may be called by one thread for each device.
 */

enum {
    SRC_BATCH_PAGES = 256,
    SRC_BATCH_BYTES = 1 << 20, /* of a block: pages of one batch lie in one such group */
};

/** Target pages of one block and one group, ascending. The wire reads the guest's memory itself,
 * after the call: a page may have been written since, and is then dirty again. */
struct src_batch {
    uint32_t block; /* index in the guest's list */
    uint32_t count;
    uint32_t page_size;              /* target page, bytes */
    uint64_t pages[SRC_BATCH_PAGES]; /* page numbers in the block */
};

/** Kinds of device data, as the native wire's DEVICE has them. */
enum src_data_kind {
    SRC_DATA_SETUP,
    SRC_DATA_STATE,
    SRC_DATA_CONFIG,
    SRC_DATA_INITIAL_SENT, /* no bytes: all initial data is out (INIT_DATA_SENT) */
};

/** A device with a section of its own, beside RAM; number = index in the engine. 0 is RAM. */
struct src_wire_device {
    uint32_t number;
    uint32_t kind; /* of struct vms_native_device: 1 VFIO, 2 vDPA */
    const char *idstr;
    uint32_t instance;
};

/** Called by the wire, from any of its threads. Must not call the wire back. */
struct src_wire_owner {
    /** What the peer said, or CUT, as the engine takes it. now_ns is filled in by the owner. */
    void (*event)(void *ctx, const struct src_event *event, const struct vms_error *why);
    /** Postcopy: the guest waits for length bytes at offset of a block; not through the engine. */
    void (*request)(void *ctx, uint32_t block, uint64_t offset, uint64_t length);
    /**
     * Recovery: the bitmap of a block: bit i of bytes[i / 8]: target page i has arrived. Before
     * SRC_EV_BITMAPS.
     */
    void (*received)(void *ctx, uint32_t block, const uint8_t *bytes, size_t len);
    /** A line for logs. */
    void (*note)(void *ctx, const char *text);
    /** Where to connect, asked at every connect() and reconnect(): an order may have changed it. */
    const char *(*uri)(void *ctx);
    /** Native: the session's id, 16 bytes, once it is agreed on; for journal and logs. */
    void (*session)(void *ctx, const uint8_t *id);
    void *ctx;
};

struct src_channel_stats {
    char name[32];         /* "main", "multifd 3", "preempt" */
    uint64_t bytes;        /* on the wire, out */
    uint64_t pages, zeros; /* target pages */
};

struct src_wire_stats {
    size_t channel_count;
    struct src_channel_stats channels[20];
    uint64_t bytes_in; /* back */
    uint64_t unacked;  /* octets that were given to a channel, and the peer has not acknowledged */
    uint64_t rtt_ns;   /* 0: not known */
};

/** All members are set. Each returns VMS_OK or a code with *err filled; a cut is also an event. */
struct src_wire_ops {
    /** Connects main and what else is connected now, hellos included. → SRC_EV_CONNECTED by the
     * caller. */
    enum vms_code (*connect)(void *ctx, struct vms_error *err);
    /** Header, configuration, ADVISE, block list, START of every device. */
    enum vms_code (*setup)(void *ctx, const struct vms_guest *guest, bool postcopy,
                           struct vms_error *err);
    /** Sends pages some time from now on, on the channel that the wire chooses. Copied. */
    enum vms_code (*pages)(void *ctx, const struct src_batch *batch, struct vms_error *err);
    /** Postcopy: the pages that the guest waits for, before all that waits; on the preempt channel
     * where there is one. One host page, or the rest of one, at a time. */
    enum vms_code (*urgent)(void *ctx, const struct src_batch *batch, struct vms_error *err);
    /** A pass over RAM is over: later pages must not be overtaken by earlier ones (MFD-12). */
    enum vms_code (*sync)(void *ctx, struct vms_error *err);
    /** All that was given has left this process. */
    enum vms_code (*flush)(void *ctx, struct vms_error *err);
    /** Data of a device; last: the section of this kind is over. */
    enum vms_code (*data)(void *ctx, uint32_t device, enum src_data_kind kind,
                          struct vms_slice bytes, bool last, struct vms_error *err);
    /** How many devices' data it carries side by side when they are stopped; 1: one device's after
     * another's. After connect(). */
    unsigned (*lanes)(void *ctx);
    /** The rest of RAM is sent, stopped: END of the section. */
    enum vms_code (*ram_end)(void *ctx, struct vms_error *err);
    /** Postcopy: the pages of a block that were sent and are stale; ranges[2 i], [2 i + 1]: first
     * target page and count. */
    enum vms_code (*discard)(void *ctx, uint32_t block, const uint64_t *ranges, size_t count,
                             struct vms_error *err);
    /** Postcopy: everything is discarded, the destination shall listen for pages. */
    enum vms_code (*listen)(void *ctx, struct vms_error *err);
    /** State that is saved only while the guest is stopped: of the guest, and QEVM's FULL sections.
     * postcopy: QEVM puts them into the package. */
    enum vms_code (*devices)(void *ctx, struct vms_slice guest_state, bool postcopy,
                             struct vms_error *err);
    enum vms_code (*switchover)(void *ctx, uint32_t device, uint64_t generation, bool grant,
                                struct vms_error *err); /* native REQUEST or GRANT */
    enum vms_code (*start)(void *ctx, uint64_t generation, bool postcopy, struct vms_error *err);
    enum vms_code (*commit)(void *ctx, uint64_t generation, bool postcopy, struct vms_error *err);
    /** Postcopy: the last page is out. */
    enum vms_code (*end)(void *ctx, struct vms_error *err);
    /** A new connection for the same migration: native RESUME, QEVM postcopy recovery. */
    enum vms_code (*reconnect)(void *ctx, struct vms_error *err);
    enum vms_code (*ask_bitmaps)(void *ctx, struct vms_error *err);
    enum vms_code (*resume)(void *ctx, struct vms_error *err); /* → SRC_EV_RESUME_ACK */
    /** Tells the peer why, where there is a way, and makes every waiting call return. */
    void (*abort)(void *ctx, const struct vms_error *why);
    /** The migration is over in good order. */
    enum vms_code (*close)(void *ctx, struct vms_error *err);
    void (*stats)(void *ctx, struct src_wire_stats *out);
    void (*free)(void *ctx);
};

struct src_wire {
    const struct src_wire_ops *ops;
    void *ctx;
};

struct src_options;

/** Both copy what they need of the options. The owner outlives the wire. */
enum vms_code src_wire_qevm(const struct src_options *options, const struct vms_guest *guest,
                            const struct src_wire_owner *owner, struct src_wire *out,
                            struct vms_error *err);
enum vms_code src_wire_native(const struct src_options *options, const struct vms_guest *guest,
                              const struct src_wire_owner *owner, struct src_wire *out,
                              struct vms_error *err);

#endif
