/* SPDX-License-Identifier: MIT */
#include "host/display.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum {
    EVERY_MS = 100,
    LINE_EVERY_MS = 1000, /* where it is not a terminal */
    TEXT_MAX = 16384,
    ROWS_MAX = 40,
};

struct vms_display {
    struct vms_timeline *timeline; /* borrowed */
    struct vms_display_options options;
    bool terminal;
    pthread_t thread;
    pthread_mutex_t lock; /* stop, and whatever is written */
    pthread_cond_t wake;
    bool stop;
    unsigned lines;       /* on the terminal now */
    struct rusage before; /* what this process had taken at the start */
    uint64_t shown_ns;
    size_t shown_phases;
};

uint64_t vms_display_now(void) {
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* ---- writing ---- */

static void write_all(int fd, const char *text, size_t len) {
    while (len > 0) {
        ssize_t n = write(fd, text, len);
        if (n <= 0)
            return; /* nobody to tell */
        text += n;
        len -= (size_t)n;
    }
}

/* Takes away what was drawn, so that something else can be written there. */
static size_t put_back(struct vms_display *d, char *out, size_t size) {
    if (d->lines == 0)
        return 0;
    int n = snprintf(out, size, "\033[%uA\r\033[J", d->lines);
    d->lines = 0;
    return n > 0 ? (size_t)n : 0;
}

static void draw_block(struct vms_display *d) {
    char text[TEXT_MAX];
    struct winsize w = {0};
    unsigned columns = 80, rows = ROWS_MAX;
    if (ioctl(d->options.fd, TIOCGWINSZ, &w) == 0 && w.ws_col && w.ws_row > 2) {
        columns = w.ws_col - 1u;
        rows = w.ws_row - 1u < ROWS_MAX ? w.ws_row - 1u : ROWS_MAX;
    }
    size_t n = put_back(d, text, sizeof text);
    text[n] = 0;
    const struct vms_timeline_view *v = vms_timeline_view(d->timeline);
    if (v->phase_count > 0)
        d->lines =
            vms_display_block(v, d->options.program, columns, rows, text + n, sizeof text - n);
    vms_timeline_done(d->timeline);
    write_all(d->options.fd, text, strlen(text));
}

static void draw_line(struct vms_display *d, uint64_t now) {
    char line[400];
    const struct vms_timeline_view *v = vms_timeline_view(d->timeline);
    bool due = v->phase_count != d->shown_phases ||
               (v->phase_count > 0 && now - d->shown_ns >= LINE_EVERY_MS * UINT64_C(1000000));
    if (due) {
        d->shown_phases = v->phase_count;
        d->shown_ns = now;
        (void)snprintf(line, sizeof line, "%s: ", d->options.program);
        size_t n = strlen(line);
        vms_display_line(v, line + n, sizeof line - n - 1);
    }
    vms_timeline_done(d->timeline);
    if (!due)
        return;
    (void)strncat(line, "\n", sizeof line - strlen(line) - 1);
    write_all(d->options.fd, line, strlen(line));
}

static uint64_t since(struct timeval from, struct timeval to) {
    return (uint64_t)(to.tv_sec - from.tv_sec) * 1000000000 +
           (uint64_t)((to.tv_usec - from.tv_usec) * 1000);
}

static void count_cpu(struct vms_display *d) {
    struct rusage now;
    if (getrusage(RUSAGE_SELF, &now) == 0)
        vms_timeline_cpu(d->timeline, since(d->before.ru_utime, now.ru_utime),
                         since(d->before.ru_stime, now.ru_stime));
}

static void update(struct vms_display *d) {
    uint64_t now = vms_display_now();
    count_cpu(d);
    if (d->options.refresh)
        d->options.refresh(d->options.ctx, now);
    (void)vms_timeline_tick(d->timeline, now);
    if (d->options.fd < 0)
        return;
    pthread_mutex_lock(&d->lock);
    if (d->terminal)
        draw_block(d);
    else
        draw_line(d, now);
    pthread_mutex_unlock(&d->lock);
}

/* ---- the thread ---- */

/* Until stopped, or for a while. Whether to go on. */
static bool rest(struct vms_display *d) {
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    t.tv_nsec += EVERY_MS * 1000000L;
    if (t.tv_nsec >= 1000000000) {
        t.tv_nsec -= 1000000000;
        t.tv_sec++;
    }
    pthread_mutex_lock(&d->lock);
    while (!d->stop && pthread_cond_timedwait(&d->wake, &d->lock, &t) == 0)
        ;
    bool go_on = !d->stop;
    pthread_mutex_unlock(&d->lock);
    return go_on;
}

static void *run(void *arg) {
    struct vms_display *d = arg;
    do
        update(d);
    while (rest(d));
    update(d);
    return NULL;
}

static bool prepare(struct vms_display *d) {
    pthread_condattr_t attr;
    if (pthread_condattr_init(&attr) != 0)
        return false;
    bool ok = pthread_condattr_setclock(&attr, CLOCK_MONOTONIC) == 0 &&
              pthread_cond_init(&d->wake, &attr) == 0;
    (void)pthread_condattr_destroy(&attr);
    return ok && pthread_mutex_init(&d->lock, NULL) == 0;
}

struct vms_display *vms_display_start(struct vms_timeline *timeline,
                                      const struct vms_display_options *options) {
    struct vms_display *d = timeline ? calloc(1, sizeof *d) : NULL;
    if (!d)
        return NULL;
    d->timeline = timeline;
    d->options = *options;
    (void)getrusage(RUSAGE_SELF, &d->before);
    d->terminal = options->fd >= 0 && isatty(options->fd);
    if (!prepare(d) || pthread_create(&d->thread, NULL, run, d) != 0) {
        free(d);
        return NULL;
    }
    return d;
}

void vms_display_note(struct vms_display *d, const char *text) {
    char line[600];
    if (!d || d->options.fd < 0)
        return;
    pthread_mutex_lock(&d->lock);
    size_t n = put_back(d, line, sizeof line);
    (void)snprintf(line + n, sizeof line - n, "%s: %s\n", d->options.program, text);
    write_all(d->options.fd, line, strlen(line));
    pthread_mutex_unlock(&d->lock);
}

void vms_display_stop(struct vms_display *d) {
    if (!d)
        return;
    pthread_mutex_lock(&d->lock);
    d->stop = true;
    pthread_cond_signal(&d->wake);
    pthread_mutex_unlock(&d->lock);
    (void)pthread_join(d->thread, NULL);
    (void)pthread_cond_destroy(&d->wake);
    (void)pthread_mutex_destroy(&d->lock);
    free(d);
}
