/* SPDX-License-Identifier: MIT */
#ifndef VMSTREAM_HOST_SOURCE_CHANNEL_H
#define VMSTREAM_HOST_SOURCE_CHANNEL_H

#include "host/channel.h"
#include "host/source.h"

/**
 * A source over a channel, which the caller owns and which outlives it. Timeouts and cancelling are
 * the channel's. Bulk for several places is read by one call, so there the end of the stream is an
 * error (PEER_CLOSED), not an end.
 */
struct vms_source vms_source_from_channel(struct vms_channel *channel);

#endif
