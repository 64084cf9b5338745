/* SPDX-License-Identifier: MIT */
#ifndef CONFORMANCE_RUNNER_VERDICT_H
#define CONFORMANCE_RUNNER_VERDICT_H

#include "conformance/runner/util.h"

/** Kept apart: what an implementation did, what it cannot, what we could not find out. */
enum cert_verdict {
    CERT_PASS,
    CERT_FAIL,        /* a MUST was broken; every signal */
    CERT_WARN,        /* a SHOULD was */
    CERT_XFAIL,       /* broken as a file of expected failures says */
    CERT_XPASS,       /* expected to fail, but did not: the file is stale */
    CERT_UNSUPPORTED, /* the implementation has not got the feature */
    CERT_SKIP,        /* not tried: the peer is absent, the adapter not honest */
    CERT_ERROR,       /* the engine's own failure, or an adapter's */
    CERT_TIMEOUT,     /* somebody hung; who is named */
    CERT_VERDICTS,
};

const char *cert_verdict_name(enum cert_verdict v);
/** CERT_VERDICTS: no such name. */
enum cert_verdict cert_verdict_of(const char *name);
/** FAIL, XPASS, ERROR and TIMEOUT: a certificate has none of these. */
bool cert_verdict_is_bad(enum cert_verdict v);

/**
 * A result is {"verdict", "why": [text], "notes": [text], "oracles": {NAME: text}, ...}. The first
 * reason decides; another one is added as text, and only makes PASS and WARN worse.
 */
json_t *cert_result_new(void);
void cert_result_is(json_t *result, enum cert_verdict v, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
enum cert_verdict cert_result_verdict(const json_t *result);
void cert_result_note(json_t *result, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/** An oracle's word: "agrees: ...", "breaks: ...", "silent: ...". */
void cert_result_oracle(json_t *result, const char *name, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#endif
