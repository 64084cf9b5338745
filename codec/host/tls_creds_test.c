/* SPDX-License-Identifier: MIT */
#include "host/tls_test_pki.h"

static void refused(const struct vms_tls_config *config, enum vms_tls_role role,
                    enum vms_code expected, const char *part) {
    struct vms_tls_creds *creds;
    FAILS(vms_tls_creds_load(config, role, &creds, &err), expected, part);
}

static void remove_file(const char *dir, const char *name) {
    char path[256];
    (void)snprintf(path, sizeof path, "%s/%s", dir, name);
    cr_assert_eq(unlink(path), 0);
}

Test(tls_creds, x509_directory) {
    char dir[128];
    struct vms_tls_config config = {.dir = pki_dir("creds", dir, sizeof dir)};
    pki_full_dir(NULL, dir);
    vms_tls_creds_free(load_creds(&config, VMS_TLS_SERVER));
    vms_tls_creds_free(load_creds(&config, VMS_TLS_CLIENT));
    vms_tls_creds_free(NULL);
    remove_file(dir, "client-cert.pem");
    refused(&config, VMS_TLS_CLIENT, VMS_E_CONNECT, "client-cert.pem: No such file");
    remove_file(dir, "client-key.pem"); /* a client may do without both */
    vms_tls_creds_free(load_creds(&config, VMS_TLS_CLIENT));
    remove_file(dir, "server-key.pem");
    refused(&config, VMS_TLS_SERVER, VMS_E_CONNECT, "server-key.pem: No such file");
    remove_file(dir, "ca-cert.pem");
    refused(&config, VMS_TLS_CLIENT, VMS_E_CONNECT, "ca-cert.pem: No such file");
}

Test(tls_creds, x509_broken_files) {
    char dir[128];
    struct vms_tls_config config = {.dir = pki_dir("creds", dir, sizeof dir)};
    pki_full_dir(NULL, dir);
    pki_write_text(dir, "ca-crl.pem", "nonsense\n");
    refused(&config, VMS_TLS_CLIENT, VMS_E_TLS, "ca-crl.pem: no start line");
    remove_file(dir, "ca-crl.pem");
    EVP_PKEY *other = EVP_EC_gen("P-256");
    pki_write_key(dir, "server-key.pem", other);
    EVP_PKEY_free(other);
    refused(&config, VMS_TLS_SERVER, VMS_E_TLS, "server-key.pem: key values mismatch");
    pki_write_text(dir, "server-cert.pem", "nonsense\n");
    refused(&config, VMS_TLS_SERVER, VMS_E_TLS, "server-cert.pem: no start line");
    pki_write_text(dir, "ca-cert.pem", "nonsense\n");
    refused(&config, VMS_TLS_CLIENT, VMS_E_TLS, "ca-cert.pem: ");
}

Test(tls_creds, encrypted_key_asks_nobody) {
    char dir[128];
    struct vms_tls_config config = {.dir = pki_dir("creds", dir, sizeof dir)};
    pki_full_dir(NULL, dir);
    EVP_PKEY *key = EVP_EC_gen("P-256");
    FILE *out = pki_file(dir, "server-key.pem");
    cr_assert_eq(PEM_write_PrivateKey(out, key, EVP_aes_128_cbc(), (const unsigned char *)"pass", 4,
                                      NULL, NULL),
                 1);
    (void)fclose(out);
    EVP_PKEY_free(key);
    refused(&config, VMS_TLS_SERVER, VMS_E_TLS, "server-key.pem: ");
}

Test(tls_creds, psk) {
    char path[128];
    (void)in_test_dir("keys.psk", path, sizeof path);
    pki_write_text(test_dir, "keys.psk", PSK_LINE);
    struct vms_tls_config config = {.psk = path};
    vms_tls_creds_free(load_creds(&config, VMS_TLS_SERVER));
    vms_tls_creds_free(load_creds(&config, VMS_TLS_CLIENT));
    config.identity = "somebody";
    refused(&config, VMS_TLS_CLIENT, VMS_E_CONNECT, "no identity 'somebody'");
    config.psk = "/nonexistent";
    refused(&config, VMS_TLS_SERVER, VMS_E_CONNECT, "/nonexistent: No such file");
}

Test(tls_creds, contradictions) {
    char text[400] = "";
    struct vms_tls_config config = {0};
    refused(&config, VMS_TLS_SERVER, VMS_E_MISUSE, "one of them");
    config = (struct vms_tls_config){.dir = "/a", .psk = "/b"};
    refused(&config, VMS_TLS_SERVER, VMS_E_MISUSE, "one of them");
    memset(text, 'a', sizeof text - 1);
    config = (struct vms_tls_config){.dir = "/a", .host_name = text};
    refused(&config, VMS_TLS_CLIENT, VMS_E_CONNECT, "too long");
    config = (struct vms_tls_config){.psk = "/a", .identity = text};
    refused(&config, VMS_TLS_CLIENT, VMS_E_CONNECT, "too long");
}
