/* SPDX-License-Identifier: MIT */
#ifndef CONFORMANCE_NATIVE_PAIR_INTERNAL_H
#define CONFORMANCE_NATIVE_PAIR_INTERNAL_H

#include "conformance/native/pair.h"
#include "host/native_link_internal.h"
#include "reference-src/wire_native_internal.h"

/* ---- pair_guest.c ---- */

/* Of size bytes and 4 MiB. */
void pair_guest_make(struct pair *p, struct pair_guest *g, uint64_t size);
void pair_guest_fill(struct pair_guest *g, bool at_random);
void pair_guest_free(struct pair_guest *g);
/* A thread, of the pair: writes to the source's memory while p->writing. */
void *pair_guest_write(void *pair);

/* ---- pair_owner.c ---- */

/* Sets p->owner. */
void pair_own(struct pair *p);
/* Whether the event came; false: the session is over instead. */
bool pair_wait(struct pair *p, enum src_event_kind kind);
bool pair_next_request(struct pair *p, struct pair_request *r);
void pair_wait_for_request(struct pair *p);

/* ---- pair_source.c ---- */

/* What is dirty of these pages, at most SRC_BATCH_PAGES. */
enum vms_code pair_send(struct pair *p, uint32_t block, uint64_t first, uint64_t end);
/* Returns when the source knows: what the script does next is of the time after the cut. */
void pair_cut(struct pair *p, unsigned channel);
/* All that the source does. */
enum vms_code pair_source(struct pair *p);

/* ---- pair_postcopy.c ---- */

enum vms_code pair_discard(struct pair *p);
/* Keeps what the guest must find at the destination. */
void pair_expect(struct pair *p);
enum vms_code pair_push(struct pair *p);

/* ---- pair.c ---- */

double pair_seconds(void);

#endif
