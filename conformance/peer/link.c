/* SPDX-License-Identifier: MIT */
#include "conformance/peer/peer.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static struct sockaddr_un address(const struct peer *p) {
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    (void)snprintf(a.sun_path, sizeof a.sun_path, "%s", p->path);
    return a;
}

static bool keep(struct peer *p, int fd) {
    if (fd < 0 || p->count == PEER_CONNECTIONS)
        return false;
    p->fds[p->count++] = p->fd = fd;
    return true;
}

bool peer_connect(struct peer *p) {
    struct sockaddr_un a = address(p);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&a, sizeof a) == 0 && keep(p, fd))
        return true;
    peer_gone(p, "connect %s: %s", p->path, strerror(errno));
    return false;
}

static bool wait_for(struct peer *p, int fd) {
    struct pollfd f = {fd, POLLIN, 0};
    return poll(&f, 1, kit_left(&p->kit, 600000)) == 1;
}

bool peer_accept(struct peer *p) {
    struct sockaddr_un a = address(p);
    if (p->listener <= 0) {
        p->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (p->listener < 0 || bind(p->listener, (struct sockaddr *)&a, sizeof a) != 0 ||
            listen(p->listener, PEER_CONNECTIONS) != 0) {
            peer_fail(p, "listen on %s: %s", p->path, strerror(errno));
            return false;
        }
        kit_mark(&p->kit, "ready");
    }
    return wait_for(p, p->listener) && keep(p, accept4(p->listener, NULL, NULL, SOCK_CLOEXEC));
}

/*
 * A peer that has gone refuses what is sent: the script goes on to see what it said. Before the
 * step that the case is about it had no reason to go.
 */
void peer_send(struct peer *p) {
    for (size_t at = 0; at < p->len && !p->stalled && !p->cut;) {
        ssize_t n = send(p->fd, p->out + at, p->len - at, MSG_NOSIGNAL);
        if (n <= 0) {
            if (!p->deviated)
                peer_gone(p, "what is sent is refused: %s", strerror(errno));
            break;
        }
        at += (size_t)n;
    }
    p->len = 0;
}

bool peer_read(struct peer *p, uint8_t *out, size_t n) {
    for (size_t at = 0; at < n;) {
        ssize_t got = wait_for(p, p->fd) ? read(p->fd, out + at, n - at) : -1;
        if (got <= 0)
            return false;
        at += (size_t)got;
    }
    return true;
}

void peer_hang_up(struct peer *p) {
    for (unsigned i = 0; i < p->count; i++)
        (void)shutdown(p->fds[i], SHUT_RDWR);
}
