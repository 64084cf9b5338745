/* SPDX-License-Identifier: MIT */
#include "reference-dst/devices/vfio_records.h"

#include "host/vfio_config.h"

#include <stdlib.h>
#include <string.h>
#include <vmstream/dialect.h>

struct dst_vfio_records {
    struct dst_vfio *vfio;
    enum dst_vfio_ack ack;
    bool parallel;
    size_t count;
    size_t current;               /* device of the section; count: no VFIO section */
    enum vms_record_type section; /* that began it */
    enum vms_record_type bulk;    /* whose bulk comes; VMS_R_HEADER: none */
    bool marked[VMS_VFIO_GUEST_MAX], load_late[VMS_VFIO_GUEST_MAX];
    _Atomic bool began[VMS_VFIO_GUEST_MAX];  /* its section was started */
    _Atomic bool packet[VMS_VFIO_GUEST_MAX]; /* one has come for it */
    _Atomic bool over;                       /* SWITCHOVER_START was read: no section begins now */
    struct dst_vfio_queue *queues[VMS_VFIO_GUEST_MAX]; /* parallel: from START on */
    size_t config_len;
    uint8_t config[VMS_VFIO_CONFIG_MAX];
};

/* ---- acknowledgement ---- */

static size_t users(const struct dst_vfio_records *r, bool missing) {
    size_t n = 0;
    for (size_t i = 0; i < r->count; i++)
        n += dst_vfio_device(r->vfio, i).initial && !(missing && r->marked[i]);
    return n;
}

static enum vms_code unexpected(const char *idstr, const char *what, struct vms_error *err) {
    return vms_error_set(err, VMS_E_DST_UNEXPECTED, "%.60s: %s", idstr, what);
}

static enum vms_code mark(struct dst_vfio_records *r, const struct dst_device *d, unsigned *acks,
                          struct vms_error *err) {
    uint64_t generation;
    if (r->ack == DST_VFIO_ACK_NONE) /* [VFIO-9] */
        return unexpected(d->idstr, "INIT_DATA_SENT, but switchover-ack is not used", err);
    if (r->ack == DST_VFIO_ACK_LEGACY && r->marked[r->current]) /* [ACK-8] */
        return unexpected(d->idstr, "a second INIT_DATA_SENT", err);
    enum vms_code code = d->ops->initial_sent(d->ctx, &generation, err);
    if (code != VMS_OK)
        return code;
    r->marked[r->current] = true;
    *acks = r->ack == DST_VFIO_ACK_EACH || users(r, true) == 0;
    return VMS_OK;
}

/* [ACK-2] Without users it is sent when the way back is open. */
static bool opens_way_back(const struct dst_vfio_records *r, const struct vms_record *record) {
    return record->type == VMS_R_COMMAND && record->u.command.command == VMS_CMD_OPEN_RETURN_PATH &&
           r->ack == DST_VFIO_ACK_LEGACY && users(r, false) == 0;
}

/* ---- sections ---- */

static bool is_section(enum vms_record_type type) {
    return type == VMS_R_SECTION_START || type == VMS_R_SECTION_PART || type == VMS_R_SECTION_END ||
           type == VMS_R_SECTION_FULL;
}

static enum vms_code enter(struct dst_vfio_records *r, const struct vms_record *record,
                           struct vms_error *err) {
    struct vms_slice idstr = record->u.section.idstr;
    r->current = r->count;
    r->section = record->type;
    if (record->u.section.kind != VMS_SECTION_VFIO)
        return VMS_OK;
    r->current = dst_vfio_find(r->vfio, idstr.ptr, idstr.len);
    return r->current < r->count
               ? VMS_OK
               : vms_error_set(err, VMS_E_VFIO_UNEXPECTED, "there is no device %.*s",
                               (int)idstr.len, (const char *)idstr.ptr);
}

static enum vms_code set_up(struct dst_vfio_records *r, const struct dst_device *d,
                            struct vms_error *err) {
    enum vms_code code = d->ops->setup(d->ctx, err);
    r->began[r->current] = code == VMS_OK;
    return code;
}

/* Pre-copy data comes on the main channel; a packet begins only when that is over. */
static enum vms_code end_of_stream(struct dst_vfio_records *r, const struct dst_device *d,
                                   struct vms_error *err) {
    return r->parallel ? VMS_OK : d->ops->end(d->ctx, err);
}

static enum vms_code take_tag(struct dst_vfio_records *r, const struct vms_record *record,
                              unsigned *acks, struct vms_error *err) {
    struct dst_device d = dst_vfio_device(r->vfio, r->current);
    switch (record->type) {
    case VMS_R_VFIO_SETUP_STATE: return set_up(r, &d, err);
    case VMS_R_VFIO_INIT_DATA_SENT: return mark(r, &d, acks, err);
    case VMS_R_VFIO_END_OF_STATE:
        return r->section == VMS_R_SECTION_END ? end_of_stream(r, &d, err) : VMS_OK;
    case VMS_R_VFIO_CONFIG_LOAD_READY: /* [VFIO-8] */
        if (!r->parallel || r->load_late[r->current])
            return unexpected(d.idstr, "CONFIG_LOAD_READY", err);
        r->load_late[r->current] = true;
        return VMS_OK;
    case VMS_R_VFIO_CONFIG_STATE:
        if (r->parallel)
            return unexpected(d.idstr, "CONFIG_STATE beside device-state packets", err);
        r->config_len = 0;
        return VMS_OK;
    default: return VMS_OK;
    }
}

static void start_queues(struct dst_vfio_records *r) {
    for (size_t i = 0; i < r->count && r->parallel; i++)
        dst_vfio_queue_start(r->queues[i]);
}

/* [MFD-23] Its channel may be in front of the main one: only now a section is known to be missing.
 */
static enum vms_code check_began(const struct dst_vfio_records *r, size_t i,
                                 struct vms_error *err) {
    return r->over && r->packet[i] && !r->began[i]
               ? unexpected(dst_vfio_device(r->vfio, i).idstr,
                            "a device-state packet without START of its section", err)
               : VMS_OK;
}

static enum vms_code switch_over(struct dst_vfio_records *r, struct vms_error *err) {
    enum vms_code code = VMS_OK;
    r->over = true;
    for (size_t i = 0; i < r->count && code == VMS_OK; i++)
        code = check_began(r, i, err);
    if (code == VMS_OK)
        start_queues(r);
    return code;
}

/* [ACK-1] */
static void learn(struct dst_vfio_records *r, const struct vms_record *record) {
    struct vms_dialect dialect = {0};
    if (record->type != VMS_R_CONFIGURATION || r->ack != DST_VFIO_ACK_AUTO)
        return;
    vms_dialect_learn_machine(&dialect, record->u.config.machine);
    r->ack = dialect.ack_legacy == VMS_ON ? DST_VFIO_ACK_LEGACY : DST_VFIO_ACK_EACH;
}

enum vms_code dst_vfio_record(struct dst_vfio_records *r, const struct vms_record *record,
                              bool *bulk, unsigned *acks, struct vms_error *err) {
    *bulk = false;
    learn(r, record);
    if (record->type == VMS_R_COMMAND && record->u.command.command == VMS_CMD_SWITCHOVER_START &&
        switch_over(r, err) != VMS_OK)
        return err->code;
    *acks = opens_way_back(r, record);
    if (is_section(record->type))
        return enter(r, record, err);
    if (r->current == r->count)
        return VMS_OK;
    *bulk = record->type == VMS_R_VFIO_DATA_STATE || record->type == VMS_R_VFIO_CONFIG_STATE;
    r->bulk = record->type;
    return take_tag(r, record, acks, err);
}

static enum vms_code keep_config(struct dst_vfio_records *r, struct vms_slice bytes,
                                 struct vms_error *err) {
    if (bytes.len > sizeof r->config - r->config_len)
        return vms_error_set(err, VMS_E_VFIO_CONFIG, "more than %zu octets", sizeof r->config);
    memcpy(r->config + r->config_len, bytes.ptr, bytes.len);
    r->config_len += bytes.len;
    return VMS_OK;
}

enum vms_code dst_vfio_bulk(struct dst_vfio_records *r, struct vms_slice bytes,
                            struct vms_error *err) {
    struct dst_device d = dst_vfio_device(r->vfio, r->current);
    return r->bulk == VMS_R_VFIO_CONFIG_STATE ? keep_config(r, bytes, err)
                                              : d.ops->data(d.ctx, bytes.ptr, bytes.len, err);
}

enum vms_code dst_vfio_done(struct dst_vfio_records *r, struct vms_error *err) {
    struct dst_device d = dst_vfio_device(r->vfio, r->current);
    if (r->bulk != VMS_R_VFIO_CONFIG_STATE)
        return VMS_OK;
    enum vms_code code = d.ops->config(d.ctx, r->config, r->config_len, err);
    return code == VMS_OK ? d.ops->load_config(d.ctx, err) : code;
}

/* ---- packets ---- */

enum vms_code dst_vfio_packet(struct dst_vfio_records *r, const struct vms_record *record,
                              struct dst_vfio_packet *p, struct vms_error *err) {
    const struct vms_rec_multifd_device *head = &record->u.device;
    if (!r->parallel) /* [DST-12] */
        return unexpected("device-state packet", "state on multifd channels was not agreed", err);
    p->device = dst_vfio_find(r->vfio, head->idstr.ptr, head->idstr.len);
    if (p->device == r->count)
        return vms_error_set(err, VMS_E_VFIO_UNEXPECTED, "there is no device %.*s",
                             (int)head->idstr.len, (const char *)head->idstr.ptr);
    r->packet[p->device] = true;
    if (check_began(r, p->device, err) != VMS_OK)
        return err->code;
    p->index = head->index;
    p->config = head->flags & 1;
    p->len = 0;
    if (record->bulk_len <= p->size)
        return VMS_OK;
    uint8_t *more = realloc(p->bytes, record->bulk_len); /* within device_state_bytes */
    if (!more)
        return vms_error_set(err, VMS_E_NO_MEMORY, NULL);
    p->bytes = more;
    p->size = record->bulk_len;
    return VMS_OK;
}

enum vms_code dst_vfio_packet_bulk(struct dst_vfio_packet *p, struct vms_slice bytes,
                                   struct vms_error *err) {
    if (bytes.len > p->size - p->len)
        return vms_error_set(err, VMS_E_INTERNAL, "more than a packet has");
    memcpy(p->bytes + p->len, bytes.ptr, bytes.len);
    p->len += bytes.len;
    return VMS_OK;
}

/* CONFIG_STATE, the config state, END_OF_STATE: tags of 8 octets round it (VFIO-4). */
static bool unwrap_config(struct dst_vfio_packet *p, struct vms_slice *out) {
    static const uint8_t head[] = {0xff, 0xff, 0xff, 0xff, 0xef, 0x10, 0, 2},
                         tail[] = {0xff, 0xff, 0xff, 0xff, 0xef, 0x10, 0, 1};
    if (p->len < 16 || memcmp(p->bytes, head, 8) != 0 ||
        memcmp(p->bytes + p->len - 8, tail, 8) != 0)
        return false;
    *out = vms_slice(p->bytes + 8, p->len - 16);
    return true;
}

enum vms_code dst_vfio_packet_done(struct dst_vfio_records *r, struct dst_vfio_packet *p,
                                   struct vms_error *err) {
    struct vms_slice bytes = vms_slice(p->bytes, p->len);
    if (p->config && !unwrap_config(p, &bytes))
        return vms_error_set(err, VMS_E_VFIO_CONFIG, "%.60s: a packet of %zu octets",
                             dst_vfio_device(r->vfio, p->device).idstr, p->len);
    return dst_vfio_queue_put(r->queues[p->device], p->index, p->config, bytes.ptr, bytes.len, err);
}

void dst_vfio_packet_free(struct dst_vfio_packet *p) {
    free(p->bytes);
    *p = (struct dst_vfio_packet){.device = 0};
}

/* ---- the end ---- */

enum vms_code dst_vfio_complete(struct dst_vfio_records *r, struct vms_error *err) {
    enum vms_code code = VMS_OK;
    start_queues(r); /* a source that has not said SWITCHOVER_START has said all */
    for (size_t i = 0; i < r->count && r->parallel && code == VMS_OK; i++)
        if (r->began[i])
            code = dst_vfio_queue_finish(r->queues[i], true, err);
    return code == VMS_OK ? dst_vfio_verify(r->vfio, err) : code;
}

void dst_vfio_records_abort(struct dst_vfio_records *r) {
    for (size_t i = 0; i < r->count && r->parallel; i++)
        dst_vfio_queue_abort(r->queues[i]);
}

/* ---- life ---- */

enum vms_code dst_vfio_records_new(struct dst_vfio *vfio, enum dst_vfio_ack ack, bool parallel,
                                   struct dst_vfio_records **out, struct vms_error *err) {
    struct dst_vfio_records *r = calloc(1, sizeof *r);
    enum vms_code code = VMS_OK;
    *out = NULL;
    if (!r)
        return vms_error_set(err, VMS_E_NO_MEMORY, NULL);
    r->vfio = vfio;
    r->ack = ack;
    r->parallel = parallel;
    r->count = r->current = dst_vfio_count(vfio);
    for (size_t i = 0; i < r->count && parallel && code == VMS_OK; i++) {
        struct dst_device d = dst_vfio_device(vfio, i);
        code = dst_vfio_queue_new(&d, 0, 0, &r->queues[i], err);
    }
    if (code != VMS_OK) {
        dst_vfio_records_free(r);
        return code;
    }
    *out = r;
    return VMS_OK;
}

void dst_vfio_records_free(struct dst_vfio_records *r) {
    if (!r)
        return;
    for (size_t i = 0; i < r->count; i++)
        dst_vfio_queue_free(r->queues[i]);
    free(r);
}
