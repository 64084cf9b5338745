/* SPDX-License-Identifier: MIT */
#include "conformance/bench/bench.h"

#include <stdlib.h>

static struct vms_qevm_decoder *decoder(void) {
    static void *mem;
    struct vms_qevm_config c = vms_qevm_config_default();
    c.limits.device_tail_bytes = 4096;
    if (!mem)
        mem = malloc(vms_qevm_decoder_size(&c)); /* once, and kept */
    return vms_qevm_decoder_init(mem, vms_qevm_decoder_size(&c), &c);
}

bool guest_right(const struct load *l) {
    return !l->pages || memcmp(l->guest, l->want, l->pages * BENCH_PAGE) == 0;
}

bool sink_right(const struct load *l) {
    return memcmp(l->sink + l->body, l->stream + l->body, l->len - l->body) == 0;
}

/* What is done with the bulk of a page. */
typedef void take(const struct load *l, const struct vms_event *ev);

static void take_nothing(const struct load *l, const struct vms_event *ev) {
    (void)l, (void)ev;
}

static void take_copy(const struct load *l, const struct vms_event *ev) {
    memcpy(l->guest + ev->record.u.page.offset + ev->bulk_offset, ev->bulk.ptr, ev->bulk.len);
}

/* Decodes one chunk to its end; counts records. */
static inline bool decode_chunk(struct vms_qevm_decoder *d, const struct load *l,
                                struct vms_slice chunk, take *on_bulk, uint64_t *records) {
    struct vms_event ev;
    for (;;) {
        switch (vms_qevm_decode(d, &chunk, &ev)) {
        case VMS_STEP_RECORD: ++*records; break;
        case VMS_STEP_BULK: on_bulk(l, &ev); break;
        case VMS_STEP_NEED: return true;
        default: return false;
        }
    }
}

/* `buffer` is where chunks are read to first, or NULL. */
static bool decode_chunks(const struct load *l, size_t size, take *on_bulk, uint8_t *buffer) {
    struct vms_qevm_decoder *d = decoder();
    struct vms_slice head = vms_slice(l->stream, l->body);
    struct vms_slice rest = vms_slice_tail(vms_slice(l->stream, l->len), l->body);
    uint64_t records = 0;
    bool ok = decode_chunk(d, l, head, on_bulk, &records);
    for (records = 0; ok && rest.len; rest = vms_slice_tail(rest, size)) {
        struct vms_slice chunk = vms_slice_head(rest, size);
        if (buffer)
            chunk.ptr = memcpy(buffer, chunk.ptr, chunk.len);
        ok = decode_chunk(d, l, chunk, on_bulk, &records);
    }
    return ok && records == l->records;
}

bool decode_only(const struct load *l, size_t chunk) {
    return decode_chunks(l, chunk, take_nothing, NULL);
}

bool decode_in_place(const struct load *l, size_t chunk) {
    return decode_chunks(l, chunk, take_copy, NULL);
}

bool decode_buffered(const struct load *l, size_t chunk) {
    static uint8_t *buffer;
    static size_t size;
    if (size < chunk)
        buffer = realloc(buffer, size = chunk); /* once a size, and kept */
    return buffer && decode_chunks(l, chunk, take_copy, buffer);
}

/* Feeds what the decoder asks for, and takes bulk past it. chunk has no meaning here. */
bool decode_direct(const struct load *l, size_t chunk) {
    struct vms_qevm_decoder *d = decoder();
    struct vms_slice rest = vms_slice(l->stream, l->len);
    struct vms_event ev;
    size_t want = l->body;
    (void)chunk;
    for (;;) {
        struct vms_slice in = vms_slice_head(rest, want);
        rest = vms_slice_tail(rest, in.len);
        enum vms_step step;
        while ((step = vms_qevm_decode(d, &in, &ev)) == VMS_STEP_RECORD) {
            size_t n = (size_t)vms_qevm_bulk_direct(d);
            if (!n)
                continue;
            memcpy(l->guest + ev.record.u.page.offset, rest.ptr, n);
            rest = vms_slice_tail(rest, n);
            vms_qevm_bulk_taken(d, n);
        }
        if (step != VMS_STEP_NEED)
            return false;
        if (!rest.len)
            return vms_qevm_offset(d) == l->len;
        want = ev.need;
    }
}

static void gather(uint8_t **to, const void *from, size_t n) {
    memcpy(*to, from, n);
    *to += n;
}

static bool sink_end(const struct load *l, const uint8_t *to) {
    return to == l->sink + l->len;
}

static bool emit(struct vms_qevm_encoder *e, const struct vms_record *rec, uint8_t **to) {
    uint8_t head[64];
    size_t len;
    if (vms_qevm_encode(e, rec, (struct vms_room){head, sizeof head}, &len) != VMS_OK)
        return false;
    gather(to, head, len);
    return true;
}

bool encode_gather(const struct load *l, size_t chunk) {
    struct vms_qevm_encoder e;
    struct vms_dialect any = {0};
    struct vms_record part = {.type = VMS_R_SECTION_PART, .u.section = {.id = 2}};
    struct vms_record page = {.type = VMS_R_RAM_PAGE, .bulk_len = BENCH_PAGE};
    struct vms_record eos = {.type = VMS_R_RAM_EOS, .u.ram_word = VMS_RAM_EOS};
    struct vms_record foot = {.type = VMS_R_SECTION_FOOTER, .u.section = {.id = 2}};
    uint8_t *to = l->sink + l->body;
    (void)chunk;
    vms_qevm_encoder_init(&e, 0, &any);
    page.u.page.block = vms_str("pc.ram");
    bool ok = emit(&e, &part, &to);
    for (size_t i = 0; ok && i < l->pages; i++) {
        page.u.page.offset = i * BENCH_PAGE;
        page.u.page.continued = i > 0;
        ok = emit(&e, &page, &to);
        gather(&to, l->want + i * BENCH_PAGE, BENCH_PAGE);
        ok = ok && vms_qevm_encode_bulk(&e, BENCH_PAGE) == VMS_OK;
    }
    return ok && emit(&e, &eos, &to) && emit(&e, &foot, &to) && sink_end(l, to);
}

/* Octets in front of the first page's data; every other page has 8 in front of it. */
static size_t first_head(const struct load *l) {
    enum {
        TAIL = 13, /* EOS and footer */
    };
    return l->len - l->body - TAIL - l->pages * (BENCH_PAGE + 8) + 8;
}

/* Page by page from the same places, as a receiver without any protocol would. */
bool copy_pages(const struct load *l, size_t chunk) {
    const uint8_t *from = l->stream + l->body + first_head(l);
    (void)chunk;
    for (size_t i = 0; i < l->pages; i++)
        memcpy(l->guest + i * BENCH_PAGE, from + i * (BENCH_PAGE + 8), BENCH_PAGE);
    return true;
}

/* The same gathering from the same places, with heads that are there already. */
bool copy_gather(const struct load *l, size_t chunk) {
    size_t head = l->body;
    uint8_t *to = l->sink + l->body;
    (void)chunk;
    for (size_t i = 0; i < l->pages; i++) {
        size_t word = i ? 8 : first_head(l);
        gather(&to, l->stream + head, word);
        gather(&to, l->want + i * BENCH_PAGE, BENCH_PAGE);
        head += word + BENCH_PAGE;
    }
    gather(&to, l->stream + head, l->len - head);
    return sink_end(l, to);
}

bool copy_stream(const struct load *l, size_t chunk) {
    (void)chunk;
    memcpy(l->sink + l->body, l->stream + l->body, l->len - l->body);
    return true;
}
