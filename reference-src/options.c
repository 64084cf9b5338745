/* SPDX-License-Identifier: MIT */
#include "reference-src/options.h"

#include "host/arguments.h"
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <vmstream/vmstream.h>

static const char HELP[] =
    "Usage: reference-src --connect URI (--vm FILE | --device-state FILE) [OPTION]...\n"
    "Migrates a running guest to reference-dst, or to a QEMU.\n"
    "\n"
    "  --connect URI             unix:PATH, tcp:HOST:PORT, tls:HOST:PORT, fd:N, exec:CMD, "
    "file:PATH\n"
    "  --wire native|qevm        native (the default), or QEMU's own\n"
    "  --vm FILE                 the guest to run and migrate, as JSON (reference-src/vm/vm.h)\n"
    "  --device-state FILE       a recorded QEVM stream: its machine and device sections are "
    "sent;\n"
    "                            without --vm its memory, too: a QEMU runs that guest on\n"
    "  --touch N                 recorded guest: N pages a second are written meanwhile\n"
    "  --huge-pages              recorded guest: blocks of whole 2 MiB pages in huge pages\n"
    "  --vfio SPEC               a VFIO device that migrates, too: [sim:]PATH[,id=IDSTR]; "
    "repeatable\n"
    "  --vfio-multifd            QEVM: what they have when they are stopped goes over all "
    "channels\n"
    "  --vdpa SPEC               a network card in the guest on that vDPA device, likewise\n"
    "  --no-early-state          send all state of vDPA devices when the guest has stopped\n"
    "  --machine NAME            machine type to announce (default: vmstream, or as recorded)\n"
    "  --dialect D               what QEMU receives: 7.2 or qemu=9.0,machine=7.2,...\n"
    "\n"
    "How it migrates\n"
    "  --channels N, --multifd N further channels for pages, at most 16\n"
    "  --no-return-path          QEVM: expect no answers\n"
    "  --postcopy                the guest may move before all its memory has\n"
    "  --postcopy-after N        and does so after N rounds over memory (implies --postcopy)\n"
    "  --preempt                 pages that the guest waits for overtake all others\n"
    "  --bandwidth BYTES         a second, at most (suffixes K, M, G, T; 0: unlimited, default)\n"
    "  --postcopy-bandwidth BYTES   the same for pages in postcopy that nobody waits for\n"
    "  --switchover-bandwidth BYTES reckon with this instead of what was measured\n"
    "  --downtime-ms N           expected downtime at which to switch over (300)\n"
    "  --limit-s N               fail when the switchover is not reached in N seconds\n"
    "  --scheduler drr|serial    turns of devices: by deficit round robin, or one after the other\n"
    "  --dirty KIND              how writes are followed: best, wp-async or uffd-wp\n"
    "  --auto-converge           slow the guest down when it writes faster than pages leave\n"
    "  --wait                    run the guest, and migrate it at the order \"migrate\"\n"
    "  --pause-before-switchover wait for the order \"go-on\" when the guest has stopped\n"
    "  --switchover-ack          wait for the destination's acknowledgement\n"
    "  --ready-s N, --settle-s N to wait for READY (60), and for the end's answer (60)\n"
    "  --locks-retry-ms N        storage locks that are not to be had on the way back are tried "
    "five\n"
    "                            times more: after this pause (1000), each twice the one before\n"
    "  --reconnect S             try for S seconds to connect again after a cut; 0: by order only\n"
    "  --timeout S               give up on a peer that takes no data (default 300; 0: never)\n"
    "  --keepalive S             native: longest silence of this end; a longer one is a cut (10)\n"
    "\n"
    "Security\n"
    "  --tls-creds DIR           certificates for tls:, file names as QEMU's tls-creds-x509\n"
    "  --tls-hostname NAME       to find in the certificate instead of the URI's\n"
    "  --psk FILE                pre-shared keys: seal the native wire; for tls: its keys\n"
    "  --identity NAME           which of them\n"
    "  --seal SUITE              native: gcm, chacha20, gmac or none\n"
    "  --pack zstd[:LEVEL]       native: compress pages, level -7 to 19, or zstd:adaptive\n"
    "  --digest on|off           native: hashes of all pages are compared (on)\n"
    "  --device-channels on|off  native: VFIO devices on data channels, side by side (on)\n"
    "\n"
    "The program\n"
    "  --control unix:PATH       takes orders, a line of JSON each: cancel, go-on, "
    "start-postcopy,\n"
    "                            recover, resolve, set, status (see the manual)\n"
    "  --journal DIR             native: keep there what a restart must know\n"
    "  --resolve ours|theirs     after a restart: which end has the guest, for the journal\n"
    "  --inquire                 after a restart: ask the destination at URI, for the journal\n"
    "  --report FILE             what happened, as JSON, or as a page if it ends in .html\n"
    "  --quiet                   print errors only\n"
    "  --help, --version\n"
    "\n"
    "SIGINT and SIGTERM cancel. The guest stays, or runs on, here unless it was handed over.\n"
    "Exit status: 0 completed, 1 the peer was bad, 2 wrong usage, 3 local failure or cancelled.\n";

enum {
    CHANNELS_MAX = 16,
    PACK_MIN = -7,
    PACK_MAX = 19,
    DOWNTIME_MS = 300,
    WAIT_MS = 60000,
    TIMEOUT_MS = 300000,
    SECONDS_MAX = 1000000,
};

enum option_id {
    O_CONNECT = 256,
    O_WIRE,
    O_VM,
    O_DEVICE_STATE,
    O_TOUCH,
    O_HUGE_PAGES,
    O_VFIO,
    O_VFIO_MULTIFD,
    O_VDPA,
    O_NO_EARLY_STATE,
    O_MACHINE,
    O_DIALECT,
    O_CHANNELS,
    O_NO_RETURN_PATH,
    O_POSTCOPY,
    O_POSTCOPY_AFTER,
    O_PREEMPT,
    O_BANDWIDTH,
    O_POSTCOPY_BANDWIDTH,
    O_SWITCHOVER_BANDWIDTH,
    O_DOWNTIME,
    O_LIMIT,
    O_SCHEDULER,
    O_DIRTY,
    O_AUTO_CONVERGE,
    O_WAIT,
    O_PAUSE,
    O_ACK,
    O_READY,
    O_SETTLE,
    O_LOCKS_RETRY,
    O_RECONNECT,
    O_TIMEOUT,
    O_KEEPALIVE,
    O_TLS_CREDS,
    O_TLS_HOSTNAME,
    O_PSK,
    O_IDENTITY,
    O_SEAL,
    O_PACK,
    O_DIGEST,
    O_DEVICE_CHANNELS,
    O_CONTROL,
    O_JOURNAL,
    O_RESOLVE,
    O_INQUIRE,
    O_REPORT,
    O_QUIET,
    O_HELP,
    O_VERSION,
};

#define WITH(name, id)                                                                             \
    { name, required_argument, NULL, id }
#define WITHOUT(name, id)                                                                          \
    { name, no_argument, NULL, id }

static const struct option OPTIONS[] = {
    WITH("connect", O_CONNECT),
    WITH("wire", O_WIRE),
    WITH("vm", O_VM),
    WITH("device-state", O_DEVICE_STATE),
    WITH("touch", O_TOUCH),
    WITHOUT("huge-pages", O_HUGE_PAGES),
    WITH("vfio", O_VFIO),
    WITHOUT("vfio-multifd", O_VFIO_MULTIFD),
    WITH("vdpa", O_VDPA),
    WITHOUT("no-early-state", O_NO_EARLY_STATE),
    WITH("machine", O_MACHINE),
    WITH("dialect", O_DIALECT),
    WITH("channels", O_CHANNELS),
    WITH("multifd", O_CHANNELS),
    WITHOUT("no-return-path", O_NO_RETURN_PATH),
    WITHOUT("postcopy", O_POSTCOPY),
    WITH("postcopy-after", O_POSTCOPY_AFTER),
    WITHOUT("preempt", O_PREEMPT),
    WITH("bandwidth", O_BANDWIDTH),
    WITH("postcopy-bandwidth", O_POSTCOPY_BANDWIDTH),
    WITH("switchover-bandwidth", O_SWITCHOVER_BANDWIDTH),
    WITH("downtime-ms", O_DOWNTIME),
    WITH("limit-s", O_LIMIT),
    WITH("scheduler", O_SCHEDULER),
    WITH("dirty", O_DIRTY),
    WITHOUT("auto-converge", O_AUTO_CONVERGE),
    WITHOUT("wait", O_WAIT),
    WITHOUT("pause-before-switchover", O_PAUSE),
    WITHOUT("switchover-ack", O_ACK),
    WITH("ready-s", O_READY),
    WITH("settle-s", O_SETTLE),
    WITH("locks-retry-ms", O_LOCKS_RETRY),
    WITH("reconnect", O_RECONNECT),
    WITH("timeout", O_TIMEOUT),
    WITH("keepalive", O_KEEPALIVE),
    WITH("tls-creds", O_TLS_CREDS),
    WITH("tls-hostname", O_TLS_HOSTNAME),
    WITH("psk", O_PSK),
    WITH("identity", O_IDENTITY),
    WITH("seal", O_SEAL),
    WITH("pack", O_PACK),
    WITH("digest", O_DIGEST),
    WITH("device-channels", O_DEVICE_CHANNELS),
    WITH("control", O_CONTROL),
    WITH("journal", O_JOURNAL),
    WITH("resolve", O_RESOLVE),
    WITHOUT("inquire", O_INQUIRE),
    WITH("report", O_REPORT),
    WITHOUT("quiet", O_QUIET),
    WITHOUT("help", O_HELP),
    WITHOUT("version", O_VERSION),
    {NULL, 0, NULL, 0},
};

static int usage(const char *what, const char *value) {
    fprintf(stderr, "reference-src: %s%s%s; try --help\n", what, value ? ": " : "",
            value ? value : "");
    return 2;
}

static const char *const DIRTY[] = {
    [VMS_DIRTY_BEST] = "best",
    [VMS_DIRTY_WP_ASYNC] = "wp-async",
    [VMS_DIRTY_UFFD_WP] = "uffd-wp",
};

/* One of two words. */
static int parse_either(const char *text, const char *yes, const char *no, bool *out) {
    *out = strcmp(text, yes) == 0;
    return *out || strcmp(text, no) == 0 ? -1 : usage("unknown word", text);
}

static int parse_pack(const char *text, struct src_options *o) {
    char *end;
    o->pack = true;
    o->pack_level = 1;
    if (strcmp(text, "zstd") == 0)
        return -1;
    if (strcmp(text, "zstd:adaptive") == 0) {
        o->pack_level = 0;
        return -1;
    }
    long level = strncmp(text, "zstd:", 5) == 0 ? strtol(text + 5, &end, 10) : PACK_MAX + 1;
    if (level < PACK_MIN || level > PACK_MAX || *end || !text[5])
        return usage("--pack wants zstd, zstd:LEVEL or zstd:adaptive", text);
    o->pack_level = (int)level;
    return -1;
}

static int parse_resolve(const char *text, struct src_options *o) {
    bool ours;
    int status = parse_either(text, "ours", "theirs", &ours);
    o->resolve = ours ? SRC_RESOLVE_OURS : SRC_RESOLVE_THEIRS;
    return status;
}

static int parse_dialect(const char *text, struct vms_dialect *dialect) {
    struct vms_error err;
    if (vms_dialect_parse(vms_str(text), dialect, &err) == VMS_OK)
        return -1;
    return usage(err.message, NULL);
}

static int parse_seal(const char *text, struct src_options *o) {
    o->has_suite = vms_suite_parse(vms_str(text), &o->suite);
    return o->has_suite ? -1 : usage("the suites are none, gmac, gcm and chacha20", text);
}

static int parse_dirty(const char *text, struct src_options *o) {
    for (size_t i = 0; i < sizeof DIRTY / sizeof *DIRTY; i++)
        if (strcmp(text, DIRTY[i]) == 0) {
            o->dirty = (enum vms_dirty_kind)i;
            return -1;
        }
    return usage("--dirty wants best, wp-async or uffd-wp", text);
}

static int parse_scheduler(const char *text, struct src_options *o) {
    bool drr;
    int status = parse_either(text, "drr", "serial", &drr);
    o->scheduler = drr ? SRC_SCHEDULER_DRR : SRC_SCHEDULER_SERIAL;
    return status;
}

static int parse_off(const char *text, bool *off) {
    bool on;
    int status = parse_either(text, "on", "off", &on);
    *off = !on;
    return status;
}

/* Where a number goes, in which unit, and how large it may be. */
static int parse_count(int option, const char *text, struct src_options *o) {
    uint64_t n = 0;
    uint64_t max = option == O_CHANNELS                                        ? CHANNELS_MAX
                   : option >= O_BANDWIDTH && option <= O_SWITCHOVER_BANDWIDTH ? UINT64_MAX / 2
                                                                               : SECONDS_MAX;
    if (!vms_argument_number(text, max, &n))
        return usage("bad number", text);
    switch (option) {
    case O_CHANNELS: o->channels = (unsigned)n; break;
    case O_TOUCH: o->touch = (uint32_t)n; break;
    case O_POSTCOPY_AFTER:
        o->postcopy = true;
        o->postcopy_after = (int)n;
        break;
    case O_BANDWIDTH: o->bandwidth = n; break;
    case O_POSTCOPY_BANDWIDTH: o->postcopy_bandwidth = n; break;
    case O_SWITCHOVER_BANDWIDTH: o->switchover_bandwidth = n; break;
    case O_DOWNTIME: o->downtime_ms = n; break;
    case O_LIMIT: o->limit_ms = n * 1000; break;
    case O_READY: o->ready_ms = n * 1000; break;
    case O_SETTLE: o->settle_ms = n * 1000; break;
    case O_LOCKS_RETRY: o->locks_retry_ms = n; break;
    case O_KEEPALIVE: o->keepalive_ms = (int)n * 1000; break;
    case O_RECONNECT: o->reconnect_ms = (int)n * 1000; break;
    default: o->timeout_ms = n ? (int)n * 1000 : -1; break;
    }
    return -1;
}

static int add_device(const char *value, const char **list, size_t *count) {
    if (*count == SRC_VFIO_MAX)
        return usage("too many devices", value);
    list[(*count)++] = value;
    return -1;
}

static int take_text(int option, const char *value, struct src_options *o) {
    switch (option) {
    case O_CONNECT: o->connect = value; return -1;
    case O_VM: o->vm = value; return -1;
    case O_DEVICE_STATE: o->device_state = value; return -1;
    case O_MACHINE: o->machine = value; return -1;
    case O_TLS_CREDS: o->tls_creds = value; return -1;
    case O_TLS_HOSTNAME: o->tls_hostname = value; return -1;
    case O_PSK: o->psk = value; return -1;
    case O_IDENTITY: o->identity = value; return -1;
    case O_CONTROL: o->control = value; return -1;
    case O_JOURNAL: o->journal = value; return -1;
    case O_REPORT: o->report = value; return -1;
    case O_VFIO_MULTIFD: o->vfio_multifd = true; return -1;
    case O_VFIO: return add_device(value, o->vfio, &o->vfio_count);
    case O_VDPA: return add_device(value, o->vdpa, &o->vdpa_count);
    case O_WIRE: return parse_either(value, "native", "qevm", &o->native);
    case O_DIALECT: return parse_dialect(value, &o->dialect);
    case O_SCHEDULER: return parse_scheduler(value, o);
    case O_DIRTY: return parse_dirty(value, o);
    case O_SEAL: return parse_seal(value, o);
    case O_PACK: return parse_pack(value, o);
    case O_DIGEST: return parse_off(value, &o->no_digest);
    case O_DEVICE_CHANNELS: return parse_off(value, &o->no_device_channels);
    case O_RESOLVE: return parse_resolve(value, o);
    default: return parse_count(option, value, o);
    }
}

static int take(int option, const char *value, struct src_options *o) {
    switch (option) {
    case O_NO_EARLY_STATE: o->no_early_state = true; return -1;
    case O_HUGE_PAGES: o->huge_pages = true; return -1;
    case O_NO_RETURN_PATH: o->no_return_path = true; return -1;
    case O_POSTCOPY: o->postcopy = true; return -1;
    case O_PREEMPT: o->preempt = true; return -1;
    case O_AUTO_CONVERGE: o->auto_converge = true; return -1;
    case O_WAIT: o->wait = true; return -1;
    case O_PAUSE: o->pause_before_switchover = true; return -1;
    case O_ACK: o->switchover_ack = true; return -1;
    case O_INQUIRE: o->inquire = true; return -1;
    case O_QUIET: o->quiet = true; return -1;
    case O_HELP: fputs(HELP, stdout); return 0;
    case O_VERSION: puts("reference-src " VMSTREAM_VERSION); return 0;
    case '?': return usage("unknown option, or one without its value", NULL);
    default: return take_text(option, value, o);
    }
}

/* After a restart: without a guest. */
static const char *objection_to_settling(const struct src_options *o) {
    if (o->resolve && o->inquire)
        return "--resolve and --inquire exclude each other";
    if (!o->journal)
        return o->resolve ? "--resolve wants --journal DIR" : "--inquire wants --journal DIR";
    if (o->inquire && (!o->connect || !o->native))
        return "--inquire wants --connect URI, on the native wire";
    return NULL;
}

/* What does not go together; NULL: all does. */
static const char *objection(const struct src_options *o) {
    bool one_way = o->connect && (strncmp(o->connect, "file:", 5) == 0 ||
                                  strncmp(o->connect, "exec:", 5) == 0 || o->no_return_path);
    if (o->resolve || o->inquire)
        return objection_to_settling(o);
    if (!o->connect)
        return "--connect URI is missing";
    if (!o->vm && !o->device_state)
        return "--vm FILE or --device-state FILE is missing";
    if (o->device_state && o->native)
        return "--device-state is for --wire qevm";
    if (o->tls_creds && o->psk && !o->native)
        return "--tls-creds and --psk exclude each other";
    if (o->wait && !o->control)
        return "--wait wants --control, to be told to migrate";
    if (o->pause_before_switchover && !o->control)
        return "--pause-before-switchover wants --control, to be told to go on";
    if (one_way && (o->postcopy || o->switchover_ack))
        return "postcopy and --switchover-ack want a return path";
    if (o->vfio_count && o->postcopy)
        return "VFIO devices do not migrate in postcopy";
    if (o->vdpa_count && o->postcopy) /* [VDPA-19] */
        return "vDPA devices do not migrate in postcopy";
    if (o->vdpa_count && (!o->vm || !o->native))
        return "--vdpa wants --vm, and --wire native";
    if (o->preempt && !o->postcopy)
        return "--preempt wants --postcopy";
    if (!o->native && (o->has_suite || o->pack || o->journal))
        return "--seal, --pack and --journal are for --wire native";
    return NULL;
}

void src_options_default(struct src_options *o) {
    *o = (struct src_options){.native = true,
                              .limits = vms_limits_default(),
                              .postcopy_after = -1,
                              .downtime_ms = DOWNTIME_MS,
                              .ready_ms = WAIT_MS,
                              .settle_ms = WAIT_MS,
                              .reconnect_ms = -1,
                              .timeout_ms = TIMEOUT_MS};
}

int src_options_parse(int argc, char **argv, struct src_options *o) {
    src_options_default(o);
    opterr = 0;
    optind = 1;
    for (int option; (option = getopt_long(argc, argv, "", OPTIONS, NULL)) != -1;) {
        int status = take(option, optarg, o);
        if (status >= 0)
            return status;
    }
    if (optind < argc)
        return usage("unexpected argument", argv[optind]);
    const char *wrong = objection(o);
    return wrong ? usage(wrong, NULL) : -1;
}
