/* SPDX-License-Identifier: MIT */
#include "host/vdpa_card_internal.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

/* The driver's side of a split virtqueue (virtio 1.2, 2.7) with one command in it at a time. */
enum {
    DESC_NEXT = 1,
    DESC_WRITE = 2,
    AVAIL = 256, /* where they lie in the shadow memory */
    USED = 512,
    ANSWER = 1024,
    COMMAND = 2048,
    COMMAND_MAX = VMS_VDPA_SHADOW_BYTES - COMMAND,
    PATIENCE_MS = 5000,
};
enum { /* classes: virtio 1.2, 5.1.6.5 */
    RX = 0,
    MAC = 1,
    VLAN = 2,
    MQ = 4,
};

struct desc {
    uint64_t address;
    uint32_t length;
    uint16_t flags, next;
};

enum vms_code vms_vdpa_shadow_set(struct vms_vdpa_card *card, struct vms_error *err) {
    struct vms_vdpa_ring ring = {.size = VMS_VDPA_SHADOW_RING,
                                 .desc = card->shadow_iova,
                                 .avail = card->shadow_iova + AVAIL,
                                 .used = card->shadow_iova + USED};
    memset(card->shadow, 0, VMS_VDPA_SHADOW_BYTES);
    card->next = 0;
    enum vms_code code =
        vms_vdpa_set_space(card->device, card->control_group, card->control_space, err);
    return code == VMS_OK ? vms_vdpa_set_ring(card->device, card->state.profile.queues - 1, &ring,
                                              card->kick, card->call, err)
                          : code;
}

static void write_ring(struct vms_vdpa_card *card, size_t len) {
    struct desc desc[2] = {
        {.address = card->shadow_iova + COMMAND,
         .length = (uint32_t)len,
         .flags = DESC_NEXT,
         .next = 1},
        {.address = card->shadow_iova + ANSWER, .length = 1, .flags = DESC_WRITE},
    };
    const uint16_t head = 0;
    memcpy(card->shadow, desc, sizeof desc);
    memcpy(card->shadow + AVAIL + 4 + 2u * (card->next % VMS_VDPA_SHADOW_RING), &head, sizeof head);
    card->shadow[ANSWER] = 255;
    card->next++;
    __atomic_store_n((uint16_t *)(void *)(card->shadow + AVAIL + 2), card->next, __ATOMIC_RELEASE);
}

static bool is_used(const struct vms_vdpa_card *card) {
    return __atomic_load_n((const uint16_t *)(const void *)(card->shadow + USED + 2),
                           __ATOMIC_ACQUIRE) == card->next;
}

static enum vms_code await(struct vms_vdpa_card *card, struct vms_error *err) {
    uint64_t count;
    while (!is_used(card)) {
        struct pollfd p = {.fd = card->call, .events = POLLIN};
        int n = poll(&p, 1, PATIENCE_MS);
        if (n == 0 || (n < 0 && errno != EINTR))
            return vms_error_set(err, VMS_E_VDPA_DEVICE, "%.60s: no answer on the control queue",
                                 vms_vdpa_name(card->device));
        if (n > 0 && read(card->call, &count, sizeof count) < 0 && errno != EAGAIN)
            return vms_error_set(err, VMS_E_VDPA_DEVICE, "%.60s: the control queue's call",
                                 vms_vdpa_name(card->device));
    }
    return VMS_OK;
}

enum vms_code vms_vdpa_shadow_send(struct vms_vdpa_card *card, uint8_t class_, uint8_t command,
                                   const void *data, size_t len, bool *ok, struct vms_error *err) {
    const uint64_t one = 1;
    *ok = false;
    if (len > COMMAND_MAX - 2)
        return vms_error_set(err, VMS_E_MISUSE, "a command of %zu bytes", len);
    card->shadow[COMMAND] = class_;
    card->shadow[COMMAND + 1] = command;
    memcpy(card->shadow + COMMAND + 2, data, len);
    write_ring(card, len + 2);
    if (write(card->kick, &one, sizeof one) != (ssize_t)sizeof one)
        return vms_error_set(err, VMS_E_VDPA_DEVICE, "%.60s: the control queue's kick",
                             vms_vdpa_name(card->device));
    enum vms_code code = await(card, err);
    *ok = code == VMS_OK && card->shadow[ANSWER] == 0;
    return code;
}

/* ---- what it had been told ---- */

static enum vms_code tell(struct vms_vdpa_card *card, uint8_t class_, uint8_t command,
                          const void *data, size_t len, struct vms_error *err) {
    bool ok;
    enum vms_code code = vms_vdpa_shadow_send(card, class_, command, data, len, &ok, err);
    if (code == VMS_OK && !ok)
        code = vms_error_set(err, VMS_E_VDPA_DEVICE, "%.60s: it refuses command %u.%u",
                             vms_vdpa_name(card->device), class_, command);
    return code;
}

static void le16(uint8_t *out, uint32_t v) {
    out[0] = (uint8_t)v;
    out[1] = (uint8_t)(v >> 8);
}

static bool same_table(const struct vms_vdpa_net *a, const struct vms_vdpa_net *b) {
    return a->unicast == b->unicast && a->multicast == b->multicast &&
           memcmp(a->macs, b->macs, 6u * (b->unicast + b->multicast)) == 0;
}

static enum vms_code tell_macs(struct vms_vdpa_card *card, const struct vms_vdpa_net *had,
                               struct vms_error *err) {
    const struct vms_vdpa_net *n = &card->state.net;
    uint8_t table[8 + 6 * VMS_VDPA_MACS_MAX] = {0};
    size_t unicast = 6u * n->unicast, multicast = 6u * n->multicast;
    bool is_new = had ? !same_table(had, n) : unicast + multicast > 0;
    le16(table, n->unicast);
    memcpy(table + 4, n->macs, unicast);
    le16(table + 4 + unicast, n->multicast);
    memcpy(table + 8 + unicast, (const uint8_t *)n->macs + unicast, multicast);
    enum vms_code code = VMS_OK;
    if (!had || memcmp(had->mac, n->mac, 6) != 0)
        code = tell(card, MAC, 1, n->mac, 6, err);
    return code == VMS_OK && is_new ? tell(card, MAC, 0, table, 8 + unicast + multicast, err)
                                    : code;
}

static enum vms_code tell_rx(struct vms_vdpa_card *card, const struct vms_vdpa_net *had,
                             struct vms_error *err) {
    const unsigned known = vms_vdpa_feature(&card->state.profile, VMS_VIRTIO_CTRL_RX_EXTRA) ? 6 : 2;
    const uint8_t *rx = card->state.net.rx;
    enum vms_code code = VMS_OK;
    for (uint8_t i = 0; i < known && code == VMS_OK; i++)
        if (!had || had->rx[i] != rx[i])
            code = tell(card, RX, i, &rx[i], 1, err);
    return code;
}

/* A device that was reset knows none. */
static enum vms_code tell_vlans(struct vms_vdpa_card *card, const struct vms_vdpa_net *had,
                                struct vms_error *err) {
    const uint8_t *vlans = card->state.net.vlans;
    enum vms_code code = VMS_OK;
    uint8_t id[2];
    for (uint32_t i = 0; i < 4096 && code == VMS_OK; i++) {
        bool is = vlans[i / 8] >> (i % 8) & 1, was = had && (had->vlans[i / 8] >> (i % 8) & 1);
        le16(id, i);
        if (is != was)
            code = tell(card, VLAN, !is, id, sizeof id, err);
    }
    return code;
}

static enum vms_code tell_pairs(struct vms_vdpa_card *card, const struct vms_vdpa_net *had,
                                struct vms_error *err) {
    uint8_t pairs[2];
    le16(pairs, card->state.net.pairs);
    bool is_new = had ? had->pairs != card->state.net.pairs : card->state.net.pairs > 1;
    return is_new ? tell(card, MQ, 0, pairs, sizeof pairs, err) : VMS_OK;
}

enum vms_code vms_vdpa_shadow_restore(struct vms_vdpa_card *card, const struct vms_vdpa_net *had,
                                      struct vms_error *err) {
    static const struct {
        unsigned feature;
        enum vms_code (*tell)(struct vms_vdpa_card *card, const struct vms_vdpa_net *had,
                              struct vms_error *err);
    } parts[] = {
        {VMS_VIRTIO_CTRL_MAC, tell_macs},
        {VMS_VIRTIO_CTRL_RX, tell_rx},
        {VMS_VIRTIO_CTRL_VLAN, tell_vlans},
        {VMS_VIRTIO_MQ, tell_pairs},
    };
    enum vms_code code = VMS_OK;
    for (size_t i = 0; i < sizeof parts / sizeof parts[0] && code == VMS_OK; i++)
        if (vms_vdpa_feature(&card->state.profile, parts[i].feature))
            code = parts[i].tell(card, had, err);
    return code;
}

/* ---- what the guest tells it ---- */

static void note_macs(struct vms_vdpa_net *n, const uint8_t *in, size_t len) {
    uint32_t unicast = len >= 4 ? (uint32_t)(in[0] | in[1] << 8) : 0;
    if (len < 8 + 6u * unicast)
        return;
    const uint8_t *second = in + 4 + 6u * unicast;
    uint32_t multicast = (uint32_t)(second[0] | second[1] << 8);
    if (len != 8 + 6u * (unicast + multicast))
        return;
    if (unicast + multicast > VMS_VDPA_MACS_MAX) { /* then all of them: it may get too much */
        n->unicast = n->multicast = 0;
        n->rx[0] = 1;
        return;
    }
    n->unicast = (uint16_t)unicast;
    n->multicast = (uint16_t)multicast;
    memcpy(n->macs, in + 4, 6u * unicast);
    memcpy(n->macs[unicast], second + 4, 6u * multicast);
}

static void note(struct vms_vdpa_net *n, uint8_t class_, uint8_t command, const uint8_t *in,
                 size_t len) {
    uint32_t value = len == 2 ? (uint32_t)(in[0] | in[1] << 8) : 0;
    if (class_ == RX && command < sizeof n->rx && len == 1)
        n->rx[command] = in[0];
    else if (class_ == MAC && command == 1 && len == 6)
        memcpy(n->mac, in, 6);
    else if (class_ == MAC && command == 0)
        note_macs(n, in, len);
    else if (class_ == VLAN && value < 4096 && command == 0)
        n->vlans[value / 8] = (uint8_t)(n->vlans[value / 8] | 1u << (value % 8));
    else if (class_ == VLAN && value < 4096)
        n->vlans[value / 8] = (uint8_t)(n->vlans[value / 8] & ~(1u << (value % 8)));
    else if (class_ == MQ)
        n->pairs = (uint16_t)value;
}

enum vms_code vms_vdpa_card_control(struct vms_vdpa_card *card, uint8_t class_, uint8_t command,
                                    const void *data, size_t len, bool *ok, struct vms_error *err) {
    if (!card->running || !vms_vdpa_has_control(&card->state.profile))
        return vms_error_set(err, VMS_E_MISUSE, "a command to a device without a control queue");
    enum vms_code code = vms_vdpa_shadow_send(card, class_, command, data, len, ok, err);
    if (code == VMS_OK && *ok)
        note(&card->state.net, class_, command, data, len);
    return code;
}
