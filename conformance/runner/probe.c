/* SPDX-License-Identifier: MIT */
#include "conformance/runner/rig.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/*
 * Honesty of an adapter, before anything it says counts: what it cannot know must be "not
 * supported", and what nobody can take for a stream must be refused.
 */
enum {
    GARBAGE = 4096,
};

static void garbage(uint8_t out[GARBAGE]) {
    for (size_t i = 0; i < GARBAGE; i++)
        out[i] = (uint8_t)(0x5a ^ (i * 7));
}

static int send_garbage(const char *path) {
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    uint8_t bytes[GARBAGE];
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    garbage(bytes);
    (void)snprintf(a.sun_path, sizeof a.sun_path, "%s", path);
    int rc = fd >= 0 ? connect(fd, (struct sockaddr *)&a, sizeof a) : -1;
    if (rc == 0)
        (void)send(fd, bytes, sizeof bytes, MSG_NOSIGNAL);
    if (fd >= 0)
        (void)close(fd);
    return rc;
}

static int write_garbage(const char *path) {
    uint8_t bytes[GARBAGE];
    FILE *f = fopen(path, "we");
    garbage(bytes);
    bool ok = f && fwrite(bytes, 1, sizeof bytes, f) == sizeof bytes;
    return f && fclose(f) == 0 && ok ? 0 : -1;
}

static void run_decoder(struct cert_rig *r, struct cert_end *e) {
    char path[CERT_PATH], uri[CERT_PATH];
    cert_path(path, "%s/input.0", r->folder);
    if (write_garbage(path) == 0 &&
        cert_rig_start(r, e, NULL, cert_path(uri, "file:%s", path)) == 0)
        cert_wait(&e->process);
}

static void run_destination(struct cert_rig *r, struct cert_end *e) {
    char path[CERT_PATH], uri[CERT_PATH];
    cert_path(path, "%s/dst", r->sockets);
    if (cert_rig_start(r, e, NULL, cert_path(uri, "unix:%s", path)) != 0)
        return;
    while (!cert_end_has(e, "ready") && !cert_ended(&e->process))
        cert_nap();
    if (!e->process.ended && send_garbage(path) != 0)
        cert_result_is(r->result, CERT_FAIL, "it is ready, but does not listen: %s",
                       strerror(errno));
    cert_wait(&e->process);
}

void cert_run_probe(struct cert_rig *r) {
    struct cert_end *e = &r->ends[0];
    bool unknown = strcmp(cert_str(r->cell, "case"), "unknown-case") == 0;
    if (cert_shared_make(r) != 0)
        return;
    if (strcmp(e->role, "decoder") == 0) {
        run_decoder(r, e);
    } else if (unknown) {
        char uri[CERT_PATH];
        if (cert_rig_start(r, e, NULL, cert_path(uri, "unix:%s/dst", r->sockets)) == 0)
            cert_wait(&e->process);
    } else {
        run_destination(r, e);
    }
    cert_end_read(e);
    int status = cert_exit(&e->process), want = unknown ? 127 : 1;
    if (status == 3)
        cert_result_is(r->result, CERT_SKIP, "%s: it cannot be run here", e->process.name);
    else if (status == 127 && !unknown)
        cert_result_is(r->result, CERT_UNSUPPORTED, "%s has not got this role", e->process.name);
    else if (status != want)
        cert_result_is(r->result, CERT_FAIL, "%s: exit status %d, not %d: %s", e->process.name,
                       status, want,
                       unknown ? "it claims a case that there is not" : "it takes garbage");
}
