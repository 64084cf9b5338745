/* SPDX-License-Identifier: MIT */
#include "host/exec.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

/* The command starts with no signal blocked and SIGPIPE as it is by default. */
static int set_attributes(posix_spawnattr_t *attr) {
    sigset_t none;
    sigset_t defaults;
    (void)sigemptyset(&none);
    (void)sigemptyset(&defaults);
    (void)sigaddset(&defaults, SIGPIPE);
    int rc = posix_spawnattr_setflags(attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    rc = rc ? rc : posix_spawnattr_setsigmask(attr, &none);
    return rc ? rc : posix_spawnattr_setsigdefault(attr, &defaults);
}

static int set_files(posix_spawn_file_actions_t *actions, int fd) {
    int rc = posix_spawn_file_actions_adddup2(actions, fd, STDIN_FILENO);
    rc = rc ? rc : posix_spawn_file_actions_adddup2(actions, fd, STDOUT_FILENO);
    return rc ? rc : posix_spawn_file_actions_addclosefrom_np(actions, STDERR_FILENO + 1);
}

static int spawn_shell(const char *command, int fd, pid_t *pid) {
    char *argv[] = {(char *)(uintptr_t) "sh", (char *)(uintptr_t) "-c", (char *)(uintptr_t)command,
                    NULL};
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attr;
    int rc = posix_spawn_file_actions_init(&actions);
    if (rc)
        return rc;
    rc = posix_spawnattr_init(&attr);
    if (rc == 0) {
        rc = set_attributes(&attr);
        rc = rc ? rc : set_files(&actions, fd);
        rc = rc ? rc : posix_spawn(pid, "/bin/sh", &actions, &attr, argv, environ);
        (void)posix_spawnattr_destroy(&attr);
    }
    (void)posix_spawn_file_actions_destroy(&actions);
    return rc;
}

enum vms_code vms_exec_spawn(const char *command, const char *name, int *fd, pid_t *pid,
                             struct vms_error *err) {
    int pair[2];
    int rc = socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0 ? 0 : errno;
    if (rc == 0) {
        rc = spawn_shell(command, pair[1], pid);
        (void)close(pair[1]);
        if (rc)
            (void)close(pair[0]);
    }
    if (rc)
        return vms_error_set(err, VMS_E_CONNECT, "%.80s: cannot run: %s", name, strerror(rc));
    *fd = pair[0];
    return VMS_OK;
}

static enum vms_wait wait_for_end(pid_t pid, vms_deadline deadline,
                                  const struct vms_cancel *cancel) {
    int fd = pidfd_open(pid, 0);
    if (fd < 0)
        return VMS_WAIT_READY; /* no pidfd here: wait without a deadline */
    enum vms_wait wait = vms_wait_fd(fd, POLLIN, deadline, cancel, NULL);
    (void)close(fd);
    return wait;
}

static enum vms_code check_status(int status, const char *name, struct vms_error *err) {
    if (WIFSIGNALED(status))
        return vms_error_set(err, VMS_E_IO, "%.80s: the command was killed by signal %d (%s)", name,
                             WTERMSIG(status), strsignal(WTERMSIG(status)));
    if (WEXITSTATUS(status) != 0)
        return vms_error_set(err, VMS_E_IO, "%.80s: the command ended with status %d", name,
                             WEXITSTATUS(status));
    return VMS_OK;
}

enum vms_code vms_exec_wait(pid_t pid, const char *name, vms_deadline deadline,
                            const struct vms_cancel *cancel, struct vms_error *err) {
    int status = 0;
    pid_t got;
    enum vms_wait wait = wait_for_end(pid, deadline, cancel);
    if (wait != VMS_WAIT_READY)
        (void)kill(pid, SIGKILL);
    do {
        got = waitpid(pid, &status, 0);
    } while (got < 0 && errno == EINTR);
    if (wait == VMS_WAIT_TIMEOUT)
        return vms_error_set(err, VMS_E_TIMEOUT, "%.80s: the command did not end; killed", name);
    if (wait != VMS_WAIT_READY)
        return vms_error_set(err, VMS_E_IO, "%.80s: cancelled, the command was killed", name);
    if (got < 0)
        return vms_error_set(err, VMS_E_IO, "%.80s: its status is lost: %s", name, strerror(errno));
    return check_status(status, name, err);
}
