/* SPDX-License-Identifier: MIT */
#include "reference-src/session.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <vmstream/pack.h>

/*
 * An example: a VMM with memory, virtual CPUs and a dirty bitmap of its own migrates its guest with
 * the session of reference-src. It uses nothing of reference-src/vm. What a VMM has to bring:
 *
 *   1. struct vms_guest: where memory lies, and seven operations    guest_make()
 *   2. struct vms_dirty: its log of written pages                   tracker_make()
 *   3. struct src_options: where to, and how                        main()
 *
 * The guest is a bank. Its memory is accounts of 64 bits, all with the same balance at first; each
 * step moves an amount from one account to another. However long it runs, the sum stays.
 */

enum {
    PAGE = 4096,
    LOG_PAGE = PAGE,
    ACCOUNTS_IN_PAGE = PAGE / 8,
    BALANCE = 1000
};

struct vmm {
    uint8_t *memory;
    uint64_t pages;
    struct vms_guest_block block;

    /* the virtual CPU */
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool run, quit, stopped;
    _Atomic bool interrupt; /* leave guest mode, as a VMM's vcpu kick */
    _Atomic unsigned throttle;
    uint64_t registers[2]; /* random number, steps */

    /* the dirty log: a bit a page, as KVM's */
    _Atomic bool logging;
    _Atomic uint64_t *log;
    uint8_t state[24]; /* as saved */
};

/* ---- the virtual CPU ---- */

/* The page is written first and logged afterwards: a collection in between finds the page old in
 * the log and new in memory, and the log's bit comes with the next. [HOST-13] */
static void add(struct vmm *vm, uint64_t account, uint64_t amount) {
    _Atomic uint64_t *accounts = (_Atomic uint64_t *)(void *)vm->memory;
    atomic_fetch_add(&accounts[account], amount);
    uint64_t page = account / ACCOUNTS_IN_PAGE;
    if (atomic_load(&vm->logging))
        atomic_fetch_or(&vm->log[page / 64], UINT64_C(1) << page % 64);
}

static uint64_t next_random(uint64_t *state) {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    return *state ^= *state << 17;
}

/* One transfer. State and memory are between two instructions whenever the CPU is stopped. */
static void step(struct vmm *vm) {
    uint64_t accounts = vm->pages * ACCOUNTS_IN_PAGE;
    uint64_t from = next_random(&vm->registers[0]) % accounts;
    uint64_t to = next_random(&vm->registers[0]) % accounts;
    add(vm, from, (uint64_t)-1);
    add(vm, to, 1);
    vm->registers[1]++;
}

/* Runs for a millisecond or less, then lets go, so that a throttle can make it pause. */
static void enter_guest(struct vmm *vm) {
    for (int i = 0; i < 5000 && !atomic_load_explicit(&vm->interrupt, memory_order_acquire); i++)
        step(vm);
    unsigned percent = atomic_load(&vm->throttle);
    struct timespec pause = {.tv_nsec = (long)percent * 10000 / (100 - (long)percent) * 10};
    if (percent && !atomic_load(&vm->interrupt))
        nanosleep(&pause, NULL);
}

static void *vcpu_main(void *ctx) {
    struct vmm *vm = ctx;
    pthread_mutex_lock(&vm->lock);
    while (!vm->quit) {
        vm->stopped = !vm->run;
        if (vm->stopped) {
            pthread_cond_broadcast(&vm->changed);
            pthread_cond_wait(&vm->changed, &vm->lock);
            continue;
        }
        pthread_mutex_unlock(&vm->lock);
        enter_guest(vm);
        pthread_mutex_lock(&vm->lock);
    }
    pthread_mutex_unlock(&vm->lock);
    return NULL;
}

static void vcpu_set(struct vmm *vm, bool run) {
    pthread_mutex_lock(&vm->lock);
    vm->run = run;
    atomic_store(&vm->interrupt, !run);
    pthread_cond_broadcast(&vm->changed);
    while (!run && !vm->stopped)
        pthread_cond_wait(&vm->changed, &vm->lock);
    if (run)
        vm->stopped = false;
    pthread_mutex_unlock(&vm->lock);
}

/* ---- 1. the guest ---- */

static enum vms_code guest_stop(void *ctx, struct vms_error *err) {
    (void)err;
    vcpu_set(ctx, false);
    return VMS_OK;
}

static enum vms_code guest_run(void *ctx, struct vms_error *err) {
    (void)err;
    vcpu_set(ctx, true);
    return VMS_OK;
}

static void guest_throttle(void *ctx, unsigned percent) {
    struct vmm *vm = ctx;
    atomic_store(&vm->throttle, percent > 99 ? 99 : percent);
}

/* A VMM with disks gives its image locks up here, and takes them back when it keeps the guest. */
static enum vms_code guest_locks(void *ctx, bool take, struct vms_error *err) {
    (void)ctx;
    (void)err;
    fprintf(stderr, "example-vmm: %s the disk's lock\n", take ? "takes" : "gives up");
    return VMS_OK;
}

/* And here a destination tells the network where its guest is now. */
static void guest_announce(void *ctx) {
    (void)ctx;
}

/* Little-endian whatever the host is: version 1, registers. */
static enum vms_code guest_save(void *ctx, const uint8_t **bytes, size_t *len,
                                struct vms_error *err) {
    struct vmm *vm = ctx;
    uint64_t words[3] = {1, vm->registers[0], vm->registers[1]};
    (void)err;
    for (size_t i = 0; i < sizeof vm->state; i++)
        vm->state[i] = (uint8_t)(words[i / 8] >> 8 * (i % 8));
    *bytes = vm->state;
    *len = sizeof vm->state;
    return VMS_OK;
}

static enum vms_code guest_load(void *ctx, const uint8_t *bytes, size_t len,
                                struct vms_error *err) {
    (void)ctx;
    (void)bytes;
    (void)len;
    return vms_error_set(err, VMS_E_MISUSE, "this example is a source");
}

static struct vms_guest guest_make(struct vmm *vm) {
    static const struct vms_guest_ops ops = {
        guest_stop, guest_run, guest_throttle, guest_locks, guest_announce, guest_save, guest_load};
    vm->block = (struct vms_guest_block){.name = "bank",
                                         .memory = vm->memory,
                                         .length = vm->pages * PAGE,
                                         .page_size = PAGE,
                                         .fd = -1};
    return (struct vms_guest){.ops = &ops, .ctx = vm, .blocks = &vm->block, .block_count = 1};
}

/* ---- 2. the dirty log ---- */

static enum vms_code log_enable(void *ctx, bool on, struct vms_error *err) {
    struct vmm *vm = ctx;
    (void)err;
    for (uint64_t word = 0; on && word <= vm->pages / 64; word++)
        atomic_store(&vm->log[word], 0);
    atomic_store(&vm->logging, on);
    return VMS_OK;
}

/* Fetch and clear in one step for each word: no bit is lost between the two. */
static enum vms_code log_fetch(void *ctx, size_t block, uint64_t first, uint64_t count,
                               uint64_t *bits, struct vms_error *err) {
    struct vmm *vm = ctx;
    (void)block;
    (void)err;
    for (uint64_t i = 0; i * 64 < count; i++)
        bits[i] = atomic_exchange(&vm->log[first / 64 + i], 0);
    return VMS_OK;
}

static enum vms_code tracker_make(struct vmm *vm, const struct vms_guest *guest,
                                  struct vms_dirty *out, struct vms_error *err) {
    struct vms_dirty_log log = {vm, LOG_PAGE, log_enable, log_fetch};
    return vms_dirty_from_bitmap(&log, guest, out, err);
}

/* ---- the machine ---- */

static bool power_on(struct vmm *vm, uint64_t mib) {
    vm->pages = mib * 256;
    vm->memory =
        mmap(NULL, vm->pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    vm->log = calloc(vm->pages / 64 + 1, sizeof *vm->log);
    if (vm->memory == MAP_FAILED || !vm->log)
        return false;
    for (uint64_t i = 0; i < vm->pages * ACCOUNTS_IN_PAGE; i++)
        ((uint64_t *)(void *)vm->memory)[i] = BALANCE;
    vm->registers[0] = 88172645463325252u;
    pthread_mutex_init(&vm->lock, NULL);
    pthread_cond_init(&vm->changed, NULL);
    vm->run = true;
    return pthread_create(&vm->thread, NULL, vcpu_main, vm) == 0;
}

static void power_off(struct vmm *vm) {
    pthread_mutex_lock(&vm->lock);
    vm->quit = true;
    atomic_store(&vm->interrupt, true);
    pthread_cond_broadcast(&vm->changed);
    pthread_mutex_unlock(&vm->lock);
    pthread_join(vm->thread, NULL);
    munmap(vm->memory, vm->pages * PAGE);
    free(vm->log);
}

/* ---- 3. the migration ---- */

static void say_what_moved(const struct vmm *vm) {
    uint64_t sum = 0, accounts = vm->pages * ACCOUNTS_IN_PAGE;
    for (uint64_t i = 0; i < accounts; i++)
        sum += ((const uint64_t *)(const void *)vm->memory)[i];
    printf("steps %llu sum %llu of %llu memory %016llx\n", (unsigned long long)vm->registers[1],
           (unsigned long long)sum, (unsigned long long)(accounts * BALANCE),
           (unsigned long long)vms_xxh64(vms_slice(vm->memory, vm->pages * PAGE), 0));
}

static int migrate(struct vmm *vm, const struct src_options *options) {
    struct vms_error err = {0};
    struct vms_dirty dirty;
    struct src_outcome outcome = {.state = SRC_FAILED};
    struct vms_guest guest = guest_make(vm);
    if (tracker_make(vm, &guest, &dirty, &err) == VMS_OK) {
        struct src_session_host host = {.guest = &guest, .dirty = &dirty};
        struct src_session *session = src_session_new(options, &host, &err);
        if (session)
            src_session_run(session, &outcome);
        else
            outcome.error = err;
        src_session_free(session);
        dirty.ops->free(dirty.ctx);
    }
    guest_stop(vm, &err);
    say_what_moved(vm);
    fprintf(stderr, "example-vmm: %s%s%s\n", src_state_name(outcome.state),
            outcome.error.code ? ": " : "", outcome.error.code ? outcome.error.message : "");
    return outcome.state == SRC_COMPLETED ? 0 : 1;
}

int main(int argc, char **argv) {
    bool qevm = argc == 4 && strcmp(argv[3], "qevm") == 0;
    long mib = argc > 2 ? strtol(argv[2], NULL, 10) : 64;
    if (argc < 2 || (argc > 3 && !qevm) || argc > 4 || mib < 1 || mib > 65536) {
        fprintf(stderr, "Usage: example-vmm URI [MIB [qevm]]\n"
                        "Runs a guest of MIB megabytes (64) and migrates it to URI.\n");
        return 2;
    }
    struct vmm *vm = calloc(1, sizeof *vm);
    if (!vm || !power_on(vm, (uint64_t)mib)) {
        fprintf(stderr, "example-vmm: %s\n", strerror(errno));
        return 3;
    }
    struct src_options options;
    src_options_default(&options);
    options.connect = argv[1];
    options.native = !qevm;
    options.machine = "example";
    (void)signal(SIGPIPE, SIG_IGN);
    int status = migrate(vm, &options);
    power_off(vm);
    free(vm);
    return status;
}
