/* SPDX-License-Identifier: MIT */
#include "conformance/live/live.h"
#include "conformance/live/source_rig.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

/*
 * [ENG-30] reference-src, a program of its own, has given its storage locks up; the destination,
 * the test, takes them and then says that it will not run the guest. It has them before it says so:
 * nothing here hangs on how fast anybody is.
 */
enum {
    END_MS = 120000,
    TRIES = 6,
};

static struct locks_rig {
    char dir[64], vm[128], socket[128], control[128], log[128];
    int listener, peer;
    int held[2]; /* the storage lock, and the lock of who runs the guest */
    pid_t src;
} rig;

static const char *const LOCKS[] = {"disk.lock", "run.lock"};

static void inside(char *path, size_t room, const char *name) {
    cr_assert_lt(snprintf(path, room, "%s/%s", rig.dir, name), (int)room);
}

static void write_vm(void) {
    FILE *f = fopen(rig.vm, "we");
    cr_assert_not_null(f);
    (void)fprintf(f,
                  "{\"blocks\": [{\"name\": \"ram0\", \"size\": \"4M\", \"fill\": \"mix\"}],"
                  " \"vcpus\": [{\"rate\": 20000}], \"lock\": \"%s\", \"running_lock\": \"%s\"}\n",
                  LOCKS[0], LOCKS[1]);
    cr_assert_eq(fclose(f), 0);
}

static void listen_there(void) {
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    (void)snprintf(a.sun_path, sizeof a.sun_path, "%s", rig.socket);
    rig.listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(bind(rig.listener, (struct sockaddr *)&a, sizeof a), 0);
    cr_assert_eq(listen(rig.listener, 1), 0);
}

static void start_source(const char *pause_ms) {
    char program[512], connect[160], control[160];
    const char *build = getenv("VMSTREAM_BUILD");
    const char *const argv[] = {program, "--connect", connect, "--wire",           "qevm",   "--vm",
                                rig.vm,  "--control", control, "--locks-retry-ms", pause_ms, NULL};
    (void)snprintf(program, sizeof program, "%s/reference-src", build ? build : "build");
    (void)snprintf(connect, sizeof connect, "unix:%s", rig.socket);
    (void)snprintf(control, sizeof control, "unix:%s", rig.control);
    rig.src = live_spawn(argv, rig.log, NULL);
    cr_assert_gt(rig.src, 0);
    struct pollfd p = {.fd = rig.listener, .events = POLLIN};
    cr_assert_eq(poll(&p, 1, END_MS), 1, "reference-src does not connect");
    rig.peer = accept4(rig.listener, NULL, NULL, SOCK_CLOEXEC);
    cr_assert_geq(rig.peer, 0);
}

/* Answer to an order has that member, or any when want is NULL. */
static bool order_says(const char *line, const char *member, const char *want) {
    json_t *answer = source_order(rig.control, line);
    json_t *value = json_object_get(answer, member);
    bool is = want ? json_is_string(value) && !strcmp(json_string_value(value), want)
                   : json_is_true(value);
    json_decref(answer);
    return is;
}

/* Takes what comes; behind the commit point nothing does. */
static void take_all(void) {
    static char sink[1 << 16];
    for (int ms = 0; !order_says("{\"order\": \"status\"}", "state", "COMMITTED"); ms++) {
        struct pollfd p = {.fd = rig.peer, .events = POLLIN};
        cr_assert_leq(ms, END_MS, "reference-src does not come to its commit point");
        while (poll(&p, 1, 1) == 1)
            cr_assert_gt(read(rig.peer, sink, sizeof sink), 0, "reference-src has hung up");
    }
}

static void take_locks(void) {
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    for (unsigned i = 0; i < 2; i++) {
        char path[128];
        inside(path, sizeof path, LOCKS[i]);
        rig.held[i] = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
        cr_assert_eq(fcntl(rig.held[i], F_OFD_SETLK, &whole), 0, "[ENG-11] %s is not free",
                     LOCKS[i]);
    }
}

static void give_locks(void) {
    for (unsigned i = 0; i < 2; i++)
        (void)close(rig.held[i]);
}

static void refuse(void) {
    static const uint8_t shut_1[] = {0, 1, 0, 4, 0, 0, 0, 1};
    cr_assert_eq(write(rig.peer, shut_1, sizeof shut_1), (ssize_t)sizeof shut_1);
}

/* How often its log has these words. */
static unsigned said(const char *words) {
    static char text[1 << 16];
    unsigned count = 0;
    FILE *f = fopen(rig.log, "re");
    cr_assert_not_null(f);
    text[fread(text, 1, sizeof text - 1, f)] = 0;
    (void)fclose(f);
    for (const char *at = text; (at = strstr(at, words)); at++)
        count++;
    return count;
}

static void wait_until_said(const char *words) {
    for (int ms = 0; !said(words); ms += 2) {
        cr_assert_leq(ms, END_MS, "it does not say: %s", words);
        (void)usleep(2000);
    }
}

/* Up to where the guest is ours, and its locks are not. */
static void stand(const char *pause_ms) {
    (void)strcpy(rig.dir, "/tmp/vms-locks-XXXXXX");
    cr_assert_not_null(mkdtemp(rig.dir));
    inside(rig.vm, sizeof rig.vm, "vm.json");
    inside(rig.socket, sizeof rig.socket, "dst");
    inside(rig.control, sizeof rig.control, "control");
    inside(rig.log, sizeof rig.log, "log");
    write_vm();
    listen_there();
    start_source(pause_ms);
    take_all();
    take_locks();
    refuse();
}

static void end(void) {
    const char *const rm[] = {"/bin/rm", "-rf", rig.dir, NULL};
    (void)close(rig.peer);
    (void)close(rig.listener);
    (void)live_wait(live_spawn(rm, NULL, NULL), END_MS);
}

/* All tries, and then it is over: the guest has not run, for whoever has its locks may run it. */
Test(locks, never_come_back, .timeout = 300) {
    stand("1");
    cr_expect_eq(live_wait(rig.src, END_MS), 3);
    cr_expect_eq(said("locks: "), TRIES);
    cr_expect_eq(said("taking back, after SRC_REFUSED"), 1);
    cr_expect_eq(said("the guest was ours and did not run: somebody else has its storage locks"),
                 1);
    cr_expect_eq(said("the guest is here"), 0);
    give_locks();
    end();
}

/* Between two tries, a quarter of an hour apart: an order begins anew, and finds the locks free. */
Test(locks, come_back_by_order, .timeout = 300) {
    stand("1000000");
    wait_until_said("its storage locks are not to be had");
    cr_expect(order_says("{\"order\": \"status\"}", "state", "FAILED"));
    give_locks();
    cr_expect(order_says("{\"order\": \"resolve\", \"as\": \"ours\"}", "ok", NULL));
    int status = live_wait(rig.src, END_MS);
    cr_expect(status == 1 || status == 3, "%d", status);
    cr_expect_eq(said("locks: "), 1);
    cr_expect_eq(said("SRC_REFUSED: "), 1);
    cr_expect_eq(said("the guest is here, as before"), 1);
    end();
}
