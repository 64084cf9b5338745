/* SPDX-License-Identifier: MIT */
#include <stdbool.h>

/* The tests of codec/seal over intel-ipsec-mb: see seal_test_util.h. */
extern const bool test_with_ipsecmb;
const bool test_with_ipsecmb = true;
