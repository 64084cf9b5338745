/* SPDX-License-Identifier: MIT */
#ifndef VMSTREAM_HOST_TLS_TEST_PKI_H
#define VMSTREAM_HOST_TLS_TEST_PKI_H

/* Certificate authorities and credentials directories for the tests, made with OpenSSL's API. */

#include "host/channel_test_util.h"
#include "host/tls_creds.h"

#include <openssl/pem.h>
#include <openssl/x509v3.h>

struct authority {
    X509 *cert;
    EVP_PKEY *key;
};

static inline void pki_extension(X509 *cert, X509 *issuer, int nid, const char *value) {
    X509V3_CTX ctx;
    X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    cr_assert_not_null(extension, "%s", value);
    cr_assert_eq(X509_add_ext(cert, extension, -1), 1);
    X509_EXTENSION_free(extension);
}

/* A certificate that is not signed yet. days may be negative: it has expired then. */
static inline X509 *pki_certificate(const char *name, EVP_PKEY *key, int days) {
    static long serial = 1;
    X509 *cert = X509_new();
    X509_NAME *subject = X509_get_subject_name(cert);
    (void)X509_set_version(cert, X509_VERSION_3);
    (void)ASN1_INTEGER_set(X509_get_serialNumber(cert), serial++);
    (void)X509_gmtime_adj(X509_getm_notBefore(cert), -2 * 86400);
    (void)X509_gmtime_adj(X509_getm_notAfter(cert), days * 86400L);
    (void)X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const unsigned char *)name, -1,
                                     -1, 0);
    (void)X509_set_pubkey(cert, key);
    return cert;
}

static inline struct authority pki_authority(const char *name) {
    struct authority ca = {.key = EVP_EC_gen("P-256")};
    ca.cert = pki_certificate(name, ca.key, 10);
    (void)X509_set_issuer_name(ca.cert, X509_get_subject_name(ca.cert));
    pki_extension(ca.cert, ca.cert, NID_basic_constraints, "critical,CA:TRUE");
    pki_extension(ca.cert, ca.cert, NID_key_usage, "critical,keyCertSign,cRLSign");
    pki_extension(ca.cert, ca.cert, NID_subject_key_identifier, "hash");
    cr_assert_gt(X509_sign(ca.cert, ca.key, EVP_sha256()), 0);
    return ca;
}

static inline void pki_free(struct authority *ca) {
    X509_free(ca->cert);
    EVP_PKEY_free(ca->key);
}

static inline FILE *pki_file(const char *dir, const char *name) {
    char path[256];
    (void)snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *out = fopen(path, "we");
    cr_assert_not_null(out, "%s", path);
    return out;
}

static inline void pki_write_cert(const char *dir, const char *name, X509 *cert) {
    FILE *out = pki_file(dir, name);
    cr_assert_eq(PEM_write_X509(out, cert), 1);
    (void)fclose(out);
}

static inline void pki_write_key(const char *dir, const char *name, EVP_PKEY *key) {
    FILE *out = pki_file(dir, name);
    cr_assert_eq(PEM_write_PrivateKey(out, key, NULL, NULL, 0, NULL, NULL), 1);
    (void)fclose(out);
}

/* WHO-cert.pem and WHO-key.pem, signed by ca. Returns the certificate, the caller's. */
static inline X509 *pki_issue(const struct authority *ca, const char *dir, const char *who,
                              const char *name, int days) {
    char file[64];
    bool server = strcmp(who, "server") == 0;
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *cert = pki_certificate(name, key, days);
    (void)X509_set_issuer_name(cert, X509_get_subject_name(ca->cert));
    pki_extension(cert, ca->cert, NID_basic_constraints, "critical,CA:FALSE");
    pki_extension(cert, ca->cert, NID_key_usage, "critical,digitalSignature");
    pki_extension(cert, ca->cert, NID_ext_key_usage, server ? "serverAuth" : "clientAuth");
    if (server)
        pki_extension(cert, ca->cert, NID_subject_alt_name, "DNS:localhost,IP:127.0.0.1");
    cr_assert_gt(X509_sign(cert, ca->key, EVP_sha256()), 0);
    (void)snprintf(file, sizeof file, "%s-cert.pem", who);
    pki_write_cert(dir, file, cert);
    (void)snprintf(file, sizeof file, "%s-key.pem", who);
    pki_write_key(dir, file, key);
    EVP_PKEY_free(key);
    return cert;
}

/* ca-crl.pem: revoked is on it. */
static inline void pki_revoke(const struct authority *ca, const char *dir, const X509 *revoked) {
    X509_CRL *crl = X509_CRL_new();
    X509_REVOKED *entry = X509_REVOKED_new();
    ASN1_TIME *now = X509_gmtime_adj(NULL, -60);
    ASN1_TIME *later = X509_gmtime_adj(NULL, 86400);
    (void)X509_CRL_set_version(crl, X509_CRL_VERSION_2);
    (void)X509_CRL_set_issuer_name(crl, X509_get_subject_name(ca->cert));
    (void)X509_CRL_set1_lastUpdate(crl, now);
    (void)X509_CRL_set1_nextUpdate(crl, later);
    (void)X509_REVOKED_set_serialNumber(entry,
                                        (ASN1_INTEGER *)(uintptr_t)X509_get0_serialNumber(revoked));
    (void)X509_REVOKED_set_revocationDate(entry, now);
    (void)X509_CRL_add0_revoked(crl, entry);
    cr_assert_gt(X509_CRL_sign(crl, ca->key, EVP_sha256()), 0);
    FILE *out = pki_file(dir, "ca-crl.pem");
    cr_assert_eq(PEM_write_X509_CRL(out, crl), 1);
    (void)fclose(out);
    ASN1_TIME_free(now);
    ASN1_TIME_free(later);
    X509_CRL_free(crl);
}

/* A new directory below the test's. */
static inline const char *pki_dir(const char *name, char *path, size_t size) {
    (void)in_test_dir(name, path, size);
    cr_assert_eq(mkdir(path, 0700), 0);
    return path;
}

/* A directory with everything, of an authority of its own unless one is given. */
static inline void pki_full_dir(const struct authority *given, const char *dir) {
    struct authority own = given ? *given : pki_authority("vmstream test CA");
    pki_write_cert(dir, "ca-cert.pem", own.cert);
    X509_free(pki_issue(&own, dir, "server", "the server", 10));
    X509_free(pki_issue(&own, dir, "client", "the client", 10));
    if (!given)
        pki_free(&own);
}

static inline void pki_write_text(const char *dir, const char *name, const char *text) {
    FILE *out = pki_file(dir, name);
    cr_assert_geq(fputs(text, out), 0);
    (void)fclose(out);
}

static inline struct vms_tls_creds *load_creds(const struct vms_tls_config *config,
                                               enum vms_tls_role role) {
    struct vms_tls_creds *creds = NULL;
    OK(vms_tls_creds_load(config, role, &creds, &err));
    return creds;
}

#define PSK_LINE "qemu:000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n"

#endif
