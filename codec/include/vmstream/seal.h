/* SPDX-License-Identifier: MIT */
#ifndef VMSTREAM_SEAL_H
#define VMSTREAM_SEAL_H

#include <vmstream/crypto.h>
#include <vmstream/error.h>
#include <vmstream/limits.h>
#include <vmstream/slice.h>

/**
 * The integrity of the native wire (spec/03.2-seal.md): key schedule, one sealer or opener for each
 * direction of each channel, key files, transcript. No I/O; no allocation but for key objects,
 * which the back end makes at (re)keying. Nothing here is shared: one thread an object.
 *
 *   sending: vms_sealer_init, vms_sealer_hello, the hello frame, vms_seal_master,
 *            vms_sealer_rekey to epoch 1, frames; then for each REKEY: the frame, vms_sealer_rekey;
 *            for each reconnection: vms_sealer_hello, the RESUME frame, vms_seal_master,
 *            vms_sealer_rekey to a higher epoch. A channel without a hello of its own begins with
 *            vms_sealer_rekey. At last vms_sealer_free.
 *   receiving: the same with vms_opener_.
 */

/** registry/seal_suites.def (SEAL-1). */
enum vms_suite {
#define VMS_SUITE(name, value, tag, text) VMS_SUITE_##name = value,
#include <vmstream/registry/seal_suites.def>
#undef VMS_SUITE
};

/** Numbers as they stand in the key schedule (SEAL-14). */
enum vms_direction {
    VMS_SOURCE_TO_DESTINATION = 0,
    VMS_DESTINATION_TO_SOURCE = 1,
};

enum {
    VMS_FRAME_HEADER_BYTES = 32,
    VMS_SEAL_RANDOM_BYTES = 32,
    VMS_MASTER_BYTES = 32,
    VMS_SECRET_MIN = 16,          /* bytes of a secret (SEAL-11) */
    VMS_EXPORTER_BYTES = 32,      /* of a secret that TLS gives */
    VMS_PSK_MAX = 64,             /* bytes of a pre-shared key (SEAL-19) */
    VMS_PSK_NAME_MAX = 128,       /* bytes of an identity */
    VMS_SEAL_REKEY_RESERVE = 4096 /* bytes of a key that only a REKEY frame may use (SEAL-9) */
};

/** The label for the TLS exporter of RFC 8446 §7.5, without context (SEAL-11). */
#define VMS_EXPORTER_LABEL "EXPORTER-vmstream-1"

/** "none", "gmac", "gcm" or "chacha20", NULL when the number is unknown. Static text. */
const char *vms_suite_name(unsigned suite);
/** The suite of that name; false when there is none. */
bool vms_suite_parse(struct vms_slice name, enum vms_suite *out);
/** Bytes of a frame's tag: 4 or 16; 0 when the number is unknown. */
size_t vms_suite_tag_bytes(unsigned suite);
/** Whether body and bulk are enciphered. */
bool vms_suite_encrypts(enum vms_suite suite);
/** Whether the back end has what the suite takes. NONE takes nothing; crypto may be NULL for it. */
bool vms_suite_available(const struct vms_crypto_ops *crypto, enum vms_suite suite);

/** Suite numbers in their order of preference, as a hello lists them. */
struct vms_suite_list {
    const uint32_t *suites;
    size_t count;
};
/**
 * The first suite of the source's list that the destination lists too (SEAL-16). keyed: both ends
 * have the secret, and NONE does not count; otherwise only NONE does. Unknown numbers are passed
 * over. VMS_E_SEAL_NO_SUITE: none is common.
 */
enum vms_code vms_suite_select(struct vms_suite_list source, struct vms_suite_list destination,
                               bool keyed, enum vms_suite *out, struct vms_error *err);

/**
 * The first thing to ask about a received HELLO, ATTACH or RESUME, before its body is read:
 * VMS_E_SEAL_UNSEALED when it is not sealed and there is a key (SEAL-17), VMS_E_SEAL_NO_KEY when it
 * is sealed and there is none (SEAL-18). Its tag then has 16 bytes when sealed, 4 when not.
 */
enum vms_code vms_seal_check_hello(const uint8_t header[VMS_FRAME_HEADER_BYTES], bool have_key,
                                   struct vms_error *err);

/** What a master secret is made of (SEAL-13): randoms and hello hash of one connection. */
struct vms_seal_salt {
    uint8_t source_random[VMS_SEAL_RANDOM_BYTES];
    uint8_t destination_random[VMS_SEAL_RANDOM_BYTES]; /* zeros in a file */
    uint8_t hello_hash[VMS_SHA256_BYTES];              /* vms_transcript_value after the hellos */
};
/**
 * Computes the master secret of a connection from the session's secret. The caller wipes *master.
 * VMS_E_SEAL_CRYPTO; VMS_E_MISUSE when the secret is shorter than VMS_SECRET_MIN.
 */
enum vms_code vms_seal_master(const struct vms_crypto_ops *crypto, struct vms_slice secret,
                              const struct vms_seal_salt *salt, uint8_t master[VMS_MASTER_BYTES],
                              struct vms_error *err);

/** One direction of one channel. Callers read the fields that the accessors show, and no others. */
struct vms_seal_link {
    const struct vms_crypto_ops *crypto;
    struct vms_aead *key; /* NULL with suite NONE */
    const struct vms_crc32c_ops *crc32c;
    enum vms_suite suite;
    enum vms_direction direction;
    uint16_t channel;
    uint32_t epoch;      /* of the key in use; 0: a hello */
    uint32_t last_epoch; /* the highest that ever was */
    uint64_t sequence;   /* of the next frame */
    uint64_t frames;     /* under this key so far */
    uint64_t bytes;      /* header, body and bulk under this key so far */
    uint64_t left;       /* of the frame in progress, bytes */
    uint64_t max_frames;
    uint64_t max_bytes;
    uint32_t crc;
    int state;
    enum vms_aead_use use;
    bool keyed; /* had a key: goes back to none never */
    enum vms_code failed;
    uint8_t iv[VMS_NONCE_BYTES];
};
struct vms_sealer {
    struct vms_seal_link link;
};
struct vms_opener {
    struct vms_seal_link link;
};

/**
 * A piece of body or bulk. Sealing: out gets what is to be sent; opening: out gets the plain bytes.
 * in and out are the same or do not overlap. With suites that do not encipher out may be NULL: then
 * nothing is copied and in itself must not change until it has been sent. Otherwise what is sealed
 * is what stands in out, even while somebody writes to in (SEAL-22).
 */
struct vms_seal_piece {
    const uint8_t *in;
    uint8_t *out;
    size_t len;
};

/**
 * Errors of all functions below: VMS_E_MISUSE (out of order, wrong lengths; nothing has changed),
 * VMS_E_SEAL_CRYPTO, and those named. *err gets the channel and a message; offset and record stay
 * as they are. After an error other than MISUSE and SEAL_REKEY_DUE the object gives the same error
 * until a hello begins a new connection.
 */

/**
 * For a channel that is attached again in the same session keep the sealer, or begin above its last
 * epoch (SEAL-10). crypto may be NULL when only suite NONE will be used; it outlives the sealer. Of
 * limits seal_key_bytes and seal_key_frames count; what is above the default counts as the default.
 */
void vms_sealer_init(struct vms_sealer *sealer, const struct vms_crypto_ops *crypto,
                     enum vms_direction direction, uint16_t channel,
                     const struct vms_limits *limits);
/** Frees and wipes. A zeroed sealer is allowed. */
void vms_sealer_free(struct vms_sealer *sealer);

/**
 * Prepares for one sealed HELLO, ATTACH, RESUME or RESUMED, and draws its random (SEAL-15), which
 * the caller puts into the frame's body. On a reconnection too: it forgets a frame in progress.
 */
enum vms_code vms_sealer_hello(struct vms_sealer *sealer, struct vms_slice secret,
                               uint8_t random[VMS_SEAL_RANDOM_BYTES], struct vms_error *err);
/** Prepares for one such frame where there is no secret. MISUSE once there was one. */
enum vms_code vms_sealer_hello_plain(struct vms_sealer *sealer, struct vms_error *err);
/**
 * Goes on under the key of epoch, which must be above all before (SEAL-10), with a frame of that
 * sequence (SEAL-6). master is not kept; NULL with suite NONE, which is MISUSE once there was a
 * key. On failure the old key stays.
 */
enum vms_code vms_sealer_rekey(struct vms_sealer *sealer, enum vms_suite suite,
                               const uint8_t *master, uint32_t epoch, uint64_t sequence,
                               struct vms_error *err);
/** True when a frame with this much body and bulk would get SEAL_REKEY_DUE: send REKEY first. */
bool vms_sealer_must_rekey(const struct vms_sealer *sealer, uint64_t payload);

/**
 * Begins a frame: takes the lengths (and the type REKEY) from the header and writes channel, epoch,
 * sequence and the flag HELLO_SEALED into it. VMS_E_SEAL_REKEY_DUE (SEAL-9): nothing has changed.
 */
enum vms_code vms_sealer_begin(struct vms_sealer *sealer, uint8_t header[VMS_FRAME_HEADER_BYTES],
                               struct vms_error *err);
/** The next piece of body, then bulk. */
enum vms_code vms_sealer_data(struct vms_sealer *sealer, struct vms_seal_piece piece,
                              struct vms_error *err);
/** Ends the frame: vms_suite_tag_bytes() of the suite in use are written to tag. */
enum vms_code vms_sealer_end(struct vms_sealer *sealer, uint8_t tag[VMS_TAG_BYTES],
                             struct vms_error *err);
/** All three. */
enum vms_code vms_sealer_seal(struct vms_sealer *sealer, uint8_t header[VMS_FRAME_HEADER_BYTES],
                              const struct vms_seal_piece *pieces, size_t count,
                              uint8_t tag[VMS_TAG_BYTES], struct vms_error *err);

void vms_opener_init(struct vms_opener *opener, const struct vms_crypto_ops *crypto,
                     enum vms_direction direction, uint16_t channel,
                     const struct vms_limits *limits);
void vms_opener_free(struct vms_opener *opener);
/** Prepares for one sealed hello frame with the random that its (still unproven) body names. */
enum vms_code vms_opener_hello(struct vms_opener *opener, struct vms_slice secret,
                               const uint8_t random[VMS_SEAL_RANDOM_BYTES], struct vms_error *err);
enum vms_code vms_opener_hello_plain(struct vms_opener *opener, struct vms_error *err);
enum vms_code vms_opener_rekey(struct vms_opener *opener, enum vms_suite suite,
                               const uint8_t *master, uint32_t epoch, uint64_t sequence,
                               struct vms_error *err);
/**
 * Begins a received frame. VMS_E_SEAL_EPOCH, VMS_E_SEAL_SEQUENCE, VMS_E_SEAL_KEY_LIMIT; for a hello
 * what vms_seal_check_hello says. A frame of another channel is MISUSE.
 */
enum vms_code vms_opener_begin(struct vms_opener *opener,
                               const uint8_t header[VMS_FRAME_HEADER_BYTES], struct vms_error *err);
/** The next piece. What is in out is unproven until vms_opener_end has said VMS_OK (SEAL-8). */
enum vms_code vms_opener_data(struct vms_opener *opener, struct vms_seal_piece piece,
                              struct vms_error *err);
/** Ends the frame: VMS_E_SEAL_TAG when it is not what was sealed. */
enum vms_code vms_opener_end(struct vms_opener *opener, const uint8_t *tag, struct vms_error *err);
enum vms_code vms_opener_open(struct vms_opener *opener,
                              const uint8_t header[VMS_FRAME_HEADER_BYTES],
                              const struct vms_seal_piece *pieces, size_t count, const uint8_t *tag,
                              struct vms_error *err);

/** Bytes of the next frame's tag, 0 before there is a key. */
size_t vms_seal_tag_bytes(const struct vms_seal_link *link);

/** The running hash over hello frames, then headers and tags of the main channel (SEAL-20). */
struct vms_transcript {
    const struct vms_crypto_ops *crypto;
    struct vms_sha256 *hash;
};
/** Allocates through crypto, which outlives it. VMS_E_SEAL_CRYPTO. */
enum vms_code vms_transcript_init(struct vms_transcript *transcript,
                                  const struct vms_crypto_ops *crypto, struct vms_error *err);
/** A zeroed transcript is allowed. */
void vms_transcript_free(struct vms_transcript *transcript);
/** Begins again, for the RESUME and RESUMED of a reconnection. */
enum vms_code vms_transcript_restart(struct vms_transcript *transcript, struct vms_error *err);
/** Bytes of a hello frame as sent, in any cuts: the source's first, then the destination's. */
enum vms_code vms_transcript_hello(struct vms_transcript *transcript, struct vms_slice bytes,
                                   struct vms_error *err);
/** A frame of the main channel behind the hellos, as sent. */
enum vms_code vms_transcript_frame(struct vms_transcript *transcript,
                                   const uint8_t header[VMS_FRAME_HEADER_BYTES],
                                   struct vms_slice tag, struct vms_error *err);
/** The hash so far; more may follow. */
enum vms_code vms_transcript_value(struct vms_transcript *transcript, uint8_t out[VMS_SHA256_BYTES],
                                   struct vms_error *err);

/** A pre-shared key with its identity. The caller wipes it with vms_wipe(). */
struct vms_psk {
    size_t name_len;
    size_t key_len;
    char name[VMS_PSK_NAME_MAX]; /* without NUL */
    uint8_t key[VMS_PSK_MAX];
};
/**
 * Reads the text of a key file (SEAL-19), all of it, and gives the key of an identity; name.len 0:
 * the index'th key, from 0. *out is all zeros on failure. VMS_E_SEAL_PSK_FILE with the line's
 * number, never its text; VMS_E_SEAL_PSK_IDENTITY when the file is good and the key is not there;
 * VMS_E_LIMIT (psk_file_bytes). No copy of text is kept; the caller wipes it.
 */
enum vms_code vms_psk_parse(struct vms_slice text, struct vms_slice name, size_t index,
                            const struct vms_limits *limits, struct vms_psk *out,
                            struct vms_error *err);

/**
 * Checks a whole key file and gives every key of it, in order; what take() is given holds for the
 * call alone. Errors as above: what was given before one is worthless.
 */
enum vms_code vms_psk_walk(struct vms_slice text, const struct vms_limits *limits,
                           void (*take)(void *ctx, const struct vms_psk *psk), void *ctx,
                           struct vms_error *err);

#endif
