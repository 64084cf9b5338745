/* SPDX-License-Identifier: MIT */
#include "host/channel_test_util.h"
#include "host/exec.h"

#include <signal.h>

static pid_t spawned(const char *command, int *fd) {
    pid_t pid = 0;
    OK(vms_exec_spawn(command, command, fd, &pid, &err));
    return pid;
}

static pid_t spawned_and_closed(const char *command) {
    int fd;
    pid_t pid = spawned(command, &fd);
    (void)close(fd);
    return pid;
}

Test(exec, status) {
    OK(vms_exec_wait(spawned_and_closed("exit 0"), "x", VMS_NEVER, NULL, &err));
    FAILS(vms_exec_wait(spawned_and_closed("exit 3"), "exec:it", VMS_NEVER, NULL, &err), VMS_E_IO,
          "exec:it: the command ended with status 3");
    FAILS(vms_exec_wait(spawned_and_closed("kill -TERM $$"), "x", VMS_NEVER, NULL, &err), VMS_E_IO,
          "killed by signal 15");
    FAILS(vms_exec_wait(spawned_and_closed("/nonexistent 2>/dev/null"), "x", VMS_NEVER, NULL, &err),
          VMS_E_IO, "status 127");
}

/* tail -f never ends by itself, whatever becomes of its input. */
Test(exec, deadline_and_cancel_kill) {
    struct vms_cancel *cancel = vms_cancel_new();
    const char *forever = "exec tail -f /dev/null";
    FAILS(vms_exec_wait(spawned_and_closed(forever), "x", vms_deadline_in(20), NULL, &err),
          VMS_E_TIMEOUT, "killed");
    vms_cancel_raise(cancel);
    FAILS(vms_exec_wait(spawned_and_closed(forever), "x", VMS_NEVER, cancel, &err), VMS_E_IO,
          "cancelled");
    vms_cancel_free(cancel);
}

/* The command gets its ends of the pair and standard error, nothing else, and SIGPIPE as usual. */
Test(exec, environment_of_the_command) {
    char got[64] = "";
    int fd;
    int extra = open("/dev/null", O_RDONLY); /* no O_CLOEXEC */
    (void)signal(SIGPIPE, SIG_IGN);
    pid_t pid = spawned("ls /proc/self/fd | tr '\\n' ' '; kill -PIPE $$", &fd);
    size_t have = 0;
    ssize_t n;
    while ((n = read(fd, got + have, sizeof got - 1 - have)) > 0)
        have += (size_t)n;
    cr_assert_str_eq(got, "0 1 2 3 "); /* 3 is the directory that ls reads */
    (void)close(fd);
    FAILS(vms_exec_wait(pid, "x", VMS_NEVER, NULL, &err), VMS_E_IO, "killed by signal 13");
    (void)close(extra);
}

Test(exec, channel_reports_the_status) {
    struct vms_channel *channel = NULL;
    struct vms_uri uri = uri_of("exec:printf stream; exit 9");
    OK(vms_channel_open(&uri, NULL, &channel, &err));
    expect_text(channel, "stream");
    expect_end(channel, VMS_CHANNEL_ENDED);
    FAILS(vms_channel_close(channel, &err), VMS_E_IO, "status 9");
}
