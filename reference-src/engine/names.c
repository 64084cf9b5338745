/* SPDX-License-Identifier: MIT */
#include "engine.h"

const char *src_state_name(enum src_state state) {
    static const char *const names[SRC_STATE_COUNT] = {
        "IDLE",       "SETUP",   "PRECOPY",   "STOPPING", "HELD",
        "SWITCHOVER", "READY",   "COMMITTED", "IN_DOUBT", "POSTCOPY",
        "PAUSED",     "RECOVER", "COMPLETED", "FAILED",   "CANCELLED",
    };
    return (unsigned)state < SRC_STATE_COUNT ? names[state] : "?";
}

const char *src_event_name(enum src_event_kind kind) {
    static const char *const names[SRC_EVENT_COUNT] = {
        "BEGIN",        "CANCEL",     "GO_ON",   "START_POSTCOPY", "RESOLVE_OURS", "RESOLVE_THEIRS",
        "GIVE_UP",      "CONNECTED",  "CUT",     "RECONNECTED",    "ERROR",        "STOPPED",
        "LOCKS",        "SETUP_SENT", "PENDING", "SAVED",          "FINAL_SENT",   "DEVICES_SENT",
        "COMMIT_SENT",  "PAGES_SENT", "REQUEST", "GRANT",          "READY",        "RUNNING",
        "NOT_STARTED",  "SHUT",       "ABORT",   "BITMAPS",        "RESUME_ACK",   "WRITTEN",
        "WRITE_FAILED", "TIMER",
    };
    return (unsigned)kind < SRC_EVENT_COUNT ? names[kind] : "?";
}

const char *src_action_name(enum src_action_kind kind) {
    static const char *const names[SRC_ACTION_COUNT] = {
        "CONNECT",  "SEND_SETUP", "QUERY",        "SAVE",        "STOP_GUEST",  "RUN_GUEST",
        "THROTTLE", "SAVE_FINAL", "SAVE_DEVICES", "DISCARD",     "GRANT",       "REQUEST",
        "GRANTED",  "LOCKS",      "SEND_START",   "WRITE",       "SEND_COMMIT", "SEND_PAGES",
        "SEND_END", "RECONNECT",  "ASK_BITMAPS",  "SEND_RESUME", "ARM",         "DISARM",
        "ABORT",    "TELL",       "FINISH",
    };
    return (unsigned)kind < SRC_ACTION_COUNT ? names[kind] : "?";
}

const char *src_owner_name(enum src_owner owner) {
    static const char *const names[SRC_OWNER_COUNT] = {"ours", "theirs", "unknown", "lost"};
    return (unsigned)owner < SRC_OWNER_COUNT ? names[owner] : "?";
}
