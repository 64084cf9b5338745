/* SPDX-License-Identifier: MIT */
#include "host/ram_test_util.h"
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* An image over a guest's own memory, what has arrived in it, and files that are written later. */

enum {
    PAGES = 8,
};

static struct ram_fixture f;
static struct vms_guest_block blocks[2];
static struct vms_guest guest = {.blocks = blocks, .block_count = 2};

static uint8_t *map_private(void) {
    void *m = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    cr_assert_neq(m, MAP_FAILED);
    return m;
}

static void open_guest(void) {
    struct vms_ram_image_config config = vms_ram_image_config_default();
    int fd = memfd_create("ram-guest-test", MFD_CLOEXEC);
    cr_assert_eq(ftruncate(fd, PAGES * PAGE), 0);
    void *m = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    cr_assert_neq(m, MAP_FAILED);
    blocks[0] = (struct vms_guest_block){"private", map_private(), PAGES * PAGE, PAGE, false, -1};
    blocks[1] = (struct vms_guest_block){"shared", m, PAGES * PAGE, PAGE, true, fd};
    config.store = VMS_RAM_GUEST;
    config.guest = &guest;
    ram_open(&f, &config);
}

/* The memory is the guest's: it outlives the image. */
static void close_guest(void) {
    ram_close(&f);
    for (int i = 0; i < 2; i++) {
        blocks[i].memory[0] = 1;
        munmap(blocks[i].memory, blocks[i].length);
    }
    cr_assert_eq(close(blocks[1].fd), 0);
}

static enum vms_code add(const char *name, uint64_t bytes, uint64_t page_size) {
    struct vms_rec_ram_block block = {
        .name = vms_str(name), .used_length = bytes, .page_size = page_size};
    return vms_ram_image_add(f.image, &block, &f.err);
}

/* [RAM-16] [RAM-30] blocks are found by name, and must be alike. */
Test(ram_guest, blocks) {
    open_guest();
    cr_assert_eq(add("other", PAGES * PAGE, 0), VMS_E_RAM_BLOCK_UNKNOWN);
    cr_assert_eq(add("private", PAGE, 0), VMS_E_RAM_BLOCK_SIZE);
    cr_assert_eq(add("private", 2 * PAGES * PAGE, 0), VMS_E_RAM_BLOCK_SIZE);
    cr_assert_eq(add("private", PAGES * PAGE, 2 << 20), VMS_E_RAM_BLOCK_SIZE);
    cr_assert_eq(vms_ram_image_count(f.image), 0);
    cr_assert_eq(add("shared", PAGES * PAGE, 0), VMS_OK);
    cr_assert_eq(add("private", PAGES * PAGE, PAGE), VMS_OK);
    const struct vms_ram_block *b = vms_ram_image_block(f.image, 1);
    cr_assert_eq(b->memory, blocks[0].memory);
    cr_assert_eq(b->index, 1);
    cr_assert_eq(b->map_page, PAGE);
    cr_assert_not(b->shared);
    close_guest();
}

static enum vms_code give(enum vms_record_type type, const char *name, uint64_t page,
                          const uint8_t *content) {
    struct vms_record r = {.type = type, .u.page = {.block = vms_str(name), .offset = page * PAGE}};
    return ram_give_to(f.channel, r, vms_slice(content, content ? PAGE : 0), PAGE, &f.err);
}

static uint64_t arrived(size_t index) {
    uint64_t bits = 0;
    vms_ram_image_arrived(f.image, index, &bits);
    return bits;
}

/* [DST-16] [CMD-13] zero pages have arrived as well; what was discarded has not, and is zero. */
Test(ram_guest, arrived) {
    static const char *const names[] = {"private", "shared"};
    uint8_t content[PAGE];
    memset(content, 0x5a, sizeof content);
    open_guest();
    for (size_t i = 0; i < 2; i++) {
        cr_assert_eq(add(names[i], PAGES * PAGE, 0), VMS_OK);
        cr_assert_eq(give(VMS_R_RAM_PAGE, names[i], 1, content), VMS_OK);
        cr_assert_eq(give(VMS_R_RAM_PAGE, names[i], 2, content), VMS_OK);
        cr_assert_eq(give(VMS_R_RAM_ZERO, names[i], 3, NULL), VMS_OK);
        cr_assert_eq(give(VMS_R_RAM_ZERO, names[i], 5, NULL), VMS_OK);
        cr_assert_eq(arrived(i), 0x2e);
        cr_assert_eq(blocks[i].memory[PAGE], 0x5a);
        cr_assert_eq(vms_ram_image_discard(f.image, i, 2 * PAGE, 2 * PAGE, &f.err), VMS_OK);
        cr_assert_eq(arrived(i), 0x22);
        cr_assert_eq(blocks[i].memory[2 * PAGE], 0);
    }
    close_guest();
}

/* Files that userfaultfd could not serve are written afterwards, with their holes. */
Test(ram_guest, deferred_files) {
    char dir[] = "/tmp/vms-ram-XXXXXX", path[64];
    uint8_t content[PAGE], back[PAGES * PAGE];
    struct vms_ram_image_config config = vms_ram_image_config_default();
    struct stat st;
    cr_assert_not_null(mkdtemp(dir));
    (void)snprintf(path, sizeof path, "%s/ram", dir);
    config.store = VMS_RAM_FILES;
    config.path = dir;
    ram_open(&f, &config);
    vms_ram_image_defer_files(f.image);
    memset(content, 7, sizeof content);
    cr_assert_eq(add("ram", PAGES * PAGE, 0), VMS_OK);
    cr_assert_eq(give(VMS_R_RAM_PAGE, "ram", 4, content), VMS_OK);
    cr_assert_neq(stat(path, &st), 0, "not yet");
    cr_assert_eq(vms_ram_image_save(f.image, &f.err), VMS_OK, "%s", f.err.message);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    cr_assert_eq(read(fd, back, sizeof back), (ssize_t)sizeof back);
    for (size_t i = 0; i < sizeof back; i++)
        cr_assert_eq(back[i], i / PAGE == 4 ? 7 : 0);
    cr_assert_eq(fstat(fd, &st), 0);
    cr_assert_lt(st.st_blocks * 512, PAGES * PAGE, "holes stay holes");
    close(fd);
    ram_close(&f);
    (void)unlink(path);
    (void)rmdir(dir);
}

/* A folder that is not there: nothing is half written. */
Test(ram_guest, nowhere_to_save) {
    struct vms_ram_image_config config = vms_ram_image_config_default();
    config.store = VMS_RAM_FILES;
    config.path = "/nonexistent";
    ram_open(&f, &config);
    vms_ram_image_defer_files(f.image);
    cr_assert_eq(add("ram", PAGES * PAGE, 0), VMS_OK);
    cr_assert_eq(vms_ram_image_save(f.image, &f.err), VMS_E_IO);
    ram_close(&f);
}
