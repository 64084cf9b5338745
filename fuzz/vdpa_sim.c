/* SPDX-License-Identifier: MIT */
#include "fuzz.h"

#include "conformance/vdpa-sim/sim.h"

/*
 * Descriptions of simulated vDPA devices, and the device that one makes under ioctls, messages of
 * its maps and kicks in any order, with rings in memory that the input fills:
 *   - a text that is refused says why
 *   - an answer is a count or an errno; maps stay within the device's addresses and its bound, and
 *     no two of one space overlap
 *   - the device touches no memory but what it was lent (ASan sees the rest)
 * Input: 2 octets: length of the text; the text, behind the first line; 2 octets: length of
 * memory's contents, the contents; then calls of 6 octets: which, time, 4 octets of arguments.
 */
enum {
    TEXT_MAX = 1024,
    MEMORY = 16384,
    BASE = 0x100000,
    PAGE = 4096,
};

static const char MAGIC[] = VDS_MAGIC "\n";
static uint8_t memory[MEMORY];

static bool lend(void *ctx, uint64_t address, void *buf, size_t len, bool write) {
    (void)ctx;
    if (address < BASE || len > MEMORY || address - BASE > MEMORY - len)
        return false;
    uint8_t *at = memory + (address - BASE);
    if (len)
        memcpy(write ? at : buf, write ? buf : at, len);
    return true;
}

static uint64_t memlock(void *ctx) {
    (void)ctx;
    return 1 << 20;
}

static bool parse(struct vms_slice text, struct vds_description *out) {
    static char whole[sizeof MAGIC + TEXT_MAX];
    char error[200] = "";
    memcpy(whole, MAGIC, sizeof MAGIC - 1);
    if (text.len)
        memcpy(whole + sizeof MAGIC - 1, text.ptr, text.len);
    memset(out, 0, sizeof *out);
    int status = vds_parse(whole, sizeof MAGIC - 1 + text.len, out, error, sizeof error);
    ORACLE(status == 0 || error[0], "refused without a reason");
    return status == 0;
}

static void check_maps(const struct vds_device *d) {
    const struct vds_description *about = vds_description(d);
    const struct vds_map *maps = vds_maps(d);
    size_t count = vds_figures(d)->maps;
    ORACLE(!about->max_maps || count <= about->max_maps, "%zu maps", count);
    for (size_t i = 0; i < count; i++) {
        uint64_t last = maps[i].iova + maps[i].length - 1;
        ORACLE(maps[i].length && last >= maps[i].iova, "map %zu is empty", i);
        ORACLE(maps[i].iova >= about->iova_first && last <= about->iova_last, "map %zu", i);
        ORACLE(i == 0 || maps[i - 1].space != maps[i].space ||
                   maps[i - 1].iova + maps[i - 1].length <= maps[i].iova,
               "maps %zu and %zu overlap", i - 1, i);
    }
}

static int64_t message(struct vds_device *d, uint64_t now, uint32_t value) {
    struct vhost_msg_v2 m = {.type = VHOST_IOTLB_MSG_V2, .asid = value >> 30};
    uint64_t busy = 0;
    m.iotlb.type = (uint8_t)(1 + (value & 7));
    m.iotlb.perm = VHOST_ACCESS_RW;
    m.iotlb.iova = (uint64_t)(value >> 4 & 0xff) * PAGE;
    m.iotlb.size = (uint64_t)(value >> 12 & 0xff) * PAGE;
    m.iotlb.uaddr = BASE + (value >> 20 & 7) * PAGE;
    return vds_write(d, now, &m, value & 8 ? sizeof m : value >> 20 & 0x7f, &busy);
}

static int64_t an_ioctl(struct vds_device *d, uint64_t now, uint32_t which, uint32_t value) {
    static const unsigned long requests[] = {
        VHOST_SET_OWNER,
        VHOST_GET_FEATURES,
        VHOST_SET_FEATURES,
        VHOST_GET_BACKEND_FEATURES,
        VHOST_SET_BACKEND_FEATURES,
        VHOST_VDPA_GET_STATUS,
        VHOST_VDPA_SET_STATUS,
        VHOST_VDPA_GET_CONFIG,
        VHOST_VDPA_SET_CONFIG,
        VHOST_VDPA_GET_VQS_COUNT,
        VHOST_VDPA_GET_IOVA_RANGE,
        VHOST_VDPA_GET_VRING_GROUP,
        VHOST_VDPA_SET_GROUP_ASID,
        VHOST_SET_VRING_NUM,
        VHOST_SET_VRING_BASE,
        VHOST_GET_VRING_BASE,
        VHOST_SET_VRING_ADDR,
        VHOST_VDPA_SET_VRING_ENABLE,
        VHOST_VDPA_SUSPEND,
        VHOST_VDPA_RESUME,
        VHOST_SET_VRING_KICK,
        VHOST_SET_VRING_CALL,
    };
    uint64_t arg[64] = {0}, busy = 0;
    unsigned long request = requests[which % (sizeof requests / sizeof *requests)];
    uint32_t small[2] = {value >> 16, value & 0xffff};
    memcpy(arg, small, sizeof small);
    if (request == VHOST_SET_FEATURES || request == VHOST_SET_BACKEND_FEATURES)
        arg[0] = value == UINT32_MAX ? UINT64_MAX : (uint64_t)value;
    if (request == VHOST_SET_VRING_ADDR) {
        struct vhost_vring_addr a = {.index = value >> 24,
                                     .desc_user_addr = (value & 0xff) * 16,
                                     .avail_user_addr = (value >> 8 & 0xff) * 16,
                                     .used_user_addr = (value >> 16 & 0xff) * 16};
        memcpy(arg, &a, sizeof a);
    }
    return vds_ioctl(d, now, request, arg, &busy);
}

static void step(struct vds_device *d, uint64_t *now, struct vms_slice *in) {
    uint32_t which = fuzz_option(in, 1);
    *now += (uint64_t)fuzz_option(in, 1) * 1000;
    uint32_t value = fuzz_option(in, 4);
    int64_t answer = 0;
    switch (which >> 6) {
    case 0: answer = message(d, *now, value); break;
    case 1: (void)vds_kick(d, *now, value % (vds_queues(d) + !vds_queues(d))); break;
    default: answer = an_ioctl(d, *now, which & 63, value); break;
    }
    ORACLE(answer > -4096 && answer < 4096, "%lld", (long long)answer);
    check_maps(d);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const struct vds_world world = {.memory = lend, .memlock = memlock};
    struct vms_slice in = vms_slice(data, size);
    struct vds_description description;
    uint64_t now = 0;
    uint32_t length = fuzz_option(&in, 2) % TEXT_MAX;
    struct vms_slice text = vms_slice_head(in, length);
    in = vms_slice_tail(in, text.len);
    if (!parse(text, &description))
        return 0;
    uint32_t held = fuzz_option(&in, 2) % MEMORY;
    struct vms_slice contents = vms_slice_head(in, held);
    in = vms_slice_tail(in, contents.len);
    memset(memory, 0, sizeof memory);
    if (contents.len)
        memcpy(memory, contents.ptr, contents.len);
    struct vds_device *d = vds_new(&description, &world);
    if (!d)
        abort();
    for (unsigned i = 0; in.len && i < 256; i++)
        step(d, &now, &in);
    vds_free(d);
    return 0;
}
