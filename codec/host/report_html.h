/* SPDX-License-Identifier: MIT */
#ifndef VMSTREAM_HOST_REPORT_HTML_H
#define VMSTREAM_HOST_REPORT_HTML_H

#include "host/report_assets.h"

#include <jansson.h>
#include <stdio.h>

/**
 * A JSON document as one HTML page that needs nothing else, no network either (REP-8): the document
 * itself, a style, the plotting library and a script that draws it. The document is data in the
 * page, never markup: names out of a guest do no harm.
 *
 * script: JavaScript after report_page.js, whose `report` is the document; vms_migration_script()
 * for the report of a migration. title is plain text. Returns 0, or -1 with errno set.
 */
int vms_html_write(FILE *out, const char *title, const json_t *document, struct vms_asset script);

#endif
