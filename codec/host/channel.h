/* SPDX-License-Identifier: MIT */
#ifndef VMSTREAM_HOST_CHANNEL_H
#define VMSTREAM_HOST_CHANNEL_H

#include "host/tls_creds.h"
#include "host/uri.h"
#include "host/wait.h"

#include <sys/uio.h>
#include <vmstream/error.h>
#include <vmstream/slice.h>

/**
 * A channel is a stream of bytes to or from a URI, in both directions where the URI has two.
 *
 * Threads: one thread may read while another writes; any thread may shut down, cancel or look at
 * the counters. Nobody may use a channel while it is closed.
 *
 * Errors: *err gets class, code, clause and message, its channel, offset and record are left. Any
 * call that may wait can end with
 *   VMS_E_TIMEOUT      the call as a whole took longer than its timeout;
 *   VMS_E_IO           the system failed, or "cancelled" or "shut down here": see
 * vms_cancel_raised(); VMS_E_PEER_CLOSED  the other end has gone (reset, broken pipe, end of the
 * stream too early); VMS_E_TLS          the session failed; the message has OpenSSL's reason. After
 * a failed write the number of bytes sent is unknown and no further write is taken.
 */
struct vms_channel;

/** Bytes that vms_channel_peek() can look ahead at most. */
#define VMS_PEEK_MAX 64u

struct vms_channel_options {
    const struct vms_tls_creds *tls; /* for tls: URIs, of the right role; borrowed */
    struct vms_cancel *cancel;       /* wakes every waiting call; borrowed, may be NULL */
    int open_timeout_ms;             /* to connect and for the TLS handshake together; -1: none */
    int read_timeout_ms;  /* for each call that reads; 0: never wait, -1: wait for ever */
    int write_timeout_ms; /* for each call that writes, and for closing */
    bool defer_handshake; /* leave the TLS handshake to vms_channel_handshake() */
    uint64_t rekey_bytes; /* TLS 1.3: written bytes until the write key changes */
};

/** No TLS, no cancel, no timeouts, a new write key every 64 GiB. */
struct vms_channel_options vms_channel_options_default(void);

/**
 * Opens a channel to uri, as the side that sends a stream: connects a socket, runs a command, takes
 * over a descriptor, or creates a file (0600, cut to its offset) for writing, as QEMU does.
 * VMS_E_CONNECT, TLS, TIMEOUT, PEER_CLOSED, NO_MEMORY; VMS_E_MISUSE when a tls: URI comes without
 * client credentials. options may be NULL for the default. *out is the caller's:
 * vms_channel_close(). A descriptor (fd:) belongs to the channel on success only.
 */
enum vms_code vms_channel_connect(const struct vms_uri *uri,
                                  const struct vms_channel_options *options,
                                  struct vms_channel **out, struct vms_error *err);

/**
 * Opens uri as the side that reads a stream, without waiting for anybody: a command, a descriptor
 * or a file. VMS_E_CONNECT for the URIs that need a listener (host/listener.h, which takes all of
 * them).
 */
enum vms_code vms_channel_open(const struct vms_uri *uri, const struct vms_channel_options *options,
                               struct vms_channel **out, struct vms_error *err);

/** The deferred TLS handshake, within open_timeout_ms. Nothing to do for other channels. */
enum vms_code vms_channel_handshake(struct vms_channel *channel, struct vms_error *err);

/**
 * Reads what is there, at least one byte unless room is empty. *n is 0 at the end of the stream:
 * vms_channel_end() then tells how it ended.
 */
enum vms_code vms_channel_read(struct vms_channel *channel, struct vms_room room, size_t *n,
                               struct vms_error *err);
/** The same, into count pieces one after the other, none empty. */
enum vms_code vms_channel_readv(struct vms_channel *channel, const struct iovec *iov, int count,
                                size_t *n, struct vms_error *err);
/** Reads all of it; VMS_E_PEER_CLOSED when the stream ends before. */
enum vms_code vms_channel_read_full(struct vms_channel *channel, struct vms_room room,
                                    struct vms_error *err);
/** Reads into all of count pieces, straight from the socket (guest pages are not copied twice). */
enum vms_code vms_channel_readv_full(struct vms_channel *channel, const struct iovec *iov,
                                     int count, struct vms_error *err);
/**
 * Copies the next room.len (at most VMS_PEEK_MAX) bytes without taking them. *n is less only at the
 * end of the stream. What arrived before a failure is kept for the next call.
 */
enum vms_code vms_channel_peek(struct vms_channel *channel, struct vms_room room, size_t *n,
                               struct vms_error *err);
/**
 * True when nothing comes within ms milliseconds: no byte, no end, no failure. Bytes that come stay
 * for the next read.
 */
bool vms_channel_quiet(struct vms_channel *channel, int ms);
/** Skips n bytes: seeks where it can, reads otherwise. VMS_E_PEER_CLOSED when the stream ends
 * before. */
enum vms_code vms_channel_skip(struct vms_channel *channel, uint64_t n, struct vms_error *err);

enum vms_code vms_channel_write_all(struct vms_channel *channel, struct vms_slice data,
                                    struct vms_error *err);
enum vms_code vms_channel_writev_all(struct vms_channel *channel, const struct iovec *iov,
                                     int count, struct vms_error *err);

/**
 * As vms_channel_write_all(), but where the kernel can (UNIX sockets, found out at run time) it
 * reads the bytes where they lie, as late as when the peer reads them: *lent. They must not change
 * then before the peer has said that it has them, whatever is returned and even if the channel is
 * closed. They may be unmapped: their pages live on. Worth it from some ten thousand bytes on.
 */
enum vms_code vms_channel_lend_all(struct vms_channel *channel, struct vms_slice data, bool *lent,
                                   struct vms_error *err);

enum vms_channel_end {
    VMS_CHANNEL_OPEN,  /* the end has not been read yet */
    VMS_CHANNEL_ENDED, /* in good order: end of file, FIN, or close_notify with TLS */
    VMS_CHANNEL_CUT,   /* TLS: the socket ended between two records, without close_notify. Whether
                          that is an attack the stream's own end mark must tell: QEMU's multifd
                          before 10.0 always ends so */
};
enum vms_channel_end vms_channel_end(const struct vms_channel *channel);

enum vms_shutdown {
    VMS_SHUT_WRITE, /* no more is written: close_notify, then FIN; reading goes on. Pipes and files
                       show their end only when the channel is closed */
    VMS_SHUT_READ,  /* sockets, from any thread: what has arrived is still read, then the end */
    VMS_SHUT_BOTH,  /* at once, from any thread: calls that wait in others return VMS_E_IO */
};
enum vms_code vms_channel_shutdown(struct vms_channel *channel, enum vms_shutdown how,
                                   struct vms_error *err);

/**
 * Closes and frees the channel, whatever it returns: VMS_SHUT_WRITE if nothing failed before, then
 * the descriptor, then (exec:) waits for the command, VMS_E_IO when its status is not 0. Waits at
 * most the write timeout for each. NULL is allowed; err may be NULL.
 */
enum vms_code vms_channel_close(struct vms_channel *channel, struct vms_error *err);

/** Milliseconds for each call, as in the options. May be called from any thread. */
void vms_channel_set_timeouts(struct vms_channel *channel, int read_ms, int write_ms);

/**
 * Sockets: what the kernel has not begun to send, and what it has received and nobody has read,
 * stays at about bytes each, so that what is written next is not far behind; writing waits for
 * that. Room for what TCP has under way at 10 Gbit/s comes on top. Nothing for other channels.
 */
void vms_channel_keep_short(struct vms_channel *channel, unsigned bytes);
/**
 * UNIX sockets: so many bytes are taken before writing waits for the reader, or what the kernel
 * allows, so that the two ends do not wake each other at every turn. Nothing for other channels.
 */
void vms_channel_send_room(struct vms_channel *channel, int bytes);

/** The URI, for an accepted TCP connection followed by " from ADDRESS". Owned by the channel. */
const char *vms_channel_name(const struct vms_channel *channel);
/** Bytes that the caller has read (skipped ones included) and written. */
uint64_t vms_channel_bytes_in(const struct vms_channel *channel);
uint64_t vms_channel_bytes_out(const struct vms_channel *channel);

bool vms_channel_is_tls(const struct vms_channel *channel);
/** Who the TLS peer is: certificate subject, or PSK identity on a server. "" if it did not say. */
void vms_channel_peer(struct vms_channel *channel, char *text, size_t size);
/** Keying material of the TLS session (RFC 8446 §7.5). VMS_E_MISUSE without TLS. */
enum vms_code vms_channel_export(struct vms_channel *channel, const char *label,
                                 struct vms_slice context, struct vms_room out,
                                 struct vms_error *err);

/** True for regular files and block devices; the calls below are VMS_E_MISUSE for all others. */
bool vms_channel_is_seekable(const struct vms_channel *channel);
/** Sets where the next byte is read or written, counted from the beginning of the file. */
enum vms_code vms_channel_seek(struct vms_channel *channel, uint64_t position,
                               struct vms_error *err);
/** Where the next byte is read or written. */
enum vms_code vms_channel_tell(struct vms_channel *channel, uint64_t *position,
                               struct vms_error *err);
/** The length of the file, in bytes from its beginning. */
enum vms_code vms_channel_size(struct vms_channel *channel, uint64_t *size, struct vms_error *err);
/**
 * All bytes at a position; where the channel stands and its counters do not change. Any number of
 * threads may do this at a time. VMS_E_PEER_CLOSED when the file ends before.
 */
enum vms_code vms_channel_read_at(struct vms_channel *channel, uint64_t position,
                                  struct vms_room room, struct vms_error *err);
enum vms_code vms_channel_write_at(struct vms_channel *channel, uint64_t position,
                                   struct vms_slice data, struct vms_error *err);

#endif
