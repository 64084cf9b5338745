/* SPDX-License-Identifier: MIT */
#ifndef CONFORMANCE_RUNNER_FRAMES_H
#define CONFORMANCE_RUNNER_FRAMES_H

#include "conformance/runner/util.h"

/**
 * Walks the frames of one direction of a captured native connection by their headers, which are in
 * the clear whatever seals them (NAT): a live session's bodies can be read by its two ends only.
 */
struct cert_frames {
    char path[CERT_PATH];
    uint64_t at;    /* of the next header */
    unsigned tag;   /* octets of a tag */
    bool bad;       /* what stands there is no frame */
    json_t *counts; /* frames by name */
};

void cert_frames_open(struct cert_frames *f, const char *path, bool keyed);
/** Takes what the file has got since. */
void cert_frames_step(struct cert_frames *f);
json_int_t cert_frames_count(const struct cert_frames *f, const char *name);
void cert_frames_close(struct cert_frames *f);

#endif
