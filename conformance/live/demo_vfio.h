/* SPDX-License-Identifier: MIT */
#ifndef CONFORMANCE_DEMO_VFIO_H
#define CONFORMANCE_DEMO_VFIO_H

/** `make demo`, third part: four simulated VFIO devices migrate, one begins again on the way.
 * build: folder of the programs. 0, or -1 after saying why on standard error. */
int demo_vfio(const char *build);

#endif
