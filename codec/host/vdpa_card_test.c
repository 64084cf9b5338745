/* SPDX-License-Identifier: MIT */
#include "host/vdpa_rig.h"

/* A card that runs, stops and runs again, with all that its driver had told it. */

static struct vms_error err;
static struct vdpa_rig rig;
static struct vms_vdpa_seat seat;
static int device_fd;

static void sit(const char *text) {
    const struct vms_vdpa_map_options options = {.chunk = 1 << 20};
    char name[32];
    rig_set_up(&rig);
    device_fd = vdpa_describe(text);
    (void)snprintf(name, sizeof name, "fd:%d", device_fd);
    vfio_good(vms_vdpa_seat_open(&seat, name, &options, &err), &err);
    vfio_good(vms_vdpa_seat_layout(&seat, &rig.guest, &err), &err);
    vfio_good(vms_vdpa_seat_wait(&seat, &err), &err);
}

static void leave(void) {
    vms_vdpa_seat_close(&seat);
}

static void start(void) {
    vfio_good(vms_vdpa_card_start(seat.card, &rig.state, rig.events, &err), &err);
}

static void tell(uint8_t class_, uint8_t command, const void *data, size_t len, bool want) {
    bool ok;
    vfio_good(vms_vdpa_card_control(seat.card, class_, command, data, len, &ok, &err), &err);
    cr_expect_eq(ok, want, "%u.%u", class_, command);
}

/* [VDPA-15] [VDPA-16] */
SIM_TEST(vdpa_card, what_the_driver_had_said_is_restored) {
    const uint8_t on = 1, mac[6] = {2, 1, 1, 1, 1, 1}, vlan[2] = {0x23, 0x01}, none[2] = {0, 0};
    const uint8_t table[8 + 18] = {1, 0, 0, 0, 2, 9, 9, 9, 9, 9, 2, 0, 0,
                                   0, 3, 8, 8, 8, 8, 8, 3, 7, 7, 7, 7, 7};
    sit("");
    start();
    tell(0, 0, &on, 1, true);
    tell(1, 1, mac, 6, true);
    tell(1, 0, table, sizeof table, true);
    tell(2, 0, vlan, 2, true);
    tell(2, 1, none, 2, true);
    tell(9, 0, &on, 1, false);
    struct vds_net before = vdpa_ask(device_fd, NULL, 0).net;
    vfio_good(vms_vdpa_card_stop(seat.card, vms_vdpa_seat_memory, &seat, &err), &err);
    struct vms_vdpa_state state = *vms_vdpa_card_state(seat.card);
    leave();
    sit(""); /* somewhere else */
    vfio_good(vms_vdpa_card_start(seat.card, &state, rig.events, &err), &err);
    struct vds_query after = vdpa_ask(device_fd, NULL, 0);
    cr_expect_arr_eq(after.net.mac, mac, 6);
    cr_expect_arr_eq(after.net.rx, before.rx, sizeof before.rx);
    cr_expect_arr_eq(after.net.vlans, before.vlans, sizeof before.vlans);
    cr_expect_eq(after.net.table_hash, before.table_hash);
    cr_expect_eq(after.net.refused, 0u);
    cr_expect_eq(after.figures.stray, 0u);
    leave();
    vfio_clean();
}

/* [VDPA-15] Nothing is received before the filters are in. */
SIM_TEST(vdpa_card, data_queues_come_last) {
    static char log[1 << 16];
    char text[160];
    const char *path = vfio_file("log", "%s", "");
    (void)snprintf(text, sizeof text, "log %s", path);
    sit(text);
    start();
    leave();
    FILE *file = fopen(path, "re");
    cr_assert_not_null(file);
    log[fread(log, 1, sizeof log - 1, file)] = 0;
    (void)fclose(file);
    const char *enabled = strstr(log, "\"call\":\"SET_VRING_ENABLE\",\"value\":4294967297,");
    const char *running = strstr(log, "\"event\":\"status\",\"status\":15"), *last = NULL;
    for (const char *at = log; (at = strstr(at, "\"event\":\"control\"")) != NULL; at++)
        last = at;
    cr_assert(enabled && running && last, "%s", log);
    cr_expect(running < last && last < enabled, "%s", log);
    vfio_clean();
}

/* [VDPA-3] [VDPA-17] Rings go on where they stood, whatever the device can do. */
SIM_TEST(vdpa_card, rings_go_on) {
    static const char *const texts[] = {"", "backend -resume", "backend -suspend -resume"};
    for (size_t t = 0; t < 3; t++) {
        sit(texts[t]);
        start();
        for (uint16_t i = 1; i <= 20; i++) {
            rig_transmit(&rig);
            vfio_good(vms_vdpa_card_stop(seat.card, vms_vdpa_seat_memory, &seat, &err), &err);
            cr_assert_eq(vms_vdpa_card_state(seat.card)->queue[1].ring.base, i, "%s", texts[t]);
            vfio_good(vms_vdpa_card_resume(seat.card, &err), &err);
        }
        cr_expect_eq(vdpa_ask(device_fd, NULL, 0).figures.stray, 0u);
        leave();
    }
    vfio_clean();
}

/* [VDPA-17] A kick that came to nothing is not lost. */
SIM_TEST(vdpa_card, buffers_that_waited) {
    const struct timespec t = {.tv_nsec = 1000000};
    uint64_t count;
    sit("backend -resume");
    start();
    rig_transmit(&rig);
    vfio_good(vms_vdpa_card_stop(seat.card, vms_vdpa_seat_memory, &seat, &err), &err);
    uint16_t *avail = rig_word(&rig, RIG_AVAIL), *used = rig_word(&rig, RIG_USED);
    avail[2 + avail[1] % RIG_RING] = 0;
    __atomic_store_n(&avail[1], 2, __ATOMIC_RELEASE);
    while (read(rig.events[1].kick, &count, sizeof count) > 0)
        ;
    vfio_good(vms_vdpa_card_resume(seat.card, &err), &err);
    for (int i = 0; i < 10000 && __atomic_load_n(&used[1], __ATOMIC_ACQUIRE) != 2; i++)
        (void)nanosleep(&t, NULL);
    cr_expect_eq(used[1], 2u);
    leave();
    vfio_clean();
}

SIM_TEST(vdpa_card, a_packed_ring_wants_suspend) {
    sit("features +packed\nbackend -suspend");
    rig.state.profile.features |= UINT64_C(1) << VMS_VIRTIO_PACKED;
    start();
    cr_expect_eq(vms_vdpa_card_stop(seat.card, vms_vdpa_seat_memory, &seat, &err),
                 VMS_E_VDPA_DEVICE);
    cr_expect(strstr(err.message, "packed"), "%s", err.message);
    leave();
    vfio_clean();
}

/* [VDPA-10] */
SIM_TEST(vdpa_card, maps_that_a_reset_forgets) {
    sit("forgets on\nbackend -persist -resume");
    start();
    rig_transmit(&rig);
    vfio_good(vms_vdpa_card_stop(seat.card, vms_vdpa_seat_memory, &seat, &err), &err);
    vfio_good(vms_vdpa_reset(seat.device, &err), &err);
    vfio_good(vms_vdpa_seat_map_again(&seat, &err), &err);
    vfio_good(vms_vdpa_card_resume(seat.card, &err), &err);
    cr_expect_eq(vdpa_ask(device_fd, NULL, 0).figures.stray, 0u);
    leave();
    vfio_clean();
}

/* [VDPA-12] */
SIM_TEST(vdpa_card, a_device_that_does_not_fit) {
    static const struct {
        const char *text, *why;
    } cases[] = {
        {"features -ctrl-vlan", "features 0x80000"},
        {"pairs 2", "control queue is number 4"},
        {"ring-size 8", "rings of 8"},
        {"backend -enable-after-driver-ok", "ENABLE_AFTER_DRIVER_OK"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        sit(cases[i].text);
        cr_expect_eq(vms_vdpa_card_start(seat.card, &rig.state, rig.events, &err),
                     VMS_E_VDPA_MISMATCH);
        cr_expect(strstr(err.message, cases[i].why), "%s", err.message);
        vms_vdpa_seat_close(&seat);
    }
    sit("");
    rig.state.profile.device_id = 2;
    cr_expect_eq(vms_vdpa_fits(seat.device, &rig.state.profile, &err), VMS_E_VDPA_MISMATCH);
    rig.state.profile.device_id = 1;
    rig.state.profile.config_size++;
    cr_expect_eq(vms_vdpa_fits(seat.device, &rig.state.profile, &err), VMS_E_VDPA_MISMATCH);
    rig.state.profile.config_size--;
    rig.state.profile.queues = 9;
    cr_expect_eq(vms_vdpa_fits(seat.device, &rig.state.profile, &err), VMS_E_VDPA_MISMATCH);
    leave();
    vfio_clean();
}

SIM_TEST(vdpa_card, a_start_that_fails_leaves_it_reset) {
    static const char *const faults[] = {"SET_FEATURES",   "SET_VRING_NUM",  "SET_VRING_BASE",
                                         "SET_VRING_ADDR", "SET_GROUP_ASID", "SET_VRING_ENABLE",
                                         "SET_VRING_KICK", "SET_VRING_CALL"};
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
        char text[64];
        uint8_t status = 99;
        (void)snprintf(text, sizeof text, "fault %s eio", faults[i]);
        sit(text);
        cr_expect_eq(vms_vdpa_card_start(seat.card, &rig.state, rig.events, &err),
                     VMS_E_VDPA_DEVICE, "%s", text);
        vfio_good(vms_vdpa_status(seat.device, &status, &err), &err);
        cr_expect_eq(status, 0u);
        vms_vdpa_seat_close(&seat);
    }
    vfio_clean();
}

/* ---- the form of the state: [VDPA-13] ---- */

static struct vms_vdpa_state example(unsigned seed) {
    struct vms_vdpa_state s;
    memset(&s, 0, sizeof s);
    s.profile = (struct vms_vdpa_profile){1, 0x3000e0020, 24,
                                          1 + 2 * (1 + (uint32_t)rand_r(&seed) % 8), 256};
    s.status = (uint8_t)rand_r(&seed);
    for (size_t i = 0; i < 24; i++)
        s.config[i] = (uint8_t)rand_r(&seed);
    for (uint32_t i = 0; i < s.profile.queues; i++)
        s.queue[i] =
            (struct vms_vdpa_queue){rand_r(&seed) % 2 == 0,
                                    {1u << (rand_r(&seed) % 9), (uint32_t)rand_r(&seed) % 65536,
                                     (uint64_t)rand_r(&seed) << 12, (uint64_t)rand_r(&seed) << 12,
                                     (uint64_t)rand_r(&seed) << 12}};
    s.net.pairs = 1;
    s.net.unicast = (uint16_t)(rand_r(&seed) % 32);
    s.net.multicast = (uint16_t)(rand_r(&seed) % 33);
    for (size_t i = 0; i < 6u * (s.net.unicast + s.net.multicast); i++)
        ((uint8_t *)s.net.macs)[i] = (uint8_t)rand_r(&seed);
    for (size_t i = 0; i < sizeof s.net.vlans; i++)
        s.net.vlans[i] = (uint8_t)rand_r(&seed);
    return s;
}

Test(vdpa_state, there_and_back) {
    for (unsigned seed = 1; seed <= 200; seed++) {
        static uint8_t bytes[VMS_VDPA_STATE_MAX], again[VMS_VDPA_STATE_MAX];
        static struct vms_vdpa_state got;
        struct vms_vdpa_state want = example(seed);
        size_t len = vms_vdpa_state_write(&want, (struct vms_room){bytes, sizeof bytes});
        cr_assert_leq(len, sizeof bytes);
        vfio_good(vms_vdpa_state_read(vms_slice(bytes, len), &got, &err), &err);
        cr_assert_eq(vms_vdpa_state_write(&got, (struct vms_room){again, sizeof again}), len);
        cr_assert_arr_eq(bytes, again, len);
        cr_assert_arr_eq(&got.net, &want.net, sizeof want.net);
        for (size_t cut = 0; cut < len; cut++)
            cr_assert_eq(vms_vdpa_state_read(vms_slice(bytes, cut), &got, &err), VMS_E_VDPA_STATE,
                         "%zu of %zu", cut, len);
        bytes[len] = 0;
        cr_assert_eq(vms_vdpa_state_read(vms_slice(bytes, len + 1), &got, &err), VMS_E_VDPA_STATE);
    }
}

Test(vdpa_state, the_largest_fits) {
    static struct vms_vdpa_state s;
    static uint8_t bytes[VMS_VDPA_STATE_MAX];
    s.profile = (struct vms_vdpa_profile){1, 0, VMS_VDPA_CONFIG_MAX, VMS_VDPA_QUEUES_MAX, 32768};
    s.net.unicast = VMS_VDPA_MACS_MAX;
    size_t len = vms_vdpa_state_write(&s, (struct vms_room){bytes, sizeof bytes});
    cr_assert_leq(len, sizeof bytes);
    vfio_good(vms_vdpa_state_read(vms_slice(bytes, len), &s, &err), &err);
}

Test(vdpa_state, what_cannot_be) {
    static const struct {
        size_t at;
        uint8_t value;
        const char *why;
    } cases[] = {
        {3, 2, "version"},
        {18, 9, "config space"},
        {22, 1, "virtqueues"},
        {23, 0, "virtqueues"},
        {23, 2, "control queue without"},
        {28 + 1 + 24, 2, "neither on nor off"},
        {28 + 1 + 24 + 1, 1, "larger than the largest"},
        {28 + 1 + 24 + 5, 1, "index"},
    };
    struct vms_vdpa_state s = example(1), got;
    uint8_t bytes[VMS_VDPA_STATE_MAX];
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        size_t len = vms_vdpa_state_write(&s, (struct vms_room){bytes, sizeof bytes});
        bytes[cases[i].at] = cases[i].value;
        cr_expect_eq(vms_vdpa_state_read(vms_slice(bytes, len), &got, &err), VMS_E_VDPA_STATE);
        cr_expect(strstr(err.message, cases[i].why), "%zu: %s", i, err.message);
    }
}
