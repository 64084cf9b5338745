/* SPDX-License-Identifier: MIT */
#include "conformance/bench/vfio/bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    LOTS = 4, /* of new initial data, as busy.src.sim has them: without REINIT all of them wait */
};

#define PAIR(name, end, multifd, main_alone)                                                       \
    {name, end, end, multifd, false, main_alone}, {name, end, end, multifd, true, main_alone},

const struct vb_case vb_cases[VB_CASES] = {
    PAIR("QEMU 11.1", "qemu-11.1", 0, false)                          /* */
    PAIR("QEMU 11.1, multifd 4", "qemu-11.1", 4, false)               /* */
    PAIR("reference, QEMU's wire", "reference-new", 0, false)         /* */
    PAIR("reference, QEMU's, multifd 4", "reference-new", 4, false)   /* */
    PAIR("reference, native, main", "reference-native", 0, true)      /* */
    PAIR("reference, native, channels", "reference-native", 0, false) /* */
};

static int read_text(const char *scene, const char *name, const char *more, char *out,
                     size_t size) {
    char path[600];
    (void)snprintf(path, sizeof path, "%s/%s", scene, name);
    FILE *file = fopen(path, "re");
    size_t n = file ? fread(out, 1, size - 1, file) : 0;
    if (file)
        (void)fclose(file);
    (void)snprintf(out + n, size - n, "%s", more);
    return n > 0 ? 0 : -1;
}

static void forget(const char *dir) {
    char command[700];
    (void)snprintf(command, sizeof command, "rm -rf '%s'", dir);
    if (!getenv("VMSTREAM_KEEP") && system(command) != 0)
        (void)fprintf(stderr, "%s is left\n", dir);
}

void vb_run(const struct vb_case *what, const struct vfm_options *options, const char *scene,
            struct vb_run *out, json_t **lanes) {
    static const char *const args[] = {"--switchover-bandwidth", "4G", NULL};
    static const char *const main_alone[] = {"--switchover-bandwidth", "4G", "--device-channels",
                                             "off", NULL};
    static struct vfm_seen seen;
    static char text[4][1500];
    const char *without = what->reinit ? "" : "precopy-v2 off\n";
    const struct vfm_set set = {"scene", VB_DEVICES, {{true, 0}, {true, 0}, {true, 0}, {true, 0}}};
    const struct vfm_cell cell = {vfm_end(what->src, strlen(what->src)),
                                  vfm_end(what->dst, strlen(what->dst)), &set};
    struct vfm_scene s = {
        .multifd = what->multifd, .lots = LOTS, .src_args = what->main_alone ? main_alone : args};
    struct vfm_options o = *options;
    char keep[] = "/tmp/vms-downtime-XXXXXX";
    *out = (struct vb_run){.good = false};
    if (read_text(scene, "busy.src.sim", without, text[0], sizeof text[0]) != 0 ||
        read_text(scene, "busy.dst.sim", "", text[1], sizeof text[1]) != 0 ||
        read_text(scene, "idle.src.sim", without, text[2], sizeof text[2]) != 0 ||
        read_text(scene, "idle.dst.sim", "", text[3], sizeof text[3]) != 0 || !mkdtemp(keep)) {
        (void)snprintf(out->why, sizeof out->why, "the scene is not in %s", scene);
        return;
    }
    for (size_t d = 0; d < VB_DEVICES; d++)
        for (size_t e = 0; e < 2; e++)
            s.text[e][d] = text[(d > 0 ? 2 : 0) + e];
    o.scene = &s;
    o.keep = keep;
    forget(keep);
    if (vfm_run(&cell, &o, &seen, out->why, sizeof out->why) != VFM_RAN)
        return;
    if (seen.outcome != VFM_COMPLETES)
        (void)snprintf(out->why, sizeof out->why, "it %s", vfm_outcome_name(seen.outcome));
    else if (vb_read_logs(keep, out, lanes) != 0 || !out->good)
        (void)snprintf(out->why, sizeof out->why, "the devices' logs do not tell");
    forget(keep);
}
