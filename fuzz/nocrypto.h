/* SPDX-License-Identifier: MIT */
#ifndef VMSTREAM_FUZZ_NOCRYPTO_H
#define VMSTREAM_FUZZ_NOCRYPTO_H

#include <vmstream/crypto.h>

/*
 * A back end that lets everything pass, so that a fuzzer gets behind the integrity checks. It is
 * given to the library as any other, so the library has no switch for it, and nothing but harnesses
 * can have it. Its objects are static: nothing is allocated.
 */
extern const struct vms_crypto_ops fuzz_nocrypto;

/* Of the calls that can fail the n-th from now on does, once; 0: none. */
extern unsigned fuzz_nocrypto_fails;

#endif
