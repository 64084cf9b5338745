/* SPDX-License-Identifier: MIT */
#include "conformance/live/file.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

struct live_map live_map(const char *path) {
    struct live_map m = {NULL, 0};
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0 && fstat(fd, &st) == 0 && st.st_size > 0) {
        void *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (p != MAP_FAILED)
            m = (struct live_map){p, (size_t)st.st_size};
    }
    if (fd >= 0)
        (void)close(fd);
    return m;
}

void live_unmap(struct live_map map) {
    if (map.at)
        (void)munmap((void *)(uintptr_t)map.at, map.len);
}

char *live_read(const char *path) {
    FILE *file = fopen(path, "re");
    char *text = NULL;
    size_t size = 0;
    if (!file)
        return NULL;
    if (getdelim(&text, &size, 0, file) < 0) {
        free(text);
        text = NULL;
    }
    (void)fclose(file);
    return text;
}

unsigned live_count(const char *text, const char *needle) {
    unsigned n = 0;
    for (const char *at = text; at && (at = strstr(at, needle)) != NULL; at++)
        n++;
    return n;
}
