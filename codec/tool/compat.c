/* SPDX-License-Identifier: MIT */
#include "tool/compat.h"
#include "tool/tool.h"

#include <stdio.h>

/* `vmstream compat`: would it load there? Answered from what both QEMUs print of themselves. */

struct answer {
    bool json, all;
    unsigned found[3]; /* by level */
};

static const char *const LEVELS[] = {"note", "maybe", "error"};

static void show(void *ctx, enum compat_level level, const char *rule, const char *path,
                 const char *text) {
    struct answer *a = ctx;
    a->found[level]++;
    if (!a->json) {
        if (level != COMPAT_NOTE || a->all)
            printf("%-6s %s: %s [%s]\n", LEVELS[level], path, text, rule);
        return;
    }
    json_t *line = json_object();
    json_put_text(line, "record", "finding");
    json_put_text(line, "level", LEVELS[level]);
    json_put_text(line, "rule", rule);
    json_put_text(line, "path", path);
    json_put_text(line, "message", text);
    json_print_line(line);
}

static void conclude(const struct answer *a, const struct compat_side *from,
                     const struct compat_side *to) {
    const unsigned *n = a->found;
    bool loads = n[COMPAT_ERROR] == 0;
    if (!a->json) {
        printf("%s: %u error%s, %u that depend on the machine, %u note%s; %zu and %zu devices\n",
               loads ? "loads" : "does not load", n[COMPAT_ERROR], n[COMPAT_ERROR] == 1 ? "" : "s",
               n[COMPAT_MAYBE], n[COMPAT_NOTE], n[COMPAT_NOTE] == 1 ? "" : "s", from->device_count,
               to->device_count);
        return;
    }
    json_t *line = json_object();
    json_put_text(line, "record", "summary");
    json_put(line, "loads", json_boolean(loads));
    for (int level = COMPAT_ERROR; level >= COMPAT_NOTE; level--)
        json_put_u64(line, LEVELS[level], n[level]);
    json_print_line(line);
}

/* The same file for both is fine: it must load. */
int tool_compat(const struct tool_options *options) {
    struct compat_side sides[2] = {{.json = NULL}};
    struct answer a = {.json = options->json, .all = options->records};
    char error[200];
    int status = TOOL_DONE;
    if (options->file_count != 2)
        return tool_usage("compat wants two files: the source's and the destination's");
    for (int i = 0; i < 2 && status == TOOL_DONE; i++)
        if (!compat_read(options->files[i], &sides[i], error, sizeof error))
            status = tool_usage("%s: %s", options->files[i], error);
    if (status == TOOL_DONE) {
        compat_compare(&sides[0], &sides[1], show, &a);
        conclude(&a, &sides[0], &sides[1]);
        status = a.found[COMPAT_ERROR] ? TOOL_BAD : TOOL_DONE;
    }
    compat_free(&sides[0]);
    compat_free(&sides[1]);
    return status;
}
