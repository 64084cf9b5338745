/* SPDX-License-Identifier: MIT */
#include "vm_test_util.h"

static struct vms_error refused(const char *text) {
    struct vms_error err;
    struct vms_vm *vm;
    cr_assert_eq(vms_vm_new_text(text, "dir/vm.json", VMS_VM_SOURCE, &vm, &err), VMS_E_VM_FILE,
                 "%s", text);
    cr_assert_null(vm);
    cr_assert_str_eq(err.clause, "VM-1");
    return err;
}

#define RAM        "{\"name\": \"ram0\",\n \"size\": \"4M\"}"
#define WITH(rest) "{\"blocks\": [" RAM "],\n" rest "}"

/* [VM-1] what is wrong is refused, with file, line and key. */
Test(vm_file, errors) {
    static const struct {
        const char *text, *place, *what;
    } cases[] = {
        {"", "vm.json:1:", ""},
        {"{\"blocks\": [}", "vm.json:1:", ""},
        {"{\n\"seed\": 1,\n\"seed\": 2}", "vm.json:3:", "duplicate"},
        {"\n[]", "vm.json:2:", "no JSON object"},
        {"{}", "vm.json:1:", "\"blocks\""},
        {"{\"blocks\": 3}", "vm.json:1: \"blocks\"", "no array"},
        {"{\"blocks\": [7]}", "vm.json:1: \"blocks\"", "no object"},
        {"{\"blocks\":\n[" RAM ",\n{\"size\": 4096}]}", "vm.json:4:", "\"name\""},
        {"{\"blocks\": [" RAM ",\n{\"name\": \"a\"}]}", "vm.json:3:", "\"size\""},
        {"{\"blocks\": [" RAM ",\n{\"size\": 4096, \"name\":\n\"ram0\"}]}", "vm.json:3: \"name\"",
         "another"},
        {"{\"blocks\": [{\"size\": 4096,\n\"name\":\"\"}]}", "vm.json:2: \"name\"", "1 to 255"},
        {"{\"blocks\": [{\"size\": 4096,\n\"name\":\"a b\"}]}", "vm.json:2: \"name\"", "ASCII"},
        {"{\"blocks\": [{\"name\": \"a\",\n\"size\": 0}]}", "vm.json:2: \"size\"", "is 0"},
        {"{\"blocks\": [{\"name\": \"a\",\n\"size\": -4096}]}", "vm.json:2: \"size\"", "whole"},
        {"{\"blocks\": [{\"name\": \"a\",\n\"size\": 4095}]}", "vm.json:2: \"size\"", "pages"},
        {"{\"blocks\": [{\"name\": \"a\",\n\"size\": \"4X\"}]}", "vm.json:2: \"size\"", "no size"},
        {"{\"blocks\": [{\"name\": \"a\",\n\"size\": \"4MM\"}]}", "vm.json:2: \"size\"", "no size"},
        {"{\"blocks\": [{\"name\": \"a\",\n\"size\": \"-4M\"}]}", "vm.json:2: \"size\"", "no size"},
        {"{\"blocks\": [{\"name\": \"a\",\n\"size\": \"99999999999999999999\"}]}",
         "vm.json:2: \"size\"", "no size"},
        {"{\"blocks\": [{\"name\": \"a\",\n\"size\": \"17179869184G\"}]}", "vm.json:2: \"size\"",
         "no size"},
        {"{\"blocks\": [{\"name\": \"a\",\n\"size\": \"1025G\"}]}", "vm.json:2: \"size\"",
         "more than"},
        {"{\"blocks\": [{\"name\": \"a\", \"size\": \"4M\",\n\"page_size\": \"8K\"}]}",
         "vm.json:2: \"page_size\"", "neither"},
        {"{\"blocks\": [{\"name\": \"a\", \"page_size\": \"2M\",\n\"size\": \"3M\"}]}",
         "vm.json:2: \"size\"", "pages"},
        {"{\"blocks\": [{\"name\": \"a\", \"size\": \"4M\",\n\"backing\": \"file\"}]}",
         "vm.json:2: \"backing\"", "private shared"},
        {"{\"blocks\": [{\"name\": \"a\", \"size\": \"4M\",\n\"fill\": 0}]}", "vm.json:2: \"fill\"",
         "zero pattern random mix image"},
        {"{\"blocks\": [{\"name\": \"a\", \"size\": \"4M\",\n\"allocate\": true}]}",
         "vm.json:2: \"allocate\"", "touched ahead"},
        {"{\"blocks\": [{\"name\": \"a\", \"size\": \"4M\",\n\"fil\": \"zero\"}]}",
         "vm.json:2: \"fil\"", "no known key"},
        {WITH("\"vcpu\": []"), "vm.json:3: \"vcpu\"", "no known key"},
        {WITH("\"seed\": -1"), "vm.json:3: \"seed\"", "whole"},
        {WITH("\"lock\": 1"), "vm.json:3: \"lock\"", "text"},
        {WITH("\"vcpus\": {}"), "vm.json:3: \"vcpus\"", "array"},
        {WITH("\"vcpus\": [{},{\"x]\\\"}\": [1, {}],\n\"rate\": 1.5}]"),
         "vm.json:3:", "no known key"},
        {WITH("\"vcpus\": [{},{\"reads\": 0,\n\"rate\": 1.5}]"), "vm.json:4: \"rate\"", "whole"},
        {WITH("\"vcpus\": [{},{\n\"reads\": 1.5}]"), "vm.json:4: \"reads\"", "0 to 1"},
        {WITH("\"vcpus\": [{\"change\":\n 4097}]"), "vm.json:3: \"change\"", "whole"},
        {WITH("\"vcpus\": [{\"locality\": []}]"), "vm.json:3: \"locality\"", "no object"},
        {WITH("\"vcpus\": [{\"locality\": {\n\"kind\": \"warm\"}}]"), "vm.json:4: \"kind\"",
         "uniform sequential hot"},
        {WITH("\"vcpus\": [{\"locality\": {\n\"kind\": \"hot\"}}]"), "vm.json:4: \"kind\"",
         "working_set"},
        {WITH("\"vcpus\": [{\"locality\": {\n\"working_set\": 100}}]"),
         "vm.json:4: \"working_set\"", "pages"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct vms_error err = refused(cases[i].text);
        cr_assert(strstr(err.message, cases[i].place), "%zu: %s", i, err.message);
        cr_assert(strstr(err.message, cases[i].what), "%zu: %s", i, err.message);
    }
}

/* [VM-1] a file that is cut anywhere is refused, whatever stands at its end. */
Test(vm_file, cuts) {
    static const char text[] = WITH("\"vcpus\": [{\"rate\": 10, \"locality\": {\"kind\": \"hot\","
                                    "\"working_set\": \"64K\"}}], \"seed\": 12");
    char cut[sizeof text];
    for (size_t len = 0; len + 1 < sizeof text; len++) {
        memcpy(cut, text, len);
        cut[len] = '\0';
        refused(cut);
    }
}

/* Everything that can be said is understood. */
Test(vm_file, all_keys) {
    struct vms_error err;
    struct vm_config config;
    const char *text =
        "{\"blocks\": [{\"name\": \"pc.ram\", \"size\": \"1G\", \"page_size\": \"2M\","
        " \"backing\": \"shared\", \"fill\": \"random\","
        " \"allocate\": \"ahead\"}, {\"name\": \"b\", \"size\": 8192, \"page_size\": 4096}],"
        " \"vcpus\": [{}, {\"rate\": 500, \"reads\": 0.25, \"zeroes\": 0.5, \"change\": \"1K\","
        " \"locality\": {\"kind\": \"hot\", \"working_set\": \"64M\","
        " \"hot_fraction\": 1}}], \"seed\": 77, \"lock\": \"a\","
        " \"running_lock\": \"/b\", \"announce\": \"c/d\"}";
    cr_assert_eq(vm_config_parse(&config, text, "x/y/vm", &err), VMS_OK, "%s", err.message);
    cr_assert(config.block_count == 2 && config.vcpu_count == 2 && config.seed == 77);
    cr_assert_str_eq(config.blocks[0].name, "pc.ram");
    cr_assert(config.blocks[0].size == 1 << 30 && config.blocks[0].page_size == 2 << 20);
    cr_assert(config.blocks[0].shared && config.blocks[0].fill == VM_FILL_RANDOM);
    cr_assert(config.blocks[0].ahead && !config.blocks[1].ahead);
    cr_assert(!config.blocks[1].shared && config.blocks[1].fill == VM_FILL_ZERO);
    cr_assert(config.vcpus[0].rate == 0 && config.vcpus[0].locality == VM_UNIFORM);
    cr_assert(config.vcpus[1].rate == 500 && config.vcpus[1].change == 1024);
    cr_assert(config.vcpus[1].zeroes == 0.5 && config.vcpus[0].zeroes == 0);
    cr_assert(config.vcpus[1].locality == VM_HOT && config.vcpus[1].working_set == 64 << 20);
    cr_assert_str_eq(config.lock, "x/y/a");
    cr_assert_str_eq(config.running_lock, "/b");
    cr_assert_str_eq(config.announce, "x/y/c/d");
    vm_config_free(&config);
}

Test(vm_file, not_there) {
    struct vms_error err;
    struct vms_vm *vm;
    cr_assert_eq(vms_vm_new("/nonexistent/vm.json", VMS_VM_SOURCE, &vm, &err), VMS_E_VM_FILE);
    cr_assert(strstr(err.message, "/nonexistent/vm.json"), "%s", err.message);
    cr_assert_eq(vms_vm_new("/", VMS_VM_SOURCE, &vm, &err), VMS_E_VM_FILE);
}
