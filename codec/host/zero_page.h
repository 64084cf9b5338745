/* SPDX-License-Identifier: MIT */
#ifndef VMSTREAM_HOST_ZERO_PAGE_H
#define VMSTREAM_HOST_ZERO_PAGE_H

#include <vmstream/pack.h>

/**
 * True when all bytes are 0: by the fastest of vms_page_ops() (AVX2, SSE2, NEON, portable), asked
 * for once. Any length and alignment. Returns at the first piece that is not zero. Any thread.
 */
bool vms_page_is_zero(const uint8_t *page, size_t len);

#endif
