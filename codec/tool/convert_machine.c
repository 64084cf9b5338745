/* SPDX-License-Identifier: MIT */
#include "tool/convert_machine.h"
#include "tool/native_in.h"
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    BEGINNING = 4096, /* CONFIGURATION is the second record, of at most a few hundred octets */
};

/* The name is the source's; what a HELLO cannot say is left out. */
static bool may_be_said(struct vms_slice name) {
    for (size_t i = 0; i < name.len; i++)
        if (name.ptr[i] < 0x20 || name.ptr[i] > 0x7e)
            return false;
    return name.len <= VMS_NAME_MAX;
}

static void copy(char *out, struct vms_slice name) {
    if (!may_be_said(name))
        return;
    memcpy(out, name.ptr, name.len);
    out[name.len] = 0;
}

static void find(struct vms_qevm_decoder *d, struct vms_slice input, char *out) {
    struct vms_event ev;
    enum vms_step step = VMS_STEP_RECORD;
    for (int records = 0; step == VMS_STEP_RECORD && records < 2; records++) {
        step = vms_qevm_decode(d, &input, &ev);
        if (step == VMS_STEP_RECORD && ev.record.type == VMS_R_CONFIGURATION)
            copy(out, ev.record.u.config.machine);
    }
}

/* Looks ahead where that is possible, and leaves the file's position as it is. */
static void find_in_file(const struct migration_channel *c, const struct vms_dialect *dialect,
                         char *out) {
    uint8_t bytes[BEGINNING];
    struct vms_qevm_config config = vms_qevm_config_default();
    config.dialect = *dialect;
    ssize_t n = pread(c->fd, bytes, sizeof bytes, (off_t)c->start);
    void *mem = n > 0 ? malloc(vms_qevm_decoder_size(&config)) : NULL;
    struct vms_qevm_decoder *d =
        mem ? vms_qevm_decoder_init(mem, vms_qevm_decoder_size(&config), &config) : NULL;
    if (d)
        find(d, vms_slice(bytes, (size_t)n), out);
    free(mem);
}

void convert_machine(const struct migration *m, char out[VMS_NAME_MAX + 1]) {
    out[0] = 0;
    if (m->native)
        copy(out, vms_str(native_input_info(m->native)->machine));
    else if (m->channels[0].kind == VMS_QEVM_MAIN && m->channels[0].source_state.seekable)
        find_in_file(&m->channels[0], &m->dialect, out);
}
