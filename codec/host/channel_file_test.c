/* SPDX-License-Identifier: MIT */
#include "host/channel_test_util.h"

static struct vms_channel *to_write(const struct vms_uri *uri) {
    struct vms_channel *channel = NULL;
    OK(vms_channel_connect(uri, NULL, &channel, &err));
    return channel;
}

static struct vms_channel *to_read(const struct vms_uri *uri) {
    struct vms_channel *channel = NULL;
    OK(vms_channel_open(uri, NULL, &channel, &err));
    return channel;
}

static void write_file(const struct vms_uri *uri, const char *text) {
    struct vms_channel *channel = to_write(uri);
    send_text(channel, text);
    OK(vms_channel_close(channel, &err));
}

static uint64_t position(struct vms_channel *channel) {
    uint64_t at = 0;
    OK(vms_channel_tell(channel, &at, &err));
    return at;
}

Test(channel_file, round_trip) {
    struct stat st;
    struct vms_uri uri = uri_in_dir("file:", "state", "");
    write_file(&uri, "longer than the second");
    write_file(&uri, "second");
    cr_assert_eq(stat(uri.target, &st), 0);
    cr_assert_eq(st.st_mode & 07777, 0600);
    struct vms_channel *channel = to_read(&uri);
    cr_assert(vms_channel_is_seekable(channel));
    expect_text(channel, "second");
    expect_end(channel, VMS_CHANNEL_ENDED);
    OK(vms_channel_close(channel, &err));
}

/* As in QEMU the bytes before the offset stay and positions count from the file's beginning. */
Test(channel_file, offset) {
    struct vms_uri whole = uri_in_dir("file:", "state", "");
    struct vms_uri tail = uri_in_dir("file:", "state", ",offset=4");
    uint64_t size = 0;
    write_file(&whole, "0123456789");
    write_file(&tail, "abc");
    struct vms_channel *channel = to_read(&tail);
    cr_assert_eq(position(channel), 4);
    expect_text(channel, "abc");
    OK(vms_channel_size(channel, &size, &err));
    cr_assert_eq(size, 7);
    OK(vms_channel_seek(channel, 0, &err));
    expect_text(channel, "0123abc");
    OK(vms_channel_close(channel, &err));
}

Test(channel_file, seek_forgets_what_was_peeked) {
    uint8_t got[4];
    size_t n;
    struct vms_uri uri = uri_in_dir("file:", "state", "");
    write_file(&uri, "0123456789");
    struct vms_channel *channel = to_read(&uri);
    OK(vms_channel_peek(channel, (struct vms_room){got, 4}, &n, &err));
    cr_assert_eq(position(channel), 0);
    expect_text(channel, "01");
    cr_assert_eq(position(channel), 2);
    OK(vms_channel_skip(channel, 3, &err));
    expect_text(channel, "5");
    cr_assert_eq(vms_channel_bytes_in(channel), 6);
    OK(vms_channel_seek(channel, 1, &err));
    expect_text(channel, "12");
    FAILS(vms_channel_skip(channel, 8, &err), VMS_E_PEER_CLOSED, "ends at byte 10");
    OK(vms_channel_skip(channel, 7, &err));
    expect_end(channel, VMS_CHANNEL_ENDED);
    FAILS(vms_channel_seek(channel, UINT64_MAX, &err), VMS_E_IO, "seek");
    OK(vms_channel_close(channel, &err));
}

Test(channel_file, positions_of_their_own) {
    uint8_t got[3];
    struct vms_uri uri = uri_in_dir("file:", "state", "");
    struct vms_channel *channel = to_write(&uri);
    send_text(channel, "ab");
    OK(vms_channel_write_at(channel, 5, vms_str("xyz"), &err));
    send_text(channel, "cd");
    OK(vms_channel_close(channel, &err));
    channel = to_read(&uri);
    OK(vms_channel_read_at(channel, 5, (struct vms_room){got, 3}, &err));
    cr_assert_arr_eq(got, "xyz", 3);
    FAILS(vms_channel_read_at(channel, 6, (struct vms_room){got, 3}, &err), VMS_E_PEER_CLOSED,
          "ends at byte 8");
    expect_text(channel, "abcd");
    OK(vms_channel_close(channel, &err));
}

Test(channel_file, only_files_can_be_seeked) {
    uint64_t number;
    uint8_t byte;
    int other;
    struct vms_channel *channel = channel_on_pair(&other, NULL);
    FAILS(vms_channel_seek(channel, 0, &err), VMS_E_MISUSE, "seek");
    FAILS(vms_channel_tell(channel, &number, &err), VMS_E_MISUSE, "seek");
    FAILS(vms_channel_size(channel, &number, &err), VMS_E_MISUSE, "seek");
    FAILS(vms_channel_read_at(channel, 0, (struct vms_room){&byte, 1}, &err), VMS_E_MISUSE, "seek");
    FAILS(vms_channel_write_at(channel, 0, vms_str("x"), &err), VMS_E_MISUSE, "seek");
    OK(vms_channel_close(channel, &err));
    (void)close(other);
}

Test(channel_file, descriptor_of_a_file_starts_where_it_stands) {
    char text[32];
    struct vms_channel *channel = NULL;
    struct vms_uri uri = uri_in_dir("file:", "state", "");
    write_file(&uri, "0123456789");
    int fd = open(uri.target, O_RDONLY);
    cr_assert_eq(lseek(fd, 6, SEEK_SET), 6);
    (void)snprintf(text, sizeof text, "fd:%d", fd);
    uri = uri_of(text);
    OK(vms_channel_open(&uri, NULL, &channel, &err));
    cr_assert(vms_channel_is_seekable(channel));
    expect_text(channel, "6789");
    OK(vms_channel_close(channel, &err));
}

Test(channel_file, failures) {
    struct vms_channel *channel;
    struct vms_uri uri = uri_of("file:/nonexistent/state");
    FAILS(vms_channel_connect(&uri, NULL, &channel, &err), VMS_E_CONNECT, "No such file");
    FAILS(vms_channel_open(&uri, NULL, &channel, &err), VMS_E_CONNECT, "No such file");
    uri = uri_of("file:/dev/full");
    OK(vms_channel_connect(&uri, NULL, &channel, &err));
    FAILS(vms_channel_write_all(channel, vms_str("x"), &err), VMS_E_IO, "No space left");
    OK(vms_channel_close(channel, &err));
}
