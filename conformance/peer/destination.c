/* SPDX-License-Identifier: MIT */
#include "conformance/peer/peer.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <vmstream/vmdesc.h>

/*
 * The destination of a migration. `at` names what has just come, `with` what is then said:
 * `instead` of what should be, or `before` it. A record's name, or that of a command.
 */

struct hearing {
    struct peer *p;
    struct vms_qevm_decoder *decoder;
    bool lost;        /* recovery: the first connection has been cut */
    bool whole;       /* the stream has come to its end */
    unsigned bitmaps; /* that were asked for */
};

enum {
    BLOCKS = 2, /* of the guest of dialogues */
};

/* What a destination in good order says to a record; NULL: nothing. */
static const char *reply_to(const struct peer *p, const char *name) {
    bool postcopy = strcmp(p->script, "precopy") != 0; /* no description comes there (END-4) */
    if (strcmp(name, "PING") == 0)
        return "pong";
    if (strcmp(name, "POSTCOPY_RESUME") == 0)
        return "resume-ack:1";
    if (strcmp(name, postcopy ? "EOF" : "VMDESCRIPTION") == 0)
        return "shut:0";
    return NULL;
}

static void say(struct peer *p, const char *step) {
    if (!peer_write(p, step))
        peer_fail(p, "no step %s", step);
    peer_send(p);
}

static void say_pong(struct peer *p, const struct vms_record *r) {
    char step[32];
    struct vms_slice v = r->u.command.payload;
    (void)snprintf(step, sizeof step, "pong:%u", v.len == 4 ? v.ptr[3] : 0u);
    say(p, step);
}

/* [SRC-10] What was asked for comes first; then all the rest is, and no limit holds it back. */
static void on_page(struct peer *p, uint64_t offset) {
    if (!p->asked)
        return;
    if (offset == (uint64_t)(p->asked - 1) * PEER_PAGE) {
        p->asked = 0;
        say(p, "ask-all");
    } else if (++p->others > PEER_AHEAD) {
        peer_finds(p, "SRC-10", "page %u was asked for, and %u others came", p->asked - 1,
                   p->others);
        p->cut = true;
    }
}

/* [REC-5] The bitmap of the last block comes late: until it does, RESUME must not. */
static void on_recovery(struct hearing *h, const char *name) {
    struct peer *p = h->p;
    struct pollfd f = {p->fd, POLLIN, 0};
    h->lost |= strcmp(name, "POSTCOPY_RUN") == 0;
    if (strcmp(name, "RECV_BITMAP") != 0)
        return;
    if (++h->bitmaps < BLOCKS) {
        say(p, "empty-bitmap:0");
    } else {
        p->cut = poll(&f, 1, 1000) != 0;
        if (p->cut)
            peer_finds(p, "REC-5", "the source went on before it had all bitmaps");
        say(p, "empty-bitmap:1");
    }
}

static void on_record(struct hearing *h, const struct vms_record *r) {
    struct peer *p = h->p;
    const char *name = vms_record_name(r->type);
    if (r->type == VMS_R_COMMAND && vms_command_name(r->u.command.command))
        name = vms_command_name(r->u.command.command);
    if (r->type == VMS_R_RAM_PAGE || r->type == VMS_R_RAM_ZERO)
        on_page(p, r->u.page.offset);
    if (strcmp(p->script, "recovery") == 0)
        on_recovery(h, name);
    bool here = !p->deviated && strcmp(name, p->at) == 0;
    const char *reply = reply_to(p, name);
    h->whole |= reply && strcmp(reply, "shut:0") == 0;
    p->deviated |= here;
    if (here && (strcmp(p->deviation, "before") == 0 || strcmp(p->deviation, "instead") == 0))
        say(p, p->with);
    if (reply &&
        !(here && (strcmp(p->deviation, "omit") == 0 || strcmp(p->deviation, "instead") == 0)))
        for (int n = here && strcmp(p->deviation, "twice") == 0 ? 2 : 1; n; n--) {
            if (strcmp(reply, "pong") == 0)
                say_pong(p, r);
            else
                say(p, reply);
        }
    if (here && strcmp(p->deviation, "then") == 0)
        say(p, p->with);
    p->cut |= here && strcmp(p->deviation, "cut") == 0;
    p->stalled |= here && strcmp(p->deviation, "stall") == 0;
}

/* False: the stream is over, or the connection is. */
static bool hear(struct hearing *h) {
    static uint8_t buffer[1 << 16];
    struct vms_event e = {.need = 1};
    ssize_t n = read(h->p->fd, buffer, sizeof buffer);
    struct vms_slice input = vms_slice(buffer, n > 0 ? (size_t)n : 0);
    for (;;) {
        enum vms_step step =
            n > 0 ? vms_qevm_decode(h->decoder, &input, &e) : vms_qevm_finish(h->decoder, &e);
        if (step == VMS_STEP_NEED && n > 0 && vms_qevm_tail_fits(h->decoder))
            step = vms_qevm_finish(h->decoder, &e);
        if (step == VMS_STEP_ERROR && n > 0)
            peer_finds(h->p, e.error->clause, "the stream: %s at octet %llu: %s",
                       vms_code_name(e.error->code), (unsigned long long)e.error->offset,
                       e.error->message);
        if (step == VMS_STEP_RECORD)
            on_record(h, &e.record);
        else if (step != VMS_STEP_BULK)
            return step == VMS_STEP_NEED && n > 0;
        if (h->p->cut || (h->lost && h->p->count == 1))
            return false;
    }
}

static struct vms_qevm_decoder *new_decoder(struct vms_qevm_config *config, void **mem) {
    size_t size = vms_qevm_decoder_size(config);
    *mem = malloc(size);
    return vms_qevm_decoder_init(*mem, size, config);
}

/* [REC-1] The guest runs here, the link is cut; the source comes again, without a header. */
static void hear_recovery(struct hearing *h, struct vms_qevm_config config) {
    struct vms_qevm_decoder *main_channel = h->decoder;
    void *mem;
    (void)shutdown(h->p->fd, SHUT_RDWR);
    if (!peer_accept(h->p)) {
        peer_gone(h->p, "the source did not come again");
        return;
    }
    config.kind = VMS_QEVM_RECOVERY;
    h->decoder = new_decoder(&config, &mem);
    if (h->decoder)
        vms_qevm_adopt(h->decoder, main_channel);
    while (h->decoder && hear(h))
        ;
    h->decoder = main_channel;
    free(mem);
}

enum kit_exit peer_destination(struct peer *p) {
    struct vms_qevm_config config = vms_qevm_config_default();
    struct vms_vmdesc *vmdesc = vms_vmdesc_new();
    if (strcmp(p->script, "precopy") != 0 && strcmp(p->script, "postcopy") != 0 &&
        strcmp(p->script, "recovery") != 0)
        return KIT_UNSUPPORTED;
    if (!vmdesc || !peer_accept(p))
        return KIT_LOCAL;
    config.vmdesc = vms_vmdesc_ops(vmdesc);
    void *mem;
    struct hearing h = {.p = p, .decoder = new_decoder(&config, &mem)};
    while (h.decoder && hear(&h))
        ;
    if (h.lost)
        hear_recovery(&h, config);
    if (peer_wants_success(p) && p->asked)
        peer_misses(p, "SRC-10", "page %u was asked for, and never came", p->asked - 1);
    if (strcmp(p->script, "precopy") != 0) /* since POSTCOPY_RUN, whatever came behind it */
        (void)json_object_set_new(p->kit.end, "running", json_true());
    uint8_t rest;
    while (!p->cut &&
           peer_read(p, &rest, 1)) /* until the source has heard the answer, and closes */
        ;
    peer_hang_up(p);
    free(mem);
    vms_vmdesc_free(vmdesc);
    return peer_end(p, h.whole, h.whole ? "the stream is whole" : "the stream has no end");
}
