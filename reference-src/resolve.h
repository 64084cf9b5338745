/* SPDX-License-Identifier: MIT */
#ifndef REFERENCE_SRC_RESOLVE_H
#define REFERENCE_SRC_RESOLVE_H

#include "reference-src/options.h"

/**
 * --resolve: after a restart, for every hand-over in the journal folder that is in doubt, makes
 * durable what the operator or fencing has found out (HND-12). Exit status.
 */
int src_resolve_journals(const struct src_options *options);

#endif
