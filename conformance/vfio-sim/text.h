/* SPDX-License-Identifier: MIT */
#ifndef SIM_TEXT_H
#define SIM_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/**
 * Texts that describe simulated devices, of either kind: a line a setting, words by blanks, '#'
 * begins a comment.
 */
enum {
    SIM_WORDS = 12,
    SIM_LINE = 300,
};

struct sim_line {
    char text[SIM_LINE];
    char *word[SIM_WORDS + 1]; /* NULL after the last */
    size_t count;
    const char *why; /* what is wrong with it, the first; NULL: nothing yet */
};

/** Returns good; else notes why. */
bool sim_want(struct sim_line *line, bool good, const char *why);
/** NULL is nothing. */
bool sim_is(const char *word, const char *what);
/** Values of words; false: noted why. 4096, 64K, 1M, … T; 10us, 5ms, 1s, ns where nothing is said.
 */
bool sim_size(struct sim_line *line, const char *word, uint64_t *out);
bool sim_time(struct sim_line *line, const char *word, uint64_t *out);
bool sim_switch(struct sim_line *line, const char *word, bool *out);
/** The line's only value, without quotes. */
bool sim_word(struct sim_line *line, char *out, size_t size);

enum sim_kind {
    SIM_OWN, /* set by a function */
    SIM_SIZE,
    SIM_TIME,
    SIM_SWITCH,
};

struct sim_setting {
    const char *word;
    enum sim_kind kind;
    size_t offset; /* in the description: of an uint64_t, or a bool */
    void (*own)(struct sim_line *line, void *description);
};

/**
 * Reads a text, not terminated, whose first line is magic, into a description that has its
 * defaults. 0, or -1 with line and reason in error.
 */
int sim_parse(const char *text, size_t len, const char *magic, const struct sim_setting *settings,
              size_t count, void *description, char *error, size_t size);

#endif
