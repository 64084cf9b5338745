/* SPDX-License-Identifier: MIT */
#include "sim_internal.h"

#include <string.h>

/*
 * Virtqueues in split form (virtio 1.2, 2.7): the control queue is obeyed, what is transmitted is
 * dropped, or received again (echo).
 */
enum {
    DESC_NEXT = 1,
    DESC_WRITE = 2,
    COMMAND_MAX = 8192,
};

struct desc {
    uint64_t address;
    uint32_t length;
    uint16_t flags, next;
};

struct run { /* one queue, for the time of a kick */
    struct vds_device *d;
    struct vds_ring *ring;
    uint32_t space;
    uint8_t out[COMMAND_MAX];
    size_t length;
    uint64_t answer; /* IOVA of the answer's byte; 0: none */
};

static uint32_t le(const uint8_t *p, size_t n) {
    uint32_t v = 0;
    while (n--)
        v = v << 8 | p[n];
    return v;
}

/* ---- commands: virtio 1.2, 5.1.6.5 ---- */

static bool rx_mode(struct vds_net *n, uint8_t command, const uint8_t *in, size_t len) {
    if (command >= sizeof n->rx || len != 1)
        return false;
    n->rx[command] = in[0];
    return true;
}

static bool mac(struct vds_net *n, uint8_t command, const uint8_t *in, size_t len) {
    uint64_t hash = 0xcbf29ce484222325u;
    if (command == 1 && len == 6)
        memcpy(n->mac, in, 6);
    else if (command != 0 || len < 8)
        return false;
    for (size_t i = 0; command == 0 && i < len; i++)
        hash = (hash ^ in[i]) * 0x100000001b3u;
    if (command == 0)
        n->table_hash = hash;
    return true;
}

static bool vlan(struct vds_net *n, uint8_t command, const uint8_t *in, size_t len) {
    uint32_t id = len == 2 ? le(in, 2) : 4096;
    if (id >= 4096 || command > 1)
        return false;
    uint8_t bit = (uint8_t)(1u << (id & 7));
    n->vlans[id / 8] = (uint8_t)(command == 0 ? n->vlans[id / 8] | bit : n->vlans[id / 8] & ~bit);
    return true;
}

static bool queues(struct vds_net *n, uint8_t command, const uint8_t *in, size_t len) {
    if (command != 0 || len != 2 || le(in, 2) == 0)
        return false;
    n->pairs = (uint16_t)le(in, 2);
    return true;
}

static const struct {
    unsigned feature; /* bit */
    bool (*obey)(struct vds_net *net, uint8_t command, const uint8_t *in, size_t len);
} classes[] = {
    {18, rx_mode}, {23, mac}, {19, vlan}, {0, NULL}, {22, queues},
};

static bool obey(struct run *r) {
    struct vds_device *d = r->d;
    uint8_t class_ = r->length >= 2 ? r->out[0] : 255;
    bool good = class_ < sizeof classes / sizeof classes[0] && classes[class_].obey &&
                (d->features >> classes[class_].feature & 1) &&
                classes[class_].obey(&d->net, r->out[1], r->out + 2, r->length - 2) &&
                d->net.pairs <= d->d.pairs;
    d->net.commands++;
    d->took += d->d.command_cost;
    d->net.refused += !good;
    return good;
}

/* ---- rings ---- */

static bool dma(struct run *r, uint64_t iova, void *buf, size_t len, bool write) {
    return vds_dma(r->d, r->space, iova, buf, len, write);
}

static bool collect(struct run *r, uint16_t head) {
    struct desc desc = {.flags = DESC_NEXT, .next = head};
    r->length = 0;
    r->answer = 0;
    for (uint32_t n = 0; desc.flags & DESC_NEXT; n++) {
        if (n > r->ring->size || desc.next >= r->ring->size ||
            !dma(r, r->ring->desc + 16u * desc.next, &desc, sizeof desc, false))
            return false;
        if (desc.flags & DESC_WRITE) {
            r->answer = desc.address;
            continue;
        }
        if (desc.length > COMMAND_MAX - r->length ||
            !dma(r, desc.address, r->out + r->length, desc.length, false))
            return false;
        r->length += desc.length;
    }
    return true;
}

static bool control(struct run *r, uint64_t now, uint16_t head) {
    if (!collect(r, head) || !r->answer)
        return false;
    uint8_t answer = !obey(r);
    vds_note(r->d, now, "control", "\"class\":%u,\"command\":%u,\"bytes\":%zu,\"ok\":%s", r->out[0],
             r->out[1], r->length, answer ? "false" : "true");
    return dma(r, r->answer, &answer, 1, true);
}

static bool put_used(struct run *r, uint16_t at, uint16_t head, uint32_t length) {
    uint32_t element[2] = {head, length};
    uint16_t next = (uint16_t)(at + 1);
    return dma(r, r->ring->used + 4 + 8u * (at % r->ring->size), element, sizeof element, true) &&
           dma(r, r->ring->used + 2, &next, sizeof next, true);
}

/** The next receive buffer gets what was transmitted; without one it is dropped. */
static bool echo(struct run *tx, uint32_t queue) {
    struct run rx = {.d = tx->d, .ring = &tx->d->rings[queue], .space = tx->space};
    uint16_t available = 0, head = 0, at = (uint16_t)rx.ring->base;
    if (!rx.ring->enabled || !rx.ring->has_address)
        return true;
    if (!dma(&rx, rx.ring->avail + 2, &available, sizeof available, false) || at == available)
        return at == available;
    if (!dma(&rx, rx.ring->avail + 4 + 2u * (at % rx.ring->size), &head, sizeof head, false) ||
        !collect(&rx, head) || !rx.answer || !dma(&rx, rx.answer, tx->out, tx->length, true))
        return false;
    rx.ring->base = (uint16_t)(at + 1);
    return put_used(&rx, at, head, (uint32_t)tx->length);
}

uint64_t vds_took(struct vds_device *d) {
    uint64_t took = d->took;
    d->took = 0;
    return took;
}

bool vds_kick(struct vds_device *d, uint64_t now, uint32_t queue) {
    struct run r = {.d = d, .ring = &d->rings[queue]};
    bool is_control = d->d.control && queue == 2 * d->d.pairs, did = false;
    uint16_t available = 0, head = 0;
    if (!(d->status & VMS_VDPA_DRIVER_OK) || d->suspended || d->broken || !r.ring->enabled ||
        !r.ring->has_address || !(is_control || queue % 2))
        return false;
    r.space = d->group_space[is_control && d->d.groups > 1];
    bool good = dma(&r, r.ring->avail + 2, &available, sizeof available, false);
    while (good && (uint16_t)r.ring->base != available) {
        uint16_t at = (uint16_t)r.ring->base;
        good = dma(&r, r.ring->avail + 4 + 2u * (at % r.ring->size), &head, sizeof head, false) &&
               (!is_control || control(&r, now, head)) &&
               (is_control || !d->d.echo || (collect(&r, head) && echo(&r, queue - 1))) &&
               put_used(&r, at, head, is_control);
        r.ring->base = (uint16_t)(at + 1);
        did = true;
    }
    if (!good) {
        d->broken = true;
        vds_note(d, now, "broken", "\"queue\":%u,\"why\":\"a ring or buffer is not mapped\"",
                 queue);
    }
    return did && good;
}
