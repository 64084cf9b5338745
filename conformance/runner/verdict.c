/* SPDX-License-Identifier: MIT */
#include "conformance/runner/verdict.h"

#include <stdarg.h>
#include <string.h>

static const char *const names[CERT_VERDICTS] = {
    [CERT_PASS] = "PASS",   [CERT_FAIL] = "FAIL",   [CERT_WARN] = "WARN",
    [CERT_XFAIL] = "XFAIL", [CERT_XPASS] = "XPASS", [CERT_UNSUPPORTED] = "UNSUPPORTED",
    [CERT_SKIP] = "SKIP",   [CERT_ERROR] = "ERROR", [CERT_TIMEOUT] = "TIMEOUT",
};

const char *cert_verdict_name(enum cert_verdict v) {
    return v < CERT_VERDICTS ? names[v] : "?";
}

enum cert_verdict cert_verdict_of(const char *name) {
    int v = 0;
    while (v < CERT_VERDICTS && strcmp(names[v], name) != 0)
        v++;
    return (enum cert_verdict)v;
}

bool cert_verdict_is_bad(enum cert_verdict v) {
    return v == CERT_FAIL || v == CERT_XPASS || v == CERT_ERROR || v == CERT_TIMEOUT;
}

json_t *cert_result_new(void) {
    return json_pack("{s:s, s:[], s:[], s:{}}", "verdict", "PASS", "why", "notes", "oracles");
}

enum cert_verdict cert_result_verdict(const json_t *result) {
    return cert_verdict_of(cert_str(result, "verdict"));
}

static void say(json_t *array, const char *fmt, va_list args) {
    char text[2048];
    (void)vsnprintf(text, sizeof text, fmt, args);
    cert_say(array, "%s", text);
}

void cert_result_is(json_t *result, enum cert_verdict v, const char *fmt, ...) {
    enum cert_verdict now = cert_result_verdict(result);
    va_list args;
    va_start(args, fmt);
    say(json_object_get(result, "why"), fmt, args);
    va_end(args);
    if (now == CERT_PASS || (now == CERT_WARN && v != CERT_PASS))
        cert_set(result, "verdict", cert_verdict_name(v));
}

void cert_result_note(json_t *result, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    say(json_object_get(result, "notes"), fmt, args);
    va_end(args);
}

void cert_result_oracle(json_t *result, const char *name, const char *fmt, ...) {
    char text[1024];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    cert_set(json_object_get(result, "oracles"), name, text);
}
