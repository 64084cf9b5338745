/* SPDX-License-Identifier: MIT */
#include "vduse.h"
#include "vduse_abi.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

struct vduse {
    char name[32], path[64];
    int control, fd, stop; /* stop: an eventfd */
    pthread_t thread;
    bool running;
    atomic_bool refuse;
    atomic_uint updates;
    bool runs; /* the thread's */
    struct vduse_sight start, stopped;
};

/* ---- what answers the kernel ---- */

static uint64_t hash(const uint8_t *memory, uint64_t length, uint64_t h) {
    for (uint64_t i = 0; i < length; i += 8) {
        uint64_t word;
        memcpy(&word, memory + i, sizeof word);
        h = (h ^ word) * UINT64_C(0x9e3779b97f4a7c15);
        h ^= h >> 29;
    }
    return h;
}

static struct vduse_sight look(const struct vduse *card) {
    struct vduse_sight sight = {.hash = {0}};
    struct vduse_map maps[256];
    size_t n = vduse_maps(card, 0, maps, 256);
    for (size_t i = 0; i < n; i++) {
        uint64_t window = maps[i].iova >> 30;
        if (window < VDUSE_WINDOWS && maps[i].memory) {
            sight.hash[window] = hash(maps[i].memory, maps[i].length, sight.hash[window]);
            sight.length[window] += maps[i].length;
        }
    }
    vduse_unmap(maps, n);
    return sight;
}

static void status_is(struct vduse *card, uint8_t status) {
    bool runs = status & 4; /* DRIVER_OK */
    if (runs && !card->runs)
        card->start = look(card);
    if (!runs && card->runs)
        card->stopped = look(card);
    card->runs = runs;
}

static void answer(struct vduse *card) {
    struct vduse_dev_request request;
    struct vduse_dev_response response = {.result = VDUSE_REQ_RESULT_OK};
    if (read(card->fd, &request, sizeof request) != (ssize_t)sizeof request)
        return;
    response.request_id = request.request_id;
    if (request.type == VDUSE_UPDATE_IOTLB) {
        card->updates++;
        response.result = card->refuse ? VDUSE_REQ_RESULT_FAILED : VDUSE_REQ_RESULT_OK;
    }
    if (request.type == VDUSE_GET_VQ_STATE) { /* it has moved nothing: where it was set to */
        struct vduse_vq_info info = {.index = request.vq_state.index};
        (void)ioctl(card->fd, VDUSE_VQ_GET_INFO, &info);
        response.vq_state.index = info.index;
        response.vq_state.split = info.split;
    }
    if (request.type == VDUSE_SET_STATUS)
        status_is(card, request.s.status);
    (void)!write(card->fd, &response, sizeof response);
}

static void *serve(void *ctx) {
    struct vduse *card = ctx;
    struct pollfd p[] = {{card->fd, POLLIN, 0}, {card->stop, POLLIN, 0}};
    while (poll(p, 2, -1) > 0 && !p[1].revents)
        if (p[0].revents & POLLIN)
            answer(card);
    return NULL;
}

static void end_thread(struct vduse *card) {
    const uint64_t one = 1;
    if (!card->running)
        return;
    cr_assert_eq(write(card->stop, &one, sizeof one), (ssize_t)sizeof one);
    (void)pthread_join(card->thread, NULL);
    card->running = false;
}

/* ---- the device ---- */

static void create(struct vduse *card) {
    struct vms_vduse_config *c = calloc(1, sizeof *c + VDUSE_CONFIG);
    uint64_t version = VMS_VDUSE_API;
    cr_assert_not_null(c);
    (void)snprintf(c->name, sizeof c->name, "%s", card->name);
    c->device_id = 1;                                    /* a network card */
    c->features = UINT64_C(1) << 32 | UINT64_C(1) << 33; /* VERSION_1, ACCESS_PLATFORM */
    c->vq_num = VDUSE_QUEUES;
    c->vq_align = 4096;
    c->ngroups = VDUSE_GROUPS;
    c->nas = VDUSE_SPACES;
    c->config_size = VDUSE_CONFIG;
    cr_assert_eq(ioctl(card->control, VDUSE_SET_API_VERSION, &version), 0);
    cr_assert_eq(ioctl(card->control, VDUSE_CREATE_DEV, c), 0, "VDUSE_CREATE_DEV");
    free(c);
}

static void set_up_queues(struct vduse *card) {
    for (uint32_t i = 0; i < VDUSE_QUEUES; i++) {
        struct vms_vduse_queue queue = {.index = i, .max_size = 256, .group = i % VDUSE_GROUPS};
        cr_assert_eq(ioctl(card->fd, VDUSE_VQ_SETUP, &queue), 0);
    }
}

struct vduse *vduse_new(void) {
    static unsigned count;
    struct vduse *card = calloc(1, sizeof *card);
    char file[64];
    cr_assert_not_null(card);
    (void)snprintf(card->name, sizeof card->name, "card%d-%u", (int)getpid(), count++);
    card->control = open("/dev/vduse/control", O_RDWR | O_CLOEXEC);
    cr_assert_geq(card->control, 0, "/dev/vduse/control");
    create(card);
    (void)snprintf(file, sizeof file, "/dev/vduse/%s", card->name);
    card->fd = open(file, O_RDWR | O_CLOEXEC | O_NONBLOCK);
    cr_assert_geq(card->fd, 0, "%s", file);
    set_up_queues(card);
    card->stop = eventfd(0, EFD_CLOEXEC);
    card->running = pthread_create(&card->thread, NULL, serve, card) == 0;
    cr_assert(card->running);
    vdpa_bus_add("vduse", card->name);
    vdpa_bus_path(card->name, card->path);
    return card;
}

const char *vduse_path(const struct vduse *card) {
    return card->path;
}

void vduse_refuse(struct vduse *card, bool on) {
    card->refuse = on;
}

/** How long the kernel waits for an answer; 30 s is what a card that lives on a busy machine needs.
 */
static void limit_patience(const struct vduse *card) {
    char path[128];
    (void)snprintf(path, sizeof path, "/sys/class/vduse/%s/msg_timeout", card->name);
    FILE *file = fopen(path, "we");
    cr_assert(file && fputs("1", file) >= 0 && fclose(file) == 0, "%s", path);
}

void vduse_die(struct vduse *card) {
    limit_patience(card);
    end_thread(card);
    (void)close(card->fd);
    card->fd = -1;
}

struct vduse_sight vduse_at_start(const struct vduse *card) {
    return card->start;
}

struct vduse_sight vduse_at_stop(const struct vduse *card) {
    return card->stopped;
}

unsigned vduse_updates(const struct vduse *card) {
    return card->updates;
}

void vduse_free(struct vduse *card) {
    char name[VDUSE_NAME_MAX] = "";
    vdpa_bus_remove(card->name);
    end_thread(card);
    if (card->fd >= 0)
        (void)close(card->fd);
    (void)snprintf(name, sizeof name, "%s", card->name);
    cr_expect_eq(ioctl(card->control, VDUSE_DESTROY_DEV, name), 0, "VDUSE_DESTROY_DEV");
    (void)close(card->control);
    (void)close(card->stop);
    free(card);
}

/* ---- what it sees of the guest's memory ---- */

size_t vduse_maps(const struct vduse *card, uint32_t space, struct vduse_map *out, size_t room) {
    struct vms_vduse_map map = {.start = 0, .last = UINT64_MAX, .asid = space};
    size_t n = 0;
    int fd;
    while ((fd = ioctl(card->fd, VMS_VDUSE_GET_FD2, &map)) >= 0) {
        bool writable = map.perm & VDUSE_ACCESS_WO;
        cr_assert_lt(n, room);
        out[n] = (struct vduse_map){map.start, map.last - map.start + 1, writable, NULL};
        void *memory = mmap(NULL, out[n].length, PROT_READ | (writable ? PROT_WRITE : 0),
                            MAP_SHARED, fd, (off_t)map.offset);
        out[n++].memory = memory == MAP_FAILED ? NULL : memory;
        (void)close(fd);
        if (map.last == UINT64_MAX)
            break;
        map = (struct vms_vduse_map){.start = map.last + 1, .last = UINT64_MAX, .asid = space};
    }
    return n;
}

void vduse_unmap(struct vduse_map *maps, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (maps[i].memory)
            (void)munmap((void *)(uintptr_t)maps[i].memory, maps[i].length);
}
