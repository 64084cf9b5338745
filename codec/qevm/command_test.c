/* SPDX-License-Identifier: MIT */
#include "qevm/decode_test_util.h"

#include <regex.h>

#define OPEN   "08 0001 0000 "
#define ADVISE "08 0003 0000 "
#define LISTEN "08 0004 0000 "
#define RUN    "08 0005 0000 "

/* [CMD-1] [CMD-2] */
Test(command, fields) {
    struct tape t = tape_main(T_HEAD OPEN "08 0002 0004 00000042 00");
    (void)tape_seek(&t, VMS_R_COMMAND);
    const struct vms_record *r = tape_record(&t, VMS_R_COMMAND);
    cr_expect_eq(r->u.command.command, VMS_CMD_PING);
    cr_expect(vms_slice_eq(r->u.command.payload, vms_slice("\0\0\0\x42", 4)));
    (void)tape_record(&t, VMS_R_EOF);
    tape_end(&t);
}

/* ---- the table of postcopy states ---- */

/* One letter for each postcopy command. PACKAGED holds a package of one EOF. */
static const struct {
    char letter;
    const char *hex;
} LETTERS[] = {
    {'A', ADVISE},
    {'D', "08 0006 0014 00 01 61 00 0000000000000000 0000000000001000 "},
    {'L', LISTEN},
    {'R', RUN},
    {'P', "08 0007 0004 00000001 00 "},
    {'S', "08 0009 0000 "},
    {'B', "08 000a 0002 01 61 "},
};

static const char *hex_of(char letter) {
    for (size_t i = 0; i < sizeof LETTERS / sizeof *LETTERS; i++)
        if (LETTERS[i].letter == letter)
            return LETTERS[i].hex;
    return "";
}

/* How many of the word's commands the decoder takes. */
static size_t taken(enum vms_qevm_kind kind, const char *word) {
    struct vms_qevm_config c = tape_config(kind, "");
    struct vms_qevm_config m = tape_config(VMS_QEVM_MAIN, "");
    char hex[1024];
    size_t n = 0;
    strcpy(hex, kind == VMS_QEVM_MAIN ? T_RAM : "");
    for (const char *w = word; *w; w++)
        strcat(hex, hex_of(*w));
    struct tape t = tape_open(&c, hex), main_channel = tape_open(&m, T_RAM);
    while (tape_step(&main_channel) == VMS_STEP_RECORD)
        ;
    if (kind == VMS_QEVM_RECOVERY)
        vms_qevm_adopt(t.d, main_channel.d);
    enum vms_step step;
    while ((step = tape_step(&t)) == VMS_STEP_RECORD)
        n += t.ev.record.type == VMS_R_COMMAND;
    cr_assert_eq(step, VMS_STEP_ERROR);
    cr_assert(t.ev.error->code == VMS_E_POSTCOPY_STATE || t.ev.error->code == VMS_E_TRUNCATED,
              "%s: %s", word, t.ev.error->message);
    cr_assert_eq(t.ev.error->code == VMS_E_TRUNCATED, n == strlen(word), "%s", word);
    tape_close(&t);
    tape_close(&main_channel);
    return n;
}

/*
 * The legal paths, said in another way than the decoder's table: on the main channel ADVISE, then
 * any DISCARD and PACKAGED, then LISTEN, then RUN; on a recovery connection any RECV_BITMAP, then
 * RESUME.
 */
static size_t legal(const regex_t *paths, const char *word) {
    char prefix[16];
    size_t n = 0;
    do {
        memcpy(prefix, word, n);
        prefix[n] = 0;
        if (regexec(paths, prefix, 0, NULL, 0) != 0)
            return n - 1;
    } while (n++ < strlen(word));
    return strlen(word);
}

/* All words of up to `left` more letters. */
static void check_words(enum vms_qevm_kind kind, const regex_t *paths, char *word, size_t left) {
    size_t n = strlen(word), want = legal(paths, word);
    cr_expect_eq(taken(kind, word), want, "%s: %s", vms_qevm_kind_name(kind), word);
    if (!left || want < n)
        return;
    for (size_t i = 0; i < sizeof LETTERS / sizeof *LETTERS; i++) {
        word[n] = LETTERS[i].letter;
        word[n + 1] = 0;
        check_words(kind, paths, word, left - 1);
    }
    word[n] = 0;
}

static void check_table(enum vms_qevm_kind kind, const char *pattern) {
    char word[16] = "";
    regex_t paths;
    cr_assert_eq(regcomp(&paths, pattern, REG_EXTENDED | REG_NOSUB), 0);
    check_words(kind, &paths, word, 5);
    regfree(&paths);
}

/* [CMD-6] Every (state, command). */
Test(command, states_of_the_main_channel) {
    check_table(VMS_QEVM_MAIN, "^(A[DP]*(L(R)?)?)?$");
}
Test(command, states_of_a_recovery) {
    check_table(VMS_QEVM_RECOVERY, "^B*(S)?$");
}

/* ---- discards ---- */

/* [CMD-7] */
Test(command, discard_ranges) {
    struct tape t = tape_main(T_RAM ADVISE "08 0006 0024 00 01 62 00 "
                                           "0000000000000000 0000000000001000 "
                                           "0000000000001000 0000000000001000 " T_END);
    (void)tape_seek(&t, VMS_R_COMMAND);
    struct vms_slice payload = tape_record(&t, VMS_R_COMMAND)->u.command.payload, block;
    struct vms_discard range;
    size_t pos = 0;
    cr_assert(vms_qevm_discard_next(payload, &pos, &block, &range));
    cr_expect(slice_is(block, "b") && range.start == 0 && range.length == 0x1000);
    cr_assert(vms_qevm_discard_next(payload, &pos, &block, &range));
    cr_expect(range.start == 0x1000 && range.length == 0x1000);
    cr_assert_not(vms_qevm_discard_next(payload, &pos, &block, &range));
    cr_assert_not(vms_qevm_discard_next(vms_slice("", 0), &pos, &block, &range));
    tape_close(&t);
}

/* ---- packages ---- */

/* [PKG-2] Records of a package are marked, and so is not what follows. */
Test(command, package_marks) {
    struct tape t = tape_main(T_RAM ADVISE "08 0007 0004 0000000a " LISTEN RUN OPEN T_END);
    (void)tape_seek(&t, VMS_R_COMMAND);
    cr_expect_not(tape_record(&t, VMS_R_COMMAND)->packaged);
    cr_expect(tape_record(&t, VMS_R_COMMAND)->packaged);
    cr_expect(tape_record(&t, VMS_R_COMMAND)->packaged);
    const struct vms_record *r = tape_record(&t, VMS_R_PACKAGE_END);
    cr_expect_eq(r->offset, T_RAM_LEN + 5 + 9 + 10);
    cr_expect_not(tape_record(&t, VMS_R_COMMAND)->packaged);
    (void)tape_seek(&t, VMS_R_EOF);
    tape_end(&t);
}

/* [PKG-2] Bulk that passes the package's end is refused at once, and never waited for. */
Test(command, package_with_long_bulk) {
    struct tape t =
        tape_main(T_RAM ADVISE "08 0007 0004 00000015 " LISTEN T_PART "0000000000000008 01 61 00");
    (void)tape_seek(&t, VMS_R_SECTION_PART);
    tape_error(&t, VMS_E_PACKAGE_SHORT, T_RAM_LEN + 5 + 9 + 21);
}

/* [PKG-4] */
Test(command, package_limit) {
    struct tape t = tape_main(T_RAM ADVISE "08 0007 0004 00010001");
    (void)tape_seek(&t, VMS_R_COMMAND);
    tape_error(&t, VMS_E_LIMIT, T_RAM_LEN + 5 + 5);
}

/* [CMD-10] */
Test(command, dialects) {
    static const struct {
        const char *dialect, *hex;
        bool taken;
    } cases[] = {{"7.2", "08 000b 0000 ", false}, {"9.2", "08 000b 0000 ", false},
                 {"10.0", "08 000b 0000 ", true}, {"7.2", "08 0008 0000 ", true},
                 {"11.0", "08 0008 0000 ", true}, {"11.1", "08 0008 0000 ", false},
                 {"", "08 0008 0000 ", true}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct vms_qevm_config c = tape_config(VMS_QEVM_MAIN, cases[i].dialect);
        char hex[200];
        snprintf(hex, sizeof hex, T_HEAD "%s 00", cases[i].hex);
        struct tape t = tape_open(&c, hex);
        (void)tape_seek(&t, VMS_R_CONFIGURATION);
        if (cases[i].taken)
            (void)tape_record(&t, VMS_R_COMMAND), tape_close(&t);
        else
            tape_error(&t, VMS_E_COMMAND_DIALECT, 18);
    }
}

/* [CMD-3] [CMD-4] [CMD-9] */
Test(command, once) {
    struct tape t = tape_main(T_HEAD "08 0002 0004 00000001");
    (void)tape_seek(&t, VMS_R_CONFIGURATION);
    tape_error(&t, VMS_E_PING_WITHOUT_RETURN_PATH, 18);
    t = tape_main(T_HEAD OPEN OPEN);
    (void)tape_seek(&t, VMS_R_COMMAND);
    tape_error(&t, VMS_E_RETURN_PATH_TWICE, 23);
    t = tape_main(T_HEAD "08 000b 0000 08 000b 0000");
    (void)tape_seek(&t, VMS_R_COMMAND);
    tape_error(&t, VMS_E_SWITCHOVER_START_TWICE, 23);
}
