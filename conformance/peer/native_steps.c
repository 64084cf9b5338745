/* SPDX-License-Identifier: MIT */
#include "conformance/peer/native.h"

#include <stdlib.h>
#include <string.h>

/* What can be said behind the hellos. Two numbers at most; absent ones are UINT64_MAX. */

struct said {
    uint64_t a, b;
};

static uint64_t otherwise(uint64_t value, uint64_t absent) {
    return value == UINT64_MAX ? absent : value;
}

static const struct vms_slice NONE = {NULL, 0};

/* ---- hand-over: NAME[:GENERATION] ---- */

static void say_hand(struct native *n, uint32_t type, uint64_t generation) {
    struct vms_native_frame f = {.header.type = type, .u.generation = generation};
    native_send(n, &n->main, &f, NONE);
}

static void start(struct native *n, struct said s) {
    n->generation = otherwise(s.a, 1);
    say_hand(n, VMS_NATIVE_START, n->generation);
}

static void commit(struct native *n, struct said s) {
    say_hand(n, VMS_NATIVE_COMMIT, otherwise(s.a, n->generation));
}

static void running(struct native *n, struct said s) {
    say_hand(n, VMS_NATIVE_RUNNING, otherwise(s.a, n->generation));
}

static void not_started(struct native *n, struct said s) {
    say_hand(n, VMS_NATIVE_NOT_STARTED, otherwise(s.a, n->generation));
}

static void ready(struct native *n, struct said s) { /* ready[:GENERATION[:VERDICT]] */
    struct vms_native_frame f = {.header.type = VMS_NATIVE_READY};
    f.u.ready = (struct vms_native_ready){otherwise(s.a, n->generation), (uint8_t)otherwise(s.b, 0),
                                          otherwise(s.b, 0) == 2 ? 3 : 0};
    native_send(n, &n->main, &f, NONE);
}

/* ---- control ---- */

static void switchover(struct native *n, uint32_t type, struct said s) { /* :DEVICE:GENERATION */
    struct vms_native_frame f = {.header.type = type};
    f.u.switchover = (struct vms_native_switchover){(uint32_t)otherwise(s.a, n->device),
                                                    otherwise(s.b, n->said)};
    native_send(n, &n->main, &f, NONE);
}

static void request(struct native *n, struct said s) {
    switchover(n, VMS_NATIVE_REQUEST, s);
}

static void grant(struct native *n, struct said s) {
    switchover(n, VMS_NATIVE_GRANT, s);
}

static void abort_it(struct native *n, struct said s) { /* a code that nobody knows */
    (void)s;
    struct vms_native_frame f = {.header.type = VMS_NATIVE_ABORT};
    f.u.abort.code = vms_str("OF_ANOTHER_WORLD");
    native_send(n, &n->main, &f, NONE);
}

static void pong(struct native *n, struct said s) {
    struct vms_native_frame f = {.header.type = VMS_NATIVE_PONG,
                                 .u.value = otherwise(s.a, n->value)};
    native_send(n, &n->main, &f, NONE);
}

static void ack(struct native *n, struct said s) { /* :CHANNEL:NEXT; without: all of main */
    struct vms_native_frame f = {.header.type = VMS_NATIVE_ACK};
    struct vms_native_position at = {(uint16_t)otherwise(s.a, 0),
                                     otherwise(s.b, n->opener.link.sequence)};
    f.u.ack = (struct vms_native_ack){1, &at};
    native_send(n, &n->main, &f, NONE);
}

/* What was said before is known when PONG comes. */
static void ping(struct native *n, struct said s) {
    struct vms_native_frame f = {.header.type = VMS_NATIVE_PING, .u.value = NATIVE_PING_VALUE};
    (void)s;
    native_send(n, &n->main, &f, NONE);
}

static void unknown(struct native *n, struct said s) { /* :TYPE, with an empty map as body */
    static const uint8_t empty = 0xa0;
    native_put(n, &n->main, (uint32_t)s.a, vms_slice(&empty, 1), NONE);
}

static void rekey(struct native *n, struct said s) { /* :EPOCH */
    native_rekey(n, (uint32_t)s.a);
}

/* :1 another epoch of the data channel, :2 a frame fewer of it, :3 another transcript, :4 a
 * sequence above END's, :5 one below it, :6 a frame more of the data channel, which does not come
 */
static void end(struct native *n, struct said s) {
    struct vms_error err;
    struct vms_native_frame f = {.header.type = VMS_NATIVE_END};
    struct vms_native_sent sent[2] = {
        {0, n->main.sealer.link.sequence + (s.a == 4) - (s.a == 5), 1},
        {1, n->data.sealer.link.sequence - (s.a == 2) + (s.a == 6), s.a == 1 ? 2 : 1}};
    f.u.end = (struct vms_native_end){.sent_count = 2, .sent = sent};
    (void)vms_transcript_value(&n->transcript, f.u.end.transcript, &err);
    f.u.end.transcript[0] ^= s.a == 3;
    native_send(n, &n->main, &f, NONE);
}

/* ---- data ---- */

static void blocks(struct native *n, struct said s) { /* :1 of another size than the total */
    struct vms_record records[2] = {{.type = VMS_R_RAM_MEM_SIZE}, {.type = VMS_R_RAM_BLOCK}};
    struct vms_native_frame f = {.header.type = VMS_NATIVE_RECORDS};
    records[0].u.ram_total = PEER_PAGES * PEER_PAGE + (s.a == 1);
    records[1].u.block.name = vms_str("ram");
    records[1].u.block.used_length = PEER_PAGES * PEER_PAGE;
    records[1].u.block.has_page_size = true;
    records[1].u.block.page_size = PEER_PAGE;
    f.u.records = (struct vms_native_records){2, records};
    native_send(n, &n->main, &f, NONE);
}

static void device(struct native *n, uint32_t id, uint32_t kind, uint64_t offset,
                   struct vms_slice bulk) {
    struct vms_native_frame f = {.header.type = VMS_NATIVE_DEVICE};
    f.u.device = (struct vms_native_device_state){id, kind, offset, true};
    native_send(n, &n->main, &f, bulk);
}

static void setup(struct native *n, struct said s) { /* :CHANNELS, 1 */
    uint8_t octets[8] = {0, 0, 0, (uint8_t)otherwise(s.a, 1)};
    device(n, 0, 0, 0, vms_slice(octets, sizeof octets));
}

static void state(struct native *n, struct said s) { /* :DEVICE:OFFSET */
    device(n, (uint32_t)otherwise(s.a, 0), 1, otherwise(s.b, 0),
           vms_slice((const uint8_t *)"state", 5));
}

static void data(struct native *n, struct said s) { /* channel 1 joins */
    (void)s;
    native_attach(n, false);
}

static void foreign_attach(struct native *n, struct said s) {
    (void)s;
    native_attach(n, true);
}

static void foreign_resume(struct native *n, struct said s) {
    (void)s;
    native_resume(n);
}

static void own_resume(struct native *n, struct said s) { /* :EPOCH */
    native_own_resume(n, (uint32_t)s.a);
}

static void inquire(struct native *n, struct said s) { /* the script's last word */
    (void)s;
    native_inquire(n);
    n->p->cut = true;
}

static void hear(struct native *n, struct said s) { /* :TYPE, whatever comes before it */
    uint32_t type;
    do
        type = native_hear(n);
    while (type && s.a != UINT64_MAX && type != s.a);
    if (!type)
        peer_misses(n->p, "", "what must be heard does not come");
}

/* [RSM-5] All of the data channel has come: it is more than a quarter of REPLAY_BYTES. */
static void acked(struct native *n, struct said s) {
    (void)s;
    while (n->acked < n->data.sealer.link.sequence)
        if (!native_hear(n)) {
            peer_misses(n->p, "RSM-5", "the data channel's frames are not acknowledged");
            return;
        }
}

/* Pages of content; :FIRST:COUNT of the block, or of block 9 when count is 0 */
static void send_pages(struct native *n, struct native_line *line, uint32_t type, struct said s) {
    static uint8_t content[PEER_PAGES * PEER_PAGE];
    struct vms_native_run run = {otherwise(s.a, 0), (uint32_t)otherwise(s.b, PEER_PAGES), false};
    struct vms_native_frame f = {.header.type = type};
    uint32_t block = run.count ? 0 : 9;
    run.count = run.count ? run.count : 1;
    memset(content, 0x5a, sizeof content);
    f.u.pages = (struct vms_native_pages){
        .block = {block, {NULL, 0}}, .page_bits = 12, .run_count = 1, .runs = &run};
    native_send(n, line, &f,
                vms_slice(content, type == VMS_NATIVE_PAGES ? run.count * PEER_PAGE : 0));
}

static void pages(struct native *n, struct said s) {
    send_pages(n, &n->data, VMS_NATIVE_PAGES, s);
}

static void main_pages(struct native *n, struct said s) {
    send_pages(n, &n->main, VMS_NATIVE_PAGES, s);
}

static void page_request(struct native *n, struct said s) {
    send_pages(n, &n->main, VMS_NATIVE_PAGE_REQUEST, s);
}

static void hello(struct native *n, struct said s) {
    native_hello(n, (unsigned)otherwise(s.a, 0));
}

static const struct {
    const char *name;
    void (*say)(struct native *n, struct said s);
} STEPS[] = {
    {"start", start},
    {"commit", commit},
    {"running", running},
    {"not-started", not_started},
    {"ready", ready},
    {"request", request},
    {"grant", grant},
    {"abort", abort_it},
    {"ping", ping},
    {"pong", pong},
    {"ack", ack},
    {"unknown", unknown},
    {"rekey", rekey},
    {"end", end},
    {"blocks", blocks},
    {"setup", setup},
    {"state", state},
    {"data", data},
    {"foreign-attach", foreign_attach},
    {"foreign-resume", foreign_resume},
    {"own-resume", own_resume},
    {"inquire", inquire},
    {"hear", hear},
    {"acked", acked},
    {"pages", pages},
    {"main-pages", main_pages},
    {"page-request", page_request},
    {"hello", hello},
};

static bool say_one(struct native *n, const char *step) {
    struct said s = {UINT64_MAX, UINT64_MAX};
    size_t len = strcspn(step, ":+");
    char *rest;
    if (step[len] == ':') {
        s.a = strtoull(step + len + 1, &rest, 0);
        if (*rest == ':')
            s.b = strtoull(rest + 1, NULL, 0);
    }
    for (size_t i = 0; i < sizeof STEPS / sizeof *STEPS; i++)
        if (strlen(STEPS[i].name) == len && strncmp(STEPS[i].name, step, len) == 0) {
            STEPS[i].say(n, s);
            return true;
        }
    return false;
}

bool native_say(struct native *n, const char *step) {
    for (; step; step = strchr(step, '+'), step = step ? step + 1 : NULL)
        if (!say_one(n, step))
            return false;
    return true;
}
