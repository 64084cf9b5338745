# SPDX-License-Identifier: MIT
# Programs whose allocations fail, one after the other.

$(BUILD)/fail-malloc.so: conformance/nomem/fail_malloc.c
	@mkdir -p $(@D)
	$(Q)$(CC) -std=c11 -O1 -fPIC -shared $(WARN) $< -o $@
# A sanitizer has its own allocator in front.
ifndef SAN
$(BUILD)/tests/nomem: | $(BUILD)/fail-malloc.so $(BUILD)/vmstream $(BUILD)/reference-dst
$(eval $(call test_program,nomem,conformance/nomem/nomem_test.c))
endif
