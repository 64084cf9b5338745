/* SPDX-License-Identifier: MIT */
/*
 * Ratios and speed of codec/pack over generated guest memory, beside a bare copy of the same memory
 * into the same kind of frames, in the same run. Interleaved rounds, median of them,
 * CPU time.
 *
 * usage: pack_bench [MIB [ROUNDS]]
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <vmstream/pack_zstd.h>

enum {
    PAGE = 4096,
    FRAME = 512 << 10,
    LEVELS = 3,
    ADAPTIVE = 99,
    ROUNDS_MAX = 99,
};

/* One thing that is measured. */
struct row {
    const char *name;
    double seconds[ROUNDS_MAX];
    double back[ROUNDS_MAX];
    double bytes; /* that it had, and what became of them */
    double packed;
    size_t rounds;
};

struct bench {
    uint8_t *source, *target;
    size_t pages;
    struct vms_zip_ops zip;
    struct vms_known *known;
    struct vms_packer *plain, *delta;
    struct vms_unpacker *unpacker;
    struct vms_generations generations;
    struct vms_level_chooser chooser;
    uint64_t link_ns_per_mib; /* of the link that `adaptive` is told of */
    uint64_t ticket;
    uint64_t random;
};

static uint64_t next_random(struct bench *b) {
    b->random ^= b->random << 13;
    b->random ^= b->random >> 7;
    b->random ^= b->random << 17;
    return b->random;
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t); /* one thread: others on the machine count less */
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void *need(void *mem) {
    if (!mem)
        exit(3);
    return mem;
}

static void *room(size_t n) {
    void *mem = need(aligned_alloc(4096, (n + 4095) / 4096 * 4096));
    memset(mem, 0, n);
    return mem;
}

/* A quarter zero, a quarter text, half random, in runs of 64 pages. */
static void fill_page(struct bench *b, size_t i) {
    static const char words[] = "struct page *next = list_first_entry(&zone->free_area[order]);\n";
    size_t kind = i / 64 % 4;
    for (size_t at = 0; at < PAGE && kind; at += 8) {
        uint64_t v = next_random(b);
        if (kind == 1)
            memcpy(&v, words + v % (sizeof words - 8), 8);
        memcpy(b->source + i * PAGE + at, &v, 8);
    }
}

static void init(struct bench *b, size_t mib) {
    struct vms_zstd_config zc = {9, FRAME};
    struct vms_known_config kc = {(uint64_t)mib * 12 / 10 << 20, PAGE};
    struct vms_unpack_config uc = {.page_size = PAGE, .unpacked_max = FRAME};
    struct vms_pack_config pc = {.page_size = PAGE, .unpacked_max = FRAME};
    b->pages = mib << 8;
    b->source = room(b->pages * PAGE);
    b->target = room(b->pages * PAGE);
    size_t size = vms_zstd_size(&zc);
    uc.zip = pc.zip = vms_zstd_ops(need(vms_zstd_init(room(size), size, &zc)));
    size = vms_known_size(&kc);
    b->known = need(vms_known_init(room(size), size, &kc));
    size = vms_packer_size(&pc);
    b->plain = need(vms_packer_init(room(size), size, &pc));
    pc.known = b->known;
    b->delta = need(vms_packer_init(room(size), size, &pc));
    size = vms_unpacker_size(&uc);
    b->unpacker = need(vms_unpacker_init(room(size), size, &uc));
    for (size_t i = 0; i < b->pages; i++)
        fill_page(b, i);
}

/* Unpacks a frame into the target; its seconds. */
static double deliver(struct bench *b, const struct vms_packed *packed) {
    static struct vms_room rooms[FRAME / PAGE];
    struct vms_error error;
    struct vms_pack_announced a = {.method = (unsigned)packed->method,
                                   .bulk_len = packed->bulk.len,
                                   .unpacked = packed->unpacked,
                                   .info = packed->info,
                                   .pages = true};
    for (size_t i = 0; i < packed->count; i++)
        rooms[i] = (struct vms_room){b->target + packed->pages[i] * PAGE, PAGE};
    double start = now();
    if (vms_unpack(b->unpacker, &a, packed->bulk, rooms, packed->count, &b->generations, &error)) {
        fprintf(stderr, "pack_bench: %s\n", error.message);
        exit(1);
    }
    return now() - start;
}

static void tell_chooser(struct bench *b, int level, const struct vms_packed *packed, double s) {
    vms_chooser_packed(&b->chooser, level, packed->unpacked, packed->bulk.len, (uint64_t)(s * 1e9));
    vms_chooser_sent(&b->chooser, 1 << 20, b->link_ns_per_mib);
}

/* Ends a frame and counts it into row `round`. */
static void finish(struct bench *b, struct vms_packer *packer, int level, double start,
                   struct row *row, size_t round) {
    struct vms_packed packed;
    struct vms_error error;
    int use = level == ADAPTIVE ? vms_chooser_next(&b->chooser) : level;
    if (vms_packer_pack(packer, use, b->ticket++, &packed, &error))
        return; /* all pages were zero */
    double took = now() - start;
    if (level == ADAPTIVE)
        tell_chooser(b, use, &packed, took);
    row->seconds[round] += took;
    row->back[round] += deliver(b, &packed);
    row->packed += (double)packed.bulk.len + (double)packed.info.len;
}

/* Sends all memory through the packer, frame by frame. */
static void pass(struct bench *b, struct vms_packer *packer, int level, uint32_t generation,
                 bool hash, struct row *row) {
    size_t round = row->rounds++;
    uint64_t digest;
    for (size_t first = 0; first < b->pages; first += FRAME / PAGE) {
        size_t end = first + FRAME / PAGE < b->pages ? first + FRAME / PAGE : b->pages;
        double start = now();
        vms_packer_begin(packer, 0, generation);
        for (size_t i = first; i < end; i++)
            (void)vms_packer_add(packer, i, b->source + i * PAGE, hash ? &digest : NULL);
        finish(b, packer, level, start, row, round);
    }
    row->bytes += (double)b->pages * PAGE;
}

/* The floor: the same pages copied into the same room, and from there to the target. */
static void copy(struct bench *b, struct row *row) {
    static uint8_t frame[FRAME];
    size_t round = row->rounds++, len = b->pages * PAGE;
    for (size_t at = 0; at < len; at += FRAME) {
        size_t n = len - at < FRAME ? len - at : FRAME;
        double start = now();
        memcpy(frame, b->source + at, n);
        __asm__ volatile("" ::: "memory");
        double half = now();
        memcpy(b->target + at, frame, n);
        row->seconds[round] += half - start;
        row->back[round] += now() - half;
    }
    row->bytes += (double)len;
    row->packed += (double)len;
}

static void hash_all(struct bench *b, struct row *row) {
    volatile uint64_t sum = 0;
    double start = now();
    for (size_t i = 0; i < b->pages; i++)
        sum += vms_page_hash(vms_slice(b->source + i * PAGE, PAGE));
    row->seconds[row->rounds++] = now() - start;
    row->bytes += (double)b->pages * PAGE;
}

static void scan_all(struct bench *b, const struct vms_page_ops *ops, struct row *row) {
    volatile size_t zeros = 0;
    double start = now();
    for (size_t i = 0; i < b->pages; i++) /* zero pages, the slow case */
        zeros += ops->is_zero(b->source + (i / 64 * 256 + i % 64) % b->pages * PAGE, PAGE);
    row->seconds[row->rounds++] = now() - start;
    row->bytes += (double)b->pages * PAGE;
}

/* The guest writes: some bytes in every page that is not zero. */
static void scribble(struct bench *b, size_t changed) {
    for (size_t i = 0; i < b->pages; i++)
        for (size_t n = i / 64 % 4 ? changed : 0; n > 0; n--)
            b->source[i * PAGE + next_random(b) % PAGE] ^= 0x5a;
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double speed(double *seconds, size_t rounds, double bytes) {
    qsort(seconds, rounds, sizeof *seconds, by_value);
    double median = seconds[rounds / 2];
    return median > 0 ? bytes / (double)rounds / median / 1e6 : 0;
}

static void print(struct row *row) {
    double out = speed(row->seconds, row->rounds, row->bytes);
    double back = speed(row->back, row->rounds, row->bytes);
    printf("%-34s %8.0f", row->name, out);
    if (back > 0)
        printf(" %8.0f  %.4f", back, row->packed / row->bytes);
    puts("");
}

/* One round of everything, so that rounds are interleaved. */
static void measure(struct bench *b, uint32_t *generation, struct row *rows) {
    static const int levels[LEVELS] = {VMS_LEVEL_NONE, 1, 3};
    static const uint64_t links[] = {80000, 1000000, 80000000}; /* ns for a MiB */
    static const size_t changes[] = {8, 64, 512};
    struct row *row = rows;
    copy(b, row++);
    for (size_t i = 0; i < LEVELS; i++)
        pass(b, b->plain, levels[i], 1, false, row++);
    pass(b, b->plain, 1, 1, true, row++);
    for (size_t i = 0; i < 3; i++) {
        b->link_ns_per_mib = links[i];
        vms_chooser_init(&b->chooser, VMS_LEVEL_NONE, 9);
        pass(b, b->plain, ADAPTIVE, 1, false, row++);
    }
    pass(b, b->delta, 1, ++*generation, false, row++);
    for (size_t i = 0; i < 3; i++) {
        scribble(b, changes[i]);
        pass(b, b->delta, 1, ++*generation, false, row++);
    }
    hash_all(b, row++);
    scan_all(b, vms_page_ops_at(0), row++);
    scan_all(b, vms_page_ops(), row++);
}

int main(int argc, char **argv) {
    static struct row rows[] = {
        {.name = "memcpy"},
        {.name = "none: copy, no zero pages"},
        {.name = "zstd 1"},
        {.name = "zstd 3"},
        {.name = "zstd 1 with page hashes"},
        {.name = "adaptive, link of 13 GB/s"},
        {.name = "adaptive, link of 1 GB/s"},
        {.name = "adaptive, link of 13 MB/s"},
        {.name = "zstd 1 delta, nothing changed"},
        {.name = "zstd 1 delta, 8 bytes changed"},
        {.name = "zstd 1 delta, 64 bytes changed"},
        {.name = "zstd 1 delta, 512 bytes changed"},
        {.name = "page hash"},
        {.name = "zero scan, portable"},
        {.name = "zero scan, best"},
    };
    static struct row first; /* what the destination holds at the beginning */
    static struct bench b = {.random = 42};
    size_t mib = argc > 1 ? strtoul(argv[1], NULL, 10) : 128;
    size_t rounds = argc > 2 ? strtoul(argv[2], NULL, 10) : 9;
    uint32_t generation = 0;
    if (mib == 0 || mib > 65536 || rounds == 0 || rounds > ROUNDS_MAX) {
        fputs("usage: pack_bench [MIB [ROUNDS]]\n", stderr);
        return 2;
    }
    init(&b, mib);
    pass(&b, b.delta, 1, ++generation, false, &first);
    for (size_t round = 0; round < rounds; round++)
        measure(&b, &generation, rows);
    printf(
        "%zu MiB: 1/4 zero, 1/4 text, 1/2 random; frames of 512 KiB; median of %zu; MB/s of guest "
        "memory\n%-34s %8s %8s  %s\n",
        mib, rounds, "", "pack", "unpack", "packed/memory");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        print(&rows[i]);
    return 0;
}
