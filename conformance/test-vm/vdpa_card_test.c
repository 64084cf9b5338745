/* SPDX-License-Identifier: MIT */
#include "host/vdpa_internal.h"
#include "host/vdpa_rig.h"
#include "vduse.h"

#include <sys/resource.h>

/*
 * codec/host/vdpa*.c against the kernel's own simulated network card, vdpa_sim_net: it suspends,
 * resumes, has a control queue, and pins memory when it is told to. [VDPA-3] [VDPA-8] [VDPA-15]
 * [VDPA-16] [VDPA-17] [VDPA-30]
 */
enum {
    PAGE = 4096,
    MIB = 1 << 20
};

#define VM_TEST(name) Test(vdpa_card_kernel, name, .timeout = 60)

static struct vms_error err;
static struct vdpa_rig rig;
static struct vms_vdpa_seat seat[2];
static char path[2][64];

static struct vms_vdpa *open_card(unsigned i) {
    struct vms_vdpa *device = NULL;
    vfio_good(vms_vdpa_open(path[i], &device, &err), &err);
    return device;
}

VM_TEST(what_the_kernel_offers) {
    vdpa_sim_load("", path);
    struct vms_vdpa *device = open_card(0);
    const struct vms_vdpa_about *a = vms_vdpa_about(device);
    static const enum vms_vdpa_backend_bit bits[] = {
        VMS_VDPA_MSG_V2,       VMS_VDPA_BATCH,  VMS_VDPA_ASID,
        VMS_VDPA_SUSPEND,      VMS_VDPA_RESUME, VMS_VDPA_ENABLE_AFTER_DRIVER_OK,
        VMS_VDPA_IOTLB_PERSIST};
    for (size_t i = 0; i < sizeof bits / sizeof bits[0]; i++)
        cr_expect(vms_vdpa_has(device, bits[i]), "bit %u", (unsigned)bits[i]);
    cr_expect_eq(a->queues, 3u);
    cr_expect_eq(a->groups, 2u);
    cr_expect_eq(a->spaces, 2u);
    cr_expect(a->features >> VMS_VIRTIO_CTRL_VQ & 1);
    vms_vdpa_close(device);
    vdpa_sim_unload();
}

/* ---- a card that runs, is stopped, and runs again, here or in another one ---- */

static void sit(unsigned i) {
    const struct vms_vdpa_map_options options = {.chunk = MIB};
    vfio_good(vms_vdpa_seat_open(&seat[i], path[i], &options, &err), &err);
    vfio_good(vms_vdpa_seat_layout(&seat[i], &rig.guest, &err), &err);
    vfio_good(vms_vdpa_seat_wait(&seat[i], &err), &err);
}

/** A guest whose driver takes what this card has. */
static void guest(void) {
    rig_set_up(&rig);
    struct vms_vdpa *device = open_card(0);
    rig.state.profile.features &= vms_vdpa_about(device)->features;
    rig.state.profile.config_size = vms_vdpa_about(device)->config_size;
    vms_vdpa_close(device);
}

static void stop(unsigned i) {
    vfio_good(vms_vdpa_card_stop(seat[i].card, vms_vdpa_seat_memory, &seat[i], &err), &err);
}

/* [VDPA-3] [VDPA-17] */
VM_TEST(suspend_and_resume) {
    vdpa_sim_load("", path);
    guest();
    sit(0);
    vfio_good(vms_vdpa_card_start(seat[0].card, &rig.state, rig.events, &err), &err);
    for (uint32_t n = 1; n <= 20; n++) {
        rig_transmit(&rig);
        stop(0);
        cr_assert_eq(vms_vdpa_card_state(seat[0].card)->queue[1].ring.base, n);
        cr_expect(vms_vdpa_card_can_resume(seat[0].card));
        vfio_good(vms_vdpa_card_resume(seat[0].card, &err), &err);
    }
    vms_vdpa_seat_close(&seat[0]);
    vdpa_sim_unload();
}

/* [VDPA-15] [VDPA-16] Into another card: rings go on, the address is the one that was told. */
VM_TEST(into_another_card) {
    const uint8_t mac[6] = {2, 7, 7, 7, 7, 7};
    uint8_t got[6];
    bool ok = false;
    vdpa_sim_load("", path);
    guest();
    sit(0);
    sit(1);
    vfio_good(vms_vdpa_card_start(seat[0].card, &rig.state, rig.events, &err), &err);
    for (int n = 0; n < 5; n++)
        rig_transmit(&rig);
    vfio_good(vms_vdpa_card_control(seat[0].card, 1, 1, mac, 6, &ok, &err), &err);
    cr_expect(ok);
    stop(0);
    struct vms_vdpa_state state = *vms_vdpa_card_state(seat[0].card);
    cr_expect_eq(state.queue[1].ring.base, 5u);
    vfio_good(vms_vdpa_card_start(seat[1].card, &state, rig.events, &err), &err);
    for (int n = 0; n < 20; n++)
        rig_transmit(&rig);
    vfio_good(vms_vdpa_config_read(seat[1].device, 0, got, 6, &err), &err);
    cr_expect_arr_eq(got, mac, 6);
    vms_vdpa_seat_close(&seat[0]);
    vms_vdpa_seat_close(&seat[1]);
    vdpa_sim_unload();
}

/* [VDPA-15] What the card does not know is answered, not lost: the kernel's has no receive modes.
 */
VM_TEST(a_command_that_is_refused) {
    const uint8_t on = 1;
    bool ok = true;
    vdpa_sim_load("", path);
    guest();
    sit(0);
    vfio_good(vms_vdpa_card_start(seat[0].card, &rig.state, rig.events, &err), &err);
    vfio_good(vms_vdpa_card_control(seat[0].card, 0, 0, &on, 1, &ok, &err), &err);
    cr_expect_not(ok);
    rig_transmit(&rig);
    vms_vdpa_seat_close(&seat[0]);
    vdpa_sim_unload();
}

/* ---- pinned memory ---- */

static void limit(uint64_t bytes) {
    const struct rlimit l = {bytes, bytes};
    cr_assert_eq(setrlimit(RLIMIT_MEMLOCK, &l), 0);
}

static uint8_t *memory(int kind) {
    uint8_t *m = mmap(NULL, 16 * MIB, PROT_READ | PROT_WRITE, kind | MAP_ANONYMOUS, -1, 0);
    cr_assert_neq(m, MAP_FAILED);
    return m;
}

/* [VDPA-8] The limit is of all that the process has pinned, for whichever card. */
VM_TEST(pinned_memory_is_limited) {
    vdpa_sim_load("use_va=0 max_iotlb_entries=65536", path);
    struct vms_vdpa *one = open_card(0), *two = open_card(1);
    uint8_t *m = memory(MAP_SHARED);
    const struct vms_vdpa_region six = {0, 0, m, 6 * MIB, false},
                                 four = {0, 8 * MIB, m + 8 * MIB, 4 * MIB, false};
    limit(8 * MIB);
    vfio_good(vms_vdpa_map(one, &six, &err), &err);
    cr_expect_eq(vms_vdpa_pinned(), (uint64_t)6 * MIB);
    cr_expect_eq(vms_vdpa_map(one, &four, &err), VMS_E_VDPA_MEMLOCK);
    cr_expect(strstr(err.message, "6291456 bytes are pinned"), "%s", err.message);
    cr_expect_eq(vms_vdpa_map(two, &four, &err), VMS_E_VDPA_MEMLOCK, "%s", err.message);
    cr_expect_eq(vms_vdpa_pinned(), (uint64_t)6 * MIB, "what failed has pinned nothing");
    vfio_good(vms_vdpa_unmap(one, &six, &err), &err);
    cr_expect_eq(vms_vdpa_pinned(), 0u);
    vfio_good(vms_vdpa_map(two, &four, &err), &err);
    vms_vdpa_close(one);
    vms_vdpa_close(two);
    cr_expect_eq(vms_vdpa_pinned(), 0u, "what was closed has nothing pinned");
    vdpa_sim_unload();
}

/* [VDPA-30] A card that pins takes private memory, one that does not is found out. */
VM_TEST(private_memory) {
    uint8_t *m = memory(MAP_PRIVATE);
    const struct vms_vdpa_region region = {1, 0, m, MIB, false};
    vdpa_sim_load("use_va=0 max_iotlb_entries=65536", path);
    struct vms_vdpa *device = open_card(0);
    vfio_good(vms_vdpa_map(device, &region, &err), &err);
    cr_expect_eq(vms_vdpa_pinned(), (uint64_t)MIB);
    vms_vdpa_close(device);
    vdpa_sim_unload();
    vdpa_sim_load("use_va=1", path);
    device = open_card(0);
    cr_expect_eq(vms_vdpa_map(device, &region, &err), VMS_E_VDPA_MEMORY);
    vms_vdpa_close(device);
    vdpa_sim_unload();
}

/* More than the card's own table of maps holds. */
VM_TEST(more_maps_than_the_card_takes) {
    uint8_t *m = memory(MAP_SHARED);
    vdpa_sim_load("max_iotlb_entries=8", path);
    struct vms_vdpa *device = open_card(0);
    enum vms_code code = VMS_OK;
    unsigned n = 0;
    for (; n < 16 && code == VMS_OK; n++) {
        const struct vms_vdpa_region page = {0, 2u * n * PAGE, m + n * PAGE, PAGE, false};
        code = vms_vdpa_map(device, &page, &err);
    }
    cr_expect_eq(code, VMS_E_VDPA_DEVICE);
    cr_expect_eq(n, 9u, "the ninth is refused, not number %u", n);
    cr_expect(strstr(err.message, "max_iotlb_entries"), "%s", err.message);
    vms_vdpa_close(device);
    vdpa_sim_unload();
}
