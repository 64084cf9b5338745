# SPDX-License-Identifier: MIT
# Test programs for a virtual machine with a real kernel; `make test-vm` runs them there.
TEST_VM_SRC := $(filter-out %_test.c,$(wildcard conformance/test-vm/*.c))
TEST_VM_PROGRAMS := $(patsubst conformance/test-vm/%.c,$(BUILD)/test-vm/%,$(wildcard conformance/test-vm/*_test.c))

$(BUILD)/test-vm/%_test: $(BUILD)/obj/conformance/test-vm/%_test.o $(call objs,$(TEST_VM_SRC)) \
		$(LIBVFIOSIM) $(LIBPEER) $(LINK_LIBS)
	$(call link,$(HOST_LIBS) -lcriterion)

test-vm: $(TEST_VM_PROGRAMS) $(BUILD)/reference-src $(BUILD)/reference-dst
	@conformance/test-vm/run $(BUILD)

.PHONY: test-vm
.SECONDARY: $(call objs,$(wildcard conformance/test-vm/*.c))
