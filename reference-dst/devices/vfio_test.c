/* SPDX-License-Identifier: MIT */
#include "reference-dst/devices/vfio.h"

#include "host/vfio_config.h"
#include "host/vfio_test_util.h"

#include <sys/stat.h>

/* The loading half over simulated devices. */

static struct vms_error err;
static const struct vms_guest no_memory = {.block_count = 0};

/* A whole stream of a device named "dev", and its config state. */
static uint8_t stream[256 << 10], config[VMS_VFIO_CONFIG_MAX];
static size_t stream_len, config_len;

static void make_stream(void) {
    struct vms_vfio_iommu *iommu;
    struct vms_vfio *src;
    enum vms_vfio_data what = VMS_VFIO_DATA;
    vfio_good(vms_vfio_iommu_new(&iommu, &err), &err);
    vfio_good(vms_vfio_open(iommu, SIM_DEVICE("src", "initial 50000\nstop 60000"), &src, &err),
              &err);
    vfio_good(vms_vfio_set_state(src, VMS_VFIO_STOP_COPY, &err), &err);
    while (what != VMS_VFIO_END) {
        size_t got;
        vfio_good(
            vms_vfio_read(src, stream + stream_len, sizeof stream - stream_len, &got, &what, &err),
            &err);
        stream_len += got;
    }
    cr_assert_eq(stream_len, 110000u);
    vfio_good(vms_vfio_config_save(src, config, &config_len, &err), &err);
    vms_vfio_close(src);
    vms_vfio_iommu_free(iommu);
}

static struct dst_vfio *device_of(const char *text) {
    const char *specs[] = {SIM_DEVICE("dst", text)};
    struct dst_vfio *vfio;
    vfio_good(dst_vfio_new(&no_memory, specs, 1, &vfio, &err), &err);
    return vfio;
}

enum step {
    SETUP,
    DATA,
    MARK,
    END,
    CONFIG,
    LOAD,
    VERIFY,
    RUN,
    STEPS,
};

static enum vms_code take(struct dst_vfio *vfio, enum step step) {
    struct dst_device d = dst_vfio_device(vfio, 0);
    uint64_t generation;
    switch (step) {
    case SETUP: return d.ops->setup(d.ctx, &err);
    case DATA: return d.ops->data(d.ctx, stream, stream_len, &err);
    case MARK: return d.ops->initial_sent(d.ctx, &generation, &err);
    case END: return d.ops->end(d.ctx, &err);
    case CONFIG: return d.ops->config(d.ctx, config, config_len, &err);
    case LOAD: return d.ops->load_config(d.ctx, &err);
    case VERIFY: return dst_vfio_verify(vfio, &err);
    default: return dst_vfio_run(vfio, &err);
    }
}

/*
 * [VDEV-12] What may come after the first n steps of a good migration: the next of them, or one
 * that may come again. Everything else is refused, and changes nothing.
 */
SIM_TEST(dst_vfio, every_step_has_its_places) {
    static const enum step good[] = {SETUP, DATA, MARK, END, CONFIG, LOAD, VERIFY, RUN};
    make_stream();
    for (size_t n = 0; n <= sizeof good / sizeof good[0]; n++)
        for (enum step s = 0; s < STEPS; s++) {
            struct dst_vfio *vfio = device_of("");
            for (size_t i = 0; i < n; i++)
                vfio_good(take(vfio, good[i]), &err);
            bool loading = n >= 1 && n <= 3;
            bool legal = (n < STEPS && s == good[n]) || (loading && s >= DATA && s <= END) ||
                         (n == 7 && s == VERIFY) || (n == 8 && s == RUN);
            enum vms_vfio_state before = dst_vfio_figures(vfio, 0).state;
            enum vms_code code = take(vfio, s);
            cr_expect_eq(code, legal ? VMS_OK : VMS_E_VFIO_UNEXPECTED, "step %d after %zu: %s", s,
                         n, err.message);
            if (!legal)
                cr_expect_eq(dst_vfio_figures(vfio, 0).state, before);
            vfio_good(dst_vfio_reset(vfio, &err), &err);
            cr_expect_eq(dst_vfio_figures(vfio, 0).state, VMS_VFIO_RUNNING);
            dst_vfio_free(vfio);
        }
    vfio_clean();
}

/* [VDEV-10] [VFIO-12] */
SIM_TEST(dst_vfio, generations_are_counted_and_pieces_are_put_together) {
    struct dst_vfio *vfio = device_of("");
    struct dst_device d = dst_vfio_device(vfio, 0);
    uint64_t generation;
    make_stream();
    cr_expect(d.initial);
    vfio_good(take(vfio, SETUP), &err);
    for (size_t at = 0, n = 0; at < stream_len; at += n) {
        n = stream_len - at < 777 ? stream_len - at : 777;
        vfio_good(d.ops->data(d.ctx, stream + at, n, &err), &err);
        vfio_good(d.ops->initial_sent(d.ctx, &generation, &err), &err);
        cr_expect_eq(generation, at / 777 + 1);
        cr_expect_eq(dst_vfio_generation(vfio, 0), generation);
    }
    for (enum step s = END; s <= RUN; s++)
        vfio_good(take(vfio, s), &err);
    cr_expect_eq(dst_vfio_figures(vfio, 0).bytes, stream_len);
    cr_expect_eq(dst_vfio_figures(vfio, 0).state, VMS_VFIO_RUNNING);
    dst_vfio_free(vfio);
    vfio_clean();
}

/* [VFIO-9] */
SIM_TEST(dst_vfio, no_initial_data_without_precopy) {
    struct dst_vfio *vfio = device_of("precopy off");
    cr_expect_not(dst_vfio_device(vfio, 0).initial);
    vfio_good(take(vfio, SETUP), &err);
    cr_expect_eq(take(vfio, MARK), VMS_E_VFIO_UNEXPECTED);
    dst_vfio_free(vfio);
    vfio_clean();
}

/* [VDEV-11] A state that lacks a byte, has one too many or another one. */
SIM_TEST(dst_vfio, bad_state_is_refused_and_the_device_comes_back) {
    make_stream();
    for (int kind = 0; kind < 3; kind++) {
        struct dst_vfio *vfio = device_of("");
        struct dst_device d = dst_vfio_device(vfio, 0);
        stream[stream_len / 2] ^= kind == 0;
        vfio_good(take(vfio, SETUP), &err);
        vfio_good(d.ops->data(d.ctx, stream, stream_len - (kind == 1) + (kind == 2), &err), &err);
        stream[stream_len / 2] ^= kind == 0;
        for (enum step s = END; s <= LOAD; s++)
            vfio_good(take(vfio, s), &err);
        cr_expect_eq(take(vfio, VERIFY), VMS_E_VFIO_DEVICE);
        cr_expect(strstr(err.message, "RESUMING"), "%s", err.message);
        vfio_good(dst_vfio_reset(vfio, &err), &err);
        for (enum step s = SETUP; s <= RUN; s++) /* and takes a good one */
            vfio_good(take(vfio, s), &err);
        dst_vfio_free(vfio);
    }
    vfio_clean();
}

/* [VDEV-13] */
SIM_TEST(dst_vfio, config_of_another_device_is_refused) {
    make_stream();
    cr_assert_eq(config_len, 4u + 256 + 16);
    for (int kind = 0; kind < 6; kind++) {
        static const char *const texts[] = {"", "", "", "pci 1 2", "pci 0x1af4 0x10ff 4096", ""};
        struct dst_vfio *vfio = device_of(texts[kind]);
        struct dst_device d = dst_vfio_device(vfio, 0);
        uint8_t bytes[600] = {0};
        size_t len = config_len;
        memcpy(bytes, config, config_len);
        if (kind == 0)
            bytes[3] = 3;
        if (kind == 1)
            len--;
        if (kind == 2)
            len++;
        if (kind == 5)
            len += 8 * 16 + 1; /* of eight MSI-X vectors: good */
        for (enum step s = SETUP; s <= END; s++)
            vfio_good(take(vfio, s), &err);
        vfio_good(d.ops->config(d.ctx, bytes, len, &err), &err);
        cr_expect_eq(take(vfio, LOAD), kind == 5 ? VMS_OK : VMS_E_VFIO_CONFIG, "%d", kind);
        dst_vfio_free(vfio);
    }
    vfio_clean();
}

SIM_TEST(dst_vfio, config_space_arrives) {
    struct dst_vfio *vfio = device_of("");
    struct dst_device d = dst_vfio_device(vfio, 0);
    uint8_t got[VMS_VFIO_CONFIG_MAX];
    make_stream();
    config[4 + 4] = 0x06;
    config[4 + 0x3c] = 0x0b;
    for (enum step s = SETUP; s <= END; s++)
        vfio_good(take(vfio, s), &err);
    vfio_good(d.ops->config(d.ctx, config, config_len, &err), &err);
    for (enum step s = LOAD; s <= RUN; s++)
        vfio_good(take(vfio, s), &err);
    dst_vfio_free(vfio);
    (void)got;
    vfio_clean();
}

SIM_TEST(dst_vfio, devices_are_found_by_their_section) {
    char other[200];
    const char *specs[] = {SIM_DEVICE("a", ""), other};
    struct dst_vfio *vfio;
    (void)snprintf(other, sizeof other, "%s,id=0000:00:02.0/vfio", SIM_DEVICE("b", ""));
    vfio_good(dst_vfio_new(&no_memory, specs, 2, &vfio, &err), &err);
    cr_expect_eq(dst_vfio_find(vfio, (const uint8_t *)"vfio0/vfio", 10), 0u);
    cr_expect_eq(dst_vfio_find(vfio, (const uint8_t *)"0000:00:02.0/vfio", 17), 1u);
    cr_expect_eq(dst_vfio_find(vfio, (const uint8_t *)"0000:00:02.0/vfi", 16), 2u);
    dst_vfio_free(vfio);
    vfio_clean();
}

/* ---- a guest that does not run here after all ---- */

static bool logged(const char *what) {
    char path[128], line[512];
    bool found = false;
    (void)snprintf(path, sizeof path, "%s/log", vfio_folder());
    FILE *file = fopen(path, "re");
    cr_assert_not_null(file);
    while (!found && fgets(line, sizeof line, file))
        found = strstr(line, what) != NULL;
    (void)fclose(file);
    return found;
}

/*
 * [VDEV-24] [VDEV-2] What a device has loaded never runs once its destination has given up: neither
 * by a change of state nor later; one that refuses to be reset has lost its files.
 */
SIM_TEST(dst_vfio, what_was_loaded_does_not_run_after_a_failure) {
    static const struct {
        const char *fault;
        enum step last;
        enum vms_vfio_state left;
    } cases[] = {
        {"fault set running eio", RUN, VMS_VFIO_RUNNING},
        {"fault set running error", RUN, VMS_VFIO_RUNNING},
        {"fault set running stuck", RUN, VMS_VFIO_ERROR}, /* closed */
        {"fault reset any eio times 0", VERIFY, VMS_VFIO_STOP},
        {"", VERIFY, VMS_VFIO_RUNNING},
    };
    make_stream();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[256], loaded[] = "\"event\":\"state\",\"state\":\"RUNNING\",";
        (void)snprintf(text, sizeof text, "log %s/log\n%s", vfio_folder(), cases[i].fault);
        struct dst_vfio *vfio = device_of(text);
        bool refuses = cases[i].left != VMS_VFIO_RUNNING;
        for (enum step s = SETUP; s <= VERIFY; s++)
            vfio_good(take(vfio, s), &err);
        if (cases[i].last == RUN)
            cr_expect_eq(take(vfio, RUN), VMS_E_VFIO_DEVICE);
        enum vms_code want = refuses ? VMS_E_VFIO_DEVICE : VMS_OK;
        cr_expect_eq(dst_vfio_reset(vfio, &err), want, "%s: %s", cases[i].fault, err.message);
        want = cases[i].left == VMS_VFIO_STOP ? want : VMS_OK; /* asked again; or nothing is left */
        cr_expect_eq(dst_vfio_reset(vfio, &err), want, "%s: %s", cases[i].fault, err.message);
        cr_expect_eq(dst_vfio_figures(vfio, 0).state, cases[i].left, "%s", cases[i].fault);
        cr_expect_eq(logged("\"reset\""), !refuses, "%s", cases[i].fault);
        cr_expect_not(logged(loaded), "%s", cases[i].fault);
        if (!refuses) /* and takes a good one */
            for (enum step s = SETUP; s <= RUN; s++)
                vfio_good(take(vfio, s), &err);
        dst_vfio_free(vfio);
        vfio_clean();
        cr_assert_eq(mkdir(vfio_folder(), 0700), 0);
    }
    vfio_clean();
}
