/* SPDX-License-Identifier: MIT */
#include "conformance/adapters/codec/codec.h"

#include <stdlib.h>
#include <string.h>

/* Our codec as an implementation: a decoder, in this process. */
static const char *const features[] = {"main",     "multifd",     "preempt",
                                       "recovery", "return-path", "mapped-ram",
                                       "native",   "precopy",     NULL};

bool codec_read(const char *uri, struct codec_input *in) {
    in->bytes = strncmp(uri, "file:", 5) == 0
                    ? (uint8_t *)cert_read(uri + 5, CODEC_INPUT_MAX, &in->len)
                    : NULL;
    return in->bytes != NULL;
}

enum kit_exit codec_refused(struct kit *k, const char *code, const char *class_, const char *clause,
                            uint64_t offset, const char *message) {
    cert_set(k->end, "code", code);
    cert_set(k->end, "class", class_);
    cert_set(k->end, "clause", clause);
    (void)json_object_set_new(k->end, "offset", json_integer((json_int_t)offset));
    return kit_end(k, "refused", "%s", message);
}

static enum kit_exit run(struct kit *k) {
    struct codec_input in = {NULL, 0};
    enum kit_exit e = kit_open(k);
    if (e != KIT_DONE)
        return e;
    kit_write_version(k, "libvmstream 0.1.0");
    if (kit_is(k, "version"))
        return KIT_DONE;
    e = kit_check_needs(k, features);
    if (e != KIT_DONE || !kit_is(k, "decoder"))
        return e != KIT_DONE ? e : KIT_UNSUPPORTED;
    if (!codec_read(k->uri, &in)) {
        kit_say(k, "%s cannot be read", k->uri);
        return KIT_LOCAL;
    }
    e = strcmp(cert_str(k->body, "kind"), "native") == 0 ? codec_native(k, &in)
                                                         : codec_qevm(k, &in);
    free(in.bytes);
    return e;
}

int main(void) {
    struct kit k;
    enum kit_exit e = run(&k);
    json_decref(k.test);
    json_decref(k.end);
    return (int)e;
}
