/* SPDX-License-Identifier: MIT */
#ifndef VMSTREAM_TOOL_RELAY_TOOL_H
#define VMSTREAM_TOOL_RELAY_TOOL_H

/** `vmstream relay`; argv[0] is its name. It has its own options: no FILE. The exit status. */
int tool_relay(int argc, char **argv);

#endif
