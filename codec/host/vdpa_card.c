/* SPDX-License-Identifier: MIT */
#include "host/vdpa_card_internal.h"

#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

/** Queues that carry data: all but a control queue. */
uint32_t vms_vdpa_card_data_queues(const struct vms_vdpa_card *card) {
    return card->state.profile.queues - vms_vdpa_has_control(&card->state.profile);
}

/* ---- start ---- */

/** Enabled data queues; count of them. */
static size_t list_rings(const struct vms_vdpa_card *card, struct vms_vdpa_watch_queue *out) {
    size_t n = 0;
    for (uint32_t i = 0; i < vms_vdpa_card_data_queues(card); i++)
        if (card->state.queue[i].enabled)
            out[n++] = (struct vms_vdpa_watch_queue){card->state.queue[i].ring, card->events[i], i};
    return n;
}

enum vms_code vms_vdpa_card_set_rings(struct vms_vdpa_card *card, struct vms_error *err) {
    struct vms_vdpa_watch_queue list[VMS_VDPA_QUEUES_MAX];
    size_t count = list_rings(card, list);
    enum vms_code code = VMS_OK;
    for (size_t i = 0; i < count && code == VMS_OK; i++) {
        struct vms_vdpa_watch_queue q = card->watch ? vms_vdpa_watch_ring(card->watch, i) : list[i];
        code =
            vms_vdpa_set_ring(card->device, q.number, &q.ring, q.events.kick, q.events.call, err);
    }
    return code;
}

static enum vms_code enable_rings(struct vms_vdpa_card *card, struct vms_error *err) {
    enum vms_code code = VMS_OK;
    for (uint32_t i = 0; i < vms_vdpa_card_data_queues(card) && code == VMS_OK; i++)
        if (card->state.queue[i].enabled)
            code = vms_vdpa_enable(card->device, i, true, err);
    return code;
}

/* [VDPA-15] Nothing is received before the filters are in. */
enum vms_code vms_vdpa_card_control_on(struct vms_vdpa_card *card, struct vms_error *err) {
    enum vms_code code = vms_vdpa_shadow_set(card, err);
    if (code == VMS_OK)
        code = vms_vdpa_enable(card->device, card->state.profile.queues - 1, true, err);
    if (code == VMS_OK)
        code = vms_vdpa_driver_ok(card->device, err);
    return code == VMS_OK ? vms_vdpa_shadow_restore(card, NULL, err) : code;
}

static enum vms_code run_with_control(struct vms_vdpa_card *card, struct vms_error *err) {
    enum vms_code code = vms_vdpa_card_control_on(card, err);
    return code == VMS_OK ? enable_rings(card, err) : code;
}

static enum vms_code run_without(struct vms_vdpa_card *card, struct vms_error *err) {
    enum vms_code code = enable_rings(card, err);
    return code == VMS_OK ? vms_vdpa_driver_ok(card->device, err) : code;
}

/** Buffers may wait of which whoever had the kick before has heard. */
static void kick_all(const struct vms_vdpa_card *card) {
    const uint64_t one = 1;
    for (uint32_t i = 0; i < vms_vdpa_card_data_queues(card); i++)
        if (card->events[i].kick >= 0 && write(card->events[i].kick, &one, sizeof one) < 0)
            continue; /* it is full: that is a kick */
}

enum vms_code vms_vdpa_card_go(struct vms_vdpa_card *card, struct vms_error *err) {
    enum vms_code code = enable_rings(card, err);
    if (code != VMS_OK)
        return code;
    kick_all(card);
    card->running = true;
    card->prepared = card->stopped = card->suspended = false;
    return VMS_OK;
}

static enum vms_code begin(struct vms_vdpa_card *card, struct vms_error *err) {
    struct vms_error ignored;
    enum vms_code code = vms_vdpa_accept(card->device, card->state.profile.features, err);
    if (code == VMS_OK)
        code = vms_vdpa_card_set_rings(card, err);
    if (code == VMS_OK)
        code = vms_vdpa_has_control(&card->state.profile) ? run_with_control(card, err)
                                                          : run_without(card, err);
    if (code == VMS_OK && card->watch)
        code = vms_vdpa_watch_run(card->watch, err);
    else if (code == VMS_OK)
        kick_all(card);
    card->running = code == VMS_OK;
    card->stopped = card->suspended = false;
    if (code != VMS_OK)
        (void)vms_vdpa_reset(card->device, &ignored);
    return code;
}

void vms_vdpa_card_events(struct vms_vdpa_card *card, const struct vms_vdpa_events *events) {
    for (size_t i = 0; i < VMS_VDPA_QUEUES_MAX; i++)
        card->events[i] = events && i < vms_vdpa_card_data_queues(card)
                              ? events[i]
                              : (struct vms_vdpa_events){-1, -1};
}

enum vms_code vms_vdpa_card_start(struct vms_vdpa_card *card, const struct vms_vdpa_state *state,
                                  const struct vms_vdpa_events *events, struct vms_error *err) {
    enum vms_code code = vms_vdpa_fits(card->device, &state->profile, err);
    if (code != VMS_OK)
        return code;
    if (card->running)
        return vms_error_set(err, VMS_E_MISUSE, "%.60s runs", vms_vdpa_name(card->device));
    if (card->prepared && (code = vms_vdpa_card_prepare(card, state, events, err)) != VMS_OK)
        return code;
    if (card->prepared)
        return vms_vdpa_card_go(card, err);
    card->state = *state;
    vms_vdpa_card_events(card, events);
    return begin(card, err);
}

/* ---- stop ---- */

static enum vms_code ask_bases(struct vms_vdpa_card *card, struct vms_error *err) {
    enum vms_code code = VMS_OK;
    for (uint32_t i = 0; i < vms_vdpa_card_data_queues(card) && code == VMS_OK; i++)
        if (card->state.queue[i].enabled)
            code = vms_vdpa_ring_base(card->device, i, &card->state.queue[i].ring.base, err);
    return code;
}

/* [VDPA-3] What the device took and did not use is offered to it again. */
static enum vms_code find_bases(struct vms_vdpa_card *card, vms_vdpa_memory *memory, void *ctx,
                                struct vms_error *err) {
    enum vms_code code = VMS_OK;
    for (uint32_t i = 0; i < vms_vdpa_card_data_queues(card) && code == VMS_OK; i++) {
        struct vms_vdpa_ring *ring = &card->state.queue[i].ring;
        const uint16_t *used =
            card->state.queue[i].enabled && memory ? memory(ctx, ring->used + 2, 2) : NULL;
        if (used)
            ring->base = __atomic_load_n(used, __ATOMIC_ACQUIRE);
        else if (card->state.queue[i].enabled)
            code = vms_error_set(err, VMS_E_VDPA_DEVICE, "%.60s: ring %u is not in memory",
                                 vms_vdpa_name(card->device), i);
    }
    return code;
}

/* [VDPA-18] The shadow rings' last buffers come back, and they are given up. */
static void end_watch(struct vms_vdpa_card *card) {
    uint32_t bases[VMS_VDPA_QUEUES_MAX];
    size_t n = 0;
    vms_vdpa_watch_end(card->watch, bases);
    for (uint32_t i = 0; i < vms_vdpa_card_data_queues(card); i++)
        if (card->state.queue[i].enabled)
            card->state.queue[i].ring.base = bases[n++];
    vms_vdpa_watch_free(card->watch);
    card->watch = NULL;
    card->suspended = false; /* it must not go on with those */
}

static enum vms_code silence(struct vms_vdpa_card *card, struct vms_error *err) {
    bool suspend = vms_vdpa_has(card->device, VMS_VDPA_SUSPEND);
    if (!suspend && vms_vdpa_feature(&card->state.profile, VMS_VIRTIO_PACKED))
        return vms_error_set(err, VMS_E_VDPA_DEVICE, "%.60s: no SUSPEND, and packed rings",
                             vms_vdpa_name(card->device));
    enum vms_code code =
        suspend ? vms_vdpa_suspend(card->device, err) : vms_vdpa_reset(card->device, err);
    card->suspended = suspend && code == VMS_OK;
    return code;
}

enum vms_code vms_vdpa_card_stop(struct vms_vdpa_card *card, vms_vdpa_memory *memory, void *ctx,
                                 struct vms_error *err) {
    if (!card->running)
        return VMS_OK;
    enum vms_code code = silence(card, err);
    if (code == VMS_OK && card->watch)
        end_watch(card);
    else if (code == VMS_OK)
        code = card->suspended ? ask_bases(card, err) : find_bases(card, memory, ctx, err);
    if (code == VMS_OK)
        code = vms_vdpa_config_read(card->device, 0, card->state.config,
                                    card->state.profile.config_size, err);
    if (code != VMS_OK)
        return code;
    card->running = false;
    card->stopped = true;
    card->state.status =
        VMS_VDPA_ACKNOWLEDGE | VMS_VDPA_DRIVER | VMS_VDPA_FEATURES_OK | VMS_VDPA_DRIVER_OK;
    return VMS_OK;
}

bool vms_vdpa_card_can_resume(const struct vms_vdpa_card *card) {
    return card->suspended && vms_vdpa_has(card->device, VMS_VDPA_RESUME);
}

/* [VDPA-10] A second reset could lose the maps that were made after the first. */
static enum vms_code begin_again(struct vms_vdpa_card *card, struct vms_error *err) {
    uint8_t status = 0;
    enum vms_code code = vms_vdpa_status(card->device, &status, err);
    if (code == VMS_OK && status != 0)
        code = vms_vdpa_reset(card->device, err);
    return code == VMS_OK ? begin(card, err) : code;
}

enum vms_code vms_vdpa_card_resume(struct vms_vdpa_card *card, struct vms_error *err) {
    struct vms_error ignored;
    if (!card->stopped)
        return VMS_OK;
    if (!vms_vdpa_card_can_resume(card) || vms_vdpa_resume(card->device, &ignored) != VMS_OK)
        return begin_again(card, err);
    card->stopped = card->suspended = false;
    card->running = true;
    return VMS_OK;
}

/* ---- watched ---- */

bool vms_vdpa_card_is_watched(const struct vms_vdpa_card *card) {
    return card->watch != NULL;
}

enum vms_code vms_vdpa_card_watch(struct vms_vdpa_card *card, vms_vdpa_memory *memory,
                                  void (*wrote)(void *ctx, uint64_t iova, uint64_t length),
                                  void *ctx, bool *watched, struct vms_error *err) {
    struct vms_vdpa_watch_queue list[VMS_VDPA_QUEUES_MAX];
    size_t count = list_rings(card, list);
    enum vms_code code = VMS_OK;
    if (!card->stopped)
        return vms_error_set(err, VMS_E_MISUSE, "%.60s is not stopped",
                             vms_vdpa_name(card->device));
    if (!vms_vdpa_feature(&card->state.profile, VMS_VIRTIO_PACKED))
        code = vms_vdpa_watch_new(
            list, count, vms_vdpa_feature(&card->state.profile, VMS_VIRTIO_EVENT_INDEX),
            card->rings, card->rings_iova, memory, wrote, ctx, &card->watch, err);
    *watched = card->watch != NULL;
    return code == VMS_OK || code == VMS_E_VDPA_DEVICE ? begin_again(card, err) : code;
}

/* ---- life ---- */

/* [VDPA-16] */
static enum vms_code place_shadow(struct vms_vdpa_card *card, struct vms_error *err) {
    const struct vms_vdpa_about *a = vms_vdpa_about(card->device);
    uint64_t last = a->iova_last < UINT64_C(1) << 47 ? a->iova_last : (UINT64_C(1) << 47) - 1;
    uint32_t data = 0;
    card->shadow_iova = (last + 1 - VMS_VDPA_SHADOW_BYTES) & ~UINT64_C(4095);
    enum vms_code code = vms_vdpa_group(card->device, a->queues - 1, &card->control_group, err);
    if (code == VMS_OK)
        code = vms_vdpa_group(card->device, 0, &data, err);
    card->rings_iova = card->shadow_iova - card->rings_bytes;
    card->control_space = data != card->control_group && a->spaces > 1;
    return code;
}

enum vms_code vms_vdpa_card_new(struct vms_vdpa *device, struct vms_vdpa_card **out,
                                struct vms_error *err) {
    struct vms_vdpa_card *card = calloc(1, sizeof *card);
    *out = NULL;
    if (!card)
        return vms_error_set(err, VMS_E_NO_MEMORY, NULL);
    card->device = device;
    card->kick = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    card->call = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    card->shadow = mmap(NULL, VMS_VDPA_SHADOW_BYTES, PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    card->rings_bytes =
        vms_vdpa_about(device)->queues * vms_vdpa_watch_bytes(vms_vdpa_about(device)->ring_size);
    card->rings = mmap(NULL, card->rings_bytes, PROT_READ | PROT_WRITE,
                       MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    enum vms_code code =
        card->kick < 0 || card->call < 0 || card->shadow == MAP_FAILED || card->rings == MAP_FAILED
            ? vms_error_set(err, VMS_E_NO_MEMORY, "for a shadow queue")
            : place_shadow(card, err);
    if (code == VMS_OK)
        *out = card;
    else
        vms_vdpa_card_free(card);
    return code;
}

void vms_vdpa_card_free(struct vms_vdpa_card *card) {
    if (!card)
        return;
    vms_vdpa_watch_free(card->watch);
    if (card->rings && card->rings != MAP_FAILED)
        (void)munmap(card->rings, card->rings_bytes);
    if (card->shadow && card->shadow != MAP_FAILED)
        (void)munmap(card->shadow, VMS_VDPA_SHADOW_BYTES);
    if (card->kick >= 0)
        (void)close(card->kick);
    if (card->call >= 0)
        (void)close(card->call);
    free(card);
}

struct vms_vdpa_region vms_vdpa_card_region(const struct vms_vdpa_card *card) {
    return (struct vms_vdpa_region){.space = card->control_space,
                                    .iova = card->shadow_iova,
                                    .memory = card->shadow,
                                    .length = VMS_VDPA_SHADOW_BYTES};
}

struct vms_vdpa_region vms_vdpa_card_rings(const struct vms_vdpa_card *card) {
    return (struct vms_vdpa_region){
        .iova = card->rings_iova, .memory = card->rings, .length = card->rings_bytes};
}

const struct vms_vdpa_state *vms_vdpa_card_state(const struct vms_vdpa_card *card) {
    return &card->state;
}
