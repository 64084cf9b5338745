/* SPDX-License-Identifier: MIT */
#include "host/journal.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <vmstream/pack.h>

/*
 * [HND-13] The text of a journal; the sum is the XXH64 of what stands before it:
 *
 *   vmstream-journal 1
 *   session 00112233445566778899aabbccddeeff
 *   role destination
 *   state started
 *   generation 1
 *   postcopy
 *   sum 0123456789abcdef
 *
 * "postcopy" is there when it was one.
 */
enum {
    TEXT_MAX = 256
};

static const char POSTCOPY[] = "\npostcopy\n";
static const char *const ROLES[] = {"source", "destination"};

void vms_session_text(const uint8_t session[16], char text[VMS_SESSION_TEXT]) {
    for (int i = 0; i < 16; i++)
        (void)snprintf(text + (size_t)i * 2, 3, "%02x", session[i]);
}

bool vms_session_parse(const char *text, uint8_t session[16]) {
    if (strspn(text, "0123456789abcdefABCDEF") != VMS_SESSION_TEXT - 1)
        return false;
    for (int i = 0; i < 16; i++) {
        unsigned octet = 0;
        (void)sscanf(text + (size_t)i * 2, "%2x", &octet);
        session[i] = (uint8_t)octet;
    }
    return true;
}

static void path_of(const char *folder, const struct vms_journal_record *r, const char *suffix,
                    char path[VMS_JOURNAL_PATH]) {
    char session[VMS_SESSION_TEXT];
    vms_session_text(r->session, session);
    (void)snprintf(path, VMS_JOURNAL_PATH, "%.400s/%s.%s%s", folder, session, ROLES[r->role != 0],
                   suffix);
}

static enum vms_code failed(struct vms_error *err, const char *what, const char *path) {
    return vms_error_set(err, VMS_E_HANDOVER_JOURNAL, "%s %.120s: %s", what, path, strerror(errno));
}

/* ---- text ---- */

static size_t format(const struct vms_journal_record *r, char text[TEXT_MAX]) {
    char session[VMS_SESSION_TEXT];
    vms_session_text(r->session, session);
    int n =
        snprintf(text, TEXT_MAX,
                 "vmstream-journal 1\nsession %s\nrole %s\nstate %s\ngeneration %" PRIu64 "\n%s",
                 session, ROLES[r->role != 0], vms_journal_name(r->journal), r->generation,
                 r->postcopy ? POSTCOPY + 1 : "");
    uint64_t sum = vms_xxh64(vms_slice(text, (size_t)n), 0);
    return (size_t)n +
           (size_t)snprintf(text + n, TEXT_MAX - (size_t)n, "sum %016" PRIx64 "\n", sum);
}

/* The text says exactly what we would write for some record, or it is lost. */
static bool parse(const char *text, size_t len, struct vms_journal_record *r) {
    char session[VMS_SESSION_TEXT], role[16], state[16], again[TEXT_MAX];
    if (sscanf(text,
               "vmstream-journal 1 session %32[0-9a-f] role %15[a-z] state %15[a-z-] generation "
               "%" SCNu64,
               session, role, state, &r->generation) != 4 ||
        !vms_session_parse(session, r->session))
        return false;
    r->postcopy = strstr(text, POSTCOPY) != NULL;
    r->role = strcmp(role, ROLES[0]) ? VMS_ROLE_DESTINATION : VMS_ROLE_SOURCE;
    for (r->journal = VMS_JOURNAL_NONE; r->journal < VMS_JOURNAL_LOST; r->journal++)
        if (strcmp(state, vms_journal_name(r->journal)) == 0)
            break;
    return r->journal < VMS_JOURNAL_LOST && format(r, again) == len &&
           memcmp(text, again, len) == 0;
}

/* ---- files ---- */

static bool write_all(int fd, const char *text, size_t len) {
    for (size_t at = 0; at < len;) {
        ssize_t n = write(fd, text + at, len - at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        at += (size_t)n;
    }
    return true;
}

static enum vms_code write_file(const char *path, const char *text, size_t len,
                                struct vms_error *err) {
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return failed(err, "cannot create", path);
    bool good = write_all(fd, text, len) && fsync(fd) == 0;
    int why = errno;
    good &= close(fd) == 0;
    errno = why;
    return good ? VMS_OK : failed(err, "cannot write", path);
}

static enum vms_code sync_folder(const char *folder, struct vms_error *err) {
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool good = fd >= 0 && fsync(fd) == 0;
    int why = errno;
    if (fd >= 0)
        (void)close(fd);
    errno = why;
    return good ? VMS_OK : failed(err, "cannot synchronise", folder);
}

enum vms_code vms_journal_write(const char *folder, const struct vms_journal_record *record,
                                struct vms_error *err) {
    char path[VMS_JOURNAL_PATH], fresh[VMS_JOURNAL_PATH], text[TEXT_MAX];
    size_t len = format(record, text);
    path_of(folder, record, ".journal", path);
    path_of(folder, record, ".new", fresh);
    if (write_file(fresh, text, len, err) != VMS_OK) {
        (void)unlink(fresh);
        return err->code;
    }
    if (rename(fresh, path) != 0)
        return failed(err, "cannot replace", path);
    return sync_folder(folder, err);
}

static bool read_file(const char *path, char text[TEXT_MAX], size_t *len) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, TEXT_MAX - 1);
    int why = errno;
    if (fd >= 0)
        (void)close(fd);
    errno = why;
    *len = n < 0 ? 0 : (size_t)n;
    text[*len] = 0;
    return n >= 0;
}

enum vms_code vms_journal_read(const char *folder, struct vms_journal_record *record,
                               struct vms_error *err) {
    char path[VMS_JOURNAL_PATH], text[TEXT_MAX];
    struct vms_journal_record found;
    size_t len;
    record->journal = VMS_JOURNAL_LOST;
    record->generation = 0;
    path_of(folder, record, ".journal", path);
    if (!read_file(path, text, &len))
        return failed(err, "cannot read", path);
    if (!parse(text, len, &found) || found.role != record->role ||
        memcmp(found.session, record->session, sizeof found.session) != 0)
        return vms_error_set(err, VMS_E_HANDOVER_JOURNAL, "%.120s is damaged", path);
    *record = found;
    return VMS_OK;
}

/* ---- a folder ---- */

static int is_journal(const struct dirent *entry) {
    const char *dot = strrchr(entry->d_name, '.');
    return dot && strcmp(dot, ".journal") == 0 && strlen(entry->d_name) > 33;
}

enum vms_code vms_journal_list(const char *folder, enum vms_native_role role,
                               void (*found)(void *ctx, const struct vms_journal_record *record),
                               void *ctx, struct vms_error *err) {
    struct dirent **entries;
    int count = scandir(folder, &entries, is_journal, alphasort);
    if (count < 0)
        return failed(err, "cannot read", folder);
    for (int i = 0; i < count; i++) {
        struct vms_journal_record r = {.role = role};
        struct vms_error ignored;
        bool ours =
            strncmp(entries[i]->d_name + 33, ROLES[role != 0], strlen(ROLES[role != 0])) == 0;
        if (ours && vms_session_parse(entries[i]->d_name, r.session)) {
            (void)vms_journal_read(folder, &r, &ignored);
            found(ctx, &r);
        }
        free(entries[i]);
    }
    free(entries);
    return VMS_OK;
}
