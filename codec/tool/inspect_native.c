/* SPDX-License-Identifier: MIT */
#include "tool/inspect.h"
#include "tool/json.h"
#include "tool/native_in.h"
#include "tool/text.h"
#include <stdio.h>

enum {
    ROWS = 64,
};

/* Frames of one type on one channel. */
struct row {
    uint16_t channel;
    uint32_t type;
    uint64_t frames, body, bulk;
};

struct headers {
    bool json;
    struct row rows[ROWS];
    size_t count;
    uint64_t frames;
};

static void on_hello(void *ctx, const struct vms_native_file_info *info) {
    const struct headers *h = ctx;
    char id[40];
    (void)text_hex(id, sizeof id, vms_slice(info->session, sizeof info->session));
    if (!h->json) {
        printf("wire       native, seal %s, key %s, not given: headers only, nothing is proven\n",
               vms_suite_name(info->suite), info->identity);
        printf("session    %s, by %s\n", id, info->software[0] ? info->software : "(not told)");
        printf("machine    %s\n", info->machine[0] ? info->machine : "(not told)");
        return;
    }
    json_t *o = json_object();
    json_put_text(o, "record", "hello");
    json_put_text(o, "seal", vms_suite_name(info->suite));
    json_put_text(o, "identity", info->identity);
    json_put_text(o, "session", id);
    json_put_text(o, "software", info->software);
    json_put_text(o, "machine", info->machine);
    json_print_line(o);
}

static struct row *find(struct headers *h, const struct vms_native_header *header) {
    for (size_t i = 0; i < h->count; i++)
        if (h->rows[i].channel == header->channel && h->rows[i].type == header->type)
            return &h->rows[i];
    if (h->count == ROWS)
        return NULL;
    h->rows[h->count] = (struct row){.channel = header->channel, .type = header->type};
    return &h->rows[h->count++];
}

static void print_frame(uint64_t offset, const struct vms_native_header *header) {
    json_t *o = json_object();
    json_put_text(o, "record", "frame");
    json_put_u64(o, "offset", offset);
    json_put_text(o, "type", vms_native_type_name(header->type));
    json_put_u64(o, "channel", header->channel);
    json_put_u64(o, "epoch", header->epoch);
    json_put_u64(o, "sequence", header->sequence);
    json_put_u64(o, "body_bytes", header->body_len);
    json_put_u64(o, "bulk_bytes", header->bulk_len);
    json_put_true(o, "packed", header->flags & VMS_NATIVE_PACK_MASK);
    json_print_line(o);
}

static void on_header(void *ctx, uint64_t offset, const struct vms_native_header *header) {
    struct headers *h = ctx;
    struct row *row = find(h, header);
    h->frames++;
    if (h->json)
        print_frame(offset, header);
    if (!row)
        return;
    row->frames++;
    row->body += header->body_len;
    row->bulk += header->bulk_len;
}

static void print_table(const struct headers *h) {
    char body[TEXT_SIZE], bulk[TEXT_SIZE];
    printf("\nFrames\n  %7s  %-12s %9s %10s %10s\n", "channel", "type", "frames", "bodies", "bulk");
    for (size_t i = 0; i < h->count; i++)
        printf("  %7u  %-12s %9llu %10s %10s\n", h->rows[i].channel,
               vms_native_type_name(h->rows[i].type), (unsigned long long)h->rows[i].frames,
               text_size(body, h->rows[i].body), text_size(bulk, h->rows[i].bulk));
}

void inspect_native_headers(const struct migration *m, bool json) {
    struct headers headers = {.json = json};
    struct vms_native_scan_ops ops = {on_hello, on_header, &headers};
    struct vms_error err;
    if (!native_input_rewind(m->native))
        return;
    enum vms_code code =
        vms_native_scan(native_input_fd(m->native), &m->options->limits, &ops, &err);
    if (json)
        return;
    print_table(&headers);
    printf(
        "\nEnd\n  %llu frames, %s%s\n", (unsigned long long)headers.frames,
        code == VMS_OK ? "the outline is complete" : "BROKEN: ", code == VMS_OK ? "" : err.message);
}
