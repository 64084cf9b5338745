/* SPDX-License-Identifier: MIT */
#include "conformance/vfio-matrix/table.h"

#include <stdio.h>
#include <string.h>

static void counts_of(const struct vfm_seen *seen, int out[3]) {
    out[0] = seen->sent;
    out[1] = seen->requests;
    out[2] = seen->acks;
}

static bool count_agrees(const struct vfm_expect *e, size_t i, int count) {
    if (e->count[i] == VFM_UNKNOWN)
        return true;
    return e->at_least[i] ? count >= e->count[i] : count == e->count[i];
}

bool vfm_table_agrees(const struct vfm_expect *e, const struct vfm_seen *seen, char *why,
                      size_t size) {
    static const char *const what[] = {"INIT_DATA_SENT", "requests", "acknowledgements"};
    int count[3];
    counts_of(seen, count);
    if (!(e->outcomes & 1u << seen->outcome)) {
        (void)snprintf(why, size, "it %s", vfm_outcome_name(seen->outcome));
        return false;
    }
    for (size_t i = 0; i < 3; i++)
        if (!count_agrees(e, i, count[i])) {
            (void)snprintf(why, size, "%d %s", count[i], what[i]);
            return false;
        }
    /* Where it may complete as well, nothing is wrong then. */
    bool well = seen->outcome == VFM_COMPLETES && e->outcomes != 1u << VFM_COMPLETES;
    if (*e->text && !well && !strstr(seen->said, e->text)) {
        (void)snprintf(why, size, "nobody says '%s'", e->text);
        return false;
    }
    *why = 0;
    return true;
}

static size_t put_counts(char *out, size_t size, const int count[3], const bool at_least[3]) {
    size_t n = 0;
    for (size_t i = 0; i < 3; i++) {
        const char *slash = i ? "/" : " ";
        n += (size_t)(count[i] == VFM_UNKNOWN ? snprintf(out + n, size - n, "%s-", slash)
                                              : snprintf(out + n, size - n, "%s%d%s", slash,
                                                         count[i], at_least[i] ? "+" : ""));
    }
    return n;
}

void vfm_expect_text(const struct vfm_expect *e, char *out, size_t size) {
    size_t n = 0;
    if (!e->exists) {
        (void)snprintf(out, size, "none");
        return;
    }
    for (unsigned i = 0; i < VFM_OUTCOMES; i++)
        if (e->outcomes & 1u << i)
            n += (size_t)snprintf(out + n, size - n, "%s%s", n ? "," : "",
                                  vfm_outcome_name((enum vfm_outcome)i));
    if (*e->word)
        n += (size_t)snprintf(out + n, size - n, " %s", e->word);
    (void)put_counts(out + n, size - n, e->count, e->at_least);
}

void vfm_seen_text(const struct vfm_seen *seen, char *out, size_t size) {
    static const bool exact[3];
    int count[3];
    counts_of(seen, count);
    size_t n = (size_t)snprintf(out, size, "%s", vfm_outcome_name(seen->outcome));
    (void)put_counts(out + n, size - n, count, exact);
}
