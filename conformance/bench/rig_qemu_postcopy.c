/* SPDX-License-Identifier: MIT */
#include "conformance/bench/rig.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/*
 * QEMU's own postcopy, to compare ours with: our boot-sector guest, which writes pages at random as
 * fast as software emulation lets it; postcopy begins at once. The destination itself measures how
 * long its virtual CPU waits for pages (capability postcopy-blocktime, its latencies since 10.1).
 */

enum {
    TIMEOUT_MS = 180000,
    PER_SECOND = 40000, /* pages, more than it can do while some are missing */
};

static int set_up(struct vms_qemu *q, const struct qemu_postcopy *what, bool destination) {
    const char *names[6] = {"postcopy-ram", "return-path"};
    size_t n = 2;
    if (what->preempt)
        names[n++] = "postcopy-preempt";
    if (destination)
        names[n++] = "postcopy-blocktime";
    if (vms_qemu_set_capabilities(q, names) != 0)
        return -1;
    return vms_qemu_set_parameters(q, json_pack("{s:I}", "max-bandwidth", (json_int_t)1 << 40));
}

/*
 * Of postcopy-latency-dist, whose bucket i counts latencies from 2^i microseconds to twice that. In
 * the bucket where the share q is reached they are taken to lie evenly.
 */
static double quantile(const json_t *buckets, double q) {
    double all = 0, seen = 0, low = 1;
    size_t i;
    json_t *b;
    json_array_foreach(buckets, i, b) all += json_number_value(b);
    json_array_foreach(buckets, i, b) {
        double n = json_number_value(b);
        if (n > 0 && seen + n >= q * all)
            return low * (1 + (q * all - seen) / n);
        seen += n;
        low *= 2;
    }
    return NAN;
}

static double sum(const json_t *buckets) {
    double all = 0;
    size_t i;
    json_t *b;
    json_array_foreach(buckets, i, b) all += json_number_value(b);
    return all;
}

/* The mean is that of the virtual CPU, in nanoseconds; the distribution is of all faults. */
static int take(struct rig *r, struct vms_qemu *destination, struct measured *out) {
    json_t *info = NULL;
    if (vms_qemu_query_migrate(destination, &info) != 0)
        return rig_fail(r, "%s", vms_qemu_error(destination));
    const json_t *dist = json_object_get(info, "postcopy-latency-dist");
    const json_t *mean = json_array_get(json_object_get(info, "postcopy-vcpu-latency"), 0);
    bool there = dist && mean;
    if (there) {
        out->value[METRIC_FAULTS] = sum(dist);
        out->value[METRIC_FAULT_MEAN] = json_number_value(mean) / 1e3;
        out->value[METRIC_FAULT_P50] = quantile(dist, 0.5);
        out->value[METRIC_FAULT_P99] = quantile(dist, 0.99);
    }
    json_decref(info);
    return there ? 0 : rig_fail(r, "QEMU tells no postcopy latencies");
}

static int migrate(struct rig *r, struct vms_qemu *const q[2], const struct qemu_postcopy *what,
                   const char *uri, struct measured *out) {
    static const char *const done[] = {"completed", NULL};
    static const char *const begun[] = {"active", "postcopy-active", "completed", NULL};
    *out = NOT_MEASURED;
    if (vms_qemu_wait_serial(q[0], "hb 00000002", 0, TIMEOUT_MS) < 0 ||
        set_up(q[0], what, false) != 0 || set_up(q[1], what, true) != 0 ||
        vms_qemu_migrate_incoming(q[1], uri) != 0 || vms_qemu_migrate(q[0], uri) != 0 ||
        vms_qemu_wait_migration(q[0], begun, TIMEOUT_MS, NULL) != 0 ||
        vms_qemu_execute(q[0], "migrate-start-postcopy", NULL, NULL) != 0)
        return -1;
    for (int i = 0; i < 2; i++)
        if (vms_qemu_wait_migration(q[i], done, TIMEOUT_MS, NULL) != 0)
            return -1;
    return take(r, q[1], out);
}

int run_qemu_postcopy(struct rig *r, const struct qemu_postcopy *what, enum place p,
                      struct measured *out) {
    const struct qemu_guest guest = {what->version, PER_SECOND, what->huge};
    char uri[192];
    if (rig_have(r, p) != 0 || (what->huge && rig_huge(r, 2 * QEMU_GUEST_MIB + 64) != 0))
        return -1;
    r->error[0] = 0;
    struct vms_qemu *q[2] = {start_guest(r, &guest, p, VMS_NET_A),
                             start_guest(r, &guest, p, VMS_NET_B)};
    rig_uri(r, p, false, uri, sizeof uri);
    int rc = q[0] && q[1] ? migrate(r, q, what, uri, out) : -1;
    if (rc != 0 && q[0] && q[1] && !r->error[0])
        (void)rig_fail(r, "%s\n%s", vms_qemu_error(q[0]), vms_qemu_error(q[1]));
    vms_qemu_free(q[0]);
    vms_qemu_free(q[1]);
    return rc;
}
