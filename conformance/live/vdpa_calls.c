/* SPDX-License-Identifier: MIT */
#include "conformance/live/vdpa_calls.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

char *vdpa_log_read(const char *path, off_t from) {
    FILE *file = fopen(path, "re");
    char *text = NULL;
    size_t size = 0;
    if (!file)
        return NULL;
    (void)fseeko(file, from, SEEK_SET);
    if (getdelim(&text, &size, 0, file) < 0) {
        free(text);
        text = calloc(1, 1);
    }
    (void)fclose(file);
    return text;
}

bool vdpa_log_member(const char *line, const char *key, char *out, size_t size) {
    char needle[32];
    (void)snprintf(needle, sizeof needle, "\"%s\":", key);
    const char *at = strstr(line, needle);
    if (!at)
        return false;
    at += strlen(needle);
    at += *at == '"';
    (void)snprintf(out, size, "%.*s", (int)strcspn(at, "\",}"), at);
    return true;
}

/** A line of the log as a word. Empty: it is no call. */
static void word_of(const char *line, char *out, size_t size) {
    static const char *const events[][2] = {
        {"map", "MAP"}, {"unmap", "UNMAP"}, {"batch-begin", "BEGIN"}, {"batch-end", "END"}};
    char event[32] = "", value[32];
    out[0] = 0;
    (void)vdpa_log_member(line, "event", event, sizeof event);
    for (size_t i = 0; i < 4; i++)
        if (strcmp(event, events[i][0]) == 0)
            (void)snprintf(out, size, "%s", events[i][1]);
    if (strcmp(event, "call") != 0 || !vdpa_log_member(line, "call", out, size))
        return;
    if (strcmp(out, "SET_STATUS") == 0 && vdpa_log_member(line, "index", value, sizeof value))
        (void)snprintf(out + strlen(out), size - strlen(out), "=%s", value);
}

char *vdpa_log_calls(const char *path, off_t from, size_t most) {
    char *log = vdpa_log_read(path, from), *rest = NULL, last[64] = "", word[64];
    char *out = log ? calloc(1, strlen(log) + 1) : NULL;
    for (char *line = out ? strtok_r(log, "\n", &rest) : NULL; line && most;
         line = strtok_r(NULL, "\n", &rest)) {
        word_of(line, word, sizeof word);
        if (!word[0] || strcmp(word, last) == 0)
            continue;
        (void)snprintf(last, sizeof last, "%s", word);
        (void)strcat(strcat(out, *out ? " " : ""), word);
        most--;
    }
    free(log);
    return out;
}

bool vdpa_spec_says(const char *name, const char *calls, const char **says) {
    static char line[1200];
    FILE *file = fopen("spec/06-vdpa.md", "re");
    size_t len = strlen(name);
    bool found = false;
    while (file && !found && fgets(line, sizeof line, file))
        found = strncmp(line, name, len) == 0 && strncmp(line + len, ": ", 2) == 0;
    if (file)
        (void)fclose(file);
    line[strcspn(line, "\n")] = 0;
    *says = found ? line + len + 2 : "(no such line)";
    return found && calls && strcmp(*says, calls) == 0;
}
