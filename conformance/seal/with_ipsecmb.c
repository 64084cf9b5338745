/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <stdio.h>
#include <vmstream/ipsecmb.h>
#include <vmstream/openssl.h>

/* The tests of codec/seal over intel-ipsec-mb: see seal_test_util.h. */
extern const bool test_with_ipsecmb;
const bool test_with_ipsecmb = true;

/* Why there is no such back end on this machine; NULL: there is. */
static const char *objection(void) {
    const char *why = NULL;
    struct vms_openssl *openssl = vms_openssl_new();
    if (openssl)
        vms_ipsecmb_free(vms_ipsecmb_new(vms_openssl_ops(openssl), &why));
    vms_openssl_free(openssl);
    return why;
}

/* Most machines have none: that is one thing to say and not one for each test (status 77). */
int main(int argc, char **argv) {
    struct criterion_test_set *tests = criterion_initialize();
    const char *why = objection();
    int status = why ? 77 : 0;
    if (why)
        printf("%s: %zu tests over ipsec-mb not run\n", why, tests->tests);
    else if (criterion_handle_args(argc, argv, true))
        status = !criterion_run_all_tests(tests);
    criterion_finalize(tests);
    return status;
}
