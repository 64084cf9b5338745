// SPDX-License-Identifier: MIT
// Images, command lines and migration settings of a recording.
#include "record.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../guest/guest_image.h"

enum {
    GUEST_PAGES = 2048,
    GUEST_PER_TICK = 160,
    MAX_EXTRA = 32
};

// Slow enough for several rounds, fast enough for a second or two.
static const char default_parameters[] = "{\"max-bandwidth\": 33554432, \"downtime-limit\": 20}";

static int parse_memory(struct record_run *run) {
    char *end;
    unsigned long long value = strtoull(run->request->memory, &end, 10);
    bool kilo = strcmp(end, "K") == 0;

    if (value > 1u << 22 || (!kilo && strcmp(end, "M") != 0)) {
        return record_fail(run, "memory is a number and K or M, not %s", run->request->memory);
    }
    run->memory_bytes = (uint64_t)value << (kilo ? 10 : 20);
    if (run->memory_bytes < 16u << 20 || run->memory_bytes > 3072ull << 20 ||
        run->memory_bytes % 8192 != 0) {
        return record_fail(run, "memory must be 16M to 3072M and a multiple of 8K");
    }
    return 0;
}

static void set_guest(struct record_run *run) {
    vms_guest_defaults(&run->guest);
    run->guest.pages = GUEST_PAGES;
    run->guest.prefill = GUEST_PAGES - GUEST_PAGES / 16; // the rest is zero at first
    run->guest.window = GUEST_PAGES / 4;
    run->guest.mode = VMS_GUEST_RANDOM;
    run->guest.run_shift = 2;
    run->guest.zero = 13;
    run->guest.gen_mask = run->scenario->gen_mask;
    run->guest.pages_per_tick =
        run->scenario->per_tick != 0 ? run->scenario->per_tick : GUEST_PER_TICK;
}

// A machine without a processor gets memory as the guest would have left it.
static int write_memory_image(struct record_run *run) {
    void *ram = malloc(run->memory_bytes);
    FILE *file = fopen(run->image, "we");
    int status = -1;

    if (ram != NULL && file != NULL && vms_fill_guest(&run->guest, ram, run->memory_bytes) == 0) {
        size_t used = run->guest.region + (size_t)run->guest.pages * VMS_GUEST_PAGE;

        status = fwrite(ram, 1, used, file) == used ? 0 : -1;
    }
    if (file != NULL && fclose(file) != 0) {
        status = -1;
    }
    free(ram);
    return status == 0 ? 0 : record_fail(run, "cannot write %s", run->image);
}

static int write_images(struct record_run *run) {
    const char *problem;

    if (!run->has_cpu) {
        return write_memory_image(run);
    }
    problem = vms_guest_write_image(run->image, &run->guest, VMS_GUEST_DISK_SIZE);
    return problem == NULL ? 0 : record_fail(run, "%s: %s", run->image, problem);
}

static int write_shared(struct record_run *run) {
    int fd = open(run->shared, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    int status = fd < 0 ? -1 : ftruncate(fd, (off_t)run->memory_bytes);

    if (fd >= 0) {
        close(fd);
    }
    return status == 0 ? 0 : record_fail(run, "%s: %s", run->shared, strerror(errno));
}

// Results of an earlier recording in the same folder would pass for those of this one.
static void remove_results(const char *dir, const char *const *prefixes) {
    DIR *folder = opendir(dir);
    struct dirent *entry;

    while (folder != NULL && (entry = readdir(folder)) != NULL) {
        for (size_t i = 0; prefixes[i] != NULL; i++) {
            if (entry->d_type == DT_REG &&
                strncmp(entry->d_name, prefixes[i], strlen(prefixes[i])) == 0) {
                unlinkat(dirfd(folder), entry->d_name, 0);
                break;
            }
        }
    }
    if (folder != NULL) {
        closedir(folder);
    }
}

static void remove_old_results(const struct record_run *run) {
    static const char *const streams[] = {"stream.", "recovery.", "meta.json", NULL};
    static const char *const blocks[] = {"", NULL};

    remove_results(run->request->out, streams);
    remove_results(run->ram, blocks);
}

int record_prepare(struct record_run *run) {
    snprintf(run->work, sizeof run->work, "/tmp/vms-record-XXXXXX");
    if (mkdtemp(run->work) == NULL) {
        run->work[0] = '\0';
        return record_fail(run, "cannot create a folder in /tmp: %s", strerror(errno));
    }
    snprintf(run->image, sizeof run->image, "%s/guest.img", run->work);
    snprintf(run->shared, sizeof run->shared, "%s/shared.ram", run->work);
    snprintf(run->stream, sizeof run->stream, "%s/stream", run->request->out);
    snprintf(run->ram, sizeof run->ram, "%s/ram", run->request->out);
    if (mkdir(run->request->out, 0755) != 0 && errno != EEXIST) {
        return record_fail(run, "%s: %s", run->request->out, strerror(errno));
    }
    remove_old_results(run);
    if (parse_memory(run) != 0) {
        return -1;
    }
    set_guest(run);
    if ((run->scenario->flags & RECORD_SHARED) != 0 && write_shared(run) != 0) {
        return -1;
    }
    return write_images(run);
}

struct extra {
    const char *words[MAX_EXTRA];
    size_t count;
    char image[256];
    char backend[256];
    char machine[256];
};

static void add(struct extra *extra, const char *option, const char *value) {
    extra->words[extra->count++] = option;
    extra->words[extra->count++] = value;
}

static void add_devices(const struct record_run *run, struct extra *extra) {
    if (!run->has_cpu) {
        snprintf(extra->image, sizeof extra->image, "loader,file=%s,addr=0,force-raw=on",
                 run->image);
        add(extra, "-device", extra->image);
        return;
    }
    snprintf(extra->image, sizeof extra->image,
             "driver=raw,node-name=boot,read-only=on,file.driver=file,file.filename=%s",
             run->image);
    add(extra, "-blockdev", extra->image);
    add(extra, "-device", "virtio-blk-pci,drive=boot,id=disk0,bootindex=0");
    add(extra, "-netdev", "user,id=net0");
    add(extra, "-device", "virtio-net-pci,netdev=net0,id=nic0,mac=52:54:00:12:34:56");
}

static void make_extra(const struct record_run *run, struct extra *extra) {
    const char *ram_name = run->has_cpu ? "pc.ram" : "ram";

    memset(extra, 0, sizeof *extra);
    snprintf(extra->machine, sizeof extra->machine, "%s", run->request->machine);
    add_devices(run, extra);
    if ((run->scenario->flags & RECORD_BITMAPS) != 0) {
        add(extra, "-blockdev", "driver=null-co,node-name=bits,size=67108864,read-zeroes=on");
    }
    if ((run->scenario->flags & RECORD_SHARED) != 0) {
        snprintf(extra->machine, sizeof extra->machine, "%s,memory-backend=%s",
                 run->request->machine, ram_name);
        snprintf(extra->backend, sizeof extra->backend,
                 "memory-backend-file,id=%s,mem-path=%s,size=%llu,share=on", ram_name, run->shared,
                 (unsigned long long)run->memory_bytes);
        add(extra, "-object", extra->backend);
    }
}

struct vms_qemu *record_start(struct record_run *run, bool incoming) {
    bool postcopy = (run->scenario->flags & RECORD_POSTCOPY) != 0;
    struct extra extra;
    struct vms_qemu_options options = {
        .version = incoming ? run->request->to_version : run->request->version,
        .machine = extra.machine,
        .memory = run->request->memory,
        .args = extra.words,
        .name = incoming ? "destination" : "source",
        .incoming = incoming,
        // Paused, so that its memory can be compared. In postcopy it has to run: it faults.
        .paused = incoming && !postcopy,
        .timeout_ms = 60000,
    };

    make_extra(run, &extra);
    return vms_qemu_start(&options, run->error, sizeof run->error);
}

int record_set_up_migration(struct record_run *run, struct vms_qemu *qemu) {
    json_t *parameters = json_loads(default_parameters, 0, NULL);

    if (run->scenario->parameters != NULL) {
        json_t *own = json_loads(run->scenario->parameters, 0, NULL);

        json_object_update(parameters, own);
        json_decref(own);
    }
    // A background snapshot is taken at full speed: the guest runs meanwhile.
    if (vms_qemu_set_capabilities(qemu, run->scenario->capabilities) != 0 ||
        vms_qemu_set_parameters(qemu, parameters) != 0) {
        return record_fail_qemu(run, qemu);
    }
    return 0;
}
