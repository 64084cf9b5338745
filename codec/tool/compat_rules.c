/* SPDX-License-Identifier: MIT */
#include "tool/compat.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/*
 * What loads and what does not. QEMU's loader takes fields one behind the other without names, so
 * what counts is order and size; names only tell which field is which.
 */

struct run {
    const struct compat_side *from, *to;
    compat_report *report;
    void *ctx;
    const struct compat_part *part; /* that is sent */
    char path[256];                 /* of the device or subsection */
};

static void say(struct run *r, enum compat_level level, const char *rule, const char *field,
                const char *fmt, ...) {
    char path[512], words[256];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(words, sizeof words, fmt, args);
    va_end(args);
    (void)snprintf(path, sizeof path, "%s%s%s", r->path, field ? "/" : "", field ? field : "");
    r->report(r->ctx, level, rule, path, words);
}

/* ---- fields ---- */

struct list {
    const struct compat_field *at, *end;
};

static const struct compat_field *find(struct list l, const char *path) {
    for (const struct compat_field *f = l.at; f < l.end; f++)
        if (!f->unused && strcmp(f->path, path) == 0)
            return f;
    return NULL;
}

/* A description shows the elements that an array had: of an empty one nothing. */
static bool of_empty_array(const struct run *r, const struct compat_field *f) {
    const char *slash = strrchr(f->path, '/');
    if (r->from->dump || !slash)
        return false;
    for (size_t i = 0; i < r->part->field_count; i++)
        if (strncmp(r->part->fields[i].path, f->path, (size_t)(slash - f->path) + 1) == 0)
            return false;
    return true;
}

/* Fields of one side that the other does not have in this place. */
static void only_here(struct run *r, struct list *l, const struct compat_field *until, bool sent) {
    for (; l->at < until; l->at++) {
        if (!sent && l->at->since > r->part->version)
            continue;
        bool maybe = l->at->conditional || (!sent && of_empty_array(r, l->at));
        enum compat_level level = maybe ? COMPAT_NOTE : COMPAT_ERROR;
        if (sent)
            say(r, level, "field-unread", l->at->path, "is sent%s, and not read there",
                l->at->conditional ? " in some states" : "");
        else
            say(r, level, "field-missing", l->at->path, "is read there%s, and not sent",
                l->at->conditional ? " in some states" : "");
    }
}

static void same_field(struct run *r, const struct compat_field *a, const struct compat_field *b) {
    if (a->size && b->size && a->size != b->size)
        say(r, COMPAT_ERROR, "field-size", a->path, "%llu octets are sent, %llu are read",
            (unsigned long long)a->size, (unsigned long long)b->size);
    else if (a->count && b->count && a->count != b->count)
        say(r, COMPAT_MAYBE, "field-count", a->path, "%llu elements here, %llu there",
            (unsigned long long)a->count, (unsigned long long)b->count);
    if (a->conditional && !b->conditional)
        say(r, COMPAT_NOTE, "field-always", a->path, "is sent in some states, and always read");
    if (!a->conditional && b->conditional)
        say(r, COMPAT_NOTE, "field-sometimes", a->path, "is always sent, and read in some states");
}

static uint64_t total(const struct compat_field *f) {
    return f->size * (f->count ? f->count : 1);
}

/* One side has padding: the other's next fields, as many octets of them. */
static void over_padding(struct run *r, struct list *padded, struct list *other) {
    const struct compat_field *pad = padded->at++;
    uint64_t covered = 0;
    say(r, COMPAT_NOTE, "field-unused", other->at->path,
        "is %llu octets of padding at the other end", (unsigned long long)total(pad));
    do
        covered += total(other->at++);
    while (other->at < other->end && covered < total(pad) && !other->at->unused &&
           !find(*padded, other->at->path));
}

static void unlike(struct run *r, struct list *a, struct list *b) {
    const struct compat_field *later;
    if (!a->at->unused && (later = find(*b, a->at->path)) != NULL) {
        only_here(r, b, later, false);
    } else if (!b->at->unused && (later = find(*a, b->at->path)) != NULL) {
        only_here(r, a, later, true);
    } else if (a->at->unused != b->at->unused) {
        over_padding(r, a->at->unused ? a : b, a->at->unused ? b : a);
    } else if (a->at->conditional != b->at->conditional) {
        only_here(r, a->at->conditional ? a : b, (a->at->conditional ? a : b)->at + 1,
                  a->at->conditional);
    } else {
        if (a->at->size == b->at->size || !a->at->size || !b->at->size)
            say(r, COMPAT_NOTE, "field-renamed", a->at->path, "is %s there", b->at->path);
        else
            same_field(r, a->at, b->at);
        a->at++;
        b->at++;
    }
}

/* Another field of that name behind this one: the first is the first, whatever lies between. */
static bool has_twin(const struct list *l) {
    for (const struct compat_field *f = l->at + 1; f < l->end; f++)
        if (strcmp(f->path, l->at->path) == 0)
            return true;
    return false;
}

/* Of two fields of a name one may be there: that with the size of the other end's, or that which is
 * always there if the other end has one alone. Only what may be absent is passed over. */
static bool skip_twin(struct run *r, struct list *l, const struct list *other, bool sent) {
    bool alone = !has_twin(other), fits = l->at->size == other->at->size;
    for (const struct compat_field *f = l->at + 1; f < l->end && f[-1].conditional; f++)
        if (strcmp(f->path, l->at->path) == 0 && f->size == other->at->size &&
            (!fits || (alone && !f->conditional))) {
            only_here(r, l, f, sent);
            return true;
        }
    return false;
}

static void compare_fields(struct run *r, const struct compat_part *from,
                           const struct compat_part *to) {
    struct list a = {from->fields, from->fields + from->field_count};
    struct list b = {to->fields, to->fields + to->field_count};
    r->part = from;
    while (a.at < a.end && b.at < b.end) {
        if (b.at->since > from->version)
            b.at++;
        else if (a.at->unused != b.at->unused || strcmp(a.at->path, b.at->path) != 0)
            unlike(r, &a, &b);
        else if (!skip_twin(r, &b, &a, false) && !skip_twin(r, &a, &b, true))
            same_field(r, a.at++, b.at++);
    }
    only_here(r, &a, a.end, true);
    only_here(r, &b, b.end, false);
}

/* ---- devices and subsections ---- */

static void compare_versions(struct run *r, const struct compat_part *from,
                             const struct compat_part *to) {
    if (from->version > to->version)
        say(r, COMPAT_ERROR, "version", NULL, "version %lld is sent, at most %lld is read",
            (long long)from->version, (long long)to->version);
    else if (from->version < to->minimum)
        say(r, COMPAT_ERROR, "minimum-version", NULL, "version %lld is sent, at least %lld is read",
            (long long)from->version, (long long)to->minimum);
}

static void compare_parts(struct run *r, const struct compat_part *from,
                          const struct compat_part *to);

/* A dump's may be sent, a description's was. A description does not tell what else is known. */
static void subsection_missing(struct run *r, bool all_known) {
    enum compat_level level = all_known && !r->from->dump ? COMPAT_ERROR : COMPAT_MAYBE;
    say(r, level, "subsection", NULL, "%s, and not known there%s",
        r->from->dump ? "is sent in some states" : "is sent",
        all_known ? "" : ", as far as that description shows");
}

static void compare_subsections(struct run *r, const struct compat_part *from,
                                const struct compat_part *to) {
    size_t base = strlen(r->path);
    for (size_t i = 0; i < from->subsection_count; i++) {
        const struct compat_part *sub = &from->subsections[i], *other = NULL;
        for (size_t j = 0; j < to->subsection_count && !other; j++)
            if (strcmp(to->subsections[j].name, sub->name) == 0)
                other = &to->subsections[j];
        (void)snprintf(r->path + base, sizeof r->path - base, "/%s", sub->name);
        if (other)
            compare_parts(r, sub, other);
        else
            subsection_missing(r, to->all_subsections);
        r->path[base] = 0;
    }
}

static void compare_parts(struct run *r, const struct compat_part *from,
                          const struct compat_part *to) {
    if (from->empty) {
        if (!to->empty)
            say(r, COMPAT_NOTE, "not-migratable", NULL, "cannot be migrated by the source");
        return;
    }
    if (to->empty) {
        say(r, COMPAT_MAYBE, "not-migratable", NULL, "cannot be migrated by the destination");
        return;
    }
    compare_versions(r, from, to);
    compare_fields(r, from, to);
    compare_subsections(r, from, to);
}

static void count_errors(void *ctx, enum compat_level level, const char *rule, const char *path,
                         const char *text) {
    unsigned *errors = ctx;
    (void)rule, (void)path, (void)text;
    *errors += level == COMPAT_ERROR;
}

static unsigned errors_between(const struct run *r, const struct compat_part *a,
                               const struct compat_part *b) {
    unsigned errors = 0;
    struct run quiet = {.from = r->from, .to = r->to, .report = count_errors, .ctx = &errors};
    compare_parts(&quiet, a, b);
    return errors;
}

/* Two dumps name QOM types, two descriptions sections; between them only the vmsd's name is common:
 * several types may have it, the one that fits best is meant. */
static const struct compat_part *counterpart(const struct run *r, const struct compat_part *d) {
    const struct compat_part *best = NULL;
    bool by_vmsd = r->from->dump != r->to->dump;
    for (size_t i = 0; i < r->to->device_count; i++) {
        const struct compat_part *t = &r->to->devices[i];
        bool same = by_vmsd ? strcmp(t->vmsd, d->vmsd) == 0 : strcmp(t->name, d->name) == 0;
        if (same && !by_vmsd && t->instance == d->instance)
            return t;
        if (same && by_vmsd && (!best || errors_between(r, d, t) < errors_between(r, d, best)))
            best = t;
    }
    return best;
}

/* Sections of one machine that are there without a device of that kind in a dump (timer, ...). */
static bool is_of_no_device(const struct run *r) {
    return !r->from->dump && r->to->dump;
}

static void missing_device(struct run *r) {
    if (r->from->dump)
        say(r, COMPAT_MAYBE, "device", NULL, "there is no such device; a machine without it loads");
    else if (is_of_no_device(r))
        say(r, COMPAT_NOTE, "device", NULL, "a dump does not describe this section");
    else
        say(r, COMPAT_ERROR, "device", NULL, "there is no such section");
}

static void compare_machines(struct run *r) {
    const char *from = r->from->machine, *to = r->to->machine;
    (void)snprintf(r->path, sizeof r->path, "machine");
    if (from && to && strcmp(from, to) != 0)
        say(r, COMPAT_ERROR, "machine", NULL, "%s is not %s", from, to);
}

void compat_compare(const struct compat_side *from, const struct compat_side *to,
                    compat_report *report, void *ctx) {
    struct run r = {.from = from, .to = to, .report = report, .ctx = ctx};
    compare_machines(&r);
    for (size_t i = 0; i < from->device_count; i++) {
        const struct compat_part *d = &from->devices[i], *other = counterpart(&r, d);
        (void)snprintf(r.path, sizeof r.path, "%s", d->name);
        if (d->instance > 0)
            (void)snprintf(r.path, sizeof r.path, "%s#%lld", d->name, (long long)d->instance);
        if (other)
            compare_parts(&r, d, other);
        else if (!d->empty)
            missing_device(&r);
    }
}
