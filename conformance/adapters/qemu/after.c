/* SPDX-License-Identifier: MIT */
#include "conformance/adapters/qemu/adapter.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    GRACE_MS = 3000,
    SERIAL_MAX = 1 << 20,
};

int adapter_dump(struct adapter *a) {
    char dir[CERT_PATH];
    struct vms_ram_dump dump;
    cert_path(dir, "%s/ram", a->kit.log);
    if (vms_qemu_dump_ram(a->qemu, dir, &dump) != 0)
        return -1;
    if (dump.missing)
        kit_say(&a->kit, "%zu RAM blocks could not be read", dump.missing);
    vms_ram_dump_free(&dump);
    return 0;
}

/* The block at guest address 0, to its used length. */
static uint64_t memory_size(struct adapter *a) {
    struct vms_ram_dump dump;
    uint64_t size = 0;
    if (vms_qemu_find_ram(a->qemu, &dump) != 0)
        return 0;
    for (size_t i = 0; i < dump.count; i++)
        if (dump.blocks[i].offset == 0)
            size = dump.blocks[i].used;
    vms_ram_dump_free(&dump);
    return size;
}

int adapter_watch(struct adapter *a) {
    char path[CERT_PATH];
    struct stat st;
    const char *serial = vms_qemu_serial_path(a->qemu);
    ssize_t at = stat(serial, &st) == 0 ? (ssize_t)st.st_size : 0;
    for (int i = 0; i < ADAPTER_BEATS && at >= 0; i++)
        at = vms_qemu_wait_serial(a->qemu, "hb ", (size_t)at, kit_left(&a->kit, 20000));
    if (at < 0 || vms_qemu_stop(a->qemu) != 0)
        return -1;
    uint64_t size = memory_size(a);
    cert_path(path, "%s/guest.ram", a->kit.log);
    return size && vms_qemu_pmemsave(a->qemu, 0, size, path) == 0 ? 0 : -1;
}

void adapter_note(struct adapter *a) {
    char status[32], path[CERT_PATH];
    if (vms_qemu_status(a->qemu, status, sizeof status) == 0) {
        cert_set(a->kit.end, "state", status);
        (void)json_object_set_new(a->kit.end, "running",
                                  json_boolean(strcmp(status, "running") == 0));
    }
    char *serial = cert_read(vms_qemu_serial_path(a->qemu), SERIAL_MAX, NULL);
    if (serial)
        (void)cert_write(cert_path(path, "%s/serial", a->kit.log), serial);
    free(serial);
    /* what QEMU itself has printed */
    cert_path(path, "%s/stderr.txt", vms_qemu_dir(a->qemu));
    char *text = cert_read(path, 4096, NULL);
    if (text && *text)
        kit_say(&a->kit, "QEMU printed: %s", text);
    free(text);
}

void adapter_die_like_it(struct adapter *a) {
    int status = 0;
    if (!a->qemu || vms_qemu_wait_exit(a->qemu, GRACE_MS, &status) != 0 || !WIFSIGNALED(status))
        return;
    int number = WTERMSIG(status);
    kit_say(&a->kit, "QEMU was ended by signal %d (%s)", number, strsignal(number));
    vms_qemu_free(a->qemu);
    a->qemu = NULL;
    (void)signal(number, SIG_DFL);
    (void)raise(number);
}
