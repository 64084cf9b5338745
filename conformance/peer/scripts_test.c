/* SPDX-License-Identifier: MIT */
#include "conformance/adapters/kit/kit.h"
#include "conformance/live/live.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/*
 * What a script finds: subjects that say fixed octets, one thing of them wrong. A broken rule ends
 * the script with a status of its own and is named, with its clause; a refusal does not, where the
 * case expects one.
 */
enum {
    WAIT_MS = 90000,
};

#define HEADER     "5145564d00000003"
#define PONG_1     "0002000400000001"
#define PONG_3     "0002000400000003"
#define PONG_4     "0002000400000004"
#define PONG_9     "0002000400000009"
#define SHUT_0     "0001000400000000"
#define SHUT_1     "0001000400000001"
#define SHUT_256   "0001000400000100"
#define NAMED      "000300100000000000009000000010000372616d"
#define NAMELESS   "0004000c000000000000900000001000"
#define BITMAP     "000500040372616d000000000000000800000000000000000123456789abcdef"
#define RESUME_ACK "0006000400000001"
#define RESUME_2   "0006000400000002"
#define ASKED      PONG_1 PONG_3 PONG_4 NAMED /* recovery: until the script cuts */

static const struct scene {
    const char *name, *role, *dialogue, *outcome;
    const char *says[2]; /* the subject's octets on its first and second connection */
    enum kit_exit status;
    const char *clause, *message;
} SCENES[] = {
    {"a destination in good order",
     "source",
     "\"script\": \"precopy\"",
     "completed",
     {PONG_1 SHUT_0},
     KIT_DONE,
     "",
     "SHUT(0)"},
    {"the destination gives the guest back, as it must",
     "source",
     "\"script\": \"precopy\", \"at\": \"end\", \"do\": \"omit\"",
     "refused",
     {PONG_1 SHUT_1},
     KIT_REFUSED,
     "",
     "SHUT(1)"},
    {"it hangs up behind the step that is wrong",
     "source",
     "\"script\": \"precopy\", \"at\": \"end\", \"do\": \"omit\"",
     "refused",
     {PONG_1},
     KIT_REFUSED,
     "",
     "no SHUT came"},
    {"it hangs up before",
     "source",
     "\"script\": \"precopy\", \"at\": \"end\", \"do\": \"omit\"",
     "refused",
     {""},
     KIT_BROKEN,
     "TEST-1",
     "had gone before end"},
    {"[DST-7] a PONG of another value",
     "source",
     "\"script\": \"precopy\"",
     "completed",
     {PONG_9 SHUT_0},
     KIT_BROKEN,
     "DST-7",
     "a PONG of 9"},
    {"[DST-7] a PONG twice",
     "source",
     "\"script\": \"precopy\"",
     "completed",
     {PONG_1 PONG_1 SHUT_0},
     KIT_BROKEN,
     "DST-7",
     "a PONG of 1"},
    {"SHUT(0) where it must refuse",
     "source",
     "\"script\": \"precopy\", \"at\": \"end\", \"do\": \"omit\"",
     "refused",
     {PONG_1 SHUT_0},
     KIT_BROKEN,
     "TEST-1",
     "taken over"},
    {"[RP-12] SHUT(1) where there is nothing to refuse",
     "source",
     "\"script\": \"precopy\"",
     "completed",
     {PONG_1 SHUT_1},
     KIT_BROKEN,
     "RP-12",
     "gives the guest back"},
    {"[RP-12] SHUT has 32 bits",
     "source",
     "\"script\": \"precopy\"",
     "completed",
     {PONG_1 SHUT_256},
     KIT_BROKEN,
     "RP-12",
     "SHUT(256)"},
    {"[RP-12] no SHUT at all",
     "source",
     "\"script\": \"precopy\"",
     "completed",
     {PONG_1},
     KIT_BROKEN,
     "RP-12",
     "no SHUT came"},
    {"[DST-8] a refusal that says nothing",
     "source",
     "\"script\": \"precopy\", \"at\": \"end\", \"do\": \"omit\", \"says\": \"SHUT(1)\"",
     "refused",
     {PONG_1},
     KIT_BROKEN,
     "RP-12",
     "no SHUT came"},
    {"[DST-8] a refusal that is said",
     "source",
     "\"script\": \"precopy\", \"at\": \"end\", \"do\": \"omit\", \"says\": \"SHUT(1)\"",
     "refused",
     {PONG_1 SHUT_1},
     KIT_REFUSED,
     "",
     "SHUT(1)"},
    {"a recovery in good order",
     "source",
     "\"script\": \"recovery\"",
     "completed",
     {ASKED, BITMAP RESUME_ACK NAMED SHUT_0},
     KIT_DONE,
     "",
     "SHUT(0)"},
    {"[REC-4] RESUME_ACK has another value",
     "source",
     "\"script\": \"recovery\"",
     "completed",
     {ASKED, BITMAP RESUME_2 NAMED SHUT_0},
     KIT_BROKEN,
     "REC-4",
     "RESUME_ACK"},
    {"[REC-4] the first request has no name",
     "source",
     "\"script\": \"recovery\"",
     "completed",
     {ASKED, BITMAP RESUME_ACK NAMELESS SHUT_0},
     KIT_BROKEN,
     "REC-4",
     "names no block"},
    {"nothing is asked for again",
     "source",
     "\"script\": \"recovery\"",
     "completed",
     {ASKED, BITMAP RESUME_ACK},
     KIT_BROKEN,
     "RP-12",
     "no SHUT came"},
    {"a script that cannot be played is no fault of the subject",
     "source",
     "\"script\": \"precopy\", \"at\": \"end\", \"do\": \"before\", \"with\": \"nonsense\"",
     "refused",
     {PONG_1 SHUT_1},
     KIT_LOCAL,
     "",
     "no step nonsense"},
    {"a source that refuses, as it must",
     "destination",
     "\"script\": \"precopy\", \"at\": \"HEADER\", \"do\": \"cut\"",
     "refused",
     {HEADER},
     KIT_REFUSED,
     "",
     "no end"},
    {"a source that hangs up before the step that is wrong",
     "destination",
     "\"script\": \"precopy\", \"at\": \"PING\", \"do\": \"omit\"",
     "refused",
     {HEADER},
     KIT_BROKEN,
     "TEST-1",
     "had gone before PING"},
    {"a source that hangs up, and nothing was wrong",
     "destination",
     "\"script\": \"precopy\"",
     "completed",
     {HEADER},
     KIT_BROKEN,
     "TEST-1",
     "no end"},
    {"[HDR-1] a source whose octets are no stream",
     "destination",
     "\"script\": \"precopy\"",
     "completed",
     {"5858585800000003"},
     KIT_BROKEN,
     "HDR-1",
     "BAD_MAGIC"},
    {"[NAT-1] a native source that is none",
     "destination",
     "\"script\": \"native\"",
     "completed",
     {"58585858585858585858585858585858"},
     KIT_BROKEN,
     "NAT-1",
     "NATIVE_LABEL"},
};

struct stage {
    char dir[32], socket[48];
    int listener, connections[2];
    pid_t script;
};

static struct sockaddr_un address(const struct stage *s) {
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    (void)snprintf(a.sun_path, sizeof a.sun_path, "%s", s->socket);
    return a;
}

static void say(int fd, const char *hex) {
    uint8_t octets[512];
    size_t n = strlen(hex) / 2;
    unsigned octet;
    for (size_t i = 0; i < n; i++, hex += 2) {
        cr_assert_eq(sscanf(hex, "%2x", &octet), 1);
        octets[i] = (uint8_t)octet;
    }
    cr_assert_eq(send(fd, octets, n, MSG_NOSIGNAL), (ssize_t)n);
    (void)shutdown(fd, SHUT_WR);
}

static void start_script(struct stage *s, const struct scene *scene) {
    char path[CERT_PATH], text[1024], log[CERT_PATH];
    const char *build = getenv("VMSTREAM_BUILD");
    (void)snprintf(text, sizeof text,
                   "{\"id\": \"TEST-1.1\", \"clause\": \"TEST-1\", \"kind\": \"dialogue\","
                   " \"dialogue\": {%s}, \"expect\": {\"outcome\": \"%s\"}}",
                   scene->dialogue, scene->outcome);
    cr_assert_eq(cert_write(cert_path(path, "%s/case.json", s->dir), text), 0);
    (void)setenv("VMS_CASE", path, 1);
    (void)setenv("VMS_ROLE", scene->role, 1);
    (void)setenv("VMS_LOG", s->dir, 1);
    (void)setenv("VMS_DEADLINE", "60", 1);
    (void)setenv("VMS_URI", cert_path(text, "unix:%s", s->socket), 1);
    const char *argv[] = {cert_path(path, "%s/certify-peer", build ? build : "build"), NULL};
    s->script = live_spawn(argv, cert_path(log, "%s/output", s->dir), NULL);
}

static void listen_for_it(struct stage *s) {
    struct sockaddr_un a = address(s);
    s->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(bind(s->listener, (struct sockaddr *)&a, sizeof a), 0);
    cr_assert_eq(listen(s->listener, 2), 0);
}

static void be_destination(struct stage *s, const struct scene *scene) {
    for (int i = 0; i < 2 && scene->says[i]; i++) {
        struct pollfd f = {s->listener, POLLIN, 0};
        cr_assert_eq(poll(&f, 1, WAIT_MS), 1, "%s: nobody connects", scene->name);
        s->connections[i] = accept4(s->listener, NULL, NULL, SOCK_CLOEXEC);
        say(s->connections[i], scene->says[i]);
    }
}

static void be_source(struct stage *s, const struct scene *scene) {
    struct sockaddr_un a = address(s);
    char path[CERT_PATH];
    cert_path(path, "%s/ready", s->dir);
    while (!cert_exists(path) && live_runs(s->script))
        cert_nap();
    s->connections[0] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(connect(s->connections[0], (struct sockaddr *)&a, sizeof a), 0, "%s: %s",
                 scene->name, strerror(errno));
    say(s->connections[0], scene->says[0]);
}

static void judge(const struct stage *s, const struct scene *scene) {
    char path[CERT_PATH];
    int status = live_wait(s->script, WAIT_MS);
    json_t *end = json_load_file(cert_path(path, "%s/end.json", s->dir), 0, NULL);
    cr_expect_eq(status, (int)scene->status, "%s: status %d: %s", scene->name, status,
                 cert_str(end, "message"));
    cr_expect_str_eq(cert_str(end, "clause"), scene->clause, "%s", scene->name);
    cr_expect(strstr(cert_str(end, "message"), scene->message), "%s: %s", scene->name,
              cert_str(end, "message"));
    json_decref(end);
}

static void play(const struct scene *scene) {
    struct stage s = {.dir = "/tmp/vms-script-XXXXXX", .listener = -1, .connections = {-1, -1}};
    bool source = strcmp(scene->role, "source") == 0;
    cr_assert_not_null(mkdtemp(s.dir));
    (void)snprintf(s.socket, sizeof s.socket, "%s/s", s.dir);
    if (source)
        listen_for_it(&s);
    start_script(&s, scene);
    if (source)
        be_destination(&s, scene);
    else
        be_source(&s, scene);
    judge(&s, scene);
    for (int i = 0; i < 2; i++)
        (void)close(s.connections[i]);
    (void)close(s.listener);
    cert_remove(s.dir);
}

Test(scripts, tell_a_broken_rule_from_a_refusal, .timeout = 300) {
    for (size_t i = 0; i < sizeof SCENES / sizeof *SCENES; i++)
        play(&SCENES[i]);
}
