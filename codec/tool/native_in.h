/* SPDX-License-Identifier: MIT */
#ifndef VMSTREAM_TOOL_NATIVE_IN_H
#define VMSTREAM_TOOL_NATIVE_IN_H

#include "host/native_file.h"
#include "tool/migration.h"
#include "tool/output.h"

/**
 * A native file as the channels of a migration. Each channel's frames become octets of QEVM again,
 * and a pump reads these as it would read a file's: so every rule of the QEVM chapters is checked,
 * and every consumer works. The order between channels is the file's.
 */
struct native_input;

/**
 * Takes the first file of m, whose first bytes are `begin`. Channels are opened as they come, in
 * migration_run(). TOOL_DONE, or another status after a line on stderr.
 */
int native_input_open(struct migration *m, const char *name, int fd, struct vms_slice begin,
                      const struct migration_consumer *consumer);
/** VMS_OK, or the code of *err. */
enum vms_code native_input_run(struct migration *m, struct vms_error *err);
void native_input_close(struct native_input *input);

/** Writes the octets of a channel to out too, as they are read: from its consumer's open(). */
void native_input_tee(struct migration_channel *channel, struct output *out);

const struct vms_native_file_info *native_input_info(const struct native_input *input);
/** Bytes of the native file read so far. */
uint64_t native_input_bytes(const struct native_input *input);
/** Where the file begins, for another look at it; false when it cannot be read again. */
bool native_input_rewind(struct native_input *input);
/** Borrowed. */
int native_input_fd(const struct native_input *input);
/** Bytes of the file, UINT64_MAX when that is not known. */
uint64_t native_input_total(const struct native_input *input);
/** Frames so far. */
uint64_t native_input_frames(const struct native_input *input);

#endif
