/* SPDX-License-Identifier: MIT */
#include "conformance/runner/schedule.h"

#include "conformance/runner/expected.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

enum {
    JOBS_MAX = 64,
    JOB_MIB = 1024,    /* two guests, their dumps, the wire */
    GRACE_S = 90,      /* of a worker beyond its cell's deadline */
    DEFAULT_MS = 8000, /* of a migration that was never run */
    VECTOR_MS = 40,
    ALONE_PATIENCE = 2, /* of a cell's second attempt, which has the machine to itself */
};

struct worker {
    struct cert_process process;
    json_t *cell;
    char folder[CERT_PATH];
    bool beside; /* another cell ran at some time meanwhile */
    bool alone;  /* it is the second attempt */
};

struct state {
    struct cert_schedule *s;
    struct worker workers[JOBS_MAX];
    size_t next, running, done, total;
    int64_t spent[2], times[2]; /* milliseconds and cells: vectors, others */
    json_t *distrusted;         /* implementations that a probe has found out */
    bool broken;                /* the first sanity case */
    size_t again;               /* where to look for the next cell that wants a second attempt */
    int rc;
};

static volatile sig_atomic_t interrupted;

static void on_signal(int number) {
    (void)number;
    interrupted = 1;
}

unsigned cert_schedule_jobs(void) {
    char line[128];
    long cores = sysconf(_SC_NPROCESSORS_ONLN), available = 0;
    FILE *f = fopen("/proc/meminfo", "re");
    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "MemAvailable: %ld", &available) == 1)
            break;
    if (f)
        (void)fclose(f);
    long most = available ? available / 1024 / JOB_MIB : cores;
    long jobs = cores < most ? cores : most;
    return jobs < 1 ? 1 : jobs > JOBS_MAX ? JOBS_MAX : (unsigned)jobs;
}

/* ---- progress ---- */

static size_t class_of(const json_t *cell) {
    return strcmp(cert_str(cell, "kind"), "vector") == 0 ? 0 : 1;
}

static int64_t expected_ms(const struct state *t, size_t class) {
    return t->times[class] ? t->spent[class] / t->times[class] : class ? DEFAULT_MS : VECTOR_MS;
}

static int64_t left_ms(const struct state *t) {
    int64_t sum = 0;
    for (size_t i = t->next; i < json_array_size(t->s->plan); i++) {
        const json_t *cell = json_array_get(t->s->plan, i);
        if (!cert_journal_find(t->s->journal, cert_str(cell, "id")))
            sum += expected_ms(t, class_of(cell));
    }
    return sum / (t->s->jobs ? t->s->jobs : 1);
}

static void tell(const struct state *t, const json_t *line) {
    enum cert_verdict v = cert_result_verdict(line);
    bool plain = class_of(line) == 0 && v == CERT_PASS;
    if (t->s->quiet || (plain && t->done % 100 != 0))
        return;
    int64_t left = left_ms(t) / 1000;
    bool again = strcmp(cert_str(line, "record"), "first") == 0;
    fprintf(stderr, "[%4zu/%zu] %-11s %s (%.1f s; about %lld:%02lld left)%s\n", t->done, t->total,
            cert_str(line, "verdict"), cert_str(line, "id"), (double)cert_int(line, "ms", 0) / 1000,
            (long long)(left / 60), (long long)(left % 60),
            again ? "; once more later, alone" : "");
    const char *why = json_string_value(json_array_get(json_object_get(line, "why"), 0));
    if (why && v != CERT_PASS)
        fprintf(stderr, "            %.300s\n", why);
}

/* ---- results ---- */

static void learn(struct state *t, const json_t *line) {
    enum cert_verdict v = cert_result_verdict(line);
    bool probe = strcmp(cert_str(line, "kind"), "probe") == 0;
    if (probe && v != CERT_PASS && v != CERT_UNSUPPORTED)
        (void)json_object_set(t->distrusted, cert_str(line, "subject"),
                              v == CERT_SKIP ? json_false() : json_true());
    if (cert_true(line, "sanity") && cert_verdict_is_bad(v) &&
        strncmp(cert_str(line, "id"), "sanity-first", 12) == 0)
        t->broken = true;
}

static json_t *line_of(const struct state *t, const char *record, const json_t *cell,
                       const json_t *result, const char *folder) {
    json_t *line = json_pack("{s:s}", "record", record);
    (void)json_object_update(line, (json_t *)(uintptr_t)cell);
    (void)json_object_update(line, (json_t *)(uintptr_t)result);
    cert_set(line, "folder", strrchr(folder, '/') ? strrchr(folder, '/') + 1 : folder);
    const json_t *first = cert_journal_first(t->s->journal, cert_str(cell, "id"));
    if (first && strcmp(record, "cell") == 0)
        (void)json_object_set_new(
            line, "first",
            json_pack("{s:O, s:O, s:O, s:O}", "verdict", json_object_get(first, "verdict"), "why",
                      json_object_get(first, "why"), "ms", json_object_get(first, "ms"), "folder",
                      json_object_get(first, "folder")));
    return line;
}

/* Takes over the line. */
static void note(struct state *t, json_t *line) {
    if (cert_journal_add(t->s->journal, line) != 0) {
        fprintf(stderr, "certify: the journal cannot be written: %s\n", strerror(errno));
        t->rc = -1;
    }
    tell(t, line);
    json_decref(line);
}

/* Takes over the result. */
static void finish(struct state *t, const json_t *cell, json_t *result, const char *folder) {
    if (!cert_verdict_is_bad(cert_result_verdict(result)))
        cert_cell_tidy(folder);
    json_t *line = line_of(t, "cell", cell, result, folder);
    size_t class = class_of(cell);
    t->spent[class] += cert_int(result, "ms", 0);
    t->times[class]++;
    t->done++;
    learn(t, line);
    note(t, line);
    json_decref(result);
}

/*
 * Who is late beside others may be slow and not hang, and a local failure may be want of memory:
 * such a cell runs once more, alone, and only then is it judged. Takes over the result.
 */
static void put_off(struct state *t, const json_t *cell, json_t *result, const char *folder) {
    cert_result_note(result, "other cells ran beside it: it is run once more, alone");
    note(t, line_of(t, "first", cell, result, folder));
    json_decref(result);
}

static void skip(struct state *t, const json_t *cell, const char *folder, const char *why) {
    json_t *r = cert_result_new();
    bool ci = getenv("CI") && strcmp(getenv("CI"), "true") == 0;
    bool absent = strcmp(why, "it cannot be run here") == 0;
    cert_result_is(r, ci && absent ? CERT_ERROR : CERT_SKIP, "%s", why);
    finish(t, cell, r, folder);
}

static const char *reason_to_skip(const struct state *t, const json_t *cell) {
    static const char *const who[] = {"source", "destination", "subject"};
    if (strcmp(cert_str(cell, "kind"), "probe") == 0)
        return NULL;
    for (size_t i = 0; i < 3; i++) {
        const json_t *d = json_object_get(t->distrusted, cert_str(cell, who[i]));
        if (d)
            return json_is_true(d) ? "an adapter is not honest: see its probes"
                                   : "it cannot be run here";
    }
    return t->broken && !cert_true(cell, "sanity") ? "the sanity case failed" : NULL;
}

/* ---- workers ---- */

static void folder_of(const struct state *t, size_t index, bool alone, char *out) {
    cert_path(out, "%s/cells/%05zu%s", t->s->context.out, index, alone ? "-alone" : "");
}

static unsigned patience_of(const struct state *t, const struct worker *w) {
    unsigned patience = t->s->context.patience ? t->s->context.patience : 1;
    return w->alone ? patience * ALONE_PATIENCE : patience;
}

static void work(struct state *t, const struct worker *w, pid_t parent) {
    struct cert_context context = t->s->context;
    (void)setpgid(0, 0);
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    (void)prctl(PR_SET_CHILD_SUBREAPER, 1);
    if (getppid() != parent)
        _exit(1);
    (void)signal(SIGINT, SIG_IGN);
    (void)signal(SIGTERM, SIG_DFL);
    context.patience = patience_of(t, w);
    json_t *r = cert_cell_run(&context, w->cell, w->folder);
    json_decref(r);
    _exit(0);
}

static struct worker *free_worker(struct state *t) {
    size_t i = 0;
    while (t->workers[i].cell)
        i++;
    return &t->workers[i];
}

static void start(struct state *t, json_t *cell, size_t index, bool alone) {
    pid_t parent = getpid();
    struct worker *w = free_worker(t);
    *w = (struct worker){.cell = cell, .alone = alone};
    folder_of(t, index, alone, w->folder);
    (void)fflush(NULL);
    pid_t pid = fork();
    if (pid == 0)
        work(t, w, parent);
    if (pid < 0) {
        w->cell = NULL;
        skip(t, cell, w->folder, "fork failed");
        return;
    }
    (void)setpgid(pid, pid);
    int64_t seconds = cert_int(cell, "seconds", 60) * 2 * (int64_t)patience_of(t, w) + GRACE_S;
    w->process =
        (struct cert_process){.pid = pid, .started = true, .deadline = cert_now() + seconds * 1000};
    t->running++;
    for (size_t i = 0; t->running > 1 && i < JOBS_MAX; i++)
        t->workers[i].beside = true;
}

static bool is_first(const json_t *cell) {
    return strcmp(cert_str(cell, "kind"), "probe") == 0 ||
           strncmp(cert_str(cell, "id"), "sanity-first", 12) == 0;
}

static bool wants_another(const struct worker *w, const json_t *result) {
    enum cert_verdict v = cert_result_verdict(result);
    return w->beside && !is_first(w->cell) && (v == CERT_TIMEOUT || v == CERT_ERROR);
}

static void collect(struct state *t, struct worker *w) {
    char path[CERT_PATH];
    json_t *r = json_load_file(cert_path(path, "%s/result.json", w->folder), 0, NULL);
    t->running--;
    if (!r || cert_exit(&w->process) != 0) {
        json_decref(r);
        r = cert_result_new();
        cert_result_is(r, CERT_ERROR, "the runner's own process %s",
                       w->process.late ? "hung" : "crashed");
    }
    cert_expected_apply(t->s->expected, t->s->context.profile, w->cell, r);
    if (interrupted)
        json_decref(r);
    else if (wants_another(w, r))
        put_off(t, w->cell, r, w->folder);
    else
        finish(t, w->cell, r, w->folder);
    w->cell = NULL;
}

static void poll_workers(struct state *t) {
    for (size_t i = 0; i < JOBS_MAX; i++)
        if (t->workers[i].cell && cert_ended(&t->workers[i].process))
            collect(t, &t->workers[i]);
}

static bool is_last(const json_t *cell) {
    return strncmp(cert_str(cell, "id"), "sanity-last", 11) == 0;
}

/* What must be over before this one: all that went before at either end of a plan. */
static bool must_wait(const struct state *t, const json_t *cell) {
    const json_t *before = t->next ? json_array_get(t->s->plan, t->next - 1) : NULL;
    return t->running > 0 && (is_last(cell) || (before && is_first(before) && !is_first(cell)) ||
                              (cert_true(cell, "sanity") && is_first(cell)));
}

/* The next cell of the plan. False: it has to wait. */
static bool start_next(struct state *t) {
    json_t *cell = json_array_get(t->s->plan, t->next);
    const char *id = cert_str(cell, "id");
    const json_t *old = cert_journal_find(t->s->journal, id);
    char folder[CERT_PATH];
    if (!old && must_wait(t, cell))
        return false;
    size_t index = t->next++;
    folder_of(t, index, false, folder);
    const char *why = old ? NULL : reason_to_skip(t, cell);
    if (old) {
        learn(t, old);
        t->done++;
    } else if (why) {
        skip(t, cell, folder, why);
    } else if (!cert_journal_first(t->s->journal, id)) {
        start(t, cell, index, false);
    }
    return true;
}

/* Nothing runs: the next of those that were put off. False: there is none. */
static bool start_again(struct state *t) {
    for (; t->again < t->next; t->again++) {
        json_t *cell = json_array_get(t->s->plan, t->again);
        const char *id = cert_str(cell, "id");
        if (!cert_journal_first(t->s->journal, id) || cert_journal_find(t->s->journal, id))
            continue;
        start(t, cell, t->again++, true);
        return true;
    }
    return false;
}

static void start_some(struct state *t) {
    bool more = true;
    while (more && t->running < t->s->jobs && !interrupted) {
        bool end = t->next >= json_array_size(t->s->plan);
        if (end || is_last(json_array_get(t->s->plan, t->next)))
            more = t->running == 0 && !start_again(t) && !end && start_next(t);
        else
            more = start_next(t);
    }
}

int cert_schedule_run(struct cert_schedule *s) {
    static struct state t;
    t = (struct state){.s = s, .total = json_array_size(s->plan), .distrusted = json_object()};
    interrupted = 0;
    (void)signal(SIGINT, on_signal);
    (void)signal(SIGTERM, on_signal);
    while (t.rc == 0 && !(interrupted && !t.running)) {
        start_some(&t);
        if (t.next >= t.total && !t.running)
            break;
        poll_workers(&t);
        for (size_t i = 0; interrupted && i < JOBS_MAX; i++)
            if (t.workers[i].cell)
                cert_kill(&t.workers[i].process);
        cert_nap();
    }
    json_decref(t.distrusted);
    return t.rc != 0 || interrupted ? -1 : 0;
}
