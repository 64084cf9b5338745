/* SPDX-License-Identifier: MIT */
#include "conformance/adapters/kit/kit.h"
#include "conformance/adapters/replay/image.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/*
 * A captured stream, or a saved image, as a source: VMS_FILE is its path, VMS_VERSION of the QEMU
 * that has written it. It is sent as it is; answers are read and kept. So whatever loads it is
 * certified with a guest that somebody really had.
 */
static const char *const features[] = {"precopy", "return-path", "main", NULL};

static int connect_to(const char *uri) {
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    int fd = strncmp(uri, "unix:", 5) == 0 ? socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0) : -1;
    (void)snprintf(a.sun_path, sizeof a.sun_path, "%s", uri + 5);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&a, sizeof a) == 0)
        return fd;
    if (fd >= 0)
        (void)close(fd);
    return -1;
}

/* What comes back must not fill up its socket; SHUT is its last message: 0001 0004 and a number. */
static void take_answers(int fd, FILE *keep, uint8_t tail[8]) {
    uint8_t b[4096];
    ssize_t n;
    while ((n = recv(fd, b, sizeof b, MSG_DONTWAIT)) > 0) {
        (void)fwrite(b, 1, (size_t)n, keep);
        for (ssize_t i = 0; i < n; i++) {
            memmove(tail, tail + 1, 7);
            tail[7] = b[i];
        }
    }
}

static int send_all(int fd, const uint8_t *p, size_t n, FILE *keep, uint8_t tail[8]) {
    while (n > 0) {
        struct pollfd f = {fd, POLLIN | POLLOUT, 0};
        if (poll(&f, 1, -1) < 0 || (f.revents & (POLLERR | POLLHUP)))
            return -1;
        if (f.revents & POLLIN)
            take_answers(fd, keep, tail);
        ssize_t k = send(fd, p, n, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (k < 0 && errno != EAGAIN)
            return -1;
        p += k > 0 ? k : 0;
        n -= k > 0 ? (size_t)k : 0;
    }
    return 0;
}

static enum kit_exit replay(struct kit *k, FILE *stream, int fd) {
    static uint8_t buffer[1 << 16];
    char path[CERT_PATH];
    uint8_t tail[8] = {0};
    FILE *keep = fopen(cert_path(path, "%s/answers", k->log), "we");
    size_t n;
    uint64_t sent = 0;
    int rc = keep ? 0 : -1;
    while (rc == 0 && (n = fread(buffer, 1, sizeof buffer, stream)) > 0) {
        rc = send_all(fd, buffer, n, keep, tail);
        sent += n;
    }
    (void)shutdown(fd, SHUT_WR);
    struct pollfd f = {fd, POLLIN, 0};
    while (rc == 0 && poll(&f, 1, kit_left(k, 60000)) > 0 && !(f.revents & POLLHUP))
        take_answers(fd, keep, tail);
    if (keep)
        (void)fclose(keep);
    bool refused = memcmp(tail, "\0\1\0\4", 4) == 0 && memcmp(tail + 4, "\0\0\0\0", 4) != 0;
    if (rc != 0 || refused)
        return kit_end(k, "refused", "after %llu octets: %s", (unsigned long long)sent,
                       refused ? "the destination says no" : "it takes no more");
    return kit_end(k, "completed", "%llu octets", (unsigned long long)sent);
}

static enum kit_exit run(struct kit *k) {
    char error[200];
    enum kit_exit e = kit_open(k);
    if (e != KIT_DONE)
        return e;
    const char *path = getenv("VMS_FILE");
    path = path ? path : "";
    FILE *stream = *path ? replay_open(path, error) : NULL;
    if (!stream) {
        kit_say(k, "%s", *path ? error : "no capture: VMS_FILE names one");
        return KIT_LOCAL;
    }
    const char *slash = strrchr(path, '/');
    char version[400];
    (void)snprintf(version, sizeof version, "%s of QEMU %s", slash ? slash + 1 : path, k->version);
    kit_write_version(k, version);
    if (kit_is(k, "version")) {
        (void)replay_close(stream);
        return KIT_DONE;
    }
    e = kit_check_needs(k, features);
    if (e == KIT_DONE)
        e = kit_is(k, "source") ? KIT_DONE : KIT_UNSUPPORTED;
    if (e == KIT_DONE) {
        kit_mark(k, "ready");
        int fd = connect_to(k->uri);
        e = fd >= 0 ? replay(k, stream, fd) : KIT_LOCAL;
        if (fd >= 0)
            (void)close(fd);
    }
    (void)replay_close(stream);
    return e;
}

int main(void) {
    struct kit k;
    enum kit_exit e = run(&k);
    json_decref(k.test);
    json_decref(k.end);
    return (int)e;
}
