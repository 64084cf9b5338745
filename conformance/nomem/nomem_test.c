/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <vmstream/qevm.h>

/*
 * [MOD-9] The Nth allocation fails: never a signal, never a hang; a program that does not succeed
 * says so, and why. What has no allocation does not notice.
 */

enum {
    MOST = 400, /* allocations of one run that are tried */
};

static const char *build(void) {
    const char *folder = getenv("VMSTREAM_BUILD");
    return folder ? folder : "build";
}

/* A whole stream: header, configuration, one RAM block with a page, a description. */
static void write_stream(const char *path) {
    static const unsigned char head[] = "QEVM\0\0\0\3\7\0\0\0\4none"
                                        "\1\0\0\0\1\3ram\0\0\0\0\0\0\0\4\0\0\0\0\0\0\x10\4\3ram\0\0"
                                        "\0\0\0\0\x10\0\0\0\0\0\0\0\0\x10\x7e\0\0\0\1"
                                        "\3\0\0\0\1\0\0\0\0\0\0\0\x08\3ram";
    static const unsigned char tail[] =
        "\0\0\0\0\0\0\0\x10\x7e\0\0\0\1\0\6\0\0\0\x1f{\"page_size\":4096,\"devices\":[]}";
    static unsigned char page[4096];
    FILE *f = fopen(path, "wbe");
    cr_assert_not_null(f);
    memset(page, 0x5a, sizeof page);
    (void)fwrite(head, 1, sizeof head - 1, f);
    (void)fwrite(page, 1, sizeof page, f);
    (void)fwrite(tail, 1, sizeof tail - 1, f);
    cr_assert_eq(fclose(f), 0);
}

/* A guest that runs, and writes. */
static void write_vm(const char *path) {
    FILE *f = fopen(path, "we");
    cr_assert_not_null(f);
    (void)fputs("{\"blocks\": [{\"name\": \"ram0\", \"size\": \"256K\", \"fill\": \"mix\"}],"
                " \"vcpus\": [{\"rate\": 500}], \"seed\": 3}\n",
                f);
    cr_assert_eq(fclose(f), 0);
}

/* Which allocations count, and what of them fails. */
enum failing {
    ONE,
    ALL_BEHIND,
    ONE_OF_ITS_OWN, /* not of the libraries below it */
};

static int run(const char *program, unsigned n, enum failing which, const char *log) {
    static const char *const how[] = {"", "FAIL_MALLOC_ON=1", "FAIL_MALLOC_OWN=1"};
    char command[700];
    (void)snprintf(command, sizeof command,
                   "timeout 30 env FAIL_MALLOC=%u %s LD_PRELOAD=%s/fail-malloc.so %s >%s 2>&1", n,
                   how[which], build(), program, log);
    int status = system(command);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static bool says_why(const char *log) {
    char text[4096] = "";
    FILE *f = fopen(log, "re");
    size_t n = f ? fread(text, 1, sizeof text - 1, f) : 0;
    if (f)
        (void)fclose(f);
    return n > 0;
}

/* `format` has the build folder, a stream (or a file to be), and a VM file. */
static void try_all(const char *format, enum failing which) {
    char dir[] = "/tmp/vms-nomem-XXXXXX", stream[64], vm[64], log[64], program[400], clean[80];
    unsigned failed = 0, n = 1;
    cr_assert_not_null(mkdtemp(dir));
    (void)snprintf(stream, sizeof stream, "%s/stream", dir);
    (void)snprintf(log, sizeof log, "%s/log", dir);
    (void)snprintf(vm, sizeof vm, "%s/vm.json", dir);
    write_stream(stream);
    write_vm(vm);
    (void)snprintf(program, sizeof program, format, build(), stream, vm);
    int all = run(program, 1000000, ONE, log);
    cr_expect_eq(all, 0, "%s: %d without a failure", program, all);
    for (unsigned good = 0; n < MOST && good < 10; n += which == ALL_BEHIND ? 3 : 1) {
        int status = run(program, n, which, log);
        cr_expect_lt(status, 124, "%s: allocation %u: status %d", program, n, status);
        cr_expect(status == 0 || says_why(log), "%s: allocation %u: status %d without a word",
                  program, n, status);
        failed += status != 0;
        good = status == 0 ? good + 1 : 0;
    }
    cr_expect_gt(failed, 0u, "%s: nothing failed", program);
    (void)snprintf(clean, sizeof clean, "rm -rf %s", dir);
    (void)system(clean);
}

TestSuite(nomem, .timeout = 300);

Test(nomem, verify) {
    try_all("%s/vmstream verify %s", ONE);
}

Test(nomem, inspect) {
    try_all("%s/vmstream inspect --json %s", ONE);
}

Test(nomem, destination) {
    try_all("%s/reference-dst --quiet --listen file:%s", ONE);
}

Test(nomem, source) {
    try_all("%s/reference-src --quiet --wire qevm --connect file:%s --vm %s", ONE_OF_ITS_OWN);
}

Test(nomem, nothing_left) {
    try_all("%s/vmstream verify %s", ALL_BEHIND);
    try_all("%s/reference-dst --quiet --listen file:%s", ALL_BEHIND);
}

/* [MOD-9] [MOD-10] A decoder's memory is its caller's: one octet less and there is none. */
Test(nomem, decoders) {
    static const enum vms_qevm_kind kinds[] = {VMS_QEVM_MAIN, VMS_QEVM_RECOVERY, VMS_QEVM_MULTIFD,
                                               VMS_QEVM_PREEMPT, VMS_QEVM_RETURN_PATH};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        struct vms_qevm_config config = vms_qevm_config_default();
        config.kind = kinds[i];
        size_t size = vms_qevm_decoder_size(&config);
        void *mem = malloc(size);
        cr_expect_not_null(vms_qevm_decoder_init(mem, size, &config));
        cr_expect_null(vms_qevm_decoder_init(mem, size - 1, &config));
        cr_expect_null(vms_qevm_decoder_init(mem, 0, &config));
        free(mem);
    }
}

/* [MOD-14] The library needs nothing from outside that does I/O, starts threads, tells the time. */
Test(nomem, library_is_pure) {
    char command[300];
    (void)snprintf(command, sizeof command, "conformance/check-symbols %s", build());
    cr_expect_eq(system(command), 0);
}
