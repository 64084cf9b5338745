/* SPDX-License-Identifier: MIT */
#include "conformance/live/demo_native.h"
#include "conformance/live/demo_vfio.h"
#include "conformance/live/live.h"

#include <string.h>
#include <time.h>
#include <unistd.h>

/* `make demo`: the main job, shown live: a running guest leaves QEMU and arrives in reference-dst.
 */

static const char *const RETURN_PATH[] = {"return-path", NULL};

static const struct live_case DEMO = {
    .version = "7.2",
    .machine = "pc",
    .transport = LIVE_UNIX,
    .capabilities = RETURN_PATH,
    /* slow enough to watch: the guest keeps dirtying memory meanwhile */
    .parameters = "{\"max-bandwidth\": 10485760, \"downtime-limit\": 100}",
    .memory = "131080K", /* no multiple of 256 KiB: E-55 */
    .pages_per_tick = 100,
};

static double human(uint64_t bytes, const char **unit) {
    *unit = bytes < 1 << 20 ? "KiB" : "MiB";
    return (double)bytes / (bytes < 1 << 20 ? 1 << 10 : 1 << 20);
}

static json_int_t field(const json_t *o, const char *object, const char *key) {
    return json_integer_value(json_object_get(json_object_get(o, object), key));
}

static void show_blocks(const struct live *live) {
    const json_t *blocks = json_object_get(live->report, "blocks");
    printf("    %-28s %12s %9s %9s %9s\n", "RAM block", "size", "data", "zero", "again");
    for (size_t i = 0; i < live->dump.count; i++) {
        const char *name = live->dump.blocks[i].name, *unit;
        const json_t *b = json_object_get(blocks, name);
        double size = human(live->dump.blocks[i].used, &unit);
        printf("    %-28s %8.1f %s %9lld %9lld %9lld  equal to QEMU's own\n", name, size, unit,
               (long long)json_integer_value(json_object_get(b, "normal")),
               (long long)json_integer_value(json_object_get(b, "zero")),
               (long long)json_integer_value(json_object_get(b, "duplicates")));
    }
}

static void show_report(const struct live *live) {
    const json_t *r = live->report;
    printf("    %lld bytes, %lld passes over RAM, %zu sections, machine %s\n",
           (long long)json_integer_value(json_object_get(r, "bytes")),
           (long long)json_integer_value(json_object_get(r, "rounds")),
           json_array_size(json_object_get(r, "sections")),
           json_string_value(json_object_get(json_object_get(r, "dialect"), "machine_type")));
    printf("    setup %lld ms, precopy %lld ms, switchover %lld ms\n",
           (long long)field(r, "timings", "setup_ms"), (long long)field(r, "timings", "precopy_ms"),
           (long long)field(r, "timings", "switchover_ms"));
}

static int run(struct live *live, const char *reference_dst) {
    struct live_case what = DEMO;
    what.show = isatty(STDERR_FILENO);
    demo_step("booting our guest in QEMU 7.2 (software emulation)");
    if (live_boot(live, &what, reference_dst) != 0)
        return -1;
    printf("    %s %s: the guest's heart beats, it writes %u pages every 100 ms\n",
           "qemu-system-x86_64", vms_qemu_peer(live->qemu)->package, what.pages_per_tick);
    demo_step("starting reference-dst on a unix socket");
    if (live_listen(live) != 0)
        return -1;
    demo_step("migrating it live, with return path");
    if (live_migrate(live) != 0 || live_finish(live) != 0)
        return -1;
    printf("    QEMU says \"completed\", reference-dst ended with %d\n", live->dst_status);
    show_report(live);
    demo_step("proof: every RAM block against the memory of the stopped source");
    if (live_compare(live) != 0)
        return -1;
    show_blocks(live);
    printf("    the guest's own check of its pages: %s\n", live->guest_report.text);
    return 0;
}

/* Where the other programs are, too. */
static const char *folder(const char *program, char out[256]) {
    (void)snprintf(out, 256, "%s", program);
    char *slash = strrchr(out, '/');
    if (slash)
        *slash = 0;
    return slash ? out : ".";
}

int main(int argc, char **argv) {
    struct live live;
    char build[256];
    struct vms_peer peer;
    if (argc != 2 || strcmp(argv[1], "--help") == 0) {
        fprintf(stderr, "Usage: demo REFERENCE-DST\n`make demo` runs it.\n");
        return argc != 2 ? 2 : 0;
    }
    if (!vms_peer_find(DEMO.version, &peer)) {
        fprintf(stderr, "demo: QEMU %s is not installed (qemu-system-x86)\n", DEMO.version);
        return 3;
    }
    int rc = run(&live, argv[1]);
    if (rc != 0)
        fprintf(stderr, "demo: %s\n", live.error);
    else
        demo_step("the guest's memory arrived intact");
    live_free(&live);
    if (rc == 0)
        rc = demo_native(folder(argv[1], build));
    if (rc == 0)
        rc = demo_vfio(folder(argv[1], build));
    return rc ? 1 : 0;
}
