/* SPDX-License-Identifier: MIT */
#ifndef CONFORMANCE_RUNNER_OPTIONS_H
#define CONFORMANCE_RUNNER_OPTIONS_H

#include <jansson.h>
#include <stdbool.h>

/** The command line of certify; certify(1) says what each means. */
struct cert_options {
    const char *profile, *out, *build, *cases, *expected, *spec;
    const char *can[3]; /* source, destination, feature or NULL */
    json_t *only;       /* patterns of --cell; NULL: all */
    unsigned jobs, patience;
    bool quick, list, resume, fresh, quiet, render;
};

/** -1: go on; else the exit status: --help, --version, wrong usage (said on standard error). */
int cert_options_read(struct cert_options *o, int argc, char **argv);
void cert_options_free(struct cert_options *o);

#endif
