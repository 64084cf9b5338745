/* SPDX-License-Identifier: MIT */
#include "conformance/runner/plan.h"
#include "conformance/runner/rig.h"

#include <glob.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct {
    const char *kind;
    void (*run)(struct cert_rig *r);
} KINDS[] = {
    {"vector", cert_run_decoder},
    {"dialogue", cert_run_dialogue},
    {"migration", cert_run_pair},
    {"probe", cert_run_probe},
};

/* What need not be tried: the profile says that an end has not got it. */
static bool lacks(struct cert_rig *r) {
    for (int i = 0; i < 2; i++) {
        const char *what =
            r->ends[i].implementation ? cert_lacks(r->ends[i].implementation, r->test) : NULL;
        if (!what || strcmp(cert_str(r->cell, "kind"), "probe") == 0)
            continue;
        cert_result_is(r->result, CERT_UNSUPPORTED, "%s has not got %s",
                       cert_str(r->ends[i].implementation, "name"), what);
        return true;
    }
    return false;
}

static void remove_all(const char *fmt, const char *folder) {
    char pattern[CERT_PATH];
    glob_t g;
    if (glob(cert_path(pattern, fmt, folder), GLOB_NOSORT, NULL, &g) != 0)
        return;
    for (size_t i = 0; i < g.gl_pathc; i++)
        cert_remove(g.gl_pathv[i]);
    globfree(&g);
}

void cert_cell_tidy(const char *folder) {
    static const char *const large[] = {"%s/*/ram",         "%s/*/guest.ram", "%s/shared/guest.img",
                                        "%s/shared/stream", "%s/wire.*",      "%s/*/guest.stream"};
    if (getenv("VMSTREAM_KEEP"))
        return;
    for (size_t i = 0; i < sizeof large / sizeof *large; i++)
        remove_all(large[i], folder);
}

json_t *cert_cell_run(const struct cert_context *c, const json_t *cell, const char *folder) {
    static struct cert_rig r;
    char path[CERT_PATH];
    int64_t begin = cert_now();
    if (cert_rig_open(&r, c, cell, folder) && !lacks(&r))
        for (size_t i = 0; i < sizeof KINDS / sizeof *KINDS; i++)
            if (strcmp(cert_str(cell, "kind"), KINDS[i].kind) == 0)
                KINDS[i].run(&r);
    (void)json_object_set_new(r.result, "ms", json_integer(cert_now() - begin));
    cert_rig_close(&r);
    (void)cert_write_json(cert_path(path, "%s/result.json", folder), r.result);
    return r.result;
}
