/* SPDX-License-Identifier: MIT */
#include "internal.h"
#include "json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <vmstream/pack.h>

#define BLOCK_LARGEST (UINT64_C(1) << 40)
#define WORDS_BYTES   ((uint64_t)VM_PAGE_WORDS * 8)

static const char *const TOP_KEYS[] = {"blocks",       "vcpus",    "seed", "lock",
                                       "running_lock", "announce", NULL};
static const char *const BLOCK_KEYS[] = {"name", "size",     "page_size", "backing",
                                         "fill", "allocate", NULL};
static const char *const VCPU_KEYS[] = {"rate", "reads", "zeroes", "change", "locality", NULL};
static const char *const LOCALITY_KEYS[] = {"kind", "working_set", "hot_fraction", NULL};
static const char *const BACKINGS[] = {"private", "shared", NULL};
static const char *const FILLS[] = {"zero", "pattern", "random", "mix", "image", NULL};
static const char *const ALLOCATIONS[] = {"touched", "ahead", NULL};
static const char *const KINDS[] = {"uniform", "sequential", "hot", NULL};

/* Runs the steps in turn until one fails. */
#define TRY(step)                                                                                  \
    do {                                                                                           \
        enum vms_code try_code = (step);                                                           \
        if (try_code != VMS_OK)                                                                    \
            return try_code;                                                                       \
    } while (0)

static enum vms_code check_block(const struct vm_config *config, const struct json_at *at,
                                 const char *name) {
    const struct vm_block_config *block = &config->blocks[config->block_count];
    if (!name)
        return json_fail(at, NULL, "block without \"name\"");
    for (const char *c = name; *c; c++)
        if (*c < 0x21 || *c > 0x7e)
            return json_fail(at, "name", "has other than printable ASCII characters");
    for (size_t i = 0; i < config->block_count; i++)
        if (!strcmp(config->blocks[i].name, name))
            return json_fail(at, "name", "is another block's, too");
    if (block->page_size != VM_PAGE && block->page_size != 2 << 20)
        return json_fail(at, "page_size", "is neither 4K nor 2M");
    if (!block->size)
        return json_fail(at, json_object_get(at->value, "size") ? "size" : NULL,
                         json_object_get(at->value, "size") ? "is 0" : "block without \"size\"");
    if (block->size % block->page_size)
        return json_fail(at, "size", "is not a whole number of pages");
    return VMS_OK;
}

static enum vms_code parse_block(struct vm_config *config, const struct json_at *at) {
    struct vm_block_config *block = &config->blocks[config->block_count];
    const char *name = NULL;
    int backing = 0, fill = VM_FILL_ZERO, allocate = 0;
    block->page_size = VM_PAGE;
    TRY(json_only(at, BLOCK_KEYS));
    TRY(json_text(at, "name", &name));
    TRY(json_bytes(at, "size", BLOCK_LARGEST, &block->size));
    TRY(json_bytes(at, "page_size", BLOCK_LARGEST, &block->page_size));
    TRY(json_choice(at, "backing", BACKINGS, &backing));
    TRY(json_choice(at, "fill", FILLS, &fill));
    TRY(json_choice(at, "allocate", ALLOCATIONS, &allocate));
    TRY(check_block(config, at, name));
    block->shared = backing;
    block->ahead = allocate;
    block->fill = (enum vm_fill)fill;
    block->name = strdup(name);
    if (!block->name)
        return vms_error_set(at->file->err, VMS_E_NO_MEMORY, NULL);
    config->block_count++;
    return VMS_OK;
}

static enum vms_code parse_locality(struct vm_vcpu_config *vcpu, const struct json_at *at) {
    int kind = VM_UNIFORM;
    if (!at->value)
        return VMS_OK;
    TRY(json_only(at, LOCALITY_KEYS));
    TRY(json_choice(at, "kind", KINDS, &kind));
    TRY(json_bytes(at, "working_set", BLOCK_LARGEST, &vcpu->working_set));
    TRY(json_share(at, "hot_fraction", &vcpu->hot_fraction));
    vcpu->locality = (enum vm_locality)kind;
    if (vcpu->working_set % VM_PAGE)
        return json_fail(at, "working_set", "is not a whole number of pages of 4K");
    if (vcpu->locality == VM_HOT && !vcpu->working_set)
        return json_fail(at, "kind", "hot needs a \"working_set\"");
    return VMS_OK;
}

static enum vms_code parse_vcpu(struct vm_config *config, const struct json_at *at) {
    struct vm_vcpu_config *vcpu = &config->vcpus[config->vcpu_count];
    struct json_at locality;
    *vcpu = (struct vm_vcpu_config){.change = WORDS_BYTES, .hot_fraction = 0.9};
    TRY(json_only(at, VCPU_KEYS));
    TRY(json_whole(at, "rate", 1000000000, &vcpu->rate));
    TRY(json_share(at, "reads", &vcpu->reads));
    TRY(json_share(at, "zeroes", &vcpu->zeroes));
    TRY(json_bytes(at, "change", VM_PAGE, &vcpu->change));
    TRY(json_object_at(at, "locality", &locality));
    TRY(parse_locality(vcpu, &locality));
    config->vcpu_count++;
    return VMS_OK;
}

/* Paths are relative to the VM file's folder. */
static enum vms_code parse_path(const struct json_at *at, const char *key, char **out) {
    const char *path = NULL, *slash = strrchr(at->file->name, '/');
    TRY(json_text(at, key, &path));
    if (!path)
        return VMS_OK;
    size_t folder = slash && *path != '/' ? (size_t)(slash - at->file->name) + 1 : 0;
    *out = malloc(folder + strlen(path) + 1);
    if (!*out)
        return vms_error_set(at->file->err, VMS_E_NO_MEMORY, NULL);
    memcpy(*out, at->file->name, folder);
    strcpy(*out + folder, path);
    return VMS_OK;
}

static enum vms_code parse_all(struct vm_config *config, const struct json_at *top) {
    struct json_at at;
    size_t blocks, vcpus;
    TRY(json_only(top, TOP_KEYS));
    TRY(json_count(top, "blocks", VM_BLOCKS_MAX, &blocks));
    TRY(json_count(top, "vcpus", VM_VCPUS_MAX, &vcpus));
    if (!blocks)
        return json_fail(top, NULL, "a VM without \"blocks\"");
    for (size_t i = 0; i < blocks; i++) {
        TRY(json_element(top, "blocks", i, &at));
        TRY(parse_block(config, &at));
    }
    for (size_t i = 0; i < vcpus; i++) {
        TRY(json_element(top, "vcpus", i, &at));
        TRY(parse_vcpu(config, &at));
    }
    TRY(json_whole(top, "seed", INT64_MAX, &config->seed));
    TRY(parse_path(top, "lock", &config->lock));
    TRY(parse_path(top, "running_lock", &config->running_lock));
    return parse_path(top, "announce", &config->announce);
}

/* [VM-1] */
enum vms_code vm_config_parse(struct vm_config *config, const char *text, const char *name,
                              struct vms_error *err) {
    struct json_file file = {name, text, err};
    struct json_at top;
    json_t *root;
    *config = (struct vm_config){.seed = 1};
    TRY(json_open(&file, &root, &top));
    enum vms_code code = parse_all(config, &top);
    json_decref(root);
    if (code != VMS_OK)
        vm_config_free(config);
    return code;
}

void vm_config_free(struct vm_config *config) {
    for (size_t i = 0; i < config->block_count; i++)
        free(config->blocks[i].name);
    free(config->lock);
    free(config->running_lock);
    free(config->announce);
    *config = (struct vm_config){.block_count = 0};
}

/* Where memory lies and who writes it. Backing, page sizes of the host, rates and paths may differ
 * from one end to the other. */
uint64_t vm_config_fingerprint(const struct vm_config *config) {
    uint64_t print = vm_mix(config->seed, config->vcpu_count);
    for (size_t i = 0; i < config->block_count; i++) {
        const struct vm_block_config *block = &config->blocks[i];
        struct vms_slice name = vms_slice((const uint8_t *)block->name, strlen(block->name));
        print = vm_mix(print, vms_xxh64(name, block->size) + block->fill);
    }
    return print;
}
