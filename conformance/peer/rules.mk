# SPDX-License-Identifier: MIT
# The scripted peer of dialogues, and the dialogues of the references.

PEER_KIT_SRC := $(call units,conformance/adapters/kit) conformance/runner/util.c
$(BUILD)/certify-peer: $(call objs,$(call units,conformance/peer) $(PEER_KIT_SRC)) $(LINK_LIBS)
	$(call link,$(HOST_LIBS))
$(BUILD)/tests/dialogues: | $(BUILD)/certify-peer $(BUILD)/reference-dst $(BUILD)/reference-src
$(eval $(call test_program,dialogues,conformance/peer/dialogues_test.c,$(LIBPEER) $(call objs,conformance/runner/util.c)))
