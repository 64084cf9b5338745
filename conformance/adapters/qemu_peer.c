// SPDX-License-Identifier: MIT
// Which QEMUs this machine offers. The shell script conformance/peers/run follows the same rules.
#include "qemu.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool parse_version(const char *version, struct vms_peer *peer) {
    char rest;

    if (sscanf(version, "%u.%u%c", &peer->major, &peer->minor, &rest) != 2) {
        return false;
    }
    return (size_t)snprintf(peer->version, sizeof peer->version, "%s", version) <
           sizeof peer->version;
}

static bool first_line(FILE *file, char *line, size_t size) {
    bool ok = file != NULL && fgets(line, (int)size, file) != NULL;

    if (ok) {
        line[strcspn(line, "\n")] = '\0';
    }
    return ok && line[0] != '\0';
}

static bool find_fetched(struct vms_peer *peer) {
    const char *root = getenv("VMSTREAM_PEERS");
    char path[600];
    FILE *file;
    bool found;

    if (root == NULL || root[0] == '\0') {
        root = "/var/cache/vmstream/peers";
    }
    snprintf(path, sizeof path, "%s/%s/VERSION", root, peer->version);
    file = fopen(path, "re");
    if (file == NULL) {
        return false;
    }
    found = first_line(file, peer->package, sizeof peer->package);
    fclose(file);
    if ((size_t)snprintf(peer->path, sizeof peer->path, "%s/%s/qemu-system-x86_64", root,
                         peer->version) >= sizeof peer->path) {
        return false;
    }
    return found && access(peer->path, X_OK) == 0;
}

static bool run_for_line(const char *command, char *line, size_t size) {
    FILE *pipe = popen(command, "re");
    bool ok = first_line(pipe, line, size);

    return pipe != NULL && pclose(pipe) == 0 && ok;
}

// Finds `program` in PATH, as execvp would.
static bool find_in_path(const char *program, char *path, size_t size) {
    const char *list = getenv("PATH");

    if (strchr(program, '/') != NULL) {
        return (size_t)snprintf(path, size, "%s", program) < size && access(path, X_OK) == 0;
    }
    while (list != NULL && *list != '\0') {
        size_t length = strcspn(list, ":");

        if ((size_t)snprintf(path, size, "%.*s/%s", (int)length, list, program) < size &&
            access(path, X_OK) == 0) {
            return true;
        }
        list += length + (list[length] == ':');
    }
    return false;
}

static bool find_system(struct vms_peer *peer) {
    const char *program = getenv("VMSTREAM_SYSTEM_QEMU");
    char command[600];
    char line[256];
    const char *reported;
    size_t length = strlen(peer->version);

    if (program == NULL || program[0] == '\0') {
        program = "qemu-system-x86_64";
    }
    if (!find_in_path(program, peer->path, sizeof peer->path) || strchr(peer->path, '\'') != NULL) {
        return false;
    }
    snprintf(command, sizeof command, "'%s' --version 2>/dev/null | head -n 1", peer->path);
    if (!run_for_line(command, line, sizeof line)) {
        return false;
    }
    reported = strstr(line, "version ");
    if (reported == NULL || strncmp(reported + 8, peer->version, length) != 0 ||
        reported[8 + length] != '.') {
        return false;
    }
    if (!run_for_line("dpkg-query -W -f '${Version}\\n' qemu-system-x86 2>/dev/null", peer->package,
                      sizeof peer->package)) {
        snprintf(peer->package, sizeof peer->package, "%.100s", reported + 8);
    }
    return true;
}

bool vms_peer_find(const char *version, struct vms_peer *peer) {
    memset(peer, 0, sizeof *peer);
    return parse_version(version, peer) && (find_fetched(peer) || find_system(peer));
}
