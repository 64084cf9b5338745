/* SPDX-License-Identifier: MIT */
#ifndef VMSTREAM_CRYPTO_H
#define VMSTREAM_CRYPTO_H

#include <vmstream/slice.h>

/** The cryptography that libvmstream needs and does not bring itself. A back end fills the vtable
 * below; two ship: vmstream/openssl.h, and over it vmstream/ipsecmb.h where that is faster. */

enum {
    VMS_SHA256_BYTES = 32,
    VMS_KEY_BYTES = 32, /* of every keyed suite */
    VMS_NONCE_BYTES = 12,
    VMS_TAG_BYTES = 16, /* of every keyed suite, and the room for any tag */
};

/** What a key object computes (SEAL-3, SEAL-4). */
enum vms_aead_algorithm {
    VMS_AEAD_AES_256_GMAC, /* GCM whose only input is associated data (NIST SP 800-38D) */
    VMS_AEAD_AES_256_GCM,
    VMS_AEAD_CHACHA20_POLY1305, /* RFC 8439 */
    VMS_AEAD_COUNT,
};

/** A key object is made for one of the two and never used for the other. */
enum vms_aead_use {
    VMS_AEAD_SEAL,
    VMS_AEAD_OPEN,
};

struct vms_sha256; /* one running hash; each back end defines it */
struct vms_aead;   /* one key with its schedule; each back end defines it */

/**
 * All members are set. Functions that return bool return false when the back end failed, which is
 * an error of class local, aead_verify apart. ctx is the back end's and is read-only after its
 * construction: threads may share one vtable, but not a hash or key object. Objects are freed
 * before the back end. Nothing is allocated but where it says so.
 */
struct vms_crypto_ops {
    void *ctx;

    /** Fills out with bytes that nobody can foretell. */
    bool (*random)(void *ctx, struct vms_room out);

    /** A SHA-256 over nothing yet; the caller frees it. Allocates. NULL: failed. */
    struct vms_sha256 *(*sha256_new)(void *ctx);
    void (*sha256_free)(struct vms_sha256 *hash); /* NULL is allowed */
    /** Begins again over nothing. */
    bool (*sha256_reset)(struct vms_sha256 *hash);
    bool (*sha256_update)(struct vms_sha256 *hash, struct vms_slice data);
    /** The hash of what came so far; more may follow. May allocate (once a hello, once an END). */
    bool (*sha256_value)(struct vms_sha256 *hash, uint8_t out[VMS_SHA256_BYTES]);

    /** HMAC-SHA-256 over the pieces, one after the other. The key may be empty. May allocate. */
    bool (*hmac)(void *ctx, struct vms_slice key, const struct vms_slice *pieces, size_t count,
                 uint8_t out[VMS_SHA256_BYTES]);

    /** Whether aead_new can make keys for it here. */
    bool (*has_aead)(void *ctx, enum vms_aead_algorithm algorithm);
    /** A key object, which the caller frees; key is copied. Called at (re)keying only. Allocates.
     */
    struct vms_aead *(*aead_new)(void *ctx, enum vms_aead_algorithm algorithm,
                                 enum vms_aead_use use, const uint8_t key[VMS_KEY_BYTES]);
    /** Overwrites the key and all that was made of it. NULL is allowed. */
    void (*aead_free)(struct vms_aead *key);

    /*
     * One frame: aead_start, aead_data any number of times, then aead_finish on a SEAL key or
     * aead_verify on an OPEN key. aead_start may come instead of any of them, and drops the frame
     * in progress. The caller never gives a SEAL key the same nonce twice. None of these allocates.
     */
    bool (*aead_start)(struct vms_aead *key, const uint8_t nonce[VMS_NONCE_BYTES],
                       struct vms_slice associated);
    /**
     * The next len bytes: encrypts or decrypts in to out, which are the same or do not overlap.
     * GMAC: takes in as associated data; out is ignored and may be NULL. len may be 0.
     */
    bool (*aead_data)(struct vms_aead *key, const uint8_t *in, uint8_t *out, size_t len);
    bool (*aead_finish)(struct vms_aead *key, uint8_t tag[VMS_TAG_BYTES]);
    /** True when the tag is right; compared in constant time. */
    bool (*aead_verify)(struct vms_aead *key, const uint8_t tag[VMS_TAG_BYTES]);
};

/** Overwrites len bytes with zeros; no compiler drops it (SEAL-21). ptr may be NULL when len is 0.
 */
void vms_wipe(void *ptr, size_t len);

/** CRC-32C, Castagnoli (SEAL-2), by tables: carries crc, 0 at first, on over len bytes. Any cut
 * gives the same. */
uint32_t vms_crc32c(uint32_t crc, const uint8_t *ptr, size_t len);

/** One way to compute CRC-32C. */
struct vms_crc32c_ops {
    const char *name;
    uint32_t (*sum)(uint32_t crc, const uint8_t *ptr, size_t len);
    /** Copies len bytes on the way, and is the sum of what then stands in out, even while somebody
     * writes to what in points to (SEAL-22). The two do not overlap. */
    uint32_t (*copy)(uint32_t crc, uint8_t *out, const uint8_t *in, size_t len);
};
/** The fastest that this processor has. Asks the processor, so call it once and keep the answer. */
const struct vms_crc32c_ops *vms_crc32c_ops(void);
/** Each that this processor has, by number from 0; NULL behind the last. */
const struct vms_crc32c_ops *vms_crc32c_ops_at(size_t index);

#endif
