/* SPDX-License-Identifier: MIT */
#include "live.h"

#include "conformance/guest/guest_image.h"
#include "conformance/live/file.h"
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/* One live migration, step by step. */

enum {
    HEARTBEAT_MS = 60000,
    MIGRATE_MS = 120000,
    FINISH_MS = 60000,
    LISTEN_MS = 120000,
    GUEST_PAGES = 4096,
    PER_TICK = 160,
    ARGS = 40,
};

static void path_of(const struct live *live, const char *name, char *out, size_t size) {
    (void)snprintf(out, size, "%s/%s", live->dir, name);
}

/* ---- the source ---- */

static bool is_q35(const struct live_case *what) {
    return strstr(what->machine, "q35") != NULL;
}

static int write_guest(struct live *live, char *image, size_t size) {
    path_of(live, "guest.img", image, size);
    vms_guest_defaults(&live->guest);
    live->guest.pages = GUEST_PAGES;
    live->guest.prefill = GUEST_PAGES / 2;
    live->guest.mode = VMS_GUEST_RANDOM;
    live->guest.zero = 13;
    live->guest.run_shift = 2;
    live->guest.pages_per_tick = live->what->pages_per_tick ? live->what->pages_per_tick : PER_TICK;
    const char *problem = vms_guest_write_image(image, &live->guest, VMS_GUEST_DISK_SIZE);
    return problem ? live_fail(live, "%s: %s", image, problem) : 0;
}

static size_t add_virtio(const char **args, size_t n) {
    args[n++] = "-device";
    args[n++] = "virtio-blk-pci,drive=boot,bootindex=0";
    args[n++] = "-netdev";
    args[n++] = "user,id=net0";
    args[n++] = "-device";
    args[n++] = "virtio-net-pci,netdev=net0";
    return n;
}

static size_t add_tls(const struct live *live, const char **args, size_t n, char *object,
                      size_t size) {
    bool x509 = live->what->transport == LIVE_TLS_X509;
    if (!x509 && live->what->transport != LIVE_TLS_PSK)
        return n;
    (void)snprintf(object, size, "%s,id=tls0,dir=%s/tls,endpoint=client%s",
                   x509 ? "tls-creds-x509" : "tls-creds-psk", live->dir,
                   x509 ? "" : ",username=qemu");
    args[n++] = "-object";
    args[n++] = object;
    return n;
}

static int make_credentials(struct live *live) {
    if (live->what->transport == LIVE_TLS_X509)
        return live_make_certificates(live);
    return live->what->transport == LIVE_TLS_PSK ? live_make_psk(live) : 0;
}

/*
 * Before 9.0 QEMU loses guest writes in software emulation when a block is whole multiples of
 * 256 KiB: the fast path of its dirty sync does not reset the translated code's fast path (E-55).
 */
static const char *memory_of(const struct live_case *what) {
    if (what->memory)
        return what->memory;
    return strtoul(what->version, NULL, 10) < 9 ? "32776K" : "32M";
}

struct vms_qemu *live_start_qemu(struct live *live, const char *image, bool incoming, bool paused) {
    char drive[256], object[256];
    const char *args[ARGS] = {"-drive", drive};
    size_t n = 2;
    (void)snprintf(drive, sizeof drive, "file=%s,format=raw,read-only=on,%s", image,
                   is_q35(live->what) ? "if=none,id=boot" : "if=floppy");
    if (is_q35(live->what))
        n = add_virtio(args, n);
    n = add_tls(live, args, n, object, sizeof object);
    for (const char *const *a = live->what->qemu_args; a && *a && n < ARGS - 1; a++)
        args[n++] = *a;
    args[n] = NULL;
    struct vms_qemu_options o = {.version = live->what->version,
                                 .machine = live->what->machine,
                                 .memory = memory_of(live->what),
                                 .args = args,
                                 .name = incoming ? "destination" : "source",
                                 .incoming = incoming,
                                 .paused = paused};
    return vms_qemu_start(&o, live->error, sizeof live->error);
}

static int qemu_failed(struct live *live) {
    return live_fail(live, "%s", vms_qemu_error(live->qemu));
}

int live_boot(struct live *live, const struct live_case *what, const char *reference_dst) {
    char image[128];
    memset(live, 0, sizeof *live);
    live->what = what;
    live->reference_dst = reference_dst;
    (void)strcpy(live->dir, "/tmp/vms-live-XXXXXX");
    if (!mkdtemp(live->dir))
        return live_fail(live, "cannot make a folder in /tmp: %s", strerror(errno));
    if (write_guest(live, image, sizeof image) != 0 || make_credentials(live) != 0 ||
        !(live->qemu = live_start_qemu(live, image, false, false)))
        return -1;
    if (vms_qemu_wait_serial(live->qemu, "hb 00000002", 0, HEARTBEAT_MS) < 0)
        return qemu_failed(live);
    return 0;
}

/* ---- the destination ---- */

unsigned live_free_port(void) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && bind(fd, (struct sockaddr *)&a, sizeof a) == 0)
        (void)getsockname(fd, (struct sockaddr *)&a, &len);
    if (fd >= 0)
        close(fd);
    return ntohs(a.sin_port);
}

static void choose_uris(struct live *live) {
    unsigned port = live_free_port();
    char *l = live->uri_listen, *m = live->uri_migrate;
    size_t n = sizeof live->uri_listen;
    switch (live->what->transport) {
    case LIVE_TCP:
        (void)snprintf(l, n, "tcp:127.0.0.1:%u", port);
        (void)snprintf(m, n, "tcp:127.0.0.1:%u", port);
        break;
    case LIVE_TLS_X509:
    case LIVE_TLS_PSK:
        (void)snprintf(l, n, "tls:127.0.0.1:%u", port);
        (void)snprintf(m, n, "tcp:127.0.0.1:%u", port);
        break;
    case LIVE_FD:
        (void)snprintf(l, n, "fd:0");
        (void)snprintf(m, n, "exec:cat >%s/pipe", live->dir);
        break;
    case LIVE_EXEC:
        (void)snprintf(l, n, "exec:cat %s/pipe", live->dir);
        (void)snprintf(m, n, "exec:cat >%s/pipe", live->dir);
        break;
    case LIVE_FILE:
        (void)snprintf(l, n, "file:%s/stream", live->dir);
        (void)snprintf(m, n, "exec:cat >%s/stream", live->dir);
        break;
    case LIVE_UNIX:
    default:
        (void)snprintf(l, n, "unix:%s/migrate", live->dir);
        (void)snprintf(m, n, "unix:%s/migrate", live->dir);
    }
}

static size_t add_dst_tls(const struct live *live, const char **argv, size_t n, char *path,
                          size_t size) {
    bool x509 = live->what->transport == LIVE_TLS_X509;
    if (!x509 && live->what->transport != LIVE_TLS_PSK)
        return n;
    path_of(live, x509 ? "tls" : "tls/keys.psk", path, size);
    argv[n++] = x509 ? "--tls-creds" : "--psk";
    argv[n++] = path;
    return n;
}

static pid_t spawn_dst(struct live *live, const char *log) {
    char ram[128], report[128], tls[128], pipe[128];
    path_of(live, "ram", ram, sizeof ram);
    path_of(live, "report.json", report, sizeof report);
    path_of(live, "pipe", pipe, sizeof pipe);
    (void)mkdir(ram, 0700);
    const char *argv[ARGS] = {live->reference_dst, "--listen", live->uri_listen, "--ram-dir", ram,
                              "--report",          report,     "--timeout",      "60"};
    size_t n = add_dst_tls(live, argv, 9, tls, sizeof tls);
    for (const char *const *a = live->what->dst_args; a && *a && n < ARGS - 1; a++)
        argv[n++] = *a;
    argv[n] = NULL;
    bool is_pipe = live->what->transport == LIVE_FD;
    return live_spawn(argv, live->what->show ? NULL : log, is_pipe ? pipe : NULL);
}

static bool listens(const char *path) {
    struct stat st;
    return stat(path, &st) == 0 && S_ISSOCK(st.st_mode);
}

/* A connection that is closed at once would be taken for a source: only look whether it is there.
 */
static bool port_listens(const char *uri) {
    unsigned port = (unsigned)strtoul(strrchr(uri, ':') + 1, NULL, 10);
    char line[256], want[16];
    FILE *file = fopen("/proc/net/tcp", "re");
    bool found = false;
    (void)snprintf(want, sizeof want, ":%04X ", port);
    while (file && fgets(line, sizeof line, file))
        found |= strstr(line, want) && strstr(line, " 0A ");
    if (file)
        fclose(file);
    return found;
}

static bool is_up(const struct live *live) {
    switch (live->what->transport) {
    case LIVE_UNIX: return listens(strchr(live->uri_listen, ':') + 1);
    case LIVE_TCP:
    case LIVE_TLS_X509:
    case LIVE_TLS_PSK: return port_listens(live->uri_listen);
    case LIVE_FD:
    case LIVE_EXEC:
    case LIVE_FILE:
    default: return true;
    }
}

static char *read_log(const struct live *live) {
    static char text[1024];
    char path[128];
    path_of(live, "dst.log", path, sizeof path);
    FILE *file = fopen(path, "re");
    size_t n = file ? fread(text, 1, sizeof text - 1, file) : 0;
    text[n] = 0;
    if (file)
        fclose(file);
    return text;
}

int live_listen(struct live *live) {
    char log[128], pipe[128];
    path_of(live, "dst.log", log, sizeof log);
    path_of(live, "pipe", pipe, sizeof pipe);
    choose_uris(live);
    if (mkfifo(pipe, 0600) != 0)
        return live_fail(live, "mkfifo %s: %s", pipe, strerror(errno));
    if (live->what->transport == LIVE_FILE)
        return 0; /* started when the file is complete */
    live->dst = spawn_dst(live, log);
    for (int ms = 0; live->dst > 0 && !is_up(live); ms += 10) {
        if (ms > LISTEN_MS || !live_runs(live->dst))
            return live_fail(live, "reference-dst does not listen: %s", read_log(live));
        (void)usleep(10000); /* nothing announces a socket to a bystander */
    }
    return live->dst > 0 ? 0 : live_fail(live, "fork: %s", strerror(errno));
}

/* ---- the migration ---- */

static json_t *parameters(const struct live *live) {
    const char *text = live->what->parameters;
    json_t *p = text ? json_loads(text, 0, NULL) : json_object();
    if (p && (live->what->transport == LIVE_TLS_X509 || live->what->transport == LIVE_TLS_PSK)) {
        json_object_set_new(p, "tls-creds", json_string("tls0"));
        json_object_set_new(p, "tls-hostname", json_string("localhost"));
    }
    return p;
}

int live_migrate(struct live *live) {
    static const char *const done[] = {"completed", NULL};
    struct vms_migration_end end;
    json_t *p = parameters(live);
    if (!p)
        return live_fail(live, "bad parameters: %s", live->what->parameters);
    if (live->what->capabilities &&
        vms_qemu_set_capabilities(live->qemu, live->what->capabilities) != 0)
        return qemu_failed(live);
    if (vms_qemu_set_parameters(live->qemu, p) != 0 ||
        vms_qemu_migrate(live->qemu, live->uri_migrate) != 0)
        return qemu_failed(live);
    if (vms_qemu_wait_migration(live->qemu, done, MIGRATE_MS, &end) != 0) {
        (void)qemu_failed(live);
        size_t n = strlen(live->error);
        (void)snprintf(live->error + n, sizeof live->error - n, "; reference-dst: %s",
                       read_log(live));
        return -1;
    }
    return 0;
}

int live_finish(struct live *live) {
    char path[128];
    json_error_t why;
    if (live->what->transport == LIVE_FILE) {
        path_of(live, "dst.log", path, sizeof path);
        live->dst = spawn_dst(live, path);
    }
    live->dst_status = live_wait(live->dst, FINISH_MS);
    live->dst = 0;
    path_of(live, "report.json", path, sizeof path);
    live->report = json_load_file(path, 0, &why);
    if (live->dst_status != 0)
        return live_fail(live, "reference-dst ended with %d: %s", live->dst_status, read_log(live));
    return live->report ? 0 : live_fail(live, "%s: %s", path, why.text);
}

/* ---- the proof ---- */

static size_t first_difference(struct live_map a, struct live_map b, size_t n) {
    for (size_t at = 0; at < n; at += 4096)
        if (memcmp(a.at + at, b.at + at, n - at < 4096 ? n - at : 4096) != 0)
            return at;
    return n;
}

/* reference-dst writes '/' in a block's name as %2F. */
static void dst_file(const struct live *live, const char *block, char *out, size_t size) {
    size_t n = (size_t)snprintf(out, size, "%s/ram/", live->dir);
    for (const char *c = block; *c && n + 4 < size; c++) {
        bool plain = *c > ' ' && *c != '/' && *c != '%' && *c < 0x7f;
        n += (size_t)snprintf(out + n, size - n, plain ? "%c" : "%%%02X", (unsigned char)*c);
    }
}

static int compare_block(struct live *live, const struct vms_qemu_ram_block *b) {
    char path[1024], dump[1024];
    dst_file(live, b->name, path, sizeof path);
    (void)snprintf(dump, sizeof dump, "%s/dump/%s", live->dir, b->file);
    struct live_map want = live_map(dump), got = live_map(path);
    int rc = 0;
    if (!got.at || got.len != b->used || want.len < b->used)
        rc = live_fail(live, "%s: %zu bytes arrived of %llu, %zu were dumped", b->name, got.len,
                       (unsigned long long)b->used, want.len);
    else if (first_difference(want, got, b->used) != b->used)
        rc = live_fail(live, "%s differs at 0x%zx", b->name, first_difference(want, got, b->used));
    if (rc == 0 && b->offset == 0 && vms_check_guest(got.at, got.len, &live->guest_report) != 0)
        rc = live_fail(live, "%s: %s", b->name, live->guest_report.text);
    live->blocks++;
    live->bytes += b->used;
    live_unmap(want);
    live_unmap(got);
    return rc;
}

int live_compare(struct live *live) {
    char dir[128];
    path_of(live, "dump", dir, sizeof dir);
    if (vms_qemu_dump_ram(live->qemu, dir, &live->dump) != 0)
        return qemu_failed(live);
    if (live->dump.missing)
        return live_fail(live, "%zu RAM blocks of QEMU could not be read", live->dump.missing);
    for (size_t i = 0; i < live->dump.count; i++)
        if (compare_block(live, &live->dump.blocks[i]) != 0)
            return -1;
    size_t sent = json_object_size(json_object_get(live->report, "blocks"));
    return sent == live->blocks
               ? 0
               : live_fail(live, "QEMU has %zu blocks, %zu were sent", live->blocks, sent);
}

int live_run(struct live *live, const struct live_case *what, const char *reference_dst) {
    if (live_boot(live, what, reference_dst) != 0 || live_listen(live) != 0 ||
        live_migrate(live) != 0 || live_finish(live) != 0)
        return -1;
    return live_compare(live);
}

void live_free(struct live *live) {
    const char *const rm[] = {"/bin/rm", "-rf", live->dir, NULL};
    if (live->dst > 0)
        (void)live_wait(live->dst, 0);
    vms_ram_dump_free(&live->dump);
    vms_qemu_free(live->qemu);
    json_decref(live->report);
    if (live->dir[0])
        (void)live_wait(live_spawn(rm, NULL, NULL), FINISH_MS);
}
