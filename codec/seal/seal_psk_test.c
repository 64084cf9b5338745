/* SPDX-License-Identifier: MIT */
#include "seal/seal_test_util.h"
#include <stdio.h>
#include <stdlib.h>

#define KEY16 "00112233445566778899aabbccddeeFF"

static struct vms_limits limits;
static struct vms_psk psk;
static struct vms_error err;

static void setup(void) {
    limits = vms_limits_default();
    memset(&psk, 0xee, sizeof psk);
}

TestSuite(seal_psk, .init = setup);

static enum vms_code parse(const char *text, const char *name, size_t index) {
    return vms_psk_parse(vms_str(text), vms_str(name), index, &limits, &psk, &err);
}

static void refused(const char *text, const char *why) {
    static const struct vms_psk zero;
    cr_assert_eq(parse(text, "", 0), VMS_E_SEAL_PSK_FILE, "%s", text);
    cr_assert_not_null(strstr(err.message, why), "%s: %s", text, err.message);
    cr_assert_arr_eq(&psk, &zero, sizeof psk, "wiped");
    cr_assert_str_eq(err.clause, "SEAL-19");
    cr_assert_null(strstr(err.message, "0011"), "no key in a message");
}

/* [SEAL-19] by identity and by number; comments, empty lines, CR LF, a last line without end. */
Test(seal_psk, reads) {
    const char *text = "# old and new\n\nold:" KEY16 "\r\n#x:y\nnew:" KEY16 "00ff";
    cr_assert_eq(parse(text, "new", 0), VMS_OK, "%s", err.message);
    cr_assert_eq(psk.key_len, 18);
    cr_assert_eq(psk.key[0], 0x00);
    cr_assert_eq(psk.key[15], 0xff);
    cr_assert_eq(psk.key[17], 0xff);
    cr_assert_arr_eq(psk.name, "new", 3);
    cr_assert_eq(psk.name_len, 3);
    cr_assert_eq(parse(text, "", 0), VMS_OK);
    cr_assert_arr_eq(psk.name, "old", 3);
    cr_assert_eq(psk.key_len, 16);
    cr_assert_eq(parse(text, "", 1), VMS_OK);
    cr_assert_arr_eq(psk.name, "new", 3);
}

/* [SEAL-23] */
Test(seal_psk, not_there) {
    cr_assert_eq(parse("a:" KEY16 "\n", "b", 0), VMS_E_SEAL_PSK_IDENTITY);
    cr_assert_not_null(strstr(err.message, "'b'"));
    cr_assert_eq(parse("a:" KEY16 "\n", "", 1), VMS_E_SEAL_PSK_IDENTITY);
    cr_assert_eq(parse("ab:" KEY16 "\n", "a", 0), VMS_E_SEAL_PSK_IDENTITY);
}

/* [SEAL-19] the whole file is good or it is refused. */
Test(seal_psk, refuses) {
    refused("", "no key");
    refused("# nothing\n\n", "no key");
    refused("a:" KEY16 "\nbad\n", "line 2: the key is not 16");
    refused(":" KEY16, "line 1: the identity");
    refused("a b:" KEY16, "the identity");
    refused("a\t:" KEY16, "the identity");
    refused("\xc3\xa4:" KEY16, "the identity");
    refused("a:" KEY16 "0", "pairs");
    refused("a:" KEY16 " ", "pairs");
    refused("a:" KEY16 "0g", "pairs");
    refused("a:" KEY16 ":00", "pairs");
    refused("a: " KEY16 "0", "pairs");
    refused("a:" KEY16 "\r\r\n", "pairs");
    refused("a:00112233445566778899aabbccddee", "16 to 64");
    refused("a:", "16 to 64");
    refused("a:" KEY16 KEY16 KEY16 KEY16 "00", "16 to 64");
    refused("a:" KEY16 "\nb:" KEY16 "\n\na:" KEY16 "\n", "line 4: the identity comes twice");
    refused("a:" KEY16 "\na:" KEY16, "line 2: the identity comes twice");
}

/* [SEAL-19] the longest key and the longest identity. */
Test(seal_psk, longest) {
    char text[512], name[VMS_PSK_NAME_MAX + 2];
    memset(name, 'n', sizeof name);
    name[VMS_PSK_NAME_MAX] = 0;
    (void)snprintf(text, sizeof text, "%s:" KEY16 KEY16 KEY16 KEY16 "\n", name);
    cr_assert_eq(parse(text, name, 0), VMS_OK);
    cr_assert_eq(psk.name_len, VMS_PSK_NAME_MAX);
    cr_assert_eq(psk.key_len, VMS_PSK_MAX);
    (void)snprintf(text, sizeof text, "%sn:" KEY16 "\n", name);
    refused(text, "the identity");
}

/* [SEAL-19] [LIM-1] the text's length, at the limit and one past it; a NUL is no text. */
Test(seal_psk, bounded) {
    char *text = malloc(65537);
    memset(text, '\n', 65537);
    memcpy(text, "a:" KEY16, 34);
    struct vms_slice name = vms_str("a");
    cr_assert_eq(vms_psk_parse(vms_slice(text, 65536), name, 0, &limits, &psk, &err), VMS_OK);
    cr_assert_eq(vms_psk_parse(vms_slice(text, 65537), name, 0, &limits, &psk, &err), VMS_E_LIMIT);
    cr_assert_not_null(strstr(err.message, "psk_file_bytes"));
    text[20] = 0;
    cr_assert_eq(vms_psk_parse(vms_slice(text, 40), name, 0, &limits, &psk, &err),
                 VMS_E_SEAL_PSK_FILE);
    free(text);
}

/* [ERR-4] any bytes, and a full file, in bounded time; the input ends where memory does. */
Test(seal_psk, any_bytes, .timeout = 60) {
    static const char alphabet[] = "a:\n\r#0f" KEY16 "\x80";
    unsigned seed = 1;
    for (unsigned round = 0; round < 20000; round++) {
        size_t len = round % 97;
        uint8_t *text = malloc(len ? len : 1);
        for (size_t i = 0; i < len; i++) {
            seed = seed * 1103515245u + 12345u;
            text[i] = (uint8_t)alphabet[(seed >> 16) % (sizeof alphabet - 1)];
        }
        (void)vms_psk_parse(vms_slice(text, len), vms_str("a"), 0, &limits, &psk, &err);
        free(text);
    }
    char *text = malloc(65536), *at = text;
    for (unsigned i = 0; at - text < 65000; i++)
        at += sprintf(at, "%u:" KEY16 "\n", i);
    struct vms_slice all = vms_slice(text, (size_t)(at - text));
    cr_assert_eq(vms_psk_parse(all, vms_str("1500"), 0, &limits, &psk, &err), VMS_OK);
    free(text);
}
