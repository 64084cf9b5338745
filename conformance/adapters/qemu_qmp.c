// SPDX-License-Identifier: MIT
// QMP: JSON objects, one a line, over a socket whose other end QEMU was born with.
#include "qemu_internal.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static int fail_closed(struct vms_qemu *qemu) {
    int status = 0;

    // The socket closes before the process has quite ended; its status is worth a moment.
    if (vms_qemu_wait_exit(qemu, 2000, &status) != 0) {
        return vms_qemu_fail(qemu, "QMP was closed");
    }
    if (WIFSIGNALED(status)) {
        return vms_qemu_fail(qemu, "QEMU was killed by signal %d", WTERMSIG(status));
    }
    return vms_qemu_fail(qemu, "QEMU has ended with exit status %d", WEXITSTATUS(status));
}

// Files one received line.
static int take_line(struct vms_qemu *qemu, const char *line, size_t length) {
    json_error_t error;
    json_t *object = json_loadb(line, length, 0, &error);
    int status = 0;

    if (object == NULL) {
        return vms_qemu_fail(qemu, "QMP sent what is not JSON: %.200s", line);
    }
    if (json_object_get(object, "event") != NULL) {
        status = json_array_append_new(qemu->events, object);
    } else {
        status = json_array_append_new(qemu->replies, object);
    }
    return status == 0 ? 0 : vms_qemu_fail(qemu, "out of memory");
}

static int take_lines(struct vms_qemu *qemu) {
    size_t from = 0;

    for (;;) {
        char *end = memchr(qemu->buffer + from, '\n', qemu->buffered - from);

        if (end == NULL) {
            break;
        }
        if (take_line(qemu, qemu->buffer + from, (size_t)(end - qemu->buffer) - from) != 0) {
            return -1;
        }
        from = (size_t)(end - qemu->buffer) + 1;
    }
    memmove(qemu->buffer, qemu->buffer + from, qemu->buffered - from);
    qemu->buffered -= from;
    return 0;
}

static int reserve(struct vms_qemu *qemu) {
    char *grown;

    if (qemu->capacity - qemu->buffered >= VMS_QMP_BUFFER) {
        return 0;
    }
    grown = realloc(qemu->buffer, qemu->capacity + 2 * (size_t)VMS_QMP_BUFFER);
    if (grown == NULL) {
        return vms_qemu_fail(qemu, "out of memory");
    }
    qemu->buffer = grown;
    qemu->capacity += 2 * (size_t)VMS_QMP_BUFFER;
    return 0;
}

int vms_qmp_pump(struct vms_qemu *qemu) {
    for (;;) {
        ssize_t got;

        if (reserve(qemu) != 0) {
            return -1;
        }
        got = recv(qemu->qmp, qemu->buffer + qemu->buffered, VMS_QMP_BUFFER, MSG_DONTWAIT);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0 && errno == EAGAIN) {
            return 0;
        }
        if (got <= 0) {
            return fail_closed(qemu);
        }
        qemu->buffered += (size_t)got;
        if (take_lines(qemu) != 0) {
            return -1;
        }
    }
}

// Waits until QMP has something, then files it. `what` is for the message.
static int wait_input(struct vms_qemu *qemu, int64_t deadline, const char *what) {
    struct pollfd poll_fd = {.fd = qemu->qmp, .events = POLLIN};
    int ready = poll(&poll_fd, 1, vms_qemu_left(deadline));

    if (ready < 0 && errno != EINTR) {
        return vms_qemu_fail(qemu, "poll: %s", strerror(errno));
    }
    if (ready == 0) {
        return vms_qemu_fail(qemu, "timed out awaiting %s", what);
    }
    return ready > 0 ? vms_qmp_pump(qemu) : 0;
}

static int send_all(struct vms_qemu *qemu, const char *bytes, size_t length, int64_t deadline) {
    while (length > 0) {
        struct pollfd poll_fd = {.fd = qemu->qmp, .events = POLLOUT};
        ssize_t sent = send(qemu->qmp, bytes, length, MSG_DONTWAIT | MSG_NOSIGNAL);

        if (sent >= 0) {
            bytes += sent;
            length -= (size_t)sent;
        } else if (errno == EAGAIN) {
            if (poll(&poll_fd, 1, vms_qemu_left(deadline)) == 0) {
                return vms_qemu_fail(qemu, "timed out sending a command to QMP");
            }
        } else if (errno != EINTR) {
            return fail_closed(qemu);
        }
    }
    return 0;
}

static int send_command(struct vms_qemu *qemu, const char *command, json_t *arguments,
                        int64_t deadline) {
    json_t *request = json_pack("{s:s, s:I}", "execute", command, "id", ++qemu->next_id);
    char *text;
    int status;

    if (arguments != NULL && json_object_set_new(request, "arguments", arguments) != 0) {
        json_decref(request);
        return vms_qemu_fail(qemu, "%s: the arguments are not JSON", command);
    }
    text = json_dumps(request, JSON_COMPACT);
    json_decref(request);
    if (text == NULL) {
        return vms_qemu_fail(qemu, "out of memory");
    }
    status = send_all(qemu, text, strlen(text), deadline);
    free(text);
    return status;
}

// The reply with the current id, as a new reference; others answer commands that were given up.
static json_t *take_reply(struct vms_qemu *qemu) {
    json_t *found = NULL;

    while (found == NULL && json_array_size(qemu->replies) > 0) {
        json_t *reply = json_array_get(qemu->replies, 0);

        if (json_integer_value(json_object_get(reply, "id")) == qemu->next_id) {
            found = json_incref(reply);
        }
        json_array_remove(qemu->replies, 0);
    }
    return found;
}

static int judge_reply(struct vms_qemu *qemu, const char *command, json_t *reply, json_t **result) {
    json_t *error = json_object_get(reply, "error");
    int status = 0;

    if (error != NULL) {
        const char *text = json_string_value(json_object_get(error, "desc"));

        status = vms_qemu_fail(qemu, "%s: %s", command, text != NULL ? text : "refused");
    } else if (result != NULL) {
        *result = json_incref(json_object_get(reply, "return"));
    }
    json_decref(reply);
    return status;
}

int vms_qemu_execute(struct vms_qemu *qemu, const char *command, json_t *arguments,
                     json_t **result) {
    int64_t deadline = vms_qemu_deadline(qemu, 0);
    char what[128];
    json_t *reply;

    if (send_command(qemu, command, arguments, deadline) != 0) {
        return -1;
    }
    snprintf(what, sizeof what, "the answer to %s", command);
    while ((reply = take_reply(qemu)) == NULL) {
        if (wait_input(qemu, deadline, what) != 0) {
            return -1;
        }
    }
    return judge_reply(qemu, command, reply, result);
}

int vms_qmp_connect(struct vms_qemu *qemu) {
    int64_t deadline = vms_qemu_deadline(qemu, 0);

    while (json_array_size(qemu->replies) == 0) {
        if (wait_input(qemu, deadline, "QMP's greeting") != 0) {
            return -1;
        }
    }
    if (json_object_get(json_array_get(qemu->replies, 0), "QMP") == NULL) {
        return vms_qemu_fail(qemu, "the QMP socket does not begin with a greeting");
    }
    json_array_clear(qemu->replies);
    return vms_qemu_execute(qemu, "qmp_capabilities", NULL, NULL);
}

static json_t *take_event(struct vms_qemu *qemu, const char *name) {
    size_t i;
    json_t *event;

    json_array_foreach(qemu->events, i, event) {
        const char *this_name = json_string_value(json_object_get(event, "event"));

        if (this_name != NULL && strcmp(this_name, name) == 0) {
            json_incref(event);
            json_array_remove(qemu->events, i);
            return event;
        }
    }
    return NULL;
}

int vms_qemu_wait_event(struct vms_qemu *qemu, const char *name, int timeout_ms, json_t **event) {
    int64_t deadline = vms_qemu_deadline(qemu, timeout_ms);
    char what[128];
    json_t *found;

    snprintf(what, sizeof what, "the event %s", name);
    while ((found = take_event(qemu, name)) == NULL) {
        if (wait_input(qemu, deadline, what) != 0) {
            return -1;
        }
    }
    if (event != NULL) {
        *event = found;
    } else {
        json_decref(found);
    }
    return 0;
}

int vms_qemu_hmp(struct vms_qemu *qemu, const char *line, char **text) {
    json_t *result;

    if (vms_qemu_execute(qemu, "human-monitor-command", json_pack("{s:s}", "command-line", line),
                         &result) != 0) {
        return -1;
    }
    *text = json_is_string(result) ? strdup(json_string_value(result)) : NULL;
    json_decref(result);
    return *text != NULL ? 0 : vms_qemu_fail(qemu, "%s: no text came back", line);
}
