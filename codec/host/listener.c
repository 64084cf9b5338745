/* SPDX-License-Identifier: MIT */
#include "host/listener.h"
#include "host/channel_impl.h"
#include "host/socket.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

struct vms_listener {
    struct vms_uri uri;
    struct vms_channel_options options;
    int fd; /* -1: not a socket's */
    atomic_bool taken;
    struct vms_cancel *wake;
    struct stat path; /* UNIX: the socket that we made */
    char name[VMS_URI_MAX + 1];
};

static bool is_socket_uri(const struct vms_uri *uri) {
    return uri->scheme == VMS_URI_UNIX || uri->scheme == VMS_URI_TCP;
}

static bool is_listening(int fd) {
    int on = 0;
    socklen_t len = sizeof on;
    return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &on, &len) == 0 && on;
}

/* accept() has no flag for one call: a descriptor from outside must not block when another process
 * takes the connection that poll() told of. */
static void take_over(int fd) {
    int flags = fcntl(fd, F_GETFL);
    (void)fcntl(fd, F_SETFD, FD_CLOEXEC);
    if (flags >= 0)
        (void)fcntl(fd, F_SETFL, flags | O_NONBLOCK);
}

static void name_listener(struct vms_listener *listener) {
    const struct vms_uri *uri = &listener->uri;
    if (uri->scheme == VMS_URI_TCP && uri->port == 0) {
        bool v6 = strchr(uri->target, ':') != NULL;
        (void)snprintf(listener->name, sizeof listener->name, "%s:%s%.255s%s:%u",
                       uri->tls ? "tls" : "tcp", v6 ? "[" : "", uri->target, v6 ? "]" : "",
                       (unsigned)vms_listener_port(listener));
    } else {
        (void)snprintf(listener->name, sizeof listener->name, "%s", uri->text);
    }
}

static enum vms_code start(struct vms_listener *listener, struct vms_error *err) {
    const struct vms_uri *uri = &listener->uri;
    enum vms_code code = vms_tls_check_role(listener->options.tls, uri, VMS_TLS_SERVER, err);
    if (code == VMS_OK && is_socket_uri(uri))
        code = vms_socket_listen(uri, &listener->fd, err);
    if (code != VMS_OK)
        return code;
    if (uri->scheme == VMS_URI_UNIX)
        (void)lstat(uri->target, &listener->path);
    if (uri->scheme == VMS_URI_FD && is_listening(uri->fd)) {
        listener->fd = uri->fd;
        take_over(uri->fd);
    }
    name_listener(listener);
    return VMS_OK;
}

enum vms_code vms_listener_open(const struct vms_uri *uri,
                                const struct vms_channel_options *options,
                                struct vms_listener **out, struct vms_error *err) {
    struct vms_listener *listener = calloc(1, sizeof *listener);
    if (!listener || !(listener->wake = vms_cancel_new())) {
        free(listener);
        return vms_error_set(err, VMS_E_NO_MEMORY, "%.80s", uri->text);
    }
    listener->uri = *uri;
    listener->options = options ? *options : vms_channel_options_default();
    listener->fd = -1;
    enum vms_code code = start(listener, err);
    if (code != VMS_OK) {
        vms_listener_close(listener);
        return code;
    }
    *out = listener;
    return VMS_OK;
}

static enum vms_code accept_single(struct vms_listener *listener, struct vms_channel **out,
                                   struct vms_error *err) {
    if (vms_cancel_raised(listener->options.cancel) || vms_cancel_raised(listener->wake))
        return vms_error_set(err, VMS_E_IO, "%.80s: accept: cancelled", listener->name);
    if (atomic_exchange(&listener->taken, true))
        return vms_error_set(err, VMS_E_CONNECT, "%.80s: it gives one channel only",
                             listener->name);
    return vms_channel_open(&listener->uri, &listener->options, out, err);
}

static enum vms_code make_channel(struct vms_listener *listener, int fd, struct vms_channel **out,
                                  struct vms_error *err) {
    char address[80];
    char name[VMS_URI_MAX + 100];
    vms_socket_address(fd, true, address, sizeof address);
    (void)snprintf(name, sizeof name, "%s%s%s", listener->name, address[0] ? " from " : "",
                   address);
    enum vms_code code =
        vms_channel_adopt(fd, name, listener->uri.tls, NULL, &listener->options, out, err);
    if (code != VMS_OK)
        (void)close(fd);
    return code;
}

enum vms_code vms_listener_accept(struct vms_listener *listener, int timeout_ms,
                                  struct vms_channel **out, struct vms_error *err) {
    int fd;
    if (listener->fd < 0)
        return accept_single(listener, out, err);
    enum vms_code code =
        vms_socket_accept(listener->fd, listener->name, vms_deadline_in(timeout_ms),
                          listener->options.cancel, listener->wake, &fd, err);
    if (code == VMS_OK)
        code = make_channel(listener, fd, out, err);
    if (code != VMS_OK || listener->options.defer_handshake)
        return code;
    code = vms_channel_handshake(*out, err);
    if (code != VMS_OK)
        (void)vms_channel_close(*out, NULL);
    return code;
}

bool vms_listener_is_single(const struct vms_listener *listener) {
    return listener->fd < 0;
}

const char *vms_listener_name(const struct vms_listener *listener) {
    return listener->name;
}

int vms_listener_fd(const struct vms_listener *listener) {
    return listener->fd;
}

uint16_t vms_listener_port(const struct vms_listener *listener) {
    return listener->fd < 0 ? 0 : vms_socket_port(listener->fd);
}

void vms_listener_shutdown(struct vms_listener *listener) {
    vms_cancel_raise(listener->wake);
}

/* Another listener may have taken the path since. */
static void remove_path(const struct vms_listener *listener) {
    struct stat now;
    const char *path = listener->uri.target;
    if (listener->path.st_ino != 0 && lstat(path, &now) == 0 &&
        now.st_ino == listener->path.st_ino && now.st_dev == listener->path.st_dev)
        (void)unlink(path);
}

void vms_listener_close(struct vms_listener *listener) {
    if (!listener)
        return;
    if (listener->uri.scheme == VMS_URI_UNIX && listener->fd >= 0)
        remove_path(listener);
    if (listener->fd >= 0)
        (void)close(listener->fd);
    vms_cancel_free(listener->wake);
    free(listener);
}
