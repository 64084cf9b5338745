/* SPDX-License-Identifier: MIT */
#ifndef VMSTREAM_HOST_REPORT_ASSETS_H
#define VMSTREAM_HOST_REPORT_ASSETS_H

#include "host/embed.h"

/** Parts of a page. */
struct vms_asset vms_page_style(void);
struct vms_asset vms_page_script(void);
struct vms_asset vms_migration_script(void);
/** Chart.js; empty where it was not there when the program was built. */
struct vms_asset vms_chart_script(void);

#endif
