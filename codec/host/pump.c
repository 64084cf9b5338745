/* SPDX-License-Identifier: MIT */
#include "host/pump.h"
#include <stdlib.h>

enum {
    ROOMS = 64,          /* rooms asked for ahead of a read */
    SCRATCH = 64 * 1024, /* bytes: what is passed over on a source that cannot seek */
    BIG_BULK = 64 * 1024,
    SMALL_FILL = 4096,
    QUIET_MS = 10, /* of downtime, against a forged end: see seems_over() */
};

/* The places that direct() named and that are not full yet. */
struct rooms {
    struct vms_room at[ROOMS];
    size_t first, count;
    uint64_t asked; /* bulk offset where the last of them ends */
};

struct vms_pump {
    struct vms_pump_config config;
    void *decoder_mem;
    struct vms_qevm_decoder *decoder;
    uint8_t *buffer;
    uint8_t *scratch;
    struct vms_slice input; /* what the decoder has not taken of buffer */
    bool eof;
    bool small_fill;
    uint64_t bytes;
    struct vms_record record; /* the last one */
    struct vms_answer answer; /* to it */
    bool pause;
    bool in_bulk;
    uint64_t bulk_done; /* bytes of bulk that were taken */
    struct rooms rooms;
    enum vms_pump_status status; /* END or ERROR: for good */
    struct vms_error error;
};

/* How a step of the pump went on: another step, or out of run() with `status`. */
enum flow {
    GO_ON,
    LEAVE,
};

static enum flow leave(struct vms_pump *p, enum vms_pump_status status) {
    p->status = status;
    return LEAVE;
}

static enum flow fail_at(struct vms_pump *p, uint64_t offset) {
    p->error.channel = p->config.qevm.channel;
    p->error.offset = offset;
    p->error.record = p->record.number;
    return leave(p, VMS_PUMP_ERROR);
}

static enum flow sink_failed(struct vms_pump *p) {
    return fail_at(p, p->record.offset);
}

static enum flow source_failed(struct vms_pump *p, enum vms_source_status status) {
    if (status == VMS_SOURCE_AGAIN)
        return leave(p, VMS_PUMP_AGAIN);
    if (status == VMS_SOURCE_ERROR)
        return fail_at(p, p->bytes);
    p->eof = true;
    return GO_ON;
}

static void count_bytes(struct vms_pump *p, uint64_t n) {
    p->bytes += n;
    if (p->config.progress)
        p->config.progress(p->config.progress_ctx, p->bytes, p->config.source.total);
}

static size_t min_size(uint64_t a, size_t b) {
    return a < b ? (size_t)a : b;
}

/* After big bulk that went around the buffer the next read takes only a record's head, so that the
 * bulk that follows it goes around the buffer as well (multifd). */
static enum flow fill(struct vms_pump *p) {
    struct vms_room room = {p->buffer, p->small_fill ? SMALL_FILL : p->config.buffer_bytes};
    size_t got = 0;
    p->small_fill = false;
    enum vms_source_status status =
        p->config.source.ops->read(p->config.source.ctx, &room, 1, &got, &p->error);
    if (status != VMS_SOURCE_DATA)
        return source_failed(p, status);
    p->input = vms_slice(p->buffer, got);
    count_bytes(p, got);
    return GO_ON;
}

/* Asks the sink for rooms up to `bulk offset end`, until one is to be passed over. */
static enum vms_code ask_rooms(struct vms_pump *p, uint64_t end) {
    struct rooms *r = &p->rooms;
    if (r->first == r->count)
        r->first = r->count = 0;
    while (r->count < ROOMS && r->asked < end && (r->count == 0 || r->at[r->count - 1].ptr)) {
        struct vms_room *room = &r->at[r->count];
        *room = (struct vms_room){0};
        enum vms_code code =
            p->config.sink.ops->direct(p->config.sink.ctx, &p->record, r->asked, room, &p->error);
        if (code != VMS_OK)
            return code;
        if (room->len == 0)
            return vms_error_set(&p->error, VMS_E_MISUSE, "an empty room for bulk");
        room->len = min_size(p->record.bulk_len - r->asked, room->len);
        r->asked += room->len;
        r->count++;
    }
    return VMS_OK;
}

/* n bytes of bulk went into the rooms in front. */
static void fill_rooms(struct rooms *r, size_t n) {
    while (n > 0) {
        struct vms_room *room = &r->at[r->first];
        size_t k = min_size(n, room->len);
        if (room->ptr)
            room->ptr += k;
        room->len -= k;
        n -= k;
        if (room->len == 0)
            r->first++;
    }
}

/* Bulk that is in memory already, to the rooms. */
static enum vms_code copy_to_rooms(struct vms_pump *p, struct vms_slice bulk) {
    struct rooms *r = &p->rooms;
    while (bulk.len > 0) {
        if (r->first == r->count && ask_rooms(p, r->asked + 1) != VMS_OK)
            return p->error.code;
        size_t k = min_size(bulk.len, r->at[r->first].len);
        if (r->at[r->first].ptr)
            memcpy(r->at[r->first].ptr, bulk.ptr, k);
        fill_rooms(r, k);
        bulk = vms_slice_tail(bulk, k);
    }
    return VMS_OK;
}

static void bulk_taken(struct vms_pump *p, uint64_t n) {
    vms_qevm_bulk_taken(p->decoder, n);
    p->bulk_done += n;
}

/* Bulk that the buffer holds already. */
static enum flow take_buffered(struct vms_pump *p, uint64_t n) {
    struct vms_slice head = vms_slice_head(p->input, min_size(n, p->input.len));
    if (p->answer.want == VMS_WANT_DIRECT && copy_to_rooms(p, head) != VMS_OK)
        return sink_failed(p);
    p->input = vms_slice_tail(p->input, head.len);
    bulk_taken(p, head.len);
    return GO_ON;
}

/* Passes over up to n bytes of bulk on the source; *taken is how many. */
static enum flow pass_over(struct vms_pump *p, uint64_t n, uint64_t *taken) {
    const struct vms_source *source = &p->config.source;
    enum vms_source_status status = source->ops->skip(source->ctx, n, taken, &p->error);
    if (status == VMS_SOURCE_DATA && *taken == 0) {
        struct vms_room room = {p->scratch, min_size(n, SCRATCH)};
        size_t got = 0;
        status = source->ops->read(source->ctx, &room, 1, &got, &p->error);
        *taken = got;
    }
    if (status != VMS_SOURCE_DATA)
        return source_failed(p, status);
    count_bytes(p, *taken);
    bulk_taken(p, *taken);
    return GO_ON;
}

/* Reads into the rooms in front that are memory, at most n bytes. */
static enum flow read_rooms(struct vms_pump *p, uint64_t n) {
    struct vms_room rooms[ROOMS];
    size_t count = 0, got = 0;
    for (size_t i = p->rooms.first; i < p->rooms.count && p->rooms.at[i].ptr && n > 0; i++) {
        rooms[count] = p->rooms.at[i];
        rooms[count].len = min_size(n, rooms[count].len);
        n -= rooms[count++].len;
    }
    enum vms_source_status status =
        p->config.source.ops->read(p->config.source.ctx, rooms, count, &got, &p->error);
    if (status != VMS_SOURCE_DATA)
        return source_failed(p, status);
    count_bytes(p, got);
    fill_rooms(&p->rooms, got);
    bulk_taken(p, got);
    return GO_ON;
}

/* The next bytes of bulk, n or fewer, from the source around the buffer. */
static enum flow take_from_source(struct vms_pump *p, uint64_t n) {
    uint64_t taken = 0;
    if (p->answer.want == VMS_WANT_DISCARD)
        return pass_over(p, n, &taken);
    if (ask_rooms(p, p->bulk_done + n) != VMS_OK)
        return sink_failed(p);
    const struct vms_room *front = &p->rooms.at[p->rooms.first];
    if (front->ptr)
        return read_rooms(p, n);
    enum flow flow = pass_over(p, min_size(n, front->len), &taken);
    fill_rooms(&p->rooms, (size_t)taken);
    return flow;
}

static enum flow end_bulk(struct vms_pump *p) {
    p->in_bulk = false;
    p->small_fill = p->answer.want != VMS_WANT_PIECES && p->record.bulk_len >= BIG_BULK;
    return p->config.sink.ops->done(p->config.sink.ctx, &p->error) == VMS_OK ? GO_ON
                                                                             : sink_failed(p);
}

static enum flow take_record(struct vms_pump *p, const struct vms_event *event) {
    p->record = event->record;
    p->answer = (struct vms_answer){0};
    p->rooms = (struct rooms){.first = 0};
    p->bulk_done = 0;
    p->in_bulk = p->record.bulk_len != 0;
    if (p->config.sink.ops->record(p->config.sink.ctx, &p->record, &p->answer, &p->error) != VMS_OK)
        return sink_failed(p);
    p->pause |= p->answer.pause;
    return GO_ON;
}

static enum flow take_piece(struct vms_pump *p, const struct vms_event *event) {
    bool pieces = p->answer.want == VMS_WANT_PIECES ||
                  (p->answer.want == VMS_WANT_DIRECT && p->record.bulk_len == VMS_BULK_UNKNOWN);
    p->record = event->record;
    p->bulk_done += event->bulk.len;
    if (pieces && p->config.sink.ops->bulk(p->config.sink.ctx, event, &p->error) != VMS_OK)
        return sink_failed(p);
    if (!pieces && p->answer.want == VMS_WANT_DIRECT && copy_to_rooms(p, event->bulk) != VMS_OK)
        return sink_failed(p);
    return GO_ON;
}

/*
 * [TAIL-11] The end of a live stream is not marked. When what is held may be all of it, wait a
 * little for more: bytes that follow tell that device data only looked like the end.
 */
static bool seems_over(struct vms_pump *p) {
    const struct vms_source *source = &p->config.source;
    return vms_qevm_tail_fits(p->decoder) && source->ops->quiet(source->ctx, QUIET_MS);
}

static enum flow more(struct vms_pump *p) {
    if (seems_over(p)) {
        p->eof = true;
        return GO_ON;
    }
    return fill(p);
}

/* One step of the decoder. Bulk of unknown length ends with the first step that is not bulk. */
static enum flow decode(struct vms_pump *p) {
    struct vms_event event;
    enum vms_step step = p->eof && p->input.len == 0
                             ? vms_qevm_finish(p->decoder, &event)
                             : vms_qevm_decode(p->decoder, &p->input, &event);
    if ((step == VMS_STEP_RECORD || step == VMS_STEP_END) && p->in_bulk && end_bulk(p) == LEAVE)
        return LEAVE;
    switch (step) {
    case VMS_STEP_RECORD: return take_record(p, &event);
    case VMS_STEP_BULK: return take_piece(p, &event);
    case VMS_STEP_NEED: return more(p);
    case VMS_STEP_END: return leave(p, VMS_PUMP_END);
    case VMS_STEP_ERROR: p->error = *event.error; return leave(p, VMS_PUMP_ERROR);
    }
    return LEAVE;
}

static enum flow step(struct vms_pump *p) {
    bool known = p->in_bulk && p->record.bulk_len != VMS_BULK_UNKNOWN;
    if (known && p->bulk_done == p->record.bulk_len)
        return end_bulk(p);
    if (!p->in_bulk && p->pause) {
        p->pause = false;
        return leave(p, VMS_PUMP_PAUSED);
    }
    uint64_t direct = known && p->answer.want != VMS_WANT_PIECES && !(p->eof && !p->input.len)
                          ? vms_qevm_bulk_direct(p->decoder)
                          : 0;
    if (direct == 0)
        return decode(p);
    return p->input.len ? take_buffered(p, direct) : take_from_source(p, direct);
}

enum vms_pump_status vms_pump_run(struct vms_pump *pump, struct vms_error *err) {
    bool over = pump->status == VMS_PUMP_END || pump->status == VMS_PUMP_ERROR;
    while (!over && step(pump) == GO_ON)
        continue;
    if (pump->status == VMS_PUMP_ERROR)
        *err = pump->error;
    return pump->status;
}

struct vms_pump *vms_pump_new(const struct vms_pump_config *config, struct vms_error *err) {
    struct vms_pump *p = calloc(1, sizeof *p);
    size_t size = vms_qevm_decoder_size(&config->qevm);
    if (p) {
        p->config = *config;
        p->status = VMS_PUMP_PAUSED;
        if (p->config.buffer_bytes == 0)
            p->config.buffer_bytes = VMS_PUMP_BUFFER;
        if (p->config.buffer_bytes < VMS_PUMP_BUFFER_MIN)
            p->config.buffer_bytes = VMS_PUMP_BUFFER_MIN;
        p->buffer = malloc(p->config.buffer_bytes);
        p->scratch = malloc(SCRATCH);
        p->decoder_mem = malloc(size);
    }
    if (p && p->decoder_mem && p->buffer && p->scratch)
        p->decoder = vms_qevm_decoder_init(p->decoder_mem, size, &config->qevm);
    if (p && p->decoder)
        return p;
    vms_pump_free(p);
    (void)vms_error_set(err, VMS_E_NO_MEMORY, "a decoder of %zu bytes", size);
    return NULL;
}

void vms_pump_free(struct vms_pump *pump) {
    if (!pump)
        return;
    free(pump->buffer);
    free(pump->scratch);
    free(pump->decoder_mem);
    free(pump);
}

bool vms_pump_feed(struct vms_pump *pump, struct vms_slice bytes) {
    if (bytes.len > pump->config.buffer_bytes - pump->input.len)
        return false;
    if (bytes.len)
        memcpy(pump->buffer + pump->input.len, bytes.ptr, bytes.len);
    pump->input = vms_slice(pump->buffer, pump->input.len + bytes.len);
    pump->bytes += bytes.len;
    return true;
}

struct vms_qevm_decoder *vms_pump_decoder(struct vms_pump *pump) {
    return pump->decoder;
}

uint64_t vms_pump_bytes(const struct vms_pump *pump) {
    return pump->bytes;
}

enum vms_code vms_pump_no_direct(void *ctx, const struct vms_record *record, uint64_t offset,
                                 struct vms_room *room, struct vms_error *err) {
    (void)ctx, (void)record, (void)offset, (void)room;
    return vms_error_set(err, VMS_E_INTERNAL, "rooms for bulk that nobody asked for");
}

enum vms_code vms_pump_no_done(void *ctx, struct vms_error *err) {
    (void)ctx, (void)err;
    return VMS_OK;
}
