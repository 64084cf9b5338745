/* SPDX-License-Identifier: MIT */
#include "sim.h"

#include <string.h>

/*
 * The arcs of the v2 migration protocol: which state comes next on the way from one to another.
 * Ways over states that a device lacks are shortened: the next of the next. The test beside this
 * file finds the shortest ways by itself.
 */
#define E VFS_ERROR
#define S VFS_STOP
#define R VFS_RUNNING
#define C VFS_STOP_COPY
#define L VFS_RESUMING
#define Q VFS_RUNNING_P2P
#define P VFS_PRE_COPY
#define W VFS_PRE_COPY_P2P

static const uint8_t next[VFS_STATES][VFS_STATES] = {
    /* to           E  S  R  C  L  Q  P  W */
    [VFS_ERROR] = {E, E, E, E, E, E, E, E},    [VFS_STOP] = {E, S, Q, C, L, Q, Q, Q},
    [VFS_RUNNING] = {E, Q, R, Q, Q, Q, P, Q},  [VFS_STOP_COPY] = {E, S, S, C, S, S, E, E},
    [VFS_RESUMING] = {E, S, S, S, L, S, S, S}, [VFS_RUNNING_P2P] = {E, S, R, S, S, Q, R, W},
    [VFS_PRE_COPY] = {E, R, R, W, R, R, P, W}, [VFS_PRE_COPY_P2P] = {E, Q, Q, C, Q, Q, P, W},
};

static const uint32_t needs[VFS_STATES] = {
    [VFS_RUNNING_P2P] = VFS_FLAG_P2P,
    [VFS_PRE_COPY] = VFS_FLAG_PRE_COPY,
    [VFS_PRE_COPY_P2P] = VFS_FLAG_PRE_COPY | VFS_FLAG_P2P,
};

bool vfs_has_state(uint32_t state, uint32_t flags) {
    return state < VFS_STATES && (needs[state] & ~flags) == 0;
}

enum vfs_state vfs_next_state(enum vfs_state from, uint32_t target, uint32_t flags) {
    if (!vfs_has_state(target, flags) || !vfs_has_state(from, flags))
        return VFS_ERROR;
    enum vfs_state step = (enum vfs_state)next[from][target];
    while (!vfs_has_state(step, flags))
        step = (enum vfs_state)next[step][target];
    return step;
}

static const char *const names[VFS_STATES][2] = {
    [VFS_ERROR] = {"ERROR", "error"},
    [VFS_STOP] = {"STOP", "stop"},
    [VFS_RUNNING] = {"RUNNING", "running"},
    [VFS_STOP_COPY] = {"STOP_COPY", "stop-copy"},
    [VFS_RESUMING] = {"RESUMING", "resuming"},
    [VFS_RUNNING_P2P] = {"RUNNING_P2P", "running-p2p"},
    [VFS_PRE_COPY] = {"PRE_COPY", "pre-copy"},
    [VFS_PRE_COPY_P2P] = {"PRE_COPY_P2P", "pre-copy-p2p"},
};

const char *vfs_state_name(uint32_t state) {
    return state < VFS_STATES ? names[state][0] : "?";
}

enum vfs_state vfs_state_parse(const char *word) {
    uint32_t i = 0;
    while (i < VFS_STATES && strcmp(names[i][1], word) != 0)
        i++;
    return (enum vfs_state)i;
}
