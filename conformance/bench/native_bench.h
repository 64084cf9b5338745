/* SPDX-License-Identifier: MIT */
#ifndef VMSTREAM_CONFORMANCE_NATIVE_BENCH_H
#define VMSTREAM_CONFORMANCE_NATIVE_BENCH_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <vmstream/seal.h>

/*
 * Guest memory from one process to another over a socket: one connection, one thread each side.
 * The sender looks for zero pages; the receiver has fresh memory, and reads pages right into it.
 */

enum {
    IMAGE_PAGE = 4096,
    IMAGE_STRIPE = 1 << 20, /* zero, compressible, random, random: a quarter each */
    LEVEL_ADAPTIVE = 1000,
};

/* ---- the image: the VM file's fill "image" is like it ---- */

void image_fill(uint8_t *image, uint64_t bytes);
/* The environment's BENCH_MIB, else 2 GiB. */
uint64_t image_bytes(void);
/* Whether BENCH_SECONDS of the environment have passed since the first call: no more rounds. */
bool bench_time_is_up(void);

/* ---- one transfer ---- */

struct way {
    const char *name;
    bool bare; /* floor: the pages that are not zero, which need not be looked for */
    enum vms_suite suite;
    int level;          /* zstd; 0: none; LEVEL_ADAPTIVE */
    const char *crypto; /* back end (host/backend.h); NULL: the faster one */
};

/* What the two processes tell, in memory that they share. */
struct transfer {
    atomic_int ready; /* sides */
    double start, end;
    double cpu[2]; /* seconds: source, destination */
    uint64_t wire; /* bytes */
    bool failed;
    bool check; /* in: compare memory afterwards */
};

double bench_now(void);
double bench_cpu(void); /* of this process, in kernel and user space */
/* Waits until both sides are here. */
void bench_meet(struct transfer *t);

void send_bare(struct transfer *t, int fd, const uint8_t *image, uint64_t bytes);
void receive_bare(struct transfer *t, int fd, uint8_t *memory, uint64_t bytes);
void send_native(struct transfer *t, const struct way *way, int fd, const uint8_t *image,
                 uint64_t bytes);
void receive_native(struct transfer *t, const struct way *way, int fd, uint8_t *memory,
                    uint64_t bytes);

/* A process for each side, and what they have told. check: memory is compared afterwards. A failure
 * ends the program. */
struct transfer bench_transfer(const struct way *way, bool tcp, const uint8_t *image,
                               uint64_t bytes, bool check);
/* In huge pages where the kernel has them, as QEMU asks for guest memory. */
uint8_t *bench_fresh_memory(uint64_t bytes);
/* It is out of those that the kernel keeps. */
extern bool bench_in_pool;

extern const char BENCH_KEYS[];

/* Times of such a build mean nothing. */
#if defined(__SANITIZE_ADDRESS__)
#define BENCH_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define BENCH_SANITIZED 1
#endif
#endif

#endif
