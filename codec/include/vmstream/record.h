/* SPDX-License-Identifier: MIT */
#ifndef VMSTREAM_RECORD_H
#define VMSTREAM_RECORD_H

#include <vmstream/slice.h>

/** registry/records.def (MOD-1). */
enum vms_record_type {
    VMS_RECORD_NONE,
#define VMS_RECORD(name, text) VMS_R_##name,
#include <vmstream/registry/records.def>
#undef VMS_RECORD
    VMS_RECORD_TYPE_COUNT,
};

/** The record's name as in records.def, "NONE" otherwise. Static text, never NULL. */
const char *vms_record_name(enum vms_record_type type);

/** registry/qevm_commands.def (CMD-1). */
enum vms_command {
#define VMS_COMMAND(name, value, length, since) VMS_CMD_##name = value,
#include <vmstream/registry/qevm_commands.def>
#undef VMS_COMMAND
};

/** QEMU's name of a command, NULL when there is none. Static text. */
const char *vms_command_name(unsigned command);

/** registry/qevm_ram.def (RAM-1). */
enum vms_ram_flag {
#define VMS_RAM_FLAG(name, value, first, last) VMS_RAM_##name = value,
#include <vmstream/registry/qevm_ram.def>
#undef VMS_RAM_FLAG
};

/** registry/qevm_multifd.def (MFD-5, MFD-10). */
enum vms_multifd_flag {
#define VMS_MULTIFD_FLAG(name, value, first) VMS_MULTIFD_##name = value,
#include <vmstream/registry/qevm_multifd.def>
#undef VMS_MULTIFD_FLAG
    VMS_MULTIFD_COMPRESSION = 0x3e,
    VMS_MULTIFD_KNOWN = 0x7f,
};

/** registry/qevm_dirty_bitmap.def (DBM-1). */
enum vms_dirty_bitmap_flag {
#define VMS_DIRTY_BITMAP_FLAG(name, value) VMS_DBM_##name = value,
#include <vmstream/registry/qevm_dirty_bitmap.def>
#undef VMS_DIRTY_BITMAP_FLAG
};

/** What a section carries. */
enum vms_section_kind {
    VMS_SECTION_DEVICE, /* opaque VMState, only FULL */
    VMS_SECTION_RAM,
    VMS_SECTION_VFIO,
    VMS_SECTION_DIRTY_BITMAP,
};

/** "device", "ram", "vfio" or "dirty-bitmap". Static text. */
const char *vms_section_kind_name(enum vms_section_kind kind);

/** bulk_len of a record whose bulk has no announced length: it lasts until VMS_STEP_BULK ends. */
#define VMS_BULK_UNKNOWN UINT64_MAX

enum {
    VMS_CONFIG_SUBSECTIONS = 3,
    VMS_NAME_MAX = 255,
};

/** CFG-3: the three subsections of CONFIGURATION. */
enum vms_config_kind {
    VMS_CONFIG_PAGE_BITS,
    VMS_CONFIG_CAPABILITIES,
    VMS_CONFIG_UUID,
};

struct vms_config_subsection {
    enum vms_config_kind kind;
    uint32_t version;
    struct vms_slice body; /* as on the wire: u32 bits; u32 count and the names as str8; 16 bytes */
};

struct vms_rec_configuration {
    struct vms_slice machine;
    unsigned subsection_count;
    struct vms_config_subsection subsections[VMS_CONFIG_SUBSECTIONS]; /* in the order received */
};

/** PART and END have only the id on the wire; the decoder fills in what START bound to it. */
struct vms_rec_section {
    uint32_t id;
    uint32_t instance;
    uint32_t version;
    enum vms_section_kind kind;
    struct vms_slice idstr;
};

struct vms_rec_command {
    uint16_t command;         /* enum vms_command */
    struct vms_slice payload; /* as on the wire; vms_qevm_discard_next() walks a DISCARD */
};

/** One RAM block of MEM_SIZE (RAM-7). A field that the wire did not carry is 0, its flag false. */
struct vms_rec_ram_block {
    struct vms_slice name;
    uint64_t used_length; /* bytes */
    bool has_page_size;
    uint64_t page_size; /* bytes */
    bool has_gpa;
    uint64_t gpa;
    bool has_mapped; /* mapped-ram header (MAP-1) */
    uint32_t mapped_version;
    uint64_t mapped_page_size;     /* bytes */
    uint64_t mapped_bitmap_offset; /* bytes from the start of the file */
    uint64_t mapped_pages_offset;
};

/** PAGE, ZERO, XBZRLE, COMPRESSED. offset is the page's, in bytes within the block. */
struct vms_rec_ram_page {
    struct vms_slice block; /* always filled in */
    uint32_t block_index;   /* in the order of the block list; UINT32_MAX when there was none */
    bool continued;         /* residue: the wire left the name out */
    uint8_t fill;           /* ZERO only */
    uint64_t offset;
};

struct vms_rec_dirty_bitmap {
    uint8_t flags;         /* enum vms_dirty_bitmap_flag */
    struct vms_slice node; /* when DEVICE_NAME */
    struct vms_slice name; /* when BITMAP_NAME */
    uint32_t granularity;  /* START, bytes */
    uint8_t start_flags;   /* START: 1 enabled, 2 persistent, 4 ignored */
    uint64_t sector;       /* BITS, 512 bytes each */
    uint32_t sectors;      /* BITS */
};

struct vms_rec_multifd_hello {
    uint8_t uuid[16];
    uint8_t channel_id;
    struct vms_slice reserved; /* residue: 39 bytes, zero when canonical; may be empty */
};

struct vms_rec_multifd_packet {
    uint32_t flags; /* enum vms_multifd_flag */
    uint32_t pages_alloc;
    uint32_t normal_pages;
    uint32_t next_packet_size; /* bytes; consulted only where MFD-8 says so */
    uint64_t packet_num;
    uint32_t zero_pages;
    struct vms_slice block; /* up to the first NUL */
    struct vms_slice
        offsets;          /* u64 big-endian each, the full array: normal, then zero, then rest */
    struct vms_slice raw; /* residue: the 320 bytes before the offsets; may be empty */
};

struct vms_rec_multifd_device {
    struct vms_slice idstr;
    uint32_t instance;
    uint32_t version; /* 0 */
    uint32_t index;
    uint32_t flags;             /* bit 0: this is the config state, the last packet */
    struct vms_slice raw_idstr; /* residue: 256 bytes; may be empty */
    uint32_t raw_flags;         /* the packet's flags, DEVICE_STATE among them */
};

struct vms_rec_rp_pages {
    struct vms_slice block; /* REQ_PAGES: the last one named, may be empty */
    uint64_t offset;        /* bytes */
    uint32_t length;        /* bytes */
};

/**
 * One protocol event: its meaning, and as residue what was not canonical in the bytes it came from
 * (MOD-2). Slices point into the decoder or its input and hold until the next call on the decoder.
 */
struct vms_record {
    enum vms_record_type type;
    uint32_t channel;
    uint64_t offset;   /* of the record's first byte in its channel */
    uint64_t number;   /* of the record in its channel, from 0 */
    uint64_t bulk_len; /* bytes of bulk that follow, or VMS_BULK_UNKNOWN */
    bool packaged;     /* inside a PACKAGED blob */
    bool guessed;      /* after a boundary that was guessed (TAIL-4): not to be acted on */
    union {
        uint32_t version;                    /* HEADER */
        struct vms_rec_configuration config; /* CONFIGURATION */
        struct vms_rec_section section;      /* SECTION_* (FOOTER: id only) */
        struct vms_rec_command command;      /* COMMAND */
        uint64_t ram_total;                  /* RAM_MEM_SIZE, bytes */
        struct vms_rec_ram_block block;      /* RAM_BLOCK */
        struct vms_rec_ram_page page; /* RAM_PAGE, ZERO, XBZRLE, COMPRESSED; MAPPED_*: block */
        uint64_t ram_word;            /* RAM_EOS, RAM_HOOK, RAM_MULTIFD_FLUSH: the word */
        struct vms_rec_dirty_bitmap bitmap;   /* DIRTY_BITMAP */
        struct vms_rec_multifd_hello hello;   /* MULTIFD_HELLO */
        struct vms_rec_multifd_packet packet; /* MULTIFD_PACKET */
        struct vms_rec_multifd_device device; /* MULTIFD_DEVICE_STATE */
        struct vms_rec_rp_pages request;      /* RP_REQ_PAGES, RP_REQ_PAGES_ID */
        uint32_t value;                       /* RP_SHUT, RP_PONG, RP_RESUME_ACK */
        struct vms_slice rp_block;            /* RP_RECV_BITMAP */
    } u;
};

#endif
