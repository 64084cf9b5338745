/* SPDX-License-Identifier: MIT */
#include "tool/migration.h"
#include <stdio.h>

struct hint {
    enum vms_code code;
    const char *text;
};

static const struct hint HINTS[] = {
    {VMS_E_TRUNCATED,
     "the file or capture is incomplete; after a postcopy recovery add recovery:FILE"},
    {VMS_E_LIMIT, "raise it with --limit NAME=VALUE if the stream is trusted"},
    {VMS_E_CONFIG_MISSING, "machine types before 2.4: --dialect configuration=off,footers=off"},
    {VMS_E_FOOTER_MISSING, "machine types before 2.4: --dialect footers=off"},
    {VMS_E_RAM_ZERO_FILL, "QEMU up to 8.1 sent these: --dialect 8.1"},
    {VMS_E_RAM_FLAGS, "another target page size? --dialect page-bits=N"},
    {VMS_E_RAM_FLAG_DIALECT, "name the QEMU that wrote it with --dialect"},
    {VMS_E_MULTIFD_SYNC,
     "give all channels of the same run; --dialect multifd-flush=on|off sets the rule"},
    {VMS_E_MULTIFD_BLOCK, "give the main channel of the same run first"},
    {VMS_E_TAIL_UNCUT, "a file that ends with its VM description can be cut exactly"},
    {VMS_E_SEAL_NO_KEY, "give the file of keys with --psk"},
    {VMS_E_SEAL_UNSEALED, "it is read without --psk, if that is what is wanted"},
    {VMS_E_SEAL_PSK_IDENTITY, "the file names the key; inspect without --psk shows its name"},
    {VMS_E_SEAL_TAG, "changed or damaged, or the key is not its key"},
    {VMS_E_SESSION_NO_END, "the file is incomplete: its writer did not come to the end"},
    {VMS_E_BAD_MAGIC, "for a return path use --return-path, else preempt:FILE or recovery:FILE"},
};

static const char *hint_for(enum vms_code code) {
    for (size_t i = 0; i < sizeof HINTS / sizeof *HINTS; i++)
        if (HINTS[i].code == code)
            return HINTS[i].text;
    return NULL;
}

int migration_status(const struct vms_error *err) {
    bool ours = err->class_ == VMS_CLASS_LOCAL || err->class_ == VMS_CLASS_INTERNAL;
    return ours ? TOOL_LOCAL : TOOL_BAD;
}

int migration_report(const struct migration *m, const struct vms_error *err) {
    const char *file =
        err->channel < m->count ? m->channels[err->channel].name : m->options->files[0];
    const char *hint = hint_for(err->code);
    fprintf(stderr, "vmstream: %s: offset %llu (0x%llx), record %llu: %s [%s %s]%s%s\n", file,
            (unsigned long long)err->offset, (unsigned long long)err->offset,
            (unsigned long long)err->record, err->message, err->clause, vms_code_name(err->code),
            hint ? "; " : "", hint ? hint : "");
    return migration_status(err);
}
