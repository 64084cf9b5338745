/* SPDX-License-Identifier: MIT */
#include "reference-dst/session.h"

#include <stdio.h>
#include <unistd.h>

/* One line on a terminal, at most ten times a second. Called by the main channel's thread. */

enum {
    EVERY_MS = 100,
};

static double mib(uint64_t bytes) {
    return (double)bytes / (1 << 20);
}

static uint64_t bytes_in(const struct dst_session *s) {
    uint64_t sum = 0;
    for (size_t i = 0; i < s->channel_count; i++)
        sum += vms_channel_bytes_in(s->channels[i]->io);
    return sum;
}

void dst_progress(struct dst_session *s, bool last) {
    static int64_t shown;
    int64_t now = dst_now_ms();
    if (s->options->quiet || !isatty(STDERR_FILENO) || (!last && now - shown < EVERY_MS))
        return;
    shown = now;
    pthread_mutex_lock(&s->lock);
    int64_t ms = now - s->stats.times.connected;
    uint64_t bytes = bytes_in(s);
    fprintf(stderr, "\r\033[K%-10s %8.1f MiB in %5.1f s, %7.1f MiB/s, %zu channel%s, round %llu%s",
            dst_state_name(s->engine.state), mib(bytes), (double)ms / 1000,
            ms > 0 ? mib(bytes) * 1000 / (double)ms : 0, s->channel_count,
            s->channel_count == 1 ? "" : "s", (unsigned long long)s->stats.rounds,
            last ? "\n" : "");
    pthread_mutex_unlock(&s->lock);
}
