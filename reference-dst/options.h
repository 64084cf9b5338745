/* SPDX-License-Identifier: MIT */
#ifndef REFERENCE_DST_OPTIONS_H
#define REFERENCE_DST_OPTIONS_H

#include "reference-dst/session.h"

/**
 * Reads the command line. Returns -1 to go on, or the exit status: 0 after --help and --version, 2
 * for wrong usage, said on standard error. Strings point into argv.
 */
int dst_options_parse(int argc, char **argv, struct dst_options *out);

#endif
