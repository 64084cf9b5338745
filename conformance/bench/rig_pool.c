/* SPDX-License-Identifier: MIT */
#include "conformance/bench/rig.h"

#include <stdio.h>

/* Pages of 2 MiB that the kernel keeps for those who ask for such. */

#define POOL "/sys/kernel/mm/hugepages/hugepages-2048kB/"

static long pool_read(const char *path) {
    long value = 0;
    FILE *f = fopen(path, "re");
    if (f && fscanf(f, "%ld", &value) != 1)
        value = 0;
    if (f)
        (void)fclose(f);
    return value;
}

/* Returns by how many the pool has become larger: the kernel keeps as many as it can. */
static long pool_add(long pages) {
    long before = pool_read(POOL "nr_hugepages"), want = before + pages;
    FILE *f = pages != 0 ? fopen(POOL "nr_hugepages", "we") : NULL;
    if (f) {
        (void)fprintf(f, "%ld\n", want > 0 ? want : 0);
        (void)fclose(f);
    }
    return pool_read(POOL "nr_hugepages") - before;
}

static long free_pages(void) {
    return pool_read(POOL "free_hugepages") - pool_read(POOL "resv_hugepages");
}

long rig_huge_free(void) {
    return free_pages() * 2;
}

int rig_huge(struct rig *r, long mib) {
    long want = (mib + 1) / 2, there = free_pages();
    if (there < want)
        r->huge += pool_add(want - there);
    there = free_pages();
    return there >= want ? 0 : rig_fail(r, "%ld huge pages wanted, %ld free", want, there);
}

/* Not what it was: others may have changed it too. */
void rig_huge_back(struct rig *r) {
    (void)pool_add(-r->huge);
    r->huge = 0;
}
