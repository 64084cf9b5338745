/* SPDX-License-Identifier: MIT */
#ifndef CONFORMANCE_RELAY_RIG_H
#define CONFORMANCE_RELAY_RIG_H

#include "conformance/adapters/net.h"
#include "conformance/adapters/tap.h"
#include "conformance/adapters/wan.h"
#include "conformance/live/live.h"

/**
 * Two QEMUs with our guest, two relays as processes of their own, and a proxy between these that
 * can cut. Functions end the test when something fails.
 */
#define LIST(...) ((const char *const[]){__VA_ARGS__, NULL})
#define KEYS      "vms:4a7d1ed414474e4033ac29ccb8653d9b4a7d1ed414474e4033ac29ccb8653d9b\n"
#define SLOW      "\"max-bandwidth\": 16777216, \"downtime-limit\": 100"
/* So slow that the link can be cut many times. */
#define CRAWL "\"max-bandwidth\": 3145728, \"max-postcopy-bandwidth\": 2097152"

struct relay_case {
    const char *source, *destination; /* versions; NULL: 7.2 */
    const char *machine;              /* NULL: pc */
    const char *const *capabilities;
    const char *parameters;       /* of the source; the destination gets multifd's too */
    const char *const *options;   /* of both relays, beside the key */
    const char *const *a_options; /* of the first alone */
    bool tls, postcopy, no_key;
    bool at_once; /* postcopy as soon as QEMU takes the order */
    bool plain;   /* one relay, QEVM on both sides */
    unsigned cuts;
    bool cut_for_good;
    unsigned mbit;      /* each relay on a host of its own, a line of that rate between them */
    unsigned delay_ms;  /* of that line, each way; it can be held up and cut */
    unsigned pages;     /* of the guest, all filled; 0: 4096, half of them */
    const char *memory; /* -m */
};

struct rig {
    const struct relay_case *what;
    struct live live; /* folder, error text, guest's parameters */
    struct vms_qemu *src, *dst;
    pid_t a, b;
    int a_status, b_status;
    struct vms_tap *tap;     /* between the relays, or NULL */
    struct vms_wan *wan;     /* the same, where the line is a long one */
    struct vms_tap *dst_tap; /* before the destination, where postcopy begins at once */
    struct vms_net net;
    json_t *a_report, *b_report;
};

/** Boots both QEMUs and starts the relays; skips the test when a peer is absent. */
void rig_set_up(struct rig *g, const struct relay_case *what);
void rig_tear_down(struct rig *g);
/* relay_link.c: of rig_set_up(). The first skips the test where there can be no such line. */
void rig_open_net(struct rig *g);
void rig_start_relays(struct rig *g);
void rig_migrate(struct rig *g);
void rig_go_postcopy(struct rig *g);
/** [RLY-15] The destination had all its connections before LISTEN. */
void rig_expect_listen_last(struct rig *g);
/** Cuts the link as often as the case says, each time when it is back. */
void rig_cut_link(struct rig *g);
void rig_expect_state(struct rig *g, struct vms_qemu *q, const char *state);
/** Waits for both relays; their statuses and reports. */
void rig_relays_end(struct rig *g);
/** Every RAM block is the same at both ends: of a destination that is not running. */
void rig_compare_memory(struct rig *g);
/** The guest's heartbeat goes on at the destination, and its memory is right. */
void rig_guest_goes_on(struct rig *g);
/** Octets of QEVM are the same on both sides, channel for channel. */
void rig_compare_reports(struct rig *g);
json_int_t rig_link_number(const json_t *report, const char *key);
/** The text of a.log or b.log; of the last two calls it holds. */
const char *rig_log_of(struct rig *g, const char *name);
void rig_path_of(const struct rig *g, const char *name, char *out, size_t size);
/** rc is 0, or QEMU's error is told. */
void rig_must(struct rig *g, struct vms_qemu *q, int rc);

#endif
