/* SPDX-License-Identifier: MIT */
#include "host/socket.h"

#include <errno.h>
#include <limits.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define SOCKET_FLAGS (SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK)

static enum vms_code fail(struct vms_error *err, const char *name, const char *what, int errnum) {
    return vms_error_set(err, VMS_E_CONNECT, "%.80s: cannot %s: %s", name, what, strerror(errnum));
}

static enum vms_code not_ready(struct vms_error *err, const char *name, const char *what,
                               enum vms_wait wait) {
    if (wait == VMS_WAIT_TIMEOUT)
        return vms_error_set(err, VMS_E_TIMEOUT, "%.80s: %s", name, what);
    if (wait == VMS_WAIT_FAILED)
        return fail(err, name, what, errno);
    return vms_error_set(err, VMS_E_IO, "%.80s: %s: cancelled", name, what);
}

/* --- addresses --- */

static struct sockaddr_un unix_address(const struct vms_uri *uri) {
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    /* vms_uri_parse() has seen to the length. */
    memcpy(addr.sun_path, uri->target, strnlen(uri->target, sizeof addr.sun_path - 1));
    return addr;
}

static enum vms_code resolve(const struct vms_uri *uri, int family, int flags,
                             struct addrinfo **list, struct vms_error *err) {
    struct addrinfo hints = {
        .ai_family = family, .ai_socktype = SOCK_STREAM, .ai_flags = flags | AI_NUMERICSERV};
    char port[8];
    (void)snprintf(port, sizeof port, "%u", (unsigned)uri->port);
    int rc = getaddrinfo(uri->target[0] ? uri->target : NULL, port, &hints, list);
    if (rc == 0)
        return VMS_OK;
    return vms_error_set(err, VMS_E_CONNECT, "%.60s: cannot find host '%.40s': %s", uri->text,
                         uri->target, rc == EAI_SYSTEM ? strerror(errno) : gai_strerror(rc));
}

void vms_socket_address(int fd, bool peer, char *text, size_t size) {
    struct sockaddr_storage addr;
    socklen_t len = sizeof addr;
    char host[INET6_ADDRSTRLEN + 16];
    char port[8];
    text[0] = '\0';
    int rc = peer ? getpeername(fd, (struct sockaddr *)&addr, &len)
                  : getsockname(fd, (struct sockaddr *)&addr, &len);
    if (rc != 0 || (addr.ss_family != AF_INET && addr.ss_family != AF_INET6))
        return;
    if (getnameinfo((struct sockaddr *)&addr, len, host, sizeof host, port, sizeof port,
                    NI_NUMERICHOST | NI_NUMERICSERV) != 0)
        return;
    (void)snprintf(text, size, addr.ss_family == AF_INET6 ? "[%s]:%s" : "%s:%s", host, port);
}

uint16_t vms_socket_port(int fd) {
    union {
        struct sockaddr any;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
    } addr;
    socklen_t len = sizeof addr;
    memset(&addr, 0, sizeof addr);
    if (getsockname(fd, &addr.any, &len) != 0)
        return 0;
    if (addr.any.sa_family == AF_INET)
        return ntohs(addr.in.sin_port);
    return addr.any.sa_family == AF_INET6 ? ntohs(addr.in6.sin6_port) : 0;
}

void vms_socket_tune(int fd) {
    int on = 1;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on); /* fails on UNIX: no matter */
}

/* What 10 Gbit/s have under way, or INT_MAX. 0: not TCP. */
static uint64_t under_way(int fd) {
    struct tcp_info info = {0};
    socklen_t len = sizeof info;
    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) != 0)
        return 0;
    return (uint64_t)info.tcpi_rtt * 1250; /* us, bytes in one */
}

void vms_socket_keep_short(int fd, unsigned bytes) {
    uint64_t window = bytes + under_way(fd);
    int n = bytes > INT_MAX ? INT_MAX : (int)bytes;
    int received = window > INT_MAX ? INT_MAX : (int)window;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &n, sizeof n); /* TCP only */
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &received, sizeof received);
    vms_socket_send_room(fd, n); /* UNIX only */
}

void vms_socket_send_room(int fd, int bytes) {
    int domain = 0;
    socklen_t len = sizeof domain;
    if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) == 0 && domain == AF_UNIX)
        (void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
}

void vms_socket_drain(int fd) {
    char waste[4096];
    for (int i = 0; i < 1024 && recv(fd, waste, sizeof waste, MSG_DONTWAIT) > 0; i++) {
    }
}

/* --- within a host --- */

static bool is_loopback(const struct sockaddr *addr) {
    const struct sockaddr_in *in = (const void *)addr;
    const struct sockaddr_in6 *in6 = (const void *)addr;
    if (addr->sa_family == AF_INET)
        return ntohl(in->sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
    return addr->sa_family == AF_INET6 && (IN6_IS_ADDR_LOOPBACK(&in6->sin6_addr) ||
                                           (IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr) &&
                                            in6->sin6_addr.s6_addr[12] == IN_LOOPBACKNET));
}

/* [HOST-19] Before the connection is made: what a control that paces (BBR) has begun goes on under
 * another one. Reno is there for every process (tcp_allowed_congestion_control). */
static void do_not_pace(int fd, const struct sockaddr *addr) {
    static const char reno[] = "reno";
    if (is_loopback(addr))
        (void)setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, reno, sizeof reno - 1);
}

/* --- connecting --- */

/* How one address answered: 0 or an errno value; *wait says so when it did not. */
static int finish_connect(int fd, vms_deadline deadline, const struct vms_cancel *cancel,
                          enum vms_wait *wait) {
    int error = 0;
    socklen_t len = sizeof error;
    *wait = vms_wait_fd(fd, POLLOUT, deadline, cancel, NULL);
    if (*wait != VMS_WAIT_READY)
        return *wait == VMS_WAIT_FAILED ? errno : ETIMEDOUT;
    return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) == 0 ? error : errno;
}

static int try_address(const struct sockaddr *addr, socklen_t len, vms_deadline deadline,
                       const struct vms_cancel *cancel, enum vms_wait *wait, int *out) {
    *wait = VMS_WAIT_READY;
    int fd = socket(addr->sa_family, SOCKET_FLAGS, 0);
    if (fd < 0)
        return errno;
    do_not_pace(fd, addr);
    int error = connect(fd, addr, len) == 0 ? 0 : errno;
    if (error == EINPROGRESS)
        error = finish_connect(fd, deadline, cancel, wait);
    if (error == 0)
        *out = fd;
    else
        (void)close(fd);
    return error;
}

/* A full backlog shows as EAGAIN on a UNIX socket and has no event to wait for. */
static int connect_unix(const struct vms_uri *uri, vms_deadline deadline,
                        const struct vms_cancel *cancel, enum vms_wait *wait, int *fd) {
    struct sockaddr_un addr = unix_address(uri);
    for (;;) {
        int error = try_address((struct sockaddr *)&addr, sizeof addr, deadline, cancel, wait, fd);
        if (error != EAGAIN)
            return error;
        vms_deadline soon = vms_deadline_in(10);
        *wait = vms_wait_fd(-1, 0, soon < deadline ? soon : deadline, cancel, NULL);
        if (*wait != VMS_WAIT_TIMEOUT || vms_deadline_left(deadline) == 0)
            return error;
    }
}

static int connect_list(const struct addrinfo *list, vms_deadline deadline,
                        const struct vms_cancel *cancel, enum vms_wait *wait, int *fd) {
    int error = ECONNREFUSED;
    for (const struct addrinfo *a = list; a; a = a->ai_next) {
        error = try_address(a->ai_addr, a->ai_addrlen, deadline, cancel, wait, fd);
        if (error == 0 || *wait != VMS_WAIT_READY)
            break;
    }
    return error;
}

enum vms_code vms_socket_connect(const struct vms_uri *uri, vms_deadline deadline,
                                 const struct vms_cancel *cancel, int *fd, struct vms_error *err) {
    enum vms_wait wait = VMS_WAIT_READY;
    int error;
    if (uri->scheme == VMS_URI_UNIX) {
        error = connect_unix(uri, deadline, cancel, &wait, fd);
    } else {
        struct addrinfo *list;
        if (!uri->target[0] || uri->port == 0)
            return vms_error_set(err, VMS_E_CONNECT, "%.80s: no host or port to connect to",
                                 uri->text);
        enum vms_code code = resolve(uri, AF_UNSPEC, 0, &list, err);
        if (code != VMS_OK)
            return code;
        error = connect_list(list, deadline, cancel, &wait, fd);
        freeaddrinfo(list);
    }
    if (error == 0)
        return VMS_OK;
    return wait == VMS_WAIT_READY ? fail(err, uri->text, "connect", error)
                                  : not_ready(err, uri->text, "connect", wait);
}

/* --- listening --- */

static int bind_and_listen(const struct sockaddr *addr, socklen_t len, int *out) {
    int on = 1;
    int off = 0;
    int fd = socket(addr->sa_family, SOCKET_FLAGS, 0);
    if (fd < 0)
        return errno;
    if (addr->sa_family != AF_UNIX)
        (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (addr->sa_family == AF_INET6)
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    do_not_pace(fd, addr);
    if (bind(fd, addr, len) == 0 && listen(fd, SOMAXCONN) == 0) {
        *out = fd;
        return 0;
    }
    int error = errno;
    (void)close(fd);
    return error;
}

/* True when path is a socket that refuses: its listener has died without removing it. */
static bool is_stale(const struct sockaddr_un *addr) {
    struct stat st;
    if (lstat(addr->sun_path, &st) != 0 || !S_ISSOCK(st.st_mode))
        return false;
    int fd = socket(AF_UNIX, SOCKET_FLAGS, 0);
    if (fd < 0)
        return false;
    bool refused =
        connect(fd, (const struct sockaddr *)addr, sizeof *addr) != 0 && errno == ECONNREFUSED;
    (void)close(fd);
    return refused;
}

/* Who finds the path may connect: the socket gets its name when it listens already. The name is a
 * second link to it; where that cannot be made, the socket is bound to it at once. */
static int bind_unix(const struct sockaddr_un *addr, int *fd) {
    struct sockaddr_un first = *addr;
    int n = snprintf(first.sun_path, sizeof first.sun_path, "%.*s.%ld", (int)sizeof addr->sun_path,
                     addr->sun_path, (long)getpid());
    if (n < 0 || (size_t)n >= sizeof first.sun_path)
        return bind_and_listen((const struct sockaddr *)addr, sizeof *addr, fd);
    int error = bind_and_listen((struct sockaddr *)&first, sizeof first, fd);
    if (error)
        return bind_and_listen((const struct sockaddr *)addr, sizeof *addr, fd);
    error = link(first.sun_path, addr->sun_path) == 0 ? 0 : errno;
    (void)unlink(first.sun_path);
    if (!error)
        return 0;
    (void)close(*fd);
    return error == EEXIST ? EADDRINUSE
                           : bind_and_listen((const struct sockaddr *)addr, sizeof *addr, fd);
}

static int listen_unix(const struct vms_uri *uri, int *fd) {
    struct sockaddr_un addr = unix_address(uri);
    int error = bind_unix(&addr, fd);
    if (error != EADDRINUSE || !is_stale(&addr) || unlink(addr.sun_path) != 0)
        return error;
    return bind_unix(&addr, fd);
}

static enum vms_code listen_tcp(const struct vms_uri *uri, int family, int *fd,
                                struct vms_error *err) {
    struct addrinfo *list;
    enum vms_code code = resolve(uri, family, AI_PASSIVE, &list, err);
    if (code != VMS_OK)
        return code;
    int error = EADDRNOTAVAIL;
    for (const struct addrinfo *a = list; a && error; a = a->ai_next)
        error = bind_and_listen(a->ai_addr, a->ai_addrlen, fd);
    freeaddrinfo(list);
    return error ? fail(err, uri->text, "listen", error) : VMS_OK;
}

enum vms_code vms_socket_listen(const struct vms_uri *uri, int *fd, struct vms_error *err) {
    if (uri->scheme == VMS_URI_UNIX) {
        int error = listen_unix(uri, fd);
        return error ? fail(err, uri->text, "listen", error) : VMS_OK;
    }
    /* One IPv6 socket takes both families, where there is IPv6. */
    if (!uri->target[0] && listen_tcp(uri, AF_INET6, fd, err) == VMS_OK)
        return VMS_OK;
    return listen_tcp(uri, uri->target[0] ? AF_UNSPEC : AF_INET, fd, err);
}

/* The connection was gone before it was taken, or another thread took it. */
static bool try_again(int errnum) {
    return errnum == EAGAIN || errnum == EINTR || errnum == ECONNABORTED || errnum == EPROTO;
}

enum {
    NONE_LEFT_MS = 50, /* until it is tried again */
};

/* [HOST-18] No descriptor or memory for it now: it stays in the queue. */
static bool none_left(int errnum) {
    return errnum == EMFILE || errnum == ENFILE || errnum == ENOBUFS || errnum == ENOMEM;
}

enum vms_code vms_socket_accept(int listening, const char *name, vms_deadline deadline,
                                const struct vms_cancel *cancel, const struct vms_cancel *wake,
                                int *fd, struct vms_error *err) {
    for (;;) {
        enum vms_wait wait = vms_wait_fd(listening, POLLIN, deadline, cancel, wake);
        if (wait != VMS_WAIT_READY)
            return not_ready(err, name, "accept", wait);
        *fd = accept4(listening, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (*fd >= 0)
            return VMS_OK;
        if (none_left(errno)) {
            wait = vms_wait_fd(-1, 0, vms_deadline_in(NONE_LEFT_MS), cancel, wake);
            if (wait != VMS_WAIT_TIMEOUT || vms_deadline_left(deadline) == 0)
                return not_ready(err, name, "accept", wait);
        } else if (!try_again(errno)) {
            return fail(err, name, "accept", errno);
        }
    }
}
