/* SPDX-License-Identifier: MIT */
#include "host/channel_test_util.h"
#include "host/psk.h"
#include <stdlib.h>

static const char *write_keys(const char *text) {
    static char path[128];
    FILE *out = fopen(in_test_dir("keys.psk", path, sizeof path), "we");
    cr_assert_not_null(out);
    cr_assert_geq(fputs(text, out), 0);
    (void)fclose(out);
    return path;
}

#define K16 "000102030405060708090a0b0c0d0e0f"

static void refused(const char *text, const char *part) {
    struct vms_psk_file *file = NULL;
    const char *path = write_keys(text);
    FAILS(vms_psk_load(path, &file, &err), VMS_E_SEAL_PSK_FILE, part);
}

Test(psk, finds_keys) {
    struct vms_psk_file *file = NULL;
    struct vms_slice key;
    const char *path =
        write_keys("qemu:00Ff10" K16 "\r\n\n# other\nother_one:" K16 "\nlast:01" K16);
    OK(vms_psk_load(path, &file, &err));
    cr_assert(vms_psk_find(file, vms_str("qemu"), &key));
    cr_assert_eq(key.len, 19);
    cr_assert(vms_slice_eq(vms_slice_head(key, 4), vms_slice("\x00\xff\x10\x00", 4)));
    cr_assert(vms_psk_find(file, vms_str("other_one"), &key));
    cr_assert(vms_psk_find(file, vms_str("last"), &key));
    cr_assert_eq(key.len, 17);
    cr_assert_not(vms_psk_find(file, vms_str("qem"), &key));
    cr_assert_not(vms_psk_find(file, vms_str(""), &key));
    cr_assert_str_eq(vms_psk_path(file), path);
    vms_psk_free(file);
    vms_psk_free(NULL);
}

Test(psk, takes_a_directory) {
    struct vms_psk_file *file = NULL;
    const char *path = write_keys("a:" K16 "\n");
    OK(vms_psk_load(test_dir, &file, &err));
    cr_assert_str_eq(vms_psk_path(file), path);
    vms_psk_free(file);
}

Test(psk, names_the_bad_line) {
    refused("a:" K16 "\nnonsense\n", "line 2: the key is not");
    refused(":" K16 "\n", "line 1: the identity is not");
    refused("a:\n", "line 1: the key is not");
    refused("a:123\n", "line 1: the key is not");
    refused("a:zz" K16 "\n", "line 1: the key is not");
    refused("a:" K16 "\na:" K16 "\n", "line 2: the identity comes twice");
    refused("", "no key");
    refused("\n\n", "no key");
    refused("a:123\n", "keys.psk: line 1");
}

/* [SEAL-19] One strictness for all: what the parser of seal refuses, this one does, and takes what
 * it takes. */
Test(psk, as_strict_as_seal) {
    static const char *const texts[] = {
        "a:" K16,
        "a:" K16 K16 K16 K16,
        "a:" K16 K16 K16 K16 "00",
        "a:0102",
        "a b:" K16,
        "\x7f:" K16,
        "a\t:" K16,
        " a:" K16,
        "a:" K16 " ",
        "a:" K16 "\r",
        "a:" K16 "\n\n#x",
        "a::" K16,
        "a:" K16 "\nb:00",
        "#a:" K16,
        "a",
    };
    struct vms_limits limits = vms_limits_default();
    unsigned good = 0;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct vms_psk_file *file = NULL;
        struct vms_error a, b;
        struct vms_psk psk;
        struct vms_slice key, none = vms_slice(NULL, 0);
        enum vms_code seal = vms_psk_parse(vms_str(texts[i]), none, 0, &limits, &psk, &a);
        enum vms_code tls = vms_psk_load(write_keys(texts[i]), &file, &b);
        cr_assert_eq(seal, tls, "%zu: %s, %s", i, a.message, b.message);
        if (tls != VMS_OK)
            continue;
        cr_assert(vms_psk_find(file, vms_slice(psk.name, psk.name_len), &key));
        cr_assert(vms_slice_eq(key, vms_slice(psk.key, psk.key_len)));
        vms_psk_free(file);
        good++;
    }
    cr_assert_eq(good, 4);
}

Test(psk, never_quotes_a_key) {
    struct vms_psk_file *file = NULL;
    struct vms_error err = {0};
    (void)vms_psk_load(write_keys("a:5ec2e7x\n"), &file, &err);
    cr_assert_null(strstr(err.message, "5ec2e7"));
}

/* [LIM-1] psk_file_bytes */
Test(psk, limits) {
    struct vms_psk_file *file = NULL;
    size_t most = (size_t)vms_limits_default().psk_file_bytes;
    char *text = malloc(most + 2);
    memset(text, '#', most + 1);
    text[most + 1] = 0;
    memcpy(text, "a:" K16 "\n", 35);
    const char *path = write_keys(text);
    FAILS(vms_psk_load(path, &file, &err), VMS_E_LIMIT, "psk_file_bytes");
    text[most] = 0;
    OK(vms_psk_load(write_keys(text), &file, &err));
    vms_psk_free(file);
    free(text);
}

Test(psk, missing_file) {
    struct vms_psk_file *file = NULL;
    FAILS(vms_psk_load("/nonexistent/keys", &file, &err), VMS_E_CONNECT, "No such file");
}
