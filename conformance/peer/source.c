/* SPDX-License-Identifier: MIT */
#include "conformance/peer/peer.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/*
 * The source of a migration, as a script. Steps with a '+' open a connection, '<' waits for an
 * answer, '/' hangs up, '@' goes back to the first connection (or the second), '~' lets the subject
 * have time for what it must not do; all others are octets (bytes.c).
 */
static const struct {
    const char *name;
    const char *steps[28];
} SCRIPTS[] = {
    {"precopy",
     {"+main", "header", "config", "return-path", "ping:1", "<pong", "start", "all-pages",
      "command:11", "end", "eof", "vmdesc", "<shut"}},
    {"one-way",
     {"+main", "header", "config", "start", "all-pages", "command:11", "end", "eof", "vmdesc",
      "/"}},
    {"empty", {"+main", "header", "config", "eof", "vmdesc", "/"}},
    {"octets", {"+main", "=with", "/", "<end"}}, /* of any wire, as `with` has them */
    {"multifd",
     {"+main", "header", "config", "+multifd", "hello:0", "sync", "@main", "return-path", "ping:1",
      "<pong", "start-flush", "command:11", "end", "eof", "vmdesc", "<shut"}},
    {"postcopy",
     {"+main", "header", "config", "return-path", "ping:1", "<pong", "advise", "start",
      "some-pages", "command:11", "discard:5", "package", "ping:4", "<runs", "rest", "end", "eof",
      "<shut"}},
    {"recovery", {"+main",       "header",      "config",     "return-path", "ping:1",  "<pong",
                  "advise",      "start",       "some-pages", "discard:5",   "package", "ping:4",
                  "<asks",       "/",           "+main",      "recv-bitmap", "<bitmap", "command:9",
                  "<resume-ack", "<asks-again", "rest",       "end",         "eof",     "<shut"}},
    {"preempt",
     {"+main",  "header",     "config",      "return-path", "ping:1",     "<pong", "advise",
      "start",  "some-pages", "command:11",  "discard:5",   "+preempt",   "@main", "package",
      "ping:4", "<runs",      "page:4",      "page:5",      "last-pages", "end",   "eof",
      "~",      "@preempt",   "bare-page:6", "/",           "@main",      "<shut"}},
};

static uint32_t number(const uint8_t payload[4]) {
    return (uint32_t)payload[0] << 24 | (uint32_t)payload[1] << 16 | (uint32_t)payload[2] << 8 |
           payload[3];
}

/* [DST-7] A PONG has the value of a PING; in what order they come is nobody's business (RP-10). */
static void take_pong(struct peer *p, uint32_t value) {
    if (value >= PEER_PINGS || !p->pings[value]) {
        peer_finds(p, "DST-7", "a PONG of %u, which no PING had", value);
        return;
    }
    p->pings[value]--;
    p->open--;
}

/* The connection on which they were said is over. */
static void forget_pings(struct peer *p) {
    memset(p->pings, 0, sizeof p->pings);
    p->open = 0;
}

/* The next message; its type, 0: the connection ended. */
static unsigned answer(struct peer *p, uint8_t *payload) {
    uint8_t head[4];
    if (!peer_read(p, head, 4))
        return 0;
    size_t len = (size_t)(head[2] << 8 | head[3]);
    unsigned type = (unsigned)(head[0] << 8 | head[1]);
    if (!peer_read(p, payload, len))
        return 0;
    kit_say(&p->kit, "answer %u, %zu octets", type, len);
    if (type == 2 && len == 4)
        take_pong(p, number(payload));
    if (type == 6 && (len != 4 || number(payload) != 1))
        peer_finds(p, "REC-4", "RESUME_ACK has another value than 1");
    if (type == 1 && len == 4) {
        p->shut_seen = true;
        p->shut = number(payload);
    }
    return type;
}

static bool until(struct peer *p, unsigned type, unsigned times) {
    uint8_t payload[65536];
    for (unsigned got; times && (got = answer(p, payload)) != 0;)
        times -= got == type;
    return times == 0;
}

/* A guest that touches no memory asks for nothing: its adapter says where it is (cases/README.md).
 */
static bool is_told(struct peer *p, const char *name) {
    char path[CERT_PATH];
    cert_path(path, "%s/%s", p->kit.shared, name);
    while (!cert_exists(path) && kit_left(&p->kit, 600000) > 1)
        cert_nap();
    return cert_exists(path);
}

static bool has_adapter(const struct peer *p) {
    return *p->kit.peer && strcmp(p->kit.peer, "reference") != 0;
}

/* Somebody asks for a page: the guest runs there (a PONG says less, REC-7). All PONGs have come,
 * too: the cut that follows is found by who reads, not by who still answers. */
static bool until_asked(struct peer *p) {
    uint8_t payload[65536];
    unsigned got;
    bool asked = false;
    if (has_adapter(p))
        return is_told(p, "postcopy");
    do {
        got = answer(p, payload);
        asked |= got == 3 || got == 4;
    } while (got && (!asked || p->open));
    return got != 0;
}

/* [REC-4] The page that was asked for before the cut, with its block's name. */
static bool until_asked_again(struct peer *p) {
    uint8_t payload[65536];
    unsigned got;
    if (has_adapter(p))
        return true;
    do
        got = answer(p, payload);
    while (got && got != 3 && got != 4);
    if (got == 4)
        peer_finds(p, "REC-4", "the first request behind RESUME names no block");
    return got == 3;
}

static bool take_bitmap(struct peer *p) {
    uint8_t tail[24]; /* length, one word, end mark */
    return until(p, 5, 1) && peer_read(p, tail, sizeof tail);
}

static void wait_for(struct peer *p, const char *what) {
    bool got = true;
    if (p->stalled || p->cut)
        return;
    if (strcmp(what, "end") == 0) {
        while (peer_read(p, &(uint8_t){0}, 1))
            ;
        if (kit_left(&p->kit, 600000) <= 1)
            peer_finds(p, "", "the connection was kept");
    }
    if (strcmp(what, "pong") == 0)
        got = until(p, 2, 1);
    else if (strcmp(what, "runs") == 0)
        got = until(p, 2, 2);
    else if (strcmp(what, "asks") == 0)
        got = until_asked(p);
    else if (strcmp(what, "asks-again") == 0)
        got = until_asked_again(p);
    else if (strcmp(what, "bitmap") == 0)
        got = take_bitmap(p);
    else if (strcmp(what, "resume-ack") == 0)
        got = until(p, 6, 1);
    if (!got)
        peer_gone(p, "no %s came", what);
}

static bool is_before(const struct peer *p, int major) {
    int version = atoi(p->kit.peer_version);
    return version && version < major;
}

/* Again, when somebody listens again. */
static bool open_another(struct peer *p) {
    if (p->count && strcmp(p->script, "recovery") == 0) {
        forget_pings(p);
        if (has_adapter(p) && !is_told(p, "recovering"))
            return false;
    }
    return peer_connect(p);
}

/* [RAM-28] Before MULTIFD_FLUSH (8.1) each RAM_EOS waits for a SYNC of each channel: two here. */
static bool write_step(struct peer *p, const char *step) {
    bool old = strcmp(p->script, "multifd") == 0 && is_before(p, 9);
    if (old && strcmp(step, "start-flush") == 0)
        step = "start";
    return (!old || strcmp(step, "sync") != 0 || peer_write(p, step)) && peer_write(p, step);
}

static void take(struct peer *p, const char *step) {
    if (*step == '+')
        p->cut = p->cut || !open_another(p);
    else if (*step == '<')
        wait_for(p, step + 1);
    else if (*step == '=')
        take(p, p->with);
    else if (*step == '@')
        p->fd = p->fds[strcmp(step, "@preempt") == 0];
    else if (*step == '~')
        (void)poll(NULL, 0, 300);
    else if (*step == '/')
        (void)shutdown(p->fd, SHUT_WR);
    else if (!write_step(p, step))
        peer_fail(p, "no step %s", step);
    else
        peer_send(p);
}

/* [CMD-15] SWITCHOVER_START is of QEMU 10.0 on. */
static bool is_too_new(const struct peer *p, const char *step) {
    return is_before(p, 10) && strcmp(step, "command:11") == 0;
}

/* The one step that goes otherwise. */
static void deviate(struct peer *p, const char *step) {
    const char *how = p->deviation;
    p->deviated = true;
    if (strcmp(how, "before") == 0 || strcmp(how, "instead") == 0)
        take(p, p->with);
    if (strcmp(how, "omit") != 0 && strcmp(how, "instead") != 0)
        take(p, step);
    if (strcmp(how, "twice") == 0)
        take(p, step);
    if (strcmp(how, "cut") == 0) {
        (void)shutdown(p->fd, SHUT_WR);
        p->cut = true;
    }
    if (strcmp(how, "end-behind") == 0)
        (void)shutdown(p->fd, SHUT_WR);
    p->stalled |= strcmp(how, "stall") == 0;
}

/* What the subject says last, to the end of its connection. */
static void hear_the_end(struct peer *p) {
    uint8_t payload[65536];
    while (!p->shut_seen && answer(p, payload) != 0)
        ;
}

/*
 * [RP-12] SHUT is said, and tells the truth. Where a refusal was due, 0 may be true: then it is the
 * case's own rule that was broken. That a refusal is said, too, one case wants for all.
 */
static bool judge_shut(struct peer *p) {
    bool taken = p->shut_seen && p->shut == 0, wanted = peer_wants_success(p);
    if (taken && !wanted)
        peer_finds(p, "", "SHUT(0) says that the guest was taken over");
    if (taken && p->open)
        peer_finds(p, "DST-7", "%u PINGs had no PONG", p->open);
    if (p->shut_seen && p->shut && wanted)
        peer_finds(p, "RP-12", "SHUT(%u) gives the guest back", p->shut);
    if (!p->shut_seen && (wanted || *cert_str(p->kit.body, "says")))
        peer_misses(p, "RP-12", "no SHUT came");
    return taken;
}

/* Of a script that hears none it is enough that all could be said. */
static enum kit_exit end(struct peer *p, bool hears) {
    char text[64] = "no SHUT came";
    bool done = hears ? judge_shut(p) : peer_wants_success(p) && !p->cut;
    if (p->shut_seen)
        (void)snprintf(text, sizeof text, "the destination said SHUT(%u)", p->shut);
    kit_mark(&p->kit, done ? "handed" : "kept");
    return peer_end(p, done, text);
}

enum kit_exit peer_source(struct peer *p) {
    const char *const *steps = NULL;
    for (size_t i = 0; i < sizeof SCRIPTS / sizeof *SCRIPTS; i++)
        if (strcmp(SCRIPTS[i].name, p->script) == 0)
            steps = SCRIPTS[i].steps;
    if (!steps)
        return KIT_USAGE;
    bool early = strcmp(p->script, "preempt") == 0 && is_before(p, 8); /* its channel comes first */
    if (is_too_new(p, p->at) || early)
        return KIT_UNSUPPORTED;
    if (*p->at && !peer_has_step(steps, p->at))
        return KIT_USAGE;
    bool hears = peer_has_step(steps, "<shut");
    kit_mark(&p->kit, "ready");
    for (; *steps && !*p->failed; steps++)
        if (!p->deviated && !p->cut && strcmp(*steps, p->at) == 0)
            deviate(p, *steps);
        else if (!is_too_new(p, *steps))
            take(p, *steps);
    if (!*p->failed && strcmp(p->script, "octets") != 0)
        hear_the_end(p);
    peer_hang_up(p);
    return end(p, hears);
}
