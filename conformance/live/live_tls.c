/* SPDX-License-Identifier: MIT */
#include "live.h"

#include <string.h>
#include <sys/stat.h>

/* TLS credentials for one run, as a user would make them. */

enum {
    OPENSSL_MS = 120000,
};

static int openssl(struct live *live, const char *const *argv) {
    char log[128];
    (void)snprintf(log, sizeof log, "%s/openssl.log", live->dir);
    pid_t pid = live_spawn(argv, log, NULL);
    return live_wait(pid, OPENSSL_MS) == 0 ? 0 : live_fail(live, "openssl failed, see %s", log);
}

static int make_ca(struct live *live, const char *key, const char *cert) {
    const char *const argv[] = {"/usr/bin/openssl", "req",   "-x509", "-newkey", "rsa:2048",
                                "-nodes",           "-days", "2",     "-subj",   "/CN=vmstream CA",
                                "-keyout",          key,     "-out",  cert,      NULL};
    return openssl(live, argv);
}

static int make_leaf(struct live *live, const char *ca_key, const char *ca, const char *role) {
    char key[128], cert[128];
    (void)snprintf(key, sizeof key, "%s/tls/%s-key.pem", live->dir, role);
    (void)snprintf(cert, sizeof cert, "%s/tls/%s-cert.pem", live->dir, role);
    const char *const argv[] = {"/usr/bin/openssl",
                                "req",
                                "-x509",
                                "-newkey",
                                "rsa:2048",
                                "-nodes",
                                "-days",
                                "2",
                                "-subj",
                                "/CN=localhost",
                                "-addext",
                                "subjectAltName=DNS:localhost,IP:127.0.0.1",
                                "-addext",
                                "basicConstraints=critical,CA:FALSE",
                                "-CA",
                                ca,
                                "-CAkey",
                                ca_key,
                                "-keyout",
                                key,
                                "-out",
                                cert,
                                NULL};
    return openssl(live, argv);
}

int live_make_certificates(struct live *live) {
    char dir[128], key[128], cert[128];
    (void)snprintf(dir, sizeof dir, "%s/tls", live->dir);
    (void)snprintf(key, sizeof key, "%s/ca-key.pem", live->dir);
    (void)snprintf(cert, sizeof cert, "%s/tls/ca-cert.pem", live->dir);
    (void)mkdir(dir, 0700);
    if (make_ca(live, key, cert) != 0 || make_leaf(live, key, cert, "server") != 0)
        return -1;
    return make_leaf(live, key, cert, "client");
}

int live_make_psk(struct live *live) {
    char path[128];
    (void)snprintf(path, sizeof path, "%s/tls", live->dir);
    (void)mkdir(path, 0700);
    (void)snprintf(path, sizeof path, "%s/tls/keys.psk", live->dir);
    FILE *file = fopen(path, "we");
    if (!file)
        return live_fail(live, "cannot write %s", path);
    fputs("qemu:4a7d1ed414474e4033ac29ccb8653d9b4a7d1ed414474e4033ac29ccb8653d9b\n", file);
    return fclose(file) == 0 ? 0 : live_fail(live, "cannot write %s", path);
}
