# SPDX-License-Identifier: MIT
# Programs whose allocations fail, one after the other.

$(BUILD)/fail-malloc.so: conformance/nomem/fail_malloc.c
	@mkdir -p $(@D)
	$(Q)$(CC) -std=c11 -D_GNU_SOURCE -O1 -fPIC -shared $(WARN) $< -o $@
# A sanitizer has its own allocator in front.
ifndef SAN
$(BUILD)/tests/nomem: | $(addprefix $(BUILD)/,fail-malloc.so vmstream reference-src reference-dst)
$(eval $(call test_program,nomem,conformance/nomem/nomem_test.c))

# Every dialogue and migration of the suite, with one allocation of an endpoint failing (python3).
nomem-cases: $(addprefix $(BUILD)/,certify certify-peer adapter-reference adapter-codec reference-src \
		reference-dst vmstream fail-malloc.so) $(VFIO_SIM_SO)
	@conformance/nomem/cases --build $(BUILD) $(NOMEM_ARGS)
.PHONY: nomem-cases
endif
