/* SPDX-License-Identifier: MIT */
#include "host/stream_test_util.h"

enum {
    PAGE = 4096,
    PAGES = 40,
    BIG = 1 << 20, /* bytes of device data in one record */
};

/* A sink that wants page bulk in one way, checks its order and collects what it gets. */
struct sink {
    enum vms_want want;
    bool pause;
    bool holes;    /* every second direct room is passed over */
    size_t room;   /* bytes of a direct room */
    uint8_t *got;  /* PAGES pages, then BIG bytes */
    uint64_t base; /* where the bulk in progress goes in got */
    uint64_t at;   /* next bulk byte */
    uint64_t bulk_len;
    bool in_bulk;
    unsigned records, done, rooms;
    enum vms_record_type fail_at;
    uint64_t last_offset;
};

static enum vms_code on_record(void *ctx, const struct vms_record *record,
                               struct vms_answer *answer, struct vms_error *err) {
    struct sink *s = ctx;
    cr_assert_not(s->in_bulk, "a record within bulk");
    s->records++;
    s->last_offset = record->offset;
    if (record->type == s->fail_at)
        return vms_error_set(err, VMS_E_DST_UNEXPECTED, NULL);
    s->in_bulk = record->bulk_len != 0;
    s->bulk_len = record->bulk_len;
    s->at = 0;
    s->base = record->type == VMS_R_VFIO_DATA_STATE ? PAGES * PAGE : record->u.page.offset;
    bool ours = record->type == VMS_R_VFIO_DATA_STATE || record->type == VMS_R_RAM_PAGE;
    answer->want = ours ? s->want : VMS_WANT_DISCARD;
    answer->pause = s->pause;
    return VMS_OK;
}

static enum vms_code on_bulk(void *ctx, const struct vms_event *event, struct vms_error *err) {
    struct sink *s = ctx;
    (void)err;
    cr_assert_eq(s->want, VMS_WANT_PIECES);
    cr_assert_eq(event->bulk_offset, s->at);
    memcpy(s->got + s->base + s->at, event->bulk.ptr, event->bulk.len);
    s->at += event->bulk.len;
    return VMS_OK;
}

static enum vms_code on_direct(void *ctx, const struct vms_record *record, uint64_t offset,
                               struct vms_room *room, struct vms_error *err) {
    struct sink *s = ctx;
    (void)err;
    cr_assert_eq(s->want, VMS_WANT_DIRECT);
    cr_assert_eq(offset, s->at);
    cr_assert_lt(offset, record->bulk_len);
    bool hole = s->holes && s->rooms++ % 2;
    *room = (struct vms_room){hole ? NULL : s->got + s->base + offset, s->room};
    s->at += s->room;
    return VMS_OK;
}

static enum vms_code on_done(void *ctx, struct vms_error *err) {
    struct sink *s = ctx;
    (void)err;
    cr_assert(s->in_bulk);
    s->in_bulk = false;
    s->done++;
    return VMS_OK;
}

static const struct vms_pump_sink_ops SINK = {on_record, on_bulk, on_direct, on_done};

/* ---- fixture: a stream of pages and one big VFIO data block ---- */

static struct test_stream stream;
static uint8_t *content; /* what the bulk holds, laid out as sink.got */

static void fill_content(void) {
    content = malloc(PAGES * PAGE + BIG);
    uint32_t x = 1;
    for (size_t i = 0; i < PAGES * PAGE + BIG; i++) {
        x = x * 1664525 + 1013904223;
        content[i] = (uint8_t)(x >> 24);
    }
}

static void add_vfio(void) {
    struct vms_record start = {.type = VMS_R_SECTION_START,
                               .u.section = {.id = 9,
                                             .version = 1,
                                             .kind = VMS_SECTION_VFIO,
                                             .idstr = vms_str("0000:00:02.0/vfio")}};
    struct vms_record part = start;
    part.type = VMS_R_SECTION_PART;
    struct vms_record footer = {.type = VMS_R_SECTION_FOOTER, .u.section.id = 9};
    test_stream_add_plain(&stream, start);
    test_stream_add_plain(&stream, (struct vms_record){.type = VMS_R_VFIO_SETUP_STATE});
    test_stream_add_plain(&stream, (struct vms_record){.type = VMS_R_VFIO_END_OF_STATE});
    test_stream_add_plain(&stream, footer);
    test_stream_add_plain(&stream, part);
    test_stream_add(&stream, (struct vms_record){.type = VMS_R_VFIO_DATA_STATE},
                    vms_slice(content + PAGES * PAGE, BIG));
    test_stream_add_plain(&stream, (struct vms_record){.type = VMS_R_VFIO_END_OF_STATE});
    test_stream_add_plain(&stream, footer);
}

static void setup(void) {
    fill_content();
    test_stream_init(&stream);
    test_stream_begin(&stream, "pc.ram", PAGES * PAGE);
    for (uint64_t i = 0; i < PAGES; i++)
        test_stream_add(&stream, test_page(VMS_R_RAM_PAGE, "pc.ram", i * PAGE),
                        vms_slice(content + i * PAGE, PAGE));
    test_stream_add_plain(&stream,
                          (struct vms_record){.type = VMS_R_RAM_EOS, .u.ram_word = VMS_RAM_EOS});
    test_stream_add_plain(&stream,
                          (struct vms_record){.type = VMS_R_SECTION_FOOTER, .u.section.id = 2});
    add_vfio();
    test_stream_add_plain(&stream, (struct vms_record){.type = VMS_R_EOF});
    test_stream_add(&stream, (struct vms_record){.type = VMS_R_VMDESCRIPTION},
                    vms_str("{\"devices\":[]}"));
}

static void teardown(void) {
    free(content);
    free(stream.bytes);
}

TestSuite(pump, .init = setup, .fini = teardown);

struct run {
    const struct vms_pump_sink_ops *ops; /* NULL: SINK */
    struct sink sink;
    struct test_source source;
    struct vms_error err;
    enum vms_pump_status status;
};

static struct vms_pump *new_pump(struct run *run, struct vms_slice bytes, size_t chunk) {
    bool seekable = run->source.seekable;
    unsigned again = run->source.again;
    struct vms_pump_config config = {.qevm = vms_qevm_config_default(),
                                     .source = test_source(&run->source, bytes, chunk),
                                     .sink = {run->ops ? run->ops : &SINK, &run->sink},
                                     .buffer_bytes = VMS_PUMP_BUFFER_MIN};
    run->source.seekable = seekable;
    run->source.again = again;
    run->sink.got = calloc(1, PAGES * PAGE + BIG);
    struct vms_pump *pump = vms_pump_new(&config, &run->err);
    cr_assert_not_null(pump);
    return pump;
}

static void run_all(struct run *run, struct vms_slice bytes, size_t chunk) {
    struct vms_pump *pump = new_pump(run, bytes, chunk);
    run->status = test_pump_run(pump, &run->err);
    cr_assert_eq(vms_pump_run(pump, &run->err), run->status);
    if (run->status == VMS_PUMP_END)
        cr_assert_eq(vms_pump_bytes(pump), bytes.len);
    vms_pump_free(pump);
}

static struct vms_slice whole(void) {
    return vms_slice(stream.bytes, stream.len);
}

static void expect_content(struct run *run) {
    cr_assert_eq(run->status, VMS_PUMP_END, "%s", run->err.message);
    cr_assert_eq(run->sink.done, PAGES + 2);
    cr_assert_eq(memcmp(run->sink.got, content, PAGES * PAGE + BIG), 0);
    free(run->sink.got);
}

/* [MOD-4] what comes out does not depend on how the input was cut. */
Test(pump, pieces) {
    static const size_t chunks[] = {1, 7, 4095, 65536, SIZE_MAX};
    for (size_t i = 0; i < sizeof chunks / sizeof *chunks; i++) {
        struct run run = {.sink = {.want = VMS_WANT_PIECES}};
        run_all(&run, whole(), chunks[i]);
        expect_content(&run);
    }
}

Test(pump, direct) {
    static const size_t chunks[] = {1, 7, 4095, 65536, SIZE_MAX};
    static const size_t rooms[] = {1, 100, PAGE, SIZE_MAX};
    for (size_t i = 0; i < sizeof chunks / sizeof *chunks; i++)
        for (size_t k = 0; k < sizeof rooms / sizeof *rooms; k++) {
            struct run run = {.sink = {.want = VMS_WANT_DIRECT, .room = rooms[k]}};
            run_all(&run, whole(), chunks[i]);
            expect_content(&run);
        }
}

/* A source that has nothing now and then, and a sink that pauses at every record. */
Test(pump, again_and_pause) {
    struct run run = {.sink = {.want = VMS_WANT_DIRECT, .room = 1000, .pause = true},
                      .source = {.again = 3}};
    run_all(&run, whole(), 333);
    expect_content(&run);
}

Test(pump, pause_stops_after_each_record) {
    struct run run = {.sink = {.want = VMS_WANT_PIECES, .pause = true}};
    struct vms_pump *pump = new_pump(&run, whole(), SIZE_MAX);
    for (unsigned n = 1; n <= 8; n++) {
        cr_assert_eq(vms_pump_run(pump, &run.err), VMS_PUMP_PAUSED);
        cr_assert_eq(run.sink.records, n);
        cr_assert_not(run.sink.in_bulk);
    }
    vms_pump_free(pump);
    free(run.sink.got);
}

/* Bulk that nobody wants is seeked over where that is possible, else read and dropped. */
Test(pump, discard) {
    for (int seekable = 0; seekable < 2; seekable++) {
        struct run run = {.sink = {.want = VMS_WANT_DISCARD}, .source = {.seekable = seekable}};
        run_all(&run, whole(), SIZE_MAX);
        cr_assert_eq(run.status, VMS_PUMP_END);
        cr_assert_eq(run.sink.done, PAGES + 2);
        if (seekable)
            cr_assert_leq(run.source.read, stream.len - BIG + VMS_PUMP_BUFFER_MIN);
        else
            cr_assert_eq(run.source.read, stream.len);
        free(run.sink.got);
    }
}

/* Rooms without memory are passed over. */
Test(pump, holes) {
    for (int seekable = 0; seekable < 2; seekable++) {
        struct run run = {.sink = {.want = VMS_WANT_DIRECT, .room = 32768, .holes = true},
                          .source = {.seekable = seekable}};
        run_all(&run, whole(), SIZE_MAX);
        cr_assert_eq(run.status, VMS_PUMP_END);
        const uint8_t *big = run.sink.got + PAGES * PAGE;
        for (size_t at = 0; at < BIG; at += 32768) {
            bool hole = (PAGES + at / 32768) % 2;
            cr_assert_eq(memcmp(big + at, content + PAGES * PAGE + at, 32768) != 0, hole);
        }
        cr_assert_eq(run.source.skipped > BIG / 3, seekable);
        free(run.sink.got);
    }
}

/* [ERR-1] a sink's error carries where the record is; the run is over. */
Test(pump, sink_error) {
    struct run run = {.sink = {.fail_at = VMS_R_RAM_BLOCK}};
    run_all(&run, whole(), SIZE_MAX);
    cr_assert_eq(run.status, VMS_PUMP_ERROR);
    cr_assert_eq(run.err.code, VMS_E_DST_UNEXPECTED);
    cr_assert_eq(run.err.record, 4);
    cr_assert_eq(run.err.offset, run.sink.last_offset);
    cr_assert_eq(run.sink.records, 5);
    free(run.sink.got);
}

/* A sink that names no rooms gets all bulk in pieces, and an error when it asks for rooms. */
Test(pump, sink_without_rooms) {
    static const struct vms_pump_sink_ops ops = {on_record, on_bulk, vms_pump_no_direct, on_done};
    struct run pieces = {.ops = &ops, .sink = {.want = VMS_WANT_PIECES}};
    run_all(&pieces, whole(), 4095);
    expect_content(&pieces);
    struct run rooms = {.ops = &ops, .sink = {.want = VMS_WANT_DIRECT}};
    run_all(&rooms, whole(), 4095);
    cr_assert_eq(rooms.status, VMS_PUMP_ERROR);
    cr_assert_eq(rooms.err.code, VMS_E_INTERNAL);
    cr_assert_eq(rooms.err.offset, rooms.sink.last_offset);
    free(rooms.sink.got);
}

/* [MOD-3] an end anywhere is found, also within bulk that goes around the buffer. */
Test(pump, truncated) {
    static const enum vms_want wants[] = {VMS_WANT_PIECES, VMS_WANT_DIRECT, VMS_WANT_DISCARD};
    for (size_t cut = 1; cut < stream.len; cut += cut < 300 ? 1 : 40013)
        for (size_t i = 0; i < 6; i++) {
            struct run run = {.sink = {.want = wants[i % 3], .room = PAGE},
                              .source = {.seekable = i >= 3}};
            run_all(&run, vms_slice(stream.bytes, cut), SIZE_MAX);
            cr_assert_eq(run.status, VMS_PUMP_ERROR);
            cr_assert_eq(run.err.code, VMS_E_TRUNCATED, "cut %zu: %s", cut, run.err.message);
            free(run.sink.got);
        }
}

/* Bytes that were sniffed go back in. */
Test(pump, feed) {
    struct run run = {.sink = {.want = VMS_WANT_PIECES}};
    struct vms_pump *pump = new_pump(&run, vms_slice_tail(whole(), 4), SIZE_MAX);
    cr_assert(vms_pump_feed(pump, vms_slice(stream.bytes, 2)));
    cr_assert(vms_pump_feed(pump, vms_slice(stream.bytes + 2, 2)));
    cr_assert_not(vms_pump_feed(pump, vms_slice(stream.bytes, VMS_PUMP_BUFFER_MIN)));
    run.status = test_pump_run(pump, &run.err);
    cr_assert_eq(vms_pump_bytes(pump), stream.len);
    vms_pump_free(pump);
    expect_content(&run);
}

static void count_progress(void *ctx, uint64_t bytes, uint64_t total) {
    uint64_t *last = ctx;
    cr_assert_gt(bytes, *last);
    cr_assert_eq(total, stream.len);
    *last = bytes;
}

Test(pump, progress) {
    struct run run = {.sink = {.want = VMS_WANT_PIECES}};
    uint64_t last = 0;
    struct vms_pump_config config = {.qevm = vms_qevm_config_default(),
                                     .source = test_source(&run.source, whole(), 1000),
                                     .sink = {&SINK, &run.sink},
                                     .progress = count_progress,
                                     .progress_ctx = &last};
    run.sink.got = calloc(1, PAGES * PAGE + BIG);
    struct vms_pump *pump = vms_pump_new(&config, &run.err);
    cr_assert_eq(test_pump_run(pump, &run.err), VMS_PUMP_END);
    cr_assert_eq(last, stream.len);
    vms_pump_free(pump);
    free(run.sink.got);
}
