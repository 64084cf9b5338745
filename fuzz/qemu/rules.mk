# SPDX-License-Identifier: MIT
# A stock QEMU as a black box.
BLACKBOX_SRC := $(wildcard fuzz/qemu/*.c)
$(BUILD)/fuzz-qemu: $(call objs,$(BLACKBOX_SRC)) $(LIBFUZZMUTATOR) $(LIBPEER) $(LINK_LIBS)
	$(call link,$(HOST_LIBS))
