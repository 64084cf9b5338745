/* SPDX-License-Identifier: MIT */
#include "reference-dst/options.h"

#include "host/arguments.h"
#include <getopt.h>
#include <stdio.h>
#include <vmstream/vmstream.h>

static const char HELP[] =
    "Usage: reference-dst --listen URI [OPTION]...\n"
    "Receives one migration from a QEMU (or from reference-src), proves that it is well formed, "
    "and\n"
    "keeps the guest's memory.\n"
    "\n"
    "  --listen URI            unix:PATH, tcp:HOST:PORT, tls:HOST:PORT, fd:N, exec:CMD, file:PATH\n"
    "  --ram-dir DIR           write each RAM block to DIR/NAME (default: memory only)\n"
    "  --vm FILE               the guest that runs here afterwards; every page is checked\n"
    "  --vfio SPEC             a VFIO device that gets its state: [sim:]PATH[,id=IDSTR]; "
    "repeatable\n"
    "  --vdpa SPEC             native: a vDPA device, likewise: a network card of the guest\n"
    "  --no-early-map          map memory for vDPA devices when the source has stopped, not "
    "before\n"
    "  --vfio-multifd          QEVM: their state comes over multifd channels\n"
    "  --switchover-ack MODE   QEVM: on (as the machine type has it), new, legacy, or off "
    "(default)\n"
    "  --run-seconds N         how long it runs on before the check (default 1)\n"
    "  --run-ops N             and how many operations it does at least\n"
    "  --touch N               postcopy without --vm: N threads read all memory at random\n"
    "  --recover-timeout N     postcopy: seconds to wait for a new connection after a cut\n"
    "                          (default 0: for ever)\n"
    "  --report FILE           write what happened: JSON, or a page if FILE ends in .html\n"
    "  --dialect D             what the wire does not say, such as 7.2 or qemu=9.0,vmdesc=off\n"
    "  --machine NAME          accept this machine type only\n"
    "  --capabilities LIST     x-ignore-shared, mapped-ram, none: what the stream must have on\n"
    "  --uuid UUID             this machine's: a stream or channel of another one is refused\n"
    "  --multifd-channels N    expect N multifd channels (default: those that connect in time)\n"
    "  --tls-creds DIR         TLS with certificates, file names as QEMU's tls-creds-x509\n"
    "  --psk FILE              TLS with a pre-shared key, as QEMU's tls-creds-psk\n"
    "  --no-verify-peer        TLS: take clients without a certificate\n"
    "  --max-ram BYTES         refuse guests with more memory (suffixes K, M, G, T)\n"
    "  --limit NAME=VALUE      change a limit; --limit help lists them\n"
    "  --timeout SECONDS       give up on a silent peer (default 300; 0: never)\n"
    "  --keepalive SECONDS     native: longest silence of this end; a longer one is a cut (10)\n"
    "  --journal DIR           native: keep what was promised where a restart finds it\n"
    "  --answer SESSION        native, after a restart: answer for this session's journal\n"
    "  --resolve ours|theirs   native, in doubt: who runs the guest (or SIGUSR1, SIGUSR2)\n"
    "  --digest on|off         native: compare memory before the guest runs (default on)\n"
    "  --quiet                 print errors only\n"
    "  --help, --version\n"
    "\n"
    "Exit status: 0 completed, 1 the stream or the peer was bad, 2 wrong usage, 3 local failure.\n";

enum option_id {
    O_LISTEN = 256,
    O_RAM_DIR,
    O_VM,
    O_VFIO,
    O_VFIO_MULTIFD,
    O_VDPA,
    O_NO_EARLY_MAP,
    O_ACK,
    O_RUN_SECONDS,
    O_RUN_OPS,
    O_TOUCH,
    O_RECOVER,
    O_REPORT,
    O_DIALECT,
    O_MACHINE,
    O_CAPABILITIES,
    O_UUID,
    O_MULTIFD,
    O_TLS_CREDS,
    O_PSK,
    O_NO_VERIFY,
    O_MAX_RAM,
    O_LIMIT,
    O_JOURNAL,
    O_ANSWER,
    O_RESOLVE,
    O_DIGEST,
    O_TIMEOUT,
    O_KEEPALIVE,
    O_QUIET,
    O_HELP,
    O_VERSION,
};

static const struct option OPTIONS[] = {
    {"listen", required_argument, NULL, O_LISTEN},
    {"ram-dir", required_argument, NULL, O_RAM_DIR},
    {"vm", required_argument, NULL, O_VM},
    {"vfio", required_argument, NULL, O_VFIO},
    {"vfio-multifd", no_argument, NULL, O_VFIO_MULTIFD},
    {"vdpa", required_argument, NULL, O_VDPA},
    {"no-early-map", no_argument, NULL, O_NO_EARLY_MAP},
    {"switchover-ack", required_argument, NULL, O_ACK},
    {"run-seconds", required_argument, NULL, O_RUN_SECONDS},
    {"run-ops", required_argument, NULL, O_RUN_OPS},
    {"touch", required_argument, NULL, O_TOUCH},
    {"recover-timeout", required_argument, NULL, O_RECOVER},
    {"report", required_argument, NULL, O_REPORT},
    {"dialect", required_argument, NULL, O_DIALECT},
    {"machine", required_argument, NULL, O_MACHINE},
    {"capabilities", required_argument, NULL, O_CAPABILITIES},
    {"uuid", required_argument, NULL, O_UUID},
    {"multifd-channels", required_argument, NULL, O_MULTIFD},
    {"tls-creds", required_argument, NULL, O_TLS_CREDS},
    {"psk", required_argument, NULL, O_PSK},
    {"no-verify-peer", no_argument, NULL, O_NO_VERIFY},
    {"max-ram", required_argument, NULL, O_MAX_RAM},
    {"limit", required_argument, NULL, O_LIMIT},
    {"timeout", required_argument, NULL, O_TIMEOUT},
    {"keepalive", required_argument, NULL, O_KEEPALIVE},
    {"journal", required_argument, NULL, O_JOURNAL},
    {"answer", required_argument, NULL, O_ANSWER},
    {"resolve", required_argument, NULL, O_RESOLVE},
    {"digest", required_argument, NULL, O_DIGEST},
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

static int parse_limit(const char *text, struct vms_limits *limits) {
    if (strcmp(text, "help") == 0) {
        vms_argument_limits_list();
        return 0;
    }
    const char *wrong = vms_argument_limit(text, limits);
    return wrong ? usage(wrong, text) : -1;
}

static int parse_dialect(const char *text, struct vms_dialect *dialect) {
    struct vms_error err;
    if (vms_dialect_parse(vms_str(text), dialect, &err) == VMS_OK)
        return -1;
    return usage(err.message, NULL);
}

static uint64_t most(int option) {
    switch (option) {
    case O_MAX_RAM:
    case O_RUN_OPS: return UINT64_MAX;
    case O_MULTIFD: return 255;
    case O_TOUCH: return DST_TOUCHERS_MAX;
    default: return 1000000; /* seconds */
    }
}

static int parse_counts(int option, const char *text, struct dst_options *o) {
    uint64_t n;
    if (!vms_argument_number(text, most(option), &n))
        return usage("bad number", text);
    int ms = n <= most(O_TIMEOUT) ? (int)n * 1000 : 0;
    switch (option) {
    case O_MAX_RAM: o->max_ram = n; break;
    case O_RUN_OPS: o->run_ops = n; break;
    case O_RUN_SECONDS: o->run_ms = ms; break;
    case O_TOUCH: o->touch = (int)n; break;
    case O_RECOVER: o->recover_ms = n ? ms : -1; break;
    case O_MULTIFD: o->multifd_channels = (int)n; break;
    case O_KEEPALIVE: o->keepalive_ms = ms; break;
    default: o->timeout_ms = n ? ms : -1; break;
    }
    return -1;
}

static int parse_settings(int option, const char *text, struct dst_settings *s) {
    bool good = option == O_UUID ? dst_settings_uuid(s, text) : dst_settings_capabilities(s, text);
    return good ? -1 : usage(option == O_UUID ? "bad UUID" : "bad --capabilities", text);
}

static int parse_resolve(const char *text, struct dst_options *o) {
    bool ours = strcmp(text, "ours") == 0;
    if (!ours && strcmp(text, "theirs") != 0)
        return usage("--resolve wants ours or theirs", text);
    o->resolve = ours ? DST_NATIVE_OURS : DST_NATIVE_THEIRS;
    return -1;
}

static int parse_digest(const char *text, struct dst_options *o) {
    o->no_digest = strcmp(text, "off") == 0;
    return o->no_digest || strcmp(text, "on") == 0 ? -1 : usage("--digest wants on or off", text);
}

static int parse_vfio(const char *text, struct dst_options *o) {
    struct vms_vfio_spec spec;
    if (o->vfio_count == VMS_VFIO_GUEST_MAX || !vms_vfio_spec(text, 0, &spec))
        return usage("bad or too many --vfio", text);
    o->vfio[o->vfio_count++] = text;
    return -1;
}

static int parse_vdpa(const char *text, struct dst_options *o) {
    struct vms_vfio_spec spec;
    if (o->vdpa_count == VMS_VM_CARDS_MAX || !vms_vfio_spec(text, 0, &spec))
        return usage("bad or too many --vdpa", text);
    o->vdpa[o->vdpa_count++] = text;
    return -1;
}

static int parse_ack(const char *text, struct dst_options *o) {
    static const char *const names[] = {"new", "legacy", "off", "on"}; /* enum dst_vfio_ack */
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(text, names[i]) == 0) {
            o->ack = (enum dst_vfio_ack)i;
            return -1;
        }
    return usage("--switchover-ack wants on, new, legacy or off", text);
}

static int take(int option, char *value, struct dst_options *o) {
    switch (option) {
    case O_LISTEN: o->listen = value; return -1;
    case O_RAM_DIR: o->ram_dir = value; return -1;
    case O_VM: o->vm = value; return -1;
    case O_REPORT: o->report = value; return -1;
    case O_MACHINE: o->settings.machine = value; return -1;
    case O_CAPABILITIES:
    case O_UUID: return parse_settings(option, value, &o->settings);
    case O_TLS_CREDS: o->tls_creds = value; return -1;
    case O_PSK: o->psk = value; return -1;
    case O_JOURNAL: o->journal = value; return -1;
    case O_ANSWER: o->answer = value; return -1;
    case O_RESOLVE: return parse_resolve(value, o);
    case O_DIGEST: return parse_digest(value, o);
    case O_VFIO: return parse_vfio(value, o);
    case O_VDPA: return parse_vdpa(value, o);
    case O_NO_EARLY_MAP: o->no_early_map = true; return -1;
    case O_VFIO_MULTIFD: o->vfio_multifd = true; return -1;
    case O_ACK: return parse_ack(value, o);
    case O_NO_VERIFY: o->no_verify_peer = true; return -1;
    case O_QUIET: o->quiet = true; return -1;
    case O_DIALECT: return parse_dialect(value, &o->dialect);
    case O_LIMIT: return parse_limit(value, &o->limits);
    case O_MAX_RAM:
    case O_RUN_SECONDS:
    case O_RUN_OPS:
    case O_TOUCH:
    case O_RECOVER:
    case O_TIMEOUT:
    case O_KEEPALIVE:
    case O_MULTIFD: return parse_counts(option, value, o);
    case O_HELP: fputs(HELP, stdout); return 0;
    case O_VERSION: puts("reference-dst " VMSTREAM_VERSION); return 0;
    default: return usage("unknown option", NULL);
    }
}

int dst_options_parse(int argc, char **argv, struct dst_options *o) {
    *o = (struct dst_options){.limits = vms_limits_default(),
                              .multifd_channels = -1,
                              .timeout_ms = 300000,
                              .recover_ms = -1,
                              .run_ms = 1000,
                              .ack = DST_VFIO_ACK_NONE};
    for (int option; (option = getopt_long(argc, argv, "", OPTIONS, NULL)) != -1;) {
        int status = take(option, optarg, o);
        if (status >= 0)
            return status;
    }
    if (optind < argc)
        return usage("unexpected argument", argv[optind]);
    if (!o->listen)
        return usage("--listen URI is missing", NULL);
    if (o->vm && o->ram_dir)
        return usage("--vm and --ram-dir exclude each other", NULL);
    if (o->vm && o->touch)
        return usage("--vm and --touch exclude each other", NULL);
    if (o->tls_creds && o->psk)
        return usage("--tls-creds and --psk exclude each other", NULL);
    return -1;
}
