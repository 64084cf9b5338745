/* SPDX-License-Identifier: MIT */
#include "host/psk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <vmstream/crypto.h>
#include <vmstream/seal.h>

/* What is in the file is judged by vms_psk_walk() alone: what opens a sealed stream opens a TLS
 * session too, and the other way round (SEAL-19). */

struct entry {
    struct entry *next;
    struct vms_psk psk;
};

struct vms_psk_file {
    struct entry *first;
    bool no_memory;
    char path[4096];
};

bool vms_psk_find(const struct vms_psk_file *file, struct vms_slice identity,
                  struct vms_slice *key) {
    for (const struct entry *e = file->first; e; e = e->next)
        if (vms_slice_eq(vms_slice(e->psk.name, e->psk.name_len), identity)) {
            *key = vms_slice(e->psk.key, e->psk.key_len);
            return true;
        }
    return false;
}

const char *vms_psk_path(const struct vms_psk_file *file) {
    return file->path;
}

void vms_psk_free(struct vms_psk_file *file) {
    if (!file)
        return;
    for (struct entry *e = file->first, *next; e; e = next) {
        next = e->next;
        vms_wipe(e, sizeof *e);
        free(e);
    }
    free(file);
}

static void keep(void *ctx, const struct vms_psk *psk) {
    struct vms_psk_file *file = ctx;
    struct entry *e = malloc(sizeof *e);
    file->no_memory |= !e;
    if (!e)
        return;
    *e = (struct entry){file->first, *psk};
    file->first = e;
}

/* Messages name the file and the line, and quote nothing of it. */
static enum vms_code parse(struct vms_psk_file *file, struct vms_slice text,
                           const struct vms_limits *limits, struct vms_error *err) {
    struct vms_error why = {.clause = ""};
    if (vms_psk_walk(text, limits, keep, file, &why) != VMS_OK) {
        const char *detail = strstr(why.message, ": "); /* behind what the code says itself */
        return vms_error_set(err, why.code, "%.60s: %.120s", file->path, detail ? detail + 2 : "");
    }
    return file->no_memory ? vms_error_set(err, VMS_E_NO_MEMORY, "PSK file") : VMS_OK;
}

/* One octet more than the limit, so that a file that is too long is seen to be. */
static enum vms_code read_all(int fd, struct vms_room room, size_t *len) {
    ssize_t n = 1;
    *len = 0;
    while (n > 0 && *len < room.len) {
        n = read(fd, room.ptr + *len, room.len - *len);
        if (n < 0 && errno == EINTR)
            n = 1;
        else if (n > 0)
            *len += (size_t)n;
    }
    return n < 0 ? VMS_E_CONNECT : VMS_OK;
}

static bool name_file(const char *path, struct vms_psk_file *file) {
    struct stat st;
    bool dir = stat(path, &st) == 0 && S_ISDIR(st.st_mode);
    int len = snprintf(file->path, sizeof file->path, dir ? "%s/keys.psk" : "%s", path);
    return len >= 0 && (size_t)len < sizeof file->path;
}

static enum vms_code load(const char *path, struct vms_psk_file *file, struct vms_error *err) {
    struct vms_limits limits = vms_limits_default();
    struct vms_room room = {NULL, (size_t)limits.psk_file_bytes + 1};
    size_t len = 0;
    if (!name_file(path, file))
        return vms_error_set(err, VMS_E_CONNECT, "PSK file %.60s...: the path is too long", path);
    int fd = open(file->path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return vms_error_set(err, VMS_E_CONNECT, "PSK file %.60s: %s", file->path, strerror(errno));
    room.ptr = malloc(room.len);
    enum vms_code code = room.ptr ? read_all(fd, room, &len) : VMS_E_NO_MEMORY;
    if (code != VMS_OK)
        (void)vms_error_set(err, code, "PSK file %.60s: %s", file->path, strerror(errno));
    (void)close(fd);
    if (code == VMS_OK)
        code = parse(file, vms_slice(room.ptr, len), &limits, err);
    if (room.ptr)
        vms_wipe(room.ptr, room.len);
    free(room.ptr);
    return code;
}

enum vms_code vms_psk_load(const char *path, struct vms_psk_file **out, struct vms_error *err) {
    struct vms_psk_file *file = calloc(1, sizeof *file);
    if (!file)
        return vms_error_set(err, VMS_E_NO_MEMORY, "PSK file");
    enum vms_code code = load(path, file, err);
    if (code != VMS_OK) {
        vms_psk_free(file);
        return code;
    }
    *out = file;
    return VMS_OK;
}
