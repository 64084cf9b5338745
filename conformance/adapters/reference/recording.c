/* SPDX-License-Identifier: MIT */
#include "conformance/adapters/reference/adapter.h"

#include "conformance/adapters/qemu.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

/* A guest to send to a QEMU: one that such a QEMU has run, from its own stream. */
enum {
    BOOT_MS = 60000,
    SAVE_MS = 60000,
};

static const char *machine_of(const struct kit *k) {
    const char *m = cert_str(json_object_get(k->body, "destination"), "machine");
    return *m ? m : *k->peer_machine ? k->peer_machine : *k->machine ? k->machine : "pc";
}

static int fail(char *error, const char *what, const char *why) {
    (void)snprintf(error, 4096, "%s: %s", what, why);
    return -1;
}

static int save(struct reference *r, struct vms_qemu *q, const char *folder, char *error) {
    static const char *const completed[] = {"completed", NULL};
    char uri[CERT_PATH + 32], ram[CERT_PATH], path[CERT_PATH];
    struct vms_ram_dump dump;
    (void)r;
    (void)snprintf(uri, sizeof uri, "exec:cat >'%s/stream'", folder);
    if (vms_qemu_wait_serial(q, "hb 00000002", 0, BOOT_MS) < 0 ||
        vms_qemu_set_parameters(q, json_pack("{s:i}", "max-bandwidth", 1 << 30)) != 0 ||
        vms_qemu_migrate(q, uri) != 0 ||
        vms_qemu_wait_migration(q, completed, SAVE_MS, NULL) != 0 ||
        vms_qemu_dump_ram(q, cert_path(ram, "%s/ram", folder), &dump) != 0)
        return fail(error, "recording", vms_qemu_error(q));
    vms_ram_dump_free(&dump);
    char *serial = cert_read(vms_qemu_serial_path(q), 1 << 20, NULL);
    int rc = serial ? cert_write(cert_path(path, "%s/serial", folder), serial) : -1;
    free(serial);
    return rc == 0 ? 0 : fail(error, path, strerror(errno));
}

static int record(struct reference *r, const char *folder, char *error) {
    char drive[CERT_PATH], why[VMS_QEMU_ERROR_SIZE];
    const char *args[] = {"-drive",
                          cert_path(drive,
                                    "file=%s/guest.img,format=raw,read-only=on,"
                                    "if=floppy",
                                    r->kit.shared),
                          NULL};
    const char *version = *r->kit.peer_version ? r->kit.peer_version : "7.2";
    struct vms_qemu *q = vms_qemu_start(&(struct vms_qemu_options){.version = version,
                                                                   .machine = machine_of(&r->kit),
                                                                   .memory = "32776K",
                                                                   .args = args,
                                                                   .name = "recorded"},
                                        why, sizeof why);
    if (!q)
        return fail(error, "recording", why);
    int rc = save(r, q, folder, error);
    vms_qemu_free(q);
    return rc;
}

/* Others may want the same one at this moment. */
static int make_once(struct reference *r, const char *folder, char *error) {
    char part[CERT_PATH], lock[CERT_PATH], done[CERT_PATH];
    int fd = open(cert_path(lock, "%s.lock", folder), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || flock(fd, LOCK_EX) != 0)
        return fail(error, lock, strerror(errno));
    int rc = 0;
    if (!cert_exists(cert_path(done, "%s/serial", folder))) {
        cert_path(part, "%s.part", folder);
        cert_remove(part);
        cert_remove(folder);
        rc = cert_mkdir(part) == 0 ? record(r, part, error) : fail(error, part, strerror(errno));
        if (rc == 0 && rename(part, folder) != 0)
            rc = fail(error, folder, strerror(errno));
    }
    (void)close(fd);
    return rc;
}

static void link_all(const char *from, const char *to) {
    char a[CERT_PATH], b[CERT_PATH];
    DIR *d = opendir(from);
    (void)cert_mkdir(to);
    for (struct dirent *e; d && (e = readdir(d));)
        if (e->d_name[0] != '.')
            (void)link(cert_path(a, "%s/%s", from, e->d_name),
                       cert_path(b, "%s/%s", to, e->d_name));
    if (d)
        (void)closedir(d);
}

int ref_recording(struct reference *r, char stream[CERT_PATH], char *error) {
    char folder[CERT_PATH], from[CERT_PATH], to[CERT_PATH];
    const char *version = *r->kit.peer_version ? r->kit.peer_version : "7.2";
    cert_path(folder, "%s/guest-%s-%s", r->kit.cache, version, machine_of(&r->kit));
    if (make_once(r, folder, error) != 0)
        return -1;
    link_all(cert_path(from, "%s/ram", folder), cert_path(to, "%s/ram", r->kit.log));
    (void)link(cert_path(from, "%s/serial", folder), cert_path(to, "%s/serial", r->kit.log));
    cert_path(stream, "%s/stream", folder);
    return 0;
}
