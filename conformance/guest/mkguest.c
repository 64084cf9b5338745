// SPDX-License-Identifier: MIT
//
// mkguest: writes a boot image of the guest, or checks an image of its memory.
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check_guest.h"
#include "guest_image.h"

#ifndef VMS_VERSION
#define VMS_VERSION "unversioned"
#endif

enum {
    EXIT_BAD = 1,
    EXIT_USAGE = 2,
    EXIT_LOCAL = 3
};

static const char usage_text[] =
    "usage: mkguest [OPTION...] --output IMAGE     write a raw boot image\n"
    "       mkguest --check RAM                    check an image of guest memory from address 0\n"
    "\n"
    "  --output FILE     the image: -drive file=FILE,format=raw,if=ide, virtio-blk or -fda\n"
    "  --floppy          1.44 MB instead of 1 MiB\n"
    "  --region ADDR     guest-physical start of the region written (default 0x100000)\n"
    "  --pages N         its pages of 4 KiB (default 1024)\n"
    "  --rate N          pages written in a tick (default 64)\n"
    "  --verify N        pages the guest checks in a tick (default 64)\n"
    "  --tick MS         length of a tick and distance of heartbeats (default 100)\n"
    "  --seed N          seed of the pattern (default 1)\n"
    "  --mode MODE       sequential (default), random or window\n"
    "  --window N        pages in the moving window (default: all)\n"
    "  --gen-mask N      only words with (index & N) == 0 change between generations (default 0)\n"
    "  --run-shift N     2^N neighbouring words are alike (default 0)\n"
    "  --zero N          pages with (page + generation) % N == 0 become zero (default 0: never)\n"
    "  --prefill N       pages written before the first heartbeat (default: all)\n"
    "  --help, --version\n"
    "\n"
    "Exit status: 0 done, 1 the memory is bad, 2 wrong usage, 3 a local failure.\n";

struct request {
    struct vms_guest_params params;
    const char *output;
    const char *check;
    uint32_t size;
    bool window_given;
    bool prefill_given;
};

enum option_code {
    OPT_OUTPUT = 256,
    OPT_FLOPPY,
    OPT_CHECK,
    OPT_MODE,
    OPT_TICK,
    OPT_HELP,
    OPT_VERSION,
    OPT_REGION,
    OPT_PAGES,
    OPT_RATE,
    OPT_VERIFY,
    OPT_SEED,
    OPT_WINDOW,
    OPT_GEN_MASK,
    OPT_RUN_SHIFT,
    OPT_ZERO,
    OPT_PREFILL,
};

static const struct option options[] = {
    {"output", required_argument, NULL, OPT_OUTPUT},
    {"floppy", no_argument, NULL, OPT_FLOPPY},
    {"check", required_argument, NULL, OPT_CHECK},
    {"mode", required_argument, NULL, OPT_MODE},
    {"tick", required_argument, NULL, OPT_TICK},
    {"help", no_argument, NULL, OPT_HELP},
    {"version", no_argument, NULL, OPT_VERSION},
    {"region", required_argument, NULL, OPT_REGION},
    {"pages", required_argument, NULL, OPT_PAGES},
    {"rate", required_argument, NULL, OPT_RATE},
    {"verify", required_argument, NULL, OPT_VERIFY},
    {"seed", required_argument, NULL, OPT_SEED},
    {"window", required_argument, NULL, OPT_WINDOW},
    {"gen-mask", required_argument, NULL, OPT_GEN_MASK},
    {"run-shift", required_argument, NULL, OPT_RUN_SHIFT},
    {"zero", required_argument, NULL, OPT_ZERO},
    {"prefill", required_argument, NULL, OPT_PREFILL},
    {NULL, 0, NULL, 0},
};

static void wrong_usage(const char *what, const char *value) {
    fprintf(stderr, "mkguest: %s%s%s\n%s", what, value[0] != '\0' ? ": " : "", value, usage_text);
    exit(EXIT_USAGE);
}

static uint32_t number(const char *text) {
    char *end;
    unsigned long long value;

    errno = 0;
    value = strtoull(text, &end, 0);
    if (errno != 0 || end == text || *end != '\0' || text[0] == '-' || value > UINT32_MAX) {
        wrong_usage("not a number of 32 bits", text);
    }
    return (uint32_t)value;
}

static uint32_t mode_of(const char *name) {
    static const char *const names[] = {"sequential", "random", "window"};

    for (uint32_t i = 0; i < 3; i++) {
        if (strcmp(name, names[i]) == 0) {
            return i;
        }
    }
    wrong_usage("unknown mode", name);
    return 0;
}

// The options that are a number and nothing else.
static void set_number(struct request *request, int code, uint32_t value) {
    struct vms_guest_params *params = &request->params;
    uint32_t *const fields[] = {
        &params->region, &params->pages,   &params->pages_per_tick, &params->verify_per_tick,
        &params->seed,   &params->window,  &params->gen_mask,       &params->run_shift,
        &params->zero,   &params->prefill,
    };

    *fields[code - OPT_REGION] = value;
    request->window_given = request->window_given || code == OPT_WINDOW;
    request->prefill_given = request->prefill_given || code == OPT_PREFILL;
}

static void set_tick(struct request *request, uint32_t milliseconds) {
    uint64_t periods = (uint64_t)milliseconds * VMS_GUEST_PIT_HZ / 1000;

    request->params.tick = periods > UINT32_MAX ? 0 : (uint32_t)periods;
}

static void set_option(struct request *request, int code) {
    switch (code) {
    case OPT_OUTPUT: request->output = optarg; break;
    case OPT_FLOPPY: request->size = VMS_GUEST_FLOPPY_SIZE; break;
    case OPT_CHECK: request->check = optarg; break;
    case OPT_MODE: request->params.mode = mode_of(optarg); break;
    case OPT_TICK: set_tick(request, number(optarg)); break;
    case OPT_HELP: fputs(usage_text, stdout); exit(0);
    case OPT_VERSION: puts("mkguest (vmstream) " VMS_VERSION); exit(0);
    case '?': exit(EXIT_USAGE);
    default: set_number(request, code, number(optarg));
    }
}

static void parse(struct request *request, int argc, char **argv) {
    int code;

    vms_guest_defaults(&request->params);
    request->size = VMS_GUEST_DISK_SIZE;
    while ((code = getopt_long(argc, argv, "", options, NULL)) != -1) {
        set_option(request, code);
    }
    if (optind != argc) {
        wrong_usage("unexpected argument", argv[optind]);
    }
    if ((request->output == NULL) == (request->check == NULL)) {
        wrong_usage("one of --output and --check is needed", "");
    }
    if (!request->window_given) {
        request->params.window = request->params.pages;
    }
    if (!request->prefill_given) {
        request->params.prefill = request->params.pages;
    }
}

static int local_failure(const char *what, const char *path) {
    fprintf(stderr, "mkguest: %s: %s: %s\n", path, what, strerror(errno));
    return EXIT_LOCAL;
}

static int check_file(const char *path) {
    struct vms_guest_report report;
    struct stat info;
    void *ram;
    int status;
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0 || fstat(fd, &info) != 0) {
        return local_failure("cannot open", path);
    }
    if (info.st_size <= 0) {
        fprintf(stderr, "mkguest: %s: the image is empty\n", path);
        close(fd);
        return EXIT_BAD;
    }
    ram = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    close(fd);
    if (ram == MAP_FAILED) {
        return local_failure("cannot map", path);
    }
    status = vms_check_guest(ram, (size_t)info.st_size, &report);
    printf("%s: %s: %s\n", path, status == 0 ? "good" : "BAD", report.text);
    munmap(ram, (size_t)info.st_size);
    return status == 0 ? 0 : EXIT_BAD;
}

int main(int argc, char **argv) {
    struct request request = {0};
    const char *problem;

    parse(&request, argc, argv);
    if (request.check != NULL) {
        return check_file(request.check);
    }
    problem = vms_guest_write_image(request.output, &request.params, request.size);
    if (problem != NULL && errno != 0) {
        return local_failure(problem, request.output);
    }
    if (problem != NULL) {
        wrong_usage(problem, "");
    }
    return 0;
}
