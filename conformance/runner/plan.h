/* SPDX-License-Identifier: MIT */
#ifndef CONFORMANCE_RUNNER_PLAN_H
#define CONFORMANCE_RUNNER_PLAN_H

#include "conformance/runner/case.h"

/**
 * A profile file says which implementations there are and who migrates to whom; the plan is what
 * comes of it and the cases: an array of cells in the order in which they are to run.
 *
 *   {"profile": "full",
 *    "implementations": [{"name": "qemu-7.2", "implementation": "qemu", "adapter": "adapter-qemu",
 *                         "version": "7.2", "features": ["multifd", ...]}],
 *    "sanity": {"source": N, "destination": N, "source_machine": M, ..., "case": ID},
 *    "pairs": [{"source": N, "destination": N, "machine": M, "cases": [PATTERN],
 *               "through": ["direct", "relay"], "quick": [PATTERN]}],
 *    "subjects": [{"implementation": N, "machine": M, "cases": [PATTERN]}],
 *    "decoders": [{"implementation": N, "cases": [PATTERN]}]}
 *
 * An adapter is a program of the build folder, or a path relative to the profile ("./mine") or
 * absolute; so is "file", which an adapter gets as VMS_FILE. A pattern is compared with a case's id and with its feature; '*' stands for anything.
 * "quick" (ids) is what a quick run takes of a part; without it, the cases that say so themselves.
 *
 * A cell: {"id", "case", "kind" (of the case, or "probe"), "feature", "level", "clause", "seconds",
 * "source", "destination", "source_machine", "destination_machine" (of a pair), "subject",
 * "machine" (of the others), "role" (probes), "through"}. The id is what it is made of.
 */
struct cert_plan_options {
    bool quick;         /* only cases that are marked so */
    const json_t *only; /* patterns over cell ids; NULL: all */
};

/** A new reference, or NULL with the reason (CERT_ERROR_SIZE octets). */
json_t *cert_profile_load(const char *path, char *error);
json_t *cert_plan(const json_t *profile, const json_t *cases, const struct cert_plan_options *o,
                  char *error);

/** NULL: none of that name. */
const json_t *cert_implementation(const json_t *profile, const char *name);
/** Text without which an implementation cannot run a case: the first feature it lacks, or NULL. */
const char *cert_lacks(const json_t *implementation, const json_t *test);

#endif
