/* SPDX-License-Identifier: MIT */
#include "host/channel_test_util.h"
#include "host/psk.h"

static const char *write_keys(const char *text) {
    static char path[128];
    FILE *out = fopen(in_test_dir("keys.psk", path, sizeof path), "we");
    cr_assert_not_null(out);
    cr_assert_geq(fputs(text, out), 0);
    (void)fclose(out);
    return path;
}

static void refused(const char *text, const char *part) {
    struct vms_psk_file *file = NULL;
    const char *path = write_keys(text);
    FAILS(vms_psk_load(path, &file, &err), VMS_E_CONNECT, part);
}

Test(psk, finds_keys) {
    struct vms_psk_file *file = NULL;
    struct vms_slice key;
    const char *path = write_keys("qemu:00Ff10\r\n\nother one:ab\nlast:01");
    OK(vms_psk_load(path, &file, &err));
    cr_assert(vms_psk_find(file, vms_str("qemu"), &key));
    cr_assert(vms_slice_eq(key, vms_slice("\x00\xff\x10", 3)));
    cr_assert(vms_psk_find(file, vms_str("other one"), &key));
    cr_assert(vms_psk_find(file, vms_str("last"), &key));
    cr_assert(vms_slice_eq(key, vms_slice("\x01", 1)));
    cr_assert_not(vms_psk_find(file, vms_str("qem"), &key));
    cr_assert_not(vms_psk_find(file, vms_str(""), &key));
    cr_assert_str_eq(vms_psk_path(file), path);
    vms_psk_free(file);
    vms_psk_free(NULL);
}

Test(psk, takes_a_directory) {
    struct vms_psk_file *file = NULL;
    const char *path = write_keys("a:01\n");
    OK(vms_psk_load(test_dir, &file, &err));
    cr_assert_str_eq(vms_psk_path(file), path);
    vms_psk_free(file);
}

Test(psk, names_the_bad_line) {
    refused("a:01\nnonsense\n", "line 2: it is not identity:hexkey");
    refused(":01\n", "line 1");
    refused("a:\n", "line 1: the key is not");
    refused("a:123\n", "line 1: the key is not");
    refused("a:zz\n", "line 1: the key is not");
    refused("a:01\na:02\n", "line 2: the identity comes twice");
    refused("", "no key");
    refused("\n\n", "no key");
}

Test(psk, never_quotes_a_key) {
    struct vms_psk_file *file = NULL;
    struct vms_error err = {0};
    (void)vms_psk_load(write_keys("a:5ec2e7x\n"), &file, &err);
    cr_assert_null(strstr(err.message, "5ec2e7"));
}

Test(psk, limits) {
    struct vms_psk_file *file = NULL;
    char text[1200] = "";
    memset(text, 'i', VMS_PSK_IDENTITY_MAX);
    text[VMS_PSK_IDENTITY_MAX] = ':';
    memset(text + VMS_PSK_IDENTITY_MAX + 1, 'a', (size_t)2 * VMS_PSK_KEY_MAX);
    OK(vms_psk_load(write_keys(text), &file, &err));
    vms_psk_free(file);
    strcat(text, "aa");
    refused(text, "line 1: the key is not 1 to 256 bytes");
    strcat(text, "aaaaaaaaaaaaaaaaaaaa\nb:00\n");
    refused(text, "line 1: it is too long");
    memset(text, 0, sizeof text);
    memset(text, 'i', VMS_PSK_IDENTITY_MAX + 1);
    strcat(text, ":00");
    refused(text, "longer than 128");
}

Test(psk, missing_file) {
    struct vms_psk_file *file = NULL;
    FAILS(vms_psk_load("/nonexistent/keys", &file, &err), VMS_E_CONNECT, "No such file");
}
