/* SPDX-License-Identifier: MIT */
#include "conformance/native/pair.h"
#include "host/native_link_internal.h"
#include "reference-src/wire_native_internal.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* ---- guests ---- */

static enum vms_code guest_stop(void *ctx, struct vms_error *err) {
    struct pair_guest *g = ctx;
    (void)err;
    atomic_store(&g->running, 0);
    return VMS_OK;
}

struct toucher {
    struct pair *p;
    unsigned seed;
};

/* A virtual CPU at the destination, in postcopy: reads everything in random order and checks. */
static void *touch(void *arg) {
    struct toucher *t = arg;
    struct pair *p = t->p;
    for (size_t b = 0; b < PAIR_BLOCKS; b++) {
        uint64_t pages = p->dest.blocks[b].length / PAIR_PAGE;
        for (uint64_t i = 0; i < pages / 2; i++) {
            uint64_t page =
                ((uint64_t)rand_r(&t->seed) * 32768u + (uint64_t)rand_r(&t->seed)) % pages;
            const uint8_t *at = p->dest.blocks[b].memory + page * PAIR_PAGE;
            if (memcmp(at, p->expected[b] + page * PAIR_PAGE, PAIR_PAGE) != 0)
                atomic_fetch_add(&p->wrong, 1);
        }
    }
    free(t);
    return NULL;
}

static enum vms_code guest_run(void *ctx, struct vms_error *err) {
    struct pair_guest *g = ctx;
    if (g->fail_run)
        return vms_error_set(err, VMS_E_VFIO_DEVICE, "a virtual CPU does not start");
    atomic_store(&g->running, 1);
    if (atomic_load(&g->pair->source.running))
        atomic_fetch_add(&g->pair->wrong, 1); /* [HND-2] */
    if (g == &g->pair->dest && g->pair->postcopy)
        for (unsigned i = 0; i < 2; i++) {
            struct toucher *t = malloc(sizeof *t);
            *t = (struct toucher){g->pair, 77 + i};
            (void)pthread_create(&g->pair->touchers[g->pair->toucher_count++], NULL, touch, t);
        }
    return VMS_OK;
}

static void guest_throttle(void *ctx, unsigned percent) {
    (void)ctx;
    (void)percent;
}

static enum vms_code guest_locks(void *ctx, bool take, struct vms_error *err) {
    struct pair_guest *g = ctx;
    if (take && g->fail_locks)
        return vms_error_set(err, VMS_E_IO, "somebody has the lock");
    atomic_store(&g->locked, take);
    return VMS_OK;
}

static void guest_announce(void *ctx) {
    struct pair_guest *g = ctx;
    atomic_fetch_add(&g->announced, 1);
}

static enum vms_code guest_save(void *ctx, const uint8_t **bytes, size_t *len,
                                struct vms_error *err) {
    struct pair_guest *g = ctx;
    (void)err;
    *bytes = g->state;
    *len = g->state_len;
    return VMS_OK;
}

static enum vms_code guest_load(void *ctx, const uint8_t *bytes, size_t len,
                                struct vms_error *err) {
    struct pair_guest *g = ctx;
    if (len > sizeof g->state)
        return vms_error_set(err, VMS_E_DST_INCOMPLETE, "state");
    memcpy(g->state, bytes, len);
    g->state_len = len;
    atomic_store(&g->loaded, 1);
    return VMS_OK;
}

static const struct vms_guest_ops OPS = {guest_stop,     guest_run,  guest_throttle, guest_locks,
                                         guest_announce, guest_save, guest_load};

static void make_guest(struct pair *p, struct pair_guest *g, uint64_t size) {
    uint64_t small = 4 << 20;
    int fd = memfd_create("ram1", MFD_CLOEXEC);
    cr_assert(fd >= 0 && ftruncate(fd, (off_t)small) == 0);
    uint8_t *private = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    uint8_t *shared = mmap(NULL, small, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    cr_assert(private != MAP_FAILED && shared != MAP_FAILED);
    g->pair = p;
    g->blocks[0] = (struct vms_guest_block){"ram0", private, size, PAIR_PAGE, false, -1};
    g->blocks[1] = (struct vms_guest_block){"ram1", shared, small, PAIR_PAGE, true, fd};
    g->guest = (struct vms_guest){&OPS, g, g->blocks, PAIR_BLOCKS};
}

static void fill(struct pair_guest *g, bool at_random) {
    uint64_t x = 88172645463325252u;
    for (size_t b = 0; b < PAIR_BLOCKS; b++)
        for (uint64_t page = 0; page < g->blocks[b].length / PAIR_PAGE; page++) {
            uint64_t *at = (uint64_t *)(void *)(g->blocks[b].memory + page * PAIR_PAGE);
            unsigned kind = at_random ? 2 : page / 64 % 4;
            for (size_t i = 0; kind && i < PAIR_PAGE / 8; i++) {
                x ^= x << 13, x ^= x >> 7, x ^= x << 17;
                at[i] = kind == 1 ? (x & 63) * 0x0101010101u : x;
            }
        }
}

/* ---- the owner of the wire ---- */

static void on_event(void *ctx, const struct src_event *event, const struct vms_error *why) {
    struct pair *p = ctx;
    pthread_mutex_lock(&p->mutex);
    p->seen[event->kind] = true;
    p->last[event->kind] = *event;
    if (why)
        p->why = *why;
    pthread_cond_broadcast(&p->changed);
    pthread_mutex_unlock(&p->mutex);
}

static void on_request(void *ctx, uint32_t block, uint64_t offset, uint64_t length) {
    struct pair *p = ctx;
    pthread_mutex_lock(&p->mutex);
    cr_assert_lt(p->request_count, 4096);
    p->requests[(p->request_first + p->request_count++) % 4096] =
        (struct pair_request){block, offset, length};
    pthread_cond_broadcast(&p->changed);
    pthread_mutex_unlock(&p->mutex);
}

static void on_received(void *ctx, uint32_t block, const uint8_t *bytes, size_t len) {
    (void)ctx;
    (void)block;
    (void)bytes;
    (void)len;
}

static void on_note(void *ctx, const char *text) {
    (void)ctx;
    if (getenv("PAIR_NOTES"))
        fprintf(stderr, "source: %s\n", text);
}

static void dst_note(void *ctx, const char *text) {
    (void)ctx;
    if (getenv("PAIR_NOTES"))
        fprintf(stderr, "destination: %s\n", text);
}

static const char *on_uri(void *ctx) {
    return ((struct pair *)ctx)->uri_text;
}

static void on_session(void *ctx, const uint8_t id[16]) {
    (void)ctx;
    (void)id;
}

/* Whether the event came; false: the session is over instead. */
static bool wait_for(struct pair *p, enum src_event_kind kind) {
    struct timespec until;
    (void)clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 60;
    int rc = 0;
    pthread_mutex_lock(&p->mutex);
    while (!p->seen[kind] && !p->seen[SRC_EV_ABORT] && rc == 0)
        rc = pthread_cond_timedwait(&p->changed, &p->mutex, &until);
    bool seen = p->seen[kind];
    pthread_mutex_unlock(&p->mutex);
    return seen;
}

/* ---- memory that is written to ---- */

static void write_page(struct pair *p, size_t b, uint64_t page, unsigned seed) {
    uint8_t *at = p->source.blocks[b].memory + page * PAIR_PAGE;
    for (unsigned i = 0; i < p->change; i++)
        at[(seed + i) % PAIR_PAGE] = (uint8_t)(seed >> 3 ^ i * 7);
    atomic_store(&p->dirty[b][page], 1);
}

static void *writer(void *arg) {
    struct pair *p = arg;
    unsigned seed = 4711;
    while (atomic_load(&p->writing)) {
        size_t b = (unsigned)rand_r(&seed) % 8 == 0 && !p->small_ram1;
        uint64_t pages = p->source.blocks[b].length / PAIR_PAGE;
        for (int i = 0; i < 8; i++)
            write_page(p, b, (uint64_t)rand_r(&seed) % pages, (unsigned)rand_r(&seed));
        (void)usleep(100);
    }
    return NULL;
}

/* ---- the script ---- */

static enum vms_code send_group(struct pair *p, uint32_t b, uint64_t first, uint64_t end) {
    struct src_batch batch = {.block = b, .page_size = PAIR_PAGE};
    for (uint64_t i = first; i < end; i++)
        if (atomic_exchange(&p->dirty[b][i], 0))
            batch.pages[batch.count++] = i;
    if (!batch.count)
        return VMS_OK;
    return p->wire.ops->pages(p->wire.ctx, &batch, &p->source_error);
}

static enum vms_code pass(struct pair *p) {
    enum vms_code code = VMS_OK;
    for (uint32_t b = 0; b < PAIR_BLOCKS; b++)
        for (uint64_t i = 0; i < p->source.blocks[b].length / PAIR_PAGE && code == VMS_OK; i += 256)
            code = send_group(p, b, i, i + 256);
    if (code == VMS_OK)
        code = p->wire.ops->sync(p->wire.ctx, &p->source_error);
    return code;
}

static double seconds_now(void) {
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static enum vms_code precopy(struct pair *p) {
    double begin = seconds_now();
    enum vms_code code = VMS_OK;
    const struct wire_native *w = p->wire.ctx;
    p->silence_ms = vms_native_link_agreement(w->link)->keepalive_ms;
    if (p->misbehave) {
        p->misbehave(p, ((struct wire_native *)p->wire.ctx)->link);
        (void)wait_for(p, SRC_EV_ABORT);
        return vms_error_set(&p->source_error, VMS_E_SESSION_ABORTED, "%.200s", p->why.message);
    }
    for (unsigned i = 0; i < p->passes && code == VMS_OK; i++) {
        code = pass(p);
        if (i == 0 && code == VMS_OK)
            code = p->wire.ops->flush(p->wire.ctx, &p->source_error);
        if (i == 0)
            p->seconds = seconds_now() - begin;
    }
    return code;
}

/* Returns when the source knows: what the script does next is of the time after the cut. */
static void cut(struct pair *p, unsigned channel) {
    struct wire_native *w = p->wire.ctx;
    struct vms_native_link *l = w->link;
    struct vms_error ignored;
    pthread_mutex_lock(&l->mutex);
    struct link_conn *c = l->channels[channel].conn;
    if (c && !l->closing && !l->over && link_is_up(l)) {
        (void)vms_channel_shutdown(c->io, VMS_SHUT_BOTH, &ignored);
        p->cuts_made++;
        while (l->channels[channel].conn == c)
            pthread_cond_wait(&l->changed, &l->mutex);
    }
    pthread_mutex_unlock(&l->mutex);
}

static void *saboteur(void *arg) {
    struct pair *p = arg;
    unsigned seed = 99;
    while (atomic_load(&p->writing) && p->cuts_made < p->cuts) {
        (void)usleep(20000 + (useconds_t)rand_r(&seed) % 30000);
        cut(p, (unsigned)rand_r(&seed) % 3);
    }
    return NULL;
}

/* The pages that were sent and are stale are discarded; the rest follows behind the guest. */
static enum vms_code discard(struct pair *p) {
    for (uint32_t b = 0; b < PAIR_BLOCKS; b++)
        for (uint64_t i = 0; i < p->source.blocks[b].length / PAIR_PAGE; i++)
            if (atomic_load(&p->dirty[b][i])) {
                uint64_t range[2] = {i, 1};
                if (p->wire.ops->discard(p->wire.ctx, b, range, 1, &p->source_error) != VMS_OK)
                    return p->source_error.code;
            }
    return p->wire.ops->listen(p->wire.ctx, &p->source_error);
}

static bool next_request(struct pair *p, struct pair_request *r) {
    pthread_mutex_lock(&p->mutex);
    bool any = p->request_count > 0;
    if (any) {
        *r = p->requests[p->request_first];
        p->request_first = (p->request_first + 1) % 4096;
        p->request_count--;
    }
    pthread_mutex_unlock(&p->mutex);
    return any;
}

static enum vms_code serve(struct pair *p) {
    struct pair_request r;
    while (next_request(p, &r)) {
        struct src_batch batch = {.block = r.block, .page_size = PAIR_PAGE};
        for (uint64_t i = r.offset / PAIR_PAGE; i < (r.offset + r.length) / PAIR_PAGE; i++)
            if (atomic_exchange(&p->dirty[r.block][i], 0))
                batch.pages[batch.count++] = i;
        if (batch.count && p->wire.ops->urgent(p->wire.ctx, &batch, &p->source_error) != VMS_OK)
            return p->source_error.code;
    }
    return VMS_OK;
}

/* What is pushed before anybody has touched it is not asked for. */
static void wait_for_request(struct pair *p) {
    struct timespec t;
    (void)clock_gettime(CLOCK_REALTIME, &t);
    t.tv_sec += 20;
    pthread_mutex_lock(&p->mutex);
    while (!p->request_count && pthread_cond_timedwait(&p->changed, &p->mutex, &t) == 0) {
    }
    pthread_mutex_unlock(&p->mutex);
}

static enum vms_code push(struct pair *p) {
    enum vms_code code = VMS_OK;
    wait_for_request(p);
    for (uint32_t b = 0; b < PAIR_BLOCKS; b++)
        for (uint64_t i = 0; i < p->source.blocks[b].length / PAIR_PAGE && code == VMS_OK;
             i += 16) {
            code = serve(p);
            if (code == VMS_OK)
                code = send_group(p, b, i, i + 16);
            if (i % 4096 == 0 && p->cuts && p->cuts_made < p->cuts)
                cut(p, (unsigned)(i / 4096) % 3);
        }
    if (code == VMS_OK)
        code = p->wire.ops->end(p->wire.ctx, &p->source_error);
    if (code == VMS_OK && !wait_for(p, SRC_EV_SHUT))
        code = vms_error_set(&p->source_error, VMS_E_TIMEOUT, "END is not acknowledged");
    return code;
}

static void expect_here(struct pair *p) {
    for (size_t b = 0; b < PAIR_BLOCKS; b++) {
        p->expected[b] = malloc(p->source.blocks[b].length);
        memcpy(p->expected[b], p->source.blocks[b].memory, p->source.blocks[b].length);
    }
}

static enum vms_code fail(struct pair *p, enum vms_code code, const char *what) {
    return vms_error_set(&p->source_error, code, "%s: %s", what, p->why.message);
}

/* As the engine in doubt: tries until the destination takes the inquiry. */
static enum vms_code ask(struct pair *p) {
    const struct src_wire_ops *o = p->wire.ops;
    enum vms_code code = VMS_E_TIMEOUT;
    for (int i = 0; i < 200 && code != VMS_OK; i++) {
        code = o->reconnect(p->wire.ctx, &p->source_error);
        if (code != VMS_OK)
            (void)usleep(50000);
    }
    return code == VMS_OK ? o->commit(p->wire.ctx, 1, p->postcopy, &p->source_error) : code;
}

static enum vms_code hand_over(struct pair *p) {
    const struct src_wire_ops *o = p->wire.ops;
    void *w = p->wire.ctx;
    struct vms_error *err = &p->source_error;
    const uint8_t *state;
    size_t len;
    atomic_store(&p->source.running, 0);
    if (p->postcopy && discard(p) != VMS_OK)
        return err->code;
    if (p->postcopy)
        expect_here(p);
    if (!p->postcopy && pass(p) != VMS_OK)
        return err->code;
    (void)OPS.save(&p->source, &state, &len, err);
    if (o->ram_end(w, err) != VMS_OK ||
        o->devices(w, vms_slice(state, len), p->postcopy, err) != VMS_OK ||
        o->start(w, 1, p->postcopy, err) != VMS_OK)
        return err->code;
    if (p->cut_at_ready)
        cut(p, 0);
    if (!wait_for(p, SRC_EV_READY))
        return fail(p, VMS_E_TIMEOUT, "no READY");
    if (p->last[SRC_EV_READY].value == 2)
        return fail(p, VMS_E_HANDOVER_DIGEST, "READY");
    if (p->cut_at_commit)
        cut(p, 0);
    if (o->commit(w, 1, p->postcopy, err) != VMS_OK && !p->asks)
        return err->code;
    if (p->cut_at_commit && !p->asks)
        cut(p, 0);
    if (p->asks && ask(p) != VMS_OK)
        return err->code;
    if (!wait_for(p, SRC_EV_RUNNING))
        return fail(p, VMS_E_TIMEOUT, "no RUNNING");
    return p->postcopy ? push(p) : VMS_OK;
}

static enum vms_code source(struct pair *p) {
    const struct src_wire_ops *o;
    struct vms_error *err = &p->source_error;
    pthread_t w, s;
    if (src_wire_native(&p->options, &p->source.guest, &p->owner, &p->wire, err) != VMS_OK)
        return err->code;
    o = p->wire.ops;
    if (o->connect(p->wire.ctx, err) != VMS_OK ||
        o->setup(p->wire.ctx, &p->source.guest, p->postcopy, err) != VMS_OK)
        return err->code;
    atomic_store(&p->writing, true);
    atomic_store(&p->source.running, 1);
    (void)pthread_create(&w, NULL, writer, p);
    if (p->cuts)
        (void)pthread_create(&s, NULL, saboteur, p);
    enum vms_code code = precopy(p);
    atomic_store(&p->writing, false);
    (void)pthread_join(w, NULL);
    if (p->cuts)
        (void)pthread_join(s, NULL);
    if (code == VMS_OK)
        code = hand_over(p);
    o->stats(p->wire.ctx, &p->stats);
    p->bytes_sent = vms_native_link_stats(((struct wire_native *)p->wire.ctx)->link).bytes_out;
    if (code == VMS_OK)
        code = o->close(p->wire.ctx, err);
    else
        o->abort(p->wire.ctx, err);
    return code;
}

static void *destination(void *arg) {
    struct pair *p = arg;
    p->destination_code = dst_native_run(p->session, &p->destination_error);
    dst_native_result(p->session, &p->result);
    return NULL;
}

/* ---- life ---- */

void pair_init(struct pair *p, uint64_t size) {
    memset(p, 0, sizeof *p);
    (void)strcpy(p->dir, "/tmp/vms-pair-XXXXXX");
    cr_assert(mkdtemp(p->dir));
    pthread_mutex_init(&p->mutex, NULL);
    pthread_cond_init(&p->changed, NULL);
    make_guest(p, &p->source, size);
    make_guest(p, &p->dest, size);
    fill(&p->source, false);
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
    p->owner = (struct src_wire_owner){.event = on_event,
                                       .request = on_request,
                                       .received = on_received,
                                       .note = on_note,
                                       .uri = on_uri,
                                       .session = on_session,
                                       .ctx = p};
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
    fill(&p->source, true);
}

void pair_run(struct pair *p) {
    struct vms_ram_image_config image = vms_ram_image_config_default();
    struct vms_error err;
    pthread_t t;
    double begin = seconds_now();
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
    p->source_code = source(p);
    (void)pthread_join(t, NULL);
    for (unsigned i = 0; i < p->toucher_count; i++)
        (void)pthread_join(p->touchers[i], NULL);
    p->total_seconds = seconds_now() - begin;
}

uint64_t pair_different(const struct pair *p) {
    uint64_t n = 0;
    for (size_t b = 0; b < PAIR_BLOCKS; b++)
        for (uint64_t i = 0; i < p->source.blocks[b].length; i += PAIR_PAGE)
            n += memcmp(p->source.blocks[b].memory + i, p->dest.blocks[b].memory + i, PAIR_PAGE) !=
                 0;
    return n;
}

static void free_guest(struct pair_guest *g) {
    for (size_t b = 0; b < PAIR_BLOCKS; b++) {
        (void)munmap(g->blocks[b].memory, g->blocks[b].length);
        if (g->blocks[b].fd >= 0)
            (void)close(g->blocks[b].fd);
    }
}

void pair_free(struct pair *p) {
    if (p->wire.ops)
        p->wire.ops->free(p->wire.ctx);
    dst_native_free(p->session);
    vms_ram_image_free(p->image);
    vms_listener_close(p->listener);
    free_guest(&p->source);
    free_guest(&p->dest);
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
