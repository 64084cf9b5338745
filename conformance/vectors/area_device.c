/* SPDX-License-Identifier: MIT */
#include "conformance/vectors/vectors.h"

/* VFIO sections, dirty bitmaps. */

#define END_OF_STATE      UINT64_C(0xffffffffef100001)
#define CONFIG_STATE      UINT64_C(0xffffffffef100002)
#define SETUP_STATE       UINT64_C(0xffffffffef100003)
#define DATA_STATE        UINT64_C(0xffffffffef100004)
#define INIT_DATA_SENT    UINT64_C(0xffffffffef100005)
#define CONFIG_LOAD_READY UINT64_C(0xffffffffef100006)

enum {
    VFIO_ID = 9,
    DBM_ID = 3,
};

static const char VFIO[] = "0000:00:02.0/vfio";

static void end_of_state(struct vb *v) {
    vb_word(v, "VFIO_END_OF_STATE", END_OF_STATE);
    vb_footer(v, VFIO_ID);
}

static struct vb *vfio(struct area *a, const char *clause, const char *comment) {
    struct vb *v = vector(a, "main", clause, comment);
    vb_head(v);
    vb_start(v, VFIO_ID, VFIO, 1);
    vb_word(v, "VFIO_SETUP_STATE", SETUP_STATE);
    end_of_state(v);
    return v;
}

static void data(struct vb *v, uint64_t size) {
    vb_word(v, "VFIO_DATA_STATE", DATA_STATE);
    vb_u64(v, size);
}

static void make_vfio_good(struct area *a) {
    struct vb *v = vfio(a, "VFIO-5", "a device's sections; INIT_DATA_SENT ends one by itself");
    vb_part(v, VFIO_ID);
    data(v, 5);
    vb_text(v, "bytes");
    end_of_state(v);
    vb_part(v, VFIO_ID);
    vb_word(v, "VFIO_INIT_DATA_SENT", INIT_DATA_SENT);
    vb_footer(v, VFIO_ID);
    vb_part(v, VFIO_ID);
    end_of_state(v);
    vb_end(v, VFIO_ID);
    data(v, 1);
    vb_text(v, "a");
    data(v, 4096);
    vb_fill(v, 0xb7, 4096);
    end_of_state(v);
    vb_guessed(v);
    vb_full(v, VFIO_ID, VFIO);
    vb_word(v, "VFIO_CONFIG_STATE", CONFIG_STATE);
    vb_text(v, "config");
    end_of_state(v);
    vb_eof(v);

    v = vfio(a, "VFIO-2", "CONFIG_LOAD_READY alone, as with multifd");
    vb_guessed(v);
    vb_full(v, VFIO_ID, VFIO);
    vb_word(v, "VFIO_CONFIG_LOAD_READY", CONFIG_LOAD_READY);
    vb_footer(v, VFIO_ID);
    vb_eof(v);

    v = vfio(a, "VFIO-2", "END_OF_STATE alone, as with multifd");
    vb_guessed(v);
    vb_full(v, VFIO_ID, VFIO);
    end_of_state(v);
    vb_eof(v);

    v = vfio(a, "MOD-3", "the input ends inside the device data");
    vb_part(v, VFIO_ID);
    data(v, 5);
    vb_text(v, "byte");
    vb_ends_in_bulk(v);
}

enum place {
    IN_START,
    IN_PART,
    IN_END,
    IN_FULL,
};

/* A device's section of this kind, open; for FULL the rest of the stream follows the caller's tag.
 */
static struct vb *open_in(struct area *a, const char *clause, const char *comment,
                          enum place place) {
    struct vb *v = vector(a, "main", clause, comment);
    vb_head(v);
    vb_start(v, VFIO_ID, VFIO, 1);
    if (place == IN_START)
        return v;
    vb_word(v, "VFIO_SETUP_STATE", SETUP_STATE);
    end_of_state(v);
    if (place == IN_PART)
        vb_part(v, VFIO_ID);
    else if (place == IN_END)
        vb_end(v, VFIO_ID);
    else
        vb_guessed(v), vb_full(v, VFIO_ID, VFIO);
    return v;
}

/* What must stand behind a FULL section's content so that it can be cut. */
static void rest_of(struct vb *v, enum place place) {
    if (place != IN_FULL)
        return;
    vb_u8(v, 0x7e);
    vb_u32(v, VFIO_ID);
    vb_u8(v, 0);
}

static void make_vfio_places(struct area *a) {
    static const uint64_t tags[] = {SETUP_STATE, DATA_STATE, INIT_DATA_SENT, CONFIG_STATE,
                                    CONFIG_LOAD_READY};
    static const bool may[5][4] = {{true, false, false, false},
                                   {false, true, true, false},
                                   {false, true, false, false},
                                   {false, false, false, true},
                                   {false, false, false, true}};
    for (size_t tag = 0; tag < 5; tag++)
        for (unsigned place = IN_START; place <= IN_FULL; place++) {
            if (may[tag][place])
                continue;
            struct vb *v = open_in(a, "VFIO-2", "a tag in the wrong kind of section", place);
            vb_at(v);
            vb_u64(v, tags[tag]);
            rest_of(v, place);
            vb_fails(v, "VFIO_TAG_PLACE");
        }
    struct vb *v = open_in(a, "VFIO-2", "SETUP_STATE without END_OF_STATE at once", IN_START);
    vb_word(v, "VFIO_SETUP_STATE", SETUP_STATE);
    vb_at(v);
    vb_u64(v, SETUP_STATE);
    vb_fails(v, "VFIO_TAG_PLACE");

    v = open_in(a, "VFIO-2", "INIT_DATA_SENT in 7.2, which does not have it", IN_PART);
    v->dialect = "qemu=7.2";
    vb_at(v);
    vb_u64(v, INIT_DATA_SENT);
    vb_fails(v, "VFIO_TAG_PLACE");

    static const uint64_t unknown[] = {0, 0xffffffffef100000, 0xffffffffef100007, UINT64_MAX};
    for (size_t i = 0; i < 4; i++) {
        v = open_in(a, "VFIO-1", "an unknown tag", i % 2 ? IN_END : IN_PART);
        vb_at(v);
        vb_u64(v, unknown[i]);
        vb_fails(v, "VFIO_TAG");
    }
}

static void make_vfio_sizes(struct area *a) {
    struct vb *v = open_in(a, "VFIO-3", "a data block of no octets, which QEMU takes", IN_PART);
    data(v, 0);
    vb_at_back(v, 8);
    vb_breaks(v, "VFIO_DATA_SIZE");

    v = open_in(a, "LIM-1", "a data block of 2^64 - 1 octets", IN_END);
    data(v, UINT64_MAX);
    vb_at_back(v, 8);
    vb_breaks(v, "LIMIT");

    static const char *const comments[] = {"config state without END_OF_STATE",
                                           "config state with another tag at its end",
                                           "config state too short for END_OF_STATE"};
    for (size_t i = 0; i < 3; i++) {
        v = open_in(a, "VFIO-4", comments[i], IN_FULL);
        if (i < 2)
            vb_expect(v, "VFIO_CONFIG_STATE");
        else
            vb_at(v);
        vb_u64(v, CONFIG_STATE);
        if (i == 2) {
            vb_u32(v, 0);
        } else {
            vb_text(v, "config");
            vb_at(v);
            vb_u64(v, i ? CONFIG_LOAD_READY : 0);
        }
        rest_of(v, IN_FULL);
        vb_fails(v, "VFIO_CONFIG_END");
    }
    v = open_in(a, "VFIO-4", "a FULL section without a tag", IN_FULL);
    vb_at(v);
    vb_text(v, "bytes");
    rest_of(v, IN_FULL);
    vb_fails(v, "VFIO_CONFIG_END");

    v = open_in(a, "VFIO-4", "octets behind END_OF_STATE", IN_FULL);
    vb_at(v);
    vb_u64(v, END_OF_STATE);
    vb_u8(v, 0);
    rest_of(v, IN_FULL);
    vb_fails(v, "VFIO_CONFIG_END");
}

void make_vfio(struct area *a) {
    make_vfio_good(a);
    make_vfio_places(a);
    make_vfio_sizes(a);
}

/* ---- dirty bitmaps ---- */

static struct vb *bitmaps(struct area *a, const char *clause, const char *comment) {
    struct vb *v = vector(a, "main", clause, comment);
    vb_head(v);
    vb_start(v, DBM_ID, "dirty-bitmap", 1);
    return v;
}

static void chunk(struct vb *v, uint8_t flags, const char *node, const char *name) {
    vb_expect(v, "DIRTY_BITMAP");
    vb_u8(v, flags);
    if (node)
        vb_str8(v, node);
    if (name)
        vb_str8(v, name);
}

static void bits(struct vb *v, uint32_t sectors) {
    vb_u64(v, 0);
    vb_u32(v, sectors);
}

static void make_dbm_good(struct area *a) {
    struct vb *v = bitmaps(a, "DBM-2", "two bitmaps; names last until the next ones");
    chunk(v, 0x1c, "n0", "b1");
    vb_u32(v, 0x10000);
    vb_u8(v, 1);
    chunk(v, 0x14, NULL, "b0");
    vb_u32(v, 512);
    vb_u8(v, 7);
    chunk(v, 0x01, NULL, NULL);
    vb_footer(v, DBM_ID);
    vb_part(v, DBM_ID);
    chunk(v, 0x40, NULL, NULL);
    bits(v, 0x20000);
    vb_u64(v, 8);
    vb_u64(v, 0x8000000000000001);
    chunk(v, 0x46, NULL, "b1");
    bits(v, 0x20000);
    chunk(v, 0x01, NULL, NULL);
    vb_footer(v, DBM_ID);
    vb_end(v, DBM_ID);
    chunk(v, 0x24, NULL, "b1");
    chunk(v, 0x25, NULL, "b0");
    vb_footer(v, DBM_ID);
    vb_eof(v);

    v = bitmaps(a, "SEC-12", "no bitmaps");
    chunk(v, 0x01, NULL, NULL);
    vb_footer(v, DBM_ID);
    vb_eof(v);
    v = bitmaps(a, "MOD-3", "the input ends inside a chunk");
    chunk(v, 0x1c, "n0", "b1");
    vb_at(v);
    vb_breaks(v, "TRUNCATED");
}

void make_dbm(struct area *a) {
    make_dbm_good(a);
    static const uint8_t flags[] = {0x00, 0x02, 0x03, 0x04, 0x0c, 0x0d, 0x30,
                                    0x50, 0x60, 0x12, 0x22, 0x80, 0x9c, 0xff};
    struct vb *v;
    for (size_t i = 0; i < sizeof flags; i++) {
        v = bitmaps(a, "DBM-1", "flags that do not go together, of which QEMU picks one");
        vb_at(v);
        vb_u8(v, flags[i]);
        vb_fails(v, "DIRTY_BITMAP_FLAGS");
    }
    v = bitmaps(a, "DBM-2", "an empty node name");
    vb_expect(v, "DIRTY_BITMAP");
    vb_u8(v, 0x1c);
    vb_at(v);
    vb_str8(v, "");
    vb_breaks(v, "DIRTY_BITMAP_NAME");
    v = bitmaps(a, "DBM-2", "an empty bitmap name");
    chunk(v, 0x1c, "n0", "");
    vb_at_back(v, 1);
    vb_breaks(v, "DIRTY_BITMAP_NAME");
    v = bitmaps(a, "DBM-2", "no node was named");
    vb_at(v);
    chunk(v, 0x24, NULL, "b0");
    vb_breaks(v, "DIRTY_BITMAP_NAME");
    v = bitmaps(a, "DBM-2", "no bitmap was named");
    vb_at(v);
    chunk(v, 0x28, "n0", NULL);
    vb_breaks(v, "DIRTY_BITMAP_NAME");

    static const struct {
        uint32_t granularity;
        uint8_t properties;
    } starts[] = {{0, 1}, {256, 1}, {0x10001, 1}, {UINT32_MAX, 1}, {0x10000, 8}, {0x10000, 255}};
    for (size_t i = 0; i < sizeof starts / sizeof *starts; i++) {
        v = bitmaps(a, "DBM-3", "an impossible granularity or property");
        chunk(v, 0x1c, "n0", "b0");
        vb_at(v);
        vb_u32(v, starts[i].granularity);
        vb_u8(v, starts[i].properties);
        vb_breaks(v, "DIRTY_BITMAP_BODY");
    }
    static const uint64_t sizes[] = {0, UINT64_MAX};
    for (size_t i = 0; i < 2; i++) {
        v = bitmaps(a, i ? "LIM-1" : "DBM-3", i ? "2^64 - 1 octets of bits" : "no bits");
        chunk(v, 0x4c, "n0", "b0");
        bits(v, 1);
        vb_at(v);
        vb_u64(v, sizes[i]);
        vb_breaks(v, i ? "LIMIT" : "DIRTY_BITMAP_BODY");
    }
}
