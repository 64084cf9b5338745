/* SPDX-License-Identifier: MIT */
#ifndef VMSTREAM_HOST_URGENCY_H
#define VMSTREAM_HOST_URGENCY_H

/**
 * The calling thread stands between a virtual CPU and a page that it waits for: it is to run as
 * soon as it can, and runs for microseconds at a time. A short slice of the fair class
 * (Linux 6.12), so that it preempts threads with longer ones, and a better nice value where the
 * process may have one. Never a real-time class: what it does is driven by the peer. Nothing
 * happens where the kernel has neither. sched_setattr(2).
 */
void vms_thread_urgent(void);
/**
 * The calling thread brings pages that nobody waits for, while virtual CPUs run and wait for
 * others: a third of the weight, for good. Not less: it must come to its end on a busy host, too.
 */
void vms_thread_background(void);

#endif
