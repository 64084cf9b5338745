/* SPDX-License-Identifier: MIT */
#ifndef REFERENCE_SRC_REPORT_H
#define REFERENCE_SRC_REPORT_H

#include "reference-src/session.h"

/** Writes --report FILE (chapter REP). 0, or -1 with the reason in *err. */
int src_report_write(const struct src_options *options, struct vms_timeline *timeline,
                     const struct src_outcome *outcome, struct vms_error *err);

#endif
