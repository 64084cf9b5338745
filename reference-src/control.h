/* SPDX-License-Identifier: MIT */
#ifndef REFERENCE_SRC_CONTROL_H
#define REFERENCE_SRC_CONTROL_H

#include "reference-src/session.h"

/**
 * Orders from outside: a thread that listens on a UNIX socket for lines of JSON, one order a line,
 * one line of answer each (src_session_order()), one client after the other; and takes SIGINT and
 * SIGTERM for "cancel", a second one for the end of the program in whatever state.
 */
struct src_control;

/** Before any thread is made: threads inherit that the signals are not for them. */
void src_control_block_signals(void);
/** uri: unix:PATH, or NULL: signals only. NULL and *err on failure. */
struct src_control *src_control_start(struct src_session *session, const char *uri,
                                      struct vms_error *err);
/** NULL is allowed. */
void src_control_stop(struct src_control *control);

#endif
