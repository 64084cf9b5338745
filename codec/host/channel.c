/* SPDX-License-Identifier: MIT */
#include "host/channel.h"
#include "host/channel_impl.h"
#include "host/exec.h"
#include "host/socket.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

struct vms_channel_options vms_channel_options_default(void) {
    return (struct vms_channel_options){
        .open_timeout_ms = -1,
        .read_timeout_ms = -1,
        .write_timeout_ms = -1,
        .rekey_bytes = UINT64_C(1) << 36,
    };
}

/* --- making a channel of a descriptor --- */

static bool is_connected_stream(int fd) {
    int type = 0;
    int listening = 0;
    socklen_t len = sizeof type;
    return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) == 0 && type == SOCK_STREAM &&
           getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &len) == 0 && !listening;
}

static enum vms_code find_kind(int fd, const char *name, enum channel_kind *kind,
                               struct vms_error *err) {
    struct stat st;
    *kind = CHANNEL_STREAM;
    if (fstat(fd, &st) != 0)
        return vms_error_set(err, VMS_E_CONNECT, "%.80s: %s", name, strerror(errno));
    if (S_ISDIR(st.st_mode))
        return vms_error_set(err, VMS_E_CONNECT, "%.80s: it is a directory", name);
    if (S_ISSOCK(st.st_mode) && !is_connected_stream(fd))
        return vms_error_set(err, VMS_E_CONNECT, "%.80s: not a connected stream socket", name);
    if (S_ISSOCK(st.st_mode))
        *kind = CHANNEL_SOCKET;
    else if (S_ISREG(st.st_mode) || S_ISBLK(st.st_mode))
        *kind = CHANNEL_FILE;
    return VMS_OK;
}

/* Sockets are told at every call not to block. A pipe or terminal knows only the flag of its
 * description, which a parent may share: it gets the old flags back when the channel is closed. */
static void set_flags(struct vms_channel *channel) {
    (void)fcntl(channel->fd, F_SETFD, FD_CLOEXEC);
    if (channel->kind == CHANNEL_STREAM) {
        channel->old_flags = fcntl(channel->fd, F_GETFL);
        if (channel->old_flags >= 0)
            (void)fcntl(channel->fd, F_SETFL, channel->old_flags | O_NONBLOCK);
    }
    if (channel->kind == CHANNEL_SOCKET)
        vms_socket_tune(channel->fd);
}

static void destroy(struct vms_channel *channel) {
    vms_tls_free(channel->tls);
    vms_lender_close(&channel->lender);
    vms_cancel_free(channel->wake);
    free(channel->name);
    free(channel);
}

static struct vms_channel *make(int fd, const char *name,
                                const struct vms_channel_options *options) {
    struct vms_channel *channel = calloc(1, sizeof *channel);
    if (!channel)
        return NULL;
    channel->fd = fd;
    channel->old_flags = -1;
    channel->cancel = options->cancel;
    channel->open_timeout_ms = options->open_timeout_ms;
    atomic_init(&channel->read_timeout_ms, options->read_timeout_ms);
    atomic_init(&channel->write_timeout_ms, options->write_timeout_ms);
    channel->wake = vms_cancel_new();
    channel->name = strdup(name);
    if (channel->wake && channel->name)
        return channel;
    destroy(channel);
    return NULL;
}

static enum vms_code add_tls(struct vms_channel *channel, const char *host,
                             const struct vms_channel_options *options, struct vms_error *err) {
    enum vms_code code = vms_tls_new(options->tls, channel->fd, host, channel->name,
                                     options->rekey_bytes, &channel->tls, err);
    if (code == VMS_OK)
        channel->kind = CHANNEL_TLS;
    return code;
}

enum vms_code vms_channel_adopt(int fd, const char *name, bool tls, const char *host,
                                const struct vms_channel_options *options, struct vms_channel **out,
                                struct vms_error *err) {
    enum channel_kind kind;
    enum vms_code code = find_kind(fd, name, &kind, err);
    if (code != VMS_OK)
        return code;
    struct vms_channel *channel = make(fd, name, options);
    if (!channel)
        return vms_error_set(err, VMS_E_NO_MEMORY, "%.80s", name);
    channel->kind = kind;
    if (tls && (code = add_tls(channel, host, options, err)) != VMS_OK) {
        destroy(channel);
        return code;
    }
    set_flags(channel);
    *out = channel;
    return VMS_OK;
}

/* --- the handshake --- */

enum vms_code vms_channel_handshake_until(struct vms_channel *channel, vms_deadline deadline,
                                          struct vms_error *err) {
    enum vms_code code = vms_channel_check(channel, "TLS handshake", err);
    while (channel->tls && !channel->handshake_done && code == VMS_OK) {
        enum vms_io io = vms_tls_handshake(channel->tls, err);
        if (io == VMS_IO_OK)
            channel->handshake_done = true;
        else if (io == VMS_IO_END)
            code = vms_error_set(err, VMS_E_PEER_CLOSED, "%.80s: TLS handshake", channel->name);
        else
            code = io == VMS_IO_FAILED
                       ? err->code
                       : vms_channel_wait(channel, io, deadline, "TLS handshake", err);
    }
    if (code != VMS_OK)
        atomic_store(&channel->broken, true);
    return code;
}

enum vms_code vms_channel_handshake(struct vms_channel *channel, struct vms_error *err) {
    return vms_channel_handshake_until(channel, vms_deadline_in(channel->open_timeout_ms), err);
}

/* --- opening --- */

/* Like QEMU: what was before the offset stays, what was behind it goes. */
static int open_to_write(const struct vms_uri *uri) {
    int fd = open(uri->target, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOCTTY, 0600);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
        return fd;
    if (ftruncate(fd, (off_t)uri->offset) == 0)
        return fd;
    int saved = errno;
    (void)close(fd);
    errno = saved;
    return -1;
}

static enum vms_code open_file(const struct vms_uri *uri, bool to_write, int *fd,
                               struct vms_error *err) {
    *fd = to_write ? open_to_write(uri) : open(uri->target, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (*fd >= 0 && (uri->offset == 0 || lseek(*fd, (off_t)uri->offset, SEEK_SET) >= 0))
        return VMS_OK;
    int saved = errno;
    if (*fd >= 0)
        (void)close(*fd);
    return vms_error_set(err, VMS_E_CONNECT, "%.80s: %s", uri->text, strerror(saved));
}

/* A command that is given up with its channel not made. */
static void give_up(int fd, pid_t pid) {
    struct vms_error ignored;
    if (fd >= 0)
        (void)close(fd);
    if (pid > 0)
        (void)vms_exec_wait(pid, "", vms_deadline_in(0), NULL, &ignored);
}

static enum vms_code open_local(const struct vms_uri *uri, bool to_write,
                                const struct vms_channel_options *options, struct vms_channel **out,
                                struct vms_error *err) {
    int fd = uri->fd;
    pid_t pid = 0;
    enum vms_code code = VMS_OK;
    if (uri->scheme == VMS_URI_EXEC)
        code = vms_exec_spawn(uri->target, uri->text, &fd, &pid, err);
    else if (uri->scheme == VMS_URI_FILE)
        code = open_file(uri, to_write, &fd, err);
    if (code != VMS_OK)
        return code;
    code = vms_channel_adopt(fd, uri->text, false, NULL, options, out, err);
    if (code == VMS_OK)
        (*out)->pid = pid;
    else if (uri->scheme != VMS_URI_FD)
        give_up(fd, pid);
    return code;
}

static bool needs_listener(const struct vms_uri *uri) {
    return uri->scheme == VMS_URI_UNIX || uri->scheme == VMS_URI_TCP;
}

enum vms_code vms_channel_open(const struct vms_uri *uri, const struct vms_channel_options *options,
                               struct vms_channel **out, struct vms_error *err) {
    struct vms_channel_options defaults = vms_channel_options_default();
    if (needs_listener(uri))
        return vms_error_set(err, VMS_E_CONNECT, "%.80s: it must be listened on", uri->text);
    return open_local(uri, false, options ? options : &defaults, out, err);
}

static enum vms_code connect_socket(const struct vms_uri *uri,
                                    const struct vms_channel_options *options,
                                    struct vms_channel **out, struct vms_error *err) {
    vms_deadline deadline = vms_deadline_in(options->open_timeout_ms);
    const char *host = uri->scheme == VMS_URI_TCP ? uri->target : NULL;
    int fd;
    enum vms_code code = vms_tls_check_role(options->tls, uri, VMS_TLS_CLIENT, err);
    if (code == VMS_OK)
        code = vms_socket_connect(uri, deadline, options->cancel, &fd, err);
    if (code != VMS_OK)
        return code;
    code = vms_channel_adopt(fd, uri->text, uri->tls, host, options, out, err);
    if (code != VMS_OK) {
        (void)close(fd);
        return code;
    }
    if (!options->defer_handshake)
        code = vms_channel_handshake_until(*out, deadline, err);
    if (code != VMS_OK)
        (void)vms_channel_close(*out, NULL);
    return code;
}

enum vms_code vms_channel_connect(const struct vms_uri *uri,
                                  const struct vms_channel_options *options,
                                  struct vms_channel **out, struct vms_error *err) {
    struct vms_channel_options defaults = vms_channel_options_default();
    if (!options)
        options = &defaults;
    return needs_listener(uri) ? connect_socket(uri, options, out, err)
                               : open_local(uri, true, options, out, err);
}

/* --- closing --- */

static enum vms_code say_goodbye(struct vms_channel *channel, struct vms_error *err) {
    vms_deadline deadline = vms_deadline_in(atomic_load(&channel->write_timeout_ms));
    for (;;) {
        enum vms_io io = vms_tls_end(channel->tls, err);
        if (io == VMS_IO_OK || io == VMS_IO_END)
            return VMS_OK;
        enum vms_code code = io == VMS_IO_FAILED
                                 ? err->code
                                 : vms_channel_wait(channel, io, deadline, "TLS shutdown", err);
        if (code != VMS_OK)
            return code;
    }
}

static bool is_socket(const struct vms_channel *channel) {
    return channel->kind == CHANNEL_SOCKET || channel->kind == CHANNEL_TLS;
}

static enum vms_code end_writing(struct vms_channel *channel, struct vms_error *err) {
    enum vms_code code = VMS_OK;
    if (atomic_exchange(&channel->write_over, true))
        return VMS_OK;
    if (channel->kind == CHANNEL_TLS && channel->handshake_done)
        code = say_goodbye(channel, err);
    if (is_socket(channel) && shutdown(channel->fd, SHUT_WR) != 0 && errno != ENOTCONN &&
        code == VMS_OK)
        code = vms_io_error(err, channel->name, "shut down", errno);
    return code;
}

enum vms_code vms_channel_shutdown(struct vms_channel *channel, enum vms_shutdown how,
                                   struct vms_error *err) {
    bool both = how == VMS_SHUT_BOTH;
    if (how == VMS_SHUT_WRITE)
        return end_writing(channel, err);
    if (both)
        vms_cancel_raise(channel->wake);
    if (is_socket(channel) && shutdown(channel->fd, both ? SHUT_RDWR : SHUT_RD) != 0 &&
        errno != ENOTCONN)
        return vms_io_error(err, channel->name, "shut down", errno);
    return VMS_OK;
}

static enum vms_code close_fd(struct vms_channel *channel, struct vms_error *err) {
    if (is_socket(channel))
        vms_socket_drain(channel->fd);
    if (channel->old_flags >= 0)
        (void)fcntl(channel->fd, F_SETFL, channel->old_flags);
    if (close(channel->fd) != 0 && errno != EINTR)
        return vms_io_error(err, channel->name, "close", errno);
    return VMS_OK;
}

static enum vms_code reap(struct vms_channel *channel, struct vms_error *err) {
    vms_deadline deadline = vms_deadline_in(atomic_load(&channel->write_timeout_ms));
    return vms_exec_wait(channel->pid, channel->name, deadline, channel->cancel, err);
}

enum vms_code vms_channel_close(struct vms_channel *channel, struct vms_error *err) {
    struct vms_error first = {0};
    struct vms_error later;
    enum vms_code code = VMS_OK;
    if (!channel)
        return VMS_OK;
    /* A peer that has left before us is no error here: what it missed, the stream's end mark tells.
     */
    if (!atomic_load(&channel->broken) && vms_channel_check(channel, "close", &first) == VMS_OK &&
        end_writing(channel, &first) == VMS_E_TIMEOUT)
        code = VMS_E_TIMEOUT;
    if (close_fd(channel, &later) != VMS_OK && code == VMS_OK) {
        first = later;
        code = later.code;
    }
    if (channel->pid > 0 && reap(channel, &later) != VMS_OK && code == VMS_OK) {
        first = later;
        code = later.code;
    }
    if (code != VMS_OK && err)
        *err = first;
    destroy(channel);
    return code;
}

/* --- looking --- */

void vms_channel_set_timeouts(struct vms_channel *channel, int read_ms, int write_ms) {
    atomic_store(&channel->read_timeout_ms, read_ms);
    atomic_store(&channel->write_timeout_ms, write_ms);
}

void vms_channel_keep_short(struct vms_channel *channel, unsigned bytes) {
    if (channel->fd >= 0)
        vms_socket_keep_short(channel->fd, bytes);
}

void vms_channel_send_room(struct vms_channel *channel, int bytes) {
    if (channel->fd >= 0)
        vms_socket_send_room(channel->fd, bytes);
}

const char *vms_channel_name(const struct vms_channel *channel) {
    return channel->name;
}

uint64_t vms_channel_bytes_in(const struct vms_channel *channel) {
    return atomic_load(&channel->in);
}

uint64_t vms_channel_bytes_out(const struct vms_channel *channel) {
    return atomic_load(&channel->out);
}

enum vms_channel_end vms_channel_end(const struct vms_channel *channel) {
    return (enum vms_channel_end)atomic_load(&channel->end);
}

bool vms_channel_is_tls(const struct vms_channel *channel) {
    return channel->tls != NULL;
}

void vms_channel_peer(struct vms_channel *channel, char *text, size_t size) {
    text[0] = '\0';
    if (channel->tls)
        vms_tls_peer(channel->tls, text, size);
}

enum vms_code vms_channel_export(struct vms_channel *channel, const char *label,
                                 struct vms_slice context, struct vms_room out,
                                 struct vms_error *err) {
    if (!channel->tls || !channel->handshake_done)
        return vms_error_set(err, VMS_E_MISUSE, "%.80s: no TLS session", channel->name);
    return vms_tls_export(channel->tls, label, context, out, err);
}
