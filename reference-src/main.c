/* SPDX-License-Identifier: MIT */
#include "reference-src/cards.h"
#include "reference-src/control.h"
#include "reference-src/devices/vfio.h"
#include "reference-src/recorded.h"
#include "reference-src/report.h"
#include "reference-src/resolve.h"
#include "reference-src/vm/vm.h"

#include "host/backend.h"
#include "host/display.h"
#include <signal.h>
#include <stdio.h>
#include <time.h>

/* reference-src: migrates a guest. Exit status: 0 done, 1 peer, 2 usage, 3 local (design §5). */

struct program {
    struct src_options options;
    struct vms_vm *vm;
    struct src_recorded *recorded;
    struct src_replay *replay;
    const struct vms_guest *guest;
    struct src_vfio *vfio;
    struct src_cards cards;
    struct src_device devices[SRC_DEVICES_MAX];
    struct src_report_devices lanes;
    bool initial[SRC_DEVICES_MAX];
    struct vms_dirty tracker, dirty; /* dirty: with what devices write */
    struct vms_backend *crypto;      /* held from the start; a session that needs it says why not */
    struct vms_timeline *timeline;
    struct vms_display *display;
    struct src_session *session;
    struct src_control *control;
    struct src_outcome outcome;
};

static int exit_status(const struct vms_error *err) {
    if (!err->code)
        return 0;
    return err->class_ == VMS_CLASS_PEER || err->class_ == VMS_CLASS_LIMIT ? 1 : 3;
}

/* ---- the guest ---- */

/* The blocks of both are the same: what is recorded of devices fits no other machine (SRC-12). */
static enum vms_code check_blocks(const struct vms_guest *g, const struct src_recorded *r,
                                  struct vms_error *err) {
    if (g->block_count != r->block_count)
        return vms_error_set(err, VMS_E_SRC_RECORDING, "%zu blocks are recorded, the VM has %zu",
                             r->block_count, g->block_count);
    for (size_t i = 0; i < r->block_count; i++)
        if (strcmp(g->blocks[i].name, r->blocks[i].name) != 0 ||
            g->blocks[i].length != r->blocks[i].length)
            return vms_error_set(err, VMS_E_SRC_RECORDING, "block %.60s is not the VM's %.60s",
                                 r->blocks[i].name, g->blocks[i].name);
    return VMS_OK;
}

static enum vms_code load_recorded(struct program *p, struct vms_error *err) {
    struct src_options *o = &p->options;
    if (!o->device_state)
        return VMS_OK;
    enum vms_code code =
        src_recorded_load(o->device_state, &o->limits, !o->vm, o->huge_pages, &p->recorded, err);
    if (code != VMS_OK)
        return code;
    o->recorded = p->recorded;
    o->machine = (const char *)p->recorded->config.machine.ptr;
    if (o->vm)
        return VMS_OK;
    code = src_replay_new(p->recorded, o->touch, &p->replay, err);
    p->guest = code == VMS_OK ? src_replay_guest(p->replay) : NULL;
    return code;
}

static enum vms_code make_guest(struct program *p, struct vms_error *err) {
    struct src_options *o = &p->options;
    enum vms_code code = load_recorded(p, err);
    if (code == VMS_OK && o->vm) {
        code = vms_vm_new(o->vm, VMS_VM_SOURCE, &p->vm, err);
        p->guest = code == VMS_OK ? vms_vm_guest(p->vm) : NULL;
        if (code == VMS_OK && p->recorded)
            code = check_blocks(p->guest, p->recorded, err);
    }
    if (code == VMS_OK)
        code = src_cards_add(&p->cards, o, &p->guest, err);
    if (!o->machine)
        o->machine = "vmstream";
    return code == VMS_OK ? p->guest->ops->run(p->guest->ctx, err) : code;
}

/* ---- VFIO devices ---- */

static enum src_vfio_ack ack_of(const struct src_options *o) {
    struct vms_dialect d = o->dialect;
    if (o->native)
        return SRC_VFIO_ACK_EACH;
    vms_dialect_learn_machine(&d, vms_str(o->machine));
    if (!o->switchover_ack)
        return SRC_VFIO_ACK_NONE;
    return d.ack_legacy == VMS_ON ? SRC_VFIO_ACK_LEGACY : SRC_VFIO_ACK_EACH;
}

/* Devices write into guest memory, too: their tracker is laid over the kernel's. */
static enum vms_code make_vfio(struct program *p, struct src_session_host *host,
                               struct vms_error *err) {
    const struct src_options *o = &p->options;
    if (!o->vfio_count)
        return VMS_OK;
    enum vms_code code =
        src_vfio_new(p->guest, o->vfio, o->vfio_count, 1, ack_of(o), &p->vfio, err);
    if (code == VMS_OK)
        code = vms_dirty_new(o->dirty, p->guest, &p->tracker, err);
    if (code == VMS_OK)
        code = src_vfio_dirty(p->vfio, p->tracker, &p->dirty, err);
    if (code != VMS_OK)
        return code;
    for (size_t i = 0; i < o->vfio_count; i++) {
        p->devices[i] = src_vfio_device(p->vfio, i);
        p->initial[i] = src_vfio_has_initial(p->vfio, i);
    }
    host->guest = src_vfio_guest(p->vfio);
    host->device_count = o->vfio_count;
    return VMS_OK;
}

/* ---- vDPA devices: behind the VFIO devices, and laid over their tracker ---- */

static enum vms_code make_vdpa(struct program *p, struct src_session_host *host,
                               struct vms_error *err) {
    const struct src_options *o = &p->options;
    uint32_t first = 1 + (uint32_t)host->device_count;
    enum vms_code code = VMS_OK;
    if (!o->vdpa_count)
        return VMS_OK;
    if (!p->dirty.ops)
        code = vms_dirty_new(o->dirty, p->guest, &p->dirty, err);
    if (code == VMS_OK)
        code = src_cards_start(&p->cards, o, first, &host->guest, &p->dirty, err);
    for (size_t i = 0; i < o->vdpa_count && code == VMS_OK; i++)
        p->devices[host->device_count++] = src_vdpa_device(p->cards.vdpa, i);
    return code;
}

static enum vms_code make_devices(struct program *p, struct src_session_host *host,
                                  struct vms_error *err) {
    if (p->options.vfio_count + p->options.vdpa_count >= SRC_DEVICES_MAX)
        return vms_error_set(err, VMS_E_MISUSE, "too many devices");
    if (make_vfio(p, host, err) != VMS_OK || make_vdpa(p, host, err) != VMS_OK)
        return err->code;
    if (host->device_count == 0)
        return VMS_OK;
    host->dirty = &p->dirty;
    host->devices = p->devices;
    host->initial = p->initial;
    host->watch = src_report_watch;
    host->watch_ctx = &p->lanes;
    p->lanes.vfio = p->vfio;
    p->lanes.vdpa = p->cards.vdpa;
    p->lanes.timeline = p->timeline;
    return VMS_OK;
}

/* ---- the migration ---- */

static void refresh(void *ctx, uint64_t now_ns) {
    src_session_refresh(ctx, now_ns);
}

static enum vms_code start(struct program *p, struct vms_error *err) {
    struct vms_timeline_options t = {.end = VMS_END_SOURCE, .started_unix_s = time(NULL)};
    struct src_session_host host = {.guest = p->guest};
    p->timeline = host.timeline = vms_timeline_new(&t, vms_display_now());
    if (make_devices(p, &host, err) != VMS_OK)
        return err->code;
    p->session = src_session_new(&p->options, &host, err);
    if (!p->session)
        return err->code;
    p->lanes.session = p->session;
    struct vms_display_options d = {.fd = p->options.quiet ? -1 : STDERR_FILENO,
                                    .program = "reference-src",
                                    .refresh = refresh,
                                    .ctx = p->session};
    p->control = src_control_start(p->session, p->options.control, err);
    p->display = p->control ? vms_display_start(p->timeline, &d) : NULL;
    return p->control ? VMS_OK : err->code;
}

static void migrate(struct program *p) {
    struct vms_error err = {0};
    p->crypto = p->options.native ? vms_backend_new(NULL, &err) : NULL;
    if (make_guest(p, &err) != VMS_OK || start(p, &err) != VMS_OK) {
        p->outcome = (struct src_outcome){SRC_FAILED, SRC_OWNER_OURS, err, false};
        return;
    }
    src_session_run(p->session, &p->outcome);
}

/* ---- the end ---- */

static const char *where_is_it(const struct src_outcome *o) {
    switch (o->owner) {
    case SRC_OWNER_OURS:
        return o->stands ? "the guest was ours and did not run: somebody else has its storage locks"
                         : "the guest is here, as before";
    case SRC_OWNER_THEIRS: return "the guest is the destination's";
    case SRC_OWNER_UNKNOWN: return "it is not known which end runs the guest";
    case SRC_OWNER_LOST:
    case SRC_OWNER_COUNT: break;
    }
    return "the guest is lost: no end has all of it";
}

static void explain(const struct program *p) {
    const struct src_outcome *o = &p->outcome;
    if (o->error.code)
        fprintf(stderr, "reference-src: %s: %s\n  clause %s; %s\n", vms_code_name(o->error.code),
                o->error.message, o->error.clause ? o->error.clause : "-", where_is_it(o));
    else if (!p->options.quiet)
        fprintf(stderr, "reference-src: %s; %s\n", src_state_name(o->state), where_is_it(o));
}

/* [VDEV-15] */
static void explain_lost(const struct program *p) {
    const struct vms_error *lost = p->vfio ? src_vfio_lost(p->vfio) : NULL;
    if (lost && lost->code && p->outcome.owner == SRC_OWNER_OURS && !p->outcome.stands)
        fprintf(stderr, "reference-src: %s: %s; the guest runs without it\n",
                vms_code_name(lost->code), lost->message);
}

/* A guest that is ours has to be as it was: its pages check themselves. */
static void check_vm(struct program *p) {
    struct vms_vm_report r;
    struct vms_error err;
    if (!p->vm || p->outcome.owner != SRC_OWNER_OURS ||
        p->guest->ops->stop(p->guest->ctx, &err) != VMS_OK)
        return;
    bool good =
        vms_vm_check(p->vm, &r, &err) == VMS_OK && src_cards_check(&p->cards, &err) == VMS_OK;
    if (!good && !p->outcome.error.code)
        p->outcome.error = err;
}

static void clean_up(struct program *p) {
    src_control_stop(p->control);
    vms_display_stop(p->display);
    src_session_free(p->session);
    if (p->dirty.ops)
        p->dirty.ops->free(p->dirty.ctx);
    /* Each wraps the guest of the one below it. */
    src_cards_detach(&p->cards);
    src_vfio_free(p->vfio);
    src_cards_free(&p->cards);
    src_replay_free(p->replay);
    src_recorded_free(p->recorded);
    vms_vm_free(p->vm);
    vms_timeline_free(p->timeline);
    vms_backend_free(p->crypto);
}

/* As the report has it (REP). */
static const char *result_name(enum src_state state) {
    switch (state) {
    case SRC_COMPLETED: return "completed";
    case SRC_CANCELLED: return "cancelled";
    case SRC_IN_DOUBT: return "in doubt";
    default: return "failed";
    }
}

/* Simulated devices want the program to be started under the simulation. */
static int simulate(const struct src_options *o, char **argv) {
    struct vms_error err;
    bool simulated = false;
    for (size_t i = 0; i < o->vfio_count; i++)
        simulated |= strncmp(o->vfio[i], "sim:", 4) == 0;
    for (size_t i = 0; i < o->vdpa_count; i++)
        simulated |= strncmp(o->vdpa[i], "sim:", 4) == 0;
    if (!simulated || vms_vfio_simulate(argv, &err) == VMS_OK)
        return -1;
    fprintf(stderr, "reference-src: %s\n", err.message);
    return 3;
}

int main(int argc, char **argv) {
    static struct program program;
    struct program *p = &program;
    int status = src_options_parse(argc, argv, &p->options);
    (void)signal(SIGPIPE, SIG_IGN);
    if (status < 0)
        status = simulate(&p->options, argv);
    if (status < 0 && (p->options.resolve || p->options.inquire))
        status = src_resolve_journals(&p->options);
    if (status >= 0)
        return status;
    src_control_block_signals();
    migrate(p);
    check_vm(p);
    status = exit_status(&p->outcome.error);
    if (p->session)
        src_session_refresh(p->session, vms_display_now());
    vms_timeline_result(p->timeline, vms_display_now(), result_name(p->outcome.state),
                        p->outcome.error.code ? &p->outcome.error : NULL);
    struct vms_error err;
    vms_display_stop(p->display);
    p->display = NULL;
    if (p->options.report &&
        src_report_write(&p->options, &p->lanes, p->timeline, &p->outcome, &err) != 0) {
        fprintf(stderr, "reference-src: report: %s\n", err.message);
        status = status ? status : 3;
    }
    explain(p);
    explain_lost(p);
    clean_up(p);
    return status;
}
