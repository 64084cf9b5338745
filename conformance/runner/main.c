/* SPDX-License-Identifier: MIT */
#include "conformance/runner/options.h"
#include "conformance/runner/run.h"

int main(int argc, char **argv) {
    struct cert_options o;
    int rc = cert_options_read(&o, argc, argv);
    if (rc < 0)
        rc = cert_main(&o);
    cert_options_free(&o);
    return rc;
}
