/* SPDX-License-Identifier: MIT */
#include "host/channel_test_util.h"

#include <poll.h>
#include <sys/mman.h>

/* [RSM-15] Bytes that a socket takes by reference. */

enum {
    LENGTH = 100 << 10, /* a socket takes as much before anybody reads */
    LONG = 5 << 20,
};

static uint8_t *mapped(size_t len, unsigned seed) {
    uint8_t *at = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    cr_assert_neq(at, MAP_FAILED);
    for (size_t i = 0; i < len; i++)
        at[i] = (uint8_t)(i * 31 + i / 4096 + seed);
    return at;
}

static void unix_ends(struct ends *ends) {
    char path[128];
    char uri[140];
    (void)snprintf(uri, sizeof uri, "unix:%s", in_test_dir("socket", path, sizeof path));
    open_ends(ends, uri);
}

static bool lend(struct vms_channel *to, const uint8_t *bytes, size_t len) {
    bool lent = false;
    OK(vms_channel_lend_all(to, vms_slice(bytes, len), &lent, &err));
    return lent;
}

static void read_all(struct vms_channel *from, uint8_t *to, size_t len) {
    OK(vms_channel_read_full(from, (struct vms_room){to, len}, &err));
}

/* What is lent is read as it is then; nothing is copied. */
Test(lend, by_reference) {
    struct ends ends = {0};
    uint8_t *bytes = mapped(LENGTH, 1), *other = mapped(LENGTH, 2), *got = mapped(LENGTH, 3);
    unix_ends(&ends);
    if (!lend(ends.client, bytes, LENGTH))
        cr_skip_test("this kernel takes nothing by reference");
    memcpy(bytes, other, LENGTH);
    read_all(ends.server, got, LENGTH);
    cr_assert_arr_eq(got, other, LENGTH);
    close_ends(&ends);
}

/* Memory that is unmapped, and the channel closed, before anybody has read. */
Test(lend, pages_live_on) {
    struct ends ends = {0};
    uint8_t *bytes = mapped(LENGTH, 1), *same = mapped(LENGTH, 1), *got = mapped(LENGTH, 3);
    unix_ends(&ends);
    (void)lend(ends.client, bytes, LENGTH);
    (void)munmap(bytes, LENGTH);
    uint8_t *next = mapped(LENGTH, 9); /* takes the same place, and not the same pages */
    OK(vms_channel_shutdown(ends.client, VMS_SHUT_WRITE, &err));
    read_all(ends.server, got, LENGTH);
    cr_assert_arr_eq(got, same, LENGTH);
    (void)munmap(next, LENGTH);
    close_ends(&ends);
}

/* TCP sends copies: the bytes may change at once. */
Test(lend, not_by_tcp) {
    struct ends ends = {0};
    uint8_t *bytes = mapped(LENGTH, 1), *same = mapped(LENGTH, 1), *got = mapped(LENGTH, 3);
    open_ends(&ends, "tcp:127.0.0.1:0");
    cr_assert_not(lend(ends.client, bytes, LENGTH));
    memset(bytes, 0, LENGTH);
    read_all(ends.server, got, LENGTH);
    cr_assert_arr_eq(got, same, LENGTH);
    cr_assert_eq(vms_channel_bytes_out(ends.client), LENGTH);
    close_ends(&ends);
}

struct giving {
    struct vms_channel *to;
    const uint8_t *bytes;
};

/* Lent and copied in turns, in pieces of any length. */
static void *give(void *arg) {
    const struct giving *g = arg;
    size_t at = 0;
    for (unsigned i = 1; at < LONG; i++) {
        size_t n = (i * 7919u) % 300000 + 1;
        n = n < LONG - at ? n : LONG - at;
        if (i % 3)
            (void)lend(g->to, g->bytes + at, n);
        else
            OK(vms_channel_write_all(g->to, vms_slice(g->bytes + at, n), &err));
        at += n;
    }
    return NULL;
}

Test(lend, in_order, .timeout = 120) {
    struct ends ends = {0};
    uint8_t *bytes = mapped(LONG, 1), *got = mapped(LONG, 3);
    pthread_t t;
    unix_ends(&ends);
    struct giving g = {ends.client, bytes};
    cr_assert_eq(pthread_create(&t, NULL, give, &g), 0);
    read_all(ends.server, got, LONG);
    pthread_join(t, NULL);
    cr_assert_eq(memcmp(got, bytes, LONG), 0);
    cr_assert_eq(vms_channel_bytes_out(ends.client), LONG);
    close_ends(&ends);
}

static void *cut(void *arg) {
    const struct ends *ends = arg;
    uint8_t first;
    read_all(ends->server, &first, 1);
    OK(vms_channel_shutdown(ends->client, VMS_SHUT_BOTH, &err));
    return NULL;
}

/* Cut while bytes are being taken: a call that took some of them has raised SIGPIPE all the same.
 */
Test(lend, cut_meanwhile, .timeout = 120) {
    uint8_t *bytes = mapped(LONG, 1);
    for (int i = 0; i < 300; i++) {
        struct ends ends = {0};
        struct vms_error err = {0};
        pthread_t t;
        bool lent;
        unix_ends(&ends);
        vms_channel_send_room(ends.client, LONG / 4); /* one call goes on and on */
        cr_assert_eq(pthread_create(&t, NULL, cut, &ends), 0);
        cr_assert_neq(vms_channel_lend_all(ends.client, vms_slice(bytes, LONG), &lent, &err),
                      VMS_OK);
        pthread_join(t, NULL);
        close_ends(&ends);
    }
}

/* A peer that has gone is an error, not a signal; one that does not read is waited for so long. */
Test(lend, gone_and_full) {
    struct ends ends = {0};
    uint8_t *bytes = mapped(LONG, 1);
    bool lent;
    unix_ends(&ends);
    vms_channel_set_timeouts(ends.client, 50, 50);
    FAILS(vms_channel_lend_all(ends.client, vms_slice(bytes, LONG), &lent, &err), VMS_E_TIMEOUT,
          "write");
    FAILS(vms_channel_lend_all(ends.client, vms_slice(bytes, LONG), &lent, &err), VMS_E_IO,
          "earlier");
    close_ends(&ends);
    unix_ends(&ends);
    OK(vms_channel_close(ends.server, &err));
    ends.server = NULL;
    FAILS(vms_channel_lend_all(ends.client, vms_slice(bytes, LENGTH), &lent, &err),
          VMS_E_PEER_CLOSED, "");
    close_ends(&ends);
}
