/* SPDX-License-Identifier: MIT */
#include "conformance/adapters/kit/kit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *env(const char *name) {
    const char *value = getenv(name);
    return value ? value : "";
}

enum kit_exit kit_open(struct kit *k) {
    json_error_t why;
    *k = (struct kit){
        .role = env("VMS_ROLE"),
        .uri = env("VMS_URI"),
        .log = env("VMS_LOG"),
        .shared = env("VMS_SHARED"),
        .cache = env("VMS_CACHE"),
        .build = env("VMS_BUILD"),
        .version = env("VMS_VERSION"),
        .machine = env("VMS_MACHINE"),
        .peer = env("VMS_PEER"),
        .peer_version = env("VMS_PEER_VERSION"),
        .peer_machine = env("VMS_PEER_MACHINE"),
        .end = json_object(),
    };
    const char *seconds = env("VMS_DEADLINE");
    k->deadline = cert_now() + strtoll(*seconds ? seconds : "60", NULL, 10) * 1000;
    if (!*k->role || !*k->log) {
        fprintf(stderr, "an adapter: VMS_ROLE and VMS_LOG say what to do; "
                        "see conformance/cases/README.md\n");
        return KIT_USAGE;
    }
    if (kit_is(k, "version"))
        return KIT_DONE;
    k->test = json_load_file(env("VMS_CASE"), 0, &why);
    if (!k->test) {
        fprintf(stderr, "%s: %s\n", env("VMS_CASE"), why.text);
        return KIT_USAGE;
    }
    k->body = json_object_get(k->test, cert_str(k->test, "kind"));
    k->own = json_object_get(k->body, k->role);
    return k->body ? KIT_DONE : KIT_UNSUPPORTED;
}

bool kit_is(const struct kit *k, const char *role) {
    return strcmp(k->role, role) == 0;
}

int kit_left(const struct kit *k, int most) {
    int64_t left = k->deadline - cert_now();
    return left < 1 ? 1 : left < most ? (int)left : most;
}

static bool in_list(const char *const *list, const char *word) {
    for (; *list; list++)
        if (strcmp(*list, word) == 0)
            return true;
    return false;
}

enum kit_exit kit_check_needs(struct kit *k, const char *const *features) {
    const json_t *needs = json_object_get(k->test, "needs");
    for (size_t i = 0; i < json_array_size(needs); i++) {
        const char *need = json_string_value(json_array_get(needs, i));
        if (need && !in_list(features, need)) {
            kit_say(k, "not supported: %s", need);
            return KIT_UNSUPPORTED;
        }
    }
    return KIT_DONE;
}

/* ---- settings of this end ---- */

static void take(json_t *out, const json_t *names, const json_t *without) {
    for (size_t i = 0; i < json_array_size(names); i++) {
        const char *name = json_string_value(json_array_get(names, i));
        if (name && !cert_has(without, name) && !cert_has(out, name))
            (void)json_array_append_new(out, json_string(name));
    }
}

json_t *kit_capabilities(const struct kit *k) {
    json_t *out = json_array();
    const json_t *without = json_object_get(k->own, "without");
    take(out, json_object_get(k->body, "capabilities"), without);
    take(out, json_object_get(k->own, "capabilities"), without);
    /* a script answers, whatever it is about */
    if (strcmp(cert_str(k->test, "kind"), "dialogue") == 0 && !cert_has(out, "return-path"))
        (void)json_array_append_new(out, json_string("return-path"));
    return out;
}

json_t *kit_parameters(const struct kit *k) {
    json_t *out = json_object();
    json_t *all = json_object_get(k->body, "parameters");
    json_t *own = json_object_get(k->own, "parameters");
    if (all)
        (void)json_object_update(out, all);
    if (own)
        (void)json_object_update(out, own);
    return out;
}

bool kit_has_capability(const struct kit *k, const char *name) {
    json_t *all = kit_capabilities(k);
    bool has = cert_has(all, name);
    json_decref(all);
    return has;
}

const json_t *kit_devices(const struct kit *k) {
    return json_object_get(k->own, "devices");
}

bool kit_postcopy(const struct kit *k) {
    return cert_true(k->body, "postcopy");
}

/* ---- files ---- */

void kit_say(struct kit *k, const char *fmt, ...) {
    char path[CERT_PATH];
    FILE *f = fopen(cert_path(path, "%s/log", k->log), "ae");
    va_list args;
    if (!f)
        return;
    va_start(args, fmt);
    (void)vfprintf(f, fmt, args);
    va_end(args);
    (void)fputc('\n', f);
    (void)fclose(f);
}

void kit_mark(struct kit *k, const char *name) {
    char path[CERT_PATH];
    (void)cert_write(cert_path(path, "%s/%s", k->log, name), "");
}

void kit_tell(struct kit *k, const char *name) {
    char path[CERT_PATH];
    (void)cert_write(cert_path(path, "%s/%s", k->shared, name), "");
}

void kit_write_version(struct kit *k, const char *text) {
    char path[CERT_PATH], line[512];
    (void)snprintf(line, sizeof line, "%s\n", text);
    (void)cert_write(cert_path(path, "%s/version", k->log), line);
}

enum kit_exit kit_end(struct kit *k, const char *outcome, const char *fmt, ...) {
    char path[CERT_PATH], text[4096];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    cert_set(k->end, "outcome", outcome);
    cert_set(k->end, "message", text);
    if (cert_write_json(cert_path(path, "%s/end.json", k->log), k->end) != 0)
        return KIT_LOCAL;
    bool done = strcmp(outcome, "completed") == 0 || strcmp(outcome, "accepted") == 0 ||
                strcmp(outcome, "stuck") == 0;
    return done ? KIT_DONE : KIT_REFUSED;
}

const char *kit_order(struct kit *k, const char *word) {
    static char rest[CERT_PATH];
    char path[CERT_PATH];
    size_t n = strlen(word);
    cert_path(path, "%s/order", k->log);
    while (cert_now() < k->deadline) {
        char *text = cert_exists(path) ? cert_read(path, sizeof rest - 1, NULL) : NULL;
        bool is = text && strncmp(text, word, n) == 0;
        if (is)
            (void)snprintf(rest, sizeof rest, "%.*s", (int)strcspn(text + n, "\n"), text + n);
        free(text);
        if (is)
            return rest[0] == ' ' ? rest + 1 : rest;
        cert_nap();
    }
    return NULL;
}

/* ---- simulated devices ---- */

int kit_describe(const char *path, const char *head, const char *name, const char *log,
                 const char *text) {
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    if (fd < 0)
        return -1;
    if (name)
        (void)dprintf(fd, "%s\nname %s\nlog %s\n%s\n", head, name, log, text);
    else
        (void)dprintf(fd, "%s\n", head);
    return fd;
}

/* The number behind the last "key": of a line that has that event; -1: none. */
static json_int_t number(const char *log, const char *event, const char *key) {
    char want[64], member[64];
    json_int_t value = -1;
    (void)snprintf(want, sizeof want, "\"event\":\"%s\"", event);
    (void)snprintf(member, sizeof member, "\"%s\":", key);
    for (const char *at = log; (at = strstr(at, want)) != NULL; at++) {
        const char *eol = strchr(at, '\n'), *found = strstr(at, member);
        if (found && (!eol || found < eol))
            value = strtoll(found + strlen(member), NULL, 10);
    }
    return value;
}

static json_t *device(const struct kit *k, unsigned i) {
    char path[CERT_PATH], id[32];
    char *log = cert_read(cert_path(path, "%s/%s%u.log", k->log, k->role, i), 1 << 22, NULL);
    json_t *out = json_object();
    (void)snprintf(id, sizeof id, "vf%u", i);
    cert_set(out, "id", id);
    json_int_t saved = log ? number(log, "saved", "bytes") : -1;
    json_int_t loaded = log ? number(log, "loaded", "bytes") : -1;
    if (saved >= 0)
        (void)json_object_set_new(out, "saved", json_integer(saved));
    if (loaded >= 0) {
        (void)json_object_set_new(out, "loaded", json_integer(loaded));
        (void)json_object_set_new(out, "good", json_boolean(strstr(log, "\"good\":true") != NULL));
    }
    free(log);
    return out;
}

void kit_write_devices(struct kit *k, unsigned n) {
    char path[CERT_PATH];
    json_t *all = json_array();
    for (unsigned i = 0; i < n; i++)
        (void)json_array_append_new(all, device(k, i));
    (void)cert_write_json(cert_path(path, "%s/devices.json", k->log), all);
    json_decref(all);
}
