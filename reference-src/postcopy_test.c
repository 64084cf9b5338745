/* SPDX-License-Identifier: MIT */
#include "reference-src/test_session.h"

/* The sender of the last pages, and its limit of bandwidth. */

enum {
    BIOS_PAGES = 8,
};

/* SECTION_END of section 1, its RAM_EOS and footer, EOF. */
static const uint8_t END[] = {3, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0x10, 0x7e, 0, 0, 0, 1, 0};

static bool has(const struct test_peer *p, const void *bytes, size_t len) {
    for (size_t i = 0; i < p->count; i++)
        if (p->channels[i].len && memmem(p->channels[i].bytes, p->channels[i].len, bytes, len))
            return true;
    return false;
}

/* On whatever channel. */
static void wait_for(struct test_peer *p, const void *bytes, size_t len) {
    pthread_mutex_lock(&p->lock);
    while (!has(p, bytes, len) && !p->channels[0].ended)
        pthread_cond_wait(&p->changed, &p->lock);
    cr_expect(has(p, bytes, len), "the source has ended");
    pthread_mutex_unlock(&p->lock);
}

/* No two pages of the guest are the same, so that each is known when it comes. */
static void make_different(struct vms_guest_block *bios) {
    for (unsigned page = 0; page < BIOS_PAGES; page++)
        memset(bios->memory + page * TEST_PAGE, 0xf0 + (int)page, TEST_PAGE);
}

/* pc.ram is pushed at once; at one byte a second the sender then rests until tomorrow. */
static void begin_and_rest(struct run *r, bool preempt) {
    prepare(r);
    r->guest.blocks[0].length = 16 * TEST_PAGE;
    make_different(&r->guest.blocks[1]);
    r->options.postcopy = true;
    r->options.preempt = preempt;
    r->options.postcopy_after = 0;
    r->options.postcopy_bandwidth = 1;
    begin(r);
    test_say(&r->peer, 0, PONG, sizeof PONG);
    wait_for(&r->peer, r->guest.blocks[0].memory + 14 * TEST_PAGE, TEST_PAGE);
}

/* Pages of pc.bios, less than 16 of them; waits for the last. */
static void ask(struct run *r, unsigned first, unsigned count) {
    uint8_t request[] = "\0\3\0\24"
                        "\0\0\0\0\0\0\0\0"
                        "\0\0\0\0\7pc.bios";
    request[10] = (uint8_t)(first * TEST_PAGE >> 8);
    request[14] = (uint8_t)(count * TEST_PAGE >> 8);
    test_say(&r->peer, 0, request, sizeof request - 1);
    wait_for(&r->peer, r->guest.blocks[1].memory + (first + count - 1) * TEST_PAGE, TEST_PAGE);
}

static void end_comes(struct run *r) {
    wait_for(&r->peer, END, sizeof END);
    test_say(&r->peer, 0, SHUT_0, sizeof SHUT_0);
    finish(r, SRC_COMPLETED, SRC_OWNER_THEIRS);
}

/* [SRC-10] The limit holds pages back: when none is left, it does not hold back the end. */
Test(postcopy, end_after_what_was_asked_for, .timeout = 300) {
    static struct run r;
    begin_and_rest(&r, false);
    ask(&r, 0, BIOS_PAGES);
    end_comes(&r);
}

/* Who asks for a page ends the rest: the others of pc.bios come behind it, as the last. */
Test(postcopy, end_after_what_was_pushed, .timeout = 300) {
    static struct run r;
    begin_and_rest(&r, false);
    ask(&r, 0, 1);
    end_comes(&r);
}

/* Here it does not: another thread sends what is asked for. */
Test(postcopy, end_after_the_preempt_channel, .timeout = 300) {
    static struct run r;
    begin_and_rest(&r, true);
    for (unsigned page = 0; page < BIOS_PAGES; page++)
        ask(&r, page, 1);
    end_comes(&r);
}

/* A limit that is given up ends the rest that it made. */
Test(postcopy, limit_is_lifted, .timeout = 300) {
    static struct run r;
    begin_and_rest(&r, false);
    cr_expect(order_ok(&r, "{\"order\": \"set\", \"postcopy_bandwidth\": 0}"));
    end_comes(&r);
}

/* At four bytes a second the rest of 64 KiB is 4 hours yet, at 64 MB a second it is nothing. */
Test(postcopy, limit_is_raised, .timeout = 300) {
    static struct run r;
    begin_and_rest(&r, false);
    cr_expect(order_ok(&r, "{\"order\": \"set\", \"postcopy_bandwidth\": 4}"));
    cr_expect(order_ok(&r, "{\"order\": \"set\", \"postcopy_bandwidth\": 64000000}"));
    end_comes(&r);
}
