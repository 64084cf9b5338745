/* SPDX-License-Identifier: MIT */
#include "conformance/qevm/trace.h"
#include "conformance/vectors/vectors.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const char *folder(void) {
    const char *path = getenv("VMS_VECTORS");
    return path ? path : "conformance/vectors";
}

static char *slurp(const char *dir, const char *name) {
    char path[512];
    snprintf(path, sizeof path, "%s/%s.json", dir, name);
    FILE *f = fopen(path, "r");
    cr_assert_not_null(f, "%s", path);
    struct text t = {0};
    char buffer[4096];
    for (size_t n; (n = fread(buffer, 1, sizeof buffer, f)) > 0;)
        text_add(&t, buffer, n);
    fclose(f);
    return t.ptr;
}

/* The files in the tree are what the generator makes now. */
Test(vectors, regenerate) {
    char dir[] = "/tmp/vmstream-vectors-XXXXXX";
    char path[512];
    cr_assert_not_null(mkdtemp(dir));
    cr_assert_eq(write_vectors(dir), 0);
    for (unsigned i = 0; i < AREA_COUNT; i++) {
        struct area area = area_make(i);
        char *fresh = slurp(dir, area.name), *kept = slurp(folder(), area.name);
        cr_expect(strcmp(fresh, kept) == 0, "%s.json is stale: make vectors", area.name);
        snprintf(path, sizeof path, "%s/%s.json", dir, area.name);
        unlink(path);
        area_free(&area);
        free(fresh);
        free(kept);
    }
    rmdir(dir);
}

/* Cases, their quotations and the manifest follow from the vectors, the dialogues and the clauses:
 * bit for bit. A changed clause names its cases. */
Test(vectors, cases_are_fresh) {
    cr_expect_eq(system("conformance/cases/generate --check"), 0, "conformance/cases/generate");
    cr_expect_eq(system("conformance/clauses --cases"), 0);
}

/* The vectors are of use to who has nothing of ours. */
Test(vectors, foreign_reader) {
    cr_expect_eq(system("conformance/vectors/example.py"), 0);
}
