/* SPDX-License-Identifier: MIT */
#include "mutate.h"

#include <vmstream/native.h>

/*
 * Fields with a meaning, as the clauses of spec/02* and NAT-10 lay them out. A negative place
 * counts from the end of the head. Other fields of a record are met as VALUE.
 */
struct place {
    uint8_t type; /* enum vms_record_type; 0: every native frame */
    int16_t at;
    uint8_t width;
    uint8_t kind;
};

#define AT(type, at, width, kind)                                                                  \
    { VMS_R_##type, at, width, FUZZ_OP_##kind }
#define RAM_WORD(type)                                                                             \
    AT(type, 6, 2, FLAGS), AT(type, 0, 8, VALUE), AT(type, 8, 1, LENGTH), AT(type, 5, 1, VALUE)
#define SECTION(type) AT(type, 1, 4, ID), AT(type, 0, 1, VALUE)
#define FRAME(at, width, kind)                                                                     \
    { 0, at, width, FUZZ_OP_##kind }
#define REPLY(type) AT(type, 0, 2, VALUE), AT(type, 2, 2, LENGTH)

static const struct place PLACES[] = {
    AT(HEADER, 4, 4, VALUE),
    AT(CONFIGURATION, 1, 4, LENGTH),
    AT(CONFIGURATION, -4, 4, VALUE),
    SECTION(SECTION_START),
    AT(SECTION_START, 5, 1, LENGTH),
    AT(SECTION_START, -4, 4, VALUE),
    AT(SECTION_START, -8, 4, VALUE),
    SECTION(SECTION_PART),
    SECTION(SECTION_END),
    SECTION(SECTION_FULL),
    AT(SECTION_FULL, 5, 1, LENGTH),
    AT(SECTION_FULL, -8, 4, VALUE),
    SECTION(SECTION_FOOTER),
    AT(COMMAND, 1, 2, VALUE),
    AT(COMMAND, 3, 2, LENGTH),
    AT(COMMAND, 5, 4, LENGTH),
    AT(COMMAND, -8, 8, COUNT),
    AT(VMDESCRIPTION, 1, 4, LENGTH),
    AT(RAM_MEM_SIZE, 0, 8, COUNT),
    AT(RAM_MEM_SIZE, 6, 2, FLAGS),
    AT(RAM_BLOCK, 0, 1, LENGTH),
    AT(RAM_BLOCK, -8, 8, COUNT),
    AT(RAM_BLOCK, -16, 8, COUNT),
    RAM_WORD(RAM_PAGE),
    RAM_WORD(RAM_ZERO),
    RAM_WORD(RAM_XBZRLE),
    AT(RAM_XBZRLE, -2, 2, LENGTH),
    AT(RAM_XBZRLE, -3, 1, FLAGS),
    RAM_WORD(RAM_COMPRESSED),
    AT(RAM_COMPRESSED, -4, 4, LENGTH),
    RAM_WORD(RAM_EOS),
    RAM_WORD(RAM_HOOK),
    RAM_WORD(RAM_MULTIFD_FLUSH),
    AT(VFIO_SETUP_STATE, 6, 2, FLAGS),
    AT(VFIO_DATA_STATE, 6, 2, FLAGS),
    AT(VFIO_DATA_STATE, 8, 8, LENGTH),
    AT(VFIO_CONFIG_STATE, 6, 2, FLAGS),
    AT(VFIO_INIT_DATA_SENT, 6, 2, FLAGS),
    AT(VFIO_CONFIG_LOAD_READY, 6, 2, FLAGS),
    AT(VFIO_END_OF_STATE, 6, 2, FLAGS),
    AT(DIRTY_BITMAP, 0, 1, FLAGS),
    AT(DIRTY_BITMAP, 1, 1, LENGTH),
    AT(DIRTY_BITMAP, -8, 8, COUNT),
    AT(DIRTY_BITMAP, -4, 4, COUNT),
    AT(MULTIFD_HELLO, 4, 4, VALUE),
    AT(MULTIFD_HELLO, 24, 1, ID),
    AT(MULTIFD_PACKET, 8, 4, FLAGS),
    AT(MULTIFD_PACKET, 12, 4, COUNT),
    AT(MULTIFD_PACKET, 16, 4, COUNT),
    AT(MULTIFD_PACKET, 20, 4, LENGTH),
    AT(MULTIFD_PACKET, 24, 8, VALUE),
    AT(MULTIFD_PACKET, 32, 4, COUNT),
    AT(MULTIFD_PACKET, 320, 8, VALUE),
    AT(MULTIFD_DEVICE_STATE, 8, 4, FLAGS),
    AT(MULTIFD_DEVICE_STATE, -4, 4, LENGTH),
    AT(MULTIFD_DEVICE_STATE, -8, 4, ID),
    AT(MULTIFD_DEVICE_STATE, -12, 4, ID),
    REPLY(RP_SHUT),
    REPLY(RP_PONG),
    REPLY(RP_REQ_PAGES_ID),
    AT(RP_REQ_PAGES_ID, 4, 8, VALUE),
    AT(RP_REQ_PAGES_ID, 12, 4, COUNT),
    AT(RP_REQ_PAGES_ID, 16, 1, LENGTH),
    REPLY(RP_REQ_PAGES),
    AT(RP_REQ_PAGES, 4, 8, VALUE),
    AT(RP_REQ_PAGES, 12, 4, COUNT),
    REPLY(RP_RECV_BITMAP),
    AT(RP_RECV_BITMAP, 4, 1, LENGTH),
    AT(RP_RECV_BITMAP, -8, 8, LENGTH),
    REPLY(RP_RESUME_ACK),
    REPLY(RP_SWITCHOVER_ACK),
    FRAME(4, 4, VALUE),
    FRAME(8, 2, FLAGS),
    FRAME(10, 2, ID),
    FRAME(12, 4, ID),
    FRAME(16, 8, COUNT),
    FRAME(24, 4, LENGTH),
    FRAME(28, 4, LENGTH),
};

size_t fuzz_fields(const struct fuzz_span *span, enum fuzz_op kind,
                   struct fuzz_field fields[FUZZ_FIELDS]) {
    size_t count = 0;
    if (!span->type) /* an action of a list, or what is no record: in each exec, hundreds of them */
        return 0;
    for (size_t i = 0; i < sizeof PLACES / sizeof *PLACES; i++) {
        const struct place *p = &PLACES[i];
        bool mine = p->kind == (uint8_t)kind && p->type == (span->native ? 0 : span->type);
        int64_t at = p->at < 0 ? (int64_t)span->head + p->at : p->at;
        if (!mine || at < 0 || at + p->width > span->len || count == FUZZ_FIELDS)
            continue;
        fields[count++] = (struct fuzz_field){(uint32_t)at, p->width, kind};
    }
    return count;
}
