/* SPDX-License-Identifier: MIT */
#ifndef VMSTREAM_CONFORMANCE_TRIP_H
#define VMSTREAM_CONFORMANCE_TRIP_H

#include "conformance/qevm/trace.h"
#include <vmstream/transcode.h>

/*
 * The journey of one QEVM channel to the native wire (suite none) and back, over any cuts. Both
 * ways the records are traced, so that more than the octets can be compared.
 */
struct trip {
    /* in */
    struct vms_qevm_config config;
    const struct vms_qevm_decoder *main_channel; /* adopted; may be NULL */
    struct cut there, back;                      /* cuts of the QEVM input and of the native one */
    bool flush; /* after each piece of input, as a relay does when it runs dry */
    uint32_t batch_bytes;
    struct vms_packer *packer;
    struct vms_zip_ops zip;
    int level;

    /* out */
    struct text native;
    struct text qevm;
    struct text trace_there, trace_back;
    uint64_t frames[64]; /* by type */
    uint64_t zeros;      /* octets of bulk that came as zeros */
    struct vms_error error;
    bool types[VMS_RECORD_TYPE_COUNT];
};

/* Both return false and fill trip->error. There: input that ends in TRUNCATED is broken off. */
bool trip_there(struct trip *trip, struct vms_slice octets);
bool trip_back(struct trip *trip);
void trip_free(struct trip *trip);

/* Begins a native stream in trip->native: label, HELLO on channel 0. */
void trip_begin_native(struct trip *trip, struct vms_sealer *sealer);
/* Appends a frame with suite none. */
bool trip_add_frame(struct trip *trip, struct vms_sealer *sealer, struct vms_native_frame *frame,
                    const struct vms_slice *bulk, size_t count);

#endif
