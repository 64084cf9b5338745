/* SPDX-License-Identifier: MIT */
#include "host/arguments.h"
#include "tool/relay.h"
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char HELP[] =
    "Usage: vmstream relay --listen URI --connect URI [OPTION]...\n"
    "Carries a live migration between two hosts, sealed, compressed and resumable:\n"
    "QEMU -> relay (--connect-wire native) => relay (--listen-wire native) -> QEMU.\n\n"
    "      --listen URI           where the source's side connects to\n"
    "      --connect URI          where the destination's side listens\n"
    "                             URI: unix:PATH, tcp:HOST:PORT, tls:HOST:PORT\n"
    "      --listen-wire WIRE     qevm (QEMU's own, the default) or native\n"
    "      --connect-wire WIRE    native (the default) or qevm; qevm on\n"
    "                             both sides: octets pass through, checked\n"
    "      --psk FILE             keys that seal the link, IDENTITY:HEXKEY a line\n"
    "      --identity NAME        which of them to use; the first by default\n"
    "      --tls-creds DIR        certificates for tls:, with QEMU's file names\n"
    "      --seal SUITE           gcm, chacha20, gmac or none; any but none where there is a key\n"
    "      --pack zstd[:LEVEL]    compress what is not; level -7 to 19, 1 by default\n"
    "      --resume-timeout S     how long a cut link is waited for, 60 s; 0: not at all\n"
    "      --replay-bytes N       kept for a resumption at most, 64 MiB\n"
    "      --keepalive S          longest silence of this end, 10 s\n"
    "      --wait S               for a migration to begin; for ever by default\n"
    "      --report FILE          JSON: what passed, and how it ended\n"
    "  -D, --dialect D            what the stream does not tell: 7.2 or qemu=11.1,...\n"
    "  -q, --quiet                print errors only\n\n"
    "Exit status: 0 done, 1 a bad stream or peer, 2 wrong usage, 3 local failure.\n";

void relay_help(void) {
    fputs(HELP, stdout);
}

enum {
    OPT_LISTEN = 256,
    OPT_CONNECT,
    OPT_LISTEN_WIRE,
    OPT_CONNECT_WIRE,
    OPT_PSK,
    OPT_IDENTITY,
    OPT_TLS,
    OPT_SEAL,
    OPT_PACK,
    OPT_RESUME,
    OPT_REPLAY,
    OPT_KEEPALIVE,
    OPT_WAIT,
    OPT_REPORT,
    LEVEL_MIN = -7,
    LEVEL_MAX = 19,
    SECONDS_MAX = 2000000,
};

static const struct option LONG_OPTIONS[] = {
    {"listen", required_argument, NULL, OPT_LISTEN},
    {"connect", required_argument, NULL, OPT_CONNECT},
    {"listen-wire", required_argument, NULL, OPT_LISTEN_WIRE},
    {"connect-wire", required_argument, NULL, OPT_CONNECT_WIRE},
    {"psk", required_argument, NULL, OPT_PSK},
    {"identity", required_argument, NULL, OPT_IDENTITY},
    {"tls-creds", required_argument, NULL, OPT_TLS},
    {"seal", required_argument, NULL, OPT_SEAL},
    {"pack", required_argument, NULL, OPT_PACK},
    {"resume-timeout", required_argument, NULL, OPT_RESUME},
    {"replay-bytes", required_argument, NULL, OPT_REPLAY},
    {"keepalive", required_argument, NULL, OPT_KEEPALIVE},
    {"wait", required_argument, NULL, OPT_WAIT},
    {"report", required_argument, NULL, OPT_REPORT},
    {"dialect", required_argument, NULL, 'D'},
    {"quiet", no_argument, NULL, 'q'},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

static int read_wire(const char *text, enum relay_wire *out) {
    if (strcmp(text, "qevm") != 0 && strcmp(text, "native") != 0)
        return tool_usage("relay: no wire '%s': qevm or native", text);
    *out = strcmp(text, "native") == 0 ? RELAY_NATIVE : RELAY_QEVM;
    return TOOL_DONE;
}

static int read_seconds(const char *text, int *ms) {
    char *end;
    errno = 0;
    double s = strtod(text, &end);
    if (errno || end == text || *end || !(s >= 0 && s <= SECONDS_MAX))
        return tool_usage("relay: '%s' is no number of seconds", text);
    *ms = (int)(s * 1000);
    return TOOL_DONE;
}

static int read_bytes(const char *text, uint64_t *out) {
    if (!vms_argument_number(text, UINT64_C(1) << 48, out))
        return tool_usage("relay: '%s' is no number of bytes: N, Nk, NM or NG", text);
    return TOOL_DONE;
}

static int read_pack(struct relay_options *o, const char *text) {
    char *end = NULL;
    if (strcmp(text, "none") == 0)
        return TOOL_DONE;
    long level = strncmp(text, "zstd:", 5) == 0 ? strtol(text + 5, &end, 10) : 1;
    bool good = end ? end != text + 5 && !*end : strcmp(text, "zstd") == 0;
    if (!good || level < LEVEL_MIN || level > LEVEL_MAX || level == VMS_LEVEL_NONE)
        return tool_usage("relay --pack %s: want zstd or zstd:LEVEL, %d to %d", text, LEVEL_MIN,
                          LEVEL_MAX);
    o->level = (int)level;
    return TOOL_DONE;
}

static int read_seal(struct relay_options *o, const char *text) {
    enum vms_suite suite;
    if (!vms_suite_parse(vms_str(text), &suite))
        return tool_usage("relay --seal %s: the suites are none, gmac, gcm and chacha20", text);
    o->suite = suite;
    o->has_suite = true;
    return TOOL_DONE;
}

static int read_dialect(struct relay_options *o, const char *text) {
    struct vms_error err;
    if (vms_dialect_parse(vms_str(text), &o->dialect, &err) == VMS_OK)
        return TOOL_DONE;
    return tool_usage("--dialect %s: want 7.2 or qemu=11.1,machine=7.2,footers=off,...", text);
}

static int set_option(struct relay_options *o, int letter, const char *value) {
    switch (letter) {
    case OPT_LISTEN: o->listen = value; return TOOL_DONE;
    case OPT_CONNECT: o->connect = value; return TOOL_DONE;
    case OPT_LISTEN_WIRE: return read_wire(value, &o->listen_wire);
    case OPT_CONNECT_WIRE: return read_wire(value, &o->connect_wire);
    case OPT_PSK: o->psk = value; return TOOL_DONE;
    case OPT_IDENTITY: o->identity = value; return TOOL_DONE;
    case OPT_TLS: o->tls_creds = value; return TOOL_DONE;
    case OPT_SEAL: return read_seal(o, value);
    case OPT_PACK: return read_pack(o, value);
    case OPT_RESUME: return read_seconds(value, &o->resume_ms);
    case OPT_REPLAY: return read_bytes(value, &o->limits.native_replay_bytes);
    case OPT_KEEPALIVE: return read_seconds(value, &o->keepalive_ms);
    case OPT_WAIT: return read_seconds(value, &o->wait_ms);
    case OPT_REPORT: o->report = value; return TOOL_DONE;
    case 'D': return read_dialect(o, value);
    case 'q': o->quiet = true; return TOOL_DONE;
    default: return TOOL_USAGE;
    }
}

/* By default the side that is not said to be native is the other one. */
static int check(struct relay_options *o, bool wires[2]) {
    if (!o->listen || !o->connect)
        return tool_usage("relay: want --listen URI and --connect URI: see vmstream relay --help");
    if (!wires[1])
        o->connect_wire = o->listen_wire == RELAY_NATIVE ? RELAY_QEVM : RELAY_NATIVE;
    if (o->listen_wire == RELAY_NATIVE && o->connect_wire == RELAY_NATIVE)
        return tool_usage("relay: one side at least is QEMU's (qevm)");
    if (o->has_suite && o->suite != VMS_SUITE_NONE && !o->psk && !o->tls_creds)
        return tool_usage("relay --seal: want a key, --psk FILE, or tls: with --tls-creds DIR");
    if (o->limits.native_replay_bytes < 1 << 16)
        return tool_usage("relay --replay-bytes: want 64k or more");
    return TOOL_DONE;
}

int relay_options_read(int argc, char **argv, struct relay_options *o, bool *help) {
    bool wires[2] = {false, false};
    *o = (struct relay_options){.limits = vms_limits_default(),
                                .level = VMS_LEVEL_NONE,
                                .resume_ms = 60000,
                                .keepalive_ms = 10000,
                                .wait_ms = -1};
    optind = 0;
    for (;;) {
        int at = optind ? optind : 1;
        int letter = getopt_long(argc, argv, ":D:qh", LONG_OPTIONS, NULL);
        if (letter < 0)
            break;
        *help |= letter == 'h';
        if (letter == 'h')
            return TOOL_DONE;
        if (letter == '?' || letter == ':')
            return tool_usage(letter == ':' ? "relay: '%s' needs a value"
                                            : "relay: no option '%s': see vmstream relay --help",
                              argv[at]);
        wires[0] |= letter == OPT_LISTEN_WIRE;
        wires[1] |= letter == OPT_CONNECT_WIRE;
        int status = set_option(o, letter, optarg);
        if (status != TOOL_DONE)
            return status;
    }
    if (optind < argc)
        return tool_usage("relay: takes no '%s'", argv[optind]);
    if (wires[1] && !wires[0] && o->connect_wire == RELAY_QEVM)
        o->listen_wire = RELAY_NATIVE;
    return check(o, wires);
}
