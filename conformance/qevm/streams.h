/* SPDX-License-Identifier: MIT */
#ifndef VMSTREAM_CONFORMANCE_STREAMS_H
#define VMSTREAM_CONFORMANCE_STREAMS_H

#include "conformance/qevm/trace.h"
#include "conformance/vectors/build.h"

/*
 * Streams that end well, built octet by octet: the corpus of the property tests. Together they hold
 * every record kind. All are small but `rich`, which has data of some size.
 */
enum stream_id {
    STREAM_PRECOPY,  /* every RAM record, VFIO, dirty bitmaps, devices, description */
    STREAM_POSTCOPY, /* huge pages, discard, package */
    STREAM_MAPPED,
    STREAM_EARLY, /* all configuration subsections, virtio-mem's early section, ignored blocks */
    STREAM_RECOVERY,
    STREAM_MULTIFD,
    STREAM_PREEMPT,
    STREAM_RETURN_PATH,
    STREAM_OPAQUE,
    STREAM_RICH, /* precopy with many pages and large blocks of device data */
    STREAM_COUNT,
};

struct vb *stream_make(enum stream_id id);
/* The configuration to decode it with; small limits, no descriptions. */
struct vms_qevm_config stream_config(const struct vb *v);
/* The decoder of its main channel, to be adopted, or NULL; free() it. */
struct vms_qevm_decoder *stream_main(const struct vb *v);
struct vms_slice stream_octets(const struct vb *v);

#endif
