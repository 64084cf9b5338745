/* SPDX-License-Identifier: MIT */
#include "host/report_assets.h"

VMS_EMBED(vms_page_style, "codec/host/report_page.css")
VMS_EMBED(vms_page_script, "codec/host/report_page.js")
VMS_EMBED(vms_migration_script, "codec/host/report_migration.js")

/* Chart.js out of Debian's libjs-chart.js. A build without it makes pages without plots. */
#ifndef VMS_CHART_JS
#define VMS_CHART_JS "/usr/share/javascript/chart.js/chart.min.js"
#endif
#if __has_include(VMS_CHART_JS)
VMS_EMBED(vms_chart_script, VMS_CHART_JS)
#else
struct vms_asset vms_chart_script(void) {
    return (struct vms_asset){.text = "", .len = 0};
}
#endif
