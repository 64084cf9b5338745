/* SPDX-License-Identifier: MIT */
#include "text.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void split(struct sim_line *l) {
    char *rest = NULL;
    l->count = 0;
    l->text[strcspn(l->text, "#")] = 0;
    for (char *w = strtok_r(l->text, " \t\r", &rest); w && l->count < SIM_WORDS;
         w = strtok_r(NULL, " \t\r", &rest))
        l->word[l->count++] = w;
    for (size_t i = l->count; i <= SIM_WORDS; i++)
        l->word[i] = NULL;
}

/* ---- values ---- */

struct unit {
    const char *name;
    uint64_t factor;
};

static const struct unit size_units[] = {{"", 1},         {"K", 1u << 10},   {"M", 1u << 20},
                                         {"G", 1u << 30}, {"T", 1ull << 40}, {NULL, 0}};
static const struct unit time_units[] = {{"ns", 1},         {"us", 1000}, {"ms", 1000000},
                                         {"s", 1000000000}, {"", 1},      {NULL, 0}};

static bool number(const char *word, const struct unit *units, uint64_t *out) {
    char *end;
    if (!word || word[0] < '0' || word[0] > '9')
        return false;
    errno = 0;
    unsigned long long n = strtoull(word, &end, 0);
    for (; units->name; units++)
        if (strcmp(units->name, end) == 0)
            break;
    if (errno || !units->name || (n && n > UINT64_MAX / units->factor))
        return false;
    *out = n * units->factor;
    return true;
}

bool sim_want(struct sim_line *l, bool good, const char *why) {
    if (!good && !l->why)
        l->why = why;
    return good;
}

bool sim_is(const char *word, const char *what) {
    return word && strcmp(word, what) == 0;
}

bool sim_size(struct sim_line *l, const char *word, uint64_t *out) {
    return sim_want(l, number(word, size_units, out), "a number of bytes is wanted: 4096, 64K, 1M");
}

bool sim_time(struct sim_line *l, const char *word, uint64_t *out) {
    return sim_want(l, number(word, time_units, out), "a duration is wanted: 10us, 5ms, 1s");
}

bool sim_switch(struct sim_line *l, const char *word, bool *out) {
    *out = sim_is(word, "on");
    return sim_want(l, sim_is(word, "on") || sim_is(word, "off"), "on or off is wanted");
}

bool sim_word(struct sim_line *l, char *out, size_t size) {
    bool fits = l->count == 2 && strlen(l->word[1]) < size && !strpbrk(l->word[1], "\"\\");
    if (fits)
        memcpy(out, l->word[1], strlen(l->word[1]) + 1);
    return sim_want(l, fits, "one short word is wanted");
}

/* ---- lines ---- */

static void set(struct sim_line *l, const struct sim_setting *s, const struct sim_setting *end,
                void *description) {
    while (s < end && strcmp(s->word, l->word[0]) != 0)
        s++;
    if (!sim_want(l, s < end, "no such setting"))
        return;
    char *at = (char *)description + s->offset;
    if (s->kind == SIM_OWN)
        s->own(l, description);
    else if (!sim_want(l, l->count == 2, "one value is wanted"))
        return;
    else if (s->kind == SIM_SWITCH)
        (void)sim_switch(l, l->word[1], (bool *)at);
    else if (s->kind == SIM_TIME)
        (void)sim_time(l, l->word[1], (uint64_t *)(void *)at);
    else
        (void)sim_size(l, l->word[1], (uint64_t *)(void *)at);
}

int sim_parse(const char *text, size_t len, const char *magic, const struct sim_setting *settings,
              size_t count, void *description, char *error, size_t size) {
    char first[80];
    const char *end = text + len;
    for (unsigned n = 1; text < end; n++) {
        const char *eol = memchr(text, '\n', (size_t)(end - text));
        struct sim_line l = {.why = NULL};
        size_t length = (size_t)((eol ? eol : end) - text);
        bool fits = length < sizeof l.text;
        memcpy(l.text, text, fits ? length : 0);
        (void)snprintf(first, sizeof first, "the first line is: %s", magic);
        if (n == 1)
            (void)sim_want(&l, strcmp(l.text, magic) == 0, first);
        split(&l);
        (void)sim_want(&l, fits, "the line is too long");
        if (n > 1 && l.count && !l.why)
            set(&l, settings, settings + count, description);
        if (l.why) {
            (void)snprintf(error, size, "line %u: %s", n, l.why);
            return -1;
        }
        text = eol ? eol + 1 : end;
    }
    if (!len)
        (void)snprintf(error, size, "the text is empty");
    return len ? 0 : -1;
}
