/* SPDX-License-Identifier: MIT */
#include "conformance/vectors/build.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *grown(void *ptr, size_t bytes) {
    void *p = realloc(ptr, bytes);
    if (!p) {
        fputs("out of memory\n", stderr);
        exit(3);
    }
    return p;
}

struct vb *vb_new(const char *kind, const char *clause, const char *comment) {
    struct vb *v = grown(NULL, sizeof *v);
    *v = (struct vb){.kind = kind,
                     .clauses = {clause},
                     .comment = comment,
                     .dialect = "",
                     .tail = "hold",
                     .descriptions = "none",
                     .guessed_from = UINT64_MAX,
                     .guessed_to = UINT64_MAX};
    return v;
}

void vb_free(struct vb *v) {
    if (!v)
        return;
    vb_free(v->main);
    free(v->ptr);
    free(v->records);
    free(v);
}

void vb_clause(struct vb *v, const char *clause) {
    size_t i = 0;
    while (v->clauses[i])
        i++;
    v->clauses[i] = clause;
}

void vb_limit(struct vb *v, const char *name, uint64_t value) {
    size_t i = 0;
    while (v->limits[i].name)
        i++;
    v->limits[i] = (struct vb_limit){name, value};
}

/* ---- raw octets ---- */

static uint8_t *room(struct vb *v, size_t n) {
    if (v->len + n > v->cap) {
        v->cap = (v->len + n) * 2;
        v->ptr = grown(v->ptr, v->cap);
    }
    v->len += n;
    return v->ptr + v->len - n;
}

void vb_raw(struct vb *v, const void *bytes, size_t n) {
    uint8_t *to = room(v, n);
    if (n)
        memcpy(to, bytes, n);
}

void vb_fill(struct vb *v, uint8_t byte, size_t n) {
    memset(room(v, n), byte, n);
}

static void put(struct vb *v, uint64_t x, unsigned n) {
    uint8_t *to = room(v, n);
    for (unsigned i = n; i-- > 0; x >>= 8)
        to[i] = (uint8_t)x;
}

void vb_u8(struct vb *v, uint8_t x) {
    put(v, x, 1);
}
void vb_u16(struct vb *v, uint16_t x) {
    put(v, x, 2);
}
void vb_u32(struct vb *v, uint32_t x) {
    put(v, x, 4);
}
void vb_u64(struct vb *v, uint64_t x) {
    put(v, x, 8);
}

void vb_text(struct vb *v, const char *text) {
    vb_raw(v, text, strlen(text));
}

void vb_str8(struct vb *v, const char *text) {
    vb_u8(v, (uint8_t)strlen(text));
    vb_text(v, text);
}

/* Long runs of one octet, so that vectors stay short. */
void vb_page(struct vb *v, unsigned seed) {
    vb_u32(v, 0xda7a0000u + seed);
    vb_fill(v, (uint8_t)(0x80 + seed % 64), VB_PAGE - 4);
}

/* ---- expectations ---- */

void vb_expect(struct vb *v, const char *record) {
    if (v->record_count == v->record_cap) {
        v->record_cap = v->record_cap * 2 + 16;
        v->records = grown(v->records, v->record_cap * sizeof *v->records);
    }
    v->records[v->record_count++] = (struct vb_record){record, v->len};
}

void vb_guessed(struct vb *v) {
    v->guessed_from = v->record_count;
}

void vb_exact(struct vb *v) {
    v->guessed_to = v->record_count;
}

void vb_at(struct vb *v) {
    v->error_at = v->len;
}

void vb_at_back(struct vb *v, size_t n) {
    v->error_at = v->len - n;
}

void vb_fails(struct vb *v, const char *code) {
    v->error = code;
}

void vb_ends_in_bulk(struct vb *v) {
    vb_at(v);
    vb_fails(v, "TRUNCATED");
    v->error_in_bulk = true;
}

void vb_breaks(struct vb *v, const char *code) {
    v->record_count--;
    v->error = code;
}

/* ---- main channel ---- */

void vb_header(struct vb *v) {
    vb_expect(v, "HEADER");
    vb_u32(v, 0x5145564d);
    vb_u32(v, 3);
}

void vb_config(struct vb *v, const char *machine) {
    vb_expect(v, "CONFIGURATION");
    vb_u8(v, 0x07);
    vb_u32(v, (uint32_t)strlen(machine));
    vb_text(v, machine);
}

void vb_subsection(struct vb *v, const char *name, uint32_t version) {
    vb_u8(v, 0x05);
    vb_str8(v, name);
    vb_u32(v, version);
}

static void section_head(struct vb *v, uint8_t type, uint32_t id, const char *idstr,
                         uint32_t version) {
    vb_u8(v, type);
    vb_u32(v, id);
    vb_str8(v, idstr);
    vb_u32(v, 0);
    vb_u32(v, version);
}

void vb_start(struct vb *v, uint32_t id, const char *idstr, uint32_t version) {
    vb_expect(v, "SECTION_START");
    section_head(v, 0x01, id, idstr, version);
}

void vb_full(struct vb *v, uint32_t id, const char *idstr) {
    vb_expect(v, "SECTION_FULL");
    section_head(v, 0x04, id, idstr, 1);
}

void vb_part(struct vb *v, uint32_t id) {
    vb_expect(v, "SECTION_PART");
    vb_u8(v, 0x02);
    vb_u32(v, id);
}

void vb_end(struct vb *v, uint32_t id) {
    vb_expect(v, "SECTION_END");
    vb_u8(v, 0x03);
    vb_u32(v, id);
}

void vb_footer(struct vb *v, uint32_t id) {
    vb_expect(v, "SECTION_FOOTER");
    vb_u8(v, 0x7e);
    vb_u32(v, id);
}

void vb_command(struct vb *v, uint16_t command, uint16_t len) {
    vb_expect(v, "COMMAND");
    vb_u8(v, 0x08);
    vb_u16(v, command);
    vb_u16(v, len);
}

void vb_ping(struct vb *v, uint32_t value) {
    vb_command(v, 2, 4);
    vb_u32(v, value);
}

void vb_eof(struct vb *v) {
    vb_expect(v, "EOF");
    vb_u8(v, 0x00);
}

void vb_vmdesc(struct vb *v, const char *json) {
    vb_expect(v, "VMDESCRIPTION");
    vb_u8(v, 0x06);
    vb_u32(v, (uint32_t)strlen(json));
    vb_text(v, json);
}

void vb_device(struct vb *v, uint32_t id, const char *idstr, const void *data, size_t n) {
    vb_full(v, id, idstr);
    vb_raw(v, data, n);
    vb_footer(v, id);
}

/* ---- RAM ---- */

void vb_mem_size(struct vb *v, uint64_t total) {
    vb_word(v, "RAM_MEM_SIZE", total | 0x04);
}

void vb_block(struct vb *v, const char *name, uint64_t length) {
    vb_expect(v, "RAM_BLOCK");
    vb_str8(v, name);
    vb_u64(v, length);
}

void vb_word(struct vb *v, const char *record, uint64_t word) {
    vb_expect(v, record);
    vb_u64(v, word);
}

void vb_eos(struct vb *v) {
    vb_word(v, "RAM_EOS", 0x10);
}

static void page_head(struct vb *v, const char *record, uint64_t word, const char *block) {
    vb_word(v, record, block ? word : word | 0x20);
    if (block)
        vb_str8(v, block);
}

void vb_zero(struct vb *v, const char *block, uint64_t offset) {
    page_head(v, "RAM_ZERO", offset | 0x02, block);
    vb_u8(v, 0);
}

void vb_normal(struct vb *v, const char *block, uint64_t offset) {
    page_head(v, "RAM_PAGE", offset | 0x08, block);
    vb_page(v, (unsigned)(offset / VB_PAGE));
}

void vb_head(struct vb *v) {
    vb_header(v);
    vb_config(v, "test");
}

void vb_ram(struct vb *v) {
    vb_head(v);
    vb_start(v, VB_RAM_ID, "ram", 4);
    vb_mem_size(v, 2 * VB_BLOCK_BYTES);
    vb_block(v, "pc.ram", VB_BLOCK_BYTES);
    vb_block(v, "vga", VB_BLOCK_BYTES);
    vb_close(v);
}

void vb_ram_part(struct vb *v) {
    vb_ram(v);
    vb_part(v, VB_RAM_ID);
}

void vb_close(struct vb *v) {
    vb_eos(v);
    vb_footer(v, VB_RAM_ID);
}

void vb_finish(struct vb *v) {
    vb_end(v, VB_RAM_ID);
    vb_close(v);
    vb_eof(v);
}

struct vb *vb_adopted(void) {
    struct vb *v = vb_new("main", "REC-2", "the main channel before");
    vb_ram(v);
    return v;
}

/* ---- other channels ---- */

void vb_hello(struct vb *v, uint8_t channel) {
    vb_expect(v, "MULTIFD_HELLO");
    vb_u32(v, 0x11223344);
    vb_u32(v, 1);
    vb_fill(v, 0, 16);
    vb_u8(v, channel);
    vb_fill(v, 0, 39);
}

void vb_packet(struct vb *v, const struct vb_packet *p, const uint64_t *offsets) {
    size_t name = strlen(p->block);
    vb_expect(v, "MULTIFD_PACKET");
    vb_u32(v, 0x11223344);
    vb_u32(v, 1);
    vb_u32(v, p->flags);
    vb_u32(v, p->alloc);
    vb_u32(v, p->normal);
    vb_u32(v, p->size);
    vb_u64(v, p->num);
    vb_u32(v, p->zero);
    vb_fill(v, 0, 28);
    vb_raw(v, p->block, name);
    vb_fill(v, 0, 256 - name);
    for (uint32_t i = 0; i < p->normal + p->zero && i < 128; i++)
        vb_u64(v, offsets[i]);
    for (uint32_t i = p->normal + p->zero; i < 128; i++)
        vb_u64(v, 0);
}

void vb_message(struct vb *v, const char *record, uint16_t type, uint16_t len) {
    vb_expect(v, record);
    vb_u16(v, type);
    vb_u16(v, len);
}
