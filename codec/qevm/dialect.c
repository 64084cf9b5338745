/* SPDX-License-Identifier: MIT */
#include <string.h>
#include <vmstream/dialect.h>

/* Dialects: clauses DLC. What QEMU's two ends know of each other out of band. */

static bool digit(uint8_t c) {
    return c >= '0' && c <= '9';
}

/* "MM.mm" at the end of s, or all of it; 0 when it is none. */
static vms_qemu_version version_suffix(struct vms_slice s, size_t *taken) {
    unsigned part[2] = {0, 0}, scale = 1;
    size_t at = s.len;
    int which = 1;
    *taken = 0;
    for (; at; at--) {
        uint8_t c = s.ptr[at - 1];
        if (digit(c) && scale <= 100) {
            part[which] += scale * (unsigned)(c - '0');
            scale *= 10;
        } else if (c == '.' && which == 1 && scale > 1) {
            which = 0;
            scale = 1;
        } else {
            break;
        }
    }
    if (which || scale == 1 || part[0] > 255 || part[1] > 255)
        return 0;
    *taken = s.len - at;
    return (vms_qemu_version)(part[0] << 8 | part[1]);
}

/* [DLC-3] */
vms_qemu_version vms_machine_version(struct vms_slice name) {
    size_t taken;
    vms_qemu_version v = version_suffix(name, &taken);
    return taken && taken < name.len && name.ptr[name.len - taken - 1] == '-' ? v : 0;
}

static void settle(enum vms_tristate *t, bool on) {
    if (*t == VMS_AUTO)
        *t = on ? VMS_ON : VMS_OFF;
}

/* [DLC-4] A name without a version is a machine of the newest behaviour ("none"): nothing is learnt
 * but that it describes its devices. */
void vms_dialect_learn_machine(struct vms_dialect *d, struct vms_slice name) {
    vms_qemu_version v = d->machine ? d->machine : vms_machine_version(name);
    if (!v) {
        if (vms_slice_eq(name, vms_str("none")))
            settle(&d->vmdesc, true);
        return;
    }
    d->machine = v;
    settle(&d->footers, v >= 0x0204);
    settle(&d->configuration, v >= 0x0204);
    settle(&d->vmdesc, v >= 0x0203);
    settle(&d->multifd_flush, v >= 0x0801);
    settle(&d->ack_legacy, v <= 0x0b00);
}

bool vms_dialect_has(const struct vms_dialect *d, vms_qemu_version first, vms_qemu_version last) {
    return !d->qemu || (d->qemu >= first && (!last || d->qemu <= last));
}

/* ---- the text form (DLC-2) ---- */

static bool set_version(vms_qemu_version *out, struct vms_slice value) {
    size_t taken;
    *out = version_suffix(value, &taken);
    return taken && taken == value.len;
}

static bool set_page_bits(uint8_t *out, struct vms_slice value) {
    if (value.len != 2 || !digit(value.ptr[0]) || !digit(value.ptr[1]))
        return false;
    *out = (uint8_t)((value.ptr[0] - '0') * 10 + value.ptr[1] - '0');
    return *out >= 10 && *out <= 16;
}

static bool set_tristate(enum vms_tristate *out, struct vms_slice value) {
    static const char *const names[] = {[VMS_AUTO] = "auto", [VMS_OFF] = "off", [VMS_ON] = "on"};
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++)
        if (vms_slice_eq(value, vms_str(names[i]))) {
            *out = (enum vms_tristate)i;
            return true;
        }
    return false;
}

static enum vms_tristate *tristate_of(struct vms_dialect *d, struct vms_slice key) {
    const struct {
        const char *key;
        enum vms_tristate *field;
    } keys[] = {
        {"configuration", &d->configuration},
        {"footers", &d->footers},
        {"vmdesc", &d->vmdesc},
        {"postcopy", &d->postcopy},
        {"ignore-shared", &d->ignore_shared},
        {"mapped-ram", &d->mapped_ram},
        {"multifd-flush", &d->multifd_flush},
        {"ack-legacy", &d->ack_legacy},
    };
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (vms_slice_eq(key, vms_str(keys[i].key)))
            return keys[i].field;
    return NULL;
}

static bool set(struct vms_dialect *d, struct vms_slice key, struct vms_slice value) {
    enum vms_tristate *t = tristate_of(d, key);
    if (t)
        return set_tristate(t, value);
    if (vms_slice_eq(key, vms_str("qemu")))
        return set_version(&d->qemu, value);
    if (vms_slice_eq(key, vms_str("machine")))
        return set_version(&d->machine, value);
    return vms_slice_eq(key, vms_str("page-bits")) && set_page_bits(&d->page_bits, value);
}

static struct vms_slice cut(struct vms_slice *rest, char separator) {
    const uint8_t *hit = rest->len ? memchr(rest->ptr, separator, rest->len) : NULL;
    size_t n = hit ? (size_t)(hit - rest->ptr) : rest->len;
    struct vms_slice part = vms_slice_head(*rest, n);
    *rest = vms_slice_tail(*rest, n + 1);
    return part;
}

enum vms_code vms_dialect_parse(struct vms_slice text, struct vms_dialect *out,
                                struct vms_error *err) {
    struct vms_dialect d = {0};
    while (text.len) {
        struct vms_slice value = cut(&text, ',');
        struct vms_slice whole = value;
        struct vms_slice key = cut(&value, '=');
        bool bare = key.len == whole.len; /* a bare version is QEMU's */
        if (!(bare ? set_version(&d.qemu, whole) : set(&d, key, value)))
            return vms_error_set(err, VMS_E_MISUSE, "dialect '%.*s'", (int)whole.len,
                                 (const char *)whole.ptr);
    }
    *out = d;
    return VMS_OK;
}
