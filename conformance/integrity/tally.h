/* SPDX-License-Identifier: MIT */
#ifndef VMSTREAM_CONFORMANCE_TALLY_H
#define VMSTREAM_CONFORMANCE_TALLY_H

#include "conformance/integrity/sealed.h"

/*
 * Counts what became of the streams of one attack: how many were refused, each with a code of those
 * that are right for it, and how many frames were given that the original does not have.
 */
struct tally {
    const char *attack;
    enum vms_suite suite;
    uint64_t tried, refused, altered;
    uint64_t codes[VMS_CODE_COUNT];
    uint64_t wrong; /* refused with a code that is not right */
    char example[300];
};

/* The codes, ended by VMS_OK. */
typedef const enum vms_code *code_list;

struct tally tally_for(const char *attack, enum vms_suite suite);
void tally_add(struct tally *t, const struct verdict *v, code_list right);
/* Prints a line, and fails the test unless all were refused, rightly, and nothing was altered. */
void tally_close(const struct tally *t);

#endif
