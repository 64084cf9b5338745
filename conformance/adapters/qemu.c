// SPDX-License-Identifier: MIT
// Starting and ending a QEMU process.
#include "qemu_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    DEFAULT_TIMEOUT_MS = 30000,
    MAX_ARGS = 1024
};

extern char **environ;

int64_t vms_qemu_now(void) {
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int64_t vms_qemu_deadline(const struct vms_qemu *qemu, int timeout_ms) {
    return vms_qemu_now() + (timeout_ms > 0 ? timeout_ms : qemu->timeout_ms);
}

int vms_qemu_left(int64_t deadline) {
    int64_t left = deadline - vms_qemu_now();

    return left <= 0 ? 0 : left > INT_MAX ? INT_MAX : (int)left;
}

// The end of what QEMU wrote to stdout and stderr; empty when there is nothing.
static void log_tail(const struct vms_qemu *qemu, char *tail, size_t size) {
    int fd = open(qemu->log, O_RDONLY | O_CLOEXEC);
    off_t end = fd < 0 ? 0 : lseek(fd, 0, SEEK_END);
    off_t from = end > (off_t)size - 1 ? end - ((off_t)size - 1) : 0;
    ssize_t got = fd < 0 ? 0 : pread(fd, tail, size - 1, from);

    tail[got > 0 ? got : 0] = '\0';
    if (fd >= 0) {
        close(fd);
    }
}

int vms_qemu_fail(struct vms_qemu *qemu, const char *format, ...) {
    char what[VMS_QEMU_ERROR_SIZE / 2];
    char tail[1024];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(what, sizeof what, format, arguments);
    va_end(arguments);
    log_tail(qemu, tail, sizeof tail);
    snprintf(qemu->error, sizeof qemu->error, "%s (QEMU %s): %s%s%s", qemu->name,
             qemu->peer.package, what, tail[0] != '\0' ? "; QEMU wrote: " : "", tail);
    return -1;
}

const char *vms_qemu_error(const struct vms_qemu *qemu) {
    return qemu->error;
}

const struct vms_peer *vms_qemu_peer(const struct vms_qemu *qemu) {
    return &qemu->peer;
}

const char *vms_qemu_dir(const struct vms_qemu *qemu) {
    return qemu->dir;
}

pid_t vms_qemu_pid(const struct vms_qemu *qemu) {
    return qemu->pid;
}

const char *vms_qemu_serial_path(const struct vms_qemu *qemu) {
    return qemu->serial;
}

// ---- the command line

struct command_line {
    char *words[MAX_ARGS + 1];
    size_t count;
    bool overflow;
};

__attribute__((format(printf, 2, 3))) static void add_word(struct command_line *line,
                                                           const char *format, ...) {
    va_list arguments;

    if (line->count == MAX_ARGS) {
        line->overflow = true;
        return;
    }
    va_start(arguments, format);
    if (vasprintf(&line->words[line->count], format, arguments) < 0) {
        line->words[line->count] = NULL;
        line->overflow = true;
    } else {
        line->count++;
    }
    va_end(arguments);
    line->words[line->count] = NULL;
}

static void free_words(struct command_line *line) {
    for (size_t i = 0; i < line->count; i++) {
        free(line->words[i]);
    }
}

static void make_arguments(struct command_line *line, const struct vms_qemu *qemu,
                           const struct vms_qemu_options *options, int qmp_fd) {
    const char *const fixed[] = {"-nodefaults", "-no-user-config", "-display",
                                 "none",        "-accel",          "tcg"};

    add_word(line, "%s", qemu->peer.path);
    for (size_t i = 0; i < sizeof fixed / sizeof *fixed; i++) {
        add_word(line, "%s", fixed[i]);
    }
    add_word(line, "-machine");
    add_word(line, "%s", options->machine);
    add_word(line, "-m");
    add_word(line, "%s", options->memory != NULL ? options->memory : "32M");
    add_word(line, "-chardev");
    add_word(line, "socket,id=vms-qmp,fd=%d", qmp_fd);
    add_word(line, "-mon");
    add_word(line, "chardev=vms-qmp,mode=control");
    add_word(line, "-chardev");
    add_word(line, "file,id=vms-serial,path=%s", qemu->serial);
    add_word(line, "-serial");
    add_word(line, "chardev:vms-serial");
    if (options->incoming) {
        add_word(line, "-incoming");
        add_word(line, "defer");
    }
    if (options->paused) {
        add_word(line, "-S");
    }
    for (size_t i = 0; options->args != NULL && options->args[i] != NULL; i++) {
        add_word(line, "%s", options->args[i]);
    }
}

static void make_environment(struct command_line *line, const struct vms_qemu_options *options) {
    for (size_t i = 0; environ[i] != NULL; i++) {
        add_word(line, "%s", environ[i]);
    }
    // Ours go in front: getenv finds the first of two.
    for (size_t i = 0; options->env != NULL && options->env[i] != NULL; i++) {
        add_word(line, "%s", options->env[i]);
        if (!line->overflow) {
            char *ours = line->words[line->count - 1];

            memmove(line->words + 1, line->words, (line->count - 1) * sizeof *line->words);
            line->words[0] = ours;
        }
    }
}

// ---- the process

// Runs in the child: only what is safe between fork and exec.
__attribute__((noreturn)) static void become_qemu(pid_t parent, int log_fd, int qmp_fd,
                                                  char *const *words, char *const *environment) {
    static const char text[] = "cannot execute QEMU\n";
    int null_fd = open("/dev/null", O_RDONLY);

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) {
        _exit(127); // the parent was gone before the kernel knew
    }
    dup2(null_fd, 0);
    dup2(log_fd, 1);
    dup2(log_fd, 2);
    fcntl(qmp_fd, F_SETFD, 0);
    execve(words[0], words, environment);
    if (write(2, text, sizeof text - 1) < 0) {
        _exit(126);
    }
    _exit(127);
}

static int fork_qemu(struct vms_qemu *qemu, int qmp_fd, char *const *words,
                     char *const *environment) {
    pid_t parent = getpid();
    int log_fd = open(qemu->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

    if (log_fd < 0) {
        return vms_qemu_fail(qemu, "cannot create %s: %s", qemu->log, strerror(errno));
    }
    qemu->pid = fork();
    if (qemu->pid == 0) {
        become_qemu(parent, log_fd, qmp_fd, words, environment);
    }
    close(log_fd);
    if (qemu->pid < 0) {
        qemu->pid = 0;
        return vms_qemu_fail(qemu, "cannot fork: %s", strerror(errno));
    }
    qemu->pidfd = (int)syscall(SYS_pidfd_open, qemu->pid, 0);
    if (qemu->pidfd < 0) {
        return vms_qemu_fail(qemu, "pidfd_open: %s", strerror(errno));
    }
    return 0;
}

static int spawn(struct vms_qemu *qemu, const struct vms_qemu_options *options) {
    struct command_line words = {0};
    struct command_line environment = {0};
    int sockets[2];
    int status = -1;

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) != 0) {
        return vms_qemu_fail(qemu, "socketpair: %s", strerror(errno));
    }
    qemu->qmp = sockets[0];
    make_arguments(&words, qemu, options, sockets[1]);
    make_environment(&environment, options);
    if (words.overflow || environment.overflow) {
        vms_qemu_fail(qemu, "more than %d arguments or environment variables", MAX_ARGS);
    } else {
        status = fork_qemu(qemu, sockets[1], words.words, environment.words);
    }
    close(sockets[1]);
    free_words(&words);
    free_words(&environment);
    return status;
}

static int make_folder(struct vms_qemu *qemu) {
    const char *root = getenv("TMPDIR");

    if (root == NULL || root[0] == '\0') {
        root = "/tmp";
    }
    snprintf(qemu->dir, sizeof qemu->dir, "%s/vms-qemu-XXXXXX", root);
    if (mkdtemp(qemu->dir) == NULL) {
        qemu->dir[0] = '\0';
        return vms_qemu_fail(qemu, "cannot create a folder in %s: %s", root, strerror(errno));
    }
    snprintf(qemu->serial, sizeof qemu->serial, "%s/serial.txt", qemu->dir);
    snprintf(qemu->log, sizeof qemu->log, "%s/stderr.txt", qemu->dir);
    return 0;
}

static int start(struct vms_qemu *qemu, const struct vms_qemu_options *options) {
    static const char *const events[] = {"events", NULL};

    if (!vms_peer_find(options->version, &qemu->peer)) {
        return vms_qemu_fail(qemu, "QEMU %s is absent (conformance/peers/fetch gets newer ones)",
                             options->version);
    }
    qemu->events = json_array();
    qemu->replies = json_array();
    if (qemu->events == NULL || qemu->replies == NULL) {
        return vms_qemu_fail(qemu, "out of memory");
    }
    if (make_folder(qemu) != 0 || spawn(qemu, options) != 0 || vms_qmp_connect(qemu) != 0) {
        return -1;
    }
    return vms_qemu_set_capabilities(qemu, events);
}

struct vms_qemu *vms_qemu_start(const struct vms_qemu_options *options, char *error,
                                size_t error_size) {
    struct vms_qemu *qemu = calloc(1, sizeof *qemu);

    if (qemu == NULL) {
        snprintf(error, error_size, "out of memory");
        return NULL;
    }
    qemu->qmp = -1;
    qemu->pidfd = -1;
    qemu->timeout_ms = options->timeout_ms > 0 ? options->timeout_ms : DEFAULT_TIMEOUT_MS;
    snprintf(qemu->name, sizeof qemu->name, "%s", options->name != NULL ? options->name : "qemu");
    if (start(qemu, options) != 0) {
        snprintf(error, error_size, "%s", qemu->error);
        vms_qemu_free(qemu);
        return NULL;
    }
    return qemu;
}

// ---- the end

int vms_qemu_wait_exit(struct vms_qemu *qemu, int timeout_ms, int *status) {
    int64_t deadline = vms_qemu_deadline(qemu, timeout_ms);
    struct pollfd poll_fd = {.fd = qemu->pidfd, .events = POLLIN};

    while (qemu->pid != 0) {
        int left = vms_qemu_left(deadline);
        int ready = poll(&poll_fd, 1, left);

        if (ready == 0) {
            return vms_qemu_fail(qemu, "timed out awaiting the end of the process");
        }
        if (ready > 0 && waitpid(qemu->pid, &qemu->wait_status, 0) == qemu->pid) {
            qemu->pid = 0;
        } else if (ready < 0 && errno != EINTR) {
            return vms_qemu_fail(qemu, "poll: %s", strerror(errno));
        }
    }
    if (status != NULL) {
        *status = qemu->wait_status;
    }
    return 0;
}

int vms_qemu_quit(struct vms_qemu *qemu) {
    int status;

    // It may be gone before its answer to this is out; then its status tells.
    if (vms_qemu_execute(qemu, "quit", NULL, NULL) != 0 && qemu->pid != 0) {
        return -1;
    }
    if (vms_qemu_wait_exit(qemu, 0, &status) != 0) {
        return -1;
    }
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        return vms_qemu_fail(qemu, "ended with wait status 0x%x", (unsigned)status);
    }
    return 0;
}

int vms_qemu_kill(struct vms_qemu *qemu) {
    if (qemu->pid != 0) {
        kill(qemu->pid, SIGKILL);
    }
    return vms_qemu_wait_exit(qemu, 0, NULL);
}

static int remove_entry(const char *path, const struct stat *info, int kind, struct FTW *walk) {
    (void)info;
    (void)kind;
    (void)walk;
    return remove(path);
}

void vms_qemu_free(struct vms_qemu *qemu) {
    if (qemu == NULL) {
        return;
    }
    if (qemu->pid != 0) {
        kill(qemu->pid, SIGKILL);
        waitpid(qemu->pid, NULL, 0);
    }
    if (qemu->qmp >= 0) {
        close(qemu->qmp);
    }
    if (qemu->pidfd >= 0) {
        close(qemu->pidfd);
    }
    if (qemu->dir[0] != '\0' && getenv("VMSTREAM_KEEP") == NULL) {
        nftw(qemu->dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    }
    json_decref(qemu->events);
    json_decref(qemu->replies);
    free(qemu->buffer);
    free(qemu);
}
