// SPDX-License-Identifier: MIT
#include "net.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    BURST_KBIT = 1024, // above what one timer tick passes at 100 Mbit/s
};

// A process that only holds a namespace; 0: it could not be made.
static pid_t hold_namespace(void) {
    int ready[2];
    char byte = 0;
    pid_t parent = getpid(), pid;

    if (pipe2(ready, O_CLOEXEC) != 0) {
        return 0;
    }
    pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent || unshare(CLONE_NEWNET) != 0 || write(ready[1], "r", 1) != 1) {
            _exit(1);
        }
        close(ready[0]);
        close(ready[1]);
        for (;;) {
            pause();
        }
    }
    close(ready[1]);
    if (pid > 0 && read(ready[0], &byte, 1) != 1) {
        waitpid(pid, NULL, 0);
        pid = 0;
    }
    close(ready[0]);
    return pid > 0 ? pid : 0;
}

static int enter(pid_t holder) {
    char path[64];
    int fd, status;

    snprintf(path, sizeof path, "/proc/%d/ns/net", (int)holder);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    status = fd < 0 ? -1 : setns(fd, CLONE_NEWNET);
    if (fd >= 0) {
        close(fd);
    }
    return status;
}

// Runs a command of words in a namespace, silently. 0: it ended well.
static int run(pid_t holder, const char *command) {
    char words[256];
    char *argv[32], *save = NULL;
    int count = 0, status = 0;
    pid_t pid = fork();

    if (pid == 0) {
        int null = open("/dev/null", O_RDWR | O_CLOEXEC);

        snprintf(words, sizeof words, "%s", command);
        for (char *w = strtok_r(words, " ", &save); w != NULL && count < 31; count++) {
            argv[count] = w;
            w = strtok_r(NULL, " ", &save);
        }
        argv[count] = NULL;
        if (null < 0 || dup2(null, 1) < 0 || dup2(null, 2) < 0 || enter(holder) != 0) {
            _exit(127);
        }
        execvp(argv[0], argv);
        _exit(127);
    }
    return pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) ? WEXITSTATUS(status)
                                                                           : -1;
}

// The pair is made inside the namespaces at once, so that no name is ever taken outside.
static int join(const struct vms_net *net) {
    char command[200];

    snprintf(command, sizeof command, "ip link add vms-a type veth peer name vms-b netns %d",
             (int)net->holders[VMS_NET_B]);
    return run(net->holders[VMS_NET_A], command);
}

static int configure(const struct vms_net *net, enum vms_net_side side, unsigned mbit) {
    const char *name = side == VMS_NET_A ? "vms-a" : "vms-b";
    const char *address = side == VMS_NET_A ? VMS_NET_ADDRESS_A : VMS_NET_ADDRESS_B;
    char commands[4][200];

    snprintf(commands[0], sizeof commands[0], "ip addr add %s/30 dev %s", address, name);
    snprintf(commands[1], sizeof commands[1], "ip link set lo up");
    snprintf(commands[2], sizeof commands[2], "ip link set %s up", name);
    snprintf(commands[3], sizeof commands[3],
             "tc qdisc add dev %s root tbf rate %umbit burst %dkbit latency 50ms", name, mbit,
             BURST_KBIT);
    for (int i = 0; i < 4; i++) {
        if (run(net->holders[side], commands[i]) != 0) {
            return -1;
        }
    }
    return 0;
}

int vms_net_open(struct vms_net *net, unsigned mbit, char *error, size_t error_size) {
    int status = -1;

    memset(net, 0, sizeof *net);
    net->own = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    for (int i = 0; i < 2; i++) {
        net->holders[i] = hold_namespace();
    }
    if (net->own < 0 || net->holders[0] == 0 || net->holders[1] == 0) {
        snprintf(error, error_size, "network namespaces: they want root");
    } else if (join(net) != 0) {
        snprintf(error, error_size, "a veth pair: it wants iproute2's ip and a kernel with veth");
    } else if (configure(net, VMS_NET_A, mbit) != 0 || configure(net, VMS_NET_B, mbit) != 0) {
        snprintf(error, error_size, "a rate limit: it wants iproute2's tc and a kernel with tbf");
    } else {
        status = 0;
    }
    if (status != 0) {
        vms_net_close(net);
    }
    return status;
}

int vms_net_enter(const struct vms_net *net, enum vms_net_side side) {
    return enter(net->holders[side]);
}

int vms_net_leave(const struct vms_net *net) {
    return setns(net->own, CLONE_NEWNET);
}

void vms_net_close(struct vms_net *net) {
    for (int i = 0; i < 2; i++) {
        if (net->holders[i] > 0) {
            kill(net->holders[i], SIGKILL);
            waitpid(net->holders[i], NULL, 0);
        }
        net->holders[i] = 0;
    }
    if (net->own > 0) {
        close(net->own);
    }
    net->own = -1;
}
