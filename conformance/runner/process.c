/* SPDX-License-Identifier: MIT */
#include "conformance/runner/process.h"

#include "conformance/runner/util.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static void redirect(const char *path, int flags, int fd) {
    int file = open(path, flags, 0644);
    if (file < 0 || dup2(file, fd) < 0)
        _exit(126);
}

/* No core files of implementations that crash: the signal is what we judge. */
static void become(pid_t parent, const char *const *argv, const char *const *env,
                   const char *output) {
    (void)setpgid(0, 0);
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(126);
    (void)setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
    (void)signal(SIGINT, SIG_DFL);
    (void)signal(SIGTERM, SIG_DFL);
    redirect("/dev/null", O_RDONLY, STDIN_FILENO);
    if (output) {
        redirect(output, O_WRONLY | O_CREAT | O_APPEND, STDOUT_FILENO);
        (void)dup2(STDOUT_FILENO, STDERR_FILENO);
    }
    for (; env && *env; env++)
        (void)putenv((char *)(uintptr_t)*env);
    execvp(argv[0], (char *const *)(uintptr_t)argv);
    _exit(126);
}

int cert_spawn(struct cert_process *p, const char *const *argv, const char *const *env,
               const char *output, unsigned seconds) {
    pid_t parent = getpid(), pid = fork();
    if (pid == 0)
        become(parent, argv, env, output);
    if (pid < 0)
        return -1;
    (void)setpgid(pid, pid); /* whoever comes first */
    p->pid = pid;
    p->started = true;
    p->ended = p->late = p->killed = false;
    p->deadline = seconds ? cert_now() + (int64_t)seconds * 1000 : 0;
    return 0;
}

static bool reap(struct cert_process *p, int flags) {
    pid_t got;
    do
        got = waitpid(p->pid, &p->status, flags);
    while (got < 0 && errno == EINTR);
    if (got == 0)
        return false;
    (void)kill(-p->pid, SIGKILL); /* whatever it has left behind */
    p->ended = true;
    p->pid = 0;
    return true;
}

bool cert_ended(struct cert_process *p) {
    if (!p->pid || reap(p, WNOHANG))
        return true;
    if (p->deadline && cert_now() > p->deadline) {
        p->late = true;
        cert_kill(p);
    }
    return !p->pid;
}

void cert_wait(struct cert_process *p) {
    while (!cert_ended(p))
        cert_nap();
}

void cert_kill(struct cert_process *p) {
    if (!p->pid)
        return;
    p->killed = !p->late;
    (void)kill(-p->pid, SIGKILL);
    (void)reap(p, 0);
}

int cert_exit(const struct cert_process *p) {
    if (!p->ended || p->late || p->killed)
        return -1;
    return WIFEXITED(p->status) ? WEXITSTATUS(p->status) : 128 + WTERMSIG(p->status);
}

int cert_signal(const struct cert_process *p) {
    return p->ended && !p->late && !p->killed && WIFSIGNALED(p->status) ? WTERMSIG(p->status) : 0;
}
