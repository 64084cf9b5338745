/* SPDX-License-Identifier: MIT */
#include "host/guest_wrap.h"
#include "reference-dst/session_test_util.h"
#include "reference-src/vm/vm.h"

#include <jansson.h>
#include <sys/stat.h>

/*
 * A VM is handed over by a scripted source: its memory and its state come from the same kind of VM
 * in this process, and the one here runs on with them. [DST-5] [DST-9] [DST-10] [DST-19] [DST-22]
 * [DST-24]
 */

struct hand_over {
    struct scene s;
    struct vms_vm *source;
    char vm[64], lock[64], running[64], announce[64];
    uint8_t memory[BLOCK_PAGES * PAGE], state[1 << 16];
    size_t state_len;
};

static const char VM[] = "{\"blocks\": [{\"name\": \"ram\", \"size\": \"%s\", \"fill\": \"mix\"}],"
                         " \"vcpus\": [{\"rate\": 1000}], \"seed\": 3, \"lock\": \"disk.lock\","
                         " \"running_lock\": \"running.lock\", \"announce\": \"announce.log\"}";

static void write_vm(const struct hand_over *h, const char *size) {
    FILE *f = fopen(h->vm, "we");
    cr_assert_not_null(f);
    (void)fprintf(f, VM, size);
    cr_assert_eq(fclose(f), 0);
}

/* The source's guest runs a little, stops, and is read. */
static void prepare(struct hand_over *h, bool give_up_lock) {
    struct vms_error err = {0};
    const uint8_t *state;
    char dir[32] = "/tmp/vms-dst-vm-XXXXXX";
    memset(h, 0, sizeof *h);
    cr_assert_not_null(mkdtemp(dir));
    (void)snprintf(h->vm, sizeof h->vm, "%s/vm.json", dir);
    (void)snprintf(h->lock, sizeof h->lock, "%s/disk.lock", dir);
    (void)snprintf(h->running, sizeof h->running, "%s/running.lock", dir);
    (void)snprintf(h->announce, sizeof h->announce, "%s/announce.log", dir);
    write_vm(h, "64K");
    cr_assert_eq(vms_vm_new(h->vm, VMS_VM_SOURCE, &h->source, &err), VMS_OK, "%s", err.message);
    const struct vms_guest *g = vms_vm_guest(h->source);
    cr_assert_eq(g->ops->run(g->ctx, &err), VMS_OK, "%s", err.message);
    cr_assert_eq(g->ops->stop(g->ctx, &err), VMS_OK);
    cr_assert_eq(g->ops->save(g->ctx, &state, &h->state_len, &err), VMS_OK);
    cr_assert_leq(h->state_len, sizeof h->state);
    memcpy(h->state, state, h->state_len);
    memcpy(h->memory, g->blocks[0].memory, sizeof h->memory);
    if (give_up_lock)
        cr_assert_eq(g->ops->locks(g->ctx, false, &err), VMS_OK);
    h->s.options.vm = h->vm;
}

static void clean_up(struct hand_over *h) {
    vms_vm_free(h->source);
    (void)unlink(h->announce);
    (void)unlink(h->lock);
    (void)unlink(h->running);
    (void)unlink(h->vm);
    *strrchr(h->vm, '/') = 0;
    (void)rmdir(h->vm);
}

static void end_with_pages(const struct hand_over *h) {
    vms_write_u8(&w, 0x03);
    vms_write_u32(&w, 1);
    for (unsigned i = 0; i < BLOCK_PAGES; i++) {
        vms_write_u64(&w, i * PAGE | VMS_RAM_PAGE);
        vms_write_str8(&w, vms_str("ram"));
        vms_write_bytes(&w, vms_slice(h->memory + i * PAGE, PAGE));
    }
    vms_write_u64(&w, VMS_RAM_EOS);
    footer(1);
}

/* `said`: the length that the state claims to have. */
static void state_section(const struct hand_over *h, size_t said) {
    vms_write_u8(&w, 0x04);
    vms_write_u32(&w, 2);
    vms_write_str8(&w, vms_str("vmstream-guest"));
    vms_write_u32(&w, 0);
    vms_write_u32(&w, 1);
    vms_write_u32(&w, (uint32_t)said);
    vms_write_bytes(&w, vms_slice(h->state, h->state_len));
    footer(2);
}

static void describe(const struct hand_over *h) {
    char json[512];
    int n = snprintf(json, sizeof json,
                     "{\"page_size\": 4096, \"devices\": [{\"name\": \"vmstream-guest\","
                     " \"instance_id\": 0, \"vmsd_name\": \"vmstream-guest\", \"version\": 1,"
                     " \"fields\": [{\"name\": \"length\", \"type\": \"uint32\", \"size\": 4},"
                     " {\"name\": \"state\", \"type\": \"buffer\", \"size\": %zu}]}]}",
                     h->state_len);
    vms_write_u8(&w, 0x00);
    vms_write_u8(&w, 0x06);
    vms_write_u32(&w, (uint32_t)n);
    vms_write_bytes(&w, vms_slice((uint8_t *)json, (size_t)n));
}

static void send_rest(struct hand_over *h, int fd, size_t said) {
    ram_start(false);
    end_with_pages(h);
    state_section(h, said);
    describe(h);
    send_all(fd);
}

static int send_guest(struct hand_over *h, size_t said) {
    int fd = begin(&h->s);
    send_rest(h, fd, said);
    return fd;
}

TestSuite(guest, .timeout = 300);

/* Everything in its order; then the guest runs on, and every page is right. */
Test(guest, runs_here) {
    static struct hand_over h;
    struct vms_error err = {0};
    struct vms_vm_report check;
    struct stat st;
    prepare(&h, true);
    h.s.options.run_ops = 50;
    int fd = send_guest(&h, h.state_len);
    cr_assert(ends_with_shut(fd, 0));
    pthread_join(h.s.thread, NULL);
    h.s.thread = 0;
    cr_assert_eq(h.s.session->error.code, VMS_OK, "%s", h.s.session->error.message);
    cr_assert_eq(dst_source_belief(h.s.session), DST_SOURCE_TOLD);
    cr_assert_eq(stat(h.announce, &st), 0, "not announced");
    cr_assert_eq(dst_run_on(h.s.session, &check, &err), VMS_OK, "%s", err.message);
    cr_assert_eq(check.pages, BLOCK_PAGES);
    EXPECT(&h.s, VMS_OK);
    clean_up(&h);
}

/* [CMD-12] The source's host pages are 2 MiB, the guest's here 4 KiB. */
Test(guest, other_host_pages) {
    static struct hand_over h;
    prepare(&h, true);
    int fd = begin(&h.s);
    vms_write_u8(&w, 0x08);
    vms_write_u16(&w, VMS_CMD_POSTCOPY_ADVISE);
    vms_write_u16(&w, 16);
    vms_write_u64(&w, 2 << 20);
    vms_write_u64(&w, PAGE);
    ram_start(false);
    send_all(fd);
    cr_assert(ends_with_shut(fd, 1));
    EXPECT(&h.s, VMS_E_RAM_BLOCK_SIZE);
    clean_up(&h);
}

/* [DST-19] SHUT cannot be written any more: the guest is here all the same. */
Test(guest, source_cannot_be_told) {
    static struct hand_over h;
    prepare(&h, true);
    open_scene(&h.s);
    int fd = dial(&h.s);
    (void)shutdown(fd, SHUT_RD);
    header();
    command(VMS_CMD_OPEN_RETURN_PATH, 0, 0); /* without PING: nothing is written before SHUT */
    send_rest(&h, fd, h.state_len);
    pthread_join(h.s.thread, NULL);
    h.s.thread = 0;
    cr_assert_eq(h.s.session->error.code, VMS_OK, "%s", h.s.session->error.message);
    cr_assert_eq(dst_source_belief(h.s.session), DST_SOURCE_MAY_RUN);
    EXPECT(&h.s, VMS_OK);
    clean_up(&h);
}

static void refused(enum vms_code why, bool give_up_lock, size_t wrong_by) {
    static struct hand_over h;
    struct stat st;
    prepare(&h, give_up_lock);
    int fd = send_guest(&h, h.state_len + wrong_by);
    cr_assert(ends_with_shut(fd, 1));
    pthread_join(h.s.thread, NULL);
    h.s.thread = 0;
    cr_assert_eq(dst_source_belief(h.s.session), DST_SOURCE_KEEPS);
    cr_assert_neq(stat(h.announce, &st), 0, "announced");
    EXPECT(&h.s, why);
    clean_up(&h);
}

/* [DST-22] */
Test(guest, lock_is_held) {
    refused(VMS_E_VM_LOCK, false, 0);
}

/* ---- a guest that cannot run: another one runs already, and holds the running lock (VM-3) ---- */

static void source_runs_again(struct hand_over *h) {
    const struct vms_guest *g = vms_vm_guest(h->source);
    struct vms_error err = {0};
    cr_assert_eq(g->ops->run(g->ctx, &err), VMS_OK, "%s", err.message);
    cr_assert_eq(g->ops->locks(g->ctx, false, &err), VMS_OK);
}

static void expect_told_in_report(struct hand_over *h) {
    char path[80];
    (void)snprintf(path, sizeof path, "%s.report", h->vm);
    h->s.options.report = path;
    cr_assert_eq(dst_report(h->s.session, NULL), 0);
    json_t *report = json_load_file(path, 0, NULL), *o = json_object_get(report, "hand_over");
    cr_expect_str_eq(json_string_value(json_object_get(o, "guest")), "not started here");
    cr_expect_str_eq(json_string_value(json_object_get(o, "source")), "keeps its guest");
    cr_expect(json_is_false(json_object_get(o, "shut_sent")));
    json_decref(report);
    (void)unlink(path);
}

/* The source hears it, the report says it, and its locks are to be had. */
static void expect_handed_back(struct hand_over *h, int fd) {
    const struct vms_guest *g = vms_vm_guest(h->source);
    struct vms_error err = {0};
    struct stat st;
    cr_assert(ends_with_shut(fd, 1));
    cr_assert_eq(g->ops->locks(g->ctx, true, &err), VMS_OK, "%s", err.message);
    pthread_join(h->s.thread, NULL);
    h->s.thread = 0;
    cr_assert_eq(dst_source_belief(h->s.session), DST_SOURCE_KEEPS);
    cr_assert_neq(stat(h->announce, &st), 0, "announced");
    expect_told_in_report(h);
    EXPECT(&h->s, VMS_E_VM_RUNS_TWICE);
    clean_up(h);
}

/* [DST-24] */
Test(guest, cannot_run) {
    static struct hand_over h;
    prepare(&h, false);
    source_runs_again(&h);
    expect_handed_back(&h, send_guest(&h, h.state_len));
}

/* Without PING: nothing comes back but SHUT. */
static void send_postcopy(struct hand_over *h, int fd) {
    static const uint8_t advise[] = {0x08, 0, VMS_CMD_POSTCOPY_ADVISE, 0, 16};
    static const uint8_t packaged[] = {0x08, 0, VMS_CMD_PACKAGED, 0, 4};
    header();
    command(VMS_CMD_OPEN_RETURN_PATH, 0, 0);
    vms_write_bytes(&w, vms_slice(advise, sizeof advise));
    vms_write_u64(&w, PAGE);
    vms_write_u64(&w, PAGE);
    ram_start(false);
    vms_write_bytes(&w, vms_slice(packaged, sizeof packaged));
    size_t length = w.pos;
    vms_write_u32(&w, 0);
    command(VMS_CMD_POSTCOPY_LISTEN, 0, 0);
    state_section(h, h->state_len);
    command(VMS_CMD_POSTCOPY_RUN, 0, 0);
    struct vms_writer at = {bytes + length, 4, 0};
    vms_write_u32(&at, (uint32_t)(w.pos - length - 4));
    end_with_pages(h);
    vms_write_u8(&w, 0);
    send_all(fd);
}

/* When something has come back, or nothing for long: it does not run. */
static enum vms_code run_late(void *ctx, struct vms_error *err) {
    struct pollfd p = {*(const int *)ctx, POLLIN, 0};
    (void)poll(&p, 1, 1000);
    return vms_error_set(err, VMS_E_VM_RUNS_TWICE, "as the test wants it");
}

/* [DST-24] [DST-10] All pages are in before the guest has run: SHUT waits until that is known. */
Test(guest, cannot_run_when_all_pages_are_in) {
    static struct hand_over h;
    prepare(&h, true);
    open_scene(&h.s);
    int fd = dial(&h.s);
    struct vms_guest_wrap wrap = {.inner = h.s.session->guest, .run = run_late, .ctx = &fd};
    struct vms_guest late = vms_guest_wrap(&wrap);
    h.s.session->guest = &late; /* nobody looks before the first record */
    send_postcopy(&h, fd);
    pthread_join(h.s.thread, NULL);
    h.s.thread = 0;
    cr_assert(ends_with_shut(fd, 1));
    cr_assert_eq(dst_source_belief(h.s.session), DST_SOURCE_KEEPS);
    EXPECT(&h.s, VMS_E_VM_RUNS_TWICE);
    clean_up(&h);
}

/* [DST-20] */
Test(guest, state_of_another_length) {
    refused(VMS_E_DST_INCOMPLETE, true, 1);
}

/* [DST-5] */
Test(guest, no_state) {
    static struct hand_over h;
    prepare(&h, true);
    int fd = begin(&h.s);
    ram_start(false);
    end_with_pages(&h);
    end();
    send_all(fd);
    cr_assert(ends_with_shut(fd, 1));
    EXPECT(&h.s, VMS_E_DST_INCOMPLETE);
    clean_up(&h);
}

/* [RAM-16] at setup, before a page has come */
Test(guest, block_of_another_size) {
    static struct hand_over h;
    prepare(&h, true);
    write_vm(&h, "128K");
    int fd = begin(&h.s);
    ram_start(false);
    send_all(fd);
    cr_assert(ends_with_shut(fd, 1));
    EXPECT(&h.s, VMS_E_RAM_BLOCK_SIZE);
    clean_up(&h);
}
