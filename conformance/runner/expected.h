/* SPDX-License-Identifier: MIT */
#ifndef CONFORMANCE_RUNNER_EXPECTED_H
#define CONFORMANCE_RUNNER_EXPECTED_H

#include "conformance/runner/verdict.h"

/**
 * Expected failures, out of the *.json files of a folder: arrays of
 *
 *   {"implementation": "qemu", "versions": "7.2..11.1", "role": "source", "case": PATTERN,
 *    "peer": PATTERN, "machine": PATTERN, "verdict": "FAIL" (or "TIMEOUT"), "message": TEXT,
 *    "reason": TEXT, "sometimes": true}
 *
 * Versions are one or a range, both ends included; role (any), peer (the other end's name), machine
 * and verdict may be left out. A cell that breaks as it says and shows the message is XFAIL; one
 * that breaks otherwise stays FAIL; one that does not break is XPASS: the entry is stale. For a
 * race of an implementation, "sometimes" makes it PASS. Of several entries for one cell it may
 * break as any of them says.
 */

/** A new reference; NULL with the reason (512 octets). No folder: an empty array. */
json_t *cert_expected_load(const char *folder, char *error);

/** Changes the result's verdict where an entry applies; notes the reason. */
void cert_expected_apply(const json_t *expected, const json_t *profile, const json_t *cell,
                         json_t *result);

/** 7.2 < 10.0 < 11.1: negative, 0 or positive. */
int cert_version_compare(const char *a, const char *b);

#endif
