/* SPDX-License-Identifier: MIT */
#include "host/report_html.h"

#include <errno.h>
#include <stdlib.h>

static void put(FILE *out, struct vms_asset a) {
    (void)fwrite(a.text, 1, a.len, out);
}

static void put_script(FILE *out, struct vms_asset a) {
    (void)fputs("<script>\n", out);
    put(out, a);
    (void)fputs("</script>\n", out);
}

/* [REP-8] In JSON '<' stands in strings only; escaped, nothing there can end the element. */
static void put_data(FILE *out, const char *json) {
    for (; *json; json++)
        if (*json == '<')
            (void)fputs("\\u003c", out);
        else
            (void)fputc(*json, out);
}

static void put_text(FILE *out, const char *text) {
    for (; *text; text++)
        switch (*text) {
        case '<': (void)fputs("&lt;", out); break;
        case '&': (void)fputs("&amp;", out); break;
        default: (void)fputc(*text, out);
        }
}

int vms_html_write(FILE *out, const char *title, const json_t *document, struct vms_asset script) {
    char *json = json_dumps(document, JSON_COMPACT);
    if (!json) {
        errno = ENOMEM;
        return -1;
    }
    /* The policy forbids every request: a page that is opened tells nobody. */
    (void)fputs("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
                "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; "
                "script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:\">\n"
                "<meta name=\"viewport\" content=\"width=device-width\">\n<title>",
                out);
    put_text(out, title);
    (void)fputs("</title>\n<style>\n", out);
    put(out, vms_page_style());
    (void)fputs("</style>\n</head>\n<body>\n<script type=\"application/json\" id=\"document\">",
                out);
    put_data(out, json);
    (void)fputs("</script>\n", out);
    put_script(out, vms_chart_script());
    put_script(out, vms_page_script());
    put_script(out, script);
    (void)fputs("</body>\n</html>\n", out);
    free(json);
    return ferror(out) ? -1 : 0;
}
