/* SPDX-License-Identifier: MIT */
#include "mtty.h"

#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define PARENT "/sys/devices/virtual/mtty/mtty"

static void put(const char *path, const char *text) {
    FILE *file = fopen(path, "we");
    cr_assert_not_null(file, "%s", path);
    cr_assert(fputs(text, file) >= 0 && fclose(file) == 0, "%s", path);
}

static struct mtty make(unsigned n, unsigned ports) {
    struct mtty card = {.ports = ports};
    char uuid[40], create[128];
    (void)snprintf(uuid, sizeof uuid, "83b8f4f2-509f-382f-3c1e-e6bfe0fa%04x", n);
    (void)snprintf(create, sizeof create, PARENT "/mdev_supported_types/mtty-%u/create", ports);
    (void)snprintf(card.path, sizeof card.path, PARENT "/%s", uuid);
    if (access(card.path, F_OK) != 0)
        put(create, uuid);
    struct vms_error err = {.message = ""};
    struct vms_vfio *device = mtty_open(&card);
    cr_assert_eq(vms_vfio_recover(device, &err), VMS_OK, "%s", err.message);
    mtty_close(device);
    return card;
}

void mtty_cards(struct mtty cards[MTTY_CARDS]) {
    for (unsigned i = 0; i < MTTY_CARDS; i++)
        cards[i] = make(i, i == MTTY_SMALL ? 1 : 2);
}

struct vms_vfio *mtty_open(const struct mtty *card) {
    struct vms_error err = {.message = ""};
    struct vms_vfio_iommu *iommu;
    struct vms_vfio *device = NULL;
    cr_assert_eq(vms_vfio_iommu_new(&iommu, &err), VMS_OK);
    cr_assert_eq(vms_vfio_open(iommu, card->path, &device, &err), VMS_OK, "%s", err.message);
    return device;
}

void mtty_close(struct vms_vfio *device) {
    struct vms_vfio_iommu *iommu = device->iommu;
    vms_vfio_close(device);
    vms_vfio_iommu_free(iommu);
}

/* ---- the card's registers: a 16550, each port a region of VFIO ---- */

enum {
    DATA,
    IER,
    FCR,
    LCR,
    MCR,
    LSR,
    SCR = 7,
    DLAB = 0x80,
    FIFO = 5
};

static off_t at(struct vms_vfio *device, unsigned port, unsigned reg) {
    struct vfio_region_info info = {.argsz = sizeof info, .index = port};
    cr_assert_eq(ioctl(device->fd, VFIO_DEVICE_GET_REGION_INFO, &info), 0);
    return (off_t)(info.offset + reg);
}

static void out(struct vms_vfio *device, unsigned port, unsigned reg, unsigned value) {
    uint8_t octet = (uint8_t)value;
    cr_assert_eq(pwrite(device->fd, &octet, 1, at(device, port, reg)), 1);
}

static unsigned in(struct vms_vfio *device, unsigned port, unsigned reg) {
    uint8_t octet = 0;
    cr_assert_eq(pread(device->fd, &octet, 1, at(device, port, reg)), 1);
    return octet;
}

/** One octet of what a port is filled with. */
static unsigned octet(unsigned seed, unsigned port, unsigned what) {
    uint32_t x = (seed * 2 + port + 1) * 2654435761u + what * 40503u;
    x ^= x >> 15;
    x *= 2246822519u;
    return (x >> 16) & 0xff;
}

/* The divisor is seen while DLAB is set, the FIFO while it is not: port 1 has the one, 0 the other.
 */
void mtty_fill(struct vms_vfio *device, unsigned ports, unsigned seed) {
    for (unsigned p = 0; p < ports; p++) {
        out(device, p, LCR, octet(seed, p, LCR) & 0x7f);
        out(device, p, FCR, 7); /* on, and empty */
        out(device, p, IER, octet(seed, p, IER) & 0x0d);
        out(device, p, MCR, octet(seed, p, MCR) & 0x1f);
        out(device, p, SCR, octet(seed, p, SCR));
        for (unsigned i = 0; i < FIFO; i++)
            out(device, p, DATA, octet(seed, p, 16 + i));
        if (p != 1)
            continue;
        out(device, p, LCR, DLAB | octet(seed, p, LCR));
        out(device, p, DATA, octet(seed, p, 32));
        out(device, p, IER, octet(seed, p, 33));
    }
}

void mtty_expect(struct vms_vfio *device, unsigned ports, unsigned seed) {
    for (unsigned p = 0; p < ports; p++) {
        cr_expect_eq(in(device, p, SCR), octet(seed, p, SCR), "scratch register of port %u", p);
        cr_expect_eq(in(device, p, MCR), octet(seed, p, MCR) & 0x1f, "modem control, port %u", p);
        if (p == 1) {
            cr_expect_eq(in(device, p, LCR), DLAB | octet(seed, p, LCR), "line control");
            cr_expect_eq(in(device, p, DATA), octet(seed, p, 32), "divisor, low");
            cr_expect_eq(in(device, p, IER), octet(seed, p, 33), "divisor, high");
            continue;
        }
        cr_expect_eq(in(device, p, LCR), octet(seed, p, LCR) & 0x7f, "line control");
        cr_expect_eq(in(device, p, IER), octet(seed, p, IER) & 0x0d, "interrupts");
        for (unsigned i = 0; i < FIFO; i++) {
            cr_expect_eq(in(device, p, LSR) & 1, 1u, "octet %u of the FIFO", i);
            cr_expect_eq(in(device, p, DATA), octet(seed, p, 16 + i), "octet %u of the FIFO", i);
        }
        cr_expect_eq(in(device, p, LSR) & 1, 0u, "more in the FIFO than was written");
    }
}

void mtty_prepare(const struct mtty *card, unsigned seed) {
    struct vms_vfio *device = mtty_open(card);
    mtty_fill(device, card->ports, seed);
    mtty_close(device);
}

void mtty_verify(const struct mtty *card, unsigned seed) {
    struct vms_vfio *device = mtty_open(card);
    mtty_expect(device, card->ports, seed);
    mtty_close(device);
}

size_t mtty_drain(struct vms_vfio *device, uint8_t *buf, size_t room, enum vms_vfio_data *end) {
    struct vms_error err = {.message = ""};
    size_t n = 0, got;
    do {
        cr_assert_lt(n, room);
        cr_assert_eq(vms_vfio_read(device, buf + n, room - n, &got, end, &err), VMS_OK, "%s",
                     err.message);
        n += got;
    } while (*end == VMS_VFIO_DATA);
    return n;
}
