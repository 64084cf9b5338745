/* SPDX-License-Identifier: MIT */
#include "conformance/integrity/subject.h"

#include <stdlib.h>

enum {
    PAGE = 4096,
};

const char SUBJECT_KEYS[] =
    "vm-a:000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n"
    "vm-b:f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff000102030405060708090a0b0c0d0e0f\n";

static void seal(struct subject *s) {
    s->plan.channels = s->channels;
    s->plan.psk = s->plan.suite ? &s->psk : NULL;
    s->sealed = sealed_make(&s->plan);
}

static void add_made(struct subject *s, enum stream_id id) {
    size_t i = s->plan.count++;
    s->made[i] = stream_make(id);
    s->channels[i].config = stream_config(s->made[i]);
    s->channels[i].kind = s->channels[i].config.kind;
    s->channels[i].main_channel = stream_main(s->made[i]);
    s->channels[i].octets = stream_octets(s->made[i]);
}

void subject_open(struct subject *s, enum vms_suite suite, size_t piece) {
    *s = (struct subject){.plan = {.suite = suite, .piece = piece, .level = 1}};
    s->psk = sealed_psk(SUBJECT_KEYS, "vm-a");
    add_made(s, STREAM_PRECOPY);
    add_made(s, STREAM_MULTIFD);
    add_made(s, STREAM_RETURN_PATH);
    seal(s);
    (void)sealed_read(subject_file(s), suite ? SUBJECT_KEYS : "", &s->sealed);
}

/* ---- random streams ---- */

struct maker {
    struct text *out;
    struct vms_qevm_encoder encoder;
    uint64_t *seed;
};

static void put(struct maker *m, struct vms_record r, const uint8_t *bulk) {
    uint8_t head[4096];
    size_t len;
    if (vms_qevm_encode(&m->encoder, &r, (struct vms_room){head, sizeof head}, &len) != VMS_OK)
        abort();
    text_add(m->out, head, len);
    if (r.bulk_len == 0)
        return;
    if (vms_qevm_encode_bulk(&m->encoder, r.bulk_len) != VMS_OK)
        abort();
    text_add(m->out, bulk, (size_t)r.bulk_len);
}

static void put_page(struct maker *m, uint64_t i, bool first) {
    uint8_t page[PAGE];
    uint64_t kind = random_next(m->seed) % 3, word = random_next(m->seed);
    struct vms_record r = {
        .type = kind ? VMS_R_RAM_PAGE : VMS_R_RAM_ZERO,
        .bulk_len = kind ? PAGE : 0,
        .u.page = {.block = vms_str("pc.ram"), .continued = !first, .offset = i * PAGE}};
    for (size_t at = 0; at < PAGE; at += sizeof word) {
        if (kind == 2 || at % 512 == 0)
            word = random_next(m->seed);
        memcpy(page + at, &word, sizeof word);
    }
    put(m, r, page);
}

static void put_ram(struct maker *m, uint64_t pages) {
    struct vms_rec_section ram = {
        .id = 2, .version = 4, .kind = VMS_SECTION_RAM, .idstr = vms_str("ram")};
    put(m, (struct vms_record){.type = VMS_R_SECTION_START, .u.section = ram}, NULL);
    put(m, (struct vms_record){.type = VMS_R_RAM_MEM_SIZE, .u.ram_total = pages * PAGE}, NULL);
    struct vms_record block = {.type = VMS_R_RAM_BLOCK,
                               .u.block = {.name = vms_str("pc.ram"), .used_length = pages * PAGE}};
    put(m, block, NULL);
    for (uint64_t i = 0; i < pages; i++)
        put_page(m, random_next(m->seed) % pages, i == 0);
    put(m, (struct vms_record){.type = VMS_R_RAM_EOS, .u.ram_word = VMS_RAM_EOS}, NULL);
    put(m, (struct vms_record){.type = VMS_R_SECTION_FOOTER, .u.section.id = 2}, NULL);
}

static void make_random(struct text *out, uint64_t *seed) {
    struct maker m = {.out = out, .seed = seed};
    struct vms_dialect dialect = {0};
    vms_qevm_encoder_init(&m.encoder, 0, &dialect);
    put(&m, (struct vms_record){.type = VMS_R_HEADER, .u.version = 3}, NULL);
    put(&m, (struct vms_record){.type = VMS_R_CONFIGURATION, .u.config.machine = vms_str("pc")},
        NULL);
    put_ram(&m, 1 + random_next(seed) % 40);
    put(&m, (struct vms_record){.type = VMS_R_EOF}, NULL);
}

void subject_open_random(struct subject *s, enum vms_suite suite, const struct vms_psk *psk,
                         int level, uint64_t *seed) {
    *s = (struct subject){.plan = {.suite = suite, .psk = psk, .count = 1, .level = level}};
    if (psk)
        s->psk = *psk;
    s->plan.piece = 1 + random_next(seed) % 60000;
    make_random(&s->random, seed);
    s->channels[0].config = vms_qevm_config_default();
    s->channels[0].kind = VMS_QEVM_MAIN;
    s->channels[0].octets = vms_slice(s->random.ptr, s->random.len);
    seal(s);
}

void subject_close(struct subject *s) {
    sealed_free(&s->sealed);
    text_free(&s->random);
    for (size_t i = 0; i < s->plan.count; i++) {
        free(s->channels[i].main_channel);
        if (s->made[i])
            vb_free(s->made[i]);
    }
}

struct vms_slice subject_file(const struct subject *s) {
    return vms_slice(s->sealed.file.ptr, s->sealed.file.len);
}
