/* SPDX-License-Identifier: MIT */
#include "live.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* Child processes: started without a shell, awaited with a deadline. */

int live_fail(struct live *live, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(live->error, sizeof live->error, fmt, args);
    va_end(args);
    return -1;
}

static void redirect(const char *path, int flags, int fd) {
    int file = path ? open(path, flags, 0600) : -1;
    if (path && (file < 0 || dup2(file, fd) < 0))
        _exit(126);
}

pid_t live_spawn(const char *const *argv, const char *output, const char *input) {
    pid_t parent = getpid(), pid = fork();
    if (pid != 0)
        return pid;
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(126);
    redirect(input ? input : "/dev/null", O_RDONLY, STDIN_FILENO);
    redirect(output, O_WRONLY | O_CREAT | O_TRUNC, STDERR_FILENO);
    if (output)
        (void)dup2(STDERR_FILENO, STDOUT_FILENO);
    execv(argv[0], (char *const *)(uintptr_t)argv);
    _exit(127);
}

bool live_runs(pid_t pid) {
    siginfo_t info = {0};
    return waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && !info.si_pid;
}

int live_wait(pid_t pid, int timeout_ms) {
    if (pid <= 0) /* to no process, and not to all */
        return -1;
    int status = 0, fd = (int)syscall(SYS_pidfd_open, pid, 0);
    struct pollfd p = {fd, POLLIN, 0};
    int ready = fd < 0 ? -1 : poll(&p, 1, timeout_ms);
    if (fd >= 0)
        close(fd);
    if (ready <= 0)
        (void)kill(pid, SIGKILL);
    if (waitpid(pid, &status, 0) != pid || ready <= 0)
        return -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
