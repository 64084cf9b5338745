/* SPDX-License-Identifier: MIT */
#include "conformance/native/pair_internal.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* A pair from its beginning to its end; the destination's thread. */

double pair_seconds(void) {
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void dst_note(void *ctx, const char *text) {
    (void)ctx;
    if (getenv("PAIR_NOTES"))
        fprintf(stderr, "destination: %s\n", text);
}

void pair_init(struct pair *p, uint64_t size) {
    memset(p, 0, sizeof *p);
    (void)strcpy(p->dir, "/tmp/vms-pair-XXXXXX");
    cr_assert(mkdtemp(p->dir));
    pthread_mutex_init(&p->mutex, NULL);
    pthread_cond_init(&p->changed, NULL);
    pair_guest_make(p, &p->source, size);
    pair_guest_make(p, &p->dest, size);
    pair_guest_fill(&p->source, false);
    memcpy(p->source.state, "the state of the guest", 23);
    p->source.state_len = 23;
    for (size_t b = 0; b < PAIR_BLOCKS; b++) {
        p->dirty[b] = malloc(p->source.blocks[b].length / PAIR_PAGE);
        memset((void *)p->dirty[b], 1, p->source.blocks[b].length / PAIR_PAGE);
    }
    p->transport = "unix";
    p->passes = 3;
    p->change = 16;
    p->options = (struct src_options){.native = true,
                                      .channels = 4,
                                      .reconnect_ms = 10000,
                                      .limits = vms_limits_default(),
                                      .connect = p->uri_text};
    p->destination = (struct dst_native_config){
        .limits = vms_limits_default(), .open_ms = 20000, .resume_ms = 10000, .note = dst_note};
    p->destination.limits.native_bulk_bytes = 1 << 20;
    pair_own(p);
}

void pair_seal(struct pair *p, enum vms_suite suite) {
    static const char key[] =
        "one:00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\n";
    p->options.has_suite = true;
    p->options.suite = suite;
    if (suite == VMS_SUITE_NONE)
        return;
    (void)snprintf(p->key_file, sizeof p->key_file, "%s/keys", p->dir);
    FILE *f = fopen(p->key_file, "w");
    cr_assert(f && fputs(key, f) >= 0 && fclose(f) == 0);
    p->options.psk = p->key_file;
    p->destination.psk = vms_str(key);
}

static void listen_on(struct pair *p) {
    struct vms_error err;
    struct vms_channel_options o = vms_channel_options_default();
    o.defer_handshake = true;
    if (strcmp(p->transport, "unix") == 0)
        (void)snprintf(p->uri_text, sizeof p->uri_text, "unix:%s/s", p->dir);
    else
        (void)strcpy(p->uri_text, "tcp:127.0.0.1:0");
    cr_assert_eq(vms_uri_parse(p->uri_text, &p->uri, &err), VMS_OK, "%s", err.message);
    cr_assert_eq(vms_listener_open(&p->uri, &o, &p->listener, &err), VMS_OK, "%s", err.message);
    (void)snprintf(p->uri_text, sizeof p->uri_text, "%s", vms_listener_name(p->listener));
}

void pair_fill_at_random(struct pair *p) {
    pair_guest_fill(&p->source, true);
}

static void *destination(void *arg) {
    struct pair *p = arg;
    p->destination_code = dst_native_run(p->session, &p->destination_error);
    dst_native_result(p->session, &p->result);
    return NULL;
}

void pair_run(struct pair *p) {
    struct vms_ram_image_config image = vms_ram_image_config_default();
    struct vms_error err;
    pthread_t t;
    double begin = pair_seconds();
    listen_on(p);
    image.store = VMS_RAM_GUEST;
    image.guest = &p->dest.guest;
    p->image = vms_ram_image_new(&image, &err);
    cr_assert(p->image, "%s", err.message);
    p->destination.listener = p->listener;
    p->destination.image = p->image;
    p->destination.guest = &p->dest.guest;
    p->session = dst_native_new(&p->destination, &err);
    cr_assert(p->session, "%s", err.message);
    (void)pthread_create(&t, NULL, destination, p);
    p->source_code = pair_source(p);
    (void)pthread_join(t, NULL);
    for (unsigned i = 0; i < p->toucher_count; i++)
        (void)pthread_join(p->touchers[i], NULL);
    p->total_seconds = pair_seconds() - begin;
}

uint64_t pair_different(const struct pair *p) {
    uint64_t n = 0;
    for (size_t b = 0; b < PAIR_BLOCKS; b++)
        for (uint64_t i = 0; i < p->source.blocks[b].length; i += PAIR_PAGE)
            n += memcmp(p->source.blocks[b].memory + i, p->dest.blocks[b].memory + i, PAIR_PAGE) !=
                 0;
    return n;
}

void pair_free(struct pair *p) {
    if (p->wire.ops)
        p->wire.ops->free(p->wire.ctx);
    dst_native_free(p->session);
    vms_ram_image_free(p->image);
    vms_listener_close(p->listener);
    pair_guest_free(&p->source);
    pair_guest_free(&p->dest);
    for (size_t b = 0; b < PAIR_BLOCKS; b++) {
        free((void *)p->dirty[b]);
        free(p->expected[b]);
    }
    if (p->key_file[0])
        (void)unlink(p->key_file);
    (void)rmdir(p->dir);
    pthread_mutex_destroy(&p->mutex);
    pthread_cond_destroy(&p->changed);
}
