/* SPDX-License-Identifier: MIT */
#include "reference-dst/native_internal.h"

#include <criterion/criterion.h>
#include <stdlib.h>

/* [MIG-6] Which channel a device's state may come on. */
enum {
    CHANNELS = 3,
    DEVICES = 7, /* ids 1 to 7; the last one is not VFIO's */
};

static struct dst_native_session *make(uint64_t features) {
    struct dst_native_session *s = calloc(1, sizeof *s);
    cr_assert_not_null(s);
    s->features = features;
    s->data_channels = CHANNELS;
    s->set_up = true;
    s->device_count = DEVICES;
    for (uint32_t i = 0; i < DEVICES; i++)
        s->devices[i] = (struct dn_device){.id = i + 1, .vdpa = i + 1 == DEVICES};
    return s;
}

/* A piece of its state on that channel; no device had its setup, so none takes it. */
static enum vms_code give(struct dst_native_session *s, uint32_t id, uint16_t channel) {
    struct vms_error err = {.code = VMS_OK};
    struct vms_native_frame f = {.header.type = VMS_NATIVE_DEVICE, .header.channel = channel};
    struct vms_native_link_event ev = {.frame = &f, .bulk = vms_str("data")};
    f.u.device = (struct vms_native_device_state){.device = id, .kind = 1};
    return dn_device_data(s, channel, &ev, &err);
}

Test(native_device, each_vfio_device_has_its_channel) {
    for (uint32_t id = 1; id < DEVICES; id++)
        for (uint16_t channel = 0; channel <= CHANNELS; channel++) {
            struct dst_native_session *s = make(VMS_FEATURE_DEVICE_CHANNELS);
            bool own = channel == (id - 1) % CHANNELS + 1;
            cr_expect_eq(give(s, id, channel), own ? VMS_E_VFIO_UNEXPECTED : VMS_E_MIG_DEVICE,
                         "device %u on channel %u", id, channel);
            free(s);
        }
}

Test(native_device, what_is_not_vfio_has_the_main_channel_and_so_has_all_without_the_feature) {
    for (uint16_t channel = 1; channel <= CHANNELS; channel++) {
        struct dst_native_session *s = make(VMS_FEATURE_DEVICE_CHANNELS), *none = make(0);
        cr_expect_eq(give(s, DEVICES, channel), VMS_E_MIG_DEVICE);
        cr_expect_eq(give(none, channel, channel), VMS_E_MIG_DEVICE);
        cr_expect_eq(give(none, channel, 0), VMS_E_VFIO_UNEXPECTED);
        cr_expect_eq(give(s, DEVICES + 1, channel), VMS_E_MIG_DEVICE);
        free(s);
        free(none);
    }
}
