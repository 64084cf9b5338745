/* SPDX-License-Identifier: MIT */
#include "qevm/decode_test_util.h"

#define START  "01 00000009 04 7666696f 00000000 00000001 "
#define FULL   "04 00000009 04 7666696f 00000000 00000001 "
#define FOOT9  "7e 00000009 "
#define TAG(n) "ffffffffef10000" n " "
#define SETUP  START TAG("3") TAG("1") FOOT9
enum {
    SETUP_LEN = 18 + 16 + 5,
};

/* [VFIO-1] [VFIO-5] */
Test(vfio, tags) {
    struct tape t = tape_main(T_HEAD SETUP "02 00000009 " TAG("4") "0000000000000003 616263 " TAG(
        "5") FOOT9 "03 00000009 " TAG("1") FOOT9 FULL TAG("2") "6364 " TAG("1") FOOT9 "00");
    (void)tape_seek(&t, VMS_R_VFIO_SETUP_STATE);
    (void)tape_record(&t, VMS_R_VFIO_END_OF_STATE);
    cr_expect_eq(tape_seek(&t, VMS_R_VFIO_DATA_STATE)->bulk_len, 3);
    tape_bulk(&t, "abc", 3);
    (void)tape_record(&t, VMS_R_VFIO_INIT_DATA_SENT);
    (void)tape_record(&t, VMS_R_SECTION_FOOTER);
    (void)tape_record(&t, VMS_R_SECTION_END);
    (void)tape_record(&t, VMS_R_VFIO_END_OF_STATE);
    (void)tape_record(&t, VMS_R_SECTION_FOOTER);
    const struct vms_record *r = tape_record(&t, VMS_R_SECTION_FULL);
    cr_expect(r->u.section.kind == VMS_SECTION_VFIO && r->bulk_len == 0);
    cr_expect_eq(tape_record(&t, VMS_R_VFIO_CONFIG_STATE)->bulk_len, 2);
    tape_bulk(&t, "cd", 2);
    (void)tape_record(&t, VMS_R_VFIO_END_OF_STATE);
    (void)tape_record(&t, VMS_R_SECTION_FOOTER);
    (void)tape_record(&t, VMS_R_EOF);
    tape_end(&t);
}

/* [VFIO-1] [VFIO-2] [VFIO-3] */
Test(vfio, refused) {
    struct tape t = tape_main(T_HEAD START TAG("7"));
    (void)tape_seek(&t, VMS_R_SECTION_START);
    tape_error(&t, VMS_E_VFIO_TAG, 17 + 18);
    t = tape_main(T_HEAD START TAG("3") TAG("4"));
    (void)tape_seek(&t, VMS_R_VFIO_SETUP_STATE);
    tape_error(&t, VMS_E_VFIO_TAG_PLACE, 17 + 18 + 8);
    t = tape_main(T_HEAD SETUP "02 00000009 " TAG("4") "0000000000000000");
    (void)tape_seek(&t, VMS_R_SECTION_PART);
    tape_error(&t, VMS_E_VFIO_DATA_SIZE, 17 + SETUP_LEN + 5 + 8);
    t = tape_main(T_HEAD SETUP "02 00000009 " TAG("4") "0000000040000001");
    (void)tape_seek(&t, VMS_R_SECTION_PART);
    tape_error(&t, VMS_E_LIMIT, 17 + SETUP_LEN + 5 + 8);
}

/* [VFIO-2] Tags by dialect. */
Test(vfio, dialects) {
    static const struct {
        const char *dialect;
        bool taken;
    } cases[] = {{"7.2", false}, {"8.0", false}, {"8.1", true}, {"11.1", true}};
    for (size_t i = 0; i < 4; i++) {
        struct vms_qevm_config c = tape_config(VMS_QEVM_MAIN, cases[i].dialect);
        struct tape t = tape_open(&c, T_HEAD SETUP "02 00000009 " TAG("5") FOOT9);
        (void)tape_seek(&t, VMS_R_SECTION_PART);
        if (cases[i].taken)
            (void)tape_record(&t, VMS_R_VFIO_INIT_DATA_SENT), tape_close(&t);
        else
            tape_error(&t, VMS_E_VFIO_TAG_PLACE, 17 + SETUP_LEN + 5);
    }
}

/* [VFIO-4] */
Test(vfio, config_end) {
    static const struct {
        const char *body;
        uint64_t at;
    } bad[] = {{TAG("2") "6364 0000000000000000 ", 10},
               {TAG("2") "6364 " TAG("6"), 10},
               {TAG("2") "61 ", 0},
               {TAG("1") "61 ", 0},
               {"61626364 ", 0},
               {"", 0}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char hex[500];
        snprintf(hex, sizeof hex, T_HEAD SETUP FULL "%s" FOOT9 "00", bad[i].body);
        struct tape t = tape_main(hex);
        (void)tape_seek(&t, VMS_R_SECTION_FULL);
        if (bad[i].at) {
            (void)tape_record(&t, VMS_R_VFIO_CONFIG_STATE);
            tape_bulk(&t, "cd", 2);
        }
        tape_error(&t, VMS_E_VFIO_CONFIG_END, 17 + SETUP_LEN + 18 + bad[i].at);
    }
}
