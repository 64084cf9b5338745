/* SPDX-License-Identifier: MIT */
#include "reference-src/resolve.h"

#include "host/listener.h"
#include "host/native_link.h"

#include <criterion/criterion.h>
#include <criterion/redirect.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* After a restart, with journals as they are on a disk, and a destination on a real link. */

enum {
    GENERATION = 7,
    SILENCE_MS = 4321, /* --keepalive */
};

struct desk {
    char dir[64], uri[96];
    struct src_options options;
};

static void desk_open(struct desk *d) {
    (void)strcpy(d->dir, "/tmp/vms-resolve-XXXXXX");
    cr_assert_not_null(mkdtemp(d->dir));
    (void)snprintf(d->uri, sizeof d->uri, "unix:%s/s", d->dir);
    src_options_default(&d->options);
    d->options.journal = d->dir;
    d->options.connect = d->uri;
    d->options.quiet = true;
    d->options.reconnect_ms = 0;
    d->options.keepalive_ms = SILENCE_MS;
}

static void desk_close(struct desk *d) {
    char command[96];
    (void)snprintf(command, sizeof command, "rm -rf '%s'", d->dir);
    cr_expect_eq(system(command), 0);
}

static struct vms_journal_record record(uint8_t id) {
    struct vms_journal_record r = {.role = VMS_ROLE_SOURCE, .generation = GENERATION};
    memset(r.session, id, sizeof r.session);
    return r;
}

static void path_of(const struct desk *d, uint8_t id, const char *suffix, char out[160]) {
    struct vms_journal_record r = record(id);
    char text[VMS_SESSION_TEXT];
    vms_session_text(r.session, text);
    (void)snprintf(out, 160, "%s/%s.source%s", d->dir, text, suffix);
}

/* LOST: a file that was cut off. */
static void put_moved(const struct desk *d, uint8_t id, enum vms_journal journal, bool postcopy) {
    struct vms_journal_record r = record(id);
    struct vms_error err;
    char path[160];
    r.postcopy = postcopy;
    r.journal = journal == VMS_JOURNAL_LOST ? VMS_JOURNAL_COMMITTED : journal;
    cr_assert_eq(vms_journal_write(d->dir, &r, &err), VMS_OK, "%s", err.message);
    path_of(d, id, ".journal", path);
    if (journal == VMS_JOURNAL_LOST)
        cr_assert_eq(truncate(path, 30), 0, "%s", path);
}

static void put(const struct desk *d, uint8_t id, enum vms_journal journal) {
    put_moved(d, id, journal, false);
}

static enum vms_journal get(const struct desk *d, uint8_t id) {
    struct vms_journal_record r = record(id);
    struct vms_error err;
    (void)vms_journal_read(d->dir, &r, &err);
    return r.journal;
}

/* ---- by order ---- */

/* [HND-12] [HND-11] What is not in doubt stays as it is. */
Test(resolve, every_journal, .init = cr_redirect_stderr) {
    static const enum vms_journal kinds[] = {VMS_JOURNAL_NONE, VMS_JOURNAL_COMMITTED,
                                             VMS_JOURNAL_RELEASED, VMS_JOURNAL_GONE,
                                             VMS_JOURNAL_LOST};
    for (unsigned theirs = 0; theirs < 2; theirs++) {
        enum vms_journal decided = theirs ? VMS_JOURNAL_GONE : VMS_JOURNAL_RELEASED;
        struct desk d;
        desk_open(&d);
        d.options.resolve = theirs ? SRC_RESOLVE_THEIRS : SRC_RESOLVE_OURS;
        for (uint8_t i = 0; i < 5; i++)
            put(&d, i, kinds[i]);
        cr_expect_eq(src_resolve_journals(&d.options), 0);
        for (uint8_t i = 0; i < 5; i++) {
            bool doubt = kinds[i] == VMS_JOURNAL_COMMITTED || kinds[i] == VMS_JOURNAL_LOST;
            cr_expect_eq(get(&d, i), doubt ? decided : kinds[i], "%s", vms_journal_name(kinds[i]));
        }
        desk_close(&d);
    }
}

/* One that cannot be written does not keep the others, and is told by the status. */
Test(resolve, what_cannot_be_written, .init = cr_redirect_stderr) {
    struct desk d;
    char path[160];
    desk_open(&d);
    d.options.resolve = SRC_RESOLVE_THEIRS;
    for (uint8_t i = 1; i <= 3; i++)
        put(&d, i, VMS_JOURNAL_COMMITTED);
    path_of(&d, 2, ".new", path);
    cr_assert_eq(mkdir(path, 0700), 0);
    cr_expect_eq(src_resolve_journals(&d.options), 3);
    cr_expect_eq(get(&d, 1), VMS_JOURNAL_GONE);
    cr_expect_eq(get(&d, 2), VMS_JOURNAL_COMMITTED);
    cr_expect_eq(get(&d, 3), VMS_JOURNAL_GONE);
    d.options.journal = "/nonexistent";
    cr_expect_eq(src_resolve_journals(&d.options), 3);
    desk_close(&d);
}

/* ---- by asking ---- */

struct answer {
    uint32_t type;       /* of a hand-over frame, or PAGE_REQUEST; 0: none */
    uint64_t generation; /* of that frame */
    unsigned refusals;   /* of hellos before */
};

/* A destination that takes an inquiry, and what it has heard. */
struct peer {
    struct answer answer;
    uint8_t session[16];
    struct vms_listener *listener;
    pthread_t thread;
    bool asked;          /* an inquiry about that session */
    uint32_t silence_ms; /* that its hello allows itself (SES-25) */
    uint64_t committed;
};

static enum vms_code on_hello(void *ctx, const struct vms_native_hello *hello, uint32_t *device,
                              struct vms_error *err) {
    struct peer *p = ctx;
    (void)device;
    if (p->answer.refusals && p->answer.refusals--)
        return vms_error_set(err, VMS_E_SESSION_ID, "ask again");
    p->silence_ms = hello->keepalive_ms;
    p->asked = hello->form == VMS_FORM_INQUIRY &&
               memcmp(hello->who.session, p->session, sizeof p->session) == 0;
    return VMS_OK;
}

static void say(struct peer *p, struct vms_native_link *link) {
    struct vms_native_out out = {.frame.header.type = p->answer.type};
    struct vms_native_run run = {.first = 0, .count = 1};
    struct vms_error err;
    if (p->answer.type == VMS_NATIVE_PAGE_REQUEST)
        out.frame.u.pages =
            (struct vms_native_pages){.page_bits = 12, .run_count = 1, .runs = &run};
    else
        out.frame.u.generation = p->answer.generation;
    if (p->answer.type)
        cr_expect_eq(vms_native_link_send(link, 0, &out, &err), VMS_OK, "%s", err.message);
}

/* Until the source has gone. */
static void serve(struct peer *p, struct vms_native_link *link) {
    struct vms_native_link_event ev;
    struct vms_error err;
    if (p->answer.generation == 0) /* a journal that is lost asks nothing */
        say(p, link);
    while (vms_native_link_receive(link, 0, &ev, &err) == VMS_OK && ev.frame)
        if (ev.frame->header.type == VMS_NATIVE_COMMIT) {
            p->committed = ev.frame->u.generation;
            say(p, link);
        }
}

static void *peer_thread(void *ctx) {
    struct peer *p = ctx;
    struct vms_native_link_config c = vms_native_link_config_default();
    struct vms_error err;
    c.role = VMS_ROLE_DESTINATION;
    c.listener = p->listener;
    c.features = c.features_needed = VMS_FEATURE_HANDOVER;
    c.open_ms = 10000;
    c.resume_ms = 0;
    c.handover = true;
    c.hello = on_hello;
    c.ctx = p;
    struct vms_native_link *link = vms_native_link_new(&c, &err);
    cr_assert_not_null(link, "%s", err.message);
    if (vms_native_link_open(link, &err) == VMS_OK)
        serve(p, link);
    vms_native_link_free(link);
    return NULL;
}

static void peer_start(struct peer *p, const struct desk *d) {
    struct vms_channel_options o = vms_channel_options_default();
    struct vms_error err;
    struct vms_uri uri;
    cr_assert_eq(vms_uri_parse(d->uri, &uri, &err), VMS_OK);
    cr_assert_eq(vms_listener_open(&uri, &o, &p->listener, &err), VMS_OK, "%s", err.message);
    cr_assert_eq(pthread_create(&p->thread, NULL, peer_thread, p), 0);
}

static void peer_stop(struct peer *p) {
    (void)pthread_join(p->thread, NULL);
    vms_listener_close(p->listener);
}

/* [HND-14] [MIG-32] */
Test(inquire, answers, .timeout = 300) {
    static const struct {
        struct answer answer;
        enum vms_journal before, after;
        enum src_settling settled;
        int status;
    } cases[] = {
        {{VMS_NATIVE_RUNNING, GENERATION, 0},
         VMS_JOURNAL_COMMITTED,
         VMS_JOURNAL_GONE,
         SRC_SETTLED_THEIRS,
         0},
        {{VMS_NATIVE_NOT_STARTED, GENERATION, 0},
         VMS_JOURNAL_COMMITTED,
         VMS_JOURNAL_RELEASED,
         SRC_SETTLED_OURS,
         0},
        {{VMS_NATIVE_RUNNING, GENERATION, 2}, /* refused twice */
         VMS_JOURNAL_COMMITTED,
         VMS_JOURNAL_GONE,
         SRC_SETTLED_THEIRS,
         0},
        {{VMS_NATIVE_RUNNING, GENERATION + 1, 0}, /* of another attempt: HND-3 */
         VMS_JOURNAL_COMMITTED,
         VMS_JOURNAL_COMMITTED,
         SRC_PEER_BROKE,
         1},
        {{VMS_NATIVE_PAGE_REQUEST, 1, 0}, /* an inquiry has no pages */
         VMS_JOURNAL_COMMITTED,
         VMS_JOURNAL_COMMITTED,
         SRC_PEER_BROKE,
         1},
        {{0, GENERATION, 0}, VMS_JOURNAL_COMMITTED, VMS_JOURNAL_COMMITTED, SRC_UNSETTLED, 3},
        {{VMS_NATIVE_NOT_STARTED, 0, 0},
         VMS_JOURNAL_LOST,
         VMS_JOURNAL_RELEASED,
         SRC_SETTLED_OURS,
         0},
    };
    cr_redirect_stderr();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct desk d;
        struct peer p = {.answer = cases[i].answer};
        desk_open(&d);
        d.options.inquire = true;
        d.options.reconnect_ms = cases[i].answer.refusals ? 20000 : 0;
        d.options.settle_ms = cases[i].answer.type ? 20000 : 100;
        put(&d, 5, cases[i].before);
        memset(p.session, 5, sizeof p.session);
        peer_start(&p, &d);
        cr_expect_eq(src_resolve_journals(&d.options), cases[i].status, "case %zu", i);
        peer_stop(&p);
        cr_expect(p.asked, "case %zu", i);
        cr_expect_eq(p.silence_ms, SILENCE_MS);
        cr_expect_eq(p.committed, cases[i].before == VMS_JOURNAL_LOST ? 0 : GENERATION);
        cr_expect_eq(get(&d, 5), cases[i].after, "case %zu: %s", i, vms_journal_name(get(&d, 5)));
        desk_close(&d);
    }
}

/* [HND-12] Nobody is there, or another service: it stays in doubt. */
Test(inquire, nobody, .init = cr_redirect_stderr) {
    struct desk d;
    struct vms_error why;
    struct vms_journal_record r = record(5);
    desk_open(&d);
    d.options.inquire = true;
    put(&d, 1, VMS_JOURNAL_GONE);
    cr_expect_eq(src_resolve_journals(&d.options), 0); /* nothing is in doubt: nobody is asked */
    put(&d, 5, r.journal = VMS_JOURNAL_COMMITTED);
    cr_expect_eq(src_resolve_journals(&d.options), 3);
    cr_expect_eq(src_inquire(&d.options, &r, &why), SRC_UNSETTLED);
    cr_expect_eq(why.code, VMS_E_CONNECT, "%s", why.message);
    cr_expect_eq(get(&d, 5), VMS_JOURNAL_COMMITTED);
    desk_close(&d);
}

/* ---- by postcopy ---- */

/* What the program says from here on goes into a file of the desk. */
static void overhear(const struct desk *d, char path[160]) {
    (void)snprintf(path, 160, "%s/log", d->dir);
    cr_assert_not_null(freopen(path, "we", stderr));
    (void)setvbuf(stderr, NULL, _IOLBF, 0);
}

static unsigned times_said(const char *path, const char *words) {
    char text[4096] = "";
    unsigned n = 0;
    FILE *f = fopen(path, "re");
    cr_assert_not_null(f);
    text[fread(text, 1, sizeof text - 1, f)] = 0;
    (void)fclose(f);
    for (const char *at = text; (at = strstr(at, words)); at += strlen(words))
        n++;
    return n;
}

static bool moved_before_its_memory(const struct desk *d, uint8_t id) {
    struct vms_journal_record r = record(id);
    struct vms_error err;
    cr_assert_eq(vms_journal_read(d->dir, &r, &err), VMS_OK, "%s", err.message);
    return r.postcopy;
}

static const char LOST[] = "theirs, by postcopy; pages that were left here";

/*
 * [HND-16] By order: of what went by postcopy pages are lost, and of what had gone already they may
 * be; a record GONE that was taken back, and what comes back here, lost none. It stays in the
 * journal: who asks again hears it again.
 */
Test(resolve, by_postcopy) {
    static const struct {
        enum vms_journal journal;
        bool postcopy;
    } left[] = {{VMS_JOURNAL_COMMITTED, true},
                {VMS_JOURNAL_GONE, true},
                {VMS_JOURNAL_COMMITTED, false},
                {VMS_JOURNAL_GONE, false}};
    struct desk d;
    char log[160];
    desk_open(&d);
    overhear(&d, log);
    d.options.resolve = SRC_RESOLVE_THEIRS;
    for (uint8_t i = 0; i < 4; i++)
        put_moved(&d, i, left[i].journal, left[i].postcopy);
    cr_expect_eq(src_resolve_journals(&d.options), 0);
    cr_expect_eq(times_said(log, LOST), 2);
    cr_expect_eq(times_said(log, "theirs; it may never be started here"), 1);
    cr_expect_eq(times_said(log, "theirs already"), 1);
    for (uint8_t i = 0; i < 4; i++)
        cr_expect_eq(moved_before_its_memory(&d, i), left[i].postcopy);
    cr_expect_eq(src_resolve_journals(&d.options), 0);
    cr_expect_eq(times_said(log, LOST), 4);

    d.options.resolve = SRC_RESOLVE_OURS;
    put_moved(&d, 0, VMS_JOURNAL_COMMITTED, true);
    put_moved(&d, 1, VMS_JOURNAL_GONE, false);
    cr_expect_eq(src_resolve_journals(&d.options), 0);
    cr_expect_eq(times_said(log, LOST), 4);
    cr_expect_eq(times_said(log, "ours; its memory went with the program"), 1);
    desk_close(&d);
}

/* [HND-16] By asking: the destination has started it, and pages of it are nowhere. */
Test(inquire, by_postcopy, .timeout = 300) {
    static const struct {
        struct answer answer;
        enum vms_journal after;
        unsigned lost;
    } cases[] = {
        {{VMS_NATIVE_RUNNING, GENERATION, 0}, VMS_JOURNAL_GONE, 1},
        {{VMS_NATIVE_NOT_STARTED, GENERATION, 0}, VMS_JOURNAL_RELEASED, 0},
    };
    for (size_t i = 0; i < 2; i++) {
        struct desk d;
        struct peer p = {.answer = cases[i].answer};
        char log[160];
        desk_open(&d);
        overhear(&d, log);
        d.options.inquire = true;
        d.options.settle_ms = 20000;
        put_moved(&d, 5, VMS_JOURNAL_COMMITTED, true);
        memset(p.session, 5, sizeof p.session);
        peer_start(&p, &d);
        cr_expect_eq(src_resolve_journals(&d.options), 0);
        peer_stop(&p);
        cr_expect_eq(get(&d, 5), cases[i].after);
        cr_expect_eq(times_said(log, LOST), cases[i].lost);
        desk_close(&d);
    }
}
