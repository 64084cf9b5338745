/* SPDX-License-Identifier: MIT */
#include "tool/load.h"
#include "tool/native_in.h"
#include "tool/tool_test_util.h"
#include <fcntl.h>

/*
 * `convert` to native and back, through the options of the command line: a main channel, two
 * multifd channels, a preempt channel and a return path.
 */
enum {
    PAGE = 4096,
    FILES = 5,
    SLOTS = 128,
};

static struct test_stream streams[FILES];
static char *files[FILES];
static const char *const PREFIX[FILES] = {"", "", "", "preempt:", "return-path:"};

static void add_multifd(struct test_stream *s, uint8_t id) {
    static const uint8_t offsets[8 * SLOTS];
    static uint8_t page[PAGE];
    struct vms_record hello = {.type = VMS_R_MULTIFD_HELLO};
    struct vms_record packet = {.type = VMS_R_MULTIFD_PACKET};
    hello.u.hello.channel_id = id;
    test_stream_add_plain(s, hello);
    packet.u.packet =
        (struct vms_rec_multifd_packet){.pages_alloc = SLOTS,
                                        .normal_pages = 1,
                                        .block = vms_str("m"),
                                        .offsets = vms_slice(offsets, sizeof offsets)};
    memset(page, id + 1, sizeof page);
    test_stream_add(s, packet, vms_slice(page, PAGE));
    packet.u.packet.flags = VMS_MULTIFD_SYNC;
    packet.u.packet.normal_pages = 0;
    test_stream_add_plain(s, packet);
}

static void add_main(struct test_stream *s) {
    static uint8_t page[PAGE];
    test_stream_begin(s, "m", 8 * PAGE);
    test_stream_add_plain(s, (struct vms_record){.type = VMS_R_RAM_MULTIFD_FLUSH,
                                                 .u.ram_word = VMS_RAM_MULTIFD_FLUSH});
    for (uint64_t i = 1; i < 8; i++) {
        memset(page, (int)i, sizeof page);
        test_stream_add(s, test_page(VMS_R_RAM_PAGE, "m", i * PAGE), vms_slice(page, PAGE));
    }
    test_stream_finish(s);
}

static void build(void) {
    test_folder_make();
    for (int i = 0; i < FILES; i++)
        test_stream_init(&streams[i]);
    add_main(&streams[0]);
    add_multifd(&streams[1], 0);
    add_multifd(&streams[2], 1);
    test_stream_add_plain(&streams[3], test_page(VMS_R_RAM_ZERO, "m", 0));
    test_stream_add_plain(&streams[4], (struct vms_record){.type = VMS_R_RP_PONG, .u.value = 1});
    test_stream_add_plain(&streams[4], (struct vms_record){.type = VMS_R_RP_SHUT});
    for (int i = 0; i < FILES; i++) {
        char name[32];
        (void)snprintf(name, sizeof name, "in.%d", i);
        char *path = test_write(name, vms_slice(streams[i].bytes, streams[i].len));
        cr_assert_gt(asprintf(&files[i], "%s%s", PREFIX[i], path), 0);
    }
}

static void tear_down(void) {
    for (int i = 0; i < FILES; i++) {
        free(streams[i].bytes);
        free(files[i]);
    }
    test_folder_remove();
}

TestSuite(convert_native, .init = build, .fini = tear_down);

static struct tool_options options_of(char **names, int count, const char *to, const char *output) {
    return (struct tool_options){.limits = vms_limits_default(),
                                 .files = names,
                                 .file_count = count,
                                 .to = to,
                                 .output = output};
}

static void check_outputs(const char *output, const char *how) {
    for (int i = 0; i < FILES; i++) {
        char path[160];
        size_t len;
        (void)snprintf(path, sizeof path, i ? "%s.%d" : "%s", output, i);
        uint8_t *got = test_read(path, &len);
        cr_assert(vms_slice_eq(vms_slice(got, len), vms_slice(streams[i].bytes, streams[i].len)),
                  "%s: %s", how, path);
        free(got);
    }
}

static void expect_machine(char *native, const char *psk) {
    struct tool_options o = options_of(&native, 1, NULL, NULL);
    struct vms_ram_image_config config = vms_ram_image_config_default();
    struct load load;
    o.psk = psk;
    struct vms_error err;
    cr_assert_eq(load_open(&load, &o, VMS_QEVM_MAIN, &config, NULL, NULL), TOOL_DONE);
    cr_assert_eq(migration_run(&load.migration, &err), VMS_OK, "%s", err.message);
    cr_assert_str_eq(native_input_info(load.migration.native)->machine, "pc-i440fx-11.1");
    load_close(&load);
}

/* [TRC-1] [TRC-18] [TRC-19] [TRC-20] [TRC-22] */
Test(convert_native, there_and_back) {
    static const struct {
        const char *seal, *pack;
    } ways[] = {{NULL, NULL},    {"none", "none"},       {"gmac", NULL},
                {"gcm", "zstd"}, {"chacha20", "zstd:3"}, {NULL, "zstd:-5"}};
    char *psk = test_write("keys.psk", vms_str("a:00112233445566778899aabbccddeeff\n"));
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        char *native = test_path("native"), *back = test_path("back");
        struct tool_options o = options_of(files, FILES, "native", native);
        bool keyed = ways[i].seal && strcmp(ways[i].seal, "none") != 0;
        o.seal = ways[i].seal;
        o.pack = ways[i].pack;
        o.psk = keyed ? psk : NULL;
        cr_assert_eq(tool_convert(&o), TOOL_DONE, "%zu", i);
        expect_machine(native, o.psk);
        struct tool_options b = options_of(&native, 1, "qevm", back);
        b.psk = o.psk;
        cr_assert_eq(tool_convert(&b), TOOL_DONE, "%zu", i);
        check_outputs(back, ways[i].seal ? ways[i].seal : "none");
        cr_assert_eq(tool_verify(&b), TOOL_DONE);
        /* and once more, from native to native under another seal */
        char *again = test_path("again");
        struct tool_options n = options_of(&native, 1, "native", again);
        n.psk = o.psk;
        n.seal = keyed ? "gmac" : NULL;
        cr_assert_eq(tool_convert(&n), TOOL_DONE);
        expect_machine(again, o.psk);
        b.files = &again;
        cr_assert_eq(tool_convert(&b), TOOL_DONE);
        check_outputs(back, "again");
    }
}

static uint8_t first_byte(char **names, int count) {
    struct tool_options o = options_of(names, count, NULL, NULL);
    struct vms_ram_image_config config = vms_ram_image_config_default();
    struct vms_error err;
    struct load load;
    cr_assert_eq(load_open(&load, &o, VMS_QEVM_MAIN, &config, NULL, NULL), TOOL_DONE);
    cr_assert_eq(migration_run(&load.migration, &err), VMS_OK, "%s", err.message);
    uint8_t byte = vms_ram_image_block(load.image, 0)->memory[0];
    load_close(&load);
    return byte;
}

/* [TRC-20] Memory comes out the same: the preempt channel's page is the last. */
Test(convert_native, memory) {
    char *native = test_path("native");
    struct tool_options o = options_of(files, FILES - 2, "native", native);
    cr_assert_eq(tool_convert(&o), TOOL_DONE);
    cr_assert_eq(first_byte(files, FILES - 2), 2);
    cr_assert_eq(first_byte(&native, 1), 2);
    o.file_count = FILES;
    cr_assert_eq(tool_convert(&o), TOOL_DONE);
    cr_assert_eq(first_byte(files, FILES), 0);
    cr_assert_eq(first_byte(&native, 1), 0);
}

/* [ERR-5] */
Test(convert_native, usage) {
    char *native = test_path("native"), *psk = test_write("k", vms_str("a:00112233445566778899\n"));
    struct tool_options o = options_of(files, FILES, "native", native);
    o.seal = "rot13";
    cr_assert_eq(tool_convert(&o), TOOL_USAGE);
    o.seal = "gcm";
    cr_assert_eq(tool_convert(&o), TOOL_USAGE, "no key file");
    o.psk = psk;
    cr_assert_eq(tool_convert(&o), TOOL_LOCAL, "a key that is too short");
    o.psk = "/nonexistent";
    cr_assert_eq(tool_convert(&o), TOOL_LOCAL);
    o.seal = NULL;
    static const char *const packs[] = {"lz4", "zstd:", "zstd:0", "zstd:20", "zstd:x", "zstdx"};
    for (size_t i = 0; i < sizeof packs / sizeof *packs; i++) {
        o.pack = packs[i];
        cr_assert_eq(tool_convert(&o), TOOL_USAGE, "%s", packs[i]);
    }
    o.pack = NULL;
    o.to = "qevm";
    o.seal = "none";
    cr_assert_eq(tool_convert(&o), TOOL_USAGE, "--seal is for native");
    cr_assert_neq(access(native, F_OK), 0);
    o = options_of(files, FILES, "native", strchr(files[0], '/'));
    cr_assert_eq(tool_convert(&o), TOOL_USAGE, "an input is never overwritten");
    o = options_of(files + 3, 1, "native", native);
    cr_assert_eq(tool_convert(&o), TOOL_USAGE, "no main channel");
}

/* What is bad leaves nothing behind. */
Test(convert_native, bad_files) {
    char *native = test_path("native"), *back = test_path("back");
    struct tool_options o = options_of(files, FILES, "native", native);
    cr_assert_eq(tool_convert(&o), TOOL_DONE);
    size_t len;
    uint8_t *bytes = test_read(native, &len);
    bytes[len / 2] ^= 1;
    char *changed = test_write("changed", vms_slice(bytes, len));
    char *cut = test_write("cut", vms_slice(bytes, len / 2));
    char *const bad[] = {changed, cut};
    for (int i = 0; i < 2; i++) {
        char *name = bad[i];
        struct tool_options b = options_of(&name, 1, "qevm", back);
        cr_assert_eq(tool_convert(&b), TOOL_BAD);
        cr_assert_neq(access(back, F_OK), 0);
        cr_assert_eq(tool_verify(&b), TOOL_BAD);
        b.json = true;
        cr_assert_eq(tool_inspect(&b), TOOL_BAD);
        b.json = false;
        cr_assert_eq(tool_inspect(&b), TOOL_BAD);
    }
    char *both[] = {native, native};
    struct tool_options two = options_of(both, 2, "qevm", back);
    cr_assert_eq(tool_convert(&two), TOOL_USAGE, "a native file comes alone");
    free(bytes);
}

/* [SEAL-18] Without the key: local, after what can be shown. */
Test(convert_native, no_key) {
    char *psk = test_write("keys.psk", vms_str("a:00112233445566778899aabbccddeeff\n"));
    char *native = test_path("native");
    struct tool_options o = options_of(files, FILES, "native", native);
    o.seal = "gcm";
    o.psk = psk;
    cr_assert_eq(tool_convert(&o), TOOL_DONE);
    struct tool_options i = options_of(&native, 1, NULL, NULL);
    cr_assert_eq(tool_inspect(&i), TOOL_LOCAL);
    i.json = true;
    cr_assert_eq(tool_inspect(&i), TOOL_LOCAL);
    cr_assert_eq(tool_verify(&i), TOOL_LOCAL);
    i.psk = psk;
    cr_assert_eq(tool_inspect(&i), TOOL_DONE);
    i.json = false;
    cr_assert_eq(tool_inspect(&i), TOOL_DONE);
}

/* [TRC-12] Frames that are right can carry records that are not: the octets are checked. */
Test(convert_native, wrong_order) {
    static const struct vms_record wrong[][2] = {
        {{.type = VMS_R_RAM_EOS, .u.ram_word = VMS_RAM_EOS}, {.type = VMS_R_EOF}},
        {{.type = VMS_R_HEADER, .u.version = 3}, {.type = VMS_R_HEADER, .u.version = 3}},
        {{.type = VMS_R_HEADER, .u.version = 3}, {.type = VMS_R_SECTION_FOOTER}},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        char *path = test_path("native"), *back = test_path("back");
        struct vms_error err;
        struct vms_native_writer_config config = {
            .fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600),
            .limits = vms_limits_default()};
        struct vms_native_writer *w = vms_native_writer_new(&config, &err);
        struct vms_native_out out = {
            .frame = {.header.type = VMS_NATIVE_RECORDS, .u.records = {2, wrong[i]}}};
        cr_assert_eq(vms_native_writer_frame(w, 0, &out, &err), VMS_OK);
        cr_assert_eq(vms_native_writer_end(w, &err), VMS_OK);
        vms_native_writer_free(w);
        (void)close(config.fd);
        struct tool_options o = options_of(&path, 1, "qevm", back);
        cr_assert_eq(tool_convert(&o), TOOL_BAD);
        cr_assert_eq(tool_verify(&o), TOOL_BAD);
        cr_assert_neq(access(back, F_OK), 0);
    }
}
