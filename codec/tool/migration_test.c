/* SPDX-License-Identifier: MIT */
#include "tool/load.h"
#include "tool/tool_test_util.h"

/*
 * The order between channels (MFD-12). One page comes three times: in round 1 on channel 1, in
 * round 2 on channel 0, in round 3 on channel 1. Read file by file, channel 0's version of round 2
 * or channel 1's of round 3 would win by chance; by rounds it is round 3's.
 */
enum {
    PAGE = 4096,
    SLOTS = 128,
};

static struct test_stream main_channel, data[2];

static void add_hello(struct test_stream *s, uint8_t id) {
    struct vms_record record = {.type = VMS_R_MULTIFD_HELLO};
    record.u.hello.channel_id = id;
    test_stream_add_plain(s, record);
}

static void add_packet(struct test_stream *s, uint32_t flags, const uint8_t *page) {
    static const uint8_t offsets[8 * SLOTS];
    struct vms_record record = {.type = VMS_R_MULTIFD_PACKET};
    struct vms_rec_multifd_packet *p = &record.u.packet;
    p->flags = flags;
    p->pages_alloc = SLOTS;
    p->normal_pages = page ? 1 : 0;
    p->block = vms_str("m");
    p->offsets = vms_slice(offsets, sizeof offsets);
    test_stream_add(s, record, vms_slice(page, page ? PAGE : 0));
}

static void add_page(struct test_stream *s, uint8_t fill) {
    uint8_t page[PAGE];
    memset(page, fill, sizeof page);
    add_packet(s, 0, page);
}

static void sync_channels(void) {
    add_packet(&data[0], VMS_MULTIFD_SYNC, NULL);
    add_packet(&data[1], VMS_MULTIFD_SYNC, NULL);
}

static void add_word(enum vms_record_type type, uint64_t word) {
    test_stream_add_plain(&main_channel, (struct vms_record){.type = type, .u.ram_word = word});
}

/* flush: RAM_MULTIFD_FLUSH marks; else the EOS of each section does. */
static void end_part(bool flush) {
    if (flush)
        add_word(VMS_R_RAM_MULTIFD_FLUSH, VMS_RAM_MULTIFD_FLUSH);
    add_word(VMS_R_RAM_EOS, VMS_RAM_EOS);
    test_stream_add_plain(&main_channel,
                          (struct vms_record){.type = VMS_R_SECTION_FOOTER, .u.section.id = 2});
}

static void add_round(bool flush, int channel, uint8_t fill) {
    add_page(&data[channel], fill);
    sync_channels();
    test_stream_add_plain(&main_channel, test_section(VMS_R_SECTION_PART, 2));
    end_part(flush);
}

static void build(bool flush) {
    test_stream_init(&main_channel);
    test_stream_begin(&main_channel, "m", PAGE);
    for (int i = 0; i < 2; i++) {
        test_stream_init(&data[i]);
        add_hello(&data[i], (uint8_t)i);
    }
    end_part(flush);
    sync_channels();
    add_round(flush, 1, 1);
    add_round(flush, 0, 2);
    add_round(flush, 1, 3);
}

static void end_main(void) {
    test_stream_add_plain(&main_channel, (struct vms_record){.type = VMS_R_EOF});
    test_stream_add(&main_channel, (struct vms_record){.type = VMS_R_VMDESCRIPTION},
                    vms_str("{\"devices\":[]}"));
}

static struct vms_slice bytes(const struct test_stream *s) {
    return vms_slice(s->bytes, s->len);
}

struct result {
    int status;
    struct vms_error err;
    enum vms_code code;
    uint8_t byte;
};

static struct result load_files(char **files, int count, struct vms_dialect dialect) {
    struct tool_options options = {
        .limits = vms_limits_default(), .dialect = dialect, .files = files, .file_count = count};
    struct vms_ram_image_config config = vms_ram_image_config_default();
    struct load load;
    struct result r = {0};
    r.status = load_open(&load, &options, VMS_QEVM_MAIN, &config, NULL, NULL);
    if (r.status == TOOL_DONE) {
        load.migration.whole = true;
        r.code = migration_run(&load.migration, &r.err);
    }
    if (vms_ram_image_count(load.image) > 0)
        r.byte = vms_ram_image_block(load.image, 0)->memory[0];
    load_close(&load);
    return r;
}

static struct result load_built(struct vms_dialect dialect) {
    char *files[3] = {test_write("main", bytes(&main_channel)), test_write("0", bytes(&data[0])),
                      test_write("1", bytes(&data[1]))};
    struct result r = load_files(files, 3, dialect);
    char *swapped[3] = {files[0], files[2], files[1]};
    struct result s = load_files(swapped, 3, dialect);
    cr_assert(r.status == s.status && r.code == s.code && r.byte == s.byte);
    return r;
}

TestSuite(migration, .init = test_folder_make, .fini = test_folder_remove);

/* [MFD-12] */
Test(migration, rounds_by_flush) {
    build(true);
    end_main();
    struct result r = load_built((struct vms_dialect){0});
    cr_assert_eq(r.code, VMS_OK, "%s", r.err.message);
    cr_assert_eq(r.byte, 3);
}

/* [MFD-12] a machine type up to 8.0 marks by EOS; the test's configuration says 11.1. */
Test(migration, rounds_by_eos) {
    build(false);
    end_main();
    struct result r = load_built((struct vms_dialect){.multifd_flush = VMS_OFF});
    cr_assert_eq(r.code, VMS_OK, "%s", r.err.message);
    cr_assert_eq(r.byte, 3);
}

/* [MFD-12] the main channel waits for a SYNC that a channel does not have. */
Test(migration, sync_missing) {
    build(true);
    test_stream_add_plain(&main_channel, test_section(VMS_R_SECTION_PART, 2));
    end_part(true);
    add_packet(&data[0], VMS_MULTIFD_SYNC, NULL);
    end_main();
    struct result r = load_built((struct vms_dialect){0});
    cr_assert_eq(r.code, VMS_E_MULTIFD_SYNC);
}

/* [MFD-2] */
Test(migration, channels_missing_or_twice) {
    build(true);
    end_main();
    char *files[3] = {test_write("main", bytes(&main_channel)), test_write("1", bytes(&data[1])),
                      NULL};
    files[2] = files[1];
    cr_assert_eq(load_files(files, 2, (struct vms_dialect){0}).code, VMS_E_MULTIFD_CHANNEL);
    cr_assert_eq(load_files(files, 3, (struct vms_dialect){0}).code, VMS_E_MULTIFD_CHANNEL);
}

Test(migration, wrong_files) {
    char *native = test_write("native", vms_slice("\xd9\xd9\xf9\xda", 4));
    char *junk = test_write("junk", vms_str("junk"));
    build(true);
    end_main();
    char *good = test_write("main", bytes(&main_channel));
    cr_assert_eq(load_files(&native, 1, (struct vms_dialect){0}).code, VMS_E_TRUNCATED);
    cr_assert_eq(load_files((char *[]){good, native}, 2, (struct vms_dialect){0}).status,
                 TOOL_USAGE);
    cr_assert_eq(load_files((char *[]){good, junk}, 2, (struct vms_dialect){0}).status, TOOL_USAGE);
    cr_assert_eq(load_files((char *[]){good, good}, 2, (struct vms_dialect){0}).status, TOOL_USAGE);
    char missing[] = "/nonexistent";
    cr_assert_eq(load_files((char *[]){missing}, 1, (struct vms_dialect){0}).status, TOOL_LOCAL);
    cr_assert_eq(load_files(&junk, 1, (struct vms_dialect){0}).code, VMS_E_BAD_MAGIC);
}

/* Decode and encode give every channel's bytes back. */
Test(migration, convert) {
    build(true);
    end_main();
    char *files[3] = {test_write("main", bytes(&main_channel)), test_write("0", bytes(&data[0])),
                      test_write("1", bytes(&data[1]))};
    char *out = test_path("out");
    struct tool_options options = {.limits = vms_limits_default(),
                                   .files = files,
                                   .file_count = 3,
                                   .to = "qevm",
                                   .output = out};
    cr_assert_eq(tool_convert(&options), TOOL_DONE);
    const struct test_stream *want[3] = {&main_channel, &data[0], &data[1]};
    for (int i = 0; i < 3; i++) {
        char name[32];
        size_t len;
        (void)snprintf(name, sizeof name, i ? "out.%d" : "out", i);
        uint8_t *got = test_read(test_path(name), &len);
        cr_assert(vms_slice_eq(vms_slice(got, len), bytes(want[i])), "%s", name);
        free(got);
    }
    /* an input is never overwritten; what fails leaves nothing */
    options.output = files[0];
    cr_assert_eq(tool_convert(&options), TOOL_USAGE);
    options.output = out;
    options.files = (char *[]){test_write("cut", vms_slice_head(bytes(&main_channel), 100))};
    options.file_count = 1;
    cr_assert_eq(tool_convert(&options), TOOL_BAD);
    cr_assert_neq(access(out, F_OK), 0);
}
