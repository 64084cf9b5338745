/* SPDX-License-Identifier: MIT */
#include "fuzz.h"

#include "conformance/vfio-sim/sim.h"

/*
 * Descriptions of simulated VFIO devices, and the device that one makes under calls in any order:
 *   - a text that is refused says why; one that is taken is taken again, with the same result
 *   - a device is always in a state that it has; an answer is a count within the room, or an errno
 *   - calls in the same order give the same answers: the device is a function of its text
 * Input: 2 octets: length of the text; the text, behind the first line, which is given; then calls
 * of 4 octets: which, time, 2 octets of amount.
 */
enum {
    TEXT_MAX = 2048,
    ROOM = 16384,
};

static const char MAGIC[] = VFS_MAGIC "\n";

static bool parse(struct vms_slice text, struct vfs_description *out) {
    static char whole[sizeof MAGIC + TEXT_MAX];
    struct vfs_description again;
    char error[200] = "";
    memcpy(whole, MAGIC, sizeof MAGIC - 1);
    if (text.len)
        memcpy(whole + sizeof MAGIC - 1, text.ptr, text.len);
    size_t len = sizeof MAGIC - 1 + text.len;
    memset(out, 0, sizeof *out);
    int status = vfs_parse(whole, len, out, error, sizeof error);
    ORACLE(status == 0 || error[0], "refused without a reason");
    memset(&again, 0, sizeof again);
    ORACLE(vfs_parse(whole, len, &again, error, sizeof error) == status, "parsed otherwise");
    ORACLE(status || again.initial == out->initial, "another description");
    return status == 0;
}

static void check_answer(int64_t answer, int64_t most) {
    ORACLE(answer <= most, "%lld of %lld", (long long)answer, (long long)most);
    ORACLE(answer > -4096, "no errno: %lld", (long long)answer);
}

static int64_t dma_log(struct vfs_device *d, uint32_t what, uint64_t now, uint32_t amount) {
    static uint64_t bitmap[ROOM / 8];
    uint64_t page = UINT64_C(1) << (12 + (amount & 3));
    struct vfs_range ranges[2] = {{0, (uint64_t)(1 + (amount >> 8)) << 12},
                                  {UINT64_C(1) << 30, (uint64_t)(amount & 255) << 12}};
    if (what == 0)
        return vfs_log_start(d, now, &page, ranges, 1 + (amount >> 2 & 1));
    if (what == 1)
        return vfs_log_stop(d, now);
    return vfs_log_report(d, now, (uint64_t)(amount >> 8) << 12, (uint64_t)(amount & 255) << 12,
                          page, bitmap);
}

static uint8_t room[ROOM]; /* what was read is written, unless something else is read before */

static int64_t call(struct vfs_device *d, uint32_t what, uint64_t *now, uint32_t amount) {
    uint64_t a = 0, b = 0, busy = 0;
    uint32_t flags = amount & 1;
    bool opened = false;
    int64_t answer;
    size_t n = amount % ROOM;
    switch (what % 11) {
    case 0: answer = vfs_set_state(d, *now, amount % 12, &opened, &busy); break;
    case 1:
        answer = vfs_read(d, *now, room, n, &busy);
        check_answer(answer, (int64_t)n);
        return answer;
    case 2:
        answer = vfs_write(d, *now, room, n, &busy);
        check_answer(answer, (int64_t)n);
        return answer;
    case 3: answer = vfs_info(d, *now, &flags, &a, &b); break;
    case 4: answer = vfs_data_size(d, *now, &a); break;
    case 5: answer = vfs_opt_in(d, *now); break;
    case 6: answer = vfs_reset(d, *now); break;
    case 7:
    case 8:
    case 9: answer = dma_log(d, what % 11 - 7, *now, amount); break;
    default: *now += (uint64_t)amount << (what / 11); return 0;
    }
    *now += busy % 1000000000;
    check_answer(answer, 0);
    return answer;
}

static uint64_t run(struct vms_slice in, const struct vfs_description *description) {
    static void *memory;
    uint64_t hash = FUZZ_HASH_BEGIN, now = 0;
    if (!memory)
        memory = fuzz_memory(vfs_device_size());
    memset(room, 0, sizeof room);
    struct vfs_device *d = vfs_device_init(memory, description, NULL);
    for (unsigned i = 0; in.len && i < 256; i++) {
        uint32_t what = fuzz_option(&in, 1);
        now += (uint64_t)fuzz_option(&in, 1) * 10000;
        int64_t answer = call(d, what, &now, fuzz_option(&in, 2));
        uint32_t state = vfs_device_state(d);
        ORACLE(state == VFS_ERROR || vfs_has_state(state, vfs_flags(d)), "in state %u", state);
        hash = fuzz_hash(hash, &answer, sizeof answer);
        hash = fuzz_hash(hash, &state, sizeof state);
    }
    vfs_device_clear(d);
    return hash;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct vms_slice in = vms_slice(data, size);
    struct vfs_description description;
    uint32_t length = fuzz_option(&in, 2) % TEXT_MAX;
    struct vms_slice text = vms_slice_head(in, length);
    in = vms_slice_tail(in, text.len);
    if (!parse(text, &description))
        return 0;
    uint64_t first = run(in, &description);
    ORACLE(first == run(in, &description), "the same calls have other answers");
    return 0;
}
