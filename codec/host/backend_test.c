/* SPDX-License-Identifier: MIT */
#include "host/backend.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <vmstream/ipsecmb.h>
#include <vmstream/seal.h>

static struct vms_error err;

static void setup(void) {
    (void)unsetenv(VMS_BACKEND_VARIABLE);
}

TestSuite(host_backend, .init = setup);

static bool by_ipsecmb(const struct vms_backend *b) {
    return strstr(vms_backend_text(b), "AES-256-GCM by intel-ipsec-mb ") != NULL;
}

/* Whatever is chosen has every suite. */
static void check_and_free(struct vms_backend *b) {
    cr_assert_not_null(b);
    for (unsigned suite = 0; suite < 4; suite++)
        cr_assert(vms_suite_available(vms_backend_ops(b), suite));
    cr_assert(strncmp(vms_backend_text(b), "OpenSSL 3.", 10) == 0, "%s", vms_backend_text(b));
    vms_backend_free(b);
}

Test(host_backend, openssl_by_name) {
    struct vms_backend *b = vms_backend_new("openssl", &err);
    cr_assert(b && !by_ipsecmb(b));
    check_and_free(b);
    vms_backend_free(NULL);
}

/* Here: it is made, and says so. Not here: an error that tells why, never another one instead. */
Test(host_backend, ipsecmb_by_name) {
    struct vms_backend *b = vms_backend_new("ipsec-mb", &err);
    if (b) {
        cr_assert(by_ipsecmb(b));
        cr_assert_not_null(vms_ipsecmb_version());
        check_and_free(b);
        return;
    }
    cr_assert_eq(err.code, VMS_E_SEAL_CRYPTO);
    cr_assert_eq(err.class_, VMS_CLASS_LOCAL);
    cr_assert(strstr(err.message, "ipsec-mb: "), "%s", err.message);
    cr_skip_test("%s", err.message);
}

/* The same for all who ask for the same, for as long as one of them has it. */
Test(host_backend, is_shared) {
    struct vms_backend *a = vms_backend_new("openssl", &err), *b = vms_backend_new("openssl", &err);
    cr_assert(a && a == b);
    vms_backend_free(a);
    check_and_free(b);
    struct vms_backend *any = vms_backend_new(NULL, &err);
    b = vms_backend_new("openssl", &err);
    cr_assert(any && b && any != b, "the choice counts, not what came of it");
    check_and_free(any);
    check_and_free(b);
}

Test(host_backend, by_environment) {
    cr_assert_eq(setenv(VMS_BACKEND_VARIABLE, "openssl", 1), 0);
    struct vms_backend *b = vms_backend_new(NULL, &err);
    cr_assert(b && !by_ipsecmb(b));
    check_and_free(b);
    cr_assert_eq(setenv(VMS_BACKEND_VARIABLE, "OpenSSL", 1), 0);
    cr_assert_null(vms_backend_new(NULL, &err));
    cr_assert_eq(err.code, VMS_E_SEAL_CRYPTO);
    cr_assert(strstr(err.message, "'OpenSSL'"), "%s", err.message);
    cr_assert_eq(setenv(VMS_BACKEND_VARIABLE, "", 1), 0);
    check_and_free(vms_backend_new(NULL, &err));
}

/* Nobody asks: OpenSSL where it has the instructions itself, or is the only one that may. */
Test(host_backend, faster) {
    cr_assert(vms_backend_wants_ipsecmb(0x30000130, false));
    cr_assert_not(vms_backend_wants_ipsecmb(0x30000130, true));
    cr_assert_not(vms_backend_wants_ipsecmb(0x30100000, false));
    cr_assert_not(vms_backend_wants_ipsecmb(0x30500070, false));
    check_and_free(vms_backend_new(NULL, &err));
}
