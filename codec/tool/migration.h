/* SPDX-License-Identifier: MIT */
#ifndef VMSTREAM_TOOL_MIGRATION_H
#define VMSTREAM_TOOL_MIGRATION_H

#include "host/pump.h"
#include "tool/progress.h"
#include "tool/tool.h"
#include <vmstream/vmdesc.h>

/**
 * The channels of one migration, read from files. Files have no time, so the order between channels
 * is rebuilt from the synchronisation points (MFD-12): the main channel runs to its marker, each
 * multifd channel to its SYNC packet, and so on. A page that comes again in a later round on
 * another channel is therefore applied later. Recovery and preempt channels follow when the main
 * one is over: in postcopy a page is sent once.
 */
struct migration;
struct native_channel; /* native_in.c */
struct native_input;

struct migration_channel {
    struct migration *migration;
    const char *name; /* of the file */
    uint32_t number;  /* its place on the command line, from 0 */
    enum vms_qevm_kind kind;
    int fd;
    uint64_t start; /* position of the channel's first byte in a file that can seek */
    struct vms_fd_source source_state;
    struct vms_source source;
    struct vms_pump *pump;
    struct vms_pump_sink sink;     /* the consumer's */
    struct native_channel *native; /* where its octets come from, NULL: a file of its own */
    uint64_t told;                 /* bytes that the progress bar knows of */
    bool begun;
    bool over;
    bool synced; /* the last record was a synchronisation point */
};

/** Who takes the records: gives a sink for each channel, before anything of it is read. */
struct migration_consumer {
    enum vms_code (*open)(void *ctx, struct migration_channel *channel, struct vms_pump_sink *out,
                          struct vms_error *err);
    void *ctx;
};

enum {
    MIGRATION_CHANNELS = 512,
};

struct migration {
    const struct tool_options *options;
    struct vms_dialect dialect;  /* of the options, or what a native file says */
    struct native_input *native; /* the file is a native one: channels come while it is read */
    bool opaque;                 /* for the caller to set: device sections need not be cut */
    struct vms_vmdesc *vmdesc;
    bool described; /* the description was found at the main file's end */
    struct migration_channel *channels;
    size_t count;
    size_t multifd_count;
    enum vms_tristate flush; /* MFD-12: ON: FLUSH records mark, OFF: every RAM EOS does */
    bool cut;                /* the main channel broke off and a recovery follows */
    bool whole;              /* for the caller to set: a missing multifd channel is an error */
    bool flush_seen;         /* the main channel synchronises with multifd channels */
    uint64_t ids[4];         /* multifd channel ids that came, one bit each */
    struct progress progress;
};

/**
 * Opens the files of the options. TOOL_DONE, or another status after a line on stderr. fallback:
 * the kind of a first file without magic. Close it in either case.
 */
int migration_open(struct migration *m, const struct tool_options *options,
                   enum vms_qevm_kind fallback, const struct migration_consumer *consumer);
void migration_close(struct migration *m);

/** Runs every channel to its end. VMS_OK, or the code of *err, whose channel is a channel's number.
 */
enum vms_code migration_run(struct migration *m, struct vms_error *err);

/** What pumps are given: passes everything on to the consumer and pauses at synchronisation points.
 * ctx: struct migration_channel *. */
extern const struct vms_pump_sink_ops migration_sink_ops;

/** For native_in.c: asks the consumer for a sink and makes the channel's pump. */
enum vms_code migration_make_pump(struct migration_channel *channel,
                                  const struct migration_consumer *consumer, struct vms_slice begin,
                                  struct vms_error *err);
/** Before a channel is run first: it learns what the main one knows. */
void migration_begin(struct migration_channel *channel);
/** Whether path is one of the files that are read. */
bool migration_reads(const struct migration *m, const char *path);

/** The decoder of channel 0. */
struct vms_qevm_decoder *migration_decoder(const struct migration *m);

/** The exit status for an error. */
int migration_status(const struct vms_error *err);
/** Prints one line on stderr: what, where, clause, what to do. Returns migration_status(). */
int migration_report(const struct migration *m, const struct vms_error *err);

#endif
