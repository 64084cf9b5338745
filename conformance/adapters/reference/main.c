/* SPDX-License-Identifier: MIT */
#include "conformance/adapters/reference/adapter.h"

#include <signal.h>
#include <string.h>
#include <sys/wait.h>

static const char *const features[] = {
    "precopy",    "multifd", "zlib",   "zstd",         "postcopy", "preempt",     "recovery",
    "mapped-ram", "tls",     "vfio",   "vfio-multifd", "vdpa",     "return-path", "switchover-ack",
    "main",       "xbzrle",  "native", "seal",         "pack",     "relay",       "settings",
    "timeout",    NULL};

/* What these programs read, but do not write. */
static const char *const not_as_source[] = {"zlib", "zstd", "xbzrle", "mapped-ram", NULL};

static bool cannot_send(const struct kit *k) {
    const json_t *needs = json_object_get(k->test, "needs");
    for (size_t i = 0; not_as_source[i]; i++)
        if (kit_is(k, "source") && cert_has(needs, not_as_source[i])) {
            kit_say((struct kit *)(uintptr_t)k, "reference-src does not send %s", not_as_source[i]);
            return true;
        }
    return false;
}

static enum kit_exit run(struct reference *r) {
    enum kit_exit e = kit_open(&r->kit);
    if (e != KIT_DONE)
        return e;
    kit_write_version(&r->kit, "vmstream 0.1.0");
    if (kit_is(&r->kit, "version"))
        return KIT_DONE;
    e = kit_check_needs(&r->kit, features);
    if (e != KIT_DONE || cannot_send(&r->kit))
        return KIT_UNSUPPORTED;
    if (kit_is(&r->kit, "source"))
        return ref_source(r);
    return kit_is(&r->kit, "destination") ? ref_destination(r) : KIT_UNSUPPORTED;
}

int main(void) {
    static struct reference r;
    enum kit_exit e = run(&r);
    if (r.pid > 0 && kill(r.pid, SIGKILL) == 0)
        (void)waitpid(r.pid, NULL, 0);
    json_decref(r.kit.test);
    json_decref(r.kit.end);
    return (int)e;
}
