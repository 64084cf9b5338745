/* SPDX-License-Identifier: MIT */
#include "conformance/bench/rig.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/*
 * Stock QEMU to itself: machine "none", so that nothing but memory is in the stream. The source
 * maps the image privately; as it writes nothing no page is reserved for that. Seconds and downtime
 * are query-migrate's.
 */

enum {
    TIMEOUT_MS = 180000,
    TRIES = 5000, /* milliseconds */
};

void tls_object(const struct rig *r, enum vms_net_side side, char *out, size_t size) {
    bool source = side == VMS_NET_A;
    (void)snprintf(out, size, "tls-creds-psk,id=tls,dir=%s,endpoint=%s%s", r->dir,
                   source ? "client" : "server", source ? ",username=qemu" : "");
}

static struct vms_qemu *start_idle(struct rig *r, const struct qemu *what, enum place p,
                                   enum vms_net_side side) {
    bool source = side == VMS_NET_A;
    char memory[32], backend[320], tls[320];
    const char *args[] = {"-object", backend, "-object", tls, NULL};
    struct vms_qemu_options options = {.version = what->version,
                                       .machine = "none,memory-backend=ram",
                                       .memory = memory,
                                       .args = args,
                                       .name = source ? "source" : "destination",
                                       .incoming = !source,
                                       .timeout_ms = TIMEOUT_MS};
    (void)snprintf(memory, sizeof memory, "%lluM", (unsigned long long)(r->bytes >> 20));
    if (source)
        (void)snprintf(backend, sizeof backend,
                       "memory-backend-file,id=ram,mem-path=%s,size=%s,share=off,reserve=off",
                       r->image, memory);
    else
        (void)snprintf(backend, sizeof backend, "memory-backend-%s,id=ram,size=%s,prealloc=%s",
                       r->pool ? "memfd,hugetlb=on,hugetlbsize=2M,share=off" : "ram", memory,
                       what->ahead ? "on" : "off");
    tls_object(r, side, tls, sizeof tls);
    if (rig_enter(r, p, side) != 0)
        return NULL;
    struct vms_qemu *q = vms_qemu_start(&options, r->error, sizeof r->error);
    rig_leave(r, p);
    return q;
}

static struct vms_qemu *start(struct rig *r, const struct qemu *what, enum place p,
                              enum vms_net_side side) {
    const struct qemu_guest guest = {what->version, what->pages_per_s, false};
    return what->pages_per_s ? start_guest(r, &guest, p, side) : start_idle(r, what, p, side);
}

static int set_up(struct vms_qemu *q, const struct qemu *what) {
    static const char *const multifd[] = {"multifd", NULL};
    json_t *p =
        json_pack("{s:I, s:i}", "max-bandwidth", (json_int_t)1 << 40, "downtime-limit", 300);
    if (what->multifd && vms_qemu_set_capabilities(q, multifd) != 0)
        return -1;
    if (what->multifd)
        json_object_set_new(p, "multifd-channels", json_integer(what->multifd));
    if (what->compression) {
        json_object_set_new(p, "multifd-compression", json_string(what->compression));
        json_object_set_new(p, "multifd-zstd-level", json_integer(what->level));
    }
    if (what->tls)
        json_object_set_new(p, "tls-creds", json_string("tls"));
    return vms_qemu_set_parameters(q, p);
}

static int take(const json_t *info, struct measured *out) {
    json_int_t total = 0, downtime = 0;
    if (json_unpack((json_t *)(uintptr_t)info, "{s:I, s:I, s:{s:F}}", "total-time", &total,
                    "downtime", &downtime, "ram", "transferred", &out->value[METRIC_WIRE]) != 0 ||
        total <= 0)
        return -1;
    out->value[METRIC_SECONDS] = (double)total / 1e3;
    out->value[METRIC_DOWNTIME] = (double)downtime;
    return 0;
}

/* "completed" is there before the times are: a total of 0 says that they are not yet. */
static int query(struct vms_qemu *source, struct measured *out) {
    int rc = -1;
    for (int tries = 0; rc != 0 && tries < TRIES; tries++) {
        json_t *info = NULL;
        if (tries > 0)
            (void)usleep(1000);
        if (vms_qemu_query_migrate(source, &info) != 0)
            return -1;
        rc = take(info, out);
        json_decref(info);
    }
    return rc;
}

static int migrate(struct vms_qemu *const q[2], const struct qemu *what, const char *uri,
                   struct measured *out) {
    static const char *const done[] = {"completed", NULL};
    double cpu[2];
    *out = NOT_MEASURED;
    if (what->pages_per_s && vms_qemu_wait_serial(q[0], "hb 00000002", 0, TIMEOUT_MS) < 0)
        return -1;
    if (set_up(q[0], what) != 0 || set_up(q[1], what) != 0 ||
        vms_qemu_migrate_incoming(q[1], uri) != 0)
        return -1;
    rig_rest();
    for (int i = 0; i < 2; i++)
        cpu[i] = process_cpu(vms_qemu_pid(q[i]));
    if (vms_qemu_migrate(q[0], uri) != 0)
        return -1;
    for (int i = 0; i < 2; i++)
        if (vms_qemu_wait_migration(q[i], done, TIMEOUT_MS, NULL) != 0)
            return -1;
    for (int i = 0; i < 2; i++)
        out->value[i ? METRIC_CPU_DST : METRIC_CPU_SRC] = process_cpu(vms_qemu_pid(q[i])) - cpu[i];
    return query(q[0], out);
}

int run_qemu(struct rig *r, const struct qemu *what, enum place p, struct measured *out) {
    char uri[192];
    if (rig_have(r, p) != 0)
        return -1;
    r->error[0] = 0;
    struct vms_qemu *q[2] = {start(r, what, p, VMS_NET_A), start(r, what, p, VMS_NET_B)};
    rig_uri(r, p, false, uri, sizeof uri);
    int rc = q[0] && q[1] ? migrate(q, what, uri, out) : -1;
    if (rc != 0 && q[0] && q[1])
        (void)rig_fail(r, "%s\n%s", vms_qemu_error(q[0]), vms_qemu_error(q[1]));
    vms_qemu_free(q[0]);
    vms_qemu_free(q[1]);
    if (p == PLACE_UNIX)
        (void)unlink(uri + strlen("unix:"));
    return rc;
}
