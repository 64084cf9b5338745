/* SPDX-License-Identifier: MIT */
#ifndef VMSTREAM_HOST_VDPA_RECORD_H
#define VMSTREAM_HOST_VDPA_RECORD_H

#include "host/vdpa_state.h"

/**
 * Records that a device's state travels in [VDPA-26]: all of it once, while the guest runs, and
 * then what has changed since the record before. A device that is ready but for the last record has
 * little left to do in downtime.
 */

/**
 * `to` as a record: of what differs from `from`, or all of it where from is NULL or the profiles
 * are not the same. Bytes written to out, at most VMS_VDPA_STATE_MAX; 0: nothing differs.
 */
size_t vms_vdpa_record_write(const struct vms_vdpa_state *from, const struct vms_vdpa_state *to,
                             struct vms_room out);
/**
 * Takes a record over what is known; known: state holds the records before. VMS_E_VDPA_STATE: what
 * cannot be, or changes of nothing; state is as before then.
 */
enum vms_code vms_vdpa_record_read(struct vms_slice in, bool known, struct vms_vdpa_state *state,
                                   struct vms_error *err);

#endif
