/* SPDX-License-Identifier: MIT */
#ifndef VMSTREAM_VMSTREAM_H
#define VMSTREAM_VMSTREAM_H

/** libvmstream: VM migration streams, read and written. The specification is in spec/. */
#include <vmstream/dialect.h>
#include <vmstream/error.h>
#include <vmstream/handover.h>
#include <vmstream/limits.h>
#include <vmstream/native.h>
#include <vmstream/pack.h>
#include <vmstream/qevm.h>
#include <vmstream/record.h>
#include <vmstream/seal.h>
#include <vmstream/session.h>
#include <vmstream/slice.h>
#include <vmstream/transcode.h>

#define VMSTREAM_VERSION "0.1.0"

#endif
