/* SPDX-License-Identifier: MIT */
#include <vmstream/transcode.h>

/*
 * Bulk is collected as it comes, opened in place, and given only once the tag has proven the whole
 * frame (TRC-17). Two buffers of the longest bulk: as on the wire, and unpacked.
 */
enum {
    PAGE_SIZE = 4096, /* of the unpacker; it matters for references to page versions only */
};

struct vms_intake {
    struct vms_intake_config config;
    struct vms_native_decoder *decoder;
    struct vms_unpacker *unpacker; /* NULL without zip */
    struct vms_error error;
    uint8_t *wire;
    uint8_t *unpacked;
    size_t cap;             /* of each */
    size_t have;            /* bytes of the frame's bulk that have come: in wire, or placed */
    struct vms_room *rooms; /* VMS_INTAKE_ROOMS of them; of a frame that is placed */
    size_t room_count, at;  /* rooms of it; the one being filled */
    size_t filled;          /* bytes of that one */
};

static size_t aligned(size_t n) {
    return (n + 63) & ~(size_t)63;
}

static bool has_zip(const struct vms_intake_config *c) {
    return c->zip.decompress != NULL;
}

static struct vms_unpack_config unpack_config(const struct vms_intake_config *c) {
    return (struct vms_unpack_config){
        .zip = c->zip,
        .page_size = PAGE_SIZE,
        .unpacked_max = (uint32_t)c->native.limits.native_bulk_bytes,
    };
}

static size_t unpacker_bytes(const struct vms_intake_config *c) {
    struct vms_unpack_config unpack = unpack_config(c);
    return has_zip(c) ? aligned(vms_unpacker_size(&unpack)) : 0;
}

static size_t rooms_bytes(const struct vms_intake_config *c) {
    return c->place ? aligned(VMS_INTAKE_ROOMS * sizeof(struct vms_room)) : 0;
}

size_t vms_intake_size(const struct vms_intake_config *c) {
    uint64_t bulk = c->native.limits.native_bulk_bytes;
    if (bulk > UINT32_MAX / 2)
        return 0;
    return aligned(sizeof(struct vms_intake)) + aligned(vms_native_decoder_size(&c->native)) +
           unpacker_bytes(c) + rooms_bytes(c) + (has_zip(c) ? 2 : 1) * aligned((size_t)bulk);
}

struct vms_intake *vms_intake_init(void *mem, size_t mem_len, const struct vms_intake_config *c) {
    struct vms_intake *in = mem;
    uint8_t *at = mem;
    struct vms_unpack_config unpack = unpack_config(c);
    size_t size = vms_intake_size(c);
    if (!mem || !size || mem_len < size)
        return NULL;
    memset(in, 0, sizeof *in);
    in->config = *c;
    in->cap = (size_t)c->native.limits.native_bulk_bytes;
    at += aligned(sizeof *in);
    in->decoder = vms_native_decoder_init(at, vms_native_decoder_size(&c->native), &c->native);
    at += aligned(vms_native_decoder_size(&c->native));
    if (has_zip(c))
        in->unpacker = vms_unpacker_init(at, unpacker_bytes(c), &unpack);
    at += unpacker_bytes(c);
    in->rooms = c->place ? (struct vms_room *)(void *)at : NULL;
    at += rooms_bytes(c);
    in->wire = at;
    in->unpacked = has_zip(c) ? at + aligned(in->cap) : NULL;
    return in->decoder && (in->unpacker || !has_zip(c)) ? in : NULL;
}

uint64_t vms_intake_offset(const struct vms_intake *intake) {
    return vms_native_offset(intake->decoder);
}

static enum vms_native_step fail(struct vms_intake *in, struct vms_intake_event *ev) {
    ev->native.error = &in->error;
    return VMS_NATIVE_STEP_ERROR;
}

static enum vms_native_step refuse(struct vms_intake *in, struct vms_intake_event *ev,
                                   const char *fmt, unsigned method) {
    const struct vms_native_header *h = &ev->native.frame->header;
    (void)vms_error_at(&in->error, VMS_E_TRANSCODE_PACKED, h->channel,
                       vms_native_offset(in->decoder), h->sequence);
    (void)vms_error_set(&in->error, VMS_E_TRANSCODE_PACKED, fmt, method);
    return fail(in, ev);
}

/* [TRC-16] References to earlier versions of pages need the guest's memory, which is not here. */
static enum vms_native_step unpack(struct vms_intake *in, struct vms_intake_event *ev) {
    const struct vms_native_frame *f = ev->native.frame;
    unsigned method = f->header.flags & VMS_NATIVE_PACK_MASK;
    struct vms_pack_announced announced = {
        .method = method, .bulk_len = f->header.bulk_len, .unpacked = f->unpacked};
    struct vms_room room = {in->unpacked, f->unpacked};
    if (!in->unpacker || method == VMS_PACK_DELTA)
        return refuse(in, ev, "pack method %u", method);
    (void)vms_error_at(&in->error, VMS_OK, f->header.channel, vms_native_offset(in->decoder),
                       f->header.sequence);
    ev->bulk = vms_slice(in->unpacked, f->unpacked);
    if (vms_unpack(in->unpacker, &announced, vms_slice(in->wire, in->have), &room, 1, NULL,
                   &in->error) != VMS_OK)
        return fail(in, ev);
    return VMS_NATIVE_STEP_FRAME;
}

/* ---- bulk that is put where it belongs ---- */

static uint64_t total(const struct vms_room *rooms, size_t count) {
    uint64_t sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += rooms[i].len;
    return sum;
}

/* [NAT-19] Of a frame whose body could be read and whose bulk is still to come. */
static void begin(struct vms_intake *in, const struct vms_native_event *ev) {
    uint64_t bulk = vms_native_bulk_direct(in->decoder);
    in->have = in->room_count = in->at = in->filled = 0;
    if (!in->config.place || !bulk || ev->frame->unknown)
        return;
    size_t n = in->config.place(in->config.place_ctx, ev->frame, in->rooms, VMS_INTAKE_ROOMS);
    in->room_count = total(in->rooms, n) == bulk ? n : 0;
}

/* The rest of the room that is being filled; len 0: all are full. */
static struct vms_room current(struct vms_intake *in) {
    while (in->at < in->room_count && in->filled == in->rooms[in->at].len) {
        in->at++;
        in->filled = 0;
    }
    if (in->at == in->room_count)
        return (struct vms_room){NULL, 0};
    return (struct vms_room){in->rooms[in->at].ptr + in->filled,
                             in->rooms[in->at].len - in->filled};
}

/* from: plain bytes to copy, or NULL: they were read, to wire if they are ciphertext. */
static void spread(struct vms_intake *in, const uint8_t *from, size_t n) {
    bool enciphered = !from && vms_native_bulk_enciphered(in->decoder);
    for (size_t done = 0, k; done < n; done += k) {
        struct vms_room room = current(in);
        k = n - done < room.len ? n - done : room.len;
        if (!k || (!from && !vms_native_bulk_direct(in->decoder)))
            return;
        if (from)
            memcpy(room.ptr, from + done, k);
        else
            vms_native_bulk_moved(in->decoder, enciphered ? in->wire + done : room.ptr, room.ptr,
                                  k);
        in->filled += k;
        in->have += k;
    }
}

size_t vms_intake_rooms(struct vms_intake *in, size_t most, struct vms_room *rooms, size_t max) {
    struct vms_room first = vms_intake_room(in);
    size_t n = 0;
    if (first.len && in->room_count && !vms_native_bulk_enciphered(in->decoder)) {
        struct vms_room room = current(in);
        for (size_t i = in->at; n < max && most && i < in->room_count; n++) {
            room.len = room.len < most ? room.len : most;
            rooms[n] = room;
            most -= room.len;
            if (++i < in->room_count)
                room = in->rooms[i];
        }
        return n;
    }
    if (!first.len || !max)
        return 0;
    rooms[0] = (struct vms_room){first.ptr, first.len < most ? first.len : most};
    return 1;
}

/* ---- frames ---- */

static enum vms_native_step whole(struct vms_intake *in, struct vms_intake_event *ev) {
    ev->placed = in->room_count > 0;
    if (ev->placed)
        return VMS_NATIVE_STEP_FRAME;
    ev->bulk = vms_slice(in->wire, in->have);
    if (in->config.keep_packed)
        return VMS_NATIVE_STEP_FRAME;
    if (ev->native.frame->header.flags & VMS_NATIVE_PACK_MASK && !ev->native.frame->unknown)
        return unpack(in, ev);
    return VMS_NATIVE_STEP_FRAME;
}

/* The decoder has checked the length against its limit, which is what the buffer has. */
static void collect(struct vms_intake *in, const struct vms_native_event *ev) {
    if (in->room_count) {
        spread(in, ev->bulk.ptr, ev->bulk.len);
        return;
    }
    if (ev->bulk.len > in->cap - in->have)
        return;
    memcpy(in->wire + in->have, ev->bulk.ptr, ev->bulk.len);
    in->have += ev->bulk.len;
}

enum vms_native_step vms_intake_next(struct vms_intake *in, struct vms_room *input,
                                     struct vms_intake_event *ev) {
    memset(ev, 0, sizeof *ev);
    if (in->error.code)
        return fail(in, ev);
    for (;;) {
        enum vms_native_step step = vms_native_decode(in->decoder, input, &ev->native);
        switch (step) {
        case VMS_NATIVE_STEP_HEAD: begin(in, &ev->native); break;
        case VMS_NATIVE_STEP_BULK: collect(in, &ev->native); break;
        case VMS_NATIVE_STEP_FRAME: return whole(in, ev);
        default: return step;
        }
    }
}

enum vms_native_step vms_intake_finish(struct vms_intake *in, struct vms_intake_event *ev) {
    memset(ev, 0, sizeof *ev);
    return in->error.code ? fail(in, ev) : vms_native_finish(in->decoder, &ev->native);
}

struct vms_room vms_intake_room(struct vms_intake *in) {
    uint64_t direct = in->error.code ? 0 : vms_native_bulk_direct(in->decoder);
    size_t left = in->room_count ? in->cap : in->cap - in->have;
    uint8_t *at = in->room_count ? in->wire : in->wire + in->have;
    return (struct vms_room){at, direct < left ? (size_t)direct : left};
}

void vms_intake_filled(struct vms_intake *in, size_t n) {
    if (in->room_count) {
        spread(in, NULL, n);
        return;
    }
    vms_native_bulk_taken(in->decoder, in->wire + in->have, n);
    in->have += n;
}
