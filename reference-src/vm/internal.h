/* SPDX-License-Identifier: MIT */
#ifndef REFERENCE_VM_INTERNAL_H
#define REFERENCE_VM_INTERNAL_H

#include "reference-src/vm/vm.h"

#include <pthread.h>
#include <stdatomic.h>

/*
 *   config.c   the VM file                      json.c    values of it, with their lines
 *   memory.c   blocks, and their filling        page.c    pages that check themselves
 *   vcpu.c     virtual CPUs                     pace.c    rates and throttling
 *   state.c    what travels beside memory       locks.c   locks and the announcement
 *   check.c    the proof                        vm.c      the guest's operations
 */

/* ---- config.c ---- */

enum {
    VM_BLOCKS_MAX = 64,
    VM_VCPUS_MAX = 64, /* a cache line each in the board page */
    VM_PAGE = 4096,    /* what checks itself, whatever the host's pages are */
    VM_CHUNK = 512,    /* pages of one entry of the ledger */
};

enum vm_fill {
    VM_FILL_ZERO,
    VM_FILL_PATTERN,
    VM_FILL_RANDOM,
    VM_FILL_MIX,
    VM_FILL_IMAGE
};
enum vm_locality {
    VM_UNIFORM,
    VM_SEQUENTIAL,
    VM_HOT
};

struct vm_block_config {
    char *name;
    uint64_t size, page_size; /* bytes */
    bool shared, ahead;
    enum vm_fill fill;
};

struct vm_vcpu_config {
    uint64_t rate;   /* operations a second, 0: as fast as it can */
    double reads;    /* share */
    double zeroes;   /* share of the others */
    uint64_t change; /* payload bytes */
    enum vm_locality locality;
    uint64_t working_set; /* bytes, 0: all */
    double hot_fraction;
};

struct vm_config {
    struct vm_block_config blocks[VM_BLOCKS_MAX];
    size_t block_count;
    struct vm_vcpu_config vcpus[VM_VCPUS_MAX];
    size_t vcpu_count;
    uint64_t seed;
    char *lock, *running_lock, *announce; /* paths, NULL: none */
};

/* On error nothing is left to free. name: of the file, for messages and for paths. */
enum vms_code vm_config_parse(struct vm_config *config, const char *text, const char *name,
                              struct vms_error *err);
void vm_config_free(struct vm_config *config);
/* Of what both ends must have alike. */
uint64_t vm_config_fingerprint(const struct vm_config *config);

/* ---- page.c: pages that check themselves [VM-5] ---- */

enum {
    VM_PAGE_WORDS = VM_PAGE / 8 - 3
};

struct vm_page {
    uint64_t number;     /* of all pages of the guest, plus 1 */
    uint64_t generation; /* how often it was written */
    uint64_t checksum;   /* over the words, seeded by number and generation */
    uint64_t words[VM_PAGE_WORDS];
};

enum vm_verdict {
    VM_PAGE_GOOD,
    VM_PAGE_TORN,
    VM_PAGE_WRONG
};

/* What the words of a page are like: how well they compress. */
enum vm_style {
    VM_STYLE_ZERO,    /* only what was never written; a write makes it a pattern */
    VM_STYLE_PATTERN, /* one word again and again */
    VM_STYLE_TEXT,    /* words out of 64: to about a fifth */
    VM_STYLE_RANDOM,
};

/* The page as it was when nothing but zero was in it is good, and of generation 0. */
enum vm_verdict vm_page_check(const struct vm_page *page, uint64_t number);
/* The next generation: `change` bytes of the words are new. Returns the
 * first of the words that changed; *count of them. */
size_t vm_page_advance(struct vm_page *page, uint64_t number, uint64_t change, enum vm_style style,
                       size_t *count);
/* What a page of this number and generation adds to the ledger; 0 for generation 0. */
uint64_t vm_page_share(uint64_t number, uint64_t generation);
/* A well mixed 64-bit number of two. */
uint64_t vm_mix(uint64_t a, uint64_t b);

/* Guest memory is like a device's: others read it while it is written. These alone touch it. */
void vm_guest_read(uint64_t *to, const uint8_t *from, size_t words);
void vm_guest_write(uint8_t *to, const uint64_t *from, size_t words);

/* ---- memory.c ---- */

struct vm_memory {
    struct vms_guest_block blocks[VM_BLOCKS_MAX];
    uint64_t first[VM_BLOCKS_MAX]; /* page of each block, of all pages of the guest */
    size_t count;
    uint64_t pages; /* of VM_PAGE */
    uint64_t chunks;
};

enum vms_code vm_memory_map(struct vm_memory *memory, const struct vm_config *config,
                            struct vms_error *err);
void vm_memory_unmap(struct vm_memory *memory);
/* The block of a page, and where it lies. */
size_t vm_memory_block(const struct vm_memory *memory, uint64_t page);
uint8_t *vm_memory_page(const struct vm_memory *memory, uint64_t page);
/* What a page's content is like; page is counted in the block. */
enum vm_style vm_memory_style(const struct vm_config *config, size_t block, uint64_t page);
/* Fills all blocks as configured and adds to the ledger what is in them. */
void vm_memory_fill(const struct vm_memory *memory, const struct vm_config *config,
                    uint64_t *ledger);

/* ---- pace.c ---- */

struct vm_pace {
    uint64_t next;  /* when the next operation is due, ns */
    uint64_t slice; /* when this slice of throttled running began, ns */
};

uint64_t vm_now(void); /* ns of CLOCK_MONOTONIC */
void vm_pace_begin(struct vm_pace *pace, uint64_t now);
/* After an operation: until when to sleep, 0: go on at once. rate 0: without limit. */
uint64_t vm_pace_next(struct vm_pace *pace, uint64_t now, uint64_t rate, unsigned throttle);

/* ---- vcpu.c ---- */

struct vm_vcpu {
    struct vms_vm *vm;
    size_t index;
    pthread_t thread;
    /* its part of all pages: [first, first + count) */
    uint64_t first, count;
    /* what travels */
    uint64_t rng, cursor;
    _Atomic uint64_t heartbeat;
    /* what does not */
    _Atomic uint64_t writes, reads, met;
    bool arrived;     /* loaded; nothing was executed since */
    uint64_t *ledger; /* what it added, of each chunk */
    uint8_t *touched; /* destination: of each own page */
    pthread_mutex_t lock;
    struct vms_histogram small, huge; /* of first touches; under the lock */
    char bad[160];                    /* about the first bad page that it met; under the lock */
};

void *vm_vcpu_main(void *vcpu);
/* Where a virtual CPU's heartbeat is, in the board page. */
uint8_t *vm_board(const struct vms_vm *vm, size_t vcpu);
/* "block NAME page N: what", of at most 160 bytes. */
void vm_describe(const struct vms_vm *vm, uint64_t page, const char *what, char *out);

/* ---- the VM ---- */

struct vms_vm {
    enum vms_vm_role role;
    struct vm_config config;
    struct vm_memory memory;
    struct vms_guest guest;
    struct vm_vcpu vcpus[VM_VCPUS_MAX];
    size_t threads;            /* of them, running as threads */
    uint64_t *ledger;          /* as filled or loaded */
    _Atomic uint8_t *met_host; /* destination: of each page of the guest, its host page was met */
    uint8_t *state;            /* saved */
    size_t state_len;
    bool loaded;

    pthread_mutex_t lock;
    pthread_cond_t changed; /* of halt, quit, active */
    _Atomic bool halt;      /* virtual CPUs look at it after every operation */
    bool quit;
    size_t active; /* virtual CPUs that may touch memory */
    _Atomic bool running;
    _Atomic unsigned throttle;
    _Atomic uint64_t twice;

    int lock_fd;    /* the storage lock; -1: not held */
    int running_fd; /* -1: not held */
};

/* ---- state.c ---- */

size_t vm_state_size(const struct vms_vm *vm);
void vm_state_save(const struct vms_vm *vm, uint8_t *out);
/* [VM-4] nothing is changed on error. */
enum vms_code vm_state_load(struct vms_vm *vm, const uint8_t *bytes, size_t len,
                            struct vms_error *err);
/* The ledger's entry of a chunk as it stands. The guest is stopped. */
uint64_t vm_ledger_at(const struct vms_vm *vm, uint64_t chunk);

/* ---- locks.c ---- */

/* Takes a lock on the file, which it makes if need be. -1 and errno: EAGAIN when it is held. */
int vm_lock_take(const char *path);
void vm_lock_give(int *fd);
void vm_announce(const struct vms_vm *vm);

#endif
