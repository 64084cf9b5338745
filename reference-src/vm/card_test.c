/* SPDX-License-Identifier: MIT */
#include "reference-src/vm/card_internal.h"

#include <criterion/criterion.h>
#include <string.h>

/* The driver of a guest's network card: what a migration spoils is found. The test is the device.
 */
static struct vms_error err;
static struct vms_vm_cards *cards;
static struct card *card;
static struct vms_vdpa_state device;
static unsigned commands;

static enum vms_code nothing(void *ctx, struct vms_error *e) {
    (void)ctx, (void)e;
    return VMS_OK;
}
static const struct vms_guest_ops ops = {.stop = nothing, .run = nothing};
static struct vms_guest_block block = {.name = "ram", .length = 4096, .page_size = 4096, .fd = -1};
static const struct vms_guest inner = {.ops = &ops, .blocks = &block, .block_count = 1};

static enum vms_code control(void *ctx, size_t index, uint8_t class_, uint8_t command,
                             const void *data, size_t len, bool *ok, struct vms_error *e) {
    const uint8_t *id = data;
    (void)ctx, (void)index, (void)class_, (void)len, (void)e;
    uint8_t bit = (uint8_t)(1u << id[0] % 8), *vlans = &device.net.vlans[(id[0] | id[1] << 8) / 8];
    *vlans = (uint8_t)(command ? *vlans & ~bit : *vlans | bit);
    commands++;
    *ok = true;
    return VMS_OK;
}
static const struct vms_vdpa_state *state(void *ctx, size_t index) {
    (void)ctx, (void)index;
    return &device;
}

static void begin(void) {
    const struct vms_vdpa_about about = {
        .device_id = 1, .features = UINT64_MAX, .config_size = 24, .queues = 5, .ring_size = 256};
    cr_assert_eq(vms_vm_cards_new(&inner, 1, &cards, &err), VMS_OK, "%s", err.message);
    card = &cards->card[0];
    vms_vm_card_probe(cards, 0, &about, 0, &device);
    cards->plug = (struct vms_vm_plug){control, state, NULL}; /* turns are the test's */
    cards->plugged = true;
}

/** The device takes the frame that waits, and gives number back into receive buffer `at`. */
static void give_back(uint64_t number) {
    uint16_t *tx = (uint16_t *)(void *)(card->block + CARD_RINGS + 4096 + CARD_USED);
    uint16_t *rx = (uint16_t *)(void *)(card->block + CARD_RINGS + CARD_USED);
    memcpy(card->block + CARD_RECEIVE + 4096u * (rx[1] % CARD_RING), &number, sizeof number);
    tx[1]++;
    rx[1]++;
}

Test(card, blocks_and_probing) {
    begin();
    const struct vms_guest *g = vms_vm_cards_guest(cards);
    cr_assert_eq(g->block_count, 2u);
    cr_expect_str_eq(g->blocks[1].name, "card0");
    cr_expect_eq(device.net.pairs, 2u);
    cr_expect_eq(device.queue[1].ring.desc, (UINT64_C(1) << 30) + CARD_RINGS + 4096);
    cr_expect_eq(device.profile.queues, 5u);
    vms_vm_cards_free(cards);
}

Test(card, frames_go_and_come) {
    begin();
    for (uint64_t n = 1; n <= 1000; n++) {
        cr_assert_eq(card_turn(card, &err), VMS_OK, "%s", err.message);
        give_back(n);
    }
    cr_assert_eq(vms_vm_cards_check(cards, &err), VMS_OK, "%s", err.message);
    struct vms_vm_card_stats s;
    vms_vm_card_stats(cards, 0, &s);
    cr_expect(s.sent == 1000 && s.received == 1000);
    cr_expect_eq(s.commands, 1000u / CARD_FRAMES_A_COMMAND);
    cr_expect_eq(commands, s.commands);
    vms_vm_cards_free(cards);
}

static void expect_found(const char *why) {
    cr_expect_eq(vms_vm_cards_check(cards, &err), VMS_E_VM_CHECK);
    cr_expect(strstr(err.message, why), "%s", err.message);
    vms_vm_cards_free(cards);
}

Test(card, a_frame_twice_is_found) {
    begin();
    cr_assert_eq(card_turn(card, &err), VMS_OK);
    give_back(1);
    cr_assert_eq(card_turn(card, &err), VMS_OK);
    give_back(1);
    expect_found("out of order");
}

Test(card, a_frame_of_nobody_is_found) {
    begin();
    cr_assert_eq(card_turn(card, &err), VMS_OK);
    give_back(7);
    expect_found("out of order");
}

Test(card, filters_that_differ_are_found) {
    begin();
    device.net.vlans[5] = 1;
    expect_found("table of VLANs");
    begin();
    device.net.mac[0] = 4;
    expect_found("address");
}
