/* SPDX-License-Identifier: MIT */
#include "conformance/faults/rig.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* What an operator can see, and the signals and orders that he can give. */

enum {
    ANSWER_S = 20,
    TEXT_MAX = 1 << 20,
};

int64_t fault_now_ms(void) {
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

void fault_moment(void) {
    const struct timespec moment = {.tv_nsec = 300000};
    (void)nanosleep(&moment, NULL);
}

/* ---- processes ---- */

bool fault_ended(struct fault_process *p) {
    int status = 0;
    if (p->pid <= 0)
        return true;
    if (waitpid(p->pid, &status, WNOHANG) != p->pid)
        return false;
    p->status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    p->pid = 0;
    return true;
}

void fault_signal(struct fault_process *p, int number) {
    int status = 0;
    if (p->pid <= 0)
        return;
    (void)kill(p->pid, number);
    p->stopped = number == SIGSTOP || (p->stopped && number != SIGCONT);
    if (number != SIGKILL)
        return;
    if (waitpid(p->pid, &status, 0) == p->pid)
        p->status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    p->killed = p->status == 128 + SIGKILL;
    p->pid = 0;
}

/* ---- the control socket ---- */

static int connect_to(const char *path) {
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    const struct timeval t = {.tv_sec = ANSWER_S};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    (void)snprintf(a.sun_path, sizeof a.sun_path, "%s", path);
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&a, sizeof a) == 0)
        return fd;
    if (fd >= 0)
        (void)close(fd);
    return -1;
}

static json_t *ask(struct fault_rig *r, const char *line) {
    char answer[4096];
    size_t used = 0;
    int fd = r->src.pid > 0 && !r->src.stopped ? connect_to(r->control) : -1;
    bool ok = fd >= 0 && send(fd, line, strlen(line), MSG_NOSIGNAL) == (ssize_t)strlen(line);
    while (ok && used < sizeof answer - 1 && !memchr(answer, '\n', used)) {
        ssize_t n = recv(fd, answer + used, sizeof answer - 1 - used, 0);
        ok = n > 0;
        used += ok ? (size_t)n : 0;
    }
    if (fd >= 0)
        (void)close(fd);
    answer[used] = 0;
    return ok ? json_loads(answer, 0, NULL) : NULL;
}

const char *fault_state(struct fault_rig *r, char state[16]) {
    json_t *answer = ask(r, "{\"order\": \"status\"}\n");
    const char *s = json_string_value(json_object_get(answer, "state"));
    (void)snprintf(state, 16, "%s", s ? s : "");
    json_decref(answer);
    return state;
}

void fault_order(struct fault_rig *r, const char *line, char answer[48]) {
    json_t *a = ask(r, line);
    const char *code = json_string_value(json_object_get(a, "code"));
    (void)snprintf(answer, 48, "%s",
                   json_is_true(json_object_get(a, "ok")) ? "ok"
                   : code                                 ? code
                                                          : "");
    json_decref(a);
}

/* ---- files ---- */

char *fault_text(struct fault_rig *r, const char *name) {
    char path[160];
    char *text = calloc(1, TEXT_MAX);
    (void)snprintf(path, sizeof path, "%s/%s", r->dir, name);
    FILE *f = text ? fopen(path, "r") : NULL;
    if (f) {
        (void)!fread(text, 1, TEXT_MAX - 1, f);
        (void)fclose(f);
    }
    return text;
}

static bool has(struct fault_rig *r, const char *name, const char *what) {
    char *text = fault_text(r, name);
    bool found = text && strstr(text, what);
    free(text);
    return found;
}

bool fault_announced(struct fault_rig *r) {
    return has(r, "announce.log", "destination");
}

bool fault_says(struct fault_rig *r, const struct fault_process *p, const char *text) {
    char name[16];
    (void)snprintf(name, sizeof name, "%s.log", p->name);
    return has(r, name, text);
}

json_t *fault_report(struct fault_rig *r, const struct fault_process *p) {
    char path[160];
    (void)snprintf(path, sizeof path, "%s/%s.json", r->dir, p->name);
    return json_load_file(path, 0, NULL);
}

uint64_t fault_forwarded(struct fault_rig *r) {
    uint64_t sum = 0;
    for (unsigned i = 0; i < vms_tap_count(r->tap); i++)
        sum += vms_tap_connection(r->tap, i).forward;
    return sum;
}

/* ---- journals ---- */

static void read_journal(const char *folder, const char *name, char state[16]) {
    char path[512], text[512] = "";
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "r");
    if (f) {
        (void)!fread(text, 1, sizeof text - 1, f);
        (void)fclose(f);
    }
    const char *at = strstr(text, "\nstate ");
    if (at)
        (void)sscanf(at, "\nstate %15s", state);
}

const char *fault_journal(struct fault_rig *r, int end, char state[16], char session[33]) {
    DIR *d = opendir(r->journal[end]);
    state[0] = 0;
    for (struct dirent *e; d && (e = readdir(d));) {
        size_t n = strlen(e->d_name);
        if (n < 33 || !strstr(e->d_name, ".journal") || strcmp(e->d_name + n - 8, ".journal") != 0)
            continue;
        (void)snprintf(session, 33, "%s", e->d_name);
        read_journal(r->journal[end], e->d_name, state);
    }
    if (d)
        (void)closedir(d);
    return state;
}

int fault_fill(struct fault_rig *r, int end, bool full) {
    static const char block[4096];
    char path[160];
    (void)snprintf(path, sizeof path, "%s/filler", r->journal[end]);
    if (!full)
        return unlink(path);
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    while (fd >= 0 && write(fd, block, sizeof block) > 0)
        continue;
    bool taken = fd >= 0 && errno == ENOSPC;
    if (fd >= 0)
        (void)close(fd);
    return taken ? 0 : -1;
}
