/* SPDX-License-Identifier: MIT */
#include "fuzz.h"
#include "nocrypto.h"

#include <string.h>
#include <vmstream/seal.h>

/*
 * A sealer and an opener under a list of actions, over a back end that fails when the input says
 * so:
 *   - one key and sequence seal one frame, ever [SEAL-5] [SEAL-6] [SEAL-10]
 *   - what was sealed opens to the same octets; with suite NONE one changed octet is found [SEAL-8]
 *   - after an error that is not MISUSE the same error comes until a hello
 * Input: actions of 3 octets: which, two amounts.
 */
enum {
    PAYLOAD = 256,
    NONCES = 256,
};

struct run {
    struct vms_sealer sealer;
    struct vms_opener opener;
    struct vms_transcript transcript;
    struct vms_limits limits;
    uint32_t epoch;
    uint64_t nonces[NONCES]; /* epoch << 32 | sequence of what was sealed with a key */
    unsigned nonce_count;
};

static uint8_t plain[PAYLOAD], sealed[PAYLOAD], opened[PAYLOAD], master[VMS_MASTER_BYTES];

static struct vms_slice secret(uint32_t n) {
    return vms_slice(plain, n % 40);
}

static void put32(uint8_t *p, uint32_t v) {
    for (unsigned i = 4; i-- > 0; v >>= 8)
        p[i] = (uint8_t)v;
}

static void note_nonce(struct run *r, const uint8_t header[VMS_FRAME_HEADER_BYTES]) {
    uint64_t nonce = 0;
    if (!r->sealer.link.key || !r->sealer.link.epoch)
        return;
    for (unsigned i = 0; i < 8; i++) /* the epoch, the low half of the sequence */
        nonce = nonce << 8 | header[i < 4 ? 12 + i : 16 + i];
    for (unsigned i = 0; i < r->nonce_count; i++)
        ORACLE(r->nonces[i] != nonce, "a key and sequence seal twice: %llx",
               (unsigned long long)nonce);
    if (r->nonce_count < NONCES)
        r->nonces[r->nonce_count++] = nonce;
}

/* A frame there and, unless it is spoilt on its way, back. */
static void frame(struct run *r, uint32_t a, uint32_t b) {
    uint8_t header[VMS_FRAME_HEADER_BYTES] = {'V', 'M', 'S', 'F'}, tag[VMS_TAG_BYTES];
    struct vms_error err = {0};
    bool encrypts = vms_suite_encrypts(r->sealer.link.suite);
    size_t n = a % PAYLOAD, cut = n ? b % (n + 1) : 0;
    header[7] = b & 1 ? 33 : 5;
    put32(header + 24, (uint32_t)cut);
    put32(header + 28, (uint32_t)(n - cut));
    struct vms_seal_piece pieces[2] = {{plain, sealed, cut}, {plain + cut, sealed + cut, n - cut}};
    if (!encrypts && b & 2)
        pieces[0].out = pieces[1].out = NULL;
    (void)vms_sealer_must_rekey(&r->sealer, n);
    enum vms_code code = vms_sealer_seal(&r->sealer, header, pieces, 2, tag, &err);
    fuzz_saw(code);
    if (code != VMS_OK) {
        if (code != VMS_E_MISUSE && code != VMS_E_SEAL_REKEY_DUE)
            ORACLE(vms_sealer_begin(&r->sealer, header, &err) == code, "the error does not stay");
        return;
    }
    note_nonce(r, header);
    if (!pieces[0].out)
        memcpy(sealed, plain, n);
    bool spoilt = b & 4 && n;
    if (spoilt)
        sealed[a % n] ^= 1;
    if (b & 8)
        header[12 + b % 12] ^= (uint8_t)a; /* epoch, sequence */
    struct vms_seal_piece back[2] = {{sealed, opened, cut}, {sealed + cut, opened + cut, n - cut}};
    bool wrong_order = r->opener.link.epoch != r->sealer.link.epoch ||
                       r->opener.link.sequence + 1 != r->sealer.link.sequence;
    bool untouched = !fuzz_nocrypto_fails;
    code = vms_opener_open(&r->opener, header, back, 2, tag, &err);
    fuzz_saw(code);
    ORACLE(code != VMS_OK || !spoilt || r->opener.link.suite != VMS_SUITE_NONE, "a lie is taken");
    if (code == VMS_OK && !spoilt)
        ORACLE(memcmp(opened, plain, n) == 0, "opened to other octets");
    ORACLE(code == VMS_OK || spoilt || b & 8 || wrong_order || !untouched ||
               r->opener.link.state != 0 || code == VMS_E_MISUSE || code == VMS_E_SEAL_KEY_LIMIT ||
               code == VMS_E_SEAL_UNSEALED || code == VMS_E_SEAL_NO_KEY,
           "%s", err.message);
}

/* Calls in the wrong order, or too much. */
static void misuse(struct run *r, uint32_t a, uint32_t b) {
    uint8_t header[VMS_FRAME_HEADER_BYTES] = {'V', 'M', 'S', 'F'}, tag[VMS_TAG_BYTES] = {0};
    struct vms_seal_piece piece = {plain, b & 1 ? sealed : NULL, a % PAYLOAD};
    struct vms_error err = {0};
    put32(header + 24, b % PAYLOAD);
    switch (b >> 5) {
    case 0: fuzz_saw(vms_sealer_begin(&r->sealer, header, &err)); break;
    case 1: fuzz_saw(vms_sealer_data(&r->sealer, piece, &err)); break;
    case 2: fuzz_saw(vms_sealer_end(&r->sealer, tag, &err)); break;
    case 3: fuzz_saw(vms_opener_begin(&r->opener, header, &err)); break;
    case 4: fuzz_saw(vms_opener_data(&r->opener, piece, &err)); break;
    case 5: fuzz_saw(vms_opener_end(&r->opener, tag, &err)); break;
    case 6: fuzz_saw(vms_opener_open(&r->opener, header, &piece, 1, tag, &err)); break;
    default: fuzz_saw(vms_sealer_seal(&r->sealer, header, &piece, 1, tag, &err)); break;
    }
}

static void rekey(struct run *r, uint32_t a, uint32_t b) {
    struct vms_error err = {0};
    enum vms_suite suite = (enum vms_suite)(a % 5);
    const uint8_t *key = suite == VMS_SUITE_NONE && !(b & 1) ? NULL : master;
    uint32_t epoch = b & 2 ? b >> 4 : r->epoch + 1;
    uint64_t sequence = b & 4 ? (uint64_t)a << 58 : r->sealer.link.sequence;
    fuzz_saw(vms_sealer_rekey(&r->sealer, suite, key, epoch, sequence, &err));
    if (!(b & 8))
        fuzz_saw(vms_opener_rekey(&r->opener, suite, key, epoch, sequence, &err));
    r->epoch = r->sealer.link.last_epoch;
}

static void hello(struct run *r, uint32_t a, uint32_t b) {
    uint8_t random[VMS_SEAL_RANDOM_BYTES] = {0};
    struct vms_error err = {0};
    if (b & 1) {
        fuzz_saw(vms_sealer_hello(&r->sealer, secret(a), random, &err));
        fuzz_saw(vms_opener_hello(&r->opener, secret(a), random, &err));
    } else {
        fuzz_saw(vms_sealer_hello_plain(&r->sealer, &err));
        fuzz_saw(vms_opener_hello_plain(&r->opener, &err));
    }
}

static void transcribe(struct run *r, uint32_t a, uint32_t b) {
    uint8_t out[VMS_SHA256_BYTES], header[VMS_FRAME_HEADER_BYTES] = {0};
    struct vms_error err = {0};
    struct vms_seal_salt salt = {{0}, {0}, {0}};
    switch (b % 6) {
    case 0:
        vms_transcript_free(&r->transcript);
        memset(&r->transcript, 0, sizeof r->transcript);
        fuzz_saw(vms_transcript_init(&r->transcript, &fuzz_nocrypto, &err));
        break;
    case 1: fuzz_saw(vms_seal_master(&fuzz_nocrypto, secret(a), &salt, master, &err)); break;
    case 2:
        if (r->transcript.hash)
            fuzz_saw(vms_transcript_hello(&r->transcript, vms_slice(plain, a % PAYLOAD), &err));
        break;
    case 3:
        if (r->transcript.hash)
            fuzz_saw(vms_transcript_frame(&r->transcript, header, vms_slice(plain, 16), &err));
        break;
    case 4:
        if (r->transcript.hash)
            fuzz_saw(vms_transcript_value(&r->transcript, out, &err));
        break;
    default:
        if (r->transcript.hash)
            fuzz_saw(vms_transcript_restart(&r->transcript, &err));
        break;
    }
}

static void begin(struct run *r, bool with_crypto) {
    const struct vms_crypto_ops *crypto = with_crypto ? &fuzz_nocrypto : NULL;
    vms_sealer_init(&r->sealer, crypto, VMS_SOURCE_TO_DESTINATION, 1, &r->limits);
    vms_opener_init(&r->opener, crypto, VMS_SOURCE_TO_DESTINATION, 1, &r->limits);
    r->epoch = 0;
    r->nonce_count = 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct run r;
    struct vms_slice in = vms_slice(data, size < LIST_MAX ? size : LIST_MAX);
    memset(&r, 0, sizeof r);
    for (unsigned i = 0; i < PAYLOAD; i++)
        plain[i] = (uint8_t)(i + 1);
    fuzz_nocrypto_fails = 0;
    r.limits = vms_limits_default();
    r.limits.seal_key_frames = 6;
    r.limits.seal_key_bytes = 8192;
    begin(&r, true);
    while (in.len) {
        uint32_t what = fuzz_option(&in, 1), a = fuzz_option(&in, 1), b = fuzz_option(&in, 1);
        switch (what % 8) {
        case 0: hello(&r, a, b); break;
        case 1: rekey(&r, a, b); break;
        case 2:
        case 3: frame(&r, a, b); break;
        case 4: misuse(&r, a, b); break;
        case 5: transcribe(&r, a, b); break;
        case 6: fuzz_nocrypto_fails = a % 8; break;
        default:
            vms_sealer_free(&r.sealer);
            vms_opener_free(&r.opener);
            begin(&r, a & 1);
            break;
        }
        (void)vms_seal_tag_bytes(&r.sealer.link);
    }
    fuzz_nocrypto_fails = 0;
    vms_transcript_free(&r.transcript);
    return 0;
}
