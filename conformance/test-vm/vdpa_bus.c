/* SPDX-License-Identifier: MIT */
#include "vduse.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <linux/genetlink.h>
#include <linux/netlink.h>
#include <linux/vdpa.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Devices come and go by generic netlink (include/uapi/linux/vdpa.h). */

static const size_t head = sizeof(struct nlattr); /* of an attribute; the next one is 4-aligned */

static size_t aligned(size_t len) {
    return (len + 3) & ~(size_t)3;
}

struct request {
    struct nlmsghdr header;
    struct genlmsghdr generic;
    uint8_t attributes[512];
};

static void add_text(struct request *r, uint16_t type, const char *text) {
    size_t len = head + strlen(text) + 1;
    struct nlattr attribute = {.nla_len = (uint16_t)len, .nla_type = type};
    uint8_t *at = (uint8_t *)r + r->header.nlmsg_len;
    memcpy(at, &attribute, sizeof attribute);
    memcpy(at + head, text, len - head);
    r->header.nlmsg_len += (uint32_t)aligned(len);
}

static struct request request(uint16_t family, uint8_t command) {
    return (struct request){
        .header = {.nlmsg_len = NLMSG_LENGTH(GENL_HDRLEN),
                   .nlmsg_type = family,
                   .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK},
        .generic = {.cmd = command, .version = 1},
    };
}

/** Sends it; the answer's bytes into out. 0 or a negative errno. */
static int ask(const struct request *r, uint8_t *out, size_t room, size_t *got) {
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_GENERIC);
    cr_assert_geq(fd, 0);
    cr_assert_eq(send(fd, r, r->header.nlmsg_len, 0), (ssize_t)r->header.nlmsg_len);
    ssize_t n = recv(fd, out, room, 0);
    (void)close(fd);
    cr_assert_geq(n, (ssize_t)sizeof(struct nlmsghdr));
    *got = (size_t)n;
    struct nlmsghdr header;
    struct nlmsgerr error;
    memcpy(&header, out, sizeof header);
    if (header.nlmsg_type != NLMSG_ERROR)
        return 0;
    memcpy(&error, out + NLMSG_HDRLEN, sizeof error);
    return error.error;
}

/** The number that the kernel gave to the family "vdpa". */
static uint16_t family(void) {
    struct request r = request(GENL_ID_CTRL, CTRL_CMD_GETFAMILY);
    uint8_t answer[8192];
    size_t got;
    add_text(&r, CTRL_ATTR_FAMILY_NAME, VDPA_GENL_NAME);
    cr_assert_eq(ask(&r, answer, sizeof answer, &got), 0, "no family vdpa");
    struct nlattr attribute;
    for (size_t at = NLMSG_HDRLEN + GENL_HDRLEN; at + head <= got;
         at += aligned(attribute.nla_len)) {
        uint16_t id;
        memcpy(&attribute, answer + at, sizeof attribute);
        cr_assert_geq(attribute.nla_len, head);
        memcpy(&id, answer + at + head, sizeof id);
        if (attribute.nla_type == CTRL_ATTR_FAMILY_ID)
            return id;
    }
    cr_assert_fail("family vdpa has no number");
    return 0;
}

void vdpa_bus_add(const char *management, const char *name) {
    struct request r = request(family(), VDPA_CMD_DEV_NEW);
    uint8_t answer[8192];
    size_t got;
    add_text(&r, VDPA_ATTR_MGMTDEV_DEV_NAME, management);
    add_text(&r, VDPA_ATTR_DEV_NAME, name);
    int e = ask(&r, answer, sizeof answer, &got);
    cr_assert_eq(e, 0, "%s of %s: %s", name, management, strerror(-e));
}

void vdpa_bus_remove(const char *name) {
    struct request r = request(family(), VDPA_CMD_DEV_DEL);
    uint8_t answer[8192];
    size_t got;
    add_text(&r, VDPA_ATTR_DEV_NAME, name);
    int e = ask(&r, answer, sizeof answer, &got);
    cr_assert_eq(e, 0, "%s: %s", name, strerror(-e));
}

void vdpa_bus_path(const char *name, char out[64]) {
    char folder[128];
    struct dirent *entry;
    (void)snprintf(folder, sizeof folder, "/sys/bus/vdpa/devices/%s", name);
    DIR *dir = opendir(folder);
    out[0] = 0;
    while (dir && !out[0] && (entry = readdir(dir)))
        if (strncmp(entry->d_name, "vhost-vdpa-", 11) == 0)
            (void)snprintf(out, 64, "/dev/%.50s", entry->d_name);
    if (dir)
        (void)closedir(dir);
    cr_assert(out[0], "%s has no driver vhost_vdpa", name);
}

static const char *const cards[2] = {"one", "two"};

void vdpa_sim_load(const char *parameter, char path[2][64]) {
    char command[160];
    (void)snprintf(command, sizeof command,
                   "insmod /modules/vdpa_sim.ko %s && insmod /modules/vdpa_sim_net.ko", parameter);
    cr_assert_eq(system(command), 0, "vdpa_sim does not load");
    for (unsigned i = 0; i < 2; i++) {
        vdpa_bus_add("vdpasim_net", cards[i]);
        vdpa_bus_path(cards[i], path[i]);
    }
}

void vdpa_sim_unload(void) {
    for (unsigned i = 0; i < 2; i++)
        vdpa_bus_remove(cards[i]);
    cr_expect_eq(system("rmmod vdpa_sim_net && rmmod vdpa_sim"), 0);
}
