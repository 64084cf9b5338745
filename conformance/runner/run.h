/* SPDX-License-Identifier: MIT */
#ifndef CONFORMANCE_RUNNER_RUN_H
#define CONFORMANCE_RUNNER_RUN_H

#include "conformance/runner/options.h"

/** What the command line asks for; the exit status. */
int cert_main(const struct cert_options *o);

#endif
