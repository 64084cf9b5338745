/* SPDX-License-Identifier: MIT */
#include "reference-src/session_impl.h"

#include "host/journal.h"

/* What the engine wants done, and the answer to it. */

typedef enum vms_code act(struct src_session *s, const struct src_action *a,
                          struct src_event *answer, struct vms_error *err);

enum {
    TARGET_PAGE = 4096,
};

#define WIRE(s, call, ...) (s)->wire.ops->call((s)->wire.ctx, ##__VA_ARGS__)

/* ---- the connection ---- */

/* [HND-11] A session begins with a record, so that a journal that is missing later was lost. */
static enum vms_code open_journal(struct src_session *s, struct vms_error *err) {
    struct vms_journal_record r = {.journal = VMS_JOURNAL_NONE, .role = VMS_ROLE_SOURCE};
    memcpy(r.session, s->id, sizeof r.session);
    return vms_journal_write(s->options.journal, &r, err);
}

static enum vms_code do_connect(struct src_session *s, const struct src_action *a,
                                struct src_event *answer, struct vms_error *err) {
    (void)a;
    answer->kind = SRC_EV_CONNECTED;
    enum vms_code code = WIRE(s, connect, err);
    if (code == VMS_OK)
        src_facts_agreed(s);
    return code == VMS_OK && s->options.journal ? open_journal(s, err) : code;
}

static enum vms_code do_reconnect(struct src_session *s, const struct src_action *a,
                                  struct src_event *answer, struct vms_error *err) {
    (void)a, (void)answer, (void)err;
    src_reconnect_begin(s);
    return VMS_OK;
}

static enum vms_code do_abort(struct src_session *s, const struct src_action *a,
                              struct src_event *answer, struct vms_error *err) {
    struct vms_error why = s->error;
    (void)answer, (void)err;
    if (why.code != (enum vms_code)a->value)
        (void)vms_error_set(&why, (enum vms_code)a->value, NULL);
    WIRE(s, abort, &why);
    return VMS_OK;
}

/* ---- devices ---- */

/* [SRC-7] Writes are followed before the first page is read. */
static enum vms_code do_setup(struct src_session *s, const struct src_action *a,
                              struct src_event *answer, struct vms_error *err) {
    (void)a;
    answer->kind = SRC_EV_SETUP_SENT;
    enum vms_code code = WIRE(s, setup, s->host.guest, s->options.postcopy, err);
    for (uint32_t i = 0; i < s->device_count && code == VMS_OK; i++)
        code = s->devices[i].ops->setup(s->devices[i].ctx, &s->wire, err);
    return code;
}

static enum vms_code do_query(struct src_session *s, const struct src_action *a,
                              struct src_event *answer, struct vms_error *err) {
    struct src_device *d = &s->devices[a->device];
    answer->kind = SRC_EV_PENDING;
    return d->ops->pending(d->ctx, a->exact, &answer->pending, err);
}

/*
 * [ENG-18] What has left this process, counted as pending is: pages of a queue have not, and zero
 * pages say nothing about how fast others go.
 */
static uint64_t has_left(struct src_session *s) {
    struct src_wire_stats stats;
    uint64_t pages = 0;
    WIRE(s, stats, &stats);
    for (size_t i = 0; i < stats.channel_count; i++)
        pages += stats.channels[i].pages;
    return pages * TARGET_PAGE + s->device_bytes;
}

static enum vms_code do_save(struct src_session *s, const struct src_action *a,
                             struct src_event *answer, struct vms_error *err) {
    struct src_device *d = &s->devices[a->device];
    answer->kind = SRC_EV_SAVED;
    enum vms_code code =
        d->ops->save(d->ctx, &s->wire, a->value, &answer->value, &answer->more, err);
    if (a->device != 0) /* RAM's are counted by the wire */
        s->device_bytes += answer->value;
    answer->left = has_left(s);
    return code;
}

static enum vms_code do_final(struct src_session *s, const struct src_action *a,
                              struct src_event *answer, struct vms_error *err) {
    struct src_device *d = &s->devices[a->device];
    answer->kind = SRC_EV_FINAL_SENT;
    return d->ops->final(d->ctx, &s->wire, a->value == 1, err);
}

static enum vms_code do_devices(struct src_session *s, const struct src_action *a,
                                struct src_event *answer, struct vms_error *err) {
    const struct vms_guest *g = s->host.guest;
    struct vms_slice state = {0};
    answer->kind = SRC_EV_DEVICES_SENT;
    enum vms_code code = g->ops->save(g->ctx, &state.ptr, &state.len, err);
    return code == VMS_OK ? WIRE(s, devices, state, a->value == 1, err) : code;
}

static enum vms_code do_discard(struct src_session *s, const struct src_action *a,
                                struct src_event *answer, struct vms_error *err) {
    (void)a, (void)answer;
    return src_ram_discard(&s->devices[0], &s->wire, err);
}

static enum vms_code do_granted(struct src_session *s, const struct src_action *a,
                                struct src_event *answer, struct vms_error *err) {
    struct src_device *d = &s->devices[a->device];
    (void)answer, (void)err;
    d->ops->granted(d->ctx, a->generation);
    return VMS_OK;
}

/* ---- the guest ---- */

const char *src_downtime_text(uint64_t ns, char out[SRC_DOWNTIME_TEXT]) {
    if (ns == UINT64_MAX)
        return "not known yet";
    (void)snprintf(out, SRC_DOWNTIME_TEXT, "%.0f ms", (double)ns / 1e6);
    return out;
}

static enum vms_code do_stop(struct src_session *s, const struct src_action *a,
                             struct src_event *answer, struct vms_error *err) {
    const struct src_figures *f = src_engine_figures(s->engine);
    char downtime[SRC_DOWNTIME_TEXT];
    (void)a;
    src_say(s, "switching over: %.1f MiB at %.1f MiB/s, expected downtime %s",
            (double)f->pending / 1048576, (double)f->bandwidth / 1048576,
            src_downtime_text(f->expected_downtime_ns, downtime));
    answer->kind = SRC_EV_STOPPED;
    return s->host.guest->ops->stop(s->host.guest->ctx, err);
}

static enum vms_code do_run(struct src_session *s, const struct src_action *a,
                            struct src_event *answer, struct vms_error *err) {
    (void)a, (void)answer;
    for (uint32_t i = 0; i < s->device_count; i++)
        s->devices[i].ops->resumed(s->devices[i].ctx);
    src_mark(s, VMS_EVENT_RESTARTED, 0);
    return s->host.guest->ops->run(s->host.guest->ctx, err);
}

static enum vms_code do_throttle(struct src_session *s, const struct src_action *a,
                                 struct src_event *answer, struct vms_error *err) {
    (void)answer, (void)err;
    s->host.guest->ops->throttle(s->host.guest->ctx, (unsigned)a->value);
    src_mark(s, VMS_EVENT_THROTTLE, a->value);
    return VMS_OK;
}

/* A failure is an answer, too. */
static enum vms_code do_locks(struct src_session *s, const struct src_action *a,
                              struct src_event *answer, struct vms_error *err) {
    answer->kind = SRC_EV_LOCKS;
    answer->value = s->host.guest->ops->locks(s->host.guest->ctx, a->value == 1, err);
    if (answer->value)
        src_say(s, "locks: %s", err->message);
    return VMS_OK;
}

/* ---- the hand-over ---- */

static enum vms_code do_switchover(struct src_session *s, const struct src_action *a,
                                   struct src_event *answer, struct vms_error *err) {
    (void)answer;
    return WIRE(s, switchover, a->device, a->generation, a->kind == SRC_DO_GRANT, err);
}

static enum vms_code do_start(struct src_session *s, const struct src_action *a,
                              struct src_event *answer, struct vms_error *err) {
    (void)answer;
    src_mark(s, VMS_EVENT_START, a->generation);
    return WIRE(s, start, a->generation, a->value == 1, err);
}

/* [HND-13] Without a folder nothing outlives this program, and nothing is claimed to. */
static enum vms_code do_write(struct src_session *s, const struct src_action *a,
                              struct src_event *answer, struct vms_error *err) {
    struct vms_journal_record r = {
        .journal = a->journal, .role = VMS_ROLE_SOURCE, .generation = a->generation};
    memcpy(r.session, s->id, sizeof r.session);
    r.postcopy = a->value == 1;
    s->written = r;
    answer->kind = SRC_EV_WRITTEN;
    if (!s->options.journal)
        return VMS_OK;
    if (vms_journal_write(s->options.journal, &r, err) != VMS_OK) {
        src_say(s, "journal: %s", err->message);
        answer->kind = SRC_EV_WRITE_FAILED;
    }
    return VMS_OK;
}

/* [SRC-3] From here on an order to cancel cuts nothing short. */
static enum vms_code do_commit(struct src_session *s, const struct src_action *a,
                               struct src_event *answer, struct vms_error *err) {
    pthread_mutex_lock(&s->lock);
    s->abortable = false;
    pthread_mutex_unlock(&s->lock);
    src_mark(s, VMS_EVENT_COMMIT, a->generation);
    answer->kind = SRC_EV_COMMIT_SENT;
    enum vms_code code = WIRE(s, commit, a->generation, a->value == 1, err);
    return code == VMS_OK ? WIRE(s, flush, err) : code;
}

/* ---- postcopy ---- */

static enum vms_code do_pages(struct src_session *s, const struct src_action *a,
                              struct src_event *answer, struct vms_error *err) {
    (void)a, (void)answer, (void)err;
    src_mark(s, VMS_EVENT_POSTCOPY, 0);
    src_sender_start(s);
    return VMS_OK;
}

static enum vms_code do_end(struct src_session *s, const struct src_action *a,
                            struct src_event *answer, struct vms_error *err) {
    (void)a, (void)answer;
    return WIRE(s, end, err);
}

static enum vms_code do_bitmaps(struct src_session *s, const struct src_action *a,
                                struct src_event *answer, struct vms_error *err) {
    (void)a, (void)answer;
    return WIRE(s, ask_bitmaps, err);
}

static enum vms_code do_resume(struct src_session *s, const struct src_action *a,
                               struct src_event *answer, struct vms_error *err) {
    (void)a, (void)answer;
    src_ram_go_on(&s->devices[0]);
    return WIRE(s, resume, err);
}

/* ---- time, people, the end ---- */

static enum vms_code do_arm(struct src_session *s, const struct src_action *a,
                            struct src_event *answer, struct vms_error *err) {
    (void)answer, (void)err;
    uint64_t at = src_now_ns() + a->value;
    s->deadline_ns[a->timer] = at < a->value || at > INT64_MAX ? INT64_MAX : at;
    return VMS_OK;
}

static enum vms_code do_disarm(struct src_session *s, const struct src_action *a,
                               struct src_event *answer, struct vms_error *err) {
    (void)answer, (void)err;
    s->deadline_ns[a->timer] = 0;
    return VMS_OK;
}

/* [MIG-25] [MIG-28] Pages that were left here, and cannot follow the guest. */
static void tell_given_up(struct src_session *s) {
    if (src_engine_owner(s->engine) == SRC_OWNER_LOST)
        src_say(s, "given up: the guest is at the destination, and pages of it that were left here "
                   "cannot follow it");
    else
        src_say(s, "given up: the guest is the destination's, and all its pages were sent; whether "
                   "all have arrived the destination knows");
}

/* [ENG-30] */
static void tell_stands(struct src_session *s) {
    src_say(s,
            s->finished
                ? "over: the guest stands here without its storage locks, and goes with this "
                  "program; see who has them, and that only one end runs the guest"
                : "the guest is ours and stands: its storage locks are not to be had, so the "
                  "destination may run it; find out, see that they are free and order \"resolve\" "
                  "as \"ours\", or as \"theirs\"; they are tried for some more seconds");
}

/* [ENG-25] What is known, and what can be done about it. */
static enum vms_code do_tell(struct src_session *s, const struct src_action *a,
                             struct src_event *answer, struct vms_error *err) {
    (void)a, (void)answer, (void)err;
    enum src_state state = src_engine_state(s->engine);
    if (state == SRC_PAUSED)
        src_say(s, "postcopy is paused: the guest is at the destination, pages are left here; make "
                   "the destination listen again, then order \"recover\"");
    else if (src_engine_owner(s->engine) == SRC_OWNER_OURS)
        tell_stands(s);
    else if (state == SRC_FAILED)
        tell_given_up(s);
    else if (state == SRC_COMMITTED) /* the connection stands: the destination has the word */
        src_say(s, "in doubt: the destination does not say that the guest runs there; see what it "
                   "says, or resolve it there");
    else
        src_say(s,
                "in doubt: the guest may run at the destination and does not run here; find out, "
                "then order \"resolve\" as \"ours\" or \"theirs\"");
    return VMS_OK;
}

/* [HND-16] Every page has arrived: no restart is to say that some were left. */
static void note_whole(struct src_session *s) {
    struct vms_error err;
    bool told = s->written.journal == VMS_JOURNAL_GONE && s->written.postcopy;
    if (!s->options.journal || !told || src_engine_state(s->engine) != SRC_COMPLETED)
        return;
    s->written.postcopy = false;
    if (vms_journal_write(s->options.journal, &s->written, &err) != VMS_OK)
        src_say(s, "journal: %s", err.message);
}

static enum vms_code do_finish(struct src_session *s, const struct src_action *a,
                               struct src_event *answer, struct vms_error *err) {
    struct vms_error ignored;
    (void)a, (void)answer, (void)err;
    src_sender_stop(s);
    s->finished = true;
    note_whole(s);
    for (uint32_t i = 0; i < s->device_count; i++)
        s->devices[i].ops->cleanup(s->devices[i].ctx);
    if (src_engine_state(s->engine) == SRC_COMPLETED)
        (void)WIRE(s, close, &ignored);
    else
        WIRE(s, abort, &s->error);
    return VMS_OK;
}

/* clang-format off */
static act *const DO[SRC_ACTION_COUNT] = {
    [SRC_DO_CONNECT] = do_connect,         [SRC_DO_SEND_SETUP] = do_setup,
    [SRC_DO_QUERY] = do_query,             [SRC_DO_SAVE] = do_save,
    [SRC_DO_STOP_GUEST] = do_stop,         [SRC_DO_RUN_GUEST] = do_run,
    [SRC_DO_THROTTLE] = do_throttle,       [SRC_DO_SAVE_FINAL] = do_final,
    [SRC_DO_SAVE_DEVICES] = do_devices,    [SRC_DO_DISCARD] = do_discard,
    [SRC_DO_GRANT] = do_switchover,        [SRC_DO_REQUEST] = do_switchover,
    [SRC_DO_GRANTED] = do_granted,         [SRC_DO_LOCKS] = do_locks,
    [SRC_DO_SEND_START] = do_start,        [SRC_DO_WRITE] = do_write,
    [SRC_DO_SEND_COMMIT] = do_commit,      [SRC_DO_SEND_PAGES] = do_pages,
    [SRC_DO_SEND_END] = do_end,            [SRC_DO_RECONNECT] = do_reconnect,
    [SRC_DO_ASK_BITMAPS] = do_bitmaps,     [SRC_DO_SEND_RESUME] = do_resume,
    [SRC_DO_ARM] = do_arm,                 [SRC_DO_DISARM] = do_disarm,
    [SRC_DO_ABORT] = do_abort,             [SRC_DO_TELL] = do_tell,
    [SRC_DO_FINISH] = do_finish,
};
/* clang-format on */

void src_carry_out(struct src_session *s, const struct src_action *a) {
    struct vms_error err = {0};
    struct src_event answer = {.kind = SRC_EVENT_COUNT, .device = a->device};
    answer.generation = a->generation;
    if (DO[a->kind](s, a, &answer, &err) != VMS_OK)
        src_trouble(s, &err);
    else if (answer.kind != SRC_EVENT_COUNT)
        src_answer(s, &answer);
}
