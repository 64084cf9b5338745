/* SPDX-License-Identifier: MIT */
#ifndef VDPA_SIM_PRELOAD_H
#define VDPA_SIM_PRELOAD_H

#include "conformance/vfio-sim/preload/preload.h"

/** NULL: the text in fd does not describe a device; why is on standard error. */
struct object *vdpa_new(int fd);
#define VDPA_MAGIC "vdpa-sim device"

#endif
