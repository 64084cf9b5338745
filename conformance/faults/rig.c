/* SPDX-License-Identifier: MIT */
#include "conformance/faults/rig.h"
#include "conformance/live/live.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    LISTEN_MS = 20000,
    RESOLVE_MS = 20000,
    MAX_ARGS = 64,
};

static int fail(struct fault_rig *r, const char *what) {
    (void)snprintf(r->error, sizeof r->error, "%s: %s", what, strerror(errno));
    return -1;
}

/* ---- folder ---- */

bool fault_own_mounts(void) {
    return unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0;
}

static int write_text(const char *path, const char *text) {
    FILE *f = fopen(path, "w");
    bool good = f && fputs(text, f) >= 0;
    return f && fclose(f) == 0 && good ? 0 : -1;
}

/* Locks and announcements are for all to see: two guests that run find each other (VM-3). */
static int write_vm(struct fault_rig *r) {
    const struct fault_plan *p = r->plan;
    char text[768];
    (void)snprintf(text, sizeof text,
                   "{\"blocks\": [{\"name\": \"ram0\", \"size\": \"%uM\", \"fill\": \"mix\","
                   " \"page_size\": \"%s\", \"backing\": \"%s\"}, {\"name\": \"ram1\","
                   " \"size\": \"2M\"}], \"vcpus\": [{\"rate\": 3000}, {\"rate\": 3000,"
                   " \"reads\": 0.5}], \"seed\": %llu, \"lock\": \"disk.lock\","
                   " \"running_lock\": \"run.lock\", \"announce\": \"announce.log\"}",
                   p->mib, p->huge ? "2M" : "4K", p->shared ? "shared" : "private",
                   (unsigned long long)(p->seed % 1000 + 1));
    return write_text(r->vm, text);
}

static int make_journal(struct fault_rig *r, int end) {
    bool tiny = r->plan->kind == (end ? FAULT_FULL_DESTINATION : FAULT_FULL_SOURCE);
    if (mkdir(r->journal[end], 0700) != 0)
        return -1;
    if (!tiny)
        return 0;
    r->mounted = mount("journal", r->journal[end], "tmpfs", 0, "size=64k") == 0;
    return r->mounted ? 0 : -1;
}

int fault_rig_open(struct fault_rig *r, const struct fault_plan *plan, const char *build) {
    char error[200] = "";
    *r = (struct fault_rig){.plan = plan, .build = build};
    r->src = (struct fault_process){.name = "src", .status = -1};
    r->dst = (struct fault_process){.name = "dst", .status = -1};
    (void)strcpy(r->dir, "/tmp/vms-faults-XXXXXX");
    if (!mkdtemp(r->dir))
        return fail(r, "a folder");
    (void)snprintf(r->vm, sizeof r->vm, "%s/vm.json", r->dir);
    (void)snprintf(r->keys, sizeof r->keys, "%s/keys", r->dir);
    (void)snprintf(r->control, sizeof r->control, "%s/control", r->dir);
    (void)snprintf(r->listen, sizeof r->listen, "%s/listen", r->dir);
    (void)snprintf(r->tapped, sizeof r->tapped, "%s/tap", r->dir);
    (void)snprintf(r->journal[0], sizeof r->journal[0], "%s/journal-src", r->dir);
    (void)snprintf(r->journal[1], sizeof r->journal[1], "%s/journal-dst", r->dir);
    if (write_vm(r) != 0 || make_journal(r, 0) != 0 || make_journal(r, 1) != 0)
        return fail(r, "files");
    if (write_text(r->keys, "one:00112233445566778899aabbccddeeff"
                            "00112233445566778899aabbccddeeff\n") != 0)
        return fail(r, "keys");
    struct vms_tap_options o = {.listen_path = r->tapped, .connect_path = r->listen};
    r->tap = vms_tap_start(&o, error, sizeof error);
    return r->tap ? 0 : fail(r, error);
}

static void end(struct fault_process *p) {
    if (p->pid > 0)
        (void)live_wait(p->pid, 0);
    p->pid = 0;
}

void fault_rig_close(struct fault_rig *r, const char *keep) {
    char command[512];
    end(&r->src);
    end(&r->dst);
    vms_tap_stop(r->tap);
    for (int i = 0; i < 2 && r->mounted; i++)
        (void)umount2(r->journal[i], MNT_DETACH);
    if (keep)
        (void)snprintf(command, sizeof command,
                       "mkdir -p '%s' && rm -rf '%s/%llu' && mv '%s' '%s/%llu'", keep, keep,
                       (unsigned long long)r->plan->seed, r->dir, keep,
                       (unsigned long long)r->plan->seed);
    else
        (void)snprintf(command, sizeof command, "rm -rf '%s'", r->dir);
    if (r->dir[0])
        (void)!system(command);
}

/* ---- command lines ---- */

struct command {
    const char *argv[MAX_ARGS];
    size_t count;
    char program[256], uri[128], uri2[128], report[96], numbers[4][32];
    size_t number_count;
};

static void add(struct command *c, const char *option, const char *value) {
    if (c->count + 2 >= MAX_ARGS)
        return;
    c->argv[c->count++] = option;
    if (value)
        c->argv[c->count++] = value;
}

static void add_number(struct command *c, const char *option, unsigned n, const char *suffix) {
    char *text = c->numbers[c->number_count++];
    (void)snprintf(text, 32, "%u%s", n, suffix);
    add(c, option, text);
}

static void begin(struct fault_rig *r, struct command *c, const char *program, const char *option,
                  const char *socket) {
    *c = (struct command){0};
    (void)snprintf(c->program, sizeof c->program, "%s/%s", r->build, program);
    (void)snprintf(c->uri, sizeof c->uri, "unix:%s", socket);
    c->argv[c->count++] = c->program;
    add(c, option, c->uri);
}

static void add_security(struct fault_rig *r, struct command *c) {
    if (r->plan->seal)
        add(c, "--psk", r->keys);
}

/* Every wait is short, so that what has to end by itself does. */
static void add_patience(const struct fault_plan *p, struct command *c, bool source) {
    bool stops = p->kind == FAULT_STOP_SOURCE || p->kind == FAULT_STOP_DESTINATION;
    add(c, "--timeout", stops ? "30" : "5");
    add(c, source ? "--reconnect" : "--recover-timeout",
        p->kind == FAULT_STOP_DESTINATION && source ? "15"
        : stops                                     ? "5"
                                                    : "2");
    if (source) {
        add(c, "--ready-s", stops ? "30" : "3");
        add(c, "--settle-s", stops ? "30" : "3");
    }
}

static pid_t run(struct fault_rig *r, struct command *c, const char *log) {
    char path[128];
    (void)snprintf(path, sizeof path, "%s/%s.log", r->dir, log);
    c->argv[c->count] = NULL;
    FILE *f = fopen(path, "r");
    if (f) { /* the log of the program that died stays */
        char old[160];
        (void)fclose(f);
        (void)snprintf(old, sizeof old, "%s.before", path);
        (void)rename(path, old);
    }
    return live_spawn(c->argv, path, NULL);
}

static int wait_until_it_listens(struct fault_rig *r) {
    for (int64_t until = fault_now_ms() + LISTEN_MS; fault_now_ms() < until; fault_moment()) {
        struct stat st;
        if (fault_says(r, &r->dst, "listening on ") || stat(r->listen, &st) == 0)
            return 0;
        if (fault_ended(&r->dst))
            break;
    }
    char *log = fault_text(r, "dst.log");
    (void)snprintf(r->error, sizeof r->error, "reference-dst does not listen: %.180s", log);
    free(log);
    return -1;
}

int fault_start_dst(struct fault_rig *r) {
    struct command c;
    begin(r, &c, "reference-dst", "--listen", r->listen);
    (void)snprintf(c.report, sizeof c.report, "%s/dst.json", r->dir);
    add(&c, "--vm", r->vm);
    add(&c, "--report", c.report);
    add(&c, "--run-seconds", "0");
    add(&c, "--run-ops", "300");
    add_patience(r->plan, &c, false);
    add_security(r, &c);
    if (r->plan->wire == FAULT_NATIVE)
        add(&c, "--journal", r->journal[1]);
    else if (r->plan->channels)
        add_number(&c, "--multifd-channels", r->plan->channels, "");
    r->dst.pid = run(r, &c, "dst");
    return wait_until_it_listens(r);
}

static void add_mode(const struct fault_plan *p, struct command *c) {
    if (p->postcopy) {
        add(c, "--postcopy-after", p->seed & 1 || p->phase >= FAULT_AT_POSTCOPY ? "0" : "1");
        add_number(c, "--postcopy-bandwidth", 20 + (unsigned)(p->seed & 31), "M");
    }
    if (p->preempt)
        add(c, "--preempt", NULL);
    if (p->pause)
        add(c, "--pause-before-switchover", NULL);
    if (p->channels)
        add_number(c, "--channels", p->channels, "");
    if (p->pack)
        add(c, "--pack", p->pack);
    if (p->seal)
        add(c, "--seal", p->seal);
    if (p->wire == FAULT_NATIVE && !p->digest)
        add(c, "--digest", "off");
    add_number(c, "--bandwidth", p->bandwidth, "M");
    if (p->huge) /* every write dirties 2 MiB: it would not converge */
        add(c, "--downtime-ms", "3000");
}

int fault_start_src(struct fault_rig *r) {
    struct command c;
    begin(r, &c, "reference-src", "--connect", r->tapped);
    (void)snprintf(c.uri2, sizeof c.uri2, "unix:%s", r->control);
    (void)snprintf(c.report, sizeof c.report, "%s/src.json", r->dir);
    add(&c, "--wire", r->plan->wire == FAULT_NATIVE ? "native" : "qevm");
    add(&c, "--vm", r->vm);
    add(&c, "--report", c.report);
    add(&c, "--control", c.uri2);
    add_patience(r->plan, &c, true);
    add_security(r, &c);
    add_mode(r->plan, &c);
    if (r->plan->wire == FAULT_NATIVE)
        add(&c, "--journal", r->journal[0]);
    r->src.pid = run(r, &c, "src");
    return r->src.pid > 0 ? 0 : fail(r, "reference-src");
}

int fault_start_answer(struct fault_rig *r, const char *session) {
    struct command c;
    (void)unlink(r->listen); /* of the one that died */
    begin(r, &c, "reference-dst", "--listen", r->listen);
    add(&c, "--answer", session);
    add(&c, "--journal", r->journal[1]);
    add(&c, "--timeout", "5");
    add_security(r, &c);
    r->dst.status = -1;
    r->dst.pid = run(r, &c, "dst");
    return wait_until_it_listens(r);
}

int fault_resolve_journal(struct fault_rig *r, const char *as) {
    struct command c = {0};
    (void)snprintf(c.program, sizeof c.program, "%s/reference-src", r->build);
    c.argv[c.count++] = c.program;
    add(&c, "--journal", r->journal[0]);
    add(&c, "--resolve", as);
    return live_wait(run(r, &c, "resolve"), RESOLVE_MS);
}
