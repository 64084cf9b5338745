/* SPDX-License-Identifier: MIT */
#include "host/backend.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <vmstream/ipsecmb.h>
#include <vmstream/openssl.h>

struct vms_backend {
    struct vms_openssl *openssl;
    struct vms_ipsecmb *ipsecmb; /* or NULL */
    unsigned refs;
    char text[96];
};

enum choice {
    CHOICE_FASTER,
    CHOICE_OPENSSL,
    CHOICE_IPSECMB,
    CHOICE_COUNT,
};
static const char *const CHOICES[CHOICE_COUNT] = {"", "openssl", "ipsec-mb"};

/* Those in use: both libraries take milliseconds to begin, and check themselves. */
static struct vms_backend *in_use[CHOICE_COUNT];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static enum choice choice_of(const char *name) {
    for (enum choice c = CHOICE_FASTER; c < CHOICE_COUNT; c++)
        if (strcmp(name, CHOICES[c]) == 0)
            return c;
    return CHOICE_COUNT;
}

bool vms_backend_wants_ipsecmb(unsigned long openssl, bool fips) {
    return openssl < 0x30100000 && !fips;
}

static bool wants_ipsecmb(enum choice choice) {
    if (choice != CHOICE_FASTER)
        return choice == CHOICE_IPSECMB;
    return vms_backend_wants_ipsecmb(OpenSSL_version_num(),
                                     EVP_default_properties_is_fips_enabled(NULL));
}

static void describe(struct vms_backend *b) {
    int n =
        snprintf(b->text, sizeof b->text, "OpenSSL %s", OpenSSL_version(OPENSSL_VERSION_STRING));
    if (b->ipsecmb && n > 0 && (size_t)n < sizeof b->text)
        (void)snprintf(b->text + n, sizeof b->text - (size_t)n,
                       ", AES-256-GCM by intel-ipsec-mb %s", vms_ipsecmb_version());
}

static enum vms_code begin(struct vms_backend *b, enum choice choice, struct vms_error *err) {
    const char *why = NULL;
    b->openssl = vms_openssl_new();
    if (!b->openssl)
        return vms_error_set(err, VMS_E_SEAL_CRYPTO, "no OpenSSL");
    if (wants_ipsecmb(choice))
        b->ipsecmb = vms_ipsecmb_new(vms_openssl_ops(b->openssl), &why);
    if (choice == CHOICE_IPSECMB && !b->ipsecmb)
        return vms_error_set(err, VMS_E_SEAL_CRYPTO, "ipsec-mb: %s", why);
    describe(b);
    return VMS_OK;
}

static void unmake(struct vms_backend *b) {
    vms_ipsecmb_free(b->ipsecmb);
    vms_openssl_free(b->openssl);
    free(b);
}

static struct vms_backend *make(enum choice choice, struct vms_error *err) {
    struct vms_backend *b = calloc(1, sizeof *b);
    if (!b) {
        (void)vms_error_set(err, VMS_E_NO_MEMORY, NULL);
        return NULL;
    }
    if (begin(b, choice, err) == VMS_OK)
        return b;
    unmake(b);
    return NULL;
}

struct vms_backend *vms_backend_new(const char *name, struct vms_error *err) {
    const char *wish = name ? name : getenv(VMS_BACKEND_VARIABLE);
    enum choice choice = choice_of(wish ? wish : "");
    if (choice == CHOICE_COUNT) {
        (void)vms_error_set(err, VMS_E_SEAL_CRYPTO, "no back end '%s': openssl, ipsec-mb", wish);
        return NULL;
    }
    pthread_mutex_lock(&lock);
    if (!in_use[choice])
        in_use[choice] = make(choice, err);
    struct vms_backend *b = in_use[choice];
    if (b)
        b->refs++;
    pthread_mutex_unlock(&lock);
    return b;
}

void vms_backend_free(struct vms_backend *backend) {
    if (!backend)
        return;
    pthread_mutex_lock(&lock);
    bool last = --backend->refs == 0;
    for (enum choice c = 0; last && c < CHOICE_COUNT; c++)
        if (in_use[c] == backend)
            in_use[c] = NULL;
    pthread_mutex_unlock(&lock);
    if (last)
        unmake(backend);
}

const struct vms_crypto_ops *vms_backend_ops(const struct vms_backend *backend) {
    return backend->ipsecmb ? vms_ipsecmb_ops(backend->ipsecmb) : vms_openssl_ops(backend->openssl);
}

const char *vms_backend_text(const struct vms_backend *backend) {
    return backend->text;
}
