/* SPDX-License-Identifier: MIT */
#include "host/channel_impl.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

/* Pieces given to one system call. */
#define BATCH 64

/* --- waiting --- */

static enum vms_code stopped(struct vms_channel *channel, const char *what, bool cancelled,
                             struct vms_error *err) {
    return vms_error_set(err, VMS_E_IO, "%.80s: %s: %s", channel->name, what,
                         cancelled ? "cancelled" : "shut down here");
}

enum vms_code vms_channel_check(struct vms_channel *channel, const char *what,
                                struct vms_error *err) {
    bool cancelled = vms_cancel_raised(channel->cancel);
    if (cancelled || vms_cancel_raised(channel->wake))
        return stopped(channel, what, cancelled, err);
    return VMS_OK;
}

enum vms_code vms_channel_wait(struct vms_channel *channel, enum vms_io io, vms_deadline deadline,
                               const char *what, struct vms_error *err) {
    short events = io == VMS_IO_WANT_READ ? POLLIN : POLLOUT;
    switch (vms_wait_fd(channel->fd, events, deadline, channel->cancel, channel->wake)) {
    case VMS_WAIT_READY: return VMS_OK;
    case VMS_WAIT_TIMEOUT:
        return vms_error_set(err, VMS_E_TIMEOUT, "%.80s: %s", channel->name, what);
    case VMS_WAIT_CANCELLED: return stopped(channel, what, true, err);
    case VMS_WAIT_WOKEN: return stopped(channel, what, false, err);
    case VMS_WAIT_FAILED: break;
    }
    return vms_io_error(err, channel->name, what, errno);
}

/* --- one attempt --- */

static enum vms_io try_read(struct vms_channel *channel, const struct iovec *iov, int count,
                            size_t *n, struct vms_error *err) {
    switch (channel->kind) {
    case CHANNEL_TLS:
        return vms_tls_read(channel->tls, (struct vms_room){iov[0].iov_base, iov[0].iov_len}, n,
                            err);
    case CHANNEL_SOCKET: return vms_socket_readv(channel->fd, iov, count, n, channel->name, err);
    case CHANNEL_STREAM:
    case CHANNEL_FILE: break;
    }
    return vms_stream_readv(channel->fd, iov, count, n, channel->name, err);
}

static enum vms_io try_write(struct vms_channel *channel, const struct iovec *iov, int count,
                             size_t *n, struct vms_error *err) {
    switch (channel->kind) {
    case CHANNEL_TLS: return vms_tls_writev(channel->tls, iov, count, n, err);
    case CHANNEL_SOCKET: return vms_socket_writev(channel->fd, iov, count, n, channel->name, err);
    case CHANNEL_STREAM:
    case CHANNEL_FILE: break;
    }
    return vms_stream_writev(channel->fd, iov, count, n, channel->name, err);
}

/* --- a place in an iovec array --- */

struct cursor {
    const struct iovec *iov;
    int count;
    size_t used; /* bytes of iov[0] */
};

static void skip_empty(struct cursor *at) {
    while (at->count > 0 && at->used == at->iov->iov_len) {
        at->iov++;
        at->count--;
        at->used = 0;
    }
}

static void advance(struct cursor *at, size_t n) {
    while (n > 0) {
        size_t left = at->iov->iov_len - at->used;
        size_t step = n < left ? n : left;
        at->used += step;
        n -= step;
        skip_empty(at);
    }
}

/* The pieces from here on, at most BATCH of them. */
static int window(const struct cursor *at, struct iovec *out) {
    int n = at->count < BATCH ? at->count : BATCH;
    memcpy(out, at->iov, (size_t)n * sizeof *out);
    out[0].iov_base = (uint8_t *)out[0].iov_base + at->used;
    out[0].iov_len -= at->used;
    return n;
}

/* --- reading --- */

static enum vms_code ready_to_read(struct vms_channel *channel, struct vms_error *err) {
    enum vms_code code = vms_channel_check(channel, "read", err);
    if (code == VMS_OK && channel->tls && !channel->handshake_done)
        return vms_error_set(err, VMS_E_MISUSE, "%.80s: read before the handshake", channel->name);
    return code;
}

static void note_end(struct vms_channel *channel) {
    bool cut = channel->kind == CHANNEL_TLS && !vms_tls_peer_said_goodbye(channel->tls);
    atomic_store(&channel->end, cut ? VMS_CHANNEL_CUT : VMS_CHANNEL_ENDED);
}

/* At least one byte from the transport, 0 at the end. */
static enum vms_code read_some(struct vms_channel *channel, const struct iovec *iov, int count,
                               vms_deadline deadline, size_t *n, struct vms_error *err) {
    for (;;) {
        enum vms_io io = try_read(channel, iov, count, n, err);
        if (io == VMS_IO_OK)
            return VMS_OK;
        if (io == VMS_IO_FAILED)
            return err->code;
        if (io == VMS_IO_END) {
            *n = 0;
            if (vms_channel_check(channel, "read", err) != VMS_OK)
                return err->code; /* our own shutdown looks like the peer's */
            note_end(channel);
            return VMS_OK;
        }
        enum vms_code code = vms_channel_wait(channel, io, deadline, "read", err);
        if (code != VMS_OK)
            return code;
    }
}

static size_t take_ahead(struct vms_channel *channel, uint8_t *to, size_t len) {
    size_t have = channel->ahead_len - channel->ahead_pos;
    size_t n = len < have ? len : have;
    if (n)
        memcpy(to, channel->ahead + channel->ahead_pos, n);
    channel->ahead_pos += n;
    return n;
}

static vms_deadline read_deadline(struct vms_channel *channel) {
    return vms_deadline_in(atomic_load(&channel->read_timeout_ms));
}

enum vms_code vms_channel_readv(struct vms_channel *channel, const struct iovec *iov, int count,
                                size_t *n, struct vms_error *err) {
    enum vms_code code = ready_to_read(channel, err);
    *n = 0;
    if (code != VMS_OK || count <= 0)
        return code;
    *n = take_ahead(channel, iov->iov_base, iov->iov_len);
    if (*n == 0)
        code =
            read_some(channel, iov, count < BATCH ? count : BATCH, read_deadline(channel), n, err);
    atomic_fetch_add(&channel->in, *n);
    return code;
}

enum vms_code vms_channel_read(struct vms_channel *channel, struct vms_room room, size_t *n,
                               struct vms_error *err) {
    struct iovec iov = {room.ptr, room.len};
    return vms_channel_readv(channel, &iov, room.len > 0, n, err);
}

static enum vms_code too_short(struct vms_channel *channel, struct vms_error *err) {
    bool cut = atomic_load(&channel->end) == VMS_CHANNEL_CUT;
    return vms_error_set(err, VMS_E_PEER_CLOSED, "%.80s: the stream ended after %llu bytes%s",
                         channel->name, (unsigned long long)atomic_load(&channel->in),
                         cut ? ", without TLS close_notify" : "");
}

static enum vms_code fill(struct vms_channel *channel, struct cursor *at, struct vms_error *err) {
    struct iovec iov[BATCH];
    vms_deadline deadline = read_deadline(channel);
    while (at->count > 0) {
        size_t n = take_ahead(channel, (uint8_t *)at->iov->iov_base + at->used,
                              at->iov->iov_len - at->used);
        if (n == 0) {
            enum vms_code code = read_some(channel, iov, window(at, iov), deadline, &n, err);
            if (code != VMS_OK)
                return code;
            if (n == 0)
                return too_short(channel, err);
        }
        atomic_fetch_add(&channel->in, n);
        advance(at, n);
    }
    return VMS_OK;
}

enum vms_code vms_channel_readv_full(struct vms_channel *channel, const struct iovec *iov,
                                     int count, struct vms_error *err) {
    struct cursor at = {iov, count, 0};
    enum vms_code code = ready_to_read(channel, err);
    skip_empty(&at);
    return code == VMS_OK ? fill(channel, &at, err) : code;
}

enum vms_code vms_channel_read_full(struct vms_channel *channel, struct vms_room room,
                                    struct vms_error *err) {
    struct iovec iov = {room.ptr, room.len};
    return vms_channel_readv_full(channel, &iov, 1, err);
}

/* MSG_PEEK would not do: poll() says "ready" for every byte below the number that is wanted. */
static enum vms_code look_ahead(struct vms_channel *channel, size_t want, struct vms_error *err) {
    vms_deadline deadline = read_deadline(channel);
    memmove(channel->ahead, channel->ahead + channel->ahead_pos,
            channel->ahead_len - channel->ahead_pos);
    channel->ahead_len -= channel->ahead_pos;
    channel->ahead_pos = 0;
    while (channel->ahead_len < want) {
        struct iovec iov = {channel->ahead + channel->ahead_len, want - channel->ahead_len};
        size_t n;
        enum vms_code code = read_some(channel, &iov, 1, deadline, &n, err);
        if (code != VMS_OK || n == 0)
            return code;
        channel->ahead_len += n;
    }
    return VMS_OK;
}

enum vms_code vms_channel_peek(struct vms_channel *channel, struct vms_room room, size_t *n,
                               struct vms_error *err) {
    *n = 0;
    if (room.len > VMS_PEEK_MAX)
        return vms_error_set(err, VMS_E_MISUSE, "%.80s: peek of more than %u bytes", channel->name,
                             VMS_PEEK_MAX);
    enum vms_code code = ready_to_read(channel, err);
    if (code == VMS_OK && channel->ahead_len - channel->ahead_pos < room.len)
        code = look_ahead(channel, room.len, err);
    if (code != VMS_OK)
        return code;
    size_t have = channel->ahead_len - channel->ahead_pos;
    *n = have < room.len ? have : room.len;
    if (*n)
        memcpy(room.ptr, channel->ahead + channel->ahead_pos, *n);
    return VMS_OK;
}

bool vms_channel_quiet(struct vms_channel *channel, int ms) {
    uint8_t byte;
    size_t n;
    struct vms_error ignored;
    int usual = atomic_exchange(&channel->read_timeout_ms, ms);
    enum vms_code code = vms_channel_peek(channel, (struct vms_room){&byte, 1}, &n, &ignored);
    atomic_store(&channel->read_timeout_ms, usual);
    return code == VMS_E_TIMEOUT;
}

/* --- writing --- */

static enum vms_code ready_to_write(struct vms_channel *channel, struct vms_error *err) {
    enum vms_code code = vms_channel_check(channel, "write", err);
    if (code != VMS_OK)
        return code;
    if (channel->tls && !channel->handshake_done)
        return vms_error_set(err, VMS_E_MISUSE, "%.80s: write before the handshake", channel->name);
    if (atomic_load(&channel->write_over))
        return vms_error_set(err, VMS_E_MISUSE, "%.80s: write after shutdown", channel->name);
    if (atomic_load(&channel->broken))
        return vms_error_set(err, VMS_E_IO, "%.80s: an earlier write failed", channel->name);
    return VMS_OK;
}

static enum vms_code write_some(struct vms_channel *channel, struct cursor *at,
                                vms_deadline deadline, struct vms_error *err) {
    struct iovec iov[BATCH];
    size_t n = 0;
    enum vms_io io = try_write(channel, iov, window(at, iov), &n, err);
    switch (io) {
    case VMS_IO_OK: break;
    case VMS_IO_FAILED: return err->code;
    case VMS_IO_END: return vms_error_set(err, VMS_E_PEER_CLOSED, "%.80s: write", channel->name);
    default: return vms_channel_wait(channel, io, deadline, "write", err);
    }
    atomic_fetch_add(&channel->out, n);
    advance(at, n);
    return VMS_OK;
}

enum vms_code vms_channel_writev_all(struct vms_channel *channel, const struct iovec *iov,
                                     int count, struct vms_error *err) {
    struct cursor at = {iov, count, 0};
    vms_deadline deadline = vms_deadline_in(atomic_load(&channel->write_timeout_ms));
    enum vms_code code = ready_to_write(channel, err);
    if (code != VMS_OK)
        return code;
    skip_empty(&at);
    while (at.count > 0 && code == VMS_OK)
        code = write_some(channel, &at, deadline, err);
    if (code != VMS_OK)
        atomic_store(&channel->broken, true);
    return code;
}

enum vms_code vms_channel_write_all(struct vms_channel *channel, struct vms_slice data,
                                    struct vms_error *err) {
    struct iovec iov = {(void *)(uintptr_t)data.ptr, data.len};
    return vms_channel_writev_all(channel, &iov, 1, err);
}

/* --- lending --- */

enum vms_code vms_channel_lend_all(struct vms_channel *channel, struct vms_slice data, bool *lent,
                                   struct vms_error *err) {
    vms_deadline deadline = vms_deadline_in(atomic_load(&channel->write_timeout_ms));
    enum vms_code code = ready_to_write(channel, err);
    enum vms_io io = VMS_IO_OK;
    *lent = false;
    while (code == VMS_OK && data.len > 0 && channel->kind == CHANNEL_SOCKET) {
        size_t n = 0;
        io = vms_lend(&channel->lender, channel->fd, data.ptr, data.len, &n, channel->name, err);
        if (io == VMS_IO_END)
            break;
        *lent = true;
        if (io == VMS_IO_FAILED)
            code = err->code;
        else if (io != VMS_IO_OK)
            code = vms_channel_wait(channel, io, deadline, "write", err);
        atomic_fetch_add(&channel->out, n);
        data = vms_slice_tail(data, n);
    }
    if (code != VMS_OK)
        atomic_store(&channel->broken, true);
    return code == VMS_OK && data.len ? vms_channel_write_all(channel, data, err) : code;
}
