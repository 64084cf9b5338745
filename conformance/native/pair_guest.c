/* SPDX-License-Identifier: MIT */
#include "conformance/native/pair_internal.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* The guests at both ends, their memory, and who writes to it or reads it. */

static enum vms_code guest_stop(void *ctx, struct vms_error *err) {
    struct pair_guest *g = ctx;
    (void)err;
    atomic_store(&g->running, 0);
    return VMS_OK;
}

struct toucher {
    struct pair *p;
    unsigned seed;
};

/* A virtual CPU at the destination, in postcopy: reads everything in random order and checks. */
static void *touch(void *arg) {
    struct toucher *t = arg;
    struct pair *p = t->p;
    for (size_t b = 0; b < PAIR_BLOCKS; b++) {
        uint64_t pages = p->dest.blocks[b].length / PAIR_PAGE;
        for (uint64_t i = 0; i < pages / 2; i++) {
            uint64_t page =
                ((uint64_t)rand_r(&t->seed) * 32768u + (uint64_t)rand_r(&t->seed)) % pages;
            const uint8_t *at = p->dest.blocks[b].memory + page * PAIR_PAGE;
            if (memcmp(at, p->expected[b] + page * PAIR_PAGE, PAIR_PAGE) != 0)
                atomic_fetch_add(&p->wrong, 1);
        }
    }
    free(t);
    return NULL;
}

static enum vms_code guest_run(void *ctx, struct vms_error *err) {
    struct pair_guest *g = ctx;
    if (g->fail_run)
        return vms_error_set(err, VMS_E_VFIO_DEVICE, "a virtual CPU does not start");
    atomic_store(&g->running, 1);
    if (atomic_load(&g->pair->source.running))
        atomic_fetch_add(&g->pair->wrong, 1); /* [HND-2] */
    if (g == &g->pair->dest && g->pair->postcopy)
        for (unsigned i = 0; i < 2; i++) {
            struct toucher *t = malloc(sizeof *t);
            *t = (struct toucher){g->pair, 77 + i};
            (void)pthread_create(&g->pair->touchers[g->pair->toucher_count++], NULL, touch, t);
        }
    return VMS_OK;
}

static void guest_throttle(void *ctx, unsigned percent) {
    (void)ctx;
    (void)percent;
}

static enum vms_code guest_locks(void *ctx, bool take, struct vms_error *err) {
    struct pair_guest *g = ctx;
    if (take && g->fail_locks)
        return vms_error_set(err, VMS_E_IO, "somebody has the lock");
    atomic_store(&g->locked, take);
    return VMS_OK;
}

static void guest_announce(void *ctx) {
    struct pair_guest *g = ctx;
    atomic_fetch_add(&g->announced, 1);
}

static enum vms_code guest_save(void *ctx, const uint8_t **bytes, size_t *len,
                                struct vms_error *err) {
    struct pair_guest *g = ctx;
    (void)err;
    *bytes = g->state;
    *len = g->state_len;
    return VMS_OK;
}

static enum vms_code guest_load(void *ctx, const uint8_t *bytes, size_t len,
                                struct vms_error *err) {
    struct pair_guest *g = ctx;
    if (len > sizeof g->state)
        return vms_error_set(err, VMS_E_DST_INCOMPLETE, "state");
    memcpy(g->state, bytes, len);
    g->state_len = len;
    atomic_store(&g->loaded, 1);
    return VMS_OK;
}

static const struct vms_guest_ops OPS = {guest_stop,     guest_run,  guest_throttle, guest_locks,
                                         guest_announce, guest_save, guest_load};

void pair_guest_make(struct pair *p, struct pair_guest *g, uint64_t size) {
    uint64_t small = 4 << 20;
    int fd = memfd_create("ram1", MFD_CLOEXEC);
    cr_assert(fd >= 0 && ftruncate(fd, (off_t)small) == 0);
    uint8_t *private = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    uint8_t *shared = mmap(NULL, small, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    cr_assert(private != MAP_FAILED && shared != MAP_FAILED);
    g->pair = p;
    g->blocks[0] = (struct vms_guest_block){"ram0", private, size, PAIR_PAGE, false, -1};
    g->blocks[1] = (struct vms_guest_block){"ram1", shared, small, PAIR_PAGE, true, fd};
    g->guest = (struct vms_guest){&OPS, g, g->blocks, PAIR_BLOCKS};
}

void pair_guest_fill(struct pair_guest *g, bool at_random) {
    uint64_t x = 88172645463325252u;
    for (size_t b = 0; b < PAIR_BLOCKS; b++)
        for (uint64_t page = 0; page < g->blocks[b].length / PAIR_PAGE; page++) {
            uint64_t *at = (uint64_t *)(void *)(g->blocks[b].memory + page * PAIR_PAGE);
            unsigned kind = at_random ? 2 : page / 64 % 4;
            for (size_t i = 0; kind && i < PAIR_PAGE / 8; i++) {
                x ^= x << 13, x ^= x >> 7, x ^= x << 17;
                at[i] = kind == 1 ? (x & 63) * 0x0101010101u : x;
            }
        }
}

void pair_guest_free(struct pair_guest *g) {
    for (size_t b = 0; b < PAIR_BLOCKS; b++) {
        (void)munmap(g->blocks[b].memory, g->blocks[b].length);
        if (g->blocks[b].fd >= 0)
            (void)close(g->blocks[b].fd);
    }
}

/* ---- memory that is written to ---- */

static void write_page(struct pair *p, size_t b, uint64_t page, unsigned seed) {
    uint8_t *at = p->source.blocks[b].memory + page * PAIR_PAGE;
    for (unsigned i = 0; i < p->change; i++)
        at[(seed + i) % PAIR_PAGE] = (uint8_t)(seed >> 3 ^ i * 7);
    atomic_store(&p->dirty[b][page], 1);
}

void *pair_guest_write(void *arg) {
    struct pair *p = arg;
    unsigned seed = 4711;
    while (atomic_load(&p->writing)) {
        size_t b = (unsigned)rand_r(&seed) % 8 == 0 && !p->small_ram1;
        uint64_t pages = p->source.blocks[b].length / PAIR_PAGE;
        for (int i = 0; i < 8; i++)
            write_page(p, b, (uint64_t)rand_r(&seed) % pages, (unsigned)rand_r(&seed));
        (void)usleep(100);
    }
    return NULL;
}
