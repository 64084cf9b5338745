/* SPDX-License-Identifier: MIT */
#include "reference-src/report.h"

#include "host/report_json.h"

int src_report_write(const struct src_options *options, struct vms_timeline *timeline,
                     const struct src_outcome *outcome, struct vms_error *err) {
    json_t *r = vms_report_new(timeline, "reference-src");
    if (!r) {
        (void)vms_error_set(err, VMS_E_NO_MEMORY, "the report");
        return -1;
    }
    json_object_set_new(r, "state", json_string(src_state_name(outcome->state)));
    json_object_set_new(r, "owner", json_string(src_owner_name(outcome->owner)));
    enum vms_code code = vms_report_write(options->report, r, err);
    json_decref(r);
    return code == VMS_OK ? 0 : -1;
}
