/* SPDX-License-Identifier: MIT */
#include "conformance/vfio-sim/text.h"
#include "sim_internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* The text that describes a device. */

#define BIT(n) (UINT64_C(1) << (n))

static const struct named {
    const char *name;
    uint64_t value;
} features[] =
    {
        {"mtu", BIT(3)},       {"mac", BIT(5)},        {"status", BIT(16)},
        {"ctrl-vq", BIT(17)},  {"ctrl-rx", BIT(18)},   {"ctrl-vlan", BIT(19)},
        {"mq", BIT(22)},       {"ctrl-mac", BIT(23)},  {"any-layout", BIT(27)},
        {"indirect", BIT(28)}, {"version-1", BIT(32)}, {"access-platform", BIT(33)},
        {"packed", BIT(34)},
},
  backend[] =
      {
          {"msg-v2", BIT(VMS_VDPA_MSG_V2)},
          {"batch", BIT(VMS_VDPA_BATCH)},
          {"asid", BIT(VMS_VDPA_ASID)},
          {"suspend", BIT(VMS_VDPA_SUSPEND)},
          {"resume", BIT(VMS_VDPA_RESUME)},
          {"enable-after-driver-ok", BIT(VMS_VDPA_ENABLE_AFTER_DRIVER_OK)},
          {"persist", BIT(VMS_VDPA_IOTLB_PERSIST)},
},
  errors[] = {
      {"eio", EIO},       {"enospc", ENOSPC}, {"einval", EINVAL}, {"ebusy", EBUSY},
      {"enomem", ENOMEM}, {"efault", EFAULT}, {"enodev", ENODEV}, {"eopnotsupp", EOPNOTSUPP},
};
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static const struct named *find(const struct named *table, size_t count, const char *word) {
    for (size_t i = 0; i < count && word; i++)
        if (strcmp(table[i].name, word) == 0)
            return &table[i];
    return NULL;
}

/* features [+|-]NAME…, backend [+|-]NAME… */
static void set_bits(struct sim_line *l, uint64_t *bits, const struct named *table, size_t count) {
    for (size_t i = 1; i < l->count; i++) {
        const char *w = l->word[i];
        const struct named *bit = find(table, count, w + (*w == '-' || *w == '+'));
        if (!sim_want(l, bit != NULL, "no such feature"))
            return;
        *bits = *w == '-' ? *bits & ~bit->value : *bits | bit->value;
    }
}

/* fault CALL ERROR [after N] [times N] */
static void set_fault(struct sim_line *l, void *description) {
    struct vds_description *d = description;
    struct vds_fault f = {.times = 1};
    const struct named *error = find(errors, COUNT(errors), l->word[2]);
    size_t at = 3;
    while (f.call < vds_call_count && l->word[1] && strcmp(vds_calls[f.call].name, l->word[1]) != 0)
        f.call++;
    if (!sim_want(l, l->word[1] && f.call < vds_call_count,
                  "a call is wanted: MAP, SET_STATUS, …") ||
        !sim_want(l, error != NULL, "an error is wanted: eio, efault, …") ||
        !sim_want(l, d->fault_count < VDS_FAULTS_MAX, "too many"))
        return;
    f.error = (int)error->value;
    for (; l->word[at] && l->word[at + 1]; at += 2) {
        bool after = strcmp(l->word[at], "after") == 0;
        if (!sim_want(l, after || strcmp(l->word[at], "times") == 0,
                      "after N or times N is wanted") ||
            !sim_size(l, l->word[at + 1], after ? &f.after : &f.times))
            return;
    }
    d->faults[d->fault_count++] = f;
}

static void set_mac(struct sim_line *l, void *description) {
    struct vds_description *d = description;
    unsigned m[6];
    if (!sim_want(l,
                  l->word[1] && sscanf(l->word[1], "%x:%x:%x:%x:%x:%x", &m[0], &m[1], &m[2], &m[3],
                                       &m[4], &m[5]) == 6,
                  "an address is wanted: 52:54:00:12:34:56"))
        return;
    for (size_t i = 0; i < 6; i++)
        d->mac[i] = (uint8_t)m[i];
}

static void set_name(struct sim_line *l, void *description) {
    struct vds_description *d = description;
    (void)sim_word(l, d->name, sizeof d->name);
}

static void set_log(struct sim_line *l, void *description) {
    struct vds_description *d = description;
    (void)sim_word(l, d->log, sizeof d->log);
}

static void set_features(struct sim_line *l, void *description) {
    set_bits(l, &((struct vds_description *)description)->features, features, COUNT(features));
}

static void set_backend(struct sim_line *l, void *description) {
    set_bits(l, &((struct vds_description *)description)->backend, backend, COUNT(backend));
}

#define AT(field) offsetof(struct vds_description, field)
static const struct sim_setting settings[] = {
    {"name", SIM_OWN, 0, set_name},
    {"log", SIM_OWN, 0, set_log},
    {"features", SIM_OWN, 0, set_features},
    {"backend", SIM_OWN, 0, set_backend},
    {"mac", SIM_OWN, 0, set_mac},
    {"fault", SIM_OWN, 0, set_fault},
    {"pairs", SIM_SIZE, AT(pairs), NULL},
    {"control", SIM_SWITCH, AT(control), NULL},
    {"ring-size", SIM_SIZE, AT(ring_size), NULL},
    {"groups", SIM_SIZE, AT(groups), NULL},
    {"spaces", SIM_SIZE, AT(spaces), NULL},
    {"iova-first", SIM_SIZE, AT(iova_first), NULL},
    {"iova-last", SIM_SIZE, AT(iova_last), NULL},
    {"page-cost", SIM_TIME, AT(page_cost), NULL},
    {"call-cost", SIM_TIME, AT(call_cost), NULL},
    {"ring-cost", SIM_TIME, AT(ring_cost), NULL},
    {"base-cost", SIM_TIME, AT(base_cost), NULL},
    {"command-cost", SIM_TIME, AT(command_cost), NULL},
    {"max-maps", SIM_SIZE, AT(max_maps), NULL},
    {"pin", SIM_SWITCH, AT(pin), NULL},
    {"forgets", SIM_SWITCH, AT(forgets), NULL},
    {"trace", SIM_SWITCH, AT(trace), NULL},
    {"echo", SIM_SWITCH, AT(echo), NULL},
};

static const char *check(struct vds_description *d) {
    if (d->pairs < 1 || 2 * d->pairs + 1 > VDS_QUEUES_MAX)
        return "pairs: 1 to 64";
    if (d->ring_size < 2 || d->ring_size > VDS_RING_MAX || (d->ring_size & (d->ring_size - 1)))
        return "ring-size: a power of two from 2 to 1024";
    if (d->groups < 1 || d->groups > 2 || d->spaces < 1 || d->spaces > VDS_SPACES_MAX)
        return "groups: 1 or 2; spaces: 1 to 8";
    if (!d->control)
        d->features &= ~(BIT(17) | BIT(18) | BIT(19) | BIT(22) | BIT(23));
    return d->iova_first < d->iova_last ? NULL : "iova-first is less than iova-last";
}

int vds_parse(const char *text, size_t len, struct vds_description *out, char *error, size_t size) {
    *out = (struct vds_description){
        .name = "vdpa-sim",
        .pairs = 1,
        .control = true,
        .ring_size = 256,
        .groups = 2,
        .spaces = 2,
        .iova_last = UINT64_MAX,
        .mac = {0x52, 0x54, 0, 0x12, 0x34, 0x56},
    };
    for (size_t i = 0; i < COUNT(features); i++) /* but packed rings, and what is not useful here */
        if (features[i].value != BIT(34) && features[i].value != BIT(28))
            out->features |= features[i].value;
    for (size_t i = 0; i < COUNT(backend); i++)
        out->backend |= backend[i].value;
    if (sim_parse(text, len, VDS_MAGIC, settings, COUNT(settings), out, error, size) != 0)
        return -1;
    const char *why = check(out);
    if (why)
        (void)snprintf(error, size, "%s", why);
    return why ? -1 : 0;
}
