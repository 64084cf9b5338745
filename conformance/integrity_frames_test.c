/* SPDX-License-Identifier: MIT */
#include "conformance/integrity/subject.h"
#include "conformance/integrity/tally.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

/*
 * Frames that are whole, in the wrong place: left out, repeated, exchanged, on another channel, in
 * another session's file. Once as they are, and once with their channel and sequence rewritten so
 * that they would fit. The attacker has no key.
 */

enum {
    PIECE = 32, /* many frames */
};

static const enum vms_suite KEYED[] = {VMS_SUITE_AES_256_GMAC, VMS_SUITE_AES_256_GCM,
                                       VMS_SUITE_CHACHA20_POLY1305};

/* The order is wrong, or an END is missing, or tells of other frames. */
#define OUT_OF_PLACE_CODES                                                                         \
    VMS_E_SEAL_SEQUENCE, VMS_E_SEAL_EPOCH, VMS_E_SEAL_TAG, VMS_E_NATIVE_ORDER, VMS_E_SESSION_END,  \
        VMS_E_SESSION_ID, VMS_E_SESSION_UNEXPECTED, VMS_E_SESSION_NO_END, VMS_E_TRUNCATED
static const enum vms_code OUT_OF_PLACE[] = {OUT_OF_PLACE_CODES, VMS_OK};
/* [SEAL-28] A body that was deciphered with another key or nonce is never told as a bad body. */
static const enum vms_code REWRITTEN[] = {OUT_OF_PLACE_CODES, VMS_E_NATIVE_CHANNEL, VMS_OK};

/* ---- files made of frames ---- */

struct piece {
    struct vms_slice octets;
    bool rewrite;
    uint16_t channel; /* rewritten to, and to the sequence that is next there */
};

struct order {
    struct piece pieces[512];
    size_t count;
};

static struct vms_slice octets_of(const struct sealed *s, size_t i) {
    return vms_slice(s->file.ptr + s->frames[i].at, s->frames[i].len);
}

static void push(struct order *o, struct vms_slice octets) {
    cr_assert_lt(o->count, sizeof o->pieces / sizeof *o->pieces);
    o->pieces[o->count++] =
        (struct piece){.octets = octets, .channel = sealed_header(octets.ptr).channel};
}

/* The original's frames from `first` up to `end`. */
static void push_frames(struct order *o, const struct sealed *s, size_t first, size_t end) {
    for (; first < end; first++)
        push(o, octets_of(s, first));
}

static void insert_rewritten(struct order *o, struct vms_slice octets, uint16_t channel) {
    push(o, octets);
    o->pieces[o->count - 1].rewrite = true;
    o->pieces[o->count - 1].channel = channel;
}

static void add_piece(struct text *file, const struct piece *p, uint64_t next[256]) {
    struct vms_native_header h = sealed_header(p->octets.ptr);
    size_t at = file->len;
    text_add(file, p->octets.ptr, p->octets.len);
    if (p->rewrite) {
        h.channel = p->channel;
        h.sequence = h.epoch ? next[p->channel] : 0;
        sealed_put_header((uint8_t *)file->ptr + at, &h);
    }
    if (h.epoch)
        next[h.channel & 255] = h.sequence + 1;
}

static struct verdict read_order(const struct order *o, const struct sealed *original) {
    uint64_t next[256] = {0};
    struct text file = {NULL, 0, 0};
    text_add(&file, vms_native_label, VMS_NATIVE_LABEL);
    for (size_t i = 0; i < o->count; i++)
        add_piece(&file, &o->pieces[i], next);
    struct verdict v = sealed_read(vms_slice(file.ptr, file.len), SUBJECT_KEYS, original);
    text_free(&file);
    return v;
}

static void try_order(struct tally *t, const struct order *o, const struct sealed *s,
                      code_list right) {
    struct verdict v = read_order(o, s);
    tally_add(t, &v, right);
}

/* ---- attacks ---- */

static void dropped(const struct sealed *s) {
    struct tally t = tally_for("one frame dropped", s->suite);
    for (size_t i = 0; i < s->count; i++) {
        struct order o = {.count = 0};
        push_frames(&o, s, 0, i);
        push_frames(&o, s, i + 1, s->count);
        try_order(&t, &o, s, OUT_OF_PLACE);
    }
    tally_close(&t);
}

/* Runs of frames, and all those behind one on its channel, so that the sequence has no gap. */
static void dropped_more(const struct sealed *s) {
    struct tally t = tally_for("several frames dropped", s->suite);
    for (size_t i = 0; i < s->count; i++)
        for (size_t j = i + 2; j <= s->count; j++) {
            struct order o = {.count = 0};
            push_frames(&o, s, 0, i);
            push_frames(&o, s, j, s->count);
            try_order(&t, &o, s, OUT_OF_PLACE);
        }
    for (size_t i = 0; i < s->count; i++) {
        struct order o = {.count = 0};
        for (size_t j = 0; j < s->count; j++)
            if (j < i || s->frames[j].header.channel != s->frames[i].header.channel ||
                s->frames[j].header.type == VMS_NATIVE_END)
                push(&o, octets_of(s, j));
        if (o.count < s->count)
            try_order(&t, &o, s, OUT_OF_PLACE);
    }
    tally_close(&t);
}

/* Each frame once more, at every later place. */
static void doubled(const struct sealed *s, bool rewrite) {
    struct tally t = tally_for(rewrite ? "doubled, sequence rewritten" : "doubled", s->suite);
    for (size_t i = 0; i < s->count; i++)
        for (size_t j = i + 1; j <= s->count; j++) {
            struct order o = {.count = 0};
            push_frames(&o, s, 0, j);
            if (rewrite)
                insert_rewritten(&o, octets_of(s, i), s->frames[i].header.channel);
            else
                push(&o, octets_of(s, i));
            push_frames(&o, s, j, s->count);
            try_order(&t, &o, s, rewrite ? REWRITTEN : OUT_OF_PLACE);
        }
    tally_close(&t);
}

/* Whether some channel's frames come in another order when i and j are exchanged. */
static bool reorders(const struct sealed *s, size_t i, size_t j) {
    uint16_t a = s->frames[i].header.channel, b = s->frames[j].header.channel;
    for (size_t k = i + 1; k < j; k++)
        if (s->frames[k].header.channel == a || s->frames[k].header.channel == b)
            return true;
    return a == b;
}

static struct order exchanged(const struct sealed *s, size_t i, size_t j, bool rewrite) {
    struct order o = {.count = 0};
    for (size_t k = 0; k < s->count; k++) {
        size_t from = k == i ? j : k == j ? i : k;
        if (rewrite)
            insert_rewritten(&o, octets_of(s, from), s->frames[from].header.channel);
        else
            push(&o, octets_of(s, from));
    }
    return o;
}

static void swapped(const struct sealed *s, bool rewrite) {
    struct tally t =
        tally_for(rewrite ? "any two swapped, sequences rewritten" : "any two swapped", s->suite);
    for (size_t i = 0; i < s->count; i++)
        for (size_t j = i + 1; j < s->count; j++) {
            struct order o = exchanged(s, i, j, rewrite);
            if (reorders(s, i, j))
                try_order(&t, &o, s, rewrite ? REWRITTEN : OUT_OF_PLACE);
        }
    tally_close(&t);
}

/*
 * [SEAL-20] What stays in order on each channel, but in another one among the channels: each frame
 * would open, and what is written last would not be.
 */
static void interleaved(const struct sealed *s) {
    static const enum vms_code order[] = {VMS_E_SESSION_END, VMS_E_NATIVE_ORDER,
                                          VMS_E_SESSION_UNEXPECTED, VMS_OK};
    struct tally t = tally_for("channels take turns otherwise", s->suite);
    for (size_t i = 0; i < s->count; i++)
        for (size_t j = i + 1; j < s->count; j++) {
            struct order o = exchanged(s, i, j, false);
            if (!reorders(s, i, j))
                try_order(&t, &o, s, order);
        }
    tally_close(&t);
}

/* Each frame on each other channel, open or not; it goes there, or is there besides. */
static void other_channel(const struct sealed *s, bool besides) {
    static const uint16_t channels[] = {0, 1, 2, 249, 255};
    struct tally t =
        tally_for(besides ? "copied to another channel" : "moved to another channel", s->suite);
    for (size_t i = 0; i < s->count; i++)
        for (size_t c = 0; c < sizeof channels / sizeof *channels; c++) {
            struct order o = {.count = 0};
            if (s->frames[i].header.channel == channels[c])
                continue;
            push_frames(&o, s, 0, besides ? i + 1 : i);
            insert_rewritten(&o, octets_of(s, i), channels[c]);
            push_frames(&o, s, i + 1, s->count);
            try_order(&t, &o, s, REWRITTEN);
        }
    tally_close(&t);
}

/* Each frame, and each run up to the end, from another file of the same guest and the same key. */
static void other_session(const struct sealed *s, const struct sealed *other) {
    struct tally t = tally_for("frames of another session", s->suite);
    cr_assert_eq(s->count, other->count);
    for (size_t i = 0; i < s->count; i++)
        for (size_t j = i + 1; j <= s->count; j = j == i + 1 && j < s->count ? s->count : j + 1) {
            struct order o = {.count = 0};
            push_frames(&o, s, 0, i);
            push_frames(&o, other, i, j);
            push_frames(&o, s, j, s->count);
            if (i > 0 || j < s->count) /* else it is the other file */
                try_order(&t, &o, s, REWRITTEN);
        }
    tally_close(&t);
}

/* [SEAL-6] [SEAL-10] [SEAL-12] [SEAL-20] [NAT-15] [NAT-16] [NAT-23] [NAT-50] [SES-20] [SES-21] */
Test(integrity_frames, order, .timeout = 300) {
    for (size_t k = 0; k < 3; k++) {
        struct subject s;
        subject_open(&s, KEYED[k], PIECE);
        dropped(&s.sealed);
        dropped_more(&s.sealed);
        doubled(&s.sealed, false);
        doubled(&s.sealed, true);
        swapped(&s.sealed, false);
        swapped(&s.sealed, true);
        interleaved(&s.sealed);
        subject_close(&s);
    }
}

/* [SEAL-14] [SEAL-26] [NAT-14] A key is for one channel of one session. */
Test(integrity_frames, place, .timeout = 300) {
    for (size_t k = 0; k < 3; k++) {
        struct subject s, other;
        subject_open(&s, KEYED[k], PIECE);
        subject_open(&other, KEYED[k], PIECE);
        other_channel(&s.sealed, false);
        other_channel(&s.sealed, true);
        other_session(&s.sealed, &other.sealed);
        subject_close(&s);
        subject_close(&other);
    }
}
