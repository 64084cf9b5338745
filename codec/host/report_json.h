/* SPDX-License-Identifier: MIT */
#ifndef VMSTREAM_HOST_REPORT_JSON_H
#define VMSTREAM_HOST_REPORT_JSON_H

#include "host/timeline.h"

#include <jansson.h>

/**
 * The report of a migration (spec/05-report.md, REP). An end makes it with vms_report_new(), adds
 * what only it knows under the keys that the spec names, and writes it.
 *
 *     json_t *r = vms_report_new(timeline, "reference-src");
 *     json_object_set_new(r, "bytes", json_integer(...));
 *     if (vms_report_write(options->report, r, &err) != VMS_OK) ...
 *     json_decref(r);
 */

/** A new reference, or NULL: no memory. The timeline is locked meanwhile. timeline NULL: an object
 * without the parts that come from it. */
json_t *vms_report_new(struct vms_timeline *timeline, const char *program);
/** Writes FILE.html as a page (host/report_html.h), any other name as JSON. VMS_E_IO: the reason is
 * in *err, no half-written file is left. */
enum vms_code vms_report_write(const char *path, json_t *report, struct vms_error *err);
/** An error as reports have it. A new reference. */
json_t *vms_report_error(const struct vms_error *err);

#endif
