/* SPDX-License-Identifier: MIT */
#include "tool/progress.h"
#include "tool/text.h"
#include <stdio.h>
#include <unistd.h>

enum {
    BIG = 64 << 20, /* bytes */
    WIDTH = 40,     /* columns of the bar */
    EVERY_MS = 100,
};

void progress_start(struct progress *p, uint64_t total) {
    *p = (struct progress){.on = total >= BIG && isatty(STDERR_FILENO), .total = total};
    (void)clock_gettime(CLOCK_MONOTONIC, &p->last);
}

static bool due(struct progress *p) {
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    int64_t ms = (now.tv_sec - p->last.tv_sec) * 1000 + (now.tv_nsec - p->last.tv_nsec) / 1000000;
    if (ms < EVERY_MS)
        return false;
    p->last = now;
    return true;
}

static void draw(const struct progress *p) {
    char done[TEXT_SIZE], total[TEXT_SIZE];
    if (p->total == UINT64_MAX) {
        fprintf(stderr, "\r%s read ", text_size(done, p->bytes));
        return;
    }
    uint64_t bytes = p->bytes < p->total ? p->bytes : p->total;
    int filled = (int)((double)bytes / (double)p->total * WIDTH);
    fprintf(stderr, "\r[%.*s%*s] %3d %% of %s ", filled, "########################################",
            WIDTH - filled, "", (int)((double)bytes / (double)p->total * 100),
            text_size(total, p->total));
}

void progress_add(struct progress *p, uint64_t n) {
    p->bytes += n;
    if (!p->on || !due(p))
        return;
    p->shown = true;
    draw(p);
}

void progress_stop(struct progress *p) {
    if (p->shown)
        fputs("\r\033[K", stderr);
    p->on = p->shown = false;
}
