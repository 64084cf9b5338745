/* SPDX-License-Identifier: MIT */
#include "native.h"
#include "nocrypto.h"
#include "zip.h"

#include "host/native_internal.h"

#include <string.h>

/*
 * Native files behind their keys: the reader that `vmstream convert` uses, with its session,
 * accounts, key schedule and unpacking, over a back end whose tags are always right. Its twin
 * native_forged has the real one. What must hold:
 *   - HELLO comes first; channels are opened once; frames are of channels that are open
 *   - an end and an error stay
 *   - END only when all is here that the accounts say
 * Input: 1 octet: bit 0: with a key; then the file, whose sequences, epochs and lengths of tags are
 * put right.
 */
enum {
    FILE_MAX = 1 << 16,
    CHANNELS = 16,
};

static const char KEYS[] =
    "vm-a:000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n";

static struct vms_native_reader reader;
static struct vms_native_in_channel channels[CHANNELS];
static struct vms_session_channel accounts[CHANNELS];
static uint8_t octets[FILE_MAX]; /* the reader opens them in place */

static void make_memory(void) {
    struct vms_intake_config config = {.native = vms_native_config_default()};
    config.native.limits.native_bulk_bytes = FILE_MAX;
    config.zip = fuzz_zip(0, FILE_MAX);
    config.native.any_channel = true;
    config.native.keys = vms_native_reader_keys(&reader);
    reader.zstd_mem = config.zip.ctx;
    reader.intake_mem = fuzz_memory(vms_intake_size(&config));
}

static void open_reader(struct vms_slice input, bool keyed) {
    static const uint8_t no_id[16];
    struct vms_intake_config config = {.native = vms_native_config_default()};
    void *intake_mem = reader.intake_mem, *zstd_mem = reader.zstd_mem;
    struct vms_error err;
    memset(&reader, 0, sizeof reader);
    memset(channels, 0, sizeof channels);
    memset(accounts, 0, sizeof accounts);
    reader.config.fd = -1;
    reader.config.limits = vms_limits_default();
    reader.config.limits.native_bulk_bytes = FILE_MAX;
    reader.config.limits.native_channels = CHANNELS;
    if (keyed)
        reader.config.psk = vms_str(KEYS);
    reader.crypto = &fuzz_nocrypto;
    reader.intake_mem = intake_mem;
    reader.zstd_mem = zstd_mem;
    reader.channels = channels;
    reader.accounts = accounts;
    reader.channel_count = CHANNELS;
    vms_session_init(&reader.session, VMS_ROLE_DESTINATION, no_id, accounts, CHANNELS);
    ORACLE(vms_transcript_init(&reader.transcript, reader.crypto, &err) == VMS_OK, "transcript");
    config.native.limits = reader.config.limits;
    config.native.any_channel = true;
    config.native.keys = vms_native_reader_keys(&reader);
    config.zip = vms_zstd_ops(zstd_mem);
    reader.intake = vms_intake_init(intake_mem, vms_intake_size(&config), &config);
    ORACLE(reader.intake, "intake");
    reader.input = (struct vms_room){octets, input.len};
    reader.eof = true;
}

static void read_all(void) {
    struct vms_native_file_event ev;
    struct vms_error err = {0};
    bool open[CHANNELS] = {false};
    enum vms_native_file_step step;
    while ((step = vms_native_reader_next(&reader, &ev, &err)) < VMS_NATIVE_FILE_END) {
        ORACLE(ev.channel < CHANNELS, "channel %u", ev.channel);
        if (step == VMS_NATIVE_FILE_CHANNEL) {
            ORACLE(!open[ev.channel], "channel %u is opened twice", ev.channel);
            open[ev.channel] = true;
            ORACLE(open[0], "a channel before HELLO");
        } else {
            ORACLE(open[ev.channel], "a frame of channel %u, which is not open", ev.channel);
            ORACLE(ev.frame, "no frame");
        }
    }
    fuzz_saw(err.code);
    ORACLE(step == VMS_NATIVE_FILE_END || err.code, "an error without a code");
    ORACLE(step != VMS_NATIVE_FILE_END || open[0], "an end without a beginning");
    ORACLE(vms_native_reader_next(&reader, &ev, &err) == step, "the end stays");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct vms_slice input = vms_slice(data, size);
    bool keyed = fuzz_option(&input, 1) & 1;
    if (input.len > FILE_MAX)
        return 0;
    if (!reader.intake_mem)
        make_memory();
    if (input.len)
        memcpy(octets, input.ptr, input.len);
    fuzz_mend((struct vms_room){octets, input.len}, keyed ? VMS_TAG_BYTES : 4);
    open_reader(input, keyed);
    read_all();
    return 0;
}
