/* SPDX-License-Identifier: MIT */
#include "seal/internal.h"

/* [SEAL-19] Lines of "identity:hexkey". Messages give the line's number, never its text. */

struct line {
    struct vms_slice name;
    struct vms_slice hex;
};

/* Takes a line without its end off the front of *text. */
static struct vms_slice next_line(struct vms_slice *text) {
    const uint8_t *end = memchr(text->ptr, '\n', text->len);
    size_t len = end ? (size_t)(end - text->ptr) : text->len;
    struct vms_slice line = vms_slice_head(*text, len);
    *text = vms_slice_tail(*text, end ? len + 1 : len);
    if (line.len && line.ptr[line.len - 1] == '\r')
        line.len--;
    return line;
}

/* The next line that holds a key; false at the end. Counts all lines. */
static bool next_entry(struct vms_slice *text, struct line *out, unsigned *number) {
    while (text->len) {
        struct vms_slice line = next_line(text);
        ++*number;
        if (line.len == 0 || line.ptr[0] == '#')
            continue;
        const uint8_t *colon = memchr(line.ptr, ':', line.len);
        out->name = vms_slice_head(line, colon ? (size_t)(colon - line.ptr) : line.len);
        out->hex = vms_slice_tail(line, out->name.len + 1);
        return true;
    }
    return false;
}

static int hex_digit(uint8_t c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static bool all_hex(struct vms_slice s) {
    for (size_t i = 0; i < s.len; i++)
        if (hex_digit(s.ptr[i]) < 0)
            return false;
    return true;
}

static bool all_graphic(struct vms_slice s) {
    for (size_t i = 0; i < s.len; i++)
        if (s.ptr[i] <= 0x20 || s.ptr[i] > 0x7e)
            return false;
    return true;
}

static bool named_before(struct vms_slice text, unsigned before, struct vms_slice name) {
    struct line line;
    unsigned number = 0;
    while (next_entry(&text, &line, &number) && number < before)
        if (vms_slice_eq(line.name, name))
            return true;
    return false;
}

/* What is wrong with the entry on line `number`; NULL when it is good. */
static const char *bad_entry(struct vms_slice text, unsigned number, const struct line *line) {
    if (line->name.len == 0 || line->name.len > VMS_PSK_NAME_MAX || !all_graphic(line->name))
        return "the identity is not 1 to 128 printable characters";
    if (line->hex.len % 2 || !all_hex(line->hex))
        return "the key is not pairs of hexadecimal digits";
    if (line->hex.len < 2 * VMS_SECRET_MIN || line->hex.len > 2 * VMS_PSK_MAX)
        return "the key is not 16 to 64 bytes";
    return named_before(text, number, line->name) ? "the identity comes twice" : NULL;
}

static void take(const struct line *line, struct vms_psk *out) {
    *out = (struct vms_psk){0};
    out->name_len = line->name.len;
    memcpy(out->name, line->name.ptr, line->name.len);
    out->key_len = line->hex.len / 2;
    for (size_t i = 0; i < out->key_len; i++)
        out->key[i] =
            (uint8_t)(hex_digit(line->hex.ptr[2 * i]) << 4 | hex_digit(line->hex.ptr[2 * i + 1]));
}

enum vms_code vms_psk_walk(struct vms_slice text, const struct vms_limits *limits,
                           void (*give)(void *ctx, const struct vms_psk *psk), void *ctx,
                           struct vms_error *err) {
    struct vms_slice rest = text;
    struct line line;
    struct vms_psk psk;
    unsigned number = 0;
    size_t count = 0;
    if (text.len > limits->psk_file_bytes)
        return vms_error_set(err, VMS_E_LIMIT, "psk_file_bytes");
    for (; next_entry(&rest, &line, &number); count++) {
        const char *bad = bad_entry(text, number, &line);
        if (bad)
            return vms_error_set(err, VMS_E_SEAL_PSK_FILE, "line %u: %s", number, bad);
        take(&line, &psk);
        give(ctx, &psk);
        vms_wipe(&psk, sizeof psk);
    }
    return count ? VMS_OK : vms_error_set(err, VMS_E_SEAL_PSK_FILE, "it has no key");
}

/* ---- one key ---- */

struct wanted {
    struct vms_slice name; /* empty: by its place */
    size_t index;
    struct vms_psk *out;
};

static void take_wanted(void *ctx, const struct vms_psk *psk) {
    struct wanted *w = ctx;
    bool by_name = w->name.len && vms_slice_eq(vms_slice(psk->name, psk->name_len), w->name);
    if (by_name || (!w->name.len && w->index == 0))
        *w->out = *psk;
    w->index--;
}

/* [SEAL-23] */
static enum vms_code not_there(struct vms_slice name, size_t index, struct vms_error *err) {
    int len = (int)(name.len < 64 ? name.len : 64);
    return name.len ? vms_error_set(err, VMS_E_SEAL_PSK_IDENTITY, "identity '%.*s'", len, name.ptr)
                    : vms_error_set(err, VMS_E_SEAL_PSK_IDENTITY, "number %zu", index);
}

enum vms_code vms_psk_parse(struct vms_slice text, struct vms_slice name, size_t index,
                            const struct vms_limits *limits, struct vms_psk *out,
                            struct vms_error *err) {
    struct wanted wanted = {name, index, out};
    *out = (struct vms_psk){0};
    enum vms_code code = vms_psk_walk(text, limits, take_wanted, &wanted, err);
    if (code == VMS_OK && !out->key_len)
        return not_there(name, index, err);
    if (code != VMS_OK)
        vms_wipe(out, sizeof *out);
    return code;
}
