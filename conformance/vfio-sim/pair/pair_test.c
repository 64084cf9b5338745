/* SPDX-License-Identifier: MIT */
#include "host/vfio_test_util.h"
#include "reference-dst/devices/vfio.h"
#include "reference-src/devices/vfio.h"

#include <sys/mman.h>

/*
 * Both halves of VFIO devices together, without a wire: what the source's devices send, the
 * destination's take at once. The devices are simulated and check every byte. Whatever goes wrong
 * has a name, and one end runs afterwards, with all its devices, never both.
 */
enum {
    DEVICES = 4,
    BUDGET = 300000,
    ROUNDS = 500,
};

struct pair {
    struct vms_guest_block block;
    struct vms_guest cpu[2]; /* source, destination */
    bool runs[2];
    struct src_vfio *src;
    struct dst_vfio *dst;
    struct src_wire wire;
    size_t count;
    unsigned marks[DEVICES];
    unsigned stops, backs;
    struct vms_error err;
};

/* ---- CPUs ---- */

static enum vms_code cpu_stop(void *ctx, struct vms_error *err) {
    (void)err;
    *(bool *)ctx = false;
    return VMS_OK;
}
static enum vms_code cpu_run(void *ctx, struct vms_error *err) {
    (void)err;
    *(bool *)ctx = true;
    return VMS_OK;
}
static const struct vms_guest_ops cpu_ops = {.stop = cpu_stop, .run = cpu_run};

/* ---- the wire ---- */

static enum vms_code pass(void *ctx, uint32_t device, enum src_data_kind kind,
                          struct vms_slice bytes, bool last, struct vms_error *err) {
    struct pair *p = ctx;
    struct dst_device d = dst_vfio_device(p->dst, device - 1);
    uint64_t generation;
    enum vms_code code = VMS_OK;
    switch (kind) {
    case SRC_DATA_SETUP: return d.ops->setup(d.ctx, err);
    case SRC_DATA_INITIAL_SENT:
        code = d.ops->initial_sent(d.ctx, &generation, err);
        if (code == VMS_OK) {
            struct src_device s = src_vfio_device(p->src, device - 1);
            p->marks[device - 1]++;
            s.ops->granted(s.ctx, generation);
        }
        return code;
    case SRC_DATA_CONFIG:
        code = d.ops->config(d.ctx, bytes.ptr, bytes.len, err);
        return code == VMS_OK ? d.ops->load_config(d.ctx, err) : code;
    default: break;
    }
    if (bytes.len)
        code = d.ops->data(d.ctx, bytes.ptr, bytes.len, err);
    return code == VMS_OK && last ? d.ops->end(d.ctx, err) : code;
}

/* [VDEV-22] Devices are given side by side, but where a test wants one after another. */
static unsigned pair_lanes = DEVICES;
static unsigned lanes(void *ctx) {
    (void)ctx;
    return pair_lanes;
}

static const struct src_wire_ops wire_ops = {.data = pass, .lanes = lanes};

/* ---- a migration, as an engine would have it ---- */

static struct pair *pair_new(const char *const *src, const char *const *dst, size_t count) {
    static struct pair p;
    static char names[2][DEVICES][8];
    const char *specs[2][DEVICES];
    p = (struct pair){.count = count};
    p.block =
        (struct vms_guest_block){.name = "ram", .length = 1 << 20, .page_size = 4096, .fd = -1};
    p.block.memory =
        mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    p.runs[0] = true;
    p.wire = (struct src_wire){&wire_ops, &p};
    for (int end = 0; end < 2; end++) {
        p.cpu[end] = (struct vms_guest){
            .ops = &cpu_ops, .ctx = &p.runs[end], .blocks = &p.block, .block_count = 1};
        for (size_t i = 0; i < count; i++) {
            (void)snprintf(names[end][i], sizeof names[0][0], "%c%zu", end ? 'd' : 's', i);
            specs[end][i] = vfio_file(
                names[end][i], "vfio-sim device\nname %zu\nlog %s/%s.log\n%s\n", i, vfio_folder(),
                names[end][i], (end ? dst : src)[i] ? (end ? dst : src)[i] : "");
        }
    }
    vfio_good(src_vfio_new(&p.cpu[0], specs[0], count, 1, SRC_VFIO_ACK_EACH, &p.src, &p.err),
              &p.err);
    vfio_good(dst_vfio_new(&p.cpu[1], specs[1], count, &p.dst, &p.err), &p.err);
    return &p;
}

static void pair_free(struct pair *p) {
    for (size_t i = 0; i < p->count; i++) {
        struct src_device d = src_vfio_device(p->src, i);
        d.ops->cleanup(d.ctx);
    }
    src_vfio_free(p->src);
    dst_vfio_free(p->dst);
    (void)munmap(p->block.memory, 1 << 20);
}

/* One round over all devices. *quiet: nothing is left to send, and all is acknowledged. */
static enum vms_code iterate(struct pair *p, bool *quiet) {
    enum vms_code code = VMS_OK;
    *quiet = true;
    for (size_t i = 0; i < p->count && code == VMS_OK; i++) {
        struct src_device d = src_vfio_device(p->src, i);
        struct src_pending left;
        uint64_t sent;
        bool more;
        code = d.ops->pending(d.ctx, true, &left, &p->err);
        if (code == VMS_OK && left.precopy)
            code = d.ops->save(d.ctx, &p->wire, BUDGET, &sent, &more, &p->err);
        *quiet =
            *quiet && left.precopy == 0 && src_vfio_figures(p->src, i).granted >= left.generation;
    }
    return code;
}

/* [VDEV-8] *again: it was asked for more while it stopped. */
static enum vms_code ask_last(struct pair *p, bool *again) {
    enum vms_code code = VMS_OK;
    *again = false;
    for (size_t i = 0; i < p->count && code == VMS_OK; i++) {
        struct src_device d = src_vfio_device(p->src, i);
        struct src_pending left;
        code = d.ops->pending(d.ctx, true, &left, &p->err);
        *again = *again || src_vfio_figures(p->src, i).granted < left.generation;
    }
    return code;
}

static enum vms_code precopy(struct pair *p) {
    const struct vms_guest *guest = src_vfio_guest(p->src);
    enum vms_code code = VMS_OK;
    bool quiet = false, again = true;
    for (unsigned round = 0; code == VMS_OK && again; round++) {
        cr_assert_lt(round, (unsigned)ROUNDS, "it never ends");
        code = iterate(p, &quiet);
        if (code != VMS_OK || !quiet)
            continue;
        p->stops++;
        code = guest->ops->stop(guest->ctx, &p->err);
        if (code == VMS_OK)
            code = ask_last(p, &again);
        if (code == VMS_OK && again) {
            p->backs++;
            code = guest->ops->run(guest->ctx, &p->err);
        }
    }
    return code;
}

static enum vms_code migrate(struct pair *p) {
    enum vms_code code = VMS_OK;
    for (size_t i = 0; i < p->count && code == VMS_OK; i++) {
        struct src_device d = src_vfio_device(p->src, i);
        code = d.ops->setup(d.ctx, &p->wire, &p->err);
    }
    if (code == VMS_OK)
        code = precopy(p);
    for (size_t i = 0; i < p->count && code == VMS_OK; i++) {
        struct src_device d = src_vfio_device(p->src, i);
        code = d.ops->final(d.ctx, &p->wire, false, &p->err);
    }
    if (code == VMS_OK)
        code = dst_vfio_verify(p->dst, &p->err);
    return code;
}

/* Commits or goes back, and says who runs then. */
static enum vms_code run_pair(struct pair *p) {
    struct vms_error err;
    enum vms_code code = migrate(p);
    if (code == VMS_OK) { /* from here on the guest is the destination's */
        code = dst_vfio_run(p->dst, &p->err);
        vfio_good(cpu_run(&p->runs[1], &err), &err);
        return code;
    }
    (void)dst_vfio_reset(p->dst, &err);
    const struct vms_guest *guest = src_vfio_guest(p->src);
    vfio_good(guest->ops->run(guest->ctx, &err), &err);
    for (size_t i = 0; i < p->count; i++) {
        struct src_device d = src_vfio_device(p->src, i);
        d.ops->resumed(d.ctx);
        d.ops->cleanup(d.ctx);
    }
    return code;
}

static void expect_moved(struct pair *p) {
    cr_expect(!p->runs[0] && p->runs[1]);
    for (size_t i = 0; i < p->count; i++) {
        struct src_vfio_figures s = src_vfio_figures(p->src, i);
        struct dst_vfio_figures d = dst_vfio_figures(p->dst, i);
        cr_expect_eq(s.state, VMS_VFIO_STOP_COPY);
        cr_expect_eq(d.state, VMS_VFIO_RUNNING);
        cr_expect_eq(s.precopy_bytes + s.stop_bytes, d.bytes);
        cr_expect_eq(s.sent, s.generation);
    }
}

static void expect_back(struct pair *p) {
    cr_expect(p->runs[0] && !p->runs[1]);
    for (size_t i = 0; i < p->count; i++) {
        cr_expect_eq(src_vfio_figures(p->src, i).state, VMS_VFIO_RUNNING);
        cr_expect_eq(dst_vfio_figures(p->dst, i).state, VMS_VFIO_RUNNING);
    }
}

/* ---- what moves ---- */

struct moved {
    const char *src[DEVICES];
    unsigned marks[DEVICES];
    uint64_t precopy, stop; /* of the first device */
    unsigned backs;
};

static void check_moved(const struct moved *m) {
    static const char *const dst[DEVICES];
    size_t count = 0;
    while (count < DEVICES && m->src[count])
        count++;
    struct pair *p = pair_new(m->src, dst, count);
    vfio_good(run_pair(p), &p->err);
    expect_moved(p);
    for (size_t i = 0; i < count; i++)
        cr_expect_eq(p->marks[i], m->marks[i], "%s: %u marks", m->src[i], p->marks[i]);
    struct src_vfio_figures f = src_vfio_figures(p->src, 0);
    cr_expect_eq(f.precopy_bytes, m->precopy, "%s: %llu", m->src[0],
                 (unsigned long long)f.precopy_bytes);
    cr_expect_eq(f.stop_bytes, m->stop, "%s: %llu", m->src[0], (unsigned long long)f.stop_bytes);
    cr_expect_eq(p->backs, m->backs, "%s", m->src[0]);
    pair_free(p);
}

/* [VDEV-7] [VDEV-8] [VDEV-9] [VFIO-10] [VFIO-11] Every way in which REINIT can come. */
SIM_TEST(vfio_pair, what_is_sent_when) {
#define M    (1u << 20)
#define BASE "initial 1M\nstop 2M\n"
    static const struct moved cases[] = {
        {{BASE}, {1}, M, 2 * M, 0},
        {{BASE "precopy off"}, {0}, 0, 3 * M, 0},
        {{BASE "p2p off"}, {1}, M, 2 * M, 0},
        {{BASE "precopy off\np2p off"}, {0}, 0, 3 * M, 0},
        {{BASE "data-size off"}, {1}, M, 2 * M, 0},
        {{"initial 0\nstop 2M\n"}, {1}, 0, 2 * M, 0},
        {{BASE "dirty 1M"}, {1}, 2 * M, 2 * M, 0},
        {{BASE "reinit drain 1M"}, {2}, 2 * M, 2 * M, 0},
        {{BASE "reinit drain 100"}, {2}, M + 100, 2 * M, 0},
        {{BASE "reinit drain 0"}, {2}, M, 2 * M, 0},
        {{BASE "reinit drain 1M times 3"}, {4}, 4 * M, 2 * M, 0},
        {{BASE "reinit drain 1M sticky"}, {2}, 2 * M, 2 * M, 0},
        {{BASE "reinit read 300000 1M"}, {2}, 2 * M, 2 * M, 0},
        {{BASE "reinit read 300000 0 discard"}, {2}, 300000 + 3104, 2 * M, 0},
        {{BASE "dirty 1M\nreinit read 300000 48 discard"}, {2}, 300000 + 3104 + 48, 2 * M, 0},
        {{BASE "reinit p2p 1M"}, {1}, M, 3 * M, 0},
        {{BASE "reinit last 1M"}, {2}, 2 * M, 2 * M, 1},
        {{BASE "reinit last 0"}, {2}, M, 2 * M, 1},
        {{BASE "precopy-v2 off\nreinit drain 1M"}, {1}, M, 3 * M, 0},
        {{BASE "precopy-v2 off\nreinit drain 1M\nwithout-reinit dirty"}, {1}, 2 * M, 2 * M, 0},
        {{BASE, BASE "reinit drain 1M", BASE "precopy off", BASE "reinit last 1M times 2"},
         {1, 2, 0, 3},
         M,
         2 * M,
         2},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        check_moved(&cases[i]);
    vfio_clean();
}

/* ---- what fails ---- */

static void check_fault(const char *src, const char *dst, bool commits) {
    const char *const sources[] = {BASE, src, BASE}, *const destinations[] = {"", dst, ""};
    struct pair *p = pair_new(sources, destinations, 3);
    enum vms_code code = run_pair(p);
    if (commits) {
        cr_expect_eq(code, VMS_OK, "%s: %s", src, p->err.message);
        expect_moved(p);
    } else {
        cr_expect_eq(code, VMS_E_VFIO_DEVICE, "%s|%s: %s", src, dst, p->err.message);
        cr_expect_gt(strlen(p->err.message), 20u);
        expect_back(p);
    }
    pair_free(p);
}

/* [VDEV-1] [VDEV-2] [VDEV-11] At every state and call, at either end. */
SIM_TEST(vfio_pair, every_fault_before_the_commit_brings_the_source_back) {
    static const char *const source[] = {
        "set pre-copy",      "set pre-copy-p2p", "set stop-copy", "read pre-copy",
        "read stop-copy",    "info pre-copy",    "size pre-copy", "size stop-copy",
        "read pre-copy-p2p", "info stop-copy",
    };
    static const char *const destination[] = {"set resuming", "set stop", "write resuming"};
    static const char *const kinds[] = {"eio", "enospc", "error"};
    char text[128];
    for (size_t k = 0; k < 3; k++) {
        for (size_t i = 0; i < 10; i++) {
            (void)snprintf(text, sizeof text, BASE "fault %s %s", source[i], kinds[k]);
            check_fault(text, "", i >= 8); /* the last two never happen */
        }
        for (size_t i = 0; i < 3; i++) {
            (void)snprintf(text, sizeof text, "fault %s %s", destination[i], kinds[k]);
            check_fault(BASE, text, i == 1 && k == 99);
        }
    }
    vfio_clean();
}

SIM_TEST(vfio_pair, a_stream_that_is_short_long_or_changed_is_refused) {
    static const char *const kinds[] = {"short", "long", "flip", "flip after 1500000"};
    for (size_t i = 0; i < 4; i++) {
        char text[128];
        (void)snprintf(text, sizeof text, BASE "fault read any %s", kinds[i]);
        check_fault(text, "", false);
    }
    vfio_clean();
}

/* What a device says of its sizes is an estimate: it must not matter. */
SIM_TEST(vfio_pair, wrong_sizes_do_not_matter) {
    static const char *const faults[] = {"info any long", "info any short", "size any long",
                                         "size any short"};
    for (size_t i = 0; i < 4; i++) {
        char text[128];
        (void)snprintf(text, sizeof text, BASE "fault %s times 100000", faults[i]);
        check_fault(text, "", true);
    }
    vfio_clean();
}

/* A device that cannot be brought back is told; the guest runs without it. */
SIM_TEST(vfio_pair, a_stuck_device_is_told_and_the_others_run) {
    const char *const src[] = {BASE, BASE "fault set stop-copy stuck"}, *const dst[] = {"", ""};
    struct pair *p = pair_new(src, dst, 2);
    cr_expect_eq(run_pair(p), VMS_E_VFIO_DEVICE);
    cr_expect(p->runs[0] && !p->runs[1]);
    cr_expect_eq(src_vfio_lost(p->src)->code, VMS_E_VFIO_DEVICE);
    cr_expect(strstr(src_vfio_lost(p->src)->message, "reset"), "%s",
              src_vfio_lost(p->src)->message);
    cr_expect_eq(src_vfio_figures(p->src, 0).state, VMS_VFIO_RUNNING);
    pair_free(p);
    vfio_clean();
}

/* ---- all of them ---- */

struct fault_op {
    const char *op, *kinds[10];
};

#define ERRNOS "eio", "enospc", "einval", "ebusy", "enomem", "error", "stuck"
static const struct fault_op ops[] = {
    {"set", {ERRNOS}},    {"read", {ERRNOS, "short", "long", "flip"}},
    {"write", {ERRNOS}},  {"info", {ERRNOS, "short", "long"}},
    {"report", {ERRNOS}}, {"size", {ERRNOS, "short", "long"}},
    {"reset", {ERRNOS}},
};

/* [VDEV-15] It moved whole, or it stayed; a device that is stuck may be lost, and that is told. */
static void check_any(const char *src, const char *dst) {
    const char *const sources[] = {BASE, src}, *const destinations[] = {"", dst};
    struct pair *p = pair_new(sources, destinations, 2);
    bool stuck = strstr(src, "stuck") || strstr(dst, "stuck");
    enum vms_code code = run_pair(p);
    cr_expect(!(p->runs[0] && p->runs[1]), "%s|%s: both run", src, dst);
    cr_expect(p->runs[0] || p->runs[1], "%s|%s: nobody runs", src, dst);
    if (code == VMS_OK) {
        cr_expect(p->runs[1]);
        cr_expect_eq(dst_vfio_figures(p->dst, 1).state, VMS_VFIO_RUNNING);
    } else {
        cr_expect_eq(code, VMS_E_VFIO_DEVICE, "%s|%s: %s, %s", src, dst, vms_code_name(code),
                     p->err.message);
        cr_expect_gt(strlen(p->err.message), 20u);
    }
    if (p->runs[0] && !stuck)
        expect_back(p);
    if (p->runs[0] && src_vfio_figures(p->src, 1).state != VMS_VFIO_RUNNING)
        cr_expect_eq(src_vfio_lost(p->src)->code, VMS_E_VFIO_DEVICE, "%s|%s", src, dst);
    pair_free(p);
}

SIM_TEST(vfio_pair, every_fault_of_every_call_in_every_state_at_either_end) {
    static const char *const states[] = {"stop",        "running",  "stop-copy",    "resuming",
                                         "running-p2p", "pre-copy", "pre-copy-p2p", "any"};
    char src[160], dst[160];
    for (size_t o = 0; o < sizeof ops / sizeof ops[0]; o++)
        for (size_t s = 0; s < 8; s++)
            for (size_t k = 0; k < 10 && ops[o].kinds[k]; k++) {
                (void)snprintf(src, sizeof src, BASE "fault %s %s %s", ops[o].op, states[s],
                               ops[o].kinds[k]);
                (void)snprintf(dst, sizeof dst, "fault %s %s %s", ops[o].op, states[s],
                               ops[o].kinds[k]);
                check_any(src, "");
                check_any(BASE, dst);
            }
    vfio_clean();
}

/* [VDEV-22] What is told is what happened to the one that failed, wherever it stands. */
SIM_TEST(vfio_pair, of_devices_side_by_side_the_one_that_fails_is_named) {
    const char *const good = "initial 1M\nstop 2M";
    const char *const dst[DEVICES] = {"", "", "", ""};
    for (size_t i = 0; i < DEVICES; i++) {
        const char *src[DEVICES] = {good, good, good, good};
        char want[8];
        src[i] = "initial 1M\nstop 2M\nfault read stop-copy eio after 1500000";
        struct pair *p = pair_new(src, dst, DEVICES);
        (void)snprintf(want, sizeof want, "/s%zu:", i);
        cr_expect_eq(run_pair(p), VMS_E_VFIO_DEVICE);
        cr_expect(strstr(p->err.message, want), "%s: %s", want, p->err.message);
        expect_back(p);
        pair_free(p);
    }
    vfio_clean();
}

/* A wire on which one device's data follows another's gets them whole, in their order. */
SIM_TEST(vfio_pair, without_lanes_one_follows_another) {
    const char *const src[DEVICES] = {BASE, BASE "precopy off", BASE, BASE};
    const char *const dst[DEVICES] = {"", "", "", ""};
    pair_lanes = 1;
    struct pair *p = pair_new(src, dst, DEVICES);
    vfio_good(run_pair(p), &p->err);
    expect_moved(p);
    pair_free(p);
    vfio_clean();
}

/* ---- seeds ---- */

static uint64_t next(uint64_t *seed) {
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    return *seed >> 33;
}

static const char *pick(uint64_t *seed, const char *const *list, size_t count) {
    return list[next(seed) % count];
}

#define PICK(seed, ...)                                                                            \
    pick(seed, (const char *const[]){__VA_ARGS__},                                                 \
         sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *))

static const char *fault_or_none(uint64_t *seed) {
    return next(seed) % 6
               ? ""
               : PICK(seed, "fault set stop-copy eio", "fault read any error after 60000",
                      "fault info any enomem", "fault size any short times 100",
                      "fault read any flip", "fault set pre-copy-p2p error");
}

static void make_text(uint64_t *seed, char *out, size_t size) {
    (void)snprintf(
        out, size, "initial %s\nstop %s\ndirty %s\n%s\n%s\n%s\n%s",
        PICK(seed, "0", "48", "100K", "1M"), PICK(seed, "48", "5000", "1M"),
        PICK(seed, "0", "48", "70000"), PICK(seed, "", "", "precopy off", "precopy-v2 off"),
        PICK(seed, "", "reinit drain 48", "reinit read 50000 200K times 2", "reinit last 5000",
             "reinit p2p 70000", "reinit query 2 0 discard", "reinit drain 0 sticky times 2"),
        PICK(seed, "", "dirty-rate 1M\ndirty-max 64K", "data-size off", "read-rate 2G"),
        fault_or_none(seed));
}

/* One end runs, its devices run, and no other; whatever the devices are and do. */
SIM_TEST(vfio_pair, a_hundred_seeds) {
    unsigned moved = 0;
    for (uint64_t n = 0; n < 100; n++) {
        static char texts[2][DEVICES][400];
        const char *list[2][DEVICES];
        uint64_t seed = n * 7919 + 1;
        size_t count = 1 + next(&seed) % DEVICES;
        for (size_t i = 0; i < count; i++) {
            make_text(&seed, texts[0][i], sizeof texts[0][i]);
            const char *fault =
                PICK(&seed, "fault write any enospc after 40000", "fault set stop eio");
            (void)snprintf(texts[1][i], sizeof texts[1][i], "%s", next(&seed) % 10 ? "" : fault);
            list[0][i] = texts[0][i];
            list[1][i] = texts[1][i];
        }
        struct pair *p = pair_new(list[0], list[1], count);
        enum vms_code code = run_pair(p);
        cr_expect(code == VMS_OK || code == VMS_E_VFIO_DEVICE, "seed %llu: %s",
                  (unsigned long long)n, p->err.message);
        if (code == VMS_OK)
            expect_moved(p);
        else
            expect_back(p);
        moved += code == VMS_OK;
        pair_free(p);
    }
    cr_expect(moved > 20 && moved < 80, "%u moved", moved);
    vfio_clean();
}
