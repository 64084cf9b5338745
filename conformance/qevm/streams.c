/* SPDX-License-Identifier: MIT */
#include "conformance/qevm/streams.h"

#include <stdlib.h>

enum {
    VFIO_ID = 9,
    DBM_ID = 3,
};

static const char VFIO[] = "0000:00:02.0/vfio";

static const char DESCRIPTION[] =
    "{\"page_size\":4096,\"devices\":["
    "{\"name\":\"timer\",\"instance_id\":0,\"fields\":[{\"size\":12}]},"
    "{\"name\":\"0000:00:02.0/vfio\",\"instance_id\":0,\"fields\":[{\"size\":22}]}]}";

/* ---- pieces ---- */

static void tag(struct vb *v, const char *name, unsigned number) {
    vb_word(v, name, UINT64_C(0xffffffffef100000) + number);
}

static void end_of_state(struct vb *v) {
    tag(v, "VFIO_END_OF_STATE", 1);
    vb_footer(v, VFIO_ID);
}

static void vfio_data(struct vb *v, size_t n) {
    tag(v, "VFIO_DATA_STATE", 4);
    vb_u64(v, n);
    vb_fill(v, 0x7e, n); /* looks like footers */
}

static void start_vfio(struct vb *v) {
    vb_start(v, VFIO_ID, VFIO, 1);
    tag(v, "VFIO_SETUP_STATE", 3);
    end_of_state(v);
}

static void start_bitmaps(struct vb *v) {
    vb_start(v, DBM_ID, "dirty-bitmap", 1);
    vb_expect(v, "DIRTY_BITMAP");
    vb_u8(v, 0x1c);
    vb_str8(v, "n0");
    vb_str8(v, "b1");
    vb_u32(v, 0x10000);
    vb_u8(v, 3);
    vb_expect(v, "DIRTY_BITMAP");
    vb_u8(v, 0x01);
    vb_footer(v, DBM_ID);
}

static void end_bitmaps(struct vb *v) {
    vb_end(v, DBM_ID);
    vb_expect(v, "DIRTY_BITMAP");
    vb_u8(v, 0x44);
    vb_str8(v, "b1");
    vb_u64(v, 0);
    vb_u32(v, 0x20000);
    vb_u64(v, 8);
    vb_u64(v, 0x0100000000000080);
    vb_expect(v, "DIRTY_BITMAP");
    vb_u8(v, 0x42);
    vb_u64(v, 0x20000);
    vb_u32(v, 0x20000);
    vb_expect(v, "DIRTY_BITMAP");
    vb_u8(v, 0x21);
    vb_footer(v, DBM_ID);
}

static void small_pages(struct vb *v) {
    vb_zero(v, "vga", 0x1000);
    vb_word(v, "RAM_XBZRLE", 0x40 | 0x20);
    vb_u8(v, 1);
    vb_u16(v, 3);
    vb_raw(v, "\0\1\xb3", 3);
    vb_word(v, "RAM_COMPRESSED", 0x2000 | 0x100);
    vb_str8(v, "pc.ram");
    vb_u32(v, 5);
    vb_text(v, "zlib!");
    vb_word(v, "RAM_HOOK", 0x80);
    vb_word(v, "RAM_MULTIFD_FLUSH", 0x200);
}

static void end_devices(struct vb *v) {
    vb_device(v, 0, "timer", "\x7e\0\0\0\0\x04hello!", 12);
    vb_full(v, VFIO_ID, VFIO);
    tag(v, "VFIO_CONFIG_STATE", 2);
    vb_text(v, "config");
    end_of_state(v);
    vb_eof(v);
    vb_vmdesc(v, DESCRIPTION);
}

/* ---- streams ---- */

/* `pages` data pages and `device` octets of device data a PART. */
static struct vb *precopy(unsigned pages, size_t device) {
    struct vb *v = vb_new("main", "MOD-4", "precopy");
    vb_ram(v);
    vb_command(v, 1, 0);
    vb_ping(v, 1);
    start_vfio(v);
    start_bitmaps(v);
    vb_part(v, VB_RAM_ID);
    small_pages(v);
    for (unsigned i = 0; i < pages; i++)
        vb_normal(v, i % 3 ? NULL : i % 2 ? "vga" : "pc.ram", i % 8 * VB_PAGE);
    vb_close(v);
    vb_part(v, VFIO_ID);
    vfio_data(v, device);
    tag(v, "VFIO_INIT_DATA_SENT", 5);
    vb_footer(v, VFIO_ID);
    vb_command(v, 11, 0);
    vb_end(v, VB_RAM_ID);
    vb_close(v);
    end_bitmaps(v);
    vb_end(v, VFIO_ID);
    vfio_data(v, device);
    end_of_state(v);
    end_devices(v);
    return v;
}

static void discard(struct vb *v) {
    vb_command(v, 6, 39);
    vb_u8(v, 0);
    vb_str8(v, "huge");
    vb_u8(v, 0);
    vb_u64(v, 0);
    vb_u64(v, 0x2000);
    vb_u64(v, 0x4000);
    vb_u64(v, 0x1000);
}

static struct vb *postcopy(void) {
    struct vb *v = vb_new("main", "MOD-4", "postcopy");
    vb_head(v);
    vb_command(v, 1, 0);
    vb_command(v, 3, 16);
    vb_u64(v, 0x3000);
    vb_u64(v, 0x1000);
    vb_start(v, VB_RAM_ID, "ram", 4);
    vb_mem_size(v, 0x6000);
    vb_block(v, "huge", 0x5000);
    vb_u64(v, 0x2000);
    vb_block(v, "vga", 0x1000);
    vb_close(v);
    discard(v);
    vb_command(v, 7, 4);
    vb_u32(v, 5 + 19 + 12 + 5 + 9 + 5);
    vb_command(v, 4, 0);
    vb_full(v, 5, "timer");
    vb_text(v, "device bytes");
    vb_footer(v, 5);
    vb_ping(v, 3);
    vb_command(v, 5, 0);
    vb_expect(v, "PACKAGE_END");
    vb_ping(v, 4);
    vb_part(v, VB_RAM_ID);
    vb_zero(v, "huge", 0x3000);
    vb_zero(v, NULL, 0x2000);
    vb_zero(v, "vga", 0);
    vb_close(v);
    vb_finish(v);
    return v;
}

static struct vb *mapped(void) {
    struct vb *v = vb_new("main", "MOD-4", "mapped-ram, with pages of 1 KiB");
    v->dialect = "page-bits=10";
    vb_header(v);
    vb_config(v, "test");
    vb_subsection(v, "configuration/capabilities", 1);
    vb_u32(v, 1);
    vb_str8(v, "mapped-ram");
    vb_start(v, 1, "ram", 4);
    vb_word(v, "RAM_MEM_SIZE", 0x404);
    vb_block(v, "a", 0x400);
    vb_u32(v, 1);
    vb_u64(v, 0x400);
    vb_u64(v, v->len + 16);
    vb_u64(v, 0x400);
    vb_expect(v, "MAPPED_BITMAP");
    vb_u64(v, 0x0100000000000000);
    vb_expect(v, "MAPPED_PADDING");
    vb_fill(v, 0, 0x400 - v->len);
    vb_expect(v, "MAPPED_PAGES");
    vb_fill(v, 0x10, 0x400);
    vb_eos(v);
    vb_footer(v, 1);
    vb_eof(v);
    return v;
}

static struct vb *early(void) {
    struct vb *v = vb_new("main", "MOD-4", "early sections");
    vb_header(v);
    vb_config(v, "test");
    vb_subsection(v, "configuration/target-page-bits", 1);
    vb_u32(v, 14);
    vb_subsection(v, "configuration/capabilities", 1);
    vb_u32(v, 1);
    vb_str8(v, "x-ignore-shared");
    vb_subsection(v, "configuration/uuid", 1);
    vb_fill(v, 0x11, 16);
    vb_full(v, 7, "x/virtio-mem-device-early");
    vb_u64(v, 0x100000000);
    vb_u64(v, 0x8200000);
    vb_u64(v, 0x200000);
    vb_u32(v, 0);
    vb_u64(v, 0x200000);
    vb_fill(v, 0x7e, 16);
    vb_footer(v, 7);
    vb_start(v, VB_RAM_ID, "ram", 4);
    vb_mem_size(v, 0x8000);
    vb_block(v, "a", 0x8000);
    vb_u64(v, 0x100000);
    vb_close(v);
    vb_full(v, VFIO_ID, VFIO);
    tag(v, "VFIO_CONFIG_LOAD_READY", 6);
    vb_footer(v, VFIO_ID);
    vb_eof(v);
    return v;
}

static struct vb *recovery(void) {
    struct vb *v = vb_new("recovery", "MOD-4", "recovery");
    v->main = vb_adopted();
    vb_command(v, 10, 4);
    vb_str8(v, "vga");
    vb_command(v, 9, 0);
    vb_part(v, VB_RAM_ID);
    vb_zero(v, "vga", 0x1000);
    vb_zero(v, NULL, 0x2000);
    vb_close(v);
    vb_finish(v);
    return v;
}

static struct vb *multifd(void) {
    static const uint64_t offsets[] = {0x1000, 0x7000};
    struct vb *v = vb_new("multifd", "MOD-4", "multifd");
    v->main = vb_adopted();
    vb_hello(v, 3);
    vb_packet(v, &(struct vb_packet){0x02, 128, 1, 9, 1, 1, "vga"}, offsets);
    vb_text(v, "ninebytes");
    vb_packet(v, &(struct vb_packet){0x01, 0, 0, 77, 2, 0, ""}, offsets);
    vb_expect(v, "MULTIFD_DEVICE_STATE");
    vb_u32(v, 0x11223344);
    vb_u32(v, 1);
    vb_u32(v, 0x40);
    vb_text(v, "vfio");
    vb_fill(v, 0, 252);
    vb_u32(v, 0);
    vb_u32(v, 12 + 6);
    vb_u32(v, 0);
    vb_u32(v, 7);
    vb_u32(v, 1);
    vb_text(v, "config");
    return v;
}

static struct vb *preempt(void) {
    struct vb *v = vb_new("preempt", "MOD-4", "preempt");
    v->main = vb_adopted();
    vb_zero(v, "vga", 0x1000);
    vb_zero(v, NULL, 0x2000);
    vb_word(v, "RAM_COMPRESSED", 0x120);
    vb_u32(v, 3);
    vb_text(v, "zip");
    vb_zero(v, "pc.ram", 0);
    vb_eos(v);
    return v;
}

static struct vb *return_path(void) {
    struct vb *v = vb_new("return-path", "MOD-4", "return path");
    vb_message(v, "RP_SWITCHOVER_ACK", 7, 0);
    vb_message(v, "RP_PONG", 2, 4);
    vb_u32(v, 1);
    vb_message(v, "RP_REQ_PAGES_ID", 3, 16);
    vb_u64(v, 0x1000);
    vb_u32(v, 0x1000);
    vb_str8(v, "vga");
    vb_message(v, "RP_REQ_PAGES", 4, 12);
    vb_u64(v, 0x2000);
    vb_u32(v, 0x1000);
    vb_message(v, "RP_RECV_BITMAP", 5, 4);
    vb_str8(v, "vga");
    vb_u64(v, 8);
    vb_u64(v, 0x0f);
    vb_expect(v, "RP_RECV_BITMAP_END");
    vb_u64(v, 0x0123456789abcdef);
    vb_message(v, "RP_RESUME_ACK", 6, 4);
    vb_u32(v, 1);
    vb_message(v, "RP_SHUT", 1, 4);
    vb_u32(v, 0);
    return v;
}

static struct vb *opaque(void) {
    struct vb *v = vb_new("main", "MOD-4", "opaque");
    v->tail = "opaque";
    vb_ram(v);
    vb_expect(v, "DEVICE_TAIL");
    vb_fill(v, 0x04, 1);
    vb_u32(v, 5);
    vb_str8(v, "timer");
    vb_u64(v, 1);
    vb_text(v, "device bytes");
    return v;
}

struct vb *stream_make(enum stream_id id) {
    switch (id) {
    case STREAM_PRECOPY: return precopy(0, 9);
    case STREAM_POSTCOPY: return postcopy();
    case STREAM_MAPPED: return mapped();
    case STREAM_EARLY: return early();
    case STREAM_RECOVERY: return recovery();
    case STREAM_MULTIFD: return multifd();
    case STREAM_PREEMPT: return preempt();
    case STREAM_RETURN_PATH: return return_path();
    case STREAM_OPAQUE: return opaque();
    case STREAM_RICH:
    default: return precopy(300, 100000);
    }
}

struct vms_qevm_config stream_config(const struct vb *v) {
    struct vms_error err;
    struct vms_qevm_config c = vms_qevm_config_default();
    c.channel = 5;
    c.limits.device_tail_bytes = 4096;
    c.limits.sections = 16;
    c.limits.ram_blocks = 8;
    if (!kind_named(v->kind, &c.kind) ||
        vms_dialect_parse(vms_str(v->dialect), &c.dialect, &err) != VMS_OK)
        abort();
    if (strcmp(v->tail, "opaque") == 0)
        c.tail_mode = VMS_TAIL_OPAQUE;
    return c;
}

struct vms_qevm_decoder *stream_main(const struct vb *v) {
    if (!v->main)
        return NULL;
    struct vms_qevm_config c = stream_config(v->main);
    return decoder_after(&c, stream_octets(v->main));
}

struct vms_slice stream_octets(const struct vb *v) {
    return vms_slice(v->ptr, v->len);
}
