/* SPDX-License-Identifier: MIT */
#ifndef VMSTREAM_TOOL_CONVERT_MACHINE_H
#define VMSTREAM_TOOL_CONVERT_MACHINE_H

#include "tool/migration.h"

/**
 * [TRC-22] What a native file's HELLO says in MACHINE: the machine type of the main channel's
 * CONFIGURATION, or of the HELLO of a native input; empty where it has none, or the input cannot
 * be looked at twice. Of a native input once its HELLO was read.
 */
void convert_machine(const struct migration *m, char out[VMS_NAME_MAX + 1]);

#endif
