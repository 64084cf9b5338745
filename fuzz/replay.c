/* SPDX-License-Identifier: MIT */
#include "fuzz.h"

#include <dirent.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

/*
 * usage: HARNESS FILE|FOLDER...
 * Runs a harness over files as they are: regressions and corpora under a sanitizer, without a
 * fuzzer. HARNESS --speed N FILE|FOLDER... runs all of them N times and prints execs a second;
 * HARNESS --seen OUT FILE|FOLDER... writes what was met (seen.h); HARNESS --limit MS FILE|FOLDER...
 * fails when one of them takes more CPU than that, twice.
 */
struct inputs {
    struct vms_slice *list;
    char **names;
    size_t count, cap;
};

static void add_file(struct inputs *in, const char *path) {
    FILE *f = fopen(path, "rb");
    if (!f) {
        perror(path);
        exit(2);
    }
    uint8_t *bytes = fuzz_memory(1 << 20);
    size_t n = fread(bytes, 1, 1 << 20, f);
    fclose(f);
    if (in->count == in->cap) {
        in->cap = in->cap ? 2 * in->cap : 64;
        in->list = realloc(in->list, in->cap * sizeof *in->list);
        in->names = realloc(in->names, in->cap * sizeof *in->names);
        if (!in->list || !in->names)
            abort();
    }
    in->names[in->count] = strdup(path);
    bytes = realloc(bytes, n ? n : 1); /* so that a read past the end is seen */
    in->list[in->count++] = vms_slice(bytes, n);
}

static void add(struct inputs *in, const char *path) {
    struct stat st;
    if (stat(path, &st) || !S_ISDIR(st.st_mode)) {
        add_file(in, path);
        return;
    }
    struct dirent **names;
    int n = scandir(path, &names, NULL, alphasort);
    for (int i = 0; i < n; i++) {
        char below[4096];
        if (names[i]->d_name[0] != '.') {
            snprintf(below, sizeof below, "%s/%s", path, names[i]->d_name);
            add(in, below);
        }
        free(names[i]);
    }
    if (n >= 0)
        free(names);
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Once may be a page fault; twice is the input. */
static int find_slow(const struct inputs *in, long ms) {
    int status = 0;
    for (size_t i = 0; i < in->count; i++) {
        double least = 1e9;
        for (int t = 0; t < 3 && least * 1000 > (double)ms; t++) {
            double begin = now();
            (void)LLVMFuzzerTestOneInput(in->list[i].ptr, in->list[i].len);
            least = now() - begin < least ? now() - begin : least;
        }
        if (least * 1000 > (double)ms) {
            fprintf(stderr, "%s takes %.0f ms\n", in->names[i], least * 1000);
            status = 1;
        }
    }
    return status;
}

static int write_seen(const char *path) {
    FILE *f = fopen(path, "w");
    if (!f) {
        perror(path);
        return 2;
    }
    fuzz_seen_print(f);
    return fclose(f) ? 2 : 0;
}

int main(int argc, char **argv) {
    static struct inputs in; /* not leaked at the end */
    const char *seen = NULL;
    long limit = 0;
    int first = 1;
    long times = 1;
    if (argc > 2 && strcmp(argv[1], "--speed") == 0) {
        times = strtol(argv[2], NULL, 10);
        first = 3;
    } else if (argc > 2 && strcmp(argv[1], "--limit") == 0) {
        limit = strtol(argv[2], NULL, 10);
        first = 3;
    } else if (argc > 2 && strcmp(argv[1], "--seen") == 0) {
        seen = argv[2];
        first = 3;
    }
    if (argc <= first) {
        fprintf(stderr, "usage: %s [--speed N | --seen OUT | --limit MS] FILE|FOLDER...\n",
                argv[0]);
        return 2;
    }
    for (int i = first; i < argc; i++)
        add(&in, argv[i]);
    if (limit) {
        printf("%zu inputs\n", in.count);
        return find_slow(&in, limit);
    }
    double begin = now();
    for (long t = 0; t < times; t++)
        for (size_t i = 0; i < in.count; i++)
            (void)LLVMFuzzerTestOneInput(in.list[i].ptr, in.list[i].len);
    double seconds = now() - begin;
    printf("%zu inputs", in.count);
    if (times > 1)
        printf(", %.0f execs a second of CPU", (double)times * (double)in.count / seconds);
    printf("\n");
    return seen ? write_seen(seen) : 0;
}
