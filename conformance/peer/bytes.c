/* SPDX-License-Identifier: MIT */
#include "conformance/peer/peer.h"

#include <stdio.h>
#include <string.h>

/*
 * Octets of QEMU's wire, well formed by our encoder; what is not well formed is written by hand. A
 * step is a line of the table; steps that take a number are written "ping:3".
 */

static void raw(struct peer *p, const void *bytes, size_t n) {
    if (n <= sizeof p->out - p->len) {
        memcpy(p->out + p->len, bytes, n);
        p->len += n;
    }
}

static void put(struct peer *p, struct vms_record r) {
    struct vms_room room = {p->out + p->len, sizeof p->out - p->len};
    size_t len;
    if (vms_qevm_encode(&p->encoder, &r, room, &len) == VMS_OK)
        p->len += len;
    else
        peer_fail(p, "encoder: %s", p->encoder.error.message);
}

static void bulk(struct peer *p, const void *bytes, size_t n) {
    raw(p, bytes, n);
    (void)vms_qevm_encode_bulk(&p->encoder, n);
}

static void be(uint8_t *out, uint64_t value, size_t n) {
    while (n--) {
        out[n] = (uint8_t)value;
        value >>= 8;
    }
}

/* ---- header, sections ---- */

static void header(struct peer *p, uint32_t n) {
    put(p, (struct vms_record){.type = VMS_R_HEADER, .u.version = n ? n : 3});
}

static void config(struct peer *p, uint32_t n) {
    (void)n;
    put(p, (struct vms_record){.type = VMS_R_CONFIGURATION,
                               .u.config = {.machine = vms_str(p->machine)}});
}

static void other_machine(struct peer *p, uint32_t n) {
    (void)n;
    put(p, (struct vms_record){.type = VMS_R_CONFIGURATION,
                               .u.config = {.machine = vms_str("another-machine-1.0")}});
}

static void odd_capability(struct peer *p, uint32_t n) { /* :1 one that is known */
    static const uint8_t lists[2][16] = {"\0\0\0\1\7mystery", "\0\0\0\1\12mapped-ram"};
    put(p,
        (struct vms_record){
            .type = VMS_R_CONFIGURATION,
            .u.config = {.machine = vms_str(p->machine),
                         .subsection_count = 1,
                         .subsections = {{VMS_CONFIG_CAPABILITIES, 1,
                                          vms_slice(lists[n % 2], 5 + (size_t)lists[n % 2][4])}}}});
}

static void section(struct peer *p, enum vms_record_type type, uint32_t version) {
    put(p, (struct vms_record){.type = type,
                               .u.section = {1, 0, version, VMS_SECTION_RAM, vms_str("ram")}});
}

static void footer(struct peer *p, uint32_t n) {
    put(p, (struct vms_record){.type = VMS_R_SECTION_FOOTER, .u.section.id = n ? n : 1});
}

static void eos(struct peer *p) {
    put(p, (struct vms_record){.type = VMS_R_RAM_EOS, .u.ram_word = VMS_RAM_EOS});
}

static void start_of(struct peer *p, uint32_t version, uint64_t total, const char *name) {
    section(p, VMS_R_SECTION_START, version);
    put(p, (struct vms_record){.type = VMS_R_RAM_MEM_SIZE, .u.ram_total = total});
    put(p, (struct vms_record){
               .type = VMS_R_RAM_BLOCK,
               .u.block = {.name = vms_str(name), .used_length = PEER_PAGES * PEER_PAGE}});
}

static void start(struct peer *p, uint32_t n) {
    start_of(p, n ? n : 4, PEER_PAGES * PEER_PAGE, "ram");
    eos(p);
    footer(p, 1);
}

static void start_flush(struct peer *p, uint32_t n) {
    (void)n;
    start_of(p, 4, PEER_PAGES * PEER_PAGE, "ram");
    put(p,
        (struct vms_record){.type = VMS_R_RAM_MULTIFD_FLUSH, .u.ram_word = VMS_RAM_MULTIFD_FLUSH});
    eos(p);
    footer(p, 1);
}

static void start_total(struct peer *p, uint32_t n) {
    (void)n;
    start_of(p, 4, (PEER_PAGES - 1) * PEER_PAGE, "ram");
    eos(p);
    footer(p, 1);
}

static void start_footer(struct peer *p, uint32_t n) {
    (void)n;
    start_of(p, 4, PEER_PAGES * PEER_PAGE, "ram");
    eos(p);
    footer(p, 9);
}

static void part_open(struct peer *p, uint32_t n) {
    (void)n;
    section(p, VMS_R_SECTION_PART, 4);
}

static void part_close(struct peer *p, uint32_t n) {
    (void)n;
    eos(p);
    footer(p, 1);
}

static void page(struct peer *p, uint32_t n) {
    uint8_t data[PEER_PAGE];
    memset(data, (int)(n + 1), sizeof data);
    put(p, (struct vms_record){
               .type = VMS_R_RAM_PAGE,
               .bulk_len = PEER_PAGE,
               .u.page = {.block = vms_str("ram"), .offset = (uint64_t)n * PEER_PAGE}});
    bulk(p, data, sizeof data);
}

static void zero(struct peer *p, uint32_t n) {
    put(p, (struct vms_record){
               .type = VMS_R_RAM_ZERO,
               .u.page = {.block = vms_str("ram"), .offset = (uint64_t)n * PEER_PAGE}});
}

static void pages(struct peer *p, uint32_t first, uint32_t end) {
    part_open(p, 0);
    for (uint32_t i = first; i < end; i++)
        page(p, i);
    part_close(p, 0);
}

static void all_pages(struct peer *p, uint32_t n) {
    (void)n;
    pages(p, 0, PEER_PAGES);
}

static void some_pages(struct peer *p, uint32_t n) {
    (void)n;
    pages(p, 0, 4);
}

static void rest_of_pages(struct peer *p, uint32_t n) {
    (void)n;
    pages(p, 4, PEER_PAGES);
}

static void last_pages(struct peer *p, uint32_t n) {
    (void)n;
    pages(p, 7, PEER_PAGES);
}

static void part_page(struct peer *p, uint32_t n) {
    pages(p, n, n + 1);
}

static void part_zero(struct peer *p, uint32_t n) {
    part_open(p, 0);
    zero(p, n);
    part_close(p, 0);
}

static void part_word(struct peer *p, uint32_t n) {
    uint8_t word[8];
    part_open(p, 0);
    be(word, n, sizeof word);
    raw(p, word, sizeof word);
}

static void other_block(struct peer *p, uint32_t n) {
    (void)n;
    part_open(p, 0);
    put(p, (struct vms_record){.type = VMS_R_RAM_ZERO, .u.page = {.block = vms_str("rom")}});
    part_close(p, 0);
}

static void end(struct peer *p, uint32_t n) {
    (void)n;
    section(p, VMS_R_SECTION_END, 4);
    part_close(p, 0);
}

static void device(struct peer *p, uint32_t n) {
    static const uint8_t head[] = {4, 0, 0, 0, 7, 1, 'd',  0, 0, 0, 0,
                                   0, 0, 0, 1, 1, 2, 0x7e, 0, 0, 0, 7};
    (void)n;
    raw(p, head, sizeof head);
}

static void eof(struct peer *p, uint32_t n) {
    (void)n;
    put(p, (struct vms_record){.type = VMS_R_EOF});
}

static void vmdesc(struct peer *p, uint32_t n) { /* :OCTETS behind it, of the same write */
    static const char json[] = "{\"page_size\":4096,\"devices\":[]}";
    put(p, (struct vms_record){.type = VMS_R_VMDESCRIPTION, .bulk_len = sizeof json - 1});
    bulk(p, json, sizeof json - 1);
    raw(p, "octets behind it", n < 16 ? n : 16);
}

/* ---- commands ---- */

static void command(struct peer *p, uint16_t number, const void *payload, size_t n) {
    put(p,
        (struct vms_record){.type = VMS_R_COMMAND, .u.command = {number, vms_slice(payload, n)}});
}

static void return_path(struct peer *p, uint32_t n) {
    (void)n;
    command(p, VMS_CMD_OPEN_RETURN_PATH, NULL, 0);
}

static void ping(struct peer *p, uint32_t n) {
    uint8_t value[4];
    p->pings[n % PEER_PINGS]++;
    p->open++;
    be(value, n, 4);
    command(p, VMS_CMD_PING, value, 4);
}

static void plain(struct peer *p, uint32_t n) {
    command(p, (uint16_t)n, NULL, 0);
}

static void advise(struct peer *p, uint32_t n) {
    uint8_t sizes[16];
    be(sizes, n ? n : PEER_PAGE, 8);
    be(sizes + 8, PEER_PAGE, 8);
    command(p, VMS_CMD_POSTCOPY_ADVISE, sizes, sizeof sizes);
}

static void discard(struct peer *p, uint32_t n) {
    uint8_t payload[22] = {0, 3, 'r', 'a', 'm', 0};
    be(payload + 6, (uint64_t)n * PEER_PAGE, 8);
    be(payload + 14, PEER_PAGE, 8);
    command(p, VMS_CMD_POSTCOPY_RAM_DISCARD, payload, sizeof payload);
}

static void recv_bitmap(struct peer *p, uint32_t n) {
    static const char names[2][5] = {"\3ram", "\3rom"};
    command(p, VMS_CMD_RECV_BITMAP, names[n % 2], 4);
}

/* [PKG] What is inside is written first, to learn its length. */
static void package_of(struct peer *p, const char *const *inside) {
    uint8_t head[9] = {8, 0, VMS_CMD_PACKAGED, 0, 4};
    size_t at = p->len;
    raw(p, head, sizeof head);
    for (; *inside; inside++)
        (void)peer_write(p, *inside);
    be(p->out + at + 5, p->len - at - sizeof head, 4);
}

static void package(struct peer *p, uint32_t n) {
    static const char *const kinds[][5] = {
        {"command:4", "ping:3", "command:5"}, /* LISTEN, RUN */
        {"command:4", "ping:3", "eof"},
        {"ping:3", "command:5"},
        {NULL},
        {"command:4", "header", "command:5"},
        {"command:4", "command:4", "command:5"},
        {"command:4", "return-path", "command:5"},
    };
    package_of(p, kinds[n % (sizeof kinds / sizeof *kinds)]);
}

/* ---- multifd ---- */

static void hello(struct peer *p, uint32_t n) {
    static const uint8_t zeros[39];
    put(p, (struct vms_record){
               .type = VMS_R_MULTIFD_HELLO,
               .u.hello = {.channel_id = (uint8_t)n, .reserved = vms_slice(zeros, sizeof zeros)}});
}

static void foreign_hello(struct peer *p, uint32_t n) {
    size_t at = p->len;
    hello(p, n);
    p->out[at + 8] = 0x55;
}

static void packet(struct peer *p, uint32_t flags, uint32_t normal, const char *block) {
    uint8_t offsets[128 * 8] = {0}, data[PEER_PAGE];
    memset(data, 1, sizeof data);
    put(p, (struct vms_record){.type = VMS_R_MULTIFD_PACKET,
                               .bulk_len = (uint64_t)normal * PEER_PAGE,
                               .u.packet = {.flags = flags,
                                            .pages_alloc = 128,
                                            .normal_pages = normal,
                                            .next_packet_size = normal * PEER_PAGE,
                                            .block = vms_str(block),
                                            .offsets = vms_slice(offsets, sizeof offsets)}});
    for (uint32_t i = 0; i < normal; i++)
        bulk(p, data, sizeof data);
}

static void sync_packet(struct peer *p, uint32_t n) {
    (void)n;
    packet(p, VMS_MULTIFD_SYNC, 0, "");
}

static void page_packet(struct peer *p, uint32_t n) {
    packet(p, 0, 1, n ? "rom" : "ram");
}

/* ---- the return path ---- */

static void message(struct peer *p, struct vms_record r) {
    put(p, r);
}

static void pong(struct peer *p, uint32_t n) {
    message(p, (struct vms_record){.type = VMS_R_RP_PONG, .u.value = n});
}

static void shut(struct peer *p, uint32_t n) {
    message(p, (struct vms_record){.type = VMS_R_RP_SHUT, .u.value = n});
}

static void ack(struct peer *p, uint32_t n) {
    (void)n;
    message(p, (struct vms_record){.type = VMS_R_RP_SWITCHOVER_ACK});
}

static void resume_ack(struct peer *p, uint32_t n) {
    message(p, (struct vms_record){.type = VMS_R_RP_RESUME_ACK, .u.value = n});
}

static void request(struct peer *p, uint32_t n) {
    message(p, (struct vms_record){.type = VMS_R_RP_REQ_PAGES_ID,
                                   .u.request = {vms_str("rom"), n, PEER_PAGE}});
}

static void ask_for(struct peer *p, uint32_t n, uint32_t count) {
    message(p, (struct vms_record){
                   .type = VMS_R_RP_REQ_PAGES_ID,
                   .u.request = {vms_str("ram0"), (uint64_t)n * PEER_PAGE, count * PEER_PAGE}});
}

/* Of the guest of dialogues: two pages from that one on. */
static void ask(struct peer *p, uint32_t n) {
    ask_for(p, n, 2);
    p->asked = n + 1;
    p->others = 0;
}

static void ask_all(struct peer *p, uint32_t n) {
    (void)n;
    ask_for(p, 0, 64);
}

static void bitmap(struct peer *p, uint32_t n) {
    static const uint8_t bits[16] = {0, 0, 0, 0, 0, 0, 0, 8};
    (void)n;
    put(p, (struct vms_record){.type = VMS_R_RP_RECV_BITMAP,
                               .bulk_len = sizeof bits,
                               .u.rp_block = vms_str("rom")});
    bulk(p, bits, sizeof bits);
    put(p, (struct vms_record){.type = VMS_R_RP_RECV_BITMAP_END});
}

/* Of a block of the guest of dialogues: nothing of it has come. */
static void empty_bitmap(struct peer *p, uint32_t n) {
    static const char *const names[2] = {"ram0", "ram1"};
    static const uint8_t none[8];
    put(p, (struct vms_record){.type = VMS_R_RP_RECV_BITMAP,
                               .bulk_len = sizeof none,
                               .u.rp_block = vms_str(names[n % 2])});
    bulk(p, none, sizeof none);
    put(p, (struct vms_record){.type = VMS_R_RP_RECV_BITMAP_END});
}

static const struct {
    const char *name;
    void (*write)(struct peer *, uint32_t);
} STEPS[] = {
    {"header", header},
    {"config", config},
    {"other-machine", other_machine},
    {"odd-capability", odd_capability},
    {"start", start},
    {"start-flush", start_flush},
    {"start-total", start_total},
    {"start-footer", start_footer},
    {"footer", footer},
    {"part", part_close},
    {"part-open", part_open},
    {"page", part_page},
    {"zero", part_zero},
    {"word", part_word},
    {"bare-page", page},
    {"other-block", other_block},
    {"all-pages", all_pages},
    {"some-pages", some_pages},
    {"rest", rest_of_pages},
    {"last-pages", last_pages},
    {"end", end},
    {"device", device},
    {"eof", eof},
    {"vmdesc", vmdesc},
    {"return-path", return_path},
    {"ping", ping},
    {"command", plain},
    {"advise", advise},
    {"discard", discard},
    {"recv-bitmap", recv_bitmap},
    {"package", package},
    {"hello", hello},
    {"foreign-hello", foreign_hello},
    {"sync", sync_packet},
    {"packet", page_packet},
    {"pong", pong},
    {"shut", shut},
    {"ack", ack},
    {"resume-ack", resume_ack},
    {"request", request},
    {"ask", ask},
    {"ask-all", ask_all},
    {"bitmap", bitmap},
    {"empty-bitmap", empty_bitmap},
};

static bool write_hex(struct peer *p, const char *hex) {
    for (unsigned octet; *hex; hex += 2) {
        if (sscanf(hex, "%2x", &octet) != 1)
            return false;
        uint8_t byte = (uint8_t)octet;
        raw(p, &byte, 1);
    }
    return true;
}

bool peer_write(struct peer *p, const char *step) {
    size_t n = strcspn(step, ":");
    uint32_t value = 0;
    if (strncmp(step, "hex:", 4) == 0)
        return write_hex(p, step + 4);
    if (step[n])
        (void)sscanf(step + n + 1, "%u", &value);
    for (size_t i = 0; i < sizeof STEPS / sizeof *STEPS; i++)
        if (strlen(STEPS[i].name) == n && strncmp(STEPS[i].name, step, n) == 0) {
            STEPS[i].write(p, value);
            return true;
        }
    return false;
}
