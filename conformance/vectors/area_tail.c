/* SPDX-License-Identifier: MIT */
#include "conformance/vectors/vectors.h"

#include <string.h>

/* The end of a stream, and device sections. */

#define DEVICE(name, size)                                                                         \
    "{\"name\":\"" name "\",\"instance_id\":0,\"vmsd_name\":\"" name "\",\"version\":1,"           \
    "\"fields\":[{\"name\":\"data\",\"type\":\"buffer\",\"size\":" #size "}]}"
#define DEVICES(list) "{\"page_size\":4096,\"devices\":[" list "]}"

static struct vb *stream(struct area *a, const char *clause, const char *comment,
                         const char *descriptions) {
    struct vb *v = vector(a, "main", clause, comment);
    v->descriptions = descriptions;
    vb_ram(v);
    return v;
}

static void make_end(struct area *a) {
    struct vb *v = stream(a, "END-1", "what follows EOF is no description", "none");
    vb_eof(v);
    vb_at(v);
    vb_u8(v, 0x08);
    vb_fails(v, "BAD_VMDESC_TYPE");

    v = stream(a, "END-2", "a description that is no JSON", "read");
    vb_guessed(v);
    vb_device(v, 5, "d", "data", 4);
    vb_eof(v);
    vb_vmdesc(v, "{\"devices\":oops}");
    vb_at_back(v, 16);
    vb_breaks(v, "BAD_VMDESC");

    v = stream(a, "END-3", "octets behind the description", "none");
    vb_eof(v);
    vb_vmdesc(v, DEVICES(""));
    vb_at(v);
    vb_u8(v, 0);
    vb_fails(v, "TRAILING_BYTES");

    v = stream(a, "END-3", "octets behind EOF in a dialect without descriptions", "none");
    v->dialect = "vmdesc=off";
    vb_eof(v);
    vb_at(v);
    vb_u8(v, 0x06);
    vb_fails(v, "TRAILING_BYTES");

    v = stream(a, "END-5", "a stream with a description", "none");
    vb_eof(v);
    vb_vmdesc(v, DEVICES(""));

    v = stream(a, "END-5", "no description, in a dialect that has them", "none");
    v->dialect = "vmdesc=on";
    vb_eof(v);
    vb_at(v);
    vb_fails(v, "TRUNCATED");

    v = stream(a, "MOD-3", "the description is shorter than announced", "none");
    vb_eof(v);
    vb_expect(v, "VMDESCRIPTION");
    vb_u8(v, 0x06);
    vb_u32(v, 100);
    vb_text(v, "{}");
    vb_ends_in_bulk(v);
}

static void make_end_postcopy(struct area *a) {
    struct vb *v = stream(a, "END-4", "a description behind a postcopy stream", "none");
    vb_command(v, 3, 0);
    vb_command(v, 4, 0);
    vb_command(v, 5, 0);
    vb_eof(v);
    vb_at(v);
    vb_u8(v, 0x06);
    vb_fails(v, "VMDESC_AFTER_POSTCOPY");

    v = stream(a, "END-3", "octets behind a postcopy stream", "none");
    vb_command(v, 3, 0);
    vb_command(v, 4, 0);
    vb_command(v, 5, 0);
    vb_eof(v);
    vb_at(v);
    vb_u8(v, 0x00);
    vb_fails(v, "TRAILING_BYTES");
}

/* A footer, a command and a section header, all of which the guest wrote. */
static const uint8_t FORGED[] = {0x7e, 0, 0, 0, 5, 0x08, 0, 11, 0, 0, 0x04, 0, 0, 0, 6, 1, 'x'};
/* A footer, EOF and a description without devices. */
static const uint8_t FORGED_END[] = {0x7e, 0,   0,   0,   5,   0x00, 0x06, 0,   0,
                                     0,    14,  '{', '"', 'd', 'e',  'v',  'i', 'c',
                                     'e',  's', '"', ':', '[', ']',  '}'};

/* A footer, EOF and a description that fits what comes before it. */
static const char FORGED_FIT[] = "\x7e\0\0\0\5\0\6\0\0\0\x8b" DEVICES(DEVICE("d", 0));

static void make_described(struct area *a) {
    struct vb *v = stream(a, "TAIL-1", "two device sections, cut by the description", "read");
    vb_device(v, 5, "d", "data", 4);
    vb_device(v, 0, "e", "", 0);
    vb_eof(v);
    vb_vmdesc(v, DEVICES(DEVICE("d", 4) "," DEVICE("e", 0)));

    v = stream(a, "TAIL-1", "device data with a forged footer, command and section", "read");
    vb_device(v, 5, "d", FORGED, sizeof FORGED);
    vb_eof(v);
    vb_vmdesc(v, DEVICES(DEVICE("d", 17)));

    v = stream(a, "TAIL-1", "device data with a forged description that does not fit", "read");
    vb_device(v, 5, "d", FORGED_END, sizeof FORGED_END);
    vb_eof(v);
    vb_vmdesc(v, DEVICES(DEVICE("d", 25)));

    v = stream(a, "TAIL-1", "device data with a forged end that fits: more follows it", "read");
    vb_device(v, 5, "d", FORGED_FIT, sizeof FORGED_FIT - 1);
    vb_eof(v);
    vb_vmdesc(v, DEVICES(DEVICE("d", 150)));

    v = stream(a, "TAIL-2", "no description may be tried: cut by guess", "read");
    vb_limit(v, "vmdesc_candidates", 0);
    vb_guessed(v);
    vb_device(v, 5, "d", FORGED_END, sizeof FORGED_END);
    vb_eof(v);
    vb_vmdesc(v, DEVICES(DEVICE("d", 25)));
    v->record_count -= 3; /* the guess stops at the forged end, where the rest is trailing */
    vb_expect(v, "SECTION_FOOTER");
    v->records[v->record_count - 1].offset = v->records[v->record_count - 2].offset + 15;
    vb_expect(v, "EOF");
    v->records[v->record_count - 1].offset = v->records[v->record_count - 2].offset + 5;
    vb_expect(v, "VMDESCRIPTION");
    v->records[v->record_count - 1].offset = v->records[v->record_count - 2].offset + 1;
    v->error_at = v->records[v->record_count - 1].offset + 19;
    vb_fails(v, "TRAILING_BYTES");

    v = stream(a, "TAIL-2", "only the description at the end is tried", "read");
    vb_limit(v, "vmdesc_candidates", 1);
    vb_device(v, 5, "d", FORGED_END, sizeof FORGED_END);
    vb_eof(v);
    vb_vmdesc(v, DEVICES(DEVICE("d", 25)));
}

static void make_guessed(struct area *a) {
    struct vb *v = stream(a, "TAIL-4", "no description: cut at the footers", "read");
    vb_clause(v, "END-5");
    vb_guessed(v);
    vb_device(v, 5, "d", "data", 4);
    vb_device(v, 6, "e", "\x7e\0\0\0\6more", 9);
    vb_eof(v);

    v = stream(a, "TAIL-4", "a description that does not fit: cut at the footers", "read");
    vb_clause(v, "TAIL-2");
    vb_guessed(v);
    vb_device(v, 5, "d", "data", 4);
    vb_eof(v);
    vb_vmdesc(v, DEVICES(DEVICE("d", 5)));

    v = stream(a, "TAIL-4", "a tail without a footer", "none");
    vb_full(v, 5, "d");
    vb_text(v, "data");
    vb_at(v);
    vb_breaks(v, "TRUNCATED");

    v = stream(a, "TAIL-4", "no description and no footers", "none");
    v->dialect = "footers=off";
    v->len -= 5; /* of the START */
    v->record_count--;
    vb_at(v);
    vb_full(v, 5, "d");
    vb_text(v, "data");
    vb_u8(v, 0);
    vb_breaks(v, "TAIL_UNCUT");
}

static void package(struct vb *v, const void *body, size_t n, uint32_t len) {
    vb_command(v, 1, 0);
    vb_command(v, 3, 0);
    vb_command(v, 7, 4);
    vb_u32(v, len);
    vb_command(v, 4, 0);
    vb_guessed(v);
    vb_full(v, 5, "d");
    vb_raw(v, body, n);
}

static void make_package_tails(struct area *a) {
    struct vb *v = stream(a, "TAIL-5", "a package: what follows its devices is exact", "none");
    package(v, FORGED, sizeof FORGED, 5 + 15 + 17 + 5 + 18 + 5);
    vb_footer(v, 5);
    vb_exact(v);
    vb_ping(v, 3);
    vb_ping(v, 0x42);
    vb_command(v, 5, 0);
    vb_expect(v, "PACKAGE_END");
    vb_ping(v, 4);
    vb_finish(v);

    v = stream(a, "TAIL-4", "a package whose device section has no footer", "none");
    package(v, "data", 4, 5 + 15 + 4 + 5);
    vb_at_back(v, 19);
    vb_breaks(v, "TAIL_UNCUT");
    vb_u8(v, 0x08);
    vb_u16(v, 5);
    vb_u16(v, 0);
    v->guessed_from = UINT64_MAX;

    v = stream(a, "MOD-3", "the input ends inside a package's device sections", "none");
    package(v, "data", 4, 5 + 15 + 4 + 5);
    vb_at(v);
    vb_breaks(v, "TRUNCATED");
    v->guessed_from = UINT64_MAX;
}

static void make_opaque(struct area *a) {
    struct vb *v = stream(a, "TAIL-6", "opaque mode: one record to the end", "none");
    v->tail = "opaque";
    vb_expect(v, "DEVICE_TAIL");
    vb_device(v, 5, "d", "data", 4);
    v->record_count -= 2;
    vb_u8(v, 0);

    v = stream(a, "TAIL-6", "opaque mode inside a package: one record to its end", "none");
    v->tail = "opaque";
    package(v, "data", 4, 5 + 15 + 4 + 5 + 5);
    v->records[v->record_count - 1].name = "DEVICE_TAIL";
    v->guessed_from = UINT64_MAX;
    vb_footer(v, 5);
    vb_command(v, 5, 0);
    v->record_count -= 2;
    vb_expect(v, "PACKAGE_END");
    vb_eof(v);
}

static void virtio_mem(struct vb *v, uint64_t region, uint64_t block, size_t bitmap) {
    vb_full(v, 7, "0000:00:03.0/virtio-mem-device-early");
    vb_u64(v, 0x100000000);
    vb_u64(v, region);
    vb_u64(v, block);
    vb_u32(v, 0);
    vb_u64(v, 0x200000);
    vb_fill(v, 0x01, bitmap);
    vb_footer(v, 7);
}

static void make_early(struct area *a) {
    struct vb *v = vector(a, "main", "TAIL-8", "virtio-mem's early section in front of RAM");
    vb_head(v);
    virtio_mem(v, 0x8200000, 0x200000, 16);
    vb_start(v, 1, "ram", 4);
    vb_mem_size(v, 0);
    vb_eos(v);
    vb_footer(v, 1);
    vb_eof(v);

    v = vector(a, "main", "TAIL-8", "the same with a bitmap of another length");
    vb_head(v);
    virtio_mem(v, 0x8200000, 0x200000, 8);
    vb_u64(v, 0);
    v->error_at = v->len - 13 + 8;
    vb_breaks(v, "FOOTER_MISSING");
}

static void make_given(struct area *a) {
    struct vb *v = stream(a, "TAIL-10", "lengths known beforehand", "given");
    v->given = DEVICES(DEVICE("d", 17));
    vb_device(v, 5, "d", FORGED, sizeof FORGED);
    vb_eof(v);
    vb_vmdesc(v, DEVICES(DEVICE("d", 17)));

    v = stream(a, "TAIL-2", "a section that the description given lacks", "given");
    v->given = DEVICES(DEVICE("d", 17));
    vb_at(v);
    vb_device(v, 5, "e", "data", 4);
    v->record_count--;
    vb_breaks(v, "TAIL_WALK");

    v = stream(a, "TAIL-2", "a section of another length than the description given", "given");
    v->given = DEVICES(DEVICE("d", 3));
    vb_full(v, 5, "d");
    vb_text(v, "abc");
    vb_at(v);
    vb_text(v, "d");
    vb_u8(v, 0x7e);
    vb_u32(v, 5);
    vb_fails(v, "TAIL_WALK");
}

void make_end_tail(struct area *a) {
    make_end(a);
    make_end_postcopy(a);
    make_described(a);
    make_guessed(a);
    make_package_tails(a);
    make_opaque(a);
    make_early(a);
    make_given(a);
}
