/* SPDX-License-Identifier: MIT */
#include "tool/migration.h"
#include "tool/native_in.h"
#include "tool/vmdesc_find.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Takes "preempt:", "recovery:" or "return-path:" off a file's name. True when there was one. */
static bool take_prefix(const char **name, enum vms_qevm_kind *kind) {
    static const struct {
        const char *prefix;
        enum vms_qevm_kind kind;
    } prefixes[] = {{"preempt:", VMS_QEVM_PREEMPT},
                    {"recovery:", VMS_QEVM_RECOVERY},
                    {"return-path:", VMS_QEVM_RETURN_PATH}};
    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++) {
        size_t len = strlen(prefixes[i].prefix);
        if (strncmp(*name, prefixes[i].prefix, len) != 0)
            continue;
        *name += len;
        *kind = prefixes[i].kind;
        return true;
    }
    return false;
}

static int open_file(struct migration_channel *c) {
    bool standard = strcmp(c->name, "-") == 0;
    c->fd =
        standard ? fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 0) : open(c->name, O_RDONLY | O_CLOEXEC);
    if (standard)
        c->name = "standard input";
    if (c->fd < 0)
        return tool_local("%s: %s", c->name, strerror(errno));
    off_t at = lseek(c->fd, 0, SEEK_CUR);
    c->start = at > 0 ? (uint64_t)at : 0;
    c->source = vms_source_from_fd(&c->source_state, c->fd);
    return TOOL_DONE;
}

/* The first bytes, which the pump is given back. */
static int read_magic(struct migration_channel *c, uint8_t magic[4], size_t *len) {
    for (*len = 0; *len < 4;) {
        ssize_t n = read(c->fd, magic + *len, 4 - *len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return tool_local("%s: %s", c->name, strerror(errno));
        if (n == 0)
            break;
        *len += (size_t)n;
    }
    return TOOL_DONE;
}

/* RFC 9277: tag 55801 labels data that is not CBOR, as native streams are. */
static bool is_native(const uint8_t *magic, size_t len) {
    static const uint8_t label[] = {0xd9, 0xd9, 0xf9};
    return len >= sizeof label && memcmp(magic, label, sizeof label) == 0;
}

static int find_kind(struct migration_channel *c, bool named, enum vms_qevm_kind fallback,
                     struct vms_slice magic) {
    if (named)
        return TOOL_DONE;
    if (fallback == VMS_QEVM_RETURN_PATH) {
        c->kind = fallback; /* what was asked for, whatever it begins with */
        return TOOL_DONE;
    }
    c->kind = vms_qevm_sniff(magic, c->number == 0 ? fallback : VMS_QEVM_RETURN_PATH);
    if (c->number == 0)
        return TOOL_DONE;
    if (c->kind == VMS_QEVM_MAIN)
        return tool_usage("%s: a second main channel; it comes first, and there is one", c->name);
    if (c->kind == VMS_QEVM_RETURN_PATH)
        return tool_usage(
            "%s: no multifd channel; name it preempt:FILE, recovery:FILE or return-path:FILE",
            c->name);
    return TOOL_DONE;
}

static void on_progress(void *ctx, uint64_t bytes, uint64_t total) {
    struct migration_channel *c = ctx;
    (void)total;
    progress_add(&c->migration->progress, bytes - c->told);
    c->told = bytes;
}

static struct vms_qevm_config qevm_config(struct migration *m, const struct migration_channel *c) {
    struct vms_qevm_config config = vms_qevm_config_default();
    config.kind = c->kind;
    config.channel = c->number;
    config.dialect = m->dialect;
    config.limits = m->options->limits;
    if (c->kind != VMS_QEVM_MAIN)
        return config;
    config.tail_mode = m->opaque ? VMS_TAIL_OPAQUE : VMS_TAIL_HOLD;
    config.vmdesc = vms_vmdesc_ops(m->vmdesc);
    config.vmdesc_preloaded = m->described;
    return config;
}

enum vms_code migration_make_pump(struct migration_channel *c,
                                  const struct migration_consumer *consumer, struct vms_slice begin,
                                  struct vms_error *err) {
    struct vms_pump_config config = {
        .qevm = qevm_config(c->migration, c),
        .source = c->source,
        .sink = {&migration_sink_ops, c},
        .progress = c->native ? NULL : on_progress,
        .progress_ctx = c,
    };
    if (consumer->open(consumer->ctx, c, &c->sink, err) != VMS_OK)
        return err->code;
    c->pump = vms_pump_new(&config, err);
    if (!c->pump)
        return err->code;
    (void)vms_pump_feed(c->pump, begin);
    return VMS_OK;
}

/* A native file has all channels in it; migration_channels are made as they come. */
static int open_native(struct migration *m, const struct migration_consumer *consumer,
                       struct vms_slice begin) {
    struct migration_channel *c = &m->channels[0];
    int fd = c->fd;
    if (m->options->file_count > 1)
        return tool_usage("%s: a native file holds all channels: give it alone",
                          m->options->files[0]);
    return native_input_open(m, c->name, fd, begin, consumer);
}

static int open_channel(struct migration_channel *c, enum vms_qevm_kind fallback,
                        const struct migration_consumer *consumer) {
    struct migration *m = c->migration;
    struct vms_error err = {0};
    uint8_t magic[4];
    size_t len = 0;
    bool named = take_prefix(&c->name, &c->kind);
    int status = open_file(c);
    if (status == TOOL_DONE)
        status = read_magic(c, magic, &len);
    if (status == TOOL_DONE && is_native(magic, len))
        return open_native(m, consumer, vms_slice(magic, len));
    if (status == TOOL_DONE)
        status = find_kind(c, named, fallback, vms_slice(magic, len));
    if (status != TOOL_DONE)
        return status;
    m->multifd_count += c->kind == VMS_QEVM_MULTIFD && c->number != 0;
    if (c->kind == VMS_QEVM_MAIN)
        m->described = vmdesc_find(c->fd, m->options->limits.vmdesc_bytes, m->vmdesc);
    if (migration_make_pump(c, consumer, vms_slice(magic, len), &err) != VMS_OK)
        return tool_local("%s: %s", c->name, err.message);
    return TOOL_DONE;
}

static bool is_same_file(int fd, const struct stat *st) {
    struct stat in;
    return fstat(fd, &in) == 0 && in.st_dev == st->st_dev && in.st_ino == st->st_ino;
}

bool migration_reads(const struct migration *m, const char *path) {
    struct stat st;
    if (stat(path, &st) < 0)
        return false;
    for (size_t i = 0; i < m->count; i++)
        if (m->channels[i].fd >= 0 && is_same_file(m->channels[i].fd, &st))
            return true;
    return m->native && is_same_file(native_input_fd(m->native), &st);
}

static uint64_t sum_of_totals(const struct migration *m) {
    uint64_t sum = 0;
    for (size_t i = 0; i < m->count; i++)
        if (__builtin_add_overflow(sum, m->channels[i].source.total, &sum))
            return UINT64_MAX;
    return sum;
}

int migration_open(struct migration *m, const struct tool_options *options,
                   enum vms_qevm_kind fallback, const struct migration_consumer *consumer) {
    *m = (struct migration){
        .options = options, .dialect = options->dialect, .flush = options->dialect.multifd_flush};
    if (options->file_count > MIGRATION_CHANNELS)
        return tool_usage("more than %d files", MIGRATION_CHANNELS);
    m->vmdesc = vms_vmdesc_new();
    m->channels = calloc((size_t)options->file_count, sizeof *m->channels);
    if (!m->vmdesc || !m->channels)
        return tool_local("not enough memory");
    while (!m->native && m->count < (size_t)options->file_count) {
        struct migration_channel *c = &m->channels[m->count];
        *c = (struct migration_channel){.migration = m,
                                        .name = options->files[m->count],
                                        .number = (uint32_t)m->count,
                                        .fd = -1};
        m->count++;
        int status = open_channel(c, fallback, consumer);
        if (status != TOOL_DONE)
            return status;
    }
    progress_start(&m->progress, m->native ? native_input_total(m->native) : sum_of_totals(m));
    return TOOL_DONE;
}

void migration_close(struct migration *m) {
    for (size_t i = 0; i < m->count; i++) {
        vms_pump_free(m->channels[i].pump);
        if (m->channels[i].fd >= 0)
            (void)close(m->channels[i].fd);
    }
    free(m->channels);
    vms_vmdesc_free(m->vmdesc);
    native_input_close(m->native);
    m->native = NULL;
    m->channels = NULL;
    m->vmdesc = NULL;
    m->count = 0;
}
