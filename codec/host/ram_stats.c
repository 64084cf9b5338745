/* SPDX-License-Identifier: MIT */
#include "host/ram_internal.h"
#include <stdlib.h>

/* Room for count entries, the new ones zero. */
static bool grow_stats(struct vms_ram_stats **stats, size_t *have, size_t count) {
    if (count <= *have)
        return true;
    struct vms_ram_stats *grown = realloc(*stats, count * sizeof *grown);
    if (!grown)
        return false;
    memset(grown + *have, 0, (count - *have) * sizeof *grown);
    *stats = grown;
    *have = count;
    return true;
}

static void add(struct vms_ram_stats *sum, const struct vms_ram_stats *s) {
    sum->normal += s->normal;
    sum->zero += s->zero;
    sum->xbzrle += s->xbzrle;
    sum->compressed += s->compressed;
    sum->multifd_normal += s->multifd_normal;
    sum->multifd_zero += s->multifd_zero;
    sum->mapped += s->mapped;
    sum->duplicates += s->duplicates;
    sum->discarded_bytes += s->discarded_bytes;
}

/* Statistics are a courtesy: when there is no memory for them the image is loaded without. */
struct vms_ram_stats *ram_stats(struct vms_ram_channel *c) {
    static _Thread_local struct vms_ram_stats lost;
    if (!grow_stats(&c->stats, &c->stats_count, c->index + 1))
        return &lost;
    return &c->stats[c->index];
}

struct vms_ram_stats vms_ram_image_stats(const struct vms_ram_image *image, size_t index) {
    struct vms_ram_stats sum = {0};
    pthread_mutex_t *lock = (pthread_mutex_t *)(uintptr_t)&image->lock;
    (void)pthread_mutex_lock(lock);
    if (index < image->retired_count)
        add(&sum, &image->retired[index]);
    for (const struct vms_ram_channel *c = image->channels; c; c = c->next)
        if (index < c->stats_count)
            add(&sum, &c->stats[index]);
    (void)pthread_mutex_unlock(lock);
    return sum;
}

void ram_stats_join(struct vms_ram_channel *c) {
    struct vms_ram_image *image = c->image;
    (void)pthread_mutex_lock(&image->lock);
    c->next = image->channels;
    if (c->next)
        c->next->previous = c;
    image->channels = c;
    (void)pthread_mutex_unlock(&image->lock);
}

void ram_stats_retire(struct vms_ram_channel *c) {
    struct vms_ram_image *image = c->image;
    (void)pthread_mutex_lock(&image->lock);
    if (c->next)
        c->next->previous = c->previous;
    *(c->previous ? &c->previous->next : &image->channels) = c->next;
    if (grow_stats(&image->retired, &image->retired_count, c->stats_count))
        for (size_t i = 0; i < c->stats_count; i++)
            add(&image->retired[i], &c->stats[i]);
    (void)pthread_mutex_unlock(&image->lock);
}
