/* SPDX-License-Identifier: MIT */
#include "reference-src/recorded.h"

#include "host/pump.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>
#include <vmstream/vmdesc.h>

/* Reads a recorded stream; everything of it is kept. */

enum {
    BLOCKS_MAX = 1024,
    SECTIONS_MAX = 2048,
    HUGE_PAGE = 2 << 20,
    SMALL_PAGE = 4096,
};

struct loading {
    struct src_recorded *r;
    bool ram, huge;
    bool ram_seen;
    uint64_t ram_limit, ram_bytes;
    uint8_t *into; /* bulk of the current record, else NULL */
};

static struct vms_slice keep(struct vms_slice s) {
    uint8_t *copy = malloc(s.len + 1);
    if (copy && s.len)
        memcpy(copy, s.ptr, s.len);
    if (copy)
        copy[s.len] = 0;
    return (struct vms_slice){copy, s.len};
}

static enum vms_code no_memory(struct vms_error *err) {
    return vms_error_set(err, VMS_E_NO_MEMORY, "the recorded stream");
}

static enum vms_code cannot(struct vms_error *err, const char *what) {
    return vms_error_set(err, VMS_E_SRC_RECORDING, "%s", what);
}

/* ---- records ---- */

static enum vms_code on_configuration(struct loading *l, const struct vms_record *rec,
                                      struct vms_error *err) {
    struct vms_rec_configuration *c = &l->r->config;
    c->machine = keep(rec->u.config.machine);
    bool ok = c->machine.ptr != NULL;
    for (unsigned i = 0; i < rec->u.config.subsection_count; i++) {
        struct vms_config_subsection *sub = &c->subsections[c->subsection_count++];
        *sub = rec->u.config.subsections[i];
        sub->body = keep(sub->body);
        ok &= sub->body.ptr != NULL;
        if (sub->kind == VMS_CONFIG_CAPABILITIES)
            return cannot(err, "a capability is on");
    }
    return ok ? VMS_OK : no_memory(err);
}

static void *map_block(uint64_t length, bool huge) {
    void *memory = mmap(NULL, (size_t)length, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | (huge ? MAP_HUGETLB : MAP_NORESERVE), -1, 0);
    return memory == MAP_FAILED ? NULL : memory;
}

static enum vms_code on_block(struct loading *l, const struct vms_record *rec,
                              struct vms_error *err) {
    const struct vms_rec_ram_block *b = &rec->u.block;
    struct src_recorded *r = l->r;
    if (r->block_count == BLOCKS_MAX || b->used_length > l->ram_limit - l->ram_bytes)
        return vms_error_set(err, VMS_E_LIMIT, "recorded RAM");
    l->ram_bytes += b->used_length;
    bool huge = l->huge && b->used_length % HUGE_PAGE == 0;
    struct vms_guest_block *block = &r->blocks[r->block_count++];
    *block = (struct vms_guest_block){.name = (const char *)keep(b->name).ptr,
                                      .length = b->used_length,
                                      .page_size = huge ? HUGE_PAGE : SMALL_PAGE,
                                      .fd = -1};
    if (l->ram)
        block->memory = map_block(b->used_length, huge);
    if (l->ram && !block->memory)
        return vms_error_set(err, VMS_E_NO_MEMORY, "%llu bytes%s: %s",
                             (unsigned long long)b->used_length, huge ? " in huge pages" : "",
                             strerror(errno));
    return block->name ? VMS_OK : no_memory(err);
}

static enum vms_code on_page(struct loading *l, const struct vms_record *rec,
                             struct vms_error *err) {
    const struct vms_rec_ram_page *p = &rec->u.page;
    if (p->block_index >= l->r->block_count)
        return cannot(err, "a page of an unknown block");
    struct vms_guest_block *b = &l->r->blocks[p->block_index];
    l->into = b->memory ? b->memory + p->offset : NULL;
    if (l->into && rec->type == VMS_R_RAM_ZERO)
        memset(l->into, 0, SMALL_PAGE);
    return VMS_OK;
}

static enum vms_code on_section(struct loading *l, const struct vms_record *rec,
                                struct vms_error *err) {
    if (rec->u.section.kind != VMS_SECTION_RAM)
        return cannot(err, "a section that is neither RAM nor a device");
    l->ram_seen = true;
    l->r->ram_id = rec->u.section.id;
    return VMS_OK;
}

static enum vms_code on_full(struct loading *l, const struct vms_record *rec,
                             struct vms_error *err) {
    struct src_recorded *r = l->r;
    if (rec->guessed || rec->bulk_len == VMS_BULK_UNKNOWN)
        return cannot(err, "device sections without a description that fits");
    if (rec->u.section.kind != VMS_SECTION_DEVICE || r->section_count == SECTIONS_MAX)
        return cannot(err, "a section that is no device's, or too many");
    struct src_recorded_section *s = &r->sections[r->section_count++];
    s->about = rec->u.section;
    s->about.idstr = keep(rec->u.section.idstr);
    s->early = !l->ram_seen;
    l->into = malloc(rec->bulk_len + 1);
    s->bytes = vms_slice(l->into, rec->bulk_len);
    return l->into && s->about.idstr.ptr ? VMS_OK : no_memory(err);
}

static enum vms_code on_vmdesc(struct loading *l, const struct vms_record *rec,
                               struct vms_error *err) {
    l->into = malloc(rec->bulk_len + 1);
    l->r->vmdesc = vms_slice(l->into, rec->bulk_len);
    return l->into ? VMS_OK : no_memory(err);
}

static enum vms_code on_command(struct loading *l, const struct vms_record *rec,
                                struct vms_error *err) {
    (void)l;
    switch (rec->u.command.command) {
    case VMS_CMD_OPEN_RETURN_PATH:
    case VMS_CMD_PING:
    case VMS_CMD_SWITCHOVER_START: return VMS_OK;
    default: return cannot(err, "a command of postcopy");
    }
}

static enum vms_code nothing(struct loading *l, const struct vms_record *rec,
                             struct vms_error *err) {
    (void)l, (void)rec, (void)err;
    return VMS_OK;
}

static enum vms_code (*const ON[VMS_RECORD_TYPE_COUNT])(struct loading *, const struct vms_record *,
                                                        struct vms_error *) = {
    [VMS_R_HEADER] = nothing,
    [VMS_R_CONFIGURATION] = on_configuration,
    [VMS_R_SECTION_START] = on_section,
    [VMS_R_SECTION_PART] = on_section,
    [VMS_R_SECTION_END] = on_section,
    [VMS_R_SECTION_FULL] = on_full,
    [VMS_R_SECTION_FOOTER] = nothing,
    [VMS_R_COMMAND] = on_command,
    [VMS_R_EOF] = nothing,
    [VMS_R_VMDESCRIPTION] = on_vmdesc,
    [VMS_R_RAM_MEM_SIZE] = nothing,
    [VMS_R_RAM_BLOCK] = on_block,
    [VMS_R_RAM_PAGE] = on_page,
    [VMS_R_RAM_ZERO] = on_page,
    [VMS_R_RAM_EOS] = nothing,
};

/* ---- the pump's sink ---- */

static enum vms_code take_record(void *ctx, const struct vms_record *rec, struct vms_answer *answer,
                                 struct vms_error *err) {
    struct loading *l = ctx;
    l->into = NULL;
    if (!ON[rec->type])
        return vms_error_set(err, VMS_E_SRC_RECORDING, "a record %s", vms_record_name(rec->type));
    enum vms_code code = ON[rec->type](l, rec, err);
    answer->want = l->into ? VMS_WANT_PIECES : VMS_WANT_DISCARD;
    return code;
}

static enum vms_code take_bulk(void *ctx, const struct vms_event *event, struct vms_error *err) {
    struct loading *l = ctx;
    (void)err;
    if (l->into)
        memcpy(l->into + event->bulk_offset, event->bulk.ptr, event->bulk.len);
    return VMS_OK;
}

static const struct vms_pump_sink_ops SINK = {take_record, take_bulk, vms_pump_no_direct,
                                              vms_pump_no_done};

/* ---- loading ---- */

static enum vms_code pump_all(struct loading *l, int fd, const struct vms_limits *limits,
                              struct vms_error *err) {
    struct vms_fd_source state;
    struct vms_vmdesc *vmdesc = vms_vmdesc_new();
    if (!vmdesc)
        return no_memory(err);
    struct vms_pump_config config = {.qevm = vms_qevm_config_default(),
                                     .source = vms_source_from_fd(&state, fd),
                                     .sink = {&SINK, l}};
    config.qevm.limits = *limits;
    config.qevm.vmdesc = vms_vmdesc_ops(vmdesc);
    struct vms_pump *pump = vms_pump_new(&config, err);
    enum vms_code code = pump ? VMS_OK : err->code;
    if (pump && vms_pump_run(pump, err) != VMS_PUMP_END)
        code = err->code;
    vms_pump_free(pump);
    vms_vmdesc_free(vmdesc);
    if (code == VMS_OK && !l->ram_seen)
        code = cannot(err, "there is no RAM in it");
    return code;
}

static struct src_recorded *new_recorded(void) {
    struct src_recorded *r = calloc(1, sizeof *r);
    if (!r)
        return NULL;
    r->blocks = calloc(BLOCKS_MAX, sizeof *r->blocks);
    r->sections = calloc(SECTIONS_MAX, sizeof *r->sections);
    if (r->blocks && r->sections)
        return r;
    src_recorded_free(r);
    return NULL;
}

enum vms_code src_recorded_load(const char *path, const struct vms_limits *limits, bool ram,
                                bool huge, struct src_recorded **out, struct vms_error *err) {
    struct loading l = {.ram = ram, .huge = huge, .ram_limit = limits->ram_bytes};
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return vms_error_set(err, VMS_E_CONNECT, "%.100s: %s", path, strerror(errno));
    l.r = new_recorded();
    enum vms_code code = l.r ? pump_all(&l, fd, limits, err) : no_memory(err);
    close(fd);
    if (code != VMS_OK) {
        src_recorded_free(l.r);
        return code;
    }
    *out = l.r;
    return VMS_OK;
}

static void drop(struct vms_slice s) {
    free((void *)(uintptr_t)s.ptr);
}

void src_recorded_free(struct src_recorded *r) {
    if (!r)
        return;
    for (size_t i = 0; i < r->section_count; i++) {
        drop(r->sections[i].about.idstr);
        drop(r->sections[i].bytes);
    }
    for (size_t i = 0; i < r->block_count; i++) {
        if (r->blocks[i].memory)
            (void)munmap(r->blocks[i].memory, (size_t)r->blocks[i].length);
        free((void *)(uintptr_t)r->blocks[i].name);
    }
    drop(r->config.machine);
    for (unsigned i = 0; i < r->config.subsection_count; i++)
        drop(r->config.subsections[i].body);
    drop(r->vmdesc);
    free(r->sections);
    free(r->blocks);
    free(r);
}
