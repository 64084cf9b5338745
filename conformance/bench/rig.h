/* SPDX-License-Identifier: MIT */
#ifndef VMSTREAM_CONFORMANCE_BENCH_RIG_H
#define VMSTREAM_CONFORMANCE_BENCH_RIG_H

#include "conformance/adapters/net.h"
#include "conformance/adapters/qemu.h"
#include "conformance/bench/measure.h"

/*
 * Whole migrations between real processes, measured. What both kinds of endpoints move is the same:
 * the memory of a reference-src/vm guest, which QEMU gets as a file.
 *
 * Functions return 0, or -1 with the reason in rig->error.
 */

#define RIG_FILL "image" /* of the guest's memory */

enum place {
    PLACE_UNIX,
    PLACE_TCP,  /* loopback */
    PLACE_LINK, /* two network namespaces, 10 Gbit/s between them */
    PLACE_COUNT,
};

struct rig {
    const char *build; /* folder of reference-src, reference-dst */
    char dir[64];      /* on /dev/shm */
    char image[128];   /* QEMU's memory; in the pool, where there is one */
    bool has_image;
    uint64_t bytes; /* of guest memory */
    int copies;     /* of it that the machine has room for: both ends' alone, or the image beside */
    int fresh;      /* of them, those that the next run takes */
    unsigned turn;  /* so that no name or port is taken twice */
    struct vms_net net;
    bool has_net;
    bool pool, wants_pool; /* guest memory is in huge pages that the kernel keeps for us */
    char mount[80];        /* of hugetlbfs; empty: none */
    long huge;             /* pages that the kernel keeps since we asked for more */
    bool lacks;            /* the error is that the machine has not what it takes */
    char error[VMS_QEMU_ERROR_SIZE];
};

/* Processes of ours: NULL or 0 is what the programs do by themselves. */
struct ours {
    const char *wire; /* "native", "qevm" */
    unsigned channels;
    const char *seal;      /* "none", "gmac", "gcm", "chacha20" */
    const char *pack;      /* "zstd:1", "zstd:adaptive" */
    const char *page_size; /* of the guest; NULL: "4K" */
    bool resent;           /* METRIC_RESENT; fill does not compress, all of it is sent */
    const char *fill;      /* of memory; NULL: RIG_FILL */
    const char *vcpus;     /* JSON array; NULL: none, so that nothing is written */
    const char *backing;   /* "private" (NULL), "shared" */
    bool ahead;            /* the destination's memory is allocated before it listens */
    const char *args[8];   /* more for reference-src, NULL-terminated */
    bool postcopy;         /* at once; faults are measured */
    bool peer_libraries;   /* of the newest QEMU's own system: its OpenSSL, too */
    const char *crypto;    /* back end (host/backend.h); NULL: the faster one */
};

struct qemu {
    const char *version;
    unsigned multifd; /* channels; 0: none but the main one */
    const char *compression;
    int level;
    bool tls;
    bool ahead;           /* prealloc=on at the destination */
    unsigned pages_per_s; /* our guest runs, and writes; 0: machine without a processor */
};

int rig_open(struct rig *r, const char *build);
/*
 * What follows has this much guest memory at each end. pool: in huge pages that the kernel keeps,
 * if it can: on a machine that is a guest itself other memory is its host's as soon as it is free,
 * and slow for whoever has it next. -1 and rig->lacks when the machine has no room for both ends.
 */
int rig_size(struct rig *r, uint64_t bytes, bool pool);
/* The image is there for a run that maps it as its source's memory, and makes room for others. */
int rig_image(struct rig *r, bool wanted);
void rig_close(struct rig *r);
/* The processors are for this process and its children first, where we may say so. */
void rig_alone(bool alone);
/* Right before what is measured begins: so long that those have all their turns; then there is
 * memory for buffers. */
void rig_rest(void);
/* The source that takes orders there is ready, and told to migrate. */
int rig_begin(struct rig *r, const char *control, pid_t src);
/* Makes the machine's memory alike for all: right before each run. */
void rig_warm(const struct rig *r);
int rig_fail(struct rig *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
const char *place_name(enum place p);
/* Where the place cannot be had: why, in rig->error. */
int rig_have(struct rig *r, enum place p);
void rig_memory_close(struct rig *r);
/* The kernel has at least that many MiB free in pages of 2 MiB, until they are given back: when the
 * size changes, and by rig_close(). */
int rig_huge(struct rig *r, long mib);
void rig_huge_back(struct rig *r);
/* What the kernel keeps and nobody has or is promised, MiB. */
long rig_huge_free(void);
/* Until rig_leave() this thread, and what it starts, is on that side of the link. */
int rig_enter(struct rig *r, enum place p, enum vms_net_side side);
void rig_leave(struct rig *r, enum place p);
/* A new address to listen on; connecting differs from it on the link. */
void rig_uri(struct rig *r, enum place p, bool connect, char *out, size_t size);

int run_ours(struct rig *r, const struct ours *what, enum place p, struct measured *out);
int run_qemu(struct rig *r, const struct qemu *what, enum place p, struct measured *out);
/* The bytes that are not zero, through one socket into fresh memory. */
int run_floor(struct rig *r, enum place p, struct measured *out);

/* QEMU's own postcopy: our boot-sector guest, reading at random. */
struct qemu_postcopy {
    const char *version;
    bool preempt;
    bool huge; /* pages of 2 MiB */
};
int run_qemu_postcopy(struct rig *r, const struct qemu_postcopy *what, enum place p,
                      struct measured *out);

/* QEMU with our boot-sector guest, which has written QEMU_GUEST_PAGES once and goes on writing. */
struct qemu_guest {
    const char *version;
    unsigned pages_per_s;
    bool huge;
};
enum {
    QEMU_GUEST_MIB = 512, /* of memory */
    QEMU_GUEST_PAGES = 114688,
};
struct vms_qemu *start_guest(struct rig *r, const struct qemu_guest *what, enum place p,
                             enum vms_net_side side);
/* The object "tls" of a side. */
void tls_object(const struct rig *r, enum vms_net_side side, char *out, size_t size);

/* Processor time of a process so far, seconds; of all its threads, ended ones too. */
double process_cpu(pid_t pid);

#endif
