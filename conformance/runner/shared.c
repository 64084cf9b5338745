/* SPDX-License-Identifier: MIT */
#include "conformance/guest/guest_image.h"
#include "conformance/live/live.h"
#include "conformance/runner/case.h"
#include "conformance/runner/rig.h"

#include <string.h>

/* What both ends of a cell may use. */

enum {
    GUEST_PAGES = 4096, /* from 1 MiB on */
    PER_TICK = 160,     /* that it writes every 100 ms */
};

#define KEYS "one:00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\n"
/* Both ends find two that run by the lock, which only one of them can hold. */
static int write_vm(struct cert_rig *r) {
    char path[CERT_PATH], text[1024];
    bool dialogue = strcmp(cert_str(r->test, "kind"), "dialogue") == 0;
    cert_path(path, "%s/shared/vm.json", r->folder);
    if (dialogue)
        return cert_write(path, "{\"blocks\": [{\"name\": \"ram0\", \"size\": \"256K\", \"fill\": "
                                "\"mix\"}, {\"name\": \"ram1\", \"size\": \"4K\"}], "
                                "\"vcpus\": [{\"rate\": 500}], \"seed\": 3}\n");
    int rate = (int)cert_int(json_object_get(cert_case_body(r->test), "guest"), "vm_rate", 4000);
    (void)snprintf(text, sizeof text,
                   "{\"blocks\": [{\"name\": \"ram0\", \"size\": \"32M\", \"fill\": \"mix\"},\n"
                   " {\"name\": \"ram1\", \"size\": \"4M\", \"backing\": \"shared\"}],\n"
                   " \"vcpus\": [{\"rate\": %d, \"zeroes\": 0.1},\n"
                   " {\"rate\": %d, \"reads\": 0.5, \"zeroes\": 0.1}], \"seed\": 3,\n"
                   " \"running_lock\": \"run.lock\", \"announce\": \"announce.log\"}\n",
                   rate, rate);
    return cert_write(path, text);
}

static const char *write_guest(struct cert_rig *r) {
    char path[CERT_PATH];
    struct vms_guest_params guest;
    const json_t *own = cert_get(r->test, "migration", "guest");
    vms_guest_defaults(&guest);
    guest.pages = GUEST_PAGES;
    guest.prefill = GUEST_PAGES / 2;
    guest.mode = VMS_GUEST_RANDOM;
    guest.zero = 13;
    guest.run_shift = 2;
    guest.pages_per_tick = (uint32_t)cert_int(own, "pages_per_tick", PER_TICK);
    cert_path(path, "%s/shared/guest.img", r->folder);
    return vms_guest_write_image(path, &guest, VMS_GUEST_DISK_SIZE);
}

static const char *make_certificates(struct cert_rig *r, struct live *live) {
    if (strcmp(cert_str(cert_case_body(r->test), "transport"), "tls") != 0)
        return NULL;
    if (strlen(r->folder) + sizeof "/shared" > sizeof live->dir) {
        /* its paths are short: made where they are, and moved */
        char to[CERT_PATH];
        (void)snprintf(live->dir, sizeof live->dir, "%s", r->sockets);
        if (live_make_certificates(live) != 0)
            return live->error;
        char from[CERT_PATH];
        cert_path(from, "%s/tls", r->sockets);
        cert_path(to, "%s/shared/tls", r->folder);
        const char *const mv[] = {"/bin/mv", from, to, NULL};
        return live_wait(live_spawn(mv, NULL, NULL), 10000) == 0 ? NULL : "cannot move keys";
    }
    (void)snprintf(live->dir, sizeof live->dir, "%s/shared", r->folder);
    return live_make_certificates(live) == 0 ? NULL : live->error;
}

int cert_shared_make(struct cert_rig *r) {
    static struct live live;
    char path[CERT_PATH];
    const char *problem = NULL;
    if (cert_mkdir(cert_path(path, "%s/shared", r->folder)) != 0 || write_vm(r) != 0 ||
        cert_write(cert_path(path, "%s/shared/keys.psk", r->folder), KEYS) != 0)
        problem = "cannot be written";
    problem = problem ? problem : write_guest(r);
    problem = problem ? problem : make_certificates(r, &live);
    if (problem)
        cert_result_is(r->result, CERT_ERROR, "%s/shared: %s", r->folder, problem);
    return problem ? -1 : 0;
}
