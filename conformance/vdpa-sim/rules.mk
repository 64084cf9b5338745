# SPDX-License-Identifier: MIT
# The simulated vDPA device: an archive for simulations. As an object for LD_PRELOAD it is in
# vfio-sim.so (../vfio-sim/rules.mk), so that one program can have both.
VDPA_SIM_SRC := $(call units,conformance/vdpa-sim)
LIBVDPASIM := $(BUILD)/libvdpa-sim.a
$(LIBVDPASIM): $(call objs,$(VDPA_SIM_SRC)) ; $(archive)

$(eval $(call test_program,vdpa-sim,$(call tests,conformance/vdpa-sim),$(LIBVDPASIM)))
# Both halves of the reference endpoints' vDPA devices, face to face.
$(eval $(call test_program,vdpa-pair,$(call tests,conformance/vdpa-sim/pair),\
	$(call objs,$(filter-out %_test.c,$(wildcard reference-src/devices/vdpa*.c)) reference-dst/devices/vdpa.c)))
$(BUILD)/tests/vdpa-pair $(BUILD)/tests/host $(BUILD)/tests/reference-src $(BUILD)/tests/reference-dst: | $(VFIO_SIM_SO)
