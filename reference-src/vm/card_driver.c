/* SPDX-License-Identifier: MIT */
#include "reference-src/vm/card_internal.h"

#include <string.h>
#include <unistd.h>

/* The driver's side of split virtqueues (virtio 1.2, 2.7): queue 0 receives, 1 transmits. */
enum {
    DESC_WRITE = 2,
    RECEIVE = 0,
    TRANSMIT = 1,
    PATIENCE = 20000, /* turns without an answer, of about a millisecond */
    VLAN = 2,         /* class of commands: virtio 1.2, 5.1.6.5.3 */
};

struct desc {
    uint64_t address;
    uint32_t length;
    uint16_t flags, next;
};

static uint8_t *ring(const struct card *c, unsigned queue) {
    return c->block + CARD_RINGS + 4096u * queue;
}

static uint16_t *avail(const struct card *c, unsigned queue) {
    return (uint16_t *)(void *)(ring(c, queue) + CARD_AVAIL);
}

static uint16_t used(const struct card *c, unsigned queue) {
    const uint16_t *words = (const uint16_t *)(const void *)(ring(c, queue) + CARD_USED);
    return __atomic_load_n(&words[1], __ATOMIC_ACQUIRE);
}

static void kick(const struct card *c, unsigned queue) {
    const uint64_t one = 1;
    if (write(c->events[queue].kick, &one, sizeof one) < 0)
        return; /* it is full: that is a kick */
}

static void offer(struct card *c, unsigned queue, uint32_t buffers, uint16_t flags) {
    uint16_t *a = avail(c, queue), at = a[1] % CARD_RING;
    struct desc d = {c->iova + buffers + 4096u * at, CARD_FRAME, flags, 0};
    memcpy(ring(c, queue) + sizeof d * at, &d, sizeof d);
    a[2 + at] = at;
    __atomic_store_n(&a[1], (uint16_t)(a[1] + 1), __ATOMIC_RELEASE);
}

void card_offer(struct card *c) {
    bool some = false;
    while ((uint16_t)(avail(c, RECEIVE)[1] - (uint16_t)card_memory(c)->received) < CARD_RING) {
        offer(c, RECEIVE, CARD_RECEIVE, DESC_WRITE);
        some = true;
    }
    if (some)
        kick(c, RECEIVE);
}

static enum vms_code wrong(const struct card *c, const char *what, uint64_t number,
                           struct vms_error *err) {
    return vms_error_set(err, VMS_E_VM_CHECK, "card%zu: %s %llu", c->index, what,
                         (unsigned long long)number);
}

/* A device may drop frames, but not swap, repeat or invent them. */
enum vms_code card_take(struct card *c, struct vms_error *err) {
    struct card_memory *m = card_memory(c);
    while ((uint16_t)m->received != used(c, RECEIVE)) {
        uint64_t number, at = m->received % CARD_RING;
        memcpy(&number, c->block + CARD_RECEIVE + 4096u * at, sizeof number);
        if (number <= m->last || number > m->sent)
            return wrong(c, "received out of order: frame", number, err);
        m->last = number;
        m->received++;
    }
    return VMS_OK;
}

static void transmit(struct card *c) {
    struct card_memory *m = card_memory(c);
    uint64_t number = ++m->sent;
    memcpy(c->block + CARD_TRANSMIT + 4096u * (avail(c, TRANSMIT)[1] % CARD_RING), &number,
           sizeof number);
    offer(c, TRANSMIT, CARD_TRANSMIT, 0);
    kick(c, TRANSMIT);
}

enum vms_code card_vlan(struct card *c, uint32_t id, bool remove, struct vms_error *err) {
    struct card_memory *m = card_memory(c);
    uint8_t bit = (uint8_t)(1u << id % 8), data[2] = {(uint8_t)id, (uint8_t)(id >> 8)};
    const struct vms_vm_plug *p = &c->set->plug;
    bool ok = false;
    enum vms_code code = p->control(p->ctx, c->index, VLAN, remove, data, sizeof data, &ok, err);
    if (code == VMS_OK && ok) {
        m->vlans[id / 8] = (uint8_t)(remove ? m->vlans[id / 8] & ~bit : m->vlans[id / 8] | bit);
        m->commands++;
    }
    return code;
}

/* A VLAN comes or goes: which one, the number of the frame says. */
static enum vms_code command(struct card *c, struct vms_error *err) {
    const struct card_memory *m = card_memory(c);
    uint32_t id = (uint32_t)(m->sent / CARD_FRAMES_A_COMMAND * 2654435761u) % 4096;
    return card_vlan(c, id, m->vlans[id / 8] >> (id % 8) & 1, err);
}

enum vms_code card_turn(struct card *c, struct vms_error *err) {
    struct card_memory *m = card_memory(c);
    if (card_take(c, err) != VMS_OK)
        return err->code;
    card_offer(c);
    if (avail(c, TRANSMIT)[1] != used(c, TRANSMIT))
        return ++c->idle > PATIENCE ? wrong(c, "no answer to frame", m->sent, err) : VMS_OK;
    c->idle = 0;
    transmit(c);
    return m->sent % CARD_FRAMES_A_COMMAND ? VMS_OK : command(c, err);
}
