/* SPDX-License-Identifier: MIT */
#include "reference-src/recorded.h"
#include "reference-src/session.h"
#include "reference-src/test_peer.h"

/* [SRC-12] What the source has written into a file is read back: blocks, memory, sections. */

static void write_stream(const char *path, const char *extra) {
    static struct test_guest g;
    struct src_options o;
    struct src_outcome out;
    struct vms_error err = {0};
    char uri[128];
    (void)snprintf(uri, sizeof uri, "file:%s", path);
    test_guest_make(&g, 700);
    test_options(&o, uri);
    cr_assert_eq(vms_dialect_parse(vms_str(extra), &o.dialect, &err), VMS_OK);
    struct src_session_host host = {.guest = &g.guest};
    struct src_session *s = src_session_new(&o, &host, &err);
    cr_assert_not_null(s, "%s", err.message);
    src_session_run(s, &out);
    cr_assert_eq(out.state, SRC_COMPLETED, "%s", out.error.message);
    src_session_free(s);
    test_guest_free(&g);
}

static enum vms_code load(const char *path, bool ram, struct src_recorded **r,
                          struct vms_error *err) {
    struct vms_limits limits = vms_limits_default();
    return src_recorded_load(path, &limits, ram, false, r, err);
}

static bool as_made(const struct src_recorded *r) {
    for (size_t i = 0; i < r->block_count; i++)
        for (uint64_t p = 0; p < r->blocks[i].length / TEST_PAGE; p++)
            for (uint64_t j = 0; j < TEST_PAGE; j += 8)
                if (*(volatile uint8_t *)(r->blocks[i].memory + p * TEST_PAGE + j) !=
                    (test_page_is_zero(p) ? 0 : 1 + p % 250))
                    return false;
    return true;
}

Test(recorded, round_trip) {
    char path[] = "/tmp/vms-recorded-XXXXXX";
    struct src_recorded *r;
    struct vms_error err = {0};
    close(mkstemp(path));
    write_stream(path, "11.1");
    cr_assert_eq(load(path, true, &r, &err), VMS_OK, "%s", err.message);
    cr_expect_eq(r->block_count, (size_t)2);
    cr_expect_str_eq(r->blocks[0].name, "pc.ram");
    cr_expect(vms_slice_eq(r->config.machine, vms_str("pc-i440fx-11.1")));
    cr_assert_eq(r->section_count, (size_t)1);
    cr_expect(vms_slice_eq(r->sections[0].about.idstr, vms_str("vmstream-guest")));
    cr_expect(vms_slice_eq(r->sections[0].bytes, vms_slice("\0\0\0\x12state of the guest", 22)));
    cr_expect(r->vmdesc.len > 0 && as_made(r));
    src_recorded_free(r);
    (void)unlink(path);
}

/* Without a description nothing delimits the sections; a stream cut short is none. */
Test(recorded, refused) {
    char path[] = "/tmp/vms-recorded-XXXXXX";
    struct src_recorded *r;
    struct vms_error err = {0};
    close(mkstemp(path));
    write_stream(path, "qemu=11.1,vmdesc=off");
    cr_expect_eq(load(path, false, &r, &err), VMS_E_SRC_RECORDING);
    write_stream(path, "11.1");
    cr_assert_eq(truncate(path, 100000), 0);
    cr_expect_neq(load(path, false, &r, &err), VMS_OK);
    cr_assert_eq(truncate(path, 0), 0);
    cr_expect_neq(load(path, false, &r, &err), VMS_OK);
    (void)unlink(path);
    cr_expect_eq(load(path, false, &r, &err), VMS_E_CONNECT);
}

/* The replayed guest writes while it runs, and has its memory back whenever it is stopped. */
Test(recorded, replay) {
    char path[] = "/tmp/vms-recorded-XXXXXX";
    struct src_recorded *r;
    struct src_replay *replay;
    struct vms_error err = {0};
    close(mkstemp(path));
    write_stream(path, "11.1");
    cr_assert_eq(load(path, true, &r, &err), VMS_OK);
    cr_assert_eq(src_replay_new(r, 20000, &replay, &err), VMS_OK);
    const struct vms_guest *g = src_replay_guest(replay);
    for (unsigned i = 0; i < 3; i++) {
        cr_assert_eq(g->ops->run(g->ctx, &err), VMS_OK);
        while (as_made(r))
            ;
        cr_assert_eq(g->ops->stop(g->ctx, &err), VMS_OK);
        cr_expect(as_made(r));
    }
    src_replay_free(replay);
    src_recorded_free(r);
    (void)unlink(path);
}
