# SPDX-License-Identifier: MIT
# Endpoints one of whose steps comes late, one after the other (python3). A sanitizer has these calls in front.

$(BUILD)/late-step.so: conformance/late/late_step.c
	@mkdir -p $(@D)
	$(Q)$(CC) -std=c11 -D_GNU_SOURCE -O1 -fPIC -shared $(WARN) $< -o $@
ifndef SAN
late-cases: $(addprefix $(BUILD)/,certify certify-peer adapter-reference adapter-codec reference-src reference-dst \
		vmstream late-step.so) $(VFIO_SIM_SO)
	@conformance/late/cases --build $(BUILD) $(LATE_ARGS)
.PHONY: late-cases
endif
