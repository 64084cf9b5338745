/* SPDX-License-Identifier: MIT */
#include "tool/output.h"
#include "tool/tool_test_util.h"
#include <fcntl.h>
#include <sys/stat.h>

TestSuite(output, .init = test_folder_make, .fini = test_folder_remove);

static struct vms_error err;

enum {
    HOLE = 1 << 20,
    END = 4096 + HOLE + 100 + HOLE,
};

/* Bytes, a hole, bytes across a block, a hole at the end. */
static char *make_sparse(void) {
    struct output out;
    uint8_t *zeros = calloc(1, HOLE);
    char *path = test_path("sparse");
    cr_assert_eq(output_open(&out, path, &err), VMS_OK);
    for (int i = 0; i < 4096; i++)
        cr_assert_eq(output_write(&out, vms_slice("x", 1), &err), VMS_OK);
    cr_assert_eq(output_write_sparse(&out, vms_slice(zeros, HOLE), &err), VMS_OK);
    memset(zeros, 'y', 100);
    cr_assert_eq(output_write_sparse(&out, vms_slice(zeros, 100), &err), VMS_OK);
    cr_assert_eq(output_hole(&out, HOLE, &err), VMS_OK);
    cr_assert_eq(output_close(&out, &err), VMS_OK);
    cr_assert_eq(output_close(&out, &err), VMS_OK);
    free(zeros);
    return path;
}

static void expect_sparse(const char *path) {
    struct stat st;
    size_t len;
    uint8_t *bytes = test_read(path, &len);
    cr_assert_eq(len, END);
    cr_assert(bytes[0] == 'x' && bytes[4095] == 'x' && bytes[4096] == 0);
    cr_assert(bytes[4096 + HOLE] == 'y' && bytes[4096 + HOLE + 100] == 0);
    cr_assert_eq(stat(path, &st), 0);
    cr_assert_leq(st.st_blocks * 512, 64 * 1024);
    free(bytes);
}

Test(output, holes) {
    expect_sparse(make_sparse());
}

Test(output, copy_keeps_holes) {
    struct output out;
    char *from = make_sparse(), *to = test_path("copy");
    int fd = open(from, O_RDONLY);
    cr_assert_eq(lseek(fd, 7, SEEK_SET), 7);
    cr_assert_eq(output_open(&out, to, &err), VMS_OK);
    cr_assert_eq(output_copy(&out, fd, 0, END, &err), VMS_OK);
    cr_assert_eq(lseek(fd, 0, SEEK_CUR), 7);
    cr_assert_eq(output_close(&out, &err), VMS_OK);
    expect_sparse(to);
    cr_assert_eq(output_open(&out, to, &err), VMS_OK);
    cr_assert_eq(output_copy(&out, fd, 1, END, &err), VMS_E_TRUNCATED);
    cr_assert_eq(output_copy(&out, fd, UINT64_MAX, 1, &err), VMS_E_TRUNCATED);
    output_drop(&out, to);
    cr_assert_neq(access(to, F_OK), 0);
}

/* Only the file that was made goes, never what took its place. */
Test(output, drop) {
    struct output out;
    char *path = test_path("a");
    cr_assert_eq(output_open(&out, path, &err), VMS_OK);
    cr_assert_eq(unlink(path), 0);
    (void)test_write("a", vms_str("another"));
    output_drop(&out, path);
    cr_assert_eq(access(path, F_OK), 0);
}

Test(output, errors) {
    struct output out;
    cr_assert_eq(output_open(&out, "/nonexistent/x", &err), VMS_E_IO);
    cr_assert_eq(output_open(&out, "/dev/full", &err), VMS_OK);
    cr_assert_eq(output_write(&out, vms_str("x"), &err), VMS_OK);
    cr_assert_eq(output_close(&out, &err), VMS_E_IO);
}
