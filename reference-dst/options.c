/* SPDX-License-Identifier: MIT */
#include "reference-dst/options.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <vmstream/vmstream.h>

static const char HELP[] =
    "Usage: reference-dst --listen URI [OPTION]...\n"
    "Receives one migration from a QEMU (or from reference-src), proves that it is well formed, "
    "and\n"
    "keeps the guest's memory.\n"
    "\n"
    "  --listen URI            unix:PATH, tcp:HOST:PORT, tls:HOST:PORT, fd:N, exec:CMD, file:PATH\n"
    "  --ram-dir DIR           write each RAM block to DIR/NAME (default: memory only)\n"
    "  --report FILE           write what happened as JSON\n"
    "  --dialect D             what the wire does not say, such as 7.2 or qemu=9.0,vmdesc=off\n"
    "  --machine NAME          accept this machine type only\n"
    "  --multifd-channels N    expect N multifd channels (default: those that connect in time)\n"
    "  --tls-creds DIR         TLS with certificates, file names as QEMU's tls-creds-x509\n"
    "  --psk FILE              TLS with a pre-shared key, as QEMU's tls-creds-psk\n"
    "  --no-verify-peer        TLS: take clients without a certificate\n"
    "  --max-ram BYTES         refuse guests with more memory (suffixes K, M, G, T)\n"
    "  --limit NAME=VALUE      change a limit; --limit help lists them\n"
    "  --timeout SECONDS       give up on a silent peer (default 300; 0: never)\n"
    "  --quiet                 print errors only\n"
    "  --help, --version\n"
    "\n"
    "Exit status: 0 completed, 1 the stream or the peer was bad, 2 wrong usage, 3 local failure.\n";

enum option_id {
    O_LISTEN = 256,
    O_RAM_DIR,
    O_REPORT,
    O_DIALECT,
    O_MACHINE,
    O_MULTIFD,
    O_TLS_CREDS,
    O_PSK,
    O_NO_VERIFY,
    O_MAX_RAM,
    O_LIMIT,
    O_TIMEOUT,
    O_QUIET,
    O_HELP,
    O_VERSION,
};

static const struct option OPTIONS[] = {
    {"listen", required_argument, NULL, O_LISTEN},
    {"ram-dir", required_argument, NULL, O_RAM_DIR},
    {"report", required_argument, NULL, O_REPORT},
    {"dialect", required_argument, NULL, O_DIALECT},
    {"machine", required_argument, NULL, O_MACHINE},
    {"multifd-channels", required_argument, NULL, O_MULTIFD},
    {"tls-creds", required_argument, NULL, O_TLS_CREDS},
    {"psk", required_argument, NULL, O_PSK},
    {"no-verify-peer", no_argument, NULL, O_NO_VERIFY},
    {"max-ram", required_argument, NULL, O_MAX_RAM},
    {"limit", required_argument, NULL, O_LIMIT},
    {"timeout", required_argument, NULL, O_TIMEOUT},
    {"quiet", no_argument, NULL, O_QUIET},
    {"help", no_argument, NULL, O_HELP},
    {"version", no_argument, NULL, O_VERSION},
    {NULL, 0, NULL, 0},
};

static int usage(const char *what, const char *value) {
    fprintf(stderr, "reference-dst: %s%s%s; try --help\n", what, value ? ": " : "",
            value ? value : "");
    return 2;
}

/* A number with an optional suffix, at most max. */
static bool parse_number(const char *text, uint64_t max, uint64_t *out) {
    static const char suffixes[] = "KMGT";
    char *end;
    errno = 0;
    unsigned long long n = strtoull(text, &end, 0);
    if (errno || end == text || *text == '-')
        return false;
    const char *suffix = *end ? strchr(suffixes, *end & ~0x20) : NULL;
    unsigned shift = suffix ? 10 * (unsigned)(suffix - suffixes + 1) : 0;
    if ((*end && (!suffix || end[1])) || n > UINT64_MAX >> shift)
        return false;
    *out = (uint64_t)n << shift;
    return *out <= max;
}

static int list_limits(void) {
#define VMS_LIMIT(name, value, unit, text)                                                         \
    printf("%-22s %14llu %-9s %s\n", #name, (unsigned long long)(value), unit, text);
#include <vmstream/registry/limits.def>
#undef VMS_LIMIT
    return 0;
}

static int parse_limit(char *text, struct vms_limits *limits) {
    char *value = strchr(text, '=');
    if (strcmp(text, "help") == 0)
        return list_limits();
    if (!value)
        return usage("--limit wants NAME=VALUE", text);
    *value++ = 0;
#define VMS_LIMIT(name, default_, unit, what)                                                      \
    if (strcmp(text, #name) == 0)                                                                  \
        return parse_number(value, UINT32_MAX * UINT64_C(65536), &limits->name)                    \
                   ? -1                                                                            \
                   : usage("bad limit", value);
#include <vmstream/registry/limits.def>
#undef VMS_LIMIT
    return usage("no such limit", text);
}

static int parse_dialect(const char *text, struct vms_dialect *dialect) {
    struct vms_error err;
    if (vms_dialect_parse(vms_str(text), dialect, &err) == VMS_OK)
        return -1;
    return usage(err.message, NULL);
}

static int parse_counts(int option, const char *text, struct dst_options *o) {
    uint64_t n;
    if (!parse_number(text, option == O_MAX_RAM ? UINT64_MAX : 1000000, &n))
        return usage("bad number", text);
    if (option == O_MAX_RAM)
        o->max_ram = n;
    if (option == O_TIMEOUT)
        o->timeout_ms = n ? (int)n * 1000 : -1;
    if (option == O_MULTIFD) {
        if (n > 255)
            return usage("at most 255 multifd channels", text);
        o->multifd_channels = (int)n;
    }
    return -1;
}

static int take(int option, char *value, struct dst_options *o) {
    switch (option) {
    case O_LISTEN: o->listen = value; return -1;
    case O_RAM_DIR: o->ram_dir = value; return -1;
    case O_REPORT: o->report = value; return -1;
    case O_MACHINE: o->machine = value; return -1;
    case O_TLS_CREDS: o->tls_creds = value; return -1;
    case O_PSK: o->psk = value; return -1;
    case O_NO_VERIFY: o->no_verify_peer = true; return -1;
    case O_QUIET: o->quiet = true; return -1;
    case O_DIALECT: return parse_dialect(value, &o->dialect);
    case O_LIMIT: return parse_limit(value, &o->limits);
    case O_MAX_RAM:
    case O_TIMEOUT:
    case O_MULTIFD: return parse_counts(option, value, o);
    case O_HELP: fputs(HELP, stdout); return 0;
    case O_VERSION: puts("reference-dst " VMSTREAM_VERSION); return 0;
    default: return usage("unknown option", NULL);
    }
}

int dst_options_parse(int argc, char **argv, struct dst_options *o) {
    *o = (struct dst_options){
        .limits = vms_limits_default(), .multifd_channels = -1, .timeout_ms = 300000};
    for (int option; (option = getopt_long(argc, argv, "", OPTIONS, NULL)) != -1;) {
        int status = take(option, optarg, o);
        if (status >= 0)
            return status;
    }
    if (optind < argc)
        return usage("unexpected argument", argv[optind]);
    if (!o->listen)
        return usage("--listen URI is missing", NULL);
    if (o->tls_creds && o->psk)
        return usage("--tls-creds and --psk exclude each other", NULL);
    return -1;
}
