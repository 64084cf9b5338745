/* SPDX-License-Identifier: MIT */
#include "conformance/adapters/qemu/adapter.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    WORDS = 64,
    QMP_MS = 30000,
};

struct command {
    char text[WORDS][CERT_PATH];
    const char *words[WORDS];
    size_t count;
};

static void add(struct command *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void add(struct command *c, const char *fmt, ...) {
    va_list args;
    if (c->count >= WORDS - 1)
        return;
    va_start(args, fmt);
    (void)vsnprintf(c->text[c->count], sizeof c->text[0], fmt, args);
    va_end(args);
    c->words[c->count] = c->text[c->count];
    c->count++;
}

static bool is_tls(const struct kit *k) {
    return strcmp(cert_str(k->body, "transport"), "tls") == 0;
}

const char *adapter_uri(const struct adapter *a) {
    static char uri[CERT_PATH];
    if (strncmp(a->kit.uri, "tls:", 4) != 0)
        return a->kit.uri;
    return cert_path(uri, "tcp:%s", a->kit.uri + 4);
}

/* The machine of this end: the case's, or the cell's, or the version's own. */
static const char *machine_of(const struct kit *k) {
    const char *m = cert_str(k->own, "machine");
    return *m ? m : *k->machine ? k->machine : "pc";
}

static void add_guest(const struct kit *k, struct command *c) {
    bool q35 = strstr(machine_of(k), "q35") != NULL;
    if (strcmp(machine_of(k), "none") == 0)
        return;
    add(c, "-drive");
    add(c, "file=%s/guest.img,format=raw,read-only=on,%s", k->shared,
        q35 ? "if=none,id=boot" : "if=floppy");
    if (q35) {
        add(c, "-device");
        add(c, "virtio-blk-pci,drive=boot,bootindex=0");
    }
}

static void add_tls(const struct kit *k, struct command *c) {
    if (!is_tls(k))
        return;
    add(c, "-object");
    add(c, "tls-creds-x509,id=tls0,dir=%s/tls,endpoint=%s", k->shared,
        kit_is(k, "source") ? "client" : "server");
}

static int describe(struct adapter *a, const char *name, const char *head, const char *id,
                    const char *text) {
    char path[CERT_PATH], log[CERT_PATH];
    cert_path(path, "%s/%s%s.sim", a->kit.log, a->kit.role, name);
    cert_path(log, "%s/%s%s.log", a->kit.log, a->kit.role, name);
    int fd = kit_describe(path, head, id, log, text);
    if (fd >= 0)
        a->fds[a->fd_count++] = fd;
    return fd;
}

static void add_vfio(struct adapter *a, struct command *c, const char *text) {
    char number[8], id[16];
    if (a->vfio == 0) {
        add(c, "-object");
        add(c, "iommufd,id=iommu,fd=%d", describe(a, "-iommu", "vfio-sim iommu", NULL, ""));
    }
    (void)snprintf(number, sizeof number, "%u", a->vfio);
    (void)snprintf(id, sizeof id, "vf%u", a->vfio++);
    add(c, "-device");
    add(c, "vfio-pci,id=%s,fd=%d,iommufd=iommu,enable-migration=on", id,
        describe(a, number, "vfio-sim device", id, text));
}

/* The guest's driver of it is the network boot ROM: it comes before our guest's disk. */
static void add_vdpa(struct adapter *a, struct command *c, const char *text) {
    add(c, "-netdev");
    add(c, "vhost-vdpa,id=net%u,vhostfd=%d", a->vdpa,
        describe(a, "-vdpa", "vdpa-sim device", "net", text));
    add(c, "-device");
    add(c, "virtio-net-pci,netdev=net%u,bootindex=0,mac=52:54:00:12:34:56", a->vdpa++);
}

static void add_devices(struct adapter *a, struct command *c) {
    const json_t *devices = kit_devices(&a->kit);
    for (size_t i = 0; i < json_array_size(devices) && i < ADAPTER_DEVICES; i++) {
        const json_t *d = json_array_get(devices, i);
        if (strcmp(cert_str(d, "kind"), "vdpa") == 0)
            add_vdpa(a, c, cert_str(d, "text"));
        else
            add_vfio(a, c, cert_str(d, "text"));
    }
}

static void add_globals(const struct kit *k, struct command *c) {
    const json_t *list = json_object_get(k->own, "global");
    for (size_t i = 0; i < json_array_size(list); i++) {
        add(c, "-global");
        add(c, "%s", json_string_value(json_array_get(list, i)));
    }
}

static enum kit_exit set_up(struct adapter *a) {
    json_t *caps = kit_capabilities(&a->kit), *parameters = kit_parameters(&a->kit);
    const char *names[16] = {NULL};
    for (size_t i = 0; i < json_array_size(caps) && i < 15; i++)
        names[i] = json_string_value(json_array_get(caps, i));
    if (is_tls(&a->kit)) {
        cert_set(parameters, "tls-creds", "tls0");
        if (kit_is(&a->kit, "source"))
            cert_set(parameters, "tls-hostname", "localhost");
    }
    int rc = names[0] ? vms_qemu_set_capabilities(a->qemu, names) : 0;
    if (rc == 0)
        rc = vms_qemu_set_parameters(a->qemu, json_incref(parameters));
    json_decref(caps);
    json_decref(parameters);
    if (rc != 0)
        kit_say(&a->kit, "not supported: %s", vms_qemu_error(a->qemu));
    return rc == 0 ? KIT_DONE : KIT_UNSUPPORTED;
}

/*
 * Before 9.0 QEMU loses guest writes in software emulation when a block is whole multiples of
 * 256 KiB (E-55): so memory is not, at any end.
 */
static const char *memory_of(const struct adapter *a) {
    const char *m = cert_str(json_object_get(a->kit.body, "guest"), "memory");
    if (strcmp(machine_of(&a->kit), "none") == 0)
        return "64K"; /* of a dialogue: the one block "ram" */
    return *m ? m : a->vdpa ? "65544K" : "32776K";
}

enum kit_exit adapter_start(struct adapter *a, bool incoming, bool paused) {
    static struct command c;
    char preload[CERT_PATH], error[VMS_QEMU_ERROR_SIZE];
    const char *env[] = {NULL, NULL};
    add_devices(a, &c);
    add_guest(&a->kit, &c);
    add_tls(&a->kit, &c);
    add_globals(&a->kit, &c);
    if (a->fd_count)
        env[0] = cert_path(preload, "LD_PRELOAD=%s/vfio-sim.so", a->kit.build);
    a->qemu = vms_qemu_start(&(struct vms_qemu_options){.version = a->kit.version,
                                                        .machine = machine_of(&a->kit),
                                                        .memory = memory_of(a),
                                                        .args = c.words,
                                                        .env = env,
                                                        .name = a->kit.role,
                                                        .incoming = incoming,
                                                        .paused = paused,
                                                        .timeout_ms = kit_left(&a->kit, 600000)},
                             error, sizeof error);
    for (size_t i = 0; i < a->fd_count; i++)
        (void)close(a->fds[i]);
    if (!a->qemu) {
        kit_say(&a->kit, "%s", error);
        (void)kit_end(&a->kit, "local", "%s", error);
        return KIT_LOCAL;
    }
    return set_up(a);
}
