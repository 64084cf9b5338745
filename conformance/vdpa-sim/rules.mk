# SPDX-License-Identifier: MIT
# The simulated vDPA device: an archive for simulations. As an object for LD_PRELOAD it is in
# vfio-sim.so (../vfio-sim/rules.mk), so that one program can have both.
VDPA_SIM_SRC := $(call units,conformance/vdpa-sim)
# Texts that describe devices are read by the same code.
VDPA_SIM_SRC += conformance/vfio-sim/text.c
LIBVDPASIM := $(BUILD)/libvdpa-sim.a
$(LIBVDPASIM): $(call objs,$(VDPA_SIM_SRC)) ; $(archive)

$(eval $(call test_program,vdpa-sim,$(call tests,conformance/vdpa-sim),$(LIBVDPASIM)))
# Both halves of the reference endpoints' vDPA devices, face to face.
$(eval $(call test_program,vdpa-pair,$(call tests,conformance/vdpa-sim/pair),\
	$(call objs,$(filter-out %_test.c,$(wildcard reference-src/devices/vdpa*.c reference-dst/devices/vdpa*.c)))))
$(BUILD)/tests/vdpa-pair $(BUILD)/tests/host $(BUILD)/tests/reference-src $(BUILD)/tests/reference-dst: | $(VFIO_SIM_SO)

# Downtime against the guest's size, by a model of the device's costs.
VDPA_BENCH_SRC := $(call units,conformance/vdpa-sim/bench) \
	$(filter-out %_test.c,$(wildcard reference-src/devices/vdpa*.c reference-dst/devices/vdpa*.c))
$(BUILD)/vdpa-bench: $(call objs,$(VDPA_BENCH_SRC)) $(LIBVM) $(LINK_LIBS) | $(VFIO_SIM_SO)
	$(call link,$(HOST_LIBS))
bench-vdpa: $(BUILD)/vdpa-bench
	@$(BUILD)/vdpa-bench $(BUILD)/bench-vdpa.html
bench: bench-vdpa
.PHONY: bench-vdpa

# The demo has a card on a simulated device.
demo: $(VFIO_SIM_SO)
