/* SPDX-License-Identifier: MIT */
#include "native.h"

#include <string.h>

enum {
    STREAM_MAX = 1 << 16,
    CHANNELS = 256,
    AT_TYPE = 4,
    AT_FLAGS = 8,
    AT_CHANNEL = 10,
    AT_EPOCH = 12,
    AT_SEQUENCE = 16,
    AT_BODY = 24,
    AT_BULK = 28,
    CRC_BYTES = 4,
};

/* CRC-32C by the bit (SEAL-2): not the code under test. */
static uint32_t crc_table[256];

static void make_crc_table(void) {
    for (uint32_t i = 0; !crc_table[255] && i < 256; i++) {
        uint32_t c = i;
        for (int bit = 0; bit < 8; bit++)
            c = c & 1 ? c >> 1 ^ UINT32_C(0x82f63b78) : c >> 1;
        crc_table[i] = c;
    }
}

static uint32_t crc32c(const uint8_t *p, size_t n) {
    uint32_t crc = ~UINT32_C(0);
    for (size_t i = 0; i < n; i++)
        crc = crc >> 8 ^ crc_table[(crc ^ p[i]) & 0xff];
    return ~crc;
}

static uint64_t get(const uint8_t *p, unsigned n) {
    uint64_t value = 0;
    for (unsigned i = 0; i < n; i++)
        value = value << 8 | p[i];
    return value;
}

static void put(uint8_t *p, unsigned n, uint64_t value) {
    for (unsigned i = n; i-- > 0; value >>= 8)
        p[i] = (uint8_t)value;
}

void fuzz_mend(struct vms_room stream, unsigned tag) {
    uint64_t next[CHANNELS] = {0};
    uint32_t epoch[CHANNELS] = {0};
    bool open[CHANNELS] = {false};
    size_t at = VMS_NATIVE_LABEL;
    make_crc_table();
    if (stream.len < at)
        return;
    memcpy(stream.ptr, vms_native_label, VMS_NATIVE_LABEL);
    while (stream.len - at >= VMS_NATIVE_HEADER + tag) {
        uint8_t *h = stream.ptr + at;
        uint64_t len = VMS_NATIVE_HEADER + get(h + AT_BODY, 4) + get(h + AT_BULK, 4);
        if (len + tag > stream.len - at)
            return;
        unsigned channel = (unsigned)get(h + AT_CHANNEL, 2) % CHANNELS;
        uint64_t type = get(h + AT_TYPE, 4);
        bool hello = type >= VMS_NATIVE_HELLO && type <= VMS_NATIVE_RESUMED;
        if (!hello && open[channel] &&
            !epoch[channel]) /* ATTACH and RESUME say which: as it stands */
            epoch[channel] = (uint32_t)get(h + AT_EPOCH, 4);
        put(h + AT_CHANNEL, 2, channel);
        put(h + AT_EPOCH, 4, hello ? 0 : epoch[channel]);
        put(h + AT_SEQUENCE, 8, hello || !epoch[channel] ? 0 : next[channel]++);
        open[channel] |= hello;
        if (type == VMS_NATIVE_HELLO && !epoch[channel])
            epoch[channel] = 1;
        if (type == VMS_NATIVE_REKEY)
            epoch[channel]++;
        if (hello && tag != CRC_BYTES)
            h[AT_FLAGS + 1] |= VMS_NATIVE_HELLO_SEALED;
        if (tag == CRC_BYTES)
            put(h + len, CRC_BYTES, crc32c(h, (size_t)len));
        at += (size_t)len + tag;
    }
}

struct result {
    uint64_t hash;
    enum vms_native_step end;
    struct vms_error error;
};

/* [NAT-30] One value, one encoding: what was read is written as it stood. */
static void same_body(const struct vms_native_event *ev) {
    static uint8_t out[1 << 17];
    size_t len = 0;
    if (ev->frame->unknown)
        return;
    enum vms_code code =
        vms_native_encode_body(ev->frame, (struct vms_room){out, sizeof out}, &len);
    ORACLE(code == VMS_OK, "%s: %s", vms_native_type_name(ev->frame->header.type),
           vms_code_name(code));
    /* Members with keys from 0x8000 on are passed over, so not written again (NAT-32). */
    ORACLE(len <= ev->body.len, "%zu octets of %zu", len, ev->body.len);
    if (len == ev->body.len)
        ORACLE(memcmp(out, ev->body.ptr, len) == 0, "%s differs",
               vms_native_type_name(ev->frame->header.type));
}

static void take(struct result *r, enum vms_native_step step, const struct vms_native_event *ev) {
    if (step == VMS_NATIVE_STEP_BULK)
        r->hash = fuzz_hash(r->hash, ev->bulk.ptr, ev->bulk.len);
    if (step != VMS_NATIVE_STEP_FRAME)
        return;
    r->hash = fuzz_hash(r->hash, ev->header, VMS_NATIVE_HEADER);
    r->hash = fuzz_hash(r->hash, ev->body.ptr, ev->body.len);
    same_body(ev);
}

static bool over(enum vms_native_step step) {
    return step == VMS_NATIVE_STEP_END || step == VMS_NATIVE_STEP_ERROR;
}

static void decode(struct vms_native_decoder *decoder, struct vms_room input, uint32_t seed,
                   struct result *r) {
    struct fuzz_cuts cuts = {seed};
    struct vms_native_event ev;
    enum vms_native_step step = VMS_NATIVE_STEP_NEED;
    while (!over(step) && input.len) {
        struct vms_room piece = {input.ptr, fuzz_cut(&cuts, input.len)};
        input.ptr += piece.len;
        input.len -= piece.len;
        do {
            step = vms_native_decode(decoder, &piece, &ev);
            take(r, step, &ev);
        } while (step != VMS_NATIVE_STEP_NEED && !over(step));
    }
    while (!over(step)) {
        step = vms_native_finish(decoder, &ev);
        take(r, step, &ev);
    }
    r->end = step;
    if (step == VMS_NATIVE_STEP_ERROR)
        r->error = *ev.error;
    fuzz_saw(r->error.code);
}

/* For fuzz/second: the stream as it was decoded, and what came of it, in the folder FUZZ_WIRE. */
static void tell(struct vms_slice octets, const struct result *r) {
    static const char *folder;
    static unsigned number;
    char path[4096];
    if (!folder)
        folder = getenv("FUZZ_WIRE") ? getenv("FUZZ_WIRE") : "";
    if (!*folder)
        return;
    snprintf(path, sizeof path, "%s/%u %s %llu", folder, number++, vms_code_name(r->error.code),
             (unsigned long long)(r->error.code ? r->error.offset : 0));
    FILE *f = fopen(path, "wb");
    if (!f || fwrite(octets.ptr, 1, octets.len, f) != octets.len || fclose(f))
        abort();
}

int fuzz_native(bool mend, const uint8_t *data, size_t size) {
    static uint8_t stream[STREAM_MAX], copy[STREAM_MAX];
    static struct vms_native_plain_channel channels[CHANNELS];
    static void *memory;
    static size_t memory_len;
    struct vms_slice input = vms_slice(data, size);
    uint32_t seed = fuzz_option(&input, 2);
    struct vms_native_config config = vms_native_config_default();
    struct result results[2] = {{.hash = FUZZ_HASH_BEGIN}, {.hash = FUZZ_HASH_BEGIN}};
    if (input.len > STREAM_MAX)
        return 0;
    config.any_channel = true;
    if (!memory) {
        memory_len = vms_native_decoder_size(&config);
        memory = fuzz_memory(memory_len);
    }
    if (input.len)
        memcpy(stream, input.ptr, input.len);
    if (mend)
        fuzz_mend((struct vms_room){stream, input.len}, CRC_BYTES);
    for (unsigned i = 0; i < 2; i++) {
        struct vms_native_plain_keys keys = {
            .channels = channels, .count = CHANNELS, .limits = config.limits};
        memset(channels, 0, sizeof channels);
        config.keys = vms_native_plain_keys(&keys);
        memcpy(copy, stream, input.len);
        decode(vms_native_decoder_init(memory, memory_len, &config),
               (struct vms_room){copy, input.len}, i ? seed | 0x10000 : 0, &results[i]);
    }
    tell(vms_slice(stream, input.len), &results[0]);
    ORACLE(results[0].end == results[1].end && results[0].error.code == results[1].error.code &&
               results[0].error.offset == results[1].error.offset,
           "%s at %llu, %s at %llu", vms_code_name(results[0].error.code),
           (unsigned long long)results[0].error.offset, vms_code_name(results[1].error.code),
           (unsigned long long)results[1].error.offset);
    ORACLE(results[0].end != VMS_NATIVE_STEP_END || results[0].hash == results[1].hash,
           "frames differ between two cuts");
    return 0;
}
