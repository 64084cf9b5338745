/* SPDX-License-Identifier: MIT */
#ifndef CONFORMANCE_ADAPTER_KIT_H
#define CONFORMANCE_ADAPTER_KIT_H

#include "conformance/runner/util.h"

#include <sys/types.h>

/** What our adapters share: the contract of conformance/cases/README.md from their side. */
enum kit_exit {
    KIT_DONE = 0,
    KIT_REFUSED = 1,
    KIT_USAGE = 2,
    KIT_LOCAL = 3,
    KIT_BROKEN = 4, /* of the scripted peer: the subject broke a rule; end.json says which */
    KIT_UNSUPPORTED = 127,
};

struct kit {
    const char *role, *uri, *log, *shared, *cache, *build;
    const char *version, *machine;
    const char *peer, *peer_version, *peer_machine;
    int64_t deadline; /* of cert_now() */
    json_t *test;
    const json_t *body; /* "migration", "dialogue" or "vector" of it */
    const json_t *own;  /* the member of this role, or NULL */
    json_t *end;        /* what end.json will have */
};

/** Reads the environment and the case; KIT_DONE, KIT_USAGE or, for `version`, as it says. */
enum kit_exit kit_open(struct kit *k);
bool kit_is(const struct kit *k, const char *role);
/** Milliseconds until the deadline, at most `most`, at least 1. */
int kit_left(const struct kit *k, int most);
/** KIT_UNSUPPORTED with the reason in the log when `needs` has what the list (of words) has not. */
enum kit_exit kit_check_needs(struct kit *k, const char *const *features);

/** Capabilities of this end: the common ones, and its own, less `without`; a new array. */
json_t *kit_capabilities(const struct kit *k);
/** Parameters of this end; a new object. */
json_t *kit_parameters(const struct kit *k);
bool kit_has_capability(const struct kit *k, const char *name);
const json_t *kit_devices(const struct kit *k);
bool kit_postcopy(const struct kit *k);

/** Appends to "log" in the log folder. */
void kit_say(struct kit *k, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/** Makes an empty file ("ready", "handed", ...) in the log folder. */
void kit_mark(struct kit *k, const char *name);
/** The same in the shared folder, for the other end. */
void kit_tell(struct kit *k, const char *name);
void kit_write_version(struct kit *k, const char *text);
/** Writes end.json; returns the exit status that goes with the outcome. */
enum kit_exit kit_end(struct kit *k, const char *outcome, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/** Waits for an order of the rig; what follows the word, in static storage, or NULL: none came. */
const char *kit_order(struct kit *k, const char *word);

/** A simulated device's description at `path`, open (to be inherited); -1: errno. */
int kit_describe(const char *path, const char *head, const char *name, const char *log,
                 const char *text);
/** Writes devices.json from the logs ROLEn.log of n simulated VFIO devices. */
void kit_write_devices(struct kit *k, unsigned n);

#endif
