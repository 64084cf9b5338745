/* SPDX-License-Identifier: MIT */
#ifndef VMSTREAM_TOOL_JSON_H
#define VMSTREAM_TOOL_JSON_H

#include <jansson.h>
#include <vmstream/slice.h>

/** Small helpers around jansson. A member that there is no memory for is left out. */
void json_put(json_t *object, const char *key, json_t *value);
void json_put_u64(json_t *object, const char *key, uint64_t value);
void json_put_text(json_t *object, const char *key, const char *text);
void json_put_slice(json_t *object, const char *key, struct vms_slice s); /* printable ASCII */
void json_put_hex(json_t *object, const char *key, struct vms_slice s);
void json_put_true(json_t *object, const char *key, bool value); /* only when it is true */

/** Prints the object on one line of standard output and frees it. */
void json_print_line(json_t *object);

#endif
