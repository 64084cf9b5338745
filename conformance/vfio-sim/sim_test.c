/* SPDX-License-Identifier: MIT */
#include "sim.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The simulated device against the contract of the kernel's migration protocol. */

/* ---- the arcs, found by search ---- */

static bool is_saving(uint32_t s) {
    return s == VFS_PRE_COPY || s == VFS_PRE_COPY_P2P || s == VFS_STOP_COPY;
}

/* What a driver must carry out itself: pairs of the protocol's description, by what is there. */
static bool is_arc(uint32_t a, uint32_t b, uint32_t flags) {
    static const uint8_t arcs[][2] = {
        {VFS_RESUMING, VFS_STOP},
        {VFS_STOP, VFS_RESUMING},
        {VFS_STOP, VFS_STOP_COPY},
        {VFS_STOP_COPY, VFS_STOP},
        {VFS_RUNNING, VFS_PRE_COPY},
        {VFS_PRE_COPY, VFS_RUNNING},
        {VFS_RUNNING, VFS_RUNNING_P2P},
        {VFS_RUNNING_P2P, VFS_RUNNING},
        {VFS_RUNNING_P2P, VFS_STOP},
        {VFS_STOP, VFS_RUNNING_P2P},
        {VFS_PRE_COPY, VFS_PRE_COPY_P2P},
        {VFS_PRE_COPY_P2P, VFS_PRE_COPY},
        {VFS_PRE_COPY_P2P, VFS_STOP_COPY},
        {VFS_PRE_COPY_P2P, VFS_RUNNING_P2P},
        {VFS_RUNNING_P2P, VFS_PRE_COPY_P2P},
    };
    static const uint8_t without_p2p[][2] = {
        {VFS_RUNNING, VFS_STOP}, {VFS_STOP, VFS_RUNNING}, {VFS_PRE_COPY, VFS_STOP_COPY}};
    bool found = false;
    for (size_t i = 0; i < sizeof arcs / 2; i++)
        found = found || (arcs[i][0] == a && arcs[i][1] == b);
    for (size_t i = 0; i < sizeof without_p2p / 2 && !(flags & VFS_FLAG_P2P); i++)
        found = found || (without_p2p[i][0] == a && without_p2p[i][1] == b);
    return found && vfs_has_state(a, flags) && vfs_has_state(b, flags);
}

enum {
    FAR = 99,
};

/* Length of the shortest way whose inner states do not save, unless both ends do. */
static unsigned distance(uint32_t from, uint32_t to, uint32_t flags) {
    unsigned d[VFS_STATES];
    for (uint32_t s = 0; s < VFS_STATES; s++)
        d[s] = s == from ? 0 : FAR;
    for (unsigned round = 0; round < VFS_STATES; round++)
        for (uint32_t a = 0; a < VFS_STATES; a++)
            for (uint32_t b = 0; b < VFS_STATES; b++) {
                bool passes = a == from || !is_saving(a) || (is_saving(from) && is_saving(to));
                if (passes && is_arc(a, b, flags) && d[a] + 1 < d[b])
                    d[b] = d[a] + 1;
            }
    return d[to];
}

static bool is_blocked(uint32_t from, uint32_t to) {
    return from == VFS_STOP_COPY && (to == VFS_PRE_COPY || to == VFS_PRE_COPY_P2P);
}

static void check_step(uint32_t from, uint32_t to, uint32_t flags) {
    uint32_t step = (uint32_t)vfs_next_state((enum vfs_state)from, to, flags);
    bool there = vfs_has_state(from, flags) && vfs_has_state(to, flags);
    if (!there || from == VFS_ERROR || to == VFS_ERROR || is_blocked(from, to)) {
        cr_expect_eq(step, VFS_ERROR, "%s to %s with %u", vfs_state_name(from), vfs_state_name(to),
                     flags);
        return;
    }
    if (from == to) {
        cr_expect_eq(step, to);
        return;
    }
    cr_expect(is_arc(from, step, flags), "%s to %s with %u begins with %s, no arc",
              vfs_state_name(from), vfs_state_name(to), flags, vfs_state_name(step));
    cr_expect_eq(distance(step, to, flags) + 1, distance(from, to, flags),
                 "%s to %s with %u: over %s is a detour", vfs_state_name(from), vfs_state_name(to),
                 flags, vfs_state_name(step));
}

Test(vfio_sim_states, every_step_is_on_a_shortest_way) {
    for (uint32_t flags = 1; flags < 8; flags += 2)
        for (uint32_t from = 0; from < VFS_STATES; from++)
            for (uint32_t to = 0; to < VFS_STATES + 1; to++)
                check_step(from, to, flags);
}

Test(vfio_sim_states, no_way_enters_and_leaves_the_saving_states) {
    for (uint32_t from = 1; from < VFS_STATES; from++)
        for (uint32_t to = 1; to < VFS_STATES; to++) {
            uint32_t at = from, sessions = 0;
            for (int i = 0; i < 8 && at != to && at != VFS_ERROR; i++) {
                uint32_t step = (uint32_t)vfs_next_state((enum vfs_state)at, to, 7);
                sessions += !is_saving(at) && is_saving(step) && step != to;
                at = step;
            }
            cr_expect(at == to || is_blocked(from, to), "%s to %s does not arrive",
                      vfs_state_name(from), vfs_state_name(to));
            cr_expect_eq(sessions, 0u);
        }
}

/* ---- whole devices ---- */

struct rig {
    struct vfs_device *src, *dst;
    uint64_t now;
    uint64_t moved;
};

static struct vfs_device *make(const char *fmt, va_list args) {
    char text[2048] = VFS_MAGIC "\n", why[200] = "";
    struct vfs_description d;
    size_t n = strlen(text);
    (void)vsnprintf(text + n, sizeof text - n, fmt, args);
    cr_assert_eq(vfs_parse(text, strlen(text), &d, why, sizeof why), 0, "%s", why);
    void *mem = malloc(vfs_device_size());
    cr_assert_not_null(mem);
    return vfs_device_init(mem, &d, NULL);
}

static struct vfs_device *device(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static struct vfs_device *device(const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    struct vfs_device *d = make(fmt, args);
    va_end(args);
    return d;
}

static void drop(struct vfs_device *d) {
    vfs_device_clear(d);
    free(d);
}

static int go(struct vfs_device *d, uint64_t now, enum vfs_state to) {
    bool opened;
    uint64_t busy;
    return vfs_set_state(d, now, (uint32_t)to, &opened, &busy);
}

static struct rig rig(struct vfs_device *src) {
    struct rig r = {.src = src, .dst = device("name vfio-sim\n"), .now = 1000};
    cr_assert_eq(go(r.dst, r.now, VFS_RESUMING), 0);
    return r;
}

/* Reads and writes once. The result of the read. */
static int64_t move(struct rig *r, size_t len) {
    static uint8_t buf[1 << 20];
    uint64_t busy;
    r->now += 1000000;
    int64_t n = vfs_read(r->src, r->now, buf, len, &busy);
    if (n > 0) {
        cr_assert_eq(vfs_write(r->dst, r->now, buf, (size_t)n, &busy), n);
        r->moved += (uint64_t)n;
    }
    return n;
}

static int64_t drain(struct rig *r, size_t len) {
    int64_t n;
    while ((n = move(r, len)) > 0)
        ;
    return n;
}

static uint64_t initial_of(struct rig *r, uint32_t *flags) {
    uint64_t initial = 0, dirty;
    cr_assert_eq(vfs_info(r->src, r->now, flags, &initial, &dirty), 0);
    return initial;
}

static void finish(struct rig *r) {
    cr_assert_eq(go(r->src, r->now, VFS_STOP_COPY), 0);
    cr_assert_eq(drain(r, 100000), 0);
    cr_assert_eq(go(r->src, r->now, VFS_STOP), 0);
    cr_expect_eq(go(r->dst, r->now, VFS_RUNNING), 0);
    cr_expect(vfs_device_figures(r->dst)->complete);
    cr_expect_eq(vfs_device_figures(r->dst)->loaded, r->moved);
    drop(r->src);
    drop(r->dst);
}

Test(vfio_sim, moves_its_whole_state_in_any_sizes) {
    static const size_t lens[] = {1, 47, 48, 4095, 4096, 5000, 1 << 20};
    for (size_t i = 0; i < sizeof lens / sizeof lens[0]; i++) {
        struct rig r = rig(device("initial 10000\ndirty 48\nstop 9999\n"));
        cr_assert_eq(go(r.src, r.now, VFS_PRE_COPY), 0);
        cr_expect_eq(drain(&r, lens[i]), -ENOMSG);
        cr_expect_eq(r.moved, 10048u);
        finish(&r);
        cr_expect_eq(r.moved, 10048u + 9999);
    }
}

Test(vfio_sim, without_precopy_all_comes_when_it_is_stopped) {
    struct rig r = rig(device("precopy off\np2p off\ninitial 100\nstop 200\n"));
    cr_expect_eq(go(r.src, r.now, VFS_PRE_COPY), -EINVAL);
    cr_expect_eq(go(r.src, r.now, VFS_RUNNING_P2P), -EINVAL);
    finish(&r);
    cr_expect_eq(r.moved, 300u);
}

Test(vfio_sim, dirty_data_grows_with_time_to_its_limit) {
    struct rig r = rig(device("initial 0\nstop 48\ndirty-rate 4096000\ndirty-max 64K\n"));
    uint32_t flags = 0;
    uint64_t initial, dirty = 0;
    cr_assert_eq(go(r.src, 0, VFS_PRE_COPY), 0);
    (void)vfs_info(r.src, 0, &flags, &initial, &dirty);
    cr_expect_eq(dirty, 0u);
    (void)vfs_info(r.src, 5000000, &flags, &initial, &dirty);
    cr_expect_eq(dirty, 5u * 4096);
    (void)vfs_info(r.src, 5000000000, &flags, &initial, &dirty);
    cr_expect_eq(dirty, 65536u);
    r.now = 5000000000;
    finish(&r);
}

/* ---- REINIT ---- */

Test(vfio_sim_reinit, is_told_once_and_only_after_the_opt_in) {
    for (int v2 = 0; v2 < 2; v2++) {
        struct rig r = rig(device("initial 4096\nstop 48\nreinit drain 8192\n"));
        uint32_t flags = 0;
        if (v2)
            cr_assert_eq(vfs_opt_in(r.src, 0), 0);
        cr_assert_eq(go(r.src, r.now, VFS_PRE_COPY), 0);
        cr_expect_eq(initial_of(&r, &flags), 4096u);
        cr_expect_eq(move(&r, 4096), 4096);
        flags = 0xabc0; /* an echo without opt-in */
        cr_expect_eq(initial_of(&r, &flags), v2 ? 8192u : 0u);
        cr_expect_eq(flags, v2 ? 1u : 0xabc0u);
        (void)initial_of(&r, &flags);
        cr_expect_eq(flags, v2 ? 0u : 0xabc0u);
        cr_expect_eq(drain(&r, 100000), -ENOMSG);
        cr_expect_eq(r.moved, v2 ? 12288u : 4096u);
        finish(&r);
        cr_expect_eq(r.moved, 12288u + 48);
    }
}

static uint64_t unread_after(const char *text) {
    struct rig r = rig(device("initial 100000\ndirty 50000\nstop 48\n%s\n", text));
    uint32_t flags = 0;
    (void)vfs_opt_in(r.src, 0);
    cr_assert_eq(go(r.src, r.now, VFS_PRE_COPY), 0);
    cr_assert_eq(move(&r, 40960), 40960);
    uint64_t initial = initial_of(&r, &flags);
    cr_expect_eq(flags, 1u, "%s", text);
    finish(&r);
    return initial;
}

Test(vfio_sim_reinit, may_add_replace_and_drop) {
    cr_expect_eq(unread_after("reinit read 40960 10000"), 100000u - 40960 + 10000);
    cr_expect_eq(unread_after("reinit read 40960 10000 discard"), 10000u);
    cr_expect_eq(unread_after("reinit read 40960 0"), 100000u - 40960);
    cr_expect_eq(unread_after("reinit read 40960 0 discard"), 0u);
    cr_expect_eq(unread_after("reinit query 1 10000"), 100000u - 40960 + 10000);
    cr_expect_eq(unread_after("reinit time 1ms 10000"), 100000u - 40960 + 10000);
}

Test(vfio_sim_reinit, a_sticky_flag_lasts_until_data_is_read) {
    struct rig r = rig(device("initial 4096\nstop 48\nreinit drain 8192 sticky\n"));
    uint32_t flags = 0;
    (void)vfs_opt_in(r.src, 0);
    cr_assert_eq(go(r.src, r.now, VFS_PRE_COPY), 0);
    (void)move(&r, 4096);
    for (int i = 0; i < 3; i++) {
        (void)initial_of(&r, &flags);
        cr_expect_eq(flags, 1u);
    }
    (void)move(&r, 1);
    (void)initial_of(&r, &flags);
    cr_expect_eq(flags, 0u);
    finish(&r);
}

Test(vfio_sim_reinit, happens_as_often_as_it_is_told) {
    struct rig r = rig(device("initial 4096\nstop 48\nreinit drain 4096 times 3\n"));
    uint32_t flags = 0, told = 0;
    (void)vfs_opt_in(r.src, 0);
    cr_assert_eq(go(r.src, r.now, VFS_PRE_COPY), 0);
    while (move(&r, 4096) > 0) {
        (void)initial_of(&r, &flags);
        told += flags;
    }
    cr_expect_eq(told, 3u);
    cr_expect_eq(r.moved, 4u * 4096);
    finish(&r);
}

Test(vfio_sim_reinit, at_the_last_look_and_on_the_way_to_p2p) {
    struct rig r = rig(device("initial 4096\nstop 48\nreinit last 8192\n"));
    uint32_t flags = 0;
    uint64_t size;
    (void)vfs_opt_in(r.src, 0);
    cr_assert_eq(go(r.src, r.now, VFS_PRE_COPY), 0);
    (void)move(&r, 4096);
    for (int i = 0; i < 3; i++) {
        cr_expect_eq(initial_of(&r, &flags), 0u);
        cr_expect_eq(vfs_data_size(r.src, r.now, &size), 0);
    }
    cr_expect_eq(initial_of(&r, &flags), 0u);
    cr_expect_eq(initial_of(&r, &flags), 8192u);
    cr_expect_eq(flags, 1u);
    finish(&r);
    r = rig(device("initial 4096\nstop 48\nreinit p2p 8192\n"));
    cr_assert_eq(go(r.src, r.now, VFS_PRE_COPY), 0);
    cr_assert_eq(go(r.src, r.now, VFS_PRE_COPY_P2P), 0);
    finish(&r);
    cr_expect_eq(r.moved, 4096u + 8192 + 48);
}

/* ---- bad streams and faults ---- */

static void load_bad(const char *src, const char *dst, int want) {
    struct rig r = {.src = device("%s", src), .dst = device("%s", dst), .now = 1};
    cr_assert_eq(go(r.dst, r.now, VFS_RESUMING), 0);
    cr_assert_eq(go(r.src, r.now, VFS_STOP_COPY), 0);
    cr_expect_eq(drain(&r, 5000), 0);
    cr_expect_eq(go(r.dst, r.now, VFS_RUNNING), want, "%s", src);
    cr_expect_eq(vfs_device_figures(r.dst)->bad, want != 0);
    if (want) { /* it stays where it is until it is reset */
        cr_expect_eq(vfs_device_state(r.dst), VFS_RESUMING);
        cr_expect_eq(vfs_reset(r.dst, r.now), 0);
    }
    cr_expect_eq(vfs_device_state(r.dst), VFS_RUNNING);
    drop(r.src);
    drop(r.dst);
}

Test(vfio_sim_faults, a_stream_that_is_not_the_device_s_own_is_found_out) {
    load_bad("name a\n", "name a\n", 0);
    load_bad("name a\n", "name b\n", -EINVAL);
    load_bad("name a\nfault read any short\n", "name a\n", -EINVAL);
    load_bad("name a\nfault read any long\n", "name a\n", -EINVAL);
    load_bad("name a\nfault read any flip after 100000\n", "name a\n", -EINVAL);
}

Test(vfio_sim_faults, every_bit_of_a_stream_counts) {
    for (size_t bit = 0; bit < 8u * (VFS_HEADER + 60); bit += 7) {
        struct vfs_device *a = device("precopy off\ninitial 0\nstop 108\n"),
                          *b = device("stop 48\n");
        uint8_t stream[256];
        uint64_t busy;
        cr_assert_eq(go(a, 1, VFS_STOP_COPY), 0);
        cr_assert_eq(vfs_read(a, 1, stream, sizeof stream, &busy), 108);
        stream[bit / 8] ^= (uint8_t)(1u << (bit % 8));
        cr_assert_eq(go(b, 1, VFS_RESUMING), 0);
        cr_assert_eq(vfs_write(b, 1, stream, 108, &busy), 108);
        cr_expect_eq(go(b, 1, VFS_STOP), -EINVAL, "bit %zu", bit);
        drop(a);
        drop(b);
    }
}

Test(vfio_sim_faults, at_any_state) {
    static const char *const names[] = {"stop",        "running",  "stop-copy",   "resuming",
                                        "running-p2p", "pre-copy", "pre-copy-p2p"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        for (int kind = 0; kind < 3; kind++) {
            static const char *const kinds[] = {"enospc", "error", "stuck"};
            struct vfs_device *d = device("fault set %s %s\n", names[i], kinds[kind]);
            enum vfs_state to = vfs_state_parse(names[i]);
            enum vfs_state from = to == VFS_RUNNING ? VFS_STOP : VFS_RUNNING;
            cr_assert_eq(go(d, 1, from), 0);
            cr_expect_eq(go(d, 1, to), kind == 0 ? -ENOSPC : -EIO);
            cr_expect(kind == 1 ? vfs_device_state(d) == VFS_ERROR : vfs_device_state(d) != to);
            cr_expect_eq(vfs_reset(d, 1), kind == 2 ? -EIO : 0);
            cr_expect_eq(go(d, 1, to), kind == 2 ? -EIO : 0, "once only");
            drop(d);
        }
}

Test(vfio_sim_faults, reading_writing_and_asking) {
    struct rig r = rig(device("initial 8K\nfault read pre-copy eio after 4096\n"
                              "fault info pre-copy einval\nfault size any long\n"));
    uint32_t flags = 0;
    uint64_t a = 0, b = 0;
    cr_assert_eq(go(r.src, r.now, VFS_PRE_COPY), 0);
    cr_expect_eq(vfs_info(r.src, r.now, &flags, &a, &b), -EINVAL);
    cr_expect_eq(vfs_data_size(r.src, r.now, &a), 0);
    cr_expect_eq(a, 2u * (8192 + (1 << 20)));
    cr_expect_eq(move(&r, 4096), 4096);
    cr_expect_eq(move(&r, 4096), -EIO);
    cr_expect_eq(move(&r, 4096), 4096);
    finish(&r);
}

/* ---- DMA ---- */

static uint64_t written[8];

static void on_dma(void *ctx, uint64_t iova, uint64_t length) {
    (void)ctx;
    cr_assert(iova >= 0x10000 && iova + length <= 0x18000);
    written[(iova - 0x10000) / 4096]++;
}

/* Every page that was written is reported once, at any size of pages. */
Test(vfio_sim_dma, what_was_written_is_reported) {
    for (uint64_t page = 4096; page <= 16384; page *= 2) {
        struct vfs_device *d = device("dma 1000 0x10000 8\n");
        struct vfs_range range = {0, 1 << 20};
        uint64_t size = 4096, bits[4] = {0};
        cr_expect_eq(vfs_log_report(d, 0, 0, 1 << 20, 4096, bits), -EINVAL);
        vfs_dma_hook(d, on_dma, NULL);
        cr_assert_eq(vfs_log_start(d, 0, &size, &range, 1), 0);
        cr_expect_eq(vfs_log_start(d, 0, &size, &range, 1), -EINVAL);
        memset(written, 0, sizeof written);
        cr_assert_eq(vfs_log_report(d, 3000000, 0, 1 << 20, page, bits), 0);
        cr_expect_eq(written[0] + written[1] + written[2], 3u);
        for (uint64_t i = 0; i < 256; i++) {
            bool set = bits[i / 64] >> (i % 64) & 1,
                 dirty = i * page < 0x13000 && (i + 1) * page > 0x10000;
            cr_expect_eq(set, dirty, "page %zu of %zu", (size_t)i, (size_t)page);
        }
        memset(bits, 0, sizeof bits);
        cr_assert_eq(vfs_log_report(d, 3000000, 0, 1 << 20, page, bits), 0);
        cr_expect_eq(bits[0], 0u);
        cr_expect_eq(vfs_log_stop(d, 0), 0);
        drop(d);
    }
}

Test(vfio_sim_dma, a_stopped_device_writes_nothing) {
    struct vfs_device *d = device("dma 1000 0x10000 8\n");
    struct vfs_range range = {0, 1 << 20};
    uint64_t size = 4096, bits[4] = {0};
    cr_assert_eq(vfs_log_start(d, 0, &size, &range, 1), 0);
    cr_assert_eq(go(d, 0, VFS_STOP), 0);
    cr_assert_eq(vfs_log_report(d, 1000000000, 0, 1 << 20, 4096, bits), 0);
    cr_expect_eq(bits[0], 0u);
    drop(d);
}

/* ---- texts ---- */

Test(vfio_sim_text, says_which_line_is_wrong_and_why) {
    static const struct {
        const char *text;
        int line;
    } bad[] = {
        {"initial 1X", 2},
        {"initial", 2},
        {"p2p yes", 2},
        {"\nfoo 1", 3},
        {"reinit soon 1M", 2},
        {"reinit time 1 1M maybe", 2},
        {"reinit drain 7", 2},
        {"fault set here eio", 2},
        {"fault set stop", 2},
        {"fault set stop odd", 2},
        {"load-cost some 1ms", 2},
        {"state-cost stop 1h", 2},
        {"name a\"b", 2},
        {"pci 1 70000", 2},
        {"dma 1 1 1", 2},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct vfs_description d;
        char text[200], why[200] = "", want[32];
        (void)snprintf(text, sizeof text, VFS_MAGIC "\n%s\n", bad[i].text);
        (void)snprintf(want, sizeof want, "line %d: ", bad[i].line);
        cr_expect_eq(vfs_parse(text, strlen(text), &d, why, sizeof why), -1, "%s", bad[i].text);
        cr_expect_eq(strncmp(why, want, strlen(want)), 0, "%s: %s", bad[i].text, why);
    }
    struct vfs_description d;
    char why[200];
    cr_expect_eq(vfs_parse("", 0, &d, why, sizeof why), -1);
    cr_expect_eq(vfs_parse("another file", 12, &d, why, sizeof why), -1);
    cr_expect_eq(vfs_parse(VFS_MAGIC "\nstop 1", strlen(VFS_MAGIC "\nstop 1"), &d, why, sizeof why),
                 -1);
}
