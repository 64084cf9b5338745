/* SPDX-License-Identifier: MIT */
#include "conformance/integrity/subject.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

/* Sealed files that nobody has touched. */

enum {
    GOOD_RUNS = 1000,
};

static struct vms_psk random_psk(char *text, size_t size, uint64_t *seed) {
    static const char digits[] = "0123456789abcdef";
    size_t bytes = 16 + random_next(seed) % 49;
    size_t n = (size_t)snprintf(text, size, "host-%llu:", (unsigned long long)random_next(seed));
    for (size_t i = 0; i < 2 * bytes; i++)
        text[n++] = digits[random_next(seed) % 16];
    text[n] = '\0';
    return sealed_psk(text, "");
}

/* [SEAL-3] [SEAL-4] [SES-20] No false alarm: random keys, streams, frames and packing. */
Test(integrity, good_runs, .timeout = 300) {
    static const int levels[] = {0, 1, 3, 6};
    uint64_t seed = random_seed(11), accepted = 0, octets = 0;
    for (int i = 0; i < GOOD_RUNS; i++) {
        char keys[256];
        struct vms_psk psk = random_psk(keys, sizeof keys, &seed);
        enum vms_suite suite = (enum vms_suite)(VMS_SUITE_AES_256_GMAC + i % 3);
        struct vms_error err;
        struct subject s;
        subject_open_random(&s, suite, &psk, levels[random_next(&seed) % 4], &seed);
        bool same = sealed_same(subject_file(&s), keys, &s.plan, &err);
        cr_expect(same, "run %d: %s", i, err.message);
        accepted += same;
        octets += s.random.len;
        subject_close(&s);
    }
    printf("integrity: good runs: %llu false alarms in %d, %llu octets of QEVM the same\n",
           (unsigned long long)(GOOD_RUNS - accepted), GOOD_RUNS, (unsigned long long)octets);
    cr_assert_eq(accepted, GOOD_RUNS);
}
