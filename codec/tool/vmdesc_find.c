/* SPDX-License-Identifier: MIT */
#include "tool/vmdesc_find.h"
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    HEAD = 1 + 1 + 4, /* EOF, type, length */
    CHUNK = 64 * 1024,
};

/* The last bytes of the file, read from its end towards its beginning into the end of `bytes`. */
struct tail {
    int fd;
    uint8_t *bytes;
    size_t cap;
    size_t have;       /* bytes read, at the end of `bytes` */
    uint64_t file_end; /* offset */
};

static bool read_more(struct tail *t) {
    size_t n = t->cap - t->have < CHUNK ? t->cap - t->have : CHUNK;
    uint8_t *to = t->bytes + t->cap - t->have - n;
    off_t at = (off_t)(t->file_end - t->have - n);
    for (size_t got = 0; got < n;) {
        ssize_t r = pread(t->fd, to + got, n - got, at + (off_t)got);
        if (r <= 0)
            return false;
        got += (size_t)r;
    }
    t->have += n;
    return n > 0;
}

/* The description whose '{' is the len-th byte from the end. */
static bool is_description(const struct tail *t, size_t len) {
    const uint8_t *brace = t->bytes + t->cap - len;
    const uint8_t *head = brace - HEAD;
    uint32_t told = (uint32_t)head[2] << 24 | (uint32_t)head[3] << 16 | (uint32_t)head[4] << 8 |
                    (uint32_t)head[5];
    return *brace == '{' && head[0] == 0 && head[1] == 6 && told == len;
}

static bool search(struct tail *t, struct vms_vmdesc *vmdesc) {
    struct vms_vmdesc_ops ops = vms_vmdesc_ops(vmdesc);
    for (size_t len = 1; len + HEAD <= t->cap; len++) {
        if (len + HEAD > t->have && !read_more(t))
            return false;
        if (is_description(t, len))
            return ops.load(ops.ctx, vms_slice(t->bytes + t->cap - len, len));
    }
    return false;
}

bool vmdesc_find(int fd, uint64_t max, struct vms_vmdesc *vmdesc) {
    struct stat st;
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size <= 0)
        return false;
    uint64_t cap = (uint64_t)st.st_size < max + HEAD ? (uint64_t)st.st_size : max + HEAD;
    struct tail t = {fd, malloc((size_t)cap), (size_t)cap, 0, (uint64_t)st.st_size};
    bool found = t.bytes && search(&t, vmdesc);
    free(t.bytes);
    return found;
}
