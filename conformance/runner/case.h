/* SPDX-License-Identifier: MIT */
#ifndef CONFORMANCE_RUNNER_CASE_H
#define CONFORMANCE_RUNNER_CASE_H

#include "conformance/runner/util.h"

/**
 * Cases as conformance/cases/README.md has them: JSON objects, checked when they are read, never
 * changed afterwards.
 */
enum {
    CERT_CASES_MAX = 20000,
    CERT_ERROR_SIZE = 512,
};

/**
 * All cases of the *.json files in a folder and below, in the order of file names; a new reference
 * to an array. NULL: `error` (CERT_ERROR_SIZE octets) names file, case and what is wrong: a member
 * that is missing or of another type, an id that is there twice or does not begin with its clause.
 */
json_t *cert_cases_load(const char *folder, char *error);

/** NULL: none of that id. */
const json_t *cert_case_find(const json_t *cases, const char *id);

/** Its "migration", "dialogue" or "vector". */
const json_t *cert_case_body(const json_t *test);
/** The matrix' column: migration.feature, or the kind. */
const char *cert_case_feature(const json_t *test);
unsigned cert_case_seconds(const json_t *test);

/** Wherever `pattern` has '*' any text may stand. */
bool cert_matches(const char *pattern, const char *text);
/** One of the array's patterns matches. */
bool cert_matches_any(const json_t *patterns, const char *text);

#endif
