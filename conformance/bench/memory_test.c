/* SPDX-License-Identifier: MIT */
#include "conformance/bench/rig.h"
#include "reference-src/vm/vm.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
    BYTES = 8 << 20,
};

static struct rig rig;

static void open_rig(void) {
    cr_assert_eq(rig_open(&rig, "."), 0, "%s", rig.error);
}

static void close_rig(void) {
    rig_close(&rig);
    cr_assert_neq(access(rig.dir, F_OK), 0, "%s is left", rig.dir);
}

TestSuite(memory, .init = open_rig, .fini = close_rig, .timeout = 120);

static bool image_exists(void) {
    return access(rig.image, F_OK) == 0;
}

/* Few megabytes: only beside somebody who has all memory it may fail. */
static void have_size(uint64_t bytes, bool pool) {
    int rc = rig_size(&rig, bytes, pool);
    if (rc != 0 && rig.lacks)
        cr_skip_test("%s", rig.error);
    cr_assert_eq(rc, 0, "%s", rig.error);
}

static void have_image(bool wanted) {
    cr_assert_eq(rig_image(&rig, wanted), 0, "%s", rig.error);
}

static const uint8_t *map_image(void) {
    int fd = open(rig.image, O_RDONLY | O_CLOEXEC);
    cr_assert_geq(fd, 0);
    const uint8_t *map = mmap(NULL, BYTES, PROT_READ, MAP_SHARED, fd, 0);
    cr_assert_neq(map, MAP_FAILED);
    (void)close(fd);
    return map;
}

/* What QEMU sends is what our source sends. */
Test(memory, image_is_the_guests_memory) {
    static const char text[] =
        "{\"blocks\": [{\"name\": \"ram\", \"size\": \"8M\", \"fill\": \"" RIG_FILL "\"}]}";
    struct vms_vm *vm = NULL;
    struct vms_error err;
    cr_assert_eq(vms_vm_new_text(text, "test", VMS_VM_SOURCE, &vm, &err), VMS_OK, "%s",
                 err.message);
    have_size(BYTES, false);
    have_image(true);
    const uint8_t *map = map_image();
    cr_assert_eq(memcmp(map, vms_vm_guest(vm)->blocks[0].memory, BYTES), 0);
    (void)munmap((void *)(uintptr_t)map, BYTES);
    vms_vm_free(vm);
}

Test(memory, image_only_when_it_is_read) {
    have_size(BYTES, false);
    cr_assert_eq(rig.copies, 3);
    have_image(false);
    cr_assert(!image_exists());
    have_image(true);
    cr_assert(image_exists());
    have_image(false);
    cr_assert(image_exists(), "there is room for it beside both ends");
    rig.copies = 2;
    have_image(false);
    cr_assert(!image_exists(), "it takes the room of an end");
    have_image(true);
    cr_assert(image_exists());
    have_size(2 * BYTES, false);
    cr_assert(!image_exists(), "it was of another size");
}

Test(memory, too_much_is_told) {
    have_size(BYTES, false);
    cr_assert_eq(rig_size(&rig, UINT64_C(1) << 50, true), -1);
    cr_assert(rig.lacks);
    cr_assert_not_null(strstr(rig.error, "needs 2097154.0 GiB, "), "%s", rig.error);
    cr_assert_eq(rig.huge, 0);
    rig.lacks = false;
    cr_assert_eq(rig_size(&rig, UINT64_C(1) << 50, true), -1, "again");
    cr_assert(rig.lacks);
    have_size(BYTES, false);
    cr_assert_eq(rig.copies, 3, "what there is room for is found out anew");
}

static long kept(void) {
    long count = 0;
    FILE *f = fopen("/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", "re");
    if (f && fscanf(f, "%ld", &count) != 1)
        count = 0;
    if (f)
        (void)fclose(f);
    return count;
}

/* Others change the pool too, but not at each of so many times. */
Test(memory, pool_is_given_back) {
    enum {
        TRIES = 50
    };
    bool same = false;
    int had = 0;
    for (int tries = 0; tries < TRIES && !same; tries++) {
        long before = kept();
        bool has = rig_huge(&rig, rig_huge_free() + 4) == 0;
        have_size((tries % 2 ? 1 : 2) * (uint64_t)BYTES, false); /* another: gives it back */
        cr_assert_eq(rig.huge, 0);
        had += has;
        same = has && kept() == before;
    }
    if (had == 0) {
        cr_assert_null(getenv("CI"), "%s", rig.error);
        cr_skip_test("%s", rig.error);
    }
    cr_assert(same);
}
