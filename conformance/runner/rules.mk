# SPDX-License-Identifier: MIT
# The conformance suite: adapters of implementations, and the runner.

KIT_SRC := $(call units,conformance/adapters/kit) conformance/runner/util.c
# The decoder's traces, and the way to run it, are those of its tests.
KIT_SRC_codec := conformance/qevm/trace.c conformance/qevm/run.c
define adapter_program
$(BUILD)/adapter-$(1): $$(call objs,$$(call units,conformance/adapters/$(1)) $$(KIT_SRC) $$(KIT_SRC_$(1))) $$(LIBPEER) $$(LINK_LIBS)
	$$(call link,$$(HOST_LIBS))
ADAPTERS += $(BUILD)/adapter-$(1)
endef
ADAPTERS :=
$(foreach a,qemu reference codec replay,$(eval $(call adapter_program,$(a))))

CERTIFY_SRC := $(filter-out %/main.c,$(call units,conformance/runner))
$(BUILD)/certify: $(call objs,conformance/runner/main.c $(CERTIFY_SRC)) $(LIBPEER) $(LINK_LIBS)
	$(call link,$(HOST_LIBS))

# The scripted peer of dialogues has rules of its own.
CERTIFY_PROGRAMS = $(BUILD)/certify $(ADAPTERS) $(BUILD)/reference-src $(BUILD)/reference-dst \
	$(BUILD)/vmstream $(VFIO_SIM_SO) $(if $(wildcard conformance/peer),$(BUILD)/certify-peer)
$(BUILD)/tests/certify: | $(CERTIFY_PROGRAMS)
$(eval $(call test_program,certify,$(call tests,conformance/runner),\
	$(call objs,$(CERTIFY_SRC)) $(LIBPEER)))

# The whole matrix, with the peers that are not here yet; and what of it a test run has time for.
certify: $(CERTIFY_PROGRAMS)
	@conformance/peers/fetch 10.0 11.1
	@$(BUILD)/certify $(CERTIFY_ARGS)
certify-quick: $(CERTIFY_PROGRAMS)
	@$(BUILD)/certify --quick --out $(BUILD)/certify-quick.out $(CERTIFY_ARGS)

.PHONY: certify certify-quick
