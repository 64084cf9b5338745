/* SPDX-License-Identifier: MIT */
#include "tool/psk_text.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <vmstream/crypto.h>

static int open_file(const char *path) {
    char inside[PATH_MAX];
    struct stat st;
    if (stat(path, &st) == 0 && S_ISDIR(st.st_mode)) {
        (void)snprintf(inside, sizeof inside, "%s/keys.psk", path);
        path = inside;
    }
    return open(path, O_RDONLY | O_CLOEXEC);
}

/* One octet more than the limit, so that the parser sees a file that is too long. */
int psk_text_read(struct psk_text *psk, const char *path, const struct vms_limits *limits) {
    int fd = open_file(path);
    if (fd < 0)
        return tool_local("%s: %s", path, strerror(errno));
    psk->size = (limits->psk_file_bytes < INT_MAX ? (size_t)limits->psk_file_bytes : INT_MAX) + 1;
    psk->mem = malloc(psk->size);
    size_t len = 0;
    ssize_t n = psk->mem ? 1 : -1;
    while (n > 0 && len < psk->size) {
        n = read(fd, psk->mem + len, psk->size - len);
        if (n < 0 && errno == EINTR)
            n = 1;
        else if (n > 0)
            len += (size_t)n;
    }
    int why = errno;
    (void)close(fd);
    psk->text = vms_slice(psk->mem, len);
    if (n < 0)
        return tool_local("%s: %s", path, psk->mem ? strerror(why) : "not enough memory");
    return len ? TOOL_DONE : tool_local("%s: no key in it", path);
}

void psk_text_free(struct psk_text *psk) {
    if (psk->mem)
        vms_wipe(psk->mem, psk->size);
    free(psk->mem);
    *psk = (struct psk_text){.mem = NULL};
}
