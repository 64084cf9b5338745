/* SPDX-License-Identifier: MIT */
#ifndef VMSTREAM_TOOL_OUTPUT_H
#define VMSTREAM_TOOL_OUTPUT_H

#include <vmstream/error.h>
#include <vmstream/slice.h>

/** A file that is written from front to end through a buffer, with holes where that is asked for.
 */
struct output {
    int fd;
    bool seekable;
    uint8_t *buffer;
    size_t used;
    uint64_t position; /* of the buffer's first byte */
};

/** Creates or empties the file. IO or NO_MEMORY in *err. */
enum vms_code output_open(struct output *out, const char *path, struct vms_error *err);
enum vms_code output_write(struct output *out, struct vms_slice bytes, struct vms_error *err);
/** Writes bytes that are zero for the most part: whole zero blocks of 4 KiB become holes. */
enum vms_code output_write_sparse(struct output *out, struct vms_slice bytes,
                                  struct vms_error *err);
/** n zeros, as a hole. */
enum vms_code output_hole(struct output *out, uint64_t n, struct vms_error *err);
/** Copies n bytes at offset `from` of a regular file, its holes as holes; its position stays.
 * TRUNCATED when the file ends before. */
enum vms_code output_copy(struct output *out, int fd, uint64_t from, uint64_t n,
                          struct vms_error *err);
/** Closes without writing and removes the file at path, if it is still this regular file. */
void output_drop(struct output *out, const char *path);
/** Writes what is left and closes. May be called again. */
enum vms_code output_close(struct output *out, struct vms_error *err);

#endif
