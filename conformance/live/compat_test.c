/* SPDX-License-Identifier: MIT */
#include "conformance/adapters/qemu.h"
#include "conformance/live/live.h"

#include <criterion/criterion.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/*
 * `vmstream compat` with what real QEMUs print of themselves: the same one loads its own, a newer
 * one what an older one has sent, and each change that is planted in what it prints is found.
 */
enum {
    MS = 120000,
    PATH = 600,
    PLANTED = 40,
};

static char dir[] = "/tmp/vms-compat-XXXXXX", said[1 << 16];

static void setup(void) {
    cr_assert_not_null(mkdtemp(dir));
}

static void teardown(void) {
    const char *const argv[] = {"/bin/rm", "-rf", dir, NULL};
    (void)live_wait(live_spawn(argv, NULL, NULL), MS);
}

TestSuite(compat_live, .init = setup, .fini = teardown, .timeout = 600);

static const char *file(const char *name) {
    static char path[16][PATH]; /* that many are in use at once */
    static unsigned turn;
    turn = (turn + 1) % 16;
    (void)snprintf(path[turn], PATH, "%s/%s", dir, name);
    return path[turn];
}

/* A fetched QEMU must not find the modules of the system's: printing all devices loads them all. */
static const char APART[] =
    "for d in /usr/lib/*/qemu; do [ ! -d \"$d\" ] || mount -t tmpfs none "
    "\"$d\" || exit 9; done; exec \"$0\" -machine \"$1\" -dump-vmstate \"$2\"";

/* What that QEMU prints, in a file of this name. */
static const char *dump(const char *version, const char *machine, const char *name) {
    struct vms_peer peer;
    if (!vms_peer_find(version, &peer)) {
        cr_assert(!getenv("CI") || strcmp(getenv("CI"), "true") != 0, "QEMU %s is absent", version);
        cr_skip_test("QEMU %s is absent", version);
    }
    const char *path = file(name);
    const char *const own[] = {peer.path, "-machine", machine, "-dump-vmstate", path, NULL};
    const char *const apart[] = {"/usr/bin/unshare", "-m",    "sh", "-c", APART,
                                 peer.path,          machine, path, NULL};
    bool fetched = strcmp(version, "7.2") != 0;
    int status = live_wait(live_spawn(fetched ? apart : own, file("qemu.log"), NULL), MS);
    cr_assert_eq(status, 0, "%s -dump-vmstate: status %d", peer.path, status);
    return path;
}

/* Its exit status; what it said is in said. */
static int compat(const char *from, const char *to) {
    char program[PATH];
    const char *build = getenv("VMSTREAM_BUILD"), *log = file("said");
    (void)snprintf(program, sizeof program, "%s/vmstream", build ? build : "build");
    const char *const argv[] = {program, "compat", from, to, NULL};
    (void)unlink(log);
    int status = live_wait(live_spawn(argv, log, NULL), MS);
    FILE *f = fopen(log, "re");
    cr_assert_not_null(f);
    said[fread(said, 1, sizeof said - 1, f)] = 0;
    (void)fclose(f);
    return status;
}

Test(compat_live, a_qemu_loads_its_own) {
    static const char *const machines[][2] = {{"7.2", "pc-i440fx-7.2"}, {"10.0", "pc-i440fx-10.0"}};
    for (size_t i = 0; i < 2; i++) {
        const char *own = dump(machines[i][0], machines[i][1], "own.json");
        cr_expect_eq(compat(own, own), 0, "%s: %s", machines[i][0], said);
        cr_expect(strstr(said, "loads: 0 errors"), "%s: %s", machines[i][0], said);
    }
}

/*
 * QEMU 11.1 has two subsections of one name in its SD cards, of which a loader takes the first for
 * both. The field that the ISA form of IPMI has twice, one for each version, is none of it.
 */
Test(compat_live, what_a_qemu_does_not_load_of_its_own) {
    const char *own = dump("11.1", "pc-i440fx-11.1", "own.json");
    cr_expect_eq(compat(own, own), 1, "%s", said);
    cr_expect(strstr(said, "sd-card/sd-card/ext_csd_modes-state/rpmb.key: is sent, and not read"));
    for (char *line = strtok(said, "\n"); line; line = strtok(NULL, "\n"))
        if (strncmp(line, "error", 5) == 0)
            cr_expect(strstr(line, "/ext_csd_modes-state/"), "%s", line);
}

/* What was sent in truth holds its devices only; a newer QEMU loads it, as live migrations show. */
Test(compat_live, a_real_stream_loads_in_a_newer_one) {
    const char *const stream = "conformance/profiles/replay/qemu-7.2-none.qevm";
    cr_expect_eq(compat(stream, dump("7.2", "pc-i440fx-7.2", "old.json")), 0, "%s", said);
    cr_expect_eq(compat(stream, dump("11.1", "pc-i440fx-7.2", "new.json")), 0, "%s", said);
}

/* An emulated SCSI adapter has got a field since that an older one does not send. */
Test(compat_live, another_version_differs_and_is_told_why) {
    const char *old = dump("7.2", "pc-i440fx-7.2", "old.json");
    cr_expect_eq(compat(old, dump("11.1", "pc-i440fx-7.2", "new.json")), 1, "%s", said);
    cr_expect(strstr(said, "dc390/esp/drq_state: is read there, and not sent [field-missing]"),
              "%s", said);
    cr_expect(strstr(said, "does not load: "), "%s", said);
}

/* ---- planted ---- */

static json_t *description(json_t *device) {
    json_t *d = json_object_get(device, "Description");
    return json_array_size(json_object_get(d, "Fields")) ? d : NULL;
}

static void save(const json_t *all, const char *name) {
    cr_assert_eq(json_dump_file(all, file(name), JSON_COMPACT), 0);
}

/* Each device in turn wants a version that nobody sends. */
Test(compat_live, each_planted_change_is_found) {
    json_error_t why;
    json_t *all = json_load_file(dump("7.2", "pc-i440fx-7.2", "old.json"), 0, &why), *device;
    const char *name;
    unsigned planted = 0, turn = 0;
    cr_assert_not_null(all, "%s", why.text);
    json_object_foreach(all, name, device) {
        json_t *d = description(device);
        json_int_t was = json_integer_value(json_object_get(d, "minimum_version_id"));
        json_int_t sent = json_integer_value(json_object_get(d, "version_id"));
        if (!d || planted == PLANTED || turn++ % 3 != 0)
            continue;
        planted++;
        (void)json_object_set_new(d, "minimum_version_id", json_integer(sent + 1));
        (void)json_object_set_new(d, "version_id", json_integer(sent + 1));
        save(all, "new.json");
        cr_expect_eq(compat(file("old.json"), file("new.json")), 1, "%s: %s", name, said);
        cr_expect(strstr(said, name) && strstr(said, "[minimum-version]"), "%s: %s", name, said);
        (void)json_object_set_new(d, "minimum_version_id", json_integer(was));
        (void)json_object_set_new(d, "version_id", json_integer(sent));
    }
    cr_expect_geq(planted, PLANTED / 2u);
    json_decref(all);
}
