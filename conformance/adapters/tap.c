// SPDX-License-Identifier: MIT
#include "tap.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum {
    BUFFER = 1 << 18
};

// One direction of a connection: from -> (buffer, file) -> to.
struct flow {
    int from;
    int to;     // -1: nowhere
    int file;   // -1: not recorded
    bool ended; // `from` has sent its last byte, and `to` has been told
    const bool *held;
    size_t start;
    size_t length;
    uint64_t total;
    uint8_t *buffer;
};

struct connection {
    struct flow flows[2]; // forward, reverse
    uint64_t before;      // what connection 0 had sent
    bool open;
};

struct vms_tap {
    char listen_path[108];
    char connect_path[108];
    char prefix[PATH_MAX];
    int listener;
    int wake; // eventfd: look at the requests
    pthread_t thread;
    pthread_mutex_t lock; // for all below; the thread holds it except in poll
    pthread_cond_t changed;
    bool stop;
    bool cut;
    bool held[2]; // by flow
    unsigned count;
    struct connection connections[VMS_TAP_MAX_CONNECTIONS];
    char error[256];
};

static void note_error(struct vms_tap *tap, const char *what, const char *name) {
    if (tap->error[0] == '\0') {
        snprintf(tap->error, sizeof tap->error, "tap: %s %.100s: %s", what, name, strerror(errno));
    }
}

static int make_address(struct sockaddr_un *address, const char *path) {
    memset(address, 0, sizeof *address);
    address->sun_family = AF_UNIX;
    if (strlen(path) >= sizeof address->sun_path) {
        errno = ENAMETOOLONG;
        return -1;
    }
    strcpy(address->sun_path, path);
    return 0;
}

static int unix_socket(const char *path, bool listening) {
    struct sockaddr_un address;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int status = fd < 0 ? -1 : make_address(&address, path);

    if (status == 0 && listening) {
        unlink(path);
        status = bind(fd, (struct sockaddr *)&address, sizeof address);
        status = status == 0 ? listen(fd, VMS_TAP_MAX_CONNECTIONS) : status;
    } else if (status == 0) {
        status = connect(fd, (struct sockaddr *)&address, sizeof address);
    }
    if (status != 0 && fd >= 0) {
        int saved = errno;

        close(fd);
        errno = saved;
        fd = -1;
    }
    return fd;
}

// ---- connections

static void close_fd(int *fd) {
    if (*fd >= 0) {
        close(*fd);
    }
    *fd = -1;
}

static void close_connection(struct connection *connection) {
    int near = connection->flows[0].from;
    int far = connection->flows[1].from;

    for (int i = 0; i < 2; i++) {
        close_fd(&connection->flows[i].file);
        free(connection->flows[i].buffer);
        connection->flows[i].buffer = NULL;
        connection->flows[i].from = -1;
        connection->flows[i].to = -1;
    }
    close_fd(&near);
    close_fd(&far);
    connection->open = false;
}

static void open_flow(struct vms_tap *tap, struct flow *flow, unsigned index, const char *suffix) {
    char path[PATH_MAX + 32];

    flow->file = -1;
    flow->buffer = malloc(BUFFER);
    if (flow->buffer == NULL) {
        note_error(tap, "buffer for", suffix);
    }
    if (tap->prefix[0] == '\0') {
        return;
    }
    snprintf(path, sizeof path, "%s.%u.%s", tap->prefix, index, suffix);
    flow->file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (flow->file < 0) {
        note_error(tap, "cannot create", path);
    }
}

static void set_nonblocking(int fd) {
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
}

static void accept_connection(struct vms_tap *tap, uint64_t before) {
    int near = accept4(tap->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    struct connection *connection;
    int far = -1;

    if (near < 0) {
        return;
    }
    if (tap->connect_path[0] != '\0') {
        far = unix_socket(tap->connect_path, false);
    }
    if (tap->count == VMS_TAP_MAX_CONNECTIONS || (far < 0 && tap->connect_path[0] != '\0')) {
        note_error(tap, "cannot connect on to", tap->connect_path);
        close_fd(&far);
        close(near);
        return;
    }
    if (far >= 0) {
        set_nonblocking(far);
    }
    connection = &tap->connections[tap->count];
    open_flow(tap, &connection->flows[0], tap->count, "fwd");
    open_flow(tap, &connection->flows[1], tap->count, "rev");
    connection->flows[0].from = connection->flows[1].to = near;
    connection->flows[1].from = connection->flows[0].to = far;
    connection->flows[1].ended = far < 0;
    connection->flows[0].held = &tap->held[0];
    connection->flows[1].held = &tap->held[1];
    connection->before = before;
    connection->open = true;
    tap->count++;
    if (connection->flows[0].buffer == NULL || connection->flows[1].buffer == NULL) {
        close_connection(connection);
    }
}

// ---- moving bytes

static int record(struct flow *flow, const uint8_t *bytes, size_t length) {
    while (flow->file >= 0 && length > 0) {
        ssize_t done = write(flow->file, bytes, length);

        if (done < 0 && errno != EINTR) {
            return -1;
        }
        bytes += done > 0 ? done : 0;
        length -= done > 0 ? (size_t)done : 0;
    }
    return 0;
}

static void end_flow(struct flow *flow) {
    flow->ended = true;
    if (flow->to >= 0) {
        shutdown(flow->to, SHUT_WR);
    }
}

// Reads when the buffer is empty. An error of the socket ends the flow like an orderly end does.
static void fill(struct vms_tap *tap, struct flow *flow) {
    ssize_t got = recv(flow->from, flow->buffer, BUFFER, 0);

    if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    if (got <= 0) {
        end_flow(flow);
        return;
    }
    flow->total += (uint64_t)got;
    if (record(flow, flow->buffer, (size_t)got) != 0) {
        note_error(tap, "cannot write a record of", tap->prefix);
    }
    flow->start = 0;
    flow->length = flow->to >= 0 ? (size_t)got : 0;
}

static void drain(struct flow *flow) {
    ssize_t sent = send(flow->to, flow->buffer + flow->start, flow->length, MSG_NOSIGNAL);

    if (sent < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    if (sent < 0) { // the receiver is gone: so must the sender learn
        flow->length = 0;
        flow->ended = true;
        shutdown(flow->from, SHUT_RD);
        return;
    }
    flow->start += (size_t)sent;
    flow->length -= (size_t)sent;
}

// ---- the thread

struct poll_set {
    struct pollfd fds[2 + 2 * VMS_TAP_MAX_CONNECTIONS];
    struct flow *flows[2 + 2 * VMS_TAP_MAX_CONNECTIONS];
    nfds_t count;
};

static void add_to_set(struct poll_set *set, int fd, short events, struct flow *flow) {
    set->fds[set->count] = (struct pollfd){.fd = fd, .events = events};
    set->flows[set->count] = flow;
    set->count++;
}

static void make_set(struct vms_tap *tap, struct poll_set *set) {
    set->count = 0;
    add_to_set(set, tap->wake, POLLIN, NULL);
    add_to_set(set, tap->listener, POLLIN, NULL);
    for (unsigned i = 0; i < tap->count; i++) {
        for (int way = 0; way < 2 && tap->connections[i].open; way++) {
            struct flow *flow = &tap->connections[i].flows[way];

            if (*flow->held) {
                continue;
            }
            if (flow->length > 0) {
                add_to_set(set, flow->to, POLLOUT, flow);
            } else if (!flow->ended) {
                add_to_set(set, flow->from, POLLIN, flow);
            }
        }
    }
}

static void handle_requests(struct vms_tap *tap) {
    uint64_t value;

    if (read(tap->wake, &value, sizeof value) < 0 && errno != EAGAIN) {
        note_error(tap, "eventfd of", tap->listen_path);
    }
    if (tap->cut) {
        for (unsigned i = 0; i < tap->count; i++) {
            if (tap->connections[i].open) {
                close_connection(&tap->connections[i]);
            }
        }
        tap->cut = false;
    }
}

static void close_finished(struct vms_tap *tap) {
    for (unsigned i = 0; i < tap->count; i++) {
        struct connection *connection = &tap->connections[i];

        if (connection->open && connection->flows[0].ended && connection->flows[1].ended &&
            connection->flows[0].length == 0 && connection->flows[1].length == 0) {
            close_connection(connection);
        }
    }
}

// Who connects and then writes on another connection is looked for behind that read, so that its
// `before` is never too high.
static void handle_set(struct vms_tap *tap, struct poll_set *set) {
    uint64_t before = tap->connections[0].flows[0].total;

    for (nfds_t i = 2; i < set->count; i++) {
        struct flow *flow = set->flows[i];

        if (set->fds[i].revents == 0 || *flow->held) { // held since the set was made
            continue;
        }
        if (flow->length > 0) {
            drain(flow);
        } else {
            fill(tap, flow);
        }
    }
    close_finished(tap);
    accept_connection(tap, before);
    handle_requests(tap);
}

static void *run(void *argument) {
    struct vms_tap *tap = argument;
    struct poll_set set;

    pthread_mutex_lock(&tap->lock);
    while (!tap->stop) {
        make_set(tap, &set);
        pthread_mutex_unlock(&tap->lock);
        poll(set.fds, set.count, -1);
        pthread_mutex_lock(&tap->lock);
        handle_set(tap, &set);
        pthread_cond_broadcast(&tap->changed);
    }
    pthread_mutex_unlock(&tap->lock);
    return NULL;
}

// ---- the caller's side

static void wake(struct vms_tap *tap) {
    uint64_t one = 1;

    if (write(tap->wake, &one, sizeof one) < 0) {
        note_error(tap, "eventfd of", tap->listen_path);
    }
}

static int open_tap(struct vms_tap *tap, const struct vms_tap_options *options) {
    pthread_condattr_t attributes;

    if (options->connect_path != NULL &&
        strlen(options->connect_path) >= sizeof tap->connect_path) {
        tap->listener = tap->wake = -1;
        errno = ENAMETOOLONG;
        return -1;
    }
    snprintf(tap->listen_path, sizeof tap->listen_path, "%s", options->listen_path);
    snprintf(tap->connect_path, sizeof tap->connect_path, "%s",
             options->connect_path != NULL ? options->connect_path : "");
    snprintf(tap->prefix, sizeof tap->prefix, "%s",
             options->record_prefix != NULL ? options->record_prefix : "");
    tap->listener = unix_socket(options->listen_path, true);
    tap->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (tap->listener < 0 || tap->wake < 0) {
        return -1;
    }
    set_nonblocking(tap->listener);
    pthread_mutex_init(&tap->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&tap->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    errno = pthread_create(&tap->thread, NULL, run, tap);
    return errno == 0 ? 0 : -1;
}

struct vms_tap *vms_tap_start(const struct vms_tap_options *options, char *error,
                              size_t error_size) {
    struct vms_tap *tap = calloc(1, sizeof *tap);

    if (tap == NULL || open_tap(tap, options) != 0) {
        snprintf(error, error_size, "tap: cannot listen on %s: %s", options->listen_path,
                 strerror(errno));
        if (tap != NULL) {
            close_fd(&tap->listener);
            close_fd(&tap->wake);
        }
        free(tap);
        return NULL;
    }
    return tap;
}

typedef bool condition_fn(const struct vms_tap *tap, unsigned index, uint64_t value);

static int wait_until(struct vms_tap *tap, condition_fn *condition, unsigned index, uint64_t value,
                      int timeout_ms) {
    struct timespec deadline;
    int status = 0;

    clock_gettime(CLOCK_MONOTONIC, &deadline);
    deadline.tv_sec += timeout_ms / 1000;
    deadline.tv_nsec += timeout_ms % 1000 * 1000000L;
    if (deadline.tv_nsec >= 1000000000L) {
        deadline.tv_sec++;
        deadline.tv_nsec -= 1000000000L;
    }
    pthread_mutex_lock(&tap->lock);
    while (status == 0 && !condition(tap, index, value)) {
        status = pthread_cond_timedwait(&tap->changed, &tap->lock, &deadline);
    }
    status = condition(tap, index, value) ? 0 : -1;
    pthread_mutex_unlock(&tap->lock);
    return status;
}

static bool has_count(const struct vms_tap *tap, unsigned index, uint64_t value) {
    (void)index;
    return tap->count >= value;
}

static bool has_bytes(const struct vms_tap *tap, unsigned index, uint64_t value) {
    return index < tap->count && tap->connections[index].flows[0].total >= value;
}

static bool is_idle(const struct vms_tap *tap, unsigned index, uint64_t value) {
    (void)index;
    (void)value;
    for (unsigned i = 0; i < tap->count; i++) {
        if (tap->connections[i].open) {
            return false;
        }
    }
    return tap->count > 0;
}

static bool has_cut(const struct vms_tap *tap, unsigned index, uint64_t value) {
    (void)index;
    (void)value;
    return !tap->cut;
}

void vms_tap_cut(struct vms_tap *tap) {
    pthread_mutex_lock(&tap->lock);
    tap->cut = true;
    wake(tap);
    pthread_mutex_unlock(&tap->lock);
    while (wait_until(tap, has_cut, 0, 0, 1000) != 0) {
    }
}

void vms_tap_hold(struct vms_tap *tap, bool forward, bool reverse) {
    pthread_mutex_lock(&tap->lock);
    tap->held[0] = forward;
    tap->held[1] = reverse;
    wake(tap);
    pthread_mutex_unlock(&tap->lock);
}

int vms_tap_wait_connections(struct vms_tap *tap, unsigned count, int timeout_ms) {
    return wait_until(tap, has_count, 0, count, timeout_ms);
}

int vms_tap_wait_forward(struct vms_tap *tap, unsigned index, uint64_t bytes, int timeout_ms) {
    return wait_until(tap, has_bytes, index, bytes, timeout_ms);
}

int vms_tap_wait_idle(struct vms_tap *tap, int timeout_ms) {
    return wait_until(tap, is_idle, 0, 0, timeout_ms);
}

unsigned vms_tap_count(struct vms_tap *tap) {
    unsigned count;

    pthread_mutex_lock(&tap->lock);
    count = tap->count;
    pthread_mutex_unlock(&tap->lock);
    return count;
}

struct vms_tap_connection vms_tap_connection(struct vms_tap *tap, unsigned index) {
    struct vms_tap_connection result = {0};

    pthread_mutex_lock(&tap->lock);
    if (index < tap->count) {
        result.forward = tap->connections[index].flows[0].total;
        result.reverse = tap->connections[index].flows[1].total;
        result.before = tap->connections[index].before;
        result.open = tap->connections[index].open;
    }
    pthread_mutex_unlock(&tap->lock);
    return result;
}

const char *vms_tap_error(struct vms_tap *tap) {
    return tap->error;
}

void vms_tap_stop(struct vms_tap *tap) {
    if (tap == NULL) {
        return;
    }
    pthread_mutex_lock(&tap->lock);
    tap->stop = true;
    wake(tap);
    pthread_mutex_unlock(&tap->lock);
    pthread_join(tap->thread, NULL);
    for (unsigned i = 0; i < tap->count; i++) {
        if (tap->connections[i].open) {
            close_connection(&tap->connections[i]);
        }
    }
    close_fd(&tap->listener);
    close_fd(&tap->wake);
    unlink(tap->listen_path);
    pthread_cond_destroy(&tap->changed);
    pthread_mutex_destroy(&tap->lock);
    free(tap);
}
