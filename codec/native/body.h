/* SPDX-License-Identifier: MIT */
#ifndef VMS_NATIVE_BODY_H
#define VMS_NATIVE_BODY_H

#include "native/cbor.h"
#include <stddef.h>
#include <vmstream/native.h>

/*
 * A body is a map, and a table says what is in it: one row a key, ascending. One engine (body.c)
 * reads and writes all bodies from the tables, so that the two cannot differ. Lists and the like
 * have a codec of their own. Layers, each calling the one below:
 *
 *   decoder.c, encoder.c   frames on the wire, seal
 *   body.c                 tables <-> CBOR
 *   hello.c control.c data.c records.c pages.c   the tables and codecs, spec/native.cddl
 *   cbor.c                 deterministic CBOR
 */
enum vms_native_key {
#define VMS_NATIVE_KEY(name, value, type, text) KEY_##name = value,
#include <vmstream/registry/native_keys.def>
#undef VMS_NATIVE_KEY
    KEY_EXTENSION = 0x8000, /* from here on: passed over when unknown (NAT-32) */
    KEY_MAX = 0xffff,
};

/* Room for lists, had at construction; bump-allocated, empty again with each frame. */
struct vms_arena {
    uint8_t *ptr;
    size_t len;
    size_t used;
};

/** Room for count elements of that size, aligned for any; NULL when there is none. */
void *vms_arena_take(struct vms_arena *arena, size_t count, size_t size);

struct vms_body_in {
    struct vms_cbor c;
    const struct vms_limits *limits;
    struct vms_arena *arena;
};

/* The elements of a list, or NULL after an error. */
void *vms_body_list(struct vms_body_in *in, uint32_t count, size_t size);

/* What a table's row is about. */
struct vms_codec {
    /* Reads a member whose key was found. */
    void (*read)(struct vms_body_in *in, struct vms_native_frame *frame);
    /* Writes its value. */
    void (*write)(struct vms_writer *w, const struct vms_native_frame *frame);
    /* Why it cannot be written; NULL when it can. */
    const char *(*object)(const struct vms_native_frame *frame, const struct vms_limits *limits);
    /* Whether it is there, for an optional one. */
    bool (*present)(const struct vms_native_frame *frame);
};

enum vms_field_kind {
    FIELD_UINT,  /* of 1, 2, 4 or 8 bytes, between min and max */
    FIELD_FLAG,  /* bool: 1 or not there */
    FIELD_FIXED, /* `size` bytes in the struct */
    FIELD_BYTES, /* slice, min to max bytes */
    FIELD_TEXT,  /* slice, likewise */
    FIELD_CODEC,
};

struct vms_field {
    uint16_t key;
    uint8_t kind;
    bool optional; /* left out when 0 or empty */
    uint16_t size; /* UINT, FIXED: bytes */
    uint16_t at;   /* in struct vms_native_frame */
    uint64_t min, max;
    const struct vms_codec *codec;
};

struct vms_body {
    const struct vms_field *fields;
    size_t count;
};

#define VMS_FRAME_SIZE(m) sizeof(((struct vms_native_frame *)0)->m)
#define VMS_FRAME_AT(m)   offsetof(struct vms_native_frame, m)
#define VMS_F_UINT(key, m, min, max)                                                               \
    { KEY_##key, FIELD_UINT, false, VMS_FRAME_SIZE(m), VMS_FRAME_AT(m), min, max, NULL }
#define VMS_F_UINT_OPT(key, m, max)                                                                \
    { KEY_##key, FIELD_UINT, true, VMS_FRAME_SIZE(m), VMS_FRAME_AT(m), 1, max, NULL }
#define VMS_F_FLAG(key, m)                                                                         \
    { KEY_##key, FIELD_FLAG, true, sizeof(bool), VMS_FRAME_AT(m), 1, 1, NULL }
#define VMS_F_FIXED(key, m)                                                                        \
    { KEY_##key, FIELD_FIXED, false, VMS_FRAME_SIZE(m), VMS_FRAME_AT(m), 0, 0, NULL }
#define VMS_F_BYTES_OPT(key, m, max)                                                               \
    { KEY_##key, FIELD_BYTES, true, 0, VMS_FRAME_AT(m), 1, max, NULL }
#define VMS_F_TEXT(key, m, max)                                                                    \
    { KEY_##key, FIELD_TEXT, false, 0, VMS_FRAME_AT(m), 1, max, NULL }
#define VMS_F_TEXT_OPT(key, m, max)                                                                \
    { KEY_##key, FIELD_TEXT, true, 0, VMS_FRAME_AT(m), 1, max, NULL }
#define VMS_F_CODEC(key, codec)                                                                    \
    { KEY_##key, FIELD_CODEC, false, 0, 0, 0, 0, &codec }
#define VMS_F_CODEC_OPT(key, codec)                                                                \
    { KEY_##key, FIELD_CODEC, true, 0, 0, 0, 0, &codec }
#define VMS_BODY(table)                                                                            \
    { table, sizeof(table) / sizeof *(table) }

/* ROLE, SESSION, RANDOM: SECRET and IDENTITY come further down, in the order of the keys. */
#define VMS_F_WHO(m)     VMS_F_UINT(ROLE, m.role, 0, VMS_ROLE_DESTINATION)
#define VMS_F_WHO_IDS(m) VMS_F_FIXED(SESSION, m.session), VMS_F_FIXED(RANDOM, m.random)
#define VMS_F_WHO_SECRET(m)                                                                        \
    VMS_F_UINT_OPT(SECRET, m.secret, VMS_SECRET_EXPORTER),                                         \
        VMS_F_BYTES_OPT(IDENTITY, m.identity, VMS_PSK_NAME_MAX)

/* UNPACKED, the last of every DATA body that may be packed; PAGES has PACK behind it (data.c). */
extern const struct vms_codec vms_codec_unpacked, vms_codec_pack;
#define VMS_F_UNPACKED VMS_F_CODEC_OPT(UNPACKED, vms_codec_unpacked)
#define VMS_F_PACK     VMS_F_CODEC_OPT(PACK, vms_codec_pack)

/** The table of a frame; NULL when its type is unknown. ABORT has two, by u.abort.has_who. */
const struct vms_body *vms_body_of(const struct vms_native_frame *frame);

/** Reads the body of in->c into frame->u. Errors are in in->c. */
void vms_body_read(struct vms_body_in *in, struct vms_native_frame *frame);
/** Why the frame cannot be written within these limits, NULL when it can. */
const char *vms_body_object(const struct vms_native_frame *frame, const struct vms_limits *limits);
/** Writes the body of a frame to which there is no objection. */
void vms_body_write(struct vms_writer *w, const struct vms_native_frame *frame);
/** Why body, flags and length of the bulk do not fit, NULL when they do (NAT-18). */
const char *vms_body_check_bulk(const struct vms_native_frame *frame,
                                const struct vms_limits *limits);

/* frame.c */
enum vms_frame_class {
    FRAME_UNKNOWN,
    FRAME_HELLO,
    FRAME_CONTROL,
    FRAME_DATA,
};
enum vms_frame_class vms_frame_class(uint32_t type);
void vms_header_read(const uint8_t raw[VMS_NATIVE_HEADER], struct vms_native_header *h);
void vms_header_write(const struct vms_native_header *h, uint8_t raw[VMS_NATIVE_HEADER]);
#define VMS_NATIVE_MAGIC UINT32_C(0x564d5346)
/** Checks what a header can say by itself: VMS_OK or a code, *at the octet, *why the detail. */
enum vms_code vms_header_check(const struct vms_native_header *h, const uint8_t *raw,
                               const struct vms_limits *limits, size_t *at, const char **why);

/* lists that several bodies have */
uint64_t vms_uint_load(const void *at, size_t size);
void vms_uint_store(void *at, size_t size, uint64_t value);
extern const struct vms_codec vms_codec_block_pages, vms_codec_block_range; /* pages.c */
extern const struct vms_codec vms_codec_runs, vms_codec_requested, vms_codec_named;
extern const struct vms_codec vms_codec_records; /* records.c */
void vms_read_block(struct vms_body_in *in, uint64_t name_min, struct vms_native_block *block);
void vms_write_block(struct vms_writer *w, const struct vms_native_block *block);

/* hello.c: [channel, next frame] lists */
void vms_read_positions(struct vms_body_in *in, uint32_t *count,
                        const struct vms_native_position **positions);
void vms_write_positions(struct vms_writer *w, uint32_t count,
                         const struct vms_native_position *positions);
const char *vms_object_positions(uint32_t count, const struct vms_native_position *positions,
                                 const struct vms_limits *limits);

extern const struct vms_body vms_body_hello, vms_body_attach, vms_body_resume; /* hello.c */
extern const struct vms_body vms_body_rekey, vms_body_ack, vms_body_end, vms_body_abort,
    vms_body_abort_hello, vms_body_ping, vms_body_generation, vms_body_ready,
    vms_body_switchover; /* control.c */
extern const struct vms_body vms_body_records, vms_body_pages, vms_body_page_list, vms_body_bulk,
    vms_body_device, vms_body_opaque, vms_body_range; /* data.c */

#endif
