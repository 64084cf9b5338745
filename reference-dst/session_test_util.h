/* SPDX-License-Identifier: MIT */
#ifndef REFERENCE_DST_SESSION_TEST_UTIL_H
#define REFERENCE_DST_SESSION_TEST_UTIL_H

#include "core/writer.h"
#include "reference-dst/session.h"

#include <criterion/criterion.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* A scripted peer over real sockets, and a session in a thread. */

enum {
    PAGE = 4096,
    BLOCK_PAGES = 16,
    REPLY_MS = 20000,
};

/* ---- the peer's bytes ---- */

static uint8_t bytes[1 << 20];
static struct vms_writer w;

static inline void header(void) {
    vms_write_u32(&w, 0x5145564d);
    vms_write_u32(&w, 3);
    vms_write_u8(&w, 0x07);
    vms_write_u32(&w, 4);
    vms_write_bytes(&w, vms_str("none"));
}

static inline void command(uint16_t cmd, uint32_t value, uint16_t len) {
    vms_write_u8(&w, 0x08);
    vms_write_u16(&w, cmd);
    vms_write_u16(&w, len);
    if (len)
        vms_write_be(&w, value, len);
}

static inline void open_return_path(void) {
    command(VMS_CMD_OPEN_RETURN_PATH, 0, 0);
    command(VMS_CMD_PING, 1, 4);
}

static inline void footer(uint32_t id) {
    vms_write_u8(&w, 0x7e);
    vms_write_u32(&w, id);
}

static inline void ram_start(bool flush) {
    vms_write_u8(&w, 0x01);
    vms_write_u32(&w, 1);
    vms_write_str8(&w, vms_str("ram"));
    vms_write_u32(&w, 0);
    vms_write_u32(&w, 4);
    vms_write_u64(&w, BLOCK_PAGES * PAGE | VMS_RAM_MEM_SIZE);
    vms_write_str8(&w, vms_str("ram"));
    vms_write_u64(&w, BLOCK_PAGES * PAGE);
    if (flush)
        vms_write_u64(&w, VMS_RAM_MULTIFD_FLUSH);
    vms_write_u64(&w, VMS_RAM_EOS);
    footer(1);
}

static inline void ram_end(void) {
    vms_write_u8(&w, 0x03);
    vms_write_u32(&w, 1);
    vms_write_u64(&w, VMS_RAM_EOS);
    footer(1);
}

static inline void end(void) {
    vms_write_u8(&w, 0x00);
    vms_write_u8(&w, 0x06);
    vms_write_u32(&w, 2);
    vms_write_bytes(&w, vms_str("{}"));
}

static inline void hello(uint8_t id) {
    vms_write_u32(&w, 0x11223344);
    vms_write_u32(&w, 1);
    vms_write_zeros(&w, 16);
    vms_write_u8(&w, id);
    vms_write_zeros(&w, 39);
}

static inline void sync_packet(uint64_t number) {
    vms_write_u32(&w, 0x11223344);
    vms_write_u32(&w, 1);
    vms_write_u32(&w, VMS_MULTIFD_SYNC);
    vms_write_zeros(&w, 12);
    vms_write_u64(&w, number);
    vms_write_zeros(&w, 320 - 32 + 128 * 8);
}

/* ---- the peer's sockets ---- */

struct scene {
    char dir[32], listen[64];
    struct dst_options options;
    struct dst_session *session;
    pthread_t thread;
    int fds[8];
    int count;
};

static inline void *run_session(void *arg) {
    struct scene *s = arg;
    (void)dst_session_run(s->session, &s->options);
    return NULL;
}

static inline void open_scene(struct scene *s) {
    w = (struct vms_writer){bytes, sizeof bytes, 0};
    (void)strcpy(s->dir, "/tmp/vms-dst-XXXXXX");
    cr_assert_not_null(mkdtemp(s->dir));
    (void)snprintf(s->listen, sizeof s->listen, "unix:%s/s", s->dir);
    s->options.listen = s->listen;
    s->options.limits = vms_limits_default();
    if (!s->options.multifd_channels)
        s->options.multifd_channels = -1;
    if (!s->options.timeout_ms)
        s->options.timeout_ms = REPLY_MS;
    s->options.quiet = true;
    s->session = calloc(1, sizeof *s->session);
    cr_assert_eq(pthread_create(&s->thread, NULL, run_session, s), 0);
}

static inline int dial(struct scene *s) {
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    (void)snprintf(a.sun_path, sizeof a.sun_path, "%s", s->listen + 5);
    /* the session's thread makes the socket; until then connecting fails */
    while (connect(fd, (struct sockaddr *)&a, sizeof a) != 0)
        (void)usleep(1000);
    s->fds[s->count++] = fd;
    return fd;
}

/* Sends what was written since the last call. */
static inline void send_all(int fd) {
    cr_assert_lt(w.pos, sizeof bytes);
    for (size_t at = 0; at < w.pos;) {
        ssize_t n = send(fd, bytes + at, w.pos - at, MSG_NOSIGNAL);
        if (n <= 0)
            break; /* refused already */
        at += (size_t)n;
    }
    w.pos = 0;
}

/* Reads replies until the other end closes; true when the last one was SHUT(value). */
static inline bool ends_with_shut(int fd, uint32_t value) {
    uint8_t in[256], want[8] = {0, 1, 0, 4, 0, 0, 0, (uint8_t)value};
    size_t n = 0;
    for (;;) {
        struct pollfd p = {fd, POLLIN, 0};
        ssize_t got = poll(&p, 1, REPLY_MS) == 1 ? read(fd, in + n, sizeof in - n) : -1;
        if (got <= 0)
            break;
        n += (size_t)got;
    }
    return n >= 8 && memcmp(in + n - 8, want, 8) == 0;
}

static inline enum vms_code close_scene(struct scene *s) {
    if (s->thread)
        pthread_join(s->thread, NULL);
    enum vms_code code = s->session->error.code;
    for (int i = 0; i < s->count; i++)
        close(s->fds[i]);
    dst_session_free(s->session);
    free(s->session);
    (void)rmdir(s->dir);
    return code;
}

#define EXPECT(scene, wanted)                                                                      \
    do {                                                                                           \
        enum vms_code got_ = close_scene(scene);                                                   \
        cr_assert_eq(got_, wanted, "%s", vms_code_name(got_));                                     \
    } while (0)

/* Listens, and writes the beginning of a stream with return path for the main channel. */
static inline int begin(struct scene *s) {
    open_scene(s);
    int fd = dial(s);
    header();
    open_return_path();
    return fd;
}

#endif
