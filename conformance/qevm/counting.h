/* SPDX-License-Identifier: MIT */
#ifndef VMSTREAM_CONFORMANCE_COUNTING_H
#define VMSTREAM_CONFORMANCE_COUNTING_H

#include <stdint.h>

/* Calls of malloc, calloc and realloc in this process so far, whoever made them [MOD-10]. */
uint64_t counting_calls(void);

#endif
