# SPDX-License-Identifier: MIT
# The scripted peer of dialogues, what its scripts find, and the dialogues of the references.

PEER_KIT_SRC := $(call units,conformance/adapters/kit) conformance/runner/util.c
$(BUILD)/certify-peer: $(call objs,$(call units,conformance/peer) $(PEER_KIT_SRC)) $(LINK_LIBS)
	$(call link,$(HOST_LIBS))
$(BUILD)/tests/scripts: | $(BUILD)/certify-peer
$(BUILD)/tests/dialogues: | $(BUILD)/certify-peer $(BUILD)/reference-dst $(BUILD)/reference-src
$(foreach t,scripts dialogues,\
	$(eval $(call test_program,$(t),conformance/peer/$(t)_test.c,$(LIBPEER) $(call objs,conformance/runner/util.c))))
