// SPDX-License-Identifier: MIT
//
// What the guest of guest.s writes into its memory: its parameters, the words of its control block
// and the content of a page in a generation. All words are 32 bits, little-endian.
#ifndef VMS_GUEST_PATTERN_H
#define VMS_GUEST_PATTERN_H

#include <stddef.h>
#include <stdint.h>

enum {
    VMS_GUEST_PAGE = 4096,
    VMS_GUEST_PAGE_WORDS = 1024,
    VMS_GUEST_CTRL = 0x10000,      // guest-physical address of the control block
    VMS_GUEST_TABLE = 0x20000,     // guest-physical address of the generation table
    VMS_GUEST_TABLE_END = 0x90000, // the BIOS's own data begins above
    VMS_GUEST_MIN_REGION = 0x100000,
    VMS_GUEST_PARAM_OFFSET = 512, // of the parameter block in the boot image
    VMS_GUEST_MAX_PAGES = (VMS_GUEST_TABLE_END - VMS_GUEST_TABLE) / 4,
    VMS_GUEST_VERSION = 1,
};

#define VMS_GUEST_MAGIC   0x47534d56u // "VMSG"
#define VMS_GUEST_NO_PAGE 0xffffffffu // in flight: none
#define VMS_GUEST_PIT_HZ  1193182u

enum vms_guest_mode {
    VMS_GUEST_SEQUENTIAL = 0, // one page after the other
    VMS_GUEST_RANDOM = 1,     // any page
    VMS_GUEST_WINDOW = 2,     // any page of a window that moves on by one page a tick
};

/// The parameters, in the order of the parameter block behind its magic and version.
struct vms_guest_params {
    uint32_t region;          ///< guest-physical start, a multiple of 4096, at least 1 MiB
    uint32_t pages;           ///< pages in the region, 1 to VMS_GUEST_MAX_PAGES
    uint32_t pages_per_tick;  ///< pages written in each tick
    uint32_t verify_per_tick; ///< pages the guest itself checks in each tick
    uint32_t tick;            ///< length of a tick in periods of the PIT (VMS_GUEST_PIT_HZ)
    uint32_t seed;
    uint32_t mode;      ///< enum vms_guest_mode
    uint32_t gen_mask;  ///< words i with (i & gen_mask) == 0 differ between generations
    uint32_t run_shift; ///< 2^run_shift neighbouring words are alike; 0: hard to compress
    uint32_t zero;      ///< pages with (page + generation) % zero == 0 are all zero; 0: never
    uint32_t window;    ///< pages in the window of VMS_GUEST_WINDOW
    uint32_t prefill;   ///< first pages of the region, written once before the first heartbeat
};

/// Indexes of the control block's words.
enum vms_guest_word {
    VMS_GUEST_W_MAGIC = 0,
    VMS_GUEST_W_VERSION = 1,
    VMS_GUEST_W_PARAMS = 2,
    VMS_GUEST_W_READY = 16,
    VMS_GUEST_W_BEAT = 17,
    VMS_GUEST_W_WRITES = 18,
    VMS_GUEST_W_INFLIGHT = 19,
    VMS_GUEST_W_BAD = 23,
    VMS_GUEST_W_OVERRUNS = 27,
    VMS_GUEST_W_VERIFIED = 28,
    VMS_GUEST_W_TABLE = 30,
    VMS_GUEST_W_COUNT = 31,
};

/// 4 MiB at 1 MiB, 64 pages in every tick of 100 ms.
void vms_guest_defaults(struct vms_guest_params *params);

/// NULL when the guest can run with these, otherwise what is wrong with them.
const char *vms_guest_params_problem(const struct vms_guest_params *params);

/// The words of page `page` in generation `generation`. Generation 0 is the untouched, zero page.
void vms_guest_page(const struct vms_guest_params *params, uint32_t page, uint32_t generation,
                    uint32_t words[VMS_GUEST_PAGE_WORDS]);

/// The 64 bytes of the parameter block, for the boot image or the head of a control block.
void vms_guest_put_params(const struct vms_guest_params *params, uint8_t block[64]);

/// Reads a parameter block. 0, or -1 when its magic or version is another.
int vms_guest_get_params(const uint8_t block[64], struct vms_guest_params *params);

uint32_t vms_guest_load(const uint8_t *at);
void vms_guest_store(uint8_t *at, uint32_t value);

#endif
