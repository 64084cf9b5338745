/* SPDX-License-Identifier: MIT */
#ifndef VMSTREAM_TOOL_SUMMARY_H
#define VMSTREAM_TOOL_SUMMARY_H

#include "tool/load.h"

/** What `inspect` tells about a stream in the end. Lists are bounded by limits.sections. */
struct summary_section {
    char idstr[VMS_NAME_MAX + 1];
    uint32_t id, instance, version;
    enum vms_section_kind kind;
    bool full;
    uint64_t parts;  /* START, PART, END and FULL records */
    uint64_t bytes;  /* payload of all of them */
    uint64_t offset; /* of the first */
};

struct summary_vfio {
    char idstr[VMS_NAME_MAX + 1];
    uint64_t data_blocks, data_bytes; /* DATA_STATE */
    uint64_t init_data_sent;
    uint64_t config_bytes; /* CONFIG_STATE and a config packet */
    uint64_t config_load_ready;
    uint64_t packets, packet_bytes; /* multifd device state, the config packet too */
};

struct summary_channel {
    uint64_t records;
    uint64_t packets; /* multifd */
    uint64_t syncs;
    bool hello;
    uint8_t id; /* of the hello */
    uint32_t compression;
};

enum {
    SUMMARY_COMMANDS = 16,
};

struct summary {
    const struct load *load;
    uint32_t stream_version;
    char machine[VMS_NAME_MAX + 1];
    char config[256]; /* the subsections, as text */
    struct summary_section *sections;
    size_t section_count;
    struct summary_vfio *vfio;
    size_t vfio_count;
    size_t list_max; /* of both lists */
    struct summary_channel *channels;
    size_t channel_count;
    uint64_t commands[SUMMARY_COMMANDS];
    uint64_t types[VMS_RECORD_TYPE_COUNT];
    uint64_t records;
    uint64_t ram_total;
    uint64_t vmdesc_bytes;
    bool ended;   /* EOF of the stream, not of a package */
    bool guessed; /* some boundary was */
    /* the section in progress, on a main or recovery channel */
    size_t current; /* SIZE_MAX: none */
    uint64_t payload_start;
};

/** False when there is no memory. summary_free() in either case. */
bool summary_init(struct summary *s, const struct load *load, size_t channels, uint64_t sections);
void summary_free(struct summary *s);
/** The compression of a multifd channel: "zlib", "mixed", "" for none. Static text. */
const char *summary_compression(const struct summary_channel *channel);
/** Takes note of a record. */
void summary_add(struct summary *s, const struct vms_record *record);

#endif
