/* SPDX-License-Identifier: MIT */
#ifndef VMSTREAM_TOOL_INSPECT_H
#define VMSTREAM_TOOL_INSPECT_H

#include "tool/summary.h"

/** The two ways in which `inspect` shows a stream on standard output. */

/** One JSON object on a line of its own (design §5). */
void inspect_json_record(const struct vms_record *record);
void inspect_json_summary(const struct summary *s);
void inspect_json_error(const struct migration *m, const struct vms_error *err);

/** One line for a record: offset, channel, name, what it carries. */
void inspect_text_record(const struct vms_record *record);
/** The tables. complete: the stream ended in good order. */
void inspect_text_summary(const struct summary *s, bool complete);

/** The headers of a native file that cannot be read for lack of a key: as JSON, or as a table. */
void inspect_native_headers(const struct migration *m, bool json);

/** QEMU's name of a return-path record: "SHUT", "PONG". */
const char *inspect_rp_name(enum vms_record_type type);
/** True for the records that a return path's messages are, one each. */
bool inspect_is_rp_message(enum vms_record_type type);

#endif
