/* SPDX-License-Identifier: MIT */
#include "reference-dst/devices/ram_postcopy.h"

#include "host/uffd.h"
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/*
 * Real userfaultfd. A source in this process serves requests and pushes the rest on two channels,
 * while threads read all memory in random order. The oracle is the content: a function of the page.
 */

enum {
    TARGET = 4096,
    HUGE = 2 << 20,
    QUEUE = 1 << 16,
    READERS = 3,
};

struct kind {
    const char *name;
    uint64_t mapping; /* page of it */
    uint64_t peer;    /* host page of the peer; 0: the same */
    bool shared, by_copy;
};

static const struct kind KINDS[] = {
    {"private 4K", TARGET, 0, false, false},
    {"shared 4K", TARGET, 0, true, false},
    {"shared 4K by copy", TARGET, 0, true, true},
    {"shared 4K, peer has 2M", TARGET, HUGE, true, false},
    {"private 4K, peer has 2M", TARGET, HUGE, false, false},
    {"shared 2M", HUGE, 0, true, false},
    {"private 2M", HUGE, 0, false, false},
    {"shared 2M by copy", HUGE, 0, true, true},
};

struct scene {
    const struct kind *kind;
    struct vms_guest_block block;
    struct dst_postcopy *p;
    uint64_t pages, unit;
    _Atomic uint8_t *sent; /* by target page: times */
    pthread_mutex_t lock;
    uint64_t queue[QUEUE]; /* units asked for */
    size_t head, tail, asked;
    _Atomic uint8_t *requests; /* by unit */
    atomic_bool down;          /* no connection: requests are lost */
    atomic_uint touched;
    unsigned seed;
};

/* ---- content ---- */

static bool is_zero(uint64_t page) {
    return page * 0x9e3779b97f4a7c15u >> 61 == 0;
}

static void content(uint64_t page, uint64_t *out) {
    for (uint64_t i = 0; i < TARGET / 8; i++)
        out[i] = is_zero(page) ? 0 : (page + 1) * 0x9e3779b97f4a7c15u ^ i;
}

static bool right(const uint8_t *memory, uint64_t page) {
    uint64_t want[TARGET / 8];
    content(page, want);
    return memcmp(memory + page * TARGET, want, TARGET) == 0;
}

/* ---- memory of a kind ---- */

/* Surplus pages, made when somebody wants them: tests side by side do not take them from each
 * other. */
static void allow_huge_pages(long n) {
    FILE *f = fopen("/proc/sys/vm/nr_overcommit_hugepages", "r+");
    long have = 0;
    if (f && fscanf(f, "%ld", &have) == 1 && have < n) {
        rewind(f);
        (void)fprintf(f, "%ld\n", n);
    }
    if (f)
        (void)fclose(f);
}

/* A visible skip; in CI what is missing is a failure. */
static void must_have(bool there, const char *what) {
    if (there)
        return;
    cr_assert_null(getenv("CI"), "%s: not here", what);
    cr_skip_test("%s: not here", what);
}

static void map(struct scene *s) {
    const struct kind *k = s->kind;
    int flags = k->mapping == HUGE ? MFD_HUGETLB : 0;
    struct vms_guest_block *b = &s->block;
    *b = (struct vms_guest_block){"ram", NULL, s->pages * TARGET, k->mapping, k->shared, -1};
    if (k->shared || k->mapping == HUGE)
        b->fd = memfd_create("postcopy-test", (unsigned)flags);
    if (b->fd >= 0)
        cr_assert_eq(ftruncate(b->fd, (off_t)b->length), 0);
    void *m =
        mmap(NULL, b->length, PROT_READ | PROT_WRITE,
             (k->shared ? MAP_SHARED : MAP_PRIVATE) | (b->fd < 0 ? MAP_ANONYMOUS : 0), b->fd, 0);
    must_have(m != MAP_FAILED, k->name);
    b->memory = m;
}

static void on_request(void *ctx, size_t block, uint64_t offset, uint64_t length) {
    struct scene *s = ctx;
    cr_assert_eq(block, 0);
    cr_assert_eq(length, s->unit);
    cr_assert_eq(offset % s->unit, 0);
    if (atomic_load(&s->down))
        return;
    atomic_fetch_add(&s->requests[offset / s->unit], 1);
    pthread_mutex_lock(&s->lock);
    s->queue[s->tail++ % QUEUE] = offset / s->unit;
    s->asked++;
    pthread_mutex_unlock(&s->lock);
}

static void on_failed(void *ctx, const struct vms_error *err) {
    (void)ctx;
    (void)fprintf(stderr, "fault thread: %s\n", err->message);
    abort();
}

static void set_up(struct scene *s, const struct kind *k, uint64_t pages) {
    struct vms_error err = {0};
    must_have(vms_uffd_features() != 0, "userfaultfd");
    if (k->mapping == HUGE)
        allow_huge_pages(1024);
    memset(s, 0, sizeof *s);
    s->kind = k;
    s->pages = pages;
    s->unit = k->peer ? k->peer : k->mapping;
    s->sent = calloc(pages, 1);
    s->requests = calloc(pages, 1);
    pthread_mutex_init(&s->lock, NULL);
    map(s);
    struct dst_postcopy_config c = {.blocks = &s->block,
                                    .block_count = 1,
                                    .page_size = TARGET,
                                    .host_pages = &s->unit,
                                    .by_copy = k->by_copy,
                                    .request = on_request,
                                    .failed = on_failed,
                                    .ctx = s};
    s->p = dst_postcopy_new(&c, &err);
    cr_assert_not_null(s->p, "%s: %s", k->name, err.message);
}

static void tear_down(struct scene *s) {
    dst_postcopy_free(s->p);
    munmap(s->block.memory, s->block.length);
    if (s->block.fd >= 0)
        close(s->block.fd);
    free((void *)(uintptr_t)s->sent);
    free((void *)(uintptr_t)s->requests);
}

/* ---- precopy: some pages arrive, others hold what is stale ---- */

static void precopy(struct scene *s) {
    struct vms_error err = {0};
    uint64_t *bits = calloc((s->pages + 63) / 64, 8), unit_pages = s->unit / TARGET;
    for (uint64_t i = 0; i < s->pages; i++) {
        uint64_t u = i / unit_pages;
        bool stale = u % 3 == 0, arrived = u % 3 == 1;
        if (arrived && !is_zero(i))
            content(i, (uint64_t *)(void *)(s->block.memory + i * TARGET));
        if (stale || u % 6 == 2) /* the latter: left by the memory's owner, never sent */
            memset(s->block.memory + i * TARGET, 0xee, TARGET);
        if (arrived || stale)
            bits[i / 64] |= UINT64_C(1) << (i % 64);
        atomic_store(&s->sent[i], arrived);
    }
    dst_postcopy_arrived(s->p, 0, bits);
    for (uint64_t u = 0; u < s->pages / unit_pages; u += 3)
        cr_assert_eq(dst_postcopy_discard(s->p, 0, u * s->unit, s->unit, &err), VMS_OK, "%s",
                     err.message);
    free(bits);
}

/* ---- the source ---- */

/* Sends a host page that was not sent, by place() or straight into the alias. */
static void send_unit(struct scene *s, uint64_t unit, bool direct) {
    struct vms_error err = {0};
    uint64_t page[TARGET / 8], first = unit * (s->unit / TARGET);
    if (atomic_fetch_add(&s->sent[first], 1))
        return;
    for (uint64_t i = first; i < first + s->unit / TARGET; i++) {
        content(i, page);
        uint8_t *room = direct ? dst_postcopy_room(s->p, 0, i * TARGET, TARGET, &err) : NULL;
        struct vms_slice bytes = vms_slice((uint8_t *)page, is_zero(i) && !direct ? 0 : TARGET);
        if (room)
            memcpy(room, page, TARGET);
        enum vms_code code = room ? dst_postcopy_filled(s->p, 0, i * TARGET, TARGET, &err)
                                  : dst_postcopy_place(s->p, 0, i * TARGET, bytes, &err);
        cr_assert_eq(code, VMS_OK, "%s: %s", s->kind->name, err.message);
    }
}

static bool pop(struct scene *s, uint64_t *unit) {
    pthread_mutex_lock(&s->lock);
    bool any = s->head < s->tail;
    if (any)
        *unit = s->queue[s->head++ % QUEUE];
    pthread_mutex_unlock(&s->lock);
    return any;
}

static void *urgent_channel(void *arg) {
    struct scene *s = arg;
    uint64_t unit;
    while (dst_postcopy_missing(s->p) > 0)
        if (pop(s, &unit))
            send_unit(s, unit, false);
        else
            sched_yield();
    return NULL;
}

static bool somebody_asked(struct scene *s) {
    pthread_mutex_lock(&s->lock);
    bool any = s->asked > 0;
    pthread_mutex_unlock(&s->lock);
    return any;
}

static void *background_channel(void *arg) {
    struct scene *s = arg;
    while (!somebody_asked(s))
        sched_yield();
    for (uint64_t u = 0; u < s->pages / (s->unit / TARGET); u++) {
        send_unit(s, u, u % 2);
        sched_yield();
    }
    return NULL;
}

/* ---- the guest ---- */

static void *reader(void *arg) {
    struct scene *s = arg;
    pthread_mutex_lock(&s->lock);
    unsigned seed = ++s->seed;
    pthread_mutex_unlock(&s->lock);
    uint64_t stride = 2 * (uint64_t)rand_r(&seed) + 1, at = (uint64_t)rand_r(&seed);
    for (uint64_t i = 0; i < s->pages; i++, at += stride) /* pages is a power of two */
        if (right(s->block.memory, at % s->pages))
            atomic_fetch_add(&s->touched, 1);
        else
            (void)fprintf(stderr, "%s: page %llu is wrong\n", s->kind->name,
                          (unsigned long long)(at % s->pages));
    return NULL;
}

static void check_end(struct scene *s) {
    struct vms_error err = {0};
    struct dst_postcopy_stats st;
    dst_postcopy_stats(s->p, &st);
    cr_assert_eq(dst_postcopy_end(s->p, &err), VMS_OK, "%s", err.message);
    cr_assert_eq(st.waiting, 0);
    cr_assert_eq(st.latency.count, st.requests);
    for (uint64_t i = 0; i < s->pages; i++)
        cr_assert(right(s->block.memory, i), "%s: page %llu", s->kind->name, (unsigned long long)i);
}

/* [DST-15] [DST-16] [CMD-13] [RAM-32] Everybody sees every page as it should be, each is asked for
 * at most once. */
static void whole(const struct kind *k, uint64_t pages) {
    static struct scene s;
    struct vms_error err = {0};
    pthread_t readers[READERS], urgent, background;
    set_up(&s, k, pages);
    precopy(&s);
    cr_assert_eq(dst_postcopy_listen(s.p, &err), VMS_OK, "%s: %s", k->name, err.message);
    for (int i = 0; i < READERS; i++)
        pthread_create(&readers[i], NULL, reader, &s);
    pthread_create(&urgent, NULL, urgent_channel, &s);
    pthread_create(&background, NULL, background_channel, &s);
    for (int i = 0; i < READERS; i++)
        pthread_join(readers[i], NULL);
    pthread_join(background, NULL);
    pthread_join(urgent, NULL);
    cr_assert_eq(atomic_load(&s.touched), READERS * pages, "%s", k->name);
    struct dst_postcopy_stats st;
    dst_postcopy_stats(s.p, &st);
    cr_assert_gt(st.requests, 0);
    for (uint64_t i = 0; i < pages; i++)
        cr_assert_leq(atomic_load(&s.requests[i]), 1);
    check_end(&s);
    tear_down(&s);
}

Test(ram_postcopy, small_pages) {
    for (size_t i = 0; i < 5; i++)
        whole(&KINDS[i], 8192);
}

Test(ram_postcopy, huge_pages) {
    for (size_t i = 5; i < sizeof KINDS / sizeof *KINDS; i++)
        whole(&KINDS[i], 8192);
}

/* ---- cuts ---- */

/* What a source does after a recovery: it takes for sent what the bitmap has (REC-6). */
static void recover(struct scene *s) {
    uint8_t *bits = malloc(dst_postcopy_bitmap_bytes(s->p, 0));
    dst_postcopy_bitmap(s->p, 0, bits);
    for (uint64_t i = 0; i < s->pages; i++)
        atomic_store(&s->sent[i], bits[i / 8] >> (i % 8) & 1);
    s->head = s->tail;
    free(bits);
    atomic_store(&s->down, false);
    dst_postcopy_resume(s->p);
}

/* A part of a host page arrives, of which the source will say that it is zero; then a cut. */
static void cut_within_a_page(struct scene *s) {
    struct vms_error err = {0};
    uint8_t wrong[TARGET];
    memset(wrong, 0xbb, sizeof wrong); /* nobody may ever see it */
    for (uint64_t i = 0; i < s->pages && s->unit > TARGET; i++) {
        if (atomic_load(&s->sent[i]) || !is_zero(i))
            continue;
        cr_assert_eq(dst_postcopy_place(s->p, 0, i * TARGET, vms_slice(wrong, TARGET), &err),
                     VMS_OK);
        break;
    }
    atomic_store(&s->down, true);
    dst_postcopy_pause(s->p);
}

/* Waits until a fault is waiting that nobody was asked for. */
static void until_somebody_waits(struct scene *s) {
    struct dst_postcopy_stats st;
    do {
        sched_yield();
        dst_postcopy_stats(s->p, &st);
    } while (st.waiting == 0);
}

/* [DST-18] [REC-4] [REC-6] Cuts at any place; those who wait are asked for again. */
static void with_cuts(const struct kind *k) {
    static struct scene s;
    struct vms_error err = {0};
    pthread_t guest;
    uint64_t unit;
    set_up(&s, k, 8192);
    cr_assert_eq(dst_postcopy_listen(s.p, &err), VMS_OK);
    atomic_store(&s.down, true);
    dst_postcopy_pause(s.p);
    pthread_create(&guest, NULL, reader, &s);
    for (int cut = 0; cut < 5; cut++) {
        until_somebody_waits(&s);
        recover(&s);
        cr_assert(pop(&s, &unit), "nobody was asked for again");
        send_unit(&s, unit, cut % 2);
        cut_within_a_page(&s);
    }
    until_somebody_waits(&s);
    recover(&s);
    (void)background_channel(&s);
    pthread_join(guest, NULL);
    cr_assert_eq(atomic_load(&s.touched), s.pages, "%s", k->name);
    struct dst_postcopy_stats st;
    dst_postcopy_stats(s.p, &st);
    cr_assert_eq(st.pauses, 6);
    cr_assert_geq(st.repeated, 6);
    check_end(&s);
    tear_down(&s);
}

Test(ram_postcopy, cuts) {
    with_cuts(&KINDS[0]);
    with_cuts(&KINDS[1]);
    with_cuts(&KINDS[3]);
}

Test(ram_postcopy, cuts_of_huge_pages) {
    with_cuts(&KINDS[5]);
    with_cuts(&KINDS[6]);
}

/* ---- refusals ---- */

/* [DST-17] [RAM-5] */
Test(ram_postcopy, refused) {
    static struct scene s;
    struct vms_error err = {0};
    uint64_t page[TARGET / 8];
    struct vms_slice bytes = vms_slice((uint8_t *)page, TARGET);
    set_up(&s, &KINDS[1], 64);
    content(3, page);
    cr_assert_eq(dst_postcopy_listen(s.p, &err), VMS_OK);
    cr_assert_eq(dst_postcopy_place(s.p, 0, 3 * TARGET, bytes, &err), VMS_OK);
    cr_assert_eq(dst_postcopy_place(s.p, 0, 3 * TARGET, bytes, &err), VMS_E_POSTCOPY_PAGE_TWICE);
    cr_assert_null(dst_postcopy_room(s.p, 0, 2 * TARGET, 2 * TARGET, &err));
    cr_assert_eq(err.code, VMS_E_POSTCOPY_PAGE_TWICE);
    cr_assert_eq(dst_postcopy_place(s.p, 0, 64 * TARGET, bytes, &err), VMS_E_RAM_OFFSET);
    cr_assert_eq(dst_postcopy_place(s.p, 0, 12, bytes, &err), VMS_E_RAM_OFFSET);
    cr_assert_eq(dst_postcopy_discard(s.p, 0, 0, 100, &err), VMS_E_DISCARD_FORM);
    cr_assert_eq(dst_postcopy_end(s.p, &err), VMS_E_DST_INCOMPLETE);
    tear_down(&s);
}

/* A block whose length is not whole host pages of the peer's. */
Test(ram_postcopy, odd_length) {
    struct vms_error err = {0};
    uint64_t unit = HUGE;
    struct vms_guest_block b = {"odd", NULL, 3 * TARGET, TARGET, false, -1};
    struct dst_postcopy_config c = {
        .blocks = &b, .block_count = 1, .page_size = TARGET, .host_pages = &unit};
    cr_assert_null(dst_postcopy_new(&c, &err));
    cr_assert_eq(err.code, VMS_E_RAM_BLOCK_SIZE);
}
