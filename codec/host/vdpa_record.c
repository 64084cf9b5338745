/* SPDX-License-Identifier: MIT */
#include "host/vdpa_record.h"

#include "core/reader.h"
#include "core/writer.h"

#include <string.h>

enum record {
    WHOLE,
    CHANGES,
};

/* Parts of CHANGES [VDPA-27]. */
enum part {
    STATUS = 1, /* u8 */
    CONFIG,     /* the config space */
    QUEUE,      /* u16 number; u8 enabled, u32 entries, u32 base, u64 x 3 addresses */
    BASE,       /* u16 number, u32 base */
    MODES,      /* 6 octets address, u16 pairs, u8 x 6 modes */
    TABLE,      /* u16 unicast, u16 multicast, 6 octets each */
    VLANS,      /* u16 first octet, u16 octets of the map of VLANs, and they */
    PARTS,
};

static bool same_profile(const struct vms_vdpa_profile *a, const struct vms_vdpa_profile *b) {
    return a->device_id == b->device_id && a->features == b->features &&
           a->config_size == b->config_size && a->queues == b->queues &&
           a->ring_size == b->ring_size;
}

/* ---- writing ---- */

static void put_queue(struct vms_writer *w, uint32_t i, const struct vms_vdpa_queue *a,
                      const struct vms_vdpa_queue *b) {
    const struct vms_vdpa_ring *x = &a->ring, *y = &b->ring;
    bool moved = a->enabled != b->enabled || x->size != y->size || x->desc != y->desc ||
                 x->avail != y->avail || x->used != y->used;
    if (!moved && x->base == y->base)
        return;
    vms_write_u8(w, moved ? QUEUE : BASE);
    vms_write_u16(w, (uint16_t)i);
    if (moved) {
        vms_write_u8(w, b->enabled);
        vms_write_u32(w, y->size);
    }
    vms_write_u32(w, y->base);
    if (moved) {
        vms_write_u64(w, y->desc);
        vms_write_u64(w, y->avail);
        vms_write_u64(w, y->used);
    }
}

static void put_vlans(struct vms_writer *w, const uint8_t *a, const uint8_t *b, size_t size) {
    for (size_t at = 0; at < size;) {
        size_t end = at;
        while (end < size && a[end] != b[end])
            end++;
        if (end > at) {
            vms_write_u8(w, VLANS);
            vms_write_u16(w, (uint16_t)at);
            vms_write_u16(w, (uint16_t)(end - at));
            vms_write_bytes(w, vms_slice(b + at, end - at));
        }
        at = end > at ? end : at + 1;
    }
}

static void put_net(struct vms_writer *w, const struct vms_vdpa_net *a,
                    const struct vms_vdpa_net *b) {
    size_t entries = 6u * (b->unicast + b->multicast);
    if (memcmp(a->mac, b->mac, 6) != 0 || a->pairs != b->pairs ||
        memcmp(a->rx, b->rx, sizeof a->rx) != 0) {
        vms_write_u8(w, MODES);
        vms_write_bytes(w, vms_slice(b->mac, 6));
        vms_write_u16(w, b->pairs);
        vms_write_bytes(w, vms_slice(b->rx, sizeof b->rx));
    }
    if (a->unicast != b->unicast || a->multicast != b->multicast ||
        memcmp(a->macs, b->macs, entries) != 0) {
        vms_write_u8(w, TABLE);
        vms_write_u16(w, b->unicast);
        vms_write_u16(w, b->multicast);
        vms_write_bytes(w, vms_slice(b->macs, entries));
    }
    put_vlans(w, a->vlans, b->vlans, sizeof a->vlans);
}

static size_t put_whole(const struct vms_vdpa_state *s, struct vms_room out) {
    if (out.len)
        out.ptr[0] = WHOLE;
    return 1 + vms_vdpa_state_write(s, (struct vms_room){out.ptr + 1, out.len - 1});
}

size_t vms_vdpa_record_write(const struct vms_vdpa_state *from, const struct vms_vdpa_state *to,
                             struct vms_room out) {
    struct vms_writer w = vms_writer(out);
    if (!from || !same_profile(&from->profile, &to->profile))
        return put_whole(to, out);
    vms_write_u8(&w, CHANGES);
    if (from->status != to->status) {
        vms_write_u8(&w, STATUS);
        vms_write_u8(&w, to->status);
    }
    if (memcmp(from->config, to->config, to->profile.config_size) != 0) {
        vms_write_u8(&w, CONFIG);
        vms_write_bytes(&w, vms_slice(to->config, to->profile.config_size));
    }
    for (uint32_t i = 0; i < to->profile.queues; i++)
        put_queue(&w, i, &from->queue[i], &to->queue[i]);
    if (to->profile.device_id == 1)
        put_net(&w, &from->net, &to->net);
    if (w.pos > VMS_VDPA_STATE_MAX - 1) /* of many small ones; whole it is shorter */
        return put_whole(to, out);
    return w.pos > 1 ? w.pos : 0;
}

/* ---- reading ---- */

static void get_queue(struct vms_reader *r, struct vms_vdpa_state *s, bool whole) {
    struct vms_vdpa_queue ignored, *q = &ignored;
    uint16_t i = vms_read_u16(r);
    if (i < s->profile.queues)
        q = &s->queue[i];
    else
        vms_read_bytes(r, SIZE_MAX); /* there is no such queue */
    if (whole) {
        uint8_t enabled = vms_read_u8(r);
        q->enabled = enabled == 1;
        if (enabled > 1)
            vms_read_bytes(r, SIZE_MAX);
        q->ring.size = vms_read_u32(r);
    }
    q->ring.base = vms_read_u32(r);
    if (whole) {
        q->ring.desc = vms_read_u64(r);
        q->ring.avail = vms_read_u64(r);
        q->ring.used = vms_read_u64(r);
    }
}

static void get_bytes(struct vms_reader *r, void *out, size_t at, size_t len, size_t size) {
    bool fits = at <= size && len <= size - at;
    struct vms_slice in = vms_read_bytes(r, fits ? len : SIZE_MAX);
    if (fits && in.len == len && len)
        memcpy((uint8_t *)out + at, in.ptr, len);
}

static void get_modes(struct vms_reader *r, struct vms_vdpa_net *n) {
    get_bytes(r, n->mac, 0, 6, 6);
    n->pairs = vms_read_u16(r);
    get_bytes(r, n->rx, 0, sizeof n->rx, sizeof n->rx);
}

static void get_table(struct vms_reader *r, struct vms_vdpa_net *n) {
    n->unicast = vms_read_u16(r);
    n->multicast = vms_read_u16(r);
    memset(n->macs, 0, sizeof n->macs);
    get_bytes(r, n->macs, 0, 6u * ((size_t)n->unicast + n->multicast), sizeof n->macs);
}

static bool get_part(struct vms_reader *r, struct vms_vdpa_state *s) {
    uint8_t part = vms_read_u8(r);
    switch (part) {
    case STATUS: s->status = vms_read_u8(r); return true;
    case CONFIG: get_bytes(r, s->config, 0, s->profile.config_size, sizeof s->config); return true;
    case QUEUE:
    case BASE: get_queue(r, s, part == QUEUE); return true;
    case MODES: get_modes(r, &s->net); return s->profile.device_id == 1;
    case TABLE: get_table(r, &s->net); return s->profile.device_id == 1;
    case VLANS: {
        uint16_t at = vms_read_u16(r), len = vms_read_u16(r);
        get_bytes(r, s->net.vlans, at, len, sizeof s->net.vlans);
        return s->profile.device_id == 1;
    }
    default: return false;
    }
}

static enum vms_code malformed(const char *why, struct vms_error *err) {
    return vms_error_set(err, VMS_E_VDPA_STATE, "%s", why);
}

/* What it makes of the state has to be one: as if it had come whole. */
static enum vms_code check(const struct vms_vdpa_state *s, struct vms_error *err) {
    uint8_t bytes[VMS_VDPA_STATE_MAX];
    struct vms_vdpa_state again;
    if ((uint32_t)s->net.unicast + s->net.multicast > VMS_VDPA_MACS_MAX)
        return malformed("more than 64 addresses to receive", err);
    size_t len = vms_vdpa_state_write(s, (struct vms_room){bytes, sizeof bytes});
    return vms_vdpa_state_read(vms_slice(bytes, len), &again, err);
}

static enum vms_code get_changes(struct vms_slice in, struct vms_vdpa_state *s,
                                 struct vms_error *err) {
    struct vms_reader r = vms_reader(in);
    struct vms_vdpa_state next = *s;
    bool good = true;
    while (good && !vms_reader_short(&r) && r.pos < in.len)
        good = get_part(&r, &next);
    if (!good || vms_reader_short(&r))
        return malformed(good ? "a change is too short, or of nothing" : "no such change", err);
    enum vms_code code = check(&next, err);
    if (code == VMS_OK)
        *s = next;
    return code;
}

enum vms_code vms_vdpa_record_read(struct vms_slice in, bool known, struct vms_vdpa_state *state,
                                   struct vms_error *err) {
    struct vms_vdpa_state whole;
    uint8_t kind = in.len ? in.ptr[0] : PARTS;
    struct vms_slice rest = vms_slice(in.ptr + (in.len > 0), in.len - (in.len > 0));
    if (kind == CHANGES && known)
        return get_changes(rest, state, err);
    if (kind != WHOLE)
        return malformed(kind == CHANGES ? "changes of what has not come" : "no such record", err);
    enum vms_code code = vms_vdpa_state_read(rest, &whole, err);
    if (code == VMS_OK)
        *state = whole;
    return code;
}
