/* SPDX-License-Identifier: MIT */
#include "host/vdpa_seat.h"
#include "reference-src/vm/card_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

/* ---- the driver's thread: one more virtual CPU ---- */

enum {
    TURN_NS = 1000000,
};

static void turns(struct vms_vm_cards *s) {
    struct vms_error err;
    for (size_t i = 0; i < s->count; i++)
        if (card_turn(&s->card[i], &err) != VMS_OK && !s->met.code)
            s->met = err;
}

static void *driver(void *arg) {
    struct vms_vm_cards *s = arg;
    const struct timespec t = {.tv_nsec = TURN_NS};
    (void)pthread_mutex_lock(&s->lock);
    while (!s->quit) {
        if (!s->on || !s->plugged || s->met.code) {
            (void)pthread_cond_wait(&s->changed, &s->lock);
            continue;
        }
        s->busy = true;
        (void)pthread_mutex_unlock(&s->lock);
        turns(s);
        (void)pthread_mutex_lock(&s->lock);
        s->busy = false;
        (void)pthread_cond_broadcast(&s->changed);
        (void)pthread_mutex_unlock(&s->lock);
        (void)nanosleep(&t, NULL);
        (void)pthread_mutex_lock(&s->lock);
    }
    (void)pthread_mutex_unlock(&s->lock);
    return NULL;
}

static void turn_on(struct vms_vm_cards *s, bool on) {
    (void)pthread_mutex_lock(&s->lock);
    s->on = on;
    (void)pthread_cond_broadcast(&s->changed);
    while (!on && s->busy)
        (void)pthread_cond_wait(&s->changed, &s->lock);
    (void)pthread_mutex_unlock(&s->lock);
}

static enum vms_code stop(void *ctx, struct vms_error *err) {
    struct vms_vm_cards *s = ctx;
    turn_on(s, false);
    return vms_guest_stop(s->wrap.inner, err);
}

static enum vms_code run(void *ctx, struct vms_error *err) {
    struct vms_vm_cards *s = ctx;
    enum vms_code code = vms_guest_run(s->wrap.inner, err);
    if (code == VMS_OK)
        turn_on(s, true);
    return code;
}

void vms_vm_cards_plug(struct vms_vm_cards *s, const struct vms_vm_plug *plug) {
    (void)pthread_mutex_lock(&s->lock);
    s->plug = *plug;
    s->plugged = true;
    (void)pthread_cond_broadcast(&s->changed);
    (void)pthread_mutex_unlock(&s->lock);
}

enum vms_code vms_vm_card_vlan(struct vms_vm_cards *s, size_t index, uint16_t id,
                               struct vms_error *err) {
    (void)pthread_mutex_lock(&s->lock);
    while (s->busy)
        (void)pthread_cond_wait(&s->changed, &s->lock);
    enum vms_code code = card_vlan(&s->card[index], id % 4096u, false, err);
    (void)pthread_mutex_unlock(&s->lock);
    return code;
}

/* ---- probing ---- */

#define FEATURE(n) (UINT64_C(1) << (n))

static void make_rings(struct card *c, struct vms_vdpa_state *s, uint32_t pairs) {
    for (uint32_t i = 0; i < 2 * pairs; i++) {
        uint64_t at = c->iova + CARD_RINGS + 4096u * i;
        s->queue[i] = (struct vms_vdpa_queue){
            true,
            {.size = CARD_RING, .desc = at, .avail = at + CARD_AVAIL, .used = at + CARD_USED}};
    }
}

void vms_vm_card_probe(struct vms_vm_cards *cards, size_t index, const struct vms_vdpa_about *about,
                       uint32_t pairs, struct vms_vdpa_state *out) {
    struct card *c = &cards->card[index];
    struct card_memory *m = card_memory(c);
    const uint64_t known = FEATURE(5) | FEATURE(VMS_VIRTIO_CTRL_VQ) | FEATURE(VMS_VIRTIO_CTRL_RX) |
                           FEATURE(VMS_VIRTIO_CTRL_VLAN) | FEATURE(VMS_VIRTIO_MQ) |
                           FEATURE(VMS_VIRTIO_CTRL_MAC) | FEATURE(32) | FEATURE(33);
    const uint8_t mac[6] = {2, 0, 0, 0, 1, (uint8_t)index};
    memset(out, 0, sizeof *out);
    out->profile = (struct vms_vdpa_profile){.device_id = about->device_id,
                                             .features = about->features & known,
                                             .config_size = about->config_size,
                                             .queues = about->queues,
                                             .ring_size = CARD_RING};
    bool control = vms_vdpa_has_control(&out->profile);
    uint32_t most = (about->queues - control) / 2;
    pairs = pairs && pairs < most ? pairs : most;
    out->status =
        VMS_VDPA_ACKNOWLEDGE | VMS_VDPA_DRIVER | VMS_VDPA_FEATURES_OK | VMS_VDPA_DRIVER_OK;
    make_rings(c, out, pairs);
    memcpy(m->mac, mac, sizeof mac);
    memcpy(out->net.mac, mac, sizeof mac);
    out->net.pairs = (uint16_t)pairs;
    card_offer(c);
}

const struct vms_vdpa_events *vms_vm_card_events(struct vms_vm_cards *cards, size_t index) {
    return cards->card[index].events;
}

/* ---- what is checked ---- */

static enum vms_code check_filters(const struct card *c, struct vms_error *err) {
    const struct vms_vm_plug *p = &c->set->plug;
    const struct vms_vdpa_state *s = p->state(p->ctx, c->index);
    const struct card_memory *m = card_memory(c);
    bool vlans = vms_vdpa_feature(&s->profile, VMS_VIRTIO_CTRL_VLAN) &&
                 memcmp(m->vlans, s->net.vlans, sizeof m->vlans) != 0;
    if (memcmp(m->mac, s->net.mac, sizeof m->mac) != 0 || vlans)
        return vms_error_set(err, VMS_E_VM_CHECK, "card%zu: the device's %s is not the driver's",
                             c->index, vlans ? "table of VLANs" : "address");
    return VMS_OK;
}

enum vms_code vms_vm_cards_check(struct vms_vm_cards *s, struct vms_error *err) {
    if (s->met.code) {
        *err = s->met;
        return err->code;
    }
    for (size_t i = 0; i < s->count && s->plugged; i++)
        if (card_take(&s->card[i], err) != VMS_OK || check_filters(&s->card[i], err) != VMS_OK)
            return err->code;
    return VMS_OK;
}

void vms_vm_card_stats(const struct vms_vm_cards *cards, size_t index,
                       struct vms_vm_card_stats *out) {
    const struct card_memory *m = card_memory(&cards->card[index]);
    *out = (struct vms_vm_card_stats){m->sent, m->received, m->commands};
}

/* ---- life ---- */

static enum vms_code make_card(struct vms_vm_cards *s, struct vms_error *err) {
    struct card *c = &s->card[s->count];
    struct vms_guest_block *b = &s->blocks[s->guest.block_count];
    c->set = s;
    c->index = s->count++;
    c->fd = memfd_create("card", MFD_CLOEXEC);
    c->block = c->fd >= 0 && ftruncate(c->fd, CARD_BLOCK) == 0
                   ? mmap(NULL, CARD_BLOCK, PROT_READ | PROT_WRITE, MAP_SHARED, c->fd, 0)
                   : MAP_FAILED;
    for (size_t i = 0; i < VMS_VDPA_QUEUES_MAX; i++)
        c->events[i] = (struct vms_vdpa_events){-1, -1};
    if (c->block == MAP_FAILED)
        return vms_error_set(err, VMS_E_NO_MEMORY, "a card's memory");
    for (size_t i = 0; i < 2; i++) {
        c->events[i].kick = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        c->events[i].call = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (c->events[i].kick < 0 || c->events[i].call < 0)
            return vms_error_set(err, VMS_E_NO_MEMORY, "eventfd");
    }
    (void)snprintf(s->names[c->index], sizeof s->names[0], "card%zu", c->index);
    *b = (struct vms_guest_block){.name = s->names[c->index],
                                  .memory = c->block,
                                  .length = CARD_BLOCK,
                                  .page_size = 4096,
                                  .shared = true,
                                  .fd = c->fd};
    s->guest.block_count++;
    c->iova = vms_vdpa_seat_iova(&s->guest, s->guest.block_count - 1);
    return VMS_OK;
}

static enum vms_code start_driver(struct vms_vm_cards *s, struct vms_error *err) {
    s->has_thread = pthread_create(&s->thread, NULL, driver, s) == 0;
    return s->has_thread ? VMS_OK : vms_error_set(err, VMS_E_NO_MEMORY, "a thread");
}

enum vms_code vms_vm_cards_new(const struct vms_guest *inner, size_t count,
                               struct vms_vm_cards **out, struct vms_error *err) {
    struct vms_vm_cards *s = count <= VMS_VM_CARDS_MAX ? calloc(1, sizeof *s) : NULL;
    struct vms_guest_block *blocks = calloc(inner->block_count + count, sizeof *blocks);
    *out = NULL;
    if (!s || !blocks) {
        free(s);
        free(blocks);
        return vms_error_set(err, VMS_E_NO_MEMORY, "%zu cards", count);
    }
    memcpy(blocks, inner->blocks, inner->block_count * sizeof *blocks);
    s->wrap = (struct vms_guest_wrap){.inner = inner, .stop = stop, .run = run, .ctx = s};
    s->guest = vms_guest_wrap(&s->wrap);
    s->guest.blocks = s->blocks = blocks;
    (void)pthread_mutex_init(&s->lock, NULL);
    (void)pthread_cond_init(&s->changed, NULL);
    enum vms_code code = VMS_OK;
    for (size_t i = 0; i < count && code == VMS_OK; i++)
        code = make_card(s, err);
    if (code == VMS_OK)
        code = start_driver(s, err);
    if (code == VMS_OK)
        *out = s;
    else
        vms_vm_cards_free(s);
    return code;
}

static void free_card(struct card *c) {
    for (size_t i = 0; i < 2; i++) {
        if (c->events[i].kick >= 0)
            (void)close(c->events[i].kick);
        if (c->events[i].call >= 0)
            (void)close(c->events[i].call);
    }
    if (c->block != MAP_FAILED)
        (void)munmap(c->block, CARD_BLOCK);
    if (c->fd >= 0)
        (void)close(c->fd);
}

void vms_vm_cards_free(struct vms_vm_cards *s) {
    if (!s)
        return;
    (void)pthread_mutex_lock(&s->lock);
    s->quit = true;
    (void)pthread_cond_broadcast(&s->changed);
    (void)pthread_mutex_unlock(&s->lock);
    if (s->has_thread)
        (void)pthread_join(s->thread, NULL);
    for (size_t i = 0; i < s->count; i++)
        free_card(&s->card[i]);
    (void)pthread_cond_destroy(&s->changed);
    (void)pthread_mutex_destroy(&s->lock);
    free(s->blocks);
    free(s);
}

const struct vms_guest *vms_vm_cards_guest(struct vms_vm_cards *cards) {
    return &cards->guest;
}
