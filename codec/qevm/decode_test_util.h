/* SPDX-License-Identifier: MIT */
#ifndef VMSTREAM_QEVM_DECODE_TEST_UTIL_H
#define VMSTREAM_QEVM_DECODE_TEST_UTIL_H

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <vmstream/qevm.h>

/* Reads a stream that a test writes as hexadecimal text, one step after the other. */

/* Header and configuration of machine "test"; 17 octets. */
#define T_HEAD "5145564d 00000003 07 00000004 74657374 "
/* ram, id 2, with the blocks "a" of 0x8000 and "b" of 0x2000 octets; 17 + 8 + 10 + 10 + 8 + 5
 * octets. */
#define T_RAM_START "01 00000002 03 72616d 00000000 00000004 "
#define T_LIST      "000000000000a004 01 61 0000000000008000 01 62 0000000000002000 "
#define T_EOS       "0000000000000010 "
#define T_FOOT      "7e 00000002 "
#define T_RAM       T_HEAD T_RAM_START T_LIST T_EOS T_FOOT
#define T_PART      "02 00000002 "
#define T_END       "03 00000002 " T_EOS T_FOOT "00 "
enum {
    T_HEAD_LEN = 17,
    T_RAM_LEN = 75,
};

struct tape {
    struct vms_qevm_decoder *d;
    uint8_t *octets;
    size_t len;
    struct vms_slice rest;
    struct vms_event ev;
};

static inline int tape_digit(char c) {
    return c <= '9' ? c - '0' : c - 'a' + 10;
}

static inline struct tape tape_open(const struct vms_qevm_config *config, const char *hex) {
    struct tape t = {.octets = malloc(strlen(hex) + 1)};
    void *mem = malloc(vms_qevm_decoder_size(config));
    t.d = vms_qevm_decoder_init(mem, vms_qevm_decoder_size(config), config);
    cr_assert_not_null(t.d);
    for (const char *c = hex; *c; c++) {
        if (*c == ' ')
            continue;
        t.octets[t.len++] = (uint8_t)(tape_digit(c[0]) << 4 | tape_digit(c[1]));
        c++;
    }
    t.rest = vms_slice(t.octets, t.len);
    return t;
}

static inline void tape_close(struct tape *t) {
    free(t->d);
    free(t->octets);
}

static inline enum vms_step tape_step(struct tape *t) {
    enum vms_step step = vms_qevm_decode(t->d, &t->rest, &t->ev);
    return step == VMS_STEP_NEED ? vms_qevm_finish(t->d, &t->ev) : step;
}

static inline const char *tape_message(const struct tape *t) {
    return t->ev.error ? t->ev.error->message : "";
}

/* The next step, which must be a record of this type. */
static inline const struct vms_record *tape_record(struct tape *t, enum vms_record_type type) {
    t->ev.error = NULL;
    enum vms_step step = tape_step(t);
    cr_assert_eq(step, VMS_STEP_RECORD, "step %d before %s: %s", step, vms_record_name(type),
                 tape_message(t));
    cr_assert_eq(t->ev.record.type, type, "%s instead of %s", vms_record_name(t->ev.record.type),
                 vms_record_name(type));
    return &t->ev.record;
}

/* The next step must be all of a record's bulk. */
static inline void tape_bulk(struct tape *t, const char *octets, size_t n) {
    cr_assert_eq(tape_step(t), VMS_STEP_BULK, "%s", tape_message(t));
    cr_assert(vms_slice_eq(t->ev.bulk, vms_slice(octets, n)), "%zu octets of bulk", t->ev.bulk.len);
}

static inline void tape_end(struct tape *t) {
    t->ev.error = NULL;
    enum vms_step step = tape_step(t);
    cr_assert_eq(step, VMS_STEP_END, "step %d: %s", step, tape_message(t));
    tape_close(t);
}

static inline void tape_error(struct tape *t, enum vms_code code, uint64_t offset) {
    enum vms_step step = tape_step(t);
    cr_assert_eq(step, VMS_STEP_ERROR, "step %d, no %s", step, vms_code_name(code));
    cr_assert_eq(t->ev.error->code, code, "%s instead of %s: %s", vms_code_name(t->ev.error->code),
                 vms_code_name(code), t->ev.error->message);
    cr_assert_eq(t->ev.error->offset, offset, "at %llu: %s",
                 (unsigned long long)t->ev.error->offset, t->ev.error->message);
    tape_close(t);
}

/* Skips records (and their bulk) up to the first of this type. */
static inline const struct vms_record *tape_seek(struct tape *t, enum vms_record_type type) {
    for (;;) {
        t->ev.error = NULL;
        enum vms_step step = tape_step(t);
        cr_assert(step == VMS_STEP_RECORD || step == VMS_STEP_BULK, "step %d before %s: %s", step,
                  vms_record_name(type), tape_message(t));
        if (step == VMS_STEP_RECORD && t->ev.record.type == type)
            return &t->ev.record;
    }
}

/* A configuration with little memory. */
static inline struct vms_qevm_config tape_config(enum vms_qevm_kind kind, const char *dialect) {
    struct vms_error err;
    struct vms_qevm_config c = vms_qevm_config_default();
    c.kind = kind;
    c.limits.device_tail_bytes = 65536;
    cr_assert_eq(vms_dialect_parse(vms_str(dialect), &c.dialect, &err), VMS_OK);
    return c;
}

static inline struct tape tape_main(const char *hex) {
    struct vms_qevm_config c = tape_config(VMS_QEVM_MAIN, "");
    return tape_open(&c, hex);
}

static inline bool slice_is(struct vms_slice s, const char *text) {
    return vms_slice_eq(s, vms_str(text));
}

#endif
