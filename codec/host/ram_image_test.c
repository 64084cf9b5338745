/* SPDX-License-Identifier: MIT */
#include "host/ram_test_util.h"
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

static struct ram_fixture f;

static void open_with(uint64_t max_bytes) {
    struct vms_ram_image_config config = vms_ram_image_config_default();
    config.max_bytes = max_bytes;
    ram_open(&f, &config);
}

static enum vms_code add(const char *name, uint64_t bytes) {
    struct vms_rec_ram_block block = {.name = vms_str(name), .used_length = bytes};
    return vms_ram_image_add(f.image, &block, &f.err);
}

/* [RAM-9] [RAM-10] [RAM-16] what a block list may say. */
Test(ram_image, blocks) {
    open_with(0);
    EXPECT(add("pc.ram", 16 * PAGE), VMS_OK);
    EXPECT(add("rom", PAGE), VMS_OK);
    EXPECT(add("pc.ram", 16 * PAGE), VMS_OK);
    EXPECT(add("pc.ram", 8 * PAGE), VMS_E_RAM_BLOCK_SIZE);
    EXPECT(add("", PAGE), VMS_E_RAM_BLOCK_NAME);
    EXPECT(add("x", 0), VMS_E_RAM_BLOCK_LENGTH);
    EXPECT(add("x", PAGE + 1), VMS_E_RAM_BLOCK_LENGTH);
    cr_assert_eq(vms_ram_image_count(f.image), 2);
    cr_assert_eq(vms_ram_image_find(f.image, vms_str("rom")), 1);
    cr_assert_eq(vms_ram_image_find(f.image, vms_str("ro")), SIZE_MAX);
    const struct vms_ram_block *b = vms_ram_image_block(f.image, 0);
    struct stat st;
    cr_assert_str_eq(b->name, "pc.ram");
    cr_assert_eq(fstat(b->fd, &st), 0);
    cr_assert_eq(st.st_size, 16 * PAGE);
    cr_assert_null(vms_ram_image_block(f.image, 2));
    ram_close(&f);
}

/* [LIM-1] at the limit and one page past it, before anything is allocated. */
Test(ram_image, limit_of_bytes) {
    open_with(8 * PAGE);
    EXPECT(add("a", 7 * PAGE), VMS_OK);
    EXPECT(add("b", 2 * PAGE), VMS_E_LIMIT);
    EXPECT(add("huge", UINT64_MAX - PAGE + 1), VMS_E_LIMIT);
    EXPECT(add("c", PAGE), VMS_OK);
    EXPECT(add("d", PAGE), VMS_E_LIMIT);
    struct vms_record total = {.type = VMS_R_RAM_MEM_SIZE, .u.ram_total = 8 * PAGE};
    EXPECT(ram_give(&f, total, vms_slice(NULL, 0)), VMS_OK);
    total.u.ram_total += PAGE;
    EXPECT(ram_give(&f, total, vms_slice(NULL, 0)), VMS_E_LIMIT);
    cr_assert_eq(f.err.class_, VMS_CLASS_LIMIT);
    ram_close(&f);
}

Test(ram_image, limit_of_blocks) {
    struct vms_ram_image_config config = {.store = VMS_RAM_CHECK, .limits = vms_limits_default()};
    config.limits.ram_blocks = 2;
    ram_open(&f, &config);
    EXPECT(add("a", PAGE), VMS_OK);
    EXPECT(add("b", UINT64_MAX - PAGE + 1), VMS_OK); /* not stored: only counted */
    EXPECT(add("c", PAGE), VMS_E_LIMIT);
    ram_close(&f);
}

Test(ram_image, page_size) {
    open_with(0);
    cr_assert_eq(vms_ram_image_page_size(f.image, 1000, &f.err), VMS_E_MISUSE);
    cr_assert_eq(vms_ram_image_page_size(f.image, 512, &f.err), VMS_E_MISUSE);
    cr_assert_eq(vms_ram_image_page_size(f.image, 131072, &f.err), VMS_E_MISUSE);
    cr_assert_eq(vms_ram_image_page_size(f.image, 65536, &f.err), VMS_OK);
    EXPECT(add("a", 2 * 65536), VMS_OK);
    EXPECT(add("b", PAGE), VMS_E_RAM_BLOCK_LENGTH);
    cr_assert_eq(vms_ram_image_page_size(f.image, 65536, &f.err), VMS_OK);
    cr_assert_eq(vms_ram_image_page_size(f.image, 4096, &f.err), VMS_E_MISUSE);
    ram_close(&f);
}

/* Only one block is stored; the others cost nothing. */
Test(ram_image, only) {
    struct vms_ram_image_config config = vms_ram_image_config_default();
    config.only = vms_str("rom");
    config.max_bytes = PAGE;
    ram_open(&f, &config);
    EXPECT(add("pc.ram", UINT64_C(1) << 50), VMS_OK);
    EXPECT(add("rom", PAGE), VMS_OK);
    cr_assert_null(vms_ram_image_block(f.image, 0)->memory);
    cr_assert_not_null(vms_ram_image_block(f.image, 1)->memory);
    ram_close(&f);
}

/* ---- file names ---- */

static const char *file_name(const char *block) {
    static char out[VMS_RAM_FILE_NAME_MAX];
    return vms_ram_file_name(vms_str(block), out) ? out : "(none)";
}

Test(ram_image, file_names) {
    cr_assert_str_eq(file_name("pc.ram"), "pc.ram");
    cr_assert_str_eq(file_name("/rom@etc/acpi/tables"), "%2From@etc%2Facpi%2Ftables");
    cr_assert_str_eq(file_name("."), "%2E");
    cr_assert_str_eq(file_name(".."), "%2E%2E");
    cr_assert_str_eq(file_name("..."), "...");
    cr_assert_str_eq(file_name("%2E"), "%252E");
    cr_assert_str_eq(file_name("a\nb\x7f\xff"), "a%0Ab%7F%FF");
    cr_assert_str_eq(file_name(""), "(none)");
}

/* No two names meet: every name of up to two bytes. */
Test(ram_image, file_names_are_injective) {
    enum {
        NAMES = 255 + 255 * 255
    };
    char(*all)[8] = calloc(NAMES, sizeof *all);
    size_t n = 0;
    for (unsigned a = 1; a < 256; a++)
        for (unsigned b = 0; b < 256; b++) {
            uint8_t name[2] = {(uint8_t)a, (uint8_t)b};
            cr_assert(vms_ram_file_name(vms_slice(name, b ? 2 : 1), all[n++]));
        }
    cr_assert_eq(n, NAMES);
    qsort(all, n, sizeof *all, (int (*)(const void *, const void *))strcmp);
    for (size_t i = 1; i < n; i++)
        cr_assert_str_neq(all[i - 1], all[i]);
    free(all);
}

Test(ram_image, files) {
    char directory[] = "/tmp/vmstream-test-XXXXXX", path[300];
    uint8_t page[PAGE], back[PAGE];
    cr_assert_not_null(mkdtemp(directory));
    struct vms_ram_image_config config = vms_ram_image_config_default();
    config.store = VMS_RAM_FILES;
    config.path = directory;
    ram_open(&f, &config);
    ram_add(&f, "/a/b", 4 * PAGE);
    ram_pattern(page, 1);
    EXPECT(ram_give(&f, ram_page(VMS_R_RAM_PAGE, "/a/b", PAGE), vms_slice(page, PAGE)), VMS_OK);
    ram_close(&f);
    snprintf(path, sizeof path, "%s/%%2Fa%%2Fb", directory);
    int fd = open(path, O_RDONLY);
    struct stat st;
    cr_assert_eq(fstat(fd, &st), 0);
    cr_assert_eq(st.st_size, 4 * PAGE);
    cr_assert_leq(st.st_blocks * 512, PAGE);
    cr_assert_eq(pread(fd, back, PAGE, PAGE), PAGE);
    cr_assert_eq(memcmp(back, page, PAGE), 0);
    close(fd);
    unlink(path);
    rmdir(directory);
}

Test(ram_image, one_file) {
    char path[] = "/tmp/vmstream-test-XXXXXX";
    int fd = mkstemp(path);
    struct vms_ram_image_config config = vms_ram_image_config_default();
    config.store = VMS_RAM_FILE;
    config.path = path;
    cr_assert_null(vms_ram_image_new(&config, &f.err));
    config.only = vms_str("b");
    ram_open(&f, &config);
    ram_add(&f, "a", PAGE);
    ram_add(&f, "b", 3 * PAGE);
    struct stat st;
    cr_assert_eq(fstat(fd, &st), 0);
    cr_assert_eq(st.st_size, 3 * PAGE);
    ram_close(&f);
    close(fd);
    unlink(path);
}

Test(ram_image, directory_missing) {
    struct vms_ram_image_config config = vms_ram_image_config_default();
    config.store = VMS_RAM_FILES;
    config.path = "/nonexistent/folder";
    ram_open(&f, &config);
    EXPECT(add("a", PAGE), VMS_E_IO);
    cr_assert_eq(f.err.class_, VMS_CLASS_LOCAL);
    cr_assert_eq(vms_ram_image_count(f.image), 0);
    ram_close(&f);
}

/* ---- discard ---- */

Test(ram_image, discard) {
    uint8_t page[PAGE], zero[PAGE] = {0};
    open_with(0);
    ram_add(&f, "m", 200 * PAGE);
    ram_pattern(page, 3);
    for (uint64_t i = 0; i < 200; i++)
        EXPECT(ram_give(&f, ram_page(VMS_R_RAM_PAGE, "m", i * PAGE), vms_slice(page, PAGE)),
               VMS_OK);
    EXPECT(vms_ram_image_discard(f.image, 0, 10 * PAGE, 130 * PAGE, &f.err), VMS_OK);
    EXPECT(vms_ram_image_discard(f.image, 0, 0, 0, &f.err), VMS_OK);
    const uint8_t *memory = vms_ram_image_block(f.image, 0)->memory;
    for (uint64_t i = 0; i < 200; i++)
        cr_assert_eq(memcmp(memory + i * PAGE, i >= 10 && i < 140 ? zero : page, PAGE), 0);
    /* what comes again after a discard is no duplicate */
    EXPECT(ram_give(&f, ram_page(VMS_R_RAM_PAGE, "m", 139 * PAGE), vms_slice(page, PAGE)), VMS_OK);
    cr_assert_eq(vms_ram_image_stats(f.image, 0).duplicates, 0);
    EXPECT(ram_give(&f, ram_page(VMS_R_RAM_PAGE, "m", 140 * PAGE), vms_slice(page, PAGE)), VMS_OK);
    cr_assert_eq(vms_ram_image_stats(f.image, 0).duplicates, 1);
    EXPECT(vms_ram_image_discard(f.image, 0, 1, PAGE, &f.err), VMS_E_RAM_OFFSET);
    EXPECT(vms_ram_image_discard(f.image, 0, 0, PAGE - 1, &f.err), VMS_E_RAM_OFFSET);
    EXPECT(vms_ram_image_discard(f.image, 0, 199 * PAGE, 2 * PAGE, &f.err), VMS_E_RAM_OFFSET);
    EXPECT(vms_ram_image_discard(f.image, 0, PAGE, UINT64_MAX - PAGE + 1, &f.err),
           VMS_E_RAM_OFFSET);
    EXPECT(vms_ram_image_discard(f.image, 1, 0, PAGE, &f.err), VMS_E_RAM_BLOCK_UNKNOWN);
    ram_close(&f);
}

/* Statistics stay when the channel that counted them is gone. */
Test(ram_image, stats_of_several_channels) {
    struct vms_ram_channel *more[3];
    uint8_t page[PAGE] = {1};
    open_with(0);
    ram_add(&f, "a", PAGE);
    ram_add(&f, "b", PAGE);
    for (size_t i = 0; i < 3; i++) {
        more[i] = vms_ram_channel_new(f.image, 1, &f.err);
        EXPECT(ram_give_to(more[i], ram_page(VMS_R_RAM_PAGE, "b", 0), vms_slice(page, PAGE), PAGE,
                           &f.err),
               VMS_OK);
    }
    vms_ram_channel_free(more[1]);
    cr_assert_eq(vms_ram_image_stats(f.image, 1).normal, 3);
    vms_ram_channel_free(more[0]);
    vms_ram_channel_free(more[2]);
    cr_assert_eq(vms_ram_image_stats(f.image, 1).normal, 3);
    cr_assert_eq(vms_ram_image_stats(f.image, 0).normal, 0);
    cr_assert_eq(vms_ram_image_stats(f.image, 7).normal, 0);
    ram_close(&f);
}
