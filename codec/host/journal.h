/* SPDX-License-Identifier: MIT */
#ifndef VMSTREAM_HOST_JOURNAL_H
#define VMSTREAM_HOST_JOURNAL_H

#include <vmstream/handover.h>

/**
 * Journals of hand-overs (HND-13): one small file for each session and role in a folder, readable
 * by people, replaced whole. What is written is durable when the call returns: file and folder are
 * synchronised.
 *
 * A session begins with a record NONE, so that a file that is missing later means a journal that
 * was lost, not a hand-over that had not begun (HND-11).
 */

struct vms_journal_record {
    enum vms_journal journal; /* NONE to NOT_STARTED */
    enum vms_native_role role;
    uint8_t session[16];
    uint64_t generation; /* 0: none yet */
    bool postcopy; /* the guest moved before all of its memory had; what was left may be so still */
};

enum {
    VMS_JOURNAL_PATH = 512, /* bytes of a path of a journal, with its NUL */
    VMS_SESSION_TEXT = 33,  /* of a session id in hexadecimal, with its NUL */
};

/** Session id as text, 32 digits. */
void vms_session_text(const uint8_t session[16], char text[VMS_SESSION_TEXT]);
/** text begins with 32 hexadecimal digits and has no 33rd. */
bool vms_session_parse(const char *text, uint8_t session[16]);

/**
 * Makes the record durable in place of the last one. HANDOVER_JOURNAL when that is not known: the
 * old record or the new one may then be there.
 */
enum vms_code vms_journal_write(const char *folder, const struct vms_journal_record *record,
                                struct vms_error *err);
/**
 * Reads the record of record->session and record->role; fills in the rest. HANDOVER_JOURNAL, and
 * LOST in record->journal, when there is none, or it cannot be read, or is not whole.
 */
enum vms_code vms_journal_read(const char *folder, struct vms_journal_record *record,
                               struct vms_error *err);

/**
 * Reads every journal of that role in the folder, in the order of their names, and calls back for
 * each; LOST for those that are not whole. HANDOVER_JOURNAL when the folder cannot be read.
 */
enum vms_code vms_journal_list(const char *folder, enum vms_native_role role,
                               void (*found)(void *ctx, const struct vms_journal_record *record),
                               void *ctx, struct vms_error *err);

#endif
