/* SPDX-License-Identifier: MIT */
#include "host/channel_impl.h"
#include "host/tls_test_util.h"

/* --- the stream --- */

static void open_psk(struct tls_ends *t) {
    struct vms_tls_config config = psk_config("keys.psk", PSK_LINE);
    tls_open(t, &config, &config);
}

Test(tls, peek_across_records) {
    uint8_t got[4];
    size_t n;
    struct tls_ends t;
    open_psk(&t);
    send_text(t.ends.client, "Q"); /* a record each */
    send_text(t.ends.client, "EV");
    send_text(t.ends.client, "M!");
    OK(vms_channel_peek(t.ends.server, (struct vms_room){got, 4}, &n, &err));
    cr_assert_eq(n, 4);
    cr_assert_arr_eq(got, "QEVM", 4);
    expect_text(t.ends.server, "QEVM!");
    tls_close(&t);
}

Test(tls, vectors) {
    static uint8_t data[100000];
    static uint8_t got[sizeof data];
    struct iovec out[4] = {{data, 8}, {data + 8, 4096}, {data + 4104, 0}, {NULL, 0}};
    struct iovec in[3] = {{got, 3}, {got + 3, 50000}, {got + 50003, sizeof got - 50003}};
    struct tls_ends t;
    out[3] = (struct iovec){data + 4104, sizeof data - 4104};
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)(i * 31 >> 3);
    open_psk(&t);
    OK(vms_channel_writev_all(t.ends.client, out, 4, &err));
    OK(vms_channel_readv_full(t.ends.server, in, 3, &err));
    cr_assert_arr_eq(got, data, sizeof data);
    tls_close(&t);
}

Test(tls, half_close_says_goodbye) {
    struct tls_ends t;
    open_psk(&t);
    send_text(t.ends.client, "last");
    OK(vms_channel_shutdown(t.ends.client, VMS_SHUT_WRITE, &err));
    expect_text(t.ends.server, "last");
    expect_end(t.ends.server, VMS_CHANNEL_ENDED);
    send_text(t.ends.server, "answer after the end");
    expect_text(t.ends.client, "answer after the end");
    OK(vms_channel_close(t.ends.server, &err));
    t.server_code = VMS_E_IO; /* closed */
    expect_end(t.ends.client, VMS_CHANNEL_ENDED);
    tls_close(&t);
}

Test(tls, end_without_goodbye_is_told_apart) {
    struct tls_ends t;
    open_psk(&t);
    send_text(t.ends.client, "last");
    cr_assert_eq(shutdown(t.ends.client->fd, SHUT_WR), 0);
    expect_text(t.ends.server, "last");
    expect_end(t.ends.server, VMS_CHANNEL_CUT);
    send_text(t.ends.server, "the other direction still works");
    expect_text(t.ends.client, "the other direction still works");
    tls_close(&t);
}

Test(tls, end_inside_a_record_is_a_loss) {
    uint8_t byte;
    size_t n;
    struct tls_ends t;
    open_psk(&t);
    /* The header of a record of 256 bytes, and three of its bytes. */
    cr_assert_eq(write(t.ends.client->fd,
                       "\x17\x03\x03\x01\x00"
                       "abc",
                       8),
                 8);
    cr_assert_eq(shutdown(t.ends.client->fd, SHUT_WR), 0);
    FAILS(vms_channel_read(t.ends.server, (struct vms_room){&byte, 1}, &n, &err), VMS_E_PEER_CLOSED,
          "inside a TLS record");
    tls_close(&t);
}

Test(tls, forged_record) {
    uint8_t byte;
    size_t n;
    struct tls_ends t;
    open_psk(&t);
    cr_assert_eq(write(t.ends.client->fd,
                       "\x17\x03\x03\x00\x14"
                       "aaaaaaaaaaaaaaaaaaaa",
                       25),
                 25);
    FAILS(vms_channel_read(t.ends.server, (struct vms_room){&byte, 1}, &n, &err), VMS_E_TLS,
          "bad record mac");
    tls_close(&t);
}

Test(tls, shutdown_and_cancel_wake) {
    struct tls_ends t;
    uint8_t byte;
    size_t n;
    open_psk(&t);
    OK(vms_channel_shutdown(t.ends.server, VMS_SHUT_BOTH, &err));
    FAILS(vms_channel_read(t.ends.server, (struct vms_room){&byte, 1}, &n, &err), VMS_E_IO,
          "shut down here");
    expect_end(t.ends.client, VMS_CHANNEL_CUT);
    tls_close(&t);
}

Test(tls, exporter_agrees) {
    uint8_t one[32];
    uint8_t two[32];
    struct tls_ends t;
    open_psk(&t);
    OK(vms_channel_export(t.ends.client, "EXPORTER-vmstream", vms_str("ctx"),
                          (struct vms_room){one, 32}, &err));
    OK(vms_channel_export(t.ends.server, "EXPORTER-vmstream", vms_str("ctx"),
                          (struct vms_room){two, 32}, &err));
    cr_assert_arr_eq(one, two, 32);
    OK(vms_channel_export(t.ends.server, "EXPORTER-vmstream", vms_str("other"),
                          (struct vms_room){two, 32}, &err));
    cr_assert_arr_neq(one, two, 32);
    tls_close(&t);
}

/* --- both directions at a time --- */

#define EACH_WAY (64u << 20)
#define PIECE    50000u

/* A byte that tells its place and its direction. */
static void pattern(uint8_t *piece, size_t len, uint64_t at, uint64_t seed) {
    for (size_t i = 0; i < len; i++) {
        uint64_t x = (at + i) / 8 * UINT64_C(0x9e3779b97f4a7c15) + seed;
        piece[i] = (uint8_t)(x >> 40);
    }
}

struct half {
    struct vms_channel *channel;
    uint64_t seed;
    struct vms_error err;
    bool differs;
};

static void write_half(void *arg) {
    struct half *half = arg;
    uint8_t piece[PIECE];
    enum vms_code code = VMS_OK;
    for (uint64_t at = 0; at < EACH_WAY && code == VMS_OK; at += PIECE) {
        size_t len = EACH_WAY - at < PIECE ? (size_t)(EACH_WAY - at) : PIECE;
        struct iovec iov[2] = {{piece, 10}, {piece + 10, len - 10}};
        pattern(piece, len, at, half->seed);
        code = vms_channel_writev_all(half->channel, iov, 2, &half->err);
    }
    if (code == VMS_OK)
        (void)vms_channel_shutdown(half->channel, VMS_SHUT_WRITE, &half->err);
}

static void read_half(void *arg) {
    struct half *half = arg;
    uint8_t piece[PIECE];
    uint8_t expected[PIECE];
    for (uint64_t at = 0; at < EACH_WAY && !half->differs; at += PIECE) {
        size_t len = EACH_WAY - at < PIECE ? (size_t)(EACH_WAY - at) : PIECE;
        pattern(expected, len, at, half->seed);
        if (vms_channel_read_full(half->channel, (struct vms_room){piece, len}, &half->err) !=
            VMS_OK)
            return;
        half->differs = memcmp(piece, expected, len) != 0;
    }
}

static void both_directions(struct ends *ends) {
    struct worker workers[4];
    struct half halves[4] = {{.channel = ends->client, .seed = 1},
                             {.channel = ends->server, .seed = 1},
                             {.channel = ends->server, .seed = 2},
                             {.channel = ends->client, .seed = 2}};
    for (int i = 0; i < 4; i++)
        start_worker(&workers[i], i % 2 ? read_half : write_half, &halves[i]);
    for (int i = 0; i < 4; i++)
        join_worker(&workers[i]);
    for (int i = 0; i < 4; i++) {
        cr_assert_eq(halves[i].err.code, VMS_OK, "%d: %s", i, halves[i].err.message);
        cr_assert_not(halves[i].differs);
    }
    expect_end(ends->client, VMS_CHANNEL_ENDED);
    expect_end(ends->server, VMS_CHANNEL_ENDED);
    cr_assert_eq(vms_channel_bytes_in(ends->client), EACH_WAY);
    cr_assert_eq(vms_channel_bytes_out(ends->client), EACH_WAY);
}

Test(tls, concurrent_read_and_write, .timeout = 240) {
    struct tls_ends t;
    struct vms_tls_config config = psk_config("keys.psk", PSK_LINE);
    rekey_bytes = 1 << 20; /* a new key 64 times in each direction, amid everything */
    tls_open(&t, &config, &config);
    both_directions(&t.ends);
    tls_close(&t);
}

Test(tls, concurrent_read_and_write_plain, .timeout = 240) {
    struct ends ends = {0};
    open_ends(&ends, "tcp:127.0.0.1:0");
    both_directions(&ends);
    close_ends(&ends);
}

/* The peer reads nothing: the writer fills the socket and sleeps, and reading goes on beside it. */
static void write_lots(void *arg) {
    static uint8_t lots[32u << 20];
    struct half *half = arg;
    (void)vms_channel_write_all(half->channel, vms_slice(lots, sizeof lots), &half->err);
}

Test(tls, blocked_writer_does_not_block_a_reader) {
    struct tls_ends t;
    struct worker worker;
    open_psk(&t);
    struct half half = {.channel = t.ends.client};
    start_worker(&worker, write_lots, &half);
    await_asleep(&worker);
    send_text(t.ends.server, "still heard");
    expect_text(t.ends.client, "still heard");
    OK(vms_channel_shutdown(t.ends.client, VMS_SHUT_BOTH, &err));
    join_worker(&worker);
    cr_assert_eq(half.err.code, VMS_E_IO, "%s", half.err.message);
    tls_close(&t);
}

static void read_text(void *arg) {
    struct half *half = arg;
    uint8_t got[5];
    (void)vms_channel_read_full(half->channel, (struct vms_room){got, sizeof got}, &half->err);
}

Test(tls, blocked_reader_does_not_block_a_writer) {
    struct tls_ends t;
    struct worker worker;
    open_psk(&t);
    struct half half = {.channel = t.ends.client};
    start_worker(&worker, read_text, &half);
    await_asleep(&worker);
    send_text(t.ends.client, "request");
    expect_text(t.ends.server, "request");
    send_text(t.ends.server, "reply");
    join_worker(&worker);
    cr_assert_eq(half.err.code, VMS_OK, "%s", half.err.message);
    tls_close(&t);
}
