/* SPDX-License-Identifier: MIT */
#include "conformance/adapters/replay/image.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

enum {
    HEADER = 92,
    VERSION = 2,
};

static const char *const programs[] = {NULL, "gzip", "bzip2", "xz", "lzop", "zstd"};

static uint32_t number(const uint8_t *p, int swapped) {
    return swapped ? (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3]
                   : (uint32_t)p[3] << 24 | (uint32_t)p[2] << 16 | (uint32_t)p[1] << 8 | p[0];
}

int replay_parse(const uint8_t b[92], struct replay_header *h) {
    if (memcmp(b, "LibvirtQemudSave", 16) != 0)
        return -1;
    int swapped = number(b + 16, 0) > VERSION;
    *h = (struct replay_header){number(b + 16, swapped), number(b + 20, swapped),
                                number(b + 24, swapped), number(b + 28, swapped)};
    return 0;
}

static FILE *fail(FILE *f, char *error, const char *path, const char *why) {
    (void)snprintf(error, 200, "%.120s: %s", path, why);
    if (f)
        (void)fclose(f);
    return NULL;
}

/* Its standard input is the file, at the stream's begin. */
static FILE *unpack(FILE *f, const char *path, uint64_t offset, const char *program, char *error) {
    char command[1200];
    (void)fclose(f);
    if (strchr(path, '\''))
        return fail(NULL, error, path, "no quotes in the name, please");
    (void)snprintf(command, sizeof command, "tail -c +%llu '%s' | %s -dc",
                   (unsigned long long)offset + 1, path, program);
    f = popen(command, "re");
    return f ? f : fail(NULL, error, path, strerror(errno));
}

FILE *replay_open(const char *path, char *error) {
    uint8_t b[HEADER];
    struct replay_header h;
    FILE *f = fopen(path, "re");
    if (!f)
        return fail(NULL, error, path, strerror(errno));
    size_t n = fread(b, 1, sizeof b, f);
    if (n >= 16 && memcmp(b, "LibvirtQemudPart", 16) == 0)
        return fail(f, error, path, "libvirt had not finished writing it");
    if (n < sizeof b || replay_parse(b, &h) != 0) {
        rewind(f);
        return f;
    }
    if (h.version != VERSION)
        return fail(f, error, path, "another version of libvirt's image");
    if (h.format >= sizeof programs / sizeof *programs)
        return fail(f, error, path, "a format of libvirt's image that is not known here");
    uint64_t offset = HEADER + (uint64_t)h.data_len;
    if (programs[h.format])
        return unpack(f, path, offset, programs[h.format], error);
    return fseeko(f, (off_t)offset, SEEK_SET) == 0 ? f : fail(f, error, path, strerror(errno));
}

int replay_close(FILE *f) {
    struct stat st;
    if (fstat(fileno(f), &st) == 0 && S_ISFIFO(st.st_mode))
        return pclose(f) == 0 ? 0 : -1;
    return fclose(f);
}
