/* SPDX-License-Identifier: MIT */
#include "tool/tool_test_util.h"
#include "tool/vmdesc_find.h"
#include <fcntl.h>

TestSuite(vmdesc_find, .init = test_folder_make, .fini = test_folder_remove);

static const char JSON[] =
    "{\"devices\":[{\"name\":\"d\",\"instance_id\":0,\"fields\":[{\"size\":9}]}]}";

/* `before` bytes, EOF, the head with this length, the text, `after` bytes. */
static bool find(size_t before, size_t told, size_t after, uint64_t max) {
    size_t len = sizeof JSON - 1, n = before;
    uint8_t *bytes = calloc(1, before + 6 + len + after);
    bytes[n + 1] = 6;
    for (int i = 0; i < 4; i++)
        bytes[n + 2 + (size_t)i] = (uint8_t)(told >> (24 - 8 * i));
    memcpy(bytes + n + 6, JSON, len);
    char *path = test_write("f", vms_slice(bytes, n + 6 + len + after));
    int fd = open(path, O_RDONLY);
    struct vms_vmdesc *v = vms_vmdesc_new();
    bool found = vmdesc_find(fd, max, v);
    cr_assert_eq(vms_vmdesc_count(v), found ? 1 : 0);
    cr_assert_eq(lseek(fd, 0, SEEK_CUR), 0);
    vms_vmdesc_free(v);
    close(fd);
    free(bytes);
    return found;
}

Test(vmdesc_find, found) {
    size_t len = sizeof JSON - 1;
    cr_assert(find(0, len, 0, 1 << 20));
    cr_assert(find(1, len, 0, 1 << 20));
    cr_assert(find(300000, len, 0, 1 << 20));
    cr_assert(find(300000, len, 0, len)); /* at the limit and one past it */
    cr_assert_not(find(300000, len, 0, len - 1));
    cr_assert_not(find(10, len - 1, 0, 1 << 20));
    cr_assert_not(find(10, len, 1, 1 << 20));
}

Test(vmdesc_find, nothing) {
    struct vms_vmdesc *v = vms_vmdesc_new();
    char *path = test_write("empty", vms_slice(NULL, 0));
    int fd = open(path, O_RDONLY), fds[2];
    cr_assert_not(vmdesc_find(fd, 1 << 20, v));
    cr_assert_eq(pipe(fds), 0);
    cr_assert_not(vmdesc_find(fds[0], 1 << 20, v));
    vms_vmdesc_free(v);
}
