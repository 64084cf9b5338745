/* SPDX-License-Identifier: MIT */
#include "conformance/vfio-matrix/matrix.h"

#include <errno.h>
#include <jansson.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    JOBS_MAX = 16,
    ALL = VFM_ENDS * VFM_ENDS * VFM_SETS,
};

/** What a child sends back. */
struct result {
    enum vfm_verdict verdict;
    struct vfm_seen seen;
    char why[1024];
};

struct job {
    pid_t pid;
    int fd;
    size_t cell;
    size_t got;
    struct result result;
};

struct matrix {
    const struct vfm_matrix_options *o;
    struct vfm_table table;
    size_t todo[ALL];
    size_t count, next, done, good, bad, absent;
    struct job jobs[JOBS_MAX];
    FILE *jsonl;
    char cache[64];
};

/* ---- which ---- */

static bool part_fits(const char **pattern, const char *name) {
    size_t len = strcspn(*pattern, "/");
    bool fits = (len == 1 && **pattern == '*') ||
                (strlen(name) == len && strncmp(*pattern, name, len) == 0);
    *pattern += len + ((*pattern)[len] == '/');
    return fits;
}

bool vfm_fits(const struct vfm_cell *cell, const char *pattern) {
    return part_fits(&pattern, cell->src->name) && part_fits(&pattern, cell->dst->name) &&
           part_fits(&pattern, cell->set->name) && !*pattern;
}

static bool is_wanted(const struct matrix *m, size_t at) {
    struct vfm_cell cell = vfm_cell(at);
    bool any = !m->o->patterns || !m->o->patterns[0];
    for (size_t i = 0; m->o->patterns && m->o->patterns[i]; i++)
        any |= vfm_fits(&cell, m->o->patterns[i]);
    return any;
}

/* ---- a cell, in a process of its own ---- */

static void child(struct matrix *m, size_t at, int fd) {
    static struct result r;
    struct vfm_cell cell = vfm_cell(at);
    char keep[600], name[64];
    vfm_cell_name(&cell, name, sizeof name);
    for (char *c = name; *c; c++)
        *c = *c == '/' ? '_' : *c;
    (void)snprintf(keep, sizeof keep, "%s/%s", m->o->keep ? m->o->keep : "", name);
    const struct vfm_options o = {
        .build = m->o->build, .cache = m->cache, .keep = m->o->keep ? keep : NULL};
    r.verdict = vfm_run(&cell, &o, &r.seen, r.why, sizeof r.why);
    _exit(write(fd, &r, sizeof r) == (ssize_t)sizeof r ? 0 : 1);
}

static int start_job(struct matrix *m, struct job *j) {
    int fds[2];
    pid_t parent = getpid();
    if (pipe(fds) != 0)
        return -1;
    *j = (struct job){.cell = m->todo[m->next++], .fd = fds[0]};
    (void)fflush(NULL);
    j->pid = fork();
    if (j->pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        (void)close(fds[0]);
        if (getppid() == parent)
            child(m, j->cell, fds[1]);
        _exit(1);
    }
    (void)close(fds[1]);
    return j->pid > 0 ? 0 : -1;
}

/* ---- what is told ---- */

static json_t *counts_json(const int count[3]) {
    static const char *const names[] = {"init_data_sent", "requests", "acks"};
    json_t *o = json_object();
    for (size_t i = 0; i < 3; i++)
        if (count[i] != VFM_UNKNOWN)
            json_object_set_new(o, names[i], json_integer(count[i]));
    return o;
}

static void put_jsonl(struct matrix *m, const struct job *j, const char *name, const char *expect,
                      bool ok, const char *why) {
    const struct vfm_seen *s = &j->result.seen;
    const int count[3] = {s->sent, s->requests, s->acks};
    if (!m->jsonl)
        return;
    json_t *o = json_pack(
        "{s:s, s:b, s:s, s:s, s:o, s:s, s:s, s:f, s:s?, s:s?}", "cell", name, "ok", ok, "expected",
        expect, "outcome", j->result.verdict == VFM_RAN ? vfm_outcome_name(s->outcome) : "not run",
        "counts", counts_json(count), "source", s->versions[0], "destination", s->versions[1],
        "seconds", s->seconds, "why", *why ? why : NULL, "said", *s->said ? s->said : NULL);
    if (o && json_dumpf(o, m->jsonl, JSON_COMPACT) == 0)
        (void)fputc('\n', m->jsonl);
    (void)fflush(m->jsonl);
    json_decref(o);
}

static void tell(struct matrix *m, struct job *j) {
    char name[64], expect[128], seen[128] = "not run", why[1200];
    const struct vfm_expect *e = &m->table.cell[j->cell];
    struct vfm_cell cell = vfm_cell(j->cell);
    bool absent = j->result.verdict == VFM_ABSENT, ok = false;
    vfm_cell_name(&cell, name, sizeof name);
    vfm_expect_text(e, expect, sizeof expect);
    (void)snprintf(why, sizeof why, "%s", j->result.why);
    if (j->result.verdict == VFM_RAN) {
        vfm_seen_text(&j->result.seen, seen, sizeof seen);
        ok = vfm_table_agrees(e, &j->result.seen, why, sizeof why);
    }
    m->done++;
    m->good += ok;
    m->absent += absent;
    m->bad += !ok && !absent;
    (void)printf("[%3zu/%zu] %-6s %-46s %-28s %5.1f s", m->done, m->count,
                 ok       ? "ok"
                 : absent ? "absent"
                          : "WRONG",
                 name, seen, j->result.seen.seconds);
    if (ok)
        (void)printf("\n");
    else
        (void)printf("  must be '%s': %s\n", expect, why);
    if (!ok && !absent && *j->result.seen.said)
        (void)printf("    said: %.1500s\n", j->result.seen.said);
    (void)fflush(stdout);
    put_jsonl(m, j, name, expect, ok, why);
}

/* ---- many ---- */

/* Reads what has come; true: the child has ended. */
static bool take(struct matrix *m, struct job *j) {
    char *at = (char *)&j->result + j->got;
    ssize_t n = read(j->fd, at, sizeof j->result - j->got);
    if (n > 0) {
        j->got += (size_t)n;
        return false;
    }
    if (n < 0 && errno == EINTR)
        return false;
    (void)close(j->fd);
    (void)waitpid(j->pid, NULL, 0);
    if (j->got < sizeof j->result) {
        j->result = (struct result){.verdict = VFM_BROKEN};
        (void)snprintf(j->result.why, sizeof j->result.why, "the runner of this cell has died");
    }
    tell(m, j);
    j->pid = 0;
    return true;
}

static int run_all(struct matrix *m) {
    while (m->done < m->count) {
        struct pollfd fds[JOBS_MAX];
        struct job *of[JOBS_MAX];
        nfds_t n = 0;
        for (unsigned i = 0; i < m->o->jobs; i++) {
            struct job *j = &m->jobs[i];
            if (!j->pid && m->next < m->count && start_job(m, j) != 0)
                return -1;
            if (!j->pid)
                continue;
            of[n] = j;
            fds[n++] = (struct pollfd){j->fd, POLLIN, 0};
        }
        if (poll(fds, n, -1) < 0 && errno != EINTR)
            return -1;
        for (nfds_t i = 0; i < n; i++)
            if (fds[i].revents)
                (void)take(m, of[i]);
    }
    return 0;
}

static void choose(struct matrix *m) {
    for (size_t i = 0; i < ALL; i++) {
        char name[64], expect[128];
        struct vfm_cell cell = vfm_cell(i);
        if (!is_wanted(m, i))
            continue;
        vfm_cell_name(&cell, name, sizeof name);
        vfm_expect_text(&m->table.cell[i], expect, sizeof expect);
        if (m->o->list)
            (void)printf("%-46s %s\n", name, expect);
        if (m->table.cell[i].exists)
            m->todo[m->count++] = i;
    }
}

static int open_files(struct matrix *m) {
    (void)snprintf(m->cache, sizeof m->cache, "/tmp/vms-matrix-XXXXXX");
    if (m->o->keep && mkdir(m->o->keep, 0700) != 0 && errno != EEXIST)
        return -1;
    if (m->o->jsonl && (m->jsonl = fopen(m->o->jsonl, "we")) == NULL)
        return -1;
    return mkdtemp(m->cache) ? 0 : -1;
}

static void close_files(struct matrix *m) {
    char command[128];
    (void)snprintf(command, sizeof command, "rm -rf '%s'", m->cache);
    if (m->jsonl)
        (void)fclose(m->jsonl);
    if (system(command) != 0)
        (void)fprintf(stderr, "vfio-matrix: %s is left\n", m->cache);
}

int vfm_matrix(const struct vfm_matrix_options *options) {
    static struct matrix m;
    char why[256];
    m = (struct matrix){.o = options};
    if (vfm_table_read(options->spec, &m.table, why, sizeof why) != 0) {
        (void)fprintf(stderr, "vfio-matrix: %s: %s\n", options->spec, why);
        return 3;
    }
    choose(&m);
    if (options->list)
        return 0;
    if (open_files(&m) != 0) {
        (void)fprintf(stderr, "vfio-matrix: %s\n", strerror(errno));
        return 3;
    }
    int rc = run_all(&m);
    close_files(&m);
    (void)printf("vfio-matrix: %zu as they must be, %zu not, %zu without their peer\n", m.good,
                 m.bad, m.absent);
    return rc != 0 ? 3 : m.bad ? 1 : 0;
}
