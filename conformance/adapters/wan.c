// SPDX-License-Identifier: MIT
#include "wan.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum {
    LINES = 64,
    CHUNKS = 64, // on their way in one direction: so much fits into the line
    CHUNK = 16 * 1024,
};

struct chunk {
    int64_t due; // ms
    size_t start, length;
    uint8_t bytes[CHUNK];
};

// One direction of a connection.
struct flow {
    int from, to;
    bool ended; // `from` has sent its last byte
    unsigned first, count;
    struct chunk *chunks; // a ring
};

struct line {
    struct flow flows[2]; // forward, reverse
    bool open;
};

struct vms_wan {
    char path[108];
    struct sockaddr_in far;
    unsigned delay_ms;
    int listener, wake;
    pthread_t thread;
    pthread_mutex_t lock; // for all below; the thread holds it except in poll
    pthread_cond_t changed;
    bool stop, stalled;
    uint64_t forward;
    unsigned count;
    struct line lines[LINES];
};

static int64_t now_ms(void) {
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

// ---- connections

static void close_line(struct line *line) {
    if (line->flows[0].from >= 0) {
        close(line->flows[0].from);
    }
    if (line->flows[1].from >= 0) {
        close(line->flows[1].from);
    }
    free(line->flows[0].chunks);
    free(line->flows[1].chunks);
    memset(line, 0, sizeof *line);
}

static int connect_on(const struct vms_wan *wan) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd >= 0 && connect(fd, (const struct sockaddr *)&wan->far, sizeof wan->far) != 0) {
        close(fd);
        fd = -1;
    }
    return fd;
}

static void accept_line(struct vms_wan *wan) {
    int near = accept4(wan->listener, NULL, NULL, SOCK_CLOEXEC);
    int far = near >= 0 && wan->count < LINES ? connect_on(wan) : -1;
    struct line *line = &wan->lines[wan->count % LINES];

    if (far < 0) {
        if (near >= 0) {
            close(near);
        }
        return;
    }
    line->flows[0] = (struct flow){.from = near, .to = far};
    line->flows[1] = (struct flow){.from = far, .to = near};
    for (int way = 0; way < 2; way++) {
        line->flows[way].chunks = malloc(CHUNKS * sizeof(struct chunk));
    }
    line->open = true;
    wan->count++;
    if (line->flows[0].chunks == NULL || line->flows[1].chunks == NULL) {
        close_line(line);
    }
}

// ---- moving bytes

static void take(const struct vms_wan *wan, struct flow *flow) {
    struct chunk *c = &flow->chunks[(flow->first + flow->count) % CHUNKS];
    ssize_t got = recv(flow->from, c->bytes, CHUNK, MSG_DONTWAIT);

    if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    c->due = now_ms() + wan->delay_ms;
    c->start = 0;
    c->length = got > 0 ? (size_t)got : 0; // 0: the end, which travels as long
    flow->ended = got <= 0;
    flow->count++;
}

static void give(struct vms_wan *wan, struct flow *flow, bool forward) {
    struct chunk *c = &flow->chunks[flow->first];
    ssize_t sent = 0;

    if (c->length == 0) {
        shutdown(flow->to, SHUT_WR);
    } else {
        sent = send(flow->to, c->bytes + c->start, c->length, MSG_NOSIGNAL | MSG_DONTWAIT);
    }
    if (sent < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    if (sent < 0) { // the receiver is gone: so must the sender learn
        flow->ended = true;
        flow->count = 0;
        shutdown(flow->from, SHUT_RD);
        return;
    }
    wan->forward += forward ? (uint64_t)sent : 0;
    c->start += (size_t)sent;
    c->length -= (size_t)sent;
    if (c->length == 0) {
        flow->first = (flow->first + 1) % CHUNKS;
        flow->count--;
    }
}

static void move(struct vms_wan *wan, struct line *line, int way, short revents_from,
                 short revents_to) {
    struct flow *flow = &line->flows[way];

    if (revents_from != 0 && !flow->ended && flow->count < CHUNKS) {
        take(wan, flow);
    }
    if (revents_to != 0 && flow->count > 0 && flow->chunks[flow->first].due <= now_ms()) {
        give(wan, flow, way == 0);
    }
}

// ---- the thread

struct slot {
    unsigned line;
    int way;
    bool to;
};

struct poll_set {
    struct pollfd fds[2 + 4 * LINES];
    struct slot slots[2 + 4 * LINES];
    nfds_t count;
    int timeout;
};

static void add(struct poll_set *set, int fd, short events, struct slot slot) {
    set->fds[set->count] = (struct pollfd){.fd = fd, .events = events};
    set->slots[set->count++] = slot;
}

// A flow is waited for where it can go on; one whose first chunk is not due, by time.
static void add_flow(const struct vms_wan *wan, struct poll_set *set, unsigned line, int way) {
    const struct flow *flow = &wan->lines[line].flows[way];
    int64_t left = flow->count > 0 ? flow->chunks[flow->first].due - now_ms() : -1;

    if (!flow->ended && flow->count < CHUNKS) {
        add(set, flow->from, POLLIN, (struct slot){line, way, false});
    }
    if (flow->count > 0 && left <= 0) {
        add(set, flow->to, POLLOUT, (struct slot){line, way, true});
    } else if (flow->count > 0 && (set->timeout < 0 || left < set->timeout)) {
        set->timeout = (int)left;
    }
}

static void make_set(struct vms_wan *wan, struct poll_set *set) {
    set->count = 0;
    set->timeout = -1;
    add(set, wan->wake, POLLIN, (struct slot){0, 0, false});
    add(set, wan->listener, POLLIN, (struct slot){0, 0, false});
    for (unsigned i = 0; i < wan->count && !wan->stalled; i++) {
        for (int way = 0; way < 2 && wan->lines[i].open; way++) {
            add_flow(wan, set, i, way);
        }
    }
}

static void handle_set(struct vms_wan *wan, const struct poll_set *set) {
    uint64_t value;

    for (nfds_t i = 2; i < set->count && !wan->stalled; i++) {
        struct line *line = &wan->lines[set->slots[i].line];
        short events = set->fds[i].revents;

        if (line->open) { // it may have been cut in the meantime
            move(wan, line, set->slots[i].way, set->slots[i].to ? 0 : events,
                 set->slots[i].to ? events : 0);
        }
    }
    for (unsigned i = 0; i < wan->count; i++) {
        struct line *line = &wan->lines[i];

        if (line->open && line->flows[0].ended && line->flows[1].ended &&
            line->flows[0].count + line->flows[1].count == 0) {
            close_line(line);
        }
    }
    if (set->fds[1].revents != 0) {
        accept_line(wan);
    }
    if (set->fds[0].revents != 0 && read(wan->wake, &value, sizeof value) < 0) {
        wan->stop = true;
    }
}

static void *run(void *argument) {
    struct vms_wan *wan = argument;
    struct poll_set set;

    pthread_mutex_lock(&wan->lock);
    while (!wan->stop) {
        make_set(wan, &set);
        pthread_mutex_unlock(&wan->lock);
        poll(set.fds, set.count, set.timeout);
        pthread_mutex_lock(&wan->lock);
        handle_set(wan, &set);
        pthread_cond_broadcast(&wan->changed);
    }
    pthread_mutex_unlock(&wan->lock);
    return NULL;
}

// ---- the caller's side

static int listen_on(const char *path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (strlen(path) >= sizeof address.sun_path) {
        close(fd);
        errno = ENAMETOOLONG;
        return -1;
    }
    strcpy(address.sun_path, path);
    unlink(path);
    if (fd >= 0 &&
        (bind(fd, (struct sockaddr *)&address, sizeof address) != 0 || listen(fd, LINES) != 0)) {
        close(fd);
        fd = -1;
    }
    return fd;
}

static int start(struct vms_wan *wan, const struct vms_wan_options *options) {
    pthread_condattr_t attributes;

    wan->delay_ms = options->delay_ms;
    wan->far.sin_family = AF_INET;
    wan->far.sin_port = htons(options->connect_port);
    wan->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    wan->listener = listen_on(options->listen_path);
    if (wan->listener < 0 || wan->wake < 0) {
        return -1;
    }
    snprintf(wan->path, sizeof wan->path, "%s", options->listen_path);
    if (inet_pton(AF_INET, options->connect_host, &wan->far.sin_addr) != 1) {
        errno = EINVAL;
        return -1;
    }
    pthread_mutex_init(&wan->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&wan->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    errno = pthread_create(&wan->thread, NULL, run, wan);
    return errno == 0 ? 0 : -1;
}

struct vms_wan *vms_wan_start(const struct vms_wan_options *options, char *error,
                              size_t error_size) {
    struct vms_wan *wan = calloc(1, sizeof *wan);

    if (wan != NULL && start(wan, options) == 0) {
        return wan;
    }
    snprintf(error, error_size, "wan: %s to %s:%u: %s", options->listen_path, options->connect_host,
             options->connect_port, strerror(errno));
    free(wan);
    return NULL;
}

static void wake(struct vms_wan *wan) {
    uint64_t one = 1;

    if (write(wan->wake, &one, sizeof one) < 0) {
        wan->stop = true;
    }
}

static void set_stalled(struct vms_wan *wan, bool stalled) {
    pthread_mutex_lock(&wan->lock);
    wan->stalled = stalled;
    wake(wan);
    pthread_mutex_unlock(&wan->lock);
}

void vms_wan_stall(struct vms_wan *wan) {
    set_stalled(wan, true);
}

void vms_wan_go_on(struct vms_wan *wan) {
    set_stalled(wan, false);
}

// The thread may be in poll on these sockets: they are shut first, and nothing reuses their numbers
// before it has looked again, since only it makes new ones.
void vms_wan_cut(struct vms_wan *wan) {
    pthread_mutex_lock(&wan->lock);
    for (unsigned i = 0; i < wan->count; i++) {
        if (wan->lines[i].open) {
            close_line(&wan->lines[i]);
        }
    }
    wake(wan);
    pthread_mutex_unlock(&wan->lock);
}

struct wanted {
    uint64_t bytes;
    unsigned count;
};

static int wait_for(struct vms_wan *wan, struct wanted w, int timeout_ms) {
    struct timespec deadline;
    int status = 0;

    clock_gettime(CLOCK_MONOTONIC, &deadline);
    deadline.tv_sec += timeout_ms / 1000;
    deadline.tv_nsec += timeout_ms % 1000 * 1000000L;
    deadline.tv_sec += deadline.tv_nsec / 1000000000L;
    deadline.tv_nsec %= 1000000000L;
    pthread_mutex_lock(&wan->lock);
    while (status == 0 && (wan->forward < w.bytes || wan->count < w.count)) {
        status = pthread_cond_timedwait(&wan->changed, &wan->lock, &deadline);
    }
    status = wan->forward < w.bytes || wan->count < w.count ? -1 : 0;
    pthread_mutex_unlock(&wan->lock);
    return status;
}

int vms_wan_wait_forward(struct vms_wan *wan, uint64_t bytes, int timeout_ms) {
    return wait_for(wan, (struct wanted){.bytes = bytes}, timeout_ms);
}

int vms_wan_wait_connections(struct vms_wan *wan, unsigned count, int timeout_ms) {
    return wait_for(wan, (struct wanted){.count = count}, timeout_ms);
}

uint64_t vms_wan_forward(struct vms_wan *wan) {
    pthread_mutex_lock(&wan->lock);
    uint64_t forward = wan->forward;
    pthread_mutex_unlock(&wan->lock);
    return forward;
}

unsigned vms_wan_count(struct vms_wan *wan) {
    pthread_mutex_lock(&wan->lock);
    unsigned count = wan->count;
    pthread_mutex_unlock(&wan->lock);
    return count;
}

void vms_wan_stop(struct vms_wan *wan) {
    if (wan == NULL) {
        return;
    }
    pthread_mutex_lock(&wan->lock);
    wan->stop = true;
    wake(wan);
    pthread_mutex_unlock(&wan->lock);
    pthread_join(wan->thread, NULL);
    for (unsigned i = 0; i < wan->count; i++) {
        if (wan->lines[i].open) {
            close_line(&wan->lines[i]);
        }
    }
    close(wan->listener);
    close(wan->wake);
    unlink(wan->path);
    pthread_cond_destroy(&wan->changed);
    pthread_mutex_destroy(&wan->lock);
    free(wan);
}
