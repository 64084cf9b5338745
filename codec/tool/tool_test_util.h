/* SPDX-License-Identifier: MIT */
#ifndef VMSTREAM_TOOL_TOOL_TEST_UTIL_H
#define VMSTREAM_TOOL_TOOL_TEST_UTIL_H

#include "host/stream_test_util.h"
#include "tool/tool.h"
#include <stdio.h>
#include <unistd.h>

/* For tests of the tool: files in a folder of their own. */

static char test_folder[64];

static inline void test_folder_make(void) {
    (void)snprintf(test_folder, sizeof test_folder, "/tmp/vmstream-test-XXXXXX");
    cr_assert_not_null(mkdtemp(test_folder));
}

static inline void test_folder_remove(void) {
    char command[128];
    (void)snprintf(command, sizeof command, "rm -rf %s", test_folder);
    cr_assert_eq(system(command), 0);
}

/* The path of a file in the folder; it holds for the test. */
static inline char *test_path(const char *name) {
    static char paths[32][128];
    static size_t count;
    cr_assert_lt(count, 32);
    (void)snprintf(paths[count], sizeof *paths, "%s/%s", test_folder, name);
    return paths[count++];
}

static inline char *test_write(const char *name, struct vms_slice bytes) {
    char *path = test_path(name);
    FILE *file = fopen(path, "wb");
    cr_assert_not_null(file);
    if (bytes.len)
        cr_assert_eq(fwrite(bytes.ptr, 1, bytes.len, file), bytes.len);
    cr_assert_eq(fclose(file), 0);
    return path;
}

/* The whole file; *len is its length. The caller frees it. */
static inline uint8_t *test_read(const char *path, size_t *len) {
    FILE *file = fopen(path, "rb");
    cr_assert_not_null(file, "%s", path);
    size_t cap = 16 << 20;
    uint8_t *bytes = malloc(cap);
    *len = fread(bytes, 1, cap, file);
    (void)fclose(file);
    return bytes;
}

#endif
