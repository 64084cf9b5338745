/* SPDX-License-Identifier: MIT */
#include "host/vdpa_iova.h"

#include <stdlib.h>

/*
 * A node is in two treaps at once: by IOVA, where each subtree knows its bounds and its widest gap,
 * so that the lowest place that is wide enough is found on one way down; and by memory.
 */
enum tree {
    BY_IOVA,
    BY_MEMORY,
};

struct node {
    uint64_t start[2], last[2]; /* by tree, both included */
    struct node *kid[2][2];     /* by tree: left, right */
    uint32_t rank;              /* random: a parent's is not less than its child's */
    uint64_t low, high, gap;    /* of the subtree by IOVA: bounds; widest gap inside, bytes */
};

struct vms_vdpa_iova {
    uint64_t first, last;
    struct node *root[2];
    size_t count;
    uint32_t seed;
};

static uint32_t next_rank(struct vms_vdpa_iova *t) { /* xorshift: only the shape depends on it */
    t->seed ^= t->seed << 13;
    t->seed ^= t->seed >> 17;
    return t->seed ^= t->seed << 5;
}

static uint64_t max(uint64_t a, uint64_t b) {
    return a > b ? a : b;
}

static void pull(struct node *n, enum tree k) {
    const struct node *l = n->kid[k][0], *r = n->kid[k][1];
    if (k != BY_IOVA)
        return;
    n->low = l ? l->low : n->start[k];
    n->high = r ? r->high : n->last[k];
    n->gap = 0;
    if (l)
        n->gap = max(l->gap, n->start[k] - l->high - 1);
    if (r)
        n->gap = max(n->gap, max(r->gap, r->low - n->last[k] - 1));
}

/* left: what begins before key. */
static void split(struct node *n, enum tree k, uint64_t key, struct node **left,
                  struct node **right) {
    if (!n) {
        *left = *right = NULL;
        return;
    }
    if (n->start[k] < key) {
        split(n->kid[k][1], k, key, &n->kid[k][1], right);
        *left = n;
    } else {
        split(n->kid[k][0], k, key, left, &n->kid[k][0]);
        *right = n;
    }
    pull(n, k);
}

static struct node *merge(struct node *left, struct node *right, enum tree k) {
    if (!left || !right)
        return left ? left : right;
    struct node *top = left->rank >= right->rank ? left : right;
    if (top == left)
        left->kid[k][1] = merge(left->kid[k][1], right, k);
    else
        right->kid[k][0] = merge(left, right->kid[k][0], k);
    pull(top, k);
    return top;
}

/** The last one that begins at or before key. */
static struct node *at_or_before(const struct vms_vdpa_iova *t, enum tree k, uint64_t key) {
    struct node *n = t->root[k], *best = NULL;
    while (n) {
        bool good = n->start[k] <= key;
        best = good ? n : best;
        n = n->kid[k][good];
    }
    return best;
}

static bool taken(const struct vms_vdpa_iova *t, enum tree k, uint64_t start, uint64_t last) {
    const struct node *n = at_or_before(t, k, last);
    return n && n->last[k] >= start;
}

static enum vms_code refuse(uint64_t iova, uint64_t length, const char *why,
                            struct vms_error *err) {
    return vms_error_set(err, VMS_E_VDPA_ADDRESSES, "0x%llx bytes at 0x%llx: %s",
                         (unsigned long long)length, (unsigned long long)iova, why);
}

enum vms_code vms_vdpa_iova_insert(struct vms_vdpa_iova *t, uint64_t iova, const void *memory,
                                   uint64_t length, struct vms_error *err) {
    const uint64_t start[2] = {iova, (uint64_t)(uintptr_t)memory};
    if (length == 0 || iova + (length - 1) < iova || start[1] + (length - 1) < start[1] ||
        iova < t->first || iova + (length - 1) > t->last)
        return refuse(iova, length, "outside of the device's addresses", err);
    if (taken(t, BY_IOVA, iova, iova + (length - 1)))
        return refuse(iova, length, "the place is taken", err);
    if (taken(t, BY_MEMORY, start[1], start[1] + (length - 1)))
        return refuse(iova, length, "the memory has a place already", err);
    struct node *n = calloc(1, sizeof *n);
    if (!n)
        return vms_error_set(err, VMS_E_NO_MEMORY, NULL);
    n->rank = next_rank(t);
    for (enum tree k = BY_IOVA; k <= BY_MEMORY; k++) {
        struct node *left, *right;
        n->start[k] = start[k];
        n->last[k] = start[k] + (length - 1);
        pull(n, k);
        split(t->root[k], k, start[k], &left, &right);
        t->root[k] = merge(merge(left, n, k), right, k);
    }
    t->count++;
    return VMS_OK;
}

/** Whether length bytes at a multiple of align lie in [low, high]; *out: the lowest place. */
static bool fits(uint64_t low, uint64_t high, uint64_t length, uint64_t align, uint64_t *out) {
    uint64_t at = (low + (align - 1)) & ~(align - 1);
    *out = at;
    return at >= low && at <= high && high - at >= length - 1;
}

/*
 * The lowest place in [low, high] that the subtree leaves free. A gap that is wide enough but for
 * align may be looked at in vain; places here are aligned to pages, as all that is in the tree is.
 */
static bool lowest(const struct node *n, uint64_t low, uint64_t high, uint64_t length,
                   uint64_t align, uint64_t *out) {
    if (!n)
        return fits(low, high, length, align, out);
    uint64_t before = n->low > low ? n->low - low : 0, after = high > n->high ? high - n->high : 0;
    if (max(n->gap, max(before, after)) < length)
        return false;
    const uint64_t start = n->start[BY_IOVA], last = n->last[BY_IOVA];
    if (start > low && lowest(n->kid[BY_IOVA][0], low, start - 1, length, align, out))
        return true;
    return last < high && lowest(n->kid[BY_IOVA][1], last + 1, high, length, align, out);
}

enum vms_code vms_vdpa_iova_alloc(struct vms_vdpa_iova *t, const void *memory, uint64_t length,
                                  uint64_t align, uint64_t *iova, struct vms_error *err) {
    uint64_t first = t->first ? t->first : align;
    if (length == 0 || !lowest(t->root[BY_IOVA], first, t->last, length, align, iova))
        return refuse(first, length, "no room for them", err);
    return vms_vdpa_iova_insert(t, *iova, memory, length, err);
}

bool vms_vdpa_iova_remove(struct vms_vdpa_iova *t, uint64_t iova) {
    struct node *n = at_or_before(t, BY_IOVA, iova);
    if (!n || n->start[BY_IOVA] != iova)
        return false;
    for (enum tree k = BY_IOVA; k <= BY_MEMORY; k++) {
        struct node *left, *middle, *right;
        split(t->root[k], k, n->start[k], &left, &middle);
        split(middle, k, n->start[k] + 1, &middle, &right);
        t->root[k] = merge(left, right, k);
    }
    free(n);
    t->count--;
    return true;
}

bool vms_vdpa_iova_find(const struct vms_vdpa_iova *t, const void *memory, uint64_t *iova,
                        uint64_t *length) {
    const uint64_t address = (uint64_t)(uintptr_t)memory;
    const struct node *n = at_or_before(t, BY_MEMORY, address);
    if (!n || n->last[BY_MEMORY] < address)
        return false;
    *iova = n->start[BY_IOVA] + (address - n->start[BY_MEMORY]);
    *length = n->last[BY_MEMORY] - address + 1;
    return true;
}

size_t vms_vdpa_iova_count(const struct vms_vdpa_iova *tree) {
    return tree->count;
}

struct vms_vdpa_iova *vms_vdpa_iova_new(uint64_t first, uint64_t last) {
    struct vms_vdpa_iova *t = calloc(1, sizeof *t);
    if (t)
        *t = (struct vms_vdpa_iova){.first = first, .last = last, .seed = 2463534242u};
    return t;
}

void vms_vdpa_iova_free(struct vms_vdpa_iova *t) {
    while (t && t->root[BY_IOVA])
        (void)vms_vdpa_iova_remove(t, t->root[BY_IOVA]->start[BY_IOVA]);
    free(t);
}
