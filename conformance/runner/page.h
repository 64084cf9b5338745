/* SPDX-License-Identifier: MIT */
#ifndef CONFORMANCE_RUNNER_PAGE_H
#define CONFORMANCE_RUNNER_PAGE_H

/** Style and script of the report. The policy forbids every request: who opens it tells nobody. */
extern const char cert_page_head[];
extern const char cert_page_tail[];

#endif
