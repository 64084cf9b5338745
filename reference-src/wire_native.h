/* SPDX-License-Identifier: MIT */
#ifndef REFERENCE_SRC_WIRE_NATIVE_H
#define REFERENCE_SRC_WIRE_NATIVE_H

#include "reference-src/wire.h"

/**
 * Before connect(): after a restart, ask about the session that the journal names instead of
 * opening one (HND-14). Then only commit() and close() are called, and RUNNING or NOT_STARTED comes
 * back.
 */
void src_wire_native_inquire(struct src_wire *wire, const uint8_t session[16]);
/** The session id, for the journal; valid after connect(). */
const uint8_t *src_wire_native_session(const struct src_wire *wire);
/** What was agreed on, for reports; valid after connect(): the suite, and whether pages are packed.
 */
const char *src_wire_native_suite(const struct src_wire *wire);
bool src_wire_native_packs(const struct src_wire *wire);

#endif
