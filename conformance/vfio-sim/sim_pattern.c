/* SPDX-License-Identifier: MIT */
#include "sim_device.h"

#include <string.h>

/*
 * A block of the stream, all fields little-endian: magic 4, length 4, device 8, seed 8, offset 8,
 * generation 4, class 2, end 2, check 8; then payload that is a function of the header. So a byte
 * that is lost, doubled, of another device, out of order or changed is found where it stands.
 */
#define MAGIC 0x42534656u /* "VFSB" */

static uint64_t mix(uint64_t x) {
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

uint64_t vfs_name_hash(const char *name) {
    uint64_t h = 0;
    for (; *name; name++)
        h = mix(h ^ (uint8_t)*name);
    return h;
}

static void put(uint8_t *out, uint64_t value, unsigned bytes) {
    for (unsigned i = 0; i < bytes; i++)
        out[i] = (uint8_t)(value >> (8 * i));
}

static uint64_t get(const uint8_t *in, unsigned bytes) {
    uint64_t value = 0;
    for (unsigned i = 0; i < bytes; i++)
        value |= (uint64_t)in[i] << (8 * i);
    return value;
}

static uint64_t check_of(const uint8_t *header) {
    uint64_t h = 0;
    for (unsigned i = 0; i < VFS_HEADER - 8; i += 8)
        h = mix(h ^ get(header + i, 8));
    return h;
}

static void make_header(const struct vfs_block *b, uint8_t *out) {
    put(out, MAGIC, 4);
    put(out + 4, b->length, 4);
    put(out + 8, b->device, 8);
    put(out + 16, b->seed, 8);
    put(out + 24, b->offset, 8);
    put(out + 32, b->generation, 4);
    put(out + 36, (uint64_t)b->class_, 2);
    put(out + 38, b->end, 2);
    put(out + 40, check_of(out), 8);
}

/** Payload in words of 8 bytes; the last one may be cut. */
static uint64_t word(uint64_t key, uint32_t i) {
    return (key ^ i) * 0x9e3779b97f4a7c15u ^ (key >> 29);
}

void vfs_block_make(const struct vfs_block *b, uint8_t *out) {
    make_header(b, out);
    uint64_t key = get(out + 40, 8);
    uint32_t at = VFS_HEADER;
    for (; at + 8 <= b->length; at += 8) {
        uint64_t w = word(key, at);
        memcpy(out + at, &w, 8);
    }
    uint64_t w = word(key, at);
    memcpy(out + at, &w, b->length - at);
}

const char *vfs_block_header(const uint8_t *in, struct vfs_block *out) {
    if (get(in, 4) != MAGIC)
        return "no block begins here";
    if (get(in + 40, 8) != check_of(in))
        return "the header of a block is damaged";
    *out = (struct vfs_block){
        .length = (uint32_t)get(in + 4, 4),
        .device = get(in + 8, 8),
        .seed = get(in + 16, 8),
        .offset = get(in + 24, 8),
        .generation = (uint32_t)get(in + 32, 4),
        .class_ = (enum vfs_class)get(in + 36, 2),
        .end = get(in + 38, 2) != 0,
    };
    if (out->length < VFS_HEADER || out->length > VFS_BLOCK_MAX || out->class_ >= VFS_CLASSES)
        return "the header of a block is impossible";
    return NULL;
}

bool vfs_block_good(const struct vfs_block *b, const uint8_t *in) {
    uint64_t key = get(in + 40, 8), different = 0, got;
    uint32_t at = VFS_HEADER;
    for (; at + 8 <= b->length; at += 8) {
        memcpy(&got, in + at, 8);
        different |= got ^ word(key, at);
    }
    uint64_t w = word(key, at);
    return different == 0 && memcmp(in + at, &w, b->length - at) == 0;
}
