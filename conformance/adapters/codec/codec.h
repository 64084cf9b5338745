/* SPDX-License-Identifier: MIT */
#ifndef CONFORMANCE_ADAPTER_CODEC_H
#define CONFORMANCE_ADAPTER_CODEC_H

#include "conformance/adapters/kit/kit.h"

enum {
    CODEC_INPUT_MAX = 64 << 20,
};

struct codec_input {
    uint8_t *bytes;
    size_t len;
};

/** The octets of a file: URI; free() them. */
bool codec_read(const char *uri, struct codec_input *in);

enum kit_exit codec_qevm(struct kit *k, const struct codec_input *in);
enum kit_exit codec_native(struct kit *k, const struct codec_input *in);
enum kit_exit codec_refused(struct kit *k, const char *code, const char *class_, const char *clause,
                            uint64_t offset, const char *message);

#endif
