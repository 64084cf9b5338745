/* SPDX-License-Identifier: MIT */
#include "host/psk.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

struct entry {
    struct entry *next;
    size_t identity_len;
    size_t key_len;
    char identity[VMS_PSK_IDENTITY_MAX];
    uint8_t key[VMS_PSK_KEY_MAX];
};

struct vms_psk_file {
    struct entry *first;
    char path[4096];
};

static struct entry *find(const struct vms_psk_file *file, struct vms_slice identity) {
    for (struct entry *e = file->first; e; e = e->next)
        if (vms_slice_eq(vms_slice(e->identity, e->identity_len), identity))
            return e;
    return NULL;
}

bool vms_psk_find(const struct vms_psk_file *file, struct vms_slice identity,
                  struct vms_slice *key) {
    const struct entry *e = find(file, identity);
    if (e)
        *key = vms_slice(e->key, e->key_len);
    return e != NULL;
}

const char *vms_psk_path(const struct vms_psk_file *file) {
    return file->path;
}

void vms_psk_free(struct vms_psk_file *file) {
    if (!file)
        return;
    for (struct entry *e = file->first, *next; e; e = next) {
        next = e->next;
        OPENSSL_cleanse(e, sizeof *e);
        free(e);
    }
    free(file);
}

static int hex_digit(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static bool read_key(const char *hex, size_t len, struct entry *e) {
    if (len == 0 || len % 2 || len / 2 > VMS_PSK_KEY_MAX)
        return false;
    for (size_t i = 0; i < len; i += 2) {
        int high = hex_digit(hex[i]);
        int low = hex_digit(hex[i + 1]);
        if (high < 0 || low < 0)
            return false;
        e->key[i / 2] = (uint8_t)(high << 4 | low);
    }
    e->key_len = len / 2;
    return true;
}

/* What is wrong with the line, NULL when it was taken. Never quotes it: it holds a secret. */
static const char *read_line(const char *line, struct vms_psk_file *file, struct entry *e) {
    size_t len = strcspn(line, "\r\n");
    const char *colon = memchr(line, ':', len);
    if (!colon || colon == line)
        return "it is not identity:hexkey";
    e->identity_len = (size_t)(colon - line);
    if (e->identity_len > VMS_PSK_IDENTITY_MAX)
        return "the identity is longer than 128 bytes";
    memcpy(e->identity, line, e->identity_len);
    if (find(file, vms_slice(e->identity, e->identity_len)))
        return "the identity comes twice";
    if (!read_key(colon + 1, len - e->identity_len - 1, e))
        return "the key is not 1 to 256 bytes in hexadecimal";
    return NULL;
}

static enum vms_code add_line(const char *line, unsigned number, struct vms_psk_file *file,
                              struct vms_error *err) {
    if (strcspn(line, "\r\n") == 0)
        return VMS_OK;
    struct entry *e = calloc(1, sizeof *e);
    if (!e)
        return vms_error_set(err, VMS_E_NO_MEMORY, "PSK file");
    const char *wrong = read_line(line, file, e);
    if (wrong) {
        OPENSSL_cleanse(e, sizeof *e);
        free(e);
        return vms_error_set(err, VMS_E_CONNECT, "PSK file %.60s line %u: %s", file->path, number,
                             wrong);
    }
    e->next = file->first;
    file->first = e;
    return VMS_OK;
}

static enum vms_code read_lines(FILE *in, struct vms_psk_file *file, struct vms_error *err) {
    char line[VMS_PSK_IDENTITY_MAX + 2 * VMS_PSK_KEY_MAX + 16];
    enum vms_code code = VMS_OK;
    for (unsigned number = 1; code == VMS_OK && fgets(line, sizeof line, in); number++) {
        if (!strchr(line, '\n') && !feof(in))
            code = vms_error_set(err, VMS_E_CONNECT, "PSK file %.60s line %u: it is too long",
                                 file->path, number);
        else
            code = add_line(line, number, file, err);
    }
    OPENSSL_cleanse(line, sizeof line);
    if (code == VMS_OK && ferror(in))
        return vms_error_set(err, VMS_E_CONNECT, "PSK file %.60s: %s", file->path, strerror(errno));
    if (code == VMS_OK && !file->first)
        return vms_error_set(err, VMS_E_CONNECT, "PSK file %.60s: it has no key", file->path);
    return code;
}

static bool name_file(const char *path, struct vms_psk_file *file) {
    struct stat st;
    bool dir = stat(path, &st) == 0 && S_ISDIR(st.st_mode);
    int len = snprintf(file->path, sizeof file->path, dir ? "%s/keys.psk" : "%s", path);
    return len >= 0 && (size_t)len < sizeof file->path;
}

static enum vms_code load(const char *path, struct vms_psk_file *file, struct vms_error *err) {
    char buffer[BUFSIZ]; /* ours, so that the keys in it can be wiped */
    if (!name_file(path, file))
        return vms_error_set(err, VMS_E_CONNECT, "PSK file %.60s...: the path is too long", path);
    FILE *in = fopen(file->path, "re");
    if (!in)
        return vms_error_set(err, VMS_E_CONNECT, "PSK file %.60s: %s", file->path, strerror(errno));
    (void)setvbuf(in, buffer, _IOFBF, sizeof buffer);
    enum vms_code code = read_lines(in, file, err);
    (void)fclose(in);
    OPENSSL_cleanse(buffer, sizeof buffer);
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
