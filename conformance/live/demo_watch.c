/* SPDX-License-Identifier: MIT */
#include "conformance/live/demo_native.h"

#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

/* Two programs, one terminal: the last line of each log, in place. */

enum {
    TAIL = 4096,
};

static void last_line(const char *path, char line[256]) {
    char text[TAIL + 1];
    size_t n = 0;
    FILE *f = fopen(path, "r");
    if (f && fseek(f, -TAIL, SEEK_END) != 0)
        rewind(f);
    if (f) {
        n = fread(text, 1, TAIL, f);
        (void)fclose(f);
    }
    while (n && text[n - 1] == '\n')
        n--;
    text[n] = 0;
    const char *at = strrchr(text, '\n');
    (void)snprintf(line, 256, "%s", at ? at + 1 : text);
}

static int width(void) {
    struct winsize w = {0};
    return ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_col > 8 ? w.ws_col - 5 : 75;
}

static void draw(const char *const logs[2]) {
    char line[256];
    for (int i = 0; i < 2; i++) {
        last_line(logs[i], line);
        printf("\r\033[K    %.*s\n", width(), line);
    }
}

void demo_watch(const char *source_log, const char *destination_log, bool (*over)(void *ctx),
                void *ctx) {
    const struct timespec tenth = {.tv_nsec = 100000000};
    const char *const logs[2] = {source_log, destination_log};
    bool tty = isatty(STDOUT_FILENO);
    for (bool done = false, first = true; !done; first = false) {
        done = over(ctx);
        if (tty && !first)
            printf("\033[2A");
        if (tty)
            draw(logs);
        fflush(stdout);
        if (!done)
            (void)nanosleep(&tenth, NULL);
    }
}
