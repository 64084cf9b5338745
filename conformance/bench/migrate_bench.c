/* SPDX-License-Identifier: MIT */
/*
 * Whole migrations between real processes, ours beside stock QEMU's, and beside a bare copy through
 * the same kind of socket. Ways take turns, round by round. `migrate-bench --help` has the options.
 */
#include "conformance/bench/native_bench.h"
#include "conformance/bench/results.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>
#include <vmstream/vmstream.h>

static const char HELP[] =
    "Usage: migrate-bench [OPTION]... SUITE...\n"
    "Suites: whole, dirty, size, channels, postcopy, digest, delta.\n"
    "\n"
    "  --build DIR     where reference-src and reference-dst are (default: beside this program)\n"
    "  --rounds N      of each way (default 9)\n"
    "  --size MIB      of guest memory (default 2048); suites dirty, size,\n"
    "                  channels and postcopy have their own\n"
    "  --at MIB        ways with so much guest memory only\n"
    "  --only TEXT     ways whose name has TEXT, or =NAME, and the floor; again: others too\n"
    "  --place NAME    unix, tcp or link only\n"
    "  --seconds N     no further round begins after N seconds\n"
    "  --lines FILE    append a line of JSON for each run\n"
    "  --html FILE     a page with plots\n"
    "  --list          the ways, and end\n"
    "\n"
    "The machine needs twice the guest's memory and 2 GiB: 6 for whole, digest and delta,\n"
    "3 for dirty and postcopy, 4 for channels, 2.5 to 18 for size. Ways that do not fit\n"
    "are skipped, and said to be.\n";

enum {
    ONLY_MAX = 16,
};

struct options {
    const char *build, *lines, *html, *only[ONLY_MAX];
    char beside[512];
    size_t only_count;
    int rounds, place;
    uint64_t bytes, at;
    bool list;
};

static const struct option OPTIONS[] = {
    {"build", 1, NULL, 'b'}, {"rounds", 1, NULL, 'r'}, {"size", 1, NULL, 's'},
    {"only", 1, NULL, 'o'},  {"place", 1, NULL, 'p'},  {"seconds", 1, NULL, 't'},
    {"at", 1, NULL, 'a'},    {"lines", 1, NULL, 'l'},  {"html", 1, NULL, 'w'},
    {"list", 0, NULL, 'i'},  {"help", 0, NULL, 'h'},   {NULL, 0, NULL, 0},
};

static int place_of(const char *text) {
    static const char *const names[PLACE_COUNT] = {"unix", "tcp", "link"};
    for (int i = 0; i < PLACE_COUNT; i++)
        if (strcmp(text, names[i]) == 0)
            return i;
    return -1;
}

static bool take(struct options *o, int option) {
    switch (option) {
    case 'b': o->build = optarg; return true;
    case 'r': o->rounds = atoi(optarg); return o->rounds > 0 && o->rounds <= ROUNDS_MAX;
    case 's': o->bytes = strtoull(optarg, NULL, 10) << 20; return o->bytes >= IMAGE_STRIPE;
    case 'a': o->at = strtoull(optarg, NULL, 10) << 20; return o->at > 0;
    case 'o': return o->only_count < ONLY_MAX && (o->only[o->only_count++] = optarg);
    case 'p': return (o->place = place_of(optarg)) >= 0;
    case 't': return setenv("BENCH_SECONDS", optarg, 1) == 0;
    case 'l': o->lines = optarg; return true;
    case 'w': o->html = optarg; return true;
    case 'i': o->list = true; return true;
    default: return false;
    }
}

static void find_build(struct options *o) {
    ssize_t n = readlink("/proc/self/exe", o->beside, sizeof o->beside - 1);
    char *slash = n > 0 ? strrchr(o->beside, '/') : NULL;
    if (slash)
        *slash = 0;
    o->build = slash ? o->beside : ".";
}

/* -1: go on. */
static int parse(int argc, char **argv, struct options *o, struct rows *rows) {
    int option;
    *o = (struct options){.rounds = 9, .place = -1, .bytes = UINT64_C(2048) << 20};
    find_build(o);
    while ((option = getopt_long(argc, argv, "", OPTIONS, NULL)) != -1) {
        if (option == 'h') {
            fputs(HELP, stdout);
            return 0;
        }
        if (!take(o, option))
            return 2;
    }
    for (; optind < argc; optind++)
        if (!cases_add(rows, argv[optind], o->bytes)) {
            fprintf(stderr, "migrate-bench: no suite %s; try --help\n", argv[optind]);
            return 2;
        }
    if (rows->count == 0)
        fputs("migrate-bench: which suite? try --help\n", stderr);
    return rows->count ? -1 : 2;
}

static bool wanted(const struct options *o, const struct row *r) {
    if ((o->place >= 0 && r->place != (enum place)o->place) || (o->at && r->bytes != o->at))
        return false;
    for (size_t i = 0; i < o->only_count; i++)
        if (o->only[i][0] == '=' ? strcmp(r->name, o->only[i] + 1) == 0
                                 : strstr(r->name, o->only[i]) != NULL)
            return true;
    return o->only_count == 0 || r->kind == ROW_FLOOR;
}

static void select_rows(const struct options *o, struct rows *rows) {
    size_t kept = 0;
    for (size_t i = 0; i < rows->count; i++)
        if (wanted(o, &rows->list[i]))
            rows->list[kept++] = rows->list[i];
    rows->count = kept;
}

/* ---- runs ---- */

static volatile sig_atomic_t stopped; /* what was measured is told, and files go away */

static void stop(int number) {
    (void)number;
    stopped = 1;
}

/* A guest that writes is followed by pages of 4 KiB, and faults are of the size that they say. */
static bool row_in_pool(const struct row *r) {
    return strcmp(r->suite, "whole") == 0 || strcmp(r->suite, "size") == 0 ||
           strcmp(r->suite, "channels") == 0;
}

/* A floor and a QEMU without a guest of ours map it. */
static bool row_reads_image(const struct row *r) {
    return r->kind == ROW_FLOOR || (r->kind == ROW_QEMU && r->qemu.pages_per_s == 0);
}

static int prepare(struct rig *rig, const struct row *r) {
    rig->lacks = false;
    rig_alone(false);
    if (rig_have(rig, r->place) != 0 || rig_size(rig, r->bytes, row_in_pool(r)) != 0)
        return -1;
    return rig_image(rig, row_reads_image(r));
}

static int run_row(struct rig *rig, struct row *r, struct measured *out) {
    rig_alone(row_in_pool(r));
    rig_warm(rig);
    switch (r->kind) {
    case ROW_FLOOR: return run_floor(rig, r->place, out);
    case ROW_OURS: return run_ours(rig, &r->ours, r->place, out);
    case ROW_QEMU: return run_qemu(rig, &r->qemu, r->place, out);
    case ROW_QEMU_POSTCOPY: return run_qemu_postcopy(rig, &r->qemu_postcopy, r->place, out);
    }
    return -1;
}

static void measure(struct rig *rig, struct row *r, int round, FILE *lines) {
    if (r->failures >= 2 || stopped)
        return;
    int rc = prepare(rig, r);
    if (stopped)
        return;
    if (rc == 0)
        rc = run_row(rig, r, &r->series.runs[round]);
    r->series.done[round] = rc == 0;
    r->skipped = rc != 0 && rig->lacks;
    r->failures = rc == 0 ? 0 : r->failures + 1;
    if (rc != 0)
        (void)snprintf(r->error, sizeof r->error, "%s", rig->error);
    if (isatty(STDERR_FILENO))
        fprintf(stderr, "\r\033[Kround %d: %s, %s: %s", round + 1, r->name, place_name(r->place),
                rc == 0 ? "done" : trouble(r));
    if (lines)
        write_line(lines, r, round);
}

/* Rows of one suite and size take turns. */
static void measure_all(struct rig *rig, struct rows *rows, int rounds, FILE *lines) {
    size_t end;
    (void)bench_time_is_up();
    for (size_t i = 0; i < rows->count; i = end) {
        const struct row *first = &rows->list[i];
        for (end = i; end < rows->count && rows->list[end].bytes == first->bytes &&
                      strcmp(rows->list[end].suite, first->suite) == 0;)
            end++;
        for (int round = 0; round < rounds && !(round > 0 && bench_time_is_up()); round++)
            for (size_t k = i; k < end; k++)
                measure(rig, &rows->list[k], round, lines);
    }
    if (isatty(STDERR_FILENO))
        fputs("\r\033[K", stderr);
}

/* ---- where ---- */

static void first_line(const char *path, const char *key, char *out, size_t size) {
    char line[512];
    FILE *f = fopen(path, "re");
    out[0] = 0;
    while (f && !out[0] && fgets(line, sizeof line, f))
        if (strncmp(line, key, strlen(key)) == 0)
            (void)snprintf(out, size, "%.*s", (int)strcspn(line, "\n"), line);
    if (f)
        (void)fclose(f);
}

static void environment(char text[5][256], const char *list[6]) {
    struct utsname u;
    struct vms_peer peer;
    char line[200];
    (void)uname(&u);
    first_line("/proc/cpuinfo", "model name", line, sizeof line);
    const char *model = strchr(line, ':');
    (void)snprintf(text[0], 256, "%s, %ld online", model ? model + 2 : "cpu?",
                   sysconf(_SC_NPROCESSORS_ONLN));
    first_line("/proc/sys/net/ipv4/tcp_congestion_control", "", line, sizeof line);
    (void)snprintf(text[1], 256, "%s %s, TCP with %s where nobody chooses", u.sysname, u.release,
                   line);
    first_line("/proc/loadavg", "", line, sizeof line);
    (void)snprintf(text[2], 256, "load %s", line);
    (void)snprintf(text[3], 256, "QEMU %s",
                   vms_peer_find("11.1", &peer) ? peer.package : "11.1 absent: make peers");
    (void)snprintf(text[4], 256, "vmstream " VMSTREAM_VERSION);
    for (int i = 0; i < 5; i++)
        list[i] = text[i];
    list[5] = NULL;
}

static int report(const struct options *o, const struct rows *rows) {
    char text[5][256];
    const char *where[6];
    bool ok = true;
    environment(text, where);
    for (int i = 0; where[i]; i++)
        printf("%s\n", where[i]);
    print_results(rows);
    if (o->html) {
        json_t *document = results_document(rows, where);
        if (write_page(o->html, document) != 0) {
            fprintf(stderr, "migrate-bench: %s: %s\n", o->html, strerror(errno));
            ok = false;
        }
        json_decref(document);
    }
    for (size_t i = 0; i < rows->count; i++)
        ok &= !rows->list[i].error[0] || rows->list[i].skipped;
    return ok ? 0 : 1;
}

static int list_rows(const struct rows *rows) {
    for (size_t i = 0; i < rows->count; i++)
        printf("%-9s %-9s %5.2f GiB  %s\n", rows->list[i].suite, place_name(rows->list[i].place),
               (double)rows->list[i].bytes / (1 << 30), rows->list[i].name);
    return 0;
}

static struct rig rig;

/* However the program ends but by SIGKILL: huge pages and files would stay. */
static void put_away(void) {
    rig_close(&rig);
}

int main(int argc, char **argv) {
#ifdef BENCH_SANITIZED
    fprintf(stderr, "migrate-bench: not with a sanitizer\n");
    return 2;
#endif
    static struct rows rows;
    struct options options;
    int rc = parse(argc, argv, &options, &rows);
    if (rc >= 0)
        return rc;
    select_rows(&options, &rows);
    if (options.list)
        return list_rows(&rows);
    FILE *lines = options.lines ? fopen(options.lines, "ae") : NULL;
    if ((options.lines && !lines) || rig_open(&rig, options.build) != 0) {
        fprintf(stderr, "migrate-bench: %s\n", lines || !options.lines ? rig.error : "--lines");
        return 3;
    }
    (void)signal(SIGPIPE, SIG_IGN);
    (void)signal(SIGINT, stop);
    (void)signal(SIGTERM, stop);
    (void)atexit(put_away);
    measure_all(&rig, &rows, options.rounds, lines);
    rc = report(&options, &rows);
    if (lines)
        (void)fclose(lines);
    return rc;
}
