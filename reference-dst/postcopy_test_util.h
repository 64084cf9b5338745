/* SPDX-License-Identifier: MIT */
#ifndef REFERENCE_DST_POSTCOPY_TEST_UTIL_H
#define REFERENCE_DST_POSTCOPY_TEST_UTIL_H

#include "reference-dst/session_test_util.h"

/* A scripted source that switches to postcopy: real sockets, real userfaultfd. */

enum {
    REPLY_PONG = 2,
    REPLY_REQ_ID = 3,
    REPLY_BITMAP = 5,
    REPLY_RESUME_ACK = 6,
    ARRIVED = 4, /* pages that come in precopy; the first is then discarded */
};

/* ---- what the source sends ---- */

static inline void advise(void) {
    vms_write_u8(&w, 0x08);
    vms_write_u16(&w, VMS_CMD_POSTCOPY_ADVISE);
    vms_write_u16(&w, 16);
    vms_write_u64(&w, PAGE);
    vms_write_u64(&w, PAGE);
}

static inline void discard(uint64_t start, uint64_t length) {
    vms_write_u8(&w, 0x08);
    vms_write_u16(&w, VMS_CMD_POSTCOPY_RAM_DISCARD);
    vms_write_u16(&w, 1 + 4 + 1 + 16);
    vms_write_u8(&w, 0);
    vms_write_str8(&w, vms_str("ram"));
    vms_write_u8(&w, 0);
    vms_write_u64(&w, start);
    vms_write_u64(&w, length);
}

static inline void page(unsigned n) {
    vms_write_u64(&w, n * PAGE | VMS_RAM_PAGE);
    vms_write_str8(&w, vms_str("ram"));
    for (int i = 0; i < PAGE; i++)
        vms_write_u8(&w, (uint8_t)(n + 1));
}

static inline void zero_page(unsigned n) {
    vms_write_u64(&w, n * PAGE | VMS_RAM_ZERO);
    vms_write_str8(&w, vms_str("ram"));
    vms_write_u8(&w, 0);
}

static inline void open_part(void) {
    vms_write_u8(&w, 0x02);
    vms_write_u32(&w, 1);
}

static inline void close_part(void) {
    vms_write_u64(&w, VMS_RAM_EOS);
    footer(1);
}

/* The last page is a zero page. */
static inline void pages(unsigned first, unsigned end_) {
    open_part();
    for (unsigned i = first; i < end_; i++)
        if (i == BLOCK_PAGES - 1)
            zero_page(i);
        else
            page(i);
    close_part();
}

static inline void package(bool run) {
    static const uint8_t head[] = {0x08, 0, VMS_CMD_PACKAGED, 0, 4};
    vms_write_bytes(&w, vms_slice(head, sizeof head));
    vms_write_u32(&w, 5 + 9 + (run ? 5 : 1));
    command(VMS_CMD_POSTCOPY_LISTEN, 0, 0);
    command(VMS_CMD_PING, 3, 4);
    if (run)
        command(VMS_CMD_POSTCOPY_RUN, 0, 0);
    else
        vms_write_u8(&w, 0);
}

static inline void recv_bitmap(const char *block) {
    vms_write_u8(&w, 0x08);
    vms_write_u16(&w, VMS_CMD_RECV_BITMAP);
    vms_write_u16(&w, (uint16_t)(1 + strlen(block)));
    vms_write_str8(&w, vms_str(block));
}

/* ---- what comes back ---- */

static inline void read_full(int fd, uint8_t *out, size_t n) {
    for (size_t at = 0; at < n;) {
        struct pollfd p = {fd, POLLIN, 0};
        ssize_t got = poll(&p, 1, REPLY_MS) == 1 ? read(fd, out + at, n - at) : -1;
        cr_assert_gt(got, 0, "the destination has closed or is silent");
        at += (size_t)got;
    }
}

/* The next message; its type. */
static inline unsigned reply(int fd, uint8_t *payload, size_t *len) {
    uint8_t head[4];
    read_full(fd, head, 4);
    *len = (size_t)(head[2] << 8 | head[3]);
    read_full(fd, payload, *len);
    return (unsigned)(head[0] << 8 | head[1]);
}

static inline void expect_pong(int fd, uint32_t value) {
    uint8_t p[512];
    size_t len;
    cr_assert_eq(reply(fd, p, &len), REPLY_PONG);
    cr_assert_eq(p[3], value);
}

static bool asked; /* a page request came among the PONGs */

/* Both PONGs: different threads answer (E-37). */
static inline void until_it_runs(int fd) {
    uint8_t p[512];
    size_t len;
    unsigned seen = 0;
    while (seen != (1u << 3 | 1u << 4))
        switch (reply(fd, p, &len)) {
        case REPLY_PONG: seen |= 1u << p[3]; break;
        case REPLY_REQ_ID: asked = true; break;
        }
}

/* ---- scenes ---- */

/* Everything up to RUN: pages 1 to 3 have arrived, 12 and one zero page are missing. */
static inline int begin_postcopy(struct scene *s) {
    int fd = begin(s);
    advise();
    ram_start(false);
    pages(0, ARRIVED);
    discard(0, PAGE);
    package(true);
    command(VMS_CMD_PING, 4, 4);
    send_all(fd);
    expect_pong(fd, 1);
    until_it_runs(fd);
    return fd;
}

/* RUN is executed behind PING 3: until then a cut is no pause. */
static inline void until_running(struct scene *s) {
    pthread_mutex_lock(&s->session->lock);
    while (!s->session->ran && !s->session->over)
        (void)dst_wait(s->session, VMS_NEVER);
    pthread_mutex_unlock(&s->session->lock);
}

static inline void rest(void) {
    pages(0, 1);
    pages(ARRIVED, BLOCK_PAGES);
    ram_end();
    vms_write_u8(&w, 0);
}

static inline void expect_memory(struct scene *s) {
    const struct vms_ram_block *b = vms_ram_image_block(s->session->image, 0);
    for (unsigned i = 0; i < BLOCK_PAGES * PAGE; i++)
        cr_assert_eq(b->memory[i], i / PAGE == BLOCK_PAGES - 1 ? 0 : i / PAGE + 1, "0x%x", i);
}

static inline void expect_good_end(struct scene *s, int fd) {
    cr_assert(ends_with_shut(fd, 0));
    pthread_join(s->thread, NULL);
    cr_assert_eq(s->session->error.code, VMS_OK, "%s", s->session->error.message);
    cr_assert_eq(dst_source_belief(s->session), DST_SOURCE_GAVE_UP);
    expect_memory(s);
    s->thread = 0;
}

/* ---- memory that goes into files when all of it is there ---- */

static char ram_dir[32], ram_file[40];

static inline void make_ram_dir(struct scene *s) {
    (void)strcpy(ram_dir, "/tmp/vms-dst-ram-XXXXXX");
    cr_assert_not_null(mkdtemp(ram_dir));
    (void)snprintf(ram_file, sizeof ram_file, "%s/ram", ram_dir);
    s->options.ram_dir = ram_dir;
}

static inline void remove_ram_dir(void) {
    cr_assert_eq(remove(ram_file), 0);
    cr_assert_eq(rmdir(ram_dir), 0);
}

static inline void expect_file(void) {
    static uint8_t in[(BLOCK_PAGES + 1) * PAGE];
    FILE *f = fopen(ram_file, "rbe");
    cr_assert_not_null(f);
    cr_assert_eq(fread(in, 1, sizeof in, f), BLOCK_PAGES * PAGE);
    (void)fclose(f);
    for (unsigned i = 0; i < BLOCK_PAGES * PAGE; i++)
        cr_assert_eq(in[i], i / PAGE == BLOCK_PAGES - 1 ? 0 : i / PAGE + 1, "0x%x", i);
}

#endif
