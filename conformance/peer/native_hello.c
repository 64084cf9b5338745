/* SPDX-License-Identifier: MIT */
#include "conformance/peer/native.h"

#include <poll.h>
#include <string.h>

/* Frames of epoch 0, and the keys that follow from them. */

enum variant { /* what is wrong with a HELLO */
    GOOD,
    VERSION,  /* none in common (NAT-40) */
    DEVICE,   /* one that the destination has no place for (NAT-49) */
    FEATURE,  /* one is needed that nobody knows (NAT-43) */
    SESSION,  /* another id than the source's (NAT-45) */
    ROLE,     /* that of the peer (NAT-45) */
    RESUMING, /* good, with RESUME offered */
    MAIN,     /* no channel but the main one (NAT-48) */
    INQUIRY,  /* good, and of that form (HND-14) */
};

static enum vms_direction ours(const struct native *n) {
    return n->source ? VMS_SOURCE_TO_DESTINATION : VMS_DESTINATION_TO_SOURCE;
}

static enum vms_suite suite_of(const struct native *n) {
    return n->psk.key_len ? VMS_SUITE_AES_256_GCM : VMS_SUITE_NONE;
}

static struct vms_slice secret_of(const struct native *n) {
    return vms_slice(n->psk.key, n->psk.key_len);
}

static struct vms_limits limits(void) {
    return vms_limits_default();
}

/* The label, and the sealer ready for one frame of epoch 0. */
static struct vms_native_who begin(struct native *n, struct native_line *line, uint8_t *random) {
    struct vms_limits l = limits();
    struct vms_error err;
    struct vms_native_who who = {.role = n->source ? VMS_ROLE_SOURCE : VMS_ROLE_DESTINATION};
    vms_sealer_init(&line->sealer, n->crypto, ours(n), line->channel, &l);
    if (n->psk.key_len) {
        (void)vms_sealer_hello(&line->sealer, secret_of(n), random, &err);
        who.secret = VMS_SECRET_PSK;
        who.identity = vms_slice(n->psk.name, n->psk.name_len);
    } else {
        (void)n->crypto->random(n->crypto->ctx, (struct vms_room){random, VMS_SEAL_RANDOM_BYTES});
        (void)vms_sealer_hello_plain(&line->sealer, &err);
    }
    memcpy(who.session, n->session, sizeof who.session);
    memcpy(who.random, random, sizeof who.random);
    n->p->fd = line->fd;
    memcpy(n->p->out, vms_native_label, VMS_NATIVE_LABEL);
    n->p->len = line->labelled ? 0 : VMS_NATIVE_LABEL;
    line->labelled = true;
    peer_send(n->p);
    return who;
}

/* No RESUME but where the case wants it, and no DIGEST: no hashes have to be right. */
void native_hello(struct native *n, unsigned variant) {
    static const struct vms_native_device device = {.id = 1, .kind = 1};
    struct vms_native_device named = device;
    uint32_t suite = (uint32_t)suite_of(n);
    uint64_t wants = VMS_FEATURE_HANDOVER | VMS_FEATURE_SWITCHOVER_ACK | VMS_FEATURE_QEVM;
    struct vms_native_frame f = {.header.type = VMS_NATIVE_HELLO};
    struct vms_native_hello *h = &f.u.hello;
    named.name = vms_str("no/such/device");
    *h = (struct vms_native_hello){.who = begin(n, &n->main, n->random),
                                   .version = 1,
                                   .version_min = 1,
                                   .suite_count = 1,
                                   .suites = &suite,
                                   .features = wants,
                                   .features_needed = VMS_FEATURE_HANDOVER,
                                   .body_bytes = 65536,
                                   .bulk_bytes = 1 << 20,
                                   .channels = 256,
                                   .machine = vms_str(n->p->machine),
                                   .software = vms_str("scripted peer")};
    if (variant == VERSION)
        h->version = h->version_min = 9;
    if (variant == DEVICE) {
        h->device_count = 1;
        h->devices = &named;
    }
    if (variant == FEATURE)
        h->features = h->features_needed = wants | UINT64_C(1) << 40;
    if (variant == SESSION)
        h->who.session[15] ^= 1;
    if (variant == ROLE)
        h->who.role ^= 1;
    if (variant == MAIN)
        h->channels = 1;
    if (variant == INQUIRY)
        h->form = VMS_FORM_INQUIRY;
    if (variant == RESUMING || json_is_true(json_object_get(n->p->kit.body, "resume"))) {
        h->features |= VMS_FEATURE_RESUME;
        h->replay_bytes = 1 << 16;
    }
    native_send(n, &n->main, &f, vms_slice(NULL, 0));
}

/* Channel 1, on a connection of its own; foreign: of another session, and all goes on (SES-4). */
void native_attach(struct native *n, bool foreign) {
    uint8_t random[VMS_SEAL_RANDOM_BYTES];
    struct native_line other = {.channel = 1};
    struct native_line *line = foreign ? &other : &n->data;
    struct vms_native_frame f = {.header.type = VMS_NATIVE_ATTACH};
    struct vms_error err = {.clause = ""};
    if (!peer_connect(n->p))
        return;
    line->fd = n->p->fd;
    line->channel = 1;
    f.u.attach = (struct vms_native_attach){.who = begin(n, line, random), .epoch = 1};
    if (foreign)
        f.u.attach.who.session[15] ^= 1;
    native_send(n, line, &f, vms_slice(NULL, 0));
    const uint8_t *master = n->psk.key_len ? n->master : NULL;
    if (vms_sealer_rekey(&line->sealer, suite_of(n), master, 1, 0, &err) != VMS_OK)
        peer_fail(n->p, "%s", err.message);
    if (foreign)
        vms_sealer_free(&other.sealer);
}

/* On a connection of its own; its number, or -1. */
static int say_resume(struct native *n, uint32_t epoch, uint8_t other_session) {
    uint8_t random[VMS_SEAL_RANDOM_BYTES];
    struct native_line line = {.channel = 0};
    struct vms_native_position at = {0, 0};
    struct vms_native_frame f = {.header.type = VMS_NATIVE_RESUME};
    if (!peer_connect(n->p))
        return -1;
    line.fd = n->p->fd;
    f.u.resume = (struct vms_native_resume){begin(n, &line, random), epoch, 1, &at};
    f.u.resume.who.session[15] ^= other_session;
    native_send(n, &line, &f, vms_slice(NULL, 0));
    vms_sealer_free(&line.sealer);
    return line.fd;
}

void native_rekey(struct native *n, uint32_t epoch) {
    struct vms_native_frame f = {.header.type = VMS_NATIVE_REKEY, .u.epoch = epoch};
    struct vms_seal_link *link = &n->main.sealer.link;
    const uint8_t *master = n->psk.key_len ? n->master : NULL;
    struct vms_error err = {.clause = ""};
    native_send(n, &n->main, &f, vms_slice(NULL, 0));
    if (vms_sealer_rekey(&n->main.sealer, suite_of(n), master, epoch, link->sequence, &err) !=
        VMS_OK)
        peer_fail(n->p, "%s", err.message);
}

/* RESUME of a session that is not open there. */
void native_resume(struct native *n) {
    (void)say_resume(n, 7, 1);
}

/* [SES-24] Without a key the code of the ABORT that answers it is text among its octets. */
void native_own_resume(struct native *n, uint32_t epoch) {
    const char *says = cert_str(n->p->kit.body, "says");
    uint8_t answer[1024];
    size_t len = 0;
    n->p->fd = say_resume(n, epoch, 0);
    while (n->p->fd >= 0 && len < sizeof answer && peer_read(n->p, answer + len, 1))
        len++;
    if (*says && memmem(answer, len, says, strlen(says)))
        (void)snprintf(n->aborted, sizeof n->aborted, "%s", says);
    kit_say(&n->p->kit, "the answer to RESUME has %zu octets, %s", len,
            *n->aborted ? n->aborted : "and not what it must say");
}

static void break_off(struct native *n) {
    static const uint8_t half[] = "VMS";
    n->p->fd = n->main.fd;
    memcpy(n->p->out, half, n->p->len = sizeof half - 1);
    peer_send(n->p);
    peer_hang_up(n->p);
    vms_sealer_free(&n->main.sealer);
    vms_transcript_free(&n->transcript);
}

/* RUNNING or NOT_STARTED; another type: the subject did not take the inquiry. */
static uint32_t ask(struct native *n) {
    struct vms_error err;
    n->p->count = 0;
    n->aborted[0] = 0;
    if (!peer_connect(n->p) || !native_listen_anew(n) ||
        vms_transcript_init(&n->transcript, n->crypto, &err) != VMS_OK)
        return 0;
    n->main = (struct native_line){.fd = n->p->fd};
    native_hello(n, INQUIRY);
    uint32_t type = native_hear(n);
    if (type != VMS_NATIVE_HELLO || !native_set_keys(n))
        return type;
    do
        type = native_hear(n);
    while (type && type != VMS_NATIVE_RUNNING && type != VMS_NATIVE_NOT_STARTED);
    return type;
}

/* [RSM-12] A subject that has not noticed yet that the connection is over refuses: once more. */
void native_inquire(struct native *n) {
    uint32_t type;
    for (int pause = 10;; pause = pause < 500 ? 2 * pause : pause) {
        break_off(n);
        type = ask(n);
        if (type != VMS_NATIVE_ABORT || kit_left(&n->p->kit, 600000) <= pause)
            break;
        (void)poll(NULL, 0, pause);
    }
    if (type != VMS_NATIVE_RUNNING && type != VMS_NATIVE_NOT_STARTED)
        peer_misses(n->p, "HND-14", "an inquiry was not answered");
}

/* ---- the peer's ---- */

static uint8_t peer_random[VMS_SEAL_RANDOM_BYTES];

/* Of HELLO, or of an ABORT that answers it: `who` is the first in both. */
enum vms_code native_on_hello(void *ctx, const struct vms_native_frame *frame,
                              struct vms_opener **opener, struct vms_error *err) {
    struct native *n = ctx;
    struct vms_limits l = limits();
    const struct vms_native_who *who =
        frame->header.type == VMS_NATIVE_ABORT ? &frame->u.abort.who : &frame->u.hello.who;
    memcpy(peer_random, who->random, sizeof peer_random);
    if (!n->source)
        memcpy(n->session, who->session, sizeof n->session);
    if (frame->header.type == VMS_NATIVE_HELLO)
        n->peer_wants = frame->u.hello.features;
    vms_opener_free(&n->opener);
    vms_opener_init(&n->opener, n->crypto,
                    n->source ? VMS_DESTINATION_TO_SOURCE : VMS_SOURCE_TO_DESTINATION, 0, &l);
    *opener = &n->opener;
    return n->psk.key_len ? vms_opener_hello(&n->opener, secret_of(n), who->random, err)
                          : vms_opener_hello_plain(&n->opener, err);
}

static enum vms_code make_master(struct native *n, struct vms_error *err) {
    struct vms_seal_salt salt;
    memcpy(salt.source_random, n->source ? n->random : peer_random, sizeof salt.source_random);
    memcpy(salt.destination_random, n->source ? peer_random : n->random,
           sizeof salt.destination_random);
    if (vms_transcript_value(&n->transcript, salt.hello_hash, err) != VMS_OK)
        return err->code;
    return vms_seal_master(n->crypto, secret_of(n), &salt, n->master, err);
}

bool native_set_keys(struct native *n) {
    struct vms_error err = {.clause = ""};
    bool keyed = n->psk.key_len != 0;
    const uint8_t *master = keyed ? n->master : NULL;
    if ((keyed && make_master(n, &err) != VMS_OK) ||
        vms_sealer_rekey(&n->main.sealer, suite_of(n), master, 1, 0, &err) != VMS_OK ||
        vms_opener_rekey(&n->opener, suite_of(n), master, 1, 0, &err) != VMS_OK)
        peer_fail(n->p, "keys: %s", err.message);
    return !*n->p->failed;
}
